"""ForecastConfig: what a forecasting model is made of, and how its windows are made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from seq2seq_fast import _native
from seq2seq_fast.arguments import choice, flag, integer, number
from seq2seq_fast.forecasting.calendar import CALENDAR

OP = "ForecastConfig"
DISTRIBUTIONS = ("point", "normal", "student_t", "negative_binomial", "quantiles")
SCALINGS = ("none", "mean", "standard", "center", "last")
DEFAULT_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LONGEST = 1 << 20


@dataclass(frozen=True)
class ForecastConfig:
    """What a forecasting network is made of, and what it reads. Values are checked when it is made.

    The encoder reads the last `context_length` steps of a series: the channels, which of them were observed,
    covariates, calendar and static features. The decoder reads, at each step of the forecast, what the
    channels were `lags` steps before, and the covariates, calendar and static features of the step; a linear
    layer on its output gives the distribution of each channel. With lags a forecast is made step by step,
    each path fed with what it has drawn (Salmon et al. 2020, DeepAR); without, all its steps are computed at
    once, independent of each other given the past.
    """

    prediction_length: int
    """Steps that training forecasts."""
    context_length: int
    """Steps of the past that are read."""
    channels: int = 1
    """Values of a series at each step, all forecast."""
    distribution: str = "student_t"
    """point (squared error), normal, student_t, negative_binomial (counts) or quantiles."""
    quantiles: tuple[float, ...] = ()
    """Levels of distribution quantiles; empty: 0.1, 0.2 ... 0.9."""
    lags: tuple[int, ...] = (1,)
    """Ascending; empty: the forecast is computed at once."""
    scaling: str = "mean"
    """Of each window and channel by its context: mean (divided by the mean magnitude: DeepAR, GluonTS),
    standard (less the mean, divided by the deviation: Kim et al. 2022), center (less the mean), last (less
    the last value: Zeng et al. 2023) or none."""
    channel_mean: tuple[float, ...] = ()
    """With channel_deviation: of the training data, by which channels are standardised before all else;
    empty: they are not."""
    channel_deviation: tuple[float, ...] = ()
    seasonal_skip: int = 0
    """Above 0: forecasts are deviations from the seasonal naive forecast of this period."""
    linear_skip: bool = False
    """A linear layer from the context to all steps of the forecast, one for all channels, is added to the
    locations (Zeng et al. 2023, NLinear with scaling last). Forecasts are then no longer than
    prediction_length."""
    independent: bool = False
    """Each channel is a series of its own, by one set of weights; a one-hot feature says which it is."""
    calendar: tuple[str, ...] = ()
    """Sine and cosine of minute, hour, weekday, day (of the month), month, yearday."""
    covariates: int = 0
    """Values a step that are known of the future, too."""
    static: int = 0
    """Values a series that do not change."""
    share_weights: bool = False
    """The decoder's recurrent layers are the encoder's, which then reads lags, too (DeepAR)."""
    cell: str = "gru"
    """gru or lstm."""
    layers: int = 1
    hidden: int = 64
    bidirectional: bool = False
    context: str = "last"
    """What the decoder sees of the encoder besides its first state: last, mean or attention."""
    attention_score: str = "general"
    input_feeding: bool = False
    bridge: str = "copy"
    """From the encoder's last states to the decoder's first: copy, dense or zero."""
    residual: bool = False
    layer_norm: bool = False
    dropout: float = 0.0
    """Between layers and on the decoder's output."""
    zoneout_hidden: float = 0.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "bool":
                value = flag(OP, f.name, value)
            elif f.type == "int":
                least = (
                    1
                    if f.name in ("prediction_length", "context_length", "channels", "layers", "hidden")
                    else 0
                )
                value = integer(OP, f.name, value, least, LONGEST)
            elif f.type == "float":
                value = number(OP, f.name, value)
            elif str(f.type).startswith("tuple"):
                if not isinstance(value, list | tuple):
                    raise TypeError(f"[{OP}] Expected {f.name} as a list, got {type(value).__name__}.")
                value = tuple(value)
            object.__setattr__(self, f.name, value)
        choice(OP, "distribution", self.distribution, DISTRIBUTIONS)
        choice(OP, "scaling", self.scaling, SCALINGS)
        choice(OP, "cell", self.cell, ("gru", "lstm"))
        for name in self.calendar:
            choice(OP, "calendar", name, tuple(CALENDAR))
        object.__setattr__(self, "lags", tuple(integer(OP, "lags", lag, 1, LONGEST) for lag in self.lags))
        if list(self.lags) != sorted(set(self.lags)):
            raise ValueError(f"[{OP}] Expected lags in ascending order, got {list(self.lags)}.")
        self._check_quantiles()
        self._check_standard()
        moves = self.scaling not in ("none", "mean") or self.channel_mean or self.seasonal_skip
        if self.distribution == "negative_binomial" and moves:
            raise ValueError(
                f"[{OP}] Expected scaling none or mean, no channel_mean and no seasonal_skip with "
                "distribution negative_binomial: counts stay counts."
            )
        if not (self.lags or self.decoder_covariates):
            raise ValueError(
                f"[{OP}] Expected lags, calendar, covariates, static features or scaling mean or standard: "
                "the decoder reads nothing."
            )

    def _check_quantiles(self) -> None:
        if self.distribution != "quantiles":
            if self.quantiles:
                raise ValueError(f"[{OP}] Expected quantiles with distribution quantiles alone.")
            return
        if not self.quantiles:
            object.__setattr__(self, "quantiles", DEFAULT_QUANTILES)
        for level in self.quantiles:
            number(OP, "quantiles", level)
        levels = [0.0, *self.quantiles, 1.0]
        if any(a >= b for a, b in pairwise(levels)):
            raise ValueError(
                f"[{OP}] Expected quantiles between 0 and 1 in ascending order, got {list(self.quantiles)}."
            )

    def _check_standard(self) -> None:
        for name in ("channel_mean", "channel_deviation"):
            values = getattr(self, name)
            for value in values:
                number(OP, name, value, -1e30, 1e30)
            if values and len(values) != self.channels:
                raise ValueError(f"[{OP}] Expected {name} of {self.channels} numbers, got {len(values)}.")
        if len(self.channel_mean) != len(self.channel_deviation):
            raise ValueError(f"[{OP}] Expected channel_mean and channel_deviation together.")
        if any(value <= 0 for value in self.channel_deviation):
            raise ValueError(f"[{OP}] Expected channel_deviation above 0.")

    @property
    def width(self) -> int:
        """Channels of one example of the network."""
        return 1 if self.independent else self.channels

    @property
    def decoder_covariates(self) -> int:
        """Values a step of the future that the decoder reads besides lags."""
        logarithms = self.width if self.scaling in ("mean", "standard") else 0
        names = self.channels if self.independent and self.channels > 1 else 0
        return self.covariates + 2 * len(self.calendar) + self.static + names + logarithms

    @property
    def past_features(self) -> int:
        """Values a step of the past that the encoder reads."""
        own = len(self.lags) * self.width if self.share_weights else 2 * self.width
        return own + self.decoder_covariates

    @property
    def history(self) -> int:
        """Steps of the past that a window looks at, at most."""
        own = max(self.lags, default=0)
        shared = self.context_length + own if self.share_weights else 0
        return max(self.context_length, own, self.seasonal_skip, shared)

    def native_model(self, **options: Any) -> _native.ForecastNetwork:
        """Make the extension's network, all parameters zero; `options` are its own."""
        return _native.ForecastNetwork(*self._native_arguments(), **options)

    def layout(self) -> _native.Layout:
        """Return the parameters of such a network, which is not made: however large, it takes no memory."""
        return _native.ForecastNetwork.declared_layout(*self._native_arguments())

    def _native_arguments(self) -> tuple[Any, ...]:
        network = {
            "source_features": self.past_features,
            "target_features": len(self.lags) * self.width + self.decoder_covariates,
            "encoder_cell": self.cell,
            "decoder_cell": self.cell,
            "encoder_layers": self.layers,
            "decoder_layers": self.layers,
            "encoder_hidden": self.hidden,
            "decoder_hidden": self.hidden * (2 if self.bidirectional and self.bridge == "copy" else 1),
            "bidirectional": self.bidirectional,
            "context": self.context,
            "attention_score": self.attention_score,
            "input_feeding": self.input_feeding,
            "bridge": self.bridge,
            "residual": self.residual,
            "layer_norm": self.layer_norm,
            "dropout": float(self.dropout),
            "zoneout_hidden": float(self.zoneout_hidden),
            "share_recurrence": self.share_weights,
        }
        skips = self.linear_skip
        return (
            network,
            self.distribution,
            self.width,
            list(self.quantiles),
            list(self.lags),
            self.decoder_covariates,
            self.context_length if skips else 0,
            self.prediction_length if skips else 0,
        )
