"""What `import seq2seq_fast` costs: numpy, the extension, the standard library, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

PROGRAM = """
import json, sys
import numpy

before = set(sys.modules)
{statement}
new = sorted(set(sys.modules) - before)
print(json.dumps([[name, name.partition(".")[0] in sys.stdlib_module_names] for name in new]))
"""

pytestmark = pytest.mark.cpu_only("no kernel runs here")


def imported_by(statement: str) -> dict[str, bool]:
    """The modules a statement loads in a fresh interpreter that has numpy; True: of the standard library."""
    program = PROGRAM.format(statement=statement)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names: Any = json.loads(result.stdout)
    return dict(names)


def test_import_pulls_in_nothing_but_numpy_and_the_extension() -> None:
    modules = imported_by("import seq2seq_fast")
    foreign = {name.partition(".")[0] for name, stdlib in modules.items() if not stdlib}
    assert foreign <= {"seq2seq_fast", "numpy"}, sorted(foreign)
    assert "seq2seq_fast._native" in modules


@pytest.mark.parametrize("name", ["ops", "nn", "Seq2Seq", "Seq2SeqConfig", "Encoder", "Decoder"])
def test_running_a_network_needs_nothing_else(name: str) -> None:
    modules = imported_by(f"import seq2seq_fast; seq2seq_fast.{name}")
    foreign = {name.partition(".")[0] for name, stdlib in modules.items() if not stdlib}
    assert foreign <= {"seq2seq_fast", "numpy"}, sorted(foreign)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says what a process has opened")
def test_the_cuda_backend_is_opened_when_it_is_asked_for() -> None:
    program = """
import seq2seq_fast
libraries = open("/proc/self/maps").read()
print(any(name in libraries for name in ("_cuda_backend", "libcuda")))
print(seq2seq_fast._native.cuda_status()["loaded"], "_cuda_backend" in open("/proc/self/maps").read())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, loaded, after = result.stdout.split()
    assert before == "False"
    assert loaded == after


def test_memory_is_counted_and_given_back() -> None:
    import seq2seq_fast
    from seq2seq_fast import ops

    ops.softmax(np.ones((64, 64), np.float32))
    before = seq2seq_fast.memory_stats()
    assert set(before) == {"in_use", "kept", "system_calls"}
    seq2seq_fast.release_memory()
    after = seq2seq_fast.memory_stats()
    assert after["kept"] == 0
    assert after["in_use"] == before["in_use"]


def test_every_public_name_exists() -> None:
    import seq2seq_fast

    for name in seq2seq_fast.__all__:
        assert getattr(seq2seq_fast, name) is not None
    assert set(seq2seq_fast.__all__) <= set(dir(seq2seq_fast))
    with pytest.raises(AttributeError, match="no_such_name"):
        seq2seq_fast.no_such_name  # noqa: B018
