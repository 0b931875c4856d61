"""Builds the package from this checkout, for the GPU present, with the tools that are there: no network."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PLACE = ROOT / "build" / "gpu"  # git ignores it
SITE = PLACE / "site"
SOURCES = ("CMakeLists.txt", "pyproject.toml", "cmake", "csrc", "python", "tests/simt")
SUFFIXES = {".txt", ".toml", ".cmake", ".map", ".h", ".cpp", ".cu", ".cuh", ".py", ".pyi"}
NEEDED = ("scikit_build_core", "pybind11")


def digest() -> str:
    """Of everything that a build is made of."""
    result = hashlib.sha256(sys.version.encode())
    for name in SOURCES:
        top = ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.suffix in SUFFIXES and path.is_file():
                result.update(str(path.relative_to(ROOT)).encode())
                result.update(path.read_bytes())
    return result.hexdigest()


def _instruction_set() -> str | None:
    """The CPU's, the one that is all that is needed here, to save minutes; None: all of them."""
    wanted = {"avx512_vnni": "avx512vnni", "avx512vl": "avx512", "avx2": "avx2"}
    try:
        flags = set(
            re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8").split("flags", 1)[1])
        )
    except (OSError, IndexError):
        return None
    return next((isa for flag, isa in wanted.items() if flag in flags), None)


def environment() -> dict[str, str]:
    """So that a Python process finds what was built, before anything installed."""
    if not SITE.exists():
        return {}
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{SITE}{os.pathsep}{others}" if others else str(SITE)}


def build(log: Path) -> str:
    """A sentence about what was done.

    Raises:
        RuntimeError: it failed; `log` says how.
    """
    stamp, sources = PLACE / "stamp", digest()
    if stamp.exists() and stamp.read_text() == sources:
        return f"Built already: {SITE}"
    missing = [name for name in NEEDED if not _importable(name)]
    if missing:
        raise RuntimeError(f"Building needs {' and '.join(missing)} in this Python.")
    PLACE.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation"),
        *("--no-compile", "--upgrade", "--target", str(SITE), "-v"),
        f"--config-settings=build-dir={PLACE / 'cmake'}",
        "--config-settings=cmake.define.S2S_CUDA_TESTS=ON",
    ]
    isa = _instruction_set()
    if isa is not None:
        command.append(f"--config-settings=cmake.define.S2S_ONLY_ISAS={isa}")
    command.append(str(ROOT))
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            command, cwd=PLACE, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "S2S_CUDA": "ON"}
        )
    if done.returncode != 0:
        raise RuntimeError(f"The build failed, see {log}. Its end:\n{_end_of(log)}")
    stamp.write_text(sources)
    return f"Built: {SITE}"


def _importable(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def _end_of(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
