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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder
from seq2seq_fast.interrupts import DeferredInterrupt
from seq2seq_fast.optim import clip_grad_norm_, decay_mask
from seq2seq_fast.progress import open_progress
from seq2seq_fast.trainer import Metric, TrainingDiverged, TrainingInterrupted, TrainingResult
from seq2seq_fast.training_state import MetricsFile, TrainingState, Window

if TYPE_CHECKING:
    from seq2seq_fast.trainer import Trainer, TrainingData


class TrainingRun:
    """Made by `Trainer.fit`, used once."""

    def __init__(self, trainer: Trainer, train: TrainingData, valid: TrainingData | None) -> None:
        for name, data in (("train", train), ("valid", valid)):
            if data is not None and len(data) == 0:
                raise ValueError(f"[trainer] Expected {name} to have examples, got an empty data set.")
        self.settings = trainer
        self.model = trainer.model
        self.optimizer = trainer.optimizer
        self.train, self.valid = train, valid
        self.validates = valid is not None or isinstance(trainer.metric, Metric)
        self.layout = [(n, tuple(shape), at, bool(decay)) for n, shape, at, decay in self.model.layout()]
        self.size = len(self.model.flat_parameters)
        self.decay_mask = decay_mask(self.layout, self.size) if self.optimizer.weight_decay else None
        self.state = TrainingState()
        self.folder = (
            None if trainer.out is None else CheckpointFolder(trainer.out, keep=trainer.keep_checkpoints)
        )
        self.saved: dict[str, Any] | None = None  # the state in the newest checkpoint
        self.epoch_batches: tuple[int, list[npt.NDArray[np.int64]]] = (-1, [])
        self.validations: list[dict[str, Any]] = []
        self.interrupt = DeferredInterrupt()

    def fit(self, *, resume: bool, overwrite: bool) -> TrainingResult:
        self.progress = open_progress(self.settings.progress)
        self.clock = time.monotonic()
        try:
            with self.interrupt:
                self._open(resume=resume, overwrite=overwrite)
                try:
                    stopped_by = self._loop()
                except KeyboardInterrupt:
                    self._interrupted()
                return self._finish(stopped_by)
        finally:
            self.progress.close()
            if hasattr(self, "metrics"):
                self.metrics.close()

    # ---- start and end

    def _open(self, *, resume: bool, overwrite: bool) -> None:
        self.run_settings = json.loads(json.dumps(self.settings.settings(self.train)))
        self.optimizer.prepare(self.size)
        out = self.settings.out
        if self.folder is None or out is None:
            if resume:
                raise ValueError("[trainer] Expected a folder `out` to resume from, got none.")
            self.metrics = MetricsFile(None)
            return
        out.mkdir(parents=True, exist_ok=True)
        latest = self.folder.latest()
        if latest is not None and not resume and not overwrite:
            raise FileExistsError(
                f"{out} holds a training run ({latest.name}): "
                "go on with resume=True, or start anew with overwrite=True."
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

    def _restore(self, path: Path) -> None:
        checkpoint = Checkpoint.load(path)
        if checkpoint.layout != self.layout or checkpoint.parameters.shape != (self.size,):
            raise ValueError(f"{path}: its parameters are not those of this model.")
        saved, mine = checkpoint.settings, self.run_settings
        for name, value in mine["fixed"].items():
            if saved["fixed"].get(name) != value:
                raise ValueError(
                    f"{path}: the run was started with {name} {saved['fixed'].get(name)!r}, got {value!r}; "
                    "a run is resumed on the same data in the same order."
                )
        for name, value in mine["free"].items():
            if saved["free"].get(name) != value:
                self.progress.line(f"Resuming with {name} {value!r}; it was {saved['free'].get(name)!r}.")
        if checkpoint.instruction_set != instruction_set():
            self.progress.line(
                f"Resuming on {instruction_set()}; the checkpoint is from {checkpoint.instruction_set}: "
                "results will be as good, but not the same bits."
            )
        try:
            self.state = TrainingState.from_json(checkpoint.state)
            self.optimizer.load_state_dict(checkpoint.optimizer)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self.settings.scheduler.load_state_dict(self.state.scheduler)
        self.model.flat_parameters[...] = checkpoint.parameters
        self.model.weights_changed()
        self.saved = self.state.to_json()
        self.progress.line(f"Resuming at step {self.state.step}, from {path}.")

    def _finish(self, stopped_by: str) -> TrainingResult:
        state, out = self.state, self.settings.out
        last = None if out is None else out / "last"
        if last is not None:
            with self.interrupt.shielded(), self._writing(last):
                self._save_model(last)
        best = None if out is None or state.best_step is None else out / "best"
        ending = f"{state.step} steps, {state.epoch} epochs, {state.seconds / 60:.1f} minutes ({stopped_by})"
        if state.best_step is not None:
            ending += f"; best {self.settings.metric_name} {state.best.value:.6g} at step {state.best_step}"
        self.progress.line(f"Done: {ending}.")
        return TrainingResult(
            stopped_by=stopped_by,
            step=state.step,
            epoch=state.epoch,
            seconds=state.seconds,
            metric=self.settings.metric_name,
            best_value=state.best.value,
            best_step=state.best_step,
            best=best,
            last=last,
            checkpoint=None if self.folder is None else self.folder.latest(),
            validations=self.validations,
        )

    def _interrupted(self) -> None:
        """Save and raise TrainingInterrupted, as the answer to a KeyboardInterrupt."""
        if self.folder is None:
            raise
        if not self.interrupt.torn:
            self._save_checkpoint()
        raise TrainingInterrupted(
            f"Stopped at step {self.state.step}; saved in {self.folder.latest()}. "
            f"To go on from there: {self.settings.resume_hint}."
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
        state, settings = self.state, self.settings
        batches = self._batches()
        batch = self.train.batch(batches[state.position])
        result = self.model.forward_backward(
            batch, update=state.step, seed=settings.batching.seed, label_smoothing=settings.label_smoothing
        )
        norm = clip_grad_norm_(self.model.flat_gradients, settings.max_grad_norm or math.inf)
        if not (math.isfinite(result.loss) and math.isfinite(norm)):
            what = (
                f"the loss is {result.loss}"
                if not math.isfinite(result.loss)
                else f"the gradient's norm is {norm}"
            )
            self._diverged(f"{what}, on examples {', '.join(map(str, batch.example_ids[:8]))}, ...")
        lr = settings.scheduler.lr(self.optimizer.lr, state.step + 1)
        with self.interrupt.shielded():
            self.optimizer.step(
                self.model.flat_parameters, self.model.flat_gradients, lr=lr, decay_mask=self.decay_mask
            )
            self.model.weights_changed()
            # A moving average of the weights would be one more flat buffer, updated here and kept in the
            # checkpoint.
            state.step += 1
            state.position += 1
            if state.position == len(batches):
                state.epoch, state.position = state.epoch + 1, 0
            state.tokens += int(result.tokens)
            state.window.loss += float(result.loss)
            state.window.tokens += int(result.tokens)
            state.window.correct += int(result.correct)
            state.window.seconds += self._tick()
            if state.step % settings.report_every == 0 or self._validation_due():
                self._report(lr, norm)
        loss = result.loss / result.tokens
        self.progress.update(
            self._fraction(), f"step {state.step}  epoch {self._epochs():.2f}  loss {loss:.4f}"
        )

    def _batches(self) -> list[npt.NDArray[np.int64]]:
        epoch, batches = self.epoch_batches
        if epoch != self.state.epoch:
            batches = self.settings.batching.epoch(
                self.train.source_lengths, self.train.target_lengths, self.state.epoch
            )
            self.epoch_batches = self.state.epoch, batches
        return batches

    def _validation_due(self) -> bool:
        return self.validates and self._due(self.settings.validate_every)

    def _checkpoint_due(self) -> bool:
        return self.state.step == 0 or self._due(self.settings.checkpoint_every)

    def _due(self, every: int | None) -> bool:
        """Whether the state is at a multiple of so many steps (None: at the end of an epoch)."""
        if self.state.step == 0:
            return False
        return self.state.position == 0 if every is None else self.state.step % every == 0

    def _limit_reached(self) -> str | None:
        state, settings = self.state, self.settings
        if settings.early_stopping is not None and state.stopping.since >= settings.early_stopping:
            return "early_stopping"
        if settings.max_steps is not None and state.step >= settings.max_steps:
            return "max_steps"
        if settings.max_epochs is not None and state.epoch >= settings.max_epochs:
            return "max_epochs"
        if settings.max_minutes is not None and state.seconds >= 60 * settings.max_minutes:
            return "max_minutes"
        return None

    # ---- validation

    def _validate(self, *, regular: bool) -> None:
        """Validate; if not regular (at the end of a run), without moving scheduler and early stopping."""
        state, settings = self.state, self.settings
        values = self._measure()
        value = values[settings.metric_name]
        if not math.isfinite(value):
            self._diverged(f"the validation's {settings.metric_name} is {value}")
        with self.interrupt.shielded():
            self._tick()
            state.validated = state.step
            better = state.best.update(value, maximize=settings.maximize)
            if regular:
                state.stopping.update(value, maximize=settings.maximize)
                settings.scheduler.validated(value, maximize=settings.maximize)
            if better:
                state.best_step = state.step
                if settings.out is not None:
                    with self._writing(settings.out / "best"):
                        self._save_model(settings.out / "best")
            record = {"event": "valid", "step": state.step, "epoch": self._epochs(), **values, "best": better}
            if not regular:
                record["regular"] = False
            record["seconds"] = round(state.seconds, 3)
            self.validations.append(record)
            self._write_metrics(record)
        figures = "  ".join(f"{name} {number:.6g}" for name, number in values.items())
        self.progress.line(f"step {state.step}  valid  {figures}" + ("  (best)" if better else ""))

    def _measure(self) -> dict[str, float]:
        values: dict[str, float] = {}
        if self.valid is not None:
            nll, tokens, correct = 0.0, 0, 0
            valid = self.valid
            for examples in self.settings.batching.in_order_of_length(
                valid.source_lengths, valid.target_lengths
            ):
                result = self.model.loss(valid.batch(examples))
                nll += float(result.nll)
                tokens += int(result.tokens)
                correct += int(result.correct)
            values["loss"] = nll / tokens
            values["perplexity"] = math.exp(min(nll / tokens, 700.0))
            values["accuracy"] = correct / tokens
        metric = self.settings.metric
        if isinstance(metric, Metric):
            values[metric.name] = float(metric.function(self.model))
        return values

    # ---- files

    def _save_checkpoint(self) -> None:
        state = self.state
        if self.folder is None:
            return
        state.scheduler = self.settings.scheduler.state_dict()
        if state.to_json() == self.saved:
            return
        if not np.isfinite(self.model.flat_parameters).all():
            self._diverged("a parameter is not finite")
        with self.interrupt.shielded():
            self.metrics.sync()
            self.folder.save(
                Checkpoint(
                    self.model.flat_parameters,
                    self.optimizer.state_dict(),
                    self.layout,
                    state.to_json(),
                    self.run_settings,
                    instruction_set(),
                ),
                state.step,
            )
            self.saved = state.to_json()

    def _save_model(self, folder: Path) -> None:
        save = self.settings.save_model
        if save is None:
            self.model.save(folder)
        else:
            save(folder)

    def _write_metrics(self, record: dict[str, Any]) -> None:
        with self._writing(None if self.settings.out is None else self.settings.out / "metrics.jsonl"):
            self.metrics.write(record)
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

    def _diverged(self, what: str) -> None:
        """Raise TrainingDiverged; save the state, which is that of before the step, if it is good."""
        kept = ""
        if self.folder is not None:
            if np.isfinite(self.model.flat_parameters).all():
                self._save_checkpoint()
            kept = f" The run up to here is saved in {self.folder.latest()}."
        raise TrainingDiverged(
            f"Training stopped after step {self.state.step}: {what}.{kept} "
            "Try a lower learning rate or a lower max_grad_norm, and look at the data named here."
        )

    # ---- figures

    def _report(self, lr: float, norm: float) -> None:
        state = self.state
        window, state.window = state.window, Window()
        speed = window.tokens / max(window.seconds, 1e-9)
        loss, accuracy = window.loss / window.tokens, window.correct / window.tokens
        self._write_metrics(
            {
                "event": "train",
                "step": state.step,
                "epoch": self._epochs(),
                "loss": loss,
                "accuracy": accuracy,
                "lr": lr,
                "grad_norm": norm,
                "tokens": state.tokens,
                "seconds": round(state.seconds, 3),
                "tokens_per_second": round(speed, 1),
            }
        )
        self.progress.report(
            f"step {state.step}  epoch {self._epochs():.2f}  loss {loss:.4f}  accuracy {accuracy:.4f}  "
            f"lr {lr:.3g}  grad norm {norm:.3g}  {speed:.0f} tokens/s"
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
        state, settings = self.state, self.settings
        done = [0.0]
        if settings.max_steps:
            done.append(state.step / settings.max_steps)
        if settings.max_epochs:
            done.append(self._epochs() / settings.max_epochs)
        if settings.max_minutes:
            done.append(state.seconds / (60 * settings.max_minutes))
        return min(max(done), 1.0)


def instruction_set() -> str:
    """The name of the instruction set that the CPU kernels use here."""
    from seq2seq_fast import _native

    return str(_native.cpu_isa())
