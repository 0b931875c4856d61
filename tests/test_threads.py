"""Thread pools from Python: many callers at once, changes of size, busy machines, children of fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from checks import bits
from seq2seq_fast import nn, ops, set_num_threads

pytestmark = pytest.mark.cpu_only("threads of the CPU")

Threads = Callable[[int], None]
Call = Callable[[], list[bytes]]


def recurrent(kind: type[nn.LSTM] | type[nn.GRU], rng: np.random.Generator) -> Call:
    layer = kind(40, 160, num_layers=2, bidirectional=True)
    x = rng.standard_normal((25, 4, 40)).astype(np.float32)
    return lambda: bits((layer(x)[0],))


def products(rng: np.random.Generator) -> Call:
    x, w = (rng.standard_normal((200, 300)).astype(np.float32) for _ in range(2))
    return lambda: bits((ops.linear(x, w), ops.softmax(x), *ops.linear_backward(x[:, :200], x, w)))


@pytest.fixture
def calls(rng: np.random.Generator, threads: Threads) -> list[tuple[Call, list[bytes]]]:
    """Calls whose work is split, with what they give on one thread."""
    threads(1)
    return [(call, call()) for call in (recurrent(nn.LSTM, rng), recurrent(nn.GRU, rng), products(rng))]


def run_at_once(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not errors, errors[0]


@pytest.mark.parametrize("pool", [2, 3])
def test_many_callers_share_objects(
    threads: Threads, calls: list[tuple[Call, list[bytes]]], pool: int
) -> None:
    threads(pool)

    def work(index: int) -> None:
        for turn in range(12):
            call, expected = calls[(index + turn) % len(calls)]
            assert call() == expected

    run_at_once(6, work)


def test_the_pool_changes_its_size_under_way(threads: Threads, calls: list[tuple[Call, list[bytes]]]) -> None:
    def work(index: int) -> None:
        for turn in range(20):
            if index == 0:
                set_num_threads(1 + turn % 4)
            call, expected = calls[turn % len(calls)]
            assert call() == expected

    run_at_once(3, work)


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Twice as many threads want to run as there are processors."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))
    ]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.usefixtures("busy_machine")
def test_results_stay_the_same_on_a_busy_machine(
    threads: Threads, calls: list[tuple[Call, list[bytes]]]
) -> None:
    """Workers come late, lose their processor amid a step and are sent away; no bit shows it."""
    threads(4)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for call, expected in calls:
            assert call() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["awake", "asleep"])
def test_a_child_works(threads: Threads, calls: list[tuple[Call, list[bytes]]], pause: float) -> None:
    threads(3)
    for call, expected in calls:
        assert call() == expected
    time.sleep(pause)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends here, and is seen as a signal
        os._exit(0 if all(call() == expected for call, expected in calls) else 1)
    assert os.waitpid(child, 0)[1] == 0
    for call, expected in calls:
        assert call() == expected


@pytest.mark.parametrize("count", [0, -1, 257])
def test_wrong_numbers_of_threads(count: int) -> None:
    with pytest.raises(ValueError, match="Expected threads from 1 to 256, got"):
        set_num_threads(count)
