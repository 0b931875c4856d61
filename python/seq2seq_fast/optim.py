"""Optimisers over flat buffers, with PyTorch's names, defaults and equations.

A model has one flat float32 buffer of parameters and one of gradients, so an optimiser is one kernel over
them and one flat array per moment. An optimiser here is its settings (a dataclass) plus that state,
which lies where the parameters lie.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seq2seq_fast import _native
from seq2seq_fast.arguments import array, flag, number
from seq2seq_fast.device import DeviceArray, device_of, to_host

Float32 = npt.NDArray[np.float32] | DeviceArray
Mask = npt.NDArray[np.uint8]
"""[P / 16] flags for each 64 bytes of the flat buffer: 1 weight decay applies, 2 the parameter is frozen."""


@dataclass
class Optimizer(ABC):
    """What all optimisers share: `lr`, weight decay, a count of steps, named flat arrays of state."""

    type: ClassVar[str]
    """The optimiser's name in settings and on the command line."""

    lr: float
    weight_decay: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        self._steps = 0
        self._state: dict[str, Any] = {}
        self._device = "cpu"
        self._check("lr", "weight_decay")

    def _check(self, *names: str) -> None:
        """Raise unless these settings are numbers as the kernels take them."""
        for name in names:
            setattr(self, name, self._rate(name, getattr(self, name)))

    def _rate(self, name: str, value: Any) -> float:
        rate = number(self.type, name, value, 0.0)
        if rate >= 1e30:
            raise ValueError(f"[{self.type}] Expected {name} below 1e30, got {rate:g}.")
        return rate

    @abstractmethod
    def _initial_state(self) -> dict[str, float]:
        """Return what each array of the state is filled with before the first step."""

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
            parameters: float32 [P], the flat buffer, on any device; the state goes there with the first step.
            gradients: float32 [P], on the same device.
            lr: the learning rate of this step; None: `self.lr`.
            decay_mask: uint8 [P / 16]: 1 where weight decay applies, 2 where parameters are frozen, 3 both;
                None: decay everywhere, as in PyTorch. It is copied at each step where it lies on another
                device.

        Raises:
            ValueError, TypeError: naming the argument that is wrong; nothing has changed then.
        """
        parameters = array(self.type, "parameters", parameters, (None,), np.float32)
        gradients = array(self.type, "gradients", gradients, parameters.shape, np.float32)
        if isinstance(parameters, np.ndarray) and not (
            parameters.flags.c_contiguous and parameters.flags.writeable
        ):
            raise ValueError(f"[{self.type}] Expected parameters to be contiguous and writable.")
        rate = self.lr if lr is None else self._rate("lr", lr)
        if decay_mask is not None:
            array(self.type, "decay_mask", decay_mask, (-(-len(parameters) // 16),), np.uint8)
        self.prepare(len(parameters), device_of(parameters))
        self._steps += 1
        self._update(parameters, gradients, rate, decay_mask)

    def prepare(self, size: int, device: str = "cpu") -> None:
        """Allocate the state for so many parameters on a device, unless that is done; move what lies
        elsewhere."""
        if not self._state:
            self._state = self._made(size, device)
        elif device != self._device:
            self._state = {name: _native.to_device(values, device) for name, values in self._state.items()}
        self._device = device
        for name, values in self._state.items():
            if values.shape != (size,):
                raise ValueError(f"[{self.type}] Expected {size} parameters, as {name} has {len(values)}.")

    def _made(self, size: int, device: str) -> dict[str, Any]:
        """The state before the first step."""
        on_device = device != "cpu"
        return {
            name: _native.zeros((size,), device)
            if on_device and value == 0
            else _native.to_device(np.full(size, value, np.float32), device)
            for name, value in self._initial_state().items()
        }

    def settings(self) -> dict[str, Any]:
        """Return the type and the arguments, for JSON; `optimizer_from_settings` undoes it."""
        return {"type": self.type, **asdict(self)}

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Return `step` (int64 scalar) and the flat arrays of state: the arrays themselves on the CPU, copies
        of those on a device."""
        arrays = {name: to_host(values) for name, values in self._state.items()}
        return {"step": np.array(self._steps, np.int64), **arrays}

    def takes(self, state: Mapping[str, Any]) -> bool:
        """Whether a `state_dict` is that of an optimiser with the same moments."""
        expected = {"step", *self._initial_state()}
        return set(state) == expected or (set(state) == {"step"} and int(state["step"]) == 0)

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy what `state_dict` returned to where the state lies; raises ValueError if it is another
        optimiser's."""
        size = max((np.size(values) for values in state.values()), default=0)
        expected = {"step": ((), np.int64), **dict.fromkeys(self._initial_state(), ((size,), np.float32))}
        if not self.takes(state):
            raise ValueError(
                f"[{self.type}] Expected state {', '.join(sorted(expected))}, got {', '.join(sorted(state))}."
            )
        for name, values in state.items():
            shape, dtype = expected[name]
            if values.shape != shape or values.dtype != dtype:
                raise ValueError(
                    f"[{self.type}] Expected {name} {np.dtype(dtype)} {list(shape)}, "
                    f"got {values.dtype} {list(values.shape)}."
                )
        self._steps = int(state["step"])
        self._state = {
            name: _native.to_device(np.array(values), self._device)
            for name, values in state.items()
            if name != "step"
        }


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
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise TypeError(f"[{self.type}] Expected betas as two numbers, got {self.betas!r}.")
        beta1, beta2 = (number(self.type, "betas", beta) for beta in self.betas)
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise ValueError(f"[{self.type}] Expected betas from 0 to below 1, got {self.betas}.")
        self.betas = (beta1, beta2)
        self._check("eps")

    def _initial_state(self) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

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
        self._check("momentum")
        self.nesterov = flag(self.type, "nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"[{self.type}] Expected nesterov only with a momentum, got True.")

    def _initial_state(self) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if self.momentum else {}

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
        self._check("lr_decay", "initial_accumulator_value", "eps")

    def _initial_state(self) -> dict[str, float]:
        return {"sum": self.initial_accumulator_value}

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


def decay_mask(
    layout: list[tuple[str, tuple[int, ...], int, bool]], size: int, frozen: Collection[str] = ()
) -> Mask:
    """Return the mask of a model's layout (name, shape, offset, decay), `size` floats in all."""
    mask = np.zeros(-(-size // 16), np.uint8)
    for name, shape, offset, decay in layout:
        flags = int(decay) | (2 if name in frozen else 0)
        mask[offset // 16 : -(-(offset + int(np.prod(shape))) // 16)] = flags
    return mask
