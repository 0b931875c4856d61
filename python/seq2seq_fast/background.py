"""Asynchronous calls of a translator: threads that run them, a queue that is bounded, results to wait for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from seq2seq_fast.translation_results import TranslationResult

__all__ = ["AsyncTranslationResult", "Background", "Job"]

T = TypeVar("T")


class Job(Generic[T]):
    """Work that was handed over."""

    def __init__(self, future: Future[T], stop: threading.Event) -> None:
        self.future = future
        self._stop = stop

    def cancel(self) -> None:
        """Never begin it, or end it at the next place where it looks."""
        self._stop.set()
        self.future.cancel()


class Background:
    """Threads that run handed-over work, made when first needed, and anew in a child of fork().

    Args:
        workers: how many.
        queued: how many pieces of work may wait before `submit` waits; -1: any number.
    """

    def __init__(self, workers: int, queued: int) -> None:
        self._workers = workers
        self._most = None if queued < 0 else workers + queued
        self._lock = threading.Lock()
        self._process = -1
        self._pool: ThreadPoolExecutor
        self._room: threading.Semaphore | None

    def _opened(self) -> tuple[ThreadPoolExecutor, threading.Semaphore | None]:
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._pool = ThreadPoolExecutor(self._workers, "seq2seq_fast")
                self._room = None if self._most is None else threading.Semaphore(self._most)
            return self._pool, self._room

    def submit(self, run: Callable[[threading.Event], T], *, wait: bool = True) -> Job[T]:
        """Hand work over. It is given an event that says when to stop.

        Args:
            run: the work.
            wait: wait for room in the queue where it is full.
        """
        pool, room = self._opened()
        if room is not None and wait:
            room.acquire()
        stop = threading.Event()
        future = pool.submit(run, stop)
        if room is not None and wait:
            future.add_done_callback(lambda _: room.release())
        return Job(future, stop)


class AsyncTranslationResult:
    """The result for one source of an asynchronous call, when it is there."""

    def __init__(self, job: Job[list[TranslationResult]], place: int) -> None:
        self._job = job
        self._place = place

    def done(self) -> bool:
        """Whether `result` would return at once."""
        return self._job.future.done()

    def result(self, timeout: float | None = None) -> TranslationResult:
        """Wait for the result, at most so many seconds, and return it; or raise what the call raised.

        Raises:
            TimeoutError: it is not there in time.
        """
        try:
            return self._job.future.result(timeout)[self._place]
        except FutureTimeout:  # another class than TimeoutError before Python 3.11
            if self._job.future.done():
                raise
            raise TimeoutError(f"[translate_batch] No result within {timeout} seconds.") from None
