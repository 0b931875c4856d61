from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, WIDE, values
from place import Device
from seq2seq_fast import ops

LAST = np.float32(1 - 2**-24)  # the largest number below 1


def check(device: Device, x: Any, u: Any) -> None:
    """The reference's column, or its neighbour where u is no more than a rounding error from their border."""
    u = np.asarray(u, np.float32)
    found = device.run(ops.sample, x, u)
    assert found.dtype == np.int32
    wide = x.astype(np.float64)
    expected = reference.sample(wide, u.astype(np.float64))
    p = reference.softmax(wide)
    rows = np.arange(len(x))
    upto = np.cumsum(p, axis=1)
    low, high = upto[rows, found] - p[rows, found], upto[rows, found]
    assert np.all((low - 1e-5 <= u) & (u <= high + 1e-5))
    assert np.all(p[rows, found] > 0)
    border = np.abs(upto - u[:, None]).min(axis=1) < 1e-5
    assert np.all((found == expected) | border)
    assert np.mean(border) < 0.5


@pytest.mark.parametrize("width", [*SIZES, 1000])
def test_sample(device: Device, rng: np.random.Generator, width: int) -> None:
    check(device, values(rng, 40, width, outliers=False), rng.random(40))


@pytest.mark.parametrize("width", WIDE)
def test_wide_rows(device: Device, rng: np.random.Generator, width: int) -> None:
    check(device, values(rng, 9, width, scale=3.0, outliers=False), rng.random(9))


@pytest.mark.parametrize("width", [5, 300, 3000])
def test_frequencies(device: Device, rng: np.random.Generator, width: int) -> None:
    """Evenly spaced numbers: each column is drawn as often as its probability says, to a draw or two."""
    draws = 4000
    x = np.repeat(values(rng, 1, width, scale=2.0, outliers=False), draws, axis=0)
    u = ((np.arange(draws) + 0.5) / draws).astype(np.float32)
    counts = np.bincount(device.run(ops.sample, x, u), minlength=width)
    assert np.abs(counts - draws * reference.softmax(x[0].astype(np.float64))).max() <= 2
    assert len(counts) == width


@pytest.mark.parametrize("width", [3, 40, 700, 5000])
@pytest.mark.parametrize("u", [0.0, 0.5, LAST])
def test_what_has_no_probability_is_not_drawn(device: Device, width: int, u: float) -> None:
    x = np.full((3, width), -np.inf, np.float32)
    x[0, 1] = x[1, width - 2] = -7
    x[2, width // 3 : width - 1] = 2
    found = device.run(ops.sample, x, np.full(3, u, np.float32))
    assert found[:2].tolist() == [1, width - 2]
    assert width // 3 <= found[2] < width - 1
    if u == 0:
        assert found[2] == width // 3


def test_the_last_column(device: Device, rng: np.random.Generator) -> None:
    for width in (1, 33, 1025):
        x = np.zeros((1, width), np.float32)
        assert device.run(ops.sample, x, np.array([LAST])).tolist() == [width - 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_without_a_distribution(device: Device, rng: np.random.Generator, bad: float) -> None:
    for width in (7, 1500):
        x = values(rng, 4, width)
        x[2, width // 2] = bad
        with pytest.raises(ValueError, match=r"\[sample\] Expected x with a finite largest .*none in row 2"):
            device.run(ops.sample, x, np.full(4, 0.5, np.float32))


def test_no_rows(device: Device) -> None:
    with pytest.raises(ValueError, match="at least one element"):
        device.run(ops.sample, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
