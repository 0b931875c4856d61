"""Which examples make a batch, and in which order: bucketed by length, shuffled from a seed; or as they come.

The batches of an epoch depend on the lengths of the sequences, the settings, the seed and the number of the
epoch, and on nothing else; so a place in a training run is two integers, the epoch and the position in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from seq2seq_fast.arguments import integer

T = TypeVar("T")
Int64 = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.integer[Any]]

BATCH_TYPES = ("tokens", "examples")


class Batches(Sequence[Int64]):
    """Batches, each the places of its examples, in an order; held are 4 bytes an example (8 from 2**31 on).

    Args:
        examples: [N] every example, batch after batch.
        ends: [B] where in `examples` each batch ends.
        order: [B] the batches' order; None: as they are.
    """

    def __init__(self, examples: Int64, ends: list[int], order: Int64 | None = None) -> None:
        small = len(examples) <= 2**31
        self._examples = examples.astype(np.int32) if small else examples
        self._ends = np.array([0, *ends], np.int64)
        self._order = order

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: Any) -> Any:
        i = range(len(self))[i]
        if isinstance(i, range):
            return [self[k] for k in i]
        at = i if self._order is None else self._order[i]
        return self._examples[self._ends[at] : self._ends[at + 1]].astype(np.int64)


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
        for name, least, most in (
            ("batch_size", 1, 2**63 - 1),
            ("bucket_size", 1, 2**63 - 1),
            ("seed", 0, 2**64 - 1),
        ):
            object.__setattr__(self, name, integer("batching", name, getattr(self, name), least, most))
        if self.batch_type not in BATCH_TYPES:
            raise ValueError(
                f"[batching] Expected batch_type to be one of {BATCH_TYPES}, got {self.batch_type!r}."
            )

    def epoch(self, source_lengths: Lengths, target_lengths: Lengths, epoch: int) -> Batches:
        """Return the batches of one epoch, in training order."""
        # One counter-based stream per (seed, epoch). Sorting raw bits gives the same order with every numpy,
        # which Generator.permutation does not promise.
        random = np.random.Philox(key=np.array([self.seed, epoch], dtype=np.uint64))
        examples = np.argsort(random.random_raw(len(source_lengths)), kind="stable")
        ends: list[int] = []
        for start in range(0, len(examples), self.bucket_size):
            bucket = examples[start : start + self.bucket_size]
            bucket[:] = self._sorted(bucket, source_lengths, target_lengths)
            ends += (start + end for end in self._ends(bucket, source_lengths, target_lengths))
        return Batches(examples, ends, np.argsort(random.random_raw(len(ends)), kind="stable"))

    def in_order_of_length(self, source_lengths: Lengths, target_lengths: Lengths) -> Batches:
        """Return the batches of a data set that is not shuffled, as for validation."""
        examples = self._sorted(np.arange(len(source_lengths)), source_lengths, target_lengths)
        return Batches(examples, self._ends(examples, source_lengths, target_lengths))

    @staticmethod
    def _sorted(examples: Int64, source_lengths: Lengths, target_lengths: Lengths) -> Int64:
        """Sort examples by length; stable: ties stay in their order."""
        return examples[np.lexsort((source_lengths[examples], target_lengths[examples]))]

    def _ends(self, examples: Int64, source_lengths: Lengths, target_lengths: Lengths) -> list[int]:
        """Cut sorted examples into batches; return where each ends."""
        if self.batch_type == "examples":
            return [*range(self.batch_size, len(examples), self.batch_size), len(examples)]
        source_ends = np.cumsum(source_lengths[examples], dtype=np.int64)
        target_ends = np.cumsum(target_lengths[examples], dtype=np.int64)
        ends = []
        start = source_before = target_before = 0
        while start < len(examples):
            end = min(
                int(np.searchsorted(source_ends, source_before + self.batch_size, side="right")),
                int(np.searchsorted(target_ends, target_before + self.batch_size, side="right")),
            )
            end = max(end, start + 1)
            ends.append(end)
            start, source_before, target_before = end, int(source_ends[end - 1]), int(target_ends[end - 1])
        return ends


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
