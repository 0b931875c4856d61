"""The emulator of CUDA (tests/simt): it gives what CUDA gives, and notices each mistake that is planted."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simt import native

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = pytest.mark.cpu_only("programs of their own")
BUGS = native.HERE / "bugs"
BUG_SOURCES = [*sorted(BUGS.glob("*.cu")), BUGS / "main.cpp"]

# Mistakes that no result shows, or not in every order; who must notice them.
ADDRESSES = {
    "shared_past_the_end": "block.cu",
    "dynamic_shared_too_short": "block.cu",
    "global_past_the_end": "block.cu",
    "misaligned_vector": "block.cu",
    "misaligned_shared_vector": "block.cu",
    "scratch_used_after_its_end": "grid.cu",
    "leaves_while_others_read": "cluster.cu",
}
RACES = {
    "missing_barrier": "block.cu",
    "tile_overwritten": "block.cu",
    "missing_syncwarp": "block.cu",
    "block_barrier_for_grid": "grid.cu",
    "hand_over_without_block_barrier": "grid.cu",
    "hand_over_by_relaxed_atomic": "grid.cu",
    "counter_not_atomic": "grid.cu",
    "counter_without_order": "grid.cu",
    "two_writers": "grid.cu",
    "block_barrier_for_cluster": "cluster.cu",
    "arrived_but_not_waited": "cluster.cu",
    "counted_stores_not_waited_for": "cluster.cu",
    "counted_stores_of_another_phase": "cluster.cu",
    "stage_overwritten": "tile.cu",
}
# Mistakes that are no matter of luck: the emulator itself says what is wrong, in every build. (In order.)
SENTENCES = {
    "divergent_barrier": "block.cu:49: __syncthreads: threads of one group are at different barriers",
    "early_return": "leave the kernel while others wait at this barrier",
    "shuffle_with_the_gone": "__shfl_xor_sync: a lane that the mask names has left the kernel",
    "divergent_shuffle": "lanes of one warp are at different operations",
    "waits_for_absent_blocks": "endless: every thread that can run only looks, and nothing changes",
    "grid_too_large": "blocks are to be resident, but only",
    "overlap_without_wait": "40 of 64 threads called wait_for_earlier()",
    "endless_spin": "endless: every thread that can run only looks, and nothing changes",
    "more_bytes_expected_than_come": "endless: every thread that can run only looks, and nothing changes",
    "copy_past_the_end": "a copy's memory is not where its kind says, or ends before the copy does",
    "host_memory_as_device": "a copy's memory is not where its kind says, or ends before the copy does",
    "rank_beyond_the_cluster": "map_shared_rank: the cluster has no such block",
}
# Mistakes that the result shows, since memory that nobody wrote is NaN and cp.async is late in order.
RESULTS = ["shared_not_written", "scratch_not_written", "cp_async_waits_too_little", "ldmatrix_transposed"]
# Mistakes that only a strict device notices: one whose memory the host cannot touch.
STRICT = {
    "host_reads_the_device": "simt: the host touches the device's memory",
    "kernel_reads_the_host": "argument 1 is not a pointer to the device's memory",
}
CAUGHT_BY_TSAN, CAUGHT_BY_RESULT = 66, 1


class Programs:
    """Builds each program once in a kind, when a test first asks, for all processes that run tests; skips the
    test where that cannot be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: dict[tuple[str, str], Path | RuntimeError] = {}

    def build(self, name: str, kind: str) -> Path:
        sources = BUG_SOURCES if name == "bugs" else [native.HERE / f"{name}.cu"]
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self.folder / f"{name}.{kind}"
            if not done.exists():
                done.symlink_to(native.build(sources, kind, self.folder, name))
            return done

    def __call__(self, name: str, kind: str) -> Path:
        if why := native.missing(kind):
            pytest.skip(f"{why[0].upper()}{why[1:]}.")
        if (name, kind) not in self.built:
            try:
                self.built[name, kind] = self.build(name, kind)
            except RuntimeError as error:
                self.built[name, kind] = error
        built = self.built[name, kind]
        if isinstance(built, RuntimeError):
            raise built
        return built


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return Programs(tmp_path_factory.mktemp("simt"))
    folder = tmp_path_factory.getbasetemp().parent / "simt"
    folder.mkdir(exist_ok=True)
    return Programs(folder)


