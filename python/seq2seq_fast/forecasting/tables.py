"""Time series from tables: CSV (plain, .gz, .xz) and Parquet (extra `parquet`), a column of times, a row a
step."""

from __future__ import annotations

import csv
import gzip
import lzma
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from seq2seq_fast.forecasting.series import TimeSeries

MISSING = {"", "na", "nan", "null", "none", "n/a"}


MOST_STEPS_A_ROW = 10_000
"""A series with more steps than this for each of its rows is no gap, but one wrong year."""


def read_series(
    path: str | os.PathLike[str],
    *,
    time: str = "date",
    target: Sequence[str] = (),
    covariates: Sequence[str] = (),
    static: Sequence[str] = (),
    group: str | None = None,
) -> list[TimeSeries]:
    """Read series from a table, ordered by time; the step is the smallest from a time to the next.

    Times that are left out, and empty cells, are missing values. Rows at the end that have covariates and no
    target are the future's.

    Args:
        path: .csv, .csv.gz, .csv.xz or .parquet, with named columns.
        time: the column of times (ISO 8601 in CSV).
        target: the channels' columns; none: all that are not named otherwise.
        covariates: columns known of the future, too. Where a time is left out they keep their last value.
        static: columns that do not change within a series.
        group: the column that says to which series a row belongs; None: there is one.

    Raises:
        ValueError: what is wrong, with file and column.
    """
    path = Path(path)
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    special = [time, *covariates, *static, *([] if group is None else [group])]
    for name in (*special, *target):
        if name not in table:
            raise ValueError(f"{path}: there is no column {name!r}; there are {', '.join(table)}.")
    channels = list(target) or [name for name in table if name not in special]
    if not channels:
        raise ValueError(f"{path}: there is no column of values beside {', '.join(special)}.")
    times = _times(path, time, table[time])
    if len(times) == 0:
        raise ValueError(f"{path}: there are no rows.")
    groups = np.array([""] * len(times)) if group is None else np.array([str(g) for g in table[group]])
    hint = "" if target else "; if it is no channel, name the channels (target), or it as the group"
    numbers = {
        name: _numbers(path, name, table[name], hint if name in channels else "")
        for name in (*channels, *covariates, *static)
    }
    found = []
    for key in dict.fromkeys(groups.tolist()):
        rows = np.flatnonzero(groups == key)
        rows = rows[np.argsort(times[rows], kind="stable")]
        own = {name: values[rows] for name, values in numbers.items()}
        found.append(_series(path, key, times[rows], own, channels, covariates, static))
    return found


def _series(
    path: Path,
    key: str,
    times: Any,
    numbers: Mapping[str, Any],
    channels: Sequence[str],
    covariates: Sequence[str],
    static: Sequence[str],
) -> TimeSeries:
    where = f"{path}: series {key!r}" if key else f"{path}"
    place, step = _grid(where, times)
    length = int(place[-1]) + 1
    if length > MOST_STEPS_A_ROW * len(place):
        raise ValueError(
            f"{where}: {len(place)} rows from {times[0]} to {times[-1]} are {length} steps of {step}: "
            "is one of the times mistyped?"
        )
    values = np.full((length, len(channels)), np.nan)
    values[place] = np.stack([numbers[name] for name in channels], axis=1)
    known = None
    if covariates:
        at = np.searchsorted(place, np.arange(length), side="right") - 1
        known = np.stack([numbers[name] for name in covariates], axis=1)[at]
        if np.isnan(known).any():
            name = covariates[int(np.argwhere(np.isnan(known))[0][1])]
            raise ValueError(f"{where}: covariate {name!r} has empty cells.")
        observed = np.flatnonzero(~np.isnan(values).all(axis=1))
        values = values[: int(observed[-1]) + 1 if len(observed) else length]
    fixed = None
    if static:
        for name in static:
            if np.isnan(numbers[name]).any() or np.ptp(numbers[name]) != 0:
                raise ValueError(f"{where}: static column {name!r} changes, or has empty cells.")
        fixed = np.array([numbers[name][0] for name in static])
    return TimeSeries(values, times[0], step, known, fixed, key, tuple(channels))


def _grid(where: str, times: Any) -> tuple[Any, Any]:
    """Each time's place on an even grid, and the grid's step: so many seconds, or months."""
    if len(times) == 1:
        return np.zeros(1, np.int64), np.timedelta64(1, "D")
    apart = np.diff(times)
    if (apart <= np.timedelta64(0, "s")).any():
        twice = times[int(np.argmin(apart)) + 1]
        raise ValueError(f"{where}: time {twice} is there twice.")
    months = times.astype("datetime64[M]")
    within = times - months
    if (within == within[0]).all():  # on one day of the month: months differ in length, so they are counted
        whole = np.diff(months.astype(np.int64))
        step = int(whole.min())
        place = (months.astype(np.int64) - int(months[0].astype(np.int64))) // step
        if (whole % step == 0).all():
            return place, np.timedelta64(step, "M")
    step = apart.min()
    late = np.flatnonzero((times - times[0]) % step != np.timedelta64(0, "s"))
    if len(late):
        raise ValueError(
            f"{where}: time {times[late[0]]} is not a whole number of steps of {step} after the first."
        )
    return (times - times[0]) // step, step


def _times(path: Path, name: str, column: Any) -> Any:
    try:
        times = np.array([str(t) for t in column] if isinstance(column, list) else column, "datetime64[s]")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: column {name!r}: expected ISO 8601 times ({error}).") from None
    if np.isnat(times).any():
        raise ValueError(f"{path}: column {name!r}: row {int(np.argmax(np.isnat(times))) + 1} has no time.")
    return times


def _numbers(path: Path, name: str, column: Any, hint: str) -> Any:
    if not isinstance(column, list):
        try:
            return np.asarray(column, np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: column {name!r}: expected numbers ({error}){hint}.") from None
    out = np.empty(len(column))
    for i, text in enumerate(column):
        try:
            out[i] = np.nan if text.strip().lower() in MISSING else float(text)
        except ValueError:
            raise ValueError(
                f"{path}: column {name!r}: row {i + 1}: expected a number, got {text!r}{hint}."
            ) from None
    if np.isinf(out).any():
        raise ValueError(f"{path}: column {name!r}: row {int(np.argmax(np.isinf(out))) + 1} is not finite.")
    return out


def _read_csv(path: Path) -> dict[str, list[str]]:
    with _open(path) as file:  # "utf-8-sig": Excel puts a byte order mark before the first name
        try:
            rows = list(csv.reader(file))
        except (
            csv.Error,
            UnicodeDecodeError,
            EOFError,
            lzma.LZMAError,
            gzip.BadGzipFile,
            zlib.error,
        ) as error:
            raise ValueError(f"{path}: not a whole CSV file ({error}).") from error
    while rows and not rows[-1]:  # blank lines at the end
        rows.pop()
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise ValueError(f"{path}: expected a first line of names, each once.")
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path}: line {i + 1} has {len(row)} cells, the first has {len(rows[0])}.")
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _read_parquet(path: Path) -> dict[str, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError("A Parquet file needs an extra: pip install 'seq2seq_fast[parquet]'") from None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a whole Parquet file ({error}).") from error
    out: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
            out[name] = ["" if value is None else value for value in column.to_pylist()]
        else:
            out[name] = column.to_numpy()
    return out
