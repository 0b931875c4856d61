from __future__ import annotations

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, double, values
from place import Device
from seq2seq_fast import ops


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("width", SIZES)
def test_embedding(device: Device, rng: np.random.Generator, width: int, dtype: type) -> None:
    weight = values(rng, 13, width)
    ids: np.ndarray = rng.integers(0, 13, 40).astype(
        dtype
    )  # with many repetitions, and the first and last row
    ids[:2] = 0, 12
    y = device.run(ops.embedding, ids, weight)
    assert y.dtype == np.float32
    assert np.array_equal(y, weight[ids])

    dy = values(rng, 40, width)
    dweight = device.run(ops.embedding_backward, ids, dy, 13)
    expected = reference.vjp(lambda w: reference.embedding(ids, w), [double(weight)], dy)[0]
    assert_close(dweight, expected)


def test_leading_dimensions_and_rows_never_used(device: Device, rng: np.random.Generator) -> None:
    ids, weight = np.array([[1, 4, 1], [4, 4, 2]]), values(rng, 6, 5)
    assert np.array_equal(device.run(ops.embedding, ids, weight), weight[ids])
    dweight = device.run(ops.embedding_backward, ids, values(rng, 2, 3, 5), 6)
    assert np.all(dweight[[0, 3, 5]] == 0)
    assert np.all(np.any(dweight[[1, 2, 4]] != 0, axis=1))


@pytest.mark.parametrize("vocabulary", [3, 1000])
def test_gradient_in_the_order_of_the_rows(device: Device, rng: np.random.Generator, vocabulary: int) -> None:
    """To the last bit, also of more rows and columns than a block of threads looks at once."""
    ids, dy = rng.integers(0, vocabulary, 2500), values(rng, 2500, 520)
    expected = np.zeros((vocabulary, 520), np.float32)
    np.add.at(expected, ids, dy)
    assert np.array_equal(device.run(ops.embedding_backward, ids, dy, vocabulary), expected)
