"""return_logits_vocab: what the model gave every token at each step of an output, with the search's bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from seq2seq_fast import TranslationResult, Translator
from seq2seq_fast.files import save_model
from test_sessions import KINDS, save
from test_translator import SOURCE, TARGET, make, sentences

V = len(TARGET.vocabulary)
EOS = TARGET.vocabulary.eos_id or 0
OPTIONS: dict[str, Any] = {
    "max_decoding_length": 6,
    "return_token_scores": True,
    "return_end_token": True,
    "return_logits_vocab": True,
}


@pytest.fixture(scope="module", params=KINDS)
def translator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Translator]:
    with Translator(
        save(tmp_path_factory.mktemp("models"), request.param), inter_threads=2, intra_threads=1
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    with Translator(save(tmp_path_factory.mktemp("models"), "lstm")) as opened:
        yield opened


def of_tokens(result: TranslationResult) -> list[bytes]:
    """What the logits say of the outputs' own tokens."""
    return [
        np.array([row[i] for row, i in zip(logits, ids, strict=True)], np.float32).tobytes()
        for logits, ids in zip(result.logits, result.ids, strict=True)
    ]


SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam": {"beam_size": 4, "num_hypotheses": 4},
    "samples": {"beam_size": 1, "sampling_topk": 0, "num_hypotheses": 3},
    "alternatives": {"beam_size": 3, "return_alternatives": True, "num_hypotheses": 3},
}


