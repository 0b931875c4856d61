"""What is measured, in the order of importance: first what the project has promised, then the grid, then what
departs from the grid in more than one way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

KINDS = ("LSTM", "GRU")
PRECISIONS = ("float16", "float32", "bfloat16")
HIDDEN = (512, 256, 1024, 768, 128)
BATCHES = (1, 8, 64, 16)
TIMES = (50, 1, 1024)
NETWORKS = ((80, 256), (8000, 512), (32000, 1024))  # vocabulary, hidden
SEARCH_BATCHES = (1, 256, 32)
BEAMS = (1, 5)
SEARCH_PRECISIONS = ("float32", "float16", "int8")
LENGTH = 20  # tokens a side
TRAINING_BATCH = 64


@dataclass(frozen=True)
class LayerCell:
    """One call of a layer as wide as its input. A step is given its state, a sequence starts from zeros;
    ragged: lengths from T/2 to T."""

    kind: str
    hidden: int
    batch: int
    time: int
    precision: str
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    backward: bool = False

    suite = "layers"

    @property
    def departures(self) -> int:
        return (self.layers > 1) + self.bidirectional + self.ragged + self.backward

    @property
    def name(self) -> str:
        words = [f"{self.kind} {self.precision} H {self.hidden}, batch {self.batch}, T {self.time}"]
        words += [f"{self.layers} layers"] * (self.layers > 1)
        words += ["both directions"] * self.bidirectional
        words += ["ragged"] * self.ragged
        words += ["forward+backward"] * self.backward
        return ", ".join(words)


@dataclass(frozen=True)
class SearchCell:
    """`length` tokens from as many."""

    vocabulary: int
    hidden: int
    batch: int
    beam: int
    precision: str
    length: int = LENGTH

    suite = "decoding"

    @property
    def name(self) -> str:
        search = "greedy" if self.beam == 1 else f"beam {self.beam}"
        return f"{search} {self.precision}, V {self.vocabulary} H {self.hidden}, batch {self.batch}"


@dataclass(frozen=True)
class TrainingCell:
    """Forward, backward, clipping and Adam."""

    vocabulary: int
    hidden: int
    batch: int = TRAINING_BATCH
    length: int = LENGTH

    suite = "training"

    @property
    def name(self) -> str:
        return f"training step, V {self.vocabulary} H {self.hidden}, batch {self.batch}"


@dataclass(frozen=True)
class RouteCell:
    """A layer's call by many ways of ours, so that the recurrences' cost model can be fitted."""

    layer: LayerCell

    suite = "routes"

    @property
    def name(self) -> str:
        return f"routes of {self.layer.name}"

    @property
    def routes(self) -> tuple[str, ...]:
        """As S2S_CUDA_RECURRENCE names them; blocks of a team x teams."""
        teams = dict.fromkeys((1, min(self.layer.batch, 8), min(self.layer.batch, 16)))
        blocks = {"grid": (8, 16, 32, 64, 128), "cluster": (4, 8, 16)}
        return tuple(
            f"{route}:{b}x{t}"
            for route, sizes in blocks.items()
            for b in sizes
            for t in teams
            if b <= self.layer.hidden and b * t <= 128
        )


Cell = LayerCell | SearchCell | TrainingCell | RouteCell


def layer_cells() -> Iterator[LayerCell]:
    """All of them, the plain ones first."""
    shapes = list(product(TIMES, HIDDEN, BATCHES, KINDS, PRECISIONS))
    variants = sorted(product((1, 2), (False, True), (False, True), (False, True)), key=_departures)
    for layers, bidirectional, ragged, backward in variants:
        for time, hidden, batch, kind, precision in shapes:
            if not (ragged and (time == 1 or batch == 1)):
                yield LayerCell(kind, hidden, batch, time, precision, layers, bidirectional, ragged, backward)


def _departures(variant: tuple[int, bool, bool, bool]) -> int:
    layers, *others = variant
    return (layers > 1) + sum(others)


def search_cells() -> Iterator[SearchCell]:
    """Network by network: making the largest takes seconds."""
    for (vocabulary, hidden), precision in product(NETWORKS, SEARCH_PRECISIONS):
        for batch, beam in product(SEARCH_BATCHES, BEAMS):
            yield SearchCell(vocabulary, hidden, batch, beam, precision)


def training_cells() -> Iterator[TrainingCell]:
    for vocabulary, hidden in NETWORKS:
        yield TrainingCell(vocabulary, hidden)


def route_cells() -> Iterator[RouteCell]:
    for hidden, batch, precision in product((512, 256, 1024), (1, 8, 64), ("float16", "float32")):
        yield RouteCell(LayerCell("LSTM", hidden, batch, 50, precision))


# A rehearsal's: every kind of cell once, as small as the emulator needs them.
QUICK: tuple[Cell, ...] = (
    LayerCell("LSTM", 8, 2, 3, "float32"),
    LayerCell("LSTM", 8, 2, 1, "float16"),
    LayerCell("GRU", 8, 2, 3, "bfloat16", layers=2, bidirectional=True),
    LayerCell("GRU", 8, 3, 4, "float32", ragged=True),
    LayerCell("LSTM", 8, 2, 3, "float32", backward=True),
    LayerCell("GRU", 8, 3, 4, "float32", ragged=True, backward=True),
    SearchCell(12, 8, 1, 1, "float32", length=3),
    SearchCell(12, 8, 2, 3, "float16", length=3),
    SearchCell(12, 8, 1, 2, "int8", length=3),
    TrainingCell(12, 8, batch=2, length=3),
    RouteCell(LayerCell("LSTM", 8, 2, 3, "float16")),
)
