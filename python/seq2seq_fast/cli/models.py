"""Opening a model's folder for the commands that use one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seq2seq_fast.checkpoint import MODELS
from seq2seq_fast.files import CONFIG
from seq2seq_fast.front_end import FrontEnd
from seq2seq_fast.text import TextField
from seq2seq_fast.translator import Translator

__all__ = ["FeatureModel", "TextModel", "model_folder", "open_model", "open_text_model"]


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


@dataclass(frozen=True)
class FeatureModel:
    """A model from feature vectors to text."""

    model: Translator
    front_end: FrontEnd
    target: TextField

    @property
    def has_attention(self) -> bool:
        """Whether outputs can be aligned with the source."""
        return self.model.config.context == "attention"


def model_folder(path: Path) -> Path:
    """Return the model's folder that a path means: itself, or the best model in a training run's folder."""
    if not (path / CONFIG).is_file():
        for name in MODELS:
            if (path / name / CONFIG).is_file():
                return path / name
    return path


def open_model(paths: Sequence[Path], **options: Any) -> TextModel | FeatureModel:
    """Load a model that writes text, or an ensemble of several; `options` are those of `Translator`.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is damaged, or it has no vocabularies.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such folder.")
    folders = [model_folder(path) for path in paths]
    model = Translator(folders, **options)
    features = model.config.source_features
    if features and model.target is not None:
        return FeatureModel(model, model.front_end or FrontEnd(features), model.target)
    if model.source is None or model.target is None:
        raise ValueError(f"{folders[0]}: this model was saved without vocabularies, so it takes no text.")
    return TextModel(model, model.source, model.target)


def open_text_model(paths: Sequence[Path], **options: Any) -> TextModel:
    """`open_model`, of models whose sources are text."""
    model = open_model(paths, **options)
    if isinstance(model, FeatureModel):
        raise ValueError(
            f"{paths[0]}: the sources of this model are feature vectors; evaluate --metrics loss scores them."
        )
    return model
