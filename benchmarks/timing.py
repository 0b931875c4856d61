"""Times several ways of doing the same work in turns, in one process and one run.

A machine's speed drifts (other tenants, clock, caches), so two runs one after the other compare the machine
with itself as much as the programs. Here a block of calls of ours is followed at once by a block of theirs,
each such round gives one ratio, and the figure reported is the median of the rounds' ratios.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

Call = Callable[[], object]

# Seconds between two looks at whether the other side's threads still spin: the kernel adds a running thread's
# time to its process at its ticks, which are up to 10 ms apart.
NAP = 0.025
LONGEST_SETTLE = 0.3
BLOCK = 0.01  # seconds of calls in a block, at least
WARM_UP = 0.05  # seconds of untimed calls of each side before the first round


@dataclass
class Samples:
    """Seconds of every call, and the median of each block."""

    calls: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)

    def milliseconds(self, percentile: float) -> float:
        return float(np.percentile(self.calls, percentile)) * 1e3

    def times_as_fast(self, peer: Samples) -> list[float]:
        """How many times as fast as the peer these calls were, round by round."""
        return [theirs / ours for ours, theirs in zip(self.blocks, peer.blocks, strict=True)]


@dataclass
class Comparison:
    ours: Samples
    peer: Samples

    @property
    def ratios(self) -> list[float]:
        return self.ours.times_as_fast(self.peer)


def _settle() -> None:
    """Waits until the other side's idle threads, which spin for a while after a call, have gone to sleep."""
    end = time.perf_counter() + LONGEST_SETTLE
    while time.perf_counter() < end:
        before = time.process_time()  # of all threads
        time.sleep(NAP)
        if time.process_time() - before < NAP / 4:
            return


def _block(call: Call, repeats: int, samples: Samples) -> None:
    _settle()
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


def contest(calls: Mapping[str, Call], *, seconds: float, rounds: int, least: int = 1) -> dict[str, Samples]:
    """At least `rounds` rounds, in each of which every call has its block of at least so many calls, and more
    until `seconds` have passed."""
    repeats = {}
    for name, call in calls.items():
        _settle()
        repeats[name] = max(least, round(BLOCK / _warm_up(call)))
    result = {name: Samples() for name in calls}
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        done = 0
        while done < rounds or time.perf_counter() < end:
            for name, call in calls.items():
                _block(call, repeats[name], result[name])
            done += 1
    finally:
        gc.enable()
    return result


def compare(ours: Call, peer: Call, *, seconds: float, pairs: int, least: int = 1) -> Comparison:
    """A contest of two."""
    result = contest({"ours": ours, "peer": peer}, seconds=seconds, rounds=pairs, least=least)
    return Comparison(result["ours"], result["peer"])


def medians(calls: Mapping[str, Call]) -> dict[str, float]:
    """Each call's median seconds in three rounds, fastest first."""
    result = contest(calls, seconds=0.0, rounds=3)
    seconds = {name: float(np.median(samples.blocks)) for name, samples in result.items()}
    return dict(sorted(seconds.items(), key=lambda item: item[1]))
