"""A toy task for the command line, learnt in seconds: spell a word in capitals, "abc" -> "A B C"."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from place import size
from seq2seq_fast.cli import main

SMALL: tuple[object, ...] = (
    *("--hidden_size", 24, "--word_vec_size", 12, "--source_tokenizer", "char", "--learning_rate", 0.01),
    *size((), ("--batch_size", 100)),
)


def spelt(word: str) -> str:
    return " ".join(word.upper())


def words(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdef", k=rng.randint(1, 6))) for _ in range(count)]


def write_data(folder: Path) -> Path:
    for name, seed, count in (("train", 1, 2000), ("valid", 2, 60)):
        (folder / f"{name}.tsv").write_text("".join(f"{w}\t{spelt(w)}\n" for w in words(count, seed)))
    return folder


def train(data: Path, out: Path) -> Path:
    """A run's folder. Dashes instead of underscores, on the way. It learns for longer than an emulated device
    has time for."""
    arguments = [
        *("train", "--train", data / "train.tsv", "--valid", data / "valid.tsv", "--out", out, *SMALL),
        *("--batch-size", 300, "--max-epochs", 12, "--valid-metric", "word-error-rate", "--max_grad_norm", 1),
        *size((), ("--device", "cpu")),
    ]
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    assert end.value.code == 0
    return out
