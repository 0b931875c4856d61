"""What the project has promised for inference, and whether a run kept it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .cells import Cell, LayerCell, SearchCell, Task
from .contestant import PEERS

TORCH, ORT, ORT_INT8, EAGER = "PyTorch float32", "ONNX Runtime float32", "ONNX Runtime int8", "PyTorch eager"
FLOAT32 = (TORCH, ORT)
INT8 = ("PyTorch int8", ORT_INT8)
EVERY_LAYER = tuple(name for name in PEERS if name not in (EAGER, "torch.compile"))


@dataclass(frozen=True)
class Goal:
    """At least `ratio` times as fast as the fastest of `against`."""

    cell: Cell
    threads: int
    compute_type: str
    against: tuple[str, ...]
    ratio: float


def _layers(
    time: int,
    batch: int,
    compute_type: str,
    against: tuple[str, ...],
    ratios: dict[int, float],
    *,
    kind: str = "LSTM",
    threads: int = 1,
) -> list[Goal]:
    """ratios: by width."""
    return [
        Goal(LayerCell(kind, hidden, batch, time), threads, compute_type, against, ratio)
        for hidden, ratio in ratios.items()
    ]


def _search(
    network: tuple[int, int], batch: int, compute_type: str, ratios: dict[int, float], threads: int = 1
) -> list[Goal]:
    """ratios: by beam."""
    return [
        Goal(SearchCell(*network, batch, beam), threads, compute_type, (EAGER,), ratio)
        for beam, ratio in ratios.items()
    ]


def _same(ratio: float) -> dict[int, float]:
    return dict.fromkeys((128, 256, 512), ratio)


SMALL, LARGE = (80, 256), (8000, 512)
GOALS = (
    *_layers(1, 1, "float32", (ORT,), {128: 3.5, 256: 2.3, 512: 1.2}),
    *_layers(1, 1, "float32", (ORT,), {256: 2.0}, threads=2),
    *_layers(1, 1, "int8", (ORT_INT8,), {128: 5.0, 256: 3.3, 512: 1.8}),
    *_layers(1, 1, "float32", (TORCH,), {128: 20.0, 256: 7.0, 512: 3.5}),
    *_layers(50, 1, "float32", FLOAT32, {128: 1.8, 256: 1.8, 512: 1.25}),
    *_layers(50, 1, "int8", (ORT_INT8,), {128: 2.0, 256: 2.0, 512: 1.5}),
    *_layers(50, 1, "float32", EVERY_LAYER, {128: 1.5, 256: 1.5}, kind="GRU"),
    *_layers(50, 1, "int8", EVERY_LAYER, {128: 3.0, 256: 3.0}, kind="GRU"),
    *_layers(50, 8, "float32", FLOAT32, _same(1.3)),
    *_layers(50, 64, "float32", FLOAT32, _same(1.05)),
    *_layers(50, 8, "float32", FLOAT32, _same(1.0), threads=2),
    *_layers(50, 64, "float32", FLOAT32, _same(1.0), threads=2),
    *_layers(50, 64, "int8", INT8, _same(1.2)),
    *_search(SMALL, 1, "float32", {1: 3.0, 5: 3.3}),
    *_search(SMALL, 1, "float32", {1: 5.0, 5: 7.0}, threads=2),
    *_search(SMALL, 1, "int8", {1: 15.0, 5: 18.0}),
    *_search(LARGE, 1, "float32", {1: 1.4, 5: 2.5}),
    *_search(LARGE, 1, "int8", {1: 5.0, 5: 8.0}),
    *_search(LARGE, 32, "float32", {5: 1.5}),
    *_search(LARGE, 32, "int8", {5: 4.0}),
)


def tasks(goals: Iterable[Goal] = GOALS) -> list[Task]:
    """The least to run: each cell once a thread count, with the types and peers that its goals name."""
    needed: dict[tuple[Cell, int], tuple[set[str], set[str]]] = {}
    for goal in goals:
        types, peers = needed.setdefault((goal.cell, goal.threads), (set(), set()))
        types.add(goal.compute_type)
        peers.update(goal.against)
    return [
        Task(cell, threads, tuple(sorted(types)), frozenset(peers))
        for (cell, threads), (types, peers) in needed.items()
    ]


@dataclass(frozen=True)
class Verdict:
    goal: Goal
    measured: float | None  # None: our type or every named peer is absent
    peer: str = ""  # the fastest of those named
    at_limit: float | None = None  # what would be measured if our time were this cell's limit

    @property
    def word(self) -> str:
        if self.measured is None:
            return "not measured"
        return "met" if self.measured >= self.goal.ratio else "missed"


def _verdict(goal: Goal, row: dict[str, Any] | None) -> Verdict:
    if row is None or "absent" in row:
        return Verdict(goal, None)
    ratios = {
        name: row["peers"][name]["ratio"]
        for name in goal.against
        if name in row["peers"] and "absent" not in row["peers"][name]
    }
    if not ratios:
        return Verdict(goal, None)
    peer = min(ratios, key=ratios.__getitem__)
    return Verdict(goal, ratios[peer], peer, ratios[peer] * row["over_limit"])


def verdicts(rows: Sequence[dict[str, Any]], goals: Iterable[Goal] = GOALS) -> list[Verdict]:
    found = {(row["name"], row["threads"], row["compute_type"]): row for row in rows}
    return [_verdict(goal, found.get((goal.cell.name, goal.threads, goal.compute_type))) for goal in goals]


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "cell": v.goal.cell.name,
            "threads": v.goal.threads,
            "compute_type": v.goal.compute_type,
            "against": list(v.goal.against),
            "goal": v.goal.ratio,
            "measured": v.measured,
            "at_limit": v.at_limit,
            "peer": v.peer,
            "verdict": v.word,
        }
        for v in verdicts
    ]
