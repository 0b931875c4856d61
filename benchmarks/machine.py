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
from seq2seq_fast import _native, ops


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


def training_types() -> tuple[str, ...]:
    """The compute types of training that this processor has products of its own for."""
    return ("float32", "bfloat16") if _native.cpu_multiplies_bfloat16() else ("float32",)


@cache
def peak_flops(threads: int, compute_type: str = "float32") -> float:
    """Operations a second of the best matrix product here, in float32 PyTorch's or ours, in bfloat16
    PyTorch's or the two of our `linear_backward`."""
    set_threads(threads)
    best = 0.0
    for size in (512, 1024, 2048):
        a, b, out = torch.ones(3, size, size)
        x, y = a.numpy(), b.numpy()
        products: dict[Callable[[], object], int] = {
            partial(torch.mm, a, b, out=out): 1,
            partial(ops.linear, x, y): 1,
        }
        if compute_type == "bfloat16":
            a, b, out = a.bfloat16(), b.bfloat16(), out.bfloat16()
            both = partial(ops.linear_backward, x, x, y, compute_type=compute_type)
            products = {partial(torch.mm, a, b, out=out): 1, both: 2}
        for product, count in products.items():
            best = max(best, count * 2 * size**3 / fastest_seconds(product, 0.2))
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
