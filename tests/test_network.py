"""The whole network: losses, scores and every gradient, for every option, against reference and PyTorch."""

from __future__ import annotations

import copy
import itertools
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, bits, double
from models import as_batch, make_model
from networks import OPTIONS, batch_for, name_of, pairwise, small_network
from place import size
from reference import network
from seq2seq_fast import Seq2Seq, Seq2SeqConfig

SMOOTHING = 0.1


def test_the_reference_knows_every_option() -> None:
    assert asdict(Seq2SeqConfig(target_vocab_size=5)) == asdict(reference.Options(target_vocab_size=5))


@pytest.mark.parametrize("row", pairwise(OPTIONS), ids=name_of)
def test_layout(row: dict[str, Any], rng: np.random.Generator) -> None:
    """Every parameter is a view of one buffer, 64-byte aligned; what lies between is zero and stays so."""
    model = make_model(small_network(row), rng, scale=1.0)
    assert {name: view.shape for name, view in model.parameters().items()} == reference.parameter_shapes(
        model.config
    )
    between = np.ones(model.flat_parameters.shape, bool)
    start = model.flat_parameters.ctypes.data
    for view in model.parameters().values():
        assert view.ctypes.data % 64 == 0
        offset = (view.ctypes.data - start) // 4
        assert np.all(between[offset : offset + view.size]), "two parameters overlap"
        between[offset : offset + view.size] = False
    assert {name: g.shape for name, g in model.gradients().items()} == reference.parameter_shapes(
        model.config
    )
    batch = batch_for(model.config, rng, 3, 4, 4)
    model.forward_backward(as_batch(batch))
    for buffer in (model.flat_parameters, model.flat_gradients):
        assert not np.any(buffer[between])


DROPOUTS: list[dict[str, Any]] = [
    {},
    {"dropout": 0.3, "word_dropout": 0.4},
    {"embedding_dropout": 0.4, "variational_dropout": True},
    {"dropout": 0.3, "embedding_dropout": 0.0, "output_dropout": 0.5},
    {"dropout": 0.2, "output_dropout": 0.0, "variational_dropout": True},
]


def dropout_rows() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(row, DROPOUTS[i % len(DROPOUTS)]) for i, row in enumerate(pairwise(OPTIONS))]


@pytest.mark.parametrize(
    ("row", "dropout"), dropout_rows(), ids=lambda x: name_of(x) if "source" in x else "-".join(x)
)
def test_gradients(row: dict[str, Any], dropout: dict[str, Any], rng: np.random.Generator) -> None:
    """Every option with every other, at small sizes; in most of the rows with the very dropout masks."""
    model = make_model(small_network(row) | dropout, rng, scale=2.0)
    o, batch = model.config, batch_for(model.config, rng, 5, 6, 5)
    params = double({name: view.copy() for name, view in model.parameters().items()})
    tokens = len(batch.target)

    def mean_loss(p: Any) -> Any:
        total: Any = 0.0
        for source, target, example in batch.pairs():
            drop = network.dropout_of(o, seed=(9 << 32) + 5, update=3, example=example)
            total = total + reference.sequence_loss(o, p, source, target, SMOOTHING, drop)
        return total / tokens

    result = model.forward_backward(as_batch(batch), update=3, seed=(9 << 32) + 5, label_smoothing=SMOOTHING)
    assert result.tokens == tokens
    assert_close(result.loss, mean_loss(params) * tokens, "loss")
    gradients = {name: g.copy() for name, g in model.gradients().items()}
    assert_close(gradients, reference.vjp(mean_loss, [params], np.ones(()))[0], "gradient", factor=2)


@pytest.mark.parametrize("row", pairwise(OPTIONS), ids=name_of)
def test_loss_and_scores(row: dict[str, Any], rng: np.random.Generator) -> None:
    """Without dropout, whatever the configuration says of it."""
    model = make_model(small_network(row) | {"dropout": 0.3}, rng, scale=2.0)
    o, batch = model.config, batch_for(model.config, rng, 5, 6, 5)
    params = double({name: view.copy() for name, view in model.parameters().items()})
    scores = [reference.log_probabilities(o, params, x, y) for x, y, _ in batch.pairs()]
    assert_close(model.score(as_batch(batch)), np.concatenate(scores), "scores")
    smooth = sum(reference.sequence_loss(o, params, x, y, SMOOTHING) for x, y, _ in batch.pairs())
    logits = [network.logits(o, params, x, y)[0] for x, y, _ in batch.pairs()]
    model.flat_gradients[:] = 7
    result = model.loss(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.loss, smooth, "loss")
    assert_close(result.nll, -np.concatenate(scores).sum(), "nll")
    assert result.tokens == len(batch.target)
    assert result.correct == np.sum(np.concatenate(logits).argmax(axis=1) == batch.target)
    assert np.all(model.flat_gradients == 7)  # a loss alone leaves the gradients be


