"""The command line in this process, as a new one takes a second to start: what conftest.py's `run` gives."""

from __future__ import annotations

import io
import json
import sys
from typing import Any, NamedTuple

import pytest

from seq2seq_fast.cli import main


class Result(NamedTuple):
    """The exit code, and what was written."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


class Run:
    """`run(arguments, stdin=...)` runs the command line on what it reads; `run.done` expects an exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: object, stdin: str | bytes = "") -> Result:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in arguments])
        return Result(int(end.value.code or 0), *self._capsys.readouterr())

    def done(self, *arguments: object, stdin: str | bytes = "", code: int = 0) -> Result:
        result = self(*arguments, stdin=stdin)
        assert result.code == code, result.err
        return result
