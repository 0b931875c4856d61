"""`python -m benchmarks.gpu.measure`: the process that measures, cell by cell, until the time is over. It is
started by `supervise`, which starts another one where a cell has taken the GPU's context with it, or
hangs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import cells, decoding, latency, layers, limits, machine, plan, report, training
from .cells import Cell, LayerCell, RouteCell, SearchCell
from .goals import promised
from .kernels import ROUTES, Absent, Kernels
from .latency import LatencyCell
from .limits import Rates
from .place import Place
from .store import CONTEXT_LOST, Row, Store
from .timing import FULL, LONG, QUICK, Effort

LONGEST_BY_ROUTE = 1000  # steps: what a step costs is known by then


def _measured(cell: Cell, place: Place, effort: Effort, kernels: Kernels | None) -> Row:
    if isinstance(cell, LayerCell):
        by_route = cell.departures == 0 and cell.precision != "bfloat16" and cell.time < LONGEST_BY_ROUTE
        return layers.run(cell, place, effort, kernels, ROUTES if by_route else ())
    if isinstance(cell, RouteCell):
        return layers.run(cell.layer, place, effort, kernels, cell.routes)
    if isinstance(cell, SearchCell):
        return decoding.run(cell, place, effort)
    return training.run(cell, place, effort)


def _effort(cell: Cell, quick: bool) -> Effort:
    if quick:
        return QUICK
    return LONG if promised(cell) and not isinstance(cell, LayerCell) else FULL


def _sentence(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class Run:
    def __init__(self, store: Store, place: Place, until: float, *, quick: bool) -> None:
        self.store, self.place, self.until, self.quick = store, place, until, quick
        self.kernels: Kernels | None = None
        try:
            self.kernels = Kernels()
        except Absent as absent:
            print(f"Left out: {absent}", flush=True)
        self._done = {row["name"] for row in store.rows()}

    def cell(self, cell: Cell | LatencyCell, work: Any) -> Row | None:
        """Measures and keeps it, unless that is done or the time is over. What fails is kept as a
        sentence."""
        if cell.name in self._done or time.time() > self.until:
            return None
        self.store.begin(cell.name)
        row: Row = {"suite": cell.suite, "name": cell.name, **asdict(cell)}
        try:
            row |= work()
        except Exception as error:  # whatever it is, the other cells are worth more
            row["failed"] = _sentence(error)
        self.store.add(row)
        self.store.end()
        if "failed" in row:
            self._check_context()
        return row

    def _check_context(self) -> None:
        try:
            self.place.synchronize()
        except RuntimeError as error:
            print(f"The GPU's context is lost: {_sentence(error)}", flush=True)
            sys.exit(CONTEXT_LOST)

    def latencies(self, about: Row) -> None:
        for cell in latency.cells(about["multiprocessors"], about["capability"], quick=self.quick):
            if isinstance(cell, latency.Product):
                row = self.cell(cell, partial(cell.run, self.place))
            elif self.kernels is not None:
                row = self.cell(cell, partial(cell.run, self.kernels))
            else:
                continue
            if row:
                print(report.rates([row]).splitlines()[-1], flush=True)

    def rates(self, about: Row) -> Rates:
        """What limits are computed from, as far as it could be measured."""
        values = {row["name"]: row["value"] for row in self.store.rows() if "value" in row}
        return Rates(values, about["multiprocessors"], about["l2_bytes"])

    def contests(self, everything: Iterable[Cell], rates: Rates) -> None:
        print("\n" + report.heading(), flush=True)
        for cell in everything:
            row = self.cell(cell, partial(self._with_limit, cell, rates))
            if row:
                print(report.lines(row), flush=True)

    def _with_limit(self, cell: Cell, rates: Rates) -> Row:
        row = _measured(cell, self.place, _effort(cell, self.quick), self.kernels)
        with suppress(KeyError):  # a rate is missing
            limit = limits.of(cell, rates)
            row |= {"limit_ms": limit.seconds * 1e3, "limit_bound": limit.bound}
        return row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.measure", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--until", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()

    if options.emulated:
        torch.set_num_threads(1)  # the matrices are tiny
    about = machine.describe(emulated=options.emulated)
    store = Store(options.out)
    try:
        store.open(about)
    except ValueError as error:
        sys.exit(str(error))
    run = Run(store, Place(options.emulated), options.until, quick=options.quick)
    run.latencies(about)
    run.contests(cells.QUICK if options.quick else plan.everything(), run.rates(about))


if __name__ == "__main__":
    main()
