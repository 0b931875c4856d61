# ruff: noqa: E501 (a table is read best with a line for each option)
"""The options of `forecast train`, as train_options.py has those of `train`: what is the same is taken from there."""

from __future__ import annotations

from .options import Option, Value
from .train_options import TRAIN_OPTIONS, _o

__all__ = ["FORECAST_OPTIONS", "TABLE_OPTIONS"]

SHARED = (
    "rnn_type", "layers", "hidden_size", "bidirectional", "context", "global_attention", "input_feed", "bridge", "residual",
    "layer_norm", "dropout", "zoneout_hidden",
    "optim", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "optim_eps", "momentum", "nesterov",
    "adagrad_accumulator_init", "decay_method", "learning_rate_decay", "decay_steps", "start_decay_steps", "decay_patience",
    "decay_threshold", "min_learning_rate", "cosine_steps", "warmup_steps",
    "batch_size", "batch_type", "bucket_size", "accum_count", "max_epochs", "train_steps", "max_minutes", "early_stopping",
    "max_grad_norm", "compute_type", "average_decay", "seed", "valid_steps", "save_checkpoint_steps", "keep_checkpoint",
    "report_every", "tensorboard", "device", "threads",
)  # fmt: skip
"""Options of `train` that mean the same here."""

# fmt: off
_DEFAULTS: dict[str, Value] = {
    "hidden_size": 64, "bidirectional": False, "context": "last", "input_feed": False, "bridge": "copy", "rnn_type": "gru",
    "batch_size": 32, "batch_type": "examples",
}
_TARGETS: dict[str, tuple[str, ...]] = {"rnn_type": ("model.cell",), "layers": ("model.layers",), "hidden_size": ("model.hidden",)}

TABLE_OPTIONS: tuple[Option, ...] = (
    _o("time", "text", "date", "table.time", "The column of times."),
    _o("target", "text", None, "table.target", "The columns to forecast, comma-separated; all that are not named otherwise, where not given."),
    _o("covariates", "text", None, "table.covariates", "Columns that are known of the future, too, comma-separated."),
    _o("static", "text", None, "table.static", "Columns that do not change within a series, comma-separated."),
    _o("group", "text", None, "table.group", "The column that says to which series a row belongs."),
)

_OWN: tuple[Option, ...] = (
    _o("train", "path", None, "data.train", "Table of the series: .csv (.gz, .xz) or .parquet, a row a time."),
    *TABLE_OPTIONS,
    _o("valid", "text", None, "data.valid", "Validate on forecasts of the steps from here on, train on those before: a number of steps or a time."),
    _o("end", "text", None, "data.end", "Leave out what comes from here on: a number of steps or a time."),
    _o("stride", "int", 1, "data.stride", "Steps from a training window to the next."),
    _o("valid_stride", "int", 1, "data.valid_stride", "The same of validation."),
    _o("out", "path", None, "data.out", "Folder for the run: models (best, last), checkpoints, metrics.jsonl."),

    _o("prediction_length", "int", None, "model.prediction_length", "Steps to forecast."),
    _o("context_length", "int", None, "model.context_length", "Steps of the past that are read (as many as are forecast, where not given)."),
    _o("distribution", "text", "student_t", "model.distribution", "What is forecast of each value.", ("point", "normal", "student_t", "negative_binomial", "quantiles")),
    _o("quantiles", "text", None, "model.quantiles", "Levels of --distribution quantiles, comma-separated (0.1,0.2 ... 0.9)."),
    _o("lags", "text", "1", "model.lags", "Steps back that the decoder reads, comma-separated; none: a forecast is computed at once."),
    _o("scaling", "text", "mean", "model.scaling", "Of each window and channel by its context.", ("none", "mean", "standard", "center", "last")),
    _o("standardize", "bool", False, "data.standardize", "Channels less their mean, divided by their deviation, of the training steps."),
    _o("seasonal_skip", "int", 0, "model.seasonal_skip", "Forecast deviations from the seasonal naive forecast of this period (0: not)."),
    _o("linear_skip", "bool", False, "model.linear_skip", "Add a linear layer from the context to all steps of the forecast."),
    _o("independent", "bool", False, "model.independent", "Each channel is a series of its own, by one set of weights."),
    _o("calendar", "text", None, "model.calendar", "Of the times, comma-separated: minute, hour, weekday, day, month, yearday."),
    _o("share_weights", "bool", False, "model.share_weights", "The decoder's recurrent layers are the encoder's (DeepAR)."),
)
# fmt: on


def _shared(name: str) -> Option:
    (option,) = [option for option in TRAIN_OPTIONS if option.name == name]
    return Option(
        name,
        option.kind,
        _DEFAULTS.get(name, option.default),
        _TARGETS.get(name, option.targets),
        option.help,
        tuple(choice for choice in option.choices if choice != "noam"),
        option.zero_is_off,
    )


FORECAST_OPTIONS: tuple[Option, ...] = (*_OWN, *(_shared(name) for name in SHARED))
