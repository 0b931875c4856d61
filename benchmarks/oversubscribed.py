"""How much a call suffers on a busy machine: `python -m benchmarks.oversubscribed [--threads 2]`.

The same calls are timed on the quiet machine, beside one busy loop a processor (with two threads on two
processors twice as many want to run as can), and beside two. The goal is at most 3 times the quiet median
beside one busy loop a processor. A single thread that shares its processor fairly takes twice as long in the
mean, but a call shorter than the scheduler's time slices mostly runs undisturbed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

import seq2seq_fast
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, nn

Call = Callable[[], object]


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def lstm() -> Call:
    layer = nn.LSTM(256, 256)
    x = np.random.default_rng(0).standard_normal((50, 1, 256), dtype=np.float32)
    return lambda: layer(x)


def beam_search() -> Call:
    model = Seq2Seq(
        Seq2SeqConfig(source_vocab_size=80, target_vocab_size=80, encoder_hidden=256, decoder_hidden=256)
    )
    source, lengths = np.arange(4, 24, dtype=np.int32), np.array([20], np.int32)
    return lambda: model.generate(
        source, lengths, beam_size=5, min_decoding_length=20, max_decoding_length=20
    )


def times(call: Call, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Milliseconds of each of many calls."""
    result = []
    end = time.perf_counter() + seconds
    for _ in range(20):
        call()
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        result.append(time.perf_counter() - start)
    return np.array(result) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oversubscribed", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each cell")
    options = parser.parse_args()
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    calls = {"nn.LSTM T=50 H=256": lstm(), "beam 5, V 80 H 256": beam_search()}
    print(f"{processors} processors; milliseconds: median, 90 %, 99 %, mean (each over the quiet median)")
    quiet: dict[str, float] = {}
    for loops in (0, processors, 2 * processors):
        for threads in sorted({1, options.threads}):
            seq2seq_fast.set_num_threads(threads)
            for name, call in calls.items():
                with busy_loops(loops):
                    found = times(call, options.seconds)
                figures = [*np.percentile(found, (50, 90, 99)), found.mean()]
                base = quiet.setdefault(f"{name}, {threads}", figures[0])
                cells = "".join(f"{figure:9.3f} ({figure / base:5.2f})" for figure in figures)
                print(f"{name:20} threads {threads}  busy loops {loops}{cells}", flush=True)


if __name__ == "__main__":
    main()