@pytest.mark.parametrize("search", SEARCHES)
def test_tokens_have_the_bits_of_the_search(translator: Translator, search: str) -> None:
    results = translator.translate_batch(sentences(6), **OPTIONS, **SEARCHES[search])
    steps = [len(scores) for result in results for scores in result.token_scores]
    finished = [one for result in results for one in result.finished]
    if search == "samples":
        assert len(set(steps)) > 1 and len(set(finished)) > 1  # outputs of different lengths, and cut off
    for result in results:
        assert len(result.logits) == len(result.hypotheses)
        assert of_tokens(result) == [scores.tobytes() for scores in result.token_scores]
        for logits in result.logits:
            assert logits.dtype == np.float32
            np.testing.assert_allclose(np.exp(logits.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


def test_a_vocabulary_that_the_search_does_not_sum_up_at_once(tmp_path: Path) -> None:
    save_model(tmp_path, make(source_vocab_size=len(SOURCE.vocabulary), target_vocab_size=3001))
    options = OPTIONS | {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 12}
    with Translator(tmp_path) as translator:
        for result in translator.translate_batch([[4, 5, 6], [7], [8, 9]], **options):
            assert of_tokens(result) == [scores.tobytes() for scores in result.token_scores]
            for logits in result.logits:
                np.testing.assert_allclose(np.exp(logits.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


def test_they_are_those_of_a_session(translator: Translator) -> None:
    for source in sentences(3, seed=4):
        [result] = translator.translate_batch([source], **OPTIONS, beam_size=2, num_hypotheses=2)
        for ids, logits in zip(result.ids, result.logits, strict=True):
            session = translator.start([source])
            for step, token in enumerate(ids):
                expected = session.log_probs[0]
                np.testing.assert_allclose(logits[step, token], expected[token], rtol=1e-5)
                expected[token] = logits[step, token]  # of the token that was chosen the search's number
                assert expected.tobytes() == logits[step].tobytes()
                session.step([token])


@pytest.mark.parametrize("max_batch_size", [1, 2, 5])
def test_they_do_not_depend_on_the_batch(translator: Translator, max_batch_size: int) -> None:
    batch = [*sentences(5, seed=1), ["w1", "out of it", "nowhere"]]
    whole = translator.translate_batch(batch, **OPTIONS, beam_size=3, num_hypotheses=3)
    parts = translator.translate_batch(
        batch, **OPTIONS, beam_size=3, num_hypotheses=3, max_batch_size=max_batch_size
    )
    for one, other in zip(whole, parts, strict=True):
        assert [x.tobytes() for x in one.logits] == [x.tobytes() for x in other.logits]
        assert [x.shape for x in one.logits] == [x.shape for x in other.logits]


def test_of_copying_the_source_s_tokens_are_there_too(tmp_path: Path) -> None:
    with Translator(save(tmp_path, "copying")) as translator:
        batch = [["w1", "w2"], ["w1", "other", "w1"], ["w3"]]
        results = translator.translate_batch(batch, **OPTIONS, beam_size=1)
    assert [result.logits[0].shape[1] for result in results] == [V + 2, V + 2, V + 1]


def test_they_are_the_model_s_own_whatever_the_options(lstm: Translator) -> None:
    [plain] = lstm.translate_batch([["w1", "w2"]], **OPTIONS, beam_size=1)
    first = plain.logits[0][0]
    listed = TARGET.vocabulary.encode(list("abc"))
    for options in (
        {"vocabulary": listed},
        {"suppress_sequences": [plain.ids[0][:1]]},
        {"disable_unk": True, "renormalize": True},
        {"min_decoding_length": 3},
        {"target_prefix": [["c"]]},
    ):
        [result] = lstm.translate_batch([["w1", "w2"]], **OPTIONS | {"beam_size": 1} | options)
        np.testing.assert_allclose(result.logits[0][0], first, rtol=1e-5, atol=1e-6)
    [result] = lstm.translate_batch([["w1", "w2"]], **OPTIONS, beam_size=1, vocabulary=listed)
    allowed = sorted([*listed, EOS])
    for row, score, token in zip(result.logits[0], result.token_scores[0], result.ids[0], strict=True):
        # The search's numbers are these, normalised over what may come.
        assert score == pytest.approx(row[token] - np.logaddexp.reduce(row[allowed].astype(float)), abs=1e-4)


def test_ends(lstm: Translator) -> None:
    batch = sentences(6)
    [first, *_] = lstm.translate_batch(batch, **OPTIONS, beam_size=1)
    end = first.ids[0][0]
    results = lstm.translate_batch(
        batch, **OPTIONS, beam_size=3, num_hypotheses=3, end_token=[end, EOS], min_decoding_length=0
    )
    assert any(ids == [end] for result in results for ids in result.ids)
    for result in results:
        assert of_tokens(result) == [scores.tobytes() for scores in result.token_scores]
    # Nothing may come: no step.
    [nothing] = lstm.translate_batch([["w1"]], **OPTIONS, allowed_outputs=[[]], min_decoding_length=2)
    assert [x.shape for x in nothing.logits] == [(0, V)] and nothing.finished == [False]
    [empty, _] = lstm.translate_batch([[], ["w1"]], **OPTIONS)
    assert [x.shape for x in empty.logits] == [(0, V)]
    assert lstm.translate_batch([], **OPTIONS) == []


def test_only_where_it_was_asked_for(lstm: Translator) -> None:
    for result in lstm.translate_batch([["w1"], []], max_decoding_length=3):
        assert result.logits == []


def test_streams_and_asynchronous_calls(lstm: Translator) -> None:
    batch = sentences(5)
    expected = [r.logits[0].tobytes() for r in lstm.translate_batch(batch, **OPTIONS)]
    streamed = lstm.translate_iterable(iter(batch), max_batch_size=2, **OPTIONS)
    assert [r.logits[0].tobytes() for r in streamed] == expected
    jobs = lstm.translate_batch(batch, asynchronous=True, **OPTIONS)
    assert [job.result().logits[0].tobytes() for job in jobs] == expected


def test_features(tmp_path: Path) -> None:
    save_model(tmp_path, make(source_features=5), target=TARGET)
    rng = np.random.default_rng(1)
    batch = [rng.normal(size=(n, 5)).astype(np.float32) for n in (3, 7, 4)]
    with Translator(tmp_path) as translator:
        for result in translator.translate_batch(batch, **OPTIONS, beam_size=3, num_hypotheses=2):
            assert of_tokens(result) == [scores.tobytes() for scores in result.token_scores]


@pytest.mark.parametrize("compute_type", ["float16", "int8"])
def test_compute_types(tmp_path: Path, compute_type: str) -> None:
    with Translator(save(tmp_path, "lstm"), compute_type=compute_type) as translator:
        for result in translator.translate_batch(sentences(4), **OPTIONS, beam_size=3, num_hypotheses=3):
            assert of_tokens(result) == [scores.tobytes() for scores in result.token_scores]


def test_what_is_refused(lstm: Translator, tmp_path: Path) -> None:
    with pytest.raises(TypeError) as caught:
        lstm.translate_batch([["w1"]], return_logits_vocab=1)  # type: ignore[call-overload]
    assert_says(caught.value, "return_logits_vocab")
    folder = save(tmp_path, "lstm")
    message = "return_logits_vocab of one model, got an ensemble"
    with Translator([folder, folder]) as ensemble, pytest.raises(ValueError, match=message):
        ensemble.translate_batch([["w1"]], return_logits_vocab=True)