def test_gradients_are_set_and_not_added_to(rng: np.random.Generator) -> None:
    model = make_model(small_network(pairwise(OPTIONS)[0]), rng, scale=1.0)
    batch = as_batch(batch_for(model.config, rng, 4, 5, 5))
    model.forward_backward(batch)
    first = bits(model.gradients())
    model.flat_gradients[:] = 3
    model.forward_backward(batch)
    assert bits(model.gradients()) == first


def test_weights_written_from_python_are_seen(rng: np.random.Generator) -> None:
    """The views are the parameters: a change shows in the next call, also where packed copies were made."""
    model = make_model(small_network(pairwise(OPTIONS)[0]), rng, scale=1.0)
    batch = as_batch(batch_for(model.config, rng, 3, 4, 4))
    model.score(batch)
    model.generate(batch.source, batch.source_lengths, max_decoding_length=5)
    for view in model.parameters().values():
        view *= -1.5
    fresh = Seq2Seq(model.config)
    fresh.flat_parameters[:] = model.flat_parameters
    assert np.array_equal(model.score(batch), fresh.score(batch))
    assert model.loss(batch) == fresh.loss(batch)
    outputs = [m.generate(batch.source, batch.source_lengths, max_decoding_length=5) for m in (model, fresh)]
    assert [[h.tokens for h in hypotheses] for hypotheses in outputs[0]] == [
        [h.tokens for h in hypotheses] for hypotheses in outputs[1]
    ]


def check_against_pytorch(options: dict[str, Any], rng: np.random.Generator, count: int = 9) -> None:
    """Loss, scores and every gradient within 1e-5 of PyTorch in float64, tensor by tensor."""
    from torch_network import TorchNetwork

    # Its masks are not PyTorch's, whose network has zoneout's expectation: of the scores alone.
    model = make_model(options | {"zoneout_hidden": 0.0, "zoneout_cell": 0.0}, rng, scale=1.0)
    batch = batch_for(model.config, rng, count, *size((12, 10), (5, 4)))
    params = double({name: view.copy() for name, view in model.parameters().items()})
    loss, gradients, log_p = TorchNetwork(model.config, params).forward_backward(batch, SMOOTHING)
    result = model.forward_backward(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.loss, loss, "loss")
    assert_close(model.score(as_batch(batch)), log_p, "scores")
    unreached = {name: np.zeros(g.shape) for name, g in model.gradients().items() if name not in gradients}
    assert_close(model.gradients(), gradients | unreached, "gradient")


ACCEPTANCE = list(
    itertools.product(["lstm", "gru"], [1, 3], [True, False], ["dot", "general", "mlp"], [True, False])
)


@pytest.mark.parametrize(("cell", "layers", "bidirectional", "score", "feeding"), ACCEPTANCE)
def test_agrees_with_pytorch(
    torch: Any,
    rng: np.random.Generator,
    cell: str,
    layers: int,
    bidirectional: bool,
    score: str,
    feeding: bool,
) -> None:
    """At real sizes, every combination that the acceptance of issue 2 names."""
    hidden = size(128, 24)
    memory = hidden * (2 if bidirectional else 1)
    check_against_pytorch(
        {
            "source_vocab_size": 90,
            "target_vocab_size": 120,
            "source_embedding_dim": size(64, 10),
            "target_embedding_dim": size(96, 14),
            "encoder_cell": cell,
            "decoder_cell": cell,
            "encoder_layers": layers,
            "decoder_layers": layers,
            "encoder_hidden": hidden,
            "decoder_hidden": memory if score == "dot" else size(160, 30),
            "bidirectional": bidirectional,
            "attention_score": score,
            "input_feeding": feeding,
        },
        rng,
    )


