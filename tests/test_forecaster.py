"""Forecaster, a forecasting model's folder, and its training: interrupted, resumed, learning."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq2seq_fast
from checks import bits
from seq2seq_fast import Forecaster, TimeSeries, Trainer, nn
from seq2seq_fast.checkpoint import Checkpoint
from seq2seq_fast.files import load_model
from seq2seq_fast.forecasting import (
    ForecastConfig,
    ForecastData,
    ForecastModel,
    load_forecast_model,
    save_forecast_model,
)
from seq2seq_fast.optim import Adam

SMALL: dict[str, Any] = {"prediction_length": 4, "context_length": 6, "hidden": 5, "channels": 2}
DIRECT: dict[str, Any] = SMALL | {"lags": (), "distribution": "normal"}


def folder(tmp_path: Path, **options: Any) -> Path:
    """A folder with a model of random parameters."""
    config = ForecastConfig(**SMALL | options)
    save_forecast_model(tmp_path / "model", ForecastModel(config, seed=1))
    return tmp_path / "model"


def pasts(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [(rng.standard_normal((n, 2)) + 3).astype(np.float32) for n in lengths]


def everything(forecast: Any) -> Any:
    return bits(
        [forecast.mean, forecast.samples, forecast.parameters or {}, list(forecast.quantiles.values())]
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lags": (), "distribution": "normal"},
        {"independent": True},
        {"lags": (), "distribution": "quantiles"},
    ],
    ids=lambda o: "-".join(o) or "paths",
)
def test_the_same_in_any_batch(tmp_path: Path, options: dict[str, Any], threads: Any) -> None:
    """A series' forecast by a seed: alone, in a batch, in another place, by any number of threads."""
    with Forecaster(folder(tmp_path, **options)) as forecaster:
        threads(1)
        call = {"num_samples": 7, "seed": 3, "quantiles": [0.1, 0.5]}
        many = pasts(9, 3, 20, 1)
        together = forecaster.predict(many, **call)
        assert [f.samples.shape for f in together] == [(7, 4, 2)] * 4
        for i in (0, 1, 3):
            assert everything(forecaster.predict(many[i], **call)) == everything(together[i])
        threads(2)
        assert [everything(f) for f in forecaster.predict(many[::-1], **call)] == [
            everything(f) for f in together[::-1]
        ]
        assert everything(forecaster.predict(many[0], **call | {"seed": 4})) != everything(together[0])
        unseeded = [forecaster.predict(many[0], num_samples=2).samples for _ in range(2)]
        assert bits(unseeded[0]) != bits(unseeded[1])
        fewer = forecaster.predict(many[0], **call | {"num_samples": 3}).samples
        assert bits(fewer) == bits(together[0].samples[:3])


def test_what_a_forecast_holds(tmp_path: Path) -> None:
    with Forecaster(folder(tmp_path)) as forecaster:  # with lags: paths alone
        (past,) = pasts(8)
        found = forecaster.predict(past, 6, num_samples=50, quantiles=[0.25], seed=1)
        assert found.samples.shape == (50, 6, 2) and found.parameters is None
        assert np.allclose(found.mean, found.samples.mean(axis=0), atol=1e-6)
        assert np.array_equal(found.quantiles[0.25], found.quantile(0.25))
        assert np.allclose(found.median, np.median(found.samples, axis=0), rtol=1e-6, atol=1e-6)
        with pytest.raises(ValueError, match="num_samples"):
            forecaster.predict(past, num_samples=0)


def test_parameters(tmp_path: Path) -> None:
    """Of a model without lags: in the units of the series, and what its samples are drawn from."""
    with Forecaster(folder(tmp_path, **DIRECT, scaling="standard")) as forecaster:
        past = pasts(8)[0] * 100 + 5000
        found = forecaster.predict(past, num_samples=4000, seed=1)
        location, scale = found.parameters["location"], found.parameters["scale"]
        assert np.array_equal(found.mean, location)
        assert np.all(np.abs(found.samples.mean(axis=0) - location) < 5 * scale / np.sqrt(4000))
        assert np.allclose(found.samples.std(axis=0), scale, rtol=0.06)
        assert np.all(np.abs(location - 5300) < 1000)
        alone = forecaster.predict(past, num_samples=0)
        assert alone.samples is None and bits(alone.parameters) == bits(found.parameters)
        with pytest.raises(ValueError, match="samples"):
            alone.quantile(0.5)


