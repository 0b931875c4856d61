"""The options of a search where the model is native: `Seq2Seq.generate` against the search around its
decoder, `Translator` against `Seq2Seq.generate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.decoding import decode
from seq2seq_fast.decoding_presets import PRESETS
from seq2seq_fast.files import save_model
from seq2seq_fast.search import Trie, beam_search
from seq2seq_fast.search_tokens import options_of_sources
from test_translator import SOURCE as SOURCE_FIELD
from test_translator import TARGET, WORDS, make, plain, sentences

V = 14
CONFIG = Seq2SeqConfig(
    source_vocab_size=9,
    target_vocab_size=V,
    source_embedding_dim=6,
    target_embedding_dim=5,
    encoder_hidden=8,
    decoder_hidden=8,
)
LENGTHS = np.array([3, 5, 1, 4], np.int32)
SOURCE = (np.arange(13) % 9).astype(np.int32)
COPIES = (np.arange(13) % 4 + V - 2).astype(np.int32)  # 2 of the vocabulary's, 2 that it has not
PREFIXES: list[list[int]] = [[5, 3], [], [7], [4, 4, 4, 4]]
TRIES = [Trie([[5, 3, 4], [5, 3, 6, 7], [6]]), None, Trie([[7, 8], [7]]), Trie([[4] * 6, [4] * 4])]

OPTIONS: dict[str, dict[str, Any]] = {
    "penalties": {"length_penalty_type": "wu", "repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    "coverage": {"coverage_penalty": 0.4, "early_stopping": "never", "return_attention": True},
    "bans": {"suppress_sequences": [[4], [5, 6], [7, 8, 9]], "disable_unk": True},
    "one ban": {"suppress_sequences": [[4], [9]]},
    "prefix": {"target_prefix": PREFIXES},
    "tries": {"allowed_outputs": TRIES},
    "prefix in tries": {"allowed_outputs": TRIES, "target_prefix": [[5], [], [7], [4]]},
    "ratio": {"max_length_ratio": 1.5, "max_length_offset": 1},
    "alternatives": {"return_alternatives": True, "num_hypotheses": 4, "target_prefix": PREFIXES},
    "groups": {"num_beam_groups": 2, "beam_size": 4, "num_hypotheses": 4, "diversity_penalty": 0.8},
    "ends": {"end_token": [2, 6, 9]},
    "stopping": {"early_stopping": "first", "length_penalty_type": "none"},
    "heuristic": {"early_stopping": "heuristic", "num_hypotheses": 2},
    "samples": {"sampling_topk": 0, "beam_size": 1, "num_hypotheses": 3, "seed": 5},
    "samples of the best": {
        "sampling_topk": 6,
        "beam_size": 1,
        "sampling_topp": 0.9,
        "sampling_temperature": 1.3,
        "min_p": 0.02,
        "sequence_ids": [7, 0, 2**40, 1],
    },
    "phrases": {"must_contain": [[[5, 3], [7]], [[4, 4, 4]], None, []], "num_hypotheses": 2},
    "phrases and others": {
        "must_contain": [[[5, 3]], None, [[6]], [[8], [9, 10]]],
        "target_prefix": PREFIXES,
        "no_repeat_ngram_size": 2,
        "renormalize": True,
    },
    "as CTranslate2": {"preset": "ctranslate2", "coverage_penalty": 0.3, "no_repeat_ngram_size": 2},
    "as fairseq": {"preset": "fairseq", "max_length_ratio": 1.5},
    "as Marian": {"preset": "marian", "word_penalty": 0.2},
    "as Sockeye": {"preset": "sockeye", "num_hypotheses": 3},
    "as JoeyNMT": {"preset": "joeynmt", "num_hypotheses": 2, "target_prefix": PREFIXES},
    "many": {
        "coverage_penalty": 0.2,
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "disable_unk": True,
        "min_decoding_length": 2,
        "target_prefix": PREFIXES,
        "num_beam_groups": 2,
        "beam_size": 6,
        "num_hypotheses": 3,
        "return_attention": True,
    },
}


def random_model(**fields: Any) -> Seq2Seq:
    model = Seq2Seq(replace(CONFIG, **fields), seed=3)
    rng = np.random.default_rng(0)
    for name, values in model.native.state().items():
        changed = (values + rng.normal(0, 0.5, values.shape)).astype(np.float32)
        if name == "decoder.output.bias":
            changed[2] += 1.5  # some hypotheses end
        model.native.load_parameter(name, changed)
    return model


@pytest.fixture(scope="module", params=["lstm", "gru mlp", "copying"])
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return random_model(
        **{
            "lstm": {},
            "gru mlp": {"encoder_cell": "gru", "decoder_cell": "gru", "attention_score": "mlp"},
            "copying": {"copy_attention": True},
        }[request.param]
    )


def copies_of(model: Seq2Seq) -> np.ndarray | None:
    return COPIES if model.config.copy_attention else None


def values(hypotheses: Any) -> list[Any]:
    return [(h.tokens, h.end_token, h.score, h.log_prob, h.token_scores.tolist()) for h in hypotheses]


@pytest.mark.parametrize("name", OPTIONS)
def test_generate_equals_the_search_around_the_decoder(model: Seq2Seq, name: str) -> None:
    options = {"beam_size": 3, "max_decoding_length": 9, **OPTIONS[name]}
    copies = copies_of(model)
    found = model.generate(SOURCE, LENGTHS, copies=copies, **options)
    state = model.encode(SOURCE, LENGTHS, 100, copies)
    ends = options.pop("end_token", 2)
    expected = beam_search(
        lambda parents, tokens: model.decoder.step(state, tokens, parents),
        batch_size=len(LENGTHS),
        vocab_size=V + 2 if copies is not None else V,
        bos_id=1,
        eos_id=ends,
        unk_id=3,
        source_lengths=LENGTHS,
        **options,
    )
    for one, two in zip(found, expected, strict=True):
        assert [(h.tokens, h.end_token) for h in one] == [(h.tokens, h.end_token) for h in two]
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a.token_scores, b.token_scores, rtol=1e-5, atol=2e-6)
            assert a.score == pytest.approx(b.score, rel=1e-5, abs=2e-6)
            assert a.alignment == b.alignment


@pytest.mark.parametrize("name", OPTIONS)
def test_a_source_does_not_depend_on_its_neighbours(model: Seq2Seq, name: str) -> None:
    """To the bit: also where only some of the sources have a prefix or a trie."""
    options = {"beam_size": 3, "max_decoding_length": 9, **OPTIONS[name]}
    copies = copies_of(model)
    together = model.generate(SOURCE, LENGTHS, copies=copies, **options)
    ends = np.cumsum(LENGTHS)
    for i, (begin, end) in enumerate(zip(ends - LENGTHS, ends, strict=True)):
        [alone] = model.generate(
            SOURCE[begin:end],
            LENGTHS[i : i + 1],
            copies=None if copies is None else copies[begin:end],
            **options_of_sources(options, [i]),
        )
        assert [(h.tokens, h.score, h.token_scores.tolist()) for h in alone] == [
            (h.tokens, h.score, h.token_scores.tolist()) for h in together[i]
        ]


def test_decode_gives_each_source_its_options(model: Seq2Seq) -> None:
    if model.config.copy_attention:
        pytest.skip("decode() takes copies as texts have them")
    sources = [s.tolist() for s in np.split(SOURCE, np.cumsum(LENGTHS)[:-1])]
    for name in ("prefix", "tries", "samples", "samples of the best"):
        options = {"beam_size": 3, "max_decoding_length": 9, **OPTIONS[name]}
        found = decode(model, sources, batch_tokens=5, **options)
        expected = model.generate(SOURCE, LENGTHS, **options)
        assert [values(h) for h in found] == [values(h) for h in expected]


def test_a_trie_within_a_vocabulary() -> None:
    model = random_model()
    trie = Trie([[4, 5], [4, 6], [7]])
    [[h], *_] = model.generate(SOURCE, LENGTHS, allowed_outputs=trie, vocabulary=[2, 4, 6])
    assert h.tokens == [4, 6] and h.finished


def test_no_attention_to_go_by() -> None:
    model = random_model(context="mean", input_feeding=False)
    for option in ({"return_attention": True}, {"coverage_penalty": 0.5}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} was asked of a model"):
            model.generate(SOURCE, LENGTHS, **option)
    # A ratio of the source's length is there all the same.
    found = model.generate(SOURCE, LENGTHS, max_length_ratio=2.0, suppress_sequences=[[2]], beam_size=1)
    assert [len(h.tokens) for [h] in found] == (2 * LENGTHS).tolist()


# ---- Translator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tokens"
    model = make(source_vocab_size=len(SOURCE_FIELD.vocabulary))
    bias = np.zeros(len(TARGET.vocabulary), np.float32)
    bias[model.config.unk_id] = 2.0  # some outputs have unknown tokens
    model.native.load_parameter("decoder.output.bias", bias)
    save_model(path, model, source=SOURCE_FIELD, target=TARGET)
    return path


@pytest.fixture(scope="module")
def translator(folder: Path) -> Iterator[Translator]:
    with Translator(folder, inter_threads=2) as opened:
        yield opened


def ids(tokens: Any) -> list[int]:
    return TARGET.vocabulary.encode(list(tokens))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_translate_takes_tokens(translator: Translator, beam_size: int) -> None:
    source = [*sentences(5), [], *sentences(3, seed=1)]
    prefixes = [["a", "b"], None, ["c"], [], ["m"], ["a"], None, ["d"] * 3, None]
    options: dict[str, Any] = {"beam_size": beam_size, "max_decoding_length": 8}
    options |= {"suppress_sequences": [["e"], ["f", "g"]], "end_token": ["</s>", "h"]}
    results = translator.translate_batch(source, prefixes, return_end_token=True, **options)
    flat = [SOURCE_FIELD.tokens_to_ids(s) for s in source if s]
    expected = translator.generate(
        np.concatenate([np.array(one, np.int32) for one in flat]),
        np.array([len(one) for one in flat], np.int32),
        target_prefix=[ids(p or []) for p, s in zip(prefixes, source, strict=True) if s],
        **options | {"suppress_sequences": [ids("e"), ids("fg")], "end_token": [2, *ids("h")]},
    )
    assert results[5].hypotheses == [[]]
    for result, [h] in zip(results[:5] + results[6:], expected, strict=True):
        whole = h.tokens + ([h.end_token] if h.finished else [])
        assert result.ids == [whole]
        assert result.hypotheses == [TARGET.vocabulary.decode(whole)]
    for result, prefix in zip(results, prefixes, strict=True):
        if prefix and result.ids[0]:
            assert result.hypotheses[0][: len(prefix)] == prefix
    by_ids = [None if p is None else np.array(ids(p), np.int64) for p in prefixes]
    again = translator.translate_batch(source, by_ids, return_end_token=True, max_batch_size=2, **options)
    assert [plain(r) for r in again] == [plain(r) for r in results]


@pytest.mark.big
def test_a_preset_is_what_it_stands_for(translator: Translator) -> None:
    source = sentences(6)
    for preset, options in PRESETS.items():
        found = translator.translate_batch(source, preset=preset, return_scores=True)
        expected = translator.translate_batch(source, return_scores=True, **options)
        assert [plain(r) for r in found] == [plain(r) for r in expected]
        stream = translator.translate_iterable(source, preset=preset, return_scores=True)
        assert [plain(r) for r in stream] == [plain(r) for r in found]
    short = {"preset": "fairseq", "max_decoding_length": 2, "beam_size": 1}
    assert all(len(r.ids[0]) == 1 and r.finished[0] for r in translator.translate_batch(source, **short))
    told = list(translator.generate_tokens(source[0], preset="fairseq", max_decoding_length=2))
    assert [t.is_last for t in told] == [False, True]
    with pytest.raises(ValueError, match="preset to be one of"):
        translator.translate_batch(source, preset="pytorch")


@pytest.mark.big
def test_translate_within_outputs(translator: Translator) -> None:
    source = sentences(4)
    words = ["abc", "abd", "k", "ll"]
    for outputs in (
        [list(word) for word in words],
        [ids(word) for word in words],
        Trie([ids(word) for word in words]),
    ):
        results = translator.translate_batch(source, allowed_outputs=outputs, num_hypotheses=2)
        for result in results:
            assert {"".join(h) for h in result.hypotheses} <= set(words) and all(result.finished)
    tries = [Trie([ids("ab")]), None, Trie([ids("c"), ids("d")]), Trie([ids("m")])]
    for size in (0, 1):
        results = translator.translate_batch(source, allowed_outputs=tries, max_batch_size=size)
        assert results[0].hypotheses == [["a", "b"]] and results[3].hypotheses == [["m"]]
        assert results[2].hypotheses[0] in (["c"], ["d"])
        assert results[1].ids == translator.translate_batch(source)[1].ids


def test_translate_samples_whatever_the_batch(translator: Translator) -> None:
    source = sentences(6)
    options: dict[str, Any] = {"beam_size": 1, "sampling_topk": 0, "num_hypotheses": 3, "return_scores": True}
    options |= {"max_decoding_length": 10}
    once = translator.translate_batch(source, seed=9, **options)
    for size in (1, 2, 4):
        again = translator.translate_batch(source, seed=9, max_batch_size=size, **options)
        assert [plain(r) for r in again] == [plain(r) for r in once]
    [alone] = translator.translate_batch(source[4:5], seed=9, sequence_ids=[4], **options)
    assert plain(alone) == plain(once[4])
    assert translator.translate_batch(source, seed=10, **options) != once
    assert len({tuple(h) for h in once[0].hypotheses}) > 1


def test_replace_unknowns_and_alignment(translator: Translator) -> None:
    source = sentences(8)
    options: dict[str, Any] = {"max_decoding_length": 8}
    plainly = translator.translate_batch(source, return_attention=True, **options)
    results = translator.translate_batch(
        source, replace_unknowns=True, return_alignment=True, max_batch_size=3, **options
    )
    replaced = 0
    for tokens, before, after in zip(source, plainly, results, strict=True):
        assert after.ids == before.ids and after.attention == []
        [one], [two], [weights], [pairs] = (
            before.hypotheses,
            after.hypotheses,
            before.attention,
            after.alignment,
        )
        assert pairs == [(int(row.argmax()), t) for t, row in enumerate(weights[: len(one)])]
        for t, (a, b) in enumerate(zip(one, two, strict=True)):
            if a != "<unk>":
                assert a == b
            else:
                assert b == tokens[int(weights[t, : len(tokens)].argmax())]
                replaced += 1
    assert replaced > 3
    ids_only = [np.array(SOURCE_FIELD.tokens_to_ids(tokens), np.int32) for tokens in source]
    again = translator.translate_batch(ids_only, replace_unknowns=True, **options)
    assert [set(r.hypotheses[0]) <= {*WORDS, "</s>", *"abcdefghijklm"} for r in again] == [True] * 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target_prefix": [["a"]]}, ValueError, "target_prefix for 2 sources, got 1"),
        ({"target_prefix": [["nope"], []]}, ValueError, "target_prefix 0 of target tokens, got 'nope'"),
        ({"target_prefix": 3}, TypeError, "target_prefix as a list, got int"),
        ({"target_prefix": [[99], []]}, ValueError, "target_prefix 0 of ids from 0 to 16, got 99"),
        ({"suppress_sequences": ["a", 3]}, TypeError, "suppress_sequences 0 as a list, got str"),
        ({"end_token": "nope"}, ValueError, "end_token of target tokens, got 'nope'"),
        ({"end_token": []}, ValueError, "end_token of at least one token"),
        ({"allowed_outputs": [["a"], ["nope"]]}, ValueError, "allowed_outputs 1 of target tokens"),
        ({"allowed_outputs": [Trie([])]}, ValueError, "allowed_outputs for 2 sources, got 1"),
        ({"beam_width": 3}, TypeError, "There is no option beam_width"),
        ({"replace_unknowns": 1}, TypeError, "replace_unknowns as a bool"),
        ({"return_alignment": "yes"}, TypeError, "return_alignment as a bool"),
        ({"sampling_topk": 5}, ValueError, "beam_size of 1 with sampling"),
    ],
)
def test_bad_arguments(
    translator: Translator, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        translator.translate_batch(sentences(2), **arguments)


def test_without_vocabularies_or_attention(tmp_path: Path) -> None:
    make(source_vocab_size=30, context="last", input_feeding=False).save(tmp_path / "bare")
    with Translator(tmp_path / "bare") as translator:
        source = [[4, 5], [6]]
        [one, two] = translator.translate_batch(source, [[4, 4], []], suppress_sequences=[[5]])
        assert one.ids[0][:2] == [4, 4] and 5 not in one.ids[0] + two.ids[0]
        for name in ("replace_unknowns", "return_alignment"):
            with pytest.raises(ValueError, match=f"{name} was asked of a model that has no attention"):
                translator.translate_batch(source, **{name: True})
        with pytest.raises(TypeError, match="target_prefix 0 as tokens or ids"):
            translator.translate_batch(source, [["a"], []])
    make(source_vocab_size=30).save(tmp_path / "attends")
    with (
        Translator(tmp_path / "attends") as translator,
        pytest.raises(ValueError, match="replace_unknowns of a model with vocabularies"),
    ):
        translator.translate_batch(source, replace_unknowns=True)
