"""`seq2seq-fast forecast train | predict | evaluate`: from a table of series to a model and its forecasts."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq_fast import set_num_threads
from seq2seq_fast.device import resolve_device
from seq2seq_fast.forecaster import Forecaster
from seq2seq_fast.forecasting import (
    ForecastConfig,
    ForecastData,
    ForecastModel,
    TimeSeries,
    evaluate,
    load_forecast_model,
    read_series,
    save_forecast_model,
)
from seq2seq_fast.forecasting.files import read_table
from seq2seq_fast.progress import tell
from seq2seq_fast.trainer import Trainer, TrainingResult

from .forecast_options import FORECAST_OPTIONS, TABLE_OPTIONS
from .lines import check_output, open_output
from .models import model_folder
from .options import Value, load_config, preset_file
from .train import (
    check_early_stopping,
    fit_run,
    make_optimizer,
    make_scheduler,
    planned_steps,
    resolve_run,
    tell_of_bfloat16,
)
from .train_options import arguments_for


def run_forecast_train(
    flags: Mapping[str, object],
    *,
    config: Path | None = None,
    preset: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingResult | None:
    """Train as told by flags and a file of options; None if it was interrupted (and saved).

    Raises:
        ValueError, OSError: something is wrong with the options or the data; the message says what.
    """
    presets = []
    if preset is not None:
        presets.append((f"preset {preset}", load_config(preset_file(preset, "forecasting"))))
    options, out = resolve_run(
        "forecast train",
        flags,
        config,
        presets,
        resume=resume,
        overwrite=overwrite,
        table=FORECAST_OPTIONS,
    )
    if options["train"] is None and resume:
        raise ValueError(f"--resume: {out} holds no training run to go on with.")
    if options["train"] is None:
        raise ValueError("forecast train needs a table to learn from: --train FILE.csv.")
    if options["prediction_length"] is None:
        raise ValueError("forecast train needs --prediction_length.")
    if threads := arguments_for("run", options).get("threads"):
        set_num_threads(threads)

    device = resolve_device("forecast train", arguments_for("run", options)["device"], auto=True)
    optimizer = make_optimizer(options)
    make_scheduler(options)
    check_early_stopping(options)
    table = columns_of(options)
    series = read_series(str(options["train"]), **table)
    table["target"] = list(series[0].columns)
    series, begin, end = parts(series, options)
    if begin is not None:
        check_room("valid", options["valid"], begin, int(options["prediction_length"]), series, before=True)
    model_config = make_config(options, series, begin)
    stride = int(options["stride"] or 0)
    train = ForecastData(series, model_config, end=end if begin is None else begin, stride=stride)
    valid = None
    if begin is not None:
        apart = int(options["valid_stride"] or 0)
        valid = ForecastData(series, model_config, begin=begin, end=end, stride=apart)
    scheduler = make_scheduler(options, planned_steps(options, train))
    model = ForecastModel(model_config, seed=arguments_for("network", options)["seed"], device=device)
    arguments = arguments_for("trainer", options)
    trainer = Trainer(
        model,
        optimizer,
        out=out,
        scheduler=scheduler,
        save_model=lambda folder: save_forecast_model(folder, model, table),
        resume_hint=f"seq2seq-fast forecast train --out {out} --resume",
        **arguments,
    )
    tell(
        f"{len(series)} series of {model_config.channels} channels, {len(train)} windows, "
        f"{sum(int(np.prod(shape)) for _, shape, *_ in model.layout())} parameters on {model.device}."
    )
    tell_of_bfloat16(trainer, model.device)
    return fit_run(
        trainer,
        train,
        valid,
        options,
        out,
        FORECAST_OPTIONS,
        "forecast predict",
        resume=resume,
        overwrite=overwrite,
    )


def columns_of(options: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of `read_series`."""
    return {
        "time": str(options["time"]),
        "target": listed(options["target"]),
        "covariates": listed(options["covariates"]),
        "static": listed(options["static"]),
        "group": None if options["group"] is None else str(options["group"]),
    }


def listed(text: object) -> list[str]:
    """The parts of a comma-separated text."""
    return [] if text is None else [part for raw in str(text).split(",") if (part := raw.strip())]


def numbers(name: str, text: object, kind: type[int] | type[float]) -> list[Any]:
    """The numbers of a comma-separated text; "none": none."""
    parts = [] if str(text).lower() == "none" else listed(text)
    try:
        return [kind(part) for part in parts]
    except ValueError:
        raise ValueError(f"--{name}: expected numbers separated by commas, got {text!r}.") from None


def parts(
    series: Sequence[TimeSeries], options: Mapping[str, Value | None]
) -> tuple[list[TimeSeries], int | None, int | None]:
    """The series without what comes from --end on, and where validation begins and all ends, in steps."""
    end = place("end", options["end"], series)
    if end is not None:
        series = [
            TimeSeries(s.values[:end], s.start, s.step, s.covariates, s.static, s.name, s.columns)
            for s in series
        ]
    return list(series), place("valid", options["valid"], series), end


