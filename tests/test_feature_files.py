"""Feature sequences in files: every form gives the vectors that were written; what is wrong is told."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_fast.feature_files import FeatureFiles, FeatureSequences
from seq2seq_fast.manifest import parse_manifest, read_manifest

pytestmark = pytest.mark.cpu_only("no kernel runs here")

RNG = np.random.default_rng(5)
ARRAYS = [RNG.normal(size=(n, 3)).astype(np.float32) for n in (4, 1, 7)]


def flat(path: Path, **changes: Any) -> Path:
    """An archive of ARRAYS one after another, some members changed, those that are None left out."""
    members: dict[str, Any] = {"features": np.concatenate(ARRAYS), "lengths": [4, 1, 7], **changes}
    np.savez(path, **{name: value for name, value in members.items() if value is not None})
    return path


def sequences(folder: Path, *references: str, **options: Any) -> FeatureSequences:
    return parse_manifest("m", references, folder, texts=False, **options).sequences


def expect_arrays(found: FeatureSequences, arrays: list[np.ndarray] = ARRAYS) -> None:
    assert len(found) == len(arrays)
    assert found.width == 3
    assert found.lengths.tolist() == [len(x) for x in arrays]
    for i, x in enumerate(arrays):
        assert found[i].dtype == np.float32
        assert found[i].flags.c_contiguous
        np.testing.assert_array_equal(found[i], x.astype(np.float32))


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", ">f4"])
def test_an_archive_of_sequences_one_after_another(tmp_path: Path, dtype: str, in_memory: bool) -> None:
    flat(tmp_path / "x.npz", features=np.concatenate(ARRAYS).astype(dtype))
    found = sequences(tmp_path, "x.npz#0", "x.npz#1", "x.npz#2", in_memory=in_memory)
    expect_arrays(found, [x.astype(dtype) for x in ARRAYS])


def test_an_archive_with_keys(tmp_path: Path) -> None:
    flat(tmp_path / "x.npz", keys=["a#1", "b", "ç.npy#2"])
    expect_arrays(sequences(tmp_path, "x.npz#a#1", "x.npz#b", "x.npz#ç.npy#2"))


@pytest.mark.parametrize("scale", [np.float32(0.25), np.array([0.25, 2.0, 1e-3], np.float32)])
def test_bytes_with_a_scale(tmp_path: Path, scale: Any) -> None:
    q = RNG.integers(-128, 128, (12, 3)).astype(np.int8)
    flat(tmp_path / "x.npz", features=q, scale=scale)
    found = sequences(tmp_path, "x.npz#2", "x.npz#0")
    np.testing.assert_array_equal(found[0], q[5:].astype(np.float32) * scale)
    np.testing.assert_array_equal(found[1], q[:4].astype(np.float32) * scale)


@pytest.mark.parametrize("in_memory", [False, True])
def test_an_archive_with_an_array_for_each_sequence(tmp_path: Path, in_memory: bool) -> None:
    np.savez(tmp_path / "x.npz", **dict(zip(("a", "b/c", "0"), ARRAYS, strict=True)))
    expect_arrays(sequences(tmp_path, "x.npz#a", "x.npz#b/c", "x.npz#0", in_memory=in_memory))


@pytest.mark.parametrize("order", ["C", "F"])
def test_files_of_one_sequence(tmp_path: Path, order: Any) -> None:
    (tmp_path / "sub").mkdir()
    for i, x in enumerate(ARRAYS):
        np.save(tmp_path / "sub" / f"{i}.npy", np.asarray(x, order=order))
    expect_arrays(sequences(tmp_path, *(f"sub/{i}.npy" for i in range(3))))


@pytest.mark.parametrize("order", ["C", "F"])
def test_sequences_of_one_length_in_one_file(tmp_path: Path, order: Any) -> None:
    x = RNG.normal(size=(5, 2, 3)).astype(np.float16)
    np.save(tmp_path / "x.npy", np.asarray(x, order=order))
    expect_arrays(sequences(tmp_path, "x.npy#4", "x.npy#0"), [x[4], x[0]])


def test_what_is_mapped_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    flat(tmp_path / "x.npz")
    found = sequences(tmp_path, "x.npz#0")
    base: Any = found._files[1].read(0)  # type: ignore[attr-defined]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_thousands_of_files_of_one_sequence_need_no_open_files(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", ARRAYS[0])
    for i in range(1, 2000):
        os.link(tmp_path / "0.npy", tmp_path / f"{i}.npy")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    found = sequences(tmp_path, *(f"{i}.npy" for i in range(2000)))
    assert found[1999].shape == (4, 3)
    if before:
        assert len(os.listdir("/proc/self/fd")) < before + 20


def test_sequences_of_arrays() -> None:
    expect_arrays(FeatureSequences.of_arrays(ARRAYS))
    with pytest.raises(ValueError, match=r"second: expected features of shape \[T, 3\], got \[2, 4\]"):
        FeatureSequences.of_arrays([ARRAYS[0], np.zeros((2, 4), np.float32)], ["first", "second"])
    with pytest.raises(TypeError, match="expected features of float32, float16 or float64, got int64"):
        FeatureSequences.of_arrays([np.zeros((2, 4), np.int64)])
    with pytest.raises(IndexError):
        FeatureSequences.of_arrays(ARRAYS)[3]


# ---- what is wrong


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [4, 1, 6]}, "lengths: expected a sum of 12, the number of feature vectors, got 11"),
        ({"lengths": [4, 1, 8]}, "lengths: expected a sum of 12"),
        ({"lengths": [4, 9, -1]}, "lengths: expected lengths from 0 to 12"),
        ({"lengths": [2**63 - 1, 4]}, "lengths: expected lengths from 0 to 12"),
        ({"lengths": np.array([12], np.float32)}, r"lengths: expected integers of shape \[N\], got float32"),
        ({"lengths": [[12]]}, r"lengths: expected integers of shape \[N\], got int64 \[1, 1\]"),
        ({"features": np.zeros(12, np.float32)}, r"features: expected shape \[sum T, C\], got \[12\]"),
        (
            {"features": np.zeros((12, 3), np.int32)},
            "features: expected float32, float16 or float64, got int32",
        ),
        ({"features": np.zeros((12, 3), np.int8)}, "int8 features need a member 'scale', there is none"),
        ({"features": np.zeros((12, 3), complex)}, "expected float32, float16 or float64, got complex128"),
        ({"scale": np.float32(1)}, "scale: expected int8 features where there is one, got float32"),
        (
            {"features": np.zeros((12, 3), np.int8), "scale": np.ones(2, np.float32)},
            r"scale: expected one number or \[3\], got \[2\]",
        ),
        ({"keys": ["a", "b"]}, r"keys: expected 3 texts, as many as lengths, got <U1 \[2\]"),
        ({"keys": [1, 2, 3]}, "keys: expected 3 texts"),
        ({"keys": ["a", "b", "a"]}, "keys: expected each of them once"),
        ({"lengths": None}, "there is no array '0' in the archive"),
        ({"features": np.array([{}, 1], object)}, "features: it holds pickled objects, which are not read"),
    ],
)
def test_an_archive_that_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    flat(tmp_path / "x.npz", **changes)
    with pytest.raises(ValueError, match=message) as error:
        sequences(tmp_path, "x.npz#0")
    assert str(error.value).startswith("m, line 1: ")
    assert "x.npz" in str(error.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("x.npz#3", "expected the number of a sequence, from 0 to 2, got '3'"),
        ("x.npz#-1", "expected the number of a sequence, from 0 to 2, got '-1'"),
        ("x.npz#²", "expected the number of a sequence"),
        ("x.npz#" + "9" * 5000, "expected the number of a sequence"),
        ("x.npz", "expected the name of a sequence in the archive, x.npz#NAME, got none"),
        ("x.wav", "expected FILE.npy, FILE.npz#NAME or the like, got 'x.wav': a line of a manifest"),
        ("stack.npy#2", "expected the number of a sequence, from 0 to 1, got '2'"),
        ("flat.npy#0", r"expected an array of shape \[N, T, C\], got \[4, 3\]"),
        ("stack.npy", r"expected features of shape \[T, C\], got \[2, 4, 3\]"),
        ("empty.npy", "expected at least one feature vector, got none"),
        ("named.npz#none", "there is no array 'none' in the archive"),
        ("named.npz#text", "expected float32, float16 or float64, got <U2"),
        ("keyed.npz#d", "there is no sequence 'd' among its 3 keys"),
        ("directory.npy", "directory"),
    ],
)
def test_a_reference_that_is_wrong(tmp_path: Path, reference: str, message: str) -> None:
    flat(tmp_path / "x.npz")
    flat(tmp_path / "keyed.npz", keys=["a", "b", "c"])
    np.savez(tmp_path / "named.npz", a=ARRAYS[0], text=np.array(["ab"]))
    np.save(tmp_path / "stack.npy", np.zeros((2, 4, 3), np.float32))
    np.save(tmp_path / "flat.npy", ARRAYS[0])
    np.save(tmp_path / "empty.npy", np.zeros((0, 3), np.float32))
    (tmp_path / "directory.npy").mkdir()
    with pytest.raises((ValueError, OSError), match=message):
        sequences(tmp_path, reference)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for reference in ("none.npy", "none.npy#0", "none.npz#0"):
        with pytest.raises(FileNotFoundError, match=r"m, line 1.*none"):
            sequences(tmp_path, reference)


def test_sequences_of_different_widths(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=ARRAYS[0], b=np.zeros((2, 4), np.float32))
    with pytest.raises(
        ValueError, match=r"m, line 2: .*b: expected features of shape \[T, 3\], got \[2, 4\]"
    ):
        sequences(tmp_path, "x.npz#a", "x.npz#b")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_told_when_they_are_read(tmp_path: Path, value: float) -> None:
    x = np.concatenate(ARRAYS).astype(np.float64)
    x[6, 2] = value
    flat(tmp_path / "x.npz", features=x)
    found = sequences(tmp_path, "x.npz#1", "x.npz#2")
    assert np.isfinite(found[0]).all()
    with pytest.raises(ValueError, match=r"x.npz#2: expected finite features, got .* at \[1, 2\]"):
        found[1]


def test_a_compressed_archive_is_refused_or_read_into_memory(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", features=np.concatenate(ARRAYS), lengths=[4, 1, 7])
    with pytest.raises(ValueError, match=r"it is compressed.*numpy.savez.*features_in_memory"):
        sequences(tmp_path, "x.npz#0")
    expect_arrays(sequences(tmp_path, "x.npz#0", "x.npz#1", "x.npz#2", in_memory=True))


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("kind", ["flat", "compressed", "npy", "stack"])
def test_a_truncated_file(tmp_path: Path, kind: str, in_memory: bool) -> None:
    """Cut anywhere, a file is refused with a sentence, or, at the very end of a zip's comment, read."""
    if kind == "npy":
        np.save(tmp_path / "x.npy", ARRAYS[2])
    elif kind == "stack":
        np.save(tmp_path / "x.npy", np.zeros((2, 4, 3), np.float32))
    else:
        save = np.savez if kind == "flat" else np.savez_compressed
        save(tmp_path / "x.npz", features=np.concatenate(ARRAYS), lengths=[4, 1, 7])
    (path,) = tmp_path.iterdir()
    reference = {"npy": "x.npy", "stack": "x.npy#0"}.get(kind, "x.npz#0")
    content = path.read_bytes()
    for size in (*range(0, len(content), 7), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"m, line 1: .*x\.np"):
            sequences(tmp_path, reference, in_memory=in_memory)


