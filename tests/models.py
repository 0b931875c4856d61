"""Models with random parameters, for tests of whole networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from checks import double
from networks import Ragged, random_parameters
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.data import Batch
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

WORDS = [f"w{i}" for i in range(20)]
SOURCE = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys(WORDS, 1)), eos=True)


def sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Of one to eight of WORDS."""
    rng = np.random.default_rng(seed)
    return [[WORDS[i] for i in rng.integers(0, 20, rng.integers(1, 9))] for _ in range(count)]


def plain(result: Any) -> list[Any]:
    """A TranslationResult as values that compare bit for bit."""
    return [
        [array.tobytes() for array in value] if name in ("token_scores", "attention") else value
        for name, value in vars(result).items()
    ]


def lively(config: Seq2SeqConfig) -> Seq2Seq:
    """A model of random weights that are large enough for outputs to differ."""
    model = Seq2Seq(config, seed=5)
    for name, values in model.parameters().items():
        if "embedding" in name or "output" in name:
            values *= 8
    return model


def make_model(options: dict[str, Any], rng: np.random.Generator, scale: float = 2.0) -> Seq2Seq:
    """A model of this configuration; `scale` as for `random_parameters`."""
    model = Seq2Seq(Seq2SeqConfig(**options))
    views = model.parameters()
    for name, value in random_parameters(model.config, rng, scale).items():
        views[name][...] = value
    return model


def as_batch(batch: Ragged) -> Batch:
    return Batch(**vars(batch))


def double_parameters(model: Seq2Seq) -> dict[str, np.ndarray]:
    """Copies of the parameters, float64."""
    return dict(double({name: view.copy() for name, view in model.parameters().items()}))
