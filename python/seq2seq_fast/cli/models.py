"""Opening a model's folder for the commands that use one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seq2seq_fast.files import CONFIG
from seq2seq_fast.text import TextField
from seq2seq_fast.translator import Translator

__all__ = ["TextModel", "model_folder", "open_model"]


@dataclass(frozen=True)
class TextModel:
    """A model from text to text."""

    model: Translator
    source: TextField
    target: TextField

    @property
    def has_attention(self) -> bool:
        """Whether outputs can be aligned with the source."""
        return self.model.config.context == "attention"


def model_folder(path: Path) -> Path:
    """Return the model's folder that a path means: itself, or the best model in a training run's folder."""
    if not (path / CONFIG).is_file():
        for name in ("best", "last"):
            if (path / name / CONFIG).is_file():
                return path / name
    return path


def open_model(paths: Sequence[Path], **options: Any) -> TextModel:
    """Load a model from text to text, or an ensemble of several; `options` are those of `Translator`.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is damaged, or it has no vocabularies.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such folder.")
    folders = [model_folder(path) for path in paths]
    model = Translator(folders, **options)
    if model.source is None or model.target is None:
        raise ValueError(f"{folders[0]}: this model was saved without vocabularies, so it takes no text.")
    return TextModel(model, model.source, model.target)
