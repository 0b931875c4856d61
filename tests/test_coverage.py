"""Attention that sees what it has attended to: losses, gradients and search against reference and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close
from models import as_batch, make_model
from network_checks import (
    check_gradients,
    check_pytorch,
    check_reference,
    check_search,
    check_steps,
    check_threads,
)
from networks import OPTIONS, Ragged, batch_for, name_of, pairwise, small_network
from place import size
from seq2seq_fast import Seq2Seq, Seq2SeqConfig

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


@pytest.mark.parametrize("row", ROWS[:4], ids=name_of)
def test_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    o = reference.Options(**small_network(row | {"coverage_loss": 0.7}))
    check_reference(o, batch_for(o, rng, 3, 5, 5), rng)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_loss_and_gradients(row: dict[str, Any], dropout: float, rng: np.random.Generator) -> None:
    model, batch = small(rng, row | {"dropout": dropout})
    gradients = check_gradients(model, batch)
    assert np.abs(gradients["attention.coverage.weight"]).max() > 0


@pytest.mark.parametrize(("feeding", "copies"), [(True, False), (False, True)])
def test_agrees_with_pytorch(torch: Any, rng: np.random.Generator, feeding: bool, copies: bool) -> None:
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
    check_pytorch(model, batch)


@pytest.mark.parametrize("row", [row for row in ROWS if not row["copy_attention"]][:4], ids=name_of)
def test_steps_follow_the_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    check_steps(*small(rng, row, count=4), rng)


@pytest.mark.parametrize("row", ROWS[:4], ids=name_of)
def test_search(own_products: None, row: dict[str, Any], rng: np.random.Generator, threads: Any) -> None:
    check_search(*small(rng, row, count=6), threads)


@pytest.mark.parametrize("row", ROWS[:2], ids=name_of)
def test_gradients_do_not_depend_on_threads(
    row: dict[str, Any], rng: np.random.Generator, threads: Any
) -> None:
    check_threads(*small(rng, row | {"coverage_loss": 0.5}, count=9), threads)


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
