"""Times two ways of doing the same work in alternating pairs, in one process and one run.

A machine's speed drifts (other tenants, clock, caches), so two runs one after the other compare the machine
with itself as much as the programs. Here a block of calls of ours is followed at once by a block of theirs,
each such pair gives one ratio, and the figure reported is the median of the pairs' ratios.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

Call = Callable[[], object]

SETTLE = 0.003  # seconds: the other side's idle threads spin for a while after a call, and would take a core
BLOCK = 0.01  # seconds of calls in a block, at least
WARM_UP = 0.1  # seconds of untimed calls of each side before the first pair


@dataclass
class Samples:
    """Seconds of every call, and the median of each block."""

    calls: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)

    def milliseconds(self, percentile: float) -> float:
        return float(np.percentile(self.calls, percentile)) * 1e3


@dataclass
class Comparison:
    ours: Samples
    peer: Samples

    @property
    def ratios(self) -> list[float]:
        """How many times as fast as the peer we were, pair by pair."""
        return [theirs / ours for ours, theirs in zip(self.ours.blocks, self.peer.blocks, strict=True)]


def _block(call: Call, repeats: int, samples: Samples) -> None:
    time.sleep(SETTLE)
    if repeats > 1:
        call()  # wakes the threads that slept while the other side ran
    block = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        block.append(time.perf_counter() - start)
    samples.calls += block
    samples.blocks.append(float(np.median(block)))


def _warm_up(call: Call) -> float:
    """Calls until the caches, the allocator and the threads are warm; the seconds of the fastest call."""
    end = time.perf_counter() + WARM_UP
    fastest = float("inf")
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        fastest = min(fastest, now - start)
        if now > end:
            return fastest


def compare(ours: Call, peer: Call, *, seconds: float, pairs: int) -> Comparison:
    """At least `pairs` alternating pairs of blocks, and more until `seconds` have passed."""
    repeats = [max(1, round(BLOCK / _warm_up(call))) for call in (ours, peer)]
    result = Comparison(Samples(), Samples())
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(result.ours.blocks) < pairs or time.perf_counter() < end:
            _block(ours, repeats[0], result.ours)
            _block(peer, repeats[1], result.peer)
    finally:
        gc.enable()
    return result


def fastest(calls: Mapping[str, Call], *, rounds: int = 7) -> str:
    """The name of the call with the least median time over rounds in which each is called once."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return min(times, key=lambda name: float(np.median(times[name])))
