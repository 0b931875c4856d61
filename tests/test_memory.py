"""Memory that is kept for reuse serves smaller requests too, so that it does not add up over sizes."""

import gc

import numpy as np
import pytest

import seq2seq_fast
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, ops

pytestmark = pytest.mark.cpu_only("the CPU's memory is counted")


def test_a_kept_block_serves_smaller_requests() -> None:
    largest = np.random.default_rng(0).standard_normal((64, 1000)).astype(np.float32)
    ops.softmax(largest)  # its result's block is kept once the result is gone
    before = seq2seq_fast.memory_stats()["system_calls"]
    for rows in range(63, 32, -1):
        np.testing.assert_allclose(ops.softmax(largest[:rows]).sum(1), 1.0, rtol=1e-5)
    assert seq2seq_fast.memory_stats()["system_calls"] == before


def test_large_blocks_begin_at_a_huge_page() -> None:
    huge = 1 << 21
    parameters = Seq2Seq(Seq2SeqConfig(source_vocab_size=9, target_vocab_size=9)).flat_parameters
    assert parameters.nbytes >= huge
    assert parameters.ctypes.data % huge == 0


def test_growing_sizes_do_not_add_up() -> None:
    """What is kept of sizes that are asked for no more goes back to the system."""
    gc.collect()
    seq2seq_fast.release_memory()
    before = seq2seq_fast.memory_stats()["in_use"]
    rows = [size << (9 + octave) for octave in range(6) for size in range(8, 16)]
    x = np.zeros((rows[-1], 32), np.float32)
    for count in rows:
        ops.softmax(x[:count])
    stats = seq2seq_fast.memory_stats()
    assert stats["kept"] > x.nbytes / 2
    assert stats["in_use"] + stats["kept"] <= 2 * (before + 1.2 * x.nbytes) + (64 << 20)
    seq2seq_fast.release_memory()
