"""What happens to feature vectors between a file and the network: normalisation, deltas, frame stacking.

A model's folder holds its front end, with the statistics, so that `Translator` and the command line take the
vectors that the training files had.

    x -> (x - mean) * scale -> [x, delta, delta of delta] -> frames side by side
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seq2seq_fast.arguments import choice, integer
from seq2seq_fast.data import Float32, Int32
from seq2seq_fast.feature_files import FeatureSequences

__all__ = ["FrontEnd", "Statistics", "add_deltas", "stack_frames"]

NORMALIZATIONS = ("none", "global", "group", "sequence")


@dataclass(frozen=True)
class Statistics:
    """What normalises each feature: x becomes (x - mean) * scale.

    Made of sequences, mean and 1 / scale are the features' mean and deviation over all their vectors, in
    float64; a feature that hardly varies (a deviation below 1e-6 of its size, or of 1e-6) has the scale 1.
    """

    mean: Float32
    """[C]"""
    scale: Float32
    """[C]"""

    @classmethod
    def of(cls, sequences: Iterable[npt.NDArray[np.floating[Any]]]) -> Statistics:
        """Make the statistics of sequences [T, C] each.

        Raises:
            ValueError: there is no vector.
        """
        count, mean, square = 0, np.zeros(0), np.zeros(0)  # square: the sum of squared differences
        for x in sequences:
            own = x.mean(axis=0, dtype=np.float64)
            own_square = np.square(x - own).sum(axis=0)
            if not count:
                count, mean, square = len(x), own, own_square
                continue
            # Chan et al. 1979: two sets' moments make those of both.
            total = count + len(x)
            step = own - mean
            square = square + own_square + np.square(step) * (count * len(x) / total)
            mean = mean + step * (len(x) / total)
            count = total
        if not count:
            raise ValueError("[statistics] Expected at least one feature vector, got none.")
        deviation = np.sqrt(square / count)
        varies = deviation > 1e-6 * np.maximum(np.abs(mean), 1.0)
        scale = 1.0 / np.where(varies, deviation, 1.0)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def to_bytes(self) -> bytes:
        """Return the numbers' bytes, to compare them."""
        return np.ascontiguousarray(self.mean).tobytes() + np.ascontiguousarray(self.scale).tobytes()

    def __call__(self, x: Float32) -> Float32:
        """Normalise float32 [T, C]."""
        normalised: Float32 = (x - self.mean) * self.scale
        return normalised


class Change(Protocol):
    """What augmentation does to a training example on its way through the front end."""

    def frames(self, x: Float32) -> Float32:
        """Change normalised vectors, and perhaps their number."""

    def mask(self, x: Float32, features: int) -> Float32:
        """Hide parts of vectors that are blocks of so many features side by side."""


