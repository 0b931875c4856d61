from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from fake_model import FakeModel, fake_data
from seq2seq_fast.atomic import temporary_name
from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder
from seq2seq_fast.data import Dataset
from seq2seq_fast.interrupts import DeferredInterrupt
from seq2seq_fast.optim import SGD, Adagrad, Adam, AdamW
from seq2seq_fast.progress import tell
from seq2seq_fast.schedule import ReduceLROnPlateau, Scheduler, StepDecay
from seq2seq_fast.trainer import Metric, Trainer, TrainingDiverged, TrainingInterrupted
from seq2seq_fast.training_state import MetricsFile

TRAIN, VALID = fake_data(100, seed=1), fake_data(30, seed=2)


class Killed(BaseException):
    """What SIGKILL is to a process: nothing is saved, nothing cleaned up."""


def trainer(out: Path | None, model: FakeModel | None = None, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "batch_size": 100,
        "max_steps": 25,
        "label_smoothing": 0.1,
        "max_grad_norm": 0.3,
        "scheduler": ReduceLROnPlateau(0.5, 0, warmup_steps=3),
        "validate_every": 4,
        "checkpoint_every": 3,
        "report_every": 5,
        "progress": False,
        **changes,
    }
    optimizer = settings.pop("optimizer", None) or AdamW(lr=0.1, weight_decay=0.01)
    return Trainer(model or FakeModel(), optimizer, out=out, **settings)


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def outcome(out: Path) -> Any:
    """All that a run leaves behind, to the last bit, but for the times."""
    latest = CheckpointFolder(out).latest()
    assert latest is not None
    checkpoint = Checkpoint.load(latest)
    state: Any = dict(checkpoint.state)
    for key in ("seconds", "metrics_bytes"):
        del state[key]
    del state["window"]["seconds"]
    return (
        latest.name,
        bits(checkpoint.parameters),
        bits(checkpoint.optimizer),
        state,
        without_times(metrics(out)),
        FakeModel.saved(out / "best"),
        FakeModel.saved(out / "last"),
        sorted(path.name for path in out.iterdir()),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("run")
    trainer(out).fit(TRAIN, VALID)
    return outcome(out)


# ---- what a run does


def test_a_run(tmp_path: Path) -> None:
    model = FakeModel()
    result = trainer(tmp_path, model, max_epochs=30, max_steps=None, validate_every=None).fit(TRAIN, VALID)
    assert (result.stopped_by, result.epoch, result.metric) == ("max_epochs", 30, "loss")
    losses = [line["loss"] for line in result.validations]
    assert len(losses) == 30
    assert losses[-1] < 0.85 * losses[0]
    assert result.best_value == min(losses)
    assert result.best_step == result.validations[int(np.argmin(losses))]["step"]
    assert result.best == tmp_path / "best"
    assert result.last == tmp_path / "last"
    assert FakeModel.saved(tmp_path / "last") == model.flat_parameters.tolist()
    assert result.checkpoint == CheckpointFolder(tmp_path).path(result.step)
    assert model.updates == list(range(result.step))


def test_the_metrics_file(tmp_path: Path) -> None:
    trainer(tmp_path).fit(TRAIN, VALID)
    lines = metrics(tmp_path)
    train = [line for line in lines if line["event"] == "train"]
    valid = [line for line in lines if line["event"] == "valid"]
    assert [line["step"] for line in train] == [4, 5, 8, 10, 12, 15, 16, 20, 24, 25]
    assert [line["step"] for line in valid] == [4, 8, 12, 16, 20, 24, 25]
    assert set(train[0]) == {
        *(
            "event",
            "step",
            "epoch",
            "loss",
            "accuracy",
            "lr",
            "grad_norm",
            "tokens",
            "seconds",
            "tokens_per_second",
        )
    }
    assert set(valid[0]) == {"event", "step", "epoch", "loss", "perplexity", "accuracy", "best", "seconds"}
    assert valid[0]["perplexity"] == pytest.approx(math.exp(valid[0]["loss"]))
    assert "regular" in valid[-1]
    assert train[0]["lr"] == 0.1
    assert math.isclose(lines[-1]["loss"], min(line["loss"] for line in valid)) == lines[-1]["best"]


def test_warm_up_and_plateau_reach_the_optimizer(tmp_path: Path) -> None:
    trainer(tmp_path, metric=Metric("zero", lambda model: 0.0), report_every=1).fit(TRAIN)
    rates = {line["step"]: line["lr"] for line in metrics(tmp_path) if line["event"] == "train"}
    assert [rates[step] / 0.1 for step in (1, 2, 3, 8, 9, 12, 13)] == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 0.5, 0.5, 0.25]
    )


def test_early_stopping_by_a_metric(tmp_path: Path) -> None:
    values = iter([0.3, 0.5, 0.5, 0.4, 0.1])
    metric = Metric("right", lambda model: next(values), maximize=True)
    result = trainer(tmp_path, metric=metric, early_stopping=2, max_steps=None).fit(TRAIN, VALID)
    assert (result.stopped_by, result.step) == ("early_stopping", 16)
    assert (result.metric, result.best_value, result.best_step) == ("right", 0.5, 8)
    assert [line["best"] for line in result.validations] == [True, True, False, False]


