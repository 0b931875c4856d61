"""Task metrics: what a decoded sequence is worth next to its references.

Every metric takes `hypotheses`, N token sequences, and `references`, for each of them one or more token
sequences that count as right, and returns one number for the whole set. Tokens are anything hashable (strings
or ids). With several references the best match counts. A set of no examples has no value: the result is nan.
Metrics `of_text` take whole texts instead; they are in text_metrics.py, by the libraries of their fields.

A new metric is a function under `@register_metric`; the command line then knows it by its name.
"""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = [
    "Metric",
    "available_metrics",
    "edit_distance",
    "exact_match",
    "get_metric",
    "perplexity",
    "register_metric",
    "token_error_rate",
    "word_error_rate",
]

Tokens = Sequence[Hashable]
References = Sequence[Sequence[Tokens]]
MetricFunction = Callable[[Sequence[Any], Sequence[Sequence[Any]]], float]
Function = TypeVar("Function", bound=MetricFunction)


@dataclass(frozen=True)
class Metric:
    """A metric with its name and direction; call it as the function it wraps."""

    name: str
    higher_is_better: bool
    function: MetricFunction
    of_text: bool = False
    """Whether hypotheses and references are texts (str) instead of token sequences."""
    library: str = ""
    """The module it is computed by, of the extra `metrics`."""
    one_reference: bool = False
    """Whether it takes no more than one reference for each hypothesis."""

    def __call__(self, hypotheses: Sequence[Any], references: Sequence[Sequence[Any]]) -> float:
        return self.function(hypotheses, references)


_registry: dict[str, Metric] = {}


def register_metric(
    name: str,
    *,
    higher_is_better: bool,
    of_text: bool = False,
    library: str = "",
    one_reference: bool = False,
) -> Callable[[Function], Function]:
    """Make a function known under `name`; ValueError if the name is taken by another function."""

    def register(function: Function) -> Function:
        if name in _registry:
            raise ValueError(f"[register_metric] A metric named '{name}' exists already.")
        _registry[name] = Metric(name, higher_is_better, function, of_text, library, one_reference)
        return function

    return register


def available_metrics() -> list[str]:
    """The names that `get_metric` takes, sorted."""
    return sorted(_registry)


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        ValueError: there is none; the message has the nearest name.
        ImportError: the library that computes it is not installed.
    """
    if name in _registry:
        metric = _registry[name]
        if metric.library and importlib.util.find_spec(metric.library) is None:
            raise ImportError(
                f"The metric {name} needs an extra, for {metric.library}: pip install 'seq2seq_fast[metrics]'"
            )
        return metric
    near = difflib.get_close_matches(name, _registry, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ValueError(
        f"[get_metric] Unknown metric '{name}'.{hint} Known metrics: {', '.join(available_metrics())}."
    )


def edit_distance(a: Tokens, b: Tokens) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions that turn `a` into `b`."""
    if len(a) < len(b):
        a, b = b, a
    # What both share at either end costs nothing and would be most of the work: most pairs are nearly equal.
    start, end_a, end_b = 0, len(a), len(b)
    while start < end_b and a[start] == b[start]:
        start += 1
    while end_b > start and a[end_a - 1] == b[end_b - 1]:
        end_a, end_b = end_a - 1, end_b - 1
    a, b = a[start:end_a], b[start:end_b]
    row = list(range(len(b) + 1))  # row[j]: distance of the part of `a` read so far to b[:j]
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            best = diagonal if x == y else 1 + min(diagonal, row[j], row[j - 1])
            diagonal, row[j] = row[j], best
    return row[-1]


def _check(hypotheses: Sequence[Tokens], references: References) -> None:
    if len(hypotheses) != len(references):
        raise ValueError(
            f"[metrics] Expected as many references as hypotheses ({len(hypotheses)}), got {len(references)}."
        )
    for i, alternatives in enumerate(references):
        if isinstance(alternatives, str):
            raise TypeError(
                f"[metrics] Expected references[{i}] to be a list of token sequences, got a string."
            )
        if not alternatives:
            raise ValueError(f"[metrics] Expected at least one reference for example {i}, got none.")


def _matches(hypothesis: Tokens, alternatives: Iterable[Tokens]) -> bool:
    hypothesis = list(hypothesis)
    return any(hypothesis == list(reference) for reference in alternatives)


@register_metric("exact_match", higher_is_better=True)
def exact_match(hypotheses: Sequence[Tokens], references: References) -> float:
    """Share of hypotheses, 0 to 1, that equal one of their references token for token."""
    _check(hypotheses, references)
    if not hypotheses:
        return math.nan
    return sum(map(_matches, hypotheses, references)) / len(hypotheses)


@register_metric("word_error_rate", higher_is_better=False)
def word_error_rate(hypotheses: Sequence[Tokens], references: References) -> float:
    """Share of hypotheses, 0 to 1, that equal none of their references.

    This is the WER of grapheme-to-phoneme, where a hypothesis is one word; the WER of speech recognition is
    `token_error_rate` with words as tokens.
    """
    return 1.0 - exact_match(hypotheses, references)


@register_metric("token_error_rate", higher_is_better=False)
def token_error_rate(hypotheses: Sequence[Tokens], references: References) -> float:
    """Edits to the closest reference / tokens of that reference, both summed over the set.

    With phonemes as tokens this is the phoneme error rate. Of several closest references the first listed
    counts. It may exceed 1, and is infinite when there are edits but every closest reference is empty.
    """
    _check(hypotheses, references)
    if not hypotheses:
        return math.nan
    edits = tokens = 0
    for hypothesis, alternatives in zip(hypotheses, references, strict=True):
        distances = [edit_distance(hypothesis, reference) for reference in alternatives]
        closest = distances.index(min(distances))
        edits += distances[closest]
        tokens += len(alternatives[closest])
    if tokens == 0:
        return math.inf if edits else 0.0
    return edits / tokens


def perplexity(nll: float, tokens: int) -> float:
    """Return exp(nll / tokens), `nll` being the sum of -log p (natural logarithm) of that many tokens.

    It is nan for no tokens, and inf where the exponential is too large for a float.
    """
    if tokens < 0:
        raise ValueError(f"[perplexity] Expected tokens >= 0, got {tokens}.")
    if tokens == 0:
        return math.nan
    try:
        return math.exp(nll / tokens)
    except OverflowError:
        return math.inf


from seq2seq_fast import text_metrics as _text_metrics  # noqa: E402, F401  (which registers its own here)
