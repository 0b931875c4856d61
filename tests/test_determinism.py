"""The same numbers whatever the company: alone or among 64 ragged neighbours, on one thread or on two.

Everything here is compared to the last bit. Sizes are large enough for the work to be split between threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits, ragged, rnn_weights, values
from networks import batch_for, random_parameters
from place import rounds_factors, size
from seq2seq_fast import AdamW, Seq2Seq, Seq2SeqConfig, Trainer, nn, ops
from seq2seq_fast.data import Batch, Dataset
from seq2seq_fast.schedule import ReduceLROnPlateau

pytestmark = pytest.mark.usefixtures("own_products")

Threads = Callable[[int], None]
BATCH = size(64, 9)
TIMES = ("seconds", "tokens_per_second")


@pytest.mark.parametrize(("inner", "outer"), [(96, 512), (300, 259), (1030, 33)])
def test_linear(rng: np.random.Generator, threads: Threads, inner: int, outer: int) -> None:
    x, weight, bias = values(rng, 200, inner), values(rng, outer, inner), values(rng, outer)
    dy = values(rng, 200, outer)
    results = []
    for n in (1, 2):
        threads(n)
        y = ops.linear(x, weight, bias)
        dx, dweight, dbias = ops.linear_backward(dy, x, weight)
        for rows in ([0], [199], [3, 100], list(range(40, 57))):
            assert np.array_equal(ops.linear(x[rows], weight, bias), y[rows])
            assert np.array_equal(ops.linear_backward(dy[rows], x[rows], weight)[0], dx[rows])
        results.append(bits((y, dx, dweight, dbias)))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(rng: np.random.Generator, threads: Threads, name: str) -> None:
    x, dy = values(rng, 200, 333), values(rng, 200, 333)
    results = []
    for n in (1, 2):
        threads(n)
        y = getattr(ops, name)(x)
        dx = getattr(ops, name + "_backward")(dy, y)
        for r in (0, 7, 199):
            assert np.array_equal(getattr(ops, name)(x[r : r + 1]), y[r : r + 1])
            assert np.array_equal(
                getattr(ops, name + "_backward")(dy[r : r + 1], y[r : r + 1]), dx[r : r + 1]
            )
        results.append(bits((y, dx)))
    assert results[0] == results[1]


def test_cross_entropy(rng: np.random.Generator, threads: Threads) -> None:
    logits, targets = values(rng, 200, 333), rng.integers(0, 333, 200)
    results = []
    for n in (1, 2):
        threads(n)
        losses, dlogits = ops.cross_entropy(logits, targets, label_smoothing=0.1)
        for r in (0, 7, 199):
            one = ops.cross_entropy(logits[r : r + 1], targets[r : r + 1], label_smoothing=0.1)
            assert bits(one) == bits((losses[r : r + 1], dlogits[r : r + 1]))
        results.append(bits((losses, dlogits)))
    assert results[0] == results[1]


def test_rows(rng: np.random.Generator, threads: Threads) -> None:
    """embedding, dropout, topk, sample: a row's result is its own."""
    ids, weight, x = rng.integers(0, 50, 300), values(rng, 50, 200), values(rng, 300, 200)
    names: dict[str, Any] = {"example": np.arange(300), "time": np.arange(300, dtype=np.int32)}
    u = rng.random(300).astype(np.float32)
    rows = [3, 299, 0]
    some = {name: array[rows] for name, array in names.items()}
    results = []
    for n in (1, 2):
        threads(n)
        y, top = ops.dropout(x, 0.3, seed=4, **names), ops.topk(x, 7)
        assert np.array_equal(ops.dropout(x[rows], 0.3, seed=4, **some), y[rows])
        assert bits(ops.topk(x[rows], 7)) == bits([part[rows] for part in top])
        drawn = ops.sample(x, u)
        assert bits(ops.sample(x[rows], u[rows])) == bits(drawn[rows])
        results.append(bits((ops.embedding(ids, weight), ops.embedding_backward(ids, x, 50), y, top, drawn)))
    assert results[0] == results[1]


