"""`python -m benchmarks [--suite NAME] [--threads 1,2] [--json FILE] [--quick]`, and parts of inference."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    sys.exit("The benchmarks compare with PyTorch: pip install '.[bench]'")

from . import forecasting, layers, machine, rates, report, training
from .inference import acceptance, suite
from .rows import FULL, QUICK, Case, run

SUITES = {
    "layers": ("layer forward", "layer backward"),
    "training": ("layer backward", "training step"),
    "inference": (),
    "forecasting": ("sample paths",),
    "all": ("layer forward", "layer backward", "training step", "sample paths"),
}


def _cases(name: str, quick: bool) -> Iterator[Case]:
    for part in SUITES[name]:
        if part == "layer forward":
            yield from layers.cases(backward=False, quick=quick)
        elif part == "layer backward":
            yield from layers.cases(backward=True, quick=quick)
        elif part == "sample paths":
            yield from forecasting.cases()
        else:
            yield from training.cases(quick)


def _run_cases(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    print(report.heading(), flush=True)
    for threads in options.threads:
        machine.set_threads(threads)
        for case in _cases(options.suite, options.quick):
            rows.append(run(case, threads, QUICK if options.quick else FULL))
            print(report.row(rows[-1]), flush=True)
    print()


def _threads(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise ValueError
    return counts


def _about(options: argparse.Namespace) -> dict[str, Any]:
    """The machine, and its rates that the limits of these suites are computed from."""
    found: dict[str, Any] = dict(machine.describe())
    for threads in options.threads:
        if SUITES[options.suite]:
            for compute_type in machine.training_types():
                found[f"GFLOP/s (best {compute_type} matrix product, threads {threads})"] = round(
                    machine.peak_flops(threads, compute_type) / 1e9, 1
                )
            for name, size in (("1 MiB", 2**20), ("16 MiB", 2**24), ("256 MiB", 2**28)):
                rate = round(machine.bandwidth(size, threads) / 1e9, 1)
                found[f"GB/s (streaming copy in {name}, threads {threads})"] = rate
        if options.suite in ("inference", "all"):
            found |= rates.describe(threads)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default="all")
    parser.add_argument(
        "--threads", type=_threads, default=[1, 2], help="thread counts, one after the other: 1,2"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: few sizes, few repeats, no figures"
    )
    suite.add_arguments(parser)
    options = parser.parse_args()

    about = _about(options)
    print(report.about(about) + "\n", flush=True)
    rows: list[dict[str, Any]] = []
    inference: list[dict[str, Any]] = []
    try:
        if SUITES[options.suite]:
            _run_cases(options, rows)
        if options.suite in ("inference", "all"):
            suite.run_suite(options, inference)
    finally:  # what was measured is kept, whatever ends the run
        if options.json is not None:
            report.write_json(
                options.json,
                machine=about,
                settings={key: value for key, value in vars(options).items() if key != "json"},
                rows=rows + inference,
                acceptance=acceptance.as_json(acceptance.verdicts(inference)),
            )


if __name__ == "__main__":
    main()
