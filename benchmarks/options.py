"""What each option of a search costs: `python -m benchmarks.options [--threads 1] [--json FILE]`.

A beam of five over a batch, without an option and with it, in turns in one process. All searches take the
same number of steps (the end token is forbidden before the last one), so that a ratio is the cost of the
option and not of longer or shorter outputs. Samples are compared with a greedy search.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import seq2seq_fast
from seq2seq_fast import Seq2Seq
from seq2seq_fast._native import Hypothesis
from seq2seq_fast.decoding_presets import PRESETS
from seq2seq_fast.search import Trie

from .machine import describe
from .networks import LARGE, LENGTH, RNG_SEED, SMALL, Size, tokens
from .timing import compare

BEAM, STEPS, SOURCES = 5, 20, 8
ENTRIES = 100_000
GOALS = {"allowed_outputs, 100,000 entries": 1.3}

Options = dict[str, Any]


def options(size: Size) -> Iterator[tuple[str, Options, Options]]:
    """Of each line its name, and the options of the search without and with it."""
    plain: Options = {"beam_size": BEAM}
    few = np.unique(tokens(size.vocabulary, 1, 1, size.vocabulary // 8)).tolist()
    phrases = tokens(size.vocabulary, SOURCES, 2, 2)[:, None].tolist()  # one of two tokens each
    trie = Trie(tokens(size.vocabulary, ENTRIES, 4, STEPS - 1).tolist())
    lines: list[tuple[str, Options]] = [
        ("num_hypotheses 5", {"num_hypotheses": BEAM}),
        ("patience 2", {"patience": 2.0}),
        ("length_penalty_type wu", {"length_penalty_type": "wu"}),
        ("length_penalty_type none", {"length_penalty_type": "none"}),
        ("word_penalty", {"word_penalty": 0.1}),
        ("coverage_penalty wu", {"coverage_penalty": 0.2}),
        ("coverage_penalty summary", {"coverage_penalty": 0.2, "coverage_penalty_type": "summary"}),
        ("return_attention", {"return_attention": True}),
        ("repetition_penalty", {"repetition_penalty": 1.2}),
        ("no_repeat_ngram_size 3", {"no_repeat_ngram_size": 3}),
        ("disable_unk", {"disable_unk": True}),
        ("suppress_sequences", {"suppress_sequences": [[7], [8, 9]]}),
        ("renormalize, disable_unk", {"disable_unk": True, "renormalize": True}),
        ("end_token, two", {"end_token": [2, 3]}),
        ("target_prefix of 3", {"target_prefix": tokens(size.vocabulary, SOURCES, 3, 3).tolist()}),
        ("must_contain", {"must_contain": phrases}),
        ("allowed_outputs, 100,000 entries", {"allowed_outputs": trie}),
        (f"vocabulary of {len(few) + 1}", {"vocabulary": [2, *few]}),
        ("return_alternatives", {"return_alternatives": True, "num_hypotheses": BEAM}),
        ("num_beam_groups 5", {"num_beam_groups": BEAM}),
        ("callback", {"callback": lambda *_: None}),
    ]
    lines += [(f"preset {name}", {"preset": name}) for name in PRESETS]
    for name, extra in lines:
        yield name, plain, plain | extra
    greedy: Options = {"beam_size": 1}
    samples: list[tuple[str, Options]] = [
        ("sampling_topk 10", {"sampling_topk": 10}),
        ("sampling_topp 0.9", {"sampling_topk": 0, "sampling_topp": 0.9}),
        ("min_p", {"sampling_topk": 0, "min_p": 0.05}),
    ]
    for name, extra in samples:
        yield f"{name} (beam_size 1)", greedy, greedy | extra


def rows(size: Size, seconds: float, pairs: int) -> Iterator[dict[str, Any]]:
    model = Seq2Seq(size.config, seed=RNG_SEED)
    source = tokens(size.vocabulary, SOURCES, 0).ravel()
    lengths = np.full(SOURCES, LENGTH, np.int32)

    def search(given: Options) -> Callable[[], list[list[Hypothesis]]]:
        steps = {"min_decoding_length": STEPS - 1, "max_decoding_length": STEPS}
        return lambda: model.generate(source, lengths, **(given | steps))

    for name, without, given in options(size):
        for call in (search(without), search(given)):
            taken = [max(len(h.token_scores) for h in hypotheses) for hypotheses in call()]
            assert taken == [STEPS] * SOURCES, f"{name}: searches took {taken} steps, not {STEPS} each"
        found = compare(search(given), search(without), seconds=seconds, pairs=pairs)
        costs = 1 / np.array(found.ratios)
        low, middle, high = np.percentile(costs, (25, 50, 75))
        yield {
            "network": size.name,
            "option": name,
            "without_ms": found.peer.milliseconds(50),
            "with_ms": found.ours.milliseconds(50),
            "times": middle,
            "quartiles": [low, high],
            "goal": GOALS.get(name),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.options", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line, at least")
    parser.add_argument("--json", type=Path, help="the rows as JSON too")
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose times mean nothing")
    given = parser.parse_args()
    seq2seq_fast.set_num_threads(given.threads)
    print(f"beam {BEAM}, {SOURCES} sources of {LENGTH} tokens, {STEPS} steps, {given.threads} threads\n")
    print("| network | option | without, ms | with, ms | times (quartiles) | at most |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    found = []
    for size in [SMALL] if given.quick else [SMALL, LARGE]:
        for row in rows(size, 0.0 if given.quick else given.seconds, 1 if given.quick else 7):
            found.append(row)
            low, high = row["quartiles"]
            missed = "!" if row["goal"] and row["times"] > row["goal"] else ""
            print(
                f"| {row['network']} | {row['option']} | {row['without_ms']:.2f} | {row['with_ms']:.2f} "
                f"| {row['times']:.2f} ({low:.2f}-{high:.2f}) | {row['goal'] or ''}{missed} |",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps({"machine": describe(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
