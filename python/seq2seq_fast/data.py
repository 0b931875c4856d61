"""Data sets of sequence pairs as flat arrays: no padding, no Python object per example.

A data set is made of lines of text (`read_tsv`; where it is larger than memory, `corpus.cached_tsv`) or of
ids and feature vectors (`Dataset.from_sequences`); the network sees it as `Batch`es. Which examples make a
batch, and in which order, is the business of `batching.py`.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

UInt16 = npt.NDArray[np.uint16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """N sequence pairs, the sequences one after another."""

    source: Int32 | Float32
    """int32 [sum S] token ids, or float32 [sum S, C] feature vectors."""
    source_lengths: Int32
    """[N], each at least 1."""
    target: Int32
    """[sum T] ids, without bos; each target ends with eos."""
    target_lengths: Int32
    """[N], eos counted."""
    example_ids: Int64
    """[N] place of each example in the data set; it names the example's dropout mask."""
    copies: Int32 | None = None
    """[sum S] copy ids of the source, for a network that copies (see `copying`)."""

    def __len__(self) -> int:
        return len(self.source_lengths)


@dataclass(frozen=True)
class Sequences:
    """Sequences of different lengths in one array, which may be a file mapped into memory.

    Raises:
        ValueError: the offsets do not fit the values.
        TypeError: a dtype is none of those below.
    """

    values: Int32 | UInt16 | Float32
    """int32 or uint16 [sum L] or float32 [sum L, C]. Ids come out as int32, however they are stored."""
    offsets: Int64
    """[N + 1]: sequence i is `values[offsets[i]:offsets[i + 1]]`."""

    def __post_init__(self) -> None:
        dimensions = {np.dtype("i4"): 1, np.dtype("u2"): 1, np.dtype("f4"): 2}
        if dimensions.get(self.values.dtype) != self.values.ndim:
            raise TypeError(
                "[sequences] Expected values int32 or uint16 of shape [sum L] or float32 of shape [sum L, C]"
                f", got {self.values.dtype} {list(self.values.shape)}."
            )
        if self.offsets.dtype != np.int64:
            raise TypeError(f"[sequences] Expected offsets int64, got {self.offsets.dtype}.")
        ends = self.offsets
        if (
            ends.ndim != 1
            or not len(ends)
            or ends[0] != 0
            or ends[-1] != len(self.values)
            or any((np.diff(part) < 0).any() for part in _parts(ends, overlap=1))
        ):
            raise ValueError("[sequences] Expected offsets from 0 to len(values), never falling.")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> Int32 | Float32:
        if not 0 <= i < len(self):
            raise IndexError(f"sequence {i} of {len(self)}")
        return _wide(self.values[self.offsets[i] : self.offsets[i + 1]])

    @property
    def lengths(self) -> Int32:
        """[N] length of each sequence."""
        lengths = np.empty(len(self), np.int32)
        for to, ends in zip(_parts(lengths), _parts(self.offsets, overlap=1), strict=True):
            np.subtract(ends[1:], ends[:-1], out=to, casting="same_kind")
        return lengths

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> tuple[Int32 | Float32, Int32]:
        """Return the values of some sequences, one after another, and their lengths."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        index = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
        return _wide(self.values[index]), lengths.astype(np.int32)

    def checksum(self, start: int = 0) -> int:
        """Return the crc32 of offsets and values, the same for ids of 16 and of 32 bits."""
        for values in (self.offsets, self.values):
            for part in _parts(values):
                start = zlib.crc32(np.ascontiguousarray(_wide(part)).reshape(-1).view(np.uint8).data, start)
        return start


def _wide(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ids of 16 bits as int32, all else as it is."""
    return values.astype(np.int32) if values.dtype == np.uint16 else values


def _parts(values: npt.NDArray[Any], overlap: int = 0) -> Iterator[npt.NDArray[Any]]:
    """Cut an array, so that what is computed of it takes little memory; a part may reach into the next."""
    size = 1 << 16
    for start in range(0, max(len(values) - overlap, 1), size):
        yield values[start : start + size + overlap]


