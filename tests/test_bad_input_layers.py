"""Bad input to seq2seq_fast.nn: constructors, calls, gradients, state dicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checks import assert_says, values
from seq2seq_fast import nn

LAYERS, CELLS = ["LSTM", "GRU"], ["LSTMCell", "GRUCell"]
NAN = float("nan")

SIZES = [(0, ValueError), (-3, ValueError), (2.5, TypeError), ("8", TypeError), (None, TypeError)]
CONSTRUCTOR = [("input_size", *s) for s in SIZES] + [("hidden_size", *s) for s in SIZES]
STACK = [("num_layers", *s) for s in SIZES] + [
    ("dropout", -0.1, ValueError),
    ("dropout", 1.0, ValueError),
    ("dropout", NAN, ValueError),
    ("dropout", "x", TypeError),
]


@pytest.mark.parametrize(
    ("layer", "argument", "value", "error"),
    [(layer, *bad) for layer in LAYERS + CELLS for bad in CONSTRUCTOR]
    + [(layer, *bad) for layer in LAYERS for bad in STACK],
)
def test_constructors(layer: str, argument: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        getattr(nn, layer)(**{"input_size": 3, "hidden_size": 4, argument: value})
    assert_says(caught.value, argument)


def call(name: str, **changed: Any) -> Any:
    """A layer of 2 x both directions run on [5, 3, 6] with one argument replaced."""
    rng = np.random.default_rng(0)
    layer = getattr(nn, name)(6, 4, num_layers=2, bidirectional=True).train()
    given = {
        "x": values(rng, 5, 3, 6),
        "h0": values(rng, 4, 3, 4),
        "c0": values(rng, 4, 3, 4),
        "lengths": np.array([5, 1, 3]),
    }
    given |= changed
    state = (given["h0"], given["c0"]) if name == "LSTM" else given["h0"]
    return layer, layer(given["x"], state, lengths=given["lengths"])


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


STATES = [
    (zeros(4, 3, 5), ValueError),
    (zeros(2, 3, 4), ValueError),
    (zeros(4, 2, 4), ValueError),
    (zeros(3, 4), ValueError),
    (zeros(4, 3, 4, dtype=np.float64), TypeError),
    (zeros(4, 3, 4, dtype=np.int32), TypeError),
    ("zeros", TypeError),
]
CALLS: list[tuple[str, Any, type[Exception]]] = [
    ("x", zeros(5, 3, 7), ValueError),
    ("x", zeros(5, 6), ValueError),
    ("x", zeros(0, 3, 6), ValueError),
    ("x", zeros(5, 0, 6), ValueError),
    ("x", zeros(5, 3, 6, dtype=np.float64), TypeError),
    ("x", zeros(5, 3, 6, dtype=np.int32), TypeError),
    ("x", "text", TypeError),
    ("x", None, TypeError),
    ("lengths", np.array([5, 1]), ValueError),
    ("lengths", np.array([[5, 1, 3]]), ValueError),
    ("lengths", np.array([5, 0, 3]), ValueError),
    ("lengths", np.array([5, -1, 3]), ValueError),
    ("lengths", np.array([5, 6, 3]), ValueError),
    ("lengths", np.array([5, 1 << 32, 3]), ValueError),
    ("lengths", np.array([5, NAN, 3]), TypeError),
    ("lengths", np.array([5.0, 1.0, 3.0]), TypeError),
    ("lengths", [5, 1, 3], TypeError),
    ("lengths", "531", TypeError),
    *[("h0", *state) for state in STATES],
]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("argument", "value", "error"), CALLS)
def test_calls(name: str, argument: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        call(name, **{argument: value})
    assert_says(caught.value, argument)


@pytest.mark.parametrize(("value", "error"), STATES)
def test_cell_state(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        call("LSTM", c0=value)
    assert_says(caught.value, "c0")


def test_a_state_of_the_other_kind() -> None:
    lstm: Any = nn.LSTM(6, 4)
    gru: Any = nn.GRU(6, 4)
    x, h = zeros(5, 3, 6), zeros(1, 3, 4)
    with pytest.raises(TypeError) as caught:
        lstm(x, h)
    assert_says(caught.value, "state", "h0")
    with pytest.raises(TypeError) as caught:
        gru(x, (h, h))
    assert_says(caught.value, "state", "h0")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (zeros(5, 3, 4), ValueError),
        (zeros(5, 3), ValueError),
        (zeros(5, 3, 8, dtype=np.float64), TypeError),
        ("text", TypeError),
    ],
)
def test_backward(name: str, value: Any, error: type[Exception]) -> None:
    layer, _ = call(name)
    with pytest.raises(error) as caught:
        layer.backward(value)
    assert_says(caught.value, "dy")


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_state_dicts(name: str) -> None:
    layer = getattr(nn, name)(3, 4)
    good = layer.state_dict()
    key = next(iter(good))
    missing = {k: v for k, v in good.items() if k != key}
    for wrong in [
        missing,
        good | {"weight_of_nothing": zeros(3)},
        good | {key: zeros(2, 2)},
        good | {key: good[key].astype(np.int64)},
        good | {key: "text"},
    ]:
        before = layer.state_dict()
        with pytest.raises((ValueError, TypeError)) as caught:
            layer.load_state_dict(wrong)
        assert_says(caught.value, "weight_of_nothing" if "weight_of_nothing" in wrong else key)
        for k, v in layer.state_dict().items():  # all or nothing
            assert np.array_equal(v, before[k])
    with pytest.raises(TypeError) as caught:
        layer.load_state_dict([zeros(3)])
    assert_says(caught.value, "state", "state_dict")


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("x", "h", "error", "named"),
    [
        (zeros(3, 7), zeros(3, 4), ValueError, "x"),
        (zeros(6), zeros(3, 4), ValueError, "x"),
        (zeros(0, 6), zeros(0, 4), ValueError, "x"),
        (zeros(3, 6, dtype=np.float64), zeros(3, 4), TypeError, "x"),
        (zeros(3, 6), zeros(3, 5), ValueError, "h"),
        (zeros(3, 6), zeros(2, 4), ValueError, "h"),
        (zeros(3, 6), zeros(3, 4, dtype=np.int64), TypeError, "h"),
        (zeros(3, 6), "text", TypeError, "h"),
    ],
)
def test_cells(name: str, x: Any, h: Any, error: type[Exception], named: str) -> None:
    cell = getattr(nn, name)(6, 4)
    with pytest.raises(error) as caught:
        cell(x, (h, zeros(3, 4)) if name == "LSTMCell" else h)
    assert_says(caught.value, named)
