from __future__ import annotations

import gzip
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq_fast.batching import Batching
from seq2seq_fast.data import Dataset, Sequences
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer, SpaceTokenizer
from seq2seq_fast.tsv import count_tokens, read_lines, read_references, read_tsv
from seq2seq_fast.vocab import SpecialTokens, Vocabulary

pytestmark = pytest.mark.cpu_only("no kernel runs here")

EOS = 2
WORDS = "CAT\tK AE T\nAT\tAE T\n\nACT\tAE K T\n"


@pytest.fixture
def fields(tmp_path: Path) -> tuple[TextField, TextField]:
    path = tmp_path / "words.tsv"
    path.write_text(WORDS)
    source, target = CharTokenizer(lowercase=True), SpaceTokenizer()
    source_counts, target_counts = count_tokens(path, source, target)
    return TextField(source, Vocabulary.build(source_counts)), TextField(
        target, Vocabulary.build(target_counts)
    )


# ---- sequences and data sets


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1), st.randoms(use_true_random=False))
def test_taking_sequences_out_of_flat_arrays(rows: list[list[int]], random: Any) -> None:
    offsets = np.cumsum([0] + [len(row) for row in rows]).astype(np.int64)
    sequences = Sequences(np.array([*chain(*rows)], np.int32), offsets)
    picked = [random.randrange(len(rows)) for _ in range(4)]
    values, lengths = sequences.take(np.array(picked))
    assert values.tolist() == [*chain(*(rows[i] for i in picked))]
    assert lengths.tolist() == [len(rows[i]) for i in picked]
    assert (lengths.dtype, values.dtype) == (np.int32, np.int32)
    assert [sequences[i].tolist() for i in range(len(sequences))] == rows


def test_taking_no_sequence() -> None:
    values, lengths = Sequences(np.arange(3, dtype=np.int32), np.array([0, 3])).take(np.zeros(0, np.int64))
    assert len(values) == len(lengths) == 0


def test_a_batch_of_tokens() -> None:
    data = Dataset.from_sequences([[5, 6], [7], [8, 9, 4]], [[3], [], [4, 5]], eos_id=EOS)
    batch = data.batch([2, 0])
    assert batch.source.tolist() == [8, 9, 4, 5, 6]
    assert batch.source_lengths.tolist() == [3, 2]
    assert batch.target.tolist() == [4, 5, EOS, 3, EOS]
    assert batch.target_lengths.tolist() == [3, 2]
    assert batch.example_ids.tolist() == [2, 0]
    assert [x.dtype for x in (batch.source, batch.source_lengths, batch.target, batch.target_lengths)] == [
        np.int32
    ] * 4
    assert batch.example_ids.dtype == np.int64
    assert len(batch) == 2
    assert len(data) == 3


