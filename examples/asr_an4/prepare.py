"""AN4 as manifests for `seq2seq-fast train --data_type features`: python prepare.py DATA OUT

DATA: {train,test}_mfcc13.npz (feats [frames, 13], utterance after utterance, and lengths) and
{train,test}.tsv (utterance TAB transcript; an utterance's folder is its speaker). OUT gets the features, not
compressed, and the manifests train.tsv, dev.tsv (held-out speakers of the training data), all.tsv (both) and
test.tsv.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np


def held_out(speaker: str) -> bool:
    return int(hashlib.sha256(speaker.encode()).hexdigest()[:8], 16) % 10 == 0


def main(data: str, out: str) -> None:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    manifests: dict[str, list[str]] = {"train": [], "dev": [], "all": [], "test": []}
    for part in ("train", "test"):
        with np.load(f"{data}/{part}_mfcc13.npz") as arrays:
            np.savez(folder / f"{part}_features.npz", features=arrays["feats"], lengths=arrays["lengths"])
        lines = Path(data, f"{part}.tsv").read_text(encoding="utf-8").splitlines()
        for number, (utterance, text) in enumerate(line.split("\t") for line in lines):
            speaker = utterance.split("/")[-2]
            row = f"{part}_features.npz#{number}\t{speaker}\t{text}"
            if part == "test":
                manifests["test"].append(row)
            else:
                manifests["all"].append(row)
                manifests["dev" if held_out(speaker) else "train"].append(row)
    for name, rows in manifests.items():
        text = "\n".join(["#features\tspeaker\ttext", *rows])
        (folder / f"{name}.tsv").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
