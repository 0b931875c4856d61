"""Embeddings that begin as given vectors."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Vocabulary
from seq2seq_fast.tensor_file import write_tensors
from seq2seq_fast.word_vectors import embedding_name, read_word_vectors, set_word_vectors

VOCABULARY = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", "the", "cat", "sat", "é"])
GLOVE = "the 0.5 -1 2e-1\nof 1 2 3\n. . . 7 8 9\né 0 0 1\nthe 9 9 9\n</s> 4 5 6\n"
FOUND = {4: [0.5, -1, 0.2], 7: [0, 0, 1], 2: [4, 5, 6]}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def as_dict(ids: np.ndarray, vectors: np.ndarray) -> dict[int, list[float]]:
    assert vectors.dtype == np.float32
    return dict(zip(ids.tolist(), vectors.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["glove", "word2vec", "trailing spaces", "gz"])
def test_text(tmp_path: Path, kind: str) -> None:
    text = {"word2vec": "6 3\n" + GLOVE, "trailing spaces": "6 3\n" + GLOVE.replace("\n", " \n")}.get(
        kind, GLOVE
    )
    path = write(tmp_path / "vectors.txt", text)
    if kind == "gz":
        path.write_bytes(gzip.compress(text.encode()))
    found = as_dict(*read_word_vectors(path, VOCABULARY, 3))
    assert found == {i: np.float32(v).tolist() for i, v in FOUND.items()}


def test_one_number_each(tmp_path: Path) -> None:
    """A first line of two words is a header only where both are integers."""
    assert as_dict(*read_word_vectors(write(tmp_path / "v", "the 0.25\ncat 3\n"), VOCABULARY, 1)) == {
        4: [0.25],
        5: [3],
    }


def test_matrices(tmp_path: Path, rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((8, 3))
    np.save(tmp_path / "v.npy", matrix)
    with open(tmp_path / "v.safetensors", "wb") as file:
        write_tensors(file, {"weight": matrix.astype(np.float16)}, {})
    for name, exact in (("v.npy", matrix), ("v.safetensors", matrix.astype(np.float16))):
        ids, vectors = read_word_vectors(tmp_path / name, VOCABULARY, 3)
        assert ids.tolist() == list(range(8))
        assert np.array_equal(vectors, exact.astype(np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2\ncat 1 2\n", "line 1: expected vectors of 3 numbers, got 2"),
        ("2 4\nthe 1 2 3 4\n", "line 1: expected vectors of 3 numbers, got 4"),
        ("the 1 2 3\ncat 1 2\n", "line 2: expected a token and 3 numbers, got 2"),
        ("the 1 2 3\ncat 1 x 2\n", "line 2: expected a token and 3 numbers"),
        ("the 1 2 3\ncat 1 nan 2\n", "line 2: expected finite numbers"),
        ("dog 1 2 3\n", "none of the vocabulary's 8 tokens"),
        ("", "none of the vocabulary's 8 tokens"),
    ],
)
def test_bad_text(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "vectors.txt", text)
    with pytest.raises(ValueError) as caught:
        read_word_vectors(path, VOCABULARY, 3)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_bad_matrices(tmp_path: Path) -> None:
    np.save(tmp_path / "shape.npy", np.ones((8, 4)))
    np.save(tmp_path / "dtype.npy", np.ones((8, 3), np.int64))
    np.save(tmp_path / "infinite.npy", np.full((8, 3), np.inf))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "shape.npy").read_bytes()[:90])
    (tmp_path / "zip.npy").write_bytes(b"PK\3\4" + bytes(30))
    with open(tmp_path / "two.safetensors", "wb") as file:
        write_tensors(file, {"a": np.ones((8, 3), np.float32), "b": np.ones(3, np.float32)}, {})
    for name in ("shape.npy", "dtype.npy", "infinite.npy", "cut.npy", "zip.npy", "two.safetensors"):
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            read_word_vectors(tmp_path / name, VOCABULARY, 3)
    for name in ("none.txt", "none.npy", "none.safetensors"):
        with pytest.raises(FileNotFoundError):
            read_word_vectors(tmp_path / name, VOCABULARY, 3)


def make(**options: int) -> Seq2Seq:
    return Seq2Seq(
        Seq2SeqConfig(
            target_vocab_size=8,
            target_embedding_dim=3,
            source_embedding_dim=3,
            **options,  # type: ignore[arg-type]
        ),
        seed=1,
    )


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("shared", [False, True])
def test_rows_are_set(tmp_path: Path, side: str, shared: bool) -> None:
    model = make(source_vocab_size=8, share_embeddings=shared)
    name = embedding_name(model, side)
    assert name == ("decoder" if shared else side) + ".embedding.weight"
    expected = {key: view.copy() for key, view in model.parameters().items()}
    for row, vector in FOUND.items():
        expected[name][row] = vector
    assert set_word_vectors(model, side, VOCABULARY, write(tmp_path / "v.txt", GLOVE)) == 3
    for key, view in model.parameters().items():
        assert np.array_equal(view, expected[key]), key


def test_bad_input(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", GLOVE)
    with pytest.raises(ValueError, match="source of tokens"):
        set_word_vectors(make(source_features=4), "encoder", VOCABULARY, path)
    with pytest.raises(ValueError, match="vocabulary of the encoder's 9 tokens, got 8"):
        set_word_vectors(make(source_vocab_size=9), "encoder", VOCABULARY, path)
    with pytest.raises(ValueError, match=r"side as one of encoder, decoder"):
        set_word_vectors(make(source_vocab_size=8), "source", VOCABULARY, path)
