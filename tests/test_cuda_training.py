"""Training on a device: the CPU's losses step by step, within what rounding makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from place import DEVICE, size
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.data import Dataset
from seq2seq_fast.optim import Adam
from seq2seq_fast.schedule import CosineDecay
from seq2seq_fast.trainer import Trainer
from seq2seq_fast.translator import Translator

pytestmark = pytest.mark.skipif(
    DEVICE.name == "cpu", reason="A device is compared with the CPU: pytest --device cuda."
)


def reversals(rng: np.random.Generator, count: int) -> Dataset:
    words = [rng.integers(4, 14, rng.integers(1, 6)) for _ in range(count)]
    return Dataset.from_sequences(words, [word[::-1].tolist() for word in words], eos_id=2)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_one_curve(cell: str, rng: np.random.Generator, tmp_path: Path) -> None:
    train, valid = reversals(rng, 80), reversals(rng, 20)
    config = Seq2SeqConfig(
        source_vocab_size=14,
        target_vocab_size=14,
        source_embedding_dim=8,
        target_embedding_dim=8,
        encoder_cell=cell,
        decoder_cell=cell,
        encoder_layers=2,
        encoder_hidden=10,
        decoder_hidden=12,
        dropout=0.2,
    )
    curves, models = [], {}
    for device in ("cpu", "cuda"):
        model = models[device] = Seq2Seq(config, seed=3, device=device)
        out = tmp_path / device
        steps = size(60, 12)
        Trainer(
            model,
            Adam(lr=0.02),
            out=out,
            batch_size=60,
            max_steps=steps,
            max_grad_norm=1.0,
            label_smoothing=0.1,
            average_decay=0.1,
            scheduler=CosineDecay(steps, warmup_steps=2),
            validate_every=steps // 3,
            report_every=1,
            progress=False,
        ).fit(train, valid)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        curves.append([line["loss"] for line in lines])
    assert len(curves[0]) == steps + 3 and curves[0][steps - 1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-3)

    source, lengths = np.array([5, 6, 7, 8, 9], np.int32), np.array([3, 2], np.int32)
    found = [
        Translator(tmp_path / "cpu" / "last", device=device).generate(source, lengths, beam_size=3)
        for device in ("cpu", "cuda")
    ]
    for ours, theirs in zip(*found, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=1e-4)
