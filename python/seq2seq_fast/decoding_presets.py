"""Presets of a search: the options with which it decodes as another system does.

docs/decoding.md says what each reproduces, and what not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS", "with_preset"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # CTranslate2 4: decoding.cc.
    "ctranslate2": {
        "beam_size": 2,
        "count_end_token": False,
        "coverage_end_token": False,
        "unfinished": "equal",
        "renormalize": True,
        "min_decoding_length": 1,
        "max_decoding_length": 256,
    },
    # OpenNMT-py 3.5: beam_search.py, penalties.py. Lengths count the start token, too.
    "opennmt-py": {
        "beam_size": 5,
        "early_stopping": "first",
        "end_rule": "vacate",
        "unfinished": "equal",
        "length_penalty_type": "average",
        "length_offset": 1,
        "min_decoding_length": 0,
        "max_decoding_length": 250,
        "max_length_ratio": 1.25,
        "max_length_offset": 5,
    },
    # fairseq 0.12: sequence_generator.py. 200 tokens and the end token.
    "fairseq": {
        "beam_size": 5,
        "cap_finished": True,
        "force_end_token": True,
        "min_decoding_length": 1,
        "max_decoding_length": 201,
    },
    # Marian 1.12: beam_search.cpp, history.h. Sources of at most 1,000 tokens, outputs three times as long.
    "marian": {
        "beam_size": 12,
        "early_stopping": "never",
        "end_rule": "shrink",
        "unfinished": "equal",
        "length_penalty": 0.0,
        "disable_unk": True,
        "min_decoding_length": 0,
        "max_decoding_length": 3000,
        "max_length_ratio": 3.0,
    },
    # Sockeye 1.18: inference.py.
    "sockeye": {
        "beam_size": 5,
        "early_stopping": "never",
        "end_rule": "stay",
        "unfinished": "unnormalized",
        "min_decoding_length": 0,
    },
    # JoeyNMT 2.3: search.py, and the beam size and exponent of its configurations.
    "joeynmt": {
        "beam_size": 5,
        "early_stopping": "never",
        "end_rule": "proceed",
        "unfinished": "equal",
        "length_penalty_type": "wu",
        "min_decoding_length": 1,
        "max_length_ratio": 1.5,
    },
    # transformers: GenerationMixin._beam_search. Its max_length of 20 counts the start token.
    "transformers": {
        "beam_size": 1,
        "early_stopping": "heuristic",
        "unfinished": "equal",
        "min_decoding_length": 0,
        "max_decoding_length": 19,
    },
}


def with_preset(options: Mapping[str, Any], *, has_unk: bool = True) -> dict[str, Any]:
    """Return options of a search without `preset`, but with those that it stands for.

    Args:
        options: what was given; all but None wins over the preset's. With max_length_ratio None, too.
        has_unk: whether there is an unknown token; without one a preset does not forbid it.

    Raises:
        ValueError: there is no preset of that name.
    """
    given = dict(options)
    name = given.pop("preset", None)
    if name is None:
        return given
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"[search] Expected preset to be one of {', '.join(PRESETS)}, got {name!r}.")
    for option in [option for option, value in given.items() if value is None]:
        if option != "max_length_ratio":
            del given[option]
    found = dict(PRESETS[name]) | given
    if not has_unk and "disable_unk" not in given:
        found.pop("disable_unk", None)
    if found.get("sampling_topk", 1) != 1 and "beam_size" not in given:
        found["beam_size"] = 1
    penalties = found.get("length_penalty", 1), found.get("coverage_penalty", 0)
    if name == "ctranslate2" and "early_stopping" not in given and penalties == (0, 0):
        found["early_stopping"] = "first"
    if found.get("early_stopping", "patience") != "patience" and "cap_finished" not in given:
        found.pop("cap_finished", None)
    return found
