"""zoneout: its masks are those of the reference to the bit, its expectation their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, assert_says, double, values
from place import Device
from seq2seq_fast import ops

NAMES: dict[str, Any] = {"seed": (7 << 33) + 1, "update": 9, "op": 200, "stream": 3}
EXAMPLES, TIMES = np.array([5, 2**40 + 1, 0], np.int64), np.array([0, 3, 1], np.int32)


def mask(p: float, width: int) -> np.ndarray:
    """[3, width]: whether a unit keeps its value."""
    names = NAMES["seed"], NAMES["update"], NAMES["op"]
    rows = zip(EXAMPLES, TIMES, strict=True)
    return np.stack(
        [reference.uniforms(width, *names, int(e), int(t), NAMES["stream"]) for e, t in rows]
    ) < np.float32(p)


@pytest.mark.parametrize("width", [*SIZES, 1000])
def test_masks(device: Device, rng: np.random.Generator, width: int) -> None:
    before, x, dy = (values(rng, 3, width) for _ in range(3))
    stays = mask(0.3, width)
    rows = {"example": EXAMPLES, "time": TIMES}
    y = device.run(ops.zoneout, before, x, 0.3, **NAMES, **rows)
    assert np.array_equal(y, np.where(stays, before, x))
    dx, dbefore = device.run(ops.zoneout_backward, dy, 0.3, **NAMES, **rows)
    assert np.array_equal(dx, np.where(stays, 0, dy))
    assert np.array_equal(dbefore, np.where(stays, dy, 0))


@pytest.mark.parametrize("width", SIZES)
def test_expectation(device: Device, rng: np.random.Generator, width: int) -> None:
    before, x, dy = (values(rng, 4, width) for _ in range(3))
    p = np.float64(np.float32(0.3))
    assert_close(device.run(ops.zoneout, before, x, 0.3), p * double(before) + (1 - p) * double(x))
    dx, dbefore = device.run(ops.zoneout_backward, dy, 0.3)
    assert_close([dx, dbefore], [(1 - p) * double(dy), p * double(dy)])


def test_the_ends_of_the_range(device: Device, rng: np.random.Generator) -> None:
    before, x = values(rng, 3, 40), values(rng, 3, 40)
    for names in ({}, NAMES):
        assert np.array_equal(device.run(ops.zoneout, before, x, 0.0, **names), x)
    assert np.array_equal(device.run(ops.zoneout, before, x, 1.0, **NAMES), before)


def test_streams_are_different_masks(device: Device, rng: np.random.Generator) -> None:
    before, x = np.zeros((1, 4000), np.float32), np.ones((1, 4000), np.float32)
    found = [device.run(ops.zoneout, before, x, 0.5, **NAMES | {"stream": s}) for s in range(4)]
    for i in range(4):
        assert abs(found[i].mean() - 0.5) < 0.04
        for j in range(i):
            assert abs((found[i] == found[j]).mean() - 0.5) < 0.04


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"p": 1.1}, ValueError),
        ({"p": -0.1}, ValueError),
        ({"p": "x"}, TypeError),
        ({"before": np.ones((2, 5), np.float32)}, ValueError),
        ({"x": np.ones((3, 4), np.int32)}, TypeError),
        ({"stream": 16}, ValueError),
        ({"op": 256}, ValueError),
        ({"seed": -1}, ValueError),
        ({"example": np.zeros(2, np.int64)}, ValueError),
        ({"time": np.zeros(4, np.int32)}, ValueError),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception]) -> None:
    one = np.ones((3, 4), np.float32)
    with pytest.raises(error) as caught:
        ops.zoneout(**{"before": one, "x": one, "p": 0.5} | NAMES | change)
    assert_says(caught.value, *change)
    if not {"before", "x"} & set(change):
        with pytest.raises(error) as caught:
            ops.zoneout_backward(**{"dy": one, "p": 0.5} | NAMES | change)
        assert_says(caught.value, *change)
