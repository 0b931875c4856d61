"""Fixtures of the whole suite: the device a test runs on, PyTorch where there is one, a fresh generator."""

from __future__ import annotations

import importlib
import signal
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from place import DEVICE, Device

try:
    import hypothesis
except ImportError:  # a wheel's tests without it leave out what needs it
    pass
else:
    # The same examples in each run, so that a failure is the change's; others: --hypothesis-profile=default
    hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
    hypothesis.settings.load_profile("same")


@pytest.fixture(params=[0], ids=lambda _: DEVICE.name)
def device() -> Device:
    return DEVICE


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name, so that a test draws the same numbers alone, among others and on every
    device."""
    name = request.node.name.replace(f"[{DEVICE.name}", "[cpu")
    return np.random.default_rng(zlib.crc32(name.encode()))


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, the second opinion. Its tests carry the mark `torch`: `-m "not torch"` leaves them out."""
    module = pytest.importorskip("torch", reason="PyTorch, this test's second opinion, is not installed.")
    module.set_num_threads(1)  # its threads and ours would wait for each other
    return module


@pytest.fixture
def own_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cuBLAS: large products are made by our own kernels, whose rows do not show their company. For tests
    that compare bits; of the CPU it changes nothing."""
    monkeypatch.setenv("S2S_CUBLAS", "0")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """`threads(n)` sets the number of threads until the test ends."""
    seq2seq_fast: Any = importlib.import_module("seq2seq_fast")
    before = seq2seq_fast.get_num_threads()
    yield seq2seq_fast.set_num_threads
    seq2seq_fast.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in this process, a `Run` of command_line.py."""
    return importlib.import_module("command_line").Run(capsys, monkeypatch)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where the tests run: cuda is a GPU, or the emulated one of a build with S2S_CUDA=EMULATED",
    )


MARKERS = (
    "torch: needs PyTorch, so it is left out under the sanitizers",
    "cpu_only(reason): says nothing of other devices, so it is left out under --device cuda",
    "big: too large for an emulated device, which runs some million threads a second",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--device") == "cuda":
        _native: Any = importlib.import_module("seq2seq_fast._native")
        if not _native.cuda_status()["devices"]:
            raise pytest.UsageError(f"--device cuda: {_native.cuda_status()['error']}.")
        DEVICE.emulated = _native.cuda_status()["emulated"]
        DEVICE.name = "cuda-emulated" if DEVICE.emulated else "cuda"
        importlib.import_module("on_device").install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.torch)
        cpu_only = item.get_closest_marker("cpu_only")
        if cpu_only is not None and DEVICE.name != "cpu":
            item.add_marker(pytest.mark.skip(reason=f"Of the CPU only: {cpu_only.args[0]}."))
        if DEVICE.emulated and item.get_closest_marker("big") is not None:
            item.add_marker(pytest.mark.skip(reason="Too large for the emulated device."))
