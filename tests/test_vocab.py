from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_fast.vocab import SpecialTokens, Vocabulary

pytestmark = pytest.mark.cpu_only("no kernel runs here")

NO_SPECIALS = SpecialTokens(pad=None, bos=None, eos=None, unk=None)


def test_build_puts_special_tokens_first_then_the_frequent_ones() -> None:
    vocabulary = Vocabulary.build({"b": 3, "a": 3, "rare": 1, "c": 9})
    assert vocabulary.tokens == ("<pad>", "<s>", "</s>", "<unk>", "c", "a", "b", "rare")
    assert (vocabulary.pad_id, vocabulary.bos_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2, 3)


def test_build_does_not_depend_on_the_order_of_counting() -> None:
    counts = {token: 1 + i % 3 for i, token in enumerate("the quick brown fox jumps over it")}
    assert Vocabulary.build(counts) == Vocabulary.build(dict(reversed(counts.items())))


def test_build_limits() -> None:
    counts = {"a": 5, "b": 2, "c": 1}
    assert Vocabulary.build(counts, min_frequency=2).tokens[4:] == ("a", "b")
    assert Vocabulary.build(counts, max_size=5).tokens[4:] == ("a",)
    assert len(Vocabulary.build(counts, max_size=4)) == 4
    with pytest.raises(ValueError, match="max_size of at least 4, got 3"):
        Vocabulary.build(counts, max_size=3)


def test_a_counted_token_spelt_like_a_special_one_is_that_one() -> None:
    assert Vocabulary.build({"</s>": 100, "a": 1}).tokens == ("<pad>", "<s>", "</s>", "<unk>", "a")


def test_special_tokens_are_settings() -> None:
    specials = SpecialTokens(pad="<blank>", bos="<t>", eos="<t>", unk=None)
    vocabulary = Vocabulary.build({"a": 1}, specials=specials)
    assert vocabulary.tokens == ("<blank>", "<t>", "a")
    assert (vocabulary.pad_id, vocabulary.bos_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 1, None)
    assert Vocabulary(["x", "</s>"], specials=SpecialTokens(None, None, "</s>", None)).eos_id == 1


def test_encode_and_decode() -> None:
    vocabulary = Vocabulary.build({"a": 2, "b": 1})
    assert vocabulary.encode(["b", "zzz", "a", "</s>"]) == [5, 3, 4, 2]
    assert vocabulary.decode([1, 5, 3, 2, 0]) == ["<s>", "b", "<unk>", "</s>", "<pad>"]
    assert vocabulary.decode([1, 5, 3, 2, 0], skip_special_tokens=True) == ["b", "<unk>"]
    assert "a" in vocabulary
    assert "zzz" not in vocabulary


@pytest.mark.parametrize("i", [-1, 5])
def test_decode_refuses_ids_out_of_range(i: int) -> None:
    with pytest.raises(ValueError, match=f"ids from 0 to 4, got {i}"):
        Vocabulary.build({"a": 1}).decode([i])


def test_unknown_token_without_unk() -> None:
    vocabulary = Vocabulary(["a"], specials=NO_SPECIALS)
    with pytest.raises(ValueError, match=r"Token 'b' is not in the vocabulary, which has no unk"):
        vocabulary.encode(["a", "b"])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["<pad>", "<s>", "</s>", "<unk>", "a", "a"], "Token 'a' occurs twice, at 4 and 5"),
        (["<pad>", "<s>", "<unk>"], "eos token '</s>' is not among the 3 tokens"),
        (["<pad>", "<s>", "</s>", "<unk>", ""], "Token 4 is empty"),
        ([], "pad token '<pad>' is not among the 0"),
    ],
)
def test_bad_lists_of_tokens(tokens: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens)


def test_a_token_that_is_no_string() -> None:
    with pytest.raises(TypeError, match="Token 1: expected a string, got 7"):
        Vocabulary(["a", 7])  # type: ignore[list-item]


@settings(deadline=None)  # a busy machine is no bug
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True))
def test_the_file_holds_any_tokens(tokens: list[str]) -> None:
    vocabulary = Vocabulary(tokens, specials=NO_SPECIALS)
    assert tuple(json.loads(vocabulary.to_bytes())) == vocabulary.tokens


def test_save_and_load(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build({"ß": 1, '"': 2, "\u2028": 1, " ": 1})
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary
    assert "ß" in (tmp_path / "v.json").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a JSON list of tokens"),
        (b"[", "expected a JSON list of tokens"),
        (b"\xff", "expected a JSON list of tokens"),
        (b"[" * 100_000, "expected a JSON list of tokens"),
        (b'{"a": 1}', "expected a JSON list of tokens, got dict"),
        (b'["<pad>", 3]', "Token 1: expected a string, got 3"),
        (b'["<pad>", "<s>", "</s>"]', "unk token '<unk>' is not among"),
        (b'["a", "a"]', "Token 'a' occurs twice"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        Vocabulary.load(path)
    assert str(path) in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"v\.json: no such file"):
        Vocabulary.load(tmp_path / "v.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "expected an object"),
        ({"pads": "x"}, "unknown field 'pads'; expected pad, bos, eos, unk"),
        ({"pad": 3}, "field 'pad': expected a token or null, got 3"),
        ({"pad": ""}, "field 'pad': expected a token or null, got ''"),
    ],
)
def test_bad_settings_of_special_tokens(settings: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpecialTokens.from_settings(settings)


def test_settings_of_special_tokens_come_back() -> None:
    specials = SpecialTokens(pad=None, eos="<end>")
    assert SpecialTokens.from_settings(specials.settings()) == specials
