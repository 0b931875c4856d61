from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from seq2seq_fast import Translator
from seq2seq_fast.files import load_model, save_model
from seq2seq_fast.forecasting import ForecastConfig
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer, SentencePieceTokenizer, SpaceTokenizer
from seq2seq_fast.vocab import SpecialTokens, Vocabulary

SOURCE = TextField(CharTokenizer(lowercase=True), Vocabulary.build(dict.fromkeys("abcé", 1)))
TARGET = TextField(SpaceTokenizer(), Vocabulary.build({"AA": 2, "B": 1}), eos=True)


def config(**changes: Any) -> Seq2SeqConfig:
    settings: dict[str, Any] = {
        "source_vocab_size": 8,
        "target_vocab_size": 6,
        "source_embedding_dim": 4,
        "target_embedding_dim": 4,
        "encoder_hidden": 3,
        "decoder_hidden": 5,
        **changes,
    }
    return Seq2SeqConfig(**settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", Seq2Seq(config(), seed=3), source=SOURCE, target=TARGET)
    return tmp_path / "model"


def test_a_layout_takes_no_memory(folder: Path) -> None:
    """A folder that claims to hold terabytes is refused before anything is made of it."""
    path = folder / "config.json"
    whole = json.loads(path.read_text())
    whole["model"] |= {"encoder_hidden": 2**20, "decoder_hidden": 2**20}
    large = Seq2SeqConfig(**whole["model"])
    assert sum(math.prod(shape) for _, shape, *_ in large.layout()) > 2**42
    path.write_text(json.dumps(whole))
    for load in (load_model, Translator):
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load(folder)


def test_a_config_of_numbers_of_numpy() -> None:
    config = Seq2SeqConfig(
        np.int64(9), np.int32(9), encoder_hidden=np.int64(4), dropout=np.float32(0.5), residual=np.True_
    )
    Seq2Seq(config)
    forecast = ForecastConfig(np.int64(3), np.int64(4), lags=tuple(np.arange(1, 3)), linear_skip=np.False_)
    for model in (config, forecast):
        assert json.loads(json.dumps(dataclasses.asdict(model)))["residual"] in (True, False)


def test_a_model_comes_back(folder: Path) -> None:
    saved = load_model(folder)
    assert saved.model.config == config()
    assert bits(saved.model.parameters()) == bits(Seq2Seq(config(), seed=3).parameters())
    assert saved.source == SOURCE
    assert saved.target == TARGET
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "model.safetensors",
        "source_vocabulary.json",
        "target_vocabulary.json",
    ]


