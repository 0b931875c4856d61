"""Data sets of feature sequences and texts, for `Trainer`: read from files as batches are made.

    manifest = read_manifest("train.tsv")
    front_end = FrontEnd.fit(manifest.sequences, manifest.groups, normalization="global")
    train = read_features(manifest, target, front_end, augmentation=Augmentation(noise=0.1))

What stays in memory is the texts' ids and some 100 bytes a sequence.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seq2seq_fast.augmentation import Augmentation
from seq2seq_fast.data import Batch, Float32, IdsBuilder, Int32, Int64, Sequences
from seq2seq_fast.feature_files import FeatureSequences
from seq2seq_fast.front_end import Change, FrontEnd
from seq2seq_fast.manifest import Manifest
from seq2seq_fast.text import TextField
from seq2seq_fast.tsv import Limits

if TYPE_CHECKING:
    from typing import Any

__all__ = ["FeatureDataset", "FeatureSources", "read_features"]


class FeatureSources:
    """Feature sequences as an encoder reads them: behind their front end.

    Args:
        sequences: the sequences.
        front_end: what they go through. Groups that it does not know get statistics from `sequences`.
        groups: [N] who each sequence is of, for normalisation by group.

    Raises:
        ValueError: the sequences are not as wide as the front end wants them, or groups are missing.
    """

    def __init__(
        self, sequences: FeatureSequences, front_end: FrontEnd, groups: Sequence[str] | None = None
    ) -> None:
        if sequences.width != front_end.features:
            raise ValueError(
                f"[features] Expected feature vectors of {front_end.features} values, got {sequences.width}."
            )
        if groups is not None and len(groups) != len(sequences):
            raise ValueError(f"[features] Expected groups of {len(sequences)} sequences, got {len(groups)}.")
        self.sequences, self.groups = sequences, groups
        self.front_end = front_end.with_groups(sequences, groups)
        self.lengths: Int32 = front_end.lengths(sequences.lengths)
        """[N] how many vectors the encoder reads, without augmentation."""

    def __len__(self) -> int:
        return len(self.sequences)

    def get(self, i: int, change: Change | None = None) -> Float32:
        """Read sequence i: float32 [length, front_end.width], augmented by `change`."""
        group = None if self.groups is None else self.groups[i]
        try:
            return self.front_end(self.sequences[i], group, change)
        except ValueError as error:
            name = self.sequences.names[i]
            raise ValueError(str(error) if name in str(error) else f"{name}: {error}") from None

    def take(
        self, rows: Sequence[int] | npt.NDArray[np.integer[Any]], changes: Sequence[Change] | None = None
    ) -> tuple[Float32, Int32]:
        """Read some sequences: their vectors one after another, and their lengths."""
        parts = [self.get(int(i), changes[n] if changes else None) for n, i in enumerate(rows)]
        return np.concatenate(parts), np.array([len(part) for part in parts], np.int32)


class FeatureDataset:
    """Pairs of a feature sequence and a target; a sequence may have several targets, a pair with each.

    Args:
        sources: the sequences.
        pairs: [P] the sequence of each pair.
        target: token ids of each pair, ending with eos.
        augmentation: what training does to the features.
        dropped: how many pairs the reader left out, by reason.

    Raises:
        ValueError: the numbers do not fit, or there are no pairs.
    """

    on_disk = True
    """Batches are made ahead of their use."""

    def __init__(
        self,
        sources: FeatureSources,
        pairs: npt.ArrayLike,
        target: Sequences,
        *,
        augmentation: Augmentation | None = None,
        dropped: dict[str, int] | None = None,
    ) -> None:
        self.pairs: Int64 = np.asarray(pairs, np.int64)
        if self.pairs.shape != (len(target),):
            raise ValueError(
                f"[features] Expected pairs of shape [{len(target)}], as many as targets, got "
                f"{list(self.pairs.shape)}."
            )
        if len(self.pairs) and not (self.pairs.min() >= 0 and self.pairs.max() < len(sources)):
            raise ValueError(f"[features] Expected pairs of sequences from 0 to {len(sources) - 1}.")
        self.sources, self.target = sources, target
        self.augmentation = augmentation if augmentation is not None and augmentation.active else None
        self.dropped = dropped or {}
        self.source_lengths: Int32 = sources.lengths[self.pairs]
        self.target_lengths: Int32 = target.lengths
        if len(target) and self.target_lengths.min() < 1:
            raise ValueError(
                f"[features] Expected no empty target, that of pair {int(self.target_lengths.argmin())} is."
            )
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"FeatureDataset({len(self)} pairs of {len(self.sources)} sequences)"

    def batch(self, examples: npt.ArrayLike) -> Batch:
        """Return some pairs, by their places in the data set, as a batch, their features as they are."""
        return self._batch(np.asarray(examples, np.int64), None)

    def training_batch(self, examples: npt.ArrayLike, *, update: int, seed: int) -> Batch:
        """Return a batch of an update, its features augmented: the same ones for the same numbers."""
        rows = np.asarray(examples, np.int64)
        if self.augmentation is None:
            return self._batch(rows, None)
        return self._batch(rows, [self.augmentation.of(seed, update, int(i)) for i in rows])

    def _batch(self, rows: Int64, changes: Sequence[Change] | None) -> Batch:
        if rows.ndim != 1 or (len(rows) and not (rows.min() >= 0 and rows.max() < len(self))):
            raise ValueError(
                f"[features] Expected examples from 0 to {len(self) - 1} of shape [N], got {rows.tolist()}."
            )
        source, source_lengths = self.sources.take(self.pairs[rows], changes)
        target, target_lengths = self.target.take(rows)
        return Batch(source, source_lengths, target.astype(np.int32, copy=False), target_lengths, rows)

    def fingerprint(self) -> str:
        """Return a short text that differs, in all likelihood, if the data or their front end differ.

        All features are read for it, and so is found what cannot be read.
        """
        if self._fingerprint is None:
            sources = self.sources
            settings = json.dumps([sources.front_end.settings(), sources.groups]).encode()
            checksum = self.target.checksum(zlib.crc32(self.pairs.tobytes(), zlib.crc32(settings)))
            for name in sorted(sources.front_end.statistics):
                checksum = zlib.crc32(sources.front_end.statistics[name].to_bytes(), checksum)
            for i in range(len(sources)):
                checksum = zlib.crc32(sources.sequences[i].tobytes(), checksum)
            self._fingerprint = f"{len(self)} pairs of features, crc32 {checksum:08x}"
        return self._fingerprint


def read_features(
    manifest: Manifest,
    target: TextField,
    front_end: FrontEnd,
    *,
    augmentation: Augmentation | None = None,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    min_target_length: int = 1,
) -> FeatureDataset:
    """Make a data set of a manifest: a pair of each sequence with each of its texts.

    Args:
        manifest: see `manifest.read_manifest`.
        target: turns texts into ids; eos is appended whether or not `target.eos` is on.
        front_end: what the features go through.
        augmentation: what training does to them.
        max_source_length: pairs with a sequence that gives the encoder more vectors are left out and counted
            in `dropped`, and so are those outside the next two.
        max_target_length: the most tokens of a target.
        min_target_length: the fewest.

    Raises:
        ValueError: no pair is left; the manifest's features are not as wide as the front end wants them.
    """
    eos_id = target.vocabulary.eos_id
    if eos_id is None:
        raise ValueError("[features] Expected a target vocabulary with an eos token, got one without.")
    field = replace(target, eos=False)
    limits = Limits(max_source_length, max_target_length, min_target_length)
    sources = FeatureSources(manifest.sequences, front_end, manifest.groups)
    ids, pairs, dropped = IdsBuilder(), [], Counter[str]()
    for i, texts in enumerate(manifest.texts):
        for text in texts:
            tokens = field.tokenizer.tokenize(text)
            refusal = limits.refusal(range(sources.lengths[i]), tokens)
            if refusal is not None:
                dropped[refusal] += 1
                continue
            pairs.append(i)
            ids.append([*field.tokens_to_ids(tokens), eos_id])
    if not pairs:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise ValueError(f"{manifest.path}: no pair to read" + (f" ({reasons})." if reasons else "."))
    return FeatureDataset(sources, pairs, ids.finish(), augmentation=augmentation, dropped=dict(dropped))
