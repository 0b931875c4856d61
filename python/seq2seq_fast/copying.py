"""Text for models that copy: a source's tokens as the output may take them over.

Every place of a source has a copy id: the target vocabulary's id of its token, or, for the n-th of the
source's tokens that are not in it, the vocabulary's size + n (See et al. 2017). Outputs and targets of a
model that copies are such ids.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    def of(cls, tokens: Sequence[str], target: Vocabulary, *, eos: bool = False) -> CopySource:
        """Number a source's tokens; one that is spelt like a special token is outside the vocabulary.

        Args:
            tokens: the source's.
            target: the target vocabulary.
            eos: the source ends with the end token, which is not among `tokens`.

        Raises:
            ValueError: a token is unknown, and the vocabulary has no unk token.
        """
        special = {*target.control_ids, target.unk_id}
        extra: dict[str, int] = {}
        ids = [
            len(target) + extra.setdefault(token, len(extra)) if known in special else known
            for token, known in zip(tokens, target.encode(tokens), strict=True)
        ]
        if eos and target.eos_id is not None:
            ids.append(target.eos_id)
        return cls(ids, tuple(extra))

    def target_ids(self, tokens: Sequence[str], target: Vocabulary) -> list[int]:
        """Return the copy ids of a target's tokens: unk for one that neither vocabulary nor source has.

        Raises:
            ValueError: a token is unknown, and the vocabulary has no unk token.
        """
        special = {*target.control_ids, target.unk_id}
        extra = {token: len(target) + n for n, token in enumerate(self.extra)}
        return [
            extra.get(token, -1 if target.unk_id is None else target.unk_id) if known in special else known
            for token, known in zip(tokens, target.encode(tokens), strict=True)
        ]


@dataclass(frozen=True)
class TextSource:
    """One source as a model takes it."""

    ids: list[int]
    copy: CopySource | None
    """Where the model copies."""

    def target_ids(self, tokens: Sequence[str], target: TextField) -> list[int]:
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
