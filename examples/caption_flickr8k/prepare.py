"""Flickr8k's features and captions as manifests for `seq2seq-fast train`: python prepare.py DATA OUT

In: DATA/features.npz, int8 `grid_cm` [128, images, 16 cells] of one step, the images of the three splits in
the order of their captions, and DATA/captions.SPLIT.tsv.gz, lines of an image's name and its captions.

Out: OUT/grid.npz, a sequence of 16 cells for each image, and OUT/SPLIT.tsv: its place TAB its captions, in
lower case and without punctuation, as they are compared. All features are divided by one number, so that
their mean variance over the training images is 1; principal components keep their sizes, which tell what
matters.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

from seq2seq_fast.text_metrics import caption_text

SPLITS = ("train", "dev", "test")


def main(data: str, out: str) -> None:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(Path(data) / "features.npz", allow_pickle=False) as features:
        cells = np.ascontiguousarray(features["grid_cm"].transpose(1, 2, 0))  # [images, 16, 128]
    counts = []
    names: list[str] = []
    for split in SPLITS:
        with (
            gzip.open(Path(data) / f"captions.{split}.tsv.gz", "rt", encoding="utf-8") as lines,
            open(folder / f"{split}.tsv", "w", encoding="utf-8", newline="\n") as manifest,
        ):
            for line in lines:
                name, *captions = line.rstrip("\n").split("\t")
                texts = [caption_text(caption) for caption in captions]
                manifest.write("\t".join([f"grid.npz#{name}", *texts]) + "\n")
                names.append(name)
        counts.append(len(names))
    if len(names) != len(cells):
        raise ValueError(f"{data}: captions of {len(names)} images, features of {len(cells)}.")
    trained = cells[: counts[0]].reshape(-1, cells.shape[2])
    scale = np.float32(1.0 / np.sqrt(trained.var(axis=0, dtype=np.float64).mean()))
    lengths = np.full(len(cells), cells.shape[1])
    np.savez(
        folder / "grid.npz",
        features=cells.reshape(-1, cells.shape[2]),
        lengths=lengths,
        keys=names,
        scale=scale,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