def test_project_topk(rng: np.random.Generator, threads: Threads) -> None:
    for columns in (80, 3000):
        x, weight, bias = values(rng, 100, 300), values(rng, columns, 300), values(rng, columns)
        results = []
        for n in (1, 2):
            threads(n)
            top = ops.project_topk(x, weight, bias, 6)
            for rows in ([0], [99], [3, 50, 7]):
                assert bits(ops.project_topk(x[rows], weight, bias, 6)) == bits([part[rows] for part in top])
            results.append(bits(top))
        assert results[0] == results[1]


def test_whole_buffers(rng: np.random.Generator, threads: Threads) -> None:
    """Optimisers and norms over more elements than one thread takes."""
    start, grad = values(rng, 300_001), values(rng, 300_001)
    results = []
    for n in (1, 2):
        threads(n)
        param, clipped = start.copy(), grad.copy()
        a, b, c, d = (np.zeros_like(start) for _ in range(4))
        norm = ops.clip_grad_norm_(clipped, 10.0)
        ops.adam_(param, clipped, a, b, 1, weight_decay=0.1)
        ops.sgd_(param, clipped, c, momentum=0.9, first=True)
        ops.adagrad_(param, clipped, d, lr=0.1)
        results.append((norm, bits((clipped, param, a, b, c, d))))
    assert results[0] == results[1]


@pytest.mark.parametrize("score", ["dot", "mlp"])
def test_attention(rng: np.random.Generator, threads: Threads, score: str) -> None:
    lengths, width, memory = ragged(rng, BATCH, 40), 96, 130
    starts = np.concatenate([[0], np.cumsum(lengths)])
    keys, vectors = values(rng, starts[-1], width), values(rng, starts[-1], memory)
    example = rng.integers(0, BATCH, 150).astype(np.int32)
    query, energy = values(rng, 150, width, scale=0.1), values(rng, width) if score == "mlp" else None
    dcontext = values(rng, 150, memory)
    results = []
    for n in (1, 2):
        threads(n)
        context, weights = ops.attention(query, keys, vectors, lengths, example, score, energy)
        gradients = ops.attention_backward(
            dcontext, query, keys, vectors, lengths, example, score=score, energy=energy
        )
        for r in (0, 70, 149):
            source = slice(starts[example[r]], starts[example[r] + 1])
            length = lengths[example[r]]
            alone = (keys[source], vectors[source], lengths[example[r]][None], np.zeros(1, np.int32))
            c, w = ops.attention(query[r : r + 1], *alone, score, energy)
            assert np.array_equal(c[0], context[r])
            assert np.array_equal(w[0], weights[r, :length])
            dquery = ops.attention_backward(
                dcontext[r : r + 1], query[r : r + 1], *alone, score=score, energy=energy
            )[0]
            assert np.array_equal(dquery[0], gradients[0][r])
        results.append(bits((context, weights, gradients)))
    assert results[0] == results[1]


