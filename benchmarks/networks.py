"""The two networks that training and decoding are timed on, the same parameters on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seq2seq_fast import Seq2Seq, Seq2SeqConfig

from .torch_peer import TorchSeq2Seq

LENGTH = 20  # tokens a side
FIRST_TOKEN = 4  # after <pad>, <bos>, <eos>, <unk>
RNG_SEED = 1


@dataclass(frozen=True)
class Size:
    vocabulary: int
    hidden: int

    @property
    def name(self) -> str:
        return f"V {self.vocabulary}, H {self.hidden}"

    @property
    def config(self) -> Seq2SeqConfig:
        """A bidirectional encoder of H/2 a direction, so that the memory is as wide as the decoder."""
        return Seq2SeqConfig(
            source_vocab_size=self.vocabulary,
            target_vocab_size=self.vocabulary,
            source_embedding_dim=self.hidden,
            target_embedding_dim=self.hidden,
            encoder_hidden=self.hidden // 2,
            decoder_hidden=self.hidden,
        )


SMALL = Size(vocabulary=80, hidden=256)
LARGE = Size(vocabulary=8000, hidden=512)


def both(config: Seq2SeqConfig) -> tuple[Seq2Seq, TorchSeq2Seq]:
    """Fresh networks with the same weights."""
    ours = Seq2Seq(config, seed=RNG_SEED)
    peer = TorchSeq2Seq(config)
    peer.load(ours.parameters())
    return ours, peer


def tokens(vocabulary: int, rows: int, seed: int, length: int = LENGTH) -> np.ndarray:
    """int32 [rows, length] of ordinary tokens."""
    rng = np.random.default_rng(seed)
    return rng.integers(FIRST_TOKEN, vocabulary, (rows, length), dtype=np.int32)


def words(vocabulary: int, rows: int, seed: int, length: int = LENGTH) -> np.ndarray:
    """The same, as frequent as Zipf's law has the words of a text: each in inverse proportion to its rank."""
    frequencies = 1 / np.arange(1, vocabulary - FIRST_TOKEN + 1)
    drawn = np.random.default_rng(seed).choice(
        len(frequencies), (rows, length), p=frequencies / frequencies.sum()
    )
    return (FIRST_TOKEN + drawn).astype(np.int32)
