"""The suite's tables on the terminal, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..report import Table, number
from .acceptance import Verdict

COLUMNS = {
    "work": 38,
    "threads": 7,
    "type": 8,
    "ours p50": 8,
    "p99": 7,
    "peer of like precision": 22,
    "faster": 19,
    "best peer": 20,
    "faster than it": 14,
    "limit": 15,
    "over limit": 10,
    "notes": 5,
}
TABLE = Table(tuple(COLUMNS), tuple(COLUMNS.values()), left=(0, 2, 5, 7, 11))
ACCEPTANCE = Table(
    ("cell", "threads", "type", "against", "goal", "measured", "at the limit", "verdict"),
    (38, 7, 8, 44, 5, 8, 12, 12),
    left=(0, 2, 3, 7),
)
NOTE = (
    "faster: the peer's time / ours, median of the rounds (and quartiles); the peer is the fastest of the\n"
    "same precision (for float16: bfloat16), the best one the fastest of any. limit: bytes and operations\n"
    "by the rates above; the cost of a call is not in it. All results were compared with float32 first."
)


def duration(milliseconds: float) -> str:
    """Three significant digits in the unit that suits."""
    for unit, factor in (("us", 1e3), ("ms", 1.0)):
        if milliseconds * factor < 1000:
            return f"{number(milliseconds * factor)} {unit}"
    return f"{number(milliseconds / 1e3)} s"


def heading() -> str:
    return f"{NOTE}\n\n{TABLE.heading()}"


def row(r: dict[str, Any]) -> str:
    first = (r["name"], str(r["threads"]), r["compute_type"])
    limit = f"{duration(r['limit_ms'])} {r['limit_bound']}"
    if "absent" in r:
        return TABLE.line((*first, "-", "-", "-", "-", "-", "-", limit, "-", r["absent"]))
    like, best = r["like_peer"], r["best_peer"]
    peer = r["peers"].get(like)
    return TABLE.line(
        (
            *first,
            duration(r["ours_p50_ms"]),
            duration(r["ours_p99_ms"]),
            like or "-",
            f"{peer['ratio']:.2f} ({peer['ratio_low']:.2f}-{peer['ratio_high']:.2f})" if peer else "-",
            best or "-",
            f"{r['peers'][best]['ratio']:.2f}" if best else "-",
            limit,
            number(r["over_limit"]),
            "; ".join(_notes(r)),
        )
    )


def _notes(r: dict[str, Any]) -> list[str]:
    lost = [f"a step loses {r['step_loses_us']:.2f} us to threads"] if "step_loses_us" in r else []
    return [*lost, *sorted({peer["absent"] for peer in r["peers"].values() if "absent" in peer})]


def acceptance(verdicts: Sequence[Verdict]) -> str:
    lines = [ACCEPTANCE.heading()]
    for v in verdicts:
        against = v.peer if len(v.goal.against) == 1 and v.peer else f"best of {_short(v.goal.against)}"
        first = (v.goal.cell.name, str(v.goal.threads), v.goal.compute_type, against, f"{v.goal.ratio:g}x")
        lines.append(ACCEPTANCE.line((*first, _ratio(v.measured), _ratio(v.at_limit), v.word)))
    counts = {word: sum(v.word == word for v in verdicts) for word in ("met", "missed", "not measured")}
    return "\n".join(lines) + "\n\n" + ", ".join(f"{count} {word}" for word, count in counts.items())


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _short(names: Iterable[str]) -> str:
    return "all" if len(tuple(names)) > 2 else " and ".join(names)
