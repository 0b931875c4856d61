"""The reference itself, against finite differences, published vectors of Philox, and PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, double, ragged, relative_error, rnn_weights
from networks import OPTIONS, batch_for, name_of, pairwise, random_parameters, small_network
from reference import autodiff, network

pytestmark = pytest.mark.cpu_only("no kernel runs here")

FINITE_DIFFERENCES = 1e-6  # relative, per tensor


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def check_gradients(function: Callable[..., Any], arguments: list[Any], rng: np.random.Generator) -> None:
    """Every gradient of `function`, with random cotangents for every output."""
    outputs = autodiff._leaves(function(*arguments))
    cotangents = [normal(rng, *np.shape(y)) for y in outputs]

    def flat(*args: Any) -> list[Any]:
        return autodiff._leaves(function(*args))

    actual = autodiff._leaves(reference.vjp(flat, arguments, cotangents))
    expected = autodiff._leaves(reference.finite_difference_vjp(flat, arguments, cotangents))
    for a, b in zip(actual, expected, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert np.any(b != 0), "a gradient that is zero everywhere tests nothing"
            assert relative_error(a, b) <= FINITE_DIFFERENCES


@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_linear(leading: tuple[int, ...], rng: np.random.Generator) -> None:
    check_gradients(reference.linear, [normal(rng, *leading, 5), normal(rng, 3, 5), normal(rng, 3)], rng)


def test_embedding(rng: np.random.Generator) -> None:
    ids = np.array([[2, 0, 2], [4, 2, 1]])  # one id three times, one never
    check_gradients(lambda w: reference.embedding(ids, w), [normal(rng, 5, 3)], rng)


@pytest.mark.parametrize("function", [reference.softmax, reference.log_softmax])
def test_softmax(function: Any, rng: np.random.Generator) -> None:
    check_gradients(function, [3 * normal(rng, 3, 5)], rng)
    far = np.array([[1000.0, 0.0, -1000.0]])
    assert np.all(np.isfinite(function(far)))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy(label_smoothing: float, rng: np.random.Generator) -> None:
    targets = np.array([2, -100, 0, 4])

    def losses(x: Any) -> Any:
        return reference.cross_entropy(x, targets, label_smoothing=label_smoothing)

    check_gradients(losses, [normal(rng, 4, 5)], rng)
    assert losses(normal(rng, 4, 5))[1] == 0


@pytest.mark.parametrize("score", ["dot", "mlp"])
def test_attention(score: str, rng: np.random.Generator) -> None:
    lengths, example = np.array([3, 1, 4]), np.array([2, 0, 0, 1, 2])
    arguments = [normal(rng, 5, 4), normal(rng, 8, 4), normal(rng, 8, 3)]
    if score == "mlp":
        arguments.append(normal(rng, 4))

    def run(q: Any, k: Any, v: Any, energy: Any = None) -> Any:
        return reference.attention(q, k, v, lengths, example, score, energy)

    check_gradients(run, arguments, rng)
    weights = run(*arguments)[1]
    assert np.allclose(weights.sum(axis=1), 1)
    assert np.all(weights[3, 1:] == 0)


def test_lstm_cell(rng: np.random.Generator) -> None:
    weights = double(rnn_weights(rng, 4, [3], 5)[0])
    check_gradients(
        reference.lstm_cell, [normal(rng, 2, 3), normal(rng, 2, 5), normal(rng, 2, 5), *weights], rng
    )


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_cell(reset_after: bool, rng: np.random.Generator) -> None:
    weights = double(rnn_weights(rng, 3, [3], 5)[0])

    cell = functools.partial(reference.gru_cell, reset_after=reset_after)

    check_gradients(cell, [normal(rng, 2, 3), normal(rng, 2, 5), *weights], rng)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layers(cell: str, bidirectional: bool, rng: np.random.Generator) -> None:
    gates, directions, hidden = {"lstm": 4, "gru": 3}[cell], 1 + bidirectional, 2
    params = double(rnn_weights(rng, gates, [2, hidden * directions], hidden, directions))
    states = [normal(rng, 2 * directions, 3, hidden) for _ in range(2 if cell == "lstm" else 1)]
    lengths = np.array([2, 4, 1])

    def run(x: Any, weights: Any, *initial: Any) -> Any:
        layers: Any = reference.lstm if cell == "lstm" else reference.gru
        return layers(x, weights, *initial, lengths=lengths, bidirectional=bidirectional)

    check_gradients(run, [normal(rng, 4, 3, 2), params, *states], rng)
    y = run(normal(rng, 4, 3, 2), params, *states)[0]
    assert np.all(y[2:, 0] == 0)
    assert np.all(y[1:, 2] == 0)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # kat_vectors of Random123 1.14
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox(counter: str, key: str, words: str) -> None:
    def parse(text: str) -> list[int]:
        return [int(word, 16) for word in text.split()]

    assert reference.philox(parse(counter), parse(key)) == parse(words)


def test_dropout(rng: np.random.Generator) -> None:
    mask = reference.dropout_mask(50, 101, 0.3, seed=1 << 40 | 7, update=3, op=2)
    assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    assert abs(np.mean(mask) - 1) < 0.03
    check_gradients(lambda x: reference.dropout(x, 0.5, seed=7), [normal(rng, 3, 6)], rng)
    # Each word of the counter and the key counts, and a row's numbers depend on its names alone.
    row = reference.dropout_mask(1, 64, 0.5, 7, 0, 0, [9], [4])
    assert np.array_equal(row[0], reference.dropout_mask(2, 64, 0.5, 7, 0, 0, [1, 9], [2, 4])[1])
    others = [(8, 0, 0, 9, 4), (7, 1, 0, 9, 4), (7, 0, 1, 9, 4), (7, 0, 0, 9 + (1 << 32), 4), (7, 0, 0, 9, 5)]
    for seed, update, op, example, time in others:
        assert not np.array_equal(
            row, reference.dropout_mask(1, 64, 0.5, seed, update, op, [example], [time])
        )


def test_topk() -> None:
    values, columns = reference.topk(np.array([[1.0, 3.0, 2.0, 3.0], [-5.0, -5.0, -6.0, -np.inf]]), 3)
    assert columns.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert values.tolist() == [[3.0, 3.0, 2.0], [-5.0, -5.0, -6.0]]


def test_an_operation_without_a_derivative_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="absolute"):
        reference.vjp(np.abs, [np.ones(3)], np.ones(3))


def dropout_kinds() -> list[tuple[dict[str, Any], float]]:
    return [(row, 0.4 if i % 3 == 0 else 0.0) for i, row in enumerate(pairwise(OPTIONS))]


@pytest.mark.parametrize(
    ("row", "dropout"), dropout_kinds(), ids=lambda x: name_of(x) if isinstance(x, dict) else str(x)
)
def test_network(row: dict[str, Any], dropout: float, rng: np.random.Generator) -> None:
    """Every parameter's gradient along a random direction, so that each element has its say."""
    o = reference.Options(**small_network(row), dropout=dropout)
    batch = batch_for(o, rng, count=2, longest_source=4, longest_target=3)
    params = double(random_parameters(o, rng, scale=2.0))

    def loss(p: Any) -> Any:
        total: Any = 0.0
        for source, target, example in batch.pairs():
            drop = network.dropout_of(o, seed=3, update=2, example=example)
            total = total + reference.sequence_loss(o, p, source, target, 0.1, drop)
        return total

    gradients = reference.vjp(loss, [params], np.ones(()))[0]
    for name, x in params.items():
        direction = rng.standard_normal(x.shape)
        expected = autodiff.directional_derivative(lambda: float(loss(params)), x, direction)
        actual = float(np.sum(gradients[name] * direction))
        # Where the terms of the sum cancel, what counts is the size of the terms.
        assert abs(actual - expected) <= FINITE_DIFFERENCES * np.abs(gradients[name] * direction).sum(), name


