"""The test suite on the GPU: a process for each file, several at a time, so that one that hangs or loses the
GPU's context takes no other with it; then some of it under compute-sanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import build
from .build import ROOT
from .supervise import NAP, start, stop

FIRST = "tests/test_cuda_ptx.py"  # if the hardware is not what its twins say, nothing else need be looked at
LONGEST_FILE = 150.0  # seconds
PASSED, NOTHING_COLLECTED = 0, 5
FOUND = 9  # exit status of a sanitizer that has found something
SANITIZED = (
    "tests/test_cuda_ptx.py",
    "tests/ops",
    "tests/test_cuda_recurrence.py",
    "tests/test_device_search.py",
    "tests/test_cublas.py",
)
TOOLS = ("memcheck", "racecheck")


@dataclass
class Outcome:
    what: str
    seconds: float
    verdict: str  # passed, failed, hung, left out
    summary: str  # the last line that pytest wrote


@dataclass
class _Running:
    what: str
    process: subprocess.Popen[str]
    log: Path
    began: float


# Seconds on an H100, of the files that take longest: they begin first, so that none of them is what all wait
# for at the end.
LONG = {
    "tests/ops/test_optimizers.py": 22,
    "tests/test_network.py": 18,
    "tests/ops/test_compute_types.py": 17,
    "tests/test_cli.py": 16,
    "tests/test_resume.py": 16,
    "tests/test_optim.py": 16,
    "tests/test_benchmarks_gpu.py": 14,
    "tests/ops/test_project_topk.py": 14,
    "tests/ops/test_cross_entropy.py": 12,
    "tests/test_quantize.py": 12,
    "tests/test_nn.py": 12,
    "tests/ops/test_norm.py": 12,
    "tests/test_trainer.py": 11,
    "tests/test_search.py": 10,
    "tests/test_benchmarks.py": 10,
    "tests/test_device_array.py": 9,
    "tests/test_demo.py": 9,
    "tests/ops/test_products.py": 9,
}


def test_files() -> list[str]:
    """The twins, then the longest first."""
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")} - {FIRST}
    return [FIRST, *sorted(files, key=lambda file: (-LONG.get(file, 0), file))]


def _pytest(target: str, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--device",
        "cuda",
        *options,
        target,
    ]


def _run_all(
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    logs: Path,
    until: float,
    jobs: int,
    longest: float,
) -> Iterable[Outcome]:
    """Outcomes as they come."""
    waiting, running = list(commands.items()), list[_Running]()
    while waiting or running:
        while waiting and len(running) < jobs and time.time() < until:
            what, command = waiting.pop(0)
            log = logs / f"{what.replace('/', '.').replace(' ', '-')}.log"
            with log.open("w", encoding="utf-8") as file:
                process = start(command, environment, stdout=file, stderr=subprocess.STDOUT)
            running.append(_Running(what, process, log, time.time()))
        if waiting and not running:
            for what, _ in waiting:
                yield Outcome(what, 0.0, "left out", "the time was over")
            return
        time.sleep(NAP)
        for one in list(running):
            seconds = time.time() - one.began
            over = seconds > longest or time.time() > until
            if one.process.poll() is None and not over:
                continue
            hung = one.process.poll() is None
            stop(one.process)
            running.remove(one)
            text = one.log.read_text(encoding="utf-8", errors="replace")
            last = text.strip().splitlines()[-1] if text.strip() else ""
            yield Outcome(one.what, seconds, _verdict(one.process.returncode, hung), last)


def _verdict(status: int, hung: bool) -> str:
    if hung:
        return "hung"
    return "passed" if status in (PASSED, NOTHING_COLLECTED) else "failed"


def run_tests(environment: Mapping[str, str], logs: Path, until: float) -> Iterable[Outcome]:
    """The twins of the inline PTX and of CUDA's functions first, then every file."""
    commands = {file: _pytest(file) for file in test_files()}
    first: dict[str, Sequence[str]] = {FIRST: commands.pop(FIRST)}
    functions = build.PLACE / "cmake" / "simt_functions"  # tests/simt/functions.cu
    if functions.exists():
        first["tests/simt/functions.cu"] = [str(functions)]
    yield from _run_all(first, environment, logs, until, 1, LONGEST_FILE)
    yield from _run_all(commands, environment, logs, until, os.cpu_count() or 1, LONGEST_FILE)


def run_sanitizers(environment: Mapping[str, str], logs: Path, until: float) -> Iterable[Outcome]:
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if tool is None:
        yield Outcome("compute-sanitizer", 0.0, "left out", "it is not installed here")
        return
    files = [
        str(path.relative_to(ROOT))
        for target in SANITIZED
        for path in ([ROOT / target] if target.endswith(".py") else sorted((ROOT / target).glob("test_*.py")))
    ]
    commands = {
        f"{check} {file}": [
            *(tool, "--tool", check, "--error-exitcode", str(FOUND), "--target-processes", "all"),
            *_pytest(file, "-m", "not torch"),
        ]
        for check in TOOLS
        for file in files
    }
    jobs = max(1, (os.cpu_count() or 2) // 2)
    yield from _run_all(commands, environment, logs, until, jobs, until - time.time())


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, object]]:
    return [asdict(outcome) for outcome in outcomes]
