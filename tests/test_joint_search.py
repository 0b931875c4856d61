"""Search by decoder and CTC output together: equal to trying every output, at any weight."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, bits
from models import double_parameters, make_model
from networks import Ragged, batch_for
from reference import network
from reference.ctc import ctc, fits
from seq2seq_fast import Seq2Seq

OPTIONS: dict[str, Any] = {
    "source_features": 3,
    "target_vocab_size": 5,
    "target_embedding_dim": 4,
    "encoder_hidden": 4,
    "decoder_hidden": 6,
    "attention_score": "mlp",
    "ctc_weight": 0.3,
    "bos_id": 0,
    "eos_id": 1,
}


def small(rng: np.random.Generator, longest: int = 6, count: int = 3, **more: Any) -> tuple[Seq2Seq, Ragged]:
    model = make_model(OPTIONS | more, rng, scale=4.0)
    return model, batch_for(model.config, rng, count, longest, 3)


def every_output(
    model: Seq2Seq, source: np.ndarray, weight: float, longest: int
) -> dict[tuple[int, ...], float]:
    """The log-probability of every output of at most so many tokens, from the reference, without its end."""
    o, params = model.config, double_parameters(model)
    memory = reference.encode(o, params, source)[0]
    scores = reference.linear(memory, params["encoder.ctc.weight"], params["encoder.ctc.bias"])
    found = {}
    labels = [v for v in range(o.target_vocab_size) if v != o.eos_id]
    for length in range(longest + 1):
        for output in itertools.product(labels, repeat=length):
            target = np.array([*output, o.eos_id])
            decoder = float(np.sum(reference.log_probabilities(o, params, source, target)))
            aligned = fits(len(memory), target[:-1])
            by_ctc = -float(ctc(scores, target[:-1], o.target_vocab_size)) if aligned else -np.inf
            found[output] = (1 - weight) * decoder + weight * by_ctc
    return found


@pytest.mark.parametrize(
    "options", [{}, {"encoder_pyramid": "2"}, {"location_filters": 2, "input_feeding": False}]
)
@pytest.mark.parametrize("weight", [0.2, 0.7, 1.0])
def test_equals_an_exhaustive_search(
    rng: np.random.Generator, weight: float, options: dict[str, Any]
) -> None:
    """With a beam that keeps everything: the best outputs of at most three tokens, and their scores."""
    model, batch = small(rng, **options)
    found = model.generate(
        batch.source,
        batch.source_lengths,
        beam_size=4**3 + 4**2,
        num_hypotheses=8,
        patience=float("inf"),
        length_penalty=0.0,
        min_decoding_length=0,
        max_decoding_length=4,
        ctc_weight=weight,
    )
    for (source, _, _), hypotheses in zip(batch.pairs(), found, strict=True):
        every = every_output(model, source, weight, 3)
        best = sorted((score for score in every.values() if score > -np.inf), reverse=True)[:8]
        finished = [h for h in hypotheses if h.finished]
        assert len(finished) == min(8, len(best))
        assert_close(np.array([h.log_prob for h in finished]), np.array(best), "scores")
        for h in finished:
            assert_close(h.log_prob, every[tuple(h.tokens)], "its own score")
            assert_close(float(np.sum(h.token_scores)), h.log_prob, "its tokens' scores")
            assert np.all(h.token_scores <= 0)


def test_a_weight_of_nearly_nothing_is_the_decoder_s_search(rng: np.random.Generator) -> None:
    """Where every output fits into the memory."""
    model, batch = small(rng, longest=30, count=9)
    batch = batch.take(np.flatnonzero(batch.source_lengths >= 12).tolist())
    options: dict[str, Any] = {"beam_size": 3, "num_hypotheses": 2, "max_decoding_length": 6}
    plain = model.generate(batch.source, batch.source_lengths, **options)
    joint = model.generate(batch.source, batch.source_lengths, ctc_weight=1e-9, **options)
    for ours, theirs in zip(joint, plain, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert_close([h.log_prob for h in ours], [h.log_prob for h in theirs], factor=3)


def test_company_and_threads(own_products: None, rng: np.random.Generator, threads: Any) -> None:
    model, batch = small(rng, longest=20, count=6)
    options: dict[str, Any] = {
        "beam_size": 4,
        "num_hypotheses": 4,
        "max_decoding_length": 9,
        "ctc_weight": 0.4,
    }
    found = model.generate(batch.source, batch.source_lengths, **options)
    threads(2)
    for r in range(6):
        one = batch.take([r])
        (alone,) = model.generate(one.source, one.source_lengths, **options)
        assert [(h.tokens, bits(h.token_scores)) for h in alone] == [
            (h.tokens, bits(h.token_scores)) for h in found[r]
        ]


def test_probabilities_beyond_floats(rng: np.random.Generator) -> None:
    """A CTC output so certain that the others' exponentials are zero: logarithms still tell them apart."""
    model, batch = small(rng, count=1)
    views = model.parameters()
    views["encoder.ctc.weight"] *= 400
    (hypotheses,) = model.generate(
        batch.source,
        batch.source_lengths,
        beam_size=80,
        num_hypotheses=4,
        patience=float("inf"),
        length_penalty=0.0,
        min_decoding_length=0,
        max_decoding_length=4,
        ctc_weight=0.5,
    )
    o, params = model.config, double_parameters(model)
    memory = reference.encode(o, params, batch.source)[0]
    scores = reference.linear(memory, params["encoder.ctc.weight"], params["encoder.ctc.bias"])
    p = reference.log_softmax(scores)
    assert p.min() < -200
    for h in hypotheses:
        target = np.array([*h.tokens, o.eos_id])
        decoder = float(np.sum(reference.log_probabilities(o, params, batch.source, target)))
        assert_close(h.log_prob, 0.5 * decoder - 0.5 * float(ctc(scores, target[:-1], 5)), factor=3)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_bad_weights(rng: np.random.Generator, weight: float) -> None:
    model, batch = small(rng)
    with pytest.raises(ValueError, match="ctc_weight"):
        model.generate(batch.source, batch.source_lengths, ctc_weight=weight)


