from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, assert_sums_close, double, ragged, values
from place import Device
from seq2seq_fast import ops


def inputs(rng: np.random.Generator, score: str, width: int, memory: int, longest: int = 9) -> list[Any]:
    """query, keys, values, lengths, example, score, energy: 4 sources, 11 queries."""
    lengths = ragged(rng, 4, longest)
    total = int(lengths.sum())
    example = np.array([3, 0, 0, 1, 2, 3, 1, 0, 2, 2, 2], np.int32)
    scale = 0.3 / np.sqrt(width) if score == "dot" else 1.0
    return [
        values(rng, 11, width, scale=scale),
        values(rng, total, width),
        values(rng, total, memory),
        lengths,
        example,
        score,
        values(rng, width, scale=3 / np.sqrt(width)) if score == "mlp" else None,
    ]


def check(device: Device, rng: np.random.Generator, arguments: list[Any]) -> None:
    query, keys, memory, lengths, example, score, energy = arguments
    context, weights = device.run(ops.attention, query, keys, memory, lengths, example, score, energy)
    expected = reference.attention(*double(arguments))
    assert_close((context, weights), expected, "forward")
    assert np.all(weights[expected[1] == 0] == 0)

    dcontext = values(rng, *context.shape)
    check_backward(device, rng, arguments, weights, dcontext, None)
    check_backward(device, rng, arguments, weights, dcontext, values(rng, *weights.shape))


def check_backward(
    device: Device, rng: np.random.Generator, arguments: list[Any], weights: Any, dcontext: Any, dweights: Any
) -> None:
    query, keys, memory, lengths, example, score, energy = arguments
    gradients = device.run(
        ops.attention_backward,
        dcontext,
        query,
        keys,
        memory,
        lengths,
        example,
        score=score,
        energy=energy,
        dweights=dweights,
    )
    from_weights = np.zeros(weights.shape) if dweights is None else double(dweights)
    expected = reference.vjp(reference.attention, double(arguments), [dcontext, from_weights])
    sizes = magnitudes(double(arguments), double(dcontext), np.abs(from_weights))
    for i, (name, at) in enumerate(zip(["dquery", "dkeys", "dvalues", "denergy"], [0, 1, 2, 6], strict=True)):
        if name == "denergy" and score == "dot":
            assert gradients[i] is None
        else:
            assert_sums_close(gradients[i], expected[at], sizes[i] + 1e-30, name)


def magnitudes(arguments: list[Any], dcontext: Any, dweights: Any) -> list[Any]:
    """The gradients with the absolute value of each term: scores of one source compete, so terms cancel."""
    query, keys, memory, lengths, example, score, energy = arguments
    starts = np.concatenate([[0], np.cumsum(lengths)])
    sizes = [np.zeros(x.shape) for x in (query, keys, memory)] + [np.zeros(query.shape[1])]
    for r, n in enumerate(example):
        rows = slice(starts[n], starts[n + 1])
        _, w = reference.attend(query[r], keys[rows], memory[rows], score, energy)
        each = np.abs(memory[rows]) @ np.abs(dcontext[r]) + dweights[r][: len(w)]
        dscore = w * (each + w @ each)
        through = np.abs(keys[rows]) if score == "dot" else np.tile(np.abs(energy), (len(w), 1))
        sizes[0][r] = dscore @ through
        sizes[1][rows] += np.outer(dscore, np.abs(query[r] if score == "dot" else energy))
        sizes[2][rows] += np.outer(w, np.abs(dcontext[r]))
        if score == "mlp":
            sizes[3] += dscore @ np.abs(np.tanh(query[r] + keys[rows]))
    return sizes


@pytest.mark.parametrize("score", ["dot", "mlp"])
@pytest.mark.parametrize("width", SIZES)
def test_width_of_the_score(device: Device, rng: np.random.Generator, score: str, width: int) -> None:
    check(device, rng, inputs(rng, score, width, memory=21))


@pytest.mark.parametrize("memory", SIZES)
def test_width_of_the_memory(device: Device, rng: np.random.Generator, memory: int) -> None:
    check(device, rng, inputs(rng, "dot", 10, memory))


@pytest.mark.parametrize("longest", [1, 8, 15, 16, 17, 33, 130])
@pytest.mark.parametrize("score", ["dot", "mlp"])
def test_length_of_the_source(device: Device, rng: np.random.Generator, score: str, longest: int) -> None:
    check(device, rng, inputs(rng, score, 12, 20, longest))


@pytest.mark.parametrize("beams", [5, 20])
@pytest.mark.parametrize("score", ["dot", "mlp"])
def test_queries_of_one_source_side_by_side(
    device: Device, rng: np.random.Generator, score: str, beams: int
) -> None:
    """As the beams of a search: a query's result is the same as alone."""
    arguments = inputs(rng, score, 20, 150, 40)
    example = np.repeat(np.array([2, 0, 1, 3], np.int32), beams)
    arguments[0], arguments[4] = values(rng, len(example), 20, scale=0.1), example
    check(device, rng, arguments)
    query, keys, memory, lengths, example, score, energy = arguments
    dcontext = values(rng, len(example), 150)
    backward = {"score": score, "energy": energy}
    context, weights = device.run(ops.attention, *arguments)
    dquery = device.run(ops.attention_backward, dcontext, *arguments[:5], **backward)[0]
    for r in (0, beams - 1, beams + 1, 4 * beams - 1):
        row, one = slice(r, r + 1), example[r : r + 1]
        alone = device.run(ops.attention, query[row], keys, memory, lengths, one, score, energy)
        assert np.array_equal(alone[0], context[row]) and np.array_equal(alone[1], weights[row])
        gradients = device.run(
            ops.attention_backward, dcontext[row], query[row], keys, memory, lengths, one, **backward
        )
        assert np.array_equal(gradients[0], dquery[row])


def test_a_source_of_one_takes_all(device: Device, rng: np.random.Generator) -> None:
    query, keys, memory = values(rng, 1, 5), values(rng, 1, 5), values(rng, 1, 7)
    one, zero = np.ones(1, np.int32), np.zeros(1, np.int32)
    context, weights = device.run(ops.attention, query, keys, memory, one, zero, "dot")
    assert weights.tolist() == [[1.0]]
    assert np.array_equal(context, memory)


def test_scores_far_apart(device: Device, rng: np.random.Generator) -> None:
    keys = np.array([[-1e4], [1e4], [0]], np.float32)
    memory, one = values(rng, 3, 7), np.ones((1, 1), np.float32)
    lengths, example = np.array([3], np.int32), np.zeros(1, np.int32)
    context, weights = device.run(ops.attention, one, keys, memory, lengths, example, "dot")
    assert weights.tolist() == [[0, 1, 0]]
    assert np.array_equal(context[0], memory[1])
