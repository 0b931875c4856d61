"""How often the decoder is fed its own words in training.

Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks".
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from seq2seq_fast.arguments import choice, number

TYPES = ("constant", "linear", "exponential", "inverse_sigmoid")


@dataclass(frozen=True)
class ScheduledSampling:
    """The probability that a true token is read falls with the number i of the update (from 0).

        constant            read_probability
        linear              1 - k i
        exponential         k ** i
        inverse_sigmoid     k / (k + exp(i / k))

    and no lower than `read_probability`. Names are OpenNMT-tf's, formulas those of the paper's section 2.4.

    Args:
        type: one of these.
        k: for all but constant: linear: above 0; exponential: above 0, below 1; inverse_sigmoid: at least 1.
        read_probability: 0 to 1.

    Raises:
        ValueError, TypeError: naming the argument that is wrong.
    """

    type: str
    k: float | None = None
    read_probability: float = 0.0

    def __post_init__(self) -> None:
        op = "scheduled_sampling"
        choice(op, "type", self.type, TYPES)
        read = number(op, "read_probability", self.read_probability, 0.0, 1.0)
        object.__setattr__(self, "read_probability", read)
        if self.type == "constant":
            if self.k is not None:
                raise ValueError(f"[{op}] Expected no k for constant, got {self.k}.")
            return
        if self.k is None:
            raise ValueError(f"[{op}] Expected k for {self.type}, got none.")
        k = number(op, "k", self.k)
        object.__setattr__(self, "k", k)
        right, wanted = {
            "linear": (k > 0, "above 0"),
            "exponential": (0 < k < 1, "above 0 and below 1"),
            "inverse_sigmoid": (k >= 1, "of at least 1"),
        }[self.type]
        if not right:
            raise ValueError(f"[{op}] Expected k {wanted} for {self.type}, got {k:g}.")

    def probability(self, update: int) -> float:
        """Return the probability that the decoder is fed a token of its own at an update."""
        k = self.k or 0.0
        if self.type == "linear":
            read = 1.0 - k * update
        elif self.type == "exponential":
            read = k**update
        elif self.type == "inverse_sigmoid":
            read = k / (k + math.exp(min(update / k, 700.0)))
        else:
            read = 0.0
        return 1.0 - max(read, self.read_probability)

    def settings(self) -> dict[str, Any]:
        """Return the arguments, for JSON."""
        return asdict(self)
