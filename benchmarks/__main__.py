"""`python -m benchmarks [--suite NAME] [--threads 1,2] [--json FILE] [--quick]`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    sys.exit("The benchmarks compare with PyTorch: pip install '.[test]'")

from . import decode, layers, machine, report, training
from .rows import FULL, QUICK, Case, run

SUITES = {
    "layers": ("layer forward", "layer backward"),
    "training": ("layer backward", "training step"),
    "inference": ("layer forward", "decode"),
    "decode": ("decode",),
    "all": ("layer forward", "layer backward", "training step", "decode"),
}


def _cases(suite: str, quick: bool) -> Iterator[Case]:
    for part in SUITES[suite]:
        if part == "layer forward":
            yield from layers.cases(backward=False, quick=quick)
        elif part == "layer backward":
            yield from layers.cases(backward=True, quick=quick)
        elif part == "training step":
            yield from training.cases()
        else:
            yield from decode.cases()


def _threads(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise ValueError
    return counts


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
    options = parser.parse_args()

    about: dict[str, str | int | float] = dict(machine.describe())
    for threads in options.threads:
        about[f"GFLOP/s (best matrix product, threads {threads})"] = round(
            machine.peak_flops(threads) / 1e9, 1
        )
        for name, size in (("1 MiB", 2**20), ("16 MiB", 2**24), ("256 MiB", 2**28)):
            rate = round(machine.bandwidth(size, threads) / 1e9, 1)
            about[f"GB/s (streaming copy in {name}, threads {threads})"] = rate
    print(report.heading(about), flush=True)

    rows = []
    for threads in options.threads:
        machine.set_threads(threads)
        for case in _cases(options.suite, options.quick):
            rows.append(run(case, threads, QUICK if options.quick else FULL))
            print(report.row(rows[-1]), flush=True)
    if options.json is not None:
        settings = {"suite": options.suite, "threads": options.threads, "quick": options.quick}
        report.write_json(options.json, about, settings, rows)


if __name__ == "__main__":
    main()
