"""Ensembles: their scores and searches against the mean of what the members say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import assert_close
from networks import batch_for, random_parameters, small_network
from place import DEVICE
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.data import Batch
from seq2seq_fast.search import beam_search
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

ROW = {
    "encoder_cell": "lstm",
    "decoder_cell": "gru",
    "bidirectional": True,
    "context": "attention",
    "attention_score": "general",
    "bridge": "dense",
    "source": "tokens",
}
MEMBERS: list[dict[str, Any]] = [  # whose insides have little in common
    {},
    {"decoder_cell": "lstm", "decoder_layers": 2, "attention_score": "mlp", "coverage": True},
    {"encoder_cell": "gru", "bidirectional": False, "input_feeding": False, "tie_output": True},
]
OPTIONS = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 7}


@pytest.fixture(params=[False, True], ids=["plain", "copying"])
def members(request: pytest.FixtureRequest, rng: np.random.Generator, tmp_path: Path) -> list[Any]:
    """Models and their folders."""
    found = []
    for i, changes in enumerate(MEMBERS):
        config = small_network(ROW | changes | {"copy_attention": request.param})
        model = Seq2Seq(Seq2SeqConfig(**config))
        for name, value in random_parameters(model.config, rng, 3.0).items():
            model.parameters()[name][...] = value
        model.save(tmp_path / str(i))
        found.append((model, tmp_path / str(i)))
    return found


def mean(kind: str, log_probs: list[np.ndarray]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        if kind == "probability":
            return np.log(np.mean([np.exp(p.astype(np.float64)) for p in log_probs], axis=0))
        return np.mean([p.astype(np.float64) for p in log_probs], axis=0)


def opened(members: list[Any], kind: str) -> Translator:
    return Translator([folder for _, folder in members], ensemble_mean=kind)


@pytest.mark.parametrize("kind", ["probability", "log_probability"])
def test_search_and_scores(members: list[Any], kind: str, rng: np.random.Generator) -> None:
    models = [model for model, _ in members]
    o = models[0].config
    ragged = batch_for(o, rng, 5, 7, 5)
    batch = Batch(**vars(ragged))
    with opened(members, kind) as translator:
        found = translator.generate(batch.source, batch.source_lengths, copies=batch.copies, **OPTIONS)
        scores = translator.score(batch)
        alone = [
            translator.generate(one.source, one.source_lengths, copies=one.copies, **OPTIONS)[0]
            for one in (ragged.take([r]) for r in range(5))
        ]
    assert_close(scores, mean(kind, [model.score(batch) for model in models]), "scores", factor=3)

    states = [
        model.encode(batch.source, batch.source_lengths, max_rows=15, copies=batch.copies) for model in models
    ]

    def step(parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        pairs = zip(models, states, strict=True)
        each = [model.decoder.step(state, tokens, parents)[0] for model, state in pairs]
        return mean(kind, each).astype(np.float32)

    width = o.target_vocab_size if batch.copies is None else int(batch.copies.max()) + 1
    expected = beam_search(step, batch_size=5, vocab_size=width, bos_id=o.bos_id, eos_id=o.eos_id, **OPTIONS)
    for ours, theirs, one in zip(found, expected, alone, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert np.allclose([h.log_prob for h in ours], [h.log_prob for h in theirs], rtol=1e-5)
        if not DEVICE.rounds("float16"):
            assert [h.tokens for h in one] == [h.tokens for h in ours]
            assert [h.log_prob for h in one] == [h.log_prob for h in ours]


def test_one_member_is_that_model(members: list[Any], rng: np.random.Generator) -> None:
    model, folder = members[0]
    batch = Batch(**vars(batch_for(model.config, rng, 5, 7, 5)))
    with Translator([folder]) as one, Translator(folder) as plain:
        for translator in (one, plain):
            assert np.array_equal(translator.score(batch), plain.score(batch))
            found = translator.generate(batch.source, batch.source_lengths, copies=batch.copies, **OPTIONS)
            expected = model.generate(batch.source, batch.source_lengths, copies=batch.copies, **OPTIONS)
            assert [[h.tokens for h in hs] for hs in found] == [[h.tokens for h in hs] for hs in expected]


def test_attention_is_the_mean(members: list[Any], rng: np.random.Generator) -> None:
    models = [model for model, _ in members]
    batch = Batch(**vars(batch_for(models[0].config, rng, 3, 6, 4)))
    with opened(members, "probability") as translator:
        found = translator.generate(
            batch.source, batch.source_lengths, copies=batch.copies, beam_size=1, max_decoding_length=1,
            min_decoding_length=1, return_attention=True,
        )  # fmt: skip
    each = []
    for model in models:
        state = model.encode(batch.source, batch.source_lengths, copies=batch.copies)
        each.append(model.decoder.step(state)[1])
    for row, length, (best,) in zip(np.mean(each, axis=0), batch.source_lengths, found, strict=True):
        assert_close(best.attention[0], row[:length].astype(np.float64), "attention", factor=3)


def test_vocabulary_and_text(members: list[Any], rng: np.random.Generator, tmp_path: Path) -> None:
    words = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefg"]
    source = TextField(SpaceTokenizer(), Vocabulary(words))
    target = TextField(SpaceTokenizer(), Vocabulary(words[:9]))
    for i, (model, _) in enumerate(members):
        model.save(tmp_path / f"text{i}", source=source, target=target)
    with Translator([tmp_path / f"text{i}" for i in range(3)]) as translator:
        (result,) = translator.translate_batch([["a", "g"]], vocabulary=["b", "c"], max_decoding_length=6)
        assert result.hypotheses[0] and set(result.hypotheses[0]) <= {"b", "c", "g"}


def test_members_must_fit(members: list[Any], tmp_path: Path) -> None:
    model, folder = members[0]
    other = Seq2Seq(Seq2SeqConfig(source_vocab_size=11, target_vocab_size=12))
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="one target_vocab_size, got 9 and 12"):
        Translator([folder, tmp_path / "other"])
    words = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefg"]
    for name, order in (("x", words), ("y", [*words[:4], *words[:3:-1]])):
        field = TextField(SpaceTokenizer(), Vocabulary(order))
        target = TextField(SpaceTokenizer(), Vocabulary(words[:9]))
        model.save(tmp_path / name, source=field, target=target)
    with pytest.raises(ValueError, match="one source vocabulary"):
        Translator([tmp_path / "x", tmp_path / "y"])
    with pytest.raises(ValueError, match="at least one folder"):
        Translator([])
    with pytest.raises(ValueError, match="ensemble_mean"):
        Translator(folder, ensemble_mean="median")
    with pytest.raises(FileNotFoundError):
        Translator([folder, tmp_path / "none"])


def test_on_the_command_line(members: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from seq2seq_fast.cli import main

    words = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefg"]
    source = TextField(SpaceTokenizer(), Vocabulary(words))
    target = TextField(SpaceTokenizer(), Vocabulary(words[:9]))
    command = ["translate", "--src", str(tmp_path / "in.txt"), "--with_score"]
    for i, (model, _) in enumerate(members):
        model.save(tmp_path / f"text{i}", source=source, target=target)
        command += ["--model", str(tmp_path / f"text{i}")]
    (tmp_path / "in.txt").write_text("a b c\ng\n")
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*command, "--ensemble_mean", "log_probability", "--max_length", "5", "--min_length", "1"])
    lines = capsys.readouterr().out.splitlines()
    with Translator([tmp_path / f"text{i}" for i in range(3)], ensemble_mean="log_probability") as translator:
        results = translator.translate_batch(
            [["a", "b", "c"], ["g"]], beam_size=5, max_decoding_length=5, return_scores=True
        )
    texts = [" ".join(t for t in r.hypotheses[0] if t not in ("<pad>", "<s>", "</s>")) for r in results]
    assert lines == [f"{r.scores[0]:.4f} ||| {text}" for r, text in zip(results, texts, strict=True)]
