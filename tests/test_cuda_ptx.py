"""Each piece of inline PTX (csrc/cuda/detail/ptx.h) against numpy: the hardware's where the package is built
for a GPU, its emulated twin's elsewhere. Both are written from the PTX manual, so it takes both runs to prove
a twin. The layout of fragments is spelt out here once more, by matrix elements."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

import seq2seq_fast

WARP = 32
LANE = np.arange(WARP)
GROUP, PLACE = LANE // 4, LANE % 4  # of a lane in an mma's fragments: g and t

# Of each lane the matrix elements it holds, in the order of its registers, two 16-bit elements to a register.
A_ROWS = GROUP[:, None] + np.array([0, 0, 8, 8, 0, 0, 8, 8])
A_COLUMNS = 2 * PLACE[:, None] + np.array([0, 1, 0, 1, 8, 9, 8, 9])
B_ROWS = 2 * PLACE[:, None] + np.array([0, 1, 8, 9])
B_COLUMNS = np.repeat(GROUP[:, None], 4, axis=1)
C_ROWS = GROUP[:, None] + np.array([0, 0, 8, 8])
C_COLUMNS = 2 * PLACE[:, None] + np.array([0, 1, 0, 1])


class Kernels:
    """The entries of tests/simt/twins.cu: arrays are filled in place."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    @property
    def on_hardware(self) -> bool:
        return bool(self._library.s2s_tests_on_hardware())

    def __call__(self, name: str, *arguments: int | np.ndarray) -> None:
        entry = self._library[f"s2s_test_{name}"]
        entry.restype = ctypes.c_char_p
        for a in arguments:
            assert isinstance(a, int) or a.flags.c_contiguous
        error = entry(*(a if isinstance(a, int) else ctypes.c_void_p(a.ctypes.data) for a in arguments))
        if error is not None:
            raise RuntimeError(error.decode())

    def capability(self) -> int:
        value = np.zeros(1, np.int32)
        self("capability", value)
        return int(value[0])


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    path = Path(seq2seq_fast.__path__[0], "_cuda_tests.so")
    if not path.exists():
        pytest.skip("This build has no test kernels (CMake option S2S_CUDA_TESTS).")
    result = Kernels(path)
    status = seq2seq_fast.cuda_status()
    if result.on_hardware and not status.startswith("ready"):
        pytest.skip(f"The test kernels are for a GPU: {status}.")
    return result


def bits_of(values: np.ndarray, bfloat16: bool) -> np.ndarray:
    """float32 values that the 16-bit type holds, as its bits."""
    if not bfloat16:
        return values.astype(np.float16).view(np.uint16)
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def rounded(values: np.ndarray, bfloat16: bool) -> np.ndarray:
    """float32 values with the 16-bit type's digits; bfloat16's are cut off."""
    if not bfloat16:
        return values.astype(np.float16).astype(np.float32)
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def multiply(kernels: Kernels, a: np.ndarray, b: np.ndarray, c: np.ndarray, bfloat16: bool) -> np.ndarray:
    registers = np.zeros((WARP, 4), np.float32)
    kernels(
        "mma",
        int(bfloat16),
        np.ascontiguousarray(bits_of(a, bfloat16)[A_ROWS, A_COLUMNS]),
        np.ascontiguousarray(bits_of(b, bfloat16)[B_ROWS, B_COLUMNS]),
        np.ascontiguousarray(c[C_ROWS, C_COLUMNS]),
        registers,
    )
    d = np.full((16, 8), np.nan, np.float32)
    d[C_ROWS, C_COLUMNS] = registers
    return d


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float16", "bfloat16"])
def test_mma_of_integers_is_exact(kernels: Kernels, rng: np.random.Generator, bfloat16: bool) -> None:
    """Small integers have one sum, in whatever order it is taken: a wrong place shows."""
    a, b = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((16, 16), (16, 8)))
    c = np.arange(128, dtype=np.float32).reshape(16, 8)
    np.testing.assert_array_equal(multiply(kernels, a, b, c, bfloat16), a @ b + c)


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float16", "bfloat16"])
def test_mma(kernels: Kernels, rng: np.random.Generator, bfloat16: bool) -> None:
    """Tensor cores add in an order and with a rounding of their own, but in float32."""
    for _ in range(20):
        a, b = (rounded(rng.standard_normal(s, dtype=np.float32), bfloat16) for s in ((16, 16), (16, 8)))
        c = rng.standard_normal((16, 8), dtype=np.float32)
        size = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(c)
        off = np.abs(multiply(kernels, a, b, c, bfloat16) - (a.astype(np.float64) @ b + c))
        assert (off / size).max() < 1e-6