def test_quantiles(tmp_path: Path) -> None:
    with Forecaster(
        folder(tmp_path, lags=(), distribution="quantiles", quantiles=(0.2, 0.5, 0.8))
    ) as forecaster:
        found = forecaster.predict(pasts(8)[0], num_samples=0, quantiles=[0.2, 0.35, 0.9])
        own = found.parameters["quantiles"]
        assert own.shape == (3, 4, 2) and np.all(np.diff(own, axis=0) >= 0)
        assert np.array_equal(found.quantiles[0.2], own[0]) and np.array_equal(found.quantiles[0.9], own[2])
        assert np.allclose(found.quantiles[0.35], (own[0] + own[1]) / 2, atol=1e-6)
        assert np.array_equal(found.mean, own[1])


def test_counts(tmp_path: Path) -> None:
    with Forecaster(folder(tmp_path, distribution="negative_binomial")) as forecaster:
        found = forecaster.predict(np.arange(16.0).reshape(8, 2), num_samples=30, seed=1).samples
        assert np.allclose(found, np.rint(found), atol=1e-4) and found.min() >= 0 and found.max() > 3


def test_what_a_model_reads_besides(tmp_path: Path) -> None:
    """Covariates, static features and the calendar change a forecast, given alone or in a TimeSeries."""
    path = folder(tmp_path, covariates=1, static=1, calendar=("hour",))
    with Forecaster(path) as forecaster:
        (past,) = pasts(8)
        known, hour = np.arange(12.0), np.timedelta64(1, "h")
        call: dict[str, Any] = {"num_samples": 3, "seed": 1}
        more: dict[str, Any] = {"covariates": known, "static": [2.0], "start": "2020-01-01", "step": hour}
        found = forecaster.predict(past, **call, **more)
        series = TimeSeries(past, "2020-01-01", hour, known, [2.0])
        assert everything(forecaster.predict(series, **call)) == everything(found)
        listed = forecaster.predict([past], **call, **more | {"covariates": [known], "static": [[2.0]]})
        assert everything(listed[0]) == everything(found)
        for name, value in (("covariates", known + 1), ("static", [3.0]), ("start", "2020-01-01T05")):
            assert everything(forecaster.predict(past, **call, **more | {name: value})) != everything(found)
        with pytest.raises(ValueError, match="covariates of 12 steps"):
            forecaster.predict(past, **call, **more | {"covariates": known[:11]})
        with pytest.raises(ValueError, match="static"):
            forecaster.predict(past, **call, **more | {"static": None})
        with pytest.raises(ValueError, match="calendar"):
            forecaster.predict(past, **call, **more | {"start": None, "step": None})


def test_missing_values(tmp_path: Path) -> None:
    with Forecaster(folder(tmp_path)) as forecaster:
        (past,) = pasts(9)
        past[3:5, 0] = np.nan
        past[:, 1] = np.nan
        assert np.all(np.isfinite(forecaster.predict(past, num_samples=5, seed=1).samples))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"past": np.zeros((5, 3))}, ValueError, "channels"),
        ({"past": np.zeros((0, 2))}, ValueError, "values"),
        ({"past": "abc"}, TypeError, "values"),
        ({"n": 0}, ValueError, "n of at least 1"),
        ({"n": 5}, ValueError, "prediction_length"),
        ({"num_samples": -1}, ValueError, "num_samples"),
        ({"num_samples": 2.0}, TypeError, "num_samples"),
        ({"quantiles": [1.5]}, ValueError, "quantiles"),
        ({"seed": -1}, ValueError, "seed"),
        ({"covariates": np.zeros((9, 1))}, ValueError, "covariates"),
    ],
)
def test_bad_calls(tmp_path: Path, change: dict[str, Any], error: type[Exception], says: str) -> None:
    with Forecaster(folder(tmp_path, linear_skip=True)) as forecaster:
        with pytest.raises(error, match=says):
            forecaster.predict(**{"past": pasts(8)[0]} | change)
        assert forecaster.predict([]) == []


def test_closed(tmp_path: Path) -> None:
    forecaster = Forecaster(folder(tmp_path))
    forecaster.close()
    forecaster.close()
    with pytest.raises(RuntimeError, match="closed"):
        forecaster.predict(pasts(8)[0])


@pytest.mark.cpu_only("the CPU's memory is counted")
def test_memory_is_given_back(tmp_path: Path) -> None:
    path = folder(tmp_path, hidden=256)
    seq2seq_fast.release_memory()
    before = seq2seq_fast.memory_stats()["in_use"]
    with Forecaster(path) as forecaster:
        forecaster.predict(pasts(8)[0], seed=1)
        assert seq2seq_fast.memory_stats()["in_use"] > before + (1 << 20)
    assert seq2seq_fast.memory_stats()["in_use"] <= before + 4096
    assert seq2seq_fast.memory_stats()["kept"] < 1 << 20


