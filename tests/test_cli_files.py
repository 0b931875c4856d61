"""What the command line reads from and writes to: files, pipes, devices, standard streams that are closed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import Run
from seq2seq_fast.cli import translate
from seq2seq_fast.files import save_model
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices have other names there")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that always says "x"."""
    folder = tmp_path_factory.mktemp("model")
    field = TextField(SpaceTokenizer(), Vocabulary.build({"x": 1, "y": 1}))
    sizes = {"source_vocab_size": 6, "target_vocab_size": 6, "encoder_hidden": 4, "decoder_hidden": 4}
    network = Seq2Seq(Seq2SeqConfig(**sizes, source_embedding_dim=3, target_embedding_dim=3))
    bias = np.zeros(6, np.float32)
    bias[field.vocabulary.encode(["x"])[0]] = 50.0
    network.native.load_parameter("decoder.output.bias", bias)
    save_model(folder, network, source=field, target=field)
    return folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, from which the command line is run, of two lines to translate and what was there before."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("x y\ny\n")
    (tmp_path / "pairs.tsv").write_text("x y\tx\ny\tx\n")
    (tmp_path / "out.txt").write_text("before\n")
    (tmp_path / "latin.txt").write_bytes(b"x\n\xff\n")
    (tmp_path / "link.txt").symlink_to("in.txt")
    return tmp_path


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


ONE = ("--max_length", 1, "--beam_size", 1, "--batch_size", 1)


@pytest.mark.parametrize(
    "command",
    [
        "translate --src in.txt --out in.txt",
        "translate --src in.txt --out link.txt",
        "translate --src in.txt --out ./in.txt",
        "translate --src in.txt --target_prefix pairs.tsv --out pairs.tsv",
        "translate --src in.txt --allowed_outputs out.txt --out out.txt",
        "translate --src in.txt --config config.yaml --out config.yaml",
        "translate --src in.txt.part --out in.txt",
        "score --src in.txt --tgt pairs.tsv --out in.txt",
        "score --src in.txt --tgt pairs.tsv --out pairs.tsv",
        "evaluate --data pairs.tsv --out pairs.tsv",
        "forecast predict --data pairs.tsv --out pairs.tsv",
    ],
)
def test_an_output_is_no_input(run: Run, model: Path, files: Path, command: str) -> None:
    (files / "config.yaml").write_text("beam_size: 2\n")
    (files / "in.txt.part").write_text("x\n")
    before = kept(files)
    code, out, err = run(*command.split(), "--model", model)
    assert (code, out) == (2, "")
    assert "would be lost: write to another" in err
    assert kept(files) == before


@posix
@pytest.mark.parametrize("mode", ["a", "r+"])
def test_standard_output_is_no_input(model: Path, files: Path, mode: str) -> None:
    """`translate --src X >> X` would never end."""
    command = [sys.executable, "-m", "seq2seq_fast", "translate", "--model", str(model), "--src", "in.txt"]
    with open("in.txt", mode) as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert "standard output is the file of --src" in done.stderr
    assert (files / "in.txt").read_text() == "x y\ny\n"


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("translate --src none.txt", ""),
        ("translate --src latin.txt", "x\n"),
        ("translate --src in.txt --target_prefix none.txt", ""),
        ("translate --src in.txt --must_contain one.txt", "x\n"),
        ("translate --src one.txt --must_contain in.txt", "x\n"),
        ("score --src in.txt --tgt latin.txt", None),
        ("score --src in.txt --tgt one.txt", None),
    ],
)
def test_an_error_leaves_the_output_as_it_was(
    run: Run, model: Path, files: Path, command: str, part: str | None
) -> None:
    """What was written so far is beside it, if anything was."""
    (files / "one.txt").write_text("x\n")
    before = kept(files)
    options = ONE if command.startswith("translate") else ONE[4:]
    code, _, err = run(*command.split(), "--out", "out.txt", "--model", model, *options)
    assert code == 2
    after = kept(files)
    left = after.pop("out.txt.part", b"").decode()
    assert after == before
    if part is None:
        assert left == "" or left.endswith(" ||| x\n")
    else:
        assert left == part
    assert ("What was written so far is in" in err) == bool(left)


