"""Decoding a whole set of sources, in batches of like length, and measuring what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from seq2seq_fast.copying import CopySource, TextSource, text_source
from seq2seq_fast.metrics import get_metric
from seq2seq_fast.search_tokens import options_of_sources, with_copies
from seq2seq_fast.source_vocabularies import by_vocabulary
from seq2seq_fast.text import TextField

if TYPE_CHECKING:
    from seq2seq_fast import metrics
    from seq2seq_fast._native import Hypothesis
    from seq2seq_fast.feature_data import FeatureSources
    from seq2seq_fast.trainer import Metric

__all__ = [
    "best_tokens",
    "compare",
    "decode",
    "decode_features",
    "decode_texts",
    "decoding_metric",
    "feature_metric",
    "shown_tokens",
    "text_sources",
]

BATCH_TOKENS = 4096
Rows = npt.NDArray[np.integer[Any]]


class Searches(Protocol):
    """A Seq2Seq or a Translator."""

    def generate(self, source: Any, source_lengths: Any, **options: Any) -> list[list[Hypothesis]]:
        """Return the hypotheses of each source."""


def decode(
    model: Searches,
    sources: Sequence[Sequence[int]],
    *,
    copies: Sequence[CopySource] | None = None,
    use_vmap: bool = False,
    batch_tokens: int = BATCH_TOKENS,
    on_progress: Callable[[int], None] | None = None,
    **search: Any,
) -> list[list[Hypothesis]]:
    """Decode any number of sources.

    Args:
        model: a Seq2Seq or Translator whose sources are token ids.
        sources: ids of each source; one without ids gets no hypothesis.
        copies: what each source lets the output copy, for a model that does.
        use_vmap: as for `Translator.translate_batch`, of a Translator.
        batch_tokens: source tokens in a batch. It changes time and memory, not results.
        on_progress: called after each batch with the number of sources done so far.
        search: the options of `generate`, for all sources.

    Returns:
        The hypotheses of each source, best first, in the order of the sources.
    """
    lengths = np.array([len(ids) for ids in sources], np.int64)
    vocabularies = None
    if use_vmap:
        if not hasattr(model, "shortlisted"):
            raise TypeError(f"[decode] use_vmap: of a Translator, got {type(model).__name__}.")
        copied = None if copies is None else [one.ids for one in copies]
        vocabularies = model.shortlisted(sources, copied, search)

    def search_rows(rows: Rows) -> list[list[Hypothesis]]:
        source = np.concatenate([np.asarray(sources[i], np.int32) for i in rows])
        if copies is not None:
            search["copies"] = np.concatenate([np.asarray(copies[i].ids, np.int32) for i in rows])
        given = options_of_sources(search, rows)
        if vocabularies is not None:
            given["vocabulary"] = vocabularies[rows[0]]
        return model.generate(source, lengths[rows].astype(np.int32), **given)

    return _by_length(search_rows, lengths, batch_tokens, on_progress, vocabularies)


def decode_features(
    model: Searches,
    sources: FeatureSources,
    *,
    batch_tokens: int = BATCH_TOKENS,
    on_progress: Callable[[int], None] | None = None,
    **search: Any,
) -> list[list[Hypothesis]]:
    """`decode` of feature sequences, which are read a batch at a time; `batch_tokens` counts vectors."""

    def search_rows(rows: Rows) -> list[list[Hypothesis]]:
        return model.generate(*sources.take(rows), **options_of_sources(search, rows))

    return _by_length(search_rows, sources.lengths, batch_tokens, on_progress)


def _by_length(
    search: Callable[[Rows], list[list[Hypothesis]]],
    lengths: Rows,
    batch_tokens: int,
    on_progress: Callable[[int], None] | None,
    vocabularies: Sequence[npt.NDArray[np.int32] | None] | None = None,
) -> list[list[Hypothesis]]:
    """Call `search` with the places of sources of like length and one vocabulary; return its results in their
    order."""
    results: list[list[Hypothesis]] = [[] for _ in lengths]
    order = np.argsort(-lengths, kind="stable")  # longest first: what does not fit in memory fails at once
    order = order[lengths[order] > 0]
    done = 0
    for group in by_vocabulary(order.tolist(), vocabularies):
        start = 0
        while start < len(group):
            count = max(1, batch_tokens // int(lengths[group[start]]))
            rows = np.array(group[start : start + count])
            for i, hypotheses in zip(rows, search(rows), strict=True):
                results[i] = hypotheses
            start += len(rows)
            done += len(rows)
            if on_progress is not None:
                on_progress(done)
    return results


def best_tokens(
    model: Searches, source: TextField, target: TextField, texts: Sequence[str], **search: Any
) -> list[list[str]]:
    """Return the tokens of the best hypothesis of each text; `search` are the arguments of `decode`."""
    tokens = [source.tokenizer.tokenize(text) for text in texts]
    return best_of_tokens(model, source, target, tokens, **search)


def best_of_tokens(
    model: Searches,
    source: TextField,
    target: TextField,
    tokens: Sequence[Sequence[str]],
    *,
    replace_unknowns: bool = False,
    **search: Any,
) -> list[list[str]]:
    """Return the tokens of the best hypothesis of each source, given as tokens too.

    `replace_unknowns`: put source tokens in the places of unknown ones, by attention.
    """
    sources = text_sources(model, source, target, tokens)
    decoded = decode_texts(
        model, sources, **search | ({"return_attention": True} if replace_unknowns else {})
    )
    return [
        shown_tokens(found[0], target, text.extra, one if replace_unknowns else None) if found else []
        for text, one, found in zip(sources, tokens, decoded, strict=True)
    ]


def shown_tokens(
    hypothesis: Hypothesis,
    target: TextField,
    extra: Sequence[str] = (),
    replacements: Sequence[str] | None = None,
    *,
    skip_special_tokens: bool = True,
) -> list[str]:
    """Return a hypothesis's tokens; `replacements`: the source's, for the places of unknown ones."""
    vocabulary = target.vocabulary
    ids = hypothesis.tokens
    if replacements is not None and vocabulary.unk_id is not None:
        first = len(vocabulary) + len(extra)
        ids = with_copies(ids, vocabulary.unk_id, hypothesis.attention, len(replacements), first)
        extra = [*extra, *replacements]
    return vocabulary.decode(ids, skip_special_tokens=skip_special_tokens, extra=extra)


def text_sources(
    model: Any, source: TextField, target: TextField, tokens: Iterable[Sequence[str]]
) -> list[TextSource]:
    """Make the sources of a model from their tokens."""
    copies = model.config.copy_attention
    return [text_source(one, source, target, copies=copies) for one in tokens]


def decode_texts(model: Searches, sources: Sequence[TextSource], **search: Any) -> list[list[Hypothesis]]:
    """`decode` of text sources."""
    copied = [text.copy for text in sources if text.copy is not None]
    return decode(model, [text.ids for text in sources], copies=copied or None, **search)


def compare(
    metric: metrics.Metric,
    hypotheses: Sequence[list[str]],
    references: Sequence[Sequence[str]],
    target: TextField,
) -> float:
    """Return a metric of decoded tokens [N] and the texts that are right for each [N][1 or more]."""
    tokenizer = target.tokenizer
    if metric.of_text:
        return metric([tokenizer.detokenize(tokens) for tokens in hypotheses], references)
    return metric(hypotheses, [[tokenizer.tokenize(text) for text in texts] for texts in references])


def decoding_metric(
    name: str,
    source: TextField,
    target: TextField,
    references: Mapping[str, Sequence[str]],
    **search: Any,
) -> Metric:
    """Make a validation metric for the Trainer that decodes a development set.

    Args:
        name: one of `metrics.available_metrics()`.
        source: the model's source side.
        target: its target side.
        references: source texts and the target texts that are right for each (see `tsv.read_references`).
        search: the arguments of `decode`; greedy search unless beam_size is among them.

    Raises:
        ValueError: there is no metric of that name, or there are no references.
    """
    texts = list(references)
    return _metric(
        name,
        lambda model: best_tokens(model, source, target, texts, **{"beam_size": 1} | search),
        list(references.values()),
        target,
    )


def feature_metric(
    name: str,
    sources: FeatureSources,
    target: TextField,
    references: Sequence[Sequence[str]],
    **search: Any,
) -> Metric:
    """`decoding_metric` of feature sequences.

    Args:
        name, target, search: see there.
        sources: N sequences.
        references: [N] the texts that are right for each.
    """
    return _metric(
        name,
        lambda model: best_of_features(model, sources, target, **{"beam_size": 1} | search),
        references,
        target,
    )


def best_of_features(
    model: Searches, sources: FeatureSources, target: TextField, **search: Any
) -> list[list[str]]:
    """Return the tokens of the best hypothesis of each sequence; `search` are the arguments of `decode`."""
    return [
        target.vocabulary.decode(found[0].tokens, skip_special_tokens=True)
        for found in decode_features(model, sources, **search)
    ]


def _metric(
    name: str,
    decoded: Callable[[Searches], list[list[str]]],
    references: Sequence[Sequence[str]],
    target: TextField,
) -> Metric:
    from seq2seq_fast.trainer import Metric

    metric = get_metric(name)
    if not references:
        raise ValueError("[decoding_metric] Expected references for at least one source, got none.")

    # References that the metric does not take are refused now, not after an epoch.
    compare(metric, [target.tokenizer.tokenize(texts[0]) for texts in references], references, target)

    def measure(model: Searches) -> float:
        return compare(metric, decoded(model), references, target)

    return Metric(name, measure, maximize=metric.higher_is_better)