def test_perplexity_orders_as_loss_does(tmp_path: Path) -> None:
    by_loss = trainer(None).fit(TRAIN, VALID)
    by_perplexity = trainer(None, metric="perplexity").fit(TRAIN, VALID)
    assert by_perplexity.best_step == by_loss.best_step
    assert by_perplexity.best_value == pytest.approx(math.exp(by_loss.best_value or 0))


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = trainer(None).fit(TRAIN, VALID)
    assert (result.best, result.last, result.checkpoint) == (None, None, None)
    assert result.best_value is not None
    assert os.listdir(tmp_path) == []


def test_without_validation(tmp_path: Path) -> None:
    result = trainer(tmp_path).fit(TRAIN)
    assert (result.best, result.best_value, result.best_step, result.validations) == (None, None, None, [])
    assert (tmp_path / "last").is_dir()
    assert not (tmp_path / "best").exists()


def test_a_trainer_can_be_used_twice(tmp_path: Path, undisturbed: Any) -> None:
    model = FakeModel()
    twice = trainer(tmp_path, model)
    twice.fit(TRAIN, VALID)
    model.flat_parameters[...] = FakeModel().flat_parameters
    twice.fit(TRAIN, VALID, overwrite=True)
    assert outcome(tmp_path) == undisturbed


def test_limits(tmp_path: Path) -> None:
    assert trainer(None, max_steps=0).fit(TRAIN).step == 0
    assert trainer(None, max_steps=None, max_minutes=0).fit(TRAIN).stopped_by == "max_minutes"
    assert trainer(None, max_steps=None, max_minutes=0.001).fit(TRAIN).stopped_by == "max_minutes"
    default = Trainer(FakeModel(), batch_size=100, progress=False).fit(TRAIN)
    assert (default.stopped_by, default.epoch) == ("max_epochs", 10)


def test_weight_decay_spares_biases(tmp_path: Path) -> None:
    decayed, plain = FakeModel(), FakeModel()
    for model, decay in ((decayed, 10.0), (plain, 0.0)):
        trainer(None, model, max_steps=1, optimizer=AdamW(lr=0.01, weight_decay=decay)).fit(TRAIN)
    assert np.array_equal(decayed.parameters()["output.bias"], plain.parameters()["output.bias"])
    assert not np.array_equal(decayed.parameters()["output.weight"], plain.parameters()["output.weight"])


def test_checkpoints_to_average(tmp_path: Path) -> None:
    trainer(tmp_path, keep_checkpoints=3).fit(TRAIN, VALID)
    assert [path.name[-15:-12] for path in CheckpointFolder(tmp_path).paths()] == ["021", "024", "025"]


def test_a_models_folder_is_written_as_asked(tmp_path: Path) -> None:
    written: list[str] = []
    trainer(tmp_path, save_model=lambda folder: written.append(folder.name)).fit(TRAIN, VALID)
    assert set(written) == {"best", "last"}


# ---- resumption


def go_on(out: Path, **changes: Any) -> None:
    # Another seed for the model, if there is a checkpoint: everything has to come from there.
    model = FakeModel(seed=99 if CheckpointFolder(out).latest() else 0)
    trainer(out, model, **changes).fit(TRAIN, VALID, resume=True)


@pytest.mark.parametrize("update", range(25))
def test_killed_at_any_step(tmp_path: Path, undisturbed: Any, update: int) -> None:
    class Mortal(FakeModel):
        def forward_backward(self, batch: Any, *, update: int = 0, **arguments: Any) -> Any:
            if update == at:
                raise Killed
            return super().forward_backward(batch, update=update, **arguments)

    at = update
    with pytest.raises(Killed):
        trainer(tmp_path, Mortal()).fit(TRAIN, VALID)
    go_on(tmp_path)
    assert outcome(tmp_path) == undisturbed


def test_moving_average(tmp_path: Path) -> None:
    """Validation and saved models take the average; the run's own weights are those of a run without."""
    keep = {"checkpoint_every": 1, "keep_checkpoints": 99, "max_steps": 9, "scheduler": Scheduler()}
    model = FakeModel()
    result = trainer(tmp_path / "a", model, average_decay=0.2, **keep).fit(TRAIN, VALID)
    plain = FakeModel()
    trainer(tmp_path / "b", plain, **keep).fit(TRAIN, VALID)
    assert bits(model.flat_parameters) == bits(plain.flat_parameters)

    average = FakeModel().flat_parameters.astype(np.float64)
    for step, path in enumerate(CheckpointFolder(tmp_path / "a", keep=99).paths()):
        checkpoint = Checkpoint.load(path)
        if step > 0:
            average += max(0.2, 1 - (step + 1) / (step + 10)) * (checkpoint.parameters - average)
        np.testing.assert_allclose(checkpoint.average, average, rtol=1e-5, atol=1e-6)
    assert step == 9
    np.testing.assert_allclose(FakeModel.saved(tmp_path / "a" / "last"), average, rtol=1e-5, atol=1e-6)
    model.flat_parameters[...] = average
    measured = model.loss(VALID.batch(np.arange(len(VALID))))
    assert result.validations[-1]["loss"] == pytest.approx(measured.nll / measured.tokens, rel=1e-5)
    assert Checkpoint.load(CheckpointFolder(tmp_path / "b").paths()[-1]).average is None