def test_a_model_without_the_output(rng: np.random.Generator) -> None:
    model, batch = small(rng, ctc_weight=0.0)
    with pytest.raises(ValueError, match="ctc_weight 0 with a model that has no CTC output"):
        model.generate(batch.source, batch.source_lengths, ctc_weight=0.3)


def test_states_are_those_of_the_network(rng: np.random.Generator) -> None:
    """Greedy, step by step: each token's score is the difference of its prefix's probabilities."""
    model, batch = small(rng, count=1, longest=5)
    o, params = model.config, double_parameters(model)
    ((h,),) = model.generate(
        batch.source, batch.source_lengths, beam_size=1, max_decoding_length=3, ctc_weight=0.6
    )
    memory, last = reference.encode(o, params, batch.source)
    at = network.start_decoding(o, params, memory, last)
    scores = reference.linear(memory, params["encoder.ctc.weight"], params["encoder.ctc.bias"])
    tokens = [*h.tokens, o.eos_id] if h.finished else list(h.tokens)
    before, fed = 0.0, o.bos_id
    for i, token in enumerate(tokens):
        decoder = reference.log_softmax(network.decode(o, params, at, fed)[0])[token]
        after = prefix(scores, tokens[: i + 1], o)
        assert_close(h.token_scores[i], 0.4 * decoder + 0.6 * (after - before), factor=3)
        before, fed = after, token


def prefix(scores: np.ndarray, tokens: list[int], o: Any) -> float:
    """log P of everything that begins with these tokens, over every path."""
    from reference.ctc import collapse

    p, total, blank = reference.softmax(scores), 0.0, o.target_vocab_size
    ended = tokens[-1] == o.eos_id
    wanted = tokens[:-1] if ended else tokens
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        labels = collapse(path, blank)
        if labels == wanted if ended else labels[: len(wanted)] == wanted:
            total += float(np.prod(p[np.arange(len(path)), list(path)]))
    return float(np.log(total))
