"""seq2seq_fast.nn: whole layers with their gradients, against the reference and against PyTorch's layers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, double, ragged, values
from place import Device, size
from reference import network, recurrent
from seq2seq_fast import nn

CELLS = ["lstm", "gru"]


def make(cell: str, *args: Any, **options: Any) -> Any:
    return {"lstm": nn.LSTM, "gru": nn.GRU}[cell](*args, **options)


def fill(rng: np.random.Generator, layer: Any) -> dict[str, np.ndarray]:
    """Give every parameter random values through load_state_dict; -> the values."""
    hidden = layer.hidden_size
    weights = {
        name: (rng.uniform(-1, 1, w.shape) / np.sqrt(hidden)).astype(np.float32)
        for name, w in layer.state_dict().items()
    }
    layer.load_state_dict(weights)
    return weights


def nested(state_dict: dict[str, Any], layers: int, directions: int) -> list[list[Any]]:
    """A state dict as the reference takes it: weights of each layer and direction; absent ones zeros."""
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffixes = ("", "_reverse")[:directions]
    return [
        [
            state_dict.get(f"{part}_l{k}{s}", np.zeros(state_dict[f"weight_ih_l{k}{s}"].shape[0]))
            for part in parts
        ]
        for k in range(layers)
        for s in suffixes
    ]


def named(
    gradients: list[list[Any]], state_dict: dict[str, Any], layers: int, directions: int
) -> dict[str, Any]:
    """The inverse of `nested`."""
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffixes = ("", "_reverse")[:directions]
    keys = [(k, s) for k in range(layers) for s in suffixes]
    out = {
        f"{part}_l{k}{s}": g
        for (k, s), group in zip(keys, gradients, strict=True)
        for part, g in zip(parts, group, strict=True)
    }
    return {name: out[name] for name in state_dict}


def states_of(cell: str, arrays: list[Any]) -> Any:
    """(h, c) for an LSTM, h for a GRU."""
    return tuple(arrays) if cell == "lstm" else arrays[0]


def run(layer: Any, cell: str, x: Any, initial: list[Any], lengths: Any) -> list[Any]:
    """-> [y, h_n] or [y, h_n, c_n]."""
    y, last = layer(x, states_of(cell, initial), lengths=lengths)
    return [y, *(last if cell == "lstm" else [last])]


def backward(layer: Any, cell: str, cotangents: list[Any]) -> list[Any]:
    """-> [dx, dh0] or [dx, dh0, dc0]."""
    dx, first = layer.backward(cotangents[0], states_of(cell, cotangents[1:]))
    return [dx, *(first if cell == "lstm" else [first])]


SMALL = [
    {"num_layers": layers, "bidirectional": bidirectional, "bias": bias}
    for layers in (1, 2, 3)
    for bidirectional in (False, True)
    for bias in ([True, False] if layers == 2 else [True])
]


@pytest.mark.parametrize("options", SMALL, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("variant", ["lstm", "gru", "gru_reset_before"])
def test_gradients(device: Device, rng: np.random.Generator, variant: str, options: dict[str, Any]) -> None:
    cell, count = ("lstm", 2) if variant == "lstm" else ("gru", 1)
    extra = {"reset_after": False} if variant == "gru_reset_before" else {}
    layer = make(cell, 5, 9, **options, **extra).train()
    weights = fill(rng, layer)
    layers, directions = options["num_layers"], 1 + options["bidirectional"]
    lengths = ragged(rng, 6, 5)
    x = values(rng, 5, 6, 5)
    initial = [values(rng, layers * directions, 6, 9) for _ in range(count)]
    past = np.arange(5)[:, None] >= lengths

    def layers_of(x: Any, params: Any, *states: Any) -> Any:
        op: Any = getattr(reference, cell)
        return op(x, params, *states, lengths=lengths, bidirectional=options["bidirectional"], **extra)

    arguments = double([x, nested(weights, layers, directions), *initial])
    outputs = device.run(run, layer, cell, x, initial, lengths)
    assert_close(outputs, layers_of(*arguments))
    assert np.all(outputs[0][past] == 0)

    cotangents = [values(rng, *y.shape) for y in outputs]
    gradients = device.run(backward, layer, cell, cotangents)
    dx, dparams, *dstates = reference.vjp(layers_of, arguments, cotangents)
    assert_close(gradients, [dx, *dstates])
    assert np.all(gradients[0][past] == 0)
    assert_close(layer.gradients(), named(dparams, weights, layers, directions))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_agrees_with_pytorch(
    device: Device, torch: Any, rng: np.random.Generator, cell: str, layers: int, bidirectional: bool
) -> None:
    """At real sizes, from PyTorch's own state dict as it is; PyTorch computes in float64."""
    width, batch, steps = size((96, 17, 21), (20, 6, 5))
    hidden = size(256 if layers == 1 else 128, 70 if layers == 1 else 30)
    torch.manual_seed(layers)
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](
        width, hidden, num_layers=layers, bidirectional=bidirectional
    )
    layer = make(cell, width, hidden, num_layers=layers, bidirectional=bidirectional).train()
    layer.load_state_dict(theirs.state_dict())
    assert list(layer.state_dict()) == list(theirs.state_dict())
    theirs = theirs.double()

    lengths = ragged(rng, batch, steps)
    x = values(rng, steps, batch, width)
    x[np.arange(steps)[:, None] >= lengths] = 0
    count = 2 if cell == "lstm" else 1
    initial = [values(rng, layers * (1 + bidirectional), batch, hidden) for _ in range(count)]
    inputs = [torch.from_numpy(double(a)).requires_grad_() for a in (x, *initial)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        inputs[0], torch.from_numpy(lengths), enforce_sorted=False
    )
    y, last = theirs(packed, states_of(cell, inputs[1:]))
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
    expected = [y, *(last if cell == "lstm" else [last])]

    outputs = device.run(run, layer, cell, x, initial, lengths)
    assert_close(outputs, [e.detach().numpy() for e in expected])
    cotangents = [values(rng, *o.shape, outliers=False) for o in outputs]
    sum((e * torch.from_numpy(double(c))).sum() for e, c in zip(expected, cotangents, strict=True)).backward()
    gradients = device.run(backward, layer, cell, cotangents)
    assert_close(gradients, [i.grad.numpy() for i in inputs], "gradients of inputs")
    parameters = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert_close(layer.gradients(), parameters, "gradients of parameters")


