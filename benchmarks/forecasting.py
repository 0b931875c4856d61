"""Sample paths: a week of hours ahead, 100 paths of one series, whose past is encoded once on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq_fast.forecasting import ForecastConfig, ForecastModel, TimeSeries
from seq2seq_fast.forecasting.prediction import windows_of
from seq2seq_fast.forecasting.windows import Prepared, make_windows

from .agreement import assert_close
from .limits import FLOAT, Work
from .rows import Case

HOURS, PATHS = 168, 100
GOAL = 10.0  # batch 1, two threads
LEAST = 1e-4
CONFIG = ForecastConfig(
    prediction_length=HOURS,
    context_length=HOURS,
    channels=1,
    distribution="student_t",
    lags=(1, 24),
    scaling="standard",
    calendar=("hour", "weekday"),
    hidden=64,
)


class Peer(nn.Module):
    """The same network; its loop over time is GluonTS's, states repeated for the paths."""

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        hidden = config.hidden
        inputs = len(config.lags) + config.decoder_covariates
        self.config = config
        self.encoder = nn.GRU(config.past_features, hidden, batch_first=True)
        self.cell = nn.GRUCell(inputs, hidden)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, 3)

    def named(self) -> dict[str, np.ndarray]:
        """The parameters by our names."""
        found: dict[str, Tensor] = {}
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            found[f"encoder.rnn.{part}_l0"] = getattr(self.encoder, f"{part}_l0")
            found[f"decoder.rnn.{part}_l0"] = getattr(self.cell, part)
        for name, linear in (("decoder.combine", self.combine), ("head", self.head)):
            found |= {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}
        return {name: value.detach().numpy() for name, value in found.items()}

    def step(self, x: Tensor, h: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h = self.cell(x, h)
        raw = self.head(torch.tanh(self.combine(torch.cat([h, context], dim=1))))
        location, scale, freedom = raw.unbind(dim=1)
        positive = nn.functional.softplus
        return h, location, positive(scale) + LEAST, 2 + positive(freedom) + LEAST

    def parameters_of(self, arrays: dict[str, Tensor]) -> Tensor:
        """[T, 3] with the true values fed."""
        context = self.encoder(arrays["past"])[1][0]
        history = max(self.config.lags)
        h, rows = context, []
        for t in range(arrays["covariates"].shape[1]):
            lagged = [arrays["known"][:, history + t - lag] for lag in self.config.lags]
            h, *found = self.step(torch.cat([*lagged, arrays["covariates"][:, t]], dim=1), h, context)
            rows.append(torch.stack([part[0] for part in found]))
        return torch.stack(rows)

    def paths(self, arrays: dict[str, Tensor], count: int) -> Tensor:
        """[count, T]"""
        context = self.encoder(arrays["past"])[1][0].repeat_interleave(count, dim=0)
        values = list(arrays["known"].repeat_interleave(count, dim=0).unbind(dim=1))
        covariates = arrays["covariates"].repeat_interleave(count, dim=0).unbind(dim=1)
        history, h = len(values), context
        for known in covariates:
            x = torch.cat([*(values[-lag] for lag in self.config.lags), known], dim=1)
            h, location, scale, freedom = self.step(x, h, context)
            drawn = torch.distributions.StudentT(freedom, location, scale, validate_args=False).sample()
            values.append(drawn[:, None])
        return torch.cat(values[history:], dim=1)


def paths(count: int = PATHS) -> Case:
    torch.manual_seed(0)
    peer = Peer(CONFIG).eval().requires_grad_(False)
    model = ForecastModel(CONFIG, trainable=False)
    for name, value in peer.named().items():
        model.native.load_parameter(name, value)
    hours = np.arange(2 * HOURS + 24)
    values = np.sin(2 * np.pi * hours / 24) + 0.1 * np.random.default_rng(1).standard_normal(len(hours))
    series = TimeSeries(values, "2024-01-01", np.timedelta64(1, "h"))
    prepared, origin = Prepared(series, CONFIG, 0), [HOURS + 24]
    windows = windows_of(CONFIG, [prepared], origin, [1], HOURS)
    forced = make_windows(CONFIG, [prepared], origin, [0], HOURS, future=True)

    def tensors(arrays: dict[str, Any]) -> dict[str, Tensor]:
        found = {name: torch.from_numpy(arrays[name]) for name in ("past", "known", "covariates")}
        return found | {"past": found["past"][None]}

    theirs, theirs_forced = tensors(windows.arrays), tensors(forced.arrays)

    def ours() -> object:
        return model.sample(windows, count, 7)

    def their_paths() -> object:
        with torch.inference_mode():
            return peer.paths(theirs, count)

    def check() -> None:
        with torch.inference_mode():
            expected = peer.parameters_of(theirs_forced)
            drawn = peer.paths(theirs, 4000).numpy()
        assert_close("parameters", model.distributions(forced)[0, :, 0], expected)
        found = model.sample(windows, 4000, 1)[0, :, :, 0]
        for level in (0.1, 0.5, 0.9):  # of as many paths, at every step, by half of what chance allows
            apart = np.quantile(found, level, axis=0) - np.quantile(drawn, level, axis=0)
            spread = np.quantile(drawn, 0.9, axis=0) - np.quantile(drawn, 0.1, axis=0)
            assert np.abs(apart / spread).max() < 0.15, f"quantile {level} of the paths is another"

    hidden, covariates = CONFIG.hidden, CONFIG.decoder_covariates
    step = 3 * hidden * (len(CONFIG.lags) + hidden) + hidden * hidden + 3 * hidden
    # Once for all paths: the encoder, and what covariates and context contribute.
    once = 3 * hidden * (CONFIG.past_features + hidden + covariates) * HOURS + hidden * hidden
    operations, read = 2.0 * (HOURS * count * step + once), FLOAT * float(HOURS * step + once)
    return Case(
        suite="forecasting",
        name=f"{count} paths of {HOURS} steps, GRU {hidden}, batch 1",
        ours=ours,
        peer=their_paths,
        check=check,
        work=Work(operations, read, FLOAT * float(step)),
        goal=GOAL,
    )


def cases() -> Iterator[Case]:
    yield paths()
