"""Translator: it gives what the model gives, whoever asks, together with whom, on however many threads."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq2seq_fast
from models import SOURCE, WORDS, lively, plain, sentences
from place import size
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.data import Dataset
from seq2seq_fast.files import load_model, save_model
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

TARGET = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys("abcdefghijklm", 1)))
SIZES: dict[str, Any] = {
    "target_vocab_size": len(TARGET.vocabulary),
    "source_embedding_dim": 9,
    "target_embedding_dim": 7,
    "encoder_hidden": 17,
    "decoder_hidden": 33,
}
SEARCH: dict[str, Any] = {"max_decoding_length": 12}


def make(**changes: Any) -> Seq2Seq:
    return lively(Seq2SeqConfig(**SIZES | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tokens"
    save_model(path, make(source_vocab_size=len(SOURCE.vocabulary)), source=SOURCE, target=TARGET)
    return path


@pytest.fixture(scope="module")
def feature_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "features"
    save_model(path, make(source_features=5, encoder_cell="gru", decoder_cell="gru"), target=TARGET)
    return path


@pytest.fixture(scope="module")
def translator(folder: Path) -> Iterator[Translator]:
    with Translator(folder) as opened:
        yield opened


EVERYTHING: dict[str, Any] = {"return_scores": True, "return_token_scores": True, "return_attention": True}


# ---- what comes out


@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_models_own_search(folder: Path, translator: Translator, beam_size: int) -> None:
    model, batch = load_model(folder).model, sentences(6)
    ids = [SOURCE.tokens_to_ids(tokens) for tokens in batch]
    options = SEARCH | {"beam_size": beam_size, "num_hypotheses": beam_size}
    expected = model.generate(
        np.concatenate(ids).astype(np.int32),
        np.array([len(i) for i in ids]),
        return_attention=True,
        **options,
    )
    found = translator.translate_batch(batch, **options, **EVERYTHING)
    assert len(found) == len(expected)
    for result, hypotheses in zip(found, expected, strict=True):
        assert result.ids == [h.tokens for h in hypotheses]
        assert result.hypotheses == [TARGET.vocabulary.decode(h.tokens) for h in hypotheses]
        assert result.finished == [h.finished for h in hypotheses]
        assert result.scores == [h.score for h in hypotheses]
        for scores, weights, h in zip(result.token_scores, result.attention, hypotheses, strict=True):
            np.testing.assert_array_equal(scores, h.token_scores)
            np.testing.assert_array_equal(weights, h.attention)


def test_only_what_was_asked_for(translator: Translator) -> None:
    [result] = translator.translate_batch([["w1", "w2"]], **SEARCH)
    assert (result.scores, result.token_scores, result.attention) == ([], [], [])
    assert len(result.hypotheses) == len(result.ids) == len(result.finished) == 1


def test_the_defaults_are_those_of_the_search(folder: Path, translator: Translator) -> None:
    ids = SOURCE.tokens_to_ids(["w1", "w2", "w3"])
    [[expected]] = load_model(folder).model.generate(np.array(ids, np.int32), np.array([len(ids)]))
    [result] = translator.translate_batch([["w1", "w2", "w3"]], return_scores=True)
    assert (result.ids, result.scores) == ([expected.tokens], [expected.score])
    [[again]] = translator.generate(np.array(ids, np.int32), np.array([len(ids)]))
    assert (again.tokens, again.score) == (expected.tokens, expected.score)


def test_tokens_ids_and_arrays_are_the_same_source(translator: Translator) -> None:
    batch = sentences(5)
    ids = [SOURCE.tokens_to_ids(tokens) for tokens in batch]
    expected = [plain(r) for r in translator.translate_batch(batch, **SEARCH, **EVERYTHING)]
    for same in (
        ids,
        [np.array(i) for i in ids],
        [np.array(i, np.int32) for i in ids],
        [np.array(i, np.uint8) for i in ids],
        (tuple(tokens) for tokens in batch),
    ):
        assert [plain(r) for r in translator.translate_batch(same, **SEARCH, **EVERYTHING)] == expected


def test_unknown_and_special_tokens_are_unk(translator: Translator) -> None:
    [expected] = translator.translate_batch([["<unk>", "w1"]], **SEARCH)
    for token in ("never seen", "</s>", "<s>", "<pad>"):
        assert translator.translate_batch([[token, "w1"]], **SEARCH) == [expected]


@pytest.mark.parametrize("source", [[], [[]], [["w1"]], [[], ["w1"]]])
def test_options_are_checked_whatever_the_sources(translator: Translator, source: list[list[str]]) -> None:
    for options, message in (
        ({"beam_size": -3}, "beam_size of at least 1"),
        ({"beam_size": 1, "sampling_topk": -5}, "sampling_topk of at least 0, got -5"),
        ({"suppress_sequences": [[]]}, "suppress_sequences of at least one token each"),
        ({"ctc_weight": 1.5}, "ctc_weight from 0 to 1, got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            translator.translate_batch(source, **options)  # type: ignore[call-overload]
    nothing = dict.fromkeys(("target_prefix", "must_contain"), [None] * len(source))
    found = translator.translate_batch(source, **nothing, max_length_ratio=2.0, disable_unk=True, **SEARCH)
    assert len(found) == len(source)


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"sequence_ids": [1]}, ValueError, "sequence_ids for 2 sources, got 1"),
        ({"sequence_ids": [1, 2, 3]}, ValueError, "sequence_ids for 2 sources, got 3"),
        ({"sequence_ids": 3}, TypeError, "sequence_ids as a list, got int"),
        ({"scorers": [print]}, TypeError, "scorers to be a list of pairs of a function and a weight, got"),
        ({"scorers": 3}, TypeError, "scorers to be a list of pairs of a function and a weight, got 3"),
        ({"scorers": [(print, "1")]}, TypeError, "scorers to be a list of pairs of a function and a weight"),
    ],
)
def test_bad_options_of_sources(
    translator: Translator, option: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"\[\w+\] Expected {message}"):
        translator.translate_batch([["w1"], ["w2"]], **option)


def test_sequence_ids_of_any_iterable(translator: Translator) -> None:
    options: dict[str, Any] = SEARCH | {"beam_size": 1, "sampling_topk": 0}
    source = [["w1"], ["w1"]]
    expected = translator.translate_batch(source, sequence_ids=[4, 7], **options)
    for same in (iter([4, 7]), np.array([4, 7])):
        found = translator.translate_batch(source, sequence_ids=same, **options)
        assert [r.ids for r in found] == [r.ids for r in expected]


def test_no_more_alternatives_than_tokens(translator: Translator, folder: Path) -> None:
    options: dict[str, Any] = SEARCH | {"return_alternatives": True}
    size = len(TARGET.vocabulary)
    [expected] = translator.translate_batch([["w1"]], num_hypotheses=size, **options)
    assert size // 2 < len(expected.ids) <= size
    options["num_hypotheses"] = 10**12
    [result] = translator.translate_batch([["w1"]], **options)
    assert result.ids == expected.ids
    ids = SOURCE.tokens_to_ids(["w1"])
    flat = np.array(ids, np.int32), np.array([len(ids)], np.int32)
    for one in (translator, load_model(folder).model):
        assert [h.tokens for h in one.generate(*flat, **options)[0]] == expected.ids
    options["num_hypotheses"] = 1e12
    with pytest.raises(TypeError, match="num_hypotheses to be an integer"):
        translator.translate_batch([["w1"]], **options)


def test_no_sources_and_empty_ones(translator: Translator) -> None:
    assert translator.translate_batch([]) == []
    assert translator.translate_batch([], **EVERYTHING) == []
    [alone] = translator.translate_batch([["w1"]], **SEARCH, **EVERYTHING)
    first, second, third = translator.translate_batch([[], ["w1"], []], **SEARCH, **EVERYTHING)
    assert plain(second) == plain(alone)
    for empty in (first, third):
        assert (empty.hypotheses, empty.ids, empty.finished, empty.scores) == ([[]], [[]], [True], [0.0])
        assert [a.shape for a in empty.token_scores] == [(0,)]
        assert [a.shape for a in empty.attention] == [(0, 0)]
    assert translator.translate_batch([[]])[0].scores == []


def test_features(feature_folder: Path, rng: np.random.Generator) -> None:
    batch = [rng.standard_normal((length, 5)).astype(np.float32) for length in (4, 1, 6)]
    model = load_model(feature_folder).model
    expected = model.generate(np.concatenate(batch), np.array([4, 1, 6]), **SEARCH)
    with Translator(feature_folder) as translator:
        results = translator.translate_batch(batch, **SEARCH)
        assert [r.ids[0] for r in results] == [h[0].tokens for h in expected]
        views = [np.asfortranarray(x) for x in batch]
        assert translator.translate_batch(views, **SEARCH) == results
        assert translator.translate_batch([np.zeros((0, 5), np.float32)])[0].hypotheses == [[]]


def test_a_model_without_vocabularies(tmp_path: Path) -> None:
    save_model(tmp_path, make(source_vocab_size=9))
    with Translator(tmp_path) as translator:
        [result] = translator.translate_batch([[5, 6]], **SEARCH)
        assert result.hypotheses == [[str(i) for i in result.ids[0]]]
        assert translator.score_batch([[5, 6]], [[4, 7]])[0].tokens == ["4", "7", "2"]
        for call in (
            lambda: translator.translate_batch([["w1"]]),
            lambda: translator.score_batch([[5]], [["a"]]),
        ):
            with pytest.raises(ValueError, match=r"(source|target) 0 as ids: .*without that vocabulary"):
                call()


# ---- scores


def test_scores_are_the_models(folder: Path, translator: Translator) -> None:
    sources, targets = sentences(4), [["a", "b"], ["m"], [], ["c"] * 5]
    data = Dataset.from_sequences(
        [SOURCE.tokens_to_ids(s) for s in sources], [TARGET.tokens_to_ids(t) for t in targets], eos_id=2
    )
    expected = load_model(folder).model.score(data.batch(range(4)))
    results = translator.score_batch(sources, targets)
    np.testing.assert_array_equal(np.concatenate([r.log_probs for r in results]), expected)
    assert [r.tokens for r in results] == [[*t, "</s>"] for t in targets]
    np.testing.assert_array_equal(translator.score(data.batch(range(4))), expected)
    for options in ({"max_batch_size": 2}, {"max_batch_size": 5, "batch_type": "tokens"}):
        again = translator.score_batch(sources, targets, **options)  # type: ignore[arg-type]
        assert [r.log_probs.tobytes() for r in again] == [r.log_probs.tobytes() for r in results]
    ids = [TARGET.tokens_to_ids(t) for t in targets]
    again = translator.score_batch(sources, ids)
    assert [r.log_probs.tobytes() for r in again] == [r.log_probs.tobytes() for r in results]


def test_scores_are_those_of_the_search(translator: Translator) -> None:
    batch = sentences(5, seed=3)
    found = translator.translate_batch(batch, max_decoding_length=40, beam_size=1, return_token_scores=True)
    scored = translator.score_batch(batch, [r.ids[0] for r in found])
    for result, score in zip(found, scored, strict=True):
        count = len(result.token_scores[0])
        np.testing.assert_allclose(score.log_probs[:count], result.token_scores[0], rtol=1e-4, atol=1e-5)


def test_a_source_without_tokens_has_no_score(translator: Translator) -> None:
    assert translator.score_batch([], []) == []
    [none, some] = translator.score_batch([[], ["w1"]], [["a"], ["a"]])
    assert np.isnan(none.log_probs).all() and len(none.log_probs) == 2 and none.tokens == ["a", "</s>"]
    assert np.isfinite(some.log_probs).all()


def test_an_end_token_is_appended_once(tmp_path: Path) -> None:
    """Even where the target side of the folder says that it ends its sequences."""
    target = dataclasses.replace(TARGET, eos=True)
    save_model(tmp_path, make(source_vocab_size=len(SOURCE.vocabulary)), source=SOURCE, target=target)
    with Translator(tmp_path) as translator:
        assert translator.score_batch([["w1"]], [["a"]])[0].tokens == ["a", "</s>"]


# ---- the same numbers whatever the company


@pytest.mark.parametrize("settings", [{}, {"intra_threads": 2}, {"inter_threads": 3, "intra_threads": 1}])
@pytest.mark.parametrize(
    "cut", [{}, {"max_batch_size": 3}, {"max_batch_size": 11, "batch_type": "tokens"}, {"max_batch_size": 1}]
)
def test_results_do_not_depend_on_batches_or_threads(
    folder: Path, translator: Translator, settings: dict[str, Any], cut: dict[str, Any]
) -> None:
    batch = sentences(13, seed=1)
    options = SEARCH | EVERYTHING | {"beam_size": 3, "num_hypotheses": 2}
    expected = [plain(translator.translate_batch([tokens], **options)[0]) for tokens in batch]
    with Translator(folder, **settings) as other:
        assert [plain(r) for r in other.translate_batch(batch, **options, **cut)] == expected


@pytest.mark.parametrize("inter_threads", [1, 2])
def test_many_threads_ask_one_translator(folder: Path, inter_threads: int) -> None:
    batch = sentences(24, seed=2)
    with Translator(folder, inter_threads=inter_threads) as translator:
        expected = [plain(translator.translate_batch([tokens], **SEARCH)[0]) for tokens in batch]
        scores = [r.log_probs.tobytes() for r in translator.score_batch(batch, [["a", "b"]] * 24)]
        wrong: list[object] = []

        def ask(thread: int) -> None:
            rng = np.random.default_rng(thread)
            for _ in range(size(15, 2)):
                places = rng.integers(0, 24, rng.integers(1, 6))
                asked = [batch[i] for i in places]
                found = [plain(r) for r in translator.translate_batch(asked, **SEARCH)]
                scored = [
                    r.log_probs.tobytes() for r in translator.score_batch(asked, [["a", "b"]] * len(asked))
                ]
                if found != [expected[i] for i in places] or scored != [scores[i] for i in places]:
                    wrong.append(places)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(size(6, 3))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert (translator.num_active_batches, translator.num_queued_batches) == (0, 0)


@pytest.mark.cpu_only("a child of fork has no CUDA")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("busy_threads", [0, 3])
def test_a_child_of_fork_works(folder: Path, busy_threads: int) -> None:
    """After use, and while every slot is lent to threads that the child does not have."""
    batch = sentences(3, seed=4)
    with Translator(folder, intra_threads=2) as translator:
        expected = [plain(r) for r in translator.translate_batch(batch, **SEARCH)]
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                translator.translate_batch(batch, **SEARCH)

        threads = [threading.Thread(target=work) for _ in range(busy_threads)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                child = os.fork()
                if child == 0:
                    signal.alarm(30)  # a hang ends here, and is seen as a signal
                    same = [plain(r) for r in translator.translate_batch(batch, **SEARCH)] == expected
                    translator.close()
                    os._exit(0 if same else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert [plain(r) for r in translator.translate_batch(batch, **SEARCH)] == expected


# ---- opening and closing


def test_what_a_translator_says_of_itself(folder: Path) -> None:
    with Translator(str(folder), "cpu", inter_threads=2, intra_threads=3) as translator:
        assert translator.device == "cpu"
        assert translator.compute_type == "float32"
        assert translator.num_translators == 2
        assert translator.intra_threads == 3
        assert translator.source == SOURCE and translator.target == TARGET
        assert translator.config.decoder_hidden == 33
    with Translator(folder) as translator:
        assert 1 <= translator.intra_threads <= 4
    with Translator(folder, inter_threads=256) as translator:
        assert translator.intra_threads == 1


def test_a_closed_translator_says_so(folder: Path) -> None:
    translator = Translator(folder)
    translator.close()
    translator.close()
    for call in (
        lambda: translator.translate_batch([["w1"]]),
        lambda: translator.translate_batch([]),
        lambda: translator.score_batch([["w1"]], [["a"]]),
        lambda: translator.num_active_batches,
        lambda: translator.generate(np.ones(1, np.int32), np.ones(1, np.int32)),
    ):
        with pytest.raises(RuntimeError, match="is closed"):
            call()


@pytest.mark.cpu_only("the CPU's memory is counted")
def test_a_translator_keeps_packed_weights_only(tmp_path: Path) -> None:
    model = Seq2Seq(Seq2SeqConfig(source_vocab_size=50, target_vocab_size=4000, decoder_hidden=256))
    size = sum(values.nbytes for values in model.parameters().values())
    save_model(tmp_path, model)
    del model
    before = seq2seq_fast.memory_stats()["in_use"]
    with Translator(tmp_path) as translator:
        used = seq2seq_fast.memory_stats()["in_use"] - before
        assert seq2seq_fast.memory_stats()["kept"] == 0
        translator.translate_batch([[4, 5]], **SEARCH)
    # Once, but for the look-up of embeddings; and the table of the decoder's input products, 4000 x 1024.
    assert used < 1.3 * size + 4 * 4000 * 1024
    assert seq2seq_fast.memory_stats()["in_use"] <= before + 4096
    assert seq2seq_fast.memory_stats()["kept"] < 1 << 20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"device": "cuda:99"}, RuntimeError, "There is no"),
        ({"device": "cuda", "device_index": 99}, RuntimeError, "There is no"),
        ({"device": "tpu"}, ValueError, "device as auto, cpu, cuda or cuda:N, got 'tpu'"),
        ({"device_index": -1}, ValueError, "device_index of at least 0"),
        ({"device": 0}, TypeError, "device as a string, got int"),
        ({"compute_type": "int4"}, ValueError, "compute_type as one of default, auto, float32, .*got 'int4'"),
        ({"compute_type": None}, TypeError, "compute_type as a string"),
        ({"inter_threads": 0}, ValueError, "inter_threads of at least 1"),
        ({"inter_threads": 1.0}, TypeError, "inter_threads as an integer"),
        ({"inter_threads": 257}, ValueError, "inter_threads from 1 to 256"),
        ({"intra_threads": -1}, ValueError, "intra_threads of at least 0"),
        ({"intra_threads": True}, TypeError, "intra_threads as an integer"),
        ({"path": "/no/such/folder"}, FileNotFoundError, "is not a model's folder"),
        ({"path": 3}, TypeError, "PathLike"),
    ],
)
def test_bad_arguments_of_the_constructor(
    folder: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Translator(**{"path": folder} | arguments)


def test_a_damaged_folder(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    save_model(tmp_path, model.model, source=model.source, target=model.target)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
        Translator(tmp_path)


# ---- bad input

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"source": "w1 w2"}, TypeError, "source as a list, got str"),
    ({"source": 3}, TypeError, "source as a list, got int"),
    ({"source": {"a": 1}}, TypeError, "source as a list, got dict"),
    ({"source": [["w1"], "w2"]}, TypeError, "source 1 as a list, got str"),
    ({"source": [["w1"], None]}, TypeError, "source 1 as a list, got NoneType"),
    ({"source": [["w1", 3]]}, TypeError, "source 0 of tokens only, got int at position 1"),
    ({"source": [[3, "w1"]]}, TypeError, "source 0 as tokens or ids"),
    ({"source": [[3.5]]}, TypeError, "source 0 as tokens or ids, got dtype float64"),
    ({"source": [[True]]}, TypeError, "source 0 as tokens or ids, got dtype bool"),
    ({"source": [[1], [24]]}, ValueError, "source 1 of ids from 0 to 23, got 24 at position 0"),
    ({"source": [[1, 2, -1]]}, ValueError, "source 0 of ids from 0 to 23, got -1 at position 2"),
    ({"source": [[2**40]]}, ValueError, "source 0 of ids"),
    ({"source": [[[1, 2]]]}, ValueError, r"source 0 of shape \[length\], got \[1, 2\]"),
    ({"source": [[[1, 2], [1]]]}, ValueError, r"source 0 of shape \[length\]"),
    ({"source": [np.ones((2, 5), np.float32)]}, ValueError, "source 0"),
    ({"beam_size": 0}, ValueError, "beam_size"),
    ({"beam_size": 1.5}, TypeError, "beam_size"),
    ({"beam_size": True}, TypeError, "beam_size"),
    ({"num_hypotheses": 3}, ValueError, "num_hypotheses of at most beam_size"),
    ({"patience": 0}, ValueError, "patience"),
    ({"patience": "1"}, TypeError, "patience"),
    ({"length_penalty": float("nan")}, ValueError, "length_penalty"),
    ({"max_decoding_length": 0}, ValueError, "max_decoding_length"),
    ({"min_decoding_length": -1}, ValueError, "min_decoding_length"),
    ({"min_decoding_length": 300}, ValueError, "min_decoding_length of at most max_decoding_length"),
    ({"max_batch_size": -1}, ValueError, "max_batch_size"),
    ({"max_batch_size": 2.0}, TypeError, "max_batch_size"),
    ({"batch_type": "words"}, ValueError, "batch_type as one of examples, tokens"),
    ({"batch_type": None}, TypeError, "batch_type"),
    ({"return_scores": 1}, TypeError, "return_scores as a bool"),
    ({"return_token_scores": None}, TypeError, "return_token_scores as a bool"),
    ({"return_attention": 1}, TypeError, "return_attention"),
    ({"vocabulary": "a"}, TypeError, "vocabulary as a list, got str"),
    ({"must_contain": {0: [["w1"]]}}, TypeError, "must_contain as a list, got dict"),
    ({"vocabulary": []}, ValueError, "vocabulary of at least one token"),
    ({"vocabulary": ["a", "zzz"]}, ValueError, "vocabulary of target tokens, got 'zzz'"),
    ({"vocabulary": [4, 17]}, ValueError, "vocabulary of ids from 0 to 16, got 17 at position 1"),
    ({"vocabulary": [4.0]}, TypeError, "vocabulary as tokens or ids"),
    ({"colour": 1}, TypeError, "colour"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_input_of_translate_batch(
    translator: Translator, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        translator.translate_batch(**{"source": [["w1"]]} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "w1"}, TypeError, "source as a list"),
        ({"target": "a"}, TypeError, "target as a list"),
        ({"target": ["a"]}, TypeError, "target 0 as a list, got str"),
        ({"target": [["a"], ["b"]]}, ValueError, "target for 1 sources, got 2"),
        ({"target": [[99]]}, ValueError, "target 0 of ids from 0 to 16, got 99"),
        ({"target": [[["a"]]]}, (TypeError, ValueError), "target 0"),
        ({"max_batch_size": -1}, ValueError, "max_batch_size"),
        ({"batch_type": "lines"}, ValueError, "batch_type"),
    ],
)
def test_bad_input_of_score_batch(
    translator: Translator, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        translator.score_batch(**{"source": [["w1"]], "target": [["a"]]} | arguments)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (["w1"], TypeError, r"source 0 as float32 \[length, 5\], got list"),
        (np.ones((2, 5)), TypeError, r"source 0 as float32 \[length, 5\], got float64"),
        (np.ones((2, 4), np.float32), ValueError, r"source 0 of shape \[length, 5\], got \[2, 4\]"),
        (np.ones(5, np.float32), ValueError, r"source 0 of shape \[length, 5\], got \[5\]"),
        (np.full((2, 5), np.nan, np.float32), ValueError, "source 0 to be finite"),
        (np.full((2, 5), np.inf, np.float32), ValueError, "source 0 to be finite"),
    ],
)
def test_bad_features(feature_folder: Path, source: Any, error: type[Exception], message: str) -> None:
    with Translator(feature_folder) as translator, pytest.raises(error, match=message):
        translator.translate_batch([source])


def test_a_token_that_a_vocabulary_without_unk_does_not_have(tmp_path: Path) -> None:
    specials = dataclasses.replace(SOURCE.vocabulary.specials, unk=None)
    source = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys(WORDS, 1), specials=specials))
    save_model(tmp_path, make(source_vocab_size=len(source.vocabulary)), source=source, target=TARGET)
    message = r"In source 1: .*'x' is not in the vocabulary"
    with Translator(tmp_path) as translator, pytest.raises(ValueError, match=message):
        translator.translate_batch([["w1"], ["w2", "x"]])


def test_weights_that_are_not_numbers_are_an_error_not_an_output(tmp_path: Path) -> None:
    model = make(source_vocab_size=9)
    model.parameters()["decoder.output.bias"][3] = np.nan
    save_model(tmp_path, model)
    with Translator(tmp_path) as translator:
        with pytest.raises(RuntimeError, match="NaN"):
            translator.translate_batch([[4]], **SEARCH)
        with pytest.raises(RuntimeError, match="NaN"):  # and the slot is free again
            translator.translate_batch([[4]], **SEARCH)


# ---- the vocabulary of a call


def test_a_vocabulary_for_a_call(translator: Translator) -> None:
    batch, allowed = sentences(6, seed=5), ["b", "e", "h"]
    results = translator.translate_batch(batch, **SEARCH, beam_size=3, num_hypotheses=3, vocabulary=allowed)
    assert {token for r in results for tokens in r.hypotheses for token in tokens} <= set(allowed)
    ids = TARGET.vocabulary.encode(allowed)
    for same in (ids, ids[::-1] * 2, np.array(ids), [*allowed, "</s>"], set(allowed)):
        again = translator.translate_batch(batch, **SEARCH, beam_size=3, num_hypotheses=3, vocabulary=same)
        assert again == results
    everything = translator.translate_batch(batch, **SEARCH, vocabulary=TARGET.vocabulary.tokens)
    assert [r.ids for r in everything] == [r.ids for r in translator.translate_batch(batch, **SEARCH)]


@pytest.mark.cpu_only("a process of its own, on the CPU")
@pytest.mark.parametrize(
    ("name", "size"),
    [("soak", ("--minutes", "0.02")), ("stream", ("--lines", "20000"))],
    ids=["soak", "stream"],
)
def test_what_watches_memory_runs(name: str, size: tuple[str, str]) -> None:
    """A second of what runs for long before a release: mixed requests of eight threads, a long stream."""
    root = Path(__file__).parent.parent
    if not (root / "benchmarks" / f"{name}.py").is_file():
        pytest.skip("the benchmarks are not beside the tests")
    # Under AddressSanitizer freed memory must not be set aside, or it counts as growth.
    sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *size, "--hidden", "32", "--inter_threads", "2"],
        cwd=root,
        capture_output=True,
        text=True,
        env=os.environ | {"ASAN_OPTIONS": sanitizer},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a second" in done.stdout
