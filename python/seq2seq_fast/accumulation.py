"""Gradient accumulation: several batches make one update, as one large batch would."""

from __future__ import annotations

from typing import Any

from seq2seq_fast.device import copy_into, copy_of
from seq2seq_fast.ops import average_


class GradientMean:
    """The mean of batches' gradients, each weighted by its tokens: that of their losses' sum / all tokens.

    It is kept as a running mean, where the gradients lie; the buffer is made when first needed.
    """

    def __init__(self) -> None:
        self._mean: Any = None
        self._tokens = 0

    def begin(self) -> None:
        """Forget the batches so far."""
        self._tokens = 0

    def add(self, gradients: Any, tokens: int) -> None:
        """Take note of the gradients [P] of one batch's loss / tokens."""
        if self._mean is None:
            self._mean = copy_of(gradients)
        elif not self._tokens:
            copy_into(self._mean, gradients)
        else:
            average_(self._mean, gradients, tokens / (self._tokens + tokens))
        self._tokens += tokens

    @property
    def value(self) -> Any:
        """[P], to work on in place."""
        return self._mean
