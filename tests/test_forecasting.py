"""Windows, scaling, calendar, tables and figures of forecasting: what surrounds the network."""

from __future__ import annotations

import gzip
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_fast.forecasting import (
    ForecastConfig,
    ForecastData,
    ForecastModel,
    TimeSeries,
    evaluate,
    read_series,
    rolling_origins,
)
from seq2seq_fast.forecasting import metrics as score
from seq2seq_fast.forecasting.calendar import calendar_features
from seq2seq_fast.forecasting.prediction import forecast, series_id
from seq2seq_fast.forecasting.scaling import fill_forward, window_scaling
from seq2seq_fast.forecasting.windows import Prepared, make_windows

NAN = float("nan")
SMALL: dict[str, Any] = {"prediction_length": 4, "context_length": 6, "hidden": 5, "channels": 2}


def wave(length: int = 60, channels: int = 2, **fields: Any) -> TimeSeries:
    t = np.arange(length)[:, None]
    values = np.sin(2 * np.pi * t / 8 + np.arange(channels)) * (1 + np.arange(channels)) + 3
    return TimeSeries(values, **fields)


def test_scalings() -> None:
    x = np.array([[[2.0, NAN, 0.0], [NAN, NAN, 0.0], [-4.0, NAN, 0.0]]])
    assert [v.tolist() for v in window_scaling(x, "none")] == [[[0, 0, 0]], [[1, 1, 1]]]
    assert [v.tolist() for v in window_scaling(x, "mean")] == [[[0, 0, 0]], [[3, 1, 1]]]
    assert [v.tolist() for v in window_scaling(x, "standard")] == [[[-1, 0, 0]], [[3, 1, 1]]]
    assert [v.tolist() for v in window_scaling(x, "center")] == [[[-1, 0, 0]], [[1, 1, 1]]]
    assert [v.tolist() for v in window_scaling(x[:, :2], "last")] == [[[2, 0, 0]], [[1, 1, 1]]]
    flat = np.full((1, 9, 1), 1e6 + 1 / 3)  # whose deviation is what rounding leaves
    assert window_scaling(flat, "standard")[1].tolist() == [[1]]


def test_fill_forward() -> None:
    x = np.array([[[NAN, 1.0], [2.0, NAN], [NAN, NAN], [5.0, 3.0]]])
    assert fill_forward(x).tolist() == [[[0, 1], [2, 1], [2, 1], [5, 3]]]


def test_calendar() -> None:
    times = np.array(["2024-02-29T18:30", "2023-01-02T00:00"], "datetime64[s]")
    names = ["minute", "hour", "weekday", "day", "month", "yearday"]
    found = calendar_features(times, names).reshape(2, -1, 2)
    turns = [
        [0.5, 18.5 / 24, (3 + 18.5 / 24) / 7, (28 + 18.5 / 24) / 29, 1 / 12, (59 + 18.5 / 24) / 366],
        [0.0, 0.0, 0.0, 1 / 31, 0.0, 1 / 365],
    ]
    expected = np.stack([np.sin(2 * np.pi * np.array(turns)), np.cos(2 * np.pi * np.array(turns))], axis=-1)
    assert np.allclose(found, expected, atol=1e-6)


def test_times_of_months() -> None:
    series = TimeSeries([1.0, 2.0], "2020-11-15T06:00", np.timedelta64(1, "M"))
    assert [str(t) for t in series.times(0, 4)] == [
        f"{m}-15T06:00:00" for m in ("2020-11", "2020-12", "2021-01", "2021-02")
    ]


def one_window(config: ForecastConfig, series: TimeSeries, origin: int, channel: int = 0) -> Any:
    n = config.prediction_length
    return make_windows(config, [Prepared(series, config, n)], [origin], [channel], n, future=True)


