"""The micro-kernels of tests/simt/latency.cu, in a library that is built beside the backend
(S2S_CUDA_TESTS)."""

from __future__ import annotations

import ctypes
from pathlib import Path

import seq2seq_fast


class Absent(RuntimeError):
    """There is no such library, or it cannot be opened."""


class Kernels:
    def __init__(self) -> None:
        path = Path(seq2seq_fast.__path__[0], "_cuda_tests.so")
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise Absent(f"no micro-kernels in this build (CMake option S2S_CUDA_TESTS): {error}") from None

    def microseconds(self, name: str, *arguments: int) -> float:
        """The device's, of one launch with these arguments.

        Raises:
            RuntimeError: the device cannot do that, or did it wrongly.
        """
        result = ctypes.c_float()
        self._call(name, arguments, result)
        return result.value

    def clusters(self, blocks: int, shared: int) -> int:
        """How many clusters the device holds at once, of so many blocks with so much shared memory each."""
        result = ctypes.c_int()
        self._call("clusters", (blocks, shared), result)
        return result.value

    def _call(self, name: str, arguments: tuple[int, ...], result: ctypes.c_float | ctypes.c_int) -> None:
        entry = self._library[f"s2s_time_{name}"]
        entry.restype = ctypes.c_char_p
        # Sizes of memory have 64 bits, all else 32.
        values = [ctypes.c_int64(a) if name == "memory" and i == 1 else a for i, a in enumerate(arguments)]
        error = entry(*values, ctypes.byref(result))
        if error is not None:
            raise RuntimeError(error.decode())