@pytest.mark.parametrize("row", pairwise(OPTIONS, seed=1), ids=name_of)
def test_other_options_agree_with_pytorch(torch: Any, rng: np.random.Generator, row: dict[str, Any]) -> None:
    sizes = {
        "target_vocab_size": 70,
        "source_embedding_dim": size(48, 12),
        "target_embedding_dim": size(40, 10),
        "encoder_hidden": size(64, 16),
    }
    check_against_pytorch(small_network(row, **sizes), rng, count=5)


@pytest.mark.big
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_large_agrees_with_pytorch(torch: Any, rng: np.random.Generator, cell: str) -> None:
    check_against_pytorch(
        {
            "source_vocab_size": 500,
            "target_vocab_size": 3000,
            "encoder_cell": cell,
            "decoder_cell": cell,
            "decoder_layers": 2,
            "decoder_hidden": 256,
        },
        rng,
        count=16,
    )


@pytest.mark.parametrize("row", pairwise(OPTIONS), ids=name_of)
def test_encoder_and_decoder_step(row: dict[str, Any], rng: np.random.Generator) -> None:
    """A search of one's own: the memory, then steps whose rows change places and multiply."""
    model = make_model(small_network(row), rng, scale=2.0)
    o, batch = model.config, batch_for(model.config, rng, 4, 6, 3)
    params = double({name: view.copy() for name, view in model.parameters().items()})
    sources = [source for source, _, _ in batch.pairs()]
    encoded = [reference.encode(o, params, source) for source in sources]
    state = model.encode(batch.source, batch.source_lengths, max_rows=6)
    assert_close(state.memory, np.concatenate([memory for memory, _ in encoded]), "memory")
    for layer, last in enumerate(state.last):
        parts = [
            np.stack([states[layer][i] for _, states in encoded]) for i in range(len(encoded[0][1][layer]))
        ]
        assert_close([part for part in last if part is not None], parts, "last states")

    at = [network.start_decoding(o, params, *parts) for parts in encoded]
    tokens, parents = [o.bos_id] * 4, [0, 1, 2, 3]
    for step in range(4):
        given = {} if step == 0 else {"tokens": np.array(tokens), "parents": np.array(parents)}
        log_probs, weights = model.decoder.step(state, **given)
        at = [copy.copy(at[parent]) for parent in parents]
        expected = [network.decode(o, params, a, token) for a, token in zip(at, tokens, strict=True)]
        assert_close(log_probs, np.stack([reference.log_softmax(logits) for logits, _ in expected]), "log P")
        if o.context != "attention":
            assert weights is None
        else:
            assert weights is not None
            for w, (_, right) in zip(weights, expected, strict=True):
                assert_close(w[: len(right)], right, "attention")
                assert np.all(w[len(right) :] == 0)
        rows = int(rng.integers(2, 7))
        parents = rng.integers(0, len(at), rows).tolist()
        tokens = rng.integers(0, o.target_vocab_size, rows).tolist()


@pytest.mark.parametrize("row", pairwise(OPTIONS, seed=2), ids=name_of)
def test_greedy_follows_the_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    """generate() with a beam of one: the most probable token at each step, with its score, until <eos>."""
    model = make_model(small_network(row), rng, scale=4.0)
    o, batch = model.config, batch_for(model.config, rng, 5, 6, 3)
    params = double({name: view.copy() for name, view in model.parameters().items()})
    outputs = model.generate(
        batch.source, batch.source_lengths, beam_size=1, min_decoding_length=0, max_decoding_length=8
    )
    for (source, _, _), (hypothesis,) in zip(batch.pairs(), outputs, strict=True):
        at = network.start_decoding(o, params, *reference.encode(o, params, source))
        tokens: list[int] = [o.bos_id]
        scores: list[float] = []
        while tokens[-1] != o.eos_id and len(scores) < 8:
            log_p = reference.log_softmax(network.decode(o, params, at, tokens[-1])[0])
            tokens.append(int(log_p.argmax()))
            scores.append(log_p[tokens[-1]])
        assert hypothesis.finished == (tokens[-1] == o.eos_id)
        assert list(hypothesis.tokens) == tokens[1 : len(tokens) - hypothesis.finished]
        assert_close(hypothesis.token_scores, np.array(scores), "token scores")
        assert np.isclose(hypothesis.log_prob, np.sum(scores), rtol=1e-5)
