from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_fast import tokenizers
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import (
    CharTokenizer,
    SentencePieceTokenizer,
    SpaceTokenizer,
    Tokenizer,
    tokenizer_from_settings,
)
from seq2seq_fast.vocab import SpecialTokens, Vocabulary

pytestmark = pytest.mark.cpu_only("no kernel runs here")


@settings(deadline=None)  # a busy machine is no bug
@given(st.text())
def test_characters_come_back(text: str) -> None:
    tokenizer = CharTokenizer()
    assert tokenizer.tokenize(text) == list(text)
    assert tokenizer.detokenize(tokenizer.tokenize(text)) == text


def test_white_space() -> None:
    tokenizer = SpaceTokenizer()
    assert tokenizer.tokenize("  K AE1\tT \u3000 ") == ["K", "AE1", "T"]
    assert tokenizer.detokenize(["K", "AE1", "T"]) == "K AE1 T"
    assert tokenizer.tokenize("") == []
    assert tokenizer.detokenize([]) == ""


def test_lowercase() -> None:
    assert CharTokenizer(lowercase=True).tokenize("ÄB") == ["ä", "b"]
    assert SpaceTokenizer(lowercase=True).tokenize("A b") == ["a", "b"]
    with pytest.raises(TypeError, match="lowercase to be true or false, got 'yes'"):
        CharTokenizer(lowercase="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("tokenizer", [CharTokenizer(), SpaceTokenizer(lowercase=True)])
def test_settings_make_the_tokenizer_again(tokenizer: Tokenizer) -> None:
    settings = json.loads(json.dumps(tokenizer.settings()))
    again = tokenizer_from_settings(settings)
    assert again == tokenizer
    assert type(again) is type(tokenizer)
    assert again.files() == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "settings with a field 'type', got None"),
        ({}, "field 'type' to be one of char, space, sentencepiece, got None"),
        ({"type": "bpe"}, "got 'bpe'"),
        ({"type": ["char"]}, "got \\['char'\\]"),
        ({"type": "char", "upper": True}, "Unknown field 'upper'; char has lowercase"),
        ({"type": "char", "lowercase": 1}, "lowercase to be true or false, got 1"),
        ({"type": "sentencepiece"}, "Field 'model' is missing"),
        ({"type": "sentencepiece", "model": "x"}, "'x' is needed, and there is no folder"),
    ],
)
def test_bad_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer_from_settings(settings)


def test_a_new_kind_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "TOKENIZERS", dict(tokenizers.TOKENIZERS))

    @tokenizers.register
    class CommaTokenizer(Tokenizer):
        type = "comma"

        def _split(self, text: str) -> list[str]:
            return text.split(",")

        def detokenize(self, tokens: Sequence[str]) -> str:
            return ",".join(tokens)

    tokenizer = tokenizer_from_settings({"type": "comma", "lowercase": True})
    assert tokenizer.tokenize("A,b") == ["a", "b"]
    assert repr(tokenizer) == "CommaTokenizer(lowercase=True)"


@pytest.fixture(scope="module")
def sentencepiece() -> SentencePieceTokenizer:
    pytest.importorskip("sentencepiece")
    texts = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 20
    return SentencePieceTokenizer.train(texts, vocab_size=40)


def test_sentencepiece(sentencepiece: SentencePieceTokenizer) -> None:
    tokens = sentencepiece.tokenize("the dog sat on a mat")
    assert sentencepiece.detokenize(tokens) == "the dog sat on a mat"
    assert set(tokens) <= set(sentencepiece.pieces())
    (name,) = sentencepiece.files()
    again = tokenizer_from_settings(sentencepiece.settings(), sentencepiece.files().__getitem__)
    assert again == sentencepiece
    assert again.settings() == {"type": "sentencepiece", "lowercase": False, "model": name}
    assert again.tokenize("a cat") == sentencepiece.tokenize("a cat")


def test_sentencepiece_refuses_another_file() -> None:
    pytest.importorskip("sentencepiece")
    with pytest.raises(ValueError, match="The model is not a SentencePiece model"):
        SentencePieceTokenizer(b"nonsense")
    with pytest.raises(ValueError, match="No model could be learnt"):
        SentencePieceTokenizer.train([])


def test_sentencepiece_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs an extra: pip install 'seq2seq_fast\[sentencepiece\]'"):
        SentencePieceTokenizer(b"")


def test_text_field() -> None:
    vocabulary = Vocabulary.build({"a": 2, "b": 1})
    field = TextField(SpaceTokenizer(), vocabulary, eos=True)
    assert field.encode("b a x") == [5, 4, 3, 2]
    assert field.decode([5, 4, 3, 2, 0]) == "b a <unk>"


def test_text_cannot_hold_control_tokens() -> None:
    vocabulary = Vocabulary.build({"a": 1})
    assert TextField(SpaceTokenizer(), vocabulary).encode("</s> a <pad> <unk>") == [3, 4, 3, 3]
    closed = Vocabulary(["</s>", "a"], specials=SpecialTokens(None, None, "</s>", None))
    with pytest.raises(ValueError, match="special token, and the vocabulary has no unk"):
        TextField(SpaceTokenizer(), closed).encode("a </s>")


def test_eos_needs_an_end_token() -> None:
    vocabulary = Vocabulary(["a"], specials=SpecialTokens(None, None, None, None))
    with pytest.raises(ValueError, match="a vocabulary with an eos token"):
        TextField(CharTokenizer(), vocabulary, eos=True)
