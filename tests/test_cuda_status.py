"""What `seq2seq_fast.cuda_status()` says of each state in which an installation can find itself."""

from __future__ import annotations

from typing import Any

import pytest

import seq2seq_fast
from seq2seq_fast import _native, cuda

pytestmark = pytest.mark.cpu_only("no kernel runs here")

H100 = {"name": "NVIDIA H100", "capability": 90, "memory": 80 << 30}
B200 = {"name": "NVIDIA B200", "capability": 100, "memory": 180 << 30}
BUILD = {"built": True, "why": "", "architectures": "80-real;90-real"}
STATUS = {
    "loaded": True,
    "error": "",
    "devices": [H100],
    "driver": 13020,
    "runtime": 13000,
    "emulated": False,
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "ready: cuda:0 NVIDIA H100 (9.0, 80 GiB); driver for CUDA 13.2, built with 13.0"),
        (
            {"devices": [H100, H100]},
            "ready: cuda:0 NVIDIA H100 (9.0, 80 GiB), cuda:1 NVIDIA H100 (9.0,",
        ),
        ({"loaded": False, "error": "cannot open it"}, "not loaded: cannot open it"),
        (
            {"driver": 0, "devices": []},
            "no driver: none of NVIDIA's is installed; this build needs one for CUDA",
        ),
        (
            {"driver": 12040, "devices": []},
            "driver too old: it is for CUDA 12.4, this build needs one for",
        ),
        ({"devices": [], "error": "there is no CUDA device"}, "no device: there is no CUDA device"),
        (
            {"devices": [B200]},
            "no code for the device: cuda:0 NVIDIA B200 (10.0, 180 GiB); this build is",
        ),
        ({"emulated": True}, "emulated: "),
    ],
)
def test_sentence(changes: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cuda._sentence(BUILD, {**STATUS, **changes}).startswith(sentence)


def test_built_without() -> None:
    build = {"built": False, "why": "no CUDA compiler (nvcc) was found", "architectures": ""}
    status = {**STATUS, "loaded": False, "error": "there is no library", "devices": []}
    assert cuda._sentence(build, status) == "built without: no CUDA compiler (nvcc) was found"


def test_hidden_devices_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    sentence = cuda._sentence(BUILD, {**STATUS, "devices": [], "error": "there is no CUDA device"})
    assert sentence == "no device: there is no CUDA device (CUDA_VISIBLE_DEVICES=-1)"


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        (90, "90", True),
        (90, "80-real;90-real", True),
        (89, "80-real", True),  # machine code of the same generation
        (90, "80-real", False),
        (90, "80", True),  # PTX
        (90, "80-virtual", True),
        (80, "86-real", False),
        (80, "90", False),
        (121, "80-real;90-real;100-real;120", True),
        (103, "80-real;90-real;100-real;120", True),
        (90, "", False),
    ],
)
def test_code_for_a_device(capability: int, architectures: str, expected: bool) -> None:
    assert cuda._has_code_for(capability, architectures) is expected


def test_this_installation() -> None:
    build = _native.cuda_build()
    status = seq2seq_fast.cuda_status()
    assert set(build) == {"built", "emulated", "why", "compiler", "architectures"}
    emulated = _native.cuda_status()["emulated"]  # whatever the extension was built with: .ci/emulated.sh
    assert status.startswith("emulated: ") == emulated
    assert status.startswith("built without: ") == (not build["built"] and not emulated)
    assert bool(build["compiler"]) == bool(build["architectures"]) == build["built"] != bool(build["why"])
