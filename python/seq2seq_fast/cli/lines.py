"""Text in and out, a line at a time: plain or .gz files, standard input and output, in UTF-8."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TextIO, TypeVar

__all__ = ["batches", "open_output", "read_lines"]

T = TypeVar("T")


def _is_standard(path: Path | None) -> bool:
    return path is None or str(path) == "-"


def read_lines(path: Path | None) -> Iterator[str]:
    """The lines of a file (plain or .gz; None or "-": standard input) without their line ends.

    Only a line feed ends a line, so that odd characters do not change the count. ValueError names the file and the line
    that is not UTF-8.
    """
    name = "standard input" if _is_standard(path) else str(path)
    number = 0
    try:
        with _open_input(path) as stream:
            for number, line in enumerate(stream, 1):  # noqa: B007 (number is for the message below)
                yield line.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not UTF-8 text near line {number + 1}: {error.reason}") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{name}: not a whole gzip file: {error}") from error


@contextlib.contextmanager
def _open_input(path: Path | None) -> Iterator[TextIO]:
    if path is None or _is_standard(path):
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8-sig", newline="\n", errors="strict")
        yield sys.stdin
        return
    binary: IO[bytes]
    if path.suffix == ".gz":
        with path.open("rb") as file, gzip.open(file) as binary:
            yield io.TextIOWrapper(binary, encoding="utf-8-sig", newline="\n")
    else:
        with path.open(encoding="utf-8-sig", newline="\n") as text:
            yield text


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """A text stream to write to (None or "-": standard output, left open)."""
    if path is None or _is_standard(path):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n", errors="strict")
        yield sys.stdout
        sys.stdout.flush()
        return
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        yield stream


def batches(items: Iterable[T], limit: int, weight: Callable[[T], int]) -> Iterator[list[T]]:
    """Runs of items, in order, each of total weight at most `limit` (a single item may weigh more)."""
    batch: list[T] = []
    total = 0
    for item in items:
        w = weight(item)
        if batch and total + w > limit:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += w
        # A full batch goes out now: its reader may be waiting for it before writing the next line.
        if total >= limit:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
