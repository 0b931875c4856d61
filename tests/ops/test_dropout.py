"""Philox 4x32-10 and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, values
from place import Device
from seq2seq_fast import ops

KNOWN_ANSWERS = [  # kat_vectors of Random123 1.14
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox(device: Device, counter: list[int], key: list[int], words: list[int]) -> None:
    result = device.run(ops.philox, np.array([counter], np.uint32), np.array(key, np.uint32))
    assert result.dtype == np.uint32
    assert result.tolist() == [words]


def test_philox_of_many(device: Device, rng: np.random.Generator) -> None:
    counter, key = rng.integers(0, 1 << 32, (37, 4), np.uint32), rng.integers(0, 1 << 32, 2, np.uint32)
    expected = [reference.philox(row, key.tolist()) for row in counter.tolist()]
    assert device.run(ops.philox, counter, key).tolist() == expected


@pytest.mark.parametrize("width", SIZES)
def test_dropout(device: Device, rng: np.random.Generator, width: int) -> None:
    x = values(rng, 6, width)
    example = np.array([0, 5, (1 << 32) + 5, 2**31, 5, (1 << 40) - 1], np.int64)
    time = np.array([0, 1, 1, 2**31 - 1, 2, 0], np.int32)
    names: dict[str, Any] = {"seed": (3 << 32) + 11, "update": 7, "op": 255, "example": example, "time": time}
    y = device.run(ops.dropout, x, 0.3, **names)
    mask = reference.dropout_mask(6, width, 0.3, **names)
    assert np.array_equal(y != 0, mask != 0)
    assert np.allclose(y, x * mask, rtol=3e-7, atol=0)


def test_defaults(device: Device, rng: np.random.Generator) -> None:
    x = values(rng, 5, 33)
    assert np.array_equal(device.run(ops.dropout, x, 0.0, 1), x)
    y = device.run(ops.dropout, x, 0.5, 1)
    assert np.array_equal(y, x * reference.dropout_mask(5, 33, 0.5, 1).astype(np.float32))
    spelled = device.run(ops.dropout, x, 0.5, seed=1, example=np.arange(5), time=np.zeros(5, np.int32))
    assert np.array_equal(y, spelled)


def test_probability_is_exact_to_24_bits(device: Device) -> None:
    """A unit is kept iff its uniform number is at least p, exactly."""
    ones = np.ones((1, 4096), np.float32)
    u = reference.random.uniforms(4096, seed=5, update=0, op=0, example=0, time=0)
    for p in np.sort(u)[[10, 2000, 4000]]:  # the very numbers drawn: p itself is kept
        kept = device.run(ops.dropout, ones, float(p), 5)[0] != 0
        assert np.array_equal(kept, u >= p)
