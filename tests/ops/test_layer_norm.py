"""layer_norm and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, WIDE, assert_close, assert_says, assert_sums_close, double, values
from place import Device
from seq2seq_fast import ops

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def arrays(rng: np.random.Generator, rows: int, width: int) -> Arrays:
    """x, weight, bias, dy."""
    return values(rng, rows, width) + 3, values(rng, width), values(rng, width), values(rng, rows, width)


@pytest.mark.parametrize("width", [*SIZES, *WIDE])
def test_layer_norm(device: Device, rng: np.random.Generator, width: int) -> None:
    """Element by element, relative to the terms of its sum; of one element nothing is left but the bias."""
    x, weight, bias, _ = arrays(rng, 5, width)
    y = device.run(ops.layer_norm, x, weight, bias, 1e-3)
    expected = reference.layer_norm(double(x), double(weight), double(bias), np.float64(np.float32(1e-3)))
    assert y.dtype == np.float32
    deviation = np.sqrt(double(x).var(axis=1, keepdims=True) + 1e-3)
    terms = np.abs(weight) * (np.abs(double(x)) + np.abs(x.mean(axis=1, keepdims=True))) / deviation
    assert_sums_close(y, expected, terms + np.abs(bias))


@pytest.mark.parametrize("width", [7, 64, 129, 2000])
def test_gradients(device: Device, rng: np.random.Generator, width: int) -> None:
    x, weight, bias, dy = arrays(rng, 70, width)
    result = device.run(ops.layer_norm_backward, dy, x, weight)
    assert_close(result, reference.vjp(reference.layer_norm, [double(a) for a in (x, weight, bias)], dy))


def test_the_reference_is_right(rng: np.random.Generator) -> None:
    x, weight, bias, dy = (double(a) for a in arrays(rng, 3, 5))
    exact = reference.vjp(reference.layer_norm, [x, weight, bias], dy)
    assert_close(reference.finite_difference_vjp(reference.layer_norm, [x, weight, bias], dy), exact)


def test_agrees_with_pytorch(device: Device, torch: Any, rng: np.random.Generator) -> None:
    x, weight, bias, dy = arrays(rng, 9, 33)
    tensors = [torch.from_numpy(double(a)).requires_grad_() for a in (x, weight, bias)]
    y = torch.nn.functional.layer_norm(tensors[0], (33,), *tensors[1:])
    y.backward(torch.from_numpy(double(dy)))
    assert_close(device.run(ops.layer_norm, x, weight, bias), y.detach().numpy())
    gradients = [t.grad.numpy() for t in tensors]
    assert_close(device.run(ops.layer_norm_backward, dy, x, weight), gradients)


def test_a_large_mean_does_not_cancel(device: Device, rng: np.random.Generator) -> None:
    """A variance of E[x^2] - E[x]^2 would have no digit left."""
    x = (1e4 + rng.standard_normal((4, 300))).astype(np.float32)
    one, zero = np.ones(300, np.float32), np.zeros(300, np.float32)
    assert_close(
        device.run(ops.layer_norm, x, one, zero), reference.layer_norm(double(x), one, zero), factor=500
    )


def test_equal_elements(device: Device) -> None:
    x, bias = np.full((2, 19), -3.5, np.float32), np.arange(19, dtype=np.float32)
    assert np.array_equal(device.run(ops.layer_norm, x, bias + 1, bias), np.stack([bias, bias]))


@pytest.mark.parametrize("width", [1, 31, 1500])
def test_rows_do_not_know_each_other(device: Device, rng: np.random.Generator, width: int) -> None:
    x, weight, bias, dy = arrays(rng, 6, width)
    y = device.run(ops.layer_norm, x, weight, bias)
    dx = device.run(ops.layer_norm_backward, dy, x, weight)[0]
    for r in range(6):
        assert np.array_equal(device.run(ops.layer_norm, x[r], weight, bias), y[r])
        assert np.array_equal(
            device.run(ops.layer_norm_backward, dy[r : r + 1], x[r : r + 1], weight)[0][0], dx[r]
        )
    x[3] = np.nan
    again = device.run(ops.layer_norm, x, weight, bias)
    assert np.isnan(again[3]).all()
    assert np.array_equal(np.delete(again, 3, 0), np.delete(y, 3, 0))


def test_leading_dimensions(device: Device, rng: np.random.Generator) -> None:
    x, weight, bias, dy = arrays(rng, 6, 11)
    y = device.run(ops.layer_norm, x, weight, bias)
    assert np.array_equal(device.run(ops.layer_norm, x.reshape(2, 3, 11), weight, bias).reshape(6, 11), y)
    dx = device.run(ops.layer_norm_backward, dy.reshape(2, 3, 11), x.reshape(2, 3, 11), weight)[0]
    assert dx.shape == (2, 3, 11)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"weight": np.ones(4, np.float32)}, ValueError),
        ({"bias": np.ones((1, 5), np.float32)}, ValueError),
        ({"weight": np.ones(5)}, TypeError),
        ({"x": np.ones((2, 5), np.int32)}, TypeError),
        ({"eps": 0.0}, ValueError),
        ({"eps": -1e-5}, ValueError),
        ({"eps": "1"}, TypeError),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception]) -> None:
    one = np.ones(5, np.float32)
    arguments: dict[str, Any] = {"x": np.ones((2, 5), np.float32), "weight": one, "bias": one, "eps": 1e-5}
    with pytest.raises(error) as caught:
        ops.layer_norm(**arguments | change)
    assert_says(caught.value, *change)


@pytest.mark.parametrize(
    "change", [{"dy": np.ones((3, 5), np.float32)}, {"weight": np.ones(6, np.float32)}, {"eps": 0.0}]
)
def test_bad_input_of_the_gradient(change: dict[str, Any]) -> None:
    x = np.ones((2, 5), np.float32)
    with pytest.raises(ValueError) as caught:
        ops.layer_norm_backward(**{"dy": x, "x": x, "weight": x[0], "eps": 1e-5} | change)
    assert_says(caught.value, *change)
