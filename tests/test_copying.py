"""Networks that copy: losses, gradients and search against the reference and PyTorch; text in, text out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, bits, double
from models import as_batch, double_parameters, make_model
from network_checks import SMOOTHING, check_gradients, check_pytorch, check_reference
from networks import OPTIONS, Ragged, batch_for, name_of, pairwise, small_network
from place import size
from reference import copying, network
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.copying import CopySource
from seq2seq_fast.corpus import cached_tsv
from seq2seq_fast.data import Batch, Dataset
from seq2seq_fast.search import beam_search
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.tsv import read_tsv
from seq2seq_fast.vocab import Vocabulary

ROWS = [  # what is between the attention and the output, and around it
    row | {"copy_attention": True}
    for row in pairwise(
        {name: values for name, values in OPTIONS.items() if not name.startswith("encoder")}
        | {"context": ["attention"], "source": ["tokens"]},
        seed=3,
    )
]


def small(rng: np.random.Generator, row: dict[str, Any] = ROWS[0], count: int = 5) -> tuple[Seq2Seq, Ragged]:
    model = make_model(small_network(row), rng)
    return model, batch_for(model.config, rng, count, 7, 5)


def test_batches_have_what_the_tests_are_about(rng: np.random.Generator) -> None:
    o = Seq2SeqConfig(**small_network(ROWS[0]))
    batch = batch_for(o, rng, 20, 7, 5)
    assert batch.copies is not None
    assert any(len(set(ids)) < len(ids) for ids in batch.copied())
    assert (batch.target >= o.target_vocab_size).any() and (batch.copies < o.target_vocab_size).any()
    assert len({int(ids.max()) for ids in batch.copied()}) > 1


@pytest.mark.parametrize("row", ROWS[:4], ids=name_of)
def test_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    o = reference.Options(**small_network(row))
    check_reference(o, batch_for(o, rng, 3, 5, 4), rng)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_loss_gradients_and_scores(row: dict[str, Any], dropout: float, rng: np.random.Generator) -> None:
    model = make_model(small_network(row) | {"dropout": dropout}, rng)
    o, batch = model.config, batch_for(model.config, rng, 5, 7, 5)
    params = double_parameters(model)

    check_gradients(model, batch, factor=2)
    scores, correct = [], 0
    for (source, target, _), ids in zip(batch.pairs(), batch.copied(), strict=True):
        scores += copying.sequence(o, params, source, ids, target, SMOOTHING)[1]
        at = network.start_decoding(o, params, *reference.encode(o, params, source))
        for before, token in zip([o.bos_id, *target[:-1]], target, strict=True):
            log_p = copying.log_probs(*copying.step(o, params, at, int(before), ids), ids, 20)
            correct += int(log_p.argmax() == token)
    assert_close(model.score(as_batch(batch)), np.array(scores), "scores")
    result = model.loss(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.nll, -np.sum(scores), "nll")
    assert result.correct == correct


@pytest.mark.parametrize(("score", "feeding", "tied"), [("general", True, False), ("mlp", False, True)])
def test_agrees_with_pytorch(
    torch: Any, rng: np.random.Generator, score: str, feeding: bool, tied: bool
) -> None:
    options = {
        "source_vocab_size": 60,
        "target_vocab_size": size(1100, 130),
        "source_embedding_dim": size(48, 12),
        "target_embedding_dim": size(40, 10),
        "encoder_hidden": size(64, 16),
        "decoder_hidden": size(96, 20),
        "attention_score": score,
        "input_feeding": feeding,
        "tie_output": tied,
        "copy_attention": True,
    }
    model = make_model(options, rng, scale=1.0)
    batch = batch_for(model.config, rng, 9, *size((40, 12), (9, 5)))
    check_pytorch(model, batch)


def test_improbable_targets_have_finite_gradients(rng: np.random.Generator) -> None:
    """The gate all but shut, and a softmax that gives the target nothing."""
    model, batch = small(rng)
    views = model.parameters()
    for bias, hot in ((-80.0, 0.0), (80.0, 0.0), (-80.0, 90.0), (80.0, 90.0)):
        views["decoder.copy.bias"][...] = bias
        views["decoder.output.bias"][...] = np.where(np.arange(model.config.target_vocab_size) == 5, hot, 0)
        result = model.forward_backward(as_batch(batch))
        assert np.isfinite(result.loss)
        assert all(np.isfinite(g).all() for g in model.gradients().values())


@pytest.mark.parametrize("row", ROWS[:6], ids=name_of)
def test_greedy_follows_the_reference(row: dict[str, Any], rng: np.random.Generator) -> None:
    model = make_model(small_network(row), rng, scale=3.0)
    model.parameters()["decoder.copy.bias"][...] = 4  # copy often
    o, batch, params = model.config, batch_for(model.config, rng, 12, 7, 3), double_parameters(model)
    found = model.generate(
        batch.source,
        batch.source_lengths,
        copies=batch.copies,
        beam_size=1,
        min_decoding_length=0,
        max_decoding_length=8,
        return_attention=True,
    )
    assert any(token >= o.target_vocab_size for (best,) in found for token in best.tokens)
    for (source, _, _), ids, (best,) in zip(batch.pairs(), batch.copied(), found, strict=True):
        at = network.start_decoding(o, params, *reference.encode(o, params, source))
        token, scores, tokens = o.bos_id, [], []
        while len(scores) < 8 and (not tokens or tokens[-1] != o.eos_id):
            logits, weights, c = copying.step(o, params, at, token, ids)
            log_p = copying.log_probs(logits, weights, c, ids, 20)
            token = int(log_p.argmax())
            tokens.append(token)
            scores.append(log_p[token])
        assert [*best.tokens, *([o.eos_id] if best.finished else [])] == tokens
        assert_close(best.token_scores, np.array(scores), "token scores", factor=20)  # near to zero


@pytest.mark.parametrize("row", ROWS[:3], ids=name_of)
def test_beam_search_is_that_over_its_own_steps(row: dict[str, Any], rng: np.random.Generator) -> None:
    """The same search over `decoder.step`, whose scores the reference has checked below."""
    model, batch = small(rng, row)
    o = model.config
    assert batch.copies is not None
    width = int(batch.copies.max()) + 1
    options = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 7}
    found = model.generate(batch.source, batch.source_lengths, copies=batch.copies, **options)
    state = model.encode(batch.source, batch.source_lengths, max_rows=15, copies=batch.copies)

    def step(parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return model.decoder.step(state, tokens, parents)[0]

    expected = beam_search(step, batch_size=5, vocab_size=width, bos_id=o.bos_id, eos_id=o.eos_id, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert [h.log_prob for h in ours] == [h.log_prob for h in theirs]


def test_steps_follow_the_reference(rng: np.random.Generator) -> None:
    model, batch = small(rng, count=4)
    o, params = model.config, double_parameters(model)
    assert batch.copies is not None
    width = int(batch.copies.max()) + 1
    state = model.encode(batch.source, batch.source_lengths, max_rows=6, copies=batch.copies)
    at = [
        network.start_decoding(o, params, *reference.encode(o, params, source))
        for source, _, _ in batch.pairs()
    ]
    of, tokens, parents = [0, 1, 2, 3], [o.bos_id] * 4, [0, 1, 2, 3]
    for _ in range(4):
        log_probs, _ = model.decoder.step(state, np.array(tokens), np.array(parents))
        at, of = [copy.copy(at[p]) for p in parents], [of[p] for p in parents]
        for row, a, n, token in zip(log_probs, at, of, tokens, strict=True):
            ids = batch.copied()[n]
            expected = copying.log_probs(*copying.step(o, params, a, token, ids), ids, width)
            possible = np.isfinite(expected)
            assert np.all(row[~possible] == -np.inf)
            assert_close(row[possible], expected[possible], "log P")
        rows = int(rng.integers(2, 7))
        parents = rng.integers(0, len(at), rows).tolist()
        tokens = rng.integers(0, width, rows).tolist()


def test_company_changes_nothing(own_products: None, rng: np.random.Generator, threads: Any) -> None:
    """Alone and beside sources with more tokens of their own, with one thread and two, the same bits."""
    model, batch = small(rng, count=7)
    options = {"beam_size": 4, "num_hypotheses": 4, "max_decoding_length": 6}
    results = []
    for count in (1, 2):
        threads(count)
        found = model.generate(batch.source, batch.source_lengths, copies=batch.copies, **options)
        together = [[(h.tokens, h.log_prob, bits(h.token_scores)) for h in one] for one in found]
        scores = np.split(model.score(as_batch(batch)), np.cumsum(batch.target_lengths)[:-1])
        for r in range(7):
            one = batch.take([r])
            (alone,) = model.generate(one.source, one.source_lengths, copies=one.copies, **options)
            assert [(h.tokens, h.log_prob, bits(h.token_scores)) for h in alone] == together[r]
            assert np.array_equal(model.score(as_batch(one)), scores[r])
        model.forward_backward(as_batch(batch), label_smoothing=SMOOTHING)
        results.append((together, bits(model.gradients())))
    assert results[0] == results[1]


def test_vocabulary(rng: np.random.Generator) -> None:
    """Of the vocabulary only what is listed comes out, generated or copied; what is outside may be copied."""
    model, batch = small(rng)
    o, listed = model.config, np.array([2, 4, 7], np.int32)
    found = model.generate(
        batch.source, batch.source_lengths, copies=batch.copies, beam_size=4, vocabulary=listed
    )
    tokens = {token for (best, *_) in found for token in best.tokens}
    assert tokens and all(token in listed or token >= o.target_vocab_size for token in tokens)


@pytest.mark.parametrize("compute_type", ["float16", "bfloat16", "int8"])
def test_compute_types(compute_type: str, rng: np.random.Generator, tmp_path: Path) -> None:
    model, batch = small(rng)
    model.save(tmp_path / "m")
    with Translator(tmp_path / "m", "cpu", compute_type=compute_type) as translator:
        scores = translator.score(as_batch(batch))
    assert np.abs(scores - model.score(as_batch(batch))).max() < {"int8": 0.5}.get(compute_type, 0.1)


def test_bad_input(rng: np.random.Generator) -> None:
    model, batch = small(rng, count=12)
    o, good = model.config, as_batch(batch)
    assert good.copies is not None
    fields = vars(batch)
    for change, message in [
        ({"copies": None}, "Expected copies"),
        ({"copies": good.copies[:-1]}, "Expected copies of shape"),
        ({"copies": good.copies - 100}, "Expected copies from 0 to"),
        ({"copies": good.copies + 100}, "Expected copies from 0 to"),
        ({"copies": np.minimum(good.copies, 3)}, "Expected target"),
        ({"target": np.full_like(good.target, o.target_vocab_size + 30)}, "Expected target from 0 to"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.loss(Batch(**(fields | change)))
    # A token outside the vocabulary that another source has.
    two = as_batch(batch.take([0, 1]))
    assert two.copies is not None
    first = int(two.source_lengths[0])
    two.copies[:first] = 4
    two.copies[first:] = o.target_vocab_size
    two.target[:] = o.target_vocab_size
    with pytest.raises(ValueError, match="which is in neither"):
        model.loss(two)
    plain = make_model(small_network(ROWS[0] | {"copy_attention": False}), rng)
    with pytest.raises(ValueError, match="does not copy"):
        plain.generate(batch.source, batch.source_lengths, copies=batch.copies)
    for wrong in ({"context": "mean"}, {"source_vocab_size": 0, "source_features": 4}, {"unk_id": 99}):
        with pytest.raises(ValueError, match="copy_attention"):
            Seq2Seq(Seq2SeqConfig(**(small_network(ROWS[0]) | wrong)))
    with pytest.raises(ValueError, match="copies as long"):
        Dataset.from_sequences([[1, 2]], [[3]], eos_id=2, copies=[[1]])


VOCABULARY = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", "to", "from", "fly"])


def test_copy_ids() -> None:
    """New tokens are numbered as they come; one that is spelt like a special token is a word like others."""
    tokens = ["fly", "from", "oslo", "to", "rome", "oslo", "</s>", "<unk>"]
    source = CopySource.of(tokens, VOCABULARY, eos=True)
    assert source.ids == [6, 5, 7, 4, 8, 7, 9, 10, 2]
    assert source.extra == ("oslo", "rome", "</s>", "<unk>")
    target = ["rome", "from", "oslo", "bern", "<unk>"]
    assert source.target_ids(target, VOCABULARY) == [8, 5, 7, 3, 10]
    assert VOCABULARY.decode([8, 5, 2, 7], extra=source.extra, skip_special_tokens=True) == [
        "rome",
        "from",
        "oslo",
    ]
    with pytest.raises(ValueError, match="from 0 to 10, got 11"):
        VOCABULARY.decode([11], extra=source.extra)


def test_a_cache_keeps_copies(tmp_path: Path) -> None:
    tokenizer = SpaceTokenizer()
    field = TextField(tokenizer, VOCABULARY)
    (tmp_path / "a.tsv").write_text("fly from oslo to rome\tto rome from oslo\nfly\tbern\n")
    plain = read_tsv(tmp_path / "a.tsv", field, field, copies=True)
    mapped = cached_tsv(tmp_path / "a.tsv", field, field, tmp_path / "cache", copies=True)
    for data in (plain, mapped):
        batch = data.batch([0, 1])
        assert batch.copies is not None
        assert batch.copies.tolist() == [6, 5, 7, 4, 8, 6]
        assert batch.target.tolist() == [4, 8, 5, 7, 2, 3, 2]
    assert plain.fingerprint() == mapped.fingerprint()
    assert plain.fingerprint() != read_tsv(tmp_path / "a.tsv", field, field).fingerprint()


def test_names_never_seen_are_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained by the command line: the towns of the test are in no vocabulary."""
    from seq2seq_fast.cli import main

    rng = np.random.default_rng(5)

    def towns(count: int, letters: str) -> list[str]:
        return ["".join(rng.choice(list(letters), 6)) for _ in range(count)]

    def pairs(names: list[str], count: int) -> str:
        chosen = (rng.choice(names, 2) for _ in range(count))
        return "".join(f"fly from {a} to {b} now\tflight to {b} from {a}\n" for a, b in chosen)

    (tmp_path / "train.tsv").write_text(pairs(towns(300, "abcdefgh"), size(1500, 300)))
    (tmp_path / "test.tsv").write_text(pairs(towns(20, "stuvwxyz"), 20))
    run = ["--out", str(tmp_path / "run"), "--train", str(tmp_path / "train.tsv")]
    sizes = ["--enc_hid_size", "32", "--dec_hid_size", "64", "--word_vec_size", "24"]
    options = ["--copy_attn", "--tgt_words_min_frequency", "200", "--src_words_min_frequency", "200"]
    steps = ["--learning_rate", "0.01", "--batch_size", "32", "--batch_type", "examples"]
    epochs = ["--max_epochs", str(size(4, 1)), "--device", "cpu"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", *run, *sizes, *options, *steps, *epochs])
    capsys.readouterr()
    evaluate = ["evaluate", "--model", str(tmp_path / "run"), "--data", str(tmp_path / "test.tsv")]
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*evaluate, "--metrics", "token_error_rate", "--device", "cpu"])
    rate = float(capsys.readouterr().out.split("token_error_rate")[1].split("%")[0])
    assert rate < size(10.0, 90.0)
    (tmp_path / "source").write_text("fly from zuxwyv to tsuvwx now\n")
    prefixed = ["translate", "--model", str(tmp_path / "run"), "--src", str(tmp_path / "source")]
    for prefix, code in (("flight zuxwyv", 0), ("flight zuxwyx", 2)):  # a token of the source, one of neither
        (tmp_path / "prefix").write_text(f"{prefix}\n")
        with pytest.raises(SystemExit, match=f"^{code}$"):
            main([*prefixed, "--target_prefix", str(tmp_path / "prefix"), "--device", "cpu"])
        out, err = capsys.readouterr()
        assert out.startswith(prefix) if code == 0 else "line 1: 'zuxwyx' is not in the target" in err
    with Translator(tmp_path / "run" / "last", "cpu") as translator:
        source = ["fly", "from", "zuxwyv", "to", "tsuvwx", "now"]
        (result,) = translator.translate_batch([source], beam_size=2)
        target = translator.target
        assert target is not None and "zuxwyv" not in target.vocabulary
        if rate < 10:
            assert result.hypotheses[0] == ["flight", "to", "tsuvwx", "from", "zuxwyv"]
        (by_ids,) = translator.translate_batch([translator.source.tokens_to_ids(source)], beam_size=2)
        assert "zuxwyv" not in by_ids.hypotheses[0]
        (score,) = translator.score_batch([source], [result.hypotheses[0]])
        assert score.tokens == [*result.hypotheses[0], "</s>"]
        expected = translator.translate_batch([source], beam_size=2, return_token_scores=True)
        assert_close(score.log_probs, double(expected[0].token_scores[0]), "scores")
        assert translator.translate_batch([[]])[0].hypotheses == [[]]
