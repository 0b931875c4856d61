"""Residual connections, layer normalisation and zoneout, beyond what test_network.py checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checks import assert_close
from networks import Ragged, batch_for, random_parameters
from place import size
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.data import Batch

SIZES: dict[str, Any] = {
    "source_vocab_size": 30,
    "target_vocab_size": 30,
    "source_embedding_dim": 16,
    "target_embedding_dim": 16,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_hidden": size(40, 12),
    "decoder_hidden": size(48, 20),
}


def make(rng: np.random.Generator, scale: float = 1.0, **options: Any) -> tuple[Seq2Seq, Ragged]:
    model = Seq2Seq(Seq2SeqConfig(**SIZES | options))
    for name, value in random_parameters(model.config, rng, scale).items():
        model.parameters()[name][...] = value
    return model, batch_for(model.config, rng, 12, 9, 7)


@pytest.mark.parametrize("score", ["general", "mlp"])
@pytest.mark.parametrize("size_of_states", [0.02, 3.0])
def test_int8_goes_by_the_size_of_what_is_normalised(
    rng: np.random.Generator, size_of_states: float, score: str
) -> None:
    """States lie in [-1, 1] and have a constant scale; what is normalised is as large, or as small, as it
    likes, and what reads it has weights to match."""
    model, batch = make(rng, 1.0, attention_score=score, layer_norm=True)
    readers = ("weight_ih_l1", "weight_ih_l2", "attention.key", "attention.query", "combine.weight")
    for name, view in model.parameters().items():
        if ".norm_" in name:
            view[...] = size_of_states * rng.uniform(0.7, 1.0, view.shape)
        elif any(reader in name for reader in readers):
            view[...] /= size_of_states
    small = model.config.native_model(compute_type="int8", trainable=False, device=model.device)
    for name, view in model.parameters().items():
        small.load_parameter(name, view)
    count = len(batch.source_lengths)
    at = np.full(count, model.config.bos_id, np.int32), np.arange(count, dtype=np.int32)
    found = []
    for native in (model.native, small):
        session = native.encode(batch.source, batch.source_lengths, count)
        memory = session.memory()
        for _ in range(3):
            log_probs = session.step(at[1], at[0])
        found.append((memory, log_probs))
    for exact, rounded in zip(*found, strict=True):
        assert np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_a_new_normalisation_changes_nothing_but_the_scale() -> None:
    """Weights begin as 1 and biases as 0."""
    model = Seq2Seq(Seq2SeqConfig(**SIZES | {"layer_norm": True}), seed=1)
    norms = {name: view for name, view in model.parameters().items() if ".norm_" in name}
    assert len(norms) == 12
    for name, view in norms.items():
        assert np.all(view == (1 if name.endswith("weight") else 0)), name


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_zoneout_s_expectation_is_near_the_mean_of_its_masks(rng: np.random.Generator, cell: str) -> None:
    """Of a network that is nearly linear; what scores read is the expectation, whatever the seed."""
    options = {"encoder_cell": cell, "decoder_cell": cell, "zoneout_hidden": 0.3, "zoneout_cell": 0.4}
    model, ragged = make(rng, 0.3, **options)
    batch = Batch(**vars(ragged))
    plain, _ = make(rng, 0.3, **options | {"zoneout_hidden": 0.0, "zoneout_cell": 0.0})
    plain.flat_parameters[:] = model.flat_parameters
    updates = size(60, 10)
    losses = [model.forward_backward(batch, update=u, seed=3).loss for u in range(updates)]
    assert len(set(losses)) == updates
    assert plain.forward_backward(batch).loss == plain.forward_backward(batch, update=1).loss
    expected = model.loss(batch).loss
    spread = np.std(losses) / np.sqrt(updates)
    assert abs(np.mean(losses) - expected) < 5 * spread + 1e-3 * expected
    assert abs(plain.loss(batch).loss - expected) > 1e-5 * expected


def test_zoneout_of_everything_keeps_the_first_state(rng: np.random.Generator) -> None:
    """Of rates next to 1 states stay where they began, at zero."""
    model, ragged = make(rng, 1.0, zoneout_hidden=0.9999999, zoneout_cell=0.9999999, bridge="zero")
    assert np.abs(model.encode(ragged.source, ragged.source_lengths).memory).max() < 1e-5


def test_zoneout_without_input_feeding_walks_whole_sequences(rng: np.random.Generator) -> None:
    """One block of all steps, or steps one by one (as input feeding wants): the same masks, the same loss.

    Scheduled sampling with a probability that never comes up makes the steps single."""
    model, ragged = make(rng, 1.0, input_feeding=False, zoneout_hidden=0.3, zoneout_cell=0.4, dropout=0.2)
    batch = Batch(**vars(ragged))
    whole = model.forward_backward(batch, update=1, seed=2)
    gradients = model.flat_gradients.copy()
    single = model.forward_backward(batch, update=1, seed=2, sampling=1e-30)
    assert_close(single.loss, whole.loss)
    assert_close(model.flat_gradients, gradients)
