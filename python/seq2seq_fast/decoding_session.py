"""A decoder that its caller leads: a token at a time, to be forked, saved and restored at any of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import as_list

if TYPE_CHECKING:
    from seq2seq_fast import _native
    from seq2seq_fast.text import TextField

__all__ = ["DecodingSession", "SessionModel"]

MAGIC = b"seq2seq_fast session\n"
FORMAT = 1
DIGEST = 32  # bytes of SHA-256, at the end

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class SessionModel:
    """What a session is to know of its translator."""

    bos_id: int
    vocab_size: int
    target: TextField | None
    fingerprint: dict[str, str]
    """What another process's model must be equal in."""


@dataclass(frozen=True)
class SessionSource:
    """What was encoded."""

    source: NDArray[Any]
    """The sources one after the other: ids, or features [sum S, C]."""
    lengths: Ids
    copies: Ids | None
    extra: list[list[str]]
    """Of each source the tokens that only it has, where the model copies."""


class DecodingSession:
    """Rows of decoder state, each some tokens further than a source. Made by `Translator.start` and
    `Translator.restore`.

    One thread at a time. A session outlives its translator's `close`.
    """

    def __init__(
        self,
        session: _native.Session,
        model: SessionModel,
        source: SessionSource,
        tokens: list[list[int]],
        sources: list[int],
    ) -> None:
        self._session = session
        self._model = model
        self._source = source
        self.tokens = tokens
        """Of each row the ids so far, without the start token."""
        self.sources = sources
        """Of each row which source it belongs to."""

    @classmethod
    def begin(cls, session: _native.Session, model: SessionModel, source: SessionSource) -> DecodingSession:
        """Return a session with a row for each source, that has taken the start token."""
        rows = np.arange(len(source.lengths), dtype=np.int32)
        session.step(rows, np.full(len(rows), model.bos_id, np.int32))
        return cls(session, model, source, [[] for _ in rows], rows.tolist())

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.tokens)

    @property
    def log_probs(self) -> Floats:
        """float32 [rows, V]: what may follow each row; of a model that copies, of copy ids."""
        found = self._session.log_probs()
        assert found is not None  # the start token has been taken
        return found

    @property
    def attention(self) -> Floats | None:
        """float32 [rows, longest source]: the weights with which log_probs were made; None without
        attention."""
        return self._session.attention()

    def step(self, tokens: Any, parents: Any = None) -> Floats:
        """Take a token in each row.

        Args:
            tokens: one for each new row, as tokens or ids; of a session that has one row, the token itself,
                too.
            parents: the row that each new row continues; None: row by row the same. So rows may be dropped,
                doubled and reordered, and there may be any number of them.

        Returns:
            `log_probs` behind them.

        Raises:
            ValueError, TypeError: an argument; the message names it.
            RuntimeError: another thread's call is under way.
        """
        if isinstance(tokens, str | int | np.integer):
            tokens = [tokens]
        tokens = as_list("step", "tokens", tokens)
        if parents is None:
            parents = np.arange(len(self), dtype=np.int32)
        elif not isinstance(parents, np.ndarray):
            parents = np.asarray(as_list("step", "parents", parents))
        if parents.size == 0:
            raise ValueError("[step] Expected parents of at least one row, got none.")
        if parents.ndim != 1 or parents.dtype.kind not in "iu":
            raise TypeError(f"[step] Expected parents as integers, got dtype {parents.dtype}.")
        if len(tokens) != len(parents):
            raise ValueError(f"[step] Expected tokens for {len(parents)} rows, got {len(tokens)}.")
        outside = (parents < 0) | (parents >= len(self))
        if outside.any():
            raise ValueError(f"[step] Expected parents from 0 to {len(self) - 1}, got {parents[outside][0]}.")
        sources = [self.sources[parent] for parent in parents]
        ids = [self._id(token, source) for token, source in zip(tokens, sources, strict=True)]
        found = self._session.step(parents.astype(np.int32), np.array(ids, np.int32))
        self.tokens = [[*self.tokens[parent], i] for parent, i in zip(parents, ids, strict=True)]
        self.sources = sources
        return found

    def _id(self, token: Any, source: int) -> int:
        extra = self._source.extra[source] if self._source.extra else []
        if isinstance(token, str):
            if self._model.target is None:
                raise ValueError("[step] Expected tokens as ids: the model was saved without a vocabulary.")
            vocabulary = self._model.target.vocabulary
            if token in vocabulary:
                return vocabulary.encode([token])[0]
            if token in extra:
                return self._model.vocab_size + extra.index(token)
            raise ValueError(f"[step] Expected tokens of the target vocabulary, got {token!r}.")
        if isinstance(token, bool | np.bool_) or not isinstance(token, int | np.integer):
            raise TypeError(f"[step] Expected tokens as strings or ids, got {type(token).__name__}.")
        most = self._model.vocab_size + len(extra)
        if not 0 <= token < most:
            raise ValueError(f"[step] Expected tokens as ids from 0 to {most - 1}, got {token}.")
        return int(token)

    def fork(self) -> DecodingSession:
        """Return another session at the same point; each goes its own way from here."""
        return DecodingSession(
            self._session.fork(),
            self._model,
            self._source,
            [list(row) for row in self.tokens],
            list(self.sources),
        )

    def save(self) -> bytes:
        """Return all that `Translator.restore` needs: from it every later log-probability has the same bits,
        in another process, too, on a processor with the same instruction set."""
        arrays: list[tuple[str, NDArray[Any]]] = [
            ("source", self._source.source),
            ("source_lengths", self._source.lengths),
        ]
        if self._source.copies is not None:
            arrays.append(("copies", self._source.copies))
        arrays += [(f"state.{name}", np.asarray(values)) for name, values in self._session.state()]
        header = {
            "format": FORMAT,
            "model": self._model.fingerprint,
            "arrays": [[name, values.dtype.str, list(values.shape)] for name, values in arrays],
            "tokens": self.tokens,
            "extra": self._source.extra,
        }
        text = json.dumps(header, ensure_ascii=False).encode()
        parts = [MAGIC, len(text).to_bytes(8, "little"), text]
        parts += [np.ascontiguousarray(values).tobytes() for _, values in arrays]
        saved = b"".join(parts)
        return saved + hashlib.sha256(saved).digest()


