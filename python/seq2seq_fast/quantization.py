"""Weights in fewer bits: how the matrices of a model are rounded to a compute type, and stored.

A matrix is stored under its own name in the type's dtype; for int8 its scales lie beside it:

    X.weight          int8 [rows, columns]
    X.weight.scale    float32 [rows]; [rows, 2] for a matrix whose columns meet two inputs (`column_splits`)

    scale = absmax of the row / 127, its significand rounded up to 16 bits
    q = w / scale, rounded to the nearest integer, ties to even

A significand of 16 bits makes 127 * scale, and every q * scale, exact in float32. So quantising the values of
a quantised matrix gives the same integers and scales, and it does not matter where a model was quantised: in
its folder or when it was loaded. Vectors (biases, the energy of the mlp score) stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.tensor_file import TensorSpec

if TYPE_CHECKING:
    from seq2seq_fast.model import Seq2SeqConfig

__all__ = [
    "COMPUTE_TYPES",
    "column_splits",
    "dequantize",
    "quantize",
    "restore",
    "round_to",
    "specs",
    "store",
]

Floats = NDArray[np.float32]
Array = NDArray[Any]
Layout = list[tuple[str, tuple[int, ...], int, bool]]

COMPUTE_TYPES = ("float32", "float16", "bfloat16", "int8")
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}

SCALE = ".scale"
LEAST = np.float32(2.0**-100)
"""A row without a larger number is stored as zeros: its scale would lose bits."""


def column_splits(config: Seq2SeqConfig) -> dict[str, int]:
    """Return the matrices whose columns meet two inputs, and where the second one's begin.

    With input feeding the decoder's first layer sees the last token's embedding beside the last attentional
    vector. The two differ in size, and each is multiplied on its own, so each has scales of its own.
    """
    return {"decoder.rnn.weight_ih_l0": config.target_embedding_dim} if config.input_feeding else {}


def quantize(values: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round a matrix to integers from -127 to 127 and a scale for each row.

    Args:
        values: float32 [rows, columns], finite.

    Returns:
        int8 [rows, columns] and float32 [rows].
    """
    absmax = np.abs(values).max(axis=1, initial=np.float32(0))
    scale = np.where(absmax >= LEAST, absmax / np.float32(127), np.float32(0))
    scale = ((scale.view(np.uint32) + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(np.inf))  # a row of zeros stays one
    return np.rint(values / divisor[:, None]).astype(np.int8), scale


def dequantize(integers: NDArray[np.int8], scale: Floats) -> Floats:
    """Return float32 [rows, columns], exact, of int8 [rows, columns] and float32 [rows]."""
    return integers.astype(np.float32) * scale[:, None]


def specs(layout: Layout, compute_type: str, splits: Mapping[str, int]) -> dict[str, TensorSpec]:
    """Return the tensors that a file of a compute type holds."""
    found: dict[str, TensorSpec] = {}
    for name, shape, *_ in layout:
        found[name] = TensorSpec(_DTYPES[compute_type] if len(shape) == 2 else "F32", shape)
        if compute_type == "int8" and len(shape) == 2:
            found[name + SCALE] = TensorSpec("F32", (shape[0], 2) if name in splits else (shape[0],))
    return found


def store(name: str, values: Floats, compute_type: str, splits: Mapping[str, int]) -> dict[str, Array]:
    """Return the tensors that stand for a parameter in a file.

    bfloat16, of which numpy knows nothing, comes as its bits in uint16.

    Raises:
        ValueError: the parameter holds NaN or infinity, or more than the type can.
    """
    if compute_type == "float32" or values.ndim != 2:
        return {name: values}
    if not np.isfinite(values).all():
        raise ValueError(f"parameter {name!r} is not finite, so it cannot be stored as {compute_type}.")
    if compute_type == "int8":
        integers, scales = zip(*map(quantize, _blocks(name, values, splits)), strict=True)
        scale = np.stack(scales, axis=1) if name in splits else scales[0]
        return {name: np.concatenate(integers, axis=1), name + SCALE: scale}
    stored = _float16(values) if compute_type == "float16" else _bfloat16(values)
    if not np.isfinite(_restore_float(stored, compute_type)).all():
        raise ValueError(f"parameter {name!r} holds numbers too large for {compute_type}.")
    return {name: stored}


def restore(
    read: Callable[[str], Array],
    name: str,
    shape: tuple[int, ...],
    compute_type: str,
    splits: Mapping[str, int],
) -> Floats:
    """Return a parameter as float32 from the tensors that stand for it; `read` gives them by name."""
    stored = read(name)
    if compute_type == "float32" or len(shape) != 2:
        return stored
    if compute_type != "int8":
        return _restore_float(stored, compute_type)
    scale = read(name + SCALE).reshape(shape[0], -1)
    blocks = _blocks(name, stored, splits)
    return np.concatenate([dequantize(b, s) for b, s in zip(blocks, scale.T, strict=True)], axis=1)


def round_to(name: str, values: Floats, compute_type: str, splits: Mapping[str, int]) -> Floats:
    """Return what `restore` gives of what `store` makes."""
    stored = store(name, values, compute_type, splits)
    return restore(stored.__getitem__, name, values.shape, compute_type, splits)


def _blocks(name: str, values: Array, splits: Mapping[str, int]) -> list[Array]:
    return np.split(values, [splits[name]], axis=1) if name in splits else [values]


def _float16(values: Floats) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _bfloat16(values: Floats) -> Array:
    """Round to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded: Array = ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
    return rounded


def _restore_float(stored: Array, compute_type: str) -> Floats:
    if compute_type == "float16":
        return stored.astype(np.float32)
    values: Floats = (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values
