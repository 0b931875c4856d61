"""Who takes part in a cell: a call and how to read its result, or a sentence why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..timing import Call, medians

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Contestant:
    """`result` makes of what `call` returned what everybody's result is compared as."""

    name: str
    precision: str
    call: Call
    result: Callable[[Any], Any]
    variants: Mapping[str, float] = field(default_factory=dict)
    """Median seconds by each of its settings, fastest first, which is the one that takes part."""


@dataclass(frozen=True)
class Absent:
    name: str
    precision: str
    reason: str


def fastest_of(
    name: str, precision: str, calls: Mapping[str, Call], result: Callable[[Any], Any]
) -> Contestant:
    """The contestant with the fastest of several settings."""
    variants = medians(calls)
    return Contestant(name, precision, calls[next(iter(variants))], result, variants)


def as_floats(value: Any) -> Floats:
    """An array or a CPU tensor, of whatever type, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().float().numpy()
    return np.asarray(value, np.float32)


OURS = "seq2seq_fast"
SLACK = 3.0  # for peers: PyTorch's int8 has one scale a matrix


def check(contestant: Contestant, off: float, tolerance: Mapping[str, float], what: str) -> None:
    """AssertionError where a result is off by more than its type may be; a peer may be off by more."""
    most = tolerance[contestant.precision] * (1.0 if contestant.name.startswith(OURS) else SLACK)
    assert off <= most, f"{contestant.name}: {what} by {off:.1e}, more than {most:.0e}"


PEERS = {
    "PyTorch float32": "float32",
    "ONNX Runtime float32": "float32",
    "PyTorch bfloat16": "bfloat16",
    "PyTorch int8": "int8",
    "ONNX Runtime int8": "int8",
    "PyTorch eager": "float32",
    "torch.compile": "float32",
}
"""Every peer and its precision. The last two decode; the others run layers."""

LIKE = {"float32": {"float32"}, "float16": {"bfloat16"}, "bfloat16": {"bfloat16"}, "int8": {"int8"}}
"""Like is compared with like: which peers' precisions stand against each of our types."""


def of_like_precision(compute_type: str, peer: str) -> bool:
    """Decoding has float32 peers only, so every type is compared with them."""
    return peer in ("PyTorch eager", "torch.compile") or PEERS[peer] in LIKE[compute_type]
