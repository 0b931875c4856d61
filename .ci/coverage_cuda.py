#!/usr/bin/env python3
"""How many lines of the CUDA kernels did the tests run on the emulator?

    coverage_cuda.py BUILD [LEAST]

BUILD was made with -DS2S_CUDA=EMULATED -DS2S_COVERAGE=ON, and tests have run with it. Counts the lines of
csrc/cuda/*.cu, each once, whichever instance of a template it ran in, and prints what was missed; less than
LEAST percent (95) fails. Needs gcov of the compiler that built it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

KERNELS = Path(__file__).parent.parent.resolve() / "csrc" / "cuda"


def line_counts(build: Path) -> dict[str, dict[int, int]]:
    """How often each line of each kernel source ran."""
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for notes in sorted(build.rglob("*.cu.gcno")):
        command = ["gcov", "--json-format", "--stdout", notes.name]
        result = subprocess.run(command, cwd=notes.parent, check=True, capture_output=True, text=True)
        for file in json.loads(result.stdout)["files"]:
            path = Path(file["file"]).resolve()
            if path.parent == KERNELS and path.suffix == ".cu":
                for line in file["lines"]:
                    counts[path.name][line["line_number"]] += line["count"]
    return counts


def ranges(numbers: list[int]) -> str:
    """[3, 4, 5, 9] is "3-5, 9"."""
    spans: list[list[int]] = []
    for n in numbers:
        if spans and spans[-1][1] == n - 1:
            spans[-1][1] = n
        else:
            spans.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def main(build: Path, least: float) -> int:
    counts = line_counts(build)
    ran = lines = 0
    for name, of_file in sorted(counts.items()):
        missed = sorted(number for number, count in of_file.items() if count == 0)
        ran += len(of_file) - len(missed)
        lines += len(of_file)
        if missed:
            print(f"{name}: {len(missed)} of {len(of_file)} lines never ran: {ranges(missed)}")
    percent = 100 * ran / lines if lines else 0.0
    print(f"{ran} of {lines} lines of {len(counts)} kernel sources ran: {percent:.1f} %, {least:g} % wanted.")
    return percent < least


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 95.0))
