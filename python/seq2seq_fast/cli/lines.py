"""Text in and out, a line at a time: files (plain or gzip), standard input and output, in UTF-8."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from seq2seq_fast import tsv

__all__ = ["open_output", "read_lines"]


def is_standard(path: Path | None) -> bool:
    """Whether a path stands for standard input or output."""
    return path is None or str(path) == "-"


def read_lines(path: Path | None) -> Iterator[str]:
    """Yield the lines of a file, or of standard input, without their line ends; see `tsv.read_lines`."""
    if path is not None and not is_standard(path):
        yield from tsv.read_lines(path)
        return
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"standard input, line {number}: not UTF-8 ({error.reason}).") from None
        yield text.removesuffix("\n").removesuffix("\r")


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Give a text stream to write to: a file, or standard output, which stays open."""
    if path is not None and not is_standard(path):
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    yield sys.stdout
    sys.stdout.flush()
