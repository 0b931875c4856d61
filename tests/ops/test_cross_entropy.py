from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, WIDE, assert_close, double, values
from place import Device
from seq2seq_fast import ops


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [*SIZES[1:], 1000, *WIDE])
def test_cross_entropy(
    device: Device, rng: np.random.Generator, classes: int, label_smoothing: float
) -> None:
    logits = values(rng, 12, classes, scale=2)
    targets = rng.integers(0, classes, 12).astype(np.int32)
    targets[[0, 1, 4]] = 0, classes - 1, -100
    losses, dlogits = device.run(ops.cross_entropy, logits, targets, label_smoothing=label_smoothing)

    def function(x: Any) -> Any:
        return reference.cross_entropy(x, targets, label_smoothing=label_smoothing)

    assert losses.dtype == dlogits.dtype == np.float32
    assert np.allclose(losses, function(double(logits)), rtol=1e-5, atol=1e-6)
    assert_close(dlogits, reference.vjp(function, [double(logits)], np.ones(12))[0])
    assert losses[4] == 0
    assert np.all(dlogits[4] == 0)


def test_ignore_index_may_be_a_class(device: Device, rng: np.random.Generator) -> None:
    logits, targets = values(rng, 5, 7), np.array([0, 3, 0, 6, 1])
    losses, dlogits = device.run(ops.cross_entropy, logits, targets, ignore_index=0)
    assert_close(losses, reference.cross_entropy(double(logits), targets, ignore_index=0))
    assert np.array_equal(losses == 0, targets == 0)
    assert np.all(dlogits[targets == 0] == 0)
    nothing = device.run(ops.cross_entropy, logits, np.full(5, -100))
    assert not np.any(nothing[0]) and not np.any(nothing[1])


def test_a_certain_row_has_no_loss(device: Device) -> None:
    logits = np.zeros((2, 9), np.float32)
    logits[:, 4] = 1e4
    losses, dlogits = device.run(ops.cross_entropy, logits, np.array([4, 0]))
    assert losses.tolist() == [0, 1e4]
    assert dlogits[0].tolist() == [0] * 9
    assert dlogits[1].tolist() == [-1, 0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_small_differences_of_large_logits(
    device: Device, rng: np.random.Generator, label_smoothing: float
) -> None:
    """What all logits have in common does not cost precision, nor does a loss of nearly nothing."""
    logits = (1e4 + rng.integers(0, 8, (6, 33)) / 8).astype(np.float32)
    targets = rng.integers(0, 33, 6)
    expected = reference.cross_entropy(double(logits), targets, label_smoothing=label_smoothing)
    losses, _ = device.run(ops.cross_entropy, logits, targets, label_smoothing=label_smoothing)
    assert_close(losses, expected)

    confident = np.zeros((1, 33), np.float32)
    confident[0, 4] = 12
    expected = reference.cross_entropy(double(confident), np.array([4]), label_smoothing=label_smoothing)
    losses, _ = device.run(ops.cross_entropy, confident, np.array([4]), label_smoothing=label_smoothing)
    assert np.allclose(losses, expected, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("classes", [5, 1500])
def test_nan_stays_in_its_row(device: Device, rng: np.random.Generator, classes: int) -> None:
    logits, targets = values(rng, 4, classes), rng.integers(0, classes, 4)
    expected = device.run(ops.cross_entropy, logits, targets, label_smoothing=0.1)
    logits[2, classes // 2] = np.nan
    losses, dlogits = device.run(ops.cross_entropy, logits, targets, label_smoothing=0.1)
    assert np.isnan(losses[2]) and np.isnan(dlogits[2]).all()
    others = [0, 1, 3]
    assert np.array_equal(losses[others], expected[0][others])
    assert np.array_equal(dlogits[others], expected[1][others])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_agrees_with_pytorch(
    device: Device, torch: Any, rng: np.random.Generator, label_smoothing: float
) -> None:
    logits, targets = values(rng, 20, 80, scale=2), rng.integers(0, 80, 20)
    targets[3] = -100
    x = torch.from_numpy(double(logits)).requires_grad_()
    expected = torch.nn.functional.cross_entropy(
        x, torch.from_numpy(targets), reduction="none", label_smoothing=label_smoothing
    )
    expected.sum().backward()
    losses, dlogits = device.run(ops.cross_entropy, logits, targets, label_smoothing=label_smoothing)
    assert_close(losses, expected.detach().numpy())
    assert_close(dlogits, x.grad.numpy())