def test_the_config_file(folder: Path) -> None:
    written = json.loads((folder / "config.json").read_text("utf-8"))
    assert written["format_version"] == 1
    assert written["kind"] == "seq2seq"
    assert written["model"] == dataclasses.asdict(config())
    assert written["source"] == {
        "tokenizer": {"type": "char", "lowercase": True},
        "eos": False,
        "vocabulary": "source_vocabulary.json",
        "special_tokens": {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"},
    }


def test_the_weights_are_a_safetensors_file_by_pytorchs_names(folder: Path) -> None:
    from safetensors.numpy import load_file

    assert bits(load_file(folder / "model.safetensors")) == bits(load_model(folder).model.parameters())


def test_equal_models_are_equal_files(folder: Path, tmp_path: Path) -> None:
    saved = load_model(folder)
    save_model(tmp_path / "again", saved.model, source=saved.source, target=saved.target)
    for name in os.listdir(folder):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_feature_vectors_have_no_vocabulary(tmp_path: Path) -> None:
    model = Seq2Seq(config(source_vocab_size=0, source_features=7))
    save_model(tmp_path, model, target=TARGET)
    saved = load_model(tmp_path)
    assert saved.source is None
    assert saved.target == TARGET
    assert saved.model.config.source_features == 7


def test_a_model_without_any_vocabulary(tmp_path: Path) -> None:
    save_model(tmp_path, Seq2Seq(config()))
    saved = load_model(tmp_path)
    assert (saved.source, saved.target) == (None, None)


def test_a_sentencepiece_model_lies_in_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    tokenizer = SentencePieceTokenizer.train(["the cat sat on the mat", "a dog"] * 9, vocab_size=30)
    field = TextField(tokenizer, Vocabulary.build(dict.fromkeys(tokenizer.pieces(), 1)))
    model = Seq2Seq(config(source_vocab_size=len(field.vocabulary), target_vocab_size=len(field.vocabulary)))
    save_model(tmp_path, model, source=field, target=field)
    assert len(list(tmp_path.glob("sentencepiece-*.model"))) == 1
    saved = load_model(tmp_path)
    assert saved.source == saved.target == field
    next(tmp_path.glob("sentencepiece-*.model")).unlink()
    with pytest.raises(FileNotFoundError, match=r"sentencepiece-.*: no such file"):
        load_model(tmp_path)


# ---- writing over an older model


def test_the_same_model_of_a_later_moment_is_one_rename(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (renamed.append(Path(b).name), replace(a, b)))
    save_model(folder, Seq2Seq(config(), seed=4), source=SOURCE, target=TARGET)
    assert renamed == ["model.safetensors"]
    assert bits(load_model(folder).model.parameters()) == bits(Seq2Seq(config(), seed=4).parameters())


def test_another_model_is_no_model_until_it_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = TextField(SpaceTokenizer(), Vocabulary.build({"X": 2, "Y": 1}), eos=True)
    replace = os.replace
    seen: list[str] = []

    def look(a: Any, b: Any) -> None:
        with pytest.raises(FileNotFoundError, match=r"config\.json"):
            load_model(folder)
        replace(a, b)
        seen.append(Path(b).name)

    monkeypatch.setattr(os, "replace", look)
    save_model(folder, Seq2Seq(config(), seed=4), source=SOURCE, target=other)
    assert seen == ["target_vocabulary.json", "model.safetensors", "config.json"] or seen == [
        "target_vocabulary.json",
        "model.safetensors",
    ]
    assert load_model(folder).target == other


def test_files_of_others_stay(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    save_model(folder, Seq2Seq(config(decoder_hidden=6)), source=SOURCE, target=TARGET)
    assert (folder / "README.md").read_text() == "mine"
    assert load_model(folder).model.config.decoder_hidden == 6


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (TARGET, TARGET, "the source vocabulary has 6 tokens, source_vocab_size is 8"),
        (SOURCE, SOURCE, "the target vocabulary has 8 tokens, target_vocab_size is 6"),
        (
            SOURCE,
            TextField(SpaceTokenizer(), Vocabulary(["<s>", "<pad>", "</s>", "<unk>", "a", "b"])),
            "the pad token of the target vocabulary has id 1, pad_id is 0",
        ),
    ],
)
def test_vocabularies_that_do_not_fit_are_not_saved(
    tmp_path: Path, source: Any, target: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save_model(tmp_path / "model", Seq2Seq(config()), source=source, target=target)
    assert not (tmp_path / "model").exists()


# ---- folders that are wrong

Change = Callable[[dict[str, Any]], Any]


def put(path: str, value: Any) -> Change:
    """Return what sets a field, or with `...` removes it."""

    def change(settings: dict[str, Any]) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            settings = settings[parent]
        if value is ...:
            del settings[name]
        else:
            settings[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format_version", ...), "field 'format_version': expected an integer of at least 1, got None"),
        (put("format_version", True), "field 'format_version': .*got True"),
        (
            put("format_version", 3),
            "reads formats up to 2, the model is of format 3; a newer version is needed",
        ),
        (put("kind", "ctc"), "field 'kind': expected 'seq2seq', got 'ctc'"),
        (put("kind", ...), "field 'kind' is missing"),
        (put("colour", 1), "unknown field 'colour'"),
        (put("format_version", 2), "field 'compute_type' is missing"),
        (put("compute_type", "int8"), "unknown field 'compute_type'"),
        (put("model", 1), "field 'model': expected an object, got 1"),
        (put("model.target_vocab_size", ...), "field 'model.target_vocab_size' is missing"),
        (put("model.dropuot", 0.1), "unknown field 'model.dropuot'"),
        (put("model.dropout", "0.1"), "field 'model.dropout': expected float, got '0.1'"),
        (put("model.dropout", True), "field 'model.dropout': expected float, got True"),
        (
            put("model.output_dropout", False),
            "field 'model.output_dropout': expected float or null, got False",
        ),
        (put("model.decoder_hidden", 5.0), "field 'model.decoder_hidden': expected int, got 5.0"),
        (put("model.bidirectional", 1), "field 'model.bidirectional': expected bool, got 1"),
        (put("model.encoder_cell", "rnn"), "config.json: .*encoder_cell"),
        (put("model.encoder_cell", None), "field 'model.encoder_cell': expected str, got None"),
        (put("model.target_vocab_size", 7), "the target vocabulary has 6 tokens, target_vocab_size is 7"),
        (put("model.source_vocab_size", 10**15), "the source vocabulary has 8 tokens"),
        (put("model.eos_id", 1), "the eos token of the target vocabulary has id 2, eos_id is 1"),
        (put("source", []), "field 'source': expected an object"),
        (put("source.eos", ...), "field 'source.eos' is missing"),
        (put("source.eos", 0), "field 'source.eos': expected true or false, got 0"),
        (put("source.lowercase", True), "unknown field 'source.lowercase'"),
        (put("source.tokenizer", "char"), "field 'source.tokenizer': .*settings with a field 'type'"),
        (put("source.tokenizer.type", "bpe"), "field 'source.tokenizer': .*one of char, space"),
        (put("source.tokenizer.upper", 1), "field 'source.tokenizer': .*Unknown field 'upper'"),
        (put("target.special_tokens.pads", 1), "field 'target.special_tokens': unknown field 'pads'"),
        (
            put("target.special_tokens.eos", "<end>"),
            "target_vocabulary.json: .*eos token '<end>' is not among",
        ),
        (put("target.special_tokens.eos", None), "field 'target.eos': .*a vocabulary with an eos token"),
        (
            put("target.vocabulary", "../target_vocabulary.json"),
            "'target.vocabulary': expected the name of a file",
        ),
        (put("target.vocabulary", "/etc/passwd"), "'target.vocabulary': expected the name of a file"),
        (put("target.vocabulary", ".."), "'target.vocabulary': expected the name of a file"),
        (put("target.vocabulary", "a\\b"), "'target.vocabulary': expected the name of a file"),
        (put("target.vocabulary", "a\0b"), "'target.vocabulary': expected the name of a file"),
        (
            put("target.vocabulary", 3),
            "'target.vocabulary': expected the name of a file in the folder, got 3",
        ),
        (
            put("source.tokenizer", {"type": "sentencepiece", "model": "../x"}),
            "field 'source.tokenizer': expected the name of a file",
        ),
    ],
)
def test_wrong_fields_are_named(folder: Path, change: Change, message: str) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text("utf-8"))
    change(settings)
    path.write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ValueError, match=message) as error:
        load_model(folder)
    assert str(folder) in str(error.value)


