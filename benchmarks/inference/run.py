"""Runs one task: everybody's result is checked, then everybody is timed in turns, then rows are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import rates
from ..networks import LENGTH, Size
from ..timing import Samples, contest
from . import decoding, layers, limits
from .cells import LayerCell, SearchCell, Task
from .contestant import OURS, PEERS, Absent, Contestant, of_like_precision


@dataclass(frozen=True)
class Effort:
    """How long a cell is timed: so many rounds, and more until the seconds are over."""

    seconds: float
    rounds: int


FULL = Effort(seconds=1.0, rounds=5)
ACCEPTANCE = Effort(seconds=3.0, rounds=11)
QUICK = Effort(seconds=0.0, rounds=1)

Everyone = list[Contestant | Absent]


def _layer(cell: LayerCell, task: Task, peers: frozenset[str]) -> tuple[Everyone, Callable[..., float]]:
    problem = layers.Problem.of(cell)
    reference = problem.reference()
    everyone = list(layers.contestants(problem, task.threads, task.compute_types, peers))
    return everyone, lambda contestant: layers.error(contestant, reference)


def _search(cell: SearchCell, task: Task, peers: frozenset[str]) -> tuple[Everyone, Callable[..., float]]:
    problem = decoding.Problem.of(cell)
    reference = problem.reference()
    everyone = list(decoding.contestants(problem, task.compute_types, peers))
    return everyone, lambda contestant: decoding.error(contestant, problem, reference)


def _limit(task: Task, compute_type: str) -> limits.Limit:
    cell = task.cell
    if isinstance(cell, LayerCell):
        phases = limits.layer(cell, compute_type)
    else:
        config = Size(cell.vocabulary, cell.hidden).config
        phases = limits.decoding(config, cell.batch, cell.beam, LENGTH, LENGTH, compute_type)
    machine = limits.Machine(
        task.threads,
        rates.cache_levels(task.threads),
        rates.product_rate(compute_type, task.threads),
        rates.product_rate("float32", task.threads),
    )
    return limits.limit(phases, machine)


def run(task: Task, effort: Effort, *, compiled: bool) -> list[dict[str, Any]]:
    """A row for each of our compute types.

    compiled: with `torch.compile` as a peer, which takes a minute a cell.

    Raises:
        AssertionError: our result is wrong.
    """
    peers = (
        task.peers
        if task.peers is not None
        else frozenset(PEERS) - (set() if compiled else {"torch.compile"})
    )
    if isinstance(task.cell, LayerCell):
        everyone, error = _layer(task.cell, task, peers)
    else:
        everyone, error = _search(task.cell, task, peers)
    everyone, errors = checked(everyone, error)
    calls = {one.name: one.call for one in everyone if isinstance(one, Contestant)}
    samples = contest(calls, seconds=effort.seconds, rounds=effort.rounds)
    # Right after the cell: the way from core to core may be another a minute later.
    lost = {"step_loses_us": rates.hand_over_seconds(task.threads) * 1e6} if task.threads > 1 else {}
    return [
        make_row(task, compute_type, _limit(task, compute_type), everyone, errors, samples) | lost
        for compute_type in task.compute_types
    ]


def checked(everyone: Everyone, error: Callable[..., float]) -> tuple[Everyone, dict[str, float]]:
    """Everyone and their errors, with those peers absent that are too far off. Ours being so is an
    AssertionError."""
    result: Everyone = []
    errors = {}
    for one in everyone:
        if isinstance(one, Contestant):
            try:
                errors[one.name] = error(one)
            except AssertionError as wrong:
                if one.name.startswith(OURS):
                    raise
                result.append(Absent(one.name, one.precision, str(wrong)))
                continue
        result.append(one)
    return result, errors


def make_row(
    task: Task,
    compute_type: str,
    limit: limits.Limit,
    everyone: Iterable[Contestant | Absent],
    errors: Mapping[str, float],
    samples: Mapping[str, Samples],
) -> dict[str, Any]:
    """Times in milliseconds; ratios say how many times as fast as the peer we are."""
    by_name = {one.name: one for one in everyone}
    me = by_name.pop(f"{OURS} {compute_type}")
    cell = task.cell
    row: dict[str, Any] = {
        "part": cell.part,
        "name": cell.name,
        **vars(cell),
        "threads": task.threads,
        "compute_type": compute_type,
        "limit_ms": limit.seconds * 1e3,
        "limit_bound": limit.bound,
    }
    if isinstance(me, Absent):
        return row | {"absent": me.reason}
    ours = samples[me.name]
    peers = {name: _against(ours, one, errors, samples) for name, one in by_name.items() if name in PEERS}
    measured = [name for name, peer in peers.items() if "absent" not in peer]
    return row | {
        "ours_p50_ms": ours.milliseconds(50),
        "ours_p99_ms": ours.milliseconds(99),
        "rounds": len(ours.blocks),
        "error": errors[me.name],
        "over_limit": ours.milliseconds(50) / (limit.seconds * 1e3),
        "peers": peers,
        "like_peer": fastest_peer(peers, [n for n in measured if of_like_precision(compute_type, n)]),
        "best_peer": fastest_peer(peers, measured),
    }


def _against(
    ours: Samples, peer: Contestant | Absent, errors: Mapping[str, float], samples: Mapping[str, Samples]
) -> dict[str, Any]:
    if isinstance(peer, Absent):
        return {"absent": peer.reason}
    theirs = samples[peer.name]
    ratios = ours.times_as_fast(theirs)
    return {
        "p50_ms": theirs.milliseconds(50),
        "p99_ms": theirs.milliseconds(99),
        "ratio": float(np.median(ratios)),
        "ratio_low": float(np.percentile(ratios, 25)),
        "ratio_high": float(np.percentile(ratios, 75)),
        "error": errors[peer.name],
        "variants_ms": {name: seconds * 1e3 for name, seconds in peer.variants.items()},
    }


def fastest_peer(peers: Mapping[str, dict[str, Any]], names: Sequence[str]) -> str | None:
    """The one against whom our ratio is least."""
    return min(names, key=lambda name: float(peers[name]["ratio"]), default=None)
