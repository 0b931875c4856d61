"""Pyramidal encoders, convolutions over time, location-aware attention and the CTC loss beside the decoder's:
losses, gradients, scores and search against reference and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close
from models import as_batch, double_parameters, make_model
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
    {name: values for name, values in OPTIONS.items() if not name.startswith(("attention_d", "decoder_l"))}
    | {
        "encoder_layers": [3],
        "encoder_pyramid": ["", "1,2,3", "3,1,2"],
        "pyramid_skips": [False, True],
        "conv_layers": [0, 1, 2],
        "conv_channels": [5],
        "conv_width": [2, 3],
        "conv_stride": [1, 2, 3],
        "context": ["attention"],
        "attention_score": ["mlp"],
        "location_filters": [0, 5],
        "location_width": [1, 3],
        "location_cumulative": [True, False],
        "coverage": [False, True],
        "ctc_weight": [0.0, 0.3],
        "copy_attention": [False],
    },
    seed=7,
)
ROWS = [row | ({"location_cumulative": True} if row["coverage"] else {}) for row in ROWS]
"""Filters go with a coverage only where both see the sum of the weights."""
OTHERS = pairwise(
    {
        "context": ["last", "mean"],
        "encoder_pyramid": ["2", "3"],
        "ctc_weight": [0.5],
        "bridge": ["dense", "copy"],
    }
)


def small(
    rng: np.random.Generator, row: dict[str, Any], count: int = 5, **more: Any
) -> tuple[Seq2Seq, Ragged]:
    model = make_model(small_network(row) | more, rng)
    return model, batch_for(model.config, rng, count, 11, 5)


@pytest.mark.parametrize("row", ROWS[:5], ids=name_of)
def test_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    o = reference.Options(**small_network(row | {"ctc_weight": 0.4, "location_filters": 2}))
    check_reference(o, batch_for(o, rng, 3, 9, 4), rng)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_loss_and_gradients(row: dict[str, Any], dropout: float, rng: np.random.Generator) -> None:
    model, batch = small(rng, row, dropout=dropout)
    shapes = {name: view.shape for name, view in model.parameters().items()}
    assert shapes == reference.parameter_shapes(model.config)
    check_gradients(model, batch)


@pytest.mark.parametrize("row", OTHERS, ids=name_of)
def test_without_attention(row: dict[str, Any], rng: np.random.Generator) -> None:
    check_gradients(
        *small(rng, {"bidirectional": True, "attention_score": "general", "source": "tokens"} | row)
    )


@pytest.mark.parametrize("front", [{}, {"pyramid_skips": True}, {"conv_layers": 2, "encoder_pyramid": "1,2"}])
@pytest.mark.parametrize(("cell", "cumulative"), [("gru", True), ("lstm", False)])
def test_agrees_with_pytorch(
    torch: Any, rng: np.random.Generator, cell: str, cumulative: bool, front: dict[str, Any]
) -> None:
    options = {
        "source_features": 39,
        "target_vocab_size": 40,
        "target_embedding_dim": size(40, 10),
        "encoder_cell": cell,
        "decoder_cell": cell,
        "encoder_layers": 2,
        "encoder_pyramid": "3,2",
        "encoder_hidden": size(64, 16),
        "decoder_hidden": size(96, 20),
        "attention_score": "mlp",
        "location_filters": 10,
        "location_width": size(31, 5),
        "location_cumulative": cumulative,
        "ctc_weight": 0.3,
        "conv_channels": size(48, 12),
        **front,
    }
    model = make_model(options, rng, scale=1.0)
    batch = batch_for(model.config, rng, 7, *size((150, 12), (25, 5)))
    state = model.encode(batch.source, batch.source_lengths)
    assert len(state.memory) == sum(
        -(-len(x) // (8 if front.get("conv_layers") else 6)) for x, _, _ in batch.pairs()
    )
    check_pytorch(model, batch)


@pytest.mark.parametrize("row", ROWS[:6], ids=name_of)
def test_steps_follow_the_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    model, batch = small(rng, row | {"location_filters": 3}, count=4)
    state = model.encode(batch.source, batch.source_lengths)
    params = double_parameters(model)
    ends = [reference.encode(model.config, params, source)[1] for source, _, _ in batch.pairs()]
    for layer, last in enumerate(state.last):
        parts = [np.stack([states[layer][i] for states in ends]) for i in range(len(ends[0][layer]))]
        assert_close([part for part in last if part is not None], parts, "last states")
    check_steps(model, batch, rng)


@pytest.mark.parametrize("row", ROWS[:6], ids=name_of)
def test_search(own_products: None, row: dict[str, Any], rng: np.random.Generator, threads: Any) -> None:
    check_search(*small(rng, row, count=6), threads)


@pytest.mark.parametrize("row", ROWS[:3], ids=name_of)
def test_gradients_do_not_depend_on_threads(
    row: dict[str, Any], rng: np.random.Generator, threads: Any
) -> None:
    check_threads(*small(rng, row | {"ctc_weight": 0.3, "location_filters": 3}, count=9), threads)


def test_a_target_that_does_not_fit_counts_nothing(rng: np.random.Generator) -> None:
    """Of its encoder's loss; alone in a batch it leaves that output no gradient."""
    model, batch = small(rng, ROWS[0] | {"encoder_pyramid": "3,1,2", "ctc_weight": 0.5}, count=1)
    batch.source, batch.source_lengths = batch.source[:6], np.array([6], np.int32)
    batch.target = np.array([4, 5, model.config.eos_id], np.int32)
    batch.target_lengths = np.array([3], np.int32)
    result = model.forward_backward(as_batch(batch))
    plain = model.loss(as_batch(batch))
    assert_close(plain.loss, 0.5 * plain.nll, "loss")
    assert np.isfinite(result.loss)
    assert not np.any(model.gradients()["encoder.ctc.weight"])
    assert np.any(model.gradients()["encoder.rnn.weight_ih_l0"])


