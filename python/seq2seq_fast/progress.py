"""What a person sees of a long run, on stderr: a bar on a terminal (if rich is there), lines elsewhere.

Standard error may be closed, or its reader may go away (`2>&1 | less`): the run goes on, and shows nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Shows how far a run has come."""

    def update(self, fraction: float, text: str) -> None:
        """Show the part of the run that is done, from 0 to 1, and a few words."""

    def report(self, text: str) -> None:
        """Say where the run is: a line in a log file; a bar says it all the time."""

    def line(self, text: str) -> None:
        """Print a line that stays."""

    def close(self) -> None:
        """Take the bar away."""


class Silent:
    """Shows nothing."""

    def update(self, fraction: float, text: str) -> None: ...

    def report(self, text: str) -> None: ...

    def line(self, text: str) -> None: ...

    def close(self) -> None: ...


class Lines(Silent):
    """Prints lines, no bar: for log files."""

    def report(self, text: str) -> None:
        self.line(text)

    def line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class WhileSeen:
    """Shows what another one does, until that fails because standard error is gone; then nothing."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def update(self, fraction: float, text: str) -> None:
        self._show(lambda shown: shown.update(fraction, text))

    def report(self, text: str) -> None:
        self._show(lambda shown: shown.report(text))

    def line(self, text: str) -> None:
        self._show(lambda shown: shown.line(text))

    def close(self) -> None:
        self._show(lambda shown: shown.close())

    def _show(self, call: Callable[[Progress], None]) -> None:
        try:
            call(self._shown)
        except OSError:
            self._shown = Silent()


class Bar:
    """A progress bar below the lines that stay."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        class Stderr(Console):
            def on_broken_pipe(self) -> None:
                self.quiet = True  # rich would end the process

        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("<"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=Stderr(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def update(self, fraction: float, text: str) -> None:
        self._bar.update(self._task, completed=fraction, description=text)

    def report(self, text: str) -> None: ...

    def line(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


def open_progress(show: bool | None = None) -> Progress:
    """Return a bar on a terminal, lines elsewhere; with `show` False, what shows nothing."""
    if show is False or sys.stderr is None:  # None: it was closed before Python began
        return Silent()
    if sys.stderr.isatty():
        try:
            return WhileSeen(Bar())
        except ImportError:
            pass
    return WhileSeen(Lines())


def tell(text: str) -> None:
    """Say something on standard error, where a run's lines go."""
    if sys.stderr is not None:
        WhileSeen(Lines()).line(text)
