"""EncoderStream: a sequence that is encoded while it comes in.

stream = model.stream()              # of a model with bidirectional=False
for chunk in recording:              # float32 [frames, features], as long or short as it comes
    states = stream.push(chunk)
stream.finish()
(hypotheses,) = stream.generate(beam_size=5)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast._native import Hypothesis
from seq2seq_fast.arguments import integer
from seq2seq_fast.device import Ids
from seq2seq_fast.model import EncoderState, Seq2Seq
from seq2seq_fast.search import native_options

Floats = NDArray[np.float32]


class EncoderStream:
    """One source on its way through an encoder in one direction. What comes out has the bits of encoding the
    whole source at once, however it is cut. Not for two threads at a time.

    Args:
        model: with `bidirectional=False`, and without `copy_attention`. The stream has its weights of now.

    Raises:
        ValueError: it is not such a model.
    """

    def __init__(self, model: Seq2Seq) -> None:
        if not isinstance(model, Seq2Seq):
            raise TypeError(f"[EncoderStream] Expected model as a Seq2Seq, got {type(model).__name__}.")
        self._native = _native.EncoderStream(model.native)
        self._vocab_size = model.config.target_vocab_size
        self._given = 0

    def push(self, values: Floats | Ids) -> Floats:
        """Read on.

        Args:
            values: what comes next, ids [s] or features [s, C], of any length.

        Returns:
            float32 [s', M]: the states of the memory that are known now and were not before. Convolutions and
            pyramids wait until they have all that a state is made of.

        Raises:
            ValueError, TypeError: values are not the model's; or the stream has ended.
        """
        states = self._native.push(values)
        self._given += len(states)
        return states

    def finish(self) -> Floats:
        """End the sequence: the last states [s', M]. It needs a step at least."""
        states = self._native.finish()
        self._given += len(states)
        return states

    def encode(self, max_rows: int = 1) -> EncoderState:
        """Return the encoded sequence for `decoder.step`, as `Seq2Seq.encode` does; after `finish`."""
        rows = integer("EncoderStream", "max_rows", max_rows, 1, 2**31 - 1)
        return EncoderState(self._native.encode(rows), np.array([self._given], np.int32))

    def generate(self, **options: Any) -> list[list[Hypothesis]]:
        """Search for the best outputs, as `Seq2Seq.generate` does with the options of `SearchOptions`; after
        `finish`."""
        return self._native.generate(native_options(options, self._vocab_size))
