"""How good forecasts are. Arrays are [..., n, D] or any shape, NaN in the truth is left out of every mean."""

from __future__ import annotations

from typing import Any

import numpy as np


def _mean(errors: Any, truth: Any) -> float:
    there = ~np.isnan(np.asarray(truth, np.float64))
    if not there.any():
        raise ValueError("[metrics] Expected truth with at least one value that is not missing, got none.")
    return float(np.mean(np.broadcast_to(errors, there.shape)[there]))


def mse(truth: Any, forecast: Any) -> float:
    """Mean squared error."""
    return _mean((np.asarray(truth, np.float64) - np.asarray(forecast, np.float64)) ** 2, truth)


def mae(truth: Any, forecast: Any) -> float:
    """Mean absolute error."""
    return _mean(np.abs(np.asarray(truth, np.float64) - np.asarray(forecast, np.float64)), truth)


def quantile_loss(truth: Any, forecast: Any, level: float) -> float:
    """Twice the mean quantile (pinball) loss of a forecast of that level, as GluonTS counts it; of 0.5 the
    MAE."""
    below = np.asarray(truth, np.float64) - np.asarray(forecast, np.float64)
    return _mean(2 * np.maximum(level * below, (level - 1) * below), truth)


def crps(truth: Any, samples: Any) -> float:
    """Mean continuous ranked probability score (Gneiting & Raftery 2007) of sample paths [P, ...]: of their
    empirical distribution, mean |x - y| - mean |x - x'| / 2."""
    x = np.sort(np.asarray(samples, np.float64), axis=0)
    count = len(x)
    if count == 0:
        raise ValueError("[crps] Expected at least one sample, got none.")
    near = np.abs(x - np.asarray(truth, np.float64)).mean(axis=0)
    weights = (2 * np.arange(count) + 1 - count) / count**2  # of the sorted samples in mean |x - x'| / 2
    return _mean(near - np.tensordot(weights, x, axes=1), truth)


def seasonal_error(past: Any, season: int = 1) -> Any:
    """[D]: the mean absolute difference of a past [T, D] from itself a season before; NaN where there is
    none."""
    past = np.asarray(past, np.float64)
    apart = np.abs(past[season:] - past[:-season])
    there = ~np.isnan(apart)
    sums, counts = np.where(there, apart, 0.0).sum(axis=0), there.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mase(truth: Any, forecast: Any, error: Any) -> float:
    """Mean absolute scaled error (Hyndman & Koehler 2006): the absolute error / the `seasonal_error` [D] of
    the past.

    Channels whose seasonal error is 0 or unknown are left out.
    """
    error = np.asarray(error, np.float64)
    scaled = np.where((error > 0), np.asarray(truth, np.float64), np.nan)
    apart = np.abs(scaled - np.asarray(forecast, np.float64)) / np.where(error > 0, error, 1.0)
    return _mean(apart, scaled)