@pytest.mark.parametrize("cell", CELLS)
def test_defaults_and_batch_first(device: Device, rng: np.random.Generator, cell: str) -> None:
    layer, count = make(cell, 5, 7, 2, bidirectional=True), 2 if cell == "lstm" else 1
    weights = fill(rng, layer)
    x, zeros = values(rng, 4, 3, 5), [np.zeros((4, 3, 7), np.float32)] * count
    expected = run(layer, cell, x, zeros, np.full(3, 4))
    y, last = layer(x)  # no states: zeros; no lengths: all of x
    for a, b in zip([y, *(last if cell == "lstm" else [last])], expected, strict=True):
        assert np.array_equal(a, b)

    other = make(cell, 5, 7, 2, bidirectional=True, batch_first=True).train()
    other.load_state_dict(weights)
    swapped = run(other, cell, np.ascontiguousarray(x.transpose(1, 0, 2)), zeros, None)
    assert np.array_equal(swapped[0].transpose(1, 0, 2), expected[0])
    for a, b in zip(swapped[1:], expected[1:], strict=True):  # states keep [L*D, N, H]
        assert np.array_equal(a, b)
    layer.train()
    run(layer, cell, x, zeros, None)
    dy, dlast = values(rng, *y.shape), [values(rng, 4, 3, 7) for _ in range(count)]
    gradients = backward(layer, cell, [dy, *dlast])
    swapped = backward(other, cell, [np.ascontiguousarray(dy.transpose(1, 0, 2)), *dlast])
    assert np.array_equal(swapped[0].transpose(1, 0, 2), gradients[0])


