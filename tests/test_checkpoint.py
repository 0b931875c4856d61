from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from seq2seq_fast import atomic
from seq2seq_fast.atomic import atomic_write, write_bytes
from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder, average_checkpoints
from seq2seq_fast.tensor_file import TensorFile, TensorSpec, write_tensors

LAYOUT = [("weight", (2, 3), 0, True), ("bias", (2,), 16, False)]


def checkpoint(value: float = 1.0, size: int = 32) -> Checkpoint:
    return Checkpoint(
        parameters=np.full(size, value, np.float32),
        optimizer={"step": np.array(3, np.int64), "exp_avg": np.arange(size, dtype=np.float32)},
        layout=LAYOUT,
        state={"step": 7, "loss": 0.1 + 0.2, "best": None},
        settings={"fixed": {"seed": 2**63}, "free": {}},
        instruction_set="avx2",
    )


# ---- files that are whole or not there


def test_atomic_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one", b"two"):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(type(error)) as raised:
        write_half()
    assert not isinstance(error, OSError) or str(path) in str(raised.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(atomic.os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(atomic.os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_bytes(tmp_path / "file", b"content")
    assert order == ["fsync", "replace", "fsync"]  # the file, its name, the folder


# ---- safetensors


def test_our_files_are_those_of_the_safetensors_library(tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors.numpy import save

    tensors = {
        "b": rng.normal(size=(3, 5)).astype(np.float32),
        "a": np.arange(3, dtype=np.uint8),
        "scalar": np.array(4, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    }
    with open(tmp_path / "file", "wb") as file:
        write_tensors(file, tensors, {"key": "value"})
    whole = {name: array.copy(order="C") for name, array in tensors.items()}
    assert (tmp_path / "file").read_bytes() == save(whole, {"key": "value"})
    with TensorFile(tmp_path / "file") as opened:
        assert opened.metadata == {"key": "value"}
        assert {name: bits(opened.read(name)) for name in opened.specs} == bits(whole)


def test_a_dtype_we_do_not_write() -> None:
    with pytest.raises(TypeError, match=r"'x': expected one of I64.*got dtype float64"):
        write_tensors(None, {"x": np.zeros(1, np.float64)}, {})  # type: ignore[arg-type]


@pytest.fixture
def tensor_file(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        write_tensors(file, {"a": np.zeros((2, 3), np.float32), "b": np.zeros(1, np.int64)}, {})
    return path


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"a": TensorSpec("F32", (2, 3))}, "unknown tensor 'b'"),
        (
            {"a": TensorSpec("F32", (2, 3)), "b": TensorSpec("I64", (1,)), "c": TensorSpec("F32", ())},
            "'c' is missing",
        ),
        ({"c": TensorSpec("F32", ()), "d": TensorSpec("F32", ())}, r"'c' is missing \(and 1 more\)"),
        (
            {"a": TensorSpec("F32", (3, 2)), "b": TensorSpec("I64", (1,))},
            r"'a' of shape \[3, 2\], got \[2, 3\]",
        ),
        ({"a": TensorSpec("F32", (2, 3)), "b": TensorSpec("F32", (1,))}, "'b' of dtype F32, got I64"),
    ],
)
def test_expected_tensors(tensor_file: Path, expected: dict[str, TensorSpec], message: str) -> None:
    with TensorFile(tensor_file) as file, pytest.raises(ValueError, match=message) as error:
        file.expect(expected)
    assert str(tensor_file) in str(error.value)


def test_a_file_cut_anywhere_is_refused(tensor_file: Path) -> None:
    whole = tensor_file.read_bytes()
    for length in range(len(whole)):
        tensor_file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a whole safetensors file") as error:
            TensorFile(tensor_file)
        assert str(tensor_file) in str(error.value)


def test_hostile_headers_are_refused(tensor_file: Path) -> None:
    def header(text: str) -> bytes:
        return len(text.encode()).to_bytes(8, "little") + text.encode()

    for content in (
        b"\xff" * 100,
        (2**63).to_bytes(8, "little") + b"{}",
        header("[]"),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}'),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}') + b"\0" * 4,
        header('{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}') + b"\0" * 4,
    ):
        tensor_file.write_bytes(content)
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            TensorFile(tensor_file)