def test_threads_of_callers(tmp_path: Path) -> None:
    """Calls at once give what calls one by one give."""
    with Forecaster(folder(tmp_path)) as forecaster:
        many = pasts(8, 9, 10, 11)
        expected = [everything(forecaster.predict(p, seed=1)) for p in many]
        found: list[Any] = [None] * 4

        def call(i: int) -> None:
            found[i] = everything(forecaster.predict(many[i], seed=1))

        callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert found == expected


@pytest.mark.parametrize("compute_type", ["int8", "bfloat16", "float16"])
def test_compute_types(tmp_path: Path, compute_type: str) -> None:
    path = folder(tmp_path, hidden=32, lags=(), distribution="normal")
    (past,) = pasts(8)
    with Forecaster(path) as exact, Forecaster(path, compute_type=compute_type) as rounded:
        a, b = (f.predict(past, num_samples=0).mean for f in (exact, rounded))
        assert not np.array_equal(a, b) and np.allclose(a, b, atol=0.1)
        assert (exact.compute_type, rounded.compute_type) == ("float32", compute_type)


def test_the_fastest_compute_type(tmp_path: Path) -> None:
    """The one that a Translator, a layer and an op would take."""
    with Forecaster(folder(tmp_path), compute_type="auto") as forecaster:
        assert forecaster.compute_type == nn.LSTM(4, 4, compute_type="auto").compute_type
    with pytest.raises(ValueError, match="compute_type"):
        Forecaster(tmp_path / "model", compute_type="float8")


# ---- folders


def test_a_folder_holds_the_model(tmp_path: Path) -> None:
    config = ForecastConfig(
        **SMALL | {"lags": (1, 24), "calendar": ("hour",), "channel_mean": (0.5, 1.5)},
        channel_deviation=(1, 2),
    )
    model = ForecastModel(config, seed=8)
    save_forecast_model(tmp_path, model)
    again = load_forecast_model(tmp_path)
    assert again.config == config
    assert bits(again.native.state()) == bits(model.native.state())
    save_forecast_model(tmp_path, ForecastModel(ForecastConfig(**SMALL), seed=9))  # over another
    assert load_forecast_model(tmp_path).config == ForecastConfig(**SMALL)


