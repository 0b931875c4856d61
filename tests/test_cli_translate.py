"""translate and score, on the toy task of spelling.py."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import spelling
from command_line import Run
from seq2seq_fast.decoding_presets import PRESETS as SEARCH_PRESETS
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from spelling import spelt, words


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spelling.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spelling.train(data, tmp_path_factory.mktemp("runs") / "run")


# ---- translate


def test_translate_lines(run: Run, trained: Path) -> None:
    asked = ["abc", "f", "deadbeef"[:6], "", "cab"]
    result = run("translate", "--model", trained, stdin="\n".join(asked) + "\n")
    assert result.code == 0
    assert len(result.lines) == 5
    assert result.lines[3] == ""
    right = sum(line == spelt(word) for line, word in zip(result.lines, asked, strict=True))
    assert right >= 4
    assert run("translate", "--model", trained / "best", stdin="\n".join(asked)).out == result.out
    with pytest.raises(
        FileNotFoundError, match=r"is a training run's, its models are in .*best and .*last\."
    ):
        Seq2Seq.load(trained)


@pytest.mark.big
def test_translate_does_not_depend_on_batches_or_threads(run: Run, trained: Path) -> None:
    text = "\n".join(words(40, 9))
    once = run("translate", "--model", trained, stdin=text).out
    assert (
        run("translate", "--model", trained, "--batch_size", 1, "--intra_threads", 1, stdin=text).out == once
    )
    assert (
        run("translate", "--model", trained, "--batch-size", 7, "--batch-type", "tokens", stdin=text).out
        == once
    )


def test_translate_files(run: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfab\r\ncd\r\n"))
    result = run(
        "translate", "--model", trained, "--src", tmp_path / "in.txt.gz", "--out", tmp_path / "out.txt"
    )
    assert (result.code, result.out) == (0, "")
    assert (tmp_path / "out.txt").read_text() == run("translate", "--model", trained, stdin="ab\ncd\n").out


def test_translate_unknown_characters_and_odd_lines(run: Run, trained: Path) -> None:
    result = run("translate", "--model", trained, stdin="a\u2028b\n\x0c\n日本\nno end")
    assert result.code == 0
    assert len(result.lines) >= 4


def test_translate_nothing(run: Run, trained: Path) -> None:
    result = run("translate", "--model", trained, stdin="")
    assert (result.code, result.out) == (0, "")


def test_translate_refuses_what_is_not_utf8(run: Run, trained: Path) -> None:
    result = run("translate", "--model", trained, "--batch_size", 1, stdin=b"ab\n\xff\n")
    assert result.code == 2
    assert "standard input, line 2: not UTF-8" in result.err
    assert len(result.lines) == 1


def test_n_best_and_scores(run: Run, trained: Path) -> None:
    result = run("translate", "--model", trained, "--n_best", 3, stdin="abc\n\nde\n")
    parts = [line.split(" ||| ") for line in result.lines]
    assert [p[0] for p in parts] == ["0"] * 3 + ["2"] * 3
    scores = [float(p[2]) for p in parts]
    assert scores[:3] == sorted(scores[:3], reverse=True)
    scored = run("translate", "--model", trained, "--with_score", stdin="abc\n\nde\n").lines
    assert scored == [f"{parts[0][2]} ||| {parts[0][1]}", "0.0000 ||| ", f"{parts[3][2]} ||| {parts[3][1]}"]


def test_json(run: Run, trained: Path) -> None:
    arguments = ("translate", "--model", trained, "--json", "--n_best", 2, "--with_attention")
    first, empty = run(*arguments, stdin="abcd\n\n").records
    assert first["source"] == "abcd"
    assert first["source_tokens"] == list("abcd")
    best, second = first["hypotheses"]
    assert best["score"] >= second["score"]
    assert best["text"].split() == best["tokens"]
    assert len(best["token_scores"]) == len(best["tokens"]) + 1
    assert sum(best["token_scores"]) == pytest.approx(best["log_prob"], abs=1e-4)
    assert best["score"] == pytest.approx(best["log_prob"] / len(best["token_scores"]), abs=1e-4)
    assert len(best["attention"]) == len(best["token_scores"])
    assert all(sum(row) == pytest.approx(1, abs=1e-4) for row in best["attention"])
    assert [j for _, j in best["alignment"]] == list(range(len(best["tokens"])))
    assert all(0 <= i < 4 for i, _ in best["alignment"])
    assert empty == {"source": "", "source_tokens": [], "hypotheses": []}


def test_max_length_cuts_off(run: Run, trained: Path) -> None:
    (record,) = run("translate", "--model", trained, "--json", "--max_length", 2, stdin="abcdef\n").records
    assert len(record["hypotheses"][0]["tokens"]) <= 2


def test_translate_with_texts_that_say_how(run: Run, trained: Path, tmp_path: Path) -> None:
    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    def lines(*arguments: object, text: str = "abc\nfe\n") -> list[str]:
        result = run("translate", "--model", trained, *arguments, stdin=text)
        assert result.code == 0, result.err
        return result.lines

    assert lines() == ["A B C", "F E"]
    prefix = file("prefix", "F\n\n")
    first, second = lines("--target_prefix", prefix, "--batch_size", 1)
    assert first[0] == "F" and second == "F E"
    assert lines("--allowed_outputs", file("allowed", "A B\nF E\nB B B\n")) == ["A B", "F E"]
    assert lines("--allowed_pattern", "[AB]( B)+|F.*") == ["A B", "F E"]
    both = run(
        "translate", "--model", trained, "--allowed_pattern", "A", "--allowed_outputs", prefix, stdin="a\n"
    )
    assert both.code != 0 and "cannot both be given" in both.err
    wrong = run("translate", "--model", trained, "--allowed_pattern", "(A", stdin="a\n")
    assert wrong.code != 0 and "[pattern] Expected ')' at position 2" in wrong.err
    found = lines("--suppress", file("suppress", "A\nF E\n"))
    assert "A" not in found[0] and "F E" not in found[1]
    assert lines("--config", file("options.yaml", "max_length: 2\nbeam-size: 1\n")) == ["A B", "F E"]
    assert lines("--config", tmp_path / "options.yaml", "--max_length", 1) == ["A", "F"]
    assert lines("--max_length_ratio", 0.7, "--beam_size", 1) == ["A B", "F"]
    alternatives = lines("--return_alternatives", "--n_best", 6, "--beam_size", 2, text="abc\n")
    assert len({line.split(" ||| ")[1][:1] for line in alternatives}) == 6

    contained = lines("--must_contain", file("phrases", "F A\n\n"), "--max_length", 9)
    assert "F A" in contained[0] and contained[1] == "F E"
    contained = lines("--must_contain", file("phrases", "D D\tA\nB\n"), "--batch_size", 1, "--max_length", 9)
    assert "D D" in contained[0] and "A" in contained[0] and "B" in contained[1]
    more = run("translate", "--model", trained, "--must_contain", tmp_path / "phrases", stdin="abc\n")
    assert more.code == 2 and len(more.lines) == 1 and "more lines than" in more.err
    for preset in SEARCH_PRESETS:
        assert lines("--search_preset", preset) == ["A B C", "F E"]
    assert lines("--search_preset", "fairseq", "--max_length", 2) == ["A", "F"]  # and an end token

    many = "abcdef\n" * 20
    samples = lines("--sampling_topk", 0, "--sampling_temperature", 3, "--seed", 4, text=many)
    assert len(set(samples)) > 5
    again = ("--sampling_topk", 0, "--sampling_temperature", 3, "--seed", 4, "--batch_size", 3)
    assert lines(*again, text=many) == samples
    assert len(lines("--sampling_topk", 0, "--n_best", 4, text="abc\n")) == 4


def test_translate_replaces_unknown_tokens(run: Run, tmp_path: Path) -> None:
    from seq2seq_fast.files import save_model
    from seq2seq_fast.text import TextField
    from seq2seq_fast.tokenizers import SpaceTokenizer
    from seq2seq_fast.vocab import Vocabulary

    field = TextField(SpaceTokenizer(), Vocabulary.build({"x": 1, "y": 1}))
    sizes = {"source_vocab_size": 6, "target_vocab_size": 6, "encoder_hidden": 4, "decoder_hidden": 4}
    model = Seq2Seq(Seq2SeqConfig(**sizes, source_embedding_dim=3, target_embedding_dim=3))
    bias = np.zeros(6, np.float32)
    bias[3] = 50.0  # nothing but unknown tokens
    model.native.load_parameter("decoder.output.bias", bias)
    save_model(tmp_path / "model", model, source=field, target=field)
    options = ("--max_length", 3, "--beam_size", 2)
    call = ("translate", "--model", tmp_path / "model", *options)
    assert run(*call, stdin="x Zürich\n").lines == ["<unk> <unk> <unk>"]
    replaced = run(*call, "--replace_unk", stdin="x Zürich\n").lines[0].split()
    assert len(replaced) == 3 and set(replaced) <= {"x", "Zürich"}
    (record,) = run(*call, "--replace_unk", "--json", stdin="x Zürich\n").records
    (hypothesis,) = record["hypotheses"]
    tokens = record["source_tokens"]
    assert hypothesis["tokens"] == replaced == [tokens[i] for i, _ in hypothesis["alignment"]]
    (tmp_path / "data.tsv").write_text(f"x Zürich\t{' '.join(replaced)}\n")
    arguments = ("evaluate", "--model", tmp_path / "model", *options, "--data", tmp_path / "data.tsv")
    for flag, share in (("--no_replace_unk", 0.0), ("--replace_unk", 1.0)):
        assert json.loads(run(*arguments, flag, "--json").out)["metrics"]["exact_match"] == share


# ---- score


def test_score_agrees_with_translate(run: Run, trained: Path, tmp_path: Path) -> None:
    asked = words(10, 5)
    (tmp_path / "src").write_text("\n".join(asked))
    found = run("translate", "--model", trained, "--json", "--src", tmp_path / "src").records
    (tmp_path / "tgt").write_text("\n".join(r["hypotheses"][0]["text"] for r in found) + "\n")
    arguments = ("score", "--model", trained, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt")
    scored = run(*arguments, "--json", "--batch_size", 3).records
    for a, b in zip(scored, found, strict=True):
        best = b["hypotheses"][0]
        assert a["log_prob"] == pytest.approx(best["log_prob"], abs=1e-4)
        assert a["token_scores"] == pytest.approx(best["token_scores"], abs=1e-4)
        assert a["tokens"] == [*best["tokens"], "</s>"]
    for line, a in zip(run(*arguments, "--with_token_scores").lines, scored, strict=True):
        total, text, each = line.split(" ||| ")
        assert float(total) == pytest.approx(a["log_prob"], abs=1e-3)
        assert text == a["target"]
        assert len(each.split()) == len(a["tokens"])


def test_score_of_empty_lines(run: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "tgt").write_text("A\n\n")
    result = run("score", "--model", trained, "--src", "-", "--tgt", tmp_path / "tgt", stdin="\nab\n")
    assert result.lines[0] == "nan ||| A"  # no source, no probability
    assert float(result.lines[1].split(" ||| ")[0]) < 0  # an empty target is its end token
    result = run(
        "score", "--model", trained, "--src", "-", "--tgt", tmp_path / "tgt", "--json", stdin="\nab\n"
    )
    assert result.records[0]["log_prob"] is None


def test_score_takes_as_many_targets_as_sources(run: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "tgt").write_text("A\n")
    result = run("score", "--model", trained, "--src", "-", "--tgt", tmp_path / "tgt", stdin="a\nb\n")
    assert result.code == 2
    assert "tgt has 1 lines" in result.err


def test_unknown_source_tokens_are_counted(run: Run, trained: Path) -> None:
    result = run("translate", "--model", trained, "--max_length", 3, stdin="abz\nzé\nf\n")
    assert result.code == 0
    assert result.err == "3 of 6 source tokens are not in the vocabulary.\n"
    assert run("translate", "--model", trained, "--max_length", 3, stdin="ab\n").err == ""
