"""Regular expressions over tokens: Python's `re` on all texts, and searches that stay within."""

from __future__ import annotations

import itertools
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_fast import Translator, patterns
from seq2seq_fast.files import save_model
from seq2seq_fast.patterns import pattern
from seq2seq_fast.regex import CharacterAutomaton
from seq2seq_fast.search import Automaton, Trie, beam_search
from step_functions import Step, Tree
from test_translator import SOURCE, TARGET, make, sentences

LETTERS = "ab1 "


def expressions() -> Any:
    leaves = st.sampled_from(
        ["a", "b", "1", " ", ".", "[ab]", "[^a]", "[a-b1]", r"\d", r"\w", r"\S", "ab", ""]
    )

    def grown(inner: Any) -> Any:
        return st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"])).map(
                lambda pair: f"({pair[0]}){pair[1]}"
            ),
        )

    return st.recursive(leaves, grown, max_leaves=8)


def accepts(automaton: CharacterAutomaton, text: str) -> bool:
    state = 0
    for character in text:
        state = automaton.following(state, character)
        if state < 0:
            return False
    return automaton.accepts(state)


TEXTS = ["".join(text) for n in range(4) for text in itertools.product(LETTERS, repeat=n)]


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_characters_as_pythons_re(expression: str) -> None:
    automaton, expected = CharacterAutomaton(expression), re.compile(expression)
    for text in TEXTS:
        assert accepts(automaton, text) == bool(expected.fullmatch(text)), (expression, text)


@settings(max_examples=150, deadline=None)
@given(
    expression=expressions(),
    texts=st.lists(st.none() | st.text(LETTERS, max_size=3), min_size=1, max_size=5),
    leading=st.sampled_from(["", " "]),
)
def test_tokens_as_pythons_re(expression: str, texts: list[str | None], leading: str) -> None:
    automaton, expected = pattern(expression, texts, leading=leading), re.compile(expression)
    for n in range(4):
        for tokens in itertools.product(range(len(texts)), repeat=n):
            found = [texts[token] for token in tokens]
            if all(found) and (not found or found[0] != leading):
                text = "".join(map(str, found)).removeprefix(leading)
                assert (list(tokens) in automaton) == bool(expected.fullmatch(text))
            else:
                assert list(tokens) not in automaton
    # No beginning leads nowhere.
    work, seen = [[]], 0
    while work and seen < 50:
        tokens = work.pop()
        seen += 1
        follow = automaton.next(tokens)
        assert follow == sorted(set(follow))
        assert follow or tokens in automaton or not tokens
        work += [[*tokens, token] for token in follow]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("a)", r"no '\)' without '\(' at position 1 of 'a\)'"),
        ("(a", r"'\)' at position 2"),
        ("*a", "something to repeat at position 0"),
        ("a**", "one repetition, neither lazy nor possessive, at position 2"),
        ("a+?", "one repetition"),
        ("a{2", "more at position 3"),
        ("a{,2}", "a number at position 2"),
        ("a{3,2}", "repetitions in order"),
        ("a{2000}", "of at most 1000"),
        ("((a{1000}){1000}){1000}", "at most 65536 states"),
        ("(?=a)", "a group without extensions"),
        ("^a", "no anchor"),
        ("a$", "no anchor"),
        (r"\1", r"a character or a class behind"),
        (r"\b", r"a character or a class behind"),
        ("[a", "more at position 2"),
        ("[b-a]", "a range of characters in order"),
        ("\\", "more at position 1"),
    ],
)
def test_bad_expressions(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"\[pattern\] Expected .*{message}"):
        pattern(expression, ["a", "b"])


def test_bad_types() -> None:
    with pytest.raises(TypeError, match=r"\[pattern\] Expected expression as a string, got int"):
        pattern(3, ["a"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([0], [], [], []), "at least one state"),
        (([0, 2], [1], [0], [True]), "begins of 2 ascending numbers from 0 to the 1 edges"),
        (([0, 1], [1], [], [True]), "as many targets as tokens"),
        (([0, 1], [1], [1], [True]), "targets from 0 to 0, got 1"),
        (([0, 1], [-1], [0], [True]), "tokens of at least 0, got -1"),
        (([0, 2], [2, 2], [0, 0], [True]), "ascending order, each once, got 2 after 2"),
    ],
)
def test_what_is_no_automaton(arrays: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"\[Automaton\] Expected .*{message}"):
        Automaton(*arrays)