def test_a_window() -> None:
    """Every array, by hand."""
    values = np.array([[1.0], [2.0], [NAN], [4.0], [5.0], [6.0], [NAN], [8.0]])
    series = TimeSeries(values, covariates=np.arange(10.0, 18.0), static=[7.0])
    config = ForecastConfig(
        2, 4, lags=(1, 3), scaling="mean", covariates=1, static=1, distribution="normal", seasonal_skip=2
    )
    found = one_window(config, series, 5)
    scale = np.float32((2 + 4 + 5) / 3)
    a, log = found.arrays, np.log(scale)
    assert found.shift.tolist() == [[0]] and np.allclose(found.scale, [[scale]])
    past = [[2, 1, 11, 7], [2, 0, 12, 7], [4, 1, 13, 7], [5, 1, 14, 7]]
    assert np.allclose(a["past"], [[p[0] / scale, *p[1:], log] for p in past])
    assert a["past_lengths"].tolist() == [4] and a["steps"] == 2
    assert np.allclose(a["known"][0, :, 0] * scale, [2, 4, 5, 6, 6])
    assert np.allclose(a["covariates"], [[[15, 7, log], [16, 7, log]]])
    assert np.allclose(a["offset"][0, :, 0] * scale, [4, 5])
    assert np.allclose(a["target"][0, 0, 0] * scale, 6) and np.isnan(a["target"][0, 1, 0])
    assert set(a) == {"past", "past_lengths", "steps", "known", "covariates", "offset", "target"}


def test_a_short_past() -> None:
    """What lies before a series is not read; what a lag or the linear skip would find there is the shift."""
    config = ForecastConfig(2, 4, lags=(3,), scaling="last", linear_skip=True, distribution="point")
    found = one_window(config, TimeSeries([3.0, 4.0, 9.0, 9.0]), 2)
    assert found.arrays["past_lengths"].tolist() == [2]
    assert found.arrays["past"].tolist() == [[-1, 1], [0, 1]]
    assert found.arrays["window"].tolist() == [[[0, 0, -1, 0]]]
    assert found.arrays["known"].tolist() == [[[0], [-1], [0], [5], [5]]]


def test_independent_channels(rng: np.random.Generator) -> None:
    """Each channel's window is that of a series of its own, but for the feature that names it."""
    config = ForecastConfig(**SMALL, independent=True, scaling="standard", lags=(1, 2))
    series = wave()
    for channel in (0, 1):
        found = one_window(config, series, 20, channel).arrays
        alone = replace(config, channels=1, independent=False)
        expected = one_window(alone, TimeSeries(series.values[:, channel]), 20).arrays
        name = np.zeros((6, 2), np.float32)
        name[:, channel] = 1
        assert np.array_equal(
            found["past"], np.concatenate([expected["past"][:, :2], name, expected["past"][:, 2:]], 1)
        )
        for array in ("known", "target"):
            assert np.array_equal(found[array], expected[array])
    assert len(ForecastData([series], config)) == 2 * len(
        ForecastData([series], replace(config, independent=False))
    )


def test_shared_weights_read_lags() -> None:
    config = ForecastConfig(
        **SMALL | {"channels": 1}, share_weights=True, lags=(1, 2), scaling="none", calendar=()
    )
    values = np.arange(20.0)
    found = one_window(config, TimeSeries(values), 12).arrays
    assert found["past"].tolist() == [[t - 1, t - 2] for t in range(6, 12)]


def test_standardised_channels() -> None:
    config = ForecastConfig(
        **SMALL, scaling="last", channel_mean=(1, 2), channel_deviation=(4, 8), calendar=()
    )
    series = wave()
    found = one_window(config, series, 20)
    y = found.arrays["target"].astype(np.float64) * found.scale[:, None] + found.shift[:, None]
    assert np.allclose(y[0], series.values[20:24], atol=1e-5)
    assert np.allclose(found.scale, [[4, 8]])


def test_which_windows_there_are() -> None:
    config = ForecastConfig(**SMALL)
    series = wave(20)
    assert ForecastData([series], config)._origins.tolist() == list(range(6, 17))
    assert ForecastData([series], config, begin=10, end=16, stride=2)._origins.tolist() == [10, 12]
    assert ForecastData([wave(7)], config)._origins.tolist() == [3]  # shorter than a context
    gone = wave(20)
    gone.values[9:18] = NAN
    assert ForecastData([gone], config)._origins.tolist() == [6, 7, 8, 15, 16]  # no forecast without a value
    with pytest.raises(ValueError, match="room for a window"):
        ForecastData([wave(4)], config)
    data = ForecastData([series, wave(12)], config)
    assert data.fingerprint() != ForecastData([series], config).fingerprint()
    assert data.source_lengths.tolist() == [6] * 14 and data.target_lengths.tolist() == [4] * 14


