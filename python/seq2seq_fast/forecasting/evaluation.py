"""Rolling evaluation: forecasts from many origins of the same series, compared with what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import integer
from seq2seq_fast.forecasting import metrics as score
from seq2seq_fast.forecasting.model import ForecastModel
from seq2seq_fast.forecasting.prediction import (
    mean_of,
    parameters_of,
    quantiles_between,
    sample_paths,
    series_id,
    windows_of,
)
from seq2seq_fast.forecasting.series import TimeSeries
from seq2seq_fast.forecasting.windows import Prepared

OP = "evaluate"
METRICS = ("mse", "mae", "crps", "quantile_loss", "mase")
CHUNK = 256  # rows, of paths too, whose forecasts are in memory at once


def rolling_origins(
    length: int, steps: int, *, begin: int, end: int | None = None, stride: int = 1
) -> NDArray[np.int64]:
    """Origins from `begin` on whose forecasts of `steps` steps end before `end` (None: the series' end)."""
    last = (length if end is None else min(end, length)) - steps
    return np.arange(max(begin, 1), last + 1, stride, dtype=np.int64)


def evaluate(
    model: ForecastModel,
    series: Sequence[TimeSeries],
    steps: int | None = None,
    *,
    begin: int,
    end: int | None = None,
    stride: int = 1,
    metrics: Sequence[str] = ("mse", "mae"),
    levels: Sequence[float] = (0.1, 0.5, 0.9),
    num_samples: int = 100,
    seed: int = 0,
    season: int = 1,
    standardized: bool = False,
) -> dict[str, float]:
    """Forecast from every origin of a range and return the means over all values.

    Args:
        model: the model.
        series: series of the model's channels, with what it reads.
        steps: of each forecast; None: the model's prediction_length.
        begin, end, stride: the origins, see `rolling_origins`. What lies before `begin` is the past that MASE
            is scaled by.
        metrics: of mse and mae (of the distributions' means, of the samples' for a model with lags), crps,
            quantile_loss (the mean over `levels`, and each) and mase (of the means).
        num_samples: paths, for crps and quantile_loss, and for all of a model with lags.
        season: of mase.
        standardized: in units of the training data's deviation (channel_deviation), as ETT is reported.

    Raises:
        ValueError: there is no such metric, or no origin.
    """
    config = model.config
    n = config.prediction_length if steps is None else integer(OP, "steps", steps, 1)
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"[{OP}] Expected metrics of {', '.join(METRICS)}, got {name!r}.")
    if standardized and not config.channel_deviation:
        raise ValueError(f"[{OP}] Expected a model with channel_deviation for standardized.")
    unit = np.array(config.channel_deviation) if standardized else np.ones(config.channels)
    paths = bool(config.lags) or "crps" in metrics or "quantile_loss" in metrics
    sums: dict[str, float] = {}
    total = 0
    for one in series:
        prepared = Prepared(one, config, 0)
        origins = rolling_origins(len(one), n, begin=begin, end=end, stride=stride)
        truths = one.values.astype(np.float64)
        past = truths[:begin] / unit
        rows = max(1, CHUNK // (num_samples if paths else 1))
        for at in range(0, len(origins), rows):
            chunk = origins[at : at + rows]
            truth = truths[chunk[:, None] + np.arange(n)] / unit
            count = int((~np.isnan(truth)).sum())
            if count == 0:
                continue
            ids = [series_id(one.values[:origin]) for origin in chunk] if paths else np.zeros(len(chunk))
            windows = windows_of(config, [prepared] * len(chunk), chunk, ids, n)
            parameters = None if config.lags else parameters_of(model, windows)
            samples = None
            if paths:
                samples = sample_paths(model, windows, num_samples, seed).astype(np.float64)
                samples = np.moveaxis(samples, 1, 0) / unit  # [P, N, n, D]
            if parameters is not None:
                mean = mean_of(config, parameters) / unit
            else:
                assert samples is not None
                mean = samples.mean(axis=0)
            values = _values(metrics, truth, mean, samples, levels, past, season)
            if parameters is not None and "quantiles" in parameters and "quantile_loss" in metrics:
                for level in levels:
                    own = quantiles_between(config.quantiles, parameters["quantiles"], level) / unit
                    values[f"quantile_loss_{level:g}"] = score.quantile_loss(truth, own, level)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * count
            total += count
    if total == 0:
        raise ValueError(
            f"[{OP}] Expected an origin from {begin} on whose forecast of {n} steps was observed, got none."
        )
    means = {name: value / total for name, value in sums.items()}
    if "quantile_loss" in metrics:
        means["quantile_loss"] = float(np.mean([means[f"quantile_loss_{level:g}"] for level in levels]))
    return means


def _values(
    metrics: Sequence[str],
    truth: Any,
    mean: Any,
    samples: Any,
    levels: Sequence[float],
    past: Any,
    season: int,
) -> dict[str, float]:
    values: dict[str, float] = {}
    if "mse" in metrics:
        values["mse"] = score.mse(truth, mean)
    if "mae" in metrics:
        values["mae"] = score.mae(truth, mean)
    if "crps" in metrics:
        values["crps"] = score.crps(truth, samples)
    if "quantile_loss" in metrics:
        for level in levels:
            values[f"quantile_loss_{level:g}"] = score.quantile_loss(
                truth, np.quantile(samples, level, axis=0), level
            )
    if "mase" in metrics:
        values["mase"] = score.mase(truth, mean, score.seasonal_error(past, season))
    return values
