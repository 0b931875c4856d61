"""A Translator's models, made of their folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast.files import ModelFolder, names_errors
from seq2seq_fast.front_end import FrontEnd

Floats = NDArray[np.float32]


def load(
    folder: ModelFolder, compute_type: str, device: str, kept: Sequence[tuple[str, Floats]] | None
) -> _native.Model:
    """The model; `kept`: its parameters, where they need not be read."""
    model = _empty_model(folder, compute_type, device)
    for name, values in folder.parameters(model.layout(), model.compute_type) if kept is None else kept:
        model.load_parameter(name, values)
    return model


def _empty_model(folder: ModelFolder, compute_type: str, device: str) -> _native.Model:
    folder.layout()  # fits the file, so that what is made is no larger
    with names_errors(folder.path):
        return folder.config.native_model(
            compute_type=folder.compute_type if compute_type == "default" else compute_type,
            trainable=False,
            device=device,
        )


def parameters(folder: ModelFolder, compute_type: str) -> Iterator[tuple[str, Floats]]:
    model = _empty_model(folder, compute_type, "cpu")
    return folder.parameters(model.layout(), model.compute_type)


def check_same_text(first: ModelFolder, other: ModelFolder) -> None:
    """Refuse an ensemble whose members mean different things by the same ids."""
    for side in ("source", "target"):
        one, two = getattr(first, side), getattr(other, side)
        if one is not None and two is not None and (one.vocabulary, one.eos) != (two.vocabulary, two.eos):
            raise ValueError(
                f"[Translator] Expected models of one {side} vocabulary, {other.path} has another than "
                f"{first.path}."
            )

    if not _same_front_end(first.front_end, other.front_end):
        raise ValueError(
            f"[Translator] Expected models of one front end, {other.path} has another than {first.path}."
        )


def _same_front_end(one: FrontEnd | None, two: FrontEnd | None) -> bool:
    """Whether features come out the same."""
    if one is None or two is None:
        return one is two
    return one.settings() == two.settings() and {
        name: statistics.to_bytes() for name, statistics in one.statistics.items()
    } == {name: statistics.to_bytes() for name, statistics in two.statistics.items()}