def restored(saved: bytes, native: _native.Translator, model: SessionModel) -> DecodingSession:
    """Return the session of these bytes; `Translator.restore` says what is raised."""
    header, arrays = _read(saved)
    for what, value in model.fingerprint.items():
        found = header["model"].get(what)
        if found != value:
            raise ValueError(f"[restore] Expected a session of this model: its {what} is another.")
    source = SessionSource(arrays["source"], arrays["source_lengths"], arrays.get("copies"), header["extra"])
    session = native.start(source.source, source.lengths, source.copies)
    state = [
        (name.removeprefix("state."), values) for name, values in arrays.items() if name.startswith("state.")
    ]
    session.restore(state)
    rows: Sequence[int] = arrays["state.example"].tolist()
    return DecodingSession(session, model, source, header["tokens"], list(rows))


def _read(saved: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays, once it is certain that all bytes are there and as they were."""
    if not isinstance(saved, bytes | bytearray | memoryview):
        raise TypeError(f"[restore] Expected saved as bytes, got {type(saved).__name__}.")
    saved = bytes(saved)
    if not saved.startswith(MAGIC):
        raise ValueError("[restore] Expected the bytes of a session, got others.")
    content, digest = saved[:-DIGEST], saved[-DIGEST:]
    if len(saved) < len(MAGIC) + 8 + DIGEST or hashlib.sha256(content).digest() != digest:
        raise ValueError("[restore] Expected the bytes of a session as they were; these are cut or altered.")
    begin = len(MAGIC) + 8
    end = begin + int.from_bytes(content[len(MAGIC) : begin], "little")
    header = json.loads(content[begin:end])
    if header["format"] > FORMAT:
        raise ValueError(
            f"[restore] Expected a session of format {FORMAT}, got {header['format']}: a newer version of "
            "seq2seq_fast is needed."
        )
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape))
        kind = np.dtype(dtype)
        arrays[name] = np.frombuffer(content, kind, count, end).reshape(shape).copy()
        end += count * kind.itemsize
    return header, arrays
