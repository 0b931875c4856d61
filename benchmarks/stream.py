"""A corpus that never ends up in memory: `python -m benchmarks.stream [--lines 1000000]`.

`Translator.translate_iterable` over so many short lines from a generator; the memory of the process is
watched and every result is compared with the one computed alone. Exit code 1: a result was wrong or in
another's place, or the memory grew. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq_fast import Translator

from .soak import memory_grew, model_folder, resident_bytes

LONGEST = 6  # tokens of a line, at most
DISTINCT = 997
EVERY = 1000  # lines, between two looks at the memory
OPTIONS: dict[str, Any] = {"beam_size": 2, "max_decoding_length": 8, "return_scores": True}


def run(translator: Translator, lines: int) -> bool:
    """Return whether all was well."""
    rng = np.random.default_rng(0)
    vocabulary = translator.config.source_vocab_size
    sources = [rng.integers(4, vocabulary, length) for length in rng.integers(1, LONGEST + 1, DISTINCT)]
    alone = [translator.translate_batch([source], **OPTIONS)[0] for source in sources]
    expected = [(result.ids, result.scores) for result in alone]

    def endless() -> Iterator[np.ndarray]:
        for i in range(lines):
            yield sources[i % DISTINCT]

    memory: list[tuple[float, int]] = []
    started = time.monotonic()
    count = 0
    for result in translator.translate_iterable(endless(), **OPTIONS):
        if (result.ids, result.scores) != expected[count % DISTINCT]:
            print(f"line {count}: not the result computed alone")
            return False
        count += 1
        if count % EVERY == 0:
            memory.append((count / lines, resident_bytes()))
    seconds = time.monotonic() - started
    print(f"{count} lines in {seconds:.0f} s: {count / seconds:.0f} lines a second")
    return count == lines and not memory_grew(memory)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--vocabulary", type=int, default=80, help="of the random model")
    parser.add_argument("--hidden", type=int, default=32, help="of the random model")
    parser.add_argument("--inter_threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model_folder(Path(folder), arguments.vocabulary, arguments.hidden)
        translator = Translator(folder, inter_threads=arguments.inter_threads)
    sys.exit(0 if run(translator, arguments.lines) else 1)


if __name__ == "__main__":
    main()
