"""`seq2seq-fast translate` and `score`: lines in, lines out, in order, a batch at a time."""

from __future__ import annotations

import functools
import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seq2seq_fast.batching import batches
from seq2seq_fast.data import Dataset
from seq2seq_fast.decoding import decode_texts, shown_tokens, text_sources

from .features import translate_features
from .lines import STANDARD, check_output, is_standard, name_of, open_output, read_lines
from .models import FeatureModel, TextModel, open_model, open_text_model
from .search_options import TextSearch
from .text_search import check_known, options_for, phrases_of

if TYPE_CHECKING:
    from seq2seq_fast._native import Hypothesis

SEPARATOR = " ||| "
Show = Callable[..., "list[str]"]
"""A hypothesis's tokens, as `shown_tokens`."""


def run_translate(
    folders: Sequence[Path],
    *,
    src: Path | None,
    out: Path | None,
    batch_size: int,
    batch_type: str,
    n_best: int,
    as_json: bool,
    with_score: bool,
    with_attention: bool,
    features_in_memory: bool,
    model_options: Mapping[str, Any],
    search: TextSearch,
) -> None:
    """Translate lines to lines, an empty line to an empty one; or the sequences of a manifest to lines."""
    if is_standard(src) and search.target_prefix is not None and is_standard(search.target_prefix):
        raise ValueError("--src and --target_prefix cannot both be standard input.")
    if is_standard(src) and search.must_contain is not None and is_standard(search.must_contain):
        raise ValueError("--src and --must_contain cannot both be standard input.")
    check_output(out, {"src": src or STANDARD, **search.files})
    text_model = open_model(folders, **model_options)
    options = options_for(text_model, search)
    if with_attention and not text_model.has_attention:
        raise ValueError("--with_attention: this model has no attention.")
    if isinstance(text_model, FeatureModel):
        translate_features(
            text_model,
            src=src,
            out=out,
            batch_size=batch_size,
            batch_type=batch_type,
            n_best=n_best,
            as_json=as_json,
            with_score=with_score,
            with_attention=with_attention,
            in_memory=features_in_memory,
            search=search,
            options=options,
        )
        return
    if is_standard(src) and sys.stdin.isatty():
        batch_size, batch_type = 1, "examples"  # someone types: answer each line
    known: Counter[bool] = Counter()
    tokenized = _tokenized(text_model, src, search.target_prefix, known)
    wants_attention = (as_json and text_model.has_attention) or search.replace_unk
    options |= {"num_hypotheses": n_best, "return_attention": wants_attention}
    index = 0
    phrases = None if search.must_contain is None else phrases_of(text_model, search.must_contain)
    with open_output(out) as stream:
        for batch in batches(tokenized, batch_size, _weight(batch_type)):
            if phrases is not None:
                options["must_contain"] = list(itertools.islice(phrases, len(batch)))
                if len(options["must_contain"]) < len(batch):
                    raise ValueError(f"{search.must_contain} has fewer lines than {name_of(src)}.")
            sources = text_sources(
                text_model.model, text_model.source, text_model.target, (tokens for _, tokens, _ in batch)
            )
            if search.target_prefix is not None:
                options["target_prefix"] = [
                    source.target_ids(prefix, text_model.target)
                    for source, (_, _, prefix) in zip(sources, batch, strict=True)
                ]
            if search.samples:
                options["sequence_ids"] = range(index, index + len(batch))
            found = decode_texts(text_model.model, sources, **options)
            for (text, tokens, _), source, hypotheses in zip(batch, sources, found, strict=True):
                show = functools.partial(
                    shown_tokens,
                    target=text_model.target,
                    extra=source.extra,
                    replacements=tokens if search.replace_unk else None,
                )
                if as_json:
                    record = as_record(
                        text_model, text, tokens, hypotheses, show, with_attention=with_attention
                    )
                    lines = [json.dumps(record, ensure_ascii=False)]
                else:
                    lines = as_lines(
                        text_model, index, hypotheses, show, n_best=n_best, with_score=with_score
                    )
                stream.writelines(f"{line}\n" for line in lines)
                index += 1
            stream.flush()
        if phrases is not None and next(phrases, None) is not None:
            raise ValueError(f"{search.must_contain} has more lines than {name_of(src)}.")
    if known[False]:
        line = f"{known[False]} of {known.total()} source tokens are not in the vocabulary."
        print(line, file=sys.stderr, flush=True)