def test_an_average_that_begins_when_a_run_is_taken_up(tmp_path: Path) -> None:
    trainer(tmp_path, max_steps=3).fit(TRAIN, VALID)
    trainer(tmp_path, max_steps=6, average_decay=0.5).fit(TRAIN, VALID, resume=True)
    (path,) = CheckpointFolder(tmp_path).paths()
    checkpoint = Checkpoint.load(path)
    assert checkpoint.average is not None
    assert not np.array_equal(checkpoint.average, checkpoint.parameters)


@pytest.mark.parametrize("where", ["measure", "save"])
def test_ctrl_c_while_the_average_is_in_the_model(tmp_path: Path, where: str) -> None:
    """The checkpoint holds the run's own weights, and a resumed run ends with the bits of a whole one."""

    class Impatient(FakeModel):
        def loss(self, batch: Any, **arguments: Any) -> Any:
            if where == "measure":
                signal.raise_signal(signal.SIGINT)
            return super().loss(batch, **arguments)

        def save(self, folder: Path) -> None:
            if where == "save":
                signal.raise_signal(signal.SIGINT)
            super().save(folder)

    settings = {"average_decay": 0.2, "max_steps": 8}
    with pytest.raises(TrainingInterrupted):
        trainer(tmp_path / "a", Impatient(), **settings).fit(TRAIN, VALID)
    trainer(tmp_path / "a", FakeModel(), **settings).fit(TRAIN, VALID, resume=True)
    trainer(tmp_path / "b", FakeModel(), **settings).fit(TRAIN, VALID)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")


def test_ctrl_c_while_the_last_model_is_written(tmp_path: Path) -> None:
    """It is written, and the run is saved; where nothing is kept a Ctrl-C is what it is."""

    class Impatient(FakeModel):
        def save(self, folder: Path) -> None:
            if folder.name == "last":
                signal.raise_signal(signal.SIGINT)
            super().save(folder)

    with pytest.raises(TrainingInterrupted, match="Stopped at step 25"):
        trainer(tmp_path, Impatient()).fit(TRAIN)
    assert (tmp_path / "last" / "model.json").exists()
    assert trainer(tmp_path).fit(TRAIN, resume=True).step == 25


def test_ctrl_c_when_the_average_is_about_to_leave_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment that no shield covers: between validation and what puts the weights back."""
    settings = {"average_decay": 0.2, "max_steps": 8}
    real = DeferredInterrupt.shielded
    run = trainer(tmp_path / "a", FakeModel(), **settings)
    calls = []

    def shielded(self: DeferredInterrupt) -> Any:
        calls.append(sys._getframe(1).f_code.co_name)
        if calls.count("_averaged") == 2:  # in, and out
            calls.append("_averaged")
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(DeferredInterrupt, "shielded", shielded)
    with pytest.raises(TrainingInterrupted):
        run.fit(TRAIN, VALID)
    monkeypatch.undo()
    trainer(tmp_path / "a", FakeModel(), **settings).fit(TRAIN, VALID, resume=True)
    trainer(tmp_path / "b", FakeModel(), **settings).fit(TRAIN, VALID)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")


def test_killed_at_any_write(tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each fsync and each rename of a whole run."""
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    calls, limit, dead = 0, 0, False

    def mortal(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls, dead
            calls += 1
            if calls == limit:
                dead = True
                raise Killed
            return real[name](*arguments)

        return call

    for name in real:
        monkeypatch.setattr(os, name, mortal(name))
    # As after a kill, the temporary file stays.
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None if dead else os.unlink(self))
    survived = False
    while not survived:
        calls, limit = 0, limit + 1
        out = tmp_path / str(limit)
        try:
            trainer(out).fit(TRAIN, VALID)
            survived = True
        except Killed:
            dead = False
            go_on(out)
        assert outcome(out) == undisturbed
    assert limit > 40


def test_killed_again_and_again(tmp_path: Path, undisturbed: Any, rng: np.random.Generator) -> None:
    class Mortal(FakeModel):
        def forward_backward(self, batch: Any, **arguments: Any) -> Any:
            if rng.random() < 0.2:
                raise Killed
            return super().forward_backward(batch, **arguments)

    kills = 0
    while True:
        try:
            trainer(tmp_path, Mortal(seed=int(rng.integers(99)) if kills else 0)).fit(
                TRAIN, VALID, resume=True
            )
            break
        except Killed:
            kills += 1
            leftover = tmp_path / ".checkpoint-000000001.safetensors.tmp"
            leftover.write_bytes(b"half")
    assert kills > 2
    assert outcome(tmp_path) == undisturbed


