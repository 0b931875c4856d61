"""The run's tables, as Markdown: a line a peer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..inference.report import duration
from ..report import Table, number
from .goals import Verdict
from .store import Row

TABLE = Table(
    (
        "work",
        "ours p50",
        "p99",
        "on the GPU",
        "peer",
        "its p50",
        "p99",
        "faster",
        "on the GPU",
        "limit",
        "over",
        "notes",
    ),
    (52, 8, 8, 10, 22, 8, 8, 19, 10, 15, 6, 5),
    left=(0, 4, 11),
)
RATES = Table(("what", "measured", "lowest", "highest"), (52, 14, 9, 9))
GOALS = Table(
    ("promise", "against", "goal", "worst", "median", "cells", "verdict"),
    (50, 24, 5, 6, 6, 9, 12),
    left=(0, 1, 6),
)
NOTE = (
    "p50, p99: of whole calls, each with a wait for the GPU after it (perf_counter). on the GPU: its time\n"
    "for a call among others enqueued back to back (CUDA events), and the ratio of those. faster: the\n"
    "peer's p50 / ours, median of the rounds (and quartiles). limit: bytes and operations by the rates\n"
    "measured in this run; over: our time on the GPU over it. notes: ours by each route (on the GPU), or\n"
    "what is missing and why."
)


def rates(rows: Iterable[Row]) -> str:
    lines = [RATES.heading()]
    for row in rows:
        if "failed" in row:
            lines.append(f"{row['name']}: {row['failed']}")
            continue
        spread = [number(row[key]) if key in row else "" for key in ("lowest", "highest")]
        lines.append(RATES.line((row["name"], f"{number(row['value'])} {row['unit']}", *spread)))
    return "\n".join(lines)


def heading() -> str:
    return f"{NOTE}\n\n{TABLE.heading()}"


def lines(row: Row) -> str:
    """One for each peer; one if there is none."""
    if "failed" in row:
        return TABLE.line((row["name"], *["-"] * 10, row["failed"]))
    limit = row.get("limit_ms")
    ours = (
        row["name"],
        duration(row["p50_ms"]),
        duration(row["p99_ms"]),
        duration(row["device_ms"]),
    )
    bound = (
        f"{duration(limit)} {row['limit_bound']}" if limit else "-",
        number(row["device_ms"] / limit) if limit else "-",
    )
    routes = ", ".join(
        f"{name} {duration(times['device_ms'])}" for name, times in row.get("routes", {}).items()
    )
    if "plan" in row:
        routes = f"{row['plan']['route']} chosen" + f"; {routes}" * bool(routes)
    result = []
    for name, peer in (row["peers"] or {"-": {"absent": ""}}).items():
        result.append(TABLE.line((*ours, name, *_peer(peer), *bound, peer.get("absent", routes))))
        ours, bound, routes = ("", "", "", ""), ("", ""), ""
    return "\n".join(result)


def _peer(peer: Mapping[str, float]) -> tuple[str, ...]:
    if "p50_ms" not in peer:
        return ("-",) * 4
    faster = f"{peer['ratio']:.2f} ({peer['ratio_low']:.2f}-{peer['ratio_high']:.2f})"
    return duration(peer["p50_ms"]), duration(peer["p99_ms"]), faster, f"{peer['device_ratio']:.2f}"


def goals(verdicts: Sequence[Verdict]) -> str:
    result = [GOALS.heading()]
    for verdict in verdicts:
        row = verdict.as_row()
        worst, median = (f"{row[key]:.2f}" if key in row else "-" for key in ("worst", "median"))
        cells = f"{row.get('kept', 0)}/{row['measured']}/{row['cells']}"
        result.append(
            GOALS.line(
                (row["goal"], row["against"], f"{row['ratio']:g}x", worst, median, cells, row["verdict"])
            )
        )
    return "\n".join(result) + "\n\ncells: that keep the promise / measured / concerned by it"
