"""`seq2seq-fast forecast`: train, predict, evaluate, on a table of two series; options and presets."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import Run
from seq2seq_fast.cli.forecast_options import FORECAST_OPTIONS, TABLE_OPTIONS
from seq2seq_fast.cli.options import FORECAST_PRESETS, load_config, preset_file
from seq2seq_fast.cli.train_options import resolve
from seq2seq_fast.forecasting import ForecastConfig

ROOT = Path(__file__).parent.parent


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two series of 80 hours, of one channel, a covariate and a static feature."""
    lines = ["shop,when,sales,price,size"]
    for shop, size in (("a", 1), ("b", 2)):
        for t in range(80):
            sales = size * (2 + np.sin(t * np.pi / 4)) + 0.01 * t
            day, hour = divmod(t, 24)
            lines.append(f"{shop},2024-03-{day + 1:02} {hour:02}:00,{sales:.4f},{t % 3},{size}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


COLUMNS = ["--time", "when", "--group", "shop", "--covariates", "price", "--static", "size"]
SMALL = ["--prediction_length", 4, "--context_length", 8, "--hidden_size", 8, "--train_steps", 6, "--seed", 1]


def test_train_predict_evaluate(run: Run, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--valid", 60, "--calendar", "hour,weekday", "--lags", "1,2", "--standardize", *SMALL]
    code, _, err = run("forecast", "train", "--train", table, *COLUMNS, *options, "--out", out)
    assert code == 0, err
    assert "2 series of 1 channels, 98 windows" in err  # origins 8 .. 56 of each
    assert (out / "best" / "model.safetensors").exists()

    # What follows: the covariates of the future stand in rows without sales.
    known = table.read_text() + "".join(
        f"{shop},2024-03-04 {8 + t:02}:00,,{t % 3},{size}\n"
        for shop, size in (("a", 1), ("b", 2))
        for t in range(6)
    )
    (tmp_path / "more.csv").write_text(known)
    call = [
        "forecast",
        "predict",
        "--model",
        out,
        "--data",
        tmp_path / "more.csv",
        "--n",
        6,
        "--num_samples",
        20,
    ]
    code, text, err = run(*call, "--quantiles", "0.1,0.9")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 12
    assert [r["time"] for r in rows[:2]] == ["2024-03-04T08:00:00", "2024-03-04T09:00:00"]
    assert {r["series"] for r in rows} == {"a", "b"} and {r["column"] for r in rows} == {"sales"}
    assert all(float(r["q0.1"]) <= float(r["q0.9"]) for r in rows)
    assert run(*call, "--quantiles", "0.1,0.9", "--out", tmp_path / "f.csv")[0] == 0
    assert (tmp_path / "f.csv").read_text() == text

    rounded = {kind: run(*call, "--compute_type", kind)[1] for kind in ("default", "float32", "int8", "auto")}
    assert rounded["default"] == rounded["float32"] != rounded["int8"]
    assert rounded["auto"] in (rounded["float32"], rounded["int8"])

    figures = ["forecast", "evaluate", "--model", out, "--data", table, "--begin", 60, "--num_samples", 5]
    code, text, err = run(*figures, "--metrics", "mse,mae,crps,quantile_loss,mase", "--season", 8, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert {"mse", "mae", "crps", "quantile_loss", "quantile_loss_0.5", "mase"} <= set(found)
    code, _, err = run(*figures, "--begin", "2025-01-01")
    assert code == 2 and "--begin: 2025-01-01 leaves no room for a forecast of 4 steps" in err
    code, text, err = run(*figures, "--metrics", "mse", "--standardized", "--stride", 3)
    assert code == 0 and text.startswith("mse\t"), err
    assert (
        run(*figures, "--metrics", "mse", "--standardized", "--stride", 3, "--compute_type", "int8")[1]
        != text
    )

    code, text, err = run("info", "--model", out, "--json")
    assert code == 0, err
    facts = json.loads(text)
    assert facts["kind"] == "forecast" and facts["table"]["target"] == ["sales"]
    assert facts["model"]["covariates"] == 1 and facts["model"]["static"] == 1
    assert run("info", "--model", out)[0] == 0


def test_resumed(run: Run, table: Path, tmp_path: Path) -> None:
    """In two sittings as in one; --resume knows the options."""
    common = ["forecast", "train", "--train", table, *COLUMNS, *SMALL, "--valid", "2024-03-03T12:00"]
    assert run(*common, "--out", tmp_path / "one")[0] == 0
    assert run(*common, "--out", tmp_path / "two", "--train_steps", 3)[0] == 0
    code, _, err = run(*common, "--out", tmp_path / "two")
    assert code == 2 and "--resume" in err
    code, _, err = run("forecast", "train", "--out", tmp_path / "two", "--resume", "--train_steps", 6)
    assert code == 0, err
    code, _, err = run("train", "--out", tmp_path / "two", "--resume")
    assert code == 2 and "two holds a run of `forecast train`: go on with seq2seq-fast forecast train" in err
    weights = [(tmp_path / name / "last" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_a_config_and_a_preset(run: Run, table: Path, tmp_path: Path) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(
        "prediction_length: 4\ncontext_length: 8\ntrain_steps: 2\nlags: 1\nhidden_size: 4\ntime: when\n"
    )
    more = ["--group", "shop", "--target", "sales", "--out", tmp_path / "run"]
    code, _, err = run("forecast", "train", "-c", config, "--preset", "long_horizon", "--train", table, *more)
    assert code == 0, err
    model = json.loads((tmp_path / "run" / "last" / "config.json").read_text())["model"]
    assert model["lags"] == [1] and model["hidden"] == 4 and model["linear_skip"] is True
    assert model["channel_mean"] != []


@pytest.mark.parametrize("name", FORECAST_PRESETS)
def test_presets_are_options(name: str) -> None:
    resolve({}, (name, load_config(preset_file(name, "forecasting"))), table=FORECAST_OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--valid", "soon"], "--valid: expected a number of steps or a time"),
        (["--lags", "1,x"], "--lags: expected numbers"),
        (["--lags", "2,1"], "lags in ascending order"),
        (["--distribution", "gamma"], "distribution"),
        (["--target", "profit"], "no column 'profit'"),
        (["--valid", 79], "--valid: 79 leaves no room for a forecast of 4 steps: the table has 80 steps"),
        (["--valid", "2030-01-01"], "--valid: 2030-01-01 leaves no room"),
        (["--valid", "2030-01-01"], "to 2024-03-04T07:00:00"),
        (["--valid", 4], "--valid: 4 leaves nothing to train on"),
        (["--hidden_size", 0], "Expected --hidden_size"),
        (["--calendar", "eon"], "calendar"),
        (["--preset", "none"], "there is no 'none'"),
        (["--decay_method", "noam"], "decay_method"),
        (["--early_stopping", 2], "needs --valid"),
    ],
)
def test_mistakes(run: Run, table: Path, tmp_path: Path, arguments: list[Any], says: str) -> None:
    common = ["forecast", "train", "--train", table, *COLUMNS, *SMALL, "--out", tmp_path / "run"]
    code, _, err = run(*common, *arguments)
    assert code == 2 and says in err and "Traceback" not in err


def test_a_run_of_pairs_is_not_resumed(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (tmp_path / "pairs.tsv").write_text("a\tb\n" * 9)
    small = ("--hidden_size", 4, "--word_vec_size", 4, "--train_steps", 1)
    assert run("train", "--train", tmp_path / "pairs.tsv", *small, "--out", out)[0] == 0
    code, _, err = run("forecast", "train", "--out", out, "--resume")
    assert code == 2 and "run holds a run of `train`: go on with seq2seq-fast train" in err
    code, _, err = run("forecast", "train", "--out", tmp_path / "none", "--resume")
    assert code == 2 and "none holds no training run to go on with" in err


def test_a_byte_order_mark_and_a_column_of_names(run: Run, table: Path, tmp_path: Path) -> None:
    """Excel's mark before the first name is none of it; a column of texts may be the group's."""
    marked = tmp_path / "excel.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    options = ["--time", "when", "--covariates", "price", *SMALL, "--out", tmp_path / "run"]
    assert run("forecast", "train", "--train", marked, *options, *COLUMNS, "--train_steps", 1)[0] == 0
    code, _, err = run("forecast", "train", "--train", table, *options, "--overwrite")
    assert code == 2
    assert "column 'shop': row 1: expected a number, got 'a'; if it is no channel, name the channels" in err
    assert "or it as the group" in err


def test_the_documentations_python_example_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the command that stands above it."""
    monkeypatch.chdir(tmp_path)
    days = np.arange("2023-10-01", "2024-03-01", dtype="datetime64[D]")
    rows = [f"{day},{shop},{i % 7 + 1}" for shop in "ab" for i, day in enumerate(days)]
    Path("sales.csv").write_text("\n".join(["date,shop,sales", *rows]) + "\n")
    documentation = (ROOT / "docs" / "forecasting.md").read_text()
    command = documentation.partition("seq2seq-fast forecast train")[2].partition("\n")[0].split()
    code, _, err = run("forecast", "train", *command, *SMALL)
    assert code == 0, err
    snippet = documentation.partition("```python\n")[2].partition("```")[0]
    exec(compile(snippet, "forecasting.md", "exec"), {"values": np.arange(60.0)})


def test_what_is_missing(run: Run, table: Path, tmp_path: Path) -> None:
    for arguments, says in (
        (["--out", tmp_path / "run", "--prediction_length", 4], "--train"),
        (["--train", table, "--prediction_length", 4], "--out"),
        (["--train", table, "--out", tmp_path / "run"], "--prediction_length"),
    ):
        code, _, err = run("forecast", "train", *arguments)
        assert code == 2 and says in err


def test_defaults_are_those_of_the_config() -> None:
    for option in FORECAST_OPTIONS:
        for target in option.targets:
            section, _, field = target.partition(".")
            if (
                section == "model"
                and option.default is not None
                and field not in ("prediction_length", "lags")
            ):
                assert getattr(ForecastConfig(1, 1), field) == option.default, option.name
    assert len({option.name for option in FORECAST_OPTIONS}) == len(FORECAST_OPTIONS)


def test_options_are_documented() -> None:
    documentation = (ROOT / "docs" / "forecasting.md").read_text()
    for option in (*FORECAST_OPTIONS, *TABLE_OPTIONS):
        assert f"`{option.name}`" in documentation, option.name
