"""Once warm, the native loop over time allocates nothing: a search of 60 steps asks for memory as often as
one of 20. Counted by a library that stands before the C library's allocator (LD_PRELOAD)."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cpu_only("the CPU's memory is counted")

COUNTER = """
#include <cerrno>
#include <cstddef>
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
static long count;
long allocations() { return __atomic_load_n(&count, __ATOMIC_SEQ_CST); }
static void add() { __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST); }
void* malloc(size_t n) { add(); return __libc_malloc(n); }
void* calloc(size_t n, size_t size) { add(); return __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { add(); return __libc_realloc(p, n); }
void* memalign(size_t align, size_t n) { add(); return __libc_memalign(align, n); }
void* aligned_alloc(size_t align, size_t n) { add(); return __libc_memalign(align, n); }
int posix_memalign(void** p, size_t align, size_t n) {
  add();
  *p = __libc_memalign(align, n);
  return *p || !n ? 0 : ENOMEM;
}
}
"""

SCRIPT = """
import ctypes, itertools, json
from dataclasses import asdict
import numpy as np
from seq2seq_fast import _native, get_num_threads
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig


allocations = ctypes.CDLL(None).allocations
allocations.restype = ctypes.c_long
NETWORKS = {
    "lstm general": {},
    "gru dot, two layers": dict(
        decoder_cell="gru", attention_score="dot", decoder_layers=2, bidirectional=False),
    "lstm mlp, no input feeding": dict(attention_score="mlp", input_feeding=False),
    "gru mean": dict(decoder_cell="gru", encoder_cell="gru", context="mean", reset_after=False),
    "lstm last": dict(context="last", bridge="zero"),
}
automaton = _native.Automaton([0, 100], list(range(3, 103)), [0] * 100, [False])
results = {}

def translator(model, compute_type):
    native = _native.Model(asdict(model.config), compute_type, False)
    for name, value in model.native.state().items():
        native.load_parameter(name, value)
    return _native.Translator([native], "probability", 1, get_num_threads())

for name, fields in NETWORKS.items():
    config = Seq2SeqConfig(source_vocab_size=30, target_vocab_size=300, encoder_hidden=32, decoder_hidden=32,
                           source_embedding_dim=16, target_embedding_dim=16, **fields)
    model = Seq2Seq(config)
    bias = np.zeros(300, np.float32)
    bias[config.eos_id] = -1e4
    ways = ("free", "at least", "attention", "shortlist", "int8", "float16", "options", "automaton",
            "samples")
    for batch, beam, how in itertools.product((1, 8), (1, 5), ways):
        attends = config.context == "attention"
        if (how == "attention" and not attends) or (how == "samples" and beam > 1):
            continue
        model.native.load_parameter("decoder.output.bias", bias * (how != "at least"))
        generator = translator(model, how) if how in ("int8", "float16") else model.native
        lengths = np.arange(3, 3 + batch, dtype=np.int32)
        source = np.arange(lengths.sum(), dtype=np.int32) % 30

        def count(steps):
            options = dict(beam_size=beam, max_decoding_length=steps)
            if how == "at least":
                options["min_decoding_length"] = steps
            if how == "attention":
                options["return_attention"] = True
            if how == "shortlist":
                options["vocabulary"] = np.arange(0, 300, 2, dtype=np.int32)
            if how == "options":
                options |= dict(repetition_penalty=1.1, no_repeat_ngram_size=3, length_penalty_type="wu",
                                suppress_sequences=[[5], [6, 7]], early_stopping="never",
                                coverage_penalty=0.1 * attends, target_prefix=[[4, 8]] * batch)
            if how == "automaton":  # any of 100 tokens, without end
                options["allowed_outputs"] = automaton
            if how == "samples":
                options |= dict(sampling_topk=0, sampling_topp=0.9, num_hypotheses=2)
            before = allocations()
            outputs = generator.generate(source, lengths, options)
            spent = allocations() - before
            assert all(len(h.token_scores) == steps for hypotheses in outputs for h in hypotheses)
            return spent

        for _ in range(2):
            count(20), count(60)
        results[f"{name}; batch {batch}, beam {beam}, {how}"] = (
            min(count(20) for _ in range(3)), min(count(60) for _ in range(3)))
print(json.dumps(results))
"""

LAYERS = """
import ctypes, json
import numpy as np
from seq2seq_fast import nn

allocations = ctypes.CDLL(None).allocations
allocations.restype = ctypes.c_long
results = {}
before = dict(reset_after=False)
for name, make, extra in [("lstm", nn.LSTM, {}), ("gru", nn.GRU, {}), ("reset", nn.GRU, before)]:
    for compute_type in ("float32", "float16", "int8"):
        layer = make(24, 64, 2, bidirectional=True, compute_type=compute_type, **extra)
        # A walk of one step; one whose gates fit the cache; two in several parts, y in the pool's memory.
        steps = {n: np.full((n, 8, 24), 0.1, np.float32) for n in (1, 20, 300, 600)}
        h0 = np.full((4, 8, 64), 0.5, np.float32)
        state = (h0, h0) if name == "lstm" else h0

        def count(x):
            before = allocations()
            layer(x, state)
            return allocations() - before

        for x in steps.values():
            count(x), count(x)
        results[f"{name} {compute_type}"] = [min(count(x) for _ in range(5)) for x in steps.values()]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("There is no C++ compiler to make the counting allocator with.")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("The counting allocator stands before glibc's.")
    folder = tmp_path_factory.mktemp("counter")
    (folder / "counter.cpp").write_text(COUNTER)
    library = folder / "libcounter.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / "counter.cpp")], check=True
    )
    return library


def counted(script: str, counter: Path, threads: int) -> Any:
    environment = {**os.environ, "LD_PRELOAD": str(counter), "S2S_NUM_THREADS": str(threads)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_loop_over_time_allocates_nothing(counter: Path, threads: int) -> None:
    results = counted(SCRIPT, counter, threads)
    assert len(results) == 162
    assert {name: counts for name, counts in results.items() if counts[0] != counts[1]} == {}
    assert all(counts[0] > 0 for counts in results.values()), "Nothing was counted."


@pytest.mark.parametrize("threads", [1, 2])
def test_a_layer_allocates_its_results(counter: Path, threads: int) -> None:
    """As many blocks for 20 steps as for one, and for 600 as for 300, whatever the compute type: the arrays
    it returns, and the handles of one that lies in the pool's memory."""
    results = counted(LAYERS, counter, threads)
    assert len(results) == 9
    for name, counts in results.items():
        same = results[name.split()[0] + " float32"]
        assert counts == same, results
        one, short, long, longer = counts
        assert 0 < one == short <= long == longer <= one + 6, results
