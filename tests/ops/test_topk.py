from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, WIDE, values
from place import Device
from seq2seq_fast import ops


def check(device: Device, x: Any, k: int) -> None:
    top, columns = device.run(ops.topk, x, k)
    expected_values, expected_columns = reference.topk(x, k)
    assert top.dtype == np.float32 and columns.dtype == np.int32
    assert np.array_equal(columns, expected_columns)
    assert np.array_equal(top, expected_values)


@pytest.mark.parametrize("width", [*SIZES, 1000])
def test_topk(device: Device, rng: np.random.Generator, width: int) -> None:
    x = values(rng, 5, width)
    for k in sorted({1, 2, 5, 10, 17, width // 2, width}):
        if 1 <= k <= width:
            check(device, x, k)


@pytest.mark.parametrize("width", WIDE)
def test_wide_rows(device: Device, rng: np.random.Generator, width: int) -> None:
    x = values(rng, 3, width)
    x[1] = rng.integers(0, 40, width)  # ties
    for k in (1, 2, 11):
        check(device, x, k)


@pytest.mark.parametrize("width", [17, 64, 200])
def test_ties_go_to_the_lower_index(device: Device, rng: np.random.Generator, width: int) -> None:
    x = rng.integers(0, 4, (6, width)).astype(np.float32)
    x[0] = 1.5
    for k in (1, 3, 16, width):
        check(device, x, k)


def test_in_order_and_in_reverse(device: Device) -> None:
    rising = np.arange(100, dtype=np.float32)
    check(device, np.stack([rising, rising[::-1]]), 9)


def test_infinities(device: Device) -> None:
    x = np.full((2, 20), -np.inf, np.float32)
    x[1, 7], x[1, 3] = np.inf, 0
    check(device, x, 5)


def test_zeros_of_either_sign_are_equal(device: Device) -> None:
    x = np.array([[-0.0, 0.0, -1.0, 0.0, -0.0]], np.float32)
    assert device.run(ops.topk, x, 4)[1].tolist() == [[0, 1, 3, 4]]


@pytest.mark.parametrize("width", [7, 1500])
def test_a_row_with_nan_has_no_best(device: Device, rng: np.random.Generator, width: int) -> None:
    x = values(rng, 4, width)
    x[1, width // 2] = x[3, 0] = np.nan
    with pytest.raises(ValueError, match="got NaN in row 1"):
        device.run(ops.topk, x, 3)
