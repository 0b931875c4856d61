"""What a corpus in a cache leaves in memory, measured: the benchmark's figure, at a size for CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="The benchmarks are not beside the tests.")
pytest.importorskip("typer", reason="The benchmark trains by the command line.")

from benchmarks import corpus

pytestmark = [
    pytest.mark.cpu_only("no kernel runs here"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]

PAIRS = 40_000

MEASURE = """
import sys
from pathlib import Path

from benchmarks.corpus import Watch, anonymous_bytes
from seq2seq_fast.batching import Batching
from seq2seq_fast.corpus import build_vocabularies, cached_tsv
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.tsv import read_tsv

folder = Path(sys.argv[1])
both = SpaceTokenizer(), SpaceTokenizer()
words = build_vocabularies(folder / "train.tsv", *both)
fields = [TextField(*pair) for pair in zip(both, words)]
before = anonymous_bytes()
with Watch() as watch:
    if sys.argv[2] == "cache":
        data = cached_tsv(folder / "train.tsv", *fields, folder / "cache")
    else:
        data = read_tsv(folder / "train.tsv", *fields)
    for examples in Batching().epoch(data.source_lengths, data.target_lengths, 0)[:100]:
        data.batch(examples)
print(watch.peak - before, len(data.source.values) + len(data.target.values))
"""


def growth(folder: Path, how: str) -> tuple[int, int]:
    """RssAnon that a data set adds at most, and its tokens, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", MEASURE, str(folder), how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    grown, tokens = done.stdout.split()
    return int(grown), int(tokens)


def test_ids_do_not_stay_in_memory(tmp_path: Path) -> None:
    corpus.write_corpus(tmp_path / "train.tsv", PAIRS)
    in_memory, tokens = growth(tmp_path, "memory")
    assert tokens > 50 * PAIRS
    assert in_memory > 4 * tokens
    made, found = growth(tmp_path, "cache")[0], growth(tmp_path, "cache")[0]
    # Buffers and the interpreter's own take a few megabytes, whatever the size; the ids alone would be more.
    assert made < 2 * tokens
    assert found < 2 * tokens


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--pairs", "200", "--steps", "2"]
    assert corpus.main(small) == 0
    assert "200 pairs" in capsys.readouterr().out
    assert corpus.main([*small, "--limit_gb", "0.001"]) == 1
