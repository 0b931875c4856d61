"""linear and its gradients: one product of matrices each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_sums_close, double, values
from place import Device
from seq2seq_fast import ops

# Each dimension takes every size around the vector width in turn; then sizes beyond any block.
SHAPES = (
    [(size, 33, 17) for size in SIZES]
    + [(5, size, 31) for size in SIZES]
    + [(3, 65, size) for size in SIZES]
    + [(3, 1030, 259), (301, 19, 515), (70, 513, 1), (17_000, 2, 3)]
)


@pytest.mark.parametrize(("rows", "inner", "outer"), SHAPES)
def test_linear(device: Device, rng: np.random.Generator, rows: int, inner: int, outer: int) -> None:
    x, weight, bias = values(rng, rows, inner), values(rng, outer, inner), values(rng, outer)
    y = device.run(ops.linear, x, weight, bias)
    assert y.dtype == np.float32
    magnitudes = reference.linear(*(np.abs(a) for a in double((x, weight, bias))))
    assert_sums_close(y, reference.linear(*double((x, weight, bias))), magnitudes)
    assert_sums_close(device.run(ops.linear, x, weight), double(x) @ double(weight).T, magnitudes)

    dy = values(rng, rows, outer)
    gradients = device.run(ops.linear_backward, dy, x, weight)
    expected = reference.vjp(reference.linear, double([x, weight, bias]), dy)
    magnitudes = reference.vjp(reference.linear, [np.abs(a) for a in double([x, weight, bias])], np.abs(dy))
    for name, actual, right, size in zip(
        ("dx", "dweight", "dbias"), gradients, expected, magnitudes, strict=True
    ):
        assert_sums_close(actual, right, size, name)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3)])
def test_leading_dimensions(device: Device, rng: np.random.Generator, leading: tuple[int, ...]) -> None:
    x, weight, bias = values(rng, *leading, 9), values(rng, 5, 9), values(rng, 5)
    y = device.run(ops.linear, x, weight, bias)
    assert y.shape == (*leading, 5)
    flat = device.run(ops.linear, x.reshape(-1, 9), weight, bias)
    assert np.array_equal(y.reshape(-1, 5), flat)
    dx, dweight, dbias = device.run(ops.linear_backward, y, x, weight)
    assert (dx.shape, dweight.shape, dbias.shape) == (x.shape, weight.shape, bias.shape)
    assert np.array_equal(dweight, device.run(ops.linear_backward, flat, x.reshape(-1, 9), weight)[1])


def test_arrays_that_are_not_contiguous(device: Device, rng: np.random.Generator) -> None:
    x, weight, bias = values(rng, 6, 18), values(rng, 9, 8), values(rng, 16)
    views: list[Any] = [x[::2, ::2], weight.T, bias[::2]]
    assert not any(v.flags.c_contiguous for v in views)
    expected = device.run(ops.linear, *(np.ascontiguousarray(v) for v in views))
    assert np.array_equal(device.run(ops.linear, *views), expected)