@pytest.mark.parametrize("reset_after", [True, False, None], ids=["gru", "gru_reset_before", "lstm"])
def test_recurrent_layers(rng: np.random.Generator, threads: Threads, reset_after: bool | None) -> None:
    lstm = reset_after is None
    hidden, steps, width = size((100, 23, 70), (33, 4, 18))
    params = rnn_weights(rng, 4 if lstm else 3, [width, 2 * hidden], hidden, directions=2)
    x, lengths = values(rng, steps, BATCH, width), ragged(rng, BATCH, steps)
    states = [values(rng, 4, BATCH, hidden) for _ in range(2 if lstm else 1)]
    options: dict[str, Any] = {"bidirectional": True} | ({} if lstm else {"reset_after": reset_after})
    op: Any = ops.lstm if lstm else ops.gru
    results = []
    for n in (1, 2):
        threads(n)
        y, *last = op(x, params, *states, lengths=lengths, **options)
        for r in [int(lengths.argmax()), int(lengths.argmin()), 0, BATCH // 2, BATCH - 1]:
            one, end = slice(r, r + 1), int(lengths[r])
            # Alone, without even the padding; in a few; in another order.
            y1, *last1 = op(x[:end, one], params, *(s[:, one] for s in states), **options)
            assert np.array_equal(y1[:, 0], y[:end, r])
            assert bits([s[:, 0] for s in last1]) == bits([s[:, r] for s in last])
        some = rng.permutation(BATCH)[: size(13, 4)]
        y13, *last13 = op(x[:, some], params, *(s[:, some] for s in states), lengths=lengths[some], **options)
        assert np.array_equal(y13, y[:, some])
        assert bits(last13) == bits([s[:, some] for s in last])
        results.append(bits((y, last)))
    assert results[0] == results[1]


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell"])
def test_cells(rng: np.random.Generator, threads: Threads, cell: str) -> None:
    width, hidden = size((70, 130), (18, 34))
    layer = getattr(nn, cell)(width, hidden).train()
    layer.load_state_dict(
        {name: values(rng, *w.shape, scale=0.1, outliers=False) for name, w in layer.state_dict().items()}
    )
    x, state = (
        values(rng, BATCH, width),
        [values(rng, BATCH, hidden) for _ in range(2 if cell == "LSTMCell" else 1)],
    )
    results = []
    for n in (1, 2):
        threads(n)
        after = layer(x, tuple(state) if len(state) == 2 else state[0])
        gradients = layer.backward(tuple(state) if len(state) == 2 else state[0])
        results.append(bits((after, gradients, layer.gradients())))
        for r in (0, BATCH // 2):
            one = [s[r : r + 1] for s in state]
            alone = layer(x[r : r + 1], tuple(one) if len(state) == 2 else one[0])
            parts = [a[r : r + 1] for a in after] if len(state) == 2 else after[r : r + 1]
            assert bits(alone) == bits(parts)
    assert results[0] == results[1]


@pytest.mark.parametrize("reset_after", [True, False, None], ids=["gru", "gru_reset_before", "lstm"])
def test_gradients_of_layers(rng: np.random.Generator, threads: Threads, reset_after: bool | None) -> None:
    """Threads share out rows while many sequences run, then units of the few that are left."""
    width, hidden, steps = size((70, 130, 20), (18, 34, 3))
    options: dict[str, Any] = {"bidirectional": True, "dropout": 0.2}
    if reset_after is not None:
        options["reset_after"] = reset_after
    make = partial(nn.LSTM if reset_after is None else nn.GRU, width, hidden, 2, **options)
    layer = make()
    weights = {n: values(rng, *w.shape, scale=0.1, outliers=False) for n, w in layer.state_dict().items()}
    x, lengths = values(rng, steps, BATCH, width), ragged(rng, BATCH, steps)
    dy = values(rng, steps, BATCH, 2 * hidden)
    results = []
    for n in (1, 2, 3):
        threads(n)
        fresh = make().train()
        fresh.load_state_dict(weights)
        y = fresh(x, lengths=lengths)
        results.append(bits((y, fresh.backward(dy), fresh.gradients())))
    assert results[0] == results[1] == results[2]


NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"decoder_layers": 2, "attention_score": "general"},
    "gru": {
        "encoder_cell": "gru",
        "decoder_cell": "gru",
        "encoder_layers": 2,
        "attention_score": "mlp",
        "attention_dim": 40,
    },
    "deep": {
        "encoder_layers": 2,
        "decoder_layers": 3,
        "residual": True,
        "layer_norm": True,
        "zoneout_hidden": 0.1,
        "zoneout_cell": 0.3,
        "word_dropout": 0.2,
    },
    "cells": {
        "source_vocab_size": 0,
        "source_features": 30,
        "encoder_layers": 0,
        "decoder_cell": "gru",
        "attention_score": "mlp",
    },
    "mean": {"context": "mean", "input_feeding": False, "bridge": "zero", "tie_output": True},
}


def network(rng: np.random.Generator, name: str, **options: Any) -> tuple[Seq2Seq, Batch]:
    """A model whose outputs are far from uniform, and 64 ragged examples."""
    sizes: dict[str, Any] = {
        "source_vocab_size": 50,
        "target_vocab_size": size(300, 150),
        "source_embedding_dim": size(40, 10),
        "target_embedding_dim": size(56, 14),
        "encoder_hidden": size(72, 18),
        "decoder_hidden": size(100, 25),
    }
    model = Seq2Seq(Seq2SeqConfig(**sizes | NETWORKS[name] | options))
    for key, value in random_parameters(model.config, rng, scale=3.0).items():
        model.parameters()[key][...] = value
    return model, Batch(**vars(batch_for(model.config, rng, BATCH, *size((25, 18), (7, 5)))))