def test_whole_memory_of_one_step(rng: np.random.Generator) -> None:
    """A source shorter than what is joined, beside longer ones."""
    model, batch = small(rng, ROWS[0] | {"encoder_pyramid": "3,3,3"}, count=4)
    batch = batch.take([0, 1])
    state = model.encode(batch.source, batch.source_lengths)
    encoded = [reference.encode(model.config, double_parameters(model), x)[0] for x, _, _ in batch.pairs()]
    assert_close(state.memory, np.concatenate(encoded), "memory")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder_pyramid": "2"}, "encoder_pyramid of one number for each of the 3 encoder_layers, got 1"),
        ({"encoder_pyramid": "1,0,2"}, "encoder_pyramid from 1"),
        ({"encoder_pyramid": "1,2,"}, "encoder_pyramid as numbers"),
        ({"encoder_pyramid": "1,a,2"}, "encoder_pyramid as numbers"),
        ({"encoder_pyramid": "1;2;3"}, "encoder_pyramid as numbers"),
        ({"location_filters": -1}, "location_filters"),
        ({"conv_layers": -1}, "conv_layers"),
        ({"conv_width": 0}, "conv_width"),
        ({"conv_stride": 0}, "conv_stride"),
        ({"conv_channels": 0}, "conv_channels"),
        (
            {"conv_layers": 1, "conv_stride": 2, "copy_attention": True},
            "conv_stride of 1 with copy_attention",
        ),
        ({"location_width": 4}, "odd location_width"),
        ({"location_width": 0}, "location_width"),
        ({"location_filters": 2, "attention_score": "general"}, "attention_score mlp"),
        ({"location_filters": 2, "context": "mean"}, "location_filters with context attention"),
        ({"location_filters": 2, "location_cumulative": False, "coverage": True}, "location_cumulative"),
        ({"ctc_weight": 1.0}, "ctc_weight from 0 to below 1"),
        ({"ctc_weight": -0.1}, "ctc_weight from 0 to below 1"),
        ({"ctc_weight": float("nan")}, "ctc_weight"),
        ({"ctc_weight": 0.3, "copy_attention": True}, "ctc_weight 0 with copy_attention"),
        ({"encoder_pyramid": "1,2,1", "copy_attention": True}, "encoder_pyramid and conv_stride of 1"),
    ],
)
def test_bad_configurations(wrong: dict[str, Any], message: str) -> None:
    row = ROWS[0] | {"source": "tokens", "coverage": False, "location_cumulative": True, "ctc_weight": 0.0}
    options = small_network(row | {"encoder_pyramid": "", "location_filters": 0, "bridge": "dense"})
    with pytest.raises(ValueError, match=message):
        Seq2Seq(Seq2SeqConfig(**(options | wrong)))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"encoder_pyramid": 2}, "encoder_pyramid"),
        ({"location_filters": 1.5}, "location_filters"),
        ({"location_cumulative": 1}, "location_cumulative"),
        ({"ctc_weight": "x"}, "ctc_weight"),
    ],
)
def test_wrong_types(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Seq2Seq(Seq2SeqConfig(source_features=3, target_vocab_size=5, **wrong))