@pytest.mark.parametrize("in_memory", [False, True])
def test_random_damage_ends_in_a_sentence_or_in_finite_numbers(tmp_path: Path, in_memory: bool) -> None:
    path = flat(tmp_path / "x.npz", keys=["a", "b", "c"])
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert np.isfinite(sequences(tmp_path, "x.npz#a", in_memory=in_memory)[0]).all()
        except ValueError:
            refused += 1
    assert refused > 30


def npy(header: bytes, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 3), }"),
            "the file is not whole",
        ),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }"), "not an array"),
        (npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 3), }", b"x" * 24), "pickled objects"),
        (npy(b"{'descr': '|V0', 'fortran_order': False, 'shape': (9, 3), }"), "not an array"),
        (npy(b"__import__('os').abort()"), "not an array in numpy's format"),
        (npy(b"(" * 60000), "not an array in numpy's format"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 100, "not an array in numpy's format"),
        (pickle.dumps(ARRAYS), "not an array in numpy's format"),
        (b"", "not an array in numpy's format"),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        sequences(tmp_path, "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("features.npy", content)
        archive.writestr("lengths.npy", content)
    for in_memory in (False, True):
        with pytest.raises(ValueError, match=message):
            sequences(tmp_path, "x.npz#0", in_memory=in_memory)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_archive_with_two_arrays_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for _ in range(2):
            stream = io.BytesIO()
            np.save(stream, ARRAYS[0])
            archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(ValueError, match="two arrays of the archive have the same name"):
        sequences(tmp_path, "x.npz#a")


def test_a_file_that_is_changed_while_it_is_in_use(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ARRAYS[0])
    found = sequences(tmp_path, "x.npy")
    np.save(tmp_path / "x.npy", ARRAYS[2])
    with pytest.raises(ValueError, match=r"x.npy: the file was changed while it was in use"):
        found[0]


# ---- manifests


def test_a_manifest(tmp_path: Path) -> None:
    flat(tmp_path / "x.npz")
    text = "x.npz#1\tone\tuno\r\n\nx.npz#0\tzero\nx.npz#1\teins\n"
    (tmp_path / "m.tsv.gz").write_bytes(gzip.compress(text.encode()))
    manifest = read_manifest(tmp_path / "m.tsv.gz")
    assert manifest.sequences.names == ["x.npz#1", "x.npz#0"]
    assert manifest.texts == [["one", "uno", "eins"], ["zero"]]
    assert manifest.groups is None
    expect_arrays(manifest.sequences, [ARRAYS[1], ARRAYS[0]])


@pytest.mark.parametrize("column", ["group", "speaker", "Series"])
def test_a_manifest_with_groups(tmp_path: Path, column: str) -> None:
    flat(tmp_path / "x.npz")
    lines = [f"#features\t{column}\ttext", "x.npz#1\tanna\tone", "x.npz#0\tberta\tzero\tnull"]
    manifest = parse_manifest("m", lines, tmp_path)
    assert manifest.groups == ["anna", "berta"]
    assert manifest.texts == [["one"], ["zero", "null"]]


def test_a_header_without_a_group(tmp_path: Path) -> None:
    flat(tmp_path / "x.npz")
    manifest = parse_manifest("m", ["#features\ttext", "x.npz#1\tanna\tone"], tmp_path)
    assert manifest.groups is None
    assert manifest.texts == [["anna", "one"]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "m: no line to read"),
        (["", "  "], "m: no line to read"),
        (["x.npz#0"], "m, line 1: expected features TAB text, got 1 columns"),
        (["#features\tgroup", "x.npz#0\tanna"], "m, line 2: expected features TAB group TAB text, got 2"),
        (
            ["#features\tgroup", "x.npz#0\tanna\ta", "x.npz#0\tberta\tb"],
            "m, line 3: x.npz#0 is of group 'berta' here, of 'anna' before",
        ),
        (["x.npz#0\ta", "", "x.npz#7\tb"], "m, line 3: .*from 0 to 2, got '7'"),
    ],
)
def test_a_manifest_that_is_wrong(tmp_path: Path, lines: list[str], message: str) -> None:
    flat(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=message):
        parse_manifest("m", lines, tmp_path)


def test_an_archive_is_opened_once(tmp_path: Path) -> None:
    flat(tmp_path / "x.npz")
    files = FeatureFiles(tmp_path)
    for i in (0, 2, 0):
        files.add(f"x.npz#{i}")
    assert len(files.finish()._files) == 2  # files of one sequence, and the archive
