"""What the project has promised for a GPU, and whether a run kept it: issue 4's acceptance, points 6 and
7."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .cells import Cell, LayerCell, SearchCell, TrainingCell
from .decoding import EAGER, GRAPHS
from .store import Row

CUDNN_BOX = "LSTM float16 where cuDNN has its persistent kernel"
SMALL_BOX = "H up to 192, where cuDNN has its small one"
OUTSIDE = "layers outside both"


def _box(cell: LayerCell) -> str | None:
    """PyTorch's own conditions (aten/src/ATen/native/cudnn/RNN.cpp); None: nothing was promised."""
    if cell.backward or cell.time == 1:
        return None
    if cell.hidden <= 192:
        return None if cell.departures else SMALL_BOX
    if cell.departures > 1 or cell.bidirectional:
        return None
    persistent = cell.kind == "LSTM" and cell.precision == "float16" and cell.batch % 8 == 0
    return CUDNN_BOX if persistent and not cell.departures else OUTSIDE


def in_box(box: str) -> Callable[[Cell], bool]:
    return lambda cell: isinstance(cell, LayerCell) and _box(cell) == box


def decodes(vocabularies: Sequence[int], batch: int, beams: Sequence[int]) -> Callable[[Cell], bool]:
    return lambda cell: (
        isinstance(cell, SearchCell)
        and cell.vocabulary in vocabularies
        and cell.batch == batch
        and cell.beam in beams
        and cell.precision != "int8"  # like against like
    )


@dataclass(frozen=True)
class Goal:
    """At least `ratio` times as fast as the peer, in every cell concerned. peer: how its name begins."""

    what: str
    concerns: Callable[[Cell], bool]
    peer: str
    ratio: float


GOALS = (
    Goal(CUDNN_BOX, in_box(CUDNN_BOX), "PyTorch", 0.9),
    Goal(OUTSIDE, in_box(OUTSIDE), "PyTorch", 4.0),
    Goal(SMALL_BOX, in_box(SMALL_BOX), "PyTorch", 0.9),
    Goal("decoding, batch 1, V 80 and 8000", decodes((80, 8000), 1, (1, 5)), EAGER, 10.0),
    Goal("decoding, batch 1, V 80 and 8000", decodes((80, 8000), 1, (1, 5)), GRAPHS, 3.0),
    Goal("decoding, batch 1, V 32000", decodes((32000,), 1, (1, 5)), EAGER, 4.0),
    Goal("decoding, batch 1, V 32000", decodes((32000,), 1, (1, 5)), GRAPHS, 1.5),
    Goal("decoding, batch 256, beam 5", decodes((80, 8000, 32000), 256, (5,)), EAGER, 3.0),
    Goal("training step", lambda cell: isinstance(cell, TrainingCell), "PyTorch", 1.5),
)


def promised(cell: Cell) -> bool:
    return any(goal.concerns(cell) for goal in GOALS)


@dataclass(frozen=True)
class Verdict:
    goal: Goal
    ratios: dict[str, float]  # by cell
    concerned: int

    @property
    def word(self) -> str:
        if not self.ratios:
            return "not measured"
        return "met" if min(self.ratios.values()) >= self.goal.ratio else "missed"

    def as_row(self) -> Row:
        row: Row = {
            "goal": self.goal.what,
            "against": self.goal.peer,
            "ratio": self.goal.ratio,
            "cells": self.concerned,
            "measured": len(self.ratios),
            "verdict": self.word,
        }
        if self.ratios:
            worst = min(self.ratios, key=self.ratios.__getitem__)
            row["kept"] = sum(ratio >= self.goal.ratio for ratio in self.ratios.values())
            row |= {"worst": self.ratios[worst], "worst_cell": worst}
            row["median"] = float(np.median(list(self.ratios.values())))
        return row


def verdicts(rows: Iterable[Row], cells: Iterable[Cell]) -> list[Verdict]:
    found = {row["name"]: row for row in rows}
    all_cells = list(cells)
    result = []
    for goal in GOALS:
        concerned = [cell.name for cell in all_cells if goal.concerns(cell)]
        ratios = {}
        for name in concerned:
            peers = found.get(name, {}).get("peers", {})
            measured = [
                peer["ratio"] for who, peer in peers.items() if who.startswith(goal.peer) and "ratio" in peer
            ]
            if measured:
                ratios[name] = min(measured)
        result.append(Verdict(goal, ratios, len(concerned)))
    return result
