"""The trainer: maximum likelihood by mini-batches, with validation, checkpoints and exact resumption.

    trainer = Trainer(model, Adam(lr=1e-3), out="run", max_epochs=20, scheduler=ReduceLROnPlateau())
    result = trainer.fit(train, valid)              # Ctrl-C saves
    result = trainer.fit(train, valid, resume=True)  # goes on, to the same bits as if never stopped

The folder `out` then holds

    best/, last/                      models' folders: of the best validation, and of the end
    checkpoint-000001234.safetensors  what `resume` starts from
    metrics.jsonl                     a line for each report ("event": "train") and validation ("valid")

Here stand the settings and what comes out; the loop itself is in training_run.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seq2seq_fast.arguments import flag, integer, number
from seq2seq_fast.batching import Batching
from seq2seq_fast.checkpoint import Layout
from seq2seq_fast.optim import Adam, Optimizer
from seq2seq_fast.schedule import Scheduler
from seq2seq_fast.scheduled_sampling import ScheduledSampling
from seq2seq_fast.tensorboard import check_installed

Float32 = Any
"""float32 [P]: a numpy array, or a `DeviceArray` where the model lies on a device."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C, after the run has been saved; the message says how to go on."""


class TrainingDiverged(RuntimeError):
    """A loss or a gradient that is not finite. The parameters are those of before the step."""


class StepSums(Protocol):
    """What a step of training gives, sums over its batch: `model.StepResult` is one."""

    @property
    def loss(self) -> float: ...
    @property
    def tokens(self) -> int: ...
    @property
    def correct(self) -> int: ...


class LossSums(StepSums, Protocol):
    """What a batch of a validation gives: `model.LossResult` is one."""

    @property
    def nll(self) -> float: ...


class TrainableModel(Protocol):
    """What the trainer needs of a model; `Seq2Seq` is one. Batches are those of the data it is trained on.

    What a model may have besides, where it is asked for:

    - `forward_backward(..., compute_type=)`, given unless it is float32, and `sampling=`, the probability of
      a `ScheduledSampling`.
    - `frozen`: the names of parameters that stay as they are.
    - `predicts_tokens`: false where `tokens` counts something else, values say: perplexity and accuracy are
      then left out.
    """

    @property
    def flat_parameters(self) -> Float32: ...
    @property
    def flat_gradients(self) -> Float32: ...
    def layout(self) -> Layout: ...
    def forward_backward(
        self, batch: Any, *, update: int = 0, seed: int = 0, label_smoothing: float = 0.0
    ) -> StepSums: ...
    def loss(self, batch: Any, label_smoothing: float = 0.0) -> LossSums: ...
    def weights_changed(self) -> None: ...
    def save(self, folder: Path) -> None: ...


class TrainingData(Protocol):
    """What the trainer needs of a data set; `Dataset` is one.

    Where it has an attribute `on_disk` that is true, each batch is made while the one before is computed, in
    another thread. Where it has a method `training_batch(examples, *, update, seed)`, batches to learn from
    are made by that: it may change the examples each time, by these numbers (`FeatureDataset`); its attribute
    `augmentation`, with settings(), is then what a checkpoint says of it. Where it has a method
    `former_fingerprint()`, a checkpoint may also name the data by that.
    """

    @property
    def source_lengths(self) -> npt.NDArray[np.integer[Any]]: ...
    @property
    def target_lengths(self) -> npt.NDArray[np.integer[Any]]: ...
    def __len__(self) -> int: ...
    def batch(self, examples: npt.NDArray[np.int64]) -> Any: ...
    def fingerprint(self) -> str: ...


LEARNING_FIELDS = (
    *("dropout", "embedding_dropout", "output_dropout", "variational_dropout"),
    *("word_dropout", "source_unk_id", "zoneout_hidden", "zoneout_cell", "coverage_loss", "ctc_weight"),
)
"""Of a model's config, how it learns, which may change in a run; the rest says what its weights mean."""


