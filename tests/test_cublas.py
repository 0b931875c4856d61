"""Large products go to cuBLAS. On the emulated device to one of plain loops (tests/simt/fake), which shows
that the library is told where matrices lie; on a GPU to NVIDIA's, where there is one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import seq2seq_fast
from checks import assert_sums_close, values
from place import Device
from reference import rounding
from seq2seq_fast import _native, nn, ops

ROWS, INNER, OUTER = 70, 490, 510  # barely a large product


@pytest.fixture
def calls(device: Device) -> Iterator[Callable[[], int | None]]:
    """How many products the library has made; None where nobody counts."""
    if not device.emulated:
        yield lambda: None
        return
    path = Path(seq2seq_fast.__path__[0], "_cuda_tests.so")
    if not path.exists():
        pytest.skip("This build has no stand-in for cuBLAS (CMake option S2S_CUDA_TESTS).")
    if os.environ.get("S2S_SIMT_STRICT") or os.environ.get("S2S_CUBLAS") == "0":
        pytest.skip("The stand-in runs on the host.")
    _native.set_cublas(str(path))
    yield ctypes.CDLL(str(path)).s2s_emulated_cublas
    _native.set_cublas("")


@pytest.mark.parametrize("compute_type", ["float32", "float16", "bfloat16", "int8"])
def test_linear(
    device: Device, rng: np.random.Generator, calls: Callable[[], int | None], compute_type: str
) -> None:
    x, weight, bias = values(rng, ROWS, INNER), values(rng, OUTER, INNER), values(rng, OUTER)
    before = calls()
    y = device.run(ops.linear, x, weight, bias, compute_type=compute_type)
    if before is not None:
        assert calls() == before + (compute_type != "int8")
    if compute_type == "int8":
        np.testing.assert_array_equal(y, rounding.int8_linear(x, weight, bias))
        return
    if compute_type != "float32":
        weight = getattr(rounding, compute_type)(weight)
    wide = x.astype(np.float64), weight.astype(np.float64)
    magnitudes = np.abs(wide[0]) @ np.abs(wide[1]).T + np.abs(bias)
    allowed = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}[compute_type]
    assert np.all(np.abs(y - (wide[0] @ wide[1].T + bias)) <= (allowed + 1e-5) * magnitudes)


def test_company_shows_where_the_library_takes_a_product(
    device: Device, rng: np.random.Generator, calls: Callable[[], int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sums have an order of their own. Without it, from one product to the next, a row is its own."""
    x, weight = values(rng, ROWS, INNER), values(rng, OUTER, INNER)
    alone = device.run(ops.linear, x[:1], weight)
    if calls() is not None:  # NVIDIA's may happen to round alike
        assert not np.array_equal(device.run(ops.linear, x, weight)[:1], alone)
    monkeypatch.setenv("S2S_CUBLAS", "0")
    before = calls()
    assert np.array_equal(device.run(ops.linear, x, weight)[:1], alone)
    assert calls() == before


def test_gradients(device: Device, rng: np.random.Generator, calls: Callable[[], int | None]) -> None:
    """The right operand as it is stored, and a left one whose rows lie across."""
    x, weight, dy = values(rng, ROWS, INNER), values(rng, OUTER, INNER), values(rng, ROWS, OUTER)
    before = calls()
    dx, dweight, _ = device.run(ops.linear_backward, dy, x, weight)
    assert before is None or calls() == before + 2
    x, weight, dy = (a.astype(np.float64) for a in (x, weight, dy))
    assert_sums_close(dx, dy @ weight, np.abs(dy) @ np.abs(weight))
    assert_sums_close(dweight, dy.T @ x, np.abs(dy).T @ np.abs(x))


def test_views_and_sums(device: Device, rng: np.random.Generator, calls: Callable[[], int | None]) -> None:
    """A layer of two directions: the second adds its part of dx to the first's, from columns of dy."""
    size, hidden, steps, count = 380, 30, 2, 190
    layer = nn.LSTM(size, hidden, bidirectional=True)
    alone = nn.LSTM(size, hidden, bidirectional=True)
    weights = {name: values(rng, *w.shape, scale=0.1) for name, w in layer.state_dict().items()}
    x, dy = values(rng, steps, count, size), values(rng, steps, count, 2 * hidden)
    results = []
    for model, parts in ((layer, [count]), (alone, [5])):  # at once, and in parts too small for the library
        model.load_state_dict(weights)
        model.train()
        before, outputs, gradients = calls(), [], []
        for begin in range(0, count, parts[0]):
            part = slice(begin, begin + parts[0])
            outputs.append(model(x[:, part])[0])
            gradients.append(model.backward(dy[:, part])[0])
        used = None if before is None else calls()
        assert before is None or (used or 0) > before or parts[0] < count
        results.append((np.concatenate(outputs, 1), np.concatenate(gradients, 1)))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)
