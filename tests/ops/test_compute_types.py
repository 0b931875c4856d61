"""Weights of fewer bits: of 16 the bits of float32 with rounded weights, of 8 exact integers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import reference
from checks import values
from place import Device, size
from reference import rounding
from seq2seq_fast import cpu_isas, ops

SIZES = (1, 7, 8, 31, 32, 33, 64, 65, 127, 128, 129)
WIDTHS = (*SIZES, 257, size(1030, 520))  # and beyond a block of K
ROWS = 17


def expected(x: Any, weight: Any, bias: Any, compute_type: str) -> Any:
    with np.errstate(all="ignore"):
        if compute_type == "int8":
            return rounding.int8_linear(x, weight, bias)
        return ops.linear(x, getattr(rounding, compute_type)(weight), bias)


def weights(rng: np.random.Generator, outer: int, inner: int, wrong: float | None = None) -> np.ndarray:
    """Rows of every size there is, so that a type's ties, denormal numbers and overflows occur; one of zeros.
    `wrong`: NaN or infinity in one row."""
    w = values(rng, outer, inner) * np.float32(10) ** rng.integers(-9, 6, (outer, 1)).astype(np.float32)
    w[rng.random(w.shape) < 0.05] = 1 + 2.0**-8  # halfway between two of bfloat16
    w[rng.random(w.shape) < 0.05] = -(1 + 3 * 2.0**-11)  # and of float16
    w[outer // 2] = 0
    if outer > 3:
        w[1] = 2.0**-101
        w[2] *= np.float32(2.0**-24)
    if wrong is not None:
        w[outer - 1, inner // 2] = wrong
    return w


@pytest.mark.parametrize("inner", WIDTHS)
@pytest.mark.parametrize("compute_type", ["float16", "bfloat16", "int8"])
def test_linear(device: Device, rng: np.random.Generator, compute_type: str, inner: int) -> None:
    x = values(rng, ROWS, inner)
    x[3], x[5], x[6] = 0, x[5] * 1e-6, 2.0**-130
    x[8, inner // 2] = 1e20
    bad = [10, 11, 12]
    x[10, 0], x[11, -1], x[12, inner // 3] = np.nan, np.inf, -np.inf
    for outer in size(SIZES, (1, 31, 33, 64, 129)):
        for wrong in (None, np.nan, -np.inf):
            weight, bias = weights(rng, outer, inner, wrong), values(rng, outer)
            for b in (None, bias):
                y = device.run(ops.linear, x, weight, b, compute_type=compute_type)
                np.testing.assert_array_equal(y, expected(x, weight, b, compute_type))
                if compute_type == "int8":
                    assert np.isnan(y[bad]).all()
                    assert wrong is None or np.isnan(y[:, -1]).all()
        for rows in size(range(1, ROWS + 1), (1, 4, 7, ROWS - 1)):
            part = device.run(ops.linear, x[-rows:], weight, bias, compute_type=compute_type)
            np.testing.assert_array_equal(part, y[-rows:])


def test_bfloat16_is_pytorchs(torch: Any, rng: np.random.Generator) -> None:
    x = weights(rng, 33, 70)
    theirs = torch.from_numpy(x).bfloat16().float().numpy()
    np.testing.assert_array_equal(rounding.bfloat16(x), theirs)


def test_int8_sums_fit(device: Device, rng: np.random.Generator) -> None:
    """The widest matrix whose sums fit 32 bits, at its worst; one column more is refused."""
    x = np.ones((3, 65536), np.float32)
    x[1, ::2], x[2, 32768:] = -1, -1
    weight = np.concatenate([x, -x, values(rng, 2, 65536)])
    y = device.run(ops.linear, x, weight, compute_type="int8")
    np.testing.assert_array_equal(y, rounding.int8_linear(x, weight))
    with pytest.raises(ValueError, match=r"weight of at most 65536 columns for int8, got 65537"):
        device.run(
            ops.linear, np.ones((1, 65537), np.float32), np.ones((1, 65537), np.float32), compute_type="int8"
        )


@pytest.mark.parametrize("columns", [1, 33, 255, 257, size(1000, 520)])
@pytest.mark.parametrize("compute_type", ["float16", "bfloat16", "int8"])
def test_project_topk(device: Device, rng: np.random.Generator, compute_type: str, columns: int) -> None:
    """From the logits of linear: they have the same bits."""
    for rows, width in [(1, 64), (5, 33), size((40, 300), (40, 50)), (61, 1)]:
        x, weight, bias = values(rng, rows, width), values(rng, columns, width), values(rng, columns)
        for b in size((None, bias), (bias,)):
            logits = device.run(ops.linear, x, weight, b, compute_type=compute_type)
            exact = reference.log_softmax(logits.astype(np.float64))
            for k in {1, min(6, columns), min(30, columns)}:
                top, best = device.run(ops.project_topk, x, weight, b, k, compute_type=compute_type)
                assert np.array_equal(best, reference.topk(logits, k)[1])
                np.testing.assert_allclose(top, np.take_along_axis(exact, best, axis=1), rtol=1e-6, atol=1e-5)
    x[7, 0] = np.inf
    with pytest.raises(ValueError, match="row 7"):
        device.run(ops.project_topk, x, weight, bias, 1, compute_type=compute_type)


def test_a_type_that_there_is_not(device: Device) -> None:
    one = np.ones((1, 1), np.float32)
    for op in (ops.linear, ops.project_topk):
        with pytest.raises(ValueError, match=r"compute_type default, auto, float32, .* got int4"):
            device.run(op, one, one, compute_type="int4")
        with pytest.raises(TypeError):
            device.run(op, one, one, compute_type=8)


SCRIPT = """
import hashlib, sys
import numpy as np
from seq2seq_fast import cpu_isa, ops
rng = np.random.default_rng(1)
digest = hashlib.sha256()
for rows, inner, outer in [(1, 1, 1), (17, 7, 129), (5, 129, 65), (40, 1030, 33), (300, 258, 300)]:
    x, weight = (rng.standard_normal(s).astype(np.float32) ** 3 for s in ((rows, inner), (outer, inner)))
    digest.update(ops.linear(x, weight, compute_type="int8").tobytes())
print(cpu_isa(), digest.hexdigest())
"""


@pytest.mark.skipif(len(cpu_isas()) < 2, reason="There is one instruction set to run.")
def test_int8_is_the_same_on_every_instruction_set() -> None:
    found = {}
    for isa in cpu_isas():
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "S2S_CPU_ISA": isa},
            capture_output=True,
            text=True,
            check=True,
        )
        used, found[isa] = run.stdout.split()
        assert used == isa
    assert len(set(found.values())) == 1, found
