"""Sessions: a decoder led by hand, forked, saved and restored, and the search's own numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_fast import Translator
from seq2seq_fast.files import save_model
from seq2seq_fast.search import beam_search
from test_translator import SOURCE, TARGET, make, sentences

KINDS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru mlp, two layers": {
        "encoder_cell": "gru",
        "decoder_cell": "gru",
        "attention_score": "mlp",
        "decoder_layers": 2,
    },
    "coverage": {"attention_score": "mlp", "coverage": True},
    "location": {"attention_score": "mlp", "location_filters": 2, "location_width": 3},
    "location of the last step, short memory": {
        "attention_score": "mlp",
        "location_filters": 2,
        "location_width": 3,
        "location_cumulative": False,
        "encoder_pyramid": "2",
    },
    "copying": {"copy_attention": True},
    "no attention": {"context": "last", "input_feeding": False},
}


def save(folder: Path, kind: str) -> Path:
    model = make(source_vocab_size=len(SOURCE.vocabulary), **KINDS[kind])
    save_model(folder / "model", model, source=SOURCE, target=TARGET)
    return folder / "model"


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models"), request.param)


@pytest.fixture(scope="module")
def translator(folder: Path) -> Iterator[Translator]:
    with Translator(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Translator]:
    with Translator(save(tmp_path_factory.mktemp("models"), "lstm")) as opened:
        yield opened


def bits(values: Any) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def test_a_search_by_hand_is_the_search(translator: Translator) -> None:
    source = sentences(3)
    results = translator.translate_batch(
        source, beam_size=3, num_hypotheses=3, max_decoding_length=8, return_scores=True
    )
    session = translator.start(source)

    def step(parents: Any, tokens: Any) -> Any:
        return session.log_probs if (tokens == 1).all() else session.step(tokens.tolist(), parents)

    found = beam_search(
        step,
        batch_size=3,
        vocab_size=session.log_probs.shape[1],
        bos_id=1,
        eos_id=2,
        beam_size=3,
        num_hypotheses=3,
        max_decoding_length=8,
    )
    for result, hypotheses in zip(results, found, strict=True):
        assert result.ids == [h.tokens for h in hypotheses]
        np.testing.assert_allclose(result.scores, [h.score for h in hypotheses], rtol=1e-5)


def test_rows_move_as_told(translator: Translator) -> None:
    session = translator.start(sentences(2))
    assert len(session) == 2 and session.tokens == [[], []] and session.sources == [0, 1]
    session.step(["a", "b"])
    session.step([6, 7, 8, 9, 10], [1, 1, 0, 0, 0])  # more rows than ever before
    assert session.sources == [1, 1, 0, 0, 0] and len(session) == 5
    a, b = TARGET.vocabulary.encode(["a", "b"])
    assert session.tokens == [[b, 6], [b, 7], [a, 8], [a, 9], [a, 10]]
    # As if each had been alone.
    for row, (source, tokens) in enumerate(zip(session.sources, session.tokens, strict=True)):
        alone = translator.start([sentences(2)[source]])
        for token in tokens:
            last = alone.step(token)
        width = alone.log_probs.shape[1]
        assert bits(last[0]) == bits(alone.log_probs[0]) == bits(session.log_probs[row, :width])
    session.step(["c"], [4])
    assert len(session) == 1 and session.tokens == [[a, 10, *TARGET.vocabulary.encode(["c"])]]


def test_steps_of_any_iterable(lstm: Translator) -> None:
    one, two = lstm.start(sentences(2)), lstm.start(sentences(2))
    expected = one.step([5, 6, 7], [1, 0, 1])
    assert bits(two.step(iter([5, 6, 7]), iter([1, 0, 1]))) == bits(expected)
    assert bits(two.step(iter("abc"))) == bits(one.step(list("abc")))


def test_forks_go_their_own_ways(translator: Translator) -> None:
    session = translator.start(sentences(2))
    session.step(["a", "b"])
    fork = session.fork()
    assert bits(fork.log_probs) == bits(session.log_probs)
    before = bits(session.log_probs)
    fork.step(["c", "d"])
    assert bits(session.log_probs) == before and session.tokens != fork.tokens
    assert bits(session.step(["c", "d"])) == bits(fork.log_probs)
    if session.attention is not None:
        assert bits(session.attention) == bits(fork.attention)
    twice = fork.fork()
    fork.step(["e", "f"], [1, 0])
    session.step(["e", "f"], [1, 0])
    assert bits(session.log_probs) == bits(fork.log_probs) != bits(twice.log_probs)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_saved_and_restored(folder: Path, translator: Translator, steps: int) -> None:
    session = translator.start(sentences(2))
    for step in range(steps):
        session.step([4 + step, 5, 6], [0, 1, 1])
    saved = session.save()
    with Translator(folder) as other:
        again = other.restore(saved)
        assert (again.tokens, again.sources) == (session.tokens, session.sources)
        assert bits(again.log_probs) == bits(session.log_probs)
        for token in (5, 7, 4):
            parents = list(range(len(session)))[::-1]
            rows = [token] * len(session)
            assert bits(again.step(rows, parents)) == bits(session.step(rows, parents))
        assert again.save() == session.save()


def test_another_process_goes_on(folder: Path, translator: Translator, tmp_path: Path) -> None:
    session = translator.start(sentences(2))
    session.step(["a", "b", "c"], [0, 0, 1])
    (tmp_path / "session").write_bytes(session.save())
    script = """
