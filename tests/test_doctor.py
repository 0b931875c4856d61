"""Which instruction sets the kernels use, and what `seq2seq-fast doctor` tells about it and the rest."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import seq2seq_fast
from seq2seq_fast import _native
from seq2seq_fast.cli import main
from seq2seq_fast.cli.doctor import EXTRAS

pytestmark = pytest.mark.cpu_only("no kernel runs here")

ROOT = Path(__file__).parent.parent
FLAGS = {
    "sse4": "sse4_2 popcnt ssse3 cx16 lahf_lm",
    "avx2": "avx2 fma f16c bmi1 bmi2 abm movbe",
    "avx512": "avx512f avx512bw avx512vl avx512dq avx512cd",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
}
"""Linux' names of what each instruction set needs besides what stands above it."""


def run(*arguments: str, isa: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "S2S_CPU_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


def doctor(isa: str = "") -> dict[str, Any]:
    result = run("-m", "seq2seq_fast", "doctor", "--json", isa=isa)
    assert result.returncode == 0, result.stderr
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


# ---- instruction sets


def test_instruction_sets() -> None:
    assert seq2seq_fast.cpu_isas()
    assert set(seq2seq_fast.cpu_isas()) <= set(_native.compiled_isas())
    assert seq2seq_fast.cpu_isa() in seq2seq_fast.cpu_isas()
    assert "S2S_CPU_ISA" in (seq2seq_fast.cpu_isa.__doc__ or "")
    assert "weakest first" in (seq2seq_fast.cpu_isas.__doc__ or "")


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="Linux on x86-64 has them"
)
def test_they_are_those_of_linux_flags() -> None:
    (flags, *_) = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")
    ]
    expected = []
    for isa, needs in FLAGS.items():
        if not set(needs.split()) <= set(flags.split()):
            break
        expected.append(isa)
    assert seq2seq_fast.cpu_isas() == [isa for isa in expected if isa in _native.compiled_isas()]


@pytest.mark.parametrize("isa", seq2seq_fast.cpu_isas())
def test_a_variable_chooses(isa: str) -> None:
    assert run("-c", "import seq2seq_fast; print(seq2seq_fast.cpu_isa())", isa=isa).stdout.strip() == isa


def test_a_variable_that_names_none() -> None:
    program = "import seq2seq_fast, numpy; seq2seq_fast.ops.softmax(numpy.ones((1, 3), 'f4'))"
    sentence = "S2S_CPU_ISA=abacus is not an instruction set of this processor and build: "
    assert (
        f"RuntimeError: {sentence}{', '.join(seq2seq_fast.cpu_isas())}."
        in run("-c", program, isa="abacus").stderr
    )


# ---- the command


def test_facts() -> None:
    facts = doctor()
    assert facts["seq2seq_fast"] == seq2seq_fast.__version__
    assert Path(facts["extension"]).name.startswith("_native")
    assert facts["instruction_sets"] == {
        "in_use": seq2seq_fast.cpu_isas()[-1],
        "why": "the strongest that processor and build have in common",
        "usable": seq2seq_fast.cpu_isas(),
        "compiled": _native.compiled_isas(),
        "multiplies_bfloat16": _native.cpu_multiplies_bfloat16(),
    }
    assert facts["threads"] >= 1
    assert facts["cuda"] == {"status": seq2seq_fast.cuda_status(), **_native.cuda_build()}
    assert facts["extras"]["cli"] == {"missing": []}
    if Path("/proc/cpuinfo").exists():
        assert facts["processor"]
    assert all(size >= 1024 for size in facts["caches"].values())


def test_a_choice_is_explained() -> None:
    weakest = seq2seq_fast.cpu_isas()[0]
    found = doctor(isa=weakest)["instruction_sets"]
    assert found["in_use"] == weakest
    assert found["why"] == f"S2S_CPU_ISA={weakest}"


def test_it_runs_where_kernels_do_not() -> None:
    found = doctor(isa="abacus")["instruction_sets"]
    assert found["in_use"] is None
    assert "abacus is not" in found["why"]
    assert found["multiplies_bfloat16"] is False
    assert found["usable"] == seq2seq_fast.cpu_isas()


def test_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "absent", ("json", "no_such_module"))
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert not end.value.code
    out = capsys.readouterr().out
    for word in (
        "seq2seq_fast",
        "instruction set",
        "of this build",
        "in bfloat16",
        "threads",
        "processor",
        "python",
        "numpy",
    ):
        assert word in out
    assert "without no_such_module: pip install 'seq2seq_fast[absent]'" in out


def test_it_knows_every_extra() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for_developers = {"bench", "dev", "test"}
    a_library = {"cuda"}  # no module: find_facts()["cublas"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - for_developers - a_library
