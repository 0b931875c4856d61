"""Where a run computes: ours on the CUDA backend, PyTorch on the same GPU; or, as a rehearsal without one,
ours on the emulated backend and PyTorch on the CPU. Then no time means anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seq2seq_fast.device import to_device

DEVICE = "cuda:0"  # ours, emulated or not


@dataclass(frozen=True)
class Place:
    emulated: bool

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu" if self.emulated else "cuda:0")

    def tensor(self, values: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """For the peer; fresh memory."""
        return torch.from_numpy(values).to(self.torch_device, dtype, copy=True)

    def array(self, tensor: torch.Tensor) -> Any:
        """For us: the tensor's own memory on a GPU, by DLPack; a copy on the emulated device."""
        return to_device(tensor.numpy() if self.emulated else tensor, DEVICE)

    def synchronize(self) -> None:
        """Waits for the GPU. Emulated kernels have run when a call returns."""
        if not self.emulated:
            torch.cuda.synchronize()

    def seconds_on_device(self, call: Callable[[], object], repeats: int) -> float:
        """Of one call among `repeats` that are enqueued back to back, between two CUDA events. Both sides
        work on the device's default stream."""
        if self.emulated:
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            return (time.perf_counter() - start) / repeats
        make: Any = torch.cuda.Event
        begin, end = (make(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        milliseconds: float = begin.elapsed_time(end)
        return milliseconds / 1e3 / repeats
