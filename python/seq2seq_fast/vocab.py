"""Vocabularies: the tokens of one side of the data, each token's place in the list being its id."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from seq2seq_fast.atomic import write_bytes


@dataclass(frozen=True)
class SpecialTokens:
    """The spellings of the tokens that have a meaning of their own; None: this vocabulary has no such token.

    Their ids are wherever the list of tokens has them; a vocabulary that is built here begins with them in
    this order.
    """

    pad: str | None = "<pad>"
    bos: str | None = "<s>"
    eos: str | None = "</s>"
    unk: str | None = "<unk>"

    def settings(self) -> dict[str, str | None]:
        """Return them as a dict for JSON."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Any) -> SpecialTokens:
        """Undo `settings`; raises ValueError naming the field that is wrong."""
        if not isinstance(settings, Mapping):
            raise ValueError(f"expected an object, got {settings!r}.")
        known = [field.name for field in fields(cls)]
        for name, token in settings.items():
            if name not in known:
                raise ValueError(f"unknown field {name!r}; expected {', '.join(known)}.")
            if not (token is None or (isinstance(token, str) and token)):
                raise ValueError(f"field {name!r}: expected a token or null, got {token!r}.")
        return cls(**settings)


class Vocabulary:
    """A list of distinct tokens; a token's id is its place in the list.

    Args:
        tokens: all tokens, the special ones among them.
        specials: the spellings of the special tokens.

    Raises:
        ValueError: a token occurs twice, is empty, or a special token is not in the list.
        TypeError: a token is not a string.
    """

    def __init__(self, tokens: Iterable[str], *, specials: SpecialTokens | None = None) -> None:
        self.specials = specials or SpecialTokens()
        self.tokens: tuple[str, ...] = tuple(tokens)
        self._ids: dict[str, int] = {}
        for position, token in enumerate(self.tokens):
            if not isinstance(token, str):
                raise TypeError(f"[vocabulary] Token {position}: expected a string, got {token!r}.")
            if not token:
                raise ValueError(f"[vocabulary] Token {position} is empty.")
            first = self._ids.setdefault(token, position)
            if first != position:
                raise ValueError(f"[vocabulary] Token {token!r} occurs twice, at {first} and {position}.")
        self.pad_id = self._special("pad")
        self.bos_id = self._special("bos")
        self.eos_id = self._special("eos")
        self.unk_id = self._special("unk")
        # Ids that stand for something else than a piece of text. An unknown token does stand for a piece of
        # text.
        self.control_ids = frozenset(i for i in (self.pad_id, self.bos_id, self.eos_id) if i is not None)

    def _special(self, name: str) -> int | None:
        token = getattr(self.specials, name)
        if token is None:
            return None
        if token not in self._ids:
            raise ValueError(
                f"[vocabulary] The {name} token {token!r} is not among the {len(self.tokens)} tokens."
            )
        return self._ids[token]

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        min_frequency: int = 1,
        max_size: int | None = None,
        specials: SpecialTokens | None = None,
    ) -> Vocabulary:
        """Make a vocabulary of counted tokens: special ones, then by falling count, ties in code point order.

        Args:
            counts: how often each token occurs.
            min_frequency: leave out tokens that occur less often.
            max_size: the most tokens to have, special ones included; None: as many as there are.
            specials: the spellings of the special tokens.
        """
        specials = specials or SpecialTokens()
        first = list(dict.fromkeys(token for token in specials.settings().values() if token is not None))
        if max_size is not None and max_size < len(first):
            raise ValueError(f"[vocabulary] Expected max_size of at least {len(first)}, got {max_size}.")
        kept = [t for t, count in counts.items() if count >= min_frequency and t not in first]
        kept.sort(key=lambda token: (-counts[token], token))
        tokens = first + kept
        return cls(tokens if max_size is None else tokens[:max_size], specials=specials)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.tokens == other.tokens and self.specials == other.specials

    def __hash__(self) -> int:
        return hash((self.tokens, self.specials))

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens)"

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens; one that is not in the vocabulary becomes unk.

        Raises:
            ValueError: a token is unknown, and this vocabulary has no unk token.
        """
        ids = self._ids
        if self.unk_id is not None:
            unk = self.unk_id
            return [ids.get(token, unk) for token in tokens]
        try:
            return [ids[token] for token in tokens]
        except KeyError as error:
            raise ValueError(
                f"[vocabulary] Token {error.args[0]!r} is not in the vocabulary, which has no unk token."
            ) from None

    def decode(
        self, ids: Iterable[int], *, skip_special_tokens: bool = False, extra: Sequence[str] = ()
    ) -> list[str]:
        """Return the tokens of ids.

        Args:
            ids: places in the vocabulary, or beyond it in `extra`.
            skip_special_tokens: leave out pad, bos and eos (but not unk).
            extra: what ids from the vocabulary's size on stand for (see `copying`).

        Raises:
            ValueError: an id is out of range.
        """
        tokens = []
        size = len(self.tokens)
        for i in ids:
            if not 0 <= i < size + len(extra):
                raise ValueError(f"[vocabulary] Expected ids from 0 to {size + len(extra) - 1}, got {i}.")
            if i >= size:
                tokens.append(extra[i - size])
            elif not (skip_special_tokens and i in self.control_ids):
                tokens.append(self.tokens[i])
        return tokens

    def to_bytes(self) -> bytes:
        """Return the content of the vocabulary's file: a JSON list, a token on each line."""
        lines = ",\n".join(json.dumps(token, ensure_ascii=False) for token in self.tokens)
        return f"[\n{lines}\n]\n".encode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokens as a JSON list, atomically. The special tokens' spellings are not in it."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, specials: SpecialTokens | None = None) -> Vocabulary:
        """Read a vocabulary's file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a JSON list of distinct strings, or a special token is not in it.
        """
        file = Path(path)
        try:
            tokens = json.loads(file.read_bytes().decode("utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{file}: no such file.") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}: expected a JSON list of tokens ({error}).") from error
        if not isinstance(tokens, list):
            raise ValueError(f"{file}: expected a JSON list of tokens, got {type(tokens).__name__}.")
        try:
            return cls(tokens, specials=specials)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from None
