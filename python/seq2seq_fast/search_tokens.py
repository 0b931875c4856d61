"""Options of a search that name tokens, as texts or as ids; and the tokens of what was found."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import as_list
from seq2seq_fast.search import Automaton, SearchOptions, Trie, scorer_pairs

__all__ = ["Encode", "allows_by_source", "options_as_ids", "options_of_sources", "with_copies"]

Encode = Callable[[str, Any], list[int]]
"""(name for errors, tokens or ids) -> ids."""
Compile = Callable[[re.Pattern[str]], Automaton]

OPTIONS = {field.name for field in fields(SearchOptions)}


def options_as_ids(
    op: str,
    options: Mapping[str, Any],
    encode: Encode,
    num_sources: int,
    compiled: Compile,
    first_source: int = 0,
) -> dict[str, Any]:
    """Return options of a search in which all tokens are ids, and each source has what options list for each.

    Args:
        op: whose options they are, for errors.
        options: of `SearchOptions`, in which a token may stand wherever an id may: in end_token,
            suppress_sequences, target_prefix and must_contain (None for a source without) and
            allowed_outputs, which may also be the outputs themselves, or regular expressions.
        encode: gives the ids of tokens.
        num_sources: how many there are.
        compiled: gives the automaton of a regular expression.
        first_source: what errors call the first one.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise TypeError(f"[{op}] There is no option {name}.")
        if value is not None:
            found[name] = value
    if "end_token" in found:
        ends = found["end_token"]
        found["end_token"] = encode("end_token", ends if _is_list(ends) else [ends])
        if not found["end_token"]:
            raise ValueError(f"[{op}] Expected end_token of at least one token, got none.")
    if "suppress_sequences" in found:
        found["suppress_sequences"] = _each(op, "suppress_sequences", found["suppress_sequences"], encode)
    if "target_prefix" in found:
        prefixes = _of_each_source(op, "target_prefix", found["target_prefix"], num_sources)
        found["target_prefix"] = _each(op, "target_prefix", prefixes, encode, first_source)
    if "must_contain" in found:
        phrases = _of_each_source(op, "must_contain", found["must_contain"], num_sources)
        found["must_contain"] = [
            [] if one is None else _each(op, f"must_contain {i}", one, encode)
            for i, one in enumerate(phrases, first_source)
        ]
    if "sequence_ids" in found:
        found["sequence_ids"] = _of_each_source(op, "sequence_ids", found["sequence_ids"], num_sources)
    if "scorers" in found:
        found["scorers"] = scorer_pairs(found["scorers"])
    if "allowed_outputs" in found:
        found["allowed_outputs"] = _automata(found["allowed_outputs"], compiled)
    if "allowed_outputs" in found and not isinstance(found["allowed_outputs"], Automaton):
        outputs = as_list(op, "allowed_outputs", found["allowed_outputs"])
        if allows_by_source(outputs):
            found["allowed_outputs"] = _of_each_source(op, "allowed_outputs", outputs, num_sources)
        else:
            found["allowed_outputs"] = Trie(_each(op, "allowed_outputs", outputs, encode))
    return found


def allows_by_source(allowed: Any) -> bool:
    """Whether an `allowed_outputs` is a list with an automaton, a regular expression or None for each
    source."""
    kinds = (Automaton, re.Pattern, type(None))
    return isinstance(allowed, list | tuple) and bool(allowed) and all(isinstance(i, kinds) for i in allowed)


def _automata(allowed: Any, compiled: Compile) -> Any:
    """The same without regular expressions."""
    if isinstance(allowed, re.Pattern):
        return compiled(allowed)
    if not _is_list(allowed):
        return allowed
    return [compiled(one) if isinstance(one, re.Pattern) else one for one in allowed]


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _of_each_source(op: str, name: str, value: Any, num_sources: int) -> list[Any]:
    values = list(as_list(op, name, value))  # the caller may go on with his
    if len(values) != num_sources:
        raise ValueError(f"[{op}] Expected {name} for {num_sources} sources, got {len(values)}.")
    return values


def _each(op: str, name: str, sequences: Any, encode: Encode, first: int = 0) -> list[list[int]]:
    return [
        [] if tokens is None else encode(f"{name} {i}", tokens)
        for i, tokens in enumerate(as_list(op, name, sequences), first)
    ]


def options_of_sources(
    options: Mapping[str, Any], places: Sequence[int] | NDArray[Any], first_source: int = 0
) -> dict[str, Any]:
    """Return options for some of the sources, by their places among all.

    Args:
        options: those of all.
        places: of these sources.
        first_source: the index of the first of all. Scorers are asked for sources by their indices, and
            these are the samples' where there are no others; callbacks are told places.
    """
    found = dict(options)
    indices = [first_source + int(place) for place in places]
    for name in ("target_prefix", "sequence_ids", "must_contain", "allowed_outputs"):
        value = found.get(name)
        if value is not None and not isinstance(value, Automaton):
            found[name] = [value[i] for i in places]
    callback = found.get("callback")
    if callback is not None:
        found["callback"] = lambda source, *token: callback(int(places[source]), *token)
    if found.get("scorers") is not None:
        found["scorers"] = [
            (functools.partial(_made, make, indices), weight)
            for make, weight in scorer_pairs(found["scorers"])
        ]
    if found.get("sampling_topk", 1) != 1 and found.get("sequence_ids") is None:
        found["sequence_ids"] = indices
    return found


def _made(make: Any, indices: Sequence[int], sources: list[int]) -> Any:
    return make([indices[i] for i in sources])


def with_copies(ids: Sequence[int], unk_id: int, attention: Any, places: int, first: int) -> list[int]:
    """Put the id of a place of the source where an output has the unknown token.

    Args:
        ids: of the output.
        unk_id: the unknown token's.
        attention: [at least len(ids), at least places].
        places: how many of the source's there are; an end token that the model puts behind them is none.
        first: the id of the first place. Its token goes, with the others, to `extra` of `Vocabulary.decode`.
    """
    if places == 0 or unk_id not in ids:
        return list(ids)
    best = np.asarray(attention)[:, :places].argmax(axis=1)
    return [first + int(best[t]) if i == unk_id else i for t, i in enumerate(ids)]
