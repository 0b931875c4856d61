"""TimeSeries: the values of some channels at evenly spaced times, with what is known besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Times = NDArray[np.datetime64]
OP = "TimeSeries"


@dataclass
class TimeSeries:
    """One series, checked when it is made.

    Args:
        values: [T] or [T, D] numbers; NaN: missing. At least one step.
        start: the time of the first step (anything numpy takes as datetime64); None: there are no times, and
            no calendar features can be made.
        step: from one step to the next, e.g. numpy.timedelta64(1, "h"), or of months, numpy.timedelta64(1,
            "M"); needed with `start`.
        covariates: [T + ..., C], from the first step on; may reach into the future. No NaN.
        static: [S] of the series as a whole.
        name: of the series, for messages.
        columns: names of the channels.
    """

    values: Any
    start: Any = None
    step: Any = None
    covariates: Any = None
    static: Any = None
    name: str = ""
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.values = _numbers("values", self.values, 2, missing=True)
        if len(self.values) == 0 or self.values.shape[1] == 0:
            raise ValueError(f"[{OP}] Expected values of at least one step and channel, got none.")
        if (self.start is None) != (self.step is None):
            raise ValueError(f"[{OP}] Expected start and step together.")
        if self.start is not None:
            self.start = np.datetime64(self.start).astype("datetime64[s]")
            self.step = np.timedelta64(self.step)
            unit = "M" if np.datetime_data(self.step.dtype)[0] in ("Y", "M") else "s"
            self.step = self.step.astype(f"timedelta64[{unit}]")
            if np.isnat(self.start) or np.isnat(self.step) or self.step.astype(np.int64) <= 0:
                raise ValueError(f"[{OP}] Expected start as a time and step above 0.")
        if self.covariates is not None:
            self.covariates = _numbers("covariates", self.covariates, 2)
            if len(self.covariates) < len(self.values):
                raise ValueError(
                    f"[{OP}] Expected covariates of at least {len(self.values)} steps, as values, "
                    f"got {len(self.covariates)}."
                )
        if self.static is not None:
            self.static = _numbers("static", self.static, 1)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def channels(self) -> int:
        """D"""
        return int(self.values.shape[1])

    def times(self, begin: int, end: int) -> Times:
        """The times of steps begin .. end - 1, which may lie before the first or after the last."""
        if self.start is None:
            raise ValueError(
                f"[{OP}] Expected start and step{self.of}: the model reads the calendar, which needs times."
            )
        steps = np.arange(begin, end) * self.step
        if np.datetime_data(self.step.dtype)[0] == "M":
            month = self.start.astype("datetime64[M]")
            return (month + steps).astype("datetime64[s]") + (self.start - month)  # type: ignore[no-any-return]
        return self.start + steps  # type: ignore[no-any-return]

    @property
    def of(self) -> str:
        """For messages."""
        return f" of series {self.name}" if self.name else ""


def _numbers(name: str, value: Any, rank: int, *, missing: bool = False) -> Floats:
    """value as float32 of so many dimensions; [T] becomes [T, 1]."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError
        array = array.astype(np.float32)
    except (TypeError, ValueError):
        raise TypeError(
            f"[{OP}] Expected {name} as an array of numbers, got {type(value).__name__}."
        ) from None
    if rank == 2 and array.ndim == 1:
        array = array[:, None]
    if array.ndim != rank:
        raise ValueError(f"[{OP}] Expected {name} of {rank} dimensions, got shape {list(array.shape)}.")
    bad = np.isinf(array) if missing else ~np.isfinite(array)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"[{OP}] Expected {name} to be finite, got {array[at]} at {list(at)}.")
    return np.ascontiguousarray(array)