def test_an_interrupted_translation_keeps_what_it_has(
    run: Run, model: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = translate.decode_texts, []

    def decode(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(translate, "decode_texts", decode)
    call = ("translate", "--model", model, "--src", "in.txt", *ONE, "--out", "out.txt")
    code, _, err = run(*call)
    assert code == 130
    assert "out.txt.part" in err
    assert (files / "out.txt").read_text() == "before\n"
    assert (files / "out.txt.part").read_text() == "x\n"
    assert run(*call)[0] == 0
    assert (files / "out.txt").read_text() == "x\nx\n"
    assert not (files / "out.txt.part").exists()


@posix
def test_a_link_and_its_files_permissions_stay(run: Run, model: Path, files: Path) -> None:
    (files / "out.txt").chmod(0o640)
    (files / "to_out").symlink_to("out.txt")
    assert run("translate", "--model", model, "--src", "in.txt", *ONE, "--out", "to_out")[0] == 0
    assert (files / "to_out").is_symlink()
    assert (files / "out.txt").read_text() == "x\nx\n"
    assert (files / "out.txt").stat().st_mode & 0o777 == 0o640


@posix
def test_pipes_devices_and_open_files_are_written_in_place(run: Run, model: Path, files: Path) -> None:
    call = ("translate", "--model", model, "--src", "in.txt", *ONE, "--out")
    before = kept(files)
    assert run(*call, "/dev/null")[0] == 0
    reading, writing = os.pipe()
    assert run(*call, f"/dev/fd/{writing}")[0] == 0
    os.close(writing)
    with open(reading) as stream:
        assert stream.read() == "x\nx\n"
    assert kept(files) == before
    with open("out.txt", "a") as stream:  # as the shell's >> has it: what is there stays
        assert run(*call, f"/dev/fd/{stream.fileno()}")[0] == 0
    assert (files / "out.txt").read_text() == "before\nx\nx\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_named(run: Run, model: Path, files: Path) -> None:
    code, _, err = run("translate", "--model", model, "--src", "in.txt", *ONE, "--out", "/dev/full")
    assert (code, err) == (2, "seq2seq-fast: error: /dev/full: No space left on device\n")
    command = [sys.executable, "-m", "seq2seq_fast", "info", "--model", str(model)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == "seq2seq-fast: error: standard output: No space left on device\n"


@posix
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("translate --model {model} <&-", "standard input: it is closed"),
        ("translate --model {model} --src in.txt >&-", "standard output: it is closed"),
        ("doctor >&-", "standard output: it is closed"),
        ("translate --model {model} --src in.txt --out out.txt <&- >&-", ""),
        ("translate --model {model} --src none.txt 2>&-", None),
    ],
)
def test_closed_streams(model: Path, files: Path, command: str, says: str | None) -> None:
    program = f"{sys.executable} -m seq2seq_fast"
    done = subprocess.run(
        f"{program} {command.format(model=model)}", shell=True, capture_output=True, text=True
    )
    assert done.returncode == (0 if says == "" else 2)
    assert done.stderr == (f"seq2seq-fast: error: {says}\n" if says else "")
    assert done.stdout == ""


def test_standard_input(run: Run, model: Path, files: Path) -> None:
    """It may be compressed, and holds what `evaluate` reads, too."""
    call = ("translate", "--model", model, *ONE)
    assert run(*call, stdin=gzip.compress(b"x\ny\n"))[:2] == (0, "x\nx\n")
    code, _, err = run(*call, stdin=gzip.compress(b"x\ny\n" * 999)[:-9])
    assert code == 2 and "standard input, after line" in err and "not a whole gzip file" in err
    evaluate = ("evaluate", "--model", model, "--json", *ONE[:4], "--data")
    for arguments in (("pairs.tsv",), ("-",)):
        code, out, _ = run(*evaluate, *arguments, stdin=(files / "pairs.tsv").read_bytes())
        assert code == 0 and '"exact_match": 1.0' in out
    code, _, err = run(*evaluate, "-", stdin=b"no tab\n")
    assert code == 2 and "standard input, line 1: expected source TAB target" in err


@posix
@pytest.mark.parametrize("option", ["train", "valid"])
def test_training_data_are_no_pipe(run: Run, files: Path, option: str) -> None:
    os.mkfifo("pipe")
    for path, name in (("-", "standard input"), ("pipe", "pipe")):
        paths = {"train": "pairs.tsv", option: path}
        options = [part for name, value in paths.items() for part in (f"--{name}", value)]
        code, _, err = run("train", *options, "--out", "run")
        assert code == 2
        assert f"--{option}: {name} can be read but once" in err
    assert not (files / "run").exists()
