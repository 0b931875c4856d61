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

    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder.")
    folder = model_folder(folder)
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
    facts["tensors"] = parameters
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
