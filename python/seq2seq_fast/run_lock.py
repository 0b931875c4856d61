"""One process at a time trains in a folder."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_FILE = ".lock"
"""In a run's folder. It stays there: whoever removed it might remove the next run's."""


class RunLock:
    """Holds a folder for one training run, until it is closed or the process ends, however it ends.

    It is the system's lock of a file. Where there is no such thing (Windows, some network file systems)
    nothing is held.

    Raises:
        BlockingIOError: the folder is held already.
        OSError: the file could not be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        if fcntl is None:
            return
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BlockingIOError(
                f"{folder}: a run is under way there: wait for its end, or train in another folder."
            ) from None
        except OSError:  # this file system has no locks
            os.close(descriptor)
            return
        self._descriptor = descriptor
        _held.add(self)

    def close(self) -> None:
        """Let the folder go."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._drop()

    def _drop(self) -> None:
        """Close the descriptor; the lock is held on while another process has a copy of it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _drop_copies() -> None:
    """In a child of fork, which may outlive the run and would hold its folder."""
    for lock in list(_held):
        lock._drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_copies)
