"""A row's result is its own: the same bits alone, among other rows, and wherever it begins in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from checks import bits, values
from place import Device
from seq2seq_fast import ops

WIDTHS = [3, 33, 128, 1027]  # rows that begin at 16 bytes, and rows that do not
SUBSETS = [[0], [4], [1, 3], [4, 2, 0]]


def softmax(device: Device, a: Any, b: Any, rows: Any) -> Any:
    y = device.run(ops.softmax, a[rows])
    return y, device.run(ops.softmax_backward, b[rows], y)


def log_softmax(device: Device, a: Any, b: Any, rows: Any) -> Any:
    y = device.run(ops.log_softmax, a[rows])
    return y, device.run(ops.log_softmax_backward, b[rows], y)


def cross_entropy(device: Device, a: Any, b: Any, rows: Any) -> Any:
    targets = np.array([2, 0, -100, 1, 2])[rows]
    return device.run(ops.cross_entropy, a[rows], targets, label_smoothing=0.1)


def topk(device: Device, a: Any, b: Any, rows: Any) -> Any:
    return device.run(ops.topk, a[rows], 3)


def sample(device: Device, a: Any, b: Any, rows: Any) -> Any:
    numbers = np.array([0.1, 0.99, 0.4, 0.0, 0.7], np.float32)[rows]
    return (device.run(ops.sample, a[rows], numbers),)


def dropout(device: Device, a: Any, b: Any, rows: Any) -> Any:
    example, time = np.array([0, 7, 2, 2, 1 << 40])[rows], np.array([3, 1, 0, 9, 2], np.int32)[rows]
    return (device.run(ops.dropout, a[rows], 0.4, 5, example=example, time=time),)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("function", [softmax, log_softmax, cross_entropy, topk, sample, dropout])
def test_rows(device: Device, rng: np.random.Generator, function: Callable[..., Any], width: int) -> None:
    a, b = values(rng, 5, width), values(rng, 5, width)
    together = function(device, a, b, list(range(5)))
    for rows in SUBSETS:
        assert bits(tuple(function(device, a, b, rows))) == bits(tuple(x[rows] for x in together))
