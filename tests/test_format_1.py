"""A model of file format 1, written by the first version, loads and says what it said then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from seq2seq_fast.files import load_model

FOLDER = Path(__file__).parent / "fixtures" / "format_1"


def test_format_1_loads_and_reproduces_its_outputs() -> None:
    saved = load_model(FOLDER)
    assert saved.source is not None and saved.target is not None
    expected = json.loads((FOLDER / "outputs.json").read_text())
    sources = [saved.source.encode(entry["source"]) for entry in expected]
    lengths = np.array([len(ids) for ids in sources], np.int32)
    found = saved.model.generate(
        np.concatenate(sources), lengths, beam_size=4, num_hypotheses=2, return_attention=True
    )
    assert len(found) == len(expected)
    for hypotheses, entry in zip(found, expected, strict=True):
        assert len(hypotheses) == len(entry["hypotheses"])
        assert saved.target.decode(hypotheses[0].tokens) == " ".join(reversed(entry["source"]))
        for hypothesis, want in zip(hypotheses, entry["hypotheses"], strict=True):
            assert saved.target.decode(hypothesis.tokens) == want["text"]
            # Another instruction set sums in another order.
            np.testing.assert_allclose(hypothesis.score, want["score"], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(hypothesis.token_scores, want["token_scores"], rtol=1e-3, atol=1e-5)
            assert hypothesis.attention is not None
            np.testing.assert_allclose(hypothesis.attention, want["attention"], atol=1e-5)
