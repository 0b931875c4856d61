"""One sitting of a training run: the loop behind `Trainer.fit`.

A step is the unit of everything: between steps the run is fully described by the parameters, the optimiser's
state and `TrainingState`, and whatever ends a sitting (a limit, Ctrl-C, a kill, a full disk) leaves such a
description on the disk. What is due after a step (validation, checkpoint, stop) is decided from the state
alone at the top of the loop, so a run that is taken up there does what it would have done.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from seq2seq_fast import _native, cpu_isa
from seq2seq_fast.accumulation import GradientMean
from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder
from seq2seq_fast.device import copy_into, copy_of, device_of, to_host
from seq2seq_fast.interrupts import DeferredInterrupt
from seq2seq_fast.ops import average_, clip_grad_norm_, squared_norm
from seq2seq_fast.optim import decay_mask
from seq2seq_fast.prefetch import Prefetch
from seq2seq_fast.progress import open_progress
from seq2seq_fast.run_lock import RunLock
from seq2seq_fast.tensorboard import Board
from seq2seq_fast.trainer import Metric, TrainingDiverged, TrainingInterrupted, TrainingResult
from seq2seq_fast.training_state import MetricsFile, TrainingState, Window
from seq2seq_fast.validation import measure

if TYPE_CHECKING:
    from seq2seq_fast.batching import Batches
    from seq2seq_fast.data import Batch
    from seq2seq_fast.trainer import Trainer, TrainingData


class TrainingRun:
    """Made by `Trainer.fit`, used once."""

    def __init__(self, trainer: Trainer, train: TrainingData, valid: TrainingData | None) -> None:
        for name, data in (("train", train), ("valid", valid)):
            if data is not None and len(data) == 0:
                raise ValueError(f"[trainer] Expected {name} to have examples, got an empty data set.")
        self.trainer = trainer
        self.model = trainer.model
        self.predicts_tokens = bool(getattr(trainer.model, "predicts_tokens", True))
        # Made anew, so that a trainer can be used twice.
        self.optimizer = replace(trainer.optimizer)
        self.scheduler = replace(trainer.scheduler)
        self.train, self.valid = train, valid
        self.validates = valid is not None or isinstance(trainer.metric, Metric)
        if trainer.early_stopping is not None and not self.validates:
            raise ValueError(
                "[trainer] Expected valid or a Metric for early_stopping, which counts validations."
            )
        self.layout = [(n, tuple(shape), at, bool(decay)) for n, shape, at, decay in self.model.layout()]
        self.size = len(self.model.flat_parameters)
        self.device = device_of(self.model.flat_parameters)
        self.decay_mask = None
        frozen = trainer.frozen
        if self.optimizer.weight_decay or frozen:
            self.decay_mask = _native.to_device(decay_mask(self.layout, self.size, frozen), self.device)
        self.state = TrainingState()
        self.average: Any = None  # [P] the moving average of the parameters
        self.own: Any = None  # [P] the parameters themselves, while the average stands in the model
        self.folder = (
            None if trainer.out is None else CheckpointFolder(trainer.out, keep=trainer.keep_checkpoints)
        )
        self.lock: RunLock | None = None
        self.saved: dict[str, Any] | None = None  # the state in the newest checkpoint
        self.epoch_batches: tuple[int, Batches | None] = (-1, None)
        self.validations: list[dict[str, Any]] = []
        self.interrupt = DeferredInterrupt()
        self.gradient_mean = GradientMean()
        self.prefetch: Prefetch[Batch] = Prefetch()
        self.prepares_ahead = self.device != "cpu" or bool(getattr(train, "on_disk", False))

    def fit(
        self, *, resume: bool, overwrite: bool, on_start: Callable[[], None] | None = None
    ) -> TrainingResult:
        self.progress = open_progress(self.trainer.progress)
        self.clock = time.monotonic()
        try:
            with self.interrupt:
                self._open(resume=resume, overwrite=overwrite)
                if on_start is not None:
                    on_start()
                try:
                    return self._finish(self._loop())
                except KeyboardInterrupt:
                    self._interrupted()
        finally:
            self.prefetch.close()
            self.progress.close()
            if hasattr(self, "metrics"):
                self.metrics.close()
            if hasattr(self, "board"):
                self.board.close()
            if self.lock is not None:
                self.lock.close()

    # ---- start and end

    def _open(self, *, resume: bool, overwrite: bool) -> None:
        self.settings = json.loads(json.dumps(self.trainer.settings(self.train, self.valid)))
        self.optimizer.prepare(self.size, self.device)
        if self.trainer.average_decay:
            self.average = copy_of(self.model.flat_parameters)
        out = self.trainer.out
        if self.folder is None or out is None:
            if resume:
                raise ValueError("[trainer] Expected a folder `out` to resume from, got none.")
            self.metrics = MetricsFile(None)
            self.board = Board(self.trainer.tensorboard)
            return
        out.mkdir(parents=True, exist_ok=True)
        self.lock = RunLock(out)
        latest, found = self.folder.latest(), self.folder.run()
        if found is not None and not overwrite and not (resume and latest is not None):
            go_on = "" if latest is None else "go on with resume=True, or "
            raise FileExistsError(
                f"{out} holds a training run ({found}): {go_on}start anew with overwrite=True."
            )
        if resume and latest is not None:
            self._restore(latest)
            self.folder.tidy()
        else:
            if resume:
                self.progress.line(f"No checkpoint in {out}: starting.")
            self.folder.clear()
        with self._writing(out / "metrics.jsonl"):
            self.metrics = MetricsFile(out / "metrics.jsonl", length=self.state.metrics_bytes)
        self.state.metrics_bytes = self.metrics.length
        self.board = Board(self.trainer.tensorboard, step=self.state.step)

    def _restore(self, path: Path) -> None:
        checkpoint = Checkpoint.load(path)
        average = checkpoint.parameters if checkpoint.average is None else checkpoint.average
        if checkpoint.layout != self.layout or {checkpoint.parameters.shape, average.shape} != {(self.size,)}:
            raise ValueError(f"{path}: its parameters are not those of this model.")
        self._compare_settings(path, checkpoint)
        here, there = self._where(), (checkpoint.device, checkpoint.instruction_set)
        if here[0] != there[0] or (here[0] == "cpu" and here != there):
            self.progress.line(
                f"Resuming on {_place(*here)}; the checkpoint is from {_place(*there)}: "
                "results will be as good, but not the same bits."
            )
        try:
            self.state = TrainingState.from_json(checkpoint.state)
            self._restore_optimizer(checkpoint.optimizer)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self.scheduler.load_state_dict(self.state.scheduler)
        self._set_parameters(checkpoint.parameters)
        if self.average is not None:  # a run that had none begins one here
            copy_into(self.average, average)
        self.saved = self.state.to_json()
        self.progress.line(f"Resuming at step {self.state.step}, from {path}.")
        self._forget_other_validations(checkpoint)

    def _forget_other_validations(self, checkpoint: Checkpoint) -> None:
        """Those of other data say nothing of which model is the best by these."""
        was, valid = (said.get("free", {}).get("valid") for said in (checkpoint.settings, self.settings))
        if None not in (was, valid) and valid != was:
            self.progress.line("The validation data are others: the best model is looked for anew.")
            self.state.forget_validations()
            self.scheduler.forget_validations()

    def _restore_optimizer(self, saved: Mapping[str, Any]) -> None:
        """Take over its moments. One that keeps others starts anew with them, its own count of steps, by
        which they are weighted, included."""
        if self.optimizer.takes(saved):
            self.optimizer.load_state_dict(saved)
            return
        own_state = self.optimizer.state_dict()
        own, found = (", ".join(sorted(set(state) - {"step"})) or "none" for state in (own_state, saved))
        self.progress.line(
            f"The moments start anew: {self.optimizer.type} has {own}, the checkpoint has {found}."
        )

    def _compare_settings(self, path: Path, checkpoint: Checkpoint) -> None:
        """Refuse what may not change, report what may. What an older version did not write is as it was."""
        former = getattr(self.train, "former_fingerprint", None)
        for name, was, value in self._changes(checkpoint, "fixed"):
            if not (name == "train" and former is not None and was == former()):
                raise ValueError(
                    f"{path}: the run was started with {name} {was!r}, got {value!r}; "
                    "a run is resumed with the same model on the same data in the same order."
                )
        for name, was, value in self._changes(checkpoint, "free"):
            self.progress.line(f"Resuming with {name} {value!r}; it was {was!r}.")

    def _changes(self, checkpoint: Checkpoint, kind: str) -> list[tuple[str, Any, Any]]:
        """Settings of the checkpoint that are others now: name, what it was, what it is."""
        saved = checkpoint.settings.get(kind, {})
        now = self.settings[kind]
        return [(name, saved[name], now[name]) for name in now if name in saved and saved[name] != now[name]]

    def _finish(self, stopped_by: str) -> TrainingResult:
        state, out = self.state, self.trainer.out
        last = None if out is None else out / "last"
        if last is not None:
            with self.interrupt.shielded(), self._writing(last), self._averaged():
                self._save_model(last)
        best = None if out is None or state.best_step is None else out / "best"
        ending = f"{state.step} steps, {state.epoch} epochs, {state.seconds / 60:.1f} minutes ({stopped_by})"
        if state.best_step is not None:
            ending += f"; best {self.trainer.metric_name} {state.best.value:.6g} at step {state.best_step}"
        self.progress.line(f"Done: {ending}.")
        return TrainingResult(
            stopped_by=stopped_by,
            step=state.step,
            epoch=state.epoch,
            seconds=state.seconds,
            metric=self.trainer.metric_name,
            best_value=state.best.value,
            best_step=state.best_step,
            best=best,
            last=last,
            checkpoint=None if self.folder is None else self.folder.latest(),
            validations=self.validations,
        )

    def _interrupted(self) -> NoReturn:
        """Save and raise TrainingInterrupted, as the answer to a KeyboardInterrupt."""
        if self.folder is None:
            raise
        if not self.interrupt.torn:
            self._save_checkpoint()
        raise TrainingInterrupted(
            f"Stopped at step {self.state.step}; saved in {self.folder.latest()}. "
            f"To go on from there: {self.trainer.resume_hint}."
        ) from None

    # ---- the loop

    def _loop(self) -> str:
        state = self.state
        while True:
            if self._validation_due() and state.validated != state.step:
                self._validate(regular=True)
            stopped_by = self._limit_reached()
            if stopped_by and self.validates and state.validated != state.step:
                self._validate(regular=False)
            if stopped_by or self._checkpoint_due():
                self._save_checkpoint()
            if stopped_by:
                return stopped_by
            self._train_step()

    def _train_step(self) -> None:
        state, trainer = self.state, self.trainer
        batches = self._batches()
        count = min(trainer.accum_count, len(batches) - state.position)
        sums, gradients = self._sums_and_gradients(batches, count)
        norm = clip_grad_norm_(gradients, trainer.max_grad_norm or math.inf)
        if not math.isfinite(norm):
            self._diverged(f"the loss is {sums.loss}, the gradient's norm {norm}", batches, count)
        lr = self.scheduler.lr(self.optimizer.lr, state.step + 1)
        with self.interrupt.shielded():
            self.optimizer.step(self.model.flat_parameters, gradients, lr=lr, decay_mask=self.decay_mask)
            self.model.weights_changed()
            state.step += 1
            self._update_average()
            state.position += count
            if state.position == len(batches):
                state.epoch, state.position = state.epoch + 1, 0
            state.tokens += sums.tokens
            state.window.loss += sums.loss
            state.window.tokens += sums.tokens
            state.window.correct += sums.correct
            state.window.seconds += self._tick()
            if state.step % trainer.report_every == 0 or self._validation_due():
                self._report(lr, norm)
        loss = sums.loss / sums.tokens
        self.progress.update(
            self._fraction(), f"step {state.step}  epoch {self._epochs():.2f}  loss {loss:.4f}"
        )

    def _sums_and_gradients(self, batches: Batches, count: int) -> tuple[Window, Any]:
        """Of the next batches together. Nothing of the state changes."""
        state, trainer = self.state, self.trainer
        options: dict[str, Any] = {"label_smoothing": trainer.label_smoothing}
        if trainer.compute_type != "float32":  # this and `sampling` a model of one's own need not know
            options["compute_type"] = trainer.compute_type
        if trainer.scheduled_sampling is not None:
            options["sampling"] = trainer.scheduled_sampling.probability(state.step)
        sums = Window()
        self.gradient_mean.begin()
        for at in range(state.position, state.position + count):
            batch = self._batch(batches, at)
            result = self.model.forward_backward(
                batch, update=state.step, seed=trainer.batching.seed, **options
            )
            sums.loss += float(result.loss)
            sums.tokens += int(result.tokens)
            sums.correct += int(result.correct)
            if not math.isfinite(sums.loss):
                self._diverged(f"the loss is {sums.loss}", batches, at - state.position + 1)
            if count > 1:
                self.gradient_mean.add(self.model.flat_gradients, int(result.tokens))
        return sums, self.gradient_mean.value if count > 1 else self.model.flat_gradients

    def _batch(self, batches: Batches, at: int) -> Batch:
        """A batch of the epoch. The next one is put together meanwhile, where a device computes or the data
        may have to come from a disk.

        Else not: the thread would take a processor from the step, to save next to nothing.
        """
        epoch = self.state.epoch
        batch = self.prefetch.get((epoch, at), self._maker(batches, at))
        if at + 1 < len(batches) and self.prepares_ahead:
            self.prefetch.begin((epoch, at + 1), self._maker(batches, at + 1))
        return batch

    def _maker(self, batches: Batches, at: int) -> Callable[[], Batch]:
        """What makes a batch, which is told its update now: the state moves on while it is made."""
        augmented = getattr(self.train, "training_batch", None)
        if augmented is None:
            return lambda: self.train.batch(batches[at])
        update = self.state.step + (at - self.state.position) // self.trainer.accum_count
        return lambda: augmented(batches[at], update=update, seed=self.trainer.batching.seed)

    def _batches(self) -> Batches:
        epoch, batches = self.epoch_batches
        if batches is None or epoch != self.state.epoch:
            self.epoch_batches = -1, None  # not two epochs at once
            batches = self.trainer.batching.epoch(
                self.train.source_lengths, self.train.target_lengths, self.state.epoch
            )
            self.epoch_batches = self.state.epoch, batches
        return batches

    def _validation_due(self) -> bool:
        return self.validates and self._due(self.trainer.validate_every)

    def _checkpoint_due(self) -> bool:
        return self.state.step == 0 or self._due(self.trainer.checkpoint_every)

    def _due(self, every: int | None) -> bool:
        """Whether the state is at a multiple of so many steps (None: at the end of an epoch)."""
        if self.state.step == 0:
            return False
        return self.state.position == 0 if every is None else self.state.step % every == 0

    def _limit_reached(self) -> str | None:
        state, trainer = self.state, self.trainer
        if trainer.early_stopping is not None and state.stopping.since >= trainer.early_stopping:
            return "early_stopping"
        if trainer.max_steps is not None and state.step >= trainer.max_steps:
            return "max_steps"
        if trainer.max_epochs is not None and state.epoch >= trainer.max_epochs:
            return "max_epochs"
        if trainer.max_minutes is not None and state.seconds >= 60 * trainer.max_minutes:
            return "max_minutes"
        return None

    # ---- validation

    def _validate(self, *, regular: bool) -> None:
        """Validate; if not regular (at the end of a run), without moving scheduler and early stopping."""
        state, trainer = self.state, self.trainer
        values = self._measure()
        value = values[trainer.metric_name]
        if not math.isfinite(value):
            self._diverged(f"the validation's {trainer.metric_name} is {value}")
        with self.interrupt.shielded():
            self._tick()
            state.validated = state.step
            better = state.best.update(value, maximize=trainer.maximize)
            if regular:
                state.stopping.update(value, maximize=trainer.maximize)
                self.scheduler.validated(value, maximize=trainer.maximize)
            if better:
                state.best_step = state.step
                if trainer.out is not None:
                    with self._writing(trainer.out / "best"), self._averaged():
                        self._save_model(trainer.out / "best")
            record = {"event": "valid", "step": state.step, "epoch": self._epochs(), **values, "best": better}
            if not regular:
                record["regular"] = False
            record["seconds"] = round(state.seconds, 3)
            self.validations.append(record)
            self._write_metrics(record)
        figures = "  ".join(f"{name} {number:.6g}" for name, number in values.items())
        self.progress.line(f"step {state.step}  valid  {figures}" + ("  (best)" if better else ""))

    def _measure(self) -> dict[str, float]:
        with self._averaged():
            values = {} if self.valid is None else measure(self.model, self.valid, self.trainer.batching)
            metric = self.trainer.metric
            if isinstance(metric, Metric):
                values[metric.name] = float(metric.function(self.model))
            return values

    # ---- the moving average of the weights

    def _update_average(self) -> None:
        """After each step. At first the average follows the weights closely, or it would keep their start."""
        if self.average is not None:
            step = self.state.step
            weight = max(self.trainer.average_decay, 1.0 - (step + 1) / (step + 10))
            average_(self.average, self.model.flat_parameters, weight)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model has the average for its weights meanwhile, if there is one."""
        if self.average is None:
            yield
            return
        self.own = copy_of(self.model.flat_parameters)
        try:
            with self.interrupt.shielded():
                self._set_parameters(self.average)
            yield
        finally:
            with self.interrupt.shielded():
                self._take_own()

    def _take_own(self) -> None:
        """Put the model's own parameters back. A Ctrl-C in a bad moment may leave that to who saves them."""
        if self.own is not None:
            self._set_parameters(self.own)
            self.own = None

    def _set_parameters(self, values: Any) -> None:
        copy_into(self.model.flat_parameters, values)
        self.model.weights_changed()

    # ---- files

    def _save_checkpoint(self) -> None:
        state = self.state
        if self.folder is None:
            return
        state.scheduler = self.scheduler.state_dict()
        if state.to_json() == self.saved:
            return
        with self.interrupt.shielded():
            self._take_own()
        if not self._finite():
            self._diverged("a parameter is not finite")
        with self.interrupt.shielded():
            self.metrics.sync()
            device, instruction_set = self._where()
            self.folder.save(
                Checkpoint(
                    to_host(self.model.flat_parameters),
                    self.optimizer.state_dict(),
                    self.layout,
                    state.to_json(),
                    self.settings,
                    instruction_set,
                    device,
                    None if self.average is None else to_host(self.average),
                ),
                state.step,
            )
            self.saved = state.to_json()

    def _finite(self) -> bool:
        parameters = self.model.flat_parameters  # the norm is quick, and finite but for very large numbers
        return math.isfinite(squared_norm(parameters)) or bool(np.isfinite(to_host(parameters)).all())

    def _where(self) -> tuple[str, str]:
        """What bits depend on: "cpu" or the device's name, and the CPU's instruction set."""
        if self.device == "cpu":
            return "cpu", cpu_isa()
        index = int(self.device.removeprefix("cuda:"))
        return str(_native.cuda_status()["devices"][index]["name"]), cpu_isa()

    def _save_model(self, folder: Path) -> None:
        save = self.trainer.save_model
        if save is None:
            self.model.save(folder)
        else:
            save(folder)

    def _write_metrics(self, record: dict[str, Any]) -> None:
        with self._writing(None if self.trainer.out is None else self.trainer.out / "metrics.jsonl"):
            self.metrics.write(record)
            self.board.write(record)
        self.state.metrics_bytes = self.metrics.length

    @contextmanager
    def _writing(self, path: Path | None) -> Iterator[None]:
        """Make an OSError say what could not be written and what is whole."""
        try:
            yield
        except OSError as error:
            last = self.folder.latest() if self.folder is not None else None
            kept = f" The checkpoint {last} is whole." if last is not None else ""
            raise OSError(
                error.errno, f"{path} could not be written: {error.strerror or error}.{kept}"
            ) from error

    def _diverged(self, what: str, batches: Batches | None = None, count: int = 0) -> NoReturn:
        """Raise TrainingDiverged; save the state, which is that of before the step, if it is good."""
        kept = ""
        if batches is not None:  # the last of those that were looked at
            examples = batches[self.state.position + count - 1][:8].tolist()
            what += f", on examples {', '.join(map(str, examples))}, ..."
        if self.folder is not None:
            if self._finite():
                self._save_checkpoint()
            kept = f" The run up to here is saved in {self.folder.latest()}."
        raise TrainingDiverged(
            f"Training stopped after step {self.state.step}: {what}.{kept} "
            "Try a lower learning rate or a lower max_grad_norm."
        )

    # ---- figures

    def _report(self, lr: float, norm: float) -> None:
        state = self.state
        window, state.window = state.window, Window()
        speed = window.tokens / max(window.seconds, 1e-9)
        loss = window.loss / window.tokens
        right = {"accuracy": window.correct / window.tokens} if self.predicts_tokens else {}
        self._write_metrics(
            {
                "event": "train",
                "step": state.step,
                "epoch": self._epochs(),
                "loss": loss,
                **right,
                "lr": lr,
                "grad_norm": norm,
                "tokens": state.tokens,
                "seconds": round(state.seconds, 3),
                "tokens_per_second": round(speed, 1),
            }
        )
        self.progress.report(
            f"step {state.step}  epoch {self._epochs():.2f}  loss {loss:.4f}  "
            + "".join(f"accuracy {part:.4f}  " for part in right.values())
            + f"lr {lr:.3g}  grad norm {norm:.3g}  {speed:.0f} {'tokens' if right else 'values'}/s"
        )

    def _tick(self) -> float:
        """Add the time since the last call to the state's, and return it."""
        now = time.monotonic()
        elapsed, self.clock = now - self.clock, now
        self.state.seconds += elapsed
        return elapsed

    def _epochs(self) -> float:
        """Epochs done, the part of the one under way included."""
        state = self.state
        return (
            round(state.epoch + state.position / len(self._batches()), 4)
            if state.position
            else float(state.epoch)
        )

    def _fraction(self) -> float:
        """The part of the run that is done, by the limit that is nearest."""
        state, trainer = self.state, self.trainer
        done = [0.0]
        if trainer.max_steps:
            done.append(state.step / trainer.max_steps)
        if trainer.max_epochs:
            done.append(self._epochs() / trainer.max_epochs)
        if trainer.max_minutes:
            done.append(state.seconds / (60 * trainer.max_minutes))
        return min(max(done), 1.0)


def _place(device: str, instruction_set: str) -> str:
    return instruction_set if device == "cpu" else device
