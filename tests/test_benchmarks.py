"""What the benchmarks compute around the timing: limits, which cells run, verdicts, tables, the plot."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="The benchmarks compare with PyTorch, which is not installed.")
pytest.importorskip("benchmarks", reason="The benchmarks are not beside the tests.")

from benchmarks.caches import Level, nested, pass_seconds
from benchmarks.inference import acceptance, cells, limits, report, suite
from benchmarks.inference.acceptance import GOALS, Goal
from benchmarks.inference.cells import LayerCell, SearchCell, Task
from benchmarks.inference.contestant import PEERS, Absent, Contestant, check, of_like_precision
from benchmarks.inference.run import checked, make_row
from benchmarks.networks import Size
from benchmarks.rates import COMPUTE_TYPES, marginal_rate
from benchmarks.timing import Samples, contest, medians

pytestmark = pytest.mark.cpu_only("no kernel runs here")

LEVELS = [Level("L1", 100.0, 10.0), Level("L2", 1000.0, 5.0), Level("memory", math.inf, 1.0)]
STEP = LayerCell("LSTM", 128, 1, 1)


# --- rates and limits ---


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, 0), (50, 5), (100, 10), (600, 10 + 100), (1000, 10 + 180), (1500, 10 + 180 + 500)],
)
def test_a_pass_reads_each_level_at_its_rate(size: float, expected: float) -> None:
    assert pass_seconds(size, LEVELS) == pytest.approx(expected)


def test_no_level_is_slower_than_the_one_around_it() -> None:
    disturbed = [Level("L1", 100.0, 3.0), Level("L2", 1000.0, 2.0), Level("memory", math.inf, 5.0)]
    assert [level.rate for level in nested(disturbed)] == [5.0, 5.0, 5.0]
    assert nested(LEVELS) == LEVELS


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((1.0, 2.0), 30.0), ((1.0, 1.001), 2 * 40 / 1.001), ((1.0, 0.5), 80.0)],
    ids=["the difference", "too good", "disturbed"],
)
def test_marginal_rate(seconds: tuple[float, float], expected: float) -> None:
    assert marginal_rate(10.0, 40.0, *seconds) == pytest.approx(expected)


def test_limit_of_a_step_is_reading_both_matrices() -> None:
    phases = limits.layer(STEP, "int8")
    bytes_read = 2 * 4 * 128 * 128 + 2 * 4 * 128
    machine = limits.Machine(1, [Level("memory", math.inf, 1e9)], 1e12, 1e12)
    assert limits.limit(phases, machine) == limits.Limit(pytest.approx(bytes_read / 1e9), "memory")
    two = limits.Machine(2, [Level("memory", math.inf, 1e9)], 1e12, 1e12)
    assert limits.limit(phases, two).seconds == pytest.approx(bytes_read / 2e9)


def test_limit_of_a_sequence_multiplies_inputs_once_and_states_every_step() -> None:
    cell = LayerCell("GRU", 64, 8, 50)
    machine = limits.Machine(1, [Level("memory", math.inf, 1e15)], 1e9, math.inf)
    found = limits.limit(limits.layer(cell, "float32"), machine)
    assert found == limits.Limit(pytest.approx(2 * 2 * 3 * 64 * 64 * 8 * 50 / 1e9), "compute")


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_limits_shrink_with_the_type_and_grow_with_the_work(compute_type: str) -> None:
    machine = limits.Machine(1, LEVELS, 1.0, 1.0)

    def seconds(cell: cells.Cell, of_type: str = compute_type) -> float:
        if isinstance(cell, LayerCell):
            phases = limits.layer(cell, of_type)
        else:
            config = Size(cell.vocabulary, cell.hidden).config
            phases = limits.decoding(config, cell.batch, cell.beam, 20, 20, of_type)
        return limits.limit(phases, machine).seconds

    assert seconds(STEP) <= seconds(STEP, "float32")
    for small, large in (
        (STEP, LayerCell("LSTM", 256, 1, 1)),
        (STEP, LayerCell("LSTM", 128, 8, 1)),
        (STEP, LayerCell("LSTM", 128, 1, 50)),
        (LayerCell("GRU", 128, 1, 1), STEP),
        (SearchCell(80, 256, 1, 1), SearchCell(80, 256, 1, 5)),
        (SearchCell(80, 256, 1, 1), SearchCell(8000, 256, 1, 1)),
    ):
        assert 0 < seconds(small) < seconds(large)


# --- which cells run ---


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--quick", action="store_true")
    suite.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_grid_is_the_one_promised() -> None:
    assert len(cells.layer_cells()) == 2 * 6 * 3 * 2
    assert len(cells.search_cells()) == 3 * 2 * 2
    assert len(set(cells.grid())) == len({cell.name for cell in cells.grid()}) == 72 + 12
    assert set(cells.QUICK) <= set(cells.grid())


def test_everything_runs_unless_a_part_is_asked_for() -> None:
    everything = suite.plan(options())
    assert len(everything.tasks) == 2 * len(cells.grid()) and everything.compiled
    part = suite.plan(options("--cells", "step", "--hidden", "128,256", "--batch", "1", "--threads", "2"))
    assert {task.cell.name for task in part.tasks} == {
        f"{kind} H {hidden}, batch 1, T 1" for kind in ("LSTM", "GRU") for hidden in (128, 256)
    }
    assert {task.threads for task in part.tasks} == {2} and not part.compiled
    assert suite.plan(options("--compute_type", "int8")).tasks[0].compute_types == ("int8",)
    assert suite.plan(options("--cells", "decode", "--torch_compile")).compiled


@pytest.mark.parametrize("arguments", [("--cells", "steps"), ("--hidden", "129"), ("--compute_type", "int4")])
def test_what_is_not_in_the_grid_is_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(*arguments)
    assert "choose from" in capsys.readouterr().err


# --- acceptance ---


def test_every_goal_can_be_measured() -> None:
    assert len(GOALS) == 47 == len({(g.cell, g.threads, g.compute_type, g.against) for g in GOALS})
    for goal in GOALS:
        assert goal.cell in cells.grid()
        assert goal.compute_type in COMPUTE_TYPES and goal.against and set(goal.against) <= set(PEERS)
    tasks = {(task.cell, task.threads): task for task in acceptance.tasks()}
    assert len(tasks) == len(acceptance.tasks())
    for goal in GOALS:
        task = tasks[goal.cell, goal.threads]
        assert goal.compute_type in task.compute_types and set(goal.against) <= (task.peers or set())
    assert suite.plan(options("--acceptance")).tasks == acceptance.tasks()


def row(ratios: dict[str, float | None], compute_type: str = "float32") -> dict[str, Any]:
    peers: dict[str, Any] = {
        name: {"absent": "not here"} if ratio is None else {"ratio": ratio} for name, ratio in ratios.items()
    }
    return {
        "name": STEP.name,
        "threads": 1,
        "compute_type": compute_type,
        "peers": peers,
        "over_limit": 1.5,
    }


@pytest.mark.parametrize(
    ("ratios", "word", "measured"),
    [
        ({"PyTorch float32": 3.0, "ONNX Runtime float32": 2.0}, "met", 2.0),
        ({"PyTorch float32": 1.9, "ONNX Runtime float32": 5.0}, "missed", 1.9),
        ({"PyTorch float32": 2.5, "ONNX Runtime float32": None}, "met", 2.5),
        ({"PyTorch float32": None}, "not measured", None),
        ({"PyTorch bfloat16": 9.0}, "not measured", None),
    ],
)
def test_verdicts_go_by_the_fastest_peer(
    ratios: dict[str, float | None], word: str, measured: float | None
) -> None:
    goal = Goal(STEP, 1, "float32", acceptance.FLOAT32, 2.0)
    (verdict,) = acceptance.verdicts([row(ratios)], [goal])
    assert (verdict.word, verdict.measured) == (word, measured)
    assert verdict.at_limit == (None if measured is None else 1.5 * measured)
    assert acceptance.verdicts([row(ratios, "int8")], [goal])[0].word == "not measured"
    assert json.dumps(acceptance.as_json([verdict]))


# --- timing, rows, tables ---


def test_a_contest_gives_everyone_a_block_a_round() -> None:
    calls: list[str] = []
    result = contest({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, seconds=0.0, rounds=3)
    assert [len(result[name].blocks) for name in "ab"] == [3, 3]
    turns = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    assert turns == ["a", "b"] * 4  # warm-up and three rounds
    assert result["a"].times_as_fast(result["a"]) == [1.0] * 3


def test_medians_are_sorted() -> None:
    found = medians({"slow": lambda: sum(range(20000)), "fast": lambda: None})
    assert list(found) == ["fast", "slow"]


def samples(milliseconds: float) -> Samples:
    return Samples([milliseconds / 1e3] * 4, [milliseconds / 1e3] * 2)


def make(compute_type: str) -> dict[str, Any]:
    everyone: list[Contestant | Absent] = [
        Contestant("seq2seq_fast float32", "float32", lambda: None, lambda y: y),
        Absent("seq2seq_fast int8", "int8", "int8: not in this build"),
        Contestant("PyTorch float32", "float32", lambda: None, lambda y: y),
        Contestant("PyTorch int8", "int8", lambda: None, lambda y: y),
        Absent("ONNX Runtime float32", "float32", "ONNX Runtime is not installed"),
    ]
    times = {
        "seq2seq_fast float32": samples(0.002),
        "PyTorch float32": samples(0.02),
        "PyTorch int8": samples(0.01),
    }
    task = Task(STEP, 1, ("float32", "int8"))
    return make_row(
        task, compute_type, limits.Limit(1e-6, "memory"), everyone, dict.fromkeys(times, 0.0), times
    )


def test_a_row_compares_like_with_like_and_with_the_best() -> None:
    made = make("float32")
    assert (made["like_peer"], made["best_peer"]) == ("PyTorch float32", "PyTorch int8")
    assert made["peers"]["PyTorch float32"]["ratio"] == pytest.approx(10.0)
    assert made["over_limit"] == pytest.approx(2.0)
    line = report.row(made)
    for text in ("2.00 us", "10.00 (10.00-10.00)", "5.00", "1.00 us memory", "ONNX Runtime is not installed"):
        assert text in line
    assert json.loads(json.dumps(made)) == made


def test_a_peer_that_is_off_is_a_sentence_and_we_may_not_be() -> None:
    tolerance = {"int8": 0.01}

    def off_by(off: float, name: str = "PyTorch int8") -> Contestant:
        return Contestant(name, "int8", lambda: off, lambda y: y)

    def error(one: Contestant) -> float:
        off: Any = one.call()
        check(one, off, tolerance, "off")
        return float(off)

    peer = off_by(0.02)
    assert checked([peer], error) == ([peer], {"PyTorch int8": 0.02})
    (absent,), errors = checked([off_by(0.04)], error)
    assert isinstance(absent, Absent) and "off by 4.0e-02" in absent.reason and not errors
    with pytest.raises(AssertionError, match=r"seq2seq_fast int8: off by 2\.0e-02, more than 1e-02"):
        checked([off_by(0.02, "seq2seq_fast int8")], error)


def test_a_type_that_is_not_built_is_a_sentence() -> None:
    made = make("int8")
    assert made["absent"] == "int8: not in this build"
    line = report.row(made)
    assert "int8: not in this build" in line
    assert line.count("|") == report.heading().splitlines()[-1].count("|")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0.00123, "1.23 us"), (0.5, "500 us"), (12.345, "12.3 ms"), (2500.0, "2.50 s")],
)
def test_duration(milliseconds: float, text: str) -> None:
    assert report.duration(milliseconds) == text


def test_the_acceptance_table_counts() -> None:
    goals = [Goal(STEP, 1, "float32", acceptance.FLOAT32, ratio) for ratio in (2.0, 20.0)]
    text = report.acceptance(acceptance.verdicts([make("float32")], goals))
    assert "10.00x" in text and text.endswith("1 met, 1 missed, 0 not measured")


@pytest.mark.parametrize(
    ("compute_type", "peer", "like"),
    [
        ("float32", "ONNX Runtime float32", True),
        ("float32", "PyTorch int8", False),
        ("float16", "PyTorch bfloat16", True),
        ("int8", "ONNX Runtime int8", True),
        ("int8", "PyTorch eager", True),
    ],
)
def test_of_like_precision(compute_type: str, peer: str, like: bool) -> None:
    assert of_like_precision(compute_type, peer) is like


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="The plot is drawn by matplotlib, which is not installed.")
    from benchmarks import plot

    rows = [make("float32"), make("int8")]
    plot.draw(rows, 1, "a machine").savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="2 threads"):
        plot.draw(rows, 2, "a machine")
