"""Large products go to cuBLAS. On the emulated device to one of plain loops (tests/simt/fake), which shows
that the library is told where matrices lie; on a GPU to NVIDIA's, where there is one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import reference
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


@pytest.mark.parametrize("compute_type", ["float32", "float16", "bfloat16"])
def test_project_topk(
    device: Device, rng: np.random.Generator, calls: Callable[[], int | None], compute_type: str
) -> None:
    """The best of the logits that `linear` gives by the same library; -infinity and NaN."""
    x, weight, bias = values(rng, ROWS, INNER), values(rng, OUTER, INNER), values(rng, OUTER)
    bias[::3] = -np.inf
    logits = device.run(ops.linear, x, weight, bias, compute_type=compute_type)
    exact = reference.log_softmax(logits.astype(np.float64))
    for k in (1, 6, 40):
        before = calls()
        top, best = device.run(ops.project_topk, x, weight, bias, k, compute_type=compute_type)
        assert before is None or calls() == before + 1
        assert np.array_equal(best, reference.topk(logits, k)[1])
        np.testing.assert_allclose(top, np.take_along_axis(exact, best, axis=1), rtol=1e-6, atol=1e-5)
    x[68, 3] = np.nan
    with pytest.raises(ValueError, match="row 68"):
        device.run(ops.project_topk, x, weight, None, 2, compute_type=compute_type)


@pytest.mark.parametrize("compute_type", ["float32", "float16"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_steps_of_many_sequences(
    device: Device,
    rng: np.random.Generator,
    calls: Callable[[], int | None],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[nn.LSTM] | type[nn.GRU],
    compute_type: str,
) -> None:
    """A recurrence step by step: the library's products are those that its own kernel streams weights for."""
    steps, count, hidden = 2, 150, 430
    layer = kind(3, hidden, compute_type=compute_type)
    x, lengths = values(rng, steps, count, 3), np.where(np.arange(count) < 148, steps, 1).astype(np.int32)
    monkeypatch.setenv("S2S_CUDA_RECURRENCE", "step")
    found = []
    for library in ("1", "0"):
        monkeypatch.setenv("S2S_CUBLAS", library)
        before = calls()
        y, last = layer(x, lengths=lengths)
        assert before is None or calls() == before + steps * (library == "1")
        found.append([y, *(last if isinstance(last, tuple) else [last])])
    for actual, expected in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 if compute_type == "float32" else 2e-3)


@pytest.mark.big
def test_project_topk_of_more_logits_than_are_kept(device: Device, rng: np.random.Generator) -> None:
    """Some rows after the others: 300 rows of 70,000 columns are 84 MB."""
    x, weight = values(rng, 300, 40), values(rng, 70_000, 40)
    top, best = device.run(ops.project_topk, x, weight, None, 3)
    for rows in (slice(0, 20), slice(120, 140), slice(280, 300)):
        few, few_best = device.run(ops.project_topk, x[rows], weight, None, 3)
        np.testing.assert_allclose(top[rows], few, rtol=1e-4, atol=1e-3)
        assert np.mean(best[rows] == few_best) > 0.95  # near ties may change places


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
