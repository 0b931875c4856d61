"""Data sets that lie in files: the same pairs, the same batches, the same bits as those in memory."""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from fake_model import FakeModel
from seq2seq_fast import cache, corpus
from seq2seq_fast.batching import Batching
from seq2seq_fast.corpus import build_vocabularies, cached_tsv
from seq2seq_fast.data import Dataset, Sequences
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer, SpaceTokenizer
from seq2seq_fast.trainer import Trainer
from seq2seq_fast.tsv import count_tokens, read_lines, read_tsv
from seq2seq_fast.vocab import Vocabulary

pytestmark = pytest.mark.cpu_only("no kernel runs here")

Fields = tuple[TextField, TextField]


def write_pairs(path: Path, count: int = 300, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    words = ["".join(random.choice([*"abcdef"], random.integers(1, 9))) for _ in range(count)]
    path.write_text("".join(f"{word}\t{' '.join(word[::-1].upper())}\n" for word in words))
    return path


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "words.tsv")


@pytest.fixture
def fields(tsv: Path) -> Fields:
    source, target = CharTokenizer(), SpaceTokenizer()
    first, second = build_vocabularies(tsv, source, target)
    return TextField(source, first), TextField(target, second)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def assert_same(one: Dataset, other: Dataset) -> None:
    assert len(one) == len(other)
    assert one.dropped == other.dropped
    assert one.fingerprint() == other.fingerprint()
    rows = np.random.default_rng(0).permutation(len(one))
    for name in ("source", "source_lengths", "target", "target_lengths", "example_ids"):
        mine, theirs = getattr(one.batch(rows), name), getattr(other.batch(rows), name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


# ---- what is read


def test_the_same_pairs_as_in_memory(tsv: Path, fields: Fields, tmp_path: Path) -> None:
    limits: dict[str, Any] = {"max_source_length": 6, "min_target_length": 2, "max_examples": 150}
    memory = read_tsv(tsv, *fields, **limits)
    assert memory.dropped
    for _ in range(2):  # made, and found
        data = cached_tsv(tsv, *fields, tmp_path / "cache", **limits)
        assert_same(data, memory)
        assert data.on_disk
        assert data.source.values.dtype == data.target.values.dtype == np.uint16
        assert data.source[7].tolist() == memory.source[7].tolist()
        assert data.source[7].dtype == np.int32
        assert not data.source.values.flags.writeable
        assert len(entries(tmp_path / "cache")) == 1


def test_buffers_that_spill(
    tsv: Path, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "_BUFFER", 7)
    assert_same(cached_tsv(tsv, *fields, tmp_path / "cache"), read_tsv(tsv, *fields))


def test_a_fingerprint_is_computed_in_parts(rng: np.random.Generator) -> None:
    """Of more values than one part has; ids of 16 and 32 bits and offsets that are cut anywhere."""
    lengths = rng.integers(1, 4, 200_000)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    ids = rng.integers(0, 60_000, offsets[-1])
    wide, narrow = (Sequences(ids.astype(dtype), offsets) for dtype in (np.int32, np.uint16))
    import zlib

    assert narrow.checksum() == wide.checksum() == zlib.crc32(wide.values, zlib.crc32(offsets))
    assert np.array_equal(narrow.lengths, lengths)
    assert narrow.lengths.dtype == np.int32
    offsets[[150_000, 150_001]] = offsets[[150_001, 150_000]]
    with pytest.raises(ValueError, match="never falling"):
        Sequences(narrow.values, offsets)


def test_ids_that_need_more_than_16_bits(tmp_path: Path) -> None:
    words = [str(i) for i in range(70_000)]
    (tmp_path / "x.tsv").write_text("".join(f"{w}\t{w[0]}\n" for w in words))
    tokenizer = SpaceTokenizer()
    first, second = build_vocabularies(tmp_path / "x.tsv", tokenizer, tokenizer)
    fields = TextField(tokenizer, first), TextField(tokenizer, second)
    data = cached_tsv(tmp_path / "x.tsv", *fields, tmp_path / "cache")
    assert (data.source.values.dtype, data.target.values.dtype) == (np.int32, np.uint16)
    assert_same(data, read_tsv(tmp_path / "x.tsv", *fields))
    assert data.source.values.max() > 2**16


@pytest.mark.parametrize(("name", "compress"), [("a.gz", gzip.compress), ("a.xz", lzma.compress)])
def test_compressed_text(
    tsv: Path, fields: Fields, tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(compress(tsv.read_bytes()))
    assert_same(cached_tsv(path, *fields, tmp_path / "cache"), read_tsv(tsv, *fields))
    path.write_bytes(path.read_bytes()[:-30])
    kind = "gzip" if name == "a.gz" else "xz"
    with pytest.raises(ValueError, match=rf"{name}, after line \d+: not a whole {kind} file"):
        cached_tsv(path, *fields, tmp_path / "cache")
    assert len(entries(tmp_path / "cache")) == 1  # nothing is left of the failed one


def test_xz_that_is_no_xz(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xfd7zXZ\0" + b"no more" * 9)
    with pytest.raises(ValueError, match="after line 0: not a whole xz file"):
        list(read_lines(tmp_path / "x"))


def test_vocabularies_are_kept(tsv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"min_frequency": (1, 2), "max_size": (9, None)}
    both = CharTokenizer(), SpaceTokenizer()
    counts = count_tokens(tsv, *both)
    expected = Vocabulary.build(counts[0], max_size=9), Vocabulary.build(counts[1], min_frequency=2)
    assert build_vocabularies(tsv, *both, **options) == expected
    assert build_vocabularies(tsv, *both, **options, cache_dir=tmp_path / "cache") == expected
    monkeypatch.setattr(corpus, "count_tokens", None)
    assert build_vocabularies(tsv, *both, **options, cache_dir=tmp_path / "cache") == expected
    with pytest.raises(TypeError):  # of another size: they are not there
        build_vocabularies(tsv, *both, max_size=(8, None), cache_dir=tmp_path / "cache")


# ---- which entry


def test_what_changes_makes_another_entry(tsv: Path, fields: Fields, tmp_path: Path) -> None:
    root, (source, target) = tmp_path / "cache", fields
    upper = TextField(CharTokenizer(lowercase=True), source.vocabulary)
    fewer = TextField(source.tokenizer, Vocabulary(source.vocabulary.tokens[:-1]))
    ending = TextField(source.tokenizer, source.vocabulary, eos=True)
    for i, read in enumerate(
        [
            lambda: cached_tsv(tsv, source, target, root),
            lambda: cached_tsv(tsv, upper, target, root),
            lambda: cached_tsv(tsv, fewer, target, root),
            lambda: cached_tsv(tsv, ending, target, root),
            lambda: cached_tsv(tsv, source, target, root, max_target_length=3),
        ]
    ):
        assert_same(read(), read())
        assert len(entries(root)) == i + 1


def test_changed_data_are_read_anew(tsv: Path, fields: Fields, tmp_path: Path) -> None:
    before = cached_tsv(tsv, *fields, tmp_path / "cache")
    write_pairs(tsv, seed=1)
    after = cached_tsv(tsv, *fields, tmp_path / "cache")
    assert before.fingerprint() != after.fingerprint()
    assert_same(after, read_tsv(tsv, *fields))
    os.utime(tsv)
    copy = tsv.with_name("elsewhere")
    copy.mkdir()
    (copy / tsv.name).write_bytes(tsv.read_bytes())
    assert_same(cached_tsv(copy / tsv.name, *fields, tmp_path / "cache"), after)
    assert len(entries(tmp_path / "cache")) == 2  # a touched file, or a copy, is no other


def test_data_that_change_while_they_are_read(
    tsv: Path, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_ids(*arguments: Any, **options: Any) -> Any:
        yield from original(*arguments, **options)
        write_pairs(tsv, seed=1)

    original = corpus.read_ids
    monkeypatch.setattr(corpus, "read_ids", read_ids)
    with pytest.raises(ValueError, match=r"words.tsv was changed while it was read"):
        cached_tsv(tsv, *fields, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


# ---- what may happen to it


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("source.ids", truncate, r"expected source.ids of \d+ bytes, got \d+"),
        ("source.ids", alter, "source.ids is not what was written"),
        ("source.offsets", truncate, "expected source.offsets of"),
        ("target.ids", alter, "target.ids is not what was written"),
        ("target.offsets", alter, "target.offsets is not what was written"),
        ("target.offsets", Path.unlink, "target.offsets is missing"),
        ("manifest.json", truncate, "Expecting"),
        ("manifest.json", Path.unlink, "manifest.json is missing"),
    ],
)
def test_a_damaged_cache_is_refused(
    tsv: Path, fields: Fields, tmp_path: Path, file: str, damage: Callable[[Path], None], message: str
) -> None:
    root = tmp_path / "cache"
    cached_tsv(tsv, *fields, root)
    (folder,) = entries(root)
    damage(folder / file)
    said = rf"\[cache\] .*words.tsv-\w+ is damaged: .*{message}.*Delete the folder"
    with pytest.raises(ValueError, match=said):
        cached_tsv(tsv, *fields, root)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert_same(cached_tsv(tsv, *fields, root), read_tsv(tsv, *fields))


def test_another_manifest_is_refused(tsv: Path, fields: Fields, tmp_path: Path) -> None:
    cached_tsv(tsv, *fields, tmp_path / "cache")
    (folder,) = entries(tmp_path / "cache")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["key"]["data"] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest.json is not that of this entry"):
        cached_tsv(tsv, *fields, tmp_path / "cache")


def test_a_bad_line_leaves_nothing(tsv: Path, fields: Fields, tmp_path: Path) -> None:
    tsv.write_text(tsv.read_text() + "no tab\n")
    with pytest.raises(ValueError, match=r"words.tsv, line 301: expected source TAB target"):
        cached_tsv(tsv, *fields, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_full_disk_leaves_nothing(
    tsv: Path, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(cache, "_sync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        cached_tsv(tsv, *fields, tmp_path / "cache")
    assert raised.value.errno == errno.ENOSPC
    assert entries(tmp_path / "cache") == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_a_killed_process_leaves_no_entry(tsv: Path, fields: Fields, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    code = f"""if True:
        import os, pathlib
        from seq2seq_fast.cache import cached
        def make(folder):
            (folder / "x").write_bytes(b"half")
            os.kill(os.getpid(), 9)
        cached({str(root)!r}, "x", {{"of": 1}}, make)
    """
    path = os.pathsep.join(filter(None, sys.path))
    assert (
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}).returncode == -9
    )
    (left,) = entries(root)
    assert left.name.endswith(".tmp")

    def make(folder: Path) -> dict[str, Any]:
        (folder / "x").write_bytes(b"whole")
        return {"n": 1}

    folder, facts = cache.cached(root, "x", {"of": 1}, make)
    assert ((folder / "x").read_bytes(), facts) == (b"whole", {"n": 1})
    assert entries(root) == [folder]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_one_makes_it_and_others_wait(tmp_path: Path) -> None:
    made, results, begun, others = [], [], threading.Event(), threading.Event()

    def make(folder: Path) -> dict[str, Any]:
        made.append(folder)
        begun.set()
        assert others.wait(60)
        time.sleep(0.1)  # the others wait for the lock by now, or come later still
        (folder / "x").write_bytes(b"x")
        return {"number": len(made)}

    def run() -> None:
        results.append(cache.cached(tmp_path, "x", {"of": 1}, make)[1])

    threads = [threading.Thread(target=run) for _ in range(4)]
    threads[0].start()
    assert begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    others.set()
    for thread in threads:
        thread.join()
    assert results == [{"number": 1}] * 4


def test_without_locks_the_first_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network drive: somebody else makes the same entry meanwhile."""
    monkeypatch.setitem(sys.modules, "fcntl", None)

    def make(folder: Path) -> dict[str, Any]:
        (folder / "x").write_bytes(b"x")
        if not made:
            made.append(1)
            monkeypatch.setattr(os, "getpid", lambda: -1)
            cache.cached(tmp_path, "x", {"of": 1}, make)
        return {}

    made: list[int] = []
    folder, _ = cache.cached(tmp_path, "x", {"of": 1}, make)
    assert entries(tmp_path) == [folder]
    assert cache.cached(tmp_path, "x", {"of": 1}, make) == (folder, {})


# ---- training from it


def test_batches_hold_four_bytes_an_example(rng: np.random.Generator) -> None:
    lengths = rng.integers(1, 60, (2, 50_000)).astype(np.int32)
    batches = Batching(1000).epoch(*lengths, 0)
    held = [v for v in vars(batches).values() if isinstance(v, np.ndarray)]
    assert sum(v.nbytes for v in held) <= 4 * 50_000 + 16 * (len(batches) + 1)
    assert batches[-1].tolist() == batches[len(batches) - 1].tolist()
    assert [b.tolist() for b in batches[2:4]] == [batches[2].tolist(), batches[3].tolist()]
    assert batches[0].dtype == np.int64
    with pytest.raises(IndexError):
        batches[len(batches)]


def fake_corpus(tmp_path: Path) -> tuple[Dataset, Dataset]:
    """The same pairs in memory and on disk, with ids that `FakeModel` takes."""
    tokens = Vocabulary([*"abcdefg", "<pad>", "<s>", "</s>", "<unk>"])
    marks = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", "A", "B", "C"])
    fields = TextField(CharTokenizer(), tokens), TextField(SpaceTokenizer(), marks)
    path = write_pairs(tmp_path / "train.tsv", 120)
    return read_tsv(path, *fields), cached_tsv(path, *fields, tmp_path / "cache")


def test_training_has_the_same_bits_and_is_taken_up_with_either(tmp_path: Path) -> None:
    memory, disk = fake_corpus(tmp_path)

    def train(data: Dataset, out: str, steps: int) -> list[int]:
        model = FakeModel()
        trainer = Trainer(model, out=tmp_path / out, batch_size=40, max_steps=steps, progress=False)
        trainer.fit(data, resume=True)
        return bits(model.flat_parameters)

    whole = train(memory, "memory", 100)
    assert train(disk, "disk", 100) == whole
    train(disk, "both", 41)
    train(memory, "both", 64)
    assert train(disk, "both", 100) == whole


def test_the_next_batch_is_prepared_in_another_thread(tmp_path: Path) -> None:
    memory, disk = fake_corpus(tmp_path)
    for data, ahead in ((memory, False), (disk, True)):
        where: list[tuple[int, bool]] = []
        original = data.batch

        def batch(rows: Any, original: Any = original, where: Any = where) -> Any:
            where.append((int(rows[0]), threading.current_thread() is threading.main_thread()))
            return original(rows)

        data.batch = batch  # type: ignore[method-assign]
        Trainer(FakeModel(), batch_size=40, max_epochs=1, progress=False).fit(data)
        assert len({example for example, _ in where}) == len(where) > 10  # each batch is made once
        assert [here for _, here in where] == [True] + [not ahead] * (len(where) - 1)
