"""Joint search with every other option of a search: as over a step function that gives its scores."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import reference
from models import make_model
from reference.ctc import collapse, ctc, fits
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.files import save_model
from seq2seq_fast.patterns import pattern
from seq2seq_fast.search import Trie, beam_search
from test_search import as_values

BLANK = V = 8
LENGTHS = np.array([7, 12, 4], np.int32)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "short memory, location": {
        "encoder_pyramid": "2",
        "attention_score": "mlp",
        "location_filters": 2,
        "location_width": 3,
    },
}
BASE: dict[str, Any] = {"beam_size": 4, "num_hypotheses": 3, "max_decoding_length": 5}
SAMPLE: dict[str, Any] = {"beam_size": 1, "num_hypotheses": 4, "seed": 5}


def bonus(sources: list[int]) -> Any:
    """A scorer that likes some tokens, by the one before."""
    table = np.random.default_rng(7).normal(size=(V, V)).astype(np.float32)
    return lambda parents, tokens: table[tokens]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 1},
    {"suppress_sequences": [[4], [5, 6]], "disable_unk": True},
    {"target_prefix": [[4, 5], [], [6]]},
    {"min_decoding_length": 2, "length_penalty": 0.5},
    {"length_penalty_type": "wu", "count_end_token": False},
    {"coverage_penalty": 0.3},
    {"early_stopping": "never", "length_penalty": 2.0},
    {"early_stopping": "heuristic"},
    {"allowed_outputs": [Trie([[4], [4, 5], [6, 7, 5]]), None, Trie([[7]])]},
    {"allowed_outputs": pattern("(ab|c)*", texts=["", "", "", "", "a", "b", "c", "d"])},
    {"num_beam_groups": 2},
    {"return_alternatives": True, "num_hypotheses": 5, "min_alternative_expansion_prob": 0.01},
    {"end_token": [2, 7]},
    {"vocabulary": [2, 4, 6, 7]},
    {"scorers": [(bonus, 0.4)]},
    SAMPLE | {"sampling_topk": 3},
    SAMPLE | {"sampling_topk": 0, "sampling_topp": 0.9, "min_p": 0.01, "sampling_temperature": 1.3},
]


def make(kind: str) -> Seq2Seq:
    fields: dict[str, Any] = {
        "source_features": 3,
        "target_vocab_size": V,
        "target_embedding_dim": 4,
        "encoder_hidden": 4,
        "decoder_hidden": 6,
        "ctc_weight": 0.3,
    }
    model = make_model(fields | KINDS[kind], np.random.default_rng(1), scale=3.0)
    model.parameters()["decoder.output.bias"][2] += 1.0  # some outputs end
    return model


def source() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(int(LENGTHS.sum()), 3)).astype(np.float32)


def of_prefix(scores: np.ndarray, labels: list[int]) -> float:
    """log P of all that begins with these labels: a path is done with where it has the last of them."""
    if not labels:
        return 0.0
    p = reference.softmax(scores)
    label, blank, done = np.zeros(len(labels)), np.zeros(len(labels)), 0.0
    blank[0] = 1.0  # of paths with so many of the labels: with a blank last, or none yet
    for now in p:
        arriving = blank.copy()  # just before the label of this place
        for k in range(1, len(labels)):
            if labels[k] != labels[k - 1]:
                arriving[k] += label[k]
        stay = np.array([0.0, *(now[one] for one in labels[:-1])])
        moved = arriving * now[labels]
        done += moved[-1]
        label, blank = label * stay + np.array([0.0, *moved[:-1]]), (label + blank) * now[BLANK]
    return float(np.log(done)) if done else -np.inf


def of_whole(scores: np.ndarray, labels: list[int]) -> float:
    """log P of these labels and no more."""
    target = np.array(labels, np.int64)
    return -float(ctc(scores, target, BLANK)) if fits(len(scores), target) else -np.inf


class Joint:
    """The step function: the decoder's steps, and the probabilities of the CTC output's paths."""

    def __init__(self, model: Seq2Seq, weight: float, ends: list[int], vocabulary: list[int] | None) -> None:
        self.model, self.weight, self.ends, self.vocabulary = model, weight, ends, vocabulary
        self.state = model.encode(source(), LENGTHS, 64)
        params = {name: np.array(view, np.float64) for name, view in model.parameters().items()}
        scores = reference.linear(
            np.array(self.state.memory, np.float64), params["encoder.ctc.weight"], params["encoder.ctc.bias"]
        )
        shorter = -(-LENGTHS // 2) if model.config.encoder_pyramid else LENGTHS
        self.lengths = shorter
        self.scores = np.split(scores, np.cumsum(shorter)[:-1])
        self.prefixes: list[tuple[int, list[int]]] = []
        self.known: dict[Any, float] = {}

    def by_ctc(self, row: int, labels: list[int]) -> float:
        key = (row, *labels)
        if key not in self.known:
            self.known[key] = of_prefix(self.scores[row], labels)
        return self.known[key]

    def __call__(self, parents: np.ndarray, tokens: np.ndarray) -> Any:
        if self.prefixes:
            rows = [
                (self.prefixes[p][0], [*self.prefixes[p][1], int(t)])
                for p, t in zip(parents, tokens, strict=True)
            ]
        else:
            rows = [(int(p), []) for p in parents]
        self.prefixes = rows
        decoder, weights = self.model.decoder.step(self.state, tokens, parents)
        decoder = np.array(decoder, np.float64)
        if self.vocabulary is not None:
            listed = decoder[:, self.vocabulary]
            decoder[:] = -np.inf
            decoder[:, self.vocabulary] = reference.log_softmax(listed)
        found = np.full((len(rows), V), -np.inf, np.float32)
        for r, (row, labels) in enumerate(rows):
            before = self.by_ctc(row, labels)
            for c in range(V):
                if c in self.ends:
                    after = of_whole(self.scores[row], labels)
                else:
                    after = self.by_ctc(row, [*labels, c])
                if decoder[r, c] > -np.inf and after > -np.inf and before > -np.inf:
                    gain = min(0.0, after - before)
                    found[r, c] = (1 - self.weight) * decoder[r, c] + self.weight * gain
        return found if weights is None else (found, np.array(weights))


def test_prefixes(rng: np.random.Generator) -> None:
    """of_prefix, against every path."""
    scores = rng.normal(size=(4, BLANK + 1))
    p = reference.softmax(scores)
    for labels in ([3], [3, 3], [1, 2], [1, 2, 1]):
        total = 0.0
        for path in itertools.product(range(BLANK + 1), repeat=4):
            if collapse(path, BLANK)[: len(labels)] == labels:
                total += float(np.prod(p[np.arange(4), list(path)]))
        np.testing.assert_allclose(of_prefix(scores, labels), np.log(total) if total else -np.inf)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "none")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_as_over_a_step_function(weight: float, kind: str, options: dict[str, Any]) -> None:
    model = make(kind)
    search = BASE | options
    found = model.generate(source(), LENGTHS, ctc_weight=weight, **search)
    ends = search.pop("end_token", [2])
    step = Joint(model, weight, ends, search.pop("vocabulary", None))
    expected = beam_search(
        step,
        batch_size=3,
        vocab_size=V,
        bos_id=1,
        eos_id=ends,
        unk_id=3,
        source_lengths=step.lengths,
        **search,
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert [(h.tokens, h.finished) for h in ours] == [(h.tokens, h.finished) for h in theirs]
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=1e-3, atol=1e-4)


def test_the_longest_output_by_the_source_s_length() -> None:
    """Steps of the source, not of its memory, which is half as long."""
    model = make("short memory, location")
    model.parameters()["decoder.output.bias"][2] -= 100.0
    for one in (
        model.generate(source(), LENGTHS, ctc_weight=0.4, max_length_ratio=0.4),
        model.generate(source(), LENGTHS, ctc_weight=1e-6, max_length_ratio=0.4),
    ):
        limits = np.floor(0.4 * LENGTHS).astype(int)
        longest = [max(len(h.tokens) for h in found) for found in one]
        assert longest == limits.tolist() == [2, 4, 1]


def test_tokens_are_told() -> None:
    model = make("plain")
    told: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def hear(i: int, hypothesis: int, place: int, token: int, log_prob: float, is_last: bool) -> None:
        assert place == len(told[i])
        told[i].append(token)

    found = model.generate(source(), LENGTHS, ctc_weight=0.4, callback=hear, **BASE)
    for i, hypotheses in enumerate(found):
        best = hypotheses[0]
        assert told[i] == [*best.tokens, *([2] if best.finished else [])]


def test_translator(tmp_path: Any) -> None:
    """The same results, in batches; a session's numbers are the decoder's."""
    model = make("short memory, location")
    save_model(tmp_path / "0", model)
    sources = np.split(source(), np.cumsum(LENGTHS)[:-1])
    options: dict[str, Any] = BASE | {"ctc_weight": 0.4, "target_prefix": [[4], [], []]}
    found = model.generate(source(), LENGTHS, **options)
    with Translator(tmp_path / "0", device=model.device) as translator:
        assert [as_values(h) for h in translator.generate(source(), LENGTHS, **options)] == [
            as_values(h) for h in found
        ]
        for size in (0, 1):
            results = translator.translate_batch(sources, max_batch_size=size, return_scores=True, **options)
            for result, hypotheses in zip(results, found, strict=True):
                assert result.ids == [h.tokens for h in hypotheses]
                assert result.scores == [h.score for h in hypotheses]
        with pytest.raises(TypeError):
            translator.start(sources, ctc_weight=0.4)  # type: ignore[call-arg]
    save_model(tmp_path / "1", model)
    with (
        Translator([tmp_path / "0", tmp_path / "1"], device=model.device) as translator,
        pytest.raises(ValueError, match=r"Expected ctc_weight 0 with an ensemble, got 0\.4"),
    ):
        translator.translate_batch(sources, ctc_weight=0.4)


def test_streams(rng: np.random.Generator) -> None:
    model = make_model(
        {
            "source_features": 3,
            "target_vocab_size": V,
            "encoder_hidden": 4,
            "decoder_hidden": 6,
            "bidirectional": False,
            "encoder_pyramid": "2",
            "ctc_weight": 0.3,
        },
        rng,
        scale=3.0,
    )
    x = rng.normal(size=(11, 3)).astype(np.float32)
    stream = model.stream()
    stream.push(x[:4])
    stream.push(x[4:])
    stream.finish()
    for options in (
        BASE,
        {"max_length_ratio": 0.3, "ctc_weight": 0.4},
        {"return_alternatives": True, "num_hypotheses": 4, "ctc_weight": 0.4},
        SAMPLE | {"sampling_topk": 0, "coverage_penalty": 0.2, "ctc_weight": 0.4},
        {"scorers": [(bonus, 0.4)], "ctc_weight": 0.4, "target_prefix": [[4, 4]]},
    ):
        (ours,) = stream.generate(**options)
        (theirs,) = model.generate(x, np.array([11], np.int32), **options)
        assert as_values(ours) == as_values(theirs)


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"Expected ctc_weight 0 of a search around a step function, got 0\.5"
    ):
        beam_search(
            lambda parents, tokens: np.zeros((len(tokens), 4), np.float32),
            batch_size=1,
            vocab_size=4,
            bos_id=0,
            eos_id=1,
            ctc_weight=0.5,
        )
    with pytest.raises(TypeError, match="ctc_weight to be a number"):
        make("plain").generate(source(), LENGTHS, ctc_weight=True)
    with pytest.raises(ValueError, match="ctc_weight 0 with copy_attention"):
        Seq2Seq(Seq2SeqConfig(source_vocab_size=9, target_vocab_size=5, copy_attention=True, ctc_weight=0.1))
