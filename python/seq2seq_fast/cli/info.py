"""`seq2seq-fast info`: what a model's folder holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .models import model_folder


def run_info(folder: Path, *, as_json: bool) -> None:
    """Print what a model is made of."""
    from seq2seq_fast.files import WEIGHTS, ModelFolder, read_config
    from seq2seq_fast.lexical_shortlist import load_shortlist

    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder.")
    folder = model_folder(folder)
    if is_forecast(folder):
        return show(forecast_facts(folder), as_json=as_json)
    config = read_config(folder)
    opened = ModelFolder.open(folder)
    parameters = {name: list(shape) for name, shape, *_ in opened.layout()}
    facts: dict[str, Any] = {
        "folder": str(folder),
        "format_version": config["format_version"],
        "kind": config["kind"],
        "compute_type": opened.compute_type,
        "parameters": sum(int(np.prod(shape)) for shape in parameters.values()),
        "weights_bytes": (folder / WEIGHTS).stat().st_size,
        "model": asdict(opened.config),
    }
    for name, side in (("source", opened.source), ("target", opened.target)):
        facts[name] = None
        if side is not None:
            facts[name] = {
                "tokenizer": side.tokenizer.settings(),
                "vocabulary_size": len(side.vocabulary),
                "special_tokens": side.vocabulary.specials.settings(),
            }
            if name == "source":
                facts[name]["eos"] = side.eos
    if opened.front_end is not None:
        facts["front_end"] = {
            **opened.front_end.settings(),
            "groups": len(opened.front_end.statistics),
        }
    shortlist = load_shortlist(opened)
    if shortlist is not None:
        facts["shortlist"] = {"always": len(shortlist.always), "by_source_token": len(shortlist.targets)}
    facts["tensors"] = parameters
    show(facts, as_json=as_json)


def is_forecast(folder: Path) -> bool:
    """Whether a folder says that it holds a forecasting model."""
    from seq2seq_fast.files import CONFIG

    try:
        return bool(json.loads((folder / CONFIG).read_bytes())["kind"] == "forecast")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def forecast_facts(folder: Path) -> dict[str, Any]:
    """What a forecasting model is made of."""
    from seq2seq_fast.files import WEIGHTS
    from seq2seq_fast.forecasting import load_forecast_model
    from seq2seq_fast.forecasting.files import read_table

    model = load_forecast_model(folder, trainable=False)
    tensors = {name: list(shape) for name, shape, *_ in model.layout()}
    return {
        "folder": str(folder),
        "format_version": 1,
        "kind": "forecast",
        "parameters": sum(int(np.prod(shape)) for shape in tensors.values()),
        "weights_bytes": (folder / WEIGHTS).stat().st_size,
        "model": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(model.config).items()},
        "table": read_table(folder),
        "tensors": tensors,
    }


def show(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print facts."""
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            print(f"{name}:")
            width = max(len(key) for key in value)
            for key, item in value.items():
                print(f"  {key:<{width}}  {_plain(item)}")
        else:
            print(f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)
