"""`seq2seq-fast evaluate`: decode the sources of a file and compare with its references."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq_fast import tsv
from seq2seq_fast.batching import batches
from seq2seq_fast.decoding import best_tokens, compare
from seq2seq_fast.metrics import available_metrics, get_metric, perplexity
from seq2seq_fast.progress import open_progress

from .lines import open_output
from .models import TextModel, open_model
from .search_options import TextSearch
from .text_search import options_for
from .translate import one_line, score_pairs

LIKELIHOOD_METRICS = ("loss", "perplexity")
"""Metrics of the references' probabilities; all others are of what is decoded."""

SHARES = ("_rate", "_match", "wer", "cer", "rouge1", "rouge2", "rougeL")
"""How names of metrics from 0 to 1 end."""


def run_evaluate(
    folders: Sequence[Path],
    *,
    data: Path,
    metrics: Sequence[str],
    out: Path | None,
    as_json: bool,
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
    if search.target_prefix is not None:
        raise ValueError("--target_prefix is for translate; evaluate has no lines in pairs.")
    text_model = open_model(folders, **model_options)
    options = options_for(text_model, search) | {"replace_unknowns": search.replace_unk}
    references = tsv.read_references(data)
    if not references:
        raise ValueError(f"{data}: no line to evaluate.")
    started = time.perf_counter()
    values = dict.fromkeys(metrics, 0.0)
    wanted = [name for name in metrics if name not in LIKELIHOOD_METRICS]
    if wanted or out is not None:
        hypotheses = decode_all(text_model, list(references), **options)
        right = list(references.values())
        for name in wanted:
            values[name] = compare(get_metric(name), hypotheses, right, text_model.target)
        if out is not None:
            write_predictions(out, text_model, references, hypotheses)
    if any(name in LIKELIHOOD_METRICS for name in metrics):
        nll, tokens = negative_log_likelihood(text_model, references)
        likelihood = {"loss": nll / tokens if tokens else np.nan, "perplexity": perplexity(nll, tokens)}
        values |= {name: float(likelihood[name]) for name in metrics if name in LIKELIHOOD_METRICS}
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps({"sources": len(references), "seconds": round(seconds, 3), "metrics": values}))
        return
    width = max(len(name) for name in values)
    print(f"{len(references)} sources, {seconds:.1f} s")
    for name, value in values.items():
        print(f"{name:<{width}}  {show(name, value)}")


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
    out: Path, text_model: TextModel, references: dict[str, list[str]], hypotheses: Sequence[Sequence[str]]
) -> None:
    """Write lines of source TAB hypothesis TAB references."""
    with open_output(out) as stream:
        for (text, right), tokens in zip(references.items(), hypotheses, strict=True):
            found = one_line(text_model.target.tokenizer.detokenize(tokens)).replace("\t", " ")
            stream.write("\t".join([text, found, *right]) + "\n")


def negative_log_likelihood(text_model: TextModel, references: dict[str, list[str]]) -> tuple[float, int]:
    """Return the sum of -log p over all tokens of all references, end tokens too, and their number."""
    source, target = text_model.source.tokenizer, text_model.target.tokenizer
    pairs = (
        (source.tokenize(text), target.tokenize(reference))
        for text, right in references.items()
        for reference in right
    )
    nll, tokens = 0.0, 0
    for batch in batches(pairs, 4096, lambda pair: max(len(pair[0]), len(pair[1]) + 1)):
        for scores in score_pairs(text_model, batch):
            if scores is not None:
                nll -= float(np.sum(scores, dtype=np.float64))
                tokens += len(scores)
    return nll, tokens
