"""`python -m benchmarks.plot FILE.json --out FILE.png`: the inference rows as a picture.

Above, how many times as fast as the best peer of any precision we are; below, how many times over the limit.
A column for each kind of layer and each of step and sequence, and one for decoding.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError:
    sys.exit("The plot is drawn by matplotlib: pip install '.[bench]'")

COLOURS = {"float32": "#1f77b4", "float16": "#2ca02c", "bfloat16": "#ff7f0e", "int8": "#d62728"}
STYLES = ("-", "--", ":")  # of batches
Row = dict[str, Any]


def ratio_to_best(row: Row) -> float | None:
    return row["peers"][row["best_peer"]]["ratio"] if row["best_peer"] else None


def over_limit(row: Row) -> float | None:
    value: float = row["over_limit"]
    return value


METRICS: dict[str, Callable[[Row], float | None]] = {
    "times as fast as the best peer": ratio_to_best,
    "time / limit": over_limit,
}


def _layers(axes: Axes, rows: list[Row], value: Callable[[Row], float | None]) -> None:
    """A line over the widths for each type (colour) and batch (dashes)."""
    batches = sorted({row["batch"] for row in rows})
    for compute_type, colour in COLOURS.items():
        for batch, style in zip(batches, STYLES, strict=False):
            points = sorted(
                (row["hidden"], y)
                for row in rows
                if (row["compute_type"], row["batch"]) == (compute_type, batch)
                and (y := value(row)) is not None
            )
            if points:
                label = f"{compute_type}, batch {batch}"
                axes.plot(*zip(*points, strict=True), style, color=colour, marker=".", label=label)
    axes.set_xscale("log", base=2)
    widths = sorted({row["hidden"] for row in rows})
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xlabel("H")


def _searches(axes: Axes, rows: list[Row], value: Callable[[Row], float | None]) -> None:
    """A point for each network, search and type."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    for compute_type, colour in COLOURS.items():
        points = [
            (names.index(row["name"]), y)
            for row in rows
            if row["compute_type"] == compute_type and (y := value(row)) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=colour, label=compute_type)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)


def draw(rows: list[Row], threads: int, machine: str) -> Figure:
    """rows: of the inference suite, with that thread count."""
    rows = [row for row in rows if row.get("threads") == threads and "over_limit" in row]
    columns = {
        f"{kind}, {part}": [row for row in rows if row.get("kind") == kind and row["part"] == part]
        for part in ("step", "sequence")
        for kind in ("LSTM", "GRU")
    }
    columns["decoding"] = [row for row in rows if row["part"] == "decode"]
    columns = {title: found for title, found in columns.items() if found}
    if not columns:
        raise ValueError(f"There is no row of the inference suite with {threads} threads.")
    figure = Figure(figsize=(4.2 * len(columns), 9), layout="constrained")
    grid = figure.subplots(len(METRICS), len(columns), squeeze=False, sharey="row")
    for line, (label, value) in zip(grid, METRICS.items(), strict=True):
        for axes, (title, found) in zip(line, columns.items(), strict=True):
            (_searches if title == "decoding" else _layers)(axes, found, value)
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter("{x:g}")
            axes.axhline(1.0, color="black", linewidth=0.8)
            axes.grid(which="both", alpha=0.3)
            axes.set_title(title)
        line[0].set_ylabel(label)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(f"{machine}, {threads} thread{'s' if threads > 1 else ''}")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("file", type=Path, help="what --json wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    content = json.loads(options.file.read_text(encoding="utf-8"))
    try:
        draw(content["rows"], options.threads, content["machine"]["cpu"]).savefig(options.out, dpi=120)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
