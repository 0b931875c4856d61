"""One command for a machine with a GPU and without a network: it says what machine it is, builds the package,
runs the test suite on the GPU, and measures, the most important first. What it finds it keeps at once in
--out."""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    sys.exit("The benchmarks compare with PyTorch: pip install '.[bench]'")

from . import build, checks, machine, supervise
from .store import Store

PARTS = ("build", "tests", "sanitizer", "measure")
SHARES = {"tests": 0.3, "sanitizer": 0.1}  # of all minutes, at most; measuring has what is left


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results are kept")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything (9)")
    parser.add_argument(
        "--parts", default=None, help=f"some of {','.join(PARTS)}; a second run into DIR goes on measuring"
    )
    parser.add_argument("--no-build", action="store_true", help="use the package that is installed or built")
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny sizes, no figures")
    parser.add_argument(
        "--emulated", action="store_true", help="a rehearsal on the emulated backend, PyTorch on the CPU"
    )
    options = parser.parse_args(arguments)
    given = options.parts or ("measure" if options.emulated else ",".join(PARTS))
    options.parts = given.split(",")
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"--parts: {', '.join(unknown)} is none of {', '.join(PARTS)}")
    if options.no_build and "build" in options.parts:
        options.parts.remove("build")
    return options


class Runner:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out.resolve()
        self.began = time.time()
        self.until = self.began + 60 * options.minutes
        self.tests: list[checks.Outcome] = []
        # What is built here is for a GPU.
        self.environment = {} if options.emulated else build.environment()

    def cuda_status(self) -> str:
        """Of the package that a new process imports."""
        code = "import seq2seq_fast; print(seq2seq_fast.cuda_status())"
        process = supervise.start([sys.executable, "-c", code], self.environment, stdout=-1, stderr=-1)
        found, error = process.communicate()
        return found.strip() or f"the package cannot be imported: {error.strip().splitlines()[-1]}"

    def check_machine(self) -> None:
        status = self.cuda_status()
        print(f"CUDA: {status}", flush=True)
        wanted = "emulated" if self.options.emulated else "ready"
        if not status.startswith(wanted):
            advice = (
                "Build it with S2S_CUDA=EMULATED."
                if self.options.emulated
                else "Without a GPU, --emulated rehearses on a build with S2S_CUDA=EMULATED."
            )
            sys.exit(f"There is nothing to measure: {status}. {advice}")

    def build(self) -> None:
        if not machine.gpu():
            sys.exit("There is no GPU here: nvidia-smi shows none. --emulated rehearses without one.")
        try:
            print(build.build(self.out / "build.log"), f"({time.time() - self.began:.0f} s)", flush=True)
            self.environment = build.environment()
        except RuntimeError as error:
            sys.exit(str(error))

    def run_checks(self, part: str) -> None:
        print(f"\n{part}:", flush=True)
        logs = self.out / "logs"
        logs.mkdir(exist_ok=True)
        until = min(self.until, time.time() + 60 * self.options.minutes * SHARES[part])
        run = checks.run_tests if part == "tests" else checks.run_sanitizers
        for outcome in run(self.environment, logs, until):
            self.tests.append(outcome)
            print(
                f"{outcome.verdict:9} {outcome.seconds:6.1f} s  {outcome.what}  {outcome.summary}", flush=True
            )
            self.keep("tests.json", checks.as_rows(self.tests))
        self._join_logs(logs)

    def _join_logs(self, logs: Path) -> None:
        """One file to carry home, of what did not pass."""
        failed = {
            o.what.replace("/", ".").replace(" ", "-") for o in self.tests if o.verdict in ("failed", "hung")
        }
        with (self.out / "tests.log").open("w", encoding="utf-8") as file:
            for log in sorted(logs.glob("*.log")):
                if log.stem in failed:
                    file.write(f"=== {log.stem}\n{log.read_text(encoding='utf-8', errors='replace')}\n")

    def measure(self) -> None:
        flags = ["--emulated"] * self.options.emulated + ["--quick"] * self.options.quick
        module = [sys.executable, "-m", "benchmarks.gpu.measure"]
        command = [*module, "--out", str(self.out), "--until", str(self.until), *flags]
        complete = supervise.measure(command, self.environment, Store(self.out), self.until)
        if not complete:
            print("\nNot everything was measured.", flush=True)

    def keep(self, name: str, content: Any) -> None:
        (self.out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def conclude(self) -> None:
        """Tables and verdicts of all that the folder holds."""
        if self.environment and str(build.SITE) not in sys.path:
            sys.path.insert(0, str(build.SITE))  # these import the package, which may be nowhere else
        from . import cells, plan, report
        from .goals import verdicts

        store, tests = Store(self.out), self.out / "tests.json"
        if not store.path.exists():
            return
        about, rows = store.about(), store.rows()
        found = verdicts(rows, cells.QUICK if self.options.quick else plan.everything())
        self.keep(
            "result.json",
            {
                "machine": about,
                "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
                "rows": rows,
                "goals": [verdict.as_row() for verdict in found],
                "tests": json.loads(tests.read_text(encoding="utf-8")) if tests.exists() else [],
            },
        )
        rehearsal = (
            ["A rehearsal: its figures mean nothing."] if about["emulated"] or self.options.quick else []
        )
        text = "\n\n".join(
            [
                *rehearsal,
                "\n".join(f"{key}: {value}" for key, value in about.items()),
                report.rates(row for row in rows if row.get("suite") == "latency"),
                "\n".join(
                    [report.heading(), *(report.lines(r) for r in rows if r.get("suite") != "latency")]
                ),
                report.goals(found),
            ]
        )
        (self.out / "table.md").write_text(text + "\n", encoding="utf-8")
        if not self.options.quick:
            print(f"\n{report.goals(found)}", flush=True)
        failed = [row["name"] for row in rows if "failed" in row]
        print(f"\n{len(rows)} cells, {len(failed)} of them failed; all is in {self.out}", flush=True)

    def run(self) -> int:
        self.out.mkdir(parents=True, exist_ok=True)
        for key, value in machine.gpu().items():
            print(f"{key}: {value}", flush=True)
        parts = self.options.parts
        if "build" in parts and not self.options.emulated:
            self.build()
        self.check_machine()
        for part in ("tests", "sanitizer"):
            if part in parts:
                self.run_checks(part)
        if "measure" in parts:
            self.measure()
            self.conclude()
        shutil.rmtree(self.out / "logs", ignore_errors=True)
        return int(any(outcome.verdict in ("failed", "hung") for outcome in self.tests))


if __name__ == "__main__":
    sys.exit(Runner(_parse(None)).run())
