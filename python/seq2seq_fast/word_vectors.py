"""Embeddings that begin as given vectors: word2vec's and GloVe's text files, .npy or .safetensors.

found = set_word_vectors(model, "encoder", vocabulary, "glove.6B.300d.txt")
model.freeze("encoder.embedding.weight")  # if they shall stay as they are
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seq2seq_fast.arguments import choice
from seq2seq_fast.device import to_host
from seq2seq_fast.npy import array_of_file
from seq2seq_fast.tensor_file import TensorFile
from seq2seq_fast.tsv import StrPath, read_lines

if TYPE_CHECKING:
    from seq2seq_fast.model import Seq2Seq
    from seq2seq_fast.vocab import Vocabulary

Floats = npt.NDArray[np.float32]

SIDES = ("encoder", "decoder")


def set_word_vectors(model: Seq2Seq, side: str, vocabulary: Vocabulary, path: StrPath) -> int:
    """Set rows of an embedding to the vectors of a file; tokens that it does not have keep theirs.

    Args:
        model: a model of tokens on that side.
        side: "encoder" or "decoder". Of a model that shares its embeddings both are the same matrix.
        vocabulary: of that side.
        path: see `read_word_vectors`.

    Returns:
        How many tokens got a vector.

    Raises:
        ValueError, FileNotFoundError: as `read_word_vectors`; or the vocabulary is not that of the model.
    """
    name = embedding_name(model, side)
    rows, width = model.parameters()[name].shape
    if len(vocabulary) != rows:
        raise ValueError(
            f"[set_word_vectors] Expected vocabulary of the {side}'s {rows} tokens, got {len(vocabulary)}."
        )
    ids, vectors = read_word_vectors(path, vocabulary, width)
    weight = np.array(to_host(model.parameters()[name]))
    weight[ids] = vectors
    model.native.load_parameter(name, weight)
    return len(ids)


def embedding_name(model: Seq2Seq, side: str) -> str:
    """Return the name of the parameter that embeds the tokens of a side, "encoder" or "decoder"."""
    choice("embedding_name", "side", side, SIDES)
    if side == "encoder" and not model.config.source_vocab_size:
        raise ValueError("[embedding_name] Expected a source of tokens, the model's has features.")
    shared = model.config.share_embeddings
    return "decoder.embedding.weight" if shared else f"{side}.embedding.weight"


def read_word_vectors(
    path: StrPath, vocabulary: Vocabulary, width: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Read the vectors of a vocabulary's tokens.

    Args:
        path: text, plain or compressed (gzip, xz), a line for each token: the token and its numbers, spaces
            between them; of word2vec and fastText after a line of two integers, how many tokens and numbers
            there are. Of a token that comes twice the first counts. Or .npy, or .safetensors with one
            tensor: a matrix with a row for each token of the vocabulary, in its order.
        vocabulary: the tokens.
        width: how many numbers a vector has to have.

    Returns:
        ids int64 [n] of the tokens found, and float32 [n, width].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming the file, and the line, of what is wrong; or none of the tokens is there.
    """
    suffix = Path(path).suffix
    if suffix in (".npy", ".safetensors"):
        matrix = _npy(path) if suffix == ".npy" else _safetensors(path)
        if matrix.shape != (len(vocabulary), width) or matrix.dtype.kind != "f":
            raise ValueError(
                f"{os.fspath(path)}: expected floats [{len(vocabulary)}, {width}], "
                f"got {matrix.dtype} {list(matrix.shape)}."
            )
        vectors = np.asarray(matrix, np.float32)
        if not np.isfinite(vectors).all():
            raise ValueError(f"{os.fspath(path)}: expected finite numbers.")
        return np.arange(len(vocabulary)), vectors
    return _text(path, vocabulary, width)


def _text(path: StrPath, vocabulary: Vocabulary, width: int) -> tuple[npt.NDArray[np.int64], Floats]:
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    found: dict[int, Floats] = {}
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{os.fspath(path)}, line {number}"
        line = line.rstrip(" ")
        if number == 1:
            fields = line.split(" ")
            header = len(fields) == 2 and all(field.isdecimal() for field in fields)
            size = int(fields[1]) if header else len(fields) - 1
            if size != width:
                raise ValueError(f"{where}: expected vectors of {width} numbers, got {size}.")
            if header:
                continue
        # Most lines are of no use, and looking at their beginning is enough. A token may hold spaces.
        if line.partition(" ")[0] not in ids:
            continue
        token, *numbers = line.rsplit(" ", width)
        if len(numbers) != width:
            raise ValueError(f"{where}: expected a token and {width} numbers, got {len(numbers)}.")
        place = ids.get(token)
        if place is None or place in found:
            continue
        try:
            vector = np.array(numbers, np.float32)
        except ValueError as error:
            raise ValueError(f"{where}: expected a token and {width} numbers ({error}).") from None
        if not np.isfinite(vector).all():
            raise ValueError(f"{where}: expected finite numbers.")
        found[place] = vector
    if not found:
        raise ValueError(f"{os.fspath(path)}: none of the vocabulary's {len(vocabulary)} tokens is there.")
    return np.array(list(found), np.int64), np.stack(list(found.values()))


def _npy(path: StrPath) -> npt.NDArray[Any]:
    with open(path, "rb") as file:
        return array_of_file(Path(path), file)


def _safetensors(path: StrPath) -> npt.NDArray[Any]:
    with TensorFile(path) as file:
        if len(file.specs) != 1:
            raise ValueError(f"{os.fspath(path)}: expected one tensor, got {len(file.specs)}.")
        (name,) = file.specs
        return file.read(name)
