"""softmax, log_softmax and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, WIDE, assert_sums_close, double, values
from place import Device
from seq2seq_fast import ops

FUNCTIONS = ["softmax", "log_softmax"]


@pytest.mark.parametrize("width", [*SIZES, 1000, *WIDE])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_softmax(device: Device, rng: np.random.Generator, name: str, width: int) -> None:
    x, dy = values(rng, 9, width, scale=3), values(rng, 9, width)
    y = device.run(getattr(ops, name), x)
    expected = getattr(reference, name)(double(x))
    assert y.dtype == np.float32
    # Element by element, small probabilities too; below 1e-38 they are 0. x - max is rounded, as it must be.
    allowed = 3e-7 * (np.abs(x - x.max(axis=1, keepdims=True)) + 3)
    assert np.all(np.abs(y - expected) <= (allowed * expected + 2e-38 if name == "softmax" else allowed))
    dx = device.run(getattr(ops, name + "_backward"), dy, y)
    size, p = np.abs(double(dy)), reference.softmax(double(x))
    terms = p * (size + np.sum(p * size, axis=1, keepdims=True))
    if name == "log_softmax":
        terms = size + p * np.sum(size, axis=1, keepdims=True)
    assert_sums_close(dx, reference.vjp(getattr(reference, name), [double(x)], dy)[0], terms + 1e-30)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_far_apart(device: Device, name: str) -> None:
    x = np.zeros((4, 19), np.float32)
    x[0, 3], x[1] = 3e38, -3e38  # the largest wins alone; all equal however small
    x[2] = np.linspace(-200, 0, 19)  # to where probabilities are subnormal, and past that
    x[3, ::2] = -np.inf  # what a mask writes
    with np.errstate(over="ignore"):
        y, expected = device.run(getattr(ops, name), x), getattr(reference, name)(double(x))
    finite = np.isfinite(expected)
    assert np.array_equal(np.isfinite(y), finite) if name == "log_softmax" else np.all(np.isfinite(y))
    atol = 1e-6 if name == "log_softmax" else 2e-38
    assert np.allclose(y[finite], expected[finite], rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_leading_dimensions(device: Device, rng: np.random.Generator, name: str) -> None:
    x: Any = values(rng, 2, 3, 11)
    y = device.run(getattr(ops, name), x)
    assert np.array_equal(y.reshape(6, 11), device.run(getattr(ops, name), x.reshape(6, 11)))
    assert np.array_equal(device.run(getattr(ops, name), x[1, 2]), y[1, 2])


@pytest.mark.parametrize("width", [1, 19, 1500])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_without_probabilities(device: Device, rng: np.random.Generator, name: str, width: int) -> None:
    """NaN, or an infinite largest element, makes its row NaN, and no other."""
    x = values(rng, 6, width)
    x[1, width // 2] = np.nan
    x[2, -1] = np.inf
    x[4] = -np.inf
    y = device.run(getattr(ops, name), x)
    assert np.isnan(y[[1, 2, 4]]).all()
    assert np.array_equal(y[[0, 3, 5]], device.run(getattr(ops, name), x[[0, 3, 5]]))