class Dataset:
    """Sequence pairs.

    Args:
        source: token ids or feature vectors, each sequence at least one long.
        target: token ids, each sequence ending with eos.
        copies: the copy ids of each source, for a network that copies (see `copying`).
        dropped: how many pairs the reader left out, by reason; and how many columns (see `tsv.read_tsv`).
        on_disk: reading a batch may wait for a disk; it is then prepared ahead.
        fingerprint: what `fingerprint` would compute, where that is known.

    Raises:
        ValueError: the two differ in number, a sequence is empty, or copies are not as long as their sources.
    """

    def __init__(
        self,
        source: Sequences,
        target: Sequences,
        *,
        copies: Sequences | None = None,
        dropped: dict[str, int] | None = None,
        on_disk: bool = False,
        fingerprint: str | None = None,
    ) -> None:
        if len(source) != len(target):
            raise ValueError(
                f"[dataset] Expected as many targets as sources, {len(source)}, got {len(target)}."
            )
        if target.values.dtype == np.float32:
            raise TypeError("[dataset] Expected target to be token ids, got feature vectors.")
        if copies is not None:
            if copies.values.dtype == np.float32:
                raise TypeError("[dataset] Expected copies to be token ids, got feature vectors.")
            if not np.array_equal(copies.offsets, source.offsets):
                raise ValueError("[dataset] Expected copies as long as their sources.")
        self.source, self.target, self.copies = source, target, copies
        self.source_lengths: Int32 = source.lengths
        self.target_lengths: Int32 = target.lengths
        self.dropped = dropped or {}
        self.on_disk = on_disk
        self._fingerprint = fingerprint
        for name, lengths in (("source", self.source_lengths), ("target", self.target_lengths)):
            if len(lengths) and lengths.min() < 1:
                raise ValueError(
                    f"[dataset] Expected no empty {name}, example {int(lengths.argmin())} is empty."
                )

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"Dataset({len(self)} pairs)"

    def batch(self, examples: npt.ArrayLike) -> Batch:
        """Return some examples, by their places in the data set, as a batch."""
        rows = np.asarray(examples, dtype=np.int64)
        if rows.ndim != 1 or (len(rows) and not (rows.min() >= 0 and rows.max() < len(self))):
            raise ValueError(
                f"[dataset] Expected examples from 0 to {len(self) - 1} of shape [N], got {examples!r}."
            )
        source, source_lengths = self.source.take(rows)
        target, target_lengths = self.target.take(rows)
        copies = None if self.copies is None else self.copies.take(rows)[0].astype(np.int32, copy=False)
        return Batch(
            source, source_lengths, target.astype(np.int32, copy=False), target_lengths, rows, copies
        )

    def fingerprint(self) -> str:
        """Return a short text that differs, in all likelihood, if the data differ."""
        if self._fingerprint is None:
            checksum = self.target.checksum(self.source.checksum())
            if self.copies is not None:
                checksum = self.copies.checksum(checksum)
            self._fingerprint = f"{len(self)} pairs, crc32 {checksum:08x}"
        return self._fingerprint

    @classmethod
    def from_sequences(
        cls,
        sources: Iterable[npt.ArrayLike],
        targets: Iterable[Sequence[int]],
        *,
        eos_id: int,
        copies: Iterable[npt.ArrayLike] | None = None,
    ) -> Dataset:
        """Make a data set of sequences.

        Args:
            sources: token ids `[S]` each, or feature vectors `[S, C]` each (finite, all of one width C).
            targets: token ids each, without bos and eos.
            eos_id: appended to every target.
            copies: copy ids of each source, for a network that copies (see `copying`).

        Raises:
            ValueError: naming the example that is empty, of the wrong shape, negative or not finite.
            TypeError: sources are neither integers nor floating point numbers.
        """
        builder = IdsBuilder()
        for i, target in enumerate(targets):
            ids = _ids(target, f"target of example {i}")
            builder.append([*ids.tolist(), eos_id])
        return cls(
            _source_sequences(sources),
            builder.finish(),
            copies=None if copies is None else _source_sequences(copies, "copies"),
        )


@dataclass
class IdsBuilder:
    """Grows the two flat arrays of a `Sequences` of ids; `finish` hands them over without a copy."""

    values: array[int] = field(default_factory=lambda: array("i"))
    offsets: array[int] = field(default_factory=lambda: array("q", [0]))

    def append(self, ids: list[int]) -> None:
        self.values.extend(ids)
        self.offsets.append(len(self.values))

    def finish(self) -> Sequences:
        values: Int32 = np.frombuffer(self.values, dtype=np.int32) if self.values else np.zeros(0, np.int32)
        return Sequences(values, np.frombuffer(self.offsets, dtype=np.int64))


def _ids(sequence: npt.ArrayLike, what: str) -> Int64:
    ids = np.asarray(sequence)
    if ids.size == 0 and ids.ndim == 1:
        return np.zeros(0, np.int64)
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"[dataset] Expected {what} to be integers, got {ids.dtype}.")
    if ids.ndim != 1:
        raise ValueError(f"[dataset] Expected {what} of shape [length], got {list(ids.shape)}.")
    if ids.min() < 0 or ids.max() > np.iinfo(np.int32).max:
        raise ValueError(
            f"[dataset] Expected {what} to be ids of 0 or more that fit int32, got {ids.min()}..{ids.max()}."
        )
    return ids.astype(np.int64)


def _source_sequences(sources: Iterable[npt.ArrayLike], what: str = "source") -> Sequences:
    arrays = [np.asarray(source) for source in sources]
    if not (arrays and np.issubdtype(arrays[0].dtype, np.floating)):
        builder = IdsBuilder()
        for i, ids in enumerate(arrays):
            builder.append(_ids(ids, f"{what} of example {i}").tolist())
        return builder.finish()
    width = arrays[0].shape[-1] if arrays[0].ndim == 2 else -1
    for i, features in enumerate(arrays):
        if not np.issubdtype(features.dtype, np.floating):
            raise TypeError(
                f"[dataset] Expected source of example {i} to be floating point, got {features.dtype}."
            )
        if features.ndim != 2 or features.shape[1] != width or width < 1:
            expected = f"[length, {width}]" if width > 0 else "[length, features]"
            raise ValueError(
                f"[dataset] Expected source of example {i} of shape {expected}, got {list(features.shape)}."
            )
        if not np.isfinite(features).all():
            raise ValueError(f"[dataset] Expected source of example {i} to be finite, got nan or infinity.")
    lengths = np.fromiter((len(features) for features in arrays), np.int64, len(arrays))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    values = np.empty((int(offsets[-1]), width), np.float32)
    np.concatenate(arrays, out=values, casting="same_kind")
    return Sequences(values, offsets)