@pytest.mark.parametrize("update", range(0, 24, 3))
@pytest.mark.parametrize("place", ["forward_backward", "weights_changed", "loss", "save"])
def test_ctrl_c(tmp_path: Path, undisturbed: Any, place: str, update: int) -> None:
    """A real signal in the midst of a step, of a validation, of writing the best model."""

    class Interrupted(FakeModel):
        def __getattribute__(self, name: str) -> Any:
            if name == place and not sent and self.updates and self.updates[-1] >= update:
                sent.append(name)
                os.kill(os.getpid(), signal.SIGINT)
            return super().__getattribute__(name)

    sent: list[str] = []
    with pytest.raises(KeyboardInterrupt) as raised:
        trainer(tmp_path, Interrupted(), resume_hint="add --resume").fit(TRAIN, VALID)
    if isinstance(raised.value, TrainingInterrupted):
        assert f"saved in {CheckpointFolder(tmp_path).latest()}. To go on from there: add --resume." in str(
            raised.value
        )
    else:
        assert place == "save"  # of the model at the end: the run itself is over and saved
    go_on(tmp_path)
    assert outcome(tmp_path) == undisturbed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_without_a_folder_is_passed_on() -> None:
    class Interrupted(FakeModel):
        def forward_backward(self, batch: Any, **arguments: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return super().forward_backward(batch, **arguments)

    with pytest.raises(KeyboardInterrupt) as raised:
        trainer(None, Interrupted()).fit(TRAIN)
    assert not isinstance(raised.value, TrainingInterrupted)


def test_an_interrupt_that_tears_a_step_saves_nothing_torn(tmp_path: Path, undisturbed: Any) -> None:
    """Where another handler than Python's raises KeyboardInterrupt wherever it likes."""

    class Torn(FakeModel):
        def weights_changed(self) -> None:
            if len(self.updates) == 11:
                raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="checkpoint-000000009"):
        trainer(tmp_path, Torn()).fit(TRAIN, VALID)
    go_on(tmp_path)
    assert outcome(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "limits", [{"max_steps": 10}, {"max_steps": 12}, {"max_epochs": 1, "max_steps": None}]
)
def test_a_run_that_reached_its_limit_goes_on_to_a_higher_one(
    tmp_path: Path, undisturbed: Any, limits: dict[str, Any]
) -> None:
    trainer(tmp_path, **limits).fit(TRAIN, VALID)
    go_on(tmp_path)
    again = outcome(tmp_path)
    assert again[:3] == undisturbed[:3]
    assert again[6] == undisturbed[6]
    assert [line for line in again[4] if line.get("regular", True) or line["step"] == 25] == undisturbed[4]


def test_time_decides_nothing_but_the_end(tmp_path: Path, undisturbed: Any) -> None:
    for minutes in (0.0, 0.0001, 0.0002, 0.0003):
        trainer(tmp_path, FakeModel(), max_minutes=minutes).fit(TRAIN, VALID, resume=True)
    go_on(tmp_path)
    assert outcome(tmp_path)[:3] == undisturbed[:3]


def test_a_finished_run_stays_as_it_is(tmp_path: Path, undisturbed: Any) -> None:
    first = trainer(tmp_path).fit(TRAIN, VALID)
    again = trainer(tmp_path, FakeModel(seed=9)).fit(TRAIN, VALID, resume=True)
    assert dataclasses.replace(again, seconds=0, validations=[]) == dataclasses.replace(
        first, seconds=0, validations=[]
    )
    assert outcome(tmp_path) == undisturbed


def test_early_stopping_and_plateau_survive(tmp_path: Path) -> None:
    """The metric is a function of the parameters, as if by decoding; the run stops by itself."""

    def distance(model: Any) -> float:
        return float(np.abs(model.flat_parameters.astype(float)).sum() % 1)

    settings: dict[str, Any] = {
        "max_steps": 200,
        "metric": Metric("distance", distance),
        "early_stopping": 10,
        "validate_every": 2,
        "optimizer": SGD(lr=0.3, momentum=0.9),
    }
    whole = trainer(tmp_path / "whole", **settings).fit(TRAIN, VALID)
    assert whole.stopped_by == "early_stopping"
    for fail in range(3, whole.step, 5):
        out = tmp_path / str(fail)
        model = FakeModel()
        model.fail_at = fail
        with pytest.raises(TrainingDiverged):
            trainer(out, model, **{**settings, "optimizer": SGD(lr=0.3, momentum=0.9)}).fit(TRAIN, VALID)
        go_on(out, **{**settings, "optimizer": SGD(lr=0.3, momentum=0.9)})
        assert outcome(out) == outcome(tmp_path / "whole")


