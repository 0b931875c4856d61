from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, double, ragged, values
from conftest import Device
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
        values(rng, width) if score == "mlp" else None,
    ]


def check(device: Device, rng: np.random.Generator, arguments: list[Any]) -> None:
    query, keys, memory, lengths, example, score, energy = arguments
    context, weights = device.run(ops.attention, query, keys, memory, lengths, example, score, energy)
    expected = reference.attention(*double(arguments))
    assert_close((context, weights), expected, "forward")
    assert np.all(weights[expected[1] == 0] == 0)

    dcontext = values(rng, *context.shape)
    gradients = device.run(
        ops.attention_backward, dcontext, query, keys, memory, lengths, example, score=score, energy=energy
    )
    no_dweights = np.zeros(weights.shape)
    expected = reference.vjp(reference.attention, double(arguments), [dcontext, no_dweights])
    dquery, dkeys, dvalues, denergy = gradients
    # A score's gradient vanishes where the weights are nearly 0 or 1; one source of length 1 has none at all.
    assert_close(dvalues, expected[2], "dvalues")
    assert_close(dkeys, expected[1], "dkeys")
    assert_close(dquery, expected[0], "dquery")
    if score == "mlp":
        assert_close(denergy, expected[6], "denergy")
    else:
        assert denergy is None


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
