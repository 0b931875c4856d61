"""lstm, gru and their cells. The gradients of whole layers are in test_nn.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, double, ragged, rnn_weights, values
from place import Device
from seq2seq_fast import ops

VARIANTS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"reset_after": True},
    "gru_reset_before": {"reset_after": False},
}


def pieces(variant: str) -> tuple[str, int, int]:
    """The op, its number of gates and of state arrays."""
    return ("lstm", 4, 2) if variant == "lstm" else ("gru", 3, 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("hidden", SIZES)
def test_cell(device: Device, rng: np.random.Generator, variant: str, hidden: int) -> None:
    op, gates, count = pieces(variant)
    batch, size = 5, {1: 3, 8: 8, 64: 129}.get(hidden, 17)
    weights = rnn_weights(rng, gates, [size], hidden)[0]
    x, state = values(rng, batch, size), [values(rng, batch, hidden) for _ in range(count)]
    after = device.run(getattr(ops, op + "_cell"), x, *state, *weights, **VARIANTS[variant])

    def cell(*args: Any) -> Any:
        return getattr(reference, op + "_cell")(*args, **VARIANTS[variant])

    arguments = [x, *state, *weights]
    assert_close(after, cell(*double(arguments)))
    cotangents = [values(rng, batch, hidden) for _ in range(count)]
    gradients = device.run(getattr(ops, op + "_cell_backward"), *cotangents, *arguments, **VARIANTS[variant])
    expected = reference.vjp(cell, double(arguments), cotangents if count > 1 else cotangents[0])
    assert_close(gradients, expected, "gradient")


@pytest.mark.parametrize("gate", ["sigmoid", "tanh"])
def test_a_gate_to_its_last_places(device: Device, rng: np.random.Generator, gate: str) -> None:
    """c = 1 tanh(x) or sigmoid(x) 1, the other gates being open."""
    x = rng.choice([-1, 1], 20000) * np.exp2(rng.uniform(-30, 6.3, 20000))
    x[0] = 0
    x = x.astype(np.float32)[:, None]
    weight, bias = np.zeros((4, 1), np.float32), np.full(4, 100, np.float32)
    row = 2 if gate == "tanh" else 0
    weight[row], bias[row], bias[1] = 1, 0, 0
    state = np.zeros((len(x), 1), np.float32)
    _, c = device.run(
        ops.lstm_cell, x, state, state, weight, np.zeros((4, 1), np.float32), bias, np.zeros(4, np.float32)
    )
    exact = x.astype(np.float64)
    expected = np.tanh(exact) if gate == "tanh" else 1 / (1 + np.exp(-exact))
    assert np.abs(c).max() <= 1
    error = np.abs(c - expected)
    if device.name == "cpu" or device.emulated:
        assert (error / np.spacing(np.abs(expected).astype(np.float32))).max() < 4
    assert error.max() < 3e-7


def check_layers(
    device: Device,
    rng: np.random.Generator,
    variant: str,
    *,
    steps: int = 6,
    batch: int = 5,
    size: int = 9,
    hidden: int = 11,
    layers: int = 1,
    bidirectional: bool = False,
) -> None:
    op, gates, count = pieces(variant)
    directions = 1 + bidirectional
    params = rnn_weights(rng, gates, [size] + [hidden * directions] * (layers - 1), hidden, directions)
    x, lengths = values(rng, steps, batch, size), ragged(rng, batch, steps)
    x[np.arange(steps)[:, None] >= lengths] = np.nan  # what lies past a sequence's end is never read
    states = [values(rng, layers * directions, batch, hidden) for _ in range(count)]
    options = {"lengths": lengths, "bidirectional": bidirectional, **VARIANTS[variant]}
    actual = device.run(getattr(ops, op), x, params, *states, **options)
    expected = getattr(reference, op)(double(x), double(params), *double(states), **options)
    assert_close(actual, expected)
    assert np.all(actual[0][np.arange(steps)[:, None] >= lengths] == 0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("hidden", SIZES)
def test_hidden_sizes(device: Device, rng: np.random.Generator, variant: str, hidden: int) -> None:
    check_layers(device, rng, variant, hidden=hidden, steps=4, bidirectional=hidden % 2 == 0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch", [1, 2, 7, 8, 17, 33])
def test_batch_sizes(device: Device, rng: np.random.Generator, variant: str, batch: int) -> None:
    check_layers(device, rng, variant, batch=batch, size=7, bidirectional=True)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_layers(
    device: Device, rng: np.random.Generator, variant: str, layers: int, bidirectional: bool
) -> None:
    check_layers(device, rng, variant, layers=layers, bidirectional=bidirectional)


@pytest.mark.parametrize("variant", VARIANTS)
def test_defaults(device: Device, rng: np.random.Generator, variant: str) -> None:
    """No states: zeros. No lengths: the whole of x. One step is the cell."""
    op, gates, count = pieces(variant)
    params, x = rnn_weights(rng, gates, [5], 13), values(rng, 4, 3, 5)
    actual = device.run(getattr(ops, op), x, params, **VARIANTS[variant])
    zeros, full = np.zeros((1, 3, 13), np.float32), np.full(3, 4, np.int32)
    spelled = device.run(getattr(ops, op), x, params, *[zeros] * count, lengths=full, **VARIANTS[variant])
    for a, b in zip(actual, spelled, strict=True):
        assert np.array_equal(a, b)
    assert_close(actual, getattr(reference, op)(double(x), double(params), **VARIANTS[variant]))
    first = device.run(getattr(ops, op + "_cell"), x[0], *[zeros[0]] * count, *params[0], **VARIANTS[variant])
    assert_close(actual[0][0], first[0] if count == 2 else first)


@pytest.mark.parametrize("variant", VARIANTS)
def test_lengths_in_any_integer_type(device: Device, rng: np.random.Generator, variant: str) -> None:
    op, gates, _ = pieces(variant)
    params, x = rnn_weights(rng, gates, [5], 6), values(rng, 4, 3, 5)
    runs = [
        device.run(getattr(ops, op), x, params, lengths=np.array([2, 4, 1], dtype), **VARIANTS[variant])
        for dtype in (np.int32, np.int64)
    ]
    for a, b in zip(*runs, strict=True):
        assert np.array_equal(a, b)
