"""Attention that sees what it has attended to: losses, gradients and search against reference and PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, bits, double
from models import as_batch, double_parameters, make_model
from networks import OPTIONS, Ragged, batch_for, name_of, pairwise, random_parameters, small_network
from place import size
from reference import autodiff, copying, network
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.search import beam_search

SMOOTHING = 0.1
ROWS = pairwise(
    {name: values for name, values in OPTIONS.items() if not name.startswith(("encoder", "source"))}
    | {
        "context": ["attention"],
        "attention_score": ["mlp"],
        "source": ["tokens"],
        "copy_attention": [False, True],
        "coverage": [True],
        "coverage_loss": [0.0, 0.7],
    },
    seed=4,
)


def small(rng: np.random.Generator, row: dict[str, Any], count: int = 5) -> tuple[Seq2Seq, Ragged]:
    model = make_model(small_network(row), rng)
    return model, batch_for(model.config, rng, count, 7, 6)


def total_loss(o: Any, p: Any, batch: Ragged, drop: Any = None) -> Any:
    total: Any = 0.0
    for i, (source, target, example) in enumerate(batch.pairs()):
        dropped = network.no_dropout if drop is None else drop(example)
        if o.copy_attention:
            total = total + copying.sequence(o, p, source, batch.copied()[i], target, SMOOTHING, dropped)[0]
        else:
            total = total + reference.sequence_loss(o, p, source, target, SMOOTHING, dropped)
    return total


@pytest.mark.parametrize("row", ROWS[:4], ids=name_of)
def test_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    """The reference's own gradients, by finite differences."""
    o = reference.Options(**small_network(row | {"coverage_loss": 0.7}))
    batch = batch_for(o, rng, 3, 5, 5)
    params = double(random_parameters(o, rng, scale=2.0))
    gradients = reference.vjp(lambda p: total_loss(o, p, batch), [params], np.ones(()))[0]
    for name, x in params.items():
        direction = rng.standard_normal(x.shape)
        expected = autodiff.directional_derivative(lambda: float(total_loss(o, params, batch)), x, direction)
        terms = gradients[name] * direction
        assert abs(float(np.sum(terms)) - expected) <= 1e-6 * (np.abs(terms).sum() + 1e-3), name


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_loss_and_gradients(row: dict[str, Any], dropout: float, rng: np.random.Generator) -> None:
    model = make_model(small_network(row) | {"dropout": dropout}, rng)
    o, batch = model.config, batch_for(model.config, rng, 5, 7, 6)
    params, tokens = double_parameters(model), len(batch.target)

    def mean_loss(p: Any) -> Any:
        return total_loss(o, p, batch, lambda i: network.dropout_of(o, 5, 3, i)) / tokens

    result = model.forward_backward(as_batch(batch), update=3, seed=5, label_smoothing=SMOOTHING)
    assert_close(result.loss, mean_loss(params) * tokens, "loss")
    gradients = {name: g.copy() for name, g in model.gradients().items()}
    expected = reference.vjp(mean_loss, [params], np.ones(()))[0]
    # Where attention is saturated its gradients all but cancel, to a thousandth of other rows'.
    assert_close(gradients, expected, "gradient", factor=3)
    assert np.abs(gradients["attention.coverage.weight"]).max() > 0
    result = model.loss(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.loss, total_loss(o, params, batch), "loss without dropout")


@pytest.mark.parametrize(("feeding", "copies"), [(True, False), (False, True)])
def test_agrees_with_pytorch(torch: Any, rng: np.random.Generator, feeding: bool, copies: bool) -> None:
    from torch_network import TorchNetwork

    options = {
        "source_vocab_size": 60,
        "target_vocab_size": 120,
        "source_embedding_dim": size(48, 12),
        "target_embedding_dim": size(40, 10),
        "encoder_hidden": size(64, 16),
        "decoder_hidden": size(96, 20),
        "attention_score": "mlp",
        "input_feeding": feeding,
        "copy_attention": copies,
        "coverage": True,
        "coverage_loss": 1.0,
    }
    model = make_model(options, rng, scale=1.0)
    batch = batch_for(model.config, rng, 9, *size((40, 12), (9, 5)))
    loss, gradients, log_p = TorchNetwork(model.config, double_parameters(model)).forward_backward(
        batch, SMOOTHING
    )
    result = model.forward_backward(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.loss, loss, "loss")
    assert_close(model.score(as_batch(batch)), log_p, "scores")
    assert_close(model.gradients(), gradients, "gradient")


