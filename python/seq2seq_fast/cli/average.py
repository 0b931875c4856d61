"""`seq2seq-fast average`: the mean of a run's checkpoints as a model."""

from __future__ import annotations

import shutil
from pathlib import Path

from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder, average_checkpoints, expect_no_run
from seq2seq_fast.files import SHORTLIST, load_model, save_model

from .models import model_folder


def run_average(run: Path, *, out: Path, last: int) -> None:
    """Write the model and print of what it is the mean."""
    if not run.exists():
        raise FileNotFoundError(f"{run}: no such folder.")
    expect_no_run(out)
    folder = CheckpointFolder(run)
    trained = [path for path in folder.paths() if path != folder.path(0)]  # step 0: before training
    if len(trained) < max(last, 1):
        raise ValueError(
            f"{run} holds {len(trained)} checkpoints after training, fewer than {max(last, 1)}: "
            "train with --keep_checkpoint N for more of them to stay."
        )
    chosen = trained[-last:]  # 0: all
    loaded = load_model(model_folder(run))
    layout = Checkpoint.load(chosen[0]).layout
    if layout != [(name, tuple(shape), at, bool(decay)) for name, shape, at, decay in loaded.model.layout()]:
        raise ValueError(f"{run}: its checkpoints are of another model than {model_folder(run)}.")
    for name, values in average_checkpoints(chosen).items():
        loaded.model.native.load_parameter(name, values)
    save_model(out, loaded.model, source=loaded.source, target=loaded.target, front_end=loaded.front_end)
    if (model_folder(run) / SHORTLIST).is_file():
        shutil.copyfile(model_folder(run) / SHORTLIST, out / SHORTLIST)
    steps = ", ".join(str(int(path.stem.rpartition("-")[2])) for path in chosen)
    print(f"{out}: the mean of {len(chosen)} checkpoints, of the steps {steps}.")
