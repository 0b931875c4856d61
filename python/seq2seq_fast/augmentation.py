"""Changes of training features, other ones each time an example is seen: masks, speed, noise.

All random numbers are Philox's, counted by update, example and kind of change, as dropout's masks are: they
do not depend on batches, threads or where a run was resumed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq_fast.arguments import integer, number
from seq2seq_fast.data import Float32

__all__ = ["Augmentation", "resample"]

_SPEED, _NOISE, _TIME, _FREQUENCY = range(4)


@dataclass(frozen=True)
class Augmentation:
    """What is done to features in training; validation and inference see them as they are.

    Applied in this order: speed and noise to normalised vectors, then masks to these with their deltas. What
    is masked is 0, which is the mean of what was normalised.

    Args:
        time_masks: so many runs of vectors are masked (SpecAugment, Park et al. 2019, without time warping).
        time_mask_width: a run's length is drawn from 0 to this.
        time_mask_share: but is this part of the sequence at most.
        frequency_masks: so many runs of features are masked in all vectors, in their deltas, too.
        frequency_mask_width: a run's width is drawn from 0 to this.
        speed_change: sequences are resampled to be faster or slower by a factor drawn from 1 - this to 1 +
            this: T vectors become round(T / factor), by linear interpolation.
        noise: deviation of the normal noise that is added.

    Raises:
        ValueError, TypeError: naming the argument.
    """

    time_masks: int = 0
    time_mask_width: int = 0
    time_mask_share: float = 1.0
    frequency_masks: int = 0
    frequency_mask_width: int = 0
    speed_change: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("time_masks", "time_mask_width", "frequency_masks", "frequency_mask_width"):
            integer("augmentation", name, getattr(self, name), 0, 1 << 20)
        number("augmentation", "time_mask_share", self.time_mask_share, 0.0, 1.0)
        number("augmentation", "speed_change", self.speed_change, 0.0, 0.9)
        number("augmentation", "noise", self.noise, 0.0, 1e6)

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        masks = self.time_masks * self.time_mask_width + self.frequency_masks * self.frequency_mask_width
        return masks > 0 or self.speed_change > 0 or self.noise > 0

    def settings(self) -> dict[str, Any] | None:
        """The arguments as plain values; None where nothing is changed."""
        return asdict(self) if self.active else None

    def of(self, seed: int, update: int, example: int) -> _Changes:
        """Return the changes of one example in one update; see `front_end.Change`."""
        return _Changes(self, seed, update, example)


@dataclass(frozen=True)
class _Changes:
    options: Augmentation
    seed: int
    update: int
    example: int

    def _random(self, kind: int) -> np.random.Philox:
        # The generator counts in the first word itself.
        return np.random.Philox(
            key=np.array([self.seed, self.update], np.uint64),
            counter=np.array([0, self.example, kind, 0], np.uint64),
        )

    def frames(self, x: Float32) -> Float32:
        options = self.options
        if options.speed_change:
            (u,) = _uniforms(self._random(_SPEED), 1)
            factor = 1.0 + options.speed_change * (2.0 * u - 1.0)
            x = resample(x, max(1, round(len(x) / factor)))
        if options.noise:
            x = x + np.float32(options.noise) * _normals(self._random(_NOISE), x.size).reshape(x.shape)
        return x

    def mask(self, x: Float32, features: int) -> Float32:
        options = self.options
        x = x.copy()
        longest = min(options.time_mask_width, int(options.time_mask_share * len(x)))
        for start, end in _spans(self._random(_TIME), options.time_masks, longest, len(x)):
            x[start:end] = 0.0
        blocks = x.reshape(len(x), -1, features)
        widest = min(options.frequency_mask_width, features)
        for start, end in _spans(self._random(_FREQUENCY), options.frequency_masks, widest, features):
            blocks[:, :, start:end] = 0.0
        return x


def resample(x: Float32, length: int) -> Float32:
    """Stretch or shrink vectors [T, C] to another number of them, by linear interpolation; the first and the
    last stay."""
    if length == len(x):
        return x
    at = np.linspace(0.0, len(x) - 1.0, length) if length > 1 else np.full(1, (len(x) - 1) / 2)
    left = np.minimum(at.astype(np.int64), max(len(x) - 2, 0))
    right = np.minimum(left + 1, len(x) - 1)
    weight = (at - left).astype(np.float32)[:, None]
    mixed: Float32 = x[left] * (np.float32(1.0) - weight) + x[right] * weight
    return mixed


def _uniforms(random: np.random.Philox, count: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), of raw bits: numpy may change what its distributions make of these."""
    bits = np.asarray(random.random_raw(count), np.uint64) >> np.uint64(11)
    uniforms: npt.NDArray[np.float64] = bits.astype(np.float64) * 2.0**-53
    return uniforms


def _normals(random: np.random.Philox, count: int) -> Float32:
    """Normal numbers, two of two uniform ones (Box & Muller 1958)."""
    half = -(-count // 2)
    u = 1.0 - _uniforms(random, 2 * half)  # (0, 1]
    radius = np.sqrt(-2.0 * np.log(u[:half]))
    angle = 2.0 * np.pi * u[half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:count].astype(np.float32)


def _spans(random: np.random.Philox, count: int, widest: int, total: int) -> list[tuple[int, int]]:
    """Draw runs within 0 .. total, each of 0 to `widest`."""
    spans = []
    u = _uniforms(random, 2 * count)
    for i in range(count):
        width = int(u[2 * i] * (widest + 1))
        start = int(u[2 * i + 1] * (total - width + 1))
        spans.append((start, start + width))
    return spans
