"""Feature sequences on the command line: manifests instead of lines of text."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seq2seq_fast.augmentation import Augmentation
from seq2seq_fast.batching import Batching
from seq2seq_fast.decoding import best_of_features, shown_tokens
from seq2seq_fast.feature_data import FeatureDataset, FeatureSources, read_features
from seq2seq_fast.front_end import FrontEnd
from seq2seq_fast.manifest import Manifest, parse_manifest, read_manifest
from seq2seq_fast.progress import open_progress, tell
from seq2seq_fast.search_tokens import options_of_sources
from seq2seq_fast.text import TextField
from seq2seq_fast.vocab import Vocabulary

from .lines import is_standard, name_of, open_output, read_lines
from .options import Value
from .train_options import TRAIN_OPTIONS, arguments_for

if TYPE_CHECKING:
    from seq2seq_fast.tokenizers import Tokenizer

    from .models import FeatureModel
    from .search_options import TextSearch

SOURCE_TEXT_ONLY = (
    *("src_subword_model", "src_vocab_size", "src_words_min_frequency", "source_eos", "copy_attn"),
    *("share_embeddings", "pre_word_vecs_enc", "freeze_word_vecs_enc", "cache", "cache_dir"),
)


def check_data_type(options: Mapping[str, Value | None]) -> None:
    """Refuse options that are for sources of the other kind.

    Raises:
        ValueError: naming one.
    """
    features = options["data_type"] == "features"
    for option in TRAIN_OPTIONS:
        about_features = option.section in ("front_end", "augmentation")
        wrong = option.name in SOURCE_TEXT_ONLY if features else about_features
        if wrong and options[option.name] != option.default:
            kind = "text" if features else "features"
            raise ValueError(f"--{option.name} is for sources of {kind}: --data_type {kind}.")
    if features:
        make_front_end(options, 1)
        make_augmentation(options)


def make_front_end(options: Mapping[str, Value | None], width: int) -> FrontEnd:
    """Make a front end without statistics, as the options say."""
    return FrontEnd(width, **arguments_for("front_end", options))


def make_augmentation(options: Mapping[str, Value | None]) -> Augmentation:
    """Make what is done to features in training."""
    return Augmentation(**arguments_for("augmentation", options))


def open_training_manifest(options: Mapping[str, Value | None], name: str) -> Manifest:
    """Read the manifest of the training or the validation data."""
    in_memory = bool(arguments_for("data", options)["features_in_memory"])
    return read_manifest(str(options[name]), in_memory=in_memory)


def make_target(options: Mapping[str, Value | None], manifest: Manifest, tokenizer: Tokenizer) -> TextField:
    """Make the target side: a vocabulary of the manifest's texts."""
    counts = Counter(
        token for texts in manifest.texts for text in texts for token in tokenizer.tokenize(text)
    )
    least, most = int(options["tgt_words_min_frequency"] or 1), int(options["tgt_vocab_size"] or 0)
    return TextField(tokenizer, Vocabulary.build(counts, min_frequency=least, max_size=most or None))


def fit_front_end(options: Mapping[str, Value | None], manifest: Manifest) -> FrontEnd:
    """Make the front end with the statistics of the training data."""
    settings = make_front_end(options, manifest.sequences.width).settings()
    del settings["features"]
    return FrontEnd.fit(manifest.sequences, manifest.groups, **settings)


def make_data(
    options: Mapping[str, Value | None], manifest: Manifest, target: TextField, front_end: FrontEnd
) -> FeatureDataset:
    """Make pairs of a manifest; augmentation is what training does to them, validation leaves it aside."""
    limits = arguments_for("data", options)
    return read_features(
        manifest,
        target,
        front_end,
        augmentation=make_augmentation(options),
        max_source_length=limits.get("src_seq_length"),
        max_target_length=limits.get("tgt_seq_length"),
    )


# ---- translate and evaluate


def open_manifest(path: Path | None, *, texts: bool = True, in_memory: bool) -> Manifest:
    """`read_manifest` of a file, or of standard input, whose relative paths start here."""
    folder = Path() if path is None or is_standard(path) else path.parent
    return parse_manifest(name_of(path), read_lines(path), folder, texts=texts, in_memory=in_memory)


def open_sources(model: FeatureModel, manifest: Manifest) -> FeatureSources:
    """Put the model's front end before a manifest's sequences."""
    try:
        return FeatureSources(manifest.sequences, model.front_end, manifest.groups)
    except ValueError as error:
        raise ValueError(f"{manifest.path}: {error}") from None


