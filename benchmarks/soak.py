"""A service under load: `python -m benchmarks.soak [--minutes 10] [--threads 8]`.

Threads send requests of every kind (greedy, beams, several hypotheses with attention, a vocabulary, scores)
and size to one Translator. Every answer is compared, bit for bit, with the one computed alone beforehand, and
the memory is watched. Exit code 1: an answer was wrong, or the memory grew.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import seq2seq_fast
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.files import save_model

Answer = list[Any]
SIZES = (1, 1, 1, 1, 2, 3, 8, 24)  # sources in a request, drawn from these
SOURCES = 64
LONGEST = 24
SPARE_BYTES = 8 << 20  # what the allocators of Python and C may still take after the warm-up


def model_folder(folder: Path, vocabulary: int, hidden: int) -> None:
    """Write a model of random weights, sharp enough for outputs to differ and to end."""
    config = Seq2SeqConfig(
        source_vocab_size=vocabulary,
        target_vocab_size=vocabulary,
        encoder_hidden=hidden // 2,
        decoder_hidden=hidden,
    )
    model = Seq2Seq(config, seed=1)
    model.parameters()["decoder.output.weight"][...] *= 16
    model.parameters()["decoder.output.bias"][config.eos_id] += 2
    save_model(folder, model)


@dataclass
class Kind:
    """One kind of request: how it is made of sources, and its answers as values that compare bit for bit."""

    name: str
    ask: Callable[[Sequence[int]], list[Answer]]
    alone: list[Answer] = field(default_factory=list)


def kinds(translator: Translator, seed: int) -> list[Kind]:
    """Every kind of request over the same sources, with the answer to each source alone."""
    config, rng = translator.config, np.random.default_rng(seed)
    sources = [
        rng.integers(4, config.source_vocab_size, length)
        for length in rng.integers(1, LONGEST + 1, SOURCES).tolist()
    ]
    targets = [
        rng.integers(4, config.target_vocab_size, length).tolist()
        for length in rng.integers(0, LONGEST, SOURCES).tolist()
    ]
    some = rng.choice(np.arange(4, config.target_vocab_size), config.target_vocab_size // 4, replace=False)

    def translate(**options: Any) -> Callable[[Sequence[int]], list[Answer]]:
        options |= {"return_scores": True, "return_token_scores": True}

        def ask(places: Sequence[int]) -> list[Answer]:
            results = translator.translate_batch([sources[i] for i in places], **options)
            return [
                [r.ids, r.scores, *(array.tobytes() for array in (*r.token_scores, *r.attention))]
                for r in results
            ]

        return ask

    def score(places: Sequence[int]) -> list[Answer]:
        results = translator.score_batch([sources[i] for i in places], [targets[i] for i in places])
        return [[r.log_probs.tobytes()] for r in results]

    found = [
        Kind("greedy", translate(beam_size=1, max_decoding_length=40)),
        Kind("beam 5", translate(beam_size=5, max_decoding_length=40)),
        Kind("short beam 2", translate(max_decoding_length=5)),
        Kind(
            "3 best of 4, attention",
            translate(beam_size=4, num_hypotheses=3, return_attention=True, max_decoding_length=20),
        ),
        Kind("vocabulary", translate(beam_size=2, vocabulary=some, max_decoding_length=20)),
        Kind("batches of 4", translate(beam_size=3, max_batch_size=4, max_decoding_length=20)),
        Kind("score", score),
    ]
    for kind in found:
        kind.alone = [kind.ask([i])[0] for i in range(SOURCES)]
    return found


class Latencies:
    """A histogram with buckets 1 % wide from a microsecond on: its memory does not grow."""

    def __init__(self) -> None:
        self.counts = np.zeros(2200, np.int64)

    def add(self, seconds: float) -> None:
        self.counts[int(np.clip(np.log(max(seconds, 1e-6) / 1e-6) / np.log(1.01), 0, 2199))] += 1

    def quantile(self, q: float) -> float:
        """In milliseconds."""
        total = int(self.counts.sum())
        if not total:
            return float("nan")
        return float(1e-3 * 1.01 ** (int(np.searchsorted(np.cumsum(self.counts), q * total)) + 0.5))


@dataclass
class Outcome:
    """What one thread saw."""

    latencies: list[Latencies]
    requests: int = 0
    answers: int = 0
    wrong: list[str] = field(default_factory=list)


def serve(requests: list[Kind], seed: int, stop: threading.Event, outcome: Outcome) -> None:
    """Send requests until told to stop."""
    rng = np.random.default_rng([7, seed])
    while not stop.is_set() and len(outcome.wrong) < 10:
        which = int(rng.integers(len(requests)))
        kind, places = requests[which], rng.integers(0, SOURCES, rng.choice(SIZES)).tolist()
        started = time.perf_counter()
        try:
            answers = kind.ask(places)
        except Exception as error:
            outcome.wrong.append(f"{kind.name} of {places}: {type(error).__name__}: {error}")
            continue
        outcome.latencies[which].add(time.perf_counter() - started)
        outcome.requests += 1
        outcome.answers += len(places)
        if answers != [kind.alone[i] for i in places]:
            outcome.wrong.append(f"{kind.name} of {places}: not the answer computed alone")


def resident_bytes() -> int:
    """The memory of this process that is in use and not swapped out."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_grew(memory: Sequence[tuple[float, int]]) -> bool:
    """Of (share of the run, bytes): compare what there was after the warm-up with the end, and print both."""
    early = [size for at, size in memory if 0.1 <= at < 0.3]
    late = [size for at, size in memory if at >= 0.8]
    if not early or not late:
        return False
    before, after = float(np.median(early)), float(np.median(late))
    grew = after - before > SPARE_BYTES
    print(f"memory: {before / 2**20:.1f} MiB after the warm-up, {after / 2**20:.1f} MiB at the end", end="")
    print(": it grew" if grew else "")
    return grew