def test_pairwise_covers_every_pair() -> None:
    rows = pairwise(OPTIONS)
    assert len(rows) < 40
    for a, xs in OPTIONS.items():
        for b, ys in OPTIONS.items():
            if a != b:
                assert {(row[a], row[b]) for row in rows} == {(x, y) for x in xs for y in ys}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layers_agree_with_pytorch(
    torch: Any, cell: str, bidirectional: bool, rng: np.random.Generator
) -> None:
    gates, directions, hidden, layers = {"lstm": 4, "gru": 3}[cell], 1 + bidirectional, 5, 3
    sizes = [4] + [hidden * directions] * (layers - 1)
    params = double(rnn_weights(rng, gates, sizes, hidden, directions))
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](
        4, hidden, layers, bidirectional=bidirectional
    )
    module = module.double()
    with torch.no_grad():
        for p, w in zip(module.parameters(), [w for weights in params for w in weights], strict=True):
            p.copy_(torch.from_numpy(w))
    lengths = ragged(rng, 6, 7)
    x = normal(rng, 7, 6, 4)
    states = [normal(rng, layers * directions, 6, hidden) for _ in range(2 if cell == "lstm" else 1)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(x), torch.from_numpy(lengths), enforce_sorted=False
    )
    initial = tuple(torch.from_numpy(s) for s in states)
    y, last = module(packed, initial if cell == "lstm" else initial[0])
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
    expected = [y, *last] if cell == "lstm" else [y, last]
    run: Any = reference.lstm if cell == "lstm" else reference.gru
    actual = run(x, params, *states, lengths=lengths, bidirectional=bidirectional)
    assert_close(actual, [e.detach().numpy() for e in expected], dtype="float64")


