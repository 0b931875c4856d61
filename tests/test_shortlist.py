"""options["vocabulary"]: only some tokens may come out, and only their columns are computed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, _native
from seq2seq_fast.search import beam_search

V = 700


@pytest.fixture(params=["lstm", "gru"])
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    config = Seq2SeqConfig(
        source_vocab_size=20,
        target_vocab_size=V,
        encoder_hidden=24,
        decoder_hidden=40,
        decoder_cell=request.param,
        tie_output=request.param == "gru",
        target_embedding_dim=40,
    )
    model = Seq2Seq(config, seed=3)
    rng = np.random.default_rng(1)
    for name, view in model.parameters().items():
        view *= 6 if "output" in name or "embedding" in name else 2
    model.parameters()["decoder.output.bias"][:] = rng.normal(0, 1, V)
    return model


SOURCE, LENGTHS = np.arange(18, dtype=np.int32), np.array([5, 10, 3], np.int32)


def masked(model: Seq2Seq, vocabulary: np.ndarray, **options: Any) -> Any:
    """The same search over dense scores, those of other tokens -infinity, normalised again."""
    state = model.encode(SOURCE, LENGTHS, max_rows=30)
    forbidden = np.setdiff1d(np.arange(V), vocabulary)

    def step(parents: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_probs, weights = model.decoder.step(state, tokens, parents)
        log_probs[:, forbidden] = -np.inf
        assert weights is not None
        return log_probs, weights

    return beam_search(
        step,
        batch_size=len(LENGTHS),
        vocab_size=V,
        bos_id=model.config.bos_id,
        eos_id=model.config.eos_id,
        logits=True,
        **options,
    )


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("least", [0, 4])
@pytest.mark.parametrize("size", [3, 100, 690])
def test_equals_a_masked_vocabulary(model: Seq2Seq, beam_size: int, least: int, size: int) -> None:
    rng = np.random.default_rng(size)
    chosen = np.append(rng.choice(np.arange(4, V), size - 1, replace=False), model.config.eos_id)
    vocabulary = np.sort(chosen).astype(np.int32)
    options = {
        "beam_size": beam_size,
        "num_hypotheses": min(beam_size, 3),
        "min_decoding_length": least,
        "max_decoding_length": 9,
    }
    for given in (vocabulary, vocabulary.tolist()):
        found = model.generate(SOURCE, LENGTHS, vocabulary=given, **options)
        for hypotheses, expected in zip(found, masked(model, vocabulary, **options), strict=True):
            assert [h.tokens for h in hypotheses] == [h.tokens for h in expected]
            assert all(np.isin(h.tokens, vocabulary).all() for h in hypotheses)
            for h, e in zip(hypotheses, expected, strict=True):
                np.testing.assert_allclose(h.token_scores, e.token_scores, rtol=1e-5, atol=1e-5)


def test_the_whole_vocabulary_changes_nothing(model: Seq2Seq) -> None:
    options: dict[str, Any] = {"beam_size": 4, "max_decoding_length": 9}
    plain = model.generate(SOURCE, LENGTHS, **options)
    for vocabulary in (np.arange(V, dtype=np.int32), None):
        listed = model.generate(SOURCE, LENGTHS, vocabulary=vocabulary, **options)
        for (a,), (b,) in zip(plain, listed, strict=True):
            assert a.tokens == b.tokens and a.token_scores.tobytes() == b.token_scores.tobytes()


@pytest.mark.parametrize("compute_type", ["float16", "bfloat16", "int8"])
def test_weights_of_every_type(model: Seq2Seq, compute_type: str) -> None:
    """A column is packed as it was among all: the others' bias at -infinity gives the same."""

    def generate(bias: np.ndarray, **options: Any) -> Any:
        native = _native.Model(asdict(model.config), compute_type, False)
        for name, value in (model.native.state() | {"decoder.output.bias": bias}).items():
            native.load_parameter(name, value)
        return native.generate(SOURCE, LENGTHS, {"beam_size": 3, "max_decoding_length": 9} | options)

    bias = model.native.state()["decoder.output.bias"]
    vocabulary = np.arange(2, V, 5, dtype=np.int32)
    masked_bias = np.full_like(bias, -np.inf)
    masked_bias[vocabulary] = bias[vocabulary]
    for (h,), (e,) in zip(generate(bias, vocabulary=vocabulary), generate(masked_bias), strict=True):
        assert h.tokens == e.tokens
        np.testing.assert_allclose(h.token_scores, e.token_scores, rtol=1e-5, atol=1e-5)


def test_another_vocabulary_and_other_weights_are_noticed(model: Seq2Seq) -> None:
    """What is kept from call to call is not taken for what is asked."""
    odd, even = np.arange(1, V, 2, dtype=np.int32), np.arange(0, V, 2, dtype=np.int32)
    odd[0] = model.config.eos_id
    odd.sort()
    for vocabulary in (odd, even, odd):
        for (h,) in model.generate(SOURCE, LENGTHS, vocabulary=vocabulary, max_decoding_length=9):
            assert np.isin(h.tokens, vocabulary).all()
    before = model.generate(SOURCE, LENGTHS, vocabulary=odd, max_decoding_length=9)
    model.parameters()["decoder.output.bias"][odd[-1]] = 1e3
    after = model.generate(SOURCE, LENGTHS, vocabulary=odd, max_decoding_length=9)
    assert [h.tokens for (h,) in before] != [h.tokens for (h,) in after]
    assert all(h.tokens == [odd[-1]] * 9 for (h,) in after)


@pytest.mark.parametrize(
    ("vocabulary", "error"),
    [
        ([], ValueError),
        ([1, 3, 4], ValueError),  # no end token
        ([3, 2, 4], ValueError),
        ([2, 3, 3], ValueError),
        ([-1, 2], ValueError),
        ([2, V], ValueError),
        (np.array([[2, 3]], np.int32), TypeError),
        (np.array([2.5, 3.0]), TypeError),
        ("23", TypeError),
        (7, TypeError),
    ],
)
def test_bad_vocabularies(model: Seq2Seq, vocabulary: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        model.generate(SOURCE, LENGTHS, vocabulary=vocabulary)
    assert_says(caught.value, "vocabulary")
