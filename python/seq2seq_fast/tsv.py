"""Reading text data: lines of source TAB target, plain or compressed (gzip, xz), UTF-8.

Files are streamed. What stays in memory is 4 bytes a token and 16 a pair; corpus.py keeps these on the disk.
"""

from __future__ import annotations

import gzip
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NamedTuple

from seq2seq_fast.atomic import names_file
from seq2seq_fast.copying import text_source
from seq2seq_fast.data import Dataset, IdsBuilder
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import Tokenizer

StrPath = str | os.PathLike[str]

FURTHER_COLUMNS = "columns after the second"
"""What `Dataset.dropped` calls them."""


def read_lines(path: StrPath) -> Iterator[str]:
    """Yield the lines of a text file, plain or compressed (gzip, xz), without their line ends.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8 (the message names the line), or is not a whole compressed file.
    """
    with open(path, "rb") as file:
        yield from decode_lines(file, os.fspath(path))


def decode_lines(file: BufferedReader, name: str) -> Iterator[str]:
    """`read_lines` of an open file; `name` is what errors call it."""
    with names_file(name):
        start = file.peek(6)[:6]
        lines: Any = file
        if start[:2] == b"\x1f\x8b":
            lines = gzip.GzipFile(fileobj=file)
        elif start == b"\xfd7zXZ\0":
            lines = lzma.LZMAFile(file)  # noqa: SIM115 (`file` is closed)
        number = 0
        try:
            # Lines end at "\n" only: text mode would also take "\r", and str.splitlines a dozen other
            # characters.
            for line in lines:
                number += 1
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}, line {number}: not UTF-8 ({error.reason}).") from None
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            kind = "xz" if isinstance(lines, lzma.LZMAFile) else "gzip"
            raise ValueError(f"{name}, after line {number}: not a whole {kind} file ({error}).") from None


def read_columns(path: StrPath) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, columns) of a TSV file; blank lines are passed over.

    Raises:
        ValueError: a line has fewer than two columns.
    """
    yield from columns_of(os.fspath(path), read_lines(path))


def columns_of(name: str, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """`read_columns` of lines; `name` is what errors call them."""
    for number, line in enumerate(lines, start=1):
        if not line or (line.isspace() and "\t" not in line):
            continue
        columns = line.split("\t")
        if len(columns) < 2:
            raise ValueError(f"{name}, line {number}: expected source TAB target, got no TAB.")
        yield number, columns


def count_tokens(path: StrPath, source: Tokenizer, target: Tokenizer) -> tuple[Counter[str], Counter[str]]:
    """Count the tokens of both sides of a TSV file, for `Vocabulary.build`."""
    source_counts: Counter[str] = Counter()
    target_counts: Counter[str] = Counter()
    for _, columns in read_columns(path):
        source_counts.update(source.tokenize(columns[0]))
        target_counts.update(target.tokenize(columns[1]))
    return source_counts, target_counts


@dataclass(frozen=True)
class Limits:
    """Which pairs are read; lengths are counted in tokens, the end token is not.

    Args:
        max_source_length: the most tokens of a source.
        max_target_length: the most tokens of a target.
        min_target_length: the fewest tokens of a target.
        max_examples: stop after so many pairs.
    """

    max_source_length: int | None = None
    max_target_length: int | None = None
    min_target_length: int = 1
    max_examples: int | None = None

    def refusal(self, source_tokens: Sized, target_tokens: Sized) -> str | None:
        """Return why a pair is left out; None: it is not."""
        if not len(source_tokens):
            return "empty source"
        if len(target_tokens) < self.min_target_length:
            return "target too short"
        if self.max_source_length is not None and len(source_tokens) > self.max_source_length:
            return "source too long"
        if self.max_target_length is not None and len(target_tokens) > self.max_target_length:
            return "target too long"
        return None


class PairIds(NamedTuple):
    """The ids of a pair; copies: those of `copying.CopySource`, empty where the network does not copy."""

    source: list[int]
    target: list[int]
    copies: list[int]


def read_ids(
    path: StrPath,
    source: TextField,
    target: TextField,
    limits: Limits,
    dropped: Counter[str],
    *,
    copies: bool = False,
) -> Iterator[PairIds]:
    """Yield the ids of each pair of a TSV file, as `read_tsv` does; count in `dropped` what is left out."""
    eos_id = target.vocabulary.eos_id
    if eos_id is None:
        raise ValueError("[read_tsv] Expected a target vocabulary with an eos token, got one without.")
    count = 0
    for number, columns in read_columns(path):
        if limits.max_examples is not None and count >= limits.max_examples:
            break
        source_tokens = source.tokenizer.tokenize(columns[0])
        target_tokens = target.tokenizer.tokenize(columns[1])
        if len(columns) > 2:
            dropped[FURTHER_COLUMNS] += len(columns) - 2
        refusal = limits.refusal(source_tokens, target_tokens)
        if refusal is not None:
            dropped[refusal] += 1
            continue
        try:
            text = text_source(source_tokens, source, target, copies=copies)
            target_ids = text.target_ids(target_tokens, target)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from None
        count += 1
        yield PairIds(text.ids, [*target_ids, eos_id], [] if text.copy is None else text.copy.ids)
    if not count:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        raise ValueError(f"{os.fspath(path)}: no pair to read" + (f" ({reasons})." if reasons else "."))


def read_tsv(
    path: StrPath,
    source: TextField,
    target: TextField,
    *,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    min_target_length: int = 1,
    max_examples: int | None = None,
    copies: bool = False,
) -> Dataset:
    """Read a TSV file of source TAB target as a data set in memory; further columns are left aside.

    Pairs with an empty source, or outside the limits, are left out and counted in `Dataset.dropped`, and so
    are further columns. A corpus larger than memory: `corpus.cached_tsv`.

    Args:
        path: the file, plain or compressed (gzip, xz).
        source: turns the first column into ids.
        target: turns the second column into ids; eos is appended whether or not `target.eos` is on.
        max_source_length, max_target_length, min_target_length, max_examples: see `Limits`.
        copies: number the sources' tokens for a network that copies (see `copying`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming file and line of what cannot be read; or no pair is left.
    """
    limits = Limits(max_source_length, max_target_length, min_target_length, max_examples)
    sources, targets, copied = IdsBuilder(), IdsBuilder(), IdsBuilder()
    dropped: Counter[str] = Counter()
    for pair in read_ids(path, source, target, limits, dropped, copies=copies):
        sources.append(pair.source)
        targets.append(pair.target)
        copied.append(pair.copies)
    return Dataset(
        sources.finish(),
        targets.finish(),
        copies=copied.finish() if copies else None,
        dropped=dict(dropped),
    )


def read_references(path: StrPath, *, every_line: bool = False) -> tuple[list[str], list[list[str]]]:
    """Read a TSV file for evaluation: the sources, in the order of the file, and the references of each.

    Every column after the first is a reference, and so are the columns of further lines with the same source;
    with `every_line` these are sources of their own.
    """
    return references_of(read_columns(path), every_line=every_line)


def references_of(
    rows: Iterable[tuple[int, list[str]]], *, every_line: bool = False
) -> tuple[list[str], list[list[str]]]:
    """`read_references` of what `read_columns` gives."""
    lines = [(columns[0], columns[1:]) for _, columns in rows]
    if not every_line:
        merged: dict[str, list[str]] = {}
        for source, right in lines:
            merged.setdefault(source, []).extend(right)
        lines = list(merged.items())
    return [source for source, _ in lines], [list(dict.fromkeys(right)) for _, right in lines]
