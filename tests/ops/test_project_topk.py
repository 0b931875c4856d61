from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import values
from place import Device, size
from seq2seq_fast import ops


def check(device: Device, x: Any, weight: Any, bias: Any, k: int) -> None:
    """Against the reference, from the logits that `linear` gives: they have the same bits."""
    top, columns = device.run(ops.project_topk, x, weight, bias, k)
    assert top.dtype == np.float32 and columns.dtype == np.int32
    logits = device.run(ops.linear, x, weight, bias)
    assert np.array_equal(columns, reference.topk(logits, k)[1])
    exact = reference.log_softmax(logits.astype(np.float64))
    np.testing.assert_allclose(top, np.take_along_axis(exact, columns, axis=1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "columns", size([1, 2, 16, 63, 80, 255, 256, 257, 512, 1000, 5000], [1, 63, 256, 257, 2000])
)
def test_project_topk(device: Device, rng: np.random.Generator, columns: int) -> None:
    for rows, width in [(1, 64), (5, 33), (40, size(300, 70) if columns < 1000 else 70), (61, 1)]:
        x, weight, bias = values(rng, rows, width), values(rng, columns, width), values(rng, columns)
        for k in sorted({1, *size((2, 6), ()), min(17, columns), columns if columns < 300 else 30}):
            if k <= columns:
                for given in size([bias, None], [bias]):
                    check(device, x, weight, given, k)


def test_the_reference(device: Device, rng: np.random.Generator) -> None:
    x, weight, bias = values(rng, 7, 50), values(rng, 300, 50), values(rng, 300)
    top, columns = device.run(ops.project_topk, x, weight, bias, 4)
    expected, expected_columns = reference.project_topk(*(a.astype(np.float64) for a in (x, weight, bias)), 4)
    assert np.array_equal(columns, expected_columns)
    np.testing.assert_allclose(top, expected, rtol=1e-5, atol=1e-4)


def test_a_view_of_columns(device: Device, rng: np.random.Generator) -> None:
    wide = values(rng, 9, 80)
    check(device, wide[:, 20:60], values(rng, 90, 40), None, 5)


def test_ties_go_to_the_lower_column(device: Device, rng: np.random.Generator) -> None:
    x, weight = np.ones((6, 2), np.float32), rng.integers(0, 3, (700, 2)).astype(np.float32)
    x[0] = 0
    for k in (1, 3, 300, 700):
        check(device, x, weight, None, k)


def test_best_in_any_block(device: Device) -> None:
    rising = np.arange(2000, dtype=np.float32)[:, None]
    x = np.array([[0.01], [-0.01]], np.float32)
    check(device, x, rising, None, 7)


def test_forbidden_columns(device: Device, rng: np.random.Generator) -> None:
    """-infinity in the bias, whole blocks of it too."""
    x, weight, bias = values(rng, 30, 20), values(rng, 900, 20), values(rng, 900)
    bias[:600], bias[700:800] = -np.inf, -np.inf
    check(device, x, weight, bias, 9)
    top, columns = device.run(ops.project_topk, x, weight, bias, 250)
    assert np.all(top[:, 200:] == -np.inf) and np.all(np.isfinite(top[:, :200]))
    assert np.array_equal(columns[:, 200:], np.broadcast_to(np.arange(50), (30, 50)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 300, 599])
def test_logits_that_are_no_numbers(
    device: Device, rng: np.random.Generator, wrong: float, column: int
) -> None:
    x, weight, bias = values(rng, 4, 10), values(rng, 600, 10), values(rng, 600)
    bias[column] = wrong
    for k in (1, 20):
        with pytest.raises(ValueError, match="row 0"):
            device.run(ops.project_topk, x, weight, bias, k)
    bias[:] = -np.inf
    with pytest.raises(ValueError, match="row 0"):
        device.run(ops.project_topk, x, weight, bias, 2)
    row = x.copy()
    row[2, 3] = wrong * np.sign(weight[0, 3])
    with pytest.raises(ValueError, match="row 2"):
        device.run(ops.project_topk, row, weight, None, 2)
