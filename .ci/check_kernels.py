#!/usr/bin/env python3
"""Does every compiled CUDA kernel keep within its budget? Read from the machine code, so no GPU is needed.

    check_kernels.py LIBRARY              check, against kernel_budget.json beside this file
    check_kernels.py LIBRARY --propose    write the budget anew; read the diff before committing it

A budget says, per kernel, how many registers a thread may take on each architecture, how much static shared
memory a block may, and which instructions must be there: 128-bit loads, tensor cores, what a careless change
loses silently. A stack and accesses of local memory, where spilled registers go, are never allowed. A kernel
without a budget fails.

Needs cuobjdump, nvdisasm (PyPI: nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm) and c++filt (binutils).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUDGET = Path(__file__).with_name("kernel_budget.json")
WORTH_KEEPING = ("LDG.E.128", "STG.E.128", "LDS.128", "STS.128", "LDGSTS.E.BYPASS.128", "LDSM", "HMMA", "IDP")
"""What `--propose` demands of a kernel that has it on every architecture: vector accesses, copies past the
registers, tensor cores, products of bytes."""

RESERVED = 1024
"""Bytes of shared memory that a block which uses any has besides its own, from 9.0 on."""

Budget = dict[str, dict[str, Any]]


@dataclass
class Kernel:
    name: str
    architecture: str  # "90"
    registers: int
    stack: int
    shared: int
    instructions: Counter[str] = field(default_factory=Counter)

    def has(self, instruction: str) -> bool:
        """Whether any instruction is this one, with whatever modifiers: LDG.E.128.CONSTANT is LDG.E.128."""
        return any(f"{found}.".startswith(f"{instruction}.") for found in self.instructions)

    def local_accesses(self) -> int:
        return sum(count for found, count in self.instructions.items() if found.startswith(("LDL", "STL")))


def read_kernels(library: Path) -> list[Kernel]:
    """Every kernel of the library, once per architecture."""
    kernels: dict[tuple[str, str], Kernel] = {}
    architecture = function = ""
    for line in tool("cuobjdump", "-res-usage", str(library)).splitlines():
        if match := re.search(r"arch = sm_(\w+)", line):
            architecture = match[1]
        elif match := re.match(r"\s*Function (\S+):", line):
            function = match[1]
        elif match := re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", line):
            registers, stack, shared = map(int, match.groups())
            shared -= RESERVED if shared and architecture_number(architecture) >= 90 else 0
            kernels[architecture, function] = Kernel(function, architecture, registers, stack, shared)
    for line in tool("cuobjdump", "-sass", str(library)).splitlines():
        if match := re.search(r"arch = sm_(\w+)", line):
            architecture = match[1]
        elif match := re.search(r"Function : (\S+)", line):
            function = match[1]
        elif match := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@\S+\s+)?([A-Z][\w.]*)", line):
            kernels[architecture, function].instructions[match[1]] += 1
    names = demangle(sorted({kernel.name for kernel in kernels.values()}))
    for kernel in kernels.values():
        kernel.name = names[kernel.name]
    return sorted(kernels.values(), key=lambda k: (k.name, architecture_number(k.architecture)))


def architecture_number(architecture: str) -> int:
    return int(architecture.rstrip("af"))  # 90 of 90a


def demangle(names: list[str]) -> dict[str, str]:
    """Names as the source has them, after the file's: "softmax softmax_rows<float, 4>"."""
    namespaces = re.compile(r"\b(s2s|cuda)::|\(anonymous namespace\)::|\bvoid ")
    mangled = [re.sub(r"^__nv_static_\w+?_(?=_Z)", "", name) for name in names]  # of what is linked twice
    demangled = {}
    for name, full in zip(names, tool("c++filt", "--no-params", *mangled).splitlines(), strict=True):
        file = re.search(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_(?:cu|cpp)_", name)  # nvcc's unnamed namespaces
        demangled[name] = f"{file[1] if file else '?'} {namespaces.sub('', full)}"
    return demangled


def check(kernels: list[Kernel], budget: Budget) -> list[str]:
    """A sentence for everything that is not as the budget says."""
    problems = [f"{name}: not compiled any more" for name in budget.keys() - {k.name for k in kernels}]
    for kernel in kernels:
        where = f"{kernel.name} on {kernel.architecture}"
        limits = budget.get(kernel.name, {})
        registers = limits.get("registers", {}).get(kernel.architecture)
        shared = limits.get("shared", 0)
        if registers is None:
            problems.append(f"{where}: no budget")
        elif kernel.registers > registers:
            problems.append(f"{where}: {kernel.registers} registers, {registers} allowed")
        if kernel.shared > shared:
            problems.append(f"{where}: {kernel.shared} bytes of static shared memory, {shared} allowed")
        if kernel.stack:
            problems.append(f"{where}: {kernel.stack} bytes of stack")
        if kernel.local_accesses():
            problems.append(f"{where}: {kernel.local_accesses()} accesses of local memory")
        for instruction in limits.get("needs", []):
            if not kernel.has(instruction):
                problems.append(f"{where}: no {instruction}")
    return sorted(problems)


def propose(kernels: list[Kernel], old: Budget) -> Budget:
    """What was compiled, registers rounded up to eights, as they are handed out; `needs` loses nothing."""
    budget: Budget = {}
    for name in sorted({kernel.name for kernel in kernels}):
        versions = [kernel for kernel in kernels if kernel.name == name]
        limits = budget[name] = {
            "registers": {k.architecture: -(-k.registers // 8) * 8 for k in versions},
            "shared": max(k.shared for k in versions),
        }
        found = {i for i in WORTH_KEEPING if all(k.has(i) for k in versions)}
        if needs := found.union(old.get(name, {}).get("needs", [])):
            limits["needs"] = sorted(needs)
    return budget


def tool(*command: str) -> str:
    wheels = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin"
    path = os.pathsep.join([str(wheels), os.environ.get("PATH", "")])
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PATH": path}
    ).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--propose", action="store_true")
    options = parser.parse_args()

    kernels = read_kernels(options.library)
    if not kernels:
        print(f"{options.library} holds no kernels.")
        return 1
    budget: Budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    if options.propose:
        proposed = propose(kernels, budget).items()
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(limits)}" for name, limits in proposed)
        BUDGET.write_text(f"{{\n{lines}\n}}\n")
        return 0
    problems = check(kernels, budget)
    print(*problems, sep="\n", end="\n" if problems else "")
    architectures = sorted({kernel.architecture for kernel in kernels}, key=architecture_number)
    print(f"{len(kernels)} kernels for {', '.join(architectures)}: {len(problems)} problems.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
