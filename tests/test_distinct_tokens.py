"""A token's input product is made once for all its places in a batch: as if it were made for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close
from models import as_batch, double_parameters, make_model
from networks import Ragged, batch_for

LAYOUTS: list[dict[str, Any]] = [
    {"encoder_cell": "lstm", "decoder_cell": "gru", "encoder_layers": 2, "bidirectional": True},
    {"encoder_cell": "gru", "decoder_cell": "lstm", "decoder_layers": 2, "input_feeding": False},
    {"bidirectional": True, "zoneout_hidden": 0.2, "attention_score": "mlp"},
]
VOCABULARY = 80  # more than the tokens of a batch


def network(layout: dict[str, Any]) -> dict[str, Any]:
    sizes = {"source_vocab_size": VOCABULARY, "target_vocab_size": VOCABULARY}
    widths = {"source_embedding_dim": 5, "target_embedding_dim": 6, "encoder_hidden": 3, "decoder_hidden": 7}
    return sizes | widths | layout


def repeating(batch: Ragged, kinds: int, rng: np.random.Generator) -> Ragged:
    """The same lengths, of tokens of so many kinds; the <eos> stays."""
    changed = replace(batch, source=rng.integers(4, 4 + kinds, len(batch.source), dtype=np.int32))
    changed.target = np.where(batch.target < 4, batch.target, 4 + batch.target % kinds).astype(np.int32)
    return changed


def different(batch: Ragged, rng: np.random.Generator) -> Ragged:
    """The same lengths, no token twice but for <eos>."""
    source = rng.permutation(np.arange(4, VOCABULARY, dtype=np.int32))[: len(batch.source)]
    target = rng.permutation(np.arange(4, VOCABULARY, dtype=np.int32))[: len(batch.target)]
    return replace(batch, source=source, target=np.where(batch.target < 4, batch.target, target))


@pytest.mark.parametrize("kinds", [1, 5, None])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_gradients(layout: dict[str, Any], kinds: int | None, rng: np.random.Generator) -> None:
    model = make_model(network(layout), rng)
    batch = batch_for(model.config, rng, 5, 6, 6)
    batch = repeating(batch, kinds, rng) if kinds else different(batch, rng)
    tokens = len(batch.target)

    def mean_loss(p: Any) -> Any:
        losses = [
            reference.sequence_loss(
                model.config, p, x, y, 0.0, reference.network.dropout_of(model.config, 7, 3, example)
            )
            for x, y, example in batch.pairs()
        ]
        return sum(losses) / tokens

    model.forward_backward(as_batch(batch), update=3, seed=7)
    gradients = {name: g.copy() for name, g in model.gradients().items()}
    wanted = reference.vjp(mean_loss, [double_parameters(model)], np.ones(()))[0]
    assert_close(gradients, wanted, "gradient", factor=2)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_repeated_and_different_tokens_agree(layout: dict[str, Any], rng: np.random.Generator) -> None:
    """Tokens that have equal embeddings but are not the same are no repetition: the same loss to the bit, and
    together the gradient of the one that is."""
    model = make_model(network(layout), rng)
    embedding = model.parameters()["encoder.embedding.weight"]
    embedding[4:] = embedding[4]
    batch = batch_for(model.config, rng, 5, 6, 6)
    alone, apart = replace(batch, source=np.full_like(batch.source, 4)), different(batch, rng)
    apart.target = alone.target
    results = []
    for each in (alone, apart):
        loss = model.forward_backward(as_batch(each), update=3, seed=7).loss
        results.append((loss, {name: g.copy() for name, g in model.gradients().items()}))
    (loss, gradients), (other_loss, others) = results
    assert loss == other_loss
    for found in (gradients, others):
        found["encoder.embedding.weight"] = found["encoder.embedding.weight"].sum(axis=0)
    assert_close(gradients, others, "gradient")