@pytest.mark.parametrize("optimizer", [Adam, SGD, Adagrad])
def test_every_optimizer_resumes(tmp_path: Path, optimizer: Any) -> None:
    trainer(tmp_path / "whole", optimizer=optimizer(0.05)).fit(TRAIN, VALID)
    model = FakeModel()
    model.fail_at = 14
    with pytest.raises(TrainingDiverged):
        trainer(tmp_path / "parts", model, optimizer=optimizer(0.05)).fit(TRAIN, VALID)
    go_on(tmp_path / "parts", optimizer=optimizer(0.05))
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_what_may_change_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, max_steps=5).fit(TRAIN, VALID)
    trainer(tmp_path, optimizer=AdamW(lr=0.05, weight_decay=0.01), scheduler=Scheduler(), progress=None).fit(
        TRAIN, VALID, resume=True
    )
    said = capsys.readouterr().err
    assert "Resuming with optimizer {'type': 'adamw', 'lr': 0.05" in said
    assert "Resuming with scheduler" in said
    assert "label_smoothing" not in said
    assert f"Resuming at step 5, from {tmp_path / 'checkpoint-000000005.safetensors'}" in said


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (AdamW(0.1), SGD(0.1), "sgd has none, the checkpoint has exp_avg, exp_avg_sq"),
        (SGD(0.1), SGD(0.1, 0.9), "sgd has momentum_buffer, the checkpoint has none"),
        (SGD(0.1, 0.9), Adam(0.1), "adam has exp_avg, exp_avg_sq, the checkpoint has momentum_buffer"),
        (AdamW(0.1), Adam(0.1), None),
    ],
)
def test_another_optimizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: Any, after: Any, says: str | None
) -> None:
    """It starts as a new run's, from the parameters of the checkpoint; with the same moments it goes on."""
    model = FakeModel()
    trainer(tmp_path, model, optimizer=before, max_steps=3).fit(TRAIN)
    trainer(tmp_path, model, optimizer=after, max_steps=4, progress=None).fit(TRAIN, resume=True)
    assert (says or "Resuming with optimizer") in capsys.readouterr().err
    step = Checkpoint.load(CheckpointFolder(tmp_path).path(4)).optimizer["step"]
    assert step == (1 if says else 4)
    trainer(tmp_path, model, optimizer=after, max_steps=5).fit(TRAIN, resume=True)
    assert Checkpoint.load(CheckpointFolder(tmp_path).path(5)).optimizer["step"] == step + 1


def test_another_instruction_set_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(tmp_path, max_steps=5).fit(TRAIN, VALID)
    monkeypatch.setattr("seq2seq_fast.training_run.cpu_isa", lambda: "abacus")
    trainer(tmp_path, progress=None).fit(TRAIN, VALID, resume=True)
    assert "Resuming on abacus; the checkpoint is from" in capsys.readouterr().err


class Wider(FakeModel):
    def __init__(self) -> None:
        super().__init__()
        self._layout = [("output.weight", (11, 7), 0, True), ("bias", (7,), 80, False)]


@dataclasses.dataclass
class Config:
    cell: str = "lstm"
    dropout: float = 0.1


class Configured(FakeModel):
    """A model whose config says more than its layout."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = Config(**config)


def test_another_model_of_the_same_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What its weights mean may not change, how it learns may."""
    trainer(tmp_path, Configured(), max_steps=3).fit(TRAIN, VALID)
    with pytest.raises(ValueError, match=r"started with model\.cell 'lstm', got 'gru'"):
        trainer(tmp_path, Configured(cell="gru")).fit(TRAIN, VALID, resume=True)
    trainer(tmp_path, Configured(dropout=0.5), max_steps=5, progress=None).fit(TRAIN, VALID, resume=True)
    assert "Resuming with model.dropout 0.5; it was 0.1." in capsys.readouterr().err


def without(path: Path, *names: str) -> None:
    """Make a checkpoint as versions wrote it that knew nothing of these settings."""
    saved = Checkpoint.load(path)
    settings = {
        kind: {name: value for name, value in values.items() if not name.startswith(names)}
        for kind, values in saved.settings.items()
    }
    dataclasses.replace(saved, settings=settings).save(path)


