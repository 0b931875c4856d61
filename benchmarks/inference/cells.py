"""What the suite measures: the grid of layer calls and of whole decodings, and how to choose a part of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PARTS = ("step", "sequence", "decode")
KINDS = ("LSTM", "GRU")
LAYER_HIDDEN = (64, 128, 256, 384, 512, 1024)
LAYER_BATCHES = (1, 8, 64)
TIMES = {"step": 1, "sequence": 50}
NETWORKS = ((80, 256), (8000, 512), (32000, 1024))  # vocabulary, hidden
SEARCH_BATCHES = (1, 32)
BEAMS = (1, 5)


@dataclass(frozen=True)
class LayerCell:
    """One call of one layer, its input as wide as its state. A step is given its state, a sequence starts
    from zeros."""

    kind: str  # LSTM or GRU
    hidden: int
    batch: int
    time: int

    @property
    def part(self) -> str:
        return "step" if self.time == 1 else "sequence"

    @property
    def name(self) -> str:
        return f"{self.kind} H {self.hidden}, batch {self.batch}, T {self.time}"


@dataclass(frozen=True)
class SearchCell:
    """Decoding 20 tokens from 20 tokens; `networks.py` says of which network."""

    vocabulary: int
    hidden: int
    batch: int
    beam: int

    @property
    def part(self) -> str:
        return "decode"

    @property
    def name(self) -> str:
        search = "greedy" if self.beam == 1 else f"beam {self.beam}"
        return f"{search}, V {self.vocabulary} H {self.hidden}, batch {self.batch}"


Cell = LayerCell | SearchCell


@dataclass(frozen=True)
class Task:
    """One cell with one thread count: which of our compute types run, and against whom (None: everyone)."""

    cell: Cell
    threads: int
    compute_types: tuple[str, ...]
    peers: frozenset[str] | None = None


def layer_cells() -> list[LayerCell]:
    return [
        LayerCell(kind, hidden, batch, time)
        for time in TIMES.values()
        for kind in KINDS
        for hidden in LAYER_HIDDEN
        for batch in LAYER_BATCHES
    ]


def search_cells() -> list[SearchCell]:
    return [
        SearchCell(vocabulary, hidden, batch, beam)
        for vocabulary, hidden in NETWORKS
        for batch in SEARCH_BATCHES
        for beam in BEAMS
    ]


def grid() -> list[Cell]:
    return [*layer_cells(), *search_cells()]


QUICK: list[Cell] = [
    *(LayerCell(kind, 128, 1, time) for time in TIMES.values() for kind in KINDS),
    LayerCell("LSTM", 64, 8, 50),
    *(SearchCell(80, 256, 1, beam) for beam in BEAMS),
]


def select(
    cells: Collection[Cell],
    *,
    parts: Collection[str] | None = None,
    hidden: Collection[int] | None = None,
    batches: Collection[int] | None = None,
) -> list[Cell]:
    """The cells of these parts, widths and batches; None: of all."""
    return [
        cell
        for cell in cells
        if (parts is None or cell.part in parts)
        and (hidden is None or cell.hidden in hidden)
        and (batches is None or cell.batch in batches)
    ]
