"""Bad input to Seq2SeqConfig and Seq2Seq: options, batches, decoding options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from networks import batch_for
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.data import Batch

NAN = float("nan")
GOOD: dict[str, Any] = {
    "source_vocab_size": 7,
    "target_vocab_size": 9,
    "source_embedding_dim": 3,
    "target_embedding_dim": 5,
    "encoder_hidden": 4,
    "decoder_hidden": 6,
}
POSITIVE = [
    "target_vocab_size",
    "source_embedding_dim",
    "target_embedding_dim",
    "decoder_layers",
    "encoder_hidden",
    "decoder_hidden",
]
CHOICES = ["encoder_cell", "decoder_cell", "context", "attention_score", "bridge"]
FLAGS = [
    "bidirectional",
    "input_feeding",
    "tie_output",
    "reset_after",
    "residual",
    "layer_norm",
    "share_embeddings",
]
RATES = ["dropout", "word_dropout", "zoneout_hidden", "zoneout_cell"]
OPTIONS: list[tuple[str, Any, type[Exception]]] = [
    *[(name, value, ValueError) for name in POSITIVE for value in (0, -1, 1 << 40)],
    *[(name, value, TypeError) for name in POSITIVE for value in (2.5, "8", None, True)],
    *[(name, "none of these", ValueError) for name in CHOICES],
    *[(name, value, TypeError) for name in CHOICES for value in (3, None)],
    *[(name, value, TypeError) for name in FLAGS for value in ("no", None)],
    ("source_vocab_size", -1, ValueError),
    ("source_vocab_size", 0, ValueError),  # neither tokens nor features
    ("source_features", 4, ValueError),  # both
    ("source_features", -1, ValueError),
    ("attention_dim", -1, ValueError),
    *[("encoder_layers", value, ValueError) for value in (-1, 33)],
    ("encoder_layers", 1.5, TypeError),
    *[(name, value, ValueError) for name in RATES for value in (-0.1, 1.0, NAN)],
    *[(name, value, TypeError) for name in RATES for value in ("x", False)],
    ("share_embeddings", True, ValueError),  # vocabularies of two sizes
    ("source_unk_id", -1, ValueError),
    ("embedding_dropout", -1, ValueError),
    ("output_dropout", 1.0, ValueError),
    ("output_dropout", "x", TypeError),
    ("variational_dropout", 1, TypeError),
    ("bos_id", 9, ValueError),
    ("bos_id", -1, ValueError),
    ("eos_id", 9, ValueError),
    ("eos_id", -1, ValueError),
    ("eos_id", 1.5, TypeError),
    ("eos_id", True, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), OPTIONS)
def test_configuration(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        Seq2Seq(Seq2SeqConfig(**GOOD | {name: value}))
    assert_says(caught.value, name)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"word_dropout": 0.1, "unk_id": 9}, "unk_id"),
        ({"word_dropout": 0.1, "source_unk_id": 7}, "source_unk_id"),
        ({"share_embeddings": True, "source_vocab_size": 9}, "source_embedding_dim"),
        ({"share_embeddings": True, "source_vocab_size": 0, "source_features": 4}, "share_embeddings"),
    ],
)
def test_options_that_do_not_fit_each_other(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError) as caught:
        Seq2Seq(Seq2SeqConfig(**GOOD | options))
    assert_says(caught.value, name)


@pytest.mark.parametrize("option", [{"bridge": "copy"}, {"attention_score": "dot"}])
def test_widths_that_must_be_equal(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        Seq2Seq(Seq2SeqConfig(**GOOD | option))
    assert_says(caught.value, "decoder_hidden")


def test_what_is_no_configuration() -> None:
    with pytest.raises(TypeError) as caught:
        Seq2Seq(GOOD)  # type: ignore[arg-type]
    assert_says(caught.value, "config")


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    return Seq2Seq(Seq2SeqConfig(**GOOD))


@pytest.fixture
def batch(model: Seq2Seq) -> Batch:
    return Batch(**vars(batch_for(model.config, np.random.default_rng(0), 4, 5, 5)))


def spoilt(x: np.ndarray, value: int) -> np.ndarray:
    x = x.copy()
    x[2] = value
    return x


NONE = np.zeros(0, np.int32)
FIELDS: list[tuple[str, Any, type[Exception]]] = [
    ("source", lambda x: spoilt(x, 7), ValueError),
    ("source", lambda x: spoilt(x, -1), ValueError),
    ("source", lambda x: x[:-1], ValueError),
    ("source", lambda x: x[None], ValueError),
    ("source", lambda x: x.astype(np.float32), TypeError),
    ("source", lambda x: "text", TypeError),
    ("target", lambda x: spoilt(x, 9), ValueError),
    ("target", lambda x: spoilt(x, -1), ValueError),
    ("target", lambda x: x[:-1], ValueError),
    ("target", lambda x: x.astype(np.float64), TypeError),
    ("target", lambda x: None, TypeError),
    ("source_lengths", lambda x: spoilt(x, 0), ValueError),
    ("source_lengths", lambda x: spoilt(x, -1), ValueError),
    ("source_lengths", lambda x: x + 1, ValueError),
    ("source_lengths", lambda x: np.append(x, 1), ValueError),
    ("source_lengths", lambda x: x[:, None], ValueError),
    ("source_lengths", lambda x: np.where(x == x[0], NAN, x), TypeError),
    ("source_lengths", lambda x: "5432", TypeError),
    ("target_lengths", lambda x: spoilt(x, 0), ValueError),
    ("target_lengths", lambda x: spoilt(x, -1), ValueError),
    ("target_lengths", lambda x: np.append(x, 1), ValueError),
    ("target_lengths", lambda x: np.where(x == x[0], NAN, x), TypeError),
    ("example_ids", lambda x: x[:-1], ValueError),
    ("example_ids", lambda x: x.astype(np.float64), TypeError),
]
METHODS = ["forward_backward", "loss", "score"]


@pytest.mark.parametrize(
    ("method", "name", "spoil", "error"),
    [(method, *field) for method in METHODS for field in FIELDS if field[0] != "example_ids"]
    + [
        ("forward_backward", *field) for field in FIELDS if field[0] == "example_ids"
    ],  # which name dropout's masks
)
def test_batches(
    model: Seq2Seq, batch: Batch, method: str, name: str, spoil: Any, error: type[Exception]
) -> None:
    bad = replace(batch, **{name: spoil(getattr(batch, name))})
    with pytest.raises(error) as caught:
        getattr(model, method)(bad)
    lengths = {"source": ["source_lengths"], "target": ["target_lengths"]}
    values = {"source_lengths": ["source", "example_ids"], "target_lengths": ["target"]}
    assert_says(caught.value, name, *lengths.get(name, []), *values.get(name, []))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [None, 5, "batch", (NONE, NONE, NONE, NONE)])
def test_what_is_no_batch(model: Seq2Seq, method: str, bad: Any) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(model, method)(bad)
    assert_says(caught.value, "batch")


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_batch(model: Seq2Seq, method: str) -> None:
    with pytest.raises(ValueError) as caught:
        getattr(model, method)(Batch(NONE, NONE, NONE, NONE, np.zeros(0, np.int64)))
    assert_says(caught.value, "source_lengths", "batch")


@pytest.mark.parametrize("method", METHODS)
def test_features(method: str) -> None:
    model = Seq2Seq(Seq2SeqConfig(**GOOD | {"source_vocab_size": 0, "source_features": 4}))
    batch = Batch(**vars(batch_for(model.config, np.random.default_rng(0), 4, 5, 5)))
    getattr(model, method)(batch)
    for source, error in [
        (batch.source[:, :3], ValueError),
        (batch.source[:-1], ValueError),
        (batch.source[0], ValueError),
        (batch.source.astype(np.float64), TypeError),
        (np.zeros(len(batch.source), np.int32), TypeError),
    ]:
        with pytest.raises(error) as caught:
            getattr(model, method)(replace(batch, source=source))
        assert_says(caught.value, "source")


@pytest.mark.parametrize("method", ["forward_backward", "loss"])
@pytest.mark.parametrize(
    ("value", "error"), [(-0.1, ValueError), (1.5, ValueError), (NAN, ValueError), ("x", TypeError)]
)
def test_label_smoothing(
    model: Seq2Seq, batch: Batch, method: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        getattr(model, method)(batch, label_smoothing=value)
    assert_says(caught.value, "label_smoothing")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("update", -1, ValueError),
        ("update", 1 << 40, ValueError),
        ("update", 0.5, TypeError),
        ("seed", -1, ValueError),
        ("seed", 1 << 64, ValueError),
        ("seed", "s", TypeError),
    ],
)
def test_names_of_masks(model: Seq2Seq, batch: Batch, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        model.forward_backward(batch, **{name: value})
    assert_says(caught.value, name)


DECODING: list[tuple[str, Any, type[Exception]]] = [
    ("beam_size", 0, ValueError),
    ("beam_size", -1, ValueError),
    ("beam_size", 1.5, TypeError),
    ("beam_size", True, TypeError),
    ("length_penalty", False, TypeError),
    ("patience", True, TypeError),
    ("return_attention", 1, TypeError),
    ("num_hypotheses", 0, ValueError),
    ("num_hypotheses", 3, ValueError),  # of a beam of 2
    ("num_hypotheses", "2", TypeError),
    ("length_penalty", NAN, ValueError),
    ("length_penalty", "x", TypeError),
    ("min_decoding_length", -1, ValueError),
    ("min_decoding_length", 300, ValueError),  # above the maximum
    ("max_decoding_length", 0, ValueError),
    ("max_decoding_length", 1.5, TypeError),
    ("source", spoilt(np.ones(5, np.int32), 7), ValueError),
    ("source", spoilt(np.ones(5, np.int32), -1), ValueError),
    ("source", np.ones(5, np.float32), TypeError),
    ("source_lengths", np.array([2, 2]), ValueError),
    ("source_lengths", np.array([5, 0]), ValueError),
    ("source_lengths", np.array([6, -1]), ValueError),
    ("source_lengths", np.array([2.0, NAN]), TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), DECODING)
def test_generate(model: Seq2Seq, name: str, value: Any, error: type[Exception]) -> None:
    good: dict[str, Any] = {
        "source": np.ones(5, np.int32),
        "source_lengths": np.array([2, 3]),
        "beam_size": 2,
    }
    with pytest.raises(error) as caught:
        model.generate(**good | {name: value})
    assert_says(caught.value, name, *(["source"] if name == "source_lengths" else []))


def test_generate_for_nobody(model: Seq2Seq) -> None:
    with pytest.raises(ValueError) as caught:
        model.generate(NONE, NONE)
    assert_says(caught.value, "source_lengths", "batch")


ENCODING: list[tuple[str, Any, type[Exception]]] = [
    ("source", spoilt(np.ones(5, np.int32), 7), ValueError),
    ("source", None, TypeError),
    ("source_lengths", NONE, ValueError),
    ("source_lengths", 5, TypeError),
    ("source_lengths", np.array([[2, 3]]), ValueError),
    ("source_lengths", np.array([2.0, NAN]), TypeError),
    ("max_rows", 1, ValueError),  # of two sources
    ("max_rows", -1, ValueError),
    ("max_rows", 2**62, ValueError),  # once it overflowed
    ("max_rows", 2**70, ValueError),
    ("max_rows", 2.0, TypeError),  # once it crashed
    ("max_rows", "2", TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), ENCODING)
def test_encode(model: Seq2Seq, name: str, value: Any, error: type[Exception]) -> None:
    good: dict[str, Any] = {"source": np.ones(5, np.int32), "source_lengths": np.array([2, 3]), "max_rows": 4}
    with pytest.raises(error) as caught:
        model.encode(**good | {name: value})
    assert_says(caught.value, name, *(["source"] if name == "source_lengths" else []))


STEPS: list[tuple[str, Any, type[Exception]]] = [
    ("state", None, TypeError),
    ("tokens", NONE, ValueError),
    ("tokens", 1, TypeError),
    ("tokens", [1, 1], TypeError),
    ("tokens", np.array([[1, 1]]), ValueError),
    ("tokens", np.array([1, 9]), ValueError),
    ("tokens", np.array([1, -1]), ValueError),
    ("tokens", np.array([1.0, NAN]), TypeError),
    ("tokens", np.ones(5, np.int32), ValueError),  # more than max_rows
    ("parents", NONE, ValueError),
    ("parents", np.array([0, 2]), ValueError),
    ("parents", np.array([0, -1]), ValueError),
    ("parents", np.array([0, 1, 1]), ValueError),
    ("parents", 0, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), STEPS)
def test_step(model: Seq2Seq, name: str, value: Any, error: type[Exception]) -> None:
    good: dict[str, Any] = {
        "state": model.encode(np.ones(5, np.int32), np.array([2, 3]), max_rows=4),
        "tokens": np.ones(2, np.int32),
        "parents": np.arange(2),
    }
    if name == "tokens" and np.size(value) == 5:
        good["parents"] = np.zeros(5, np.int32)
    with pytest.raises(error) as caught:
        model.decoder.step(**good | {name: value})
    assert_says(caught.value, name, *(["parents"] if name == "tokens" else ["tokens"]))