def example(batch: Batch, r: int) -> Batch:
    """The r-th example of a batch, alone."""
    s, t = int(batch.source_lengths[:r].sum()), int(batch.target_lengths[:r].sum())
    one = slice(r, r + 1)
    return Batch(
        batch.source[s : s + batch.source_lengths[r]],
        batch.source_lengths[one],
        batch.target[t : t + batch.target_lengths[r]],
        batch.target_lengths[one],
        batch.example_ids[one],
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_score(rng: np.random.Generator, threads: Threads, name: str) -> None:
    model, batch = network(rng, name)
    ends = np.cumsum(batch.target_lengths)
    results = []
    for n in (1, 2):
        threads(n)
        scores = model.score(batch)
        for r in (
            0,
            BATCH // 3,
            BATCH - 1,
            int(batch.source_lengths.argmax()),
            int(batch.source_lengths.argmin()),
        ):
            alone = model.score(example(batch, r))
            assert np.array_equal(alone, scores[ends[r] - batch.target_lengths[r] : ends[r]])
        results.append(bits(scores))
    assert results[0] == results[1]


def written(hypotheses: list[Any]) -> list[Any]:
    """Everything a hypothesis says, bit by bit."""
    return [
        (list(h.tokens), np.float64(h.score).tobytes(), bits(h.token_scores), bits(h.attention), h.finished)
        for h in hypotheses
    ]


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_generate(rng: np.random.Generator, threads: Threads, name: str, beam_size: int) -> None:
    model, batch = network(rng, name)
    options: dict[str, Any] = {
        "beam_size": beam_size,
        "num_hypotheses": min(beam_size, 3),
        "max_decoding_length": size(12, 6),
        "return_attention": NETWORKS[name].get("context", "attention") == "attention",
    }
    results = []
    for n in (1, 2):
        threads(n)
        outputs = [written(h) for h in model.generate(batch.source, batch.source_lengths, **options)]
        assert len({str(h[0][0]) for h in outputs}) > size(5, 0), "outputs that are all alike prove little"
        for r in (
            0,
            BATCH // 3,
            BATCH - 1,
            int(batch.source_lengths.argmax()),
            int(batch.source_lengths.argmin()),
        ):
            one = example(batch, r)
            assert written(model.generate(one.source, one.source_lengths, **options)[0]) == outputs[r]
        results.append(outputs)
    assert results[0] == results[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_training(rng: np.random.Generator, threads: Threads, name: str) -> None:
    """Gradients with dropout, then weights after eight updates of Adam: no bit depends on the threads."""
    model, batch = network(rng, name, dropout=0.2)
    start = model.flat_parameters.copy()
    results = []
    for n in (1, 2):
        threads(n)
        model.flat_parameters[:] = start
        m, v = np.zeros_like(start), np.zeros_like(start)
        history = []
        for update in range(size(8, 3)):
            result = model.forward_backward(batch, update=update, seed=5, label_smoothing=0.1)
            history.append((result.loss, bits(model.flat_gradients)))
            ops.clip_grad_norm_(model.flat_gradients, 1.0)
            ops.adam_(model.flat_parameters, model.flat_gradients, m, v, update + 1, lr=1e-2)
        results.append((history, bits(model.flat_parameters)))
        assert not np.array_equal(model.flat_parameters, start)
    assert results[0] == results[1]


def test_a_whole_training_run(rng: np.random.Generator, threads: Threads, tmp_path: Path) -> None:
    """Batching, dropout, clipping, validation, the schedule that goes by it: the same weights at the end."""
    words = [rng.integers(4, 20, rng.integers(1, size(12, 5))) for _ in range(360)]
    train, valid = (
        Dataset.from_sequences(part, [word[::-1].tolist() for word in part], eos_id=2)
        for part in (words[:300], words[300:])
    )
    config = Seq2SeqConfig(
        source_vocab_size=20,
        target_vocab_size=20,
        source_embedding_dim=16,
        target_embedding_dim=16,
        encoder_hidden=24,
        decoder_hidden=32,
        encoder_layers=2,
        dropout=0.2,
    )
    results = []
    for n in (1, 2):
        threads(n)
        model = Seq2Seq(config, seed=1)
        start = model.flat_parameters.copy()
        trainer = Trainer(
            model,
            AdamW(lr=0.03, weight_decay=0.01),
            out=tmp_path / str(n),
            batch_size=size(300, 80),
            bucket_size=100,
            seed=3,
            max_steps=size(36, 12),
            max_grad_norm=0.5,
            label_smoothing=0.1,
            scheduler=ReduceLROnPlateau(warmup_steps=3, threshold=0.1),
            validate_every=size(6, 2),
            report_every=size(4, 2),
            progress=False,
        )
        result = trainer.fit(train, valid)
        assert result.step == size(36, 12)
        assert not np.array_equal(model.flat_parameters, start)
        lines = [json.loads(line) for line in (tmp_path / str(n) / "metrics.jsonl").read_text().splitlines()]
        history = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
        rates = {line["lr"] for line in history if "lr" in line and line["step"] > 3}
        assert len(rates) > 1, "a rate that never changes proves little"
        results.append((history, bits(model.flat_parameters)))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["lstm", "deep"])
def test_dropout_follows_the_example(rng: np.random.Generator, name: str) -> None:
    """A mask belongs to an example's id, not to its place: a batch's loss is the sum of its examples'."""
    model, batch = network(rng, name, dropout=0.4)
    alone = [model.forward_backward(example(batch, r), update=2, seed=1).loss for r in range(BATCH)]
    together = model.forward_backward(batch, update=2, seed=1).loss
    assert np.isclose(together, np.sum(alone), rtol=1e-6)
    assert not np.isclose(together, model.forward_backward(batch, update=3, seed=1).loss, rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_in_bfloat16(rng: np.random.Generator, threads: Threads, name: str) -> None:
    """Products of rounded factors: gradients near those of float32, of float32 themselves, and the same bits
    each time; the weights that are updated are never rounded."""
    model, batch = network(rng, name, dropout=0.2)
    exact = model.forward_backward(batch, update=1, seed=5)
    gradients = model.flat_gradients.astype(np.float64)
    results = []
    for n in (1, 2):
        threads(n)
        rounded = model.forward_backward(batch, update=1, seed=5, compute_type="bfloat16")
        results.append((rounded.loss, bits(model.flat_gradients)))
    assert results[0] == results[1]
    assert (rounded.loss != exact.loss) == rounds_factors()
    assert rounded.loss == pytest.approx(exact.loss, rel=0.01)
    norm = np.linalg.norm(gradients)
    assert np.linalg.norm(model.flat_gradients - gradients) < 0.03 * norm
    again = model.forward_backward(batch, update=1, seed=5)
    assert again.loss == exact.loss, "nothing is left of it"
    with pytest.raises(ValueError, match="compute_type float32 or bfloat16 for training, got int8"):
        model.forward_backward(batch, compute_type="int8")


def test_a_run_in_bfloat16_learns_as_in_float32(rng: np.random.Generator) -> None:
    words = [rng.integers(4, 12, rng.integers(1, 6)) for _ in range(size(200, 80))]
    data = Dataset.from_sequences(words, [word[::-1].tolist() for word in words], eos_id=2)
    config = Seq2SeqConfig(
        source_vocab_size=12,
        target_vocab_size=12,
        source_embedding_dim=12,
        target_embedding_dim=12,
        encoder_hidden=16,
        decoder_hidden=20,
    )
    losses = []
    for compute_type in ("float32", "bfloat16"):
        model = Seq2Seq(config, seed=1)
        steps = size(60, 12)
        trainer = Trainer(
            model,
            AdamW(lr=0.02),
            batch_size=size(150, 60),
            max_steps=steps,
            compute_type=compute_type,
            progress=False,
        )
        trainer.fit(data, data)
        everything = data.batch(np.arange(len(data)))
        losses.append(model.loss(everything).loss / model.loss(everything).tokens)
        assert np.any(model.flat_parameters.view(np.uint32) & 0xFFFF), "the weights are float32"
    assert losses[0] < size(1.5, 2.3) and losses[1] == pytest.approx(losses[0], rel=0.2)
    assert (losses[0] != losses[1]) == rounds_factors()
