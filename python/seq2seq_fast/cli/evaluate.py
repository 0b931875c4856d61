"""`seq2seq-fast evaluate`: decode the sources of a file and compare with its references."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seq2seq_fast import tsv
from seq2seq_fast.batching import batches
from seq2seq_fast.decoding import best_tokens, compare
from seq2seq_fast.metrics import available_metrics, get_metric, perplexity
from seq2seq_fast.progress import open_progress
from seq2seq_fast.text import TextField

from .features import decode_manifest, feature_likelihood, open_manifest, open_sources, references_of
from .lines import check_output, name_of, open_output, read_lines
from .models import FeatureModel, TextModel, open_model
from .search_options import TextSearch
from .text_search import options_for
from .translate import one_line, score_pairs

LIKELIHOOD_METRICS = ("loss", "perplexity")
"""Metrics of the references' probabilities; all others are of what is decoded."""

EVERY_LINE = "; with --every_line each line is an example of its own"

SHARES = ("_rate", "_match", "wer", "cer", "rouge1", "rouge2", "rougeL")
"""How names of metrics from 0 to 1 end."""


def run_evaluate(
    folders: Sequence[Path],
    *,
    data: Path,
    metrics: Sequence[str],
    out: Path | None,
    as_json: bool,
    every_line: bool,
    features_in_memory: bool,
    model_options: Mapping[str, Any],
    search: TextSearch,
) -> None:
    """Print the value of each metric."""
    for name in metrics:
        if name in LIKELIHOOD_METRICS:
            continue
        if name not in available_metrics():
            known = ", ".join([*available_metrics(), *LIKELIHOOD_METRICS])
            raise ValueError(f"--metrics: there is no {name!r}; there are {known}.")
        get_metric(name)  # now, not after minutes of decoding, it says which library is missing
    if not metrics:
        raise ValueError("--metrics: expected at least one.")
    if search.must_contain is not None:
        raise ValueError("--must_contain is for translate; evaluate has no lines in pairs.")
    if search.target_prefix is not None:
        raise ValueError("--target_prefix is for translate; evaluate has no lines in pairs.")
    if out is not None:
        check_output(out, {"data": data, **search.files})
    model = open_model(folders, **model_options)
    options = options_for(model, search)
    if isinstance(model, FeatureModel):
        if every_line:
            raise ValueError("--every_line: each line of a manifest is an example of its own anyway.")
        evaluated: Evaluated = EvaluatedFeatures(model, data, in_memory=features_in_memory)
    else:
        evaluated = EvaluatedTexts(model, data, every_line=every_line)
        options |= {"replace_unknowns": search.replace_unk}
    names, right = evaluated.names, evaluated.references
    hint = "" if isinstance(model, FeatureModel) or every_line else EVERY_LINE
    for name in metrics:
        check_references(f"--metrics {name}", name, name_of(data), names, right, hint)
    started = time.perf_counter()
    values = dict.fromkeys(metrics, 0.0)
    wanted = [name for name in metrics if name not in LIKELIHOOD_METRICS]
    if wanted or out is not None:
        hypotheses = evaluated.decode(**options)
        for name in wanted:
            values[name] = compare(get_metric(name), hypotheses, right, model.target)
        if out is not None:
            write_predictions(out, model.target, names, right, hypotheses)
    if any(name in LIKELIHOOD_METRICS for name in metrics):
        nll, tokens = evaluated.likelihood()
        likelihood = {"loss": nll / tokens if tokens else np.nan, "perplexity": perplexity(nll, tokens)}
        values |= {name: float(likelihood[name]) for name in metrics if name in LIKELIHOOD_METRICS}
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps({"sources": len(names), "seconds": round(seconds, 3), "metrics": values}))
        return
    width = max(len(name) for name in values)
    print(f"{len(names)} sources, {seconds:.1f} s")
    for name, value in values.items():
        print(f"{name:<{width}}  {show(name, value)}")