def said(done: CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", native.KINDS)
def test_functions_give_what_cuda_gives(program: Programs, kind: str) -> None:
    done = native.run(program("functions", kind), *native.SCHEDULES)
    assert done.returncode == 0, said(done)


@pytest.mark.parametrize("kind", native.KINDS)
def test_right_kernels_pass(program: Programs, kind: str) -> None:
    done = native.run(program("bugs", kind), "right", *native.SCHEDULES)
    assert done.returncode == 0, said(done)
    assert said(done) == ""


def test_every_bug_has_a_test(program: Programs) -> None:
    names = native.run(program("bugs", "plain"), "list").stdout.split()
    assert sorted(names) == sorted([*ADDRESSES, *RACES, *SENTENCES, *RESULTS, *STRICT])


@pytest.mark.parametrize("name", ADDRESSES)
def test_bad_addresses_are_caught(program: Programs, name: str) -> None:
    text = said(native.run(program("bugs", "asan"), "wrong", name, *native.SCHEDULES))
    assert "AddressSanitizer: " in text or "runtime error: " in text, text
    assert f"bugs/{ADDRESSES[name]}:" in text  # the line


@pytest.mark.parametrize("name", RACES)
def test_races_are_caught(program: Programs, name: str) -> None:
    done = native.run(program("bugs", "tsan"), "wrong", name, *native.SCHEDULES)
    assert done.returncode == CAUGHT_BY_TSAN, said(done)
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
    assert f"bugs/{RACES[name]}:" in done.stderr


@pytest.mark.parametrize("name", SENTENCES)
@pytest.mark.parametrize("kind", ["plain", "tsan"])
def test_the_emulator_says_what_is_wrong(program: Programs, name: str, kind: str) -> None:
    done = native.run(program("bugs", kind), "wrong", name, *native.SCHEDULES)
    assert done.returncode == CAUGHT_BY_RESULT, said(done)
    assert SENTENCES[name] in done.stdout.splitlines()[0]


@pytest.mark.parametrize("name", RESULTS)
def test_results_show_it(program: Programs, name: str) -> None:
    done = native.run(program("bugs", "plain"), "wrong", name, *native.SCHEDULES)
    assert done.returncode == CAUGHT_BY_RESULT, said(done)
    assert f"{name}, in-order: result " in done.stdout


@pytest.mark.parametrize("name", STRICT)
def test_a_strict_device_keeps_its_memory(program: Programs, name: str) -> None:
    done = native.run(program("bugs", "plain"), "wrong", name, "in-order", S2S_SIMT_STRICT="1")
    assert done.returncode != 0
    assert STRICT[name] in said(done)


def test_right_kernels_pass_on_a_strict_device(program: Programs) -> None:
    done = native.run(program("bugs", "plain"), "right", *native.SCHEDULES, S2S_SIMT_STRICT="1")
    assert done.returncode == 0, said(done)
    done = native.run(program("functions", "plain"), *native.SCHEDULES, S2S_SIMT_STRICT="1")
    assert done.returncode == 0, said(done)


def test_the_order_of_threads_decides_what_shows(program: Programs) -> None:
    """Why tests run in several orders: some mistakes give right results in the first."""
    for name in ("block_barrier_for_grid", "stage_overwritten"):
        assert native.run(program("bugs", "plain"), "wrong", name, "in-order").returncode == 0
        assert native.run(program("bugs", "plain"), "wrong", name, "reversed").returncode == CAUGHT_BY_RESULT


def test_a_schedule_that_is_none(program: Programs) -> None:
    done = native.run(program("bugs", "plain"), "right", "sideways")
    assert (done.returncode, done.stdout) == (2, "no schedule: sideways\n")
