"""Vocabularies of single sources: which of them a `vocabulary` means, and which sources are searched
together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import as_list

__all__ = ["both_of_each", "by_vocabulary", "vocabulary_of_each"]

Ids = NDArray[np.int32]


def vocabulary_of_each(op: str, vocabulary: Any) -> list[Any] | None:
    """Return the vocabularies of the sources, where there is one (or None) for each; None: it is one for all.

    Raises:
        TypeError: it is no list.
        ValueError: it has tokens beside lists.
    """
    if isinstance(vocabulary, np.ndarray):
        return None
    found = as_list(op, "vocabulary", vocabulary)
    nested = [_is_list(one) for one in found]
    if not any(nested):
        return None
    if not all(nested):
        place = nested.index(not nested[0])
        raise ValueError(
            f"[{op}] Expected vocabulary as one list of tokens, or a list with one list, or None, for each "
            f"source, got both: {found[0]!r} and, at position {place}, {found[place]!r}."
        )
    return found


def _is_list(value: Any) -> bool:
    return value is None or (isinstance(value, Iterable) and not isinstance(value, str | bytes))


def both_of_each(one: Sequence[Ids | None], two: Sequence[Ids | None]) -> list[Ids | None]:
    """Return for each source what both of its vocabularies have; None has all."""
    return [
        first if second is None else second if first is None else np.intersect1d(first, second)
        for first, second in zip(one, two, strict=True)
    ]


def by_vocabulary(places: Sequence[int], vocabularies: Sequence[Ids | None] | None) -> list[list[int]]:
    """Return the places of sources in groups of the same vocabulary.

    Probabilities are normalised over the tokens that a search allows, so that sources of different ones
    cannot be searched together and still have the numbers that they have alone.
    """
    if vocabularies is None:
        return [list(places)]
    keys = {id(ids): None if ids is None else ids.tobytes() for ids in vocabularies}  # many may be one
    groups: dict[bytes | None, list[int]] = {}
    for place in places:
        groups.setdefault(keys[id(vocabularies[place])], []).append(place)
    return list(groups.values())
