"""Curves of a training run for TensorBoard, beside `metrics.jsonl`. Needs the extra `tensorboard`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Board"]


class Board:
    """Writes the numbers of each report and validation as scalars train/loss, valid/word_error_rate, ...

    Args:
        folder: where the event files go; None: nothing is written. Runs side by side in folders of one parent
            are compared by `tensorboard --logdir PARENT`.
        step: the step at which the run is taken up; what an earlier sitting wrote after it is hidden.

    Raises:
        ModuleNotFoundError: the package tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, *, step: int = 0) -> None:
        self._writer = None
        if folder is not None:
            # Its files are named by the second; two sittings of one second must not share one.
            suffix = f".{os.getpid()}.{step}"
            self._writer = _writer_class()(str(Path(folder)), purge_step=step + 1, filename_suffix=suffix)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line of `metrics.jsonl`: its numbers, at its step."""
        if self._writer is None:
            return
        for name, value in record.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and name not in ("step", "seconds"):
                self._writer.add_scalar(f"{record['event']}/{name}", value, record["step"])

    def close(self) -> None:
        """Write out what is left."""
        if self._writer is not None:
            self._writer.close()


def check_installed() -> None:
    """Raise ModuleNotFoundError, which says what to install, where the package is not there."""
    _writer_class()


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "[tensorboard] Curves for TensorBoard need the package tensorboardX: "
            "pip install 'seq2seq_fast[tensorboard]'."
        ) from None
    return SummaryWriter
