"""Every way of our own to make a product: sizes around those at which another kernel takes over."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_sums_close, values
from place import Device, size
from reference import rounding
from seq2seq_fast import ops

pytestmark = pytest.mark.usefixtures("own_products")

TYPES = ["float32", "float16", "bfloat16", "int8"]
ROUNDING = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""What the rows of x may be rounded by, besides the weights: where a product takes them to tensor cores."""

# Rows: the most that a block streams weights for, twice that, and tiles of 32, 64 and 128. Inner: a slice of
# a sum, one and two rounds of them. Outer: a warp's columns, and tiles.
ROWS = [2, 16, 17, 32, 33, 64, 65, 130]
SIZES = [(1, 9), (128, 64), (129, 65), (130, 7), (1100, 130), (2100, 8)]


def linear(x: Any, weight: Any, bias: Any, compute_type: str) -> tuple[Any, Any]:
    """y, and the sums of the terms' magnitudes."""
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    return reference.linear(*wide), reference.linear(*(np.abs(a) for a in wide))


@pytest.mark.parametrize(("inner", "outer"), SIZES)
@pytest.mark.parametrize("compute_type", TYPES)
def test_linear(device: Device, rng: np.random.Generator, compute_type: str, inner: int, outer: int) -> None:
    x, weight, bias = values(rng, ROWS[-1], inner), values(rng, outer, inner), values(rng, outer)
    for rows in ROWS:
        y = device.run(ops.linear, x[:rows], weight, bias, compute_type=compute_type)
        if compute_type == "int8":
            np.testing.assert_array_equal(y, rounding.int8_linear(x[:rows], weight, bias))
            continue
        rounded = weight if compute_type == "float32" else getattr(rounding, compute_type)(weight)
        expected, magnitudes = linear(x[:rows], rounded, bias, compute_type)
        assert np.all(np.abs(y - expected) <= (ROUNDING[compute_type] + 1e-6) * magnitudes), rows
        if compute_type != "float32":
            # The company of a row: few have the same bits, and so have many.
            some = device.run(ops.linear, x[:rows][-2:], weight, bias, compute_type=compute_type)
            assert rows > 32 or np.array_equal(some, y[-2:])
    if compute_type == "float32":
        for some in ([0], [129, 3], list(range(40))):
            assert np.array_equal(device.run(ops.linear, x[some], weight, bias), y[some])


@pytest.mark.parametrize("compute_type", ["float16", "bfloat16"])
def test_many_rows_keep_their_bits_among_more(
    device: Device, rng: np.random.Generator, compute_type: str
) -> None:
    x, weight = values(rng, 140, 70), values(rng, 90, 70)
    y = device.run(ops.linear, x, weight, compute_type=compute_type)
    for some in (slice(0, 33), slice(70, 140), slice(5, 135)):
        assert np.array_equal(device.run(ops.linear, x[some], weight, compute_type=compute_type), y[some])


@pytest.mark.parametrize("rows", [1, 7, 20, 70])
@pytest.mark.parametrize("outer", [1, 5, 40])
def test_gradients(device: Device, rng: np.random.Generator, rows: int, outer: int) -> None:
    """The gradient of the weight: the left operand is a transposed matrix of few rows or of many."""
    x, weight, dy = values(rng, rows, 150), values(rng, outer, 150), values(rng, rows, outer)
    _, dweight, _ = device.run(ops.linear_backward, dy, x, weight)
    wide = dy.astype(np.float64), x.astype(np.float64)
    assert_sums_close(dweight, wide[0].T @ wide[1], np.abs(wide[0]).T @ np.abs(wide[1]))


@pytest.mark.parametrize("rows", [1, 7, 17, 33, 65])
@pytest.mark.parametrize("compute_type", TYPES)
def test_project_topk(device: Device, rng: np.random.Generator, compute_type: str, rows: int) -> None:
    """From the logits of linear, of the same bits; the best of one tile, of several, more than a list."""
    x, weight, bias = values(rng, rows, 40), values(rng, 300, 40), values(rng, 300)
    bias[60:200] = -np.inf
    logits = device.run(ops.linear, x, weight, bias, compute_type=compute_type)
    exact = reference.log_softmax(logits.astype(np.float64))
    for k in size((1, 6, 32, 33, 300), (6, 32, 33)):
        top, best = device.run(ops.project_topk, x, weight, bias, k, compute_type=compute_type)
        assert np.array_equal(best, reference.topk(logits, k)[1])
        np.testing.assert_allclose(top, np.take_along_axis(exact, best, axis=1), rtol=1e-6, atol=1e-5)


def test_many_columns(device: Device, rng: np.random.Generator) -> None:
    """So many that 16-bit weights are read once for sixteen rows, and that a range has several tiles."""
    weight, bias = values(rng, 8200, 9), values(rng, 8200)
    for rows in (2, 16, 17):
        x = values(rng, rows, 9)
        for compute_type in ("bfloat16", "int8"):
            logits = device.run(ops.linear, x, weight, bias, compute_type=compute_type)
            _, best = device.run(ops.project_topk, x, weight, bias, 5, compute_type=compute_type)
            assert np.array_equal(best, reference.topk(logits, 5)[1])


SCRIPT = """
import hashlib
import numpy as np
from seq2seq_fast import ops, to_device
rng = np.random.default_rng(1)
digest = hashlib.sha256()
for rows, inner, outer in [(17, 40, 300), (70, 50, 200), (130, 5, 140)]:
    shapes = (rows, inner), (outer, inner)
    x, weight = (to_device(rng.standard_normal(s).astype(np.float32)) for s in shapes)
    for compute_type in ("float32", "float16", "bfloat16", "int8"):
        digest.update(ops.linear(x, weight, compute_type=compute_type).numpy().tobytes())
        for k in (3, 40):
            for part in ops.project_topk(x, weight, None, k, compute_type=compute_type):
                digest.update(part.numpy().tobytes())
print(digest.hexdigest())
"""


def test_bits_do_not_depend_on_the_size_of_the_device(device: Device) -> None:
    """Nor on the sizes of tiles and ranges, which are chosen so that each multiprocessor has some."""
    if not device.emulated:
        pytest.skip("A real device has the multiprocessors it has.")
    found = set()
    for multiprocessors in ("1", "132"):
        environment = {**os.environ, "S2S_SIMT_MULTIPROCESSORS": multiprocessors}
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        found.add(run.stdout.strip())
    assert len(found) == 1 and len(found.pop()) == 2 * hashlib.sha256().digest_size
