"""Options of a stream of sources: which are for all of them, and which have one for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from seq2seq_fast.search_tokens import allows_by_source
from seq2seq_fast.source_vocabularies import vocabulary_of_each

__all__ = ["aligned", "by_source"]


def by_source(op: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that are for all sources, to be used any number of times, and those that have one
    for each, to be read beside the sources.

    `must_contain` and `groups` always have one for each; `vocabulary` and `allowed_outputs` may, which only
    the whole of them says.
    """
    for_all: dict[str, Any] = {}
    of_each: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if name in ("must_contain", "groups"):
            of_each[name] = value
            continue
        value = _read_once(value)
        if (name == "vocabulary" and vocabulary_of_each(op, value) is not None) or (
            name == "allowed_outputs" and allows_by_source(value)
        ):
            of_each[name] = value
        else:
            for_all[name] = value
    return for_all, of_each


def _read_once(value: Any) -> Any:
    """The same with lists in place of iterators."""
    return [_read_once(one) for one in value] if isinstance(value, Iterator | list | tuple) else value


def aligned(op: str, columns: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Return rows of several iterables, that of `source` first, which are to be of the same length.

    Raises:
        TypeError: at once, where one of them is no iterable.
        ValueError: behind the last whole row, where another is longer; the message names it.
    """
    for name, column in columns.items():
        if isinstance(column, str | bytes) or not isinstance(column, Iterable):
            raise TypeError(f"[{op}] Expected {name} as an iterable, got {type(column).__name__}.")
    return _rows(op, columns)


def _rows(op: str, columns: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    missing: Any = object()
    for number, row in enumerate(itertools.zip_longest(*columns.values(), fillvalue=missing)):
        short = [name for name, item in zip(columns, row, strict=True) if item is missing]
        if short:
            other = next(name for name in columns if name not in short) if "source" in short else short[0]
            raise ValueError(
                f"[{op}] Expected as many of source and {other}, got only {number} of {short[0]}."
            )
        yield row
