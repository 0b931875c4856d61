"""Where arrays lie and work is done: the CPU ("cpu") or a CUDA device ("cuda" or "cuda:0", "cuda:1" ...).

An op runs where its arrays lie and its results lie there too: numpy arrays on the CPU, `DeviceArray`s on a
device. Nothing moves by itself: `to_device` and `DeviceArray.numpy` copy. Ids, lengths and other integers may
always be numpy arrays. Tensors of PyTorch, CuPy and JAX are taken as they are, by DLPack or
__cuda_array_interface__, without a copy; they take a `DeviceArray` likewise: `torch.from_dlpack(a)`.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast._native import DeviceArray
from seq2seq_fast.cuda import cuda_status, offer_cublas

__all__ = ["DeviceArray", "device_of", "resolve_device", "to_device"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int32] | NDArray[np.int64] | DeviceArray
A = TypeVar("A", Floats, DeviceArray)
"""Floats of one device: what goes in and what comes out."""


def to_device(array: Any, device: str = "cuda") -> Any:
    """Copy an array to a device. `DeviceArray.numpy()` brings it back.

    Args:
        array: of float32, int32, int64 or uint8; numpy's or another library's, wherever it lies.
        device: "cuda", "cuda:1" ...; "cpu" gives a numpy array.

    Returns:
        A `DeviceArray`; the array itself, not a copy, where it lies there already.

    Raises:
        TypeError: another dtype, or no array.
        RuntimeError: there is no such device; the message says what is missing.
        MemoryError: the device has no room for it; the message says for how many bytes.
    """
    return _native.to_device(array, resolve_device("to_device", device))


def device_of(array: Any) -> str:
    """Return where an array of numpy or a `DeviceArray` lies: "cpu", "cuda:0", ..."""
    return array.device if isinstance(array, DeviceArray) else "cpu"


def to_host(array: Any) -> NDArray[Any]:
    """Return a `DeviceArray` as a numpy array; anything else as it is."""
    return array.numpy() if isinstance(array, DeviceArray) else array


def multiplies_bfloat16(device: str) -> bool:
    """Whether training in bfloat16 rounds its products' factors there; else they stay float32."""
    return device != "cpu" or _native.cpu_multiplies_bfloat16()


def copy_of(array: Any) -> Any:
    """Return a copy that lies where the array does."""
    return _native.to_device(array.numpy(), array.device) if isinstance(array, DeviceArray) else array.copy()


def copy_into(array: Any, values: Any) -> None:
    """Set an array of numpy or a `DeviceArray` to values of its shape, which may lie elsewhere."""
    if isinstance(array, DeviceArray):
        array.copy_from(values)
    else:
        array[...] = to_host(values)


def resolve_device(op: str, device: Any, *, auto: bool = False) -> str:
    """Return the device that a name means: "cpu" or "cuda:N".

    Args:
        op: who asks, for messages.
        device: "cpu", "cuda", "cuda:N"; where `auto`, also "auto": CUDA where it is ready, else the CPU.

    Raises:
        ValueError, TypeError: it is no such name.
        RuntimeError: there is no such device; the message says what is missing.
    """
    if not isinstance(device, str):
        raise TypeError(f"[{op}] Expected device as a string, got {type(device).__name__}.")
    if device == "cpu":
        return device
    if device == "auto" and auto:
        if not cuda_status().startswith("ready"):
            return "cpu"
        device = "cuda"
    wanted = re.fullmatch(r"cuda(?::(\d{1,3}))?", device)
    if wanted is None:
        names = "auto, cpu, cuda or cuda:N" if auto else "cpu, cuda or cuda:N"
        why = ' (it runs where its arrays lie, so "auto" has nothing to choose)' if device == "auto" else ""
        raise ValueError(f"[{op}] Expected device as {names}, got {device!r}{why}.")
    status = cuda_status()
    if not status.startswith(("ready", "emulated")):
        raise RuntimeError(f"[{op}] There is no CUDA to use: {status}.")
    index, count = int(wanted[1] or 0), len(_native.cuda_status()["devices"])
    if index >= count:
        raise RuntimeError(f"[{op}] There is no device {device}: the last is cuda:{count - 1}.")
    offer_cublas()
    return f"cuda:{index}"


def views(layout: _native.Layout, buffer: Any) -> dict[str, Any]:
    """Return the parts of a flat buffer by name: the same memory."""
    if isinstance(buffer, DeviceArray):
        return {name: buffer.view(at, shape) for name, shape, at, _ in layout}
    return {name: buffer[at : at + math.prod(shape)].reshape(shape) for name, shape, at, _ in layout}
