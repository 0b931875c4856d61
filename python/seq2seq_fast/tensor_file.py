"""Reading and writing safetensors files, with errors that name the file and the tensor.

Reading goes through the `safetensors` package, imported when a file is read; it checks the header of a file
of unknown origin. Writing is ours: the format is a header and the bytes of the arrays, and streaming them
into an open file copies nothing, gives the operating system's own errors (a full disk) and the same bytes for
the same content. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DTYPES: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # its bits: numpy has no such type, and no file of ours holds uint16
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write_tensors(file: BinaryIO, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays (int64, float32, int32, float16, int8, uint8) and text metadata as a safetensors file.

    An array of uint16 is written as BF16, whose bits it holds.
    """
    # Widest elements first, then by name, as the safetensors library does: every tensor is aligned to its
    # dtype.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in order:
        array = tensors[name]
        if array.dtype not in _NAMES:
            raise TypeError(
                f"Tensor {name!r}: expected one of {', '.join(_DTYPES)}, got dtype {array.dtype}."
            )
        end = offset + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in order:
        # A flat view where the array is contiguous, so that nothing is copied.
        file.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)


@dataclass(frozen=True)
class TensorSpec:
    """What a file says of a tensor before its bytes are read."""

    dtype: str  # "F32", "I64", ...
    shape: tuple[int, ...]


class TensorFile:
    """A safetensors file opened for reading; use it in a `with` block.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, or is not a safetensors file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file.")
        try:
            self._file = cast("Any", safe_open(os.fspath(self.path), framework="numpy"))
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{self.path}: not a whole safetensors file ({error}).") from error
        self.metadata: dict[str, str] = self._file.metadata() or {}
        self.specs: dict[str, TensorSpec] = {}
        for name in sorted(self._file.keys()):
            tensor = self._file.get_slice(name)
            self.specs[name] = TensorSpec(str(tensor.get_dtype()), tuple(tensor.get_shape()))

    def __enter__(self) -> TensorFile:
        self._file.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.__exit__(*exception)

    def read(self, name: str) -> Array:
        """Return a copy of one tensor; of BF16 its bits, as uint16."""
        spec = self.specs.get(name)
        if spec is None:
            raise ValueError(f"{self.path}: tensor {name!r} is missing.")
        if spec.dtype not in _DTYPES:
            raise ValueError(
                f"{self.path}: tensor {name!r} has dtype {spec.dtype}, which is not supported here."
            )
        if spec.dtype == "BF16":
            return self._bits(name, spec.shape)
        array: Array = self._file.get_tensor(name)
        return array

    def _bits(self, name: str, shape: tuple[int, ...]) -> Array:
        """Read a tensor that the safetensors package cannot give to numpy; it has checked the header."""
        with open(self.path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            begin, end = json.loads(file.read(size))[name]["data_offsets"]
            file.seek(8 + size + begin)
            return np.frombuffer(file.read(end - begin), _DTYPES["BF16"]).reshape(shape)

    def expect(self, expected: Mapping[str, TensorSpec]) -> None:
        """Raise ValueError unless the file holds exactly these tensors."""
        missing = sorted(set(expected) - set(self.specs))
        if missing:
            raise ValueError(f"{self.path}: tensor {missing[0]!r} is missing{_and_more(missing)}.")
        unknown = sorted(set(self.specs) - set(expected))
        if unknown:
            raise ValueError(f"{self.path}: unknown tensor {unknown[0]!r}{_and_more(unknown)}.")
        for name, spec in expected.items():
            found = self.specs[name]
            if found.shape != spec.shape:
                raise ValueError(
                    f"{self.path}: expected tensor {name!r} of shape {list(spec.shape)}, "
                    f"got {list(found.shape)}."
                )
            if found.dtype != spec.dtype:
                raise ValueError(
                    f"{self.path}: expected tensor {name!r} of dtype {spec.dtype}, got {found.dtype}."
                )


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
