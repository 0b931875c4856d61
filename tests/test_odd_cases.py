"""What docs/decoding.md says of odd cases, each with the kinds of search there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from seq2seq_fast import Translator
from seq2seq_fast.files import save_model
from seq2seq_fast.search import Trie
from test_translator import SOURCE, TARGET, make, sentences

V = len(TARGET.vocabulary)
EVERY = list(range(V))
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam": {"beam_size": 4, "num_hypotheses": 2},
    "groups": {"beam_size": 4, "num_beam_groups": 2, "num_hypotheses": 2},
    "alternatives": {"beam_size": 2, "num_hypotheses": 3, "return_alternatives": True},
    "samples": {"beam_size": 1, "sampling_topk": 0, "num_hypotheses": 2},
    "samples of the best": {"beam_size": 1, "sampling_topk": 5, "num_hypotheses": 2},
}


@pytest.fixture(scope="module", params=["lstm", "copying"])
def translator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Translator]:
    path = tmp_path_factory.mktemp("models") / "tokens"
    fields = {"copy_attention": True} if request.param == "copying" else {}
    save_model(path, make(source_vocab_size=len(SOURCE.vocabulary), **fields), source=SOURCE, target=TARGET)
    with Translator(path) as opened:
        yield opened


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"max_decoding_length": 6, "return_scores": True, **KINDS[request.param]}


def ids(text: str) -> list[int]:
    return TARGET.vocabulary.encode(list(text))


def test_no_sources(translator: Translator, kind: dict[str, Any]) -> None:
    assert translator.translate_batch([], **kind) == []
    assert translator.translate_batch([], [], allowed_outputs=[], **kind) == []
    assert list(translator.translate_iterable([], **kind)) == []


def test_an_empty_source(translator: Translator, kind: dict[str, Any]) -> None:
    heard = []
    if not ({"return_alternatives"} & set(kind) or "num_beam_groups" in kind):
        kind["callback"] = lambda event: heard.append(event.batch_id)
    source = [[], *sentences(2)]
    one, two, three = translator.translate_batch(
        source, [["a"], ["b"], None], return_alignment=True, return_attention=True, **kind
    )
    assert (one.hypotheses, one.ids, one.finished, one.scores, one.alignment) == (
        [[]],
        [[]],
        [True],
        [0.0],
        [[]],
    )
    assert two.hypotheses[0][0] == "b" and three.ids
    assert 0 not in heard


def test_a_source_longer_than_the_limit(translator: Translator, kind: dict[str, Any]) -> None:
    long, short = sentences(1)[0] * 3, sentences(1)[0] * 3
    short = short[:4]
    for cut in (long, tuple(long), iter(long)):
        [result] = translator.translate_batch([cut], max_input_length=4, return_attention=True, **kind)
        [expected] = translator.translate_batch([short], return_attention=True, **kind)
        assert result.ids == expected.ids and result.scores == expected.scores
        assert result.attention[0].shape[1] == 5  # and the end token
    array = np.array(SOURCE.vocabulary.encode(long), np.int32)
    [result] = translator.translate_batch([array], max_input_length=4, **kind)
    [expected] = translator.translate_batch([array[:4]], **kind)
    assert result.ids == expected.ids
    [result], [expected] = (translator.translate_batch([long], max_input_length=n, **kind) for n in (0, 99))
    assert result.ids == expected.ids
    with pytest.raises(ValueError, match=r"\[translate_batch\] Expected max_input_length of at least 0"):
        translator.translate_batch([long], max_input_length=-1)


def test_a_prefix_longer_than_the_maximum(translator: Translator, kind: dict[str, Any]) -> None:
    for length in (6, 7, 20):
        [result] = translator.translate_batch(sentences(1), [["a", "b"] * 10][:1], **kind)
        assert [h[:length] for h in result.hypotheses] == [list("ababab")]
        assert result.finished == [False]
    # An end token in it ends it.
    [result] = translator.translate_batch(sentences(1), [[*ids("ab"), 2, *ids("c")]], **kind)
    assert result.hypotheses == [["a", "b"]] and result.finished == [True]


def test_unknown_tokens(translator: Translator, kind: dict[str, Any]) -> None:
    unknown = [["w1", "never seen", "w2"]]
    [result] = translator.translate_batch(unknown, **kind)
    if translator.config.copy_attention:
        assert result.ids  # it may come out: that is what copying is for
    else:
        [expected] = translator.translate_batch([["w1", "<unk>", "w2"]], **kind)
        assert (result.ids, result.scores) == (expected.ids, expected.scores)
    [result] = translator.translate_batch(unknown, disable_unk=True, **kind)
    assert all(translator.config.unk_id not in one for one in result.ids)
    with pytest.raises(ValueError, match="target_prefix 0 of target tokens, got 'never seen'"):
        translator.translate_batch(unknown, [["never seen"]], **kind)


def test_a_beam_larger_than_the_vocabulary(translator: Translator) -> None:
    options: dict[str, Any] = {"max_decoding_length": 2, "length_penalty": 0.0, "min_decoding_length": 0}
    for beam_size in (V, V + 5, 10 * V):
        [result] = translator.translate_batch(
            sentences(1), beam_size=beam_size, num_hypotheses=3, return_scores=True, patience=1e9, **options
        )
        assert len(result.scores) == 3 and result.scores == sorted(result.scores, reverse=True)
    [result] = translator.translate_batch(
        sentences(1), beam_size=500, num_hypotheses=500, patience=1e9, vocabulary=ids("ab"), **options
    )
    if translator.config.copy_attention:  # its source's tokens may come out, too
        return
    # "", a, b, each finished; aa, ab, ba, bb cut off.
    assert sorted("".join(h) for h, done in zip(result.hypotheses, result.finished, strict=True) if done) == [
        "",
        "a",
        "b",
    ]
    assert len(result.hypotheses) == 7


def test_everything_suppressed(translator: Translator, kind: dict[str, Any]) -> None:
    source = [["w1", "w2"]]
    banned = [[i] for i in EVERY]
    if translator.config.copy_attention:
        banned += [[V], [V + 1]]  # the source's own
        with pytest.raises(ValueError, match="suppress_sequences"):
            translator.generate(
                np.array([4], np.int32),
                np.array([1], np.int32),
                copies=np.array([4]),
                suppress_sequences=banned,
            )
        return
    [result] = translator.translate_batch(source, suppress_sequences=banned, **kind)
    count = len(result.ids)  # of samples each
    assert (result.hypotheses, result.finished, result.scores) == (
        [[]] * count,
        [False] * count,
        [0.0] * count,
    )
    # All but one, which then comes again and again.
    [result] = translator.translate_batch(source, suppress_sequences=[b for b in banned if b != [7]], **kind)
    assert result.ids == [[7] * 6] * len(result.ids) and not any(result.finished)
    # Behind the first token.
    [result] = translator.translate_batch(source, [[5]], suppress_sequences=[[5, i] for i in EVERY], **kind)
    assert result.ids == [[5]] * len(result.ids) and not any(result.finished)


def test_constraints_that_cannot_be_satisfied(translator: Translator, kind: dict[str, Any]) -> None:
    source = sentences(1)

    def translate(**options: Any) -> Any:
        [result] = translator.translate_batch(source, **{**kind, **options})
        return result

    nothing = translate(allowed_outputs=Trie([]))
    assert nothing.hypotheses == [[]] * len(nothing.ids) and not any(nothing.finished)
    # The prefix leads out of the outputs.
    [outside] = translator.translate_batch(source, [["b"]], allowed_outputs=[["a", "b"]], **kind)
    assert outside.hypotheses == [["b"]] * len(outside.hypotheses) and not any(outside.finished)
    # The only output is shorter than it may be.
    short = translate(allowed_outputs=[["a"]], min_decoding_length=3)
    assert short.hypotheses == [["a"]] * len(short.hypotheses) and not any(short.finished)
    # It is longer than it may be.
    long = translate(allowed_outputs=[list("abcdefgh")])
    assert long.hypotheses == [list("abcdef")] * len(long.hypotheses) and not any(long.finished)
    # Its second token is suppressed, or would be a repetition, or is not in the vocabulary.
    for options in (
        {"suppress_sequences": [["b"]], "allowed_outputs": [["a", "b"]]},
        {"no_repeat_ngram_size": 1, "allowed_outputs": [["a", "a"]]},
        {"vocabulary": ["a"], "allowed_outputs": [["a", "b"]]},
    ):
        stuck = translate(**options)
        assert stuck.hypotheses == [["a"]] * len(stuck.hypotheses) and not any(stuck.finished)
    # A finished output elsewhere is preferred to one that is stuck.
    if kind.get("sampling_topk", 1) == 1:
        saved = translate(allowed_outputs=[["a", "a"], ["c"]], no_repeat_ngram_size=1, beam_size=4)
        if "return_alternatives" not in kind:
            assert saved.hypotheses[0] == ["c"] and saved.finished[0]


def test_fewer_outputs_than_wanted(translator: Translator) -> None:
    [result] = translator.translate_batch(
        sentences(1),
        beam_size=8,
        num_hypotheses=8,
        allowed_outputs=[["a"], ["b", "c"], []],
        min_decoding_length=0,
    )
    assert sorted("".join(h) for h in result.hypotheses) == ["", "a", "bc"] and all(result.finished)
