"""Checkpoints: all that a training run is at one step, in one safetensors file, written whole or not at all.

tensors     parameters [P], optimizer.step, optimizer.<moment> [P], average [P]: the flat buffers as they are
metadata    state, settings, layout (JSON), device, instruction_set
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq_fast.atomic import atomic_write, temporary_name
from seq2seq_fast.tensor_file import TensorFile, write_tensors

Float32 = npt.NDArray[np.float32]
StrPath = str | os.PathLike[str]

FORMAT, FORMAT_VERSION = "seq2seq_fast.checkpoint", 1

Layout = list[tuple[str, tuple[int, ...], int, bool]]
"""Of each parameter: name, shape, offset in the flat buffer (in floats), whether weight decay applies."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after some step."""

    parameters: Float32
    """[P] the model's flat buffer."""
    optimizer: Mapping[str, npt.NDArray[Any]]
    """The optimiser's `state_dict`."""
    layout: Layout
    """Where each parameter lies in the flat buffer."""
    state: Mapping[str, Any]
    """Counters, the place in the data, the scheduler, the best validation so far."""
    settings: Mapping[str, Any]
    """What the run was started with."""
    instruction_set: str
    """Of the CPU. Bits are reproduced on this one only, where the device is the CPU."""
    device: str = "cpu"
    """What the model lay on: "cpu", or the name of a CUDA device. Bits are reproduced on its like only."""
    average: Float32 | None = None
    """[P] the moving average of the parameters, if the run has one."""

    def save(self, path: StrPath) -> None:
        """Write the checkpoint atomically.

        Raises:
            OSError: it could not be written (its errno says why); a file of that name is as it was before.
        """
        tensors = {"parameters": self.parameters}
        if self.average is not None:
            tensors["average"] = self.average
        tensors.update({f"optimizer.{name}": values for name, values in self.optimizer.items()})
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "instruction_set": self.instruction_set,
            "device": self.device,
            "state": json.dumps(self.state),
            "settings": json.dumps(self.settings),
            "layout": json.dumps(self.layout),
        }
        with atomic_write(path) as file:
            write_tensors(file, tensors, metadata)

    @classmethod
    def load(cls, path: StrPath) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or is something else than a checkpoint.
        """
        with TensorFile(path) as file:
            metadata = file.metadata
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not a checkpoint of seq2seq_fast.")
            if metadata.get("format_version") != str(FORMAT_VERSION):
                raise ValueError(
                    f"{path}: expected a checkpoint of format {FORMAT_VERSION}, "
                    f"got {metadata.get('format_version')}."
                )
            try:
                state, settings, layout = (
                    json.loads(metadata[key]) for key in ("state", "settings", "layout")
                )
                layout = [
                    (str(n), tuple(map(int, shape)), int(at), bool(decay)) for n, shape, at, decay in layout
                ]
                instruction_set = metadata["instruction_set"]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}: damaged metadata ({error!r}).") from error
            optimizer = {
                name.removeprefix("optimizer."): file.read(name)
                for name in file.specs
                if name.startswith("optimizer.")
            }
            device = metadata.get("device", "cpu")  # before there was another
            average = file.read("average") if "average" in file.specs else None
            parameters = file.read("parameters")
            return cls(parameters, optimizer, layout, state, settings, instruction_set, device, average)


MODELS = ("best", "last")
"""Folders of a run with the models it has come to."""


class CheckpointFolder:
    """The checkpoints of one run, named after their steps; the newest `keep` of them stay. Its `MODELS` are
    beside them.

    Args:
        folder: made if it is not there.
        keep: how many.
    """

    def __init__(self, folder: StrPath, *, keep: int = 1) -> None:
        if keep < 1:
            raise ValueError(f"[checkpoint] Expected to keep at least 1, got {keep}.")
        self.folder = Path(folder)
        self.keep = keep

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"checkpoint-{step:09d}.safetensors"

    def paths(self) -> list[Path]:
        """Every checkpoint there is, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = (
            path for path in self.folder.iterdir() if re.fullmatch(r"checkpoint-\d+\.safetensors", path.name)
        )
        return sorted(found, key=lambda path: int(path.stem.removeprefix("checkpoint-")))

    def latest(self) -> Path | None:
        """The newest checkpoint, or None."""
        return next(reversed(self.paths()), None)

    def run(self) -> str | None:
        """What of a run is here, by name: the newest checkpoint, or a model. None: nothing."""
        latest = self.latest()
        models = [name for name in MODELS if (self.folder / name).is_dir()]
        return latest.name if latest is not None else models[0] if models else None

    def save(self, checkpoint: Checkpoint, step: int) -> Path:
        """Write a checkpoint, and only then remove those that are too old.

        Raises:
            OSError: with the system's errno and a sentence that names the checkpoint that is still whole.
        """
        path = self.path(step)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            checkpoint.save(path)
        except OSError as error:
            last = self.latest()
            kept = f"The previous checkpoint {last} is whole." if last else "There is no earlier checkpoint."
            raise OSError(
                error.errno, f"The checkpoint {path} could not be written: {error.strerror or error}. {kept}"
            ) from error
        self.tidy()
        return path

    def clear(self) -> None:
        """Remove every checkpoint, and then the models: what is left of a run is never taken for the next."""
        for path in self.paths():
            path.unlink(missing_ok=True)
        self.tidy()
        for name in MODELS:
            if (self.folder / name).is_dir():
                shutil.rmtree(self.folder / name)

    def tidy(self) -> None:
        """Remove checkpoints that are too old, and what a killed process left half written."""
        for path in self.paths()[: -self.keep]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob(temporary_name(Path("checkpoint-*.safetensors")).name):
            path.unlink(missing_ok=True)


def expect_no_run(folder: StrPath) -> None:
    """Refuse a folder for a model in which a training run has its own: one of them would hide the other.

    Raises:
        ValueError: the folder is a run's, or one of the `MODELS` of a run.
    """
    path = Path(folder).resolve()
    is_model = path.name in MODELS and CheckpointFolder(path.parent).latest() is not None
    if is_model or CheckpointFolder(path).run() is not None:
        raise ValueError(f"{folder} is a training run's: a model made of one needs a folder of its own.")


def average_checkpoints(paths: Iterable[StrPath]) -> dict[str, Float32]:
    """Return the mean of the parameters of several checkpoints, by name, summed in float64.

        mean = average_checkpoints(CheckpointFolder("run").paths())
        for name, view in model.parameters().items():
            view[...] = mean[name]

    Raises:
        ValueError: there is no checkpoint, or they are of different models.
    """
    total: npt.NDArray[np.float64] | None = None
    first: Checkpoint | None = None
    count = 0
    for path in paths:
        checkpoint = Checkpoint.load(path)
        if first is None or total is None:
            first, total = checkpoint, np.zeros(checkpoint.parameters.shape)
        if checkpoint.layout != first.layout:
            raise ValueError(f"{path}: its parameters are not those of the other checkpoints.")
        total += checkpoint.parameters
        count += 1
    if first is None or total is None:
        raise ValueError("[average_checkpoints] Expected at least one checkpoint, got none.")
    mean = (total / count).astype(np.float32)
    return {
        name: mean[offset : offset + int(np.prod(shape))].reshape(shape)
        for name, shape, offset, _ in first.layout
    }
