"""Layers and networks with weights of fewer bits: what they compute, and that company changes no bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from checks import bits, ragged, values
from networks import batch_for, random_parameters
from place import Device, size
from reference import rounding
from seq2seq_fast import Seq2SeqConfig, _native, cpu_isa, nn

Threads = Callable[[int], None]
SMALLER = ["float16", "bfloat16", "int8"]
VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "gru_reset_before": (nn.GRU, {"reset_after": False}),
}
variants = pytest.mark.parametrize("variant", VARIANTS)
smaller = pytest.mark.parametrize("compute_type", SMALLER)


def make(variant: str, *args: Any, weights: dict[str, np.ndarray] | None = None, **options: Any) -> Any:
    layer, extra = VARIANTS[variant]
    made = layer(*args, **extra, **options)
    if weights is not None:
        made.load_state_dict(weights)
    return made


def random_weights(rng: np.random.Generator, layer: Any) -> dict[str, np.ndarray]:
    """Rows of different size; 1/sqrt(hidden) in the mean."""
    return {
        name: values(rng, *w.shape, scale=0.5 / np.sqrt(layer.hidden_size), outliers=False)
        * rng.uniform(0.2, 2, (len(w), *[1] * (w.ndim - 1))).astype(np.float32)
        for name, w in layer.state_dict().items()
    }


def rounded(weights: dict[str, np.ndarray], compute_type: str) -> dict[str, np.ndarray]:
    """What a compute type makes of the matrices; vectors stay."""

    def matrix(w: np.ndarray) -> np.ndarray:
        if compute_type != "int8":
            return getattr(rounding, compute_type)(w)
        integers, scale = rounding.int8_rows(w)
        return integers.astype(np.float32) * scale[:, None]

    return {name: matrix(w) if w.ndim == 2 else w for name, w in weights.items()}


def states(rng: np.random.Generator, variant: str, *shape: int, outliers: bool = True) -> list[np.ndarray]:
    return [values(rng, *shape, outliers=outliers) for _ in range(2 if variant == "lstm" else 1)]


def run(layer: Any, x: Any, initial: list[Any] | None = None, lengths: Any = None) -> list[Any]:
    """-> [y, h_n] or [y, h_n, c_n]."""
    state = None if initial is None else tuple(initial) if len(initial) == 2 else initial[0]
    y, last = layer(x, state, lengths=lengths)
    return [y, *last] if isinstance(last, tuple) else [y, last]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray], rounds: bool) -> None:
    """The same bits; near where the way to them `rounds` more than the weights."""
    if not rounds:
        assert bits(found) == bits(expected)
    else:
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0.02, atol=0.04)


# ---- layers


@pytest.mark.parametrize("hidden", size([1, 3, 8, 17, 33, 65], [1, 3, 8, 17, 33]))
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
@variants
@smaller
def test_the_weights_are_rounded(
    device: Device,
    rng: np.random.Generator,
    compute_type: str,
    variant: str,
    layers: int,
    bidirectional: bool,
    hidden: int,
) -> None:
    """The float32 layer with rounded weights: of 16 bits the same bits, for int8 near, as activations are
    rounded too; rounding what is rounded changes nothing."""
    width, batch, steps = 2 * hidden - 1, size(7, 5), size(6, 3)
    options: dict[str, Any] = {"num_layers": layers, "bidirectional": bidirectional}
    exact = make(variant, width, hidden, **options)
    weights = random_weights(rng, exact)
    exact.load_state_dict(rounded(weights, compute_type))
    layer = make(variant, width, hidden, weights=weights, compute_type=compute_type, **options)
    again = make(
        variant, width, hidden, weights=rounded(weights, compute_type), compute_type=compute_type, **options
    )
    assert layer.compute_type == compute_type
    x = values(rng, steps, batch, width, outliers=False)
    initial = states(rng, variant, layers * (1 + bidirectional), batch, hidden, outliers=False)
    for arguments in ((x, initial, ragged(rng, batch, steps)), (x, initial), (x,))[: size(3, 1)]:
        found = device.run(run, layer, *arguments)
        assert bits(device.run(run, again, *arguments)) == bits(found)
        expected = device.run(run, exact, *arguments)
        if compute_type != "int8":
            assert_same(found, expected, device.rounds(compute_type))
            continue
        for a, b in zip(found, expected, strict=True):
            assert np.abs(a - b).max() < 0.04


@variants
@pytest.mark.parametrize("compute_type", ["float32", *SMALLER])
@pytest.mark.cpu_only("threads of the CPU")
def test_threads_share_out_units_or_rows(
    rng: np.random.Generator, threads: Threads, compute_type: str, variant: str
) -> None:
    """Of many sequences of one length each thread takes some, of few some units of all: the same bits, and
    those of one sequence alone."""
    # Enough work for a second thread with one sequence, weights small enough for rows with many.
    layer = make(variant, 70, 230 if variant == "lstm" else 260, compute_type=compute_type)
    layer.load_state_dict(random_weights(rng, layer))
    for batch in (1, 16, 17, 40):
        x = values(rng, 6, batch, 70)
        results = []
        for n in (1, 2, 3):
            threads(n)
            results.append(run(layer, x))
        assert all(bits(result) == bits(results[0]) for result in results)
        last = slice(batch - 1, batch)
        assert bits(run(layer, x[:, last])) == bits([array[:, last] for array in results[0]])


@variants
@pytest.mark.parametrize("compute_type", ["float32", *SMALLER])
@pytest.mark.usefixtures("own_products")
def test_company_changes_nothing(
    device: Device, rng: np.random.Generator, threads: Threads, compute_type: str, variant: str
) -> None:
    """Alone, among others, on one thread or two. Alone a walk over time is one piece; here the batch's is cut
    into several. h0 lies within [-1, 1] for some sequences, far out for others."""
    width, hidden, batch, steps = size((70, 130, 50, 23), (18, 34, 9, 4))
    layer = make(variant, width, hidden, 2, bidirectional=True, compute_type=compute_type)
    layer.load_state_dict(random_weights(rng, layer))
    x, lengths = values(rng, steps, batch, width), ragged(rng, batch, steps)
    initial = states(rng, variant, 4, batch, hidden)
    initial[0][:, ::3] /= 100
    results = []
    for n in size((1, 2), (1,)):
        threads(n)
        y, *last = run(layer, x, initial, lengths)
        full, *full_last = run(layer, x, initial)
        for r in [int(lengths.argmin()), batch // 2, int(lengths.argmax()), 0, batch - 1][: size(5, 2)]:
            one, end = slice(r, r + 1), int(lengths[r])
            y1, *last1 = run(layer, x[:end, one], [s[:, one] for s in initial])
            several = [y[:end, r], *(s[:, r] for s in last)]
            assert_same([y1[:, 0], *(s[:, 0] for s in last1)], several, device.rounds(compute_type))
            y1, *last1 = run(layer, x[:, one], [s[:, one] for s in initial])
            several = [full[:, r], *(s[:, r] for s in full_last)]
            assert_same([y1[:, 0], *(s[:, 0] for s in last1)], several, device.rounds(compute_type))
        results.append(bits((y, last, full, full_last)))
    assert results[0] == results[-1]


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_state_beyond_its_bound(device: Device, rng: np.random.Generator, reset_after: bool) -> None:
    """An update gate at 1 keeps h but for a rounding error, by which it can come to lie beyond the bound that
    its h0 set: the walk that is cut must go on by that bound."""
    hidden, batch, steps = 64, 4 if device.emulated else 128, 12
    layer = nn.GRU(5, hidden, reset_after=reset_after, compute_type="int8")
    weights = random_weights(rng, layer)
    weights["bias_ih_l0"][hidden] = 40  # unit 0: z = 1
    weights["bias_ih_l0"][2 * hidden] = -40  # n = -1
    layer.load_state_dict(weights)
    h0 = values(rng, 1, batch, hidden, outliers=False, scale=0.5)
    h0[0, :, 0] = np.float32(3) + np.arange(batch, dtype=np.float32) * np.float32(2.0**-22)
    x = values(rng, steps, batch, 5)
    y, last = layer(x, h0)
    assert np.any(last[0, :, 0] > h0[0, :, 0])
    for r in range(batch):
        assert np.array_equal(layer(x[:, r : r + 1], h0[:, r : r + 1])[0][:, 0], y[:, r])


@variants
@smaller
def test_cells_step_by_step(
    device: Device, rng: np.random.Generator, compute_type: str, variant: str
) -> None:
    """A cell, once for each step, is a layer of one direction: int8 too, while states lie in [-1, 1]."""
    cell = nn.LSTMCell if variant == "lstm" else nn.GRUCell
    one = cell(19, 33, compute_type=compute_type, **VARIANTS[variant][1])
    weights = random_weights(rng, one)
    one.load_state_dict(weights)
    layer = make(variant, 19, 33, compute_type=compute_type)
    layer.load_state_dict({f"{name}_l0": w for name, w in weights.items()})
    x, initial = values(rng, 6, 9, 19), [np.clip(s, -1, 1) for s in states(rng, variant, 9, 33)]
    y, *last = run(layer, x, [s[None] for s in initial])
    state: Any = tuple(initial) if len(initial) == 2 else initial[0]
    for t in range(6):
        state = one(x[t], state)
        assert_same([state[0] if variant == "lstm" else state], [y[t]], device.rounds(compute_type))
    states_at_last = list(state) if variant == "lstm" else [state]
    assert_same(states_at_last, [s[0] for s in last], device.rounds(compute_type))


@variants
@pytest.mark.parametrize("compute_type", ["float32", *SMALLER])
def test_what_is_no_number_stays_in_its_sequence(
    rng: np.random.Generator, compute_type: str, variant: str
) -> None:
    layer = make(variant, 9, 21, compute_type=compute_type)
    layer.load_state_dict(random_weights(rng, layer))
    x, initial = values(rng, 6, 5, 9), states(rng, variant, 1, 5, 21)
    right = run(layer, x, initial)
    x[3, 2, 4], initial[0][0, 4, 20] = np.nan, np.nan
    y, *last = run(layer, x, initial)
    assert np.isnan(y[3:, 2]).all() and np.isnan(y[:, 4]).all()
    assert all(np.isnan(s[0, [2, 4]]).all() for s in last)
    x[3, 2, 4] = 0
    for r in (0, 1, 3):
        assert np.array_equal(y[:, r], right[0][:, r])
    assert np.array_equal(y[:3, 2], right[0][:3, 2])


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "LSTMCell", "GRUCell"])
def test_types_for_inference_alone(cell: str) -> None:
    make_one: Any = getattr(nn, cell)
    for compute_type in ("float16", "int8"):
        layer = make_one(3, 5, compute_type=compute_type)
        with pytest.raises(ValueError, match=rf"\[{cell}\] .*bfloat16 to train, got {compute_type}"):
            layer.train()
        assert not layer.eval().training
    assert make_one(3, 5).compute_type == make_one(3, 5, compute_type="default").compute_type == "float32"
    assert make_one(3, 5, compute_type="auto").compute_type == FASTEST
    with pytest.raises(ValueError, match=r"\[(lstm|gru)\] Expected compute_type default, .* got int4"):
        make_one(3, 5, compute_type="int4")
    with pytest.raises(TypeError):
        make_one(3, 5, compute_type=8)


FASTEST = "float32" if cpu_isa() in ("sse4", "generic", "neon") else "int8"


# ---- networks

NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"decoder_layers": 2, "attention_score": "general"},
    "gru": {"encoder_cell": "gru", "decoder_cell": "gru", "attention_score": "mlp", "reset_after": False},
    "cells": {
        "source_vocab_size": 0,
        "source_features": 30,
        "encoder_layers": 0,
        "decoder_cell": "gru",
        "attention_score": "mlp",
    },
    "mean": {"context": "mean", "input_feeding": False, "bridge": "zero", "tie_output": True},
}
TOLERANCE = {"float16": 0.01, "bfloat16": 0.1, "int8": 0.15}  # of a log-probability


def network(rng: np.random.Generator, name: str, compute_type: str) -> tuple[Any, Any, Any]:
    """The same random network in float32 and in a compute type, and 40 ragged examples."""
    sizes: dict[str, Any] = {
        "source_vocab_size": 50,
        "target_vocab_size": 300,
        "source_embedding_dim": 40,
        "target_embedding_dim": 56,
        "encoder_hidden": 72,
        "decoder_hidden": 100,
    }
    config = Seq2SeqConfig(**sizes | NETWORKS[name])
    found = []
    parameters = random_parameters(config, rng, scale=3.0)
    for of_type in ("float32", compute_type):
        native = _native.Model(asdict(config), of_type, False)
        assert native.compute_type == of_type
        for key, value in parameters.items():
            native.load_parameter(key, value)
        found.append(native)
    return found[0], found[1], batch_for(config, rng, 40, 25, 18)


def written(hypothesis: Any) -> Any:
    return list(hypothesis.tokens), np.float64(hypothesis.score).tobytes(), bits(hypothesis.token_scores)


@pytest.mark.parametrize("name", NETWORKS)
@smaller
def test_networks(rng: np.random.Generator, threads: Threads, compute_type: str, name: str) -> None:
    """Scores near float32's; scores and searches the same alone, in a batch, and on any number of threads."""
    exact, model, batch = network(rng, name, compute_type)
    options = {"beam_size": 4, "num_hypotheses": 2, "max_decoding_length": 12}
    arrays = batch.source, batch.source_lengths, batch.target, batch.target_lengths
    results = []
    for n in (1, 2):
        threads(n)
        scores = model.score(*arrays)
        error = np.abs(scores - exact.score(*arrays))
        assert 0 < error.max() < TOLERANCE[compute_type]
        outputs = [[written(h) for h in some] for some in model.generate(*arrays[:2], options)]
        assert len({str(some[0][0]) for some in outputs}) > 5, "outputs that are all alike prove little"
        ends = np.cumsum(batch.target_lengths)
        for r in (0, 17, int(batch.source_lengths.argmax()), int(batch.source_lengths.argmin())):
            one = batch.take([r])
            alone = model.score(one.source, one.source_lengths, one.target, one.target_lengths)
            assert np.array_equal(alone, scores[ends[r] - batch.target_lengths[r] : ends[r]])
            (some,) = model.generate(one.source, one.source_lengths, options)
            assert [written(h) for h in some] == outputs[r]
        results.append((bits(scores), outputs))
    assert results[0] == results[1]
