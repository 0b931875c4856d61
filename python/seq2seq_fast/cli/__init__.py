"""The command line, `seq2seq-fast`: what stands here turns a user's mistake into a sentence and an exit code.

Exit codes: 0 done; 2 the user's mistake (a bad option, a missing file), told in a sentence on standard error;
130 interrupted (Ctrl-C); 1 the reader of our output went away, or a defect of ours (with its traceback).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from seq2seq_fast.atomic import names_file

__all__ = ["main"]

#: Set to anything: mistakes too end in a traceback, for a report of what went wrong.
TRACEBACK_VARIABLE = "SEQ2SEQ_FAST_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (default: those of the process) and exit."""
    _replace_closed_streams()
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        _fail(f"the command line needs {error.name}: pip install 'seq2seq_fast[cli]'")
    try:
        _call(app, arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(1)
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if os.environ.get(TRACEBACK_VARIABLE) or isinstance(error, NotImplementedError | RecursionError):
            raise
        _flush_stdout()
        _fail(_sentence(error))


def _call(app: Callable[..., Any], arguments: Sequence[str] | None) -> None:
    try:
        app(args=None if arguments is None else list(arguments), prog_name="seq2seq-fast")
    except SystemExit:
        # What is still buffered may meet a closed pipe or a full disk only now.
        with names_file("standard output"):
            sys.stdout.flush()
        raise


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _fail(message: str) -> None:
    print(f"seq2seq-fast: error: {message}", file=sys.stderr)
    sys.exit(2)


class _Closed(io.TextIOBase):
    """A standard stream that is closed: whoever uses it learns so, others need not know."""

    def __init__(self, label: str) -> None:
        self._error = OSError(errno.EBADF, "it is closed", label)

    @property
    def buffer(self) -> Any:
        raise self._error

    def write(self, text: str) -> int:
        raise self._error


def _replace_closed_streams() -> None:
    """Put something for each standard stream that is closed, as cron and daemons have them; Python has None.

    Its number is taken, too: else the next file that is opened would get it, and what others print to it.
    """
    for name, label in (("stdin", "standard input"), ("stdout", "standard output"), ("stderr", "")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, _Closed(label) if label else os.fdopen(number, "w"))


def _flush_stdout() -> None:
    """Write what is still buffered, so that the interpreter's last flush does not complain of what fails."""
    try:
        sys.stdout.flush()
    except OSError:
        _close_stdout()


def _close_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not complain."""
    with contextlib.suppress(io.UnsupportedOperation):  # it was closed already
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
