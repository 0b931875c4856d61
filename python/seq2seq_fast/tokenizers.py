"""Tokenisers: how a line of text is cut into tokens, and how tokens are put together again.

A tokeniser is its settings: a small dict that is kept in the model's config.json, so that a model is used
with the tokeniser it was trained with. A new kind of tokeniser is a subclass of `Tokenizer` with the
`register` decorator.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

ReadFile = Callable[[str], bytes]  # a name of `Tokenizer.files()` -> the content


class Tokenizer(ABC):
    """Cuts text into tokens and joins tokens into text.

    Args:
        lowercase: lowercase the text first (`str.lower`); this cannot be undone when joining.
    """

    type: ClassVar[str]
    """The tokeniser's name in settings and on the command line."""

    def __init__(self, *, lowercase: bool = False) -> None:
        if not isinstance(lowercase, bool):
            raise TypeError(f"[tokenizer] Expected lowercase to be true or false, got {lowercase!r}.")
        self.lowercase = lowercase

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        return self._split(text.lower() if self.lowercase else text)

    @abstractmethod
    def detokenize(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens; `detokenize(tokenize(text))` is `text` but for case and white space."""

    @abstractmethod
    def _split(self, text: str) -> list[str]: ...

    def settings(self) -> dict[str, Any]:
        """Return what `tokenizer_from_settings` needs to make this tokeniser again, for JSON."""
        return {"type": self.type, "lowercase": self.lowercase}

    def files(self) -> dict[str, bytes]:
        """Return the files (name and content) that the settings speak of; they lie beside config.json."""
        return {}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], read_file: ReadFile) -> Tokenizer:
        """Make a tokeniser of settings without their `type`; a wrong field is a TypeError or ValueError."""
        return cls(**settings)

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{name}={value!r}" for name, value in self.settings().items() if name != "type"
        )
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash(repr(self))


TOKENIZERS: dict[str, type[Tokenizer]] = {}
"""Every kind of tokeniser by its name."""

_T = TypeVar("_T", bound=type[Tokenizer])


def register(tokenizer: _T) -> _T:
    """Class decorator: make a tokeniser known by its `type`."""
    TOKENIZERS[tokenizer.type] = tokenizer
    return tokenizer


@register
class CharTokenizer(Tokenizer):
    """Every character (Unicode code point) is a token, spaces too."""

    type = "char"

    def _split(self, text: str) -> list[str]:
        return list(text)

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


@register
class SpaceTokenizer(Tokenizer):
    """Tokens are what stands between white space."""

    type = "space"

    def _split(self, text: str) -> list[str]:
        return text.split()

    def detokenize(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)


@register
class SentencePieceTokenizer(Tokenizer):
    """Subword tokens of a SentencePiece model (extra `[sentencepiece]`; Kudo & Richardson 2018).

    Args:
        model: the model's file, or its content.
        lowercase: lowercase the text before it is cut.

    Raises:
        ImportError: the package `sentencepiece` is not installed.
        ValueError: `model` is not a SentencePiece model.
    """

    type = "sentencepiece"

    def __init__(self, model: str | os.PathLike[str] | bytes, *, lowercase: bool = False) -> None:
        super().__init__(lowercase=lowercase)
        if isinstance(model, bytes):
            self._model, where = model, "The model"
        else:
            self._model, where = Path(model).read_bytes(), os.fspath(model)
        self._processor = _sentencepiece().SentencePieceProcessor()
        try:
            loaded = self._processor.LoadFromSerializedProto(self._model)
        except RuntimeError:
            loaded = False
        if not loaded:
            raise ValueError(f"[sentencepiece] {where} is not a SentencePiece model.")

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int = 8000,
        model_type: str = "unigram",
        character_coverage: float = 0.9995,
        lowercase: bool = False,
        input_sentence_size: int = 1_000_000,
    ) -> SentencePieceTokenizer:
        """Learn a model from texts; arguments as SentencePiece's trainer has them, `vocab_size` at most.

        It keeps the texts in memory, so of more than `input_sentence_size` a random sample is taken, the same
        for the same texts.
        """
        model = io.BytesIO()
        sentencepiece = _sentencepiece()
        sentencepiece.set_random_generator_seed(0)
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=(text.lower() if lowercase else text for text in texts),
                model_writer=model,
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                model_type=model_type,
                character_coverage=character_coverage,
                input_sentence_size=input_sentence_size,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise ValueError(f"[sentencepiece] No model could be learnt from the texts: {error}") from error
        return cls(model.getvalue(), lowercase=lowercase)

    def _split(self, text: str) -> list[str]:
        pieces: list[str] = self._processor.EncodeAsPieces(text)
        return pieces

    def detokenize(self, tokens: Sequence[str]) -> str:
        text: str = self._processor.DecodePieces(list(tokens))
        return text

    def pieces(self) -> list[str]:
        """Return every piece that the model may cut a text into, unknown and control pieces left out."""
        processor = self._processor
        return [
            processor.IdToPiece(i)
            for i in range(processor.GetPieceSize())
            if not (processor.IsUnknown(i) or processor.IsControl(i))
        ]

    # The file is named after its content: two sides with one model share it, two with different ones do not
    # clash.
    @property
    def _file_name(self) -> str:
        return f"sentencepiece-{hashlib.sha256(self._model).hexdigest()[:12]}.model"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "model": self._file_name}

    def files(self) -> dict[str, bytes]:
        return {self._file_name: self._model}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], read_file: ReadFile) -> Tokenizer:
        arguments = dict(settings)
        if "model" not in arguments:
            raise ValueError("[tokenizer] Field 'model' is missing.")
        return cls(read_file(arguments.pop("model")), **arguments)


def tokenizer_from_settings(settings: Any, read_file: ReadFile | None = None) -> Tokenizer:
    """Make a tokeniser of its settings, e.g. `{"type": "char", "lowercase": true}`.

    Args:
        settings: what `Tokenizer.settings` returned.
        read_file: returns the content of one of the tokeniser's files by name; None: there are no files.

    Raises:
        ValueError: a field is unknown, missing or wrong.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"[tokenizer] Expected settings with a field 'type', got {settings!r}.")
    kind = settings.get("type")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise ValueError(
            f"[tokenizer] Expected field 'type' to be one of {', '.join(TOKENIZERS)}, got {kind!r}."
        )
    arguments = {name: value for name, value in settings.items() if name != "type"}
    accepted = inspect.signature(TOKENIZERS[kind]).parameters
    for name in arguments:
        if name not in accepted:
            raise ValueError(f"[tokenizer] Unknown field {name!r}; {kind} has {', '.join(accepted)}.")
    try:
        return TOKENIZERS[kind].from_settings(arguments, read_file or _no_files)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _no_files(name: str) -> bytes:
    raise ValueError(f"[tokenizer] The file {name!r} is needed, and there is no folder to read it from.")


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ImportError(
            "The sentencepiece tokeniser needs an extra: pip install 'seq2seq_fast[sentencepiece]'"
        ) from None
    return sentencepiece
