"""A vocabulary for each source: each has what it has alone with its own, whatever the others have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from models import SOURCE, lively, plain, sentences
from seq2seq_fast import Seq2SeqConfig, Translator
from seq2seq_fast.files import save_model
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

LETTERS = "abcdefghijklm"
TARGET = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys(LETTERS, 1)))
EVERYTHING: dict[str, Any] = {
    "max_decoding_length": 10,
    "return_scores": True,
    "return_token_scores": True,
    "return_attention": True,
}


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    config = Seq2SeqConfig(
        source_vocab_size=len(SOURCE.vocabulary),
        target_vocab_size=len(TARGET.vocabulary),
        source_embedding_dim=9,
        target_embedding_dim=7,
        encoder_hidden=17,
        decoder_hidden=33,
    )
    path = tmp_path_factory.mktemp("model")
    save_model(path, lively(config), source=SOURCE, target=TARGET)
    with Translator(path, inter_threads=2, intra_threads=1) as opened:
        yield opened


def sources() -> list[list[str]]:
    return sentences(9, seed=3)


def vocabularies() -> list[list[str] | None]:
    """Of nine sources: some the same, in another order, some None."""
    return [
        list("abc"),
        None,
        list("defghi"),
        list("cba"),
        list(LETTERS),
        list("abcd"),
        None,
        list("m"),
        list("abc"),
    ]


def alone(translator: Translator, **options: Any) -> list[list[Any]]:
    return [
        plain(translator.translate_batch([one], vocabulary=listed, **options)[0])
        for one, listed in zip(sources(), vocabularies(), strict=True)
    ]


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("max_batch_size", [0, 1, 2, 7])
def test_each_source_has_what_it_has_alone(
    translator: Translator, beam_size: int, max_batch_size: int
) -> None:
    options = EVERYTHING | {"beam_size": beam_size, "num_hypotheses": beam_size}
    expected = alone(translator, **options)
    found = translator.translate_batch(
        sources(), vocabulary=vocabularies(), max_batch_size=max_batch_size, **options
    )
    assert [plain(result) for result in found] == expected
    for result, listed in zip(found, vocabularies(), strict=True):
        assert listed is None or {t for tokens in result.hypotheses for t in tokens} <= set(listed)
    # The test sees something: with one vocabulary for all, that of all lists, other numbers come out.
    union = translator.translate_batch(sources(), vocabulary=list(LETTERS), **options)
    assert [plain(result) for result in union] != expected


def test_ids_arrays_and_other_iterables(translator: Translator) -> None:
    expected = alone(translator, **EVERYTHING)
    encode = TARGET.vocabulary.encode
    ids = [None if one is None else encode(one) for one in vocabularies()]
    arrays = [None if one is None else np.array(one) for one in ids]
    for same in (ids, arrays, tuple(vocabularies()), iter(vocabularies())):
        found = translator.translate_batch(sources(), vocabulary=same, **EVERYTHING)
        assert [plain(result) for result in found] == expected


def test_with_what_else_is_said_source_by_source(translator: Translator) -> None:
    prefixes = [["a"], None, ["e"], ["b"], ["m"], ["a", "d"], None, ["m"], ["c"]]
    allowed = translator.translate_batch(
        sources(), prefixes, vocabulary=vocabularies(), max_batch_size=3, **EVERYTHING
    )
    for i, result in enumerate(allowed):
        [one] = translator.translate_batch(
            [sources()[i]], [prefixes[i]], vocabulary=vocabularies()[i], **EVERYTHING
        )
        assert plain(result) == plain(one)
    # Samples are drawn by the source's place in the call.
    options = EVERYTHING | {"beam_size": 1, "sampling_topk": 0, "num_hypotheses": 3, "seed": 4}
    drawn = translator.translate_batch(sources(), vocabulary=vocabularies(), **options)
    for i, result in enumerate(drawn):
        [one] = translator.translate_batch(
            [sources()[i]], vocabulary=vocabularies()[i], sequence_ids=[i], **options
        )
        assert plain(result) == plain(one)


def test_callbacks_name_the_source(translator: Translator) -> None:
    told: dict[int, list[str]] = {}

    def hear(step: Any) -> None:
        told.setdefault(step.batch_id, []).append(step.token)

    found = translator.translate_batch(
        sources(), vocabulary=vocabularies(), callback=hear, beam_size=1, return_end_token=True
    )
    assert told == {i: result.hypotheses[0] for i, result in enumerate(found)}


def test_streams_texts_and_asynchronous_calls(translator: Translator, tmp_path: Path) -> None:
    expected = alone(translator, **EVERYTHING)
    for size in (1, 2, 32):
        found = translator.translate_iterable(
            iter(sources()), vocabulary=iter(vocabularies()), max_batch_size=size, **EVERYTHING
        )
        assert [plain(result) for result in found] == expected
    jobs = translator.translate_batch(
        sources(), vocabulary=vocabularies(), asynchronous=True, max_batch_size=2, **EVERYTHING
    )
    assert [plain(job.result()) for job in jobs] == expected
    awaited = asyncio.run(
        translator.translate_batch_async(sources(), vocabulary=vocabularies(), **EVERYTHING)
    )
    assert [plain(result) for result in awaited] == expected
    texts = [" ".join(one) for one in sources()]
    lines = [" ".join(result[0][0]) for result in expected]
    assert translator.translate_text(texts, vocabulary=vocabularies(), max_decoding_length=10) == lines
    (tmp_path / "in").write_text("\n".join(texts) + "\n")
    translator.translate_file(
        tmp_path / "in",
        tmp_path / "out",
        max_batch_size=2,
        vocabulary=vocabularies(),
        max_decoding_length=10,
    )
    assert (tmp_path / "out").read_text().splitlines() == lines
    steps = translator.generate_tokens(sources()[7], vocabulary=[["m"]], max_decoding_length=4)
    assert {step.token for step in steps} <= {"m", "</s>"}


def test_end_tokens_always_may_come(translator: Translator) -> None:
    options: dict[str, Any] = {"end_token": ["b", "</s>"], "beam_size": 3, "num_hypotheses": 3}
    found = translator.translate_batch(
        sources()[:2], vocabulary=[["a"], ["c"]], return_end_token=True, **options
    )
    for result, token in zip(found, "ac", strict=True):
        ends = [tokens[-1] for tokens, done in zip(result.hypotheses, result.finished, strict=True) if done]
        assert ends and set(ends) <= {"b", "</s>"}
        assert {t for tokens in result.hypotheses for t in tokens[:-1]} <= {token}


def test_nothing_to_do(translator: Translator) -> None:
    assert translator.translate_batch([], vocabulary=[]) == []
    empty, one = translator.translate_batch([[], ["w1"]], vocabulary=[["a"], ["b"]], **EVERYTHING)
    assert empty.hypotheses == [[]]
    assert set(one.hypotheses[0]) <= {"b"}


@pytest.mark.parametrize(
    ("vocabulary", "error", "words"),
    [
        ([["a"], "b"], ValueError, ["one list of tokens", "for each source", "position 1"]),
        (["a", None], ValueError, ["one list of tokens", "position 1"]),
        ([[4], 5], ValueError, ["position 1"]),
        ([["a"]], ValueError, ["for 2 sources, got 1"]),
        ([["a"], ["b"], None], ValueError, ["for 2 sources, got 3"]),
        ([["a"], []], ValueError, ["vocabulary 1", "at least one token"]),
        ([["a"], ["zz"]], ValueError, ["vocabulary 1", "'zz'"]),
        ([["a"], [99]], ValueError, ["vocabulary 1", "99"]),
        ([["a"], [-1]], ValueError, ["vocabulary 1", "-1"]),
        ([["a"], [1.5]], TypeError, ["vocabulary 1", "float"]),
        ([["a"], [["b"]]], (TypeError, ValueError), ["vocabulary 1"]),
        ([], ValueError, ["at least one token"]),
        ("ab", TypeError, ["as a list, got str"]),
        (7, TypeError, ["as a list, got int"]),
        ({"a": 1}, TypeError, ["as a list, got dict"]),
    ],
)
def test_bad_vocabularies(translator: Translator, vocabulary: Any, error: Any, words: list[str]) -> None:
    with pytest.raises(error) as caught:
        translator.translate_batch([["w1"], ["w2"]], vocabulary=vocabulary)
    assert_says(caught.value, "vocabulary")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("num_sources", "num_lists", "short"), [(2, 3, "source"), (3, 2, "vocabulary")])
def test_streams_of_another_length(
    translator: Translator, num_sources: int, num_lists: int, short: str
) -> None:
    stream = translator.translate_iterable([["w1"]] * num_sources, vocabulary=[["a"]] * num_lists)
    with pytest.raises(ValueError, match=f"as many of source and vocabulary, got only 2 of {short}"):
        list(stream)


def test_a_stream_refuses_what_is_no_list_at_once(translator: Translator) -> None:
    with pytest.raises(TypeError, match="as a list, got int"):
        translator.translate_iterable([["w1"]], vocabulary=3)
