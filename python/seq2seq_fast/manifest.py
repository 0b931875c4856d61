"""Manifests: text files that pair feature sequences in files with texts.

    #features               speaker    text
    an4.npz#fash-cen1-b     fash       yes
    clips/cen7.npy          cen        thirteen

Lines are columns between TABs, UTF-8, plain or compressed (gzip, xz). The first is a reference to a sequence,
as `feature_files` has them, relative to the manifest's folder. All further columns are texts, of which a
sequence may have several, in columns or in lines of its own. A first line whose first column is `#features`
is a header; if its second column is `group`, `speaker` or `series`, the second column of each line is no text
but says who the sequence is of, for normalisation by group.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seq2seq_fast.feature_files import FeatureFiles, FeatureSequences
from seq2seq_fast.tsv import StrPath, read_lines

__all__ = ["Manifest", "parse_manifest", "read_manifest"]

HEADER = "#features"
GROUPS = ("group", "speaker", "series")


@dataclass(frozen=True)
class Manifest:
    """The sequences a manifest names, each once, in the order of the file."""

    path: str
    sequences: FeatureSequences
    groups: list[str] | None
    """[N] who each sequence is of; None: the manifest does not say."""
    texts: list[list[str]]
    """[N] the texts of each, one or more; none where texts were not asked for."""

    def __len__(self) -> int:
        return len(self.sequences)


def read_manifest(path: StrPath, *, texts: bool = True, in_memory: bool = False) -> Manifest:
    """Read a manifest and open the files it names.

    Args:
        path: the manifest, plain or compressed (gzip, xz).
        texts: each line has to have a text; else texts are left aside.
        in_memory: read archives into memory, compressed ones, too, instead of mapping them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming file and line: a text or a group is missing, a sequence has two groups, or its
            features cannot be read (see `feature_files`). Values are looked at when a sequence is read.
    """
    name = os.fspath(path)
    return parse_manifest(name, read_lines(path), Path(path).parent, texts=texts, in_memory=in_memory)


def parse_manifest(
    name: str, lines: Iterable[str], folder: Path, *, texts: bool = True, in_memory: bool = False
) -> Manifest:
    """`read_manifest` of lines; `name` is what errors call them, `folder` where relative paths start."""
    files = FeatureFiles(folder, in_memory=in_memory)
    numbers: dict[str, int] = {}
    groups: list[str] = []
    found: list[list[str]] = []
    grouped = False
    for number, columns in _rows(lines):
        if number == 1 and columns[0] == HEADER:
            grouped = len(columns) > 1 and columns[1].strip().lower() in GROUPS
            continue
        where = f"{name}, line {number}"
        wanted = 1 + grouped + texts
        if len(columns) < wanted:
            form = " TAB ".join(("features", *["group"] * grouped, *["text"] * texts))
            raise ValueError(f"{where}: expected {form}, got {len(columns)} columns.")
        reference = columns[0]
        if reference not in numbers:
            try:
                numbers[reference] = files.add(reference)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            except OSError as error:
                raise type(error)(error.errno, f"{where}: {error.strerror}", error.filename) from None
            groups.append(columns[1] if grouped else "")
            found.append([])
        at = numbers[reference]
        if grouped and groups[at] != columns[1]:
            raise ValueError(
                f"{where}: {reference} is of group {columns[1]!r} here, of {groups[at]!r} before."
            )
        if texts:
            found[at].extend(columns[1 + grouped :])
    if not numbers:
        raise ValueError(f"{name}: no line to read.")
    return Manifest(name, files.finish(), groups if grouped else None, found)


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            yield number, line.split("\t")