@dataclass(frozen=True)
class Metric:
    """What a validation measures besides the loss, and by which the best model is chosen.

    Args:
        name: its name in lines and metrics, e.g. "word_error_rate".
        function: takes the model, decodes what it likes, and returns a number.
        maximize: more is better.
    """

    name: str
    function: Callable[[Any], float]
    maximize: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    stopped_by: str
    """"max_steps", "max_epochs", "max_minutes" or "early_stopping"."""
    step: int
    epoch: int
    """Whole epochs done."""
    seconds: float
    """Time spent, over all sittings."""
    metric: str
    best_value: float | None
    """The best validation's metric; None: nothing was validated."""
    best_step: int | None
    best: Path | None
    """Folder of the best model; None: nothing was validated, or there is no `out`."""
    last: Path | None
    """Folder of the model at the end."""
    checkpoint: Path | None
    """The last checkpoint."""
    validations: list[dict[str, Any]]
    """What was validated in this sitting."""


class Trainer:
    """Trains a model.

    Args:
        model: a `Seq2Seq`, or anything with the methods of `TrainableModel`. It is trained where it lies.
        optimizer: default `Adam(lr=1e-3)`. Weight decay spares biases.
        out: folder for models, checkpoints and metrics; None: nothing is written, and nothing can be resumed.
        batch_size, batch_type, bucket_size, seed: see `Batching`. The seed also names the dropout masks.
        max_epochs, max_steps, max_minutes: limits of the run as a whole, earlier sittings included; whichever
            is reached first ends it. With none of them, and no `early_stopping`, 10 epochs.
        accum_count: so many batches make one update, by the gradient of their losses' sum / all their tokens:
            that of one batch as large, in the memory of a small one. A step is an update; the last one of an
            epoch has what is left.
        max_grad_norm: gradients are scaled to this 2-norm at most (0: never).
        label_smoothing: as in PyTorch; validation is always without.
        scheduled_sampling: how often the decoder is fed tokens that it draws itself; None: never.
        compute_type: "bfloat16": training's products round their factors, where that is faster: on GPUs and
            on processors with AVX512-BF16. The weights that are updated are float32 as ever. See
            `Seq2Seq.forward_backward`.
        average_decay: above 0 (0.0001, say), validation and saved models take an exponential moving average
            of the weights, which moves by this part at a step, by more in the first ones: OpenNMT's
            `average_decay`, Marian's `exponential-smoothing`. After `fit` the model has its own weights.
        scheduler: how the learning rate changes; default: it does not.
        early_stopping: stop after so many validations in a row that are no better (None: never).
        validate_every: in steps (None: after each epoch).
        checkpoint_every: in steps (None: after each epoch). One is made at the start, one at the end.
        keep_checkpoints: so many of the newest stay, e.g. to average them.
        report_every: in steps.
        metric: "loss" (per token), "perplexity", or a `Metric`: what the best model, the scheduler and early
            stopping go by.
        save_model: writes the model to a folder; default `model.save`. To save vocabularies with it, pass
            e.g. `lambda folder: save_model(folder, model, source=source, target=target)`.
        tensorboard: folder for TensorBoard's event files (extra `tensorboard`); None: none are written.
        progress: None: a bar on a terminal, lines elsewhere, on stderr. False: nothing.
        resume_hint: what to tell the user to do to go on after Ctrl-C.

    Raises:
        ValueError, TypeError: naming the argument that is wrong.
    """

    def __init__(
        self,
        model: TrainableModel,
        optimizer: Optimizer | None = None,
        *,
        out: str | os.PathLike[str] | None = None,
        batch_size: int = 2048,
        batch_type: str = "tokens",
        bucket_size: int = 16384,
        seed: int = 0,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        max_minutes: float | None = None,
        accum_count: int = 1,
        max_grad_norm: float = 5.0,
        label_smoothing: float = 0.0,
        scheduled_sampling: ScheduledSampling | None = None,
        compute_type: str = "float32",
        average_decay: float = 0.0,
        scheduler: Scheduler | None = None,
        early_stopping: int | None = None,
        validate_every: int | None = None,
        checkpoint_every: int | None = None,
        keep_checkpoints: int = 1,
        report_every: int = 100,
        metric: str | Metric = "loss",
        save_model: Callable[[Path], None] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
        resume_hint: str = "call fit(..., resume=True)",
    ) -> None:
        for method in ("layout", "forward_backward", "loss", "weights_changed"):
            if isinstance(model, type) or not callable(getattr(model, method, None)):
                raise TypeError(f"[trainer] Expected model as a Seq2Seq or the like, got {model!r}.")
        if not (out is None or isinstance(out, str | os.PathLike)):
            raise TypeError(f"[trainer] Expected out as a path or None, got {out!r}.")
        self.model = model
        self.optimizer = Adam() if optimizer is None else optimizer
        self.out = None if out is None else Path(out)
        self.batching = Batching(batch_size, batch_type, bucket_size, seed)
        unlimited = (
            max_epochs is None and max_steps is None and max_minutes is None and early_stopping is None
        )
        self.max_epochs = 10 if unlimited else max_epochs
        self.max_steps = max_steps
        self.max_minutes = max_minutes
        self.accum_count = accum_count
        self.max_grad_norm = max_grad_norm
        self.label_smoothing = label_smoothing
        self.scheduled_sampling = scheduled_sampling
        self.compute_type = compute_type
        self.average_decay = average_decay
        self.scheduler = Scheduler() if scheduler is None else scheduler
        self.early_stopping = early_stopping
        self.validate_every = validate_every
        self.checkpoint_every = checkpoint_every
        self.keep_checkpoints = keep_checkpoints
        self.report_every = report_every
        self.metric = metric
        self.save_model = save_model
        self.tensorboard = tensorboard
        self.progress = progress
        self.resume_hint = resume_hint
        self._check()

    def _check(self) -> None:
        """Check the settings and keep them as plain values: numpy's would not go into a checkpoint."""
        for name in ("accum_count", "keep_checkpoints", "report_every"):
            setattr(self, name, integer("trainer", name, getattr(self, name), 1))
        for name, least in (
            ("max_epochs", 0),
            ("max_steps", 0),
            ("early_stopping", 1),
            ("validate_every", 1),
            ("checkpoint_every", 1),
        ):
            if getattr(self, name) is not None:
                setattr(self, name, integer("trainer", name, getattr(self, name), least))
        if self.tensorboard is not None:
            if not isinstance(self.tensorboard, str | os.PathLike):
                raise TypeError(
                    f"[trainer] Expected tensorboard as a path or None, got {self.tensorboard!r}."
                )
            check_installed()
        if self.max_minutes is not None:
            self.max_minutes = number("trainer", "max_minutes", self.max_minutes, 0.0)
        self.max_grad_norm = number("trainer", "max_grad_norm", self.max_grad_norm, 0.0)
        self.label_smoothing = number("trainer", "label_smoothing", self.label_smoothing)
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"[trainer] Expected label_smoothing from 0 to below 1, got {self.label_smoothing}."
            )
        self.average_decay = number("trainer", "average_decay", self.average_decay)
        if not 0 <= self.average_decay <= 1:
            raise ValueError(f"[trainer] Expected average_decay from 0 to 1, got {self.average_decay}.")
        if self.compute_type not in ("float32", "bfloat16"):
            raise ValueError(
                f"[trainer] Expected compute_type float32 or bfloat16, got {self.compute_type!r}."
            )
        if not (isinstance(self.metric, Metric) or self.metric in ("loss", "perplexity")):
            raise ValueError(
                f'[trainer] Expected metric "loss", "perplexity" or a Metric, got {self.metric!r}.'
            )
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"[trainer] Expected optimizer as an Optimizer, got {self.optimizer!r}.")
        if not isinstance(self.scheduler, Scheduler):
            raise TypeError(f"[trainer] Expected scheduler as a Scheduler, got {self.scheduler!r}.")
        if not (self.scheduled_sampling is None or isinstance(self.scheduled_sampling, ScheduledSampling)):
            raise TypeError(
                "[trainer] Expected scheduled_sampling as a ScheduledSampling or None, "
                f"got {self.scheduled_sampling!r}."
            )
        if not (self.save_model is None or callable(self.save_model)):
            raise TypeError(f"[trainer] Expected save_model to be callable, got {self.save_model!r}.")
        if self.progress is not None:
            self.progress = flag("trainer", "progress", self.progress)

    @property
    def metric_name(self) -> str:
        """The name of what validations go by."""
        return self.metric.name if isinstance(self.metric, Metric) else self.metric

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return isinstance(self.metric, Metric) and self.metric.maximize

    @property
    def frozen(self) -> list[str]:
        """The names of the model's parameters that are not trained; see `Seq2Seq.freeze`."""
        return list(getattr(self.model, "frozen", ()))

    def fit(
        self,
        train: TrainingData,
        valid: TrainingData | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        on_start: Callable[[], None] | None = None,
    ) -> TrainingResult:
        """Train until a limit is reached.

        Args:
            train: the data to learn from.
            valid: the data to validate on; None: validate by the `Metric` alone, or not at all.
            resume: go on from the newest checkpoint in `out`; without one, start. Model, data, seed and
                batching have to be what they were; other settings, dropout among them, may be changed, and
                changes are reported. With other validation data the best model is looked for anew.
                Unchanged, and on the same kind of device, the run ends with the bits of a run that was never
                stopped.
            overwrite: start although there is a run in `out`, and remove its checkpoints and models.
            on_start: called before the first step, when the run is known to be one: what `out` held is
                resumed or removed.

        Raises:
            TrainingInterrupted: Ctrl-C; the run is saved.
            TrainingDiverged: a loss or gradient is not finite; the last good state is saved.
            FileExistsError: there is a run in `out`, and neither `resume` nor `overwrite` is on.
            BlockingIOError: another run is under way in `out`, of this process or another.
            OSError: a file could not be written, e.g. on a full disk; the previous checkpoint is whole.
            ValueError: a data set is empty, nothing is validated for `early_stopping` to count, or the
                checkpoint is damaged or of another run.
            TypeError: naming the argument that is wrong.
        """
        from seq2seq_fast.training_run import TrainingRun

        for name, data in (("train", train), ("valid", valid)):
            if not (hasattr(data, "batch") or (data is None and name == "valid")):
                raise TypeError(f"[trainer] Expected {name} as a Dataset or the like, got {data!r}.")
        flag("trainer", "resume", resume)
        flag("trainer", "overwrite", overwrite)
        return TrainingRun(self, train, valid).fit(resume=resume, overwrite=overwrite, on_start=on_start)

    def settings(self, train: TrainingData, valid: TrainingData | None = None) -> dict[str, dict[str, Any]]:
        """Return what a checkpoint says of the run: only "free" ones may differ when it is resumed."""
        augmentation = getattr(train, "augmentation", None)
        config = getattr(self.model, "config", None)
        model = asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}
        return {
            "fixed": {
                **{f"model.{name}": value for name, value in model.items() if name not in LEARNING_FIELDS},
                "batch_size": self.batching.batch_size,
                "batch_type": self.batching.batch_type,
                "bucket_size": self.batching.bucket_size,
                "seed": self.batching.seed,
                "metric": self.metric_name,
                "maximize": self.maximize,
                "train": train.fingerprint(),
            },
            "free": {
                **{f"model.{name}": value for name, value in model.items() if name in LEARNING_FIELDS},
                "optimizer": self.optimizer.settings(),
                "scheduler": self.scheduler.settings(),
                "accum_count": self.accum_count,
                "max_grad_norm": self.max_grad_norm,
                "label_smoothing": self.label_smoothing,
                "scheduled_sampling": self.scheduled_sampling and self.scheduled_sampling.settings(),
                "compute_type": self.compute_type,
                "average_decay": self.average_decay,
                "frozen": self.frozen or None,
                "augmentation": augmentation and augmentation.settings(),
                "early_stopping": self.early_stopping,
                "validate_every": self.validate_every,
                "report_every": self.report_every,
                "valid": None if valid is None else valid.fingerprint(),
            },
        }
