"""A real model's training, killed with SIGKILL at random moments, ends with the undisturbed run's bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder
from seq2seq_fast.data import Dataset
from seq2seq_fast.files import load_model
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.optim import Adam
from seq2seq_fast.schedule import ReduceLROnPlateau
from seq2seq_fast.trainer import Trainer

STEPS, KILLS = 160, 5
READY = "training"


def reversals(count: int, seed: int) -> Dataset:
    """Words to be spelt backwards."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(4, 20, rng.integers(1, 12)) for _ in range(count)]
    return Dataset.from_sequences(words, [word[::-1].tolist() for word in words], eos_id=2)


def train(out: str) -> None:
    """What the killed process runs. Everything that a run's state is made of takes part."""
    import seq2seq_fast

    # Bits do not depend on the number of threads, so the sittings of a run may use different ones.
    seq2seq_fast.set_num_threads(random.choice([1, 2]))
    config = Seq2SeqConfig(
        source_vocab_size=20,
        target_vocab_size=20,
        source_embedding_dim=16,
        target_embedding_dim=16,
        encoder_hidden=24,
        decoder_hidden=32,
        encoder_layers=2,
        dropout=0.2,
    )
    trainer = Trainer(
        Seq2Seq(config, seed=1),
        Adam(lr=0.01),
        out=out,
        batch_size=400,
        max_steps=STEPS,
        max_grad_norm=1.0,
        label_smoothing=0.1,
        average_decay=0.01,
        scheduler=ReduceLROnPlateau(patience=1),
        validate_every=13,
        checkpoint_every=5,
        report_every=10,
        progress=False,
    )
    print(READY, flush=True)
    trainer.fit(reversals(600, seed=1), reversals(60, seed=2), resume=True)


def start(out: Path) -> subprocess.Popen[str]:
    # The child's own import of this file has to find the suite's modules and the package, as pytest does.
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-c", f"import test_resume; test_resume.train({str(out)!r})"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == READY
    return process


def outcome(out: Path) -> Any:
    latest = CheckpointFolder(out).latest()
    assert latest is not None
    checkpoint = Checkpoint.load(latest)
    times = {"seconds", "tokens_per_second"}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return (
        latest.name,
        bits(checkpoint.parameters),
        bits(checkpoint.optimizer),
        [{name: value for name, value in line.items() if name not in times} for line in lines],
        [bits(load_model(out / name).model.parameters()) for name in ("best", "last")],
        sorted(path.name for path in out.iterdir()),
        bits(checkpoint.average),
    )


@pytest.mark.big
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kills_change_no_bit(tmp_path: Path) -> None:
    started = time.monotonic()
    process = start(tmp_path / "whole")
    with process:
        assert process.wait() == 0
    duration = time.monotonic() - started
    expected = outcome(tmp_path / "whole")
    assert expected[0] == f"checkpoint-{STEPS:09d}.safetensors"
    assert expected[3][-1]["loss"] < 2.0  # it has learnt something: more than to guess

    kills = runs = 0
    while kills < KILLS:
        # A run that ends before its next kill counts as undisturbed from there on, and another one is begun.
        out = tmp_path / str(runs)
        runs += 1
        while kills < KILLS:
            process = start(out)
            with process:
                try:
                    process.wait(random.uniform(0, 0.2 * duration))
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += process.wait() == -signal.SIGKILL
        else:
            with start(out) as process:
                assert process.wait() == 0
        assert outcome(out) == expected
