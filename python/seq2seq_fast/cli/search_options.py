"""The options of `translate` and `evaluate` that say how to search, from flags or a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seq2seq_fast.decoding_presets import PRESETS

from .options import Option, Value, load_config

__all__ = ["SEARCH_OPTIONS", "TextSearch", "resolve_search"]

SEARCH_OPTIONS = (
    Option(
        "search_preset",
        "text",
        None,
        ("search.preset",),
        "Decode as this system does, with its defaults where no option says otherwise.",
        tuple(PRESETS),
    ),
    Option("beam_size", "int", 5, ("search.beam_size",), "Hypotheses kept while searching; 1: greedy."),
    Option("patience", "float", 1.0, ("search.patience",), "Stop after beam_size times this many finished."),
    Option(
        "early_stopping",
        "text",
        "patience",
        ("search.early_stopping",),
        "When to stop.",
        ("patience", "first", "heuristic", "never"),
    ),
    Option(
        "cap_finished",
        "bool",
        False,
        ("search.cap_finished",),
        "Of those that end in the last step only as many count as patience wants.",
    ),
    Option(
        "end_rule",
        "text",
        "replace",
        ("search.end_rule",),
        "What becomes of the place in the beam of one that ends.",
        ("replace", "vacate", "shrink", "stay", "proceed"),
    ),
    Option(
        "unfinished",
        "text",
        "last",
        ("search.unfinished",),
        "How outputs that were cut off rank.",
        ("last", "equal", "unnormalized"),
    ),
    Option(
        "force_end_token",
        "bool",
        False,
        ("search.force_end_token",),
        "The last step takes the end token.",
    ),
    Option("length_penalty", "float", 1.0, ("search.length_penalty",), "Exponent of the length."),
    Option(
        "length_penalty_type",
        "text",
        "power",
        ("search.length_penalty_type",),
        "What the log-probability is divided by.",
        ("power", "wu", "average", "none"),
    ),
    Option(
        "count_end_token",
        "bool",
        True,
        ("search.count_end_token",),
        "The length counts the end token.",
    ),
    Option("length_offset", "int", 0, ("search.length_offset",), "The length counts so many more."),
    Option(
        "length_penalty_beta",
        "float",
        0.0,
        ("search.length_penalty_beta",),
        "What power is of is (beta + length) / (beta + 1).",
    ),
    Option(
        "word_penalty",
        "float",
        0.0,
        ("search.word_penalty",),
        "So many times the length is taken from the log-probability.",
    ),
    Option("coverage_penalty", "float", 0.0, ("search.coverage_penalty",), "Weight of coverage in a score."),
    Option(
        "coverage_penalty_type",
        "text",
        "wu",
        ("search.coverage_penalty_type",),
        "What coverage is.",
        ("wu", "summary"),
    ),
    Option(
        "coverage_end_token",
        "bool",
        True,
        ("search.coverage_end_token",),
        "The end token's attention is part of coverage.",
    ),
    Option(
        "ctc_weight",
        "float",
        0.0,
        ("search.ctc_weight",),
        "Part of a model's CTC output in each token's score.",
    ),
    Option("min_length", "int", 0, ("search.min_decoding_length",), "Shortest output, in tokens."),
    Option("max_length", "int", 256, ("search.max_decoding_length",), "Longest output, in tokens."),
    Option("max_length_ratio", "float", None, ("search.max_length_ratio",), "The same, by source token."),
    Option("max_length_offset", "int", 0, ("search.max_length_offset",), "So many more than that."),
    Option(
        "repetition_penalty",
        "float",
        1.0,
        ("search.repetition_penalty",),
        "Factor of the log-probability of tokens that are there already.",
    ),
    Option(
        "no_repeat_ngram_size",
        "int",
        0,
        ("search.no_repeat_ngram_size",),
        "No n-gram of this length twice (0: any may be).",
    ),
    Option("disable_unk", "bool", False, ("search.disable_unk",), "Never put out the unknown token."),
    Option(
        "renormalize",
        "bool",
        False,
        ("search.renormalize",),
        "Probabilities are of the tokens that the options allow.",
    ),
    Option(
        "use_vmap",
        "bool",
        False,
        ("text.use_vmap",),
        "Only tokens that the model's lexical shortlist has for the source.",
    ),
    Option(
        "replace_unk",
        "bool",
        False,
        ("text.replace_unk",),
        "Put the source token with the largest attention in the place of an unknown one.",
    ),
    Option("suppress", "path", None, ("text.suppress",), "File of texts that never come out, one a line."),
    Option(
        "allowed_outputs",
        "path",
        None,
        ("text.allowed_outputs",),
        "File of the only outputs there may be, one a line.",
    ),
    Option(
        "allowed_pattern",
        "text",
        None,
        ("text.allowed_pattern",),
        "Regular expression that outputs match as a whole.",
    ),
    Option(
        "must_contain",
        "path",
        None,
        ("text.must_contain",),
        "File of phrases that the outputs contain, separated by tabs, a line for each line of --src.",
    ),
    Option(
        "target_prefix",
        "path",
        None,
        ("text.target_prefix",),
        "File of what the outputs begin with, a line for each line of --src.",
    ),
    Option(
        "sampling_topk",
        "int",
        1,
        ("search.sampling_topk",),
        "Draw from so many tokens (0: from all) instead of searching.",
    ),
    Option(
        "sampling_topp", "float", 1.0, ("search.sampling_topp",), "Draw from the most probable of this share."
    ),
    Option(
        "min_p", "float", 0.0, ("search.min_p",), "Draw from tokens this many times as probable as the best."
    ),
    Option(
        "sampling_temperature",
        "float",
        1.0,
        ("search.sampling_temperature",),
        "Log-probabilities are divided by it before.",
    ),
    Option("seed", "int", 0, ("search.seed",), "Of what is drawn; each line has its own numbers."),
    Option(
        "return_alternatives",
        "bool",
        False,
        ("search.return_alternatives",),
        "Each of --n_best outputs begins with another token.",
    ),
    Option(
        "min_alternative_expansion_prob",
        "float",
        0.0,
        ("search.min_alternative_expansion_prob",),
        "The least probability of that token.",
    ),
    Option(
        "num_beam_groups",
        "int",
        1,
        ("search.num_beam_groups",),
        "Groups of --beam_size that avoid each other's tokens.",
    ),
    Option("diversity_penalty", "float", 0.5, ("search.diversity_penalty",), "How much they avoid them."),
)


@dataclass(frozen=True)
class TextSearch:
    """How to search, before the model is there that knows the tokens of texts."""

    options: dict[str, Any]
    """Of `SearchOptions`. With a preset only those that were given, so that it has the others."""
    replace_unk: bool = False
    use_vmap: bool = False
    suppress: Path | None = None
    allowed_outputs: Path | None = None
    allowed_pattern: str | None = None
    must_contain: Path | None = None
    target_prefix: Path | None = None
    samples: bool = False
    """Each line needs its number, to be drawn by."""
    files: dict[str, Path] = field(default_factory=dict)
    """All that is read, by the names of the options."""


def resolve_search(flags: Mapping[str, object], config: Path | None) -> TextSearch:
    """Take each option from its flag, else from the file, else its default.

    A sample has one live hypothesis, so that sampling makes 1 of a beam_size that nobody gave.

    Raises:
        ValueError: the file has an unknown key (the message has the nearest option), or a value is of the
            wrong kind.
    """
    content = {} if config is None else load_config(config)
    known = [option.name for option in SEARCH_OPTIONS]
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ValueError(
                f"{config}: unknown option {key}." + (f" Did you mean {near[0]}?" if near else "")
            )
    given: dict[str, Value] = {}
    for option in SEARCH_OPTIONS:
        value = option.parse(flags[option.name], f"--{option.name}")
        value = option.parse(content.get(option.name), str(config)) if value is None else value
        if value is not None:
            given[option.name] = value
    samples = given.get("sampling_topk", 1) != 1
    if samples:
        given.setdefault("beam_size", 1)
    search: dict[str, Any] = {}
    text: dict[str, Any] = {}
    for option in SEARCH_OPTIONS:
        value = given.get(option.name, option.default)
        if value is None:
            continue
        section, _, name = option.targets[0].partition(".")
        if section == "search" and "search_preset" in given and option.name not in given:
            continue
        if section == "search":
            search[name] = value
        else:
            text[name] = Path(str(value)) if option.kind == "path" else value
    files = {name: path for name, path in {"config": config, **text}.items() if isinstance(path, Path)}
    return TextSearch(search, samples=samples, files=files, **text)
