"""ForecastModel: the network of a ForecastConfig, its loss, gradients, distributions and sample paths."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast.arguments import integer, number
from seq2seq_fast.device import resolve_device
from seq2seq_fast.flat_parameters import FlatParameters
from seq2seq_fast.forecasting.config import ForecastConfig
from seq2seq_fast.forecasting.windows import Windows

Floats = NDArray[np.float32]
OP = "ForecastModel"


@dataclass(frozen=True)
class ForecastLoss:
    """Sums over the values of a batch that are not missing, in the units of the scaled windows."""

    loss: float
    tokens: int
    """Values. The name is the trainer's."""
    correct: int = 0

    @property
    def nll(self) -> float:
        """The same as loss: there is no label smoothing."""
        return self.loss


class ForecastModel(FlatParameters):
    """A recurrent encoder-decoder of real values; a `Trainer` trains it on `ForecastData`.

    Args:
        config: what it is made of.
        seed: of the initial parameters; None: all zero.
        device: "cpu", "cuda", "cuda:1" ...; "auto": CUDA where it is ready, else the CPU.
        compute_type: what the packed matrices of inference are rounded to: "float32", "float16", "bfloat16",
            "int8"; "auto": int8 where this processor does it well, else float32. Training is float32.

    Raises:
        ValueError, TypeError: a field of config; the message names it.
        RuntimeError: there is no such device.
    """

    native: _native.ForecastNetwork
    predicts_tokens = False

    def __init__(
        self,
        config: ForecastConfig,
        seed: int | None = 0,
        device: str = "cpu",
        *,
        compute_type: str = "float32",
        trainable: bool = True,
    ) -> None:
        if not isinstance(config, ForecastConfig):
            raise TypeError(f"[{OP}] Expected config as a ForecastConfig, got {type(config).__name__}.")
        if seed is not None:
            integer(OP, "seed", seed, 0, 2**64 - 1)
        self.config = config
        super().__init__(
            config.native_model(
                device=resolve_device(OP, device, auto=True), compute_type=compute_type, trainable=trainable
            )
        )
        if seed is not None:
            self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        """Uniform in +-1 / sqrt(fan in), as PyTorch; biases of linear layers and the linear skip 0, so that
        training starts from the seasonal naive forecast, or the window's shift."""
        rng = np.random.Generator(np.random.Philox(seed))
        for name, shape, _, decay in self._layout:
            bound = 1.0 / math.sqrt(self.config.hidden if ".rnn." in name else shape[-1])
            if ".norm_" in name:
                value = np.full(shape, 1.0 if name.endswith("weight") else 0.0)
            elif name.startswith("skip.") or not (decay or ".rnn." in name):
                value = np.zeros(shape)
            else:
                value = rng.uniform(-bound, bound, shape)
            self.native.load_parameter(name, value.astype(np.float32))

    def forward_backward(
        self,
        batch: Windows,
        *,
        update: int = 0,
        seed: int = 0,
        label_smoothing: float = 0.0,
        compute_type: str = "float32",
    ) -> ForecastLoss:
        """Loss, and the gradient of loss / values in `gradients()`, with dropout; update and seed name its
        masks."""
        if number("forward_backward", "label_smoothing", label_smoothing) != 0:
            raise ValueError("[forward_backward] Expected label_smoothing 0: there are no classes.")
        return ForecastLoss(
            *self.native.forward_backward(
                _arrays("forward_backward", batch),
                integer("forward_backward", "update", update, 0, 2**32 - 1),
                integer("forward_backward", "seed", seed, 0, 2**64 - 1),
                compute_type,
            )
        )

    def loss(self, batch: Windows, label_smoothing: float = 0.0) -> ForecastLoss:
        """The loss of a batch, without dropout."""
        return ForecastLoss(*self.native.loss(_arrays("loss", batch)))

    def distributions(self, batch: Windows) -> Floats:
        """float32 [N, T, D, K]: the parameters of every value's distribution, given the true ones before it,
        in the units of the scaled windows; `ops.distribution_loss` says what they are."""
        found = self.native.distributions(
            {k: v for k, v in _arrays("distributions", batch).items() if k != "target"}
        )
        return found.reshape(*found.shape[:2], self.config.width, -1)

    def sample(self, batch: Windows, num_samples: int, seed: int) -> Floats:
        """float32 [N, num_samples, T, D]: paths, in the units of the scaled windows. Each source is encoded
        once."""
        return self.native.sample(
            _arrays("sample", batch),
            integer("sample", "num_samples", num_samples, 1, 2**31 - 1),
            integer("sample", "seed", seed, 0, 2**64 - 1),
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model's folder. See `save_forecast_model`."""
        from seq2seq_fast.forecasting.files import save_forecast_model

        save_forecast_model(folder, self)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str = "cpu") -> ForecastModel:
        """Read a model's folder."""
        from seq2seq_fast.forecasting.files import load_forecast_model

        return load_forecast_model(folder, device)


def _arrays(op: str, batch: Any) -> dict[str, Any]:
    if not isinstance(batch, Windows):
        raise TypeError(f"[{op}] Expected batch as Windows, got {type(batch).__name__}.")
    return batch.arrays
