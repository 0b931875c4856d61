"""The micro-kernels of tests/simt/latency.cu, and what the recurrences' cost model says (plan.cu): a library
that is built beside the backend (S2S_CUDA_TESTS)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seq2seq_fast

from ..rates import COMPUTE_TYPES

ROUTES = ("step", "grid", "cluster")  # as csrc/cuda/detail/recurrent_plan.h numbers them
ROUTE_VARIABLE = "S2S_CUDA_RECURRENCE"


class Absent(RuntimeError):
    """There is no such library, or it cannot be opened."""


@dataclass(frozen=True)
class Plan:
    """Teams of `blocks`, which multiply `tile` sequences at once; what the model predicts for the whole
    walk."""

    route: str
    blocks: int
    teams: int
    tile: int
    predicted_us: float

    def answers(self, asked: str) -> bool:
        """Whether it is what ROUTE_VARIABLE asked for ("grid", "grid:16x2"), which may not fit."""
        route, _, numbers = asked.partition(":")
        return self.route == route and numbers in ("", f"{self.blocks}x{self.teams}")


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

    def plan(self, kind: str, precision: str, hidden: int, batch: int, time: int) -> Plan:
        """What the cost model chooses now, for a layer forward; ROUTE_VARIABLE is heeded."""
        chosen, microseconds = (ctypes.c_int * 4)(), ctypes.c_double()
        shape = (int(kind == "GRU"), COMPUTE_TYPES.index(precision), hidden, batch, time)
        self._check("s2s_plan", *shape, chosen, ctypes.byref(microseconds))
        route, blocks, teams, tile = chosen
        return Plan(ROUTES[route], blocks, teams, tile, microseconds.value)

    def _call(self, name: str, arguments: tuple[int, ...], result: ctypes.c_float | ctypes.c_int) -> None:
        # Sizes of memory have 64 bits, all else 32.
        values = [ctypes.c_int64(a) if name == "memory" and i == 1 else a for i, a in enumerate(arguments)]
        self._check(f"s2s_time_{name}", *values, ctypes.byref(result))

    def _check(self, name: str, *arguments: Any) -> None:
        entry = self._library[name]
        entry.restype = ctypes.c_char_p
        error = entry(*arguments)
        if error is not None:
            raise RuntimeError(error.decode())