def test_cross_entropy_agrees_with_pytorch(torch: Any, rng: np.random.Generator) -> None:
    logits, targets = normal(rng, 6, 9), np.array([0, 8, -100, 3, 3, 1])
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(targets), reduction="none", label_smoothing=0.2
    )
    assert_close(
        reference.cross_entropy(logits, targets, label_smoothing=0.2), expected.numpy(), dtype="float64"
    )


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_optimizers_agree_with_pytorch(torch: Any, kind: str, rng: np.random.Generator) -> None:
    start, grads = normal(rng, 7), [normal(rng, 7) for _ in range(4)]
    param = torch.nn.Parameter(torch.from_numpy(start.copy()))
    extra = {"momentum": 0.8, "nesterov": True} if kind == "SGD" else {}
    optimizer = getattr(torch.optim, kind)([param], lr=0.1, weight_decay=0.05, **extra)
    x, a, b = start, np.zeros(7), np.zeros(7)
    for step, g in enumerate(grads, 1):
        param.grad = torch.from_numpy(g.copy())
        optimizer.step()
        if kind == "SGD":
            x, buffer = reference.sgd(x, g, a, 0.1, 0.8, 0.05, nesterov=True, first=step == 1)
            assert buffer is not None
            a = buffer
        elif kind == "Adagrad":
            x, a = reference.adagrad(x, g, a, 0.1, weight_decay=0.05)
        else:
            x, a, b = reference.adam(x, g, a, b, step, 0.1, weight_decay=0.05, decoupled=kind == "AdamW")
    assert_close(x, param.detach().numpy(), dtype="float64")


@pytest.mark.parametrize("row", pairwise(OPTIONS), ids=name_of)
def test_network_agrees_with_pytorch(torch: Any, row: dict[str, Any], rng: np.random.Generator) -> None:
    from torch_network import TorchNetwork

    o = reference.Options(**small_network(row))
    batch = batch_for(o, rng, count=4, longest_source=5, longest_target=4)
    params = double(random_parameters(o, rng, scale=2.0))
    loss, gradients, log_p = TorchNetwork(o, params).forward_backward(batch, label_smoothing=0.1)

    def mean_loss(p: Any) -> Any:
        total = sum(reference.sequence_loss(o, p, x, y, 0.1) for x, y, _ in batch.pairs())
        return total / len(batch.target)

    assert_close(mean_loss(params) * len(batch.target), np.float64(loss), "loss", dtype="float64")
    expected = np.concatenate([reference.log_probabilities(o, params, x, y) for x, y, _ in batch.pairs()])
    assert_close(log_p, expected, "log_p", dtype="float64")
    reference_gradients = reference.vjp(mean_loss, [params], np.ones(()))[0]
    # A parameter that PyTorch's graph does not reach has the gradient zero.
    reached = {name: g for name, g in reference_gradients.items() if name in gradients or np.any(g)}
    assert_close(gradients, reached, "gradients", dtype="float64")