@pytest.mark.parametrize("transposed", [False, True])
def test_ldmatrix(kernels: Kernels, rng: np.random.Generator, transposed: bool) -> None:
    elements = rng.permutation(WARP * 8).astype(np.uint16).reshape(WARP, 8)
    rows = rng.permutation(WARP).astype(np.int32)
    registers = np.zeros((WARP, 4), np.uint32)
    kernels("ldmatrix", int(transposed), elements, rows, registers)
    matrices = elements[rows].reshape(4, 8, 8)
    if transposed:
        matrices = matrices.transpose(0, 2, 1)
    got = registers.view(np.uint16).reshape(WARP, 4, 2)
    for element in (0, 1):
        np.testing.assert_array_equal(got[:, :, element], matrices[:, GROUP, 2 * PLACE + element].T)


@pytest.mark.parametrize("stages", [1, 2, 3, 8, 65])
def test_cp_async(kernels: Kernels, rng: np.random.Generator, stages: int) -> None:
    pieces = rng.integers(1, 256, (stages, WARP, 16)).astype(np.uint8)
    count = rng.integers(0, 17, (stages, WARP)).astype(np.int32)
    got = np.zeros_like(pieces)
    kernels("cp_async", pieces, count, stages, got)
    np.testing.assert_array_equal(got, np.where(np.arange(16) < count[:, :, None], pieces, 0))


@pytest.mark.parametrize(("blocks", "rounds"), [(1, 3), (2, 50), (13, 9)])
def test_load_acquire_and_store_release(kernels: Kernels, blocks: int, rounds: int) -> None:
    got = np.zeros(WARP, np.uint32)
    kernels("turns", blocks, rounds, got)
    words = np.zeros(WARP, np.uint32)
    for turn in range(blocks * rounds):
        words = 3 * words + np.uint32(turn) + LANE.astype(np.uint32)
    np.testing.assert_array_equal(got, words)


@pytest.mark.parametrize("name", ["add_release", "add_acq_rel"])
@pytest.mark.parametrize("blocks", [1, 2, 64])
def test_counting_blocks(kernels: Kernels, name: str, blocks: int) -> None:
    before, sums = np.zeros(blocks, np.uint32), np.zeros(WARP, np.uint32)
    kernels(name, blocks, before, sums)
    assert sorted(before) == list(range(blocks))
    words = (np.arange(blocks)[:, None] + 1) * 1000 + LANE
    np.testing.assert_array_equal(sums, words.sum(axis=0))


@pytest.mark.parametrize(("blocks", "rounds"), [(1, 3), (2, 50), (13, 9), (64, 5)])
def test_words_that_say_their_number(kernels: Kernels, blocks: int, rounds: int) -> None:
    got = np.zeros((blocks, rounds), np.uint32)
    kernels("words", blocks, rounds, got)
    sums = ((np.arange(blocks) + 1) * 1000).sum() + blocks * (np.arange(rounds) + 1)
    np.testing.assert_array_equal(got, np.broadcast_to(sums, got.shape))


def in_cluster(kernels: Kernels, name: str, blocks: int, *arguments: int | np.ndarray) -> None:
    if kernels.capability() < 90:
        pytest.skip("Clusters need compute capability 9.0.")
    try:
        kernels(name, blocks, *arguments)
    except RuntimeError as error:
        if blocks <= 8:  # what every device with clusters has
            raise
        pytest.skip(f"This device has no clusters of {blocks} blocks: {error}")


@pytest.mark.parametrize(("blocks", "rounds"), [(1, 3), (2, 50), (8, 7), (16, 6)])
def test_counted_stores(kernels: Kernels, blocks: int, rounds: int) -> None:
    got = np.zeros((blocks, rounds, WARP), np.uint32)
    in_cluster(kernels, "pieces", blocks, rounds, got)
    words = (np.arange(blocks)[:, None, None] + 1) * 1000 + LANE + np.arange(rounds)[:, None]
    sums = np.where(np.arange(rounds)[:, None] % 2, words, 4 * words + 6)
    np.testing.assert_array_equal(got, sums.sum(axis=0) - sums)


@pytest.mark.parametrize("blocks", [1, 2, 8, 16])
def test_clusters_share_their_memory(kernels: Kernels, blocks: int) -> None:
    got = np.zeros((blocks, 2, blocks, WARP), np.uint32)
    in_cluster(kernels, "cluster", blocks, got)
    rank = np.arange(blocks)
    words = (rank[:, None] + 1) * 1000 + LANE  # of the block that wrote
    for reader in range(blocks):
        np.testing.assert_array_equal(got[reader, 0], words + 100 * reader)
        np.testing.assert_array_equal(got[reader, 1], words + 100 * ((reader + 1) % blocks))


def test_errors_are_sentences(kernels: Kernels) -> None:
    with pytest.raises(RuntimeError, match=r"\[twins\] CUDA: "):
        kernels("turns", 2**20, 1, np.zeros(WARP, np.uint32))  # more blocks than wait for each other anywhere
