"""Optimisers over flat buffers, with PyTorch's names, defaults and equations.

A model has one flat float32 buffer of parameters and one of gradients, so an optimiser is one kernel over
them and one flat array per moment. An optimiser here is its settings (a dataclass) plus that state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seq2seq_fast import _native

Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]
"""[P / 16] one flag for each 64 bytes of the flat buffer: whether weight decay applies."""


@dataclass
class Optimizer(ABC):
    """What all optimisers share: `lr`, weight decay, a count of steps, named flat arrays of state."""

    type: ClassVar[str]
    """The optimiser's name in settings and on the command line."""

    lr: float
    weight_decay: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        self._steps = 0
        self._state: dict[str, Float32] = {}
        self._require("lr", self.lr >= 0, "at least 0")
        self._require("weight_decay", self.weight_decay >= 0, "at least 0")

    def _require(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"[{self.type}] Expected {name} {expected}, got {getattr(self, name)}.")

    @abstractmethod
    def _initial_state(self, size: int) -> dict[str, Float32]:
        """Return the state before the first step, for so many parameters."""

    @abstractmethod
    def _update(self, parameters: Float32, gradients: Float32, lr: float, mask: Mask | None) -> None:
        """Call the kernel of step number `self._steps` (from 1)."""

    def step(
        self,
        parameters: Float32,
        gradients: Float32,
        *,
        lr: float | None = None,
        decay_mask: Mask | None = None,
    ) -> None:
        """Update the parameters, in place.

        Args:
            parameters: float32 [P], the flat buffer.
            gradients: float32 [P].
            lr: the learning rate of this step; None: `self.lr`.
            decay_mask: uint8 [P / 16], where weight decay applies; None: everywhere, as in PyTorch.
        """
        if parameters.shape != gradients.shape:
            raise ValueError(
                f"[{self.type}] Expected gradients of shape {list(parameters.shape)}, "
                f"got {list(gradients.shape)}."
            )
        self.prepare(len(parameters))
        self._steps += 1
        self._update(parameters, gradients, self.lr if lr is None else lr, decay_mask)

    def prepare(self, size: int) -> None:
        """Allocate the state for so many parameters, unless that is done."""
        if not self._state:
            self._state = self._initial_state(size)
        for name, values in self._state.items():
            if values.shape != (size,):
                raise ValueError(f"[{self.type}] Expected {size} parameters, as {name} has {len(values)}.")

    def settings(self) -> dict[str, Any]:
        """Return the type and the arguments, for JSON; `optimizer_from_settings` undoes it."""
        return {"type": self.type, **asdict(self)}

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Return `step` (int64 scalar) and the flat arrays of state (the arrays themselves, not copies)."""
        return {"step": np.array(self._steps, np.int64), **self._state}

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy what `state_dict` returned; raises ValueError if it is another optimiser's."""
        size = max((np.size(values) for values in state.values()), default=0)
        expected: dict[str, npt.NDArray[Any]] = {"step": np.zeros((), np.int64), **self._initial_state(size)}
        if set(state) != set(expected) and not (set(state) == {"step"} and int(state["step"]) == 0):
            raise ValueError(
                f"[{self.type}] Expected state {', '.join(sorted(expected))}, got {', '.join(sorted(state))}."
            )
        for name, values in state.items():
            if values.shape != expected[name].shape or values.dtype != expected[name].dtype:
                raise ValueError(
                    f"[{self.type}] Expected {name} {expected[name].dtype} {list(expected[name].shape)}, "
                    f"got {values.dtype} {list(values.shape)}."
                )
        self._steps = int(state["step"])
        self._state = {name: np.array(values) for name, values in state.items() if name != "step"}


