"""What a training run writes for TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Trainer
from seq2seq_fast.data import Dataset


def pairs() -> Dataset:
    ids = np.random.default_rng(1).integers(4, 9, (40, 3))
    return Dataset.from_sequences(ids, ids, eos_id=2)


def trainer(out: Path, board: Path, steps: int) -> Trainer:
    model = Seq2Seq(
        Seq2SeqConfig(source_vocab_size=9, target_vocab_size=9, encoder_hidden=4, decoder_hidden=8)
    )
    return Trainer(
        model,
        out=out,
        tensorboard=board,
        batch_size=10,
        batch_type="examples",
        max_steps=steps,
        report_every=2,
        validate_every=4,
        progress=False,
    )


def read(board: Path) -> dict[tuple[str, int], float]:
    """The scalars of a folder's event files by name and step."""
    found = {}
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    for path in sorted(board.iterdir()):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = proto.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_scalars_are_those_of_the_metrics_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    data = pairs()
    trainer(tmp_path / "run", tmp_path / "board", 6).fit(data, data)
    trainer(tmp_path / "run", tmp_path / "board", 8).fit(data, data, resume=True)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scalars = read(tmp_path / "board")
    expected = {
        (f"{r['event']}/{name}", r["step"]): r[name] for r in records for name in ("loss", "accuracy")
    }
    assert len(expected) >= 12
    for key, value in expected.items():
        assert scalars[key] == pytest.approx(value, rel=1e-6)
    assert ("train/lr", 8) in scalars and ("train/tokens_per_second", 2) in scalars
    assert not any(name.endswith(("/step", "/event", "/best")) for name, _ in scalars)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'seq2seq_fast\[tensorboard\]'"):
        trainer(tmp_path / "run", tmp_path / "board", 2)
    assert not (tmp_path / "run").exists()


def test_bad_folder() -> None:
    with pytest.raises(TypeError, match="tensorboard as a path"):
        trainer(Path("run"), 3, 2)  # type: ignore[arg-type]
