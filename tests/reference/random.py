"""Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reference.autodiff import Array

WORD = 0xFFFFFFFF


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """A counter of four 32-bit words and a key of two -> four random words, by ten rounds."""
    c0, c1, c2, c3 = (int(c) for c in counter)
    k0, k1 = (int(k) for k in key)
    for _ in range(10):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (right >> 32) ^ c1 ^ k0, right & WORD, (left >> 32) ^ c3 ^ k1, left & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return [c0, c1, c2, c3]


def uniforms(
    count: int, seed: int, update: int, op: int, example: int, time: int, stream: int = 0
) -> np.ndarray:
    """Numbers in [0, 1) for `count` units of one example at one time; 24 bits each."""
    key = [(seed ^ (seed >> 32)) & WORD, update & WORD]
    words: list[int] = []
    for block in range((count + 3) // 4):
        words += philox(
            [block + (stream << 28), time & WORD, example & WORD, (op | (example >> 32) << 8) & WORD], key
        )
    return np.array([(word >> 8) * 2.0**-24 for word in words[:count]])


def dropout_mask(
    rows: int,
    columns: int,
    p: float,
    seed: int,
    update: int = 0,
    op: int = 0,
    example: Any = None,
    time: Any = None,
) -> np.ndarray:
    """[rows, columns]: 1 / (1 - p) where the unit is kept, else 0. Row r is example[r] (r) at time[r] (0)."""
    examples = range(rows) if example is None else example
    times = [0] * rows if time is None else time
    u = [uniforms(columns, seed, update, op, int(examples[r]), int(times[r])) for r in range(rows)]
    return np.where(np.reshape(u, (rows, columns)) >= p, 1 / (1 - p), 0.0)


def dropout(
    x: Array, p: float, seed: int, update: int = 0, op: int = 0, example: Any = None, time: Any = None
) -> Array:
    """x [R, C]."""
    return x * dropout_mask(x.shape[0], x.shape[1], p, seed, update, op, example, time)
