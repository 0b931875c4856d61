"""Memory that is kept for reuse serves smaller requests too, so that it does not add up over sizes."""

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
