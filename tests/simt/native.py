"""Builds kernels (.cu) and host code (.cpp) with the emulator into a program: plain, under AddressSanitizer
and UndefinedBehaviorSanitizer, or under ThreadSanitizer. For tests, and by hand:

    python tests/simt/native.py --kind asan --out DIR tests/simt/bugs/*.cu tests/simt/bugs/main.cpp
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KINDS = {
    "plain": [],
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
    "tsan": ["-fsanitize=thread"],
}
SCHEDULES = ["in-order", "reversed", "random:1", "random:2", "random:3"]
FLAGS = ["-std=c++20", "-g1", "-Wall", "-Wextra", "-Wno-unknown-pragmas", f"-I{ROOT / 'csrc'}", f"-I{HERE}"]


def compiler() -> str:
    return os.environ.get("CXX", "g++")


@functools.cache
def missing(kind: str) -> str | None:
    """A sentence if programs of this kind cannot be built here."""
    if shutil.which(compiler()) is None:
        return f"there is no compiler: {compiler()}"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program")
        source = Path(folder, "program.cpp")
        source.write_text("int main() { return 0; }\n")
        for command in ([compiler(), *KINDS[kind], str(source), "-o", str(program)], [str(program)]):
            if subprocess.run(command, capture_output=True).returncode != 0:
                return f"{compiler()} cannot build or run programs with {' '.join(KINDS[kind])}"
    return None


def build(
    sources: Sequence[Path], kind: str, folder: Path, name: str = "program", flags: Sequence[str] = ("-O1",)
) -> Path:
    """Compiles `sources` and the emulator into `folder`, whose objects of the emulator serve every kind."""
    cache = [ccache] if (ccache := shutil.which("ccache")) else []
    own, shared = folder / name / kind, folder / "emulator"
    own.mkdir(parents=True, exist_ok=True)
    shared.mkdir(parents=True, exist_ok=True)

    def compile_one(source: Path, to: Path, options: Sequence[str]) -> Path:
        result = to / f"{source.parent.name}_{source.name}.o"
        command = [*cache, compiler(), "-x", "c++", *FLAGS, *options, "-c", str(source), "-o", str(result)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
        return result

    with ThreadPoolExecutor(2) as pool:
        emulator = [
            pool.submit(compile_one, s, shared, ["-O2"])
            for s in [HERE / "emulator.cpp", *sorted(HERE.glob("simt_*.cpp"))]
            if not (shared / f"{HERE.name}_{s.name}.o").exists()
        ]
        objects = [pool.submit(compile_one, s, own, [*KINDS[kind], *flags]) for s in sources]
        for task in emulator:
            task.result()
        made = [task.result() for task in objects]
    program = own / name
    command = [
        compiler(),
        *KINDS[kind],
        *map(str, made),
        *map(str, sorted(shared.glob("*.o"))),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True)
    return program


def run(program: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a built program; a leak is no concern of its."""
    settings = {"ASAN_OPTIONS": "detect_leaks=0", "S2S_SIMT_MAX_STEPS": "3000000", **environment}
    return subprocess.run(
        [str(program), *words], capture_output=True, text=True, env={**os.environ, **settings}, timeout=600
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="plain")
    parser.add_argument("--out", type=Path, required=True, help="folder of the objects and the program")
    parser.add_argument("sources", type=Path, nargs="+")
    options = parser.parse_args()
    try:
        print(build(options.sources, options.kind, options.out))
    except RuntimeError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
