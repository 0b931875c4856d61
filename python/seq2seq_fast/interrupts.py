"""Ctrl-C that never tears a training step apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class DeferredInterrupt:
    """While it is entered, Ctrl-C raises KeyboardInterrupt as ever, but never inside `shielded` code.

    Where it cannot or should not act (in another thread than the main one, where another library handles the
    signal itself, where SIGINT is ignored as in background jobs) it leaves things as they are.
    """

    torn: bool
    """An exception left shielded code before its end."""

    def __init__(self) -> None:
        self.torn = False
        self._shielded = False
        self._pending = False
        self._previous: Any = None

    def __enter__(self) -> DeferredInterrupt:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Code that runs to its end; a Ctrl-C that came meanwhile is raised then. It may be nested."""
        if self._shielded:
            yield
            return
        self._shielded = self.torn = True
        try:
            yield
            self.torn = False
        finally:
            self._shielded = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._shielded:
            self._pending = True
        else:
            raise KeyboardInterrupt