@pytest.mark.parametrize("row", [row for row in ROWS if not row["copy_attention"]][:4], ids=name_of)
def test_steps_follow_the_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    """Rows that change places, multiply and end take their coverage along."""
    model, batch = small(rng, row, count=4)
    o, params = model.config, double_parameters(model)
    state = model.encode(batch.source, batch.source_lengths, max_rows=6)
    at = [
        network.start_decoding(o, params, *reference.encode(o, params, source))
        for source, _, _ in batch.pairs()
    ]
    tokens, parents = [o.bos_id] * 4, [0, 1, 2, 3]
    for count in (4, 4, 6, 3, 3):
        log_probs, _ = model.decoder.step(state, np.array(tokens), np.array(parents))
        at = [copy.copy(at[p]) for p in parents]
        expected = [network.decode(o, params, a, token) for a, token in zip(at, tokens, strict=True)]
        assert_close(log_probs, np.stack([reference.log_softmax(logits) for logits, _ in expected]), "log P")
        in_place = count == len(at)  # as a greedy search
        parents = list(range(count)) if in_place else rng.integers(0, len(at), count).tolist()
        tokens = rng.integers(0, o.target_vocab_size, count).tolist()


@pytest.mark.parametrize("row", ROWS[:4], ids=name_of)
def test_search(own_products: None, row: dict[str, Any], rng: np.random.Generator, threads: Any) -> None:
    """It is that over its own steps, and its bits do not depend on company or threads."""
    model, batch = small(rng, row, count=6)
    o = model.config
    options = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 7}
    width = o.target_vocab_size if batch.copies is None else int(batch.copies.max()) + 1
    found = model.generate(batch.source, batch.source_lengths, copies=batch.copies, **options)
    state = model.encode(batch.source, batch.source_lengths, max_rows=18, copies=batch.copies)

    def step(parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return model.decoder.step(state, tokens, parents)[0]

    expected = beam_search(step, batch_size=6, vocab_size=width, bos_id=o.bos_id, eos_id=o.eos_id, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert_close(np.array([h.log_prob for h in ours]), np.array([h.log_prob for h in theirs]), "scores")
    threads(2)
    for r in range(6):
        one = batch.take([r])
        (alone,) = model.generate(one.source, one.source_lengths, copies=one.copies, **options)
        assert [(h.tokens, bits(h.token_scores)) for h in alone] == [
            (h.tokens, bits(h.token_scores)) for h in found[r]
        ]


@pytest.mark.parametrize("row", ROWS[:2], ids=name_of)
def test_gradients_do_not_depend_on_threads(
    row: dict[str, Any], rng: np.random.Generator, threads: Any
) -> None:
    model, batch = small(rng, row | {"coverage_loss": 0.5}, count=9)
    results = []
    for count in (1, 2):
        threads(count)
        model.forward_backward(as_batch(batch))
        results.append(bits(model.gradients()))
    assert results[0] == results[1]


def test_coverage_loss_is_against_repetition(rng: np.random.Generator) -> None:
    """By hand: the loss is what the weights overlap with those before."""
    row = ROWS[0] | {"copy_attention": False, "coverage_loss": 0.0}
    plain, batch = small(rng, row)
    lossy = Seq2Seq(Seq2SeqConfig(**(small_network(row) | {"coverage_loss": 2.0})))
    lossy.flat_parameters[...] = plain.flat_parameters
    state = plain.encode(batch.source, batch.source_lengths)
    overlap, covered = 0.0, np.zeros((5, batch.source_lengths.max()))
    targets = [target for _, target, _ in batch.pairs()]
    tokens = np.full(5, plain.config.bos_id)
    for t in range(int(batch.target_lengths.max())):
        _, weights = plain.decoder.step(state, tokens)
        assert weights is not None
        live = t < batch.target_lengths
        overlap += float(np.minimum(weights, covered)[live].sum())
        covered += weights
        tokens = np.array([target[min(t, len(target) - 1)] for target in targets])
    difference = lossy.loss(as_batch(batch)).loss - plain.loss(as_batch(batch)).loss
    assert_close(difference, 2 * overlap, "coverage loss", factor=20)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attention_score": "general"}, "attention_score mlp"),
        ({"context": "last"}, "coverage with context attention"),
        ({"coverage_loss": -1.0}, "coverage_loss from 0"),
        ({"coverage": False, "coverage_loss": 1.0}, "coverage_loss 0 without coverage"),
    ],
)
def test_bad_configurations(wrong: dict[str, Any], message: str) -> None:
    options = small_network(ROWS[0] | {"copy_attention": False})
    with pytest.raises(ValueError, match=message):
        Seq2Seq(Seq2SeqConfig(**(options | wrong)))
