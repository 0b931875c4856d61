"""Runs commands that may hang or crash: a kernel that waits for ever takes its process with it, not the
run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from .build import ROOT
from .store import CONTEXT_LOST, Store

MOST_CRASHES = 10
LONGEST_CELL = 60.0  # seconds
LONGEST_START = 180.0  # until the first cell begins: PyTorch is imported, the GPU's context made
NAP = 0.2
TIME_IS_OVER = "the time is over"


def stop(process: subprocess.Popen[str]) -> None:
    """Ends it and what it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def start(command: Sequence[str], environment: Mapping[str, str], **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, cwd=ROOT, env={**os.environ, **environment}, start_new_session=True, text=True, **options
    )


def measure(
    command: Sequence[str],
    environment: Mapping[str, str],
    store: Store,
    until: float,
    tell: Callable[[str], None] = print,
) -> bool:
    """Starts the measuring process again and again, until it ends by itself or the time is over. A cell in
    which it hung or died is kept as failed. Whether all went to its end."""
    for _ in range(MOST_CRASHES):
        store.end()
        process = start(command, environment)
        why = _watch(process, store, until)
        running = store.running()
        if why == TIME_IS_OVER or process.returncode == 0:
            return process.returncode == 0
        if why:
            tell(f"{running[0]}: {why}" if running else why)
            if running is None:
                return False  # not a cell's fault
            store.add({"name": running[0], "failed": why})
    tell(f"Given up after {MOST_CRASHES} crashes.")
    return False


def _watch(process: subprocess.Popen[str], store: Store, until: float) -> str:
    """Waits for its end; why it came to one early, if it did."""
    began = time.time()
    in_a_cell = False
    try:
        while process.poll() is None:
            time.sleep(NAP)
            now, running = time.time(), store.running()
            in_a_cell = in_a_cell or running is not None
            if not in_a_cell and now - began > LONGEST_START:
                return f"the measuring process had not begun after {LONGEST_START:.0f} s"
            if now > until + LONGEST_CELL / 2:
                return TIME_IS_OVER
            if running is not None and now - running[1] > LONGEST_CELL:
                return f"no end after {LONGEST_CELL:.0f} s"
    finally:
        stop(process)
    if process.returncode in (0, CONTEXT_LOST):
        return ""
    return f"the process ended with status {process.returncode}"
