"""Forecasts of prepared series: sample paths and parameters in the units of the series."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.forecasting.config import ForecastConfig
from seq2seq_fast.forecasting.model import ForecastModel
from seq2seq_fast.forecasting.windows import Prepared, Windows, make_windows

Floats = NDArray[np.float32]

ROWS = 4096
"""Paths that are drawn together, at most; no result depends on it."""

PARAMETERS = {
    "point": ("location",),
    "normal": ("location", "scale"),
    "student_t": ("location", "scale", "degrees_of_freedom"),
    "negative_binomial": ("mean", "alpha"),
}


@dataclass(frozen=True)
class Forecast:
    """The forecast of one series of n steps and D channels, in its units."""

    mean: Floats
    """[n, D]; of quantiles their median."""
    samples: Floats | None
    """[num_samples, n, D] paths; None where num_samples is 0."""
    parameters: dict[str, Floats] | None
    """[n, D] each, of a model without lags: location, scale ...; of quantiles [Q, n, D]. None with lags,
    where they depend on the path."""
    quantiles: dict[float, Floats]
    """[n, D] of each level that was asked for."""

    def quantile(self, level: float) -> Floats:
        """[n, D]: the samples' quantile."""
        if self.samples is None:
            raise ValueError("[quantile] Expected a forecast with samples, got one of num_samples 0.")
        return np.quantile(self.samples, level, axis=0).astype(np.float32)

    @property
    def median(self) -> Floats:
        """[n, D]: the samples' median."""
        return self.quantile(0.5)


def series_id(values: Any) -> int:
    """A name for the random numbers of a series: a hash of its values, so that it is the same in any
    batch."""
    data = np.ascontiguousarray(values)
    return int.from_bytes(hashlib.blake2b(data.tobytes(), digest_size=8).digest(), "little") >> 1


def _expand(config: ForecastConfig, prepared: Sequence[Prepared], origins: Any, ids: Any) -> tuple[Any, ...]:
    """One window for each channel, where they are independent."""
    copies = config.channels if config.independent else 1
    channel = np.tile(np.arange(copies), len(prepared))
    golden = np.uint64(0x9E3779B97F4A7C15)  # far apart for neighbouring channels
    mixed = (np.repeat(np.asarray(ids, np.uint64), copies) + channel.astype(np.uint64) * golden) >> np.uint64(
        1
    )
    return (
        [p for p in prepared for _ in range(copies)],
        np.repeat(np.asarray(origins, np.int64), copies),
        channel,
        mixed.astype(np.int64),
    )


def windows_of(
    config: ForecastConfig, prepared: Sequence[Prepared], origins: Any, ids: Any, steps: int
) -> Windows:
    """The windows whose forecasts begin at these origins."""
    own, at, channel, names = _expand(config, prepared, origins, ids)
    return make_windows(config, own, at, channel, steps, future=False, ids=names)


def _joined(config: ForecastConfig, x: Any) -> Any:
    """[N * channels, ..., 1] of independent channels -> [N, ..., channels]."""
    if not config.independent:
        return x
    return np.moveaxis(x.reshape(-1, config.channels, *x.shape[1:-1]), 1, -1)


def sample_paths(model: ForecastModel, windows: Windows, num_samples: int, seed: int) -> Floats:
    """[N, num_samples, n, D] in the units of the series."""
    z = model.sample(windows, num_samples, seed).astype(np.float64)
    y = z * windows.scale[:, None, None] + windows.shift[:, None, None]
    return np.ascontiguousarray(_joined(model.config, y), np.float32)


def parameters_of(model: ForecastModel, windows: Windows) -> dict[str, Any]:
    """[N, n, D] each, of quantiles [N, n, D, Q]: of a model without lags, in the units of the series."""
    config = model.config
    raw = model.distributions(windows).astype(np.float64)
    scale, shift = windows.scale[:, None], windows.shift[:, None]
    if config.distribution == "quantiles":
        y = np.sort(raw * scale[..., None] + shift[..., None], axis=-1)  # levels may have crossed
        parts = {"quantiles": y}
    else:
        names = PARAMETERS[config.distribution]
        parts = {name: raw[..., i] for i, name in enumerate(names)}
        if "location" in parts:
            parts["location"] = parts["location"] * scale + shift
        for name in ("scale", "mean"):
            if name in parts:
                parts[name] = parts[name] * scale
    if not config.independent:
        return {name: y.astype(np.float32) for name, y in parts.items()}
    joined = {}
    for name, y in parts.items():
        last = y[..., 0, :] if name == "quantiles" else y[..., 0]
        joined[name] = np.moveaxis(last.reshape(-1, config.channels, *last.shape[1:]), 1, 2).astype(
            np.float32
        )
    return joined


def mean_of(config: ForecastConfig, parameters: dict[str, Any]) -> Any:
    """[N, n, D]: what a squared error is best judged by."""
    if config.distribution == "quantiles":
        return quantiles_between(config.quantiles, parameters["quantiles"], 0.5)
    return parameters["mean" if config.distribution == "negative_binomial" else "location"]


def quantiles_between(levels: Sequence[float], values: Any, level: float) -> Any:
    """[...] the quantile of a level by linear interpolation between values [..., Q], constant beyond them."""
    at = float(np.interp(level, levels, np.arange(len(levels))))
    low = int(at)
    high = min(low + 1, len(levels) - 1)
    return values[..., low] + (at - low) * (values[..., high] - values[..., low])


def forecast(
    model: ForecastModel,
    prepared: Sequence[Prepared],
    origins: Any,
    ids: Any,
    steps: int,
    *,
    num_samples: int,
    seed: int,
    quantiles: Sequence[float] = (),
) -> list[Forecast]:
    """Forecasts of `steps` steps from each origin. The same for a series whatever the others are."""
    config, found = model.config, []
    rows = max(1, ROWS // max(1, num_samples * (config.channels if config.independent else 1)))
    for begin in range(0, len(prepared), rows):
        part = slice(begin, begin + rows)
        windows = windows_of(config, prepared[part], np.asarray(origins)[part], np.asarray(ids)[part], steps)
        parameters = None if config.lags else parameters_of(model, windows)
        samples = sample_paths(model, windows, num_samples, seed) if num_samples else None
        for i in range(len(prepared[part])):
            own = None if parameters is None else {name: y[i] for name, y in parameters.items()}
            found.append(_one(config, own, None if samples is None else samples[i], quantiles))
    return found


def _one(
    config: ForecastConfig, parameters: dict[str, Any] | None, samples: Any, quantiles: Sequence[float]
) -> Forecast:
    if parameters is not None:
        mean = mean_of(config, parameters)
    else:
        mean = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
    levels: dict[float, Any] = {}
    for level in quantiles:
        if parameters is not None and config.distribution == "quantiles":
            levels[level] = quantiles_between(config.quantiles, parameters["quantiles"], level)
        else:
            levels[level] = np.quantile(samples, level, axis=0).astype(np.float32)
    if parameters is not None and "quantiles" in parameters:
        parameters = {"quantiles": np.ascontiguousarray(np.moveaxis(parameters["quantiles"], -1, 0))}
    return Forecast(mean, samples, parameters, levels)
