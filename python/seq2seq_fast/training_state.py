"""What a training run carries from step to step, and the file that it writes its figures to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seq2seq_fast.schedule import Best


@dataclass
class Window:
    """Sums over the training steps since the last report."""

    loss: float = 0.0
    tokens: int = 0
    correct: int = 0
    seconds: float = 0.0


@dataclass
class TrainingState:
    """Where a run is. Plain numbers: with the parameters and the optimiser's state it is the whole run."""

    step: int = 0
    """Updates done."""
    epoch: int = 0
    """Epochs done."""
    position: int = 0
    """Batches done of the epoch that is under way."""
    tokens: int = 0
    """Target tokens trained on."""
    seconds: float = 0.0
    """Time spent, over all sittings. Decides nothing but when to stop."""
    validated: int = -1
    """The step of the last validation."""
    best_step: int | None = None
    """The step of the best validation."""
    best: Best = field(default_factory=Best)
    """The best validation, that of the model in the folder `best`."""
    stopping: Best = field(default_factory=Best)
    """The best of the regular validations. Unlike `best`, it knows nothing of a validation that was made only
    because the run ended, so that a run that is taken up again goes on as if it had not ended."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    metrics_bytes: int = 0
    """Length of the metrics file."""
    window: Window = field(default_factory=Window)

    def forget_validations(self) -> None:
        """Those to come are of other data, and not to be compared with those that were."""
        self.validated, self.best_step = -1, None
        self.best, self.stopping = Best(), Best()

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingState:
        """Undo `to_json`; raises ValueError if the values are none of a state."""
        try:
            parts = {
                "best": Best(**values["best"]),
                "stopping": Best(**values["stopping"]),
                "window": Window(**values["window"]),
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError) as error:
            raise ValueError(f"the training state is damaged ({error!r})") from error


class MetricsFile:
    """A file of JSON lines that only grows, until a run is taken up at an earlier step: then it is cut there.

    Args:
        path: the file; None: nothing is written.
        length: cut the file to so many bytes.
    """

    def __init__(self, path: Path | None, *, length: int = 0) -> None:
        self._file = None
        self.length = length
        if path is not None:
            # Unbuffered: a line that does not fit on the disk is an error now, and no part of it is written
            # later.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)
            self.length = min(length, self._file.seek(0, os.SEEK_END))
            self._file.truncate(self.length)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a line. A figure that is not finite is null: JSON has no such number."""
        if self._file is None:
            return
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        left = memoryview((json.dumps(finite, allow_nan=False) + "\n").encode())
        while left:
            written = self._file.write(left)
            self.length += written
            left = left[written:]

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
