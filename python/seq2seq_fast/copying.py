"""Text for models that copy: a source's tokens as the output may take them over.

Every place of a source has a copy id: the target vocabulary's id of its token, or, for the n-th of the
source's tokens that are not in it, the vocabulary's size + n (See et al. 2017). Outputs and targets of a
model that copies are such ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seq2seq_fast.text import TextField
from seq2seq_fast.vocab import Vocabulary

__all__ = ["CopySource", "TextSource", "text_source"]


@dataclass(frozen=True)
class CopySource:
    """What one source lets the output copy.

    Args:
        ids: the copy id of each place.
        extra: the source's tokens that are not in the target vocabulary, by the order of their ids.
    """

    ids: list[int]
    extra: tuple[str, ...]

    @classmethod
    def of(cls, tokens: Iterable[str], target: Vocabulary, *, eos: bool = False) -> CopySource:
        """Number a source's tokens; `eos`: the source ends with the end token, which is not among them."""
        extra: dict[str, int] = {}
        ids = [_known(token, target, extra, add=True) for token in tokens]
        if eos and target.eos_id is not None:
            ids.append(target.eos_id)
        return cls(ids, tuple(extra))

    def target_ids(self, tokens: Iterable[str], target: Vocabulary) -> list[int]:
        """Return the copy ids of a target's tokens: unk for one that neither vocabulary nor source has."""
        extra = {token: n for n, token in enumerate(self.extra)}
        return [_known(token, target, extra, add=False) for token in tokens]


def _known(token: str, target: Vocabulary, extra: dict[str, int], *, add: bool) -> int:
    """The copy id of a token; one that is spelt like a special token is outside the vocabulary."""
    if token in target:
        (known,) = target.encode([token])
        if known not in target.control_ids and known != target.unk_id:
            return known
    if token in extra:
        return len(target) + extra[token]
    if add:
        return len(target) + extra.setdefault(token, len(extra))
    if target.unk_id is None:
        raise ValueError("[copy] Expected a target vocabulary with an unk token, got one without.")
    return target.unk_id


@dataclass(frozen=True)
class TextSource:
    """One source as a model takes it."""

    ids: list[int]
    copy: CopySource | None
    """Where the model copies."""

    def target_ids(self, tokens: Iterable[str], target: TextField) -> list[int]:
        """Return the ids of a target of this source, without the end token."""
        if self.copy is not None:
            return self.copy.target_ids(tokens, target.vocabulary)
        return replace(target, eos=False).tokens_to_ids(tokens)

    @property
    def extra(self) -> Sequence[str]:
        """The tokens that ids beyond the target vocabulary stand for."""
        return () if self.copy is None else self.copy.extra


def text_source(tokens: Sequence[str], source: TextField, target: TextField, *, copies: bool) -> TextSource:
    """Make a source of tokens; without tokens it has no ids either, even where sources end with the end
    token."""
    if not tokens:
        return TextSource([], CopySource([], ()) if copies else None)
    ids = source.tokens_to_ids(tokens)
    return TextSource(ids, CopySource.of(tokens, target.vocabulary, eos=source.eos) if copies else None)
