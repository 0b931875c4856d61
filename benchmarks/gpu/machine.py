"""Names the machine: the GPU as the driver describes it, the versions of all that is timed."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from . import build
from .build import ROOT

QUERY = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "clocks.max.mem",
    "power.limit",
    "temperature.gpu",
)


def output_of(command: Sequence[str]) -> str:
    """The last lines' text of a command; nothing if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def gpu() -> dict[str, str]:
    """What the driver's tool says of the first GPU; nothing where there is none. Changes no setting."""
    text = output_of(["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader", "--id=0"])
    values = [value.strip() for value in text.splitlines()[0].split(",")] if text else []
    return dict(zip(QUERY, values, strict=True)) if len(values) == len(QUERY) else {}


def nvcc() -> str:
    """The compiler's release line."""
    lines = output_of([shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc", "--version"]).splitlines()
    return lines[-2] if len(lines) > 1 else "none"


def commit() -> str:
    """Of the checkout, with a + where files differ from it; without git, a digest of the sources."""
    found = output_of(["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"])
    return found or f"sources {build.digest()[:12]}"


def describe(*, emulated: bool) -> dict[str, Any]:
    """Imports the package and PyTorch, which takes seconds."""
    import torch

    import seq2seq_fast

    cudnn: Any = torch.backends.cudnn
    about: dict[str, Any] = {
        "device": "emulated" if emulated else torch.cuda.get_device_name(0),
        "emulated": emulated,
        "multiprocessors": 4,
        "capability": 90,
        "l2_bytes": 2**20,
        **gpu(),
        "cuda_status": seq2seq_fast.cuda_status(),
        "commit": commit(),
        "nvcc": nvcc(),
        "seq2seq_fast": seq2seq_fast.__version__,
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
        "tf32_in_cudnn": cudnn.allow_tf32,
        "tf32_in_products": torch.backends.cuda.matmul.allow_tf32,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if not emulated:
        properties = torch.cuda.get_device_properties(0)
        about |= {
            "multiprocessors": properties.multi_processor_count,
            "capability": 10 * properties.major + properties.minor,
            "l2_bytes": properties.L2_cache_size,
        }
    return about
