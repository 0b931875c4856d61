"""Names the machine and measures the rates that the table's limits are computed from."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version

import torch

import seq2seq_fast
from seq2seq_fast import ops


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe() -> dict[str, str | int]:
    """The processor and the versions of all that is timed."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "isa": seq2seq_fast.cpu_isa(),
        "torch_isa": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "seq2seq_fast": seq2seq_fast.__version__,
        "torch": torch.__version__,
        "numpy": version("numpy"),
    }


def set_threads(threads: int) -> None:
    """The same number of threads for both sides."""
    seq2seq_fast.set_num_threads(threads)
    torch.set_num_threads(threads)


def fastest_seconds(call: Callable[[], object], seconds: float) -> float:
    """Of a single call, tried for so long."""
    end = time.perf_counter() + seconds
    best = float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


@cache
def peak_flops(threads: int) -> float:
    """Operations a second of the best float32 matrix product here, PyTorch's or ours."""
    set_threads(threads)
    best = 0.0
    for size in (512, 1024, 2048):
        a, b, out = torch.ones(3, size, size)
        for product in (partial(torch.mm, a, b, out=out), partial(ops.linear, a.numpy(), b.numpy())):
            best = max(best, 2 * size**3 / fastest_seconds(product, 0.2))
    return best


@cache
def _bandwidth(log2_bytes: int, threads: int) -> float:
    torch.set_num_threads(threads)
    count = max(1, 2 ** (log2_bytes - 3))  # half of the bytes are read and half are written
    source, target = torch.ones(count), torch.ones(count)
    return 2.0**log2_bytes / fastest_seconds(lambda: target.copy_(source), 0.2)


def bandwidth(working_set: float, threads: int) -> float:
    """Bytes a second, read and written, of a streaming copy whose two buffers take `working_set` bytes.

    The size is rounded up to a power of two from 1 MiB on: the copy runs in the same level of cache as the
    work.
    """
    return _bandwidth(max(20, int(working_set - 1).bit_length()), threads)
