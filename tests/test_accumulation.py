"""Several batches make one update: the large batch's, whatever their sizes; resumed, the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from fake_model import FakeModel, fake_data
from seq2seq_fast.checkpoint import CheckpointFolder
from seq2seq_fast.data import Dataset
from seq2seq_fast.device import to_host
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.optim import SGD, Adam
from seq2seq_fast.trainer import Trainer, TrainingDiverged

DATA = fake_data(23, seed=1)


def seq2seq() -> Seq2Seq:
    return Seq2Seq(
        Seq2SeqConfig(
            source_vocab_size=12,
            target_vocab_size=9,
            source_embedding_dim=5,
            target_embedding_dim=6,
            encoder_hidden=4,
            decoder_hidden=7,
            dropout=0.3,
        ),
        seed=3,
    )


class Recording(SGD):
    """The gradients of every update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        gradients.clear()

    def step(self, params: Any, grads: Any, **options: Any) -> None:
        gradients.append(np.array(to_host(grads)))
        super().step(params, grads, **options)


gradients: list[Any] = []


def updates(model: Any, **settings: Any) -> list[Any]:
    trainer = Trainer(
        model,
        Recording(lr=0.1),
        batch_type="examples",
        label_smoothing=0.1,
        max_grad_norm=0,
        progress=False,
        **{"max_epochs": 2, **settings},
    )
    trainer.fit(DATA)
    return list(gradients)


@pytest.mark.parametrize("make", [FakeModel, seq2seq])
def test_the_gradients_of_one_large_batch(make: Any) -> None:
    """The epoch is one update either way, of 23 examples or of 5, 5, 5, 5 and 3; dropout masks are equal."""
    large = updates(make(), batch_size=23)
    small = updates(make(), batch_size=5, accum_count=5)
    assert len(large) == len(small) == 2
    for one, other in zip(large, small, strict=True):
        scale = np.abs(one).max()
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * scale)
        assert scale > 1e-3
    # What would come of a plain mean of the batches' gradients: their tokens differ.
    tokens = [DATA.target_lengths[rows].sum() for rows in np.array_split(np.argsort(DATA.target_lengths), 5)]
    assert max(tokens) > 1.5 * min(tokens)


def test_steps_epochs_and_reports_count_updates(tmp_path: Path) -> None:
    model = FakeModel()
    trainer = Trainer(
        model, out=tmp_path, batch_type="examples", batch_size=5, accum_count=2, max_epochs=3, report_every=1,
        progress=False,
    )  # fmt: skip
    result = trainer.fit(DATA)
    assert (result.step, result.epoch) == (9, 3)
    assert model.updates == [step for step in range(9) for _ in range(1 if step % 3 == 2 else 2)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0.4, 0.8, 1, 1.4, 1.8, 2, 2.4, 2.8, 3]
    assert lines[-1]["tokens"] == 3 * DATA.target_lengths.sum()


def test_one_is_what_it_was() -> None:
    one, plain = FakeModel(), FakeModel()
    updates(one, batch_size=5, accum_count=1)
    updates(plain, batch_size=5)
    assert bits(one.flat_parameters) == bits(plain.flat_parameters)


class Killed(BaseException):
    """What SIGKILL is to a process."""


@pytest.mark.parametrize("call", range(15))
def test_killed_at_any_batch(tmp_path: Path, call: int) -> None:
    class Mortal(FakeModel):
        calls = 0

        def forward_backward(self, batch: Any, **arguments: Any) -> Any:
            if self.calls == call:
                raise Killed
            self.calls += 1
            return super().forward_backward(batch, **arguments)

    def train(out: Path | None, model: FakeModel) -> list[int]:
        trainer = Trainer(
            model, Adam(lr=0.1), out=out, batch_type="examples", batch_size=5, accum_count=2, max_epochs=3,
            checkpoint_every=2, progress=False,
        )  # fmt: skip
        trainer.fit(DATA, resume=out is not None)
        return bits(model.flat_parameters)

    with pytest.raises(Killed):
        train(tmp_path, Mortal())
    assert CheckpointFolder(tmp_path).latest() is not None
    assert train(tmp_path, FakeModel(seed=99)) == train(None, FakeModel())


@pytest.mark.parametrize("place", [0, 1])
def test_divergence_in_any_batch_names_its_examples(place: int) -> None:
    class Bad(FakeModel):
        seen: list[Any] = []  # noqa: RUF012

        def forward_backward(self, batch: Any, **arguments: Any) -> Any:
            sums = super().forward_backward(batch, **arguments)
            self.seen.append(batch.example_ids.tolist())
            if len(self.seen) == place + 1:
                sums.loss = float("nan")
            return sums

    model = Bad()
    model.seen = []
    before = bits(model.flat_parameters)
    with pytest.raises(TrainingDiverged, match="after step 0: the loss is nan, on examples") as raised:
        updates(model, batch_size=5, accum_count=2)
    assert f"on examples {', '.join(map(str, model.seen[place]))}, ..." in str(raised.value)
    assert bits(model.flat_parameters) == before


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_counts(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="accum_count"):
        Trainer(FakeModel(), accum_count=value)


def test_features_too(rng: np.random.Generator) -> None:
    """Nothing depends on what a source is made of."""
    data = Dataset.from_sequences(
        [rng.normal(size=(n, 3)) for n in (4, 2, 5)], [[3, 4], [5], [6, 7, 8]], eos_id=2
    )
    config = Seq2SeqConfig(source_features=3, target_vocab_size=9, encoder_hidden=4, decoder_hidden=7)
    found = []
    for settings in ({"batch_size": 3}, {"batch_size": 1, "accum_count": 3}):
        model = Seq2Seq(config, seed=3)
        trainer = Trainer(model, SGD(lr=0.1), batch_type="examples", max_epochs=1, progress=False, **settings)
        trainer.fit(data)
        found.append(np.array(to_host(model.flat_parameters)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)
