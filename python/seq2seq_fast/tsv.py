"""Reading text data: lines of source TAB target, plain or gzip-compressed, UTF-8.

Files are streamed. What stays in memory is 4 bytes a token and 16 a pair.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, cast

from seq2seq_fast.copying import text_source
from seq2seq_fast.data import Dataset, IdsBuilder
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import Tokenizer

StrPath = str | os.PathLike[str]


def read_lines(path: StrPath) -> Iterator[str]:
    """Yield the lines of a text file, plain or gzip-compressed, without their line ends.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8 (the message names the line), or is not a whole gzip file.
    """
    with open(path, "rb") as file:
        compressed = file.peek(2)[:2] == b"\x1f\x8b"
        lines = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if compressed else file
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
            raise ValueError(f"{os.fspath(path)}, line {number}: not UTF-8 ({error.reason}).") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{os.fspath(path)}, after line {number}: not a whole gzip file ({error})."
            ) from None


def read_columns(path: StrPath) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, columns) of a TSV file; blank lines are passed over.

    Raises:
        ValueError: a line has fewer than two columns.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line or (line.isspace() and "\t" not in line):
            continue
        columns = line.split("\t")
        if len(columns) < 2:
            raise ValueError(f"{os.fspath(path)}, line {number}: expected source TAB target, got no TAB.")
        yield number, columns


def count_tokens(path: StrPath, source: Tokenizer, target: Tokenizer) -> tuple[Counter[str], Counter[str]]:
    """Count the tokens of both sides of a TSV file, for `Vocabulary.build`."""
    source_counts: Counter[str] = Counter()
    target_counts: Counter[str] = Counter()
    for _, columns in read_columns(path):
        source_counts.update(source.tokenize(columns[0]))
        target_counts.update(target.tokenize(columns[1]))
    return source_counts, target_counts


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
    """Read a TSV file of source TAB target as a data set; further columns are left aside.

    Pairs with an empty source, or outside the limits, are left out and counted in `Dataset.dropped`.

    Args:
        path: the file, plain or gzip-compressed.
        source: turns the first column into ids.
        target: turns the second column into ids; eos is appended whether or not `target.eos` is on.
        max_source_length: the most tokens of a source, eos not counted.
        max_target_length: the most tokens of a target, eos not counted.
        min_target_length: the fewest tokens of a target, eos not counted.
        max_examples: stop after so many pairs.
        copies: number the sources' tokens for a network that copies (see `copying`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming file and line of what cannot be read; or no pair is left.
    """
    eos_id = target.vocabulary.eos_id
    if eos_id is None:
        raise ValueError("[read_tsv] Expected a target vocabulary with an eos token, got one without.")
    sources, targets, copied = IdsBuilder(), IdsBuilder(), IdsBuilder()
    dropped: Counter[str] = Counter()
    for number, columns in read_columns(path):
        if max_examples is not None and len(sources.offsets) > max_examples:
            break
        source_tokens = source.tokenizer.tokenize(columns[0])
        target_tokens = target.tokenizer.tokenize(columns[1])
        if not source_tokens:
            dropped["empty source"] += 1
        elif len(target_tokens) < min_target_length:
            dropped["target too short"] += 1
        elif max_source_length is not None and len(source_tokens) > max_source_length:
            dropped["source too long"] += 1
        elif max_target_length is not None and len(target_tokens) > max_target_length:
            dropped["target too long"] += 1
        else:
            try:
                text = text_source(source_tokens, source, target, copies=copies)
                if text.copy is None:
                    ids = target.tokens_to_ids(target_tokens)
                else:
                    copied.append(text.copy.ids)
                    ids = text.copy.target_ids(target_tokens, target.vocabulary)
            except ValueError as error:
                raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from None
            sources.append(text.ids)
            targets.append(ids if target.eos and text.copy is None else [*ids, eos_id])
    if not sources.values:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise ValueError(f"{os.fspath(path)}: no pair to read" + (f" ({reasons})." if reasons else "."))
    return Dataset(
        sources.finish(),
        targets.finish(),
        copies=copied.finish() if copies else None,
        dropped=dict(dropped),
    )


def read_references(path: StrPath) -> dict[str, list[str]]:
    """Read a TSV file for evaluation: each source with all its references, in the order of the file.

    Every column after the first is a reference, and so are the columns of further lines with the same source.
    """
    references: dict[str, list[str]] = {}
    for _, columns in read_columns(path):
        known = references.setdefault(columns[0], [])
        known.extend(reference for reference in columns[1:] if reference not in known)
    return references
