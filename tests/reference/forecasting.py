"""Distributions of real values and the loss of a forecast, from the equations of csrc/math/distribution.h."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reference.autodiff import constant
from reference.basic import linear
from reference.network import Drop, advance, encode, no_dropout, start_decoding
from reference.random import WORD, philox

Array = Any
LEAST = 1e-4

# Lanczos' approximation, g = 7, nine terms (Press et al., Numerical Recipes; Godfrey 2001): 1e-15.
LANCZOS = (
    0.99999999999980993,
    676.5203681218851,
    -1259.1392167224028,
    771.32342877765313,
    -176.61502916214059,
    12.507343278686905,
    -0.13857109526572012,
    9.9843695780195716e-6,
    1.5056327351493116e-7,
)


def log_gamma(x: Array) -> Array:
    """ln gamma(x) for x >= 0.5."""
    total = LANCZOS[0] + sum(c / (x + (i - 1)) for i, c in enumerate(LANCZOS) if i > 0)
    t = x + 6.5
    return 0.5 * math.log(2 * math.pi) + (x - 0.5) * np.log(t) - t + np.log(total)


def positive(x: Array) -> Array:
    """ln(1 + e^x) + 1e-4."""
    far = constant(x) > 0
    return np.log(1 + np.exp(-x * far + x * ~far)) + x * far + LEAST


def normal_loss(raw: Array, y: Array, offset: Array) -> Array:
    s = positive(raw[..., 1])
    u = (y - raw[..., 0] - offset) / s
    return np.log(s) + 0.5 * u * u + 0.5 * math.log(2 * math.pi)


def student_t_loss(raw: Array, y: Array, offset: Array) -> Array:
    s, v = positive(raw[..., 1]), 2 + positive(raw[..., 2])
    u = (y - raw[..., 0] - offset) / s
    density = log_gamma((v + 1) / 2) - log_gamma(v / 2) - 0.5 * np.log(v * math.pi) - np.log(s)
    return (v + 1) / 2 * np.log(1 + u * u / v) - density


def negative_binomial_loss(raw: Array, y: Array, scale: Array) -> Array:
    """Salmon et al. 2020, section 3.1, their z being y counted in single things."""
    z = y * scale
    mu, alpha = scale * positive(raw[..., 0]), positive(raw[..., 1])
    r = 1 / alpha
    density = (
        log_gamma(z + r)
        - log_gamma(z + 1.0)
        - log_gamma(r)
        - r * np.log(1 + alpha * mu)
        + z * np.log(alpha * mu / (1 + alpha * mu))
    )
    return -density


def quantile_losses(raw: Array, y: Array, offset: Array, levels: np.ndarray) -> Array:
    total: Array = 0.0
    for j, level in enumerate(levels):
        below = y - raw[..., j] - offset
        total = total + 2 / len(levels) * below * (level - (constant(below) < 0))
    return total


def distribution_losses(
    kind: str, raw: Array, y: Array, offset: Array = 0.0, scale: Array = 1.0, levels: Any = None
) -> Array:
    """raw [..., D, K], y [..., D] -> the loss of each value."""
    if kind == "point":
        return (y - raw[..., 0] - offset) * (y - raw[..., 0] - offset)
    if kind == "normal":
        return normal_loss(raw, y, offset)
    if kind == "student_t":
        return student_t_loss(raw, y, offset)
    if kind == "negative_binomial":
        return negative_binomial_loss(raw, y, scale)
    return quantile_losses(raw, y, offset, np.asarray(levels))


def forecast_raw(o: Any, params: Any, window: dict[str, Any], drop: Drop = no_dropout) -> Array:
    """The raw parameters [T, D * K] of one window, given the values before each: o has the fields of the
    network's configuration, and lags. known [history + T, D], covariates [T, K], past [S, F]."""
    if o.share_recurrence:
        own = {n.replace("encoder.rnn", "decoder.rnn"): p for n, p in params.items() if "encoder.rnn" in n}
        params = {**params, **own}
    memory, states = encode(o, params, window["past"], drop)
    at = start_decoding(o, params, memory, states)
    history = max(o.lags, default=0)
    rows = []
    for t in range(window["steps"]):
        parts = [window["known"][history + t - lag] for lag in o.lags]
        if "covariates" in window:
            parts.append(window["covariates"][t])
        advance(o, params, at, np.concatenate(parts)[None], drop)
        rows.append(linear(at.fed, params["head.weight"], params["head.bias"]))
    return np.stack(rows)


def forecast_offset(o: Any, params: Any, window: dict[str, Any]) -> Array:
    """[T, D]: what is added to the locations."""
    steps = window["steps"]
    total: Array = window.get("offset", np.zeros((steps, o.channels)))
    if o.skip_inputs:
        skip = linear(window["window"], params["skip.weight"], params["skip.bias"])  # [D, most]
        total = total + np.transpose(skip)[:steps]
    return total


def forecast_loss(o: Any, params: Any, window: dict[str, Any], drop: Drop = no_dropout) -> Array:
    """The loss of one window, summed over its values; NaN in target [T, D] is missing."""
    raw, offset = forecast_raw(o, params, window, drop), forecast_offset(o, params, window)
    losses: Array = 0.0
    k = raw.shape[1] // o.channels
    for t in range(window["steps"]):
        for d in range(o.channels):
            y = window["target"][t, d]
            if np.isnan(y):
                continue
            scale = window["scale"][d] if "scale" in window else 1.0
            one = raw[t][d * k : (d + 1) * k]
            losses = losses + distribution_losses(o.distribution, one, y, offset[t, d], scale, o.levels)
    return losses


def draw_words(seed: int, example: int, path: int, step: int, channel: int, call: int = 0) -> list[int]:
    """Four random words of a value, as csrc/math/draw.h counts them."""
    key = philox([example & WORD, example >> 32, 0x70617468, 0], [seed & WORD, seed >> 32])[:2]
    return philox([path, step, channel, call], key)
