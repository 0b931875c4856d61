"""The order in which cells are measured: if the time ends, what is missing is what matters least."""

from __future__ import annotations

from . import cells, goals
from .cells import Cell, LayerCell, RouteCell, SearchCell

LAST = 9


def rank(cell: Cell) -> int:
    """0 first: a sweep over everything, thinly; then decoding and training; then what the cost model is
    fitted to, and the other promises; then the rest of the grid, plain cells before those that depart from
    it."""
    if isinstance(cell, LayerCell):
        if _in_first_sweep(cell):
            return 0
        return 2 if goals.promised(cell) and cell.departures == 0 else min(3 + cell.departures, LAST)
    if isinstance(cell, RouteCell):
        return 2
    return 3 if isinstance(cell, SearchCell) and cell.precision == "int8" else 1


def _in_first_sweep(cell: LayerCell) -> bool:
    if cell.precision == "bfloat16" or cell.time == 1:
        return cell.departures == 0 and cell.hidden == 512 and cell.batch in (1, 8) and cell.time < 1024
    if cell.departures == 0:
        return cell.hidden in (256, 512, 1024) and cell.batch in (1, 8, 64)
    return cell.departures == 1 and cell.hidden == 512 and cell.batch == 8 and cell.time == 50


def everything() -> list[Cell]:
    found: list[Cell] = [
        *cells.route_cells(),
        *cells.layer_cells(),
        *cells.search_cells(),
        *cells.training_cells(),
    ]
    return sorted(found, key=rank)