def translate_features(
    model: FeatureModel,
    *,
    src: Path | None,
    out: Path | None,
    batch_size: int,
    batch_type: str,
    n_best: int,
    as_json: bool,
    with_score: bool,
    with_attention: bool,
    in_memory: bool,
    search: TextSearch,
    options: dict[str, Any],
) -> None:
    """Write an output for each sequence of a manifest, in their order. `options`: of the search, as ids."""
    from .text_search import phrases_of
    from .translate import as_lines, hypothesis_record

    manifest = open_manifest(src, texts=False, in_memory=in_memory)
    sources = open_sources(model, manifest)
    options |= {"num_hypotheses": n_best, "return_attention": as_json and model.has_attention}
    if search.target_prefix is not None:
        options["target_prefix"] = _prefixes(model, search.target_prefix, len(sources))
    if search.must_contain is not None:
        phrases = list(phrases_of(model, search.must_contain))
        if len(phrases) != len(sources):
            raise ValueError(
                f"{search.must_contain}: expected {len(sources)} lines, one for each sequence, "
                f"got {len(phrases)}."
            )
        options["must_contain"] = phrases
    show = functools.partial(shown_tokens, target=model.target)
    with open_output(out) as stream:
        for rows in _parts(sources, batch_size, batch_type):
            found = model.model.generate(*sources.take(rows), **options_of_sources(options, rows))
            for i, hypotheses in zip(rows, found, strict=True):
                if as_json:
                    length = int(sources.lengths[i])
                    record = {
                        "source": manifest.sequences.names[i],
                        "source_length": length,
                        "hypotheses": [
                            hypothesis_record(model, length, one, show, with_attention=with_attention)
                            for one in hypotheses
                        ],
                    }
                    lines = [json.dumps(record, ensure_ascii=False)]
                else:
                    lines = as_lines(model, i, hypotheses, show, n_best=n_best, with_score=with_score)
                stream.writelines(f"{line}\n" for line in lines)
            stream.flush()


def _prefixes(model: FeatureModel, path: Path, count: int) -> list[list[int]]:
    """What the outputs begin with, a line for each sequence."""
    from .text_search import check_known

    lines = list(read_lines(path))
    if len(lines) != count:
        raise ValueError(f"{path}: expected {count} lines, one for each sequence, got {len(lines)}.")
    for number, line in enumerate(lines, 1):
        check_known(path, number, model.target.tokenizer.tokenize(line), model.target)
    return [replace(model.target, eos=False).encode(line) for line in lines]


def _parts(sources: FeatureSources, batch_size: int, batch_type: str) -> list[list[int]]:
    from seq2seq_fast.batching import batches

    def weight(i: int) -> int:
        return int(sources.lengths[i]) if batch_type == "tokens" else 1

    return list(batches(range(len(sources)), batch_size, weight))


def decode_manifest(model: FeatureModel, sources: FeatureSources, **search: Any) -> list[list[str]]:
    """Return the best hypothesis of each sequence as tokens, with a progress bar on a terminal."""
    progress = open_progress()
    total = len(sources)
    try:
        return best_of_features(
            model.model,
            sources,
            model.target,
            on_progress=lambda done: progress.update(done / total, f"{done} of {total} sources"),
            **search,
        )
    finally:
        progress.close()


def feature_likelihood(model: FeatureModel, manifest: Manifest) -> tuple[float, int]:
    """Return the sum of -log p over all tokens of all references, end tokens too, and their number."""
    data = read_features(manifest, model.target, model.front_end, min_target_length=0)
    nll, tokens = 0.0, 0
    batching = Batching(batch_size=4096)
    for rows in batching.in_order_of_length(data.source_lengths, data.target_lengths):
        scores = model.model.score(data.batch(rows))
        nll -= float(np.sum(scores, dtype=np.float64))
        tokens += len(scores)
    return nll, tokens


def tell_dropped(path: object, data: FeatureDataset) -> None:
    """Say on standard error what was left out of a manifest."""
    if data.dropped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items())
        tell(f"Left out of {path}: {reasons}.")


def references_of(manifest: Manifest) -> list[list[str]]:
    """Return the references of each sequence."""
    return [list(dict.fromkeys(texts)) for texts in manifest.texts]
