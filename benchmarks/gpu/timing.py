"""Times several ways of doing the same work in turns, as `benchmarks.timing` does, where the work is a GPU's.

Two figures a way: the seconds of a whole call with a wait for the device after it (perf_counter), which is
what a service waits for; and the device's own seconds of calls that are enqueued back to back (CUDA events),
in which the host's part shows only where it is the longer one.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..timing import Samples
from .place import Place

Call = Callable[[], Any]
MOST_CALLS = 2000  # of a block


@dataclass(frozen=True)
class Effort:
    """Of each contestant: so many rounds, which share these seconds."""

    seconds: float
    rounds: int


FULL = Effort(seconds=0.1, rounds=5)
LONG = Effort(seconds=0.3, rounds=7)  # what a promise hangs on
QUICK = Effort(seconds=0.0, rounds=1)


@dataclass(frozen=True)
class Contestant:
    """`environment`: variables that are set while it runs."""

    name: str
    call: Call
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Times(Samples):
    device: list[float] = field(default_factory=list)
    """Seconds of a call on the device, the mean of each block."""

    def row(self) -> dict[str, float]:
        return {
            "p50_ms": self.milliseconds(50),
            "p99_ms": self.milliseconds(99),
            "device_ms": float(np.median(self.device)) * 1e3,
            "calls": len(self.calls),
        }


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables, which native code sees, too."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _calls_of_a_block(call: Call, place: Place, effort: Effort) -> int:
    """After a warm-up: so many that all blocks of synchronised and of enqueued calls take effort.seconds."""
    fastest = float("inf")
    for _ in range(1 if effort.seconds == 0 else 3):
        start = time.perf_counter()
        call()
        place.synchronize()
        fastest = min(fastest, time.perf_counter() - start)
    return int(np.clip(effort.seconds / (2 * effort.rounds * fastest), 1, MOST_CALLS))


def _block(call: Call, place: Place, repeats: int, times: Times) -> None:
    block = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        place.synchronize()
        block.append(time.perf_counter() - start)
    times.calls += block
    times.blocks.append(float(np.median(block)))
    times.device.append(place.seconds_on_device(call, repeats))


def contest(contestants: Sequence[Contestant], place: Place, effort: Effort) -> dict[str, Times]:
    repeats = {}
    for one in contestants:
        with variables(one.environment):
            repeats[one.name] = _calls_of_a_block(one.call, place, effort)
    result = {one.name: Times() for one in contestants}
    gc.collect()
    gc.disable()
    try:
        for _ in range(effort.rounds):
            for one in contestants:
                with variables(one.environment):
                    _block(one.call, place, repeats[one.name], result[one.name])
    finally:
        gc.enable()
    return result


def against(ours: Times, peer: Times) -> dict[str, float]:
    """How many times as fast as the peer we are: the rounds' median and quartiles."""
    ratios = ours.times_as_fast(peer)
    return {
        "ratio": float(np.median(ratios)),
        "ratio_low": float(np.percentile(ratios, 25)),
        "ratio_high": float(np.percentile(ratios, 75)),
        "device_ratio": float(np.median(peer.device) / np.median(ours.device)),
    }
