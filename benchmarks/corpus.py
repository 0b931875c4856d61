"""Memory of training on a large corpus: `python -m benchmarks.corpus [--pairs 5000000] [--steps 20]`.

A text of about 400 bytes a pair is written to a folder, then `seq2seq-fast train --cache` runs in this
process: vocabularies, binarised data, some steps of a small model, a validation. A thread reads RssAnon
meanwhile: our own memory, without the pages of mapped files, which the system takes back as it likes. Exit
code 1: it was more than --limit_gb. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from seq2seq_fast.cli.train import run_train

WORDS = 30_000
PHRASES, PHRASE_WORDS = 40_000, 5
BLOCK = 10_000


def write_corpus(path: Path, pairs: int, seed: int = 0) -> int:
    """Write pairs of 10 to 50 words a side, drawn with Zipf's frequencies; return the bytes."""
    random = np.random.default_rng(seed)
    letters = np.array([*"aeioubdfgklmnprstv"])
    words = ["".join(random.choice(letters, length)) for length in random.integers(2, 12, WORDS)]
    frequencies = 1.0 / np.arange(1, WORDS + 1)
    drawn = random.choice(WORDS, (PHRASES, PHRASE_WORDS), p=frequencies / frequencies.sum())
    phrases = [" ".join(words[i] for i in row) for row in drawn]
    with open(path, "w", encoding="utf-8") as file:
        for start in range(0, pairs, BLOCK):
            count = min(BLOCK, pairs - start)
            lengths = random.integers(2, 11, (count, 2))
            picked = iter(random.integers(0, PHRASES, int(lengths.sum())).tolist())
            sides = [[phrases[next(picked)] for _ in range(length)] for length in lengths.ravel().tolist()]
            file.writelines(
                f"{' '.join(source)}\t{' '.join(target)}\n"
                for source, target in zip(sides[::2], sides[1::2], strict=True)
            )
    return path.stat().st_size


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("[corpus] Expected RssAnon in /proc/self/status, got none.")


class Watch:
    """The most RssAnon while `with Watch() as watch` lasts, read every few milliseconds."""

    def __init__(self) -> None:
        self.peak = anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._done.wait(0.005):
            self.peak = max(self.peak, anonymous_bytes())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_bytes())


def train(folder: Path, steps: int, *, cache: bool = True) -> None:
    """Train on the corpus in `folder`, from scratch, with the options that matter for memory as they are."""
    run_train(
        {
            "train": str(folder / "train.tsv"),
            "valid": str(folder / "valid.tsv"),
            "out": str(folder / "run"),
            "cache": cache,
            "hidden_size": 64,
            "word_vec_size": 64,
            "batch_size": 1024,
            "train_steps": steps,
            "report_every": max(1, steps // 4),
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the corpus, train, print figures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--limit_gb", type=float, default=1.5)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--in_memory", action="store_true", help="without --cache, to compare")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="corpus-", dir=options.folder))
    try:
        begun = time.monotonic()
        size = write_corpus(folder / "train.tsv", options.pairs)
        write_corpus(folder / "valid.tsv", min(500, options.pairs), seed=1)
        print(f"{options.pairs} pairs, {size / 1e9:.2f} GB, written in {time.monotonic() - begun:.0f} s")
        before, begun = anonymous_bytes(), time.monotonic()
        with Watch() as watch:
            train(folder, options.steps, cache=not options.in_memory)
        cached = sum(path.stat().st_size for path in (folder / "run").glob("cache/*/*"))
        print(f"trained in {time.monotonic() - begun:.0f} s; the cache has {cached / 1e9:.2f} GB")
        print(f"RssAnon: {before / 1e6:.0f} MB before, {watch.peak / 1e6:.0f} MB at the peak")
    finally:
        shutil.rmtree(folder)
    return int(watch.peak > options.limit_gb * 1e9)


if __name__ == "__main__":
    sys.exit(main())