def _tokenized(
    text_model: TextModel, src: Path | None, prefixes: Path | None, known: Counter[bool]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each source line, its tokens and those that its outputs begin with; count in `known` how many of
    the source's are in the vocabulary."""
    source, target = text_model.source, text_model.target
    lines = ((text, "") for text in read_lines(src)) if prefixes is None else _line_by_line(src, prefixes)
    for number, (text, line) in enumerate(lines, 1):
        tokens, prefix = source.tokenizer.tokenize(text), target.tokenizer.tokenize(line)
        known.update(token in source.vocabulary for token in tokens)
        copied = tokens if text_model.model.config.copy_attention else ()
        check_known(prefixes, number, (token for token in prefix if token not in copied), target)
        yield text, tokens, prefix


def _weight(batch_type: str) -> Any:
    if batch_type == "examples":
        return lambda item: 1
    return lambda item: max(1, len(item[1]))


def as_lines(
    text_model: TextModel | FeatureModel,
    index: int,
    hypotheses: list[Hypothesis],
    show: Show,
    *,
    n_best: int,
    with_score: bool,
) -> list[str]:
    """Render one source's hypotheses: one line, or for n-best lists Moses' `index ||| text ||| score`."""
    detokenize = text_model.target.tokenizer.detokenize
    decoded = [(one_line(detokenize(show(h))), f"{h.score:.4f}") for h in hypotheses]
    if n_best > 1:
        return [SEPARATOR.join((str(index), text, score)) for text, score in decoded]
    text, score = decoded[0] if decoded else ("", f"{0.0:.4f}")
    return [f"{score}{SEPARATOR}{text}" if with_score else text]


def one_line(text: str) -> str:
    """Keep an output on its line: a model of characters may emit a line feed."""
    return text.replace("\r", " ").replace("\n", " ")


def as_record(
    text_model: TextModel,
    text: str,
    tokens: list[str],
    hypotheses: list[Hypothesis],
    show: Show,
    *,
    with_attention: bool = False,
) -> dict[str, Any]:
    """Render one source's hypotheses for JSON."""
    return {
        "source": text,
        "source_tokens": tokens,
        "hypotheses": [
            hypothesis_record(text_model, len(tokens), h, show, with_attention=with_attention)
            for h in hypotheses
        ],
    }


def hypothesis_record(
    text_model: TextModel | FeatureModel,
    source_length: int,
    hypothesis: Hypothesis,
    show: Show,
    *,
    with_attention: bool,
) -> dict[str, Any]:
    """Render one hypothesis for JSON."""
    record: dict[str, Any] = {
        "text": text_model.target.tokenizer.detokenize(show(hypothesis)),
        "tokens": show(hypothesis, skip_special_tokens=False),
        "score": _number(hypothesis.score),
        "log_prob": _number(hypothesis.log_prob),
        "token_scores": [_number(x) for x in hypothesis.token_scores],
        "finished": hypothesis.finished,
    }
    if hypothesis.attention is not None:
        rows = hypothesis.attention[: len(hypothesis.tokens)]
        best = rows.argmax(axis=1) if rows.size else []
        # A pair [i, j]: target token j looks most at source token i. If that is the end token, there is none.
        record["alignment"] = [[int(i), j] for j, i in enumerate(best) if i < source_length]
        if with_attention:
            record["attention"] = [[_number(x) for x in row] for row in hypothesis.attention]
    return record


def _number(x: float) -> float | None:
    return round(float(x), 6) if math.isfinite(x) else None


def run_score(
    folders: Sequence[Path],
    *,
    src: Path,
    tgt: Path,
    out: Path | None,
    batch_size: int,
    batch_type: str,
    as_json: bool,
    with_token_scores: bool,
    model_options: Mapping[str, Any],
) -> None:
    """Write the log-probability of each target line given its source line."""
    if is_standard(src) and is_standard(tgt):
        raise ValueError("--src and --tgt cannot both be standard input.")
    check_output(out, {"src": src, "tgt": tgt})
    text_model = open_text_model(folders, **model_options)
    source, target = text_model.source, text_model.target
    tokenized = (
        (src_text, source.tokenizer.tokenize(src_text), tgt_text, target.tokenizer.tokenize(tgt_text))
        for src_text, tgt_text in _line_by_line(src, tgt)
    )

    def weight(item: tuple[str, list[str], str, list[str]]) -> int:
        return 1 if batch_type == "examples" else max(len(item[1]), len(item[3]) + 1)

    with open_output(out) as stream:
        for batch in batches(tokenized, batch_size, weight):
            pairs = [(src_tokens, tgt_tokens) for _, src_tokens, _, tgt_tokens in batch]
            for (src_text, _, tgt_text, tokens), scores in zip(
                batch, score_pairs(text_model, pairs), strict=True
            ):
                total = None if scores is None else float(np.sum(scores, dtype=np.float64))
                each = None if scores is None else [_number(x) for x in scores]
                if as_json:
                    record = {
                        "source": src_text,
                        "target": tgt_text,
                        "tokens": [*tokens, target.vocabulary.specials.eos],
                        "log_prob": None if total is None else _number(total),
                        "token_scores": each,
                    }
                    stream.write(json.dumps(record, ensure_ascii=False) + "\n")
                else:
                    line = f"{math.nan if total is None else total:.4f}{SEPARATOR}{tgt_text}"
                    if with_token_scores:
                        line += SEPARATOR + " ".join(f"{x:.4f}" for x in ([] if scores is None else scores))
                    stream.write(line + "\n")
            stream.flush()


def score_pairs(
    text_model: TextModel, pairs: Iterable[tuple[list[str], list[str]]]
) -> list[np.ndarray[Any, np.dtype[np.float32]] | None]:
    """Return the log-probabilities of each target's tokens, the end token last.

    A source without tokens gives None.
    """
    pairs = list(pairs)
    results: list[np.ndarray[Any, np.dtype[np.float32]] | None] = [None] * len(pairs)
    places = [i for i, (source, _) in enumerate(pairs) if source]
    if not places:
        return results
    eos_id = text_model.model.config.eos_id
    target = text_model.target
    sources = text_sources(text_model.model, text_model.source, target, (pairs[i][0] for i in places))
    copies = [text.copy for text in sources if text.copy is not None]
    data = Dataset.from_sequences(
        [text.ids for text in sources],
        [text.target_ids(pairs[i][1], target) for i, text in zip(places, sources, strict=True)],
        eos_id=eos_id,
        copies=[copy.ids for copy in copies] if copies else None,
    )
    batch = data.batch(np.arange(len(data)))
    ends = np.cumsum(batch.target_lengths)[:-1]
    for i, scores in zip(places, np.split(text_model.model.score(batch), ends), strict=True):
        results[i] = scores
    return results


def _line_by_line(src: Path | None, tgt: Path) -> Iterator[tuple[str, str]]:
    pairs = itertools.zip_longest(read_lines(src), read_lines(tgt))
    for number, (src_text, tgt_text) in enumerate(pairs, 1):
        if src_text is None or tgt_text is None:
            shorter, longer = (src, tgt) if src_text is None else (tgt, src)
            raise ValueError(
                f"{name_of(shorter)} has {number - 1} lines, {name_of(longer)} has more; they are taken in "
                "pairs."
            )
        yield src_text, tgt_text
