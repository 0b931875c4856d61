"""The CUDA backend in a sentence: is it ready, and if not, what is missing."""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path
from typing import Any

from seq2seq_fast import _native


def cuda_status() -> str:
    """What the CUDA backend of this installation can do on this machine, or why it can do nothing.

    The sentence begins with `ready` (then the devices, as `device="cuda:0"` numbers them), `no driver`,
    `driver too old`, `no device`, `no code for the device`, `built without`, `not loaded` or `emulated` (a
    build for tests). The first call opens the backend and asks the driver.
    """
    return _sentence(_native.cuda_build(), _native.cuda_status())


@functools.cache
def find_cublas() -> str | None:
    """Return where pip has put cuBLAS, if it has: the extra [cuda], or what PyTorch brings."""
    for name in ("nvidia/cu13/lib/libcublas.so.13", "nvidia/cublas/lib/libcublas.so.12"):
        for folder in sys.path:
            path = Path(folder, name)
            if path.is_file():
                return str(path)
    return None


@functools.cache
def offer_cublas() -> None:
    """Tell the backend of it, which opens it at the first large product, never where S2S_CUBLAS is 0."""
    if path := find_cublas():
        _native.set_cublas(path)


def _sentence(build: dict[str, Any], status: dict[str, Any]) -> str:
    devices, error = status["devices"], status["error"]
    driver, runtime = _version(status["driver"]), _version(status["runtime"])
    if status["emulated"]:
        return "emulated: a build for tests, whose CUDA kernels run slowly on the CPU"
    if not build["built"]:
        return f"built without: {build['why']}"
    if not status["loaded"]:
        return f"not loaded: {error}"
    if status["driver"] == 0:
        return f"no driver: none of NVIDIA's is installed; this build needs one for CUDA {runtime} or newer"
    if status["driver"] // 1000 < status["runtime"] // 1000:
        return f"driver too old: it is for CUDA {driver}, this build needs one for {runtime} or newer"
    if not devices:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return f"no device: {error}" + ("" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})")
    names = ", ".join(f"cuda:{index} {_describe(device)}" for index, device in enumerate(devices))
    if not any(_has_code_for(device["capability"], build["architectures"]) for device in devices):
        return f"no code for the device: {names}; this build is for {build['architectures']}"
    return f"ready: {names}; driver for CUDA {driver}, built with {runtime}"


def _has_code_for(capability: int, architectures: str) -> bool:
    """Whether a device of `capability` (90: 9.0) runs code for `architectures`, as CMake writes them.

    "80-real;90": machine code runs on its own generation, from its own revision on; what is not `-real` is
    there as PTX, too, which the driver translates for anything newer.
    """
    for number, kind in re.findall(r"(\d+)[af]?(-real|-virtual)?", architectures):
        same_generation = int(number) // 10 == capability // 10
        if int(number) <= capability and (same_generation or kind != "-real"):
            return True
    return False


def _describe(device: dict[str, Any]) -> str:
    capability = device["capability"]
    return f"{device['name']} ({capability // 10}.{capability % 10}, {device['memory'] / 2**30:.0f} GiB)"


def _version(number: int) -> str:
    """13020, as CUDA counts, is version 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
