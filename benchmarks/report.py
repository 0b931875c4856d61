"""The table on the terminal (Markdown, so that it can be pasted) and the same rows as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

COLUMNS = ("work", "threads", "ours p50", "p99", "PyTorch p50", "p99", "faster", "goal", "limit", "of limit")
WIDTHS = (48, 7, 9, 9, 11, 9, 18, 4, 17, 8)


def _line(cells: tuple[str, ...]) -> str:
    padded = [
        c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"


def _number(value: float) -> str:
    """Three significant digits, no exponent."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:.{max(0, digits)}f}"


def heading(machine: dict[str, Any]) -> str:
    about = "\n".join(f"{key}: {value}" for key, value in machine.items())
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(WIDTHS)) + "|"
    note = (
        "Times in milliseconds. faster: median of the pairs' ratios PyTorch / ours (and their quartiles).\n"
        "limit: the larger of operations / peak rate and bytes / bandwidth, both measured in this run."
    )
    return f"{about}\n\n{note}\n\n{_line(COLUMNS)}\n{rule}"


def row(r: dict[str, Any]) -> str:
    missed = r["goal"] is not None and r["threads"] == 2 and r["ratio"] < r["goal"]
    return _line(
        (
            r["name"],
            str(r["threads"]),
            _number(r["ours_p50_ms"]),
            _number(r["ours_p99_ms"]),
            _number(r["torch_p50_ms"]),
            _number(r["torch_p99_ms"]),
            f"{r['ratio']:.2f} ({r['ratio_low']:.2f}-{r['ratio_high']:.2f})",
            "" if r["goal"] is None or r["threads"] != 2 else f"{r['goal']}{'!' if missed else ''}",
            f"{_number(r['limit_ms'])} {r['limit_bound']}",
            f"{r['limit_ms'] / r['ours_p50_ms']:.0%}",
        )
    )


def write_json(
    path: Path, machine: dict[str, Any], settings: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    content = {"machine": machine, "settings": settings, "rows": rows}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
