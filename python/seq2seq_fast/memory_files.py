"""A model's folder that is given as the contents of its files."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["MemoryFolder"]


class MemoryFolder:
    """Files from memory, as a folder that exists as long as this object.

    Args:
        op: for errors.
        files: contents by name.
    """

    def __init__(self, op: str, files: Mapping[str, Any]) -> None:
        if not isinstance(files, Mapping):
            raise TypeError(f"[{op}] Expected files as a dict, got {type(files).__name__}.")
        self.path = Path(tempfile.mkdtemp(prefix="seq2seq_fast-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        for name, content in files.items():
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
                raise ValueError(f"[{op}] Expected files by names without folders, got {name!r}.")
            data = content.read() if hasattr(content, "read") else content
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError(
                    f"[{op}] Expected the file {name} as bytes or a binary file, got {type(data).__name__}."
                )
            (self.path / name).write_bytes(data)
