"""The benchmarks for a GPU: what is measured in what order, limits, verdicts, what survives a crash; and a
rehearsal of the whole where the package is built on the emulated backend."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="The benchmarks compare with PyTorch, which is not installed.")
pytest.importorskip("benchmarks", reason="The benchmarks are not beside the tests.")

import seq2seq_fast
from benchmarks.gpu import cells, checks, goals, latency, limits, plan, report, supervise
from benchmarks.gpu.cells import LayerCell, RouteCell, SearchCell, TrainingCell
from benchmarks.gpu.goals import CUDNN_BOX, GOALS, OUTSIDE, SMALL_BOX, in_box, verdicts
from benchmarks.gpu.kernels import Plan
from benchmarks.gpu.place import Place
from benchmarks.gpu.store import CONTEXT_LOST, Store
from benchmarks.gpu.timing import Contestant, Effort, Times, against, contest, variables
from benchmarks.inference.limits import Limit

ROOT = Path(__file__).resolve().parents[1]
BASE = LayerCell("LSTM", 512, 8, 50, "float16")


# --- what is measured, and in what order


def test_the_grid_is_the_one_promised() -> None:
    """Issue 4: widths, batches, times, layers, directions, ragged or not, types; 18 decodings of a type."""
    layers = list(cells.layer_cells())
    assert len(layers) == len({cell.name for cell in layers})
    plain = [cell for cell in layers if cell.departures == 0]
    assert len(plain) == 2 * 3 * 5 * 4 * 3
    for field, values in {
        "hidden": {128, 256, 512, 768, 1024},
        "batch": {1, 8, 16, 64},
        "time": {1, 50, 1024},
        "layers": {1, 2},
        "bidirectional": {False, True},
        "ragged": {False, True},
        "backward": {False, True},
        "precision": {"float16", "bfloat16", "float32"},
    }.items():
        assert {getattr(cell, field) for cell in layers} == values
    assert len(list(cells.search_cells())) == 3 * 3 * 2 * 3
    assert len(list(cells.training_cells())) == 3


def test_what_matters_most_comes_first() -> None:
    order = plan.everything()
    assert len(order) == len(set(order)) > 3000
    last_promise = max(i for i, cell in enumerate(order) if plan.rank(cell) <= 2)
    assert all(plan.rank(cell) <= 2 for cell in order[:last_promise])
    for suite in ("layers", "decoding", "training"):
        assert any(cell.suite == suite for cell in order[:200])
    swept = [cell for cell in order if plan.rank(cell) == 0]
    assert {"LSTM", "GRU"} == {cell.kind for cell in swept if isinstance(cell, LayerCell)}
    assert len(swept) < 120
    assert any(cell.backward for cell in swept if isinstance(cell, LayerCell))


def test_ways_to_run_a_recurrence() -> None:
    cell = RouteCell(BASE)
    assert "grid:16x8" in cell.routes and "cluster:8x1" in cell.routes and "grid:64x8" not in cell.routes
    assert plan.rank(cell) > plan.rank(TrainingCell(80, 256))
    chosen = Plan("grid", 16, 2, 8, 100.0)
    assert chosen.answers("grid") and chosen.answers("grid:16x2")
    assert not (chosen.answers("grid:16x4") or chosen.answers("cluster") or chosen.answers("step"))


@pytest.mark.parametrize(
    ("changes", "box"),
    [
        ({}, CUDNN_BOX),
        ({"hidden": 128}, SMALL_BOX),
        ({"batch": 1}, OUTSIDE),
        ({"precision": "float32"}, OUTSIDE),
        ({"precision": "bfloat16"}, OUTSIDE),
        ({"kind": "GRU"}, OUTSIDE),
        ({"layers": 2}, OUTSIDE),
        ({"ragged": True}, OUTSIDE),
        ({"backward": True}, None),
        ({"time": 1}, None),
    ],
)
def test_boxes_of_cudnn(changes: dict[str, Any], box: str | None) -> None:
    cell = LayerCell(**{**vars(BASE), **changes})
    assert [name for name in (CUDNN_BOX, SMALL_BOX, OUTSIDE) if in_box(name)(cell)] == ([box] if box else [])


# --- verdicts


def row(cell: cells.Cell, **ratios: float) -> dict[str, Any]:
    peers = {name.replace("_", " "): {"ratio": ratio} for name, ratio in ratios.items()}
    return {"name": cell.name, "suite": cell.suite, "peers": peers}


def test_a_promise_is_kept_if_every_cell_keeps_it() -> None:
    decode = [
        SearchCell(80, 256, 1, beam, precision) for beam in (1, 5) for precision in ("float32", "float16")
    ]
    rows = [
        row(cell, PyTorch_eager=11.0 + i, PyTorch_in_CUDA_graphs=2.0 + i) for i, cell in enumerate(decode)
    ]
    rows.append({"name": BASE.name, "failed": "no end after 60 s"})
    found = {(v.goal.what, v.goal.peer): v for v in verdicts(rows, [*decode, BASE])}
    assert found["decoding, batch 1, V 80 and 8000", "PyTorch eager"].word == "met"
    graphs = found["decoding, batch 1, V 80 and 8000", "PyTorch in CUDA graphs"]
    assert graphs.word == "missed"
    said = graphs.as_row()
    assert (said["worst"], said["worst_cell"], said["median"], said["kept"]) == (2.0, decode[0].name, 3.5, 3)
    assert found[CUDNN_BOX, "PyTorch"].word == "not measured"
    table = report.goals(list(found.values()))
    assert "3/4/4" in table and "0/0/1" in table


def test_each_goal_concerns_something() -> None:
    everything = plan.everything()
    for goal in GOALS:
        assert any(goal.concerns(cell) for cell in everything), goal.what
    assert not goals.promised(SearchCell(80, 256, 1, 1, "int8"))  # like against like


# --- limits

VALUES = {
    latency.name_of_memory("L2", False): 5000.0,
    latency.name_of_memory("memory", False): 3000.0,
    **{latency.name_of_product(p): 100.0 for p in ("float32", "float16", "bfloat16", "int8")},
}
RATES = limits.Rates(VALUES, multiprocessors=132, l2_bytes=50e6)


def test_limit_of_a_step_is_bringing_both_matrices() -> None:
    cell = LayerCell("LSTM", 1024, 1, 1, "float32")
    bytes_read = 2 * 4 * 4 * 1024 * 1024 + 2 * 4 * 1024
    assert limits.of(cell, RATES) == Limit(pytest.approx(bytes_read / 5e12, rel=1e-3), "memory")


def test_limit_of_large_products_is_their_operations() -> None:
    found = limits.of(LayerCell("LSTM", 1024, 64, 50, "float16"), RATES)
    assert found.bound == "compute"
    assert found.seconds == pytest.approx(2 * 2 * 4 * 1024 * 1024 * 64 * 50 / 1e14, rel=0.05)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (BASE, LayerCell("LSTM", 512, 8, 1024, "float16")),
        (BASE, LayerCell("LSTM", 512, 8, 50, "float16", layers=2)),
        (BASE, LayerCell("LSTM", 512, 8, 50, "float16", backward=True)),
        (LayerCell("LSTM", 512, 8, 50, "float16", ragged=True), BASE),
        (SearchCell(80, 256, 1, 1, "float16"), SearchCell(32000, 1024, 1, 1, "float16")),
        (SearchCell(32000, 1024, 1, 1, "float16"), SearchCell(32000, 1024, 1, 1, "float32")),
        (TrainingCell(80, 256), TrainingCell(8000, 512)),
    ],
)
def test_limits_grow_with_the_work(small: cells.Cell, large: cells.Cell) -> None:
    assert 0 < limits.of(small, RATES).seconds < limits.of(large, RATES).seconds


def test_weights_that_stay_on_the_chip_are_read_once() -> None:
    quick = {name: 1e9 if name.startswith("matrix") else value for name, value in VALUES.items()}
    rates = limits.Rates(quick, multiprocessors=132, l2_bytes=50e6)
    few, many = (limits.of(LayerCell("GRU", 256, 1, t, "float16"), rates).seconds for t in (50, 100))
    rows = 2 * 4 * 50 * 256
    assert many - few == pytest.approx(rows / 5e12, rel=0.01)


# --- timing


def test_variables_are_set_for_a_contestant_alone() -> None:
    import os

    with variables({"S2S_TEST_ROUTE": "grid"}):
        assert os.environ["S2S_TEST_ROUTE"] == "grid"
    assert "S2S_TEST_ROUTE" not in os.environ


def test_contest() -> None:
    seen: dict[str, int] = {"fast": 0, "slow": 0}

    def call(name: str, seconds: float) -> Any:
        def run() -> None:
            seen[name] += 1
            time.sleep(seconds)

        return run

    contestants = [Contestant("fast", call("fast", 0.001)), Contestant("slow", call("slow", 0.004))]
    times = contest(contestants, Place(emulated=True), Effort(seconds=0.04, rounds=2))
    assert len(times["fast"].blocks) == len(times["slow"].device) == 2
    assert seen["fast"] > seen["slow"] >= 2 * 2 + 3
    assert against(times["fast"], times["slow"])["ratio"] > 1
    assert set(Times([1.0], [1.0], [1.0]).row()) == {"p50_ms", "p99_ms", "device_ms", "calls"}


# --- what survives

ABOUT = {"device": "a GPU", "commit": "0123", "torch": "2", "emulated": False}


def test_a_second_run_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(ABOUT)
    store.add({"name": "a", "value": 1.0})
    with store.path.open("a") as file:
        file.write('{"name": "b", "val')  # the power went
    again = Store(tmp_path)
    again.open(ABOUT)
    assert [row["name"] for row in again.rows()] == ["a"]
    with pytest.raises(ValueError, match="measurements of commit '0123', this is '4567'"):
        Store(tmp_path).open({**ABOUT, "commit": "4567"})


HANGS = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from benchmarks.gpu.store import Store
store = Store(Path({out!r}))
for name in ("good", "crashes", "hangs", "loses its context", "better"):
    if name in {{row["name"] for row in store.rows()}}:
        continue
    store.begin(name)
    if name == "crashes":
        import os
        os.abort()
    if name == "hangs":
        time.sleep(60)
    store.add({{"name": name}})
    store.end()
    if name == "loses its context":
        sys.exit({lost})
"""