def test_a_field_that_has_a_default_may_be_missing(folder: Path) -> None:
    """So that a later version may add fields and still read older folders."""
    path = folder / "config.json"
    settings = json.loads(path.read_text("utf-8"))
    del settings["model"]["dropout"]
    path.write_text(json.dumps(settings), "utf-8")
    assert load_model(folder).model.config.dropout == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000, b"null"])
def test_a_config_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json: expected"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "target_vocabulary.json"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
        load_model(folder)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a model's folder"):
        load_model(tmp_path / "nowhere")


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("decoder.output.bias"), "tensor 'decoder.output.bias' is missing"),
        (lambda t: t.update(extra=np.zeros(2, np.float32)), "unknown tensor 'extra'"),
        (
            lambda t: t.update({"decoder.output.bias": np.zeros(7, np.float32)}),
            r"tensor 'decoder.output.bias' of shape \[6\], got \[7\]",
        ),
        (
            lambda t: t.update({"decoder.output.bias": np.zeros(6, np.float16)}),
            "tensor 'decoder.output.bias' of dtype F32, got F16",
        ),
    ],
)
def test_wrong_tensors_are_named(folder: Path, change: Any, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ValueError, match=message) as error:
        load_model(folder)
    assert str(folder / "model.safetensors") in str(error.value)


def test_cut_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
            load_model(folder)


def test_special_tokens_of_other_spellings(tmp_path: Path) -> None:
    specials = SpecialTokens(pad="<blank>", bos="<go>", eos="<end>", unk=None)
    target = TextField(SpaceTokenizer(), Vocabulary(["a", "<end>", "<go>", "<blank>"], specials=specials))
    model = Seq2Seq(config(target_vocab_size=4, bos_id=2, eos_id=1, pad_id=3, unk_id=0))
    save_model(tmp_path, model, source=SOURCE, target=target)
    assert load_model(tmp_path).target == target
