"""`train`: one vocabulary for both sides, embeddings that begin as given vectors, and stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Vocabulary
from seq2seq_fast.files import load_model, save_model
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer

Train = Callable[..., str]


@pytest.fixture
def train(tmp_path: Path, run: Run) -> Train:
    """`train(flags...)`: a run of two epochs into tmp_path/run; returns what it said."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(60):
        word = rng.choice(list("abcdef"), rng.integers(1, 5))
        lines.append(" ".join(word) + "\t" + " ".join([*word[::-1], "X"]) + "\n")
    (tmp_path / "train.tsv").write_text("".join(lines))

    def call(*flags: object, code: int = 0) -> str:
        arguments = ["train", "--train", tmp_path / "train.tsv", "--out", tmp_path / "run", *flags]
        arguments += ["--hidden_size", 8, "--word_vec_size", 3, "--batch_size", 120, "--device", "cpu"]
        return run.done(*arguments, code=code).err

    return call


def write_vectors(path: Path) -> None:
    path.write_text("a 1 2 3\nb 4 5 6\nX -1 -2 -3\nnone 0 0 0\n")


def test_one_vocabulary_of_both_columns(tmp_path: Path, train: Train) -> None:
    train("--share_embeddings", "--share_decoder_embeddings", "--max_epochs", 1)
    loaded = load_model(tmp_path / "run" / "last", device="cpu")
    assert loaded.source is not None
    assert loaded.target is not None
    assert loaded.source.vocabulary.tokens == loaded.target.vocabulary.tokens
    assert set("abcdefX") <= set(loaded.source.vocabulary.tokens)
    names = [name for name in loaded.model.parameters() if "embedding" in name or "output" in name]
    assert names == ["decoder.embedding.weight", "decoder.output.bias"]


def test_one_vocabulary_from_the_cache(tmp_path: Path, train: Train) -> None:
    train("--share_embeddings", "--max_epochs", 1, "--cache")
    vocabulary = (tmp_path / "run" / "last" / "source_vocabulary.json").read_text()
    assert vocabulary == (tmp_path / "run" / "last" / "target_vocabulary.json").read_text()
    assert "X" in json.loads(vocabulary)
    train("--max_epochs", 1, "--cache", "--overwrite")  # the same file's two vocabularies are others
    assert "X" not in json.loads((tmp_path / "run" / "last" / "source_vocabulary.json").read_text())


@pytest.mark.parametrize(
    "flags",
    [
        ("--target_tokenizer", "char"),
        ("--tgt_vocab_size", 9),
        ("--tgt_words_min_frequency", 2),
        ("--src_vocab_size", 9, "--tgt_vocab_size", 8),
    ],
)
def test_one_vocabulary_is_made_in_one_way(train: Train, flags: tuple[object, ...]) -> None:
    said = train("--share_embeddings", *flags, code=2)
    assert "--share_embeddings is for one vocabulary" in said
    assert str(flags[-2]) in said


def test_vectors_are_kept(tmp_path: Path, train: Train) -> None:
    """Frozen, they are still there when the run has been taken up without their file."""
    write_vectors(tmp_path / "v.txt")
    flags = ("--pre_word_vecs_enc", tmp_path / "v.txt", "--freeze_word_vecs_enc")
    said = train(*flags, "--pre_word_vecs_dec", tmp_path / "v.txt", "--max_epochs", 1)
    assert "vectors of 2 of the encoder's" in said
    assert "vectors of 3 of the decoder's" in said
    (tmp_path / "v.txt").unlink()
    train("--resume", "--max_epochs", 3)
    loaded = load_model(tmp_path / "run" / "last", device="cpu")
    assert loaded.source is not None
    assert loaded.target is not None
    weights = loaded.model.parameters()
    rows = [loaded.source.vocabulary.tokens.index(token) for token in "ab"]
    assert weights["encoder.embedding.weight"][rows].tolist() == [[1, 2, 3], [4, 5, 6]]
    moved = weights["decoder.embedding.weight"][loaded.target.vocabulary.tokens.index("X")]
    assert 0 < np.abs(moved - np.array([-1, -2, -3])).max() < 0.5  # from where it began


def test_vectors_that_do_not_fit(tmp_path: Path, train: Train) -> None:
    (tmp_path / "v.txt").write_text("a 1 2\n")
    said = train("--pre_word_vecs_enc", tmp_path / "v.txt", "--max_epochs", 1, code=2)
    assert "v.txt, line 1: expected vectors of 3 numbers, got 2" in said


def test_deep_options_reach_the_network(tmp_path: Path, train: Train) -> None:
    flags = ["--layers", 2, "--residual", "--layer_norm", "--word_dropout", 0.1]
    train(*flags, "--zoneout_hidden", 0.05, "--zoneout_cell", 0.5, "--max_epochs", 1)
    config = load_model(tmp_path / "run" / "last", device="cpu").model.config
    assert (config.residual, config.layer_norm, config.word_dropout) == (True, True, 0.1)
    assert (config.zoneout_hidden, config.zoneout_cell, config.source_unk_id) == (0.05, 0.5, 3)


def test_a_model_of_one_embedding_has_one_vocabulary(tmp_path: Path) -> None:
    model = Seq2Seq(Seq2SeqConfig(source_vocab_size=5, target_vocab_size=5, share_embeddings=True))
    fields = [TextField(CharTokenizer(), Vocabulary.build({letter: 1})) for letter in "ab"]
    save_model(tmp_path / "same", model, source=fields[0], target=fields[0])
    with pytest.raises(ValueError, match="share_embeddings"):
        save_model(tmp_path / "other", model, source=fields[0], target=fields[1])
