"""Tables on the terminal (Markdown, so that they can be pasted) and the same rows as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any


class Table:
    """A Markdown table of fixed widths, so that it also reads well as plain text."""

    def __init__(self, columns: Sequence[str], widths: Sequence[int], left: Collection[int] = (0,)) -> None:
        self._columns, self._widths, self._left = columns, widths, left

    def line(self, cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i in self._left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    def heading(self) -> str:
        rules = [
            "-" * (width + 1) + ("-" if i in self._left else ":") for i, width in enumerate(self._widths)
        ]
        return f"{self.line(self._columns)}\n|{'|'.join(rules)}|"


PAIRS = Table(
    ("work", "threads", "ours p50", "p99", "PyTorch p50", "p99", "faster", "goal", "limit", "of limit"),
    (48, 7, 9, 9, 11, 9, 18, 4, 17, 8),
)


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:.{max(0, digits)}f}"


def about(machine: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in machine.items())


def heading() -> str:
    return (
        "Times in milliseconds. faster: median of the pairs' ratios PyTorch / ours (and their quartiles).\n"
        "limit: the larger of operations / peak rate and bytes / bandwidth, both measured in this run.\n\n"
        + PAIRS.heading()
    )


def row(r: dict[str, Any]) -> str:
    missed = r["goal"] is not None and r["threads"] == 2 and r["ratio"] < r["goal"]
    return PAIRS.line(
        (
            r["name"],
            str(r["threads"]),
            number(r["ours_p50_ms"]),
            number(r["ours_p99_ms"]),
            number(r["torch_p50_ms"]),
            number(r["torch_p99_ms"]),
            f"{r['ratio']:.2f} ({r['ratio_low']:.2f}-{r['ratio_high']:.2f})",
            "" if r["goal"] is None or r["threads"] != 2 else f"{r['goal']}{'!' if missed else ''}",
            f"{number(r['limit_ms'])} {r['limit_bound']}",
            f"{r['limit_ms'] / r['ours_p50_ms']:.0%}",
        )
    )


def write_json(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
