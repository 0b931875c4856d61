"""From the command line's options to the tasks of a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import machine
from ..rates import COMPUTE_TYPES
from . import acceptance, cells, report
from .cells import Task
from .run import ACCEPTANCE, FULL, QUICK, Effort, run


def choice_of(allowed: tuple[Any, ...]) -> Callable[[str], list[Any]]:
    """A parser of "a,b" with each of a and b among `allowed`."""

    def parse(text: str) -> list[Any]:
        by_text = {str(value): value for value in allowed}
        unknown = [part for part in text.split(",") if part not in by_text]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(by_text)}")
        return [by_text[part] for part in text.split(",")]

    return parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the inference suite")
    hidden = tuple(sorted({cell.hidden for cell in cells.grid()}))
    batches = tuple(sorted({cell.batch for cell in cells.grid()}))
    group.add_argument("--cells", type=choice_of(cells.PARTS), help="step,sequence,decode")
    group.add_argument("--hidden", type=choice_of(hidden), help="widths: 128,256")
    group.add_argument("--batch", type=choice_of(batches), help="1,8")
    group.add_argument("--compute_type", type=choice_of(COMPUTE_TYPES), help="float32,int8")
    group.add_argument("--acceptance", action="store_true", help="only what the project has promised")
    group.add_argument(
        "--torch_compile", action="store_true", help="as a peer in decoding, even in a part of the suite"
    )


@dataclass(frozen=True)
class Plan:
    tasks: list[Task]
    effort: Effort
    compiled: bool


def plan(options: argparse.Namespace) -> Plan:
    """Which tasks, how long, and whether `torch.compile` takes part: it does when everything is run."""
    types = tuple(options.compute_type or COMPUTE_TYPES)
    if options.acceptance:
        wanted = {
            cell.name
            for cell in cells.select(
                [goal.cell for goal in acceptance.GOALS],
                parts=options.cells,
                hidden=options.hidden,
                batches=options.batch,
            )
        }
        tasks = [
            task
            for task in acceptance.tasks([g for g in acceptance.GOALS if g.compute_type in types])
            if task.cell.name in wanted and task.threads in options.threads
        ]
        return Plan(tasks, QUICK if options.quick else ACCEPTANCE, compiled=False)
    chosen = cells.select(
        cells.QUICK if options.quick else cells.grid(),
        parts=options.cells,
        hidden=options.hidden,
        batches=options.batch,
    )
    part = options.quick or options.cells or options.hidden or options.batch or options.compute_type
    return Plan(
        [Task(cell, threads, types) for threads in options.threads for cell in chosen],
        QUICK if options.quick else FULL,
        compiled=options.torch_compile or not part,
    )


def run_suite(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Prints the rows as they come and appends them; then prints the verdicts on the goals."""
    work = plan(options)
    print(report.heading(), flush=True)
    for task in work.tasks:
        machine.set_threads(task.threads)
        for row in run(task, work.effort, compiled=work.compiled):
            rows.append(row)
            print(report.row(row), flush=True)
    verdicts = acceptance.verdicts(rows)
    if not options.acceptance:
        verdicts = [v for v in verdicts if v.measured is not None]
    if verdicts and not options.quick:
        print(f"\n{report.acceptance(verdicts)}", flush=True)
