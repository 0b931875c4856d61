"""Fixtures of the whole suite: the device a test runs on, PyTorch where there is one, a fresh generator."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest


class Device:
    """Where arrays live. A test is written once: `device.run(f, x)` is numpy in, numpy out, everywhere."""

    name = "cpu"

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with numpy arrays moved to this device; results come back as numpy arrays."""
        return function(*args, **kwargs)


DEVICES = {"cpu": Device}  # a backend is one more line


@pytest.fixture(params=sorted(DEVICES))
def device(request: pytest.FixtureRequest) -> Device:
    return DEVICES[request.param]()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name, so that a test draws the same numbers alone and among others."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, the second opinion. Its tests carry the mark `torch`: `-m "not torch"` leaves them out."""
    module = pytest.importorskip("torch", reason="PyTorch, this test's second opinion, is not installed.")
    module.set_num_threads(1)  # its threads and ours would wait for each other
    return module


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """`threads(n)` sets the number of threads until the test ends."""
    seq2seq_fast: Any = importlib.import_module("seq2seq_fast")
    before = seq2seq_fast.get_num_threads()
    yield seq2seq_fast.set_num_threads
    seq2seq_fast.set_num_threads(before)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torch: needs PyTorch, so it is left out under the sanitizers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.torch)
