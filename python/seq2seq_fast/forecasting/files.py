"""A forecasting model's folder: config.json and model.safetensors.

    config.json         {"format_version": 1, "kind": "forecast", "model": the ForecastConfig,
                         "table": the columns it was trained on, as `read_series` takes them, or null}
    model.safetensors   the parameters by name, float32

Whatever a folder holds, loading it ends with a model or with a ValueError that names the file and the field.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from seq2seq_fast.device import resolve_device
from seq2seq_fast.files import CONFIG, WEIGHTS, check_fields, names_errors, read_json, write_folder
from seq2seq_fast.forecasting.config import ForecastConfig
from seq2seq_fast.forecasting.model import ForecastModel
from seq2seq_fast.tensor_file import TensorFile, TensorSpec

FORMAT_VERSION = 1
StrPath = str | os.PathLike[str]


TABLE: dict[str, Any] = {"time": str, "target": list, "covariates": list, "static": list, "group": str}
"""The fields of "table" and their types; group may be null."""


def save_forecast_model(
    folder: StrPath, model: ForecastModel, table: Mapping[str, Any] | None = None
) -> None:
    """Write a model's folder, each file atomically; over another model's, config.json goes first and comes
    last.

    Args:
        folder: made if it is not there.
        model: the model.
        table: the columns of the tables it forecasts: time, target, covariates, static and group.

    Raises:
        OSError: the folder cannot be written.
    """
    parameters = model.parameters() if model.device == "cpu" else model.native.state()
    config = {
        "format_version": FORMAT_VERSION,
        "kind": "forecast",
        "model": asdict(model.config),
        "table": None if table is None else dict(table),
    }
    content = (json.dumps(config, indent=2) + "\n").encode()
    write_folder(Path(folder), {CONFIG: content}, parameters)


def load_forecast_model(
    folder: StrPath, device: str = "cpu", *, compute_type: str = "float32", trainable: bool = True
) -> ForecastModel:
    """Read a forecasting model's folder.

    Args:
        folder: the model's folder.
        device: where the model shall lie.
        compute_type, trainable: see `ForecastModel`.

    Raises:
        FileNotFoundError: the folder, or a file that has to be in it, is not there.
        ValueError: a file is damaged, a field is unknown, missing or wrong, the weights are not those of the
            config, or the format is newer than this version of the software.
        RuntimeError: there is no such device.
    """
    path = Path(folder)
    device = resolve_device("load_forecast_model", device, auto=True)
    config = read_forecast_config(path)
    with names_errors(path):
        layout = config.layout()
    specs = {name: TensorSpec("F32", tuple(shape)) for name, shape, *_ in layout}
    with TensorFile(path / WEIGHTS) as weights:
        weights.expect(specs)
        with names_errors(path):
            model = ForecastModel(
                config, seed=None, device=device, compute_type=compute_type, trainable=trainable
            )
        for name in specs:
            model.native.load_parameter(name, weights.read(name))
    return model


def read_forecast_config(folder: StrPath) -> ForecastConfig:
    """Read and check a folder's config.json."""
    return _read(Path(folder))[0]


def read_table(folder: StrPath) -> dict[str, Any] | None:
    """The columns a model was trained on, arguments of `read_series`; None: it was saved without."""
    return _read(Path(folder))[1]


def _read(folder: Path) -> tuple[ForecastConfig, dict[str, Any] | None]:
    path = folder / CONFIG
    config = read_json(folder, "forecast", FORMAT_VERSION)
    check_fields(path, "", config, required=("format_version", "kind", "model", "table"))
    table = config["table"]
    if table is not None:
        check_fields(path, "table.", table, required=tuple(TABLE))
        for name, kind in TABLE.items():
            value = table[name]
            texts = value if isinstance(value, list) else [value]
            if not (name == "group" and value is None) and not (
                isinstance(value, kind) and all(isinstance(text, str) for text in texts)
            ):
                raise ValueError(f"{path}: field 'table.{name}': expected column names, got {value!r}.")
    known = fields(ForecastConfig)
    required = [f.name for f in known if f.default is MISSING]
    check_fields(path, "model.", config["model"], required=required, optional=[f.name for f in known])
    with names_errors(folder):
        return ForecastConfig(**config["model"]), table