@dataclass(frozen=True)
class FrontEnd:
    """Turns feature vectors [T, features] into what the encoder reads, [ceil(T / stride), width].

    Args:
        features: width of the vectors in files.
        normalization: "none"; "global": by the mean and deviation of all training vectors; "group": by those
            of the sequence's group, a speaker or a series; "sequence": by its own.
        deltas: 1: the vectors' slopes beside them, 2: the slopes of these, too. d_t = sum_n n (x_{t+n} -
            x_{t-n}) / (2 sum_n n^2) with n from 1 to `delta_window`, edges repeated (HTK, torchaudio's
            compute_deltas).
        delta_window: see there.
        stack: so many successive vectors make one, side by side; the last one is repeated at the end.
        stride: and each begins so many after the one before (0: as many as `stack`).
        statistics: by group, "" for all; made by `fit`.

    Raises:
        ValueError, TypeError: naming what is wrong.
    """

    features: int
    normalization: str = "none"
    deltas: int = 0
    delta_window: int = 2
    stack: int = 1
    stride: int = 0
    statistics: Mapping[str, Statistics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        integer("front end", "features", self.features, 1, 1 << 20)
        choice("front end", "normalization", self.normalization, NORMALIZATIONS)
        integer("front end", "deltas", self.deltas, 0, 2)
        integer("front end", "delta_window", self.delta_window, 1, 100)
        integer("front end", "stack", self.stack, 1, 1000)
        integer("front end", "stride", self.stride, 0, 1000)
        for name, one in self.statistics.items():
            for what in ("mean", "scale"):
                shape = getattr(one, what).shape
                if shape != (self.features,):
                    raise ValueError(
                        f"[front end] Expected {what} of {name or 'all'!r} of shape [{self.features}], "
                        f"got {list(shape)}."
                    )

    @property
    def width(self) -> int:
        """Width of what comes out: the model's source_features."""
        return self.features * (1 + self.deltas) * self.stack

    @property
    def step(self) -> int:
        """How many vectors go into one, in the mean."""
        return self.stride or self.stack

    def lengths(self, lengths: Int32) -> Int32:
        """How many vectors come out of so many."""
        return (-(-lengths // self.step)).astype(np.int32)

    @classmethod
    def fit(
        cls, sequences: FeatureSequences, groups: Sequence[str] | None = None, **settings: Any
    ) -> FrontEnd:
        """Make a front end with the statistics of training sequences.

        Args:
            sequences: all training sequences.
            groups: [N] who each is of, for normalisation by group.
            settings: the arguments of `FrontEnd`, without features and statistics.

        Raises:
            ValueError, TypeError: as `FrontEnd`; or a sequence cannot be read.
        """
        front_end = cls(sequences.width, **settings)
        if front_end.normalization == "global":
            everything = Statistics.of(sequences[i] for i in range(len(sequences)))
            return replace(front_end, statistics={"": everything})
        return front_end.with_groups(sequences, groups)

    def with_groups(self, sequences: FeatureSequences, groups: Sequence[str] | None) -> FrontEnd:
        """Return a front end that knows the statistics of further groups, too, from all of their sequences
        here. One that it knows stays as it is. Where normalisation is not by group, there is nothing to do.

        Raises:
            ValueError: there are no groups.
        """
        if self.normalization != "group":
            return self
        if groups is None:
            raise ValueError("[front end] Expected groups, as normalization is by group; got none.")
        members: dict[str, list[int]] = {}
        for i, group in enumerate(groups):
            if group not in self.statistics:
                members.setdefault(group, []).append(i)
        new = {group: Statistics.of(sequences[i] for i in rows) for group, rows in members.items()}
        return replace(self, statistics={**self.statistics, **new})

    def __call__(
        self, x: Float32, group: str | Statistics | None = None, change: Change | None = None
    ) -> Float32:
        """Turn one sequence float32 [T, features], finite, into [ceil(T / stride), width].

        Args:
            group: who it is of, or its group's statistics; where normalisation is by group.
            change: augmentation, in training.

        Raises:
            ValueError: the group is not known, or a value is too large for float32.
        """
        statistics = self._statistics(x, group)
        if statistics is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                x = statistics(x)
        if change is not None:
            x = change.frames(x)
        x = add_deltas(x, self.deltas, self.delta_window)
        if change is not None:
            x = change.mask(x, self.features)
        x = stack_frames(x, self.stack, self.step)
        if not np.isfinite(x).all():
            raise ValueError("[front end] Expected features of moderate size; they overflow when normalised.")
        return np.ascontiguousarray(x)

    def _statistics(self, x: Float32, group: str | Statistics | None) -> Statistics | None:
        if self.normalization == "none":
            return None
        if self.normalization == "sequence":
            return Statistics.of([x])
        if self.normalization == "global":
            group = ""
        if isinstance(group, Statistics):
            if group.mean.shape != (self.features,) or group.scale.shape != (self.features,):
                raise ValueError(
                    f"[front end] Expected statistics of {self.features} features, got {len(group.mean)}."
                )
            return group
        if group is None:
            raise ValueError("[front end] Expected a group, as normalization is by group; got none.")
        if group not in self.statistics:
            raise ValueError(
                f"[front end] Expected a group whose statistics are known, or its statistics, got {group!r}."
            )
        return self.statistics[group]

    def settings(self) -> dict[str, Any]:
        """Everything but the statistics, as plain values."""
        return {
            "features": self.features,
            "normalization": self.normalization,
            "deltas": self.deltas,
            "delta_window": self.delta_window,
            "stack": self.stack,
            "stride": self.stride,
        }


def add_deltas(x: Float32, order: int, window: int = 2) -> Float32:
    """Put slopes beside vectors [T, C]: [T, C (1 + order)]. See `FrontEnd`."""
    parts = [x]
    norm = np.float32(2 * sum(n * n for n in range(1, window + 1)))
    for _ in range(order):
        last = parts[-1]
        padded = np.pad(last, ((window, window), (0, 0)), mode="edge")
        slope = np.zeros_like(last)
        for n in range(1, window + 1):
            ahead = padded[window + n : window + n + len(x)]
            slope += np.float32(n) * (ahead - padded[window - n : window - n + len(x)])
        parts.append(slope / norm)
    return np.concatenate(parts, axis=1) if order else x


def stack_frames(x: Float32, stack: int, stride: int) -> Float32:
    """Put `stack` successive vectors of x [T, C] side by side, one such for each `stride`:
    [ceil(T / stride), C stack]."""
    if stack == stride == 1:
        return x
    starts = np.arange(0, len(x), stride)
    rows = np.minimum(starts[:, None] + np.arange(stack), len(x) - 1)
    stacked: Float32 = x[rows].reshape(len(starts), -1)
    return stacked
