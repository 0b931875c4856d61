"""Weights in fewer bits, by the rules that ops/matmul.h and pack.cpp state, in plain float32 numpy."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def float16(x: Array) -> Array:
    """The nearest numbers of IEEE half precision, ties to even; infinity beyond 65504."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def bfloat16(x: Array) -> Array:
    """The nearest numbers of eight significant bits, ties to even."""
    words = x.view(np.uint32).astype(np.uint64)
    nearest = (words + 0x7FFF + (words >> 16 & 1)) & 0xFFFF0000
    return np.where(np.isnan(x), x, nearest.astype(np.uint32).view(np.float32))


def int8_rows(weight: Array) -> tuple[Array, Array]:
    """[N, K] -> integers from -127 to 127 and the scale of each row: absmax / 127, its significand rounded up
    to 16 bits; 0 for a row without a number of 2^-100, NaN for one with NaN or infinity."""
    absmax = np.abs(weight).max(axis=1)
    finite = np.isfinite(weight).all(axis=1)
    scale = np.where(finite & (absmax >= 2.0**-100), absmax, 0).astype(np.float32) / np.float32(127)
    scale = (scale.view(np.uint32) + np.uint32(255) & np.uint32(0xFFFFFF00)).view(np.float32)
    used = scale > 0
    integers = np.zeros(weight.shape, np.int64)
    integers[used] = np.rint(weight[used] / scale[used, None]).astype(np.int64)
    return integers, np.where(finite, scale, np.float32(np.nan))


def int8_linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x [R, K] quantised by rows, round(127 x / absmax), times quantised weight [N, K], to the library's
    last bit: NaN for a row of x with NaN or infinity."""
    bound = np.abs(x).max(axis=1)
    finite = np.isfinite(x).all(axis=1)
    # Where 127 / absmax would be infinite, a row is zeros.
    used = finite & (bound > np.float32(127) / np.finfo(np.float32).max)
    integers = np.zeros(x.shape, np.int64)
    integers[used] = np.rint(x[used] * (np.float32(127) / bound[used])[:, None]).astype(np.int64)
    columns, scale = int8_rows(weight)
    unit = np.where(finite, bound / np.float32(127), np.float32(np.nan))
    y = (integers @ columns.T).astype(np.float32) * scale * unit[:, None]
    return y if bias is None else y + bias
