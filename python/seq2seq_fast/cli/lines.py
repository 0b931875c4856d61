"""Text in and out, a line at a time: files (plain or compressed), standard input and output, in UTF-8."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import TextIO, cast

from seq2seq_fast import tsv
from seq2seq_fast.atomic import names_file, sync_directory

__all__ = ["check_output", "is_standard", "name_of", "open_output", "read_lines"]

STANDARD = Path("-")
DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2}


def is_standard(path: Path | None) -> bool:
    """Whether a path stands for standard input or output."""
    return path is None or path == STANDARD


def name_of(path: Path | None) -> str:
    """What errors call a file, or standard input."""
    return "standard input" if path is None or is_standard(path) else str(path)


def read_lines(path: Path | None) -> Iterator[str]:
    """Yield the lines of a file, or of standard input, without their line ends; see `tsv.read_lines`."""
    if path is not None and not is_standard(path):
        yield from tsv.read_lines(path)
        return
    yield from tsv.decode_lines(cast("BufferedReader", sys.stdin.buffer), name_of(path))


def check_output(out: Path | None, inputs: Mapping[str, Path | None]) -> None:
    """Refuse an output that is one of the inputs, or whose unfinished part would be.

    Args:
        out: as for `open_output`.
        inputs: by the names of their options; a path of None is not read.

    Raises:
        ValueError: naming both.
    """
    standard = out is None or is_standard(out)
    shown = "standard output" if standard else f"--out {out}"
    written = {shown: _file(out, sys.stdout)}
    if out is not None and not standard:
        written[f"the unfinished part of {shown}, {_part(out)},"] = _file(_part(out), sys.stdout)
    for name, path in inputs.items():
        read = None if path is None else _file(path, sys.stdin)
        for what, file in written.items():
            if read is not None and read == file:
                raise ValueError(f"{what} is the file of --{name}, which would be lost: write to another.")


def _file(path: Path | None, standard: TextIO) -> tuple[int, int] | None:
    """Which regular file this is; None: it is none, a pipe for example, or is not there."""
    try:
        found = os.fstat(standard.fileno()) if path is None or is_standard(path) else os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Give a text stream to write to: standard output, which stays open, a pipe, a device, or a file.

    A file is there as a whole or not at all: lines go to `path`.part, which takes its place at the end. If
    anything goes wrong before, Ctrl-C too, `path` is as it was and the lines so far stay in the part.
    """
    if path is None or is_standard(path):
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        with names_file("standard output"):
            yield sys.stdout
            sys.stdout.flush()
    elif _is_written_in_place(path):
        with names_file(path), _open(path) as stream:
            yield stream
    else:
        with _whole_file(path) as stream:
            yield stream


def _is_written_in_place(path: Path) -> bool:
    """Whether nothing can take the place of what is there: a pipe, a device, an open file by its number, a
    folder that takes no other file."""
    if _descriptor(path) is not None:
        return True
    return path.exists() and not (path.is_file() and os.access(_target(path).parent, os.W_OK))


def _open(path: Path) -> TextIO:
    descriptor = _descriptor(path)
    # An open file by its number is not opened anew: that would write from its start again.
    there = path if descriptor is None else descriptor
    return open(there, "w", encoding="utf-8", newline="\n", closefd=descriptor is None)


def _descriptor(path: Path) -> int | None:
    folder, _, number = str(path).rpartition("/")
    if folder in ("/dev/fd", "/proc/self/fd") and number.isdecimal():
        return int(number)
    return DESCRIPTORS.get(str(path))


def _target(path: Path) -> Path:
    """The file itself, where `path` is a link: the link stays."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _part(path: Path) -> Path:
    target = _target(path)
    return target.with_name(f"{target.name}.part")


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    target, part = _target(path), _part(path)
    os.stat(target.parent)  # its error names the folder, not the part
    try:
        with names_file(part), open(part, "w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        _leave(part)
        raise
    if target.exists():
        shutil.copymode(target, part)
    os.replace(part, target)
    sync_directory(target.parent)


def _leave(part: Path) -> None:
    """Say where the lines so far are; a part without any goes away."""
    if not part.is_file():
        return
    if part.stat().st_size:
        print(f"What was written so far is in {part}.", file=sys.stderr, flush=True)
    else:
        part.unlink()
