"""How the learning rate changes in the course of training, and when training has stopped getting better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from seq2seq_fast.arguments import integer, number


@dataclass
class Best:
    """The best of a row of values, and how many came since.

    Args:
        threshold: a value is better if it is by this part of the best so far.
    """

    threshold: float = 0.0
    value: float | None = None
    since: int = 0

    def update(self, value: float, *, maximize: bool) -> bool:
        """Take note of a value; return whether it is the best so far."""
        gain = 0.0 if self.value is None else (value - self.value if maximize else self.value - value)
        better = self.value is None or gain > self.threshold * abs(self.value)
        self.value, self.since = (value, 0) if better else (self.value, self.since + 1)
        return better


def factor_below_1(factor: float) -> float:
    factor = number("scheduler", "factor", factor)
    if not 0 < factor < 1:
        raise ValueError(f"[scheduler] Expected factor between 0 and 1, got {factor}.")
    return factor


@dataclass
class Scheduler:
    """A constant learning rate, after a linear warm-up.

    A schedule is its settings plus a little state; subclasses override `lr` and, if they look at validations,
    `validated`.

    Args:
        warmup_steps: the learning rate rises over so many steps.
    """

    warmup_steps: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        self.warmup_steps = integer("scheduler", "warmup_steps", self.warmup_steps, 0)

    def lr(self, base: float, step: int) -> float:
        """Return the learning rate of step number `step` (from 1), `base` being the optimiser's."""
        return base * min(1.0, step / self.warmup_steps) if self.warmup_steps else base

    def validated(self, value: float, *, maximize: bool = False) -> None:
        """Take note of a validation's result."""

    def forget_validations(self) -> None:
        """Those to come are of other data."""

    def settings(self) -> dict[str, Any]:
        """Return the type and the arguments, for JSON."""
        return {"type": type(self).__name__, **asdict(self)}

    def state_dict(self) -> dict[str, Any]:
        """Return what has to be kept between runs, for JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""


class Falling(Scheduler):
    """A learning rate that, after the warm-up, falls to `min_lr` at least; subclasses say how."""

    min_lr: float  # a field of each subclass, the last

    def __post_init__(self) -> None:
        super().__post_init__()
        self.min_lr = number("scheduler", "min_lr", self.min_lr, 0.0)

    def lr(self, base: float, step: int) -> float:
        return super().lr(max(self.falling(base, step), min(base, self.min_lr)), step)

    def falling(self, base: float, step: int) -> float:
        """Return the learning rate without warm-up and min_lr."""
        raise NotImplementedError


@dataclass
class ReduceLROnPlateau(Falling):
    """Multiply the learning rate by `factor` when validations stop getting better (PyTorch's rule and names).

    Args:
        factor: below 1.
        patience: so many validations in a row may be no better; the next one lowers the rate.
        threshold: a validation is better if it is by this part of the best so far.
        min_lr: the learning rate does not fall below this.
    """

    factor: float = 0.5
    patience: int = 0
    threshold: float = 1e-4
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.factor = factor_below_1(self.factor)
        self.patience = integer("scheduler", "patience", self.patience, 0)
        self.threshold = number("scheduler", "threshold", self.threshold, 0.0)
        self._scale = 1.0
        self._best = Best(self.threshold)

    def falling(self, base: float, step: int) -> float:
        return base * self._scale

    def validated(self, value: float, *, maximize: bool = False) -> None:
        self._best.update(value, maximize=maximize)
        if self._best.since > self.patience:
            self._scale *= self.factor
            self._best.since = 0

    def forget_validations(self) -> None:
        self._best = Best(self.threshold)

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self._scale, "best": self._best.value, "since": self._best.since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:  # empty: the learning rate was constant so far
            self._scale = float(state["scale"])
            self._best = Best(self.threshold, state["best"], int(state["since"]))


@dataclass
class CosineDecay(Falling):
    """Let the learning rate fall along half a cosine (Loshchilov & Hutter 2017, without restarts).

    Args:
        steps: after so many steps it is min_lr.
        min_lr: where it ends.
    """

    steps: int
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = integer("scheduler", "steps", self.steps, 1)

    def falling(self, base: float, step: int) -> float:
        done = min(1.0, (step - 1) / self.steps)
        floor = min(base, self.min_lr)
        return floor + (base - floor) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass
class StepDecay(Falling):
    """Multiply the learning rate by `factor` after `start` steps and again every `steps`.

    PyTorch's StepLR where start is steps; OpenNMT-py's start_decay_steps, decay_steps, learning_rate_decay.

    Args:
        steps: from one fall to the next.
        factor: below 1.
        start: steps before the first fall; None: `steps`.
        min_lr: the learning rate does not fall below this.
    """

    steps: int
    factor: float = 0.5
    start: int | None = None
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = integer("scheduler", "steps", self.steps, 1)
        self.factor = factor_below_1(self.factor)
        if self.start is not None:
            self.start = integer("scheduler", "start", self.start, 0)

    def falling(self, base: float, step: int) -> float:
        since = step - 1 - (self.steps if self.start is None else self.start)
        falls = 0 if since < 0 else 1 + since // self.steps
        return base * self.factor**falls


@dataclass
class ExponentialDecay(Falling):
    """Let the learning rate fall a little at each step, by `factor` in `steps` of them.

    Args:
        steps: in so many steps it is multiplied by factor.
        factor: below 1.
        min_lr: the learning rate does not fall below this.
    """

    steps: int
    factor: float = 0.5
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = integer("scheduler", "steps", self.steps, 1)
        self.factor = factor_below_1(self.factor)

    def falling(self, base: float, step: int) -> float:
        return float(base * self.factor ** ((step - 1) / self.steps))


@dataclass
class InverseSquareRoot(Falling):
    """After the warm-up the learning rate falls with the square root of the steps (fairseq's inverse_sqrt).

    Args:
        warmup_steps: where the optimiser's learning rate is reached; without, the first step has it.
        min_lr: the learning rate does not fall below this.
    """

    min_lr: float = 0.0

    def falling(self, base: float, step: int) -> float:
        return base * math.sqrt(min(1.0, max(1, self.warmup_steps) / step))


@dataclass
class Noam(Scheduler):
    """Vaswani et al. 2017, section 5.3: the optimiser's learning rate is the factor before it, often 1 or 2.

    lr = base * model_size ** -0.5 * min(step ** -0.5, step * warmup_steps ** -1.5)

    Args:
        model_size: the width that the rate is for.
    """

    model_size: int
    warmup_steps: int = field(default=4000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.model_size = integer("scheduler", "model_size", self.model_size, 1)
        self.warmup_steps = integer("scheduler", "warmup_steps", self.warmup_steps, 1)

    def lr(self, base: float, step: int) -> float:
        return float(base * self.model_size**-0.5 * min(step**-0.5, step * self.warmup_steps**-1.5))