def test_a_channel_without_values_is_no_example() -> None:
    """With independent channels each is asked for values of its own; the others keep their numbers."""
    config = ForecastConfig(**SMALL, independent=True)
    series = wave(20)
    whole = ForecastData([series], config)
    series.values[9:18, 1] = NAN
    data = ForecastData([series], config)
    assert data._origins.tolist() == list(range(6, 17))
    assert len(data) == len(data.source_lengths) == len(data.target_lengths) == 22 - 6
    batch = data.batch(np.arange(len(data))).arrays
    assert np.isfinite(batch["target"]).any(axis=(1, 2)).all()
    gone = {2 * (origin - 6) + 1 for origin in range(9, 15)}
    assert batch["example_ids"].tolist() == [i for i in range(22) if i not in gone]
    assert data.fingerprint() != whole.fingerprint()


def test_the_past_alone_gives_the_same_window() -> None:
    """A forecast reads nothing of what is to come."""
    config = ForecastConfig(
        **SMALL, scaling="standard", seasonal_skip=3, linear_skip=True, distribution="normal"
    )
    series = wave()
    prepared = Prepared(series, config, 0)
    found = make_windows(config, [prepared], [20], [0], 4, future=False).arrays
    cut = Prepared(TimeSeries(series.values[:20]), config, 4)
    expected = make_windows(config, [cut], [20], [0], 4, future=False).arrays
    trained = make_windows(config, [prepared], [20], [0], 4, future=True).arrays
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name
        if name not in ("known", "steps"):
            assert np.array_equal(value, trained[name]), name
    assert np.array_equal(found["known"], trained["known"][:, :1])


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"prediction_length": 0}, ValueError, "prediction_length"),
    ({"context_length": 2.5}, TypeError, "context_length"),
    ({"distribution": "gamma"}, ValueError, "distribution"),
    ({"quantiles": (0.5,)}, ValueError, "quantiles"),
    ({"distribution": "quantiles", "quantiles": (0.5, 0.5)}, ValueError, "quantiles"),
    ({"lags": (2, 1)}, ValueError, "lags"),
    ({"lags": (0,)}, ValueError, "lags"),
    ({"lags": 1}, TypeError, "lags"),
    ({"lags": (), "scaling": "none"}, ValueError, "lags"),
    ({"scaling": "max"}, ValueError, "scaling"),
    ({"channel_mean": (0.0,), "channel_deviation": (1.0,)}, ValueError, "channel_mean"),
    ({"channel_mean": (0.0, 1.0)}, ValueError, "channel_mean"),
    ({"channel_mean": (0.0, 1.0), "channel_deviation": (1.0, 0.0)}, ValueError, "channel_deviation"),
    ({"calendar": ("century",)}, ValueError, "calendar"),
    ({"linear_skip": 1}, TypeError, "linear_skip"),
    ({"distribution": "negative_binomial", "scaling": "last"}, ValueError, "scaling"),
    ({"cell": "rnn"}, ValueError, "cell"),
    ({"dropout": "much"}, TypeError, "dropout"),
]