@pytest.mark.parametrize("cell", CELLS)
def test_backward_without_the_last_states(device: Device, rng: np.random.Generator, cell: str) -> None:
    """dstate left out is zero: only y was used."""
    layer = make(cell, 5, 7).train()
    fill(rng, layer)
    x, dy = values(rng, 4, 3, 5), values(rng, 4, 3, 7)
    zeros = [np.zeros((1, 3, 7), np.float32)] * (2 if cell == "lstm" else 1)
    run(layer, cell, x, zeros, None)
    expected = backward(layer, cell, [dy, *zeros])
    run(layer, cell, x, zeros, None)
    dx, _ = layer.backward(dy)
    assert np.array_equal(dx, expected[0])


@pytest.mark.parametrize("cell", CELLS)
def test_parameters_are_views_and_state_dict_is_a_copy(rng: np.random.Generator, cell: str) -> None:
    layer = make(cell, 3, 5)
    fill(rng, layer)
    x = values(rng, 2, 2, 3)
    before = layer(x)[0]
    copy = layer.state_dict()
    copy["weight_ih_l0"][...] = 0
    assert np.array_equal(layer(x)[0], before)
    kept = layer.state_dict()
    layer.parameters()["weight_ih_l0"][...] *= 2
    assert np.array_equal(layer.state_dict()["weight_ih_l0"], 2 * kept["weight_ih_l0"])
    layer.load_state_dict(kept)
    assert np.array_equal(layer(x)[0], before)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_acts_between_layers_in_training_only(rng: np.random.Generator, cell: str) -> None:
    layer, plain = make(cell, 5, 64, 2, dropout=0.5), make(cell, 5, 64, 2)
    plain.load_state_dict(fill(rng, layer))
    x = values(rng, 4, 3, 5)
    expected = plain(x)
    h_expected = expected[1][0] if cell == "lstm" else expected[1]
    assert np.array_equal(layer.eval()(x)[0], expected[0])
    dropped = layer.train()(x)
    assert not np.allclose(dropped[0], expected[0])
    h_dropped = dropped[1][0] if cell == "lstm" else dropped[1]
    assert np.array_equal(h_dropped[0], h_expected[0])  # the first layer is not touched
    again = layer(x)
    assert not np.array_equal(again[0], dropped[0])  # each forward has a mask of its own


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_with_dropout(
    device: Device, rng: np.random.Generator, cell: str, bidirectional: bool
) -> None:
    """Against the very masks: of (seed, number of the call, layer, place in the batch, time)."""
    directions, count, hidden = 1 + bidirectional, 2 if cell == "lstm" else 1, 9
    layer = make(cell, 5, hidden, 3, dropout=0.4, bidirectional=bidirectional, seed=11).train()
    weights = fill(rng, layer)
    x, lengths = values(rng, 5, 4, 5), ragged(rng, 4, 5)
    layer(x, lengths=lengths)  # call 0; its masks are not those of call 1
    y, _ = layer(x, lengths=lengths)
    dy = values(rng, *y.shape)

    options = reference.Options(target_vocab_size=1, dropout=0.4)

    def drop_between(drop: Any, k: int, z: Any) -> Any:
        return drop(network.OP_ENCODER_LAYER + k, z, 0)

    def outputs(x: Any, params: Any) -> Any:
        found = []
        for n, length in enumerate(lengths):
            drop = network.dropout_of(options, seed=11, update=1, example=n)
            between = functools.partial(drop_between, drop)
            zero = [tuple(np.zeros(hidden) for _ in range(count))] * len(params)
            step = recurrent.step_of(cell)
            found.append(recurrent.run_stack(step, x[:length, n], zero, params, directions, between)[0])
        return found

    arguments = double([x, nested(weights, 3, directions)])
    for n, expected in enumerate(outputs(*arguments)):
        assert_close(y[: lengths[n], n], expected, f"sequence {n}")
    cotangents = [dy[:length, n] for n, length in enumerate(lengths)]
    dx, dparams = reference.vjp(outputs, arguments, cotangents)
    actual, _ = device.run(layer.backward, dy)
    assert_close(actual, dx, "dx")
    assert_close(layer.gradients(), named(dparams, weights, 3, directions), "gradient")