@dataclass
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), as `torch.optim.Adam`: weight decay is added to the gradient."""

    type = "adam"
    _decoupled: ClassVar[bool] = False

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.betas = (float(self.betas[0]), float(self.betas[1]))
        self._require("betas", all(0 <= beta < 1 for beta in self.betas), "from 0 to below 1")
        self._require("eps", self.eps >= 0, "at least 0")

    def _initial_state(self, size: int) -> dict[str, Float32]:
        return {"exp_avg": np.zeros(size, np.float32), "exp_avg_sq": np.zeros(size, np.float32)}

    def _update(self, parameters: Float32, gradients: Float32, lr: float, mask: Mask | None) -> None:
        m, v = self._state["exp_avg"], self._state["exp_avg_sq"]
        beta1, beta2 = self.betas
        _native.adam_(
            parameters,
            gradients,
            m,
            v,
            self._steps,
            lr,
            beta1,
            beta2,
            self.eps,
            self.weight_decay,
            self._decoupled,
            mask,
        )


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as `torch.optim.AdamW`."""

    type = "adamw"
    _decoupled: ClassVar[bool] = True

    weight_decay: float = field(default=1e-2, kw_only=True)


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD` (no dampening)."""

    type = "sgd"

    lr: float = 1e-3
    momentum: float = 0.0
    nesterov: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("momentum", self.momentum >= 0, "at least 0")
        self._require("nesterov", not self.nesterov or self.momentum > 0, "only with a momentum")

    def _initial_state(self, size: int) -> dict[str, Float32]:
        return {"momentum_buffer": np.zeros(size, np.float32)} if self.momentum else {}

    def _update(self, parameters: Float32, gradients: Float32, lr: float, mask: Mask | None) -> None:
        buffer = self._state.get("momentum_buffer")
        first = self._steps == 1
        _native.sgd_(
            parameters, gradients, buffer, lr, self.momentum, self.weight_decay, self.nesterov, first, mask
        )


@dataclass
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011), as `torch.optim.Adagrad`."""

    type = "adagrad"

    lr: float = 1e-2
    lr_decay: float = 0.0
    initial_accumulator_value: float = field(default=0.0, kw_only=True)
    eps: float = field(default=1e-10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("lr_decay", self.lr_decay >= 0, "at least 0")
        self._require("initial_accumulator_value", self.initial_accumulator_value >= 0, "at least 0")
        self._require("eps", self.eps >= 0, "at least 0")

    def _initial_state(self, size: int) -> dict[str, Float32]:
        return {"sum": np.full(size, self.initial_accumulator_value, np.float32)}

    def _update(self, parameters: Float32, gradients: Float32, lr: float, mask: Mask | None) -> None:
        lr = lr / (1 + (self._steps - 1) * self.lr_decay)
        _native.adagrad_(parameters, gradients, self._state["sum"], lr, self.eps, self.weight_decay, mask)


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.type: kind for kind in (Adam, AdamW, SGD, Adagrad)}
"""Every optimiser by its name."""


def optimizer_from_settings(settings: Mapping[str, Any]) -> Optimizer:
    """Make an optimiser of its settings, e.g. `{"type": "adam", "lr": 0.001}`.

    Raises:
        ValueError: a field is unknown or wrong.
    """
    arguments = dict(settings)
    kind = OPTIMIZERS.get(arguments.pop("type", ""))
    if kind is None:
        raise ValueError(
            f"[optimizer] Expected field 'type' to be one of {', '.join(OPTIMIZERS)}, "
            f"got {settings.get('type')!r}."
        )
    known = [f.name for f in fields(kind)]
    for name in arguments:
        if name not in known:
            raise ValueError(f"[optimizer] Unknown field {name!r}; {kind.type} has {', '.join(known)}.")
    return kind(**arguments)


def clip_grad_norm_(gradients: Float32, max_norm: float) -> float:
    """Scale all gradients so that their joint 2-norm is at most `max_norm`; return the norm they had.

    As `torch.nn.utils.clip_grad_norm_`. A norm that is not finite is returned and the gradients are left
    alone.
    """
    norm = math.sqrt(_native.squared_norm(gradients))
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and norm != float("inf"):
        _native.scale_(gradients, factor)
    return norm


def decay_mask(layout: list[tuple[str, tuple[int, ...], int, bool]], size: int) -> Mask:
    """Return the mask of a model's layout (name, shape, offset, decay), `size` floats in all."""
    mask = np.zeros(-(-size // 16), np.uint8)
    for _, shape, offset, decay in layout:
        if decay:
            mask[offset // 16 : -(-(offset + int(np.prod(shape))) // 16)] = 1
    return mask