def check_references(
    option: str,
    metric: str,
    file: str,
    names: Sequence[str],
    references: Sequence[Sequence[str]],
    hint: str = "",
) -> None:
    """Refuse several references where the metric of an option takes one: now, not after all is decoded."""
    if metric in LIKELIHOOD_METRICS or not get_metric(metric).one_reference:
        return
    for name, right in zip(names, references, strict=True):
        if len(right) != 1:
            raise ValueError(
                f"{option} takes one reference for each source, and {file} has {len(right)} for "
                f"{name!r}{hint}."
            )


class Evaluated(Protocol):
    """A model and what it is tried on."""

    names: list[str]
    """[N] what each source is called."""
    references: list[list[str]]
    """[N] the texts that are right for each."""

    def decode(self, **search: Any) -> list[list[str]]:
        """Return the tokens of each source's best hypothesis."""

    def likelihood(self) -> tuple[float, int]:
        """Return the sum of -log p over all tokens of all references, end tokens too, and their number."""


class EvaluatedTexts:
    """Texts, each its own name."""

    def __init__(self, model: TextModel, data: Path, *, every_line: bool) -> None:
        self.model = model
        rows = tsv.columns_of(name_of(data), read_lines(data))
        self.names, self.references = tsv.references_of(rows, every_line=every_line)
        if not self.names:
            raise ValueError(f"{name_of(data)}: no line to evaluate.")

    def decode(self, **search: Any) -> list[list[str]]:
        return decode_all(self.model, self.names, **search)

    def likelihood(self) -> tuple[float, int]:
        return negative_log_likelihood(self.model, self.names, self.references)


class EvaluatedFeatures:
    """The sequences of a manifest."""

    def __init__(self, model: FeatureModel, data: Path, *, in_memory: bool) -> None:
        self.model, self.manifest = model, open_manifest(data, in_memory=in_memory)
        self.sources = open_sources(model, self.manifest)
        self.names, self.references = list(self.manifest.sequences.names), references_of(self.manifest)

    def decode(self, **search: Any) -> list[list[str]]:
        return decode_manifest(self.model, self.sources, **search)

    def likelihood(self) -> tuple[float, int]:
        return feature_likelihood(self.model, self.manifest)


def show(name: str, value: float) -> str:
    """Render a value: shares as percentages."""
    return f"{100 * value:.2f} %" if name.endswith(SHARES) else f"{value:.4f}"


def decode_all(text_model: TextModel, texts: Sequence[str], **search: Any) -> list[list[str]]:
    """Return the best hypothesis of each text as tokens, with a progress bar on a terminal."""
    progress = open_progress()
    try:
        return best_tokens(
            text_model.model,
            text_model.source,
            text_model.target,
            texts,
            on_progress=lambda done: progress.update(done / len(texts), f"{done} of {len(texts)} sources"),
            **search,
        )
    finally:
        progress.close()


def write_predictions(
    out: Path,
    target: TextField,
    names: Sequence[str],
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
) -> None:
    """Write lines of source TAB hypothesis TAB references."""
    with open_output(out) as stream:
        for name, right, tokens in zip(names, references, hypotheses, strict=True):
            found = one_line(target.tokenizer.detokenize(tokens)).replace("\t", " ")
            stream.write("\t".join([name, found, *right]) + "\n")


def negative_log_likelihood(
    text_model: TextModel, texts: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[float, int]:
    """Return the sum of -log p over all tokens of all references, end tokens too, and their number."""
    source, target = text_model.source.tokenizer, text_model.target.tokenizer
    pairs = (
        (source.tokenize(text), target.tokenize(reference))
        for text, right in zip(texts, references, strict=True)
        for reference in right
    )
    nll, tokens = 0.0, 0
    for batch in batches(pairs, 4096, lambda pair: max(len(pair[0]), len(pair[1]) + 1)):
        for scores in score_pairs(text_model, batch):
            if scores is not None:
                nll -= float(np.sum(scores, dtype=np.float64))
                tokens += len(scores)
    return nll, tokens
