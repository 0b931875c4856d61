"""What a translator has done: counts and time."""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["Counters", "ExecutionStats"]


@dataclass(frozen=True)
class ExecutionStats:
    """Of a file or of all calls so far. Names are CTranslate2's."""

    num_tokens: int
    """Tokens of the best outputs, or of the targets that were scored."""
    num_examples: int
    """Sources."""
    total_time_in_ms: float
    """From begin to end; of calls that ran side by side the sum."""


class Counters:
    """Sums that any number of threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = self._examples = 0
        self._seconds = 0.0

    def add(self, *, tokens: int, examples: int, seconds: float) -> None:
        """Add a call."""
        with self._lock:
            self._tokens += tokens
            self._examples += examples
            self._seconds += seconds

    def read(self) -> ExecutionStats:
        """Return the sums so far."""
        with self._lock:
            return ExecutionStats(self._tokens, self._examples, self._seconds * 1000)
