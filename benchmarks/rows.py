"""One row of the table: two sides that were shown to agree, timed in pairs, beside the limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .limits import Work
from .timing import Call, compare


@dataclass(frozen=True)
class Case:
    """A piece of work both sides do. `check` raises AssertionError unless their results agree."""

    suite: str
    name: str
    ours: Call
    peer: Call
    check: Callable[[], None]
    work: Work
    goal: float | None = None  # the ratio that the project has promised, with two threads
    together: int = 1  # calls in a block, at least, after one that is not timed where there are more


@dataclass(frozen=True)
class Effort:
    """How long a case is timed."""

    seconds: float
    pairs: int


FULL = Effort(seconds=3.0, pairs=15)
QUICK = Effort(seconds=0.0, pairs=3)


def run(case: Case, threads: int, effort: Effort) -> dict[str, object]:
    """Checks, then times. All times in milliseconds."""
    case.check()
    pairs = max(1, 2 * effort.pairs // (1 + case.together))
    result = compare(case.ours, case.peer, seconds=effort.seconds, pairs=pairs, least=case.together)
    ratios = result.ratios
    limit, bound = case.work.limit(threads)
    return {
        "suite": case.suite,
        "name": case.name,
        "threads": threads,
        "ours_p50_ms": result.ours.milliseconds(50),
        "ours_p99_ms": result.ours.milliseconds(99),
        "torch_p50_ms": result.peer.milliseconds(50),
        "torch_p99_ms": result.peer.milliseconds(99),
        "ratio": float(np.median(ratios)),
        "ratio_low": float(np.percentile(ratios, 25)),
        "ratio_high": float(np.percentile(ratios, 75)),
        "pairs": len(ratios),
        "goal": case.goal,
        "limit_ms": limit * 1e3,
        "limit_bound": bound,
        "operations": case.work.operations,
        "bytes": case.work.bytes,
    }
