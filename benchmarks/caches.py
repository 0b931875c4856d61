"""How fast one pass over weights can be: they lie in the caches as far as they fit, and each level has its
rate.

Walking weights to and fro, up in one pass and down in the next, finds the end of the last pass still in the
nearest cache. So the least time of a pass is what each level holds, at that level's rate; a walk that always
starts at the front does worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Level:
    """What one core has of a cache, or of the memory (capacity: infinite), and how fast it reads from it."""

    name: str
    capacity: float  # bytes
    rate: float  # bytes a second


def pass_seconds(size: float, levels: Sequence[Level]) -> float:
    """The least seconds of one core's pass over `size` bytes that it reads again and again.

    levels: from the nearest outwards, each containing the one before.
    """
    seconds = inner = 0.0
    for level in levels:
        seconds += max(0.0, min(size, level.capacity) - inner) / level.rate
        inner = max(inner, level.capacity)
    return seconds


def nested(levels: Sequence[Level]) -> list[Level]:
    """No level is slower than the one around it: a lower rate is a disturbed measurement."""
    result: list[Level] = []
    for level in reversed(levels):
        result.append(replace(level, rate=max(level.rate, result[-1].rate if result else 0.0)))
    return result[::-1]


def sizes() -> tuple[float, float, float]:
    """Bytes of the first core's L1 (data), L2 and L3 as Linux says; elsewhere a common processor's."""
    found = {1: 32.0 * 2**10, 2: 2.0**20, 3: 2.0**25}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction" and size.endswith("K"):
            found[int(level)] = float(size[:-1]) * 2**10
    return found[1], found[2], found[3]
