"""The device that this run of the suite is about: the option --device of conftest.py. A module of its own,
since pytest and the tests would each have a conftest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from seq2seq_fast import _native

Size = TypeVar("Size")


class Device:
    """Where arrays live. A test is written once: `device.run(f, x)` is numpy in, numpy out, everywhere.

    So is a plain `f(x)` of the package's public functions: see on_device.py."""

    name = "cpu"
    emulated = False

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with numpy arrays moved to this device; results come back as numpy arrays."""
        return function(*args, **kwargs)

    def rounds(self, compute_type: str) -> bool:
        """Whether more than the weights is rounded, and sums have several orders: on tensor cores."""
        return self.name != "cpu" and compute_type in ("float16", "bfloat16")


DEVICE = Device()


def size(full: Size, emulated: Size) -> Size:
    """How large a test is: an emulated device runs some million threads a second."""
    return emulated if DEVICE.emulated else full


def rounds_factors() -> bool:
    """Whether training in bfloat16 rounds anything: on a device, and on processors that multiply it."""
    return DEVICE.name != "cpu" or _native.cpu_multiplies_bfloat16()
