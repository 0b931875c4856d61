"""Calendar features of times: where in the hour, day, week, month and year a step lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Times = NDArray[np.datetime64]


def _since(times: Times, unit: str, step: str) -> Any:
    """Steps since the last full unit, fractions included."""
    return (times - times.astype(f"datetime64[{unit}]")) / np.timedelta64(1, step)  # type: ignore[call-overload]


def _length(times: Times, unit: str) -> Any:
    """Days of the month ("M") or year ("Y")."""
    begin = times.astype(f"datetime64[{unit}]")
    end = begin + np.timedelta64(1, unit)  # type: ignore[call-overload]
    return (end.astype("datetime64[D]") - begin.astype("datetime64[D]")) / np.timedelta64(1, "D")


CALENDAR: dict[str, Callable[[Times], Any]] = {
    "minute": lambda t: _since(t, "h", "m") / 60,
    "hour": lambda t: _since(t, "D", "h") / 24,
    # 1970-01-05 was a Monday.
    "weekday": lambda t: ((t - np.datetime64("1970-01-05")) / np.timedelta64(7, "D")) % 1.0,
    "day": lambda t: _since(t, "M", "D") / _length(t, "M"),
    "month": lambda t: (t.astype("datetime64[M]").astype(np.int64) % 12) / 12,
    "yearday": lambda t: _since(t, "Y", "D") / _length(t, "Y"),
}
"""Each feature as a part of its cycle, from 0 to below 1."""


def calendar_features(times: Times, names: Sequence[str]) -> Floats:
    """float32 [T, 2 * len(names)]: sine and cosine of each feature's place in its cycle."""
    columns = []
    for name in names:
        turn = 2 * np.pi * np.asarray(CALENDAR[name](times.astype("datetime64[s]")), np.float64)
        columns += [np.sin(turn), np.cos(turn)]
    if not columns:
        return np.zeros((len(times), 0), np.float32)
    return np.stack(columns, axis=1).astype(np.float32)
