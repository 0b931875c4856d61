"""`seq2seq-fast shortlist`: a lexical shortlist for a model, learnt from pairs or read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seq2seq_fast.files import SHORTLIST, ModelFolder
from seq2seq_fast.lexical_model import make_shortlist
from seq2seq_fast.lexical_shortlist import LexicalShortlist, save_shortlist, shortlist_of_vmap
from seq2seq_fast.progress import open_progress

from .lines import read_lines
from .models import model_folder


def run_shortlist(model: Path, *, data: Path | None, vmap: Path | None, **options: Any) -> None:
    """Write the shortlist into the model's folder and print what it has."""
    if (data is None) == (vmap is None):
        raise ValueError("expected --data or --vmap, one of them.")
    if not model.exists():
        raise FileNotFoundError(f"{model}: no such folder.")
    folder = model_folder(model)
    if vmap is not None:
        found = _from_vmap(folder, vmap)
    elif data is not None:
        progress = open_progress()
        try:
            found = make_shortlist(folder, data, on_progress=progress.update, **options)
        finally:
            progress.close()
    mean = len(found.targets) / max(1, found.source_vocab_size)
    path = folder / SHORTLIST
    print(
        f"{path}: {mean:.1f} target tokens for a source token on the average, {len(found.always)} always, of "
        f"{found.target_vocab_size}; {path.stat().st_size} bytes."
    )


def _from_vmap(folder: Path, vmap: Path) -> LexicalShortlist:
    opened = ModelFolder.open(folder)
    if opened.source is None or opened.target is None:
        raise ValueError(f"{folder}: this model was saved without vocabularies, so a map says nothing of it.")
    try:
        found, left_out = shortlist_of_vmap(
            read_lines(vmap), opened.source.vocabulary, opened.target.vocabulary
        )
    except ValueError as error:
        raise ValueError(f"{vmap}: {error}") from None
    if left_out:
        print(f"{vmap}: {left_out} lines of more than one source token were left out.")
    save_shortlist(folder, found)
    return found
