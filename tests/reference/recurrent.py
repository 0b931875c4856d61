"""LSTM and GRU: one step, and stacks of layers over ragged batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reference.autodiff import Array
from reference.basic import linear

State = tuple[Array, ...]  # (h, c) of an LSTM, (h,) of a GRU
Weights = Sequence[Array]  # w_ih [G*H, C], w_hh [G*H, H], b_ih [G*H], b_hh [G*H]; b_* may be None


def sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _gates(x: Array, count: int) -> list[Array]:
    """x [..., count * H] -> count arrays of [..., H]."""
    size = x.shape[-1] // count
    return [x[..., g * size : (g + 1) * size] for g in range(count)]


def lstm_cell(x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> State:
    """x [..., C], h and c [..., H] -> h', c' (Hochreiter & Schmidhuber 1997; gate order i, f, g, o)."""
    i, f, g, o = _gates(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(
    x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, reset_after: bool = True
) -> Array:
    """x [..., C], h [..., H] -> h' (Cho 2014; gates in the order r, z, n).

    reset_after: n = tanh(W x + b + r * (U h + b')), as PyTorch and cuDNN;
    otherwise:   n = tanh(W x + b + U (r * h) + b'), as Keras.
    """
    size = h.shape[-1]
    x_r, x_z, x_n = _gates(linear(x, w_ih, b_ih), 3)
    h_r, h_z, h_n = _gates(linear(h, w_hh, b_hh), 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    if reset_after:
        n = np.tanh(x_n + r * h_n)
    else:
        n = np.tanh(x_n + linear(r * h, w_hh[2 * size :], None if b_hh is None else b_hh[2 * size :]))
    return (1 - z) * n + z * h


Step = Callable[[Array, State, Weights], State]


def step_of(cell: str, reset_after: bool = True) -> Step:
    """One step of either cell in one form: (x, state, weights) -> state."""
    if cell == "lstm":
        return lambda x, state, weights: lstm_cell(x, *state, *weights)
    return lambda x, state, weights: (gru_cell(x, *state, *weights, reset_after=reset_after),)  # type: ignore[misc]


def run_direction(
    step: Step,
    x: Array,
    state: State,
    weights: Weights,
    reverse: bool,
    zone: Callable[[int, State, State], State] = lambda t, before, now: now,
) -> tuple[Array, State]:
    """One layer in one direction over one sequence, x [T, C] -> y [T, H] and the last state. `zone(t, before,
    now)` is the state at t that goes on (zoneout)."""
    outputs: list[Any] = [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        state = zone(t, state, step(x[t], state, weights))
        outputs[t] = state[0]
    return np.stack(outputs), state


def join(x: Array, count: int) -> Array:
    """x [T, C] -> [ceil(T / count), count * C]: neighbours side by side, zeros for what is missing at the
    end."""
    if count == 1:
        return x
    missing = -len(x) % count
    whole = np.concatenate([x, np.zeros((missing, x.shape[1]))]) if missing else x
    return np.concatenate([whole[i::count] for i in range(count)], axis=1)


def run_stack(
    step: Step,
    x: Array,
    states: Sequence[State],
    params: Sequence[Weights],
    directions: int,
    between: Callable[[int, Array], Array] = lambda layer, y: y,
    residual: bool = False,
    norm: Callable[[int, Array], Array] = lambda layer, y: y,
    zone: Callable[[int, int, int, State, State], State] = lambda layer, direction, t, before, now: now,
    joined: Sequence[int] | None = None,
    skips: bool = False,
) -> tuple[Array, list[State]]:
    """Layers of one or two directions (D) over one sequence, x [T, C] -> y [T, D*H] and the last states.

    `states` and `params` are listed layer by layer, forward before reverse. `between(l, y)` is applied to the
    output of layer l on its way to layer l + 1 (dropout). residual: a layer's input, before that, is added to
    its output, but for the first layer's; `norm(l, y)` of the sum is what leaves it (layer normalisation).
    `zone(l, direction, t, before, now)` is the state that a step ends with. joined[l]: so many inputs of
    layer l are one (Chan et al. 2016), or with `skips` the first of them is; its output stays as it is.
    """
    last = []
    leaving = x
    for layer in range(len(params) // directions):
        x = between(layer - 1, leaving) if layer > 0 else leaving
        count = 1 if joined is None else joined[layer]
        x = x[::count] if skips else join(x, count)
        outputs = []
        for d in range(directions):
            k = layer * directions + d
            zoned = functools.partial(zone, layer, d)
            y, state = run_direction(step, x, states[k], params[k], d == 1, zoned)
            outputs.append(y)
            last.append(state)
        y = np.concatenate(outputs, axis=-1)
        leaving = norm(layer, y + leaving if residual and layer > 0 and count == 1 else y)
    return leaving, last


def _run_batch(
    step: Step,
    x: Array,
    params: Sequence[Weights],
    initial: Sequence[Array],
    lengths: Any,
    bidirectional: bool,
) -> tuple[Array, ...]:
    """x [T, N, C], each of `initial` [L*D, N, H] -> y [T, N, D*H], zero past each length, and last states."""
    length, batch = x.shape[:2]
    ys, lasts = [], []
    for n in range(batch):
        size = length if lengths is None else int(lengths[n])
        states = [tuple(s[k, n] for s in initial) for k in range(len(params))]
        y, last = run_stack(step, x[:size, n], states, params, 2 if bidirectional else 1)
        ys.append(np.concatenate([y, np.zeros((length - size, y.shape[1]))]))
        lasts.append(last)
    finals = [
        np.stack([np.stack([last[k][s] for last in lasts]) for k in range(len(params))])
        for s in range(len(initial))
    ]
    return np.stack(ys, axis=1), *finals


def _zeros(x: Array, params: Sequence[Weights]) -> np.ndarray:
    return np.zeros((len(params), x.shape[1], params[0][1].shape[1]))


def lstm(
    x: Array,
    params: Sequence[Weights],
    h0: Array | None = None,
    c0: Array | None = None,
    lengths: Any = None,
    bidirectional: bool = False,
) -> tuple[Array, ...]:
    """-> y [T, N, D*H], h_n and c_n [L*D, N, H]."""
    zeros = _zeros(x, params)
    initial = [zeros if h0 is None else h0, zeros if c0 is None else c0]
    return _run_batch(step_of("lstm"), x, params, initial, lengths, bidirectional)


def gru(
    x: Array,
    params: Sequence[Weights],
    h0: Array | None = None,
    lengths: Any = None,
    bidirectional: bool = False,
    reset_after: bool = True,
) -> tuple[Array, ...]:
    """-> y [T, N, D*H], h_n [L*D, N, H]."""
    initial = [_zeros(x, params) if h0 is None else h0]
    return _run_batch(step_of("gru", reset_after), x, params, initial, lengths, bidirectional)