def run(arguments: argparse.Namespace, translator: Translator) -> bool:
    """Serve for the minutes asked for; print what was seen; return whether all was well."""
    requests = kinds(translator, seed=3)
    outcomes = [Outcome([Latencies() for _ in requests]) for _ in range(arguments.threads)]
    stop = threading.Event()
    threads = [
        threading.Thread(target=serve, args=(requests, seed, stop, outcome))
        for seed, outcome in enumerate(outcomes)
    ]
    seconds = 60 * arguments.minutes
    started = time.monotonic()
    for thread in threads:
        thread.start()
    memory: list[tuple[float, int]] = []
    while (now := time.monotonic() - started) < seconds and not any(o.wrong for o in outcomes):
        memory.append((now / seconds, resident_bytes()))
        time.sleep(min(0.5, seconds / 100))
    stop.set()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started

    requested, answered = (sum(getattr(o, name) for o in outcomes) for name in ("requests", "answers"))
    print(f"{'request':<24}{'p50 ms':>10}{'p99 ms':>10}{'count':>10}")
    for i, kind in enumerate([*requests, None]):
        merged = Latencies()
        for outcome in outcomes:
            for j, latencies in enumerate(outcome.latencies):
                if kind is None or i == j:
                    merged.counts += latencies.counts
        name = "all" if kind is None else kind.name
        count = int(merged.counts.sum())
        print(f"{name:<24}{merged.quantile(0.5):>10.2f}{merged.quantile(0.99):>10.2f}{count:>10}")
    print(
        f"{requested} requests, {answered} sources in {elapsed:.0f} s: {requested / elapsed:.0f} requests, "
        f"{answered / elapsed:.0f} sources a second"
    )
    wrong = [line for outcome in outcomes for line in outcome.wrong]
    for line in wrong[:10]:
        print(f"wrong: {line}")
    return not wrong and not memory_grew(memory)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=8, help="that send requests")
    parser.add_argument("--model", type=Path, help="a model from tokens to tokens; a random one if none")
    parser.add_argument("--vocabulary", type=int, default=80, help="of the random model")
    parser.add_argument("--hidden", type=int, default=256, help="of the random model")
    parser.add_argument("--compute_type", default="default")
    parser.add_argument("--inter_threads", type=int, default=1)
    parser.add_argument("--intra_threads", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.model or Path(scratch)
        if arguments.model is None:
            model_folder(folder, arguments.vocabulary, arguments.hidden)
        translator = Translator(
            folder,
            compute_type=arguments.compute_type,
            inter_threads=arguments.inter_threads,
            intra_threads=arguments.intra_threads,
        )
    if not translator.config.source_vocab_size:
        parser.error("expected a model that reads tokens")
    print(
        f"{arguments.threads} threads, one Translator: {translator.compute_type}, {seq2seq_fast.cpu_isa()}, "
        f"{translator.num_translators} batches at once, {translator.intra_threads} threads each"
    )
    sys.exit(0 if run(arguments, translator) else 1)


if __name__ == "__main__":
    main()