def test_a_dtype_we_do_not_read(tensor_file: Path) -> None:
    text = '{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'
    tensor_file.write_bytes(len(text).to_bytes(8, "little") + text.encode() + b"\0" * 8)
    with TensorFile(tensor_file) as file:
        with pytest.raises(ValueError, match="tensor 'a' has dtype F64"):
            file.read("a")
        with pytest.raises(ValueError, match="tensor 'b' is missing"):
            file.read("b")


# ---- checkpoints


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    saved = checkpoint()
    saved.save(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c")
    assert bits(loaded.parameters) == bits(saved.parameters)
    assert bits(loaded.optimizer) == bits(saved.optimizer)
    assert (loaded.layout, loaded.state, loaded.settings) == (saved.layout, saved.state, saved.settings)
    assert loaded.instruction_set == "avx2"


def test_equal_checkpoints_are_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        checkpoint().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "run", keep=2)
    assert folder.latest() is None
    for step in (0, 5, 999_999_999, 1_000_000_000):
        folder.save(checkpoint(), step)
    assert folder.paths() == [folder.path(999_999_999), folder.path(1_000_000_000)]
    assert folder.latest() == folder.path(1_000_000_000)
    (tmp_path / "run" / ".checkpoint-000000007.safetensors.tmp").write_bytes(b"left by a kill")
    (tmp_path / "run" / "notes").write_text("mine")
    folder.clear()
    assert os.listdir(tmp_path / "run") == ["notes"]
    with pytest.raises(ValueError, match="keep at least 1"):
        CheckpointFolder(tmp_path, keep=0)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "not a checkpoint of seq2seq_fast"),
        ({"format": "pt"}, "not a checkpoint of seq2seq_fast"),
        ({"format": "seq2seq_fast.checkpoint", "format_version": "2"}, "checkpoint of format 1, got 2"),
        ({"format": "seq2seq_fast.checkpoint", "format_version": "1"}, "damaged metadata"),
        (
            {"format": "seq2seq_fast.checkpoint", "format_version": "1", "state": "{", "settings": "{}"},
            "damaged metadata",
        ),
        (
            {
                "format": "seq2seq_fast.checkpoint",
                "format_version": "1",
                "state": "{}",
                "settings": "{}",
                "layout": "[[1]]",
                "instruction_set": "x",
            },
            "damaged metadata",
        ),
    ],
)
def test_other_files_are_no_checkpoints(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with open(tmp_path / "c", "wb") as file:
        write_tensors(file, {"parameters": np.zeros(16, np.float32)}, metadata)
    with pytest.raises(ValueError, match=message) as error:
        Checkpoint.load(tmp_path / "c")
    assert str(tmp_path / "c") in str(error.value)


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        Checkpoint.load(tmp_path / "c")


def test_average(tmp_path: Path) -> None:
    paths = [tmp_path / str(i) for i in range(3)]
    for value, path in zip((1.0, 2.0, 6.0), paths, strict=True):
        checkpoint(value).save(path)
    mean = average_checkpoints(paths)
    assert {name: (view.shape, float(view.min()), float(view.max())) for name, view in mean.items()} == {
        "weight": ((2, 3), 3.0, 3.0),
        "bias": ((2,), 3.0, 3.0),
    }
    with pytest.raises(ValueError, match="at least one checkpoint"):
        average_checkpoints([])
    other: Any = checkpoint()
    other.layout[1] = ("bias", (1,), 16, False)
    try:
        other.save(paths[2])
    finally:
        LAYOUT[1] = ("bias", (2,), 16, False)
    with pytest.raises(ValueError, match="not those of the other checkpoints"):
        average_checkpoints(paths)


FULL_DISK = """
import resource, sys
import numpy as np
from test_checkpoint import checkpoint
from seq2seq_fast.checkpoint import CheckpointFolder
folder = CheckpointFolder(sys.argv[1])
folder.save(checkpoint(1.0, 4096), 1)
# A limit on the size of files is as near to a full disk as one gets without rights: a write comes back short.
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    folder.save(checkpoint(2.0, 4096), 2)
except OSError as error:
    print(error.errno, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path: Path) -> None:
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(f"{errno.EFBIG} ")
    assert "checkpoint-000000002.safetensors could not be written: File too large" in run.stdout
    assert "The previous checkpoint" in run.stdout
    assert os.listdir(tmp_path) == ["checkpoint-000000001.safetensors"]
    assert Checkpoint.load(tmp_path / "checkpoint-000000001.safetensors").parameters[0] == 1.0
