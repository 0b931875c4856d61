"""What a hand-over costs, how fast memory is read and how fast matrices are multiplied: the cost model of the
recurrences is fitted to these, and all limits are computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from .kernels import Kernels
from .place import Place
from .store import Row

SUITE = "latency"
TRIALS = 5
L2_BYTES = 2**24  # well inside an L2 cache
MEMORY_BYTES = 2**30  # well beyond it
PRODUCTS = ("float32", "tf32", "float16", "bfloat16", "int8")


@dataclass(frozen=True)
class HandOver:
    """One micro-kernel: what `many` rounds take beyond `few`, divided by their number."""

    name: str
    entry: str
    arguments: tuple[int, ...]
    few: int
    many: int

    suite = SUITE

    def run(self, kernels: Kernels) -> Row:
        times = []
        for _ in range(TRIALS):
            few, many = (
                kernels.microseconds(self.entry, *self.arguments, rounds) for rounds in (self.few, self.many)
            )
            times.append((many - few) / (self.many - self.few))
        times.sort()
        return {"value": times[TRIALS // 2], "lowest": times[0], "highest": times[-1], "unit": "us"}


@dataclass(frozen=True)
class Memory:
    """Bytes a second of all multiprocessors; copied: read and written."""

    name: str
    copied: bool
    bytes: int

    suite = SUITE

    def run(self, kernels: Kernels) -> Row:
        rounds = max(2, 2**31 // self.bytes)
        entry = partial(kernels.microseconds, "memory", int(self.copied), self.bytes)
        entry(1)
        best = min(entry(1 + rounds) - entry(1) for _ in range(TRIALS)) / rounds
        return {"value": self.bytes / max(best, 1e-3) / 1e3, "unit": "GB/s"}


@dataclass(frozen=True)
class Product:
    """Operations a second of PyTorch's product of two square matrices, random ones."""

    name: str
    precision: str
    size: int

    suite = SUITE

    def run(self, place: Place) -> Row:
        generator = torch.Generator(place.torch_device).manual_seed(1)
        a, b = (
            torch.randn(self.size, self.size, device=place.torch_device, generator=generator)
            for _ in range(2)
        )
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        try:
            if self.precision == "int8":
                a, b = (10 * a).to(torch.int8), (10 * b).to(torch.int8)
                multiply = partial(torch._int_mm, a, b)
            else:
                dtype = getattr(torch, self.precision) if self.precision != "tf32" else torch.float32
                multiply = partial(torch.mm, a.to(dtype), b.to(dtype))
            place.seconds_on_device(multiply, 2)
            seconds = min(place.seconds_on_device(multiply, 5) for _ in range(3))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        return {"value": 2 * self.size**3 / seconds / 1e12, "unit": "TFLOP/s"}


LatencyCell = HandOver | Memory | Product


def name_of_memory(level: str, copied: bool) -> str:
    return f"{level}, {'copied' if copied else 'read'}"


def name_of_product(precision: str) -> str:
    return f"matrix product, {precision}"


def cells(multiprocessors: int, capability: int, *, quick: bool) -> Iterator[LatencyCell]:
    """quick: a rehearsal's, tiny."""
    many = 4 if quick else 2000
    blocks = 4 if quick else multiprocessors
    for level, size in (("L2", L2_BYTES), ("memory", MEMORY_BYTES)):
        for copied in (False, True):
            yield Memory(name_of_memory(level, copied), copied, 2**14 if quick else size)
    for precision in PRODUCTS:
        size = 16 if quick else 4096 if precision == "float32" else 8192
        yield Product(name_of_product(precision), precision, size)
    kinds = {"plain": 0, "cooperative": 1} | (
        {"clusters of 8": 8, "clusters of 16": 16} if capability >= 90 else {}
    )
    for kind, number in kinds.items():
        grid = blocks // 16 * 16 if number > 1 and blocks >= 16 else max(blocks, number)
        yield HandOver(f"launch, {kind}", "launches", (number, grid), 2, 3 if quick else 202)
    yield HandOver(f"grid.sync, {blocks} blocks", "grid_sync", (blocks,), 1, many)
    yield HandOver(f"counter barrier, {blocks} blocks", "counter_barrier", (blocks,), 1, many)
    for number in dict.fromkeys((blocks, min(blocks, 64), min(blocks, 32), min(blocks, 16), min(blocks, 8))):
        for words in (0, 4, 32):
            name = f"flag barrier, {number} blocks" + (f" of {4 * words} bytes" if words else "")
            yield HandOver(name, "flag_barrier", (number, words), 1, many)
    if capability >= 90:
        yield from _cluster_cells(blocks, many)


def _cluster_cells(blocks: int, many: int) -> Iterator[LatencyCell]:
    for size in (8, 16, 4, 2):
        for clusters in dict.fromkeys((1, max(1, blocks // size - 1))):  # not every processor has a place
            for words in (0, 64, 512):
                name = f"barrier in {clusters} clusters of {size}" + (
                    f", {4 * words} bytes to each" if words else ""
                )
                yield HandOver(name, "cluster_barrier", (size, clusters, words), 1, many)
    yield HandOver("load of own shared memory", "remote_loads", (2, 0), 1, many)
    for size in (2, 8, 16):
        yield HandOver(
            f"load of remote shared memory, cluster of {size}", "remote_loads", (size, size - 1), 1, many
        )
