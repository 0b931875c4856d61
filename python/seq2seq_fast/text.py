"""One text side of a model: the tokeniser and the vocabulary that turn lines into ids and ids into lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seq2seq_fast.tokenizers import Tokenizer
from seq2seq_fast.vocab import Vocabulary


@dataclass(frozen=True)
class TextField:
    """What stands between text and ids on one side (source or target).

    Args:
        tokenizer: cuts lines into tokens.
        vocabulary: numbers the tokens.
        eos: append the end token to a source. A target always ends with it, whatever this says.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    eos: bool = False

    def __post_init__(self) -> None:
        if self.eos and self.vocabulary.eos_id is None:
            raise ValueError("[text] Expected a vocabulary with an eos token, as eos is on; got one without.")

    def tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of a text's tokens. A token spelt like pad, bos or eos is no control token: unk."""
        vocabulary = self.vocabulary
        ids = vocabulary.encode(tokens)
        control = vocabulary.control_ids
        if not control.isdisjoint(ids):
            if vocabulary.unk_id is None:
                raise ValueError(
                    "[text] The text holds a special token, and the vocabulary has no unk token."
                )
            ids = [vocabulary.unk_id if i in control else i for i in ids]
        if self.eos and vocabulary.eos_id is not None:
            ids.append(vocabulary.eos_id)
        return ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a line of text, with the end token if `eos` is on."""
        return self.tokens_to_ids(self.tokenizer.tokenize(text))

    def decode(self, ids: Sequence[int], extra: Sequence[str] = ()) -> str:
        """Return the text of ids; pad, bos and eos are left out. `extra`: as `Vocabulary.decode` has it."""
        tokens = self.vocabulary.decode(ids, skip_special_tokens=True, extra=extra)
        return self.tokenizer.detokenize(tokens)