def test_damaged_folders(tmp_path: Path) -> None:
    path = folder(tmp_path)
    whole = json.loads((path / "config.json").read_text())

    def refused(change: Any, says: str) -> None:
        (path / "config.json").write_text(change if isinstance(change, str) else json.dumps(change))
        with pytest.raises(ValueError, match=says) as caught:
            Forecaster(path)
        assert str(path) in str(caught.value)

    refused("{", "JSON")
    refused([], "JSON object")
    refused(whole | {"format_version": 2}, "newer")
    refused(whole | {"format_version": True}, "format_version")
    refused(whole | {"kind": "seq2seq"}, "kind")
    refused(whole | {"more": 1}, "more")
    refused({"format_version": 1, "kind": "forecast"}, "model")
    for name, value in (
        ("hidden", 0),
        ("hidden", "5"),
        ("hidden", 2**40),
        ("hidden", 2**20),
        ("layers", 20000),
        ("channels", 2**16),
        ("prediction_length", None),
        ("lags", [[1]]),
        ("lags", 3),
        ("scaling", 1),
        ("dropout", float("nan")),
        ("context", "all"),
        ("unheard_of", 1),
        ("channel_deviation", [1e400, 1.0]),
    ):
        refused(whole | {"model": whole["model"] | {name: value}}, r"(config\.json|model\.safetensors)")
    (path / "config.json").write_text(json.dumps(whole))
    content = (path / "model.safetensors").read_bytes()
    for damaged in (b"", content[:7], content[:100], content[:-4], content + b"xxxx"):
        (path / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            Forecaster(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        Forecaster(path)
    with pytest.raises(FileNotFoundError):
        Forecaster(tmp_path / "none")


def test_a_layout_takes_no_memory(tmp_path: Path) -> None:
    """A folder that claims to hold terabytes is refused before anything is made of it."""
    large = ForecastConfig(**SMALL | {"hidden": 2**20})
    assert sum(math.prod(shape) for _, shape, *_ in large.layout()) > 2**42
    path = folder(tmp_path)
    whole = json.loads((path / "config.json").read_text())
    whole["model"]["hidden"] = 2**20
    (path / "config.json").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        Forecaster(path)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path)
    other = ForecastModel(ForecastConfig(**SMALL | {"hidden": 6}))
    save_forecast_model(tmp_path / "other", other)
    (path / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="shape"):
        Forecaster(path)


def test_a_translator_s_loader_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'kind': expected 'seq2seq', got 'forecast'"):
        load_model(folder(tmp_path))


# ---- training


def seasonal(length: int = 200) -> TimeSeries:
    t = np.arange(length)
    noise = np.random.default_rng(1).standard_normal((length, 2)) * 0.1
    return TimeSeries(np.stack([np.sin(t * np.pi / 4), 3 * np.cos(t * np.pi / 4)], axis=1) + noise)


@pytest.mark.parametrize(
    "network",
    [
        {"distribution": "student_t"},
        {"distribution": "normal", "lags": (), "scaling": "standard"},
        {"distribution": "quantiles", "lags": (1, 8), "share_weights": True, "scaling": "none"},
        {"distribution": "point", "scaling": "last", "linear_skip": True, "independent": True},
    ],
    ids=lambda o: o["distribution"],
)
def test_it_learns(network: dict[str, Any]) -> None:
    """Less loss than at the start, and less than the best constant guess of a normal."""
    config = ForecastConfig(**SMALL | {"context_length": 12, "hidden": 16} | network)
    model, series = ForecastModel(config), seasonal()
    train, valid = ForecastData([series], config, end=160), ForecastData([series], config, begin=160)
    before = model.loss(valid.batch(np.arange(len(valid))))
    Trainer(model, Adam(lr=0.01), batch_size=16, batch_type="examples", max_steps=60, progress=False).fit(
        train
    )
    after = model.loss(valid.batch(np.arange(len(valid))))
    assert after.loss / after.tokens < before.loss / before.tokens - 0.2


def trainer(out: Path, steps: int, **changes: Any) -> tuple[Trainer, ForecastData]:
    config = ForecastConfig(**SMALL | {"dropout": 0.1} | changes)
    model = ForecastModel(config)
    options: dict[str, Any] = {"batch_size": 8, "batch_type": "examples", "checkpoint_every": 3}
    return (
        Trainer(model, Adam(lr=0.01), out=out, max_steps=steps, progress=False, **options),
        ForecastData([seasonal(60)], config),
    )


def test_resumed_to_the_bit(tmp_path: Path) -> None:
    """A run in two sittings has the bits of one in one; what it saved is a folder for a Forecaster."""
    one, data = trainer(tmp_path / "one", 9)
    result = one.fit(data, data)
    first, data = trainer(tmp_path / "two", 4)
    first.fit(data, data)
    second, data = trainer(tmp_path / "two", 9)
    second.fit(data, data, resume=True)
    assert bits(second.model.flat_parameters.copy()) == bits(one.model.flat_parameters.copy())
    assert result.best is not None
    with Forecaster(result.best) as forecaster:
        assert forecaster.config == one.model.config  # type: ignore[attr-defined]
    records = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()]
    assert not {"accuracy", "perplexity"} & {name for record in records for name in record}
    other = ForecastData([seasonal(61)], data.config)
    with pytest.raises(ValueError, match="train"):
        trainer(tmp_path / "two", 12)[0].fit(other, other, resume=True)


def test_dropout_is_no_part_of_the_data(tmp_path: Path) -> None:
    """A run may change it, and one whose checkpoint names the data by it can be resumed."""
    first, data = trainer(tmp_path, 4)
    checkpoint = first.fit(data).checkpoint
    assert checkpoint is not None
    saved = Checkpoint.load(checkpoint)
    old = {**saved.settings["fixed"], "train": data.former_fingerprint()}
    replace(saved, settings={**saved.settings, "fixed": old}).save(checkpoint)
    for steps, dropout in ((5, 0.1), (6, 0.3)):
        again, data = trainer(tmp_path, steps, dropout=dropout)
        assert again.fit(data, resume=True).step == steps
    other, data = trainer(tmp_path, 7, seasonal_skip=4)
    with pytest.raises(ValueError, match=r"started with model\.seasonal_skip 0, got 4"):
        other.fit(data, resume=True)


@pytest.mark.parametrize("accum_count", [1, 2])
def test_a_channel_that_is_not_observed(accum_count: int) -> None:
    """No batch, and no part of one, is without a value to learn from."""
    series = seasonal(40)
    series.values[15:30, 1] = math.nan
    config = ForecastConfig(**SMALL, independent=True)
    data = ForecastData([series], config)
    one_by_one: dict[str, Any] = {"batch_size": 1, "batch_type": "examples", "accum_count": accum_count}
    result = Trainer(ForecastModel(config), max_epochs=1, progress=False, **one_by_one).fit(data, data)
    assert math.isfinite(result.best_value or math.nan)


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    config = ForecastConfig(**SMALL, linear_skip=True)
    model = ForecastModel(config)
    model.freeze("skip.weight")
    before = model.parameters()["skip.weight"].copy()
    Trainer(model, Adam(lr=0.01), max_steps=2, progress=False).fit(ForecastData([seasonal(60)], config))
    assert np.array_equal(model.parameters()["skip.weight"], before)
    with pytest.raises(ValueError, match="names"):
        model.freeze("skip")
