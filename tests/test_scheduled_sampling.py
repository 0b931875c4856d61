"""Scheduled sampling: which inputs are drawn, by which numbers, and every gradient, against the reference."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, bits, double
from fake_model import FakeModel, fake_data
from models import make_model
from networks import OPTIONS, batch_for, name_of, pairwise, small_network
from reference import network
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.checkpoint import Checkpoint
from seq2seq_fast.data import Batch, Dataset
from seq2seq_fast.device import to_host
from seq2seq_fast.optim import Adam
from seq2seq_fast.scheduled_sampling import ScheduledSampling
from seq2seq_fast.trainer import Trainer

SEED, UPDATE, SMOOTHING = (9 << 32) + 5, 3, 0.1


@pytest.mark.parametrize("row", pairwise(OPTIONS, seed=3), ids=name_of)
def test_gradients(row: dict[str, Any], rng: np.random.Generator) -> None:
    """With input feeding and without, where steps are computed one by one for the draws' sake; with dropout,
    whose masks the drawn distribution has had, too."""
    model = make_model(small_network(row) | {"dropout": 0.2}, rng)
    o, batch = model.config, batch_for(model.config, rng, 6, 6, 7)
    params = double({name: view.copy() for name, view in model.parameters().items()})
    drawn = fed = 0

    def mean_loss(p: Any) -> Any:
        nonlocal drawn, fed
        total: Any = 0.0
        for source, target, example in batch.pairs():
            drop = network.dropout_of(o, seed=SEED, update=UPDATE, example=example)
            original = network.drawing(0.6, SEED, UPDATE, example)

            def draw(
                t: int, scores: Any, original: network.Draw = original, target: Any = target
            ) -> int | None:
                nonlocal drawn, fed
                token = original(t, scores)
                drawn, fed = drawn + (token is not None and token != target[t - 1]), fed + 1
                return token

            total = total + reference.sequence_loss(o, p, source, target, SMOOTHING, drop, draw)
        return total / len(batch.target)

    result = model.forward_backward(
        Batch(**vars(batch)), update=UPDATE, seed=SEED, label_smoothing=SMOOTHING, sampling=0.6
    )
    assert_close(result.loss, mean_loss(params) * len(batch.target), "loss")
    assert fed > drawn > 0.2 * fed  # other tokens than the target's, really
    gradients = {name: g.copy() for name, g in model.gradients().items()}
    assert_close(gradients, reference.vjp(mean_loss, [params], np.ones(()))[0], "gradient", factor=10)


@pytest.fixture
def model(rng: np.random.Generator) -> Seq2Seq:
    return make_model(small_network(pairwise(OPTIONS)[0]), rng)


@pytest.mark.parametrize("feeding", [True, False])
def test_probability_zero_is_teacher_forcing(rng: np.random.Generator, feeding: bool) -> None:
    model = make_model(small_network(pairwise(OPTIONS)[0]) | {"input_feeding": feeding}, rng)
    batch = Batch(**vars(batch_for(model.config, rng, 5, 6, 5)))
    plain = model.forward_backward(batch)
    expected = plain.loss, bits(model.gradients())
    zero = model.forward_backward(batch, sampling=0.0)
    assert (zero.loss, bits(model.gradients())) == expected
    assert model.forward_backward(batch, sampling=1.0).loss != plain.loss
    # Step by step and all at once: the same numbers where nothing happens to be drawn.
    rare = model.forward_backward(batch, sampling=1e-6)
    assert rare.loss == pytest.approx(plain.loss, rel=1e-6)


def test_draws_depend_on_names_alone(
    model: Seq2Seq, rng: np.random.Generator, threads: Callable[[int], None], own_products: None
) -> None:
    """The same in any batch, in any order of examples, by any number of threads; others at another update."""
    batch = batch_for(model.config, rng, 6, 6, 7)
    pairs = [*batch.pairs()]

    def loss(rows: list[int], update: int = 1) -> float:
        part = [pairs[i] for i in rows]
        return model.forward_backward(
            Batch(
                np.concatenate([source for source, _, _ in part]),
                np.array([len(source) for source, _, _ in part], np.int32),
                np.concatenate([target for _, target, _ in part]),
                np.array([len(target) for _, target, _ in part], np.int32),
                np.array([example for _, _, example in part]),
            ),
            update=update,
            seed=SEED,
            sampling=0.7,
        ).loss

    alone = [loss([i]) for i in range(6)]
    for n in (1, 2):
        threads(n)
        for rows in ([0, 1, 2, 3, 4, 5], [5, 0, 3]):
            assert loss(rows) == pytest.approx(sum(alone[i] for i in rows), rel=1e-6)
    assert loss([0, 1, 2], update=2) != loss([0, 1, 2], update=1)


def test_bits_do_not_depend_on_threads(
    model: Seq2Seq, rng: np.random.Generator, threads: Callable[[int], None]
) -> None:
    batch = Batch(**vars(batch_for(model.config, rng, 9, 8, 9)))
    results = []
    for n in (1, 2):
        threads(n)
        result = model.forward_backward(batch, sampling=0.5)
        results.append((result.loss, bits(model.gradients())))
    assert results[0] == results[1]


@pytest.mark.big
def test_chunks_of_a_large_vocabulary(rng: np.random.Generator) -> None:
    """Rows are drawn in parts where their logits would be many; 70,000 columns: 59 rows at a time."""
    options = {"source_vocab_size": 5, "target_vocab_size": 70_000, "source_embedding_dim": 3}
    options |= {"target_embedding_dim": 3, "encoder_hidden": 2, "decoder_hidden": 3}
    model = Seq2Seq(Seq2SeqConfig(**options), seed=1)
    count = 150
    lengths = np.full(count, 2, np.int32)
    batch = Batch(
        rng.integers(0, 5, 2 * count).astype(np.int32),
        lengths,
        rng.integers(0, 70_000, 2 * count).astype(np.int32),
        lengths,
        np.arange(count),
    )
    whole = model.forward_backward(batch, sampling=1.0)
    parts = [
        model.forward_backward(
            Batch(
                batch.source[2 * i : 2 * i + 20], lengths[:10],
                batch.target[2 * i : 2 * i + 20], lengths[:10],
                batch.example_ids[i : i + 10],
            ),
            sampling=1.0,
        ).loss
        for i in range(0, count, 10)
    ]  # fmt: skip
    assert whole.loss == pytest.approx(sum(parts), rel=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "much", None])
def test_bad_probabilities(model: Seq2Seq, rng: np.random.Generator, value: Any) -> None:
    batch = Batch(**vars(batch_for(model.config, rng, 2, 3, 3)))
    with pytest.raises((ValueError, TypeError), match=r"\[forward_backward\] Expected sampling"):
        model.forward_backward(batch, sampling=value)


# ---- the schedule


def test_schedules() -> None:
    """The paper's section 2.4: the probability of the true token falls with the update's number."""
    assert ScheduledSampling("constant", read_probability=0.75).probability(7) == 0.25
    linear = ScheduledSampling("linear", k=0.01, read_probability=0.3)
    assert [linear.probability(i) for i in (0, 10, 70, 1000)] == pytest.approx([0, 0.1, 0.7, 0.7])
    exponential = ScheduledSampling("exponential", k=0.99)
    assert [exponential.probability(i) for i in (0, 1, 100)] == pytest.approx([0, 0.01, 1 - 0.99**100])
    sigmoid = ScheduledSampling("inverse_sigmoid", k=100, read_probability=0.1)
    assert [sigmoid.probability(i) for i in (0, 100, 10**9)] == pytest.approx(
        [1 - 100 / 101, 1 - 100 / (100 + math.e), 0.9]
    )
    for schedule in (linear, exponential, sigmoid):
        assert np.all(np.diff([schedule.probability(i) for i in range(2000)]) >= 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type": "cosine"}, "type as one of constant, linear, exponential, inverse_sigmoid"),
        ({"type": "linear"}, "k for linear"),
        ({"type": "linear", "k": 0}, "k above 0"),
        ({"type": "exponential", "k": 1.0}, "k above 0 and below 1"),
        ({"type": "inverse_sigmoid", "k": 0.5}, "k of at least 1"),
        ({"type": "constant", "k": 3}, "no k for constant"),
        ({"type": "constant", "read_probability": 1.5}, "read_probability from 0 to 1"),
    ],
)
def test_bad_schedules(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"\[scheduled_sampling\] Expected {message}"):
        ScheduledSampling(**arguments)


def test_numbers_of_numpy() -> None:
    sampling = ScheduledSampling("linear", k=np.float32(0.5), read_probability=np.float32(0.5))
    assert json.dumps(sampling.settings()) == '{"type": "linear", "k": 0.5, "read_probability": 0.5}'


def test_the_trainer_passes_the_schedule_on() -> None:
    class Listening(FakeModel):
        def forward_backward(self, batch: Any, *, sampling: float = 0.0, **arguments: Any) -> Any:
            heard.append(sampling)
            return super().forward_backward(batch, **arguments)

    heard: list[float] = []
    data = fake_data(20)
    trainer = Trainer(
        Listening(), batch_type="examples", batch_size=5, accum_count=2, max_steps=4, progress=False,
        scheduled_sampling=ScheduledSampling("linear", k=0.1),
    )  # fmt: skip
    trainer.fit(data)
    assert heard == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    with pytest.raises(TypeError, match="scheduled_sampling as a ScheduledSampling or None"):
        Trainer(FakeModel(), scheduled_sampling=0.3)  # type: ignore[arg-type]


def test_a_resumed_run_draws_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    words = [rng.integers(4, 9, rng.integers(1, 6)) for _ in range(40)]
    data = Dataset.from_sequences(words, [word[::-1].tolist() for word in words], eos_id=2)
    config = Seq2SeqConfig(
        source_vocab_size=9, target_vocab_size=9, source_embedding_dim=4, target_embedding_dim=4,
        encoder_hidden=3, decoder_hidden=5,
    )  # fmt: skip

    def train(out: Path | None, steps: int, sampling: ScheduledSampling | None) -> Any:
        model = Seq2Seq(config, seed=1)
        trainer = Trainer(
            model, Adam(lr=0.01), out=out, batch_size=60, max_steps=steps, progress=False,
            scheduled_sampling=sampling,
        )  # fmt: skip
        trainer.fit(data, resume=out is not None)
        return np.array(to_host(model.flat_parameters))

    schedule = ScheduledSampling("inverse_sigmoid", k=4)
    train(tmp_path, 7, schedule)
    whole = train(None, 15, schedule)
    assert bits(train(tmp_path, 15, schedule)) == bits(whole)
    assert bits(whole) != bits(train(None, 15, None))
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    saved = Checkpoint.load(checkpoint).settings["free"]["scheduled_sampling"]
    assert saved == json.loads(json.dumps(schedule.settings()))