def test_a_cell_that_hangs_or_crashes_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "LONGEST_CELL", 1.0)
    store = Store(tmp_path)
    store.open(ABOUT)
    code = HANGS.format(root=str(ROOT), out=str(tmp_path), lost=CONTEXT_LOST)
    said: list[str] = []
    assert supervise.measure([sys.executable, "-c", code], {}, store, time.time() + 60, said.append)
    failed = {row["name"]: row.get("failed") for row in store.rows()}
    assert failed == {
        "good": None,
        "crashes": "the process ended with status -6",
        "hangs": "no end after 1 s",
        "loses its context": None,
        "better": None,
    }
    assert len(said) == 2


def test_a_command_that_cannot_begin_ends_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    command = [sys.executable, "-c", "raise SystemExit('no')"]
    assert not supervise.measure(command, {}, Store(tmp_path), time.time() + 60, said.append)
    assert said == ["the process ended with status 1"]


def test_test_files_run_side_by_side(tmp_path: Path) -> None:
    commands = {
        "passes": [sys.executable, "-c", "print('3 passed')"],
        "fails": [sys.executable, "-c", "print('1 failed'); raise SystemExit(1)"],
        "hangs": [sys.executable, "-c", "import time; print('..', flush=True); time.sleep(60)"],
    }
    outcomes = list(checks._run_all(commands, {}, tmp_path, time.time() + 60, 3, 4.0))
    assert {o.what: o.verdict for o in outcomes} == {"passes": "passed", "fails": "failed", "hangs": "hung"}
    assert {o.what: o.summary for o in outcomes}["passes"] == "3 passed"
    late = list(checks._run_all(commands, {}, tmp_path, time.time() - 1, 3, 4.0))
    assert {o.verdict for o in late} == {"left out"}