def test_a_checkpoint_of_before_says_less(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = trainer(tmp_path, Configured(), max_steps=5).fit(TRAIN, VALID)
    assert result.checkpoint is not None
    without(result.checkpoint, "model.", "valid")
    go_on = trainer(tmp_path, Configured(), max_steps=9, progress=None).fit(TRAIN, VALID, resume=True)
    assert go_on.step == 9
    assert "Resuming with" not in capsys.readouterr().err


def test_other_validation_data_are_not_compared_with_those_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By them the best model is another one, however low a loss was by the data before."""
    run = {"max_steps": 12, "early_stopping": 2, "optimizer": SGD(0.0)}  # every validation is the same
    first = trainer(tmp_path, **run).fit(VALID, VALID)
    assert (first.stopped_by, first.step, first.best_step) == ("early_stopping", 12, 4)
    plateau = ReduceLROnPlateau(0.5, 0, warmup_steps=3)
    second = trainer(tmp_path, **run | {"max_steps": 99, "scheduler": plateau, "progress": None}).fit(
        VALID, TRAIN, resume=True
    )
    assert [line["best"] for line in second.validations] == [True, False, False]
    assert (second.stopped_by, second.step, second.best_step) == ("early_stopping", 20, 12)
    said = capsys.readouterr().err
    assert "Resuming with valid '100 pairs" in said and "the best model is looked for anew" in said
    third = trainer(tmp_path, max_steps=21, optimizer=SGD(0.0)).fit(VALID, resume=True)
    assert third.best_step == 12, "without any there is nothing to compare"


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({"seed": 1}, TRAIN, "started with seed 0, got 1"),
        ({"batch_size": 50}, TRAIN, "started with batch_size 100, got 50"),
        ({"batch_type": "examples"}, TRAIN, "started with batch_type 'tokens', got 'examples'"),
        ({"bucket_size": 10}, TRAIN, "started with bucket_size"),
        ({"metric": "perplexity"}, TRAIN, "started with metric 'loss', got 'perplexity'"),
        ({}, VALID, "started with train '100 pairs, crc32"),
        ({"model": Wider()}, TRAIN, "its parameters are not those of this model"),
    ],
)
def test_what_may_not_change(tmp_path: Path, changes: Any, data: Dataset, message: str) -> None:
    trainer(tmp_path, max_steps=3).fit(TRAIN, VALID)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, **changes).fit(data, VALID, resume=True)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    trainer(tmp_path, max_steps=3).fit(TRAIN, VALID)
    path = CheckpointFolder(tmp_path).path(3)
    saved = Checkpoint.load(path)
    dataclasses.replace(saved, state={"step": 3}).save(path)
    with pytest.raises(ValueError, match=r"checkpoint-000000003.*the training state is damaged"):
        go_on(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"checkpoint-000000003.*not a whole safetensors file"):
        go_on(tmp_path)


def test_a_run_is_not_overwritten_by_mistake(tmp_path: Path, undisturbed: Any) -> None:
    trainer(tmp_path, max_steps=30, seed=5).fit(TRAIN, VALID)
    with pytest.raises(FileExistsError, match=r"holds a training run .*resume=True, or .*overwrite=True"):
        trainer(tmp_path).fit(TRAIN, VALID)
    for path in CheckpointFolder(tmp_path).paths():
        path.unlink()
    for resume in (False, True):
        with pytest.raises(FileExistsError, match=r"holds a training run \(best\): start .*overwrite=True"):
            trainer(tmp_path).fit(TRAIN, VALID, resume=resume)
    trainer(tmp_path).fit(TRAIN, VALID, overwrite=True)
    assert outcome(tmp_path) == undisturbed


def test_the_start_is_told(tmp_path: Path) -> None:
    """Once what was there is resumed or removed; not where it is neither."""
    steps: list[int] = []

    def on_start() -> None:
        latest = CheckpointFolder(tmp_path).latest()
        steps.append(0 if latest is None else int(latest.stem.rpartition("-")[2]))

    trainer(tmp_path, max_steps=3).fit(TRAIN, on_start=on_start)
    with pytest.raises(FileExistsError):
        trainer(tmp_path).fit(TRAIN, on_start=on_start)
    trainer(tmp_path, max_steps=4).fit(TRAIN, resume=True, on_start=on_start)
    trainer(tmp_path, max_steps=1).fit(TRAIN, overwrite=True, on_start=on_start)
    assert steps == [0, 3, 0]


def test_resuming_what_was_never_started(tmp_path: Path, undisturbed: Any) -> None:
    trainer(tmp_path / "new").fit(TRAIN, VALID, resume=True)
    assert outcome(tmp_path / "new") == undisturbed
    with pytest.raises(ValueError, match="a folder `out` to resume from"):
        trainer(None).fit(TRAIN, resume=True)


def test_a_lost_metrics_file_does_not_stop_the_run(tmp_path: Path, undisturbed: Any) -> None:
    trainer(tmp_path, max_steps=12).fit(TRAIN, VALID)
    (tmp_path / "metrics.jsonl").unlink()
    go_on(tmp_path)
    assert outcome(tmp_path)[:4] == undisturbed[:4]
    assert [line["step"] for line in metrics(tmp_path) if line["event"] == "valid"] == [16, 20, 24, 25]


# ---- what goes wrong


@pytest.mark.parametrize("bad", ["loss", "gradient", "parameters"])
def test_divergence_loses_nothing(tmp_path: Path, undisturbed: Any, bad: str) -> None:
    class Divergent(FakeModel):
        def forward_backward(self, batch: Any, **arguments: Any) -> Any:
            sums = super().forward_backward(batch, **arguments)
            if len(self.updates) == 11:
                if bad == "loss":
                    sums.loss = math.inf
                elif bad == "gradient":
                    self.flat_gradients[3] = math.nan
                else:
                    self.flat_parameters[3] = math.inf
                    sums.loss = math.nan
            return sums

    model = Divergent()
    with pytest.raises(TrainingDiverged, match="Training stopped after step 10") as error:
        trainer(tmp_path, model).fit(TRAIN, VALID)
    saved = "009" if bad == "parameters" else "010"
    assert f"saved in {tmp_path / f'checkpoint-000000{saved}.safetensors'}" in str(error.value)
    said = {"loss": "the loss is inf", "gradient": "the gradient's norm nan", "parameters": "the loss is nan"}
    assert said[bad] in str(error.value)
    assert "on examples " in str(error.value)
    go_on(tmp_path)
    assert outcome(tmp_path) == undisturbed


def test_parameters_that_blow_up_are_not_saved(tmp_path: Path) -> None:
    class Exploding(FakeModel):
        def weights_changed(self) -> None:
            if len(self.updates) == 9:
                self.flat_parameters[0] = math.nan

    with pytest.raises(TrainingDiverged, match=r"a parameter is not finite.*checkpoint-000000006"):
        trainer(tmp_path, Exploding()).fit(TRAIN)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number(tmp_path: Path, value: float) -> None:
    with pytest.raises(TrainingDiverged, match=f"after step 4: the validation's wer is {value}"):
        trainer(tmp_path, metric=Metric("wer", lambda model: value)).fit(TRAIN, VALID)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_beside_a_metric_that_is(tmp_path: Path, value: float) -> None:
    class Hopeless(FakeModel):
        def loss(self, batch: Any, **arguments: Any) -> Any:
            return dataclasses.replace(super().loss(batch, **arguments), nll=value)

    metric = Metric("wer", lambda model: 0.5)
    result = trainer(tmp_path, Hopeless(), metric=metric).fit(TRAIN, VALID)
    assert (result.step, result.best_value, result.best_step) == (25, 0.5, 4)
    valid = [line for line in metrics(tmp_path) if line["event"] == "valid"]
    assert [(line["loss"], line["wer"]) for line in valid] == [(None, 0.5)] * 7


@pytest.mark.parametrize("file", ["checkpoint-000000012", "metrics", "best"])
def test_a_full_disk(tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    if file.startswith("checkpoint") and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        if file == "metrics":
            real_write = MetricsFile.write

            def metrics_write(self: Any, values: Any) -> None:
                if values["step"] == 10:
                    self._file.write(b'{"event": "tra')
                    raise full
                real_write(self, values)

            patch.setattr(MetricsFile, "write", metrics_write)
        elif file == "best":
            real_save = FakeModel.save

            def save(self: Any, folder: Path) -> None:
                if len(self.updates) > 9:
                    raise full
                real_save(self, folder)

            patch.setattr(FakeModel, "save", save)
        else:
            # A device that is always full in the temporary file's place: the errors are the system's own.
            def link(self: Any) -> None:
                if len(self.updates) == 11:
                    temporary_name(tmp_path / f"{file}.safetensors").symlink_to("/dev/full")

            patch.setattr(FakeModel, "weights_changed", link)
        with pytest.raises(
            OSError, match=rf"{file}.* could not be written: No space left.*is whole"
        ) as error:
            trainer(tmp_path).fit(TRAIN, VALID)
        assert error.value.errno == errno.ENOSPC
        assert not list(tmp_path.glob(".*.tmp"))
    go_on(tmp_path)
    assert outcome(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_steps": -1}, ValueError, "max_steps of at least 0"),
        ({"max_minutes": math.nan}, ValueError, "max_minutes of at least 0"),
        ({"max_grad_norm": -1}, ValueError, "max_grad_norm of at least 0"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing from 0 to below 1"),
        ({"average_decay": 1.5}, ValueError, "average_decay from 0 to 1"),
        ({"average_decay": "x"}, TypeError, "average_decay as a number"),
        ({"compute_type": "float16"}, ValueError, "compute_type float32 or bfloat16, got 'float16'"),
        ({"validate_every": 0}, ValueError, "validate_every of at least 1"),
        ({"early_stopping": 1.5}, TypeError, "early_stopping as an integer"),
        ({"report_every": None}, TypeError, "report_every as an integer"),
        ({"keep_checkpoints": 0}, ValueError, "keep_checkpoints of at least 1"),
        ({"metric": "bleu"}, ValueError, 'metric "loss", "perplexity" or a Metric, got \'bleu\''),
        ({"optimizer": "adam"}, TypeError, "optimizer as an Optimizer, got 'adam'"),
        ({"batch_type": "sents"}, ValueError, "batch_type to be one of"),
        ({"batch_size": 1.5}, TypeError, "batch_size as an integer"),
        ({"seed": 1.5}, TypeError, "seed as an integer"),
        ({"seed": -1}, ValueError, "seed of at least 0"),
        ({"max_epochs": True}, TypeError, "max_epochs as an integer"),
        ({"max_steps": 1.5}, TypeError, "max_steps as an integer"),
        ({"max_steps": "x"}, TypeError, "max_steps as an integer"),
        ({"max_minutes": "x"}, TypeError, "max_minutes as a number"),
        ({"max_grad_norm": None}, TypeError, "max_grad_norm as a number"),
        ({"label_smoothing": "x"}, TypeError, "label_smoothing as a number"),
        ({"scheduler": "cosine"}, TypeError, "scheduler as a Scheduler, got 'cosine'"),
        ({"out": 5}, TypeError, "out as a path or None, got 5"),
        ({"save_model": "here"}, TypeError, "save_model to be callable"),
        ({"progress": "yes"}, TypeError, "progress as a bool"),
    ],
)
def test_bad_arguments(changes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trainer(**{"out": None, "model": FakeModel(), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": np.int64(100), "bucket_size": np.int32(50), "seed": np.uint64(3)},
        {"max_epochs": np.int64(2), "max_steps": np.int64(5), "max_minutes": np.float32(9)},
        {"accum_count": np.int32(2), "max_grad_norm": np.float32(5), "label_smoothing": np.float32(0.1)},
        {"average_decay": np.float32(0.1), "early_stopping": np.int64(2), "keep_checkpoints": np.int8(2)},
        {"validate_every": np.int64(2), "checkpoint_every": np.int64(2), "report_every": np.int64(2)},
        {"optimizer": SGD(np.float32(0.1), np.float32(0.9), nesterov=np.True_), "progress": np.False_},
        {"optimizer": Adam(betas=(np.float32(0.9), np.float32(0.9)), eps=np.float32(1e-6))},
        {"scheduler": StepDecay(np.int64(2), np.float32(0.5), np.int64(1), warmup_steps=np.int64(2))},
    ],
)
def test_numbers_of_numpy(tmp_path: Path, changes: Any) -> None:
    """A checkpoint holds the settings as JSON, which knows none of them."""
    result = trainer(tmp_path, **{"max_steps": 5, **changes}).fit(TRAIN, VALID)
    assert Checkpoint.load(result.checkpoint or tmp_path).state["step"] == 5


@pytest.mark.parametrize("model", [None, 5, "model", FakeModel])
def test_what_is_no_model(model: Any) -> None:
    with pytest.raises(TypeError, match="model as"):
        Trainer(model)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"train": None}, "train"),
        ({"train": [1, 2]}, "train"),
        ({"valid": "valid.tsv"}, "valid"),
        ({"resume": "yes"}, "resume"),
        ({"overwrite": 1}, "overwrite"),
    ],
)
def test_bad_arguments_of_fit(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(TypeError, match=f"Expected {name} as"):
        trainer(None).fit(**{"train": TRAIN, **arguments})


def test_early_stopping_needs_validations() -> None:
    """Without, nothing would end the run."""
    with pytest.raises(ValueError, match=r"valid or a Metric for early_stopping"):
        trainer(None, early_stopping=2).fit(TRAIN)


def test_empty_data() -> None:
    empty = Dataset.from_sequences([], [], eos_id=2)
    with pytest.raises(ValueError, match="train to have examples"):
        trainer(None).fit(empty)
    with pytest.raises(ValueError, match="valid to have examples"):
        trainer(None).fit(TRAIN, empty)


# ---- what is seen


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(None, progress=None).fit(TRAIN, VALID)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("step 4  epoch ")
    assert "tokens/s" in lines[0]
    assert lines[1].startswith("step 4  valid  loss ")
    assert lines[1].endswith("(best)")
    assert lines[-1].startswith("Done: 25 steps, ")
    assert "\x1b" not in captured.err


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(None, progress=False).fit(TRAIN, VALID)
    assert capsys.readouterr() == ("", "")


class Closing(io.StringIO):
    """Standard error whose reader goes away after some lines."""

    def __init__(self, lines: int, *, terminal: bool) -> None:
        super().__init__()
        self.left, self.terminal, self.refused = lines, terminal, 0

    def isatty(self) -> bool:
        return self.terminal

    def flush(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.refused += 1
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_of_standard_error_that_goes_away(
    tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Closing(3, terminal=terminal))
    trainer(tmp_path, progress=None).fit(TRAIN, VALID)
    assert sys.stderr.refused > 0  # type: ignore[attr-defined]
    assert outcome(tmp_path) == undisturbed


def test_without_standard_error(
    tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with `2>&-`; standard output is not written to instead."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        trainer(tmp_path, progress=None).fit(TRAIN, VALID)
        tell("The model is somewhere.")
    assert capsys.readouterr().out == ""
    assert outcome(tmp_path) == undisturbed


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    trainer(None, progress=None).fit(TRAIN, VALID)
    said = capsys.readouterr().err
    assert "\x1b[" in said
    assert "step 4  valid  loss" in said
    assert "tokens/s" not in said


def test_lines_on_a_terminal_without_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    trainer(None, progress=None).fit(TRAIN, VALID)
    assert "step 4  valid  loss" in capsys.readouterr().err


def test_training_in_another_thread(tmp_path: Path, undisturbed: Any) -> None:
    thread = threading.Thread(target=lambda: trainer(tmp_path).fit(TRAIN, VALID))
    thread.start()
    thread.join()
    assert outcome(tmp_path) == undisturbed