def test_an_automaton_may_turn_round() -> None:
    """(2 3)*, by hand; a search stays within for as long as it may."""
    automaton = Automaton([0, 1, 2], [2, 3], [1, 0], [True, False])
    assert automaton.states == 2 and [2, 3, 2, 3] in automaton and [2] not in automaton
    assert automaton.next([2]) == [3] and automaton.next([3]) == []
    options: dict[str, Any] = {"batch_size": 1, "vocab_size": 5, "bos_id": 0, "eos_id": 1, "beam_size": 3}
    [[h]] = beam_search(
        Step(Tree(5, seed=1), [0]), allowed_outputs=automaton, max_decoding_length=7, **options
    )
    assert h.tokens in automaton
    [[h]] = beam_search(
        Step(Tree(5), [0]), allowed_outputs=automaton, min_decoding_length=7, max_decoding_length=7, **options
    )
    assert h.tokens == [2, 3, 2, 3, 2, 3, 2] and not h.finished


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    path = tmp_path_factory.mktemp("models") / "tokens"
    save_model(path, make(source_vocab_size=len(SOURCE.vocabulary)), source=SOURCE, target=TARGET)
    with Translator(path) as opened:
        yield opened


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 4, "num_hypotheses": 3},
        {"beam_size": 1, "sampling_topk": 0, "num_hypotheses": 4},
        {"beam_size": 4, "num_beam_groups": 2, "num_hypotheses": 3},
    ],
)
def test_outputs_match(translator: Translator, options: dict[str, Any]) -> None:
    expression = re.compile("(a|b) (c d )?[e-h]( [i-k]){0,3}")
    source = sentences(12)
    results = translator.translate_batch(source, allowed_outputs=expression, **options)
    for result in results:
        assert all(result.finished)
        assert all(expression.fullmatch(" ".join(h)) for h in result.hypotheses)
    assert len({tuple(h) for result in results for h in result.hypotheses}) > 1
    # For each source its own; and the same automaton by hand.
    each = [re.compile("a( b)*"), None, Trie([TARGET.vocabulary.encode("m")])] * 4
    results = translator.translate_batch(source, allowed_outputs=each, max_decoding_length=6, **options)
    plain = translator.translate_batch(source, max_decoding_length=6, **options)
    for i, result in enumerate(results):
        if i % 3 == 0:
            assert all(re.fullmatch("a( b)*", " ".join(h)) for h in result.hypotheses)
        elif i % 3 == 1:
            assert result.ids == plain[i].ids
        else:
            assert {tuple(h) for h in result.hypotheses} == {("m",)}


@pytest.mark.big
def test_patterns_of_a_translator(translator: Translator, tmp_path: Path) -> None:
    for number in range(70):
        translator.translate_batch([["w1"]], allowed_outputs=re.compile(f"a( b){{{number}}}"), beam_size=1)
    assert translator._patterns.cache_info().currsize == 64
    hits = translator._patterns.cache_info().hits
    translator.translate_batch([["w1"]], allowed_outputs=re.compile("a( b){69}"), beam_size=1)
    assert translator._patterns.cache_info().hits == hits + 1
    with pytest.raises(ValueError, match="a regular expression of strings without flags"):
        translator.translate_batch([["w1"]], allowed_outputs=re.compile("a", re.IGNORECASE))
    with pytest.raises(ValueError, match="a group without extensions"):
        translator.translate_batch([["w1"]], allowed_outputs=re.compile("(?!a)b"))
    make(source_vocab_size=30).save(tmp_path / "bare")
    with (
        Translator(tmp_path / "bare") as bare,
        pytest.raises(ValueError, match="a model with a target vocabulary, for a regular expression"),
    ):
        bare.translate_batch([[4]], allowed_outputs=re.compile("a"))


def test_patterns_of_many_threads(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    """More expressions than are kept, so that each thread throws out what others look for; and each lets the
    others go on at every instruction."""
    monkeypatch.setattr(patterns, "pattern", lambda expression, **texts: expression)
    monkeypatch.setattr(patterns, "token_texts", lambda field: {})
    expressions = [re.compile(f"a{{{number}}}") for number in range(70)]
    failures: list[BaseException] = []

    def let_others_go_on(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is not Translator._compiled.__code__:
            return None
        frame.f_trace_opcodes = True
        time.sleep(0)
        return let_others_go_on

    def ask(seed: int) -> None:
        sys.settrace(let_others_go_on)
        try:
            for place in np.random.default_rng(seed).integers(0, len(expressions), 500).tolist():
                found: Any = translator._compiled("test", expressions[place])
                assert found == expressions[place].pattern
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    translator._patterns.cache_clear()
    assert not failures


def test_a_large_vocabulary_is_walked_once_a_prefix() -> None:
    """5,000 words against an expression that few of them fit."""
    rng = np.random.default_rng(0)
    words = [" " + "".join(rng.choice(list("abcdefgh"), 6)) for _ in range(5_000)]
    automaton = pattern(r"(abc\w* ?)+|\d+", [*words, " 12", "3"], leading=" ")
    follow = automaton.next([])
    assert follow == [
        i for i, word in enumerate([*words, " 12", "3"]) if word.startswith((" abc", " 12", "3"))
    ]
