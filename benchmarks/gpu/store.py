"""What was measured, kept cell by cell: a line of JSON each, so that a cut-off loses nothing and a second run
goes on where the first one ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]
CONTEXT_LOST = 75  # exit status of a measuring process: the GPU's context is of no more use, all is kept


class Store:
    """The first line says on what machine; the others are rows with a `name` of their own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cells.jsonl"
        self._running = folder / "running.txt"

    def open(self, about: Row) -> None:
        """Begins, or goes on.

        Raises:
            ValueError: the folder holds what was measured on another machine or of another version.
        """
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"about": about}) + "\n", encoding="utf-8")
            return
        before = self.about()
        for what in ("device", "commit", "torch", "emulated"):
            if before.get(what) != about.get(what):
                raise ValueError(
                    f"{self.path.parent} holds measurements of {what} {before.get(what)!r}, this is "
                    f"{about.get(what)!r}: give an empty folder."
                )

    def _lines(self) -> list[Row]:
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue  # a line that was being written when the power went
        return lines

    def about(self) -> Row:
        found: Row = self._lines()[0]["about"]
        return found

    def rows(self) -> list[Row]:
        return [line for line in self._lines() if "name" in line] if self.path.exists() else []

    def add(self, row: Row) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def begin(self, name: str) -> None:
        """Notes which cell runs, for whoever must tell about its end."""
        self._running.write_text(name, encoding="utf-8")

    def end(self) -> None:
        self._running.unlink(missing_ok=True)

    def running(self) -> tuple[str, float] | None:
        """The cell at work, and when it began (seconds since the epoch)."""
        try:
            return self._running.read_text(encoding="utf-8"), self._running.stat().st_mtime
        except OSError:
            return None
