"""Which examples make a batch, and in which order: bucketed by length, shuffled from a seed; or as they come.

The batches of an epoch depend on the lengths of the sequences, the settings, the seed and the number of the
epoch, and on nothing else; so a place in a training run is two integers, the epoch and the position in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seq2seq_fast.arguments import integer

T = TypeVar("T")
Int64 = npt.NDArray[np.int64]

BATCH_TYPES = ("tokens", "examples")


@dataclass(frozen=True)
class Batching:
    """How a data set is cut into batches (names as in OpenNMT).

    Args:
        batch_size: the most examples in a batch, or the most tokens (or feature vectors), counted on the
            source and on the target side, whichever has more. An example that is longer is a batch of its
            own.
        batch_type: "tokens" or "examples".
        bucket_size: so many examples, drawn at random, are sorted by length together. Large: the sequences of
            a batch are of like length, which is fast; small: batches are more random.
        seed: from 0 to 2**64 - 1.
    """

    batch_size: int = 2048
    batch_type: str = "tokens"
    bucket_size: int = 16384
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "bucket_size"):
            integer("batching", name, getattr(self, name), 1)
        if self.batch_type not in BATCH_TYPES:
            raise ValueError(
                f"[batching] Expected batch_type to be one of {BATCH_TYPES}, got {self.batch_type!r}."
            )
        integer("batching", "seed", self.seed, 0, 2**64 - 1)

    def epoch(self, source_lengths: Int64, target_lengths: Int64, epoch: int) -> list[Int64]:
        """Return the batches of one epoch, each the places of its examples, in training order."""
        # One counter-based stream per (seed, epoch). Sorting raw bits gives the same order with every numpy,
        # which Generator.permutation does not promise.
        random = np.random.Philox(key=np.array([self.seed, epoch], dtype=np.uint64))
        order = np.argsort(random.random_raw(len(source_lengths)), kind="stable")
        batches: list[Int64] = []
        for start in range(0, len(order), self.bucket_size):
            bucket = order[start : start + self.bucket_size]
            batches += self._cut(bucket, source_lengths, target_lengths)
        return [batches[i] for i in np.argsort(random.random_raw(len(batches)), kind="stable")]

    def in_order_of_length(self, source_lengths: Int64, target_lengths: Int64) -> list[Int64]:
        """Return the batches of a data set that is not shuffled, as for validation."""
        return self._cut(np.arange(len(source_lengths)), source_lengths, target_lengths)

    def _cut(self, examples: Int64, source_lengths: Int64, target_lengths: Int64) -> list[Int64]:
        """Sort examples by length (stable: ties stay in their order) and cut them into batches."""
        examples = examples[np.lexsort((source_lengths[examples], target_lengths[examples]))]
        if self.batch_type == "examples":
            return [examples[i : i + self.batch_size] for i in range(0, len(examples), self.batch_size)]
        source_ends = np.cumsum(source_lengths[examples])
        target_ends = np.cumsum(target_lengths[examples])
        batches = []
        start = source_before = target_before = 0
        while start < len(examples):
            end = min(
                int(np.searchsorted(source_ends, source_before + self.batch_size, side="right")),
                int(np.searchsorted(target_ends, target_before + self.batch_size, side="right")),
            )
            end = max(end, start + 1)
            batches.append(examples[start:end])
            start, source_before, target_before = end, int(source_ends[end - 1]), int(target_ends[end - 1])
        return batches


def batches(items: Iterable[T], limit: int, weight: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut items into runs, in order, each of a total weight of at most `limit`; an item may weigh more."""
    batch: list[T] = []
    total = 0
    for item in items:
        w = weight(item)
        if batch and total + w > limit:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += w
        # A full batch goes out now: whoever writes the lines may be waiting for the answer.
        if total >= limit:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
