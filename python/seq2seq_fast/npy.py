"""Arrays in numpy's .npy format, of files nobody vouches for: no pickles, sizes checked before memory is
taken. numpy's own reader does not do the second, and does not map a part of a file."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["array_of_buffer", "array_of_file"]

MOST_HEADER = 1 << 16


def array_of_buffer(where: str, content: memoryview) -> npt.NDArray[Any]:
    """Return the array of a .npy file's bytes, which it refers to and does not copy.

    Raises:
        ValueError: naming `where`: no .npy file, of objects, or not as long as it says.
    """
    start = io.BytesIO(content[:MOST_HEADER])
    dtype, shape, fortran = _header(where, start)
    at = start.tell()
    _expect_size(where, dtype, shape, len(content) - at)
    values = np.frombuffer(content, dtype, math.prod(shape), at)
    return _shaped(values, shape, fortran=fortran)


def array_of_file(path: Path, file: BinaryIO, *, read: bool = True) -> npt.NDArray[Any]:
    """Return the array of an open .npy file; not `read`: one of its dtype and shape, of no content.

    Raises:
        ValueError: naming the file: no .npy file, of objects, or not as long as it says.
    """
    where = str(path)
    start = io.BytesIO(file.read(MOST_HEADER))
    dtype, shape, fortran = _header(where, start)
    size = os.fstat(file.fileno()).st_size - start.tell()
    _expect_size(where, dtype, shape, size)
    if not read:
        return np.broadcast_to(np.zeros((), dtype), shape)
    file.seek(start.tell())
    content = file.read(size)
    _expect_size(where, dtype, shape, len(content))
    return _shaped(np.frombuffer(content, dtype), shape, fortran=fortran)


def _header(where: str, start: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Read a header: (dtype, shape, column-major)."""
    try:
        version = np.lib.format.read_magic(start)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(start)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(start)
        else:
            raise ValueError(f"of version {version}")
    except Exception as error:  # the tokeniser's errors, too, and whatever else a damaged header leads to
        raise ValueError(f"{where}: not an array in numpy's format ({error}).") from error
    if dtype.hasobject:
        raise ValueError(f"{where}: it holds pickled objects, which are not read.")
    if dtype.itemsize == 0 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"{where}: not an array of numbers or texts.")
    return dtype, shape, fortran


def _expect_size(where: str, dtype: np.dtype[Any], shape: tuple[int, ...], size: int) -> None:
    expected = math.prod(shape) * dtype.itemsize
    if size != expected:
        raise ValueError(
            f"{where}: expected {expected} bytes of {dtype} {list(shape)}, got {size}: the file is not whole."
        )


def _shaped(values: npt.NDArray[Any], shape: tuple[int, ...], *, fortran: bool) -> npt.NDArray[Any]:
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
