"""The options of a search by texts, as a model's tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seq2seq_fast.patterns import pattern, token_texts
from seq2seq_fast.search import Trie
from seq2seq_fast.text import TextField

from .lines import read_lines
from .models import FeatureModel, TextModel
from .search_options import TextSearch

__all__ = ["check_known", "options_for", "phrases_of"]


def options_for(text_model: TextModel | FeatureModel, search: TextSearch) -> dict[str, Any]:
    """Return the options of `SearchOptions`, with the tokens of the files' texts.

    Raises:
        ValueError: a text has a token that the target vocabulary has not, or the model lacks what is asked.
    """
    options = dict(search.options)
    if search.suppress is not None:
        options["suppress_sequences"] = [ids for ids in _sequences(text_model, search.suppress) if ids]
    if search.allowed_outputs is not None:
        outputs = list(_sequences(text_model, search.allowed_outputs))
        if not outputs:
            raise ValueError(f"{search.allowed_outputs}: expected outputs, one a line, got an empty file.")
        options["allowed_outputs"] = Trie(outputs)
    if search.allowed_pattern is not None:
        if search.allowed_outputs is not None:
            raise ValueError("--allowed_pattern and --allowed_outputs cannot both be given.")
        options["allowed_outputs"] = pattern(search.allowed_pattern, **token_texts(text_model.target))
    if search.use_vmap:
        if isinstance(text_model, FeatureModel):
            raise ValueError("--use_vmap: the sources of this model are feature vectors, not tokens.")
        options["use_vmap"] = True
    if search.replace_unk and isinstance(text_model, FeatureModel):
        raise ValueError("--replace_unk: the sources of this model are feature vectors, not tokens.")
    if search.replace_unk and not text_model.has_attention:
        raise ValueError("--replace_unk: this model has no attention.")
    if search.replace_unk and text_model.model.config.reduction > 1:
        raise ValueError("--replace_unk: the memory of this model has no place for each token.")
    return options


def check_known(path: Path | None, number: int, tokens: Iterable[str], target: TextField) -> None:
    """Refuse a token of a line that the target vocabulary has not."""
    for token in tokens:
        if token not in target.vocabulary:
            raise ValueError(f"{path}, line {number}: {token!r} is not in the target vocabulary.")


def phrases_of(text_model: TextModel | FeatureModel, path: Path) -> Iterator[list[list[int]]]:
    """Yield the phrases of each line of a file, as tokens."""
    target = text_model.target
    for number, line in enumerate(read_lines(path), 1):
        phrases = [target.tokenizer.tokenize(text) for text in line.split("\t")]
        check_known(path, number, itertools.chain(*phrases), target)
        yield [target.vocabulary.encode(tokens) for tokens in phrases if tokens]


def _sequences(text_model: TextModel | FeatureModel, path: Path) -> Iterator[list[int]]:
    target = text_model.target
    for number, line in enumerate(read_lines(path), 1):
        tokens = target.tokenizer.tokenize(line)
        check_known(path, number, tokens, target)
        yield target.vocabulary.encode(tokens)
