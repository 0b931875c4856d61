"""Parameters that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from networks import batch_for
from seq2seq_fast import SGD, Adagrad, Adam, AdamW, Seq2Seq, Seq2SeqConfig, Trainer
from seq2seq_fast.data import Batch, Dataset
from seq2seq_fast.optim import decay_mask

FROZEN = ("encoder.embedding.weight", "decoder.rnn.bias_hh_l0")


def make(**options: Any) -> Seq2Seq:
    sizes: dict[str, Any] = {
        "source_vocab_size": 12,
        "target_vocab_size": 12,
        "source_embedding_dim": 5,
        "target_embedding_dim": 7,
        "encoder_hidden": 6,
        "decoder_hidden": 9,
    }
    return Seq2Seq(Seq2SeqConfig(**sizes | options), seed=4)


def reversals(count: int) -> Dataset:
    rng = np.random.default_rng(0)
    words = [rng.integers(4, 12, rng.integers(1, 6)) for _ in range(count)]
    return Dataset.from_sequences(words, [word[::-1].tolist() for word in words], eos_id=2)


def test_gradients_of_frozen_parameters_are_zero(rng: np.random.Generator) -> None:
    model = make()
    batch = Batch(**vars(batch_for(model.config, rng, 5, 6, 5)))
    model.forward_backward(batch)
    before = {name: g.copy() for name, g in model.gradients().items()}
    assert model.frozen == []
    model.freeze(*FROZEN)
    assert sorted(model.frozen) == sorted(FROZEN)
    model.forward_backward(batch)
    for name, gradient in model.gradients().items():
        if name in FROZEN:
            assert np.any(before[name])
            assert not np.any(gradient), name
        else:
            assert np.array_equal(gradient, before[name]), name
    model.freeze(*FROZEN, frozen=False)
    assert model.frozen == []
    model.forward_backward(batch)
    assert bits(dict(model.gradients())) == bits(before)


@pytest.mark.parametrize(
    "optimizer",
    [Adam(1e-2), Adam(1e-2, weight_decay=0.1), AdamW(1e-2), SGD(0.1, momentum=0.9), Adagrad(0.1)],
    ids=repr,
)
def test_training_leaves_them_alone(optimizer: Any) -> None:
    model = make()
    model.freeze(*FROZEN)
    before = {name: view.copy() for name, view in model.parameters().items()}
    Trainer(model, optimizer, batch_size=80, max_steps=4, average_decay=0.01, progress=False).fit(
        reversals(60)
    )
    for name, view in model.parameters().items():
        assert np.array_equal(view, before[name]) == (name in FROZEN), name


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    def run(out: str, steps: int, resume: bool) -> bytes:
        model = make(dropout=0.2, word_dropout=0.2, zoneout_hidden=0.1, zoneout_cell=0.2)
        model.freeze(*FROZEN)
        trainer = Trainer(
            model, Adam(1e-2), out=tmp_path / out, batch_size=80, max_steps=steps, progress=False
        )
        trainer.fit(reversals(60), resume=resume)
        return bytes(np.ascontiguousarray(model.flat_parameters).tobytes())

    whole = run("whole", 9, False)
    run("parts", 4, False)
    assert run("parts", 9, True) == whole


def test_a_resumed_run_says_what_is_frozen_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make()
    model.freeze(FROZEN[0])
    Trainer(model, out=tmp_path, max_steps=1, progress=False).fit(reversals(20))
    again = make()
    Trainer(again, out=tmp_path, max_steps=2, progress=None).fit(reversals(20), resume=True)
    assert "frozen" in capsys.readouterr().err


def test_the_mask() -> None:
    layout = [("a", (3, 8), 0, True), ("b", (16,), 32, False), ("c", (20,), 48, True)]
    assert decay_mask(layout, 80).tolist() == [1, 1, 0, 1, 1]
    assert decay_mask(layout, 80, ["a", "b"]).tolist() == [3, 3, 2, 1, 1]


def test_a_model_on_another_device_is_as_frozen() -> None:
    model = make()
    model.freeze(*FROZEN)
    assert sorted(model.to("cpu").frozen) == sorted(FROZEN)


def test_bad_input() -> None:
    model = make()
    with pytest.raises(ValueError, match=r"\[freeze\] .*'encoder.embedding'"):
        model.freeze("encoder.embedding.weight", "encoder.embedding")
    assert model.frozen == []  # all or nothing
    with pytest.raises(TypeError, match=r"\[freeze\] .*frozen"):
        model.freeze("encoder.embedding.weight", frozen=1)  # type: ignore[arg-type]
