"""The command line, `seq2seq-fast`: what stands here turns a user's mistake into a sentence and an exit code.

Exit codes: 0 done; 2 the user's mistake (a bad option, a missing file), told in a sentence on standard error;
130 interrupted (Ctrl-C); 1 the reader of our output went away, or a defect of ours (with its traceback).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

#: Set to anything: mistakes too end in a traceback, for a report of what went wrong.
TRACEBACK_VARIABLE = "SEQ2SEQ_FAST_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (default: those of the process) and exit."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        _fail(f"the command line needs {error.name}: pip install 'seq2seq_fast[cli]'")
    try:
        app(args=None if arguments is None else list(arguments), prog_name="seq2seq-fast")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(1)
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if os.environ.get(TRACEBACK_VARIABLE) or isinstance(error, NotImplementedError | RecursionError):
            raise
        _fail(_sentence(error))
    except SystemExit:
        # What is still buffered may meet a closed pipe only now.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _close_stdout()
        raise


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _fail(message: str) -> None:
    print(f"seq2seq-fast: error: {message}", file=sys.stderr)
    sys.exit(2)


def _close_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