@pytest.mark.parametrize("cell", CELLS)
def test_backward_needs_a_forward_in_training(rng: np.random.Generator, cell: str) -> None:
    layer = make(cell, 3, 5)
    x, dy = values(rng, 2, 2, 3), values(rng, 2, 2, 5)
    with pytest.raises(RuntimeError, match="train"):
        layer.train().backward(dy)
    layer.eval()(x)
    with pytest.raises(RuntimeError, match="train"):
        layer.backward(dy)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("variant", ["lstm", "gru", "gru_reset_before"])
def test_cells(device: Device, rng: np.random.Generator, variant: str, bias: bool) -> None:
    lstm = variant == "lstm"
    extra = {"reset_after": False} if variant == "gru_reset_before" else {}
    layer = (nn.LSTMCell if lstm else nn.GRUCell)(6, 19, bias=bias, **extra).train()
    weights = fill(rng, layer)
    names = ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * bias
    assert list(weights) == names
    x, state = values(rng, 4, 6), [values(rng, 4, 19) for _ in range(2 if lstm else 1)]

    def cell(x: Any, state: Any, weights: Any) -> Any:
        every = {"bias_ih": None, "bias_hh": None, **weights}
        parts = [every[f"{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        op: Any = reference.lstm_cell if lstm else reference.gru_cell
        return op(x, *state, *parts, **extra)

    arguments = double([x, state, weights])
    after = device.run(layer, x, tuple(state) if lstm else state[0])
    assert_close(after, cell(*arguments))
    cotangents = [values(rng, 4, 19) for _ in state]
    dx, dstate = device.run(layer.backward, tuple(cotangents) if lstm else cotangents[0])
    expected = reference.vjp(cell, arguments, cotangents if lstm else cotangents[0])
    assert_close([dx, dstate if lstm else [dstate], layer.gradients()], expected)


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell"])
def test_cells_agree_with_pytorch(device: Device, torch: Any, rng: np.random.Generator, cell: str) -> None:
    theirs, layer = getattr(torch.nn, cell)(96, 128), getattr(nn, cell)(96, 128).train()
    layer.load_state_dict(theirs.state_dict())
    theirs = theirs.double()
    x, state = values(rng, 9, 96), [values(rng, 9, 128) for _ in range(2 if cell == "LSTMCell" else 1)]
    lstm = cell == "LSTMCell"
    inputs = [torch.from_numpy(double(a)).requires_grad_() for a in (x, *state)]
    expected = theirs(inputs[0], tuple(inputs[1:]) if lstm else inputs[1])
    expected = list(expected) if lstm else [expected]
    after = device.run(layer, x, tuple(state) if lstm else state[0])
    assert_close(list(after) if lstm else [after], [e.detach().numpy() for e in expected])
    cotangents = [values(rng, 9, 128) for _ in state]
    sum((e * torch.from_numpy(double(c))).sum() for e, c in zip(expected, cotangents, strict=True)).backward()
    dx, dstate = device.run(layer.backward, tuple(cotangents) if lstm else cotangents[0])
    assert_close([dx, *(dstate if lstm else [dstate])], [i.grad.numpy() for i in inputs])
    assert_close(layer.gradients(), {name: p.grad.numpy() for name, p in theirs.named_parameters()})