def test_the_twins_come_first() -> None:
    files = checks.test_files()
    assert files[0] == "tests/test_cuda_ptx.py"
    assert "tests/ops/test_softmax.py" in files and len(files) == len(set(files))
    assert set(files[1 : 1 + len(checks.LONG)]) == set(checks.LONG), "the longest that are named, all there"


# --- the command itself


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.skipif(
    seq2seq_fast.cuda_status().startswith(("ready", "emulated")), reason="There is CUDA, if emulated."
)
@pytest.mark.parametrize("options", [[], ["--no-build"], ["--emulated"]], ids=" ".join)
def test_without_cuda_it_ends_with_a_sentence(tmp_path: Path, options: list[str]) -> None:
    done = command("--out", str(tmp_path), *options)
    assert done.returncode == 1
    assert done.stderr.startswith(("There is no GPU here", "There is nothing to measure"))
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not seq2seq_fast.cuda_status().startswith("emulated"), reason="This is no build on the emulated backend."
)
def test_a_rehearsal_on_the_emulated_device(tmp_path: Path) -> None:
    done = command("--emulated", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert [row for row in result["rows"] if "failed" in row] == []
    measured = {row["name"] for row in result["rows"]}
    assert {cell.name for cell in cells.QUICK} <= measured
    if Path(seq2seq_fast.__path__[0], "_cuda_tests.so").exists():  # CMake option S2S_CUDA_TESTS
        assert any(name.startswith("flag barrier") for name in measured)
    absent = [peer for row in result["rows"] for peer in row.get("peers", {}).values() if "absent" in peer]
    assert absent == []
    assert result["machine"]["emulated"] is True
    assert (tmp_path / "table.md").read_text().startswith("A rehearsal: its figures mean nothing.")
    again = command("--emulated", "--quick", "--out", str(tmp_path))  # nothing is left to do
    assert again.returncode == 0 and len(Store(tmp_path).rows()) == len(result["rows"])
