"""Windows of series as the network reads them, and ForecastData: all windows of some series, for training.

A window is a series, the step at which its forecast begins (its origin) and, with independent channels, a
channel. Missing values: not in the loss; in what is read, the last value before takes their place (at the
start of a series the window's shift), and the encoder is told which values were observed. When sampling, a
path reads its own values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import integer
from seq2seq_fast.forecasting.calendar import calendar_features
from seq2seq_fast.forecasting.config import ForecastConfig
from seq2seq_fast.forecasting.scaling import Doubles, fill_forward, window_scaling
from seq2seq_fast.forecasting.series import TimeSeries

Floats = NDArray[np.float32]
Int64 = NDArray[np.int64]
OP = "ForecastData"


class Prepared:
    """A series made ready for windows: standardised, with its features, padded for windows that begin before
    it."""

    def __init__(self, series: TimeSeries, config: ForecastConfig, steps: int) -> None:
        check_series(series, config)
        self.length = len(series)
        self.pad = config.history
        values = series.values.astype(np.float64)
        if config.channel_mean:
            values = (values - np.array(config.channel_mean)) / np.array(config.channel_deviation)
        after = np.full((steps, values.shape[1]), np.nan)
        self.values: Doubles = np.concatenate([np.full((self.pad, values.shape[1]), np.nan), values, after])
        rows = self.length + steps
        known = np.zeros((rows, config.covariates), np.float32)
        if config.covariates:
            have = series.covariates[:rows]
            known[: len(have)] = have
        self.covered = rows if not config.covariates else len(series.covariates)
        features = [known]
        if config.calendar:
            features.append(calendar_features(series.times(0, rows), config.calendar))
        if config.static:
            features.append(np.tile(series.static, (rows, 1)))
        joined = np.concatenate(features, axis=1)
        self.features: Floats = np.concatenate([np.zeros((self.pad, joined.shape[1]), np.float32), joined])


def check_series(series: Any, config: ForecastConfig) -> None:
    """Raise unless a series has what the model reads."""
    if not isinstance(series, TimeSeries):
        raise TypeError(f"[{OP}] Expected series of TimeSeries, got {type(series).__name__}.")
    if series.channels != config.channels:
        raise ValueError(
            f"[{OP}] Expected values{series.of} of {config.channels} channels, got {series.channels}."
        )
    for name, rank in (("covariates", 2), ("static", 1)):
        value, wanted = getattr(series, name), getattr(config, name)
        width = 0 if value is None else value.shape[rank - 1]
        if width != wanted:
            raise ValueError(f"[{OP}] Expected {name}{series.of} of {wanted} columns, got {width}.")
    if config.distribution == "negative_binomial" and np.any(series.values < 0):
        raise ValueError(
            f"[{OP}] Expected values{series.of} of at least 0 for negative_binomial, got a negative one."
        )


@dataclass
class Windows:
    """Windows as the native network takes them, and how to undo their scaling."""

    arrays: dict[str, Any]
    shift: Doubles
    """[N, D] in the units of the series."""
    scale: Doubles


def make_windows(
    config: ForecastConfig,
    prepared: Sequence[Prepared],
    origins: Any,
    channels: Any,
    steps: int,
    *,
    future: bool,
    ids: Any = None,
) -> Windows:
    """Windows of as many series, each with its origin and channel (ignored where channels go together).

    Args:
        future: with the values of the forecast's steps, for training; else of the past alone.
        ids: int64 [N], the windows' names for random numbers.
    """
    origins, channels = np.asarray(origins, np.int64), np.asarray(channels, np.int64)
    count, pad, n = len(prepared), config.history, steps
    span = pad + n
    values = np.empty((count, span, config.width))
    features = np.empty((count, span, prepared[0].features.shape[1]), np.float32)
    for one in {id(p): p for p in prepared}.values():
        rows = np.array([i for i, p in enumerate(prepared) if p is one])
        at = origins[rows, None] + np.arange(span)  # the padding makes the origin's first step `origin`
        if config.independent:
            values[rows] = one.values[at, channels[rows, None]][..., None]
        else:
            values[rows] = one.values[at]
        features[rows] = one.features[at]
    if not future:
        values[:, pad:] = np.nan
    context = config.context_length
    shift, scale = window_scaling(values[:, pad - context : pad], config.scaling)
    z = (values - shift[:, None]) / scale[:, None]
    filled = fill_forward(z)

    extra = [features]
    if config.independent and config.channels > 1:
        named = np.eye(config.channels, dtype=np.float32)[channels]
        extra.append(np.repeat(named[:, None], span, axis=1))
    if config.scaling in ("mean", "standard"):
        extra.append(np.repeat(np.log(scale)[:, None].astype(np.float32), span, axis=1))
    known = np.concatenate(extra, axis=2)

    if config.share_weights:
        own = [filled[:, pad - context - lag : pad - lag] for lag in config.lags]
    else:
        own = [filled[:, pad - context : pad], ~np.isnan(z[:, pad - context : pad])]
    past = np.concatenate([*own, known[:, pad - context : pad]], axis=2, dtype=np.float32)
    lengths = np.minimum(context, origins).astype(np.int32)
    there = np.arange(context) >= context - lengths[:, None]
    arrays: dict[str, Any] = {"past": past[there], "past_lengths": lengths, "steps": n}
    if config.lags:
        history = max(config.lags)
        end = span if future else pad
        arrays["known"] = _float32(filled[:, pad - history : end])
    if config.decoder_covariates:
        arrays["covariates"] = np.ascontiguousarray(known[:, pad:])
    if config.seasonal_skip:
        season = config.seasonal_skip
        arrays["offset"] = _float32(filled[:, pad - season + np.arange(n) % season])
    if config.linear_skip:
        arrays["window"] = _float32(np.swapaxes(filled[:, pad - context : pad], 1, 2))
    if config.distribution == "negative_binomial":
        arrays["scale"] = _float32(scale)
    if future:
        arrays["target"] = _float32(z[:, pad:])
    if ids is not None:
        arrays["example_ids"] = np.asarray(ids, np.int64)
    if config.channel_mean:
        mean, deviation = np.array(config.channel_mean), np.array(config.channel_deviation)
        if config.independent:
            mean, deviation = mean[channels][:, None], deviation[channels][:, None]
        shift, scale = shift * deviation + mean, scale * deviation
    return Windows(arrays, shift, scale)


def _float32(x: Any) -> Floats:
    return np.ascontiguousarray(x, np.float32)


def _learnable(series: Prepared, origins: Int64, steps: int, *, independent: bool) -> NDArray[np.bool_]:
    """Whether something of the forecast was observed: [origins, channels], channels that go together as
    one."""
    missing = np.isnan(series.values[series.pad :])
    if not independent:
        missing = np.all(missing, axis=1, keepdims=True)
    observed = ~missing
    seen = np.concatenate([np.zeros((1, observed.shape[1]), np.int64), np.cumsum(observed, axis=0)])
    ends = np.minimum(origins + steps, series.length)
    return np.asarray(seen[ends] > seen[origins])


class ForecastData:
    """All windows of some series whose forecasts lie in a range of steps: what a `Trainer` trains on.

    Args:
        series: the series, of the config's channels.
        config: what the windows are made for.
        begin: the first step that is forecast; None: so late that the context is whole, or as late as a
            series that is shorter allows. Contexts may lie before it.
        end: the step after the last one that is forecast; None: the series' end.
        stride: from origin to origin.

    Left out are windows of whose forecast nothing was observed: with independent channels, a channel's.

    Raises:
        ValueError: no series has room for a window, or a series lacks what the model reads.
    """

    on_disk = False

    def __init__(
        self,
        series: Sequence[TimeSeries],
        config: ForecastConfig,
        *,
        begin: int | None = None,
        end: int | None = None,
        stride: int = 1,
    ) -> None:
        if isinstance(series, TimeSeries):
            series = [series]
        integer(OP, "stride", stride, 1)
        self.config = config
        steps = config.prediction_length
        self._prepared = [Prepared(one, config, 0) for one in series]
        self._copies = config.channels if config.independent else 1
        places: list[tuple[NDArray[Any], ...]] = []
        for i, one in enumerate(self._prepared):
            last = min(one.length, one.length if end is None else integer(OP, "end", end, 0)) - steps
            first = (
                min(config.context_length, max(last, 1)) if begin is None else integer(OP, "begin", begin, 0)
            )
            origins = np.arange(max(first, 1), last + 1, stride)
            learnable = _learnable(one, origins, steps, independent=config.independent)
            some = learnable.any(axis=1)
            places.append((np.full(int(some.sum()), i), origins[some], learnable[some].reshape(-1)))
        none = np.zeros(0, np.int64)
        self._series, self._origins, kept = (
            np.concatenate([place[part] for place in places]) if places else none for part in range(3)
        )
        self._examples: Int64 = np.flatnonzero(kept)
        """[N] of each example window * copies + channel."""
        if len(self._series) == 0:
            raise ValueError(
                f"[{OP}] Expected a series with room for a window: {steps} steps of forecast after at least "
                "one of the past, some of them observed; got none."
            )

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def source_lengths(self) -> Int64:
        """[N] steps of the past that are read."""
        return np.minimum(self.config.context_length, self._origins)[self._examples // self._copies]

    @property
    def target_lengths(self) -> Int64:
        """[N] steps that are forecast."""
        return np.full(len(self), self.config.prediction_length, np.int64)

    def batch(self, examples: Any) -> Windows:
        """The windows of these numbers."""
        examples = self._examples[np.asarray(examples, np.int64)]
        window, channel = examples // self._copies, examples % self._copies
        prepared = [self._prepared[i] for i in self._series[window]]
        return make_windows(
            self.config,
            prepared,
            self._origins[window],
            channel,
            self.config.prediction_length,
            future=True,
            ids=examples,
        )

    def fingerprint(self) -> str:
        """A hash of all that batches are made of."""
        return self._hash(replace(self.config, dropout=0.0, zoneout_hidden=0.0))

    def former_fingerprint(self) -> str:
        """What it was when dropout was thought to be part of the data: checkpoints may have it."""
        return self._hash(self.config)

    def _hash(self, config: ForecastConfig) -> str:
        found = hashlib.sha256(repr(sorted(asdict(config).items())).encode())
        for one in self._prepared:
            found.update(one.values.tobytes())
            found.update(one.features.tobytes())
        found.update(self._series.tobytes())
        found.update(self._origins.tobytes())
        if len(self) < len(self._series) * self._copies:
            found.update(self._examples.tobytes())
        return found.hexdigest()
