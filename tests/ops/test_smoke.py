"""Every op once, and the recurrent layers in each compute type, rows as wide as fills a vector and has a
tail. CI runs this on an emulated processor without AVX, where a stray newer instruction ends the process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checks import values
from every_op import FUNCTIONS, WIDE
from seq2seq_fast import nn, ops
from seq2seq_fast.quantization import COMPUTE_TYPES

WIDTH = WIDE["H"]
LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "gru_reset_before": (nn.GRU, {"reset_after": False}),
}


def test_no_op_is_left_out() -> None:
    assert set(FUNCTIONS) == set(ops.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ops(name: str) -> None:
    FUNCTIONS[name].check(WIDE)


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_products(compute_type: str) -> None:
    for name in ("linear", "project_topk"):
        FUNCTIONS[name].check(WIDE, compute_type=compute_type)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_layers_in_inference(rng: np.random.Generator, name: str, compute_type: str) -> None:
    make, options = LAYERS[name]
    layer = make(WIDTH, WIDTH, compute_type=compute_type, **options).eval()
    y, _ = layer(values(rng, 3, 4, WIDTH))
    assert y.shape == (3, 4, WIDTH) and np.isfinite(y).all()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("compute_type", ["float32", "bfloat16"])
def test_layers_in_training(rng: np.random.Generator, name: str, compute_type: str) -> None:
    make, options = LAYERS[name]
    layer = make(WIDTH, WIDTH, compute_type=compute_type, **options).train()
    y, _ = layer(values(rng, 3, 4, WIDTH), lengths=np.array([3, 1, 2, 3]))
    dx, _ = layer.backward(np.ones_like(y))
    assert all(np.isfinite(array).all() for array in (y, dx, *layer.gradients().values()))
