"""The search whose loop runs on the device finds, to the bit, what the loop on the host finds."""

from __future__ import annotations

import numpy as np
import pytest

import seq2seq_fast as s2s
from seq2seq_fast.model import Seq2SeqConfig

NETWORKS = {
    "attention": {"input_feeding": True},
    "mean, GRU": {
        "context": "mean",
        "input_feeding": False,
        "encoder_cell": "gru",
        "decoder_cell": "gru",
        "decoder_layers": 2,
    },
    "deep": {
        "encoder_layers": 2,
        "decoder_layers": 3,
        "residual": True,
        "layer_norm": True,
        "zoneout_hidden": 0.1,
        "zoneout_cell": 0.3,
    },
}
OPTIONS = {
    "greedy": {"beam_size": 1},
    "beam": {"beam_size": 3, "num_hypotheses": 3},
    "wide": {"beam_size": 40, "num_hypotheses": 2, "max_decoding_length": 5},
    "patient": {"beam_size": 2, "patience": 2.0, "length_penalty": 0.5},
    "endless": {"beam_size": 2, "patience": float("inf"), "max_decoding_length": 6},
    "penalised": {"beam_size": 4, "num_hypotheses": 2, "length_penalty": -1.0},
    "minimum": {"beam_size": 3, "min_decoding_length": 4},
    "no minimum": {"beam_size": 3, "min_decoding_length": 0, "num_hypotheses": 2},
    "vocabulary": {"beam_size": 3, "vocabulary": np.array([2, 5, 7, 11], np.int32)},
    "short": {"beam_size": 2, "max_decoding_length": 1},
}


def _model(network: str) -> s2s.Seq2Seq:
    config = Seq2SeqConfig(
        target_vocab_size=45,
        source_vocab_size=20,
        source_embedding_dim=8,
        target_embedding_dim=8,
        encoder_hidden=8,
        decoder_hidden=8,
        **NETWORKS[network],  # type: ignore[arg-type]
    )
    model = s2s.Seq2Seq(config, seed=3)
    rng = np.random.default_rng(0)
    for name, values in model.native.state().items():
        changed = (values + rng.normal(0, 0.4, values.shape)).astype(np.float32)
        if name == "decoder.output.bias":
            changed[2] += 4.0 if network == "deep" else 2.5  # some hypotheses end
        model.native.load_parameter(name, changed)
    return model


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_equals_the_host(network: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(network)
    rng = np.random.default_rng(1)
    lengths = np.array([4, 1, 7, 3], np.int32)
    source = rng.integers(4, 20, lengths.sum(), dtype=np.int32)
    arguments = {"max_decoding_length": 12} | OPTIONS[options]
    found = {}
    for where in ("0", "1"):
        monkeypatch.setenv("S2S_DEVICE_LOOP", where)
        found[where] = model.generate(source, lengths, **arguments)  # type: ignore[arg-type]
    assert any(h.finished for per_source in found["0"] for h in per_source) or options in ("minimum", "short")
    for on_host, on_device in zip(found["0"], found["1"], strict=True):
        assert [h.tokens for h in on_host] == [h.tokens for h in on_device]
        assert [h.score for h in on_host] == [h.score for h in on_device]
        assert [h.finished for h in on_host] == [h.finished for h in on_device]
        for a, b in zip(on_host, on_device, strict=True):
            np.testing.assert_array_equal(a.token_scores, b.token_scores)


def test_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("attention")
    bias = model.native.state()["decoder.output.bias"]
    bias[3] = np.nan
    model.native.load_parameter("decoder.output.bias", bias)
    monkeypatch.setenv("S2S_DEVICE_LOOP", "1")
    with pytest.raises(RuntimeError, match="NaN at step 0"):
        model.generate(np.array([4, 5], np.int32), np.array([2], np.int32), beam_size=2)


def test_many_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that several threads replay what the device computed, each for its own sources."""
    model = _model("attention")
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 5, 130, dtype=np.int32)
    source = rng.integers(4, 20, lengths.sum(), dtype=np.int32)
    found = {}
    for where in ("0", "1"):
        monkeypatch.setenv("S2S_DEVICE_LOOP", where)
        found[where] = model.generate(source, lengths, beam_size=3, num_hypotheses=2, max_decoding_length=14)
    assert len(found["1"]) == len(lengths)
    for on_host, on_device in zip(found["0"], found["1"], strict=True):
        assert [(h.tokens, h.score) for h in on_host] == [(h.tokens, h.score) for h in on_device]