def place(name: str, text: object, series: Sequence[TimeSeries]) -> int | None:
    """A number of steps, given as such or as a time, which then is the same step of every series."""
    if text is None:
        return None
    if str(text).isdigit():
        return int(str(text))
    try:
        time = np.datetime64(str(text)).astype("datetime64[s]")
    except ValueError:
        raise ValueError(f"--{name}: expected a number of steps or a time, got {text!r}.") from None
    found = {int(np.searchsorted(one.times(0, len(one)), time)) for one in series}
    if len(found) != 1:
        raise ValueError(f"--{name}: {text} is not the same step of every series: give a number of steps.")
    return found.pop()


def check_room(
    name: str, text: object, begin: int, steps: int, series: Sequence[TimeSeries], *, before: bool = False
) -> None:
    """Refuse a place behind which no series has room for a forecast, or `before` which none has to train."""
    longest = max(series, key=len)
    first, last = longest.times(0, len(longest))[[0, -1]]
    table = f"the table has {len(longest)} steps, from {first} to {last}"
    if begin + steps > len(longest):
        raise ValueError(f"--{name}: {text} leaves no room for a forecast of {steps} steps: {table}.")
    if before and begin < 1 + steps:
        raise ValueError(
            f"--{name}: {text} leaves nothing to train on, one step and a forecast of {steps} steps: {table}."
        )


def make_config(
    options: Mapping[str, Value | None], series: Sequence[TimeSeries], begin: int | None
) -> ForecastConfig:
    """The model's configuration, standardisation measured on the training steps."""
    arguments = arguments_for("model", options, FORECAST_OPTIONS)
    arguments["lags"] = numbers("lags", arguments["lags"], int)
    arguments["quantiles"] = numbers("quantiles", arguments.get("quantiles", "none"), float)
    arguments["calendar"] = listed(arguments.get("calendar"))
    arguments.setdefault("context_length", arguments["prediction_length"])
    first = series[0]
    arguments["channels"] = first.channels
    arguments["covariates"] = 0 if first.covariates is None else first.covariates.shape[1]
    arguments["static"] = 0 if first.static is None else len(first.static)
    if options["standardize"]:
        seen = np.concatenate([one.values[:begin] for one in series]).astype(np.float64)
        deviation = np.nanstd(seen, axis=0)
        arguments["channel_mean"] = np.nanmean(seen, axis=0).tolist()
        arguments["channel_deviation"] = np.where(deviation > 0, deviation, 1.0).tolist()
    return ForecastConfig(**arguments)


def open_table(folder: Path, data: Path, flags: Mapping[str, object]) -> list[TimeSeries]:
    """The series of a table, by the columns that the model was trained on, or that flags name."""
    kept = read_table(folder) or {}
    given = {option.name: flags.get(option.name) for option in TABLE_OPTIONS}
    own = columns_of({**given, "time": given["time"] or "date"})
    table = {**own, **{name: value for name, value in kept.items() if given[name] is None}}
    return read_series(data, **table)


def run_forecast_predict(
    model: Path,
    *,
    data: Path,
    out: Path | None,
    n: int | None,
    num_samples: int,
    quantiles: str,
    seed: int,
    device: str,
    compute_type: str,
    flags: Mapping[str, object],
) -> None:
    """Write a line of CSV for each series, step and channel: its mean and quantiles."""
    check_output(out, {"data": data})
    folder = model_folder(model)
    levels = numbers("quantiles", quantiles, float)
    with Forecaster(folder, device, compute_type=compute_type) as forecaster:
        series = open_table(folder, data, flags)
        samples = max(num_samples, 0)
        found = forecaster.predict(list(series), n, samples, quantiles=levels, seed=seed)
    with open_output(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["series", "time", "column", "mean", *(f"q{level:g}" for level in levels)])
        for one, forecast in zip(series, found, strict=True):
            times = one.times(len(one), len(one) + len(forecast.mean))
            for t, time in enumerate(times):
                for d in range(one.channels):
                    row = [forecast.mean[t, d], *(forecast.quantiles[level][t, d] for level in levels)]
                    writer.writerow([one.name, time, one.columns[d], *(f"{value:.7g}" for value in row)])


def run_forecast_evaluate(
    model: Path,
    *,
    data: Path,
    begin: str,
    end: str | None,
    n: int | None,
    stride: int,
    metrics: str,
    num_samples: int,
    seed: int,
    season: int,
    standardized: bool,
    device: str,
    compute_type: str,
    as_json: bool,
    flags: Mapping[str, object],
) -> None:
    """Print the figures of rolling forecasts."""
    folder = model_folder(model)
    there = resolve_device("forecast evaluate", device, auto=True)
    loaded = load_forecast_model(folder, there, compute_type=compute_type, trainable=False)
    series = open_table(folder, data, flags)
    first = place("begin", begin, series)
    assert first is not None
    check_room("begin", begin, first, n or loaded.config.prediction_length, series)
    found = evaluate(
        loaded,
        series,
        n,
        begin=first,
        end=place("end", end, series),
        stride=stride,
        metrics=[name.replace("-", "_") for name in listed(metrics)],
        num_samples=num_samples,
        seed=seed,
        season=season,
        standardized=standardized,
    )
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name}\t{value:.6g}")
