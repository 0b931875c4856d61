"""The layer cells: what all contestants share, our call, and what counts as the same result."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import onnx_layers, ours, torch_layers
from .cells import LayerCell
from .contestant import OURS, Absent, Contestant, Floats, as_floats, check

SEED = 1
# The largest difference from PyTorch's float32 result, as a share of its largest element.
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2, "int8": 3e-2}


@dataclass(frozen=True)
class Problem:
    """x [T, N, H]; h0 and c0 [1, N, H] for one step, else None; weights under PyTorch's names."""

    cell: LayerCell
    x: Floats
    h0: Floats | None
    c0: Floats | None
    module: torch.nn.RNNBase

    @classmethod
    def of(cls, cell: LayerCell) -> Problem:
        torch.manual_seed(SEED)
        module = getattr(torch.nn, cell.kind)(cell.hidden, cell.hidden).eval()
        rng = np.random.default_rng(SEED)
        x = rng.standard_normal((cell.time, cell.batch, cell.hidden), dtype=np.float32)
        h0 = c0 = None
        if cell.time == 1:
            h0, c0 = np.tanh(rng.standard_normal((2, 1, cell.batch, cell.hidden), dtype=np.float32))
        return cls(cell, x, h0, c0 if cell.kind == "LSTM" else None, module)

    @property
    def weights(self) -> dict[str, Floats]:
        return {name: tensor.numpy() for name, tensor in self.module.state_dict().items()}

    def reference(self) -> Floats:
        """y in float32, by PyTorch."""
        return as_floats(torch_layers.layer_call(self.module, torch.float32, self)()[0])


def _ours(problem: Problem, compute_type: str) -> Contestant | Absent:
    name = f"{OURS} {compute_type}"
    cell = problem.cell
    try:
        made: Any = ours.layer(cell.kind, cell.hidden, cell.hidden, compute_type, problem.weights)
    except ours.NotInThisBuild as absent:
        return Absent(name, compute_type, str(absent))
    x, h0, c0 = problem.x, problem.h0, problem.c0
    if h0 is None:
        return Contestant(name, compute_type, lambda: made(x), lambda y: y[0])
    state = h0 if c0 is None else (h0, c0)
    return Contestant(name, compute_type, lambda: made(x, state), lambda y: y[0])


def contestants(
    problem: Problem, threads: int, compute_types: Collection[str], peers: Collection[str]
) -> Iterator[Contestant | Absent]:
    """In an order that puts like beside like: they are timed one after the other."""
    by_precision = {precision: [] for precision in TOLERANCE}  # type: dict[str, list[Contestant | Absent]]
    for compute_type in compute_types:
        by_precision[compute_type].append(_ours(problem, compute_type))
    for peer in (*torch_layers.peers(problem, peers), *onnx_layers.peers(problem, threads, peers)):
        by_precision[peer.precision].append(peer)
    for group in by_precision.values():
        yield from group


def error(contestant: Contestant, reference: Floats) -> float:
    """How far the result is from the reference; AssertionError where that is too far."""
    y = as_floats(contestant.result(contestant.call())).reshape(reference.shape)
    off = float(np.abs(y - reference).max() / np.abs(reference).max())
    check(contestant, off, TOLERANCE, "off, as a share of the largest element,")
    return off
