"""`seq2seq-fast quantize`: a model's folder written anew with smaller weights."""

from __future__ import annotations

from pathlib import Path

from seq2seq_fast.files import WEIGHTS, quantize_model

from .models import model_folder


def run_quantize(folder: Path, *, out: Path, compute_type: str) -> None:
    """Write the model and print how much smaller it is."""
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder.")
    folder = model_folder(folder)
    quantize_model(folder, out, compute_type)
    before, after = ((path / WEIGHTS).stat().st_size for path in (folder, out))
    print(f"{out}: {compute_type}, {after:,} bytes of weights ({before / after:.2f} times fewer)")
