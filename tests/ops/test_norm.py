"""squared_norm, scale_, clip_grad_norm_: arithmetic of whole buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, double, values
from place import Device
from seq2seq_fast import ops

COUNTS = [*SIZES, 4095, 4096, 4097, 20_001]


@pytest.mark.parametrize("count", COUNTS)
def test_squared_norm(device: Device, rng: np.random.Generator, count: int) -> None:
    x = values(rng, count)
    result = device.run(ops.squared_norm, x)
    assert isinstance(result, float)
    assert np.isclose(result, np.sum(double(x) ** 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("count", COUNTS)
def test_scale(device: Device, rng: np.random.Generator, count: int) -> None:
    x = values(rng, count)
    expected = x * np.float32(0.3)
    device.run(ops.scale_, x, 0.3)
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip(device: Device, torch: Any, rng: np.random.Generator, max_norm: float) -> None:
    grads = values(rng, 1000)
    expected, norm = reference.clip_grad_norm(double(grads), max_norm)
    theirs = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    theirs.grad = torch.from_numpy(double(grads))
    assert np.isclose(torch.nn.utils.clip_grad_norm_([theirs], max_norm).item(), norm)
    before = grads.copy()
    assert np.isclose(device.run(ops.clip_grad_norm_, grads, max_norm), norm, rtol=1e-6)
    assert_close(grads, expected)
    assert_close(grads, theirs.grad.numpy())
    if max_norm > norm:
        assert np.array_equal(grads, before)


def test_clip_makes_room_for_rounding(device: Device) -> None:
    """A norm just at the limit is left as it is, as PyTorch's factor, clamped to 1, would but for 1e-6."""
    grads = np.array([3, 4], np.float32)
    assert device.run(ops.clip_grad_norm_, grads, 5.0) == 5
    assert np.array_equal(grads, np.array([3, 4], np.float32))
    assert device.run(ops.clip_grad_norm_, grads, np.inf) == 5  # never
    assert np.array_equal(grads, np.array([3, 4], np.float32))


def test_clip_leaves_zeros(device: Device) -> None:
    grads = np.zeros(50, np.float32)
    assert device.run(ops.clip_grad_norm_, grads, 1.0) == 0
    assert not np.any(grads)
