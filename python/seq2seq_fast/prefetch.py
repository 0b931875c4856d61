"""One thing ahead: while a training step computes, a thread puts the next batch together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """`get(key, make)` returns `make()`, from the thread where `begin(key, make)` was called before.

    What was begun under another key is dropped, so a caller that changes its plans gets what it asks for. The
    thread starts with the first `begin` and ends with `close`.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._begun: tuple[Hashable, Future[T]] | None = None

    def begin(self, key: Hashable, make: Callable[[], T]) -> None:
        """Let the thread make what `get` will ask for under this key."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="seq2seq_fast-prefetch")
        self._begun = (key, self._thread.submit(make))

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was begun under this key, or make it. An error of `make` is raised here."""
        begun, self._begun = self._begun, None
        return begun[1].result() if begun is not None and begun[0] == key else make()

    def close(self) -> None:
        """End the thread; what it is at work on is dropped."""
        self._begun = None
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