@pytest.mark.parametrize(("change", "error", "says"), BAD)
def test_bad_configs(change: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ForecastConfig(**SMALL | change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"bridge": "none"}, "bridge"),
        ({"context": "all"}, "context"),
        ({"share_weights": True, "bidirectional": True}, "share_recurrence"),
        ({"distribution": "negative_binomial", "linear_skip": True}, "linear skip"),
    ],
)
def test_networks_that_cannot_be(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ForecastModel(ForecastConfig(**SMALL | change))


def test_bad_series() -> None:
    with pytest.raises(TypeError, match="values"):
        TimeSeries(["a"])
    with pytest.raises(ValueError, match="values"):
        TimeSeries([[1.0, np.inf]])
    with pytest.raises(ValueError, match="values"):
        TimeSeries(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="covariates"):
        TimeSeries([1.0, 2.0], covariates=[1.0])
    with pytest.raises(ValueError, match="covariates"):
        TimeSeries([1.0], covariates=[NAN])
    with pytest.raises(ValueError, match="start and step"):
        TimeSeries([1.0], start="2020-01-01")
    config = ForecastConfig(**SMALL)
    with pytest.raises(ValueError, match="2 channels, got 3"):
        ForecastData([wave(channels=3)], config)
    with pytest.raises(ValueError, match="static"):
        ForecastData([wave(static=[1.0])], config)
    with pytest.raises(ValueError, match="calendar"):
        ForecastData([wave()], replace(config, calendar=("hour",)))
    counts = replace(config, distribution="negative_binomial")
    with pytest.raises(ValueError, match="negative"):
        ForecastData([TimeSeries(wave().values - 9)], counts)
    with pytest.raises(TypeError, match="TimeSeries"):
        ForecastData([np.zeros((30, 2))], config)  # type: ignore[list-item]


CSV = """date,load,temperature,price
2020-01-01 00:00:00,1.5,10,3
2020-01-01 02:00:00,,12,3
2020-01-01 01:00:00,2.5,11,3
2020-01-01 05:00:00,4,13,3
2020-01-01 06:00:00,,14,3
"""


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".parquet"])
def test_tables(tmp_path: Path, suffix: str) -> None:
    """Rows in any order; gaps and empty cells are missing; rows without a target at the end are the
    future's."""
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet

        (tmp_path / "t.csv").write_text(CSV)
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(tmp_path / "t.csv"), path)
    else:
        opener = {".csv.gz": gzip.open, ".csv.xz": lzma.open}.get(suffix, open)
        with opener(path, "wt") as file:  # type: ignore[operator]
            file.write(CSV)
    (series,) = read_series(path, covariates=["temperature"], static=["price"])
    assert np.array_equal(series.values[:, 0], [1.5, 2.5, NAN, NAN, NAN, 4], equal_nan=True)
    assert series.covariates[:, 0].tolist() == [10, 11, 12, 12, 12, 13, 14]
    assert series.static.tolist() == [3] and series.columns == ("load",)
    assert str(series.times(5, 6)[0]) == "2020-01-01T05:00:00"


