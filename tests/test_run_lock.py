"""One process at a time trains in a folder."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from fake_model import FakeModel, fake_data
from seq2seq_fast import run_lock
from seq2seq_fast.run_lock import RunLock
from seq2seq_fast.trainer import Trainer

fcntl = pytest.importorskip("fcntl", reason="this system has no such locks")
TRAIN = fake_data(20)


def trainer(out: Path, model: FakeModel | None = None, **settings: Any) -> Trainer:
    return Trainer(model or FakeModel(), out=out, **{"max_steps": 3, "progress": False, **settings})


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_second_run_in_a_folder_is_refused(tmp_path: Path, how: dict[str, bool]) -> None:
    """While the first goes on, and to its end; then there may be another."""
    started: list[str] = []

    def second() -> None:
        with pytest.raises(BlockingIOError, match="a run is under way there") as refused:
            trainer(tmp_path).fit(TRAIN, on_start=lambda: started.append("second"), **how)
        assert str(tmp_path) in str(refused.value)

    assert trainer(tmp_path).fit(TRAIN, on_start=second).step == 3
    assert started == []
    assert trainer(tmp_path, max_steps=4).fit(TRAIN, resume=True).step == 4


def test_a_run_that_fails_lets_the_folder_go(tmp_path: Path) -> None:
    trainer(tmp_path).fit(TRAIN)
    with pytest.raises(FileExistsError):
        trainer(tmp_path).fit(TRAIN)
    assert trainer(tmp_path).fit(TRAIN, overwrite=True).step == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_hold_the_folder(tmp_path: Path) -> None:
    """One that outlives the process that trained, which was killed."""
    lock = RunLock(tmp_path)
    waits, stop = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(stop)
        os.read(waits, 1)
        os._exit(0)
    with pytest.raises(BlockingIOError):  # the child has let go of its copy, not of the parent's lock
        RunLock(tmp_path)
    lock._drop()  # as at the end of a process
    deadline = time.monotonic() + 20
    while True:  # until the child has come so far
        try:
            RunLock(tmp_path).close()
            break
        except BlockingIOError:
            assert time.monotonic() < deadline, "the child holds the folder"
            time.sleep(0.01)
    os.close(stop)
    os.close(waits)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    """Network file systems, Windows: training is as it would be."""

    def flock(*arguments: Any) -> None:
        raise OSError(code, "no locks")

    if code is None:
        monkeypatch.setattr(run_lock, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", flock)
    assert trainer(tmp_path).fit(TRAIN, on_start=lambda: RunLock(tmp_path).close()).step == 3
