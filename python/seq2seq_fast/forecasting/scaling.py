"""How the values of windows become what the network reads: less a shift, divided by a scale, for each
channel.

All is float64 inside: a series far from 0 with a small deviation keeps its digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def window_scaling(context: Any, scaling: str) -> tuple[Doubles, Doubles]:
    """Shift and scale [N, D] of contexts [N, T, D], by what was observed of each; NaN: missing.

    Where nothing was observed, or all of it is the same (for mean: 0), the scale is 1.
    """
    x = np.asarray(context, np.float64)
    there = ~np.isnan(x)
    count = np.maximum(there.sum(axis=1), 1)
    shape = (x.shape[0], x.shape[2])
    zeros, ones = np.zeros(shape), np.ones(shape)
    filled = np.where(there, x, 0.0)
    if scaling == "none":
        return zeros, ones
    if scaling == "mean":
        scale = np.abs(filled).sum(axis=1) / count
        return zeros, np.where(scale > 0, scale, 1.0)
    if scaling == "last":
        last = x.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)
        return np.take_along_axis(filled, last[:, None], axis=1)[:, 0], ones
    mean = filled.sum(axis=1) / count
    if scaling == "center":
        return mean, ones
    deviation = np.sqrt((np.where(there, x - mean[:, None], 0.0) ** 2).sum(axis=1) / count)
    least = 1e-6 * np.abs(mean)  # below it, what is left are rounding errors of the input
    return mean, np.where(deviation > least, deviation, 1.0)


def fill_forward(x: Any) -> Doubles:
    """x [N, T, D] with each missing value replaced by the last one before it, or by 0 where there is none."""
    values: Doubles = np.asarray(x, np.float64)
    there = ~np.isnan(values)
    if there.all():
        return values
    last = np.maximum.accumulate(np.where(there, np.arange(values.shape[1])[None, :, None], -1), axis=1)
    filled: Doubles = np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=1), 0.0)
    return filled
