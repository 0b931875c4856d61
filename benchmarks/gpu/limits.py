"""The least time of a cell on this GPU, from what the run measured first: bytes at the rate of the memory
they lie in, operations at the rate of the fastest product of their type.

Weights that fit into the registers and shared memory of all multiprocessors together are read once and then
stay there, at no cost; what fits into the L2 cache is read at its rate. Nothing is taken for a launch or for
hand-overs between blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .. import limits as network_limits
from ..caches import Level, pass_seconds
from ..inference.limits import BYTES, FLOAT, GATE_OPERATIONS, GATES, Limit, Phase, decoding
from ..networks import Size
from . import latency
from .cells import Cell, LayerCell, RouteCell, TrainingCell

ON_CHIP = (228 + 256) * 1024  # bytes of shared memory and registers of a multiprocessor


@dataclass(frozen=True)
class Rates:
    """Bytes and operations a second; `values` by the names of `latency`'s cells."""

    values: Mapping[str, float]
    multiprocessors: int
    l2_bytes: float

    @property
    def memory(self) -> float:
        return self.values[latency.name_of_memory("memory", False)] * 1e9

    def product(self, precision: str) -> float:
        return self.values[latency.name_of_product(precision)] * 1e12

    def levels(self) -> list[Level]:
        l2 = self.values[latency.name_of_memory("L2", False)] * 1e9
        return [
            Level("on chip", float(self.multiprocessors * ON_CHIP), math.inf),
            Level("L2", self.l2_bytes, max(l2, self.memory)),
            Level("memory", math.inf, self.memory),
        ]


def _layer(cell: LayerCell) -> list[Phase]:
    """Layer by layer: all inputs at once, then time, step by step; both directions beside each other."""
    directions = 2 if cell.bidirectional else 1
    sequences = cell.batch * (0.75 if cell.ragged else 1.0)  # at a step, on average
    ways = 3 if cell.backward else 1  # the gradients of operand and weights, each as large as forward
    phases = []
    for layer in range(cell.layers):
        width = cell.hidden if layer == 0 else directions * cell.hidden
        gates = directions * GATES[cell.kind] * cell.hidden
        arithmetic = GATE_OPERATIONS[cell.kind] * directions * cell.hidden * sequences
        size = BYTES[cell.precision]
        rows = FLOAT * sequences * cell.time * (width + directions * cell.hidden)
        phases += [
            Phase(ways, size * gates * width, rows, 2.0 * gates * width * sequences * cell.time),
            Phase(
                ways * cell.time,
                size * gates * cell.hidden,
                0.0,
                2.0 * gates * cell.hidden * sequences,
                arithmetic,
            ),
        ]
    return phases


def _bytes_seconds(phase: Phase, rates: Rates) -> float:
    """Weights are brought onto the chip once and, where they do not stay there, read in every pass."""
    levels = rates.levels()
    _, l2, memory = levels

    def brought(size: float) -> float:
        return size / (l2.rate if size <= l2.capacity else memory.rate)

    again = (phase.passes - 1) * pass_seconds(phase.weights, levels)
    return brought(phase.weights) + again + brought(phase.passes * phase.moved)


def of(cell: Cell, rates: Rates) -> Limit:
    if isinstance(cell, RouteCell):
        return of(cell.layer, rates)
    if isinstance(cell, TrainingCell):
        return _training(cell, rates)
    if isinstance(cell, LayerCell):
        phases = _layer(cell)
    else:
        config = Size(cell.vocabulary, cell.hidden).config
        phases = decoding(config, cell.batch, cell.beam, cell.length, cell.length, cell.precision)
    by_bound = {"compute": 0.0, "memory": 0.0}
    for phase in phases:
        compute = phase.passes * (
            phase.products / rates.product(cell.precision) + phase.arithmetic / rates.product("float32")
        )
        memory = _bytes_seconds(phase, rates)
        by_bound["compute" if compute >= memory else "memory"] += max(compute, memory)
    return Limit(sum(by_bound.values()), max(by_bound, key=by_bound.__getitem__))


def _training(cell: TrainingCell, rates: Rates) -> Limit:
    config = Size(cell.vocabulary, cell.hidden).config
    parameters = sum(_sizes(cell))
    work = network_limits.training_step(config, parameters, cell.batch, cell.length, cell.length)
    compute, memory = work.operations / rates.product("float32"), work.bytes / rates.memory
    return Limit(max(compute, memory), "compute" if compute >= memory else "memory")


def _sizes(cell: TrainingCell) -> list[int]:
    """Of the parameters: embeddings, and every matrix of `Weights`."""
    config = Size(cell.vocabulary, cell.hidden).config
    w = network_limits.Weights.of(config)
    embeddings = cell.vocabulary * cell.hidden
    bridge = 2 * cell.hidden * cell.hidden
    matrices = [
        w.encoder_input,
        w.encoder_recurrent,
        w.keys,
        w.cell_input,
        w.cell_recurrent,
        w.combine,
        w.output,
    ]
    return [2 * embeddings, bridge, *matrices]
