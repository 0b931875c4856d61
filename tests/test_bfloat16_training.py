"""Training's products in bfloat16: both factors rounded, sums of float32. On processors that multiply
bfloat16 the recurrences' too; on others everything stays float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from checks import SIZES, assert_sums_close, bits, ragged, values
from place import Device, rounds_factors, size
from reference import rounding
from seq2seq_fast import nn, ops

pytestmark = pytest.mark.usefixtures("own_products")

Threads = Callable[[int], None]
CELLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "gru_reset_before": (nn.GRU, {"reset_after": False}),
}
cells = pytest.mark.parametrize("cell", CELLS)


def representable(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rounding.bfloat16(values(rng, *shape))


@pytest.mark.parametrize("inner", size((*SIZES, 511, 513, 1030), (1, 7, 33, 64, 129)))
def test_products_of_numbers_that_no_rounding_changes(
    device: Device, rng: np.random.Generator, inner: int
) -> None:
    """Of any number of rows, an odd one too, and of more than a block along each of the sums."""
    for rows, outer in size([(1, 3), (2, 64), (6, 65), (13, 7), (130, 129), (1030, 5)], [(1, 3), (13, 65)]):
        dy, x = representable(rng, rows, outer), representable(rng, rows, inner)
        weight = representable(rng, outer, inner)
        dx, dweight, dbias = device.run(ops.linear_backward, dy, x, weight, compute_type="bfloat16")
        wide = [a.astype(np.float64) for a in (dy, x, weight)]
        size_of = [np.abs(a) for a in wide]
        assert_sums_close(dx, wide[0] @ wide[2], size_of[0] @ size_of[2])
        assert_sums_close(dweight, wide[0].T @ wide[1], size_of[0].T @ size_of[1])
        assert_sums_close(dbias, wide[0].sum(axis=0), size_of[0].sum(axis=0))


@pytest.mark.cpu_only("which factors a device rounds depends on the number of rows")
def test_both_factors_are_rounded(rng: np.random.Generator, threads: Threads) -> None:
    dy, x, weight = values(rng, 70, 90), values(rng, 70, 131), values(rng, 90, 131)
    x[3, 5], x[4, 6] = 1 + 2.0**-8, 1 + 3 * 2.0**-8  # halfway between two
    exact = ops.linear_backward(dy, x, weight)
    results = []
    for n in (1, 2):
        threads(n)
        results.append(bits(ops.linear_backward(dy, x, weight, compute_type="bfloat16")))
    assert results[0] == results[1]
    dx, dweight, dbias = ops.linear_backward(dy, x, weight, compute_type="bfloat16")
    assert np.array_equal(dbias, exact[2]), "sums of columns are no products"
    if not rounds_factors():
        assert np.array_equal(dx, exact[0]) and np.array_equal(dweight, exact[1])
        return
    wide = [rounding.bfloat16(a).astype(np.float64) for a in (dy, x, weight)]
    size_of = [np.abs(a) for a in wide]
    assert_sums_close(dx, wide[0] @ wide[2], size_of[0] @ size_of[2])
    assert_sums_close(dweight, wide[0].T @ wide[1], size_of[0].T @ size_of[1])
    for rows in ([0], [69], list(range(5, 22))):
        alone, _, _ = ops.linear_backward(dy[rows], x[rows], weight, compute_type="bfloat16")
        assert np.array_equal(alone, dx[rows]), "company changes bits"


def test_types_that_training_lacks(rng: np.random.Generator) -> None:
    x = values(rng, 3, 3)
    for compute_type in ("float16", "int8"):
        with pytest.raises(ValueError, match=f"for training, got {compute_type}"):
            ops.linear_backward(x, x, x, compute_type=compute_type)


def test_nan_and_infinity_stay_in_their_rows(device: Device, rng: np.random.Generator) -> None:
    dy, x, weight = values(rng, 9, 40), values(rng, 9, 21), values(rng, 40, 21)
    dy[2, 7], dy[5, 39] = np.nan, np.inf
    dx, dweight, _ = device.run(ops.linear_backward, dy, x, weight, compute_type="bfloat16")
    assert np.isnan(dx[2]).all() and not np.isfinite(dx[5]).any()
    assert np.isfinite(np.delete(dx, [2, 5], axis=0)).all()
    assert np.isnan(dweight[7]).all() and not np.isfinite(dweight[39]).any()
    assert np.isfinite(np.delete(dweight, [7, 39], axis=0)).all()


@cells
@pytest.mark.parametrize("hidden", size((1, 7, 16, 33, 64, 65, 130), (7, 33)))
def test_layers(rng: np.random.Generator, threads: Threads, cell: str, hidden: int) -> None:
    """Outputs and gradients near those of float32, and the same bits on any number of threads."""
    make, options = CELLS[cell]
    steps, batch, inputs = 5, size(19, 5), 21
    layers = {
        name: make(inputs, hidden, 2, bidirectional=True, seed=3, compute_type=name, **options).train()
        for name in ("float32", "bfloat16")
    }
    x, lengths = values(rng, steps, batch, inputs, scale=0.5), ragged(rng, batch, steps)
    dy = values(rng, steps, batch, 2 * hidden, outliers=False)

    def trained(name: str) -> list[np.ndarray]:
        layer = layers[name]
        y = layer(x, lengths=lengths)[0]
        dx = layer.backward(dy)[0]
        return [y, dx, *layer.gradients().values()]

    threads(1)
    exact, alone = trained("float32"), trained("bfloat16")
    threads(2)
    together = trained("bfloat16")
    assert bits(alone) == bits(together)
    for a, b in zip(alone, exact, strict=True):
        assert np.linalg.norm(a - b) <= 0.02 * np.linalg.norm(b)
    assert np.array_equal(alone[0], exact[0]) != rounds_factors()


@cells
def test_a_layer_keeps_its_inference(rng: np.random.Generator, cell: str) -> None:
    """In evaluation a bfloat16 layer rounds its weights alone, whether it has been trained or not."""
    make, options = CELLS[cell]
    layer = make(9, 24, compute_type="bfloat16", **options)
    x = values(rng, 4, 3, 9)
    before = layer(x)[0]
    layer.train()
    trained = layer(x)[0]
    layer.eval()
    assert np.array_equal(layer(x)[0], before)
    assert np.allclose(trained, before, atol=0.02)
