"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on leaving, flush it to the disk and rename it to `path`.

    Whoever reads `path`, even after a power cut, finds the old content or the new, never a part of either. If
    anything fails (a full disk, say) `path` is as it was, the temporary file is gone and the error is raised;
    the system's names a file.
    """
    target = Path(path)
    temporary = temporary_name(target)
    try:
        with names_file(target), open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


@contextmanager
def names_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError the name of the file it is about: one of reading or writing, not opening, has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write one file atomically (see `atomic_write`)."""
    with atomic_write(path) as file:
        file.write(content)


def temporary_name(path: Path) -> Path:
    """Where `atomic_write` writes before it renames. A killed process may leave such a file behind."""
    return path.with_name(f".{path.name}.tmp")


def sync_directory(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the system has a way to (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
