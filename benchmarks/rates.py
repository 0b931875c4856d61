"""Measures what inference's limits are computed from: how fast caches are read and each type multiplies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from seq2seq_fast import nn

from .caches import Level, nested, sizes
from .machine import fastest_seconds, peak_flops, set_threads

TRIAL = 0.1  # seconds
FLOAT = 4  # bytes
COMPUTE_TYPES = ("float32", "float16", "bfloat16", "int8")


def marginal_rate(small: float, large: float, small_seconds: float, large_seconds: float) -> float:
    """What the bytes beyond `small` took, so that a call's cost is not in it; where the machine was busy and
    the difference says nothing, at most twice what the call itself achieved."""
    achieved = large / large_seconds
    further = large_seconds - small_seconds
    return min((large - small) / further, 2 * achieved) if further > 0 else achieved


def _read_rate(small: float, large: float) -> float:
    """Bytes a second of the best reduction, by the difference of two sizes."""
    best = 0.0
    for reduce in (torch.sum, torch.amax):
        short, long = (torch.ones(int(size) // FLOAT) for size in (small, large))
        with torch.inference_mode():
            seconds = [fastest_seconds(partial(reduce, values), TRIAL) for values in (short, long)]
        best = max(best, marginal_rate(small, large, *seconds))
    return best


@cache
def cache_levels(threads: int) -> list[Level]:
    """What one of `threads` cores has of each cache and of the memory while all of them read.

    L1 feeds an operand to each multiply-add: no reduction of numpy's or PyTorch's shows its full rate.
    """
    l1, l2, l3 = sizes()
    l1_rate = peak_flops(1) / 2 * FLOAT
    torch.set_num_threads(1)
    l2_rate = _read_rate(l2 / 8, l2 / 2)
    torch.set_num_threads(threads)
    l3_rate = _read_rate(threads * l2 * 2, threads * l2 * 4) / threads
    memory_rate = _read_rate(l3 * 4, l3 * 8) / threads
    return nested(
        [
            Level("L1", l1, l1_rate),
            Level("L2", l2, l2_rate),
            Level("L3", l3 / threads, l3_rate),
            Level("memory", math.inf, memory_rate),
        ]
    )


def _half_products(dtype: torch.dtype) -> Iterator[tuple[float, Callable[[], object]]]:
    for size in (512, 1024):
        a, b = torch.ones(2, size, size, dtype=dtype)
        yield 2.0 * size**3, partial(torch.mm, a, b)


def _int8_products() -> Iterator[tuple[float, Callable[[], object]]]:
    """PyTorch's product of int8 matrices, and our largest: a step of a wide layer for many rows."""
    for size in (512, 1024):
        a, b = torch.ones(2, size, size, dtype=torch.int8)
        yield 2.0 * size**3, partial(torch._int_mm, a, b)
    rows, width = 512, 1024
    make: Any = nn.LSTM
    try:
        layer = make(width, width, compute_type="int8")
    except (TypeError, ValueError):
        return  # not in this build
    x = np.ones((1, rows, width), np.float32)
    yield 2.0 * rows * 2 * 4 * width**2, partial(layer.eval(), x)


@cache
def product_rate(compute_type: str, threads: int) -> float:
    """Operations a second of the best matrix product here. 16-bit products may be done in float32."""
    best = 0.0 if compute_type == "int8" else peak_flops(threads)
    if compute_type == "float32":
        return best
    set_threads(threads)
    if compute_type == "int8":
        products = _int8_products()
    else:
        products = _half_products(torch.float16 if compute_type == "float16" else torch.bfloat16)
    for operations, product in products:
        try:
            best = max(best, operations / fastest_seconds(product, TRIAL))
        except RuntimeError:
            continue  # a type that this PyTorch or this processor does not multiply
    return best


@cache
def call_seconds() -> float:
    """A call of `nn.LSTM` that has nothing to do: one step of one unit. Python, checks, arrays."""
    layer, x = nn.LSTM(1, 1), np.ones((1, 1, 1), np.float32)
    layer.eval()
    return fastest_seconds(partial(layer, x), TRIAL)


def hand_over_seconds(threads: int) -> float:
    """What a step of an LSTM of 128 units takes on `threads` beyond its share of the work: mostly the way of
    a few cache lines from core to core. A hypervisor may move the cores apart between two runs."""
    layer, seconds = nn.LSTM(128, 128), {}
    layer.eval()
    for used in (1, threads):
        set_threads(used)
        short, long = (
            fastest_seconds(partial(layer, np.ones((steps, 1, 128), np.float32)), TRIAL)
            for steps in (50, 100)
        )
        seconds[used] = (long - short) / 50
    return seconds[threads] - seconds[1] / threads


def describe(threads: int) -> dict[str, str | float]:
    """What the table prints above itself."""
    levels = ", ".join(f"{level.name} {level.rate / 1e9:.0f}" for level in cache_levels(threads))
    products = ", ".join(f"{name} {product_rate(name, threads) / 1e9:.0f}" for name in COMPUTE_TYPES)
    set_threads(threads)
    return {
        f"GB/s read by each core, threads {threads}": levels,
        f"G operations/s of matrix products, threads {threads}": products,
        "microseconds of a call of nn.LSTM that has nothing to do": round(call_seconds() * 1e6, 2),
    }
