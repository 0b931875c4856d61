"""Models with random parameters, for tests of whole networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from checks import double
from networks import Ragged, random_parameters
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.data import Batch


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
