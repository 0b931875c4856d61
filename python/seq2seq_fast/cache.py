"""A folder of things that take long to make: each is made once, whole or not at all, and checked when used.

    ROOT/NAME-KEY/                  an entry: files, and
    ROOT/NAME-KEY/manifest.json     what it was made of, and the size and crc32 of each file

The key is a hash of all that an entry depends on. So a change of anything makes another entry, and an entry
that is there is right, or damaged. Any of them may be deleted when nobody uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from seq2seq_fast.atomic import sync_directory, write_bytes

StrPath = str | os.PathLike[str]

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


def cached(
    root: StrPath, name: str, key: Mapping[str, Any], make: Callable[[Path], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """Return an entry's folder and its facts; make the entry if it is not there.

    Processes that want the same entry wait for the one that makes it.

    Args:
        root: the cache's folder, made if it is not there.
        name: begins the name of the entry's folder, for people.
        key: all that the entry depends on, for JSON.
        make: writes the files into a folder and returns facts for the manifest, for JSON.

    Raises:
        ValueError: the entry is damaged; the message says what is wrong and what to delete.
        OSError: it could not be written; nothing of it is left.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    known = json.loads(json.dumps(key))
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    folder = root / f"{name}-{digest[:16]}"
    if folder.exists():
        return folder, _verified(folder, known)
    with _locked(root) as alone:
        if alone:  # then what others have begun was never ended
            for leftover in root.glob(f".{folder.name}.*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
        if folder.exists():
            return folder, _verified(folder, known)
        return folder, _made(folder, known, make)


def _made(folder: Path, key: Any, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        facts = make(temporary)
        files = {}
        for path in sorted(temporary.iterdir()):
            files[path.name] = {"bytes": path.stat().st_size, "crc32": _checksum(path)}
            _sync(path)
        manifest = {"key": key, "facts": facts, "files": files}
        write_bytes(temporary / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.exists():  # else somebody has made the same where locks do not hold
                raise
        sync_directory(folder.parent)
        return facts
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _verified(folder: Path, key: Any) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        facts, files = dict(manifest["facts"]), dict(manifest["files"])
        if manifest["key"] != key:
            raise ValueError(f"{MANIFEST} is not that of this entry")
        for name, file in files.items():
            size = (folder / name).stat().st_size
            if size != file["bytes"]:
                raise ValueError(f"expected {name} of {file['bytes']} bytes, got {size}")
            if _checksum(folder / name) != file["crc32"]:
                raise ValueError(f"{name} is not what was written there")
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        what = f"{Path(error.filename).name} is missing" if isinstance(error, FileNotFoundError) else error
        raise ValueError(
            f"[cache] {folder} is damaged: {what}. Delete the folder, and it is made anew."
        ) from None
    return facts


@contextmanager
def _locked(root: Path) -> Iterator[bool]:
    """Hold the cache for this process; False: there are no locks here (Windows, some network drives)."""
    try:
        import fcntl
    except ImportError:
        yield False
        return
    descriptor = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with the process, however that ends
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _checksum(path: Path) -> str:
    """The file's crc32. It is read, not mapped: then what fits lies in the system's cache afterwards."""
    checksum = 0
    with open(path, "rb") as file:
        while part := file.read(_CHUNK):
            checksum = zlib.crc32(part, checksum)
    return f"{checksum:08x}"


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def content_digest(path: StrPath) -> str:
    """Return a hash of a file's content, once for as long as it looks unchanged."""
    status = os.stat(path)
    return _digest(os.path.abspath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, modified: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