def test_a_batch_of_feature_vectors(rng: np.random.Generator) -> None:
    features = [rng.normal(size=(length, 3)) for length in (4, 1, 2)]
    data = Dataset.from_sequences(features, [[5]] * 3, eos_id=EOS)
    batch = data.batch([2, 0])
    assert batch.source.dtype == np.float32
    assert np.array_equal(batch.source, np.concatenate([features[2], features[0]]).astype(np.float32))
    assert batch.source_lengths.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("sources", "targets", "error", "message"),
    [
        ([[1], []], [[1], [1]], ValueError, "no empty source, example 1 is empty"),
        ([[1]], [[1], [1]], ValueError, "as many targets as sources, 1, got 2"),
        ([[-1]], [[1]], ValueError, "source of example 0 to be ids of 0 or more"),
        ([[1]], [[2**31]], ValueError, "target of example 0 to be ids"),
        ([[1]], [[0.5]], TypeError, "target of example 0 to be integers, got float64"),
        ([[[1]]], [[1]], ValueError, r"source of example 0 of shape \[length\], got \[1, 1\]"),
        (
            [np.zeros((2, 3)), np.zeros((2, 4))],
            [[1], [1]],
            ValueError,
            r"example 1 of shape \[length, 3\], got \[2, 4\]",
        ),
        ([np.zeros(3)], [[1]], ValueError, r"example 0 of shape \[length, features\], got \[3\]"),
        ([np.zeros((2, 0))], [[1]], ValueError, r"example 0 of shape \[length, features\], got \[2, 0\]"),
        ([np.zeros((0, 3))], [[1]], ValueError, "no empty source"),
        ([np.zeros((1, 3)), [1]], [[1], [1]], TypeError, "example 1 to be floating point, got int"),
        ([np.full((1, 3), np.nan)], [[1]], ValueError, "example 0 to be finite"),
        ([["a"]], [[1]], TypeError, "source of example 0 to be integers"),
    ],
)
def test_bad_sequences(sources: Any, targets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Dataset.from_sequences(sources, targets, eos_id=EOS)


@pytest.mark.parametrize("examples", [[3], [-1], [[0]], 0])
def test_bad_examples(examples: Any) -> None:
    data = Dataset.from_sequences([[1]] * 3, [[1]] * 3, eos_id=EOS)
    with pytest.raises(ValueError, match="examples from 0 to 2"):
        data.batch(examples)


@pytest.mark.parametrize(
    ("values", "offsets", "error"),
    [
        (np.zeros(3, np.int64), np.array([0, 3]), TypeError),
        (np.zeros((3, 1), np.int32), np.array([0, 3]), TypeError),
        (np.zeros(3, np.float32), np.array([0, 3]), TypeError),
        (np.zeros(3, np.int32), np.array([0, 3], np.int32), TypeError),
        (np.zeros(3, np.int32), np.array([0, 2]), ValueError),
        (np.zeros(3, np.int32), np.array([0, 4, 3]), ValueError),
        (np.zeros(3, np.int32), np.array([1, 3]), ValueError),
        (np.zeros(0, np.int32), np.zeros(0, np.int64), ValueError),
    ],
)
def test_bad_flat_arrays(values: Any, offsets: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\[sequences\]"):
        Sequences(values, offsets)


def test_targets_are_no_feature_vectors() -> None:
    features = Sequences(np.zeros((2, 3), np.float32), np.array([0, 2]))
    with pytest.raises(TypeError, match="target to be token ids"):
        Dataset(features, features)


def test_fingerprint() -> None:
    one = Dataset.from_sequences([[1, 2], [3]], [[1], [1]], eos_id=EOS)
    same = Dataset.from_sequences([[1, 2], [3]], [[1], [1]], eos_id=EOS)
    cut_elsewhere = Dataset.from_sequences([[1], [2, 3]], [[1], [1]], eos_id=EOS)
    assert one.fingerprint() == same.fingerprint() != cut_elsewhere.fingerprint()


# ---- text files


def test_reading_pairs(tmp_path: Path, fields: tuple[TextField, TextField]) -> None:
    source, target = fields
    data = read_tsv(tmp_path / "words.tsv", source, target)
    assert [source.decode(data.source[i]) for i in range(3)] == ["cat", "at", "act"]
    assert [target.decode(data.target[i]) for i in range(3)] == ["K AE T", "AE T", "AE K T"]
    assert all(data.target[i][-1] == EOS and EOS not in data.target[i][:-1] for i in range(3))
    assert EOS not in data.source.values


def test_source_eos_is_a_setting(tmp_path: Path, fields: tuple[TextField, TextField]) -> None:
    source = TextField(fields[0].tokenizer, fields[0].vocabulary, eos=True)
    target = TextField(fields[1].tokenizer, fields[1].vocabulary, eos=True)
    data = read_tsv(tmp_path / "words.tsv", source, target)
    assert [data.source[i][-1] for i in range(3)] == [EOS] * 3
    assert [data.target[i].tolist().count(EOS) for i in range(3)] == [1] * 3


def test_gzip_and_windows_files_read_the_same(tmp_path: Path, fields: tuple[TextField, TextField]) -> None:
    plain = read_tsv(tmp_path / "words.tsv", *fields)
    (tmp_path / "words.gz").write_bytes(gzip.compress(WORDS.encode(), mtime=0))
    (tmp_path / "windows.tsv").write_bytes(b"\xef\xbb\xbf" + WORDS.replace("\n", "\r\n").encode())
    (tmp_path / "open_end.tsv").write_bytes(WORDS.rstrip().encode())
    for name in ("words.gz", "windows.tsv", "open_end.tsv"):
        assert read_tsv(tmp_path / name, *fields).fingerprint() == plain.fingerprint()


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a\u2028b\x0bc\x1cd\ne", newline="")
    assert list(read_lines(tmp_path / "x")) == ["a\u2028b\x0bc\x1cd", "e"]


def test_limits_drop_and_count(tmp_path: Path, fields: tuple[TextField, TextField]) -> None:
    path = tmp_path / "long.tsv"
    path.write_text("cat\tK AE T\n\tAE\nat\t\naaaa\tAE\na\tT T T T\nact\tT\tignored\n")
    data = read_tsv(path, *fields, max_source_length=3, max_target_length=3)
    assert len(data) == 2
    assert data.dropped == {
        "empty source": 1,
        "target too short": 1,
        "source too long": 1,
        "target too long": 1,
        "columns after the second": 1,
    }
    assert len(read_tsv(path, *fields, min_target_length=0)) == 5
    assert len(read_tsv(path, *fields, max_examples=1)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.tsv: no pair to read"),
        (b"\n \n", "bad.tsv: no pair to read"),
        (b"\tT\n", r"bad.tsv: no pair to read \(1 empty source\)"),
        (b"cat\tT\nno tab\n", "bad.tsv, line 2: expected source TAB target, got no TAB"),
        (b"cat\tT\n\nca\xff\tT\n", "bad.tsv, line 3: not UTF-8"),
        (gzip.compress(WORDS.encode(), mtime=0)[:-9], "bad.tsv, after line .*: not a whole gzip file"),
        (
            gzip.compress(WORDS.encode(), mtime=0)[:15] + b"\0" * 30,
            "bad.tsv, after line 0: not a whole gzip file",
        ),
    ],
)
def test_bad_files(tmp_path: Path, fields: tuple[TextField, TextField], content: bytes, message: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_tsv(path, *fields)


def test_missing_file(tmp_path: Path, fields: tuple[TextField, TextField]) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_tsv(tmp_path / "nowhere", *fields)


def test_unknown_tokens_without_unk_name_the_line(
    tmp_path: Path, fields: tuple[TextField, TextField]
) -> None:
    closed = TextField(
        SpaceTokenizer(), Vocabulary(["</s>", "K", "AE"], specials=SpecialTokens(None, None, "</s>", None))
    )
    with pytest.raises(ValueError, match=r"words.tsv, line 1: .*'T' is not in the vocabulary"):
        read_tsv(tmp_path / "words.tsv", fields[0], closed)


def test_target_needs_an_end_token(tmp_path: Path, fields: tuple[TextField, TextField]) -> None:
    endless = TextField(CharTokenizer(), Vocabulary(["a"], specials=SpecialTokens(None, None, None, None)))
    with pytest.raises(ValueError, match="a target vocabulary with an eos token"):
        read_tsv(tmp_path / "words.tsv", fields[0], endless)


def test_references_of_one_source_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("A\tAH\tEY\nB\tB IY\nA\tEY\tAA\n")
    assert read_references(path) == (["A", "B"], [["AH", "EY", "AA"], ["B IY"]])
    sources, references = read_references(path, every_line=True)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert sources == [line[0] for line in lines] and len(sources) > 2
    assert references == [list(dict.fromkeys(line[1:])) for line in lines]


# ---- batches

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=60)


@given(
    LENGTHS,
    st.integers(1, 40),
    st.sampled_from(["tokens", "examples"]),
    st.integers(1, 70),
    st.integers(0, 2**64 - 1),
)
def test_an_epoch_is_every_example_once(
    lengths: list[tuple[int, int]], size: int, batch_type: str, bucket_size: int, seed: int
) -> None:
    source, target = np.array(lengths, np.int64).T
    batching = Batching(size, batch_type, bucket_size, seed)
    for batches in (batching.epoch(source, target, 3), batching.in_order_of_length(source, target)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for batch in batches:
            count = len(batch) if batch_type == "examples" else max(source[batch].sum(), target[batch].sum())
            assert count <= size or len(batch) == 1


def test_batches_are_as_full_as_they_can_be() -> None:
    lengths = np.full(100, 7, np.int64)
    assert [len(batch) for batch in Batching(30, "tokens").in_order_of_length(lengths, lengths // 7)] == [
        4
    ] * 25


def test_order_depends_on_seed_and_epoch_alone(rng: np.random.Generator) -> None:
    source, target = rng.integers(1, 20, (2, 500))

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in Batching(64, seed=seed).epoch(source, target, epoch)]

    assert order(1, 0) == order(1, 0)
    assert len({str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_order_is_the_same_in_every_version() -> None:
    """A run may be resumed after an upgrade of numpy: the order of the data must not change."""
    lengths = np.array([3, 1, 2, 5, 4, 2, 1, 3], np.int64)
    batches = Batching(2, "examples", bucket_size=4, seed=5).epoch(lengths, lengths, 2)
    assert [batch.tolist() for batch in batches] == [[0, 4], [7, 3], [1, 6], [5, 2]]


def test_a_bucket_is_sorted_by_length(rng: np.random.Generator) -> None:
    source, target = rng.integers(1, 50, (2, 1000))
    spread = [np.ptp(target[batch]) for batch in Batching(10, "examples").epoch(source, target, 0)]
    assert max(spread) <= 2
    loose = [
        np.ptp(target[batch]) for batch in Batching(10, "examples", bucket_size=10).epoch(source, target, 0)
    ]
    assert np.mean(loose) > 20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size of at least 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size as an integer, got float"),
        ({"batch_size": True}, TypeError, "batch_size as an integer"),
        ({"bucket_size": 0}, ValueError, "bucket_size of at least 1"),
        ({"batch_type": "sents"}, ValueError, "batch_type to be one of .*'sents'"),
        ({"seed": -1}, ValueError, "seed of at least 0"),
        ({"seed": 2**64}, ValueError, "seed from 0"),
    ],
)
def test_bad_batching(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Batching(**arguments)