import sys
from seq2seq_fast import Translator
folder, place, device = sys.argv[1:]
with Translator(folder, device=device) as translator:
    session = translator.restore(open(f"{place}/session", "rb").read())
    rows = [session.log_probs, session.step(["d", "e", "f"])]
    open(f"{place}/rows", "wb").write(b"".join(row.tobytes() for row in rows))
"""
    subprocess.run(
        [sys.executable, "-c", script, os.fspath(folder), os.fspath(tmp_path), translator.device],
        check=True,
        timeout=300,
    )
    expected = bits(session.log_probs) + bits(session.step(["d", "e", "f"]))
    assert (tmp_path / "rows").read_bytes() == expected


def test_altered_bytes_are_refused(lstm: Translator) -> None:
    session = lstm.start(sentences(2))
    session.step(["a", "b"])
    saved = session.save()
    assert lstm.restore(bytearray(saved)).tokens == session.tokens
    for place in (30, 100, len(saved) // 2, len(saved) - 40, len(saved) - 1):
        wrong = bytearray(saved)
        wrong[place] ^= 1
        with pytest.raises(ValueError, match=r"\[restore\] Expected the bytes of a session as they were"):
            lstm.restore(bytes(wrong))
    for length in (len(saved) - 1, len(saved) // 2, 40, 30):
        with pytest.raises(ValueError, match=r"\[restore\] Expected the bytes of a session"):
            lstm.restore(saved[:length])
    for other in (b"", b"something else", saved[1:]):
        with pytest.raises(ValueError, match="Expected the bytes of a session, got others"):
            lstm.restore(other)
    with pytest.raises(TypeError, match="saved as bytes, got str"):
        lstm.restore("text")  # type: ignore[arg-type]


def test_another_model_is_refused(lstm: Translator, tmp_path: Path) -> None:
    saved = lstm.start(sentences(1)).save()
    model = make(source_vocab_size=len(SOURCE.vocabulary))
    model.parameters()["decoder.output.bias"][3] += 1e-3
    save_model(tmp_path / "weights", model, source=SOURCE, target=TARGET)
    save_model(tmp_path / "int8", model, source=SOURCE, target=TARGET, compute_type="int8")
    for name, what in (("weights", "weights"), ("int8", "compute_type")):
        with (
            Translator(tmp_path / name) as other,
            pytest.raises(ValueError, match=f"a session of this model: its {what} is another"),
        ):
            other.restore(saved)


@pytest.mark.parametrize(
    ("tokens", "parents", "error", "message"),
    [
        (["a"], None, ValueError, "tokens for 2 rows, got 1"),
        (["a", "nope"], None, ValueError, "tokens of the target vocabulary, got 'nope'"),
        ([4, 99], None, ValueError, "ids from 0 to 16, got 99"),
        ([4, 1.5], None, TypeError, "strings or ids, got float"),
        ([4, True], None, TypeError, "strings or ids, got bool"),
        ([4], [2], ValueError, "parents from 0 to 1, got 2"),
        ([4], [-1], ValueError, "parents from 0 to 1, got -1"),
        ([4], [0.0], TypeError, "parents as integers, got dtype float64"),
        ([], [], ValueError, "parents of at least one row"),
        ([4], 1, TypeError, "parents as a list, got int"),
        (1.5, None, TypeError, "tokens as a list, got float"),
        (iter([4]), None, ValueError, "tokens for 2 rows, got 1"),
    ],
)
def test_bad_steps(lstm: Translator, tokens: Any, parents: Any, error: type[Exception], message: str) -> None:
    session = lstm.start(sentences(2))
    before = bits(session.log_probs)
    with pytest.raises(error, match=rf"\[step\] Expected .*{message}"):
        session.step(tokens, parents)
    assert bits(session.log_probs) == before and session.tokens == [[], []]


def test_bad_starts(lstm: Translator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[start\] Expected at least one source"):
        lstm.start([])
    with pytest.raises(ValueError, match=r"\[start\] Expected source 1 of at least one token"):
        lstm.start([["w1"], []])
    path = save(tmp_path, "lstm")
    with Translator([path, path]) as ensemble, pytest.raises(ValueError, match="a translator of one model"):
        ensemble.start([["w1"]])
    closed = Translator(path)
    session = closed.start([["w1"]])
    closed.close()
    session.step("a")  # has what it needs
    with pytest.raises(RuntimeError, match="closed"):
        closed.start([["w1"]])
