"""The recipes of examples/, each on a part of its data and with a small network: they run, and they learn."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from seq2seq_fast.files import load_model

pytestmark = [pytest.mark.cpu_only("they take minutes there"), pytest.mark.big]

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def lines_of(name: str, file: str, count: int) -> list[str]:
    path = DATA / name / file
    if not path.exists():
        pytest.skip(f"The data set {name} is not beside the project.")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [line.rstrip("\n") for line, _ in zip(stream, range(count), strict=False)]


def train(folder: Path, pairs: list[str], *options: object) -> float:
    """Learn all but the last 100 pairs; return the least loss of those, per token, of any validation."""
    (folder / "train.tsv").write_text("\n".join(pairs[:-100]) + "\n", encoding="utf-8")
    (folder / "valid.tsv").write_text("\n".join(pairs[-100:]) + "\n", encoding="utf-8")
    files = ("--train", folder / "train.tsv", "--valid", folder / "valid.tsv", "--out", folder / "run")
    arguments = [str(argument) for argument in (*files, *options)]
    subprocess.run([sys.executable, "-m", "seq2seq_fast", "train", *arguments], check=True)
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return float(min(value["loss"] for line in lines if (value := json.loads(line))["event"] == "valid"))


def entropy(folder: Path) -> float:
    """The loss per token, end tokens too, of the best guess that is always the same."""
    target = load_model(folder / "run" / "last").target
    assert target is not None
    lines = (folder / "valid.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    texts = [line.split("\t")[1] for line in lines]
    counts = Counter(token for text in texts for token in [*target.tokenizer.tokenize(text), "</s>"])
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())


def test_g2p(tmp_path: Path) -> None:
    pairs = lines_of("g2p_cmudict", "train.tsv.gz", 110_000)[::20]
    small = ("--enc_layers", 1, "--enc_hid_size", 48, "--dec_hid_size", 64, "--word_vec_size", 32)
    faster = ("--train_steps", 250, "--learning_rate", 0.01, "--warmup_steps", 20)
    assert train(tmp_path, pairs, "--preset", "g2p", *small, *faster) < 0.5 * entropy(tmp_path)


def test_translation(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    pytest.importorskip("sacrebleu")
    sides = [lines_of("mt_multi30k", f"tok/train.lc.norm.tok.{side}.gz", 4000) for side in ("en", "de")]
    pairs = ["\t".join(pair) for pair in zip(*sides, strict=True)]
    small = ("--enc_hid_size", 64, "--dec_hid_size", 128, "--word_vec_size", 128, "--subword_vocab_size", 600)
    faster = ("--train_steps", 400, "--learning_rate", 0.003, "--warmup_steps", 20, "--batch_size", 500)
    regular = ("--dropout", 0.1, "--label_smoothing", 0)
    loss = train(tmp_path, pairs, "--preset", "translation", *small, *faster, *regular)
    assert loss < 0.8 * entropy(tmp_path)
