"""What callers of a Translator give, as rows of arrays: tokens or ids as int32 [length], features as float32
[length, C]. `op` and `what` name the call and the argument in errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import as_list
from seq2seq_fast.copying import CopySource
from seq2seq_fast.text import TextField

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


def cut(one: Any, most: int) -> Any:
    return one[:most] if hasattr(one, "__getitem__") else list(one)[:most]


def token_row(op: str, what: str, tokens: Any, field: TextField | None, size: int) -> Ids:
    """Tokens or ids as int32 [length]; `what` names them in errors."""
    if isinstance(tokens, np.ndarray):
        return id_row(op, what, tokens, size)
    tokens = as_list(op, what, tokens)
    if not tokens:
        return np.zeros(0, np.int32)
    if not isinstance(tokens[0], str):
        return id_row(op, what, tokens, size)
    for position, token in enumerate(tokens):
        if not isinstance(token, str):
            kind = type(token).__name__
            raise TypeError(f"[{op}] Expected {what} of tokens only, got {kind} at position {position}.")
    if field is None:
        raise ValueError(f"[{op}] Expected {what} as ids: the model was saved without that vocabulary.")
    try:
        return np.array(field.tokens_to_ids(tokens), np.int32)
    except ValueError as error:
        raise ValueError(f"[{op}] In {what}: {error}") from None


def id_row(op: str, what: str, values: Any, size: int) -> Ids:
    """Ids below `size` as int32 [length]."""
    try:
        ids = np.asarray(values)
    except ValueError:
        raise ValueError(f"[{op}] Expected {what} of shape [length], got a list of lists.") from None
    if ids.ndim != 1:
        raise ValueError(f"[{op}] Expected {what} of shape [length], got {list(ids.shape)}.")
    if not len(ids):
        return np.zeros(0, np.int32)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"[{op}] Expected {what} as tokens or ids, got dtype {ids.dtype}.")
    wrong = (ids < 0) | (ids >= size)
    if wrong.any():
        position = int(wrong.argmax())
        raise ValueError(
            f"[{op}] Expected {what} of ids from 0 to {size - 1}, got {ids[position]} at position {position}."
        )
    return ids.astype(np.int32)


def feature_row(op: str, what: str, features: Any, width: int) -> Floats:
    """Features as float32 [S, C]."""
    if not isinstance(features, np.ndarray) or features.dtype != np.float32:
        kind = features.dtype if isinstance(features, np.ndarray) else type(features).__name__
        raise TypeError(f"[{op}] Expected {what} as float32 [length, {width}], got {kind}.")
    if features.ndim != 2 or features.shape[1] != width:
        raise ValueError(f"[{op}] Expected {what} of shape [length, {width}], got {list(features.shape)}.")
    if not np.isfinite(features).all():
        raise ValueError(f"[{op}] Expected {what} to be finite, got NaN or infinity.")
    return features


def joined_copies(copied: Sequence[CopySource]) -> Ids:
    return np.concatenate([np.asarray(one.ids, np.int32) for one in copied])


def joined(rows: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], Ids]:
    """The rows one after the other, and their lengths."""
    lengths = np.array([len(row) for row in rows], np.int32)
    return rows[0] if len(rows) == 1 else np.concatenate(rows), lengths
