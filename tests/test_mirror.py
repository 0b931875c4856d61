"""The backends are mirror images: a leaf op has a file in each, a kernel one name and one signature."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.cpu_only("no kernel runs here")

CSRC = Path(__file__).parent.parent / "csrc"
KERNEL = re.compile(r"^(void|int64_t) (\w+)\(const (\w+)&(?: \w+)?\)", re.MULTILINE)
"""A kernel's declaration or definition, which begins its line: what it returns, its name, its arguments."""
POINTER = re.compile(r"^  (void|int64_t) \(\*(\w+)\)\(const (\w+)&\);", re.MULTILINE)
"""Its pointer in the table."""

ON_CPUS = {"round"}
"""Those of which other devices have none."""

Signatures = list[tuple[str, str, str]]


def declared(backend: str) -> Signatures:
    return KERNEL.findall((CSRC / backend / "table.h").read_text())


def stems(backend: str, suffix: str) -> set[str]:
    return {file.stem for file in (CSRC / backend).glob(f"*{suffix}")}


def defined(backend: str, suffix: str) -> dict[tuple[str, str, str], str]:
    """The file of each kernel, by signature."""
    wanted = set(declared(backend))
    return {
        signature: file.stem
        for file in sorted((CSRC / backend).glob(f"*{suffix}"))
        for signature in KERNEL.findall(file.read_text())
        if signature in wanted
    }


def in_table(backend: str) -> list[str]:
    """The functions of the table, in order: lines of its initializer that begin with a lower-case name."""
    text = (CSRC / backend / "table.cpp").read_text()
    (initializer,) = re.findall(r"const Kernels table = \{(.*?)\n\};", text, re.DOTALL)
    names: list[str] = re.findall(
        r"^ +(?!true,|nullptr,|kLanes)(?:kPairs \? )?([a-z]\w*)\b", initializer, re.MULTILINE
    )
    return names


def test_an_op_has_a_file_in_each_backend() -> None:
    assert stems("cuda", ".cu") == stems("cpu", ".cpp") - {"table"}


def test_kernels_have_one_signature() -> None:
    table = POINTER.findall((CSRC / "ops" / "kernels.h").read_text())
    assert len(table) > 30
    assert declared("cpu") == table
    assert declared("cuda") == [kernel for kernel in table if kernel[1] not in ON_CPUS]


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_tables_are_in_order(backend: str) -> None:
    assert in_table(backend) == [name for _, name, _ in declared(backend)]


def test_kernels_are_defined_in_their_op_s_file() -> None:
    cpu, cuda = defined("cpu", ".cpp"), defined("cuda", ".cu")
    assert set(cpu) == set(declared("cpu"))
    assert cuda == {signature: file for signature, file in cpu.items() if signature[1] not in ON_CPUS}