def test_groups_and_months(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("shop,date,a,b\nx,2020-01-31,1,2\ny,2020-01-01,5,6\nx,2020-03-31,3,4\ny,2020-02-01,7,8\n")
    path.write_text(path.read_text().replace("-31", "-15"))
    x, y = read_series(path, group="shop")
    assert x.name == "x" and np.array_equal(x.values, [[1, 2], [3, 4]])  # a step of two months
    assert y.values.tolist() == [[5, 6], [7, 8]]
    assert [str(t)[:10] for t in y.times(0, 4)] == ["2020-01-01", "2020-02-01", "2020-03-01", "2020-04-01"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date,a\n2020-01-01,x\n", "'a'.*row 1.*'x'"),
        ("date,a\nyesterday,1\n", "'date'.*ISO 8601"),
        ("date,a\n2020-01-01,1\n2020-01-01,2\n", "twice"),
        ("date,a\n2020-01-01 00:00,1\n2020-01-01 01:00,1\n2020-01-01 02:30,1\n", "whole number of steps"),
        ("date,a\n2020-01-01,1,2\n", "line 2 has 3 cells"),
        ("date,a,a\n2020-01-01,1,2\n", "each once"),
        ("date\n2020-01-01\n", "no column of values"),
        ("time,a\n2020-01-01,1\n", "no column 'date'"),
        ("date,a\n", "no rows"),
        ("", "names"),
        ("date,a\n2020-01-01,inf\n", "not finite"),
        ("date,a\n2020-01-01T00,1\n2020-01-01T01,2\n20201-01-01T02,3\n", "mistyped"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_series(path)


def test_damaged_tables(tmp_path: Path) -> None:
    for name, content in (
        ("t.csv.gz", b"no"),
        ("t.csv.xz", lzma.compress(CSV.encode())[:-9]),
        ("t.csv", b"\xff"),
        ("u.csv.gz", gzip.compress(CSV.encode())[:10] + b"\xff" * 40),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="CSV"):
            read_series(tmp_path / name)
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="Parquet"):
        read_series(tmp_path / "t.parquet")
    with pytest.raises(FileNotFoundError):
        read_series(tmp_path / "none.parquet")


def test_figures(rng: np.random.Generator) -> None:
    truth = np.array([[1.0], [NAN], [4.0]])
    guess = np.array([[2.0], [9.0], [2.0]])
    assert score.mse(truth, guess) == 2.5 and score.mae(truth, guess) == 1.5
    assert score.quantile_loss(truth, guess, 0.5) == 1.5
    assert score.quantile_loss(truth, guess, 0.9) == pytest.approx((2 * 0.1 + 2 * 0.9 * 2) / 2)
    samples = rng.standard_normal((7, 3, 1))
    there = samples[:, [0, 2]]
    near = np.abs(there - truth[[0, 2]]).mean()
    apart = np.abs(there[:, None] - there[None]).mean()
    assert score.crps(truth, samples) == pytest.approx(near - apart / 2)
    assert score.crps(truth, guess[None]) == pytest.approx(1.5)  # of one path the absolute error
    past = np.array([[1.0, 5], [2, 5], [NAN, 5], [4, 5], [7, 5]])
    assert score.seasonal_error(past, 1).tolist() == [2, 0]
    both = np.concatenate([truth, truth], axis=1)
    assert score.mase(both, both + 3, score.seasonal_error(past, 1)) == 1.5  # the second channel has no scale
    with pytest.raises(ValueError, match="not missing"):
        score.mse([NAN], [1.0])


def test_rolling_origins() -> None:
    assert rolling_origins(20, 4, begin=10).tolist() == list(range(10, 17))
    assert rolling_origins(20, 4, begin=10, end=17, stride=2).tolist() == [10, 12]


@pytest.mark.parametrize(
    "options",
    [
        {"distribution": "normal", "lags": ()},
        {"distribution": "quantiles", "lags": ()},
        {"distribution": "negative_binomial", "lags": (1,)},
        {"distribution": "student_t", "lags": (1, 3), "independent": True},
    ],
    ids=lambda o: o["distribution"],
)
def test_evaluation_is_what_forecasts_give(options: dict[str, Any]) -> None:
    """Chunks and rolling windows change nothing: each origin alone, by the functions of a forecast, is the
    same."""
    config = ForecastConfig(**SMALL | options)
    model, series = ForecastModel(config, seed=3), wave(40)
    series.values[30] = NAN
    names = ("mse", "mae", "crps", "quantile_loss", "mase")
    found = evaluate(model, [series], begin=20, metrics=names, num_samples=9, seed=5, season=2)
    total: dict[str, float] = dict.fromkeys(found, 0.0)
    count = 0
    error = score.seasonal_error(series.values[:20], 2)
    for origin in rolling_origins(40, 4, begin=20):
        past = TimeSeries(series.values[:origin])
        ids = [series_id(past.values)]
        levels = (0.1, 0.5, 0.9)
        (one,) = forecast(
            model, [Prepared(past, config, 4)], [origin], ids, 4, num_samples=9, seed=5, quantiles=levels
        )
        truth = series.values[origin : origin + 4]
        weight = int((~np.isnan(truth)).sum())
        own = {"mse": score.mse(truth, one.mean), "mae": score.mae(truth, one.mean)}
        own |= {"crps": score.crps(truth, one.samples), "mase": score.mase(truth, one.mean, error)}
        own |= {f"quantile_loss_{q:g}": score.quantile_loss(truth, one.quantiles[q], q) for q in levels}
        own["quantile_loss"] = float(np.mean([own[f"quantile_loss_{q:g}"] for q in levels]))
        total = {name: value + weight * own[name] for name, value in total.items()}
        count += weight
    assert found == pytest.approx({name: value / count for name, value in total.items()}, rel=1e-5)
    with pytest.raises(ValueError, match="metrics"):
        evaluate(model, [series], begin=20, metrics=["r2"])
    with pytest.raises(ValueError, match="origin"):
        evaluate(model, [series], begin=39)
    with pytest.raises(ValueError, match="standardized"):
        evaluate(model, [series], begin=20, standardized=True)
