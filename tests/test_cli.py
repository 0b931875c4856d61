"""The command line, on a toy task that is learnt in seconds: spell a word in capitals, "abc" -> "A B C"."""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spelling
from checks import bits
from command_line import Run
from place import size
from seq2seq_fast import _native, decoding
from seq2seq_fast.batching import batches
from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder
from seq2seq_fast.cli import main
from seq2seq_fast.cli.options import PRESETS, load_config, preset_file
from seq2seq_fast.cli.search_options import SEARCH_OPTIONS
from seq2seq_fast.cli.train import make_optimizer, make_scheduler, planned_steps
from seq2seq_fast.cli.train_options import TRAIN_OPTIONS, arguments_for, resolve
from seq2seq_fast.data import Dataset
from seq2seq_fast.device import views
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.run_lock import RunLock
from seq2seq_fast.schedule import (
    CosineDecay,
)
from spelling import SMALL, words

ROOT = Path(__file__).parent.parent


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "seq2seq_fast", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spelling.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spelling.train(data, tmp_path_factory.mktemp("runs") / "run")


# ---- train


def test_training_leaves_models_metrics_and_options(trained: Path) -> None:
    assert (trained / "best" / "config.json").is_file()
    assert (trained / "last" / "config.json").is_file()
    validations = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    validations = [record for record in validations if record["event"] == "valid"]
    assert len(validations) == 12
    assert validations[-1]["word_error_rate"] < 0.2
    options = json.loads((trained / "options.json").read_text())
    assert options["hidden_size"] == 24
    assert Path(options["train"]).is_absolute()


def test_validation_searches_with_a_beam(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best model and the end of the run go by the metric of beam search, which is that of `evaluate`."""
    original, beams = decoding.decode, []

    def decode(*arguments: Any, **search: Any) -> Any:
        beams.append(search["beam_size"])
        return original(*arguments, **search)

    monkeypatch.setattr(decoding, "decode", decode)
    metric = "token_error_rate"
    command = (
        "train",
        "--train",
        data / "train.tsv",
        "--valid",
        data / "valid.tsv",
        *SMALL,
        "--out",
        tmp_path,
    )
    command += ("--valid_metric", metric, "--valid_beam_size", 4, "--valid_max_length", 9, "--valid_steps", 5)
    command += ("--learning_rate", 0.03, "--early_stopping", 2, "--train_steps", 150, "--device", "cpu")
    assert run(*command, "--batch_size", 300).code == 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    values = [line[metric] for line in lines if line["event"] == "valid"]
    best = values.index(min(values))
    assert len(values) == best + 3 or len(values) == 30  # two without gain, or the end
    assert [line["best"] for line in lines if line["event"] == "valid"][best]

    def evaluated(beam_size: int) -> float:
        command = ("evaluate", "--model", tmp_path, "--data", data / "valid.tsv", "--metrics", metric)
        search = ("--beam_size", beam_size, "--min_length", 1, "--max_length", 9, "--device", "cpu")
        result = run(*command, "--json", *search)
        return float(result.records[0]["metrics"][metric])

    assert set(beams) == {4}
    assert evaluated(4) == pytest.approx(values[best])


def test_a_run_is_not_overwritten_by_accident(run: Run, trained: Path, data: Path) -> None:
    before = (trained / "metrics.jsonl").read_bytes()
    result = run("train", "--train", data / "train.tsv", "--out", trained)
    assert result.code == 2
    assert "--resume" in result.err
    assert "--overwrite" in result.err
    assert (trained / "metrics.jsonl").read_bytes() == before


def outcome(out: Path) -> Any:
    latest = CheckpointFolder(out).latest()
    assert latest is not None
    return latest.name, bits(Checkpoint.load(latest).parameters)


@pytest.mark.big
def test_resume_takes_the_runs_options_and_ends_with_the_same_bits(
    run: Run, data: Path, tmp_path: Path
) -> None:
    common = ("train", "--train", data / "train.tsv", "--valid", data / "valid.tsv", *SMALL, "--dropout", 0.2)
    part, whole = size((10, 25), (3, 8))
    assert run(*common, "--train_steps", whole, "--out", tmp_path / "whole").code == 0
    assert run(*common, "--train_steps", part, "--out", tmp_path / "parts").code == 0
    result = run("train", "--out", tmp_path / "parts", "--resume", "--train_steps", whole)
    assert result.code == 0
    assert f"Resuming at step {part}" in result.err
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


@pytest.mark.big
def test_overwrite_starts_anew(run: Run, data: Path, tmp_path: Path) -> None:
    common = ("train", "--train", data / "train.tsv", *SMALL, "--out", tmp_path)
    assert run(*common, "--train_steps", 2).code == 0
    (tmp_path / "best").mkdir()
    shutil.copy(tmp_path / "last" / "config.json", tmp_path / "best")
    assert run(*common, "--train_steps", 1, "--overwrite").code == 0
    latest = CheckpointFolder(tmp_path).latest()
    assert latest is not None
    assert "000000001" in latest.name
    assert not (tmp_path / "best").exists(), "every command would take the old run's model"


@pytest.mark.big
def test_a_resumption_that_is_refused_changes_nothing(run: Run, data: Path, tmp_path: Path) -> None:
    common = ("train", "--train", data / "train.tsv", *SMALL, "--out", tmp_path)
    assert run(*common, "--train_steps", 2).code == 0
    before = (tmp_path / "options.json").read_bytes()
    refused = run("train", "--out", tmp_path, "--resume", "--hidden_size", 99, "--train_steps", 3)
    assert refused.code == 2
    assert (
        "not those of this model. Options that are not those of the run: --hidden_size 99 (was "
        in refused.err
    )
    assert (tmp_path / "options.json").read_bytes() == before
    assert run("train", "--out", tmp_path, "--resume", "--train_steps", 3).code == 0


def test_a_folder_with_a_run_under_way(run: Run, data: Path, tmp_path: Path) -> None:
    """It is refused before anything is read or written."""
    common = ("train", "--train", data / "train.tsv", *SMALL, "--out", tmp_path)
    assert run(*common, "--train_steps", 1).code == 0
    lock = RunLock(tmp_path)
    for how in ("--resume", "--overwrite"):
        refused = run(*common, "--train", tmp_path / "none.tsv", how)
        assert refused.code == 2 and f"{tmp_path}: a run is under way there" in refused.err
    lock.close()
    assert run(*common, "--train_steps", 2, "--resume").code == 0


@pytest.mark.big
def test_a_runs_models_without_its_checkpoints(run: Run, data: Path, tmp_path: Path) -> None:
    common = ("train", "--train", data / "train.tsv", *SMALL, "--train_steps", 1, "--out", tmp_path)
    assert run(*common).code == 0
    CheckpointFolder(tmp_path).paths()[0].unlink()
    for more in ((), ("--resume",)):
        refused = run(*common, *more)
        assert refused.code == 2 and "holds a training run (last): start anew with --overwrite" in refused.err
    assert run(*common, "--overwrite").code == 0


@pytest.mark.big
@pytest.mark.parametrize("multiplies", [False, True])
def test_a_processor_that_does_not_multiply_bfloat16(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiplies: bool
) -> None:
    monkeypatch.setattr(_native, "cpu_multiplies_bfloat16", lambda: multiplies)
    out = ("--out", tmp_path / "run", "--device", "cpu", *SMALL)
    done = run("train", "--train", data / "train.tsv", *out, "--train_steps", 1, "--compute_type", "bfloat16")
    assert done.code == 0
    assert ("does not multiply bfloat16: products stay float32" in done.err) == (not multiplies)


def test_average_of_checkpoints(run: Run, data: Path, tmp_path: Path) -> None:
    common = (
        "train",
        "--train",
        data / "train.tsv",
        *SMALL,
        "--save_checkpoint_steps",
        2,
        "--train_steps",
        6,
    )
    out, mean = tmp_path / "run", tmp_path / "mean"
    assert run(*common, "--keep_checkpoint", 99, "--out", out).code == 0
    result = run("average", "--run", out, "--out", mean, "--last", 2)
    assert result.code == 0, result.err
    assert "the mean of 2 checkpoints, of the steps 4, 6." in result.out
    paths = CheckpointFolder(out).paths()
    parts = [views(one.layout, one.parameters) for one in map(Checkpoint.load, paths[-2:])]
    for name, values in Seq2Seq.load(mean).parameters().items():
        np.testing.assert_allclose(values, (parts[0][name] + parts[1][name]) / 2, rtol=1e-6, atol=1e-7)
    assert run("average", "--run", out, "--out", mean).out.count("2, 4, 6") == 1
    assert len(run("translate", "--model", mean, "--max_length", 3, stdin="ab\n").lines) == 1
    result = run("average", "--run", out, "--out", mean, "--last", 9)
    assert result.code == 2
    assert "holds 3 checkpoints after training, fewer than 9" in result.err
    for place in (out, out / "last", out / "best"):
        result = run("average", "--run", out, "--out", place)
        assert result.code == 2
        assert "a folder of its own" in result.err


@pytest.mark.big
def test_config_file_and_flags_over_it(run: Run, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(
        f"train: {data / 'train.tsv'}\nsource-tokenizer: char\nrnn_type: GRU\nhidden_size: 16\n"
        "word_vec_size: 8\nlearning_rate: 1e-3\ntrain_steps: 2\ninput_feed: false\n"
    )
    assert run("train", "-c", config, "--out", tmp_path / "run", "--enc_hid_size", 12).code == 0
    model = json.loads((tmp_path / "run" / "last" / "config.json").read_text())["model"]
    assert model["encoder_cell"] == model["decoder_cell"] == "gru"
    assert (model["encoder_hidden"], model["decoder_hidden"]) == (12, 16)
    assert model["input_feeding"] is False


def test_gzip_sentencepiece_and_limits(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    train = tmp_path / "train.tsv.gz"
    lines = [f"{w} {w[::-1]}\t{w[::-1]} {w}" for w in words(300, 3)]
    train.write_bytes(gzip.compress("\n".join([*lines, "\tno source", "a b c d e f g\tlong"]).encode()))
    common = ("train", "--train", train, "--source_tokenizer", "sentencepiece", "--target_tokenizer")
    common += ("sentencepiece", "--subword_vocab_size", 40, "--src_seq_length", 10, "--hidden_size", 8)
    out = tmp_path / "run"
    common += ("--word_vec_size", 8, *size((), ("--batch_size", 100)))
    result = run(*common, "--train_steps", 2, "--out", out)
    assert result.code == 0, result.err
    assert "empty source" in result.err
    assert run("train", "--out", out, "--resume", "--train_steps", 3).code == 0
    translated = run("translate", "--model", out, "--max_length", 5, stdin="ab ba\n")
    assert translated.code == 0
    assert len(translated.lines) == 1


@pytest.mark.big
def test_a_cache_changes_nothing_but_memory(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("train", "--train", data / "train.tsv", "--valid", data / "valid.tsv")
    common += ("--source_tokenizer", "char", "--tgt_seq_length", 5, "--hidden_size", 8, "--word_vec_size", 8)
    outs = tmp_path / "memory", tmp_path / "cache", tmp_path / "shared"
    monkeypatch.chdir(tmp_path)
    for out, options in zip(outs, [(), ("--cache",), ("--cache_dir", "both")], strict=True):
        result = run(*common, *options, "--train_steps", 3, "--out", out)
        assert result.code == 0, result.err
        assert "Left out of" in result.err and "target too long" in result.err
    monkeypatch.chdir("cache")  # a run is taken up from anywhere
    for out in outs:
        assert run("train", "--out", out, "--resume", "--train_steps", 6).code == 0
    parameters = [bits(Seq2Seq.load(out / "best").parameters()) for out in outs]
    assert parameters[0] == parameters[1] == parameters[2]
    for folder in (outs[1] / "cache", tmp_path / "both"):  # training, validation, vocabularies; none twice
        assert len(list(folder.iterdir())) == 3
    assert not (outs[0] / "cache").exists()


@pytest.mark.parametrize("cache", [(), ("--cache",)])
def test_columns_that_training_leaves_out_are_told(run: Run, tmp_path: Path, cache: tuple[str, ...]) -> None:
    """Those of --valid are references."""
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tA\tB\tC\nb\tB\n" * 5)
    common = (
        "train",
        "--train",
        path,
        "--valid",
        path,
        *SMALL,
        *cache,
        "--train_steps",
        1,
        "--device",
        "cpu",
    )
    result = run(*common, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert result.err.count("Left out") == 1
    assert f"Left out of {path}: 10 columns after the second." in result.err


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    """A folder of files that each have something wrong."""
    for name, content in {
        "unknown.yaml": "hiden_size: 3\n",
        "wrong.yaml": "hidden_size: many\n",
        "broken.yaml": "a: [1\n",
        "scalar.yaml": "just words\n",
        "broken.json": "{",
        "zero.yaml": "dec_hid_size: 0\n",
        "twice.yaml": "hidden-size: 3\nhidden_size: 3\n",
        "twice.json": '{"seed": 3, "seed": 4}',
        "no_tab.tsv": "a\tb\nno tab\n",
        "z.txt": "z\n",
        "nothing.txt": "",
        "empty.tsv": "\n\n",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "latin.yaml").write_bytes(b"train: caf\xe9\n")
    (tmp_path / "forecast").mkdir()
    (tmp_path / "forecast" / "config.json").write_text('{"format_version": 1, "kind": "forecast"}')
    (tmp_path / "latin.tsv").write_bytes(b"caf\xe9\tb\n")
    (tmp_path / "words.txt").write_text("A\nz\n")
    (tmp_path / "one.txt").write_text("A\n")
    (tmp_path / "search.yaml").write_text("beam_sise: 2\n")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(b"a\tb\n" * 1000)[:30])
    return tmp_path


TRAIN = "train --train {data}/train.tsv --out {bad}/run"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nonsense", "nonsense"),
        ("train --train {data}/train.tsv", "--out DIR"),
        ("train --out {bad}/run", "--train FILE.tsv"),
        ("train --train none.tsv --out {bad}/run", "none.tsv: No such file"),
        ("train --train {bad}/no_tab.tsv --out {bad}/run", "no_tab.tsv, line 2: expected source TAB target"),
        ("train --train {bad}/latin.tsv --out {bad}/run", "latin.tsv, line 1: not UTF-8"),
        ("train --train {bad}/cut.tsv.gz --out {bad}/run", "not a whole gzip file"),
        ("train --train {bad}/empty.tsv --out {bad}/run", "empty.tsv: no pair to read"),
        (TRAIN + " --valid {bad}/none.tsv", "none.tsv: No such file"),
        (TRAIN + " --hiden_size 3", "hiden_size"),
        (TRAIN + " -c none.yaml", "none.yaml: No such file"),
        (TRAIN + " -c {bad}/unknown.yaml", "unknown option hiden_size. Did you mean hidden_size?"),
        (TRAIN + " -c {bad}/wrong.yaml", "wrong.yaml: expected a whole number for hidden_size, got 'many'"),
        (TRAIN + " -c {bad}/broken.yaml", "broken.yaml: not valid YAML"),
        (TRAIN + " -c {bad}/broken.json", "broken.json: not valid JSON"),
        (TRAIN + " -c {bad}/scalar.yaml", "scalar.yaml: expected lines of 'option: value'"),
        (TRAIN + " --hidden_size many", "hidden_size"),
        (TRAIN + " --rnn_type qrnn", "expected one of lstm, gru for rnn_type, got 'qrnn'"),
        (TRAIN + " --hidden_size 0", "Expected --hidden_size from 1 to"),
        (TRAIN + " --hidden_size 8 --enc_hid_size 0", "Expected --enc_hid_size from 1 to"),
        (TRAIN + " -c {bad}/zero.yaml", "Expected --hidden_size or --dec_hid_size from 1 to"),
        (TRAIN + " --layers 0", "Expected --layers from 1 to"),
        (TRAIN + " --learning_rate -1", "Expected --learning_rate of at least 0, got -1"),
        (TRAIN + " -c {bad}/latin.yaml", "latin.yaml: not UTF-8"),
        (TRAIN + " -c {bad}/twice.yaml", "twice.yaml: option hidden_size is there 2 times"),
        (TRAIN + " -c {bad}/twice.json", "twice.json: option seed is there 2 times"),
        ("train --out {bad}/run --resume", "run holds no training run to go on with"),
        (TRAIN + " --preset captioning", "line 1: expected FILE.npy, FILE.npz#NAME or the like"),
        (TRAIN + " --momentum 0.9", "momentum"),
        (TRAIN + " --batch_size 0", "batch_size"),
        (TRAIN + " --valid_metric exact_match", "--valid FILE.tsv"),
        (TRAIN + " --early_stopping 2", "--early_stopping 2 counts validations: it needs --valid"),
        (TRAIN + " --src_subword_model m", "--src_subword_model is for the sentencepiece tokenizer"),
        (TRAIN + " --resume --overwrite", "exclude each other"),
        ("translate --model {bad}/none", "none: no such folder"),
        ("translate --model {bad}", "is not a model's folder"),
        ("translate", "--model"),
        ("translate --model {model} --src none.txt", "none.txt: No such file"),
        ("translate --model {model} --src {bad}/latin.tsv", "latin.tsv, line 1: not UTF-8"),
        ("translate --model {model} --out {bad}/no/folder", "No such file"),
        ("translate --model {model} --n_best 3 --beam_size 2", "--n_best 3 is more than --beam_size 2"),
        ("translate --model {model} --src {bad}/one.txt --beam_size 0", "Expected --beam_size of at least 1"),
        (
            "translate --model {model} --src {bad}/one.txt --max_length 0",
            "Expected --max_length of at least 1",
        ),
        (
            "translate --model {model} --src {bad}/one.txt --target_prefix {bad}/z.txt",
            "z.txt, line 1: 'z' is not in the target vocabulary",
        ),
        ("translate --model {model} --allowed_outputs {bad}/nothing.txt", "expected outputs, one a line"),
        ("translate --model {bad}/forecast", "such a model is for `seq2seq-fast forecast` and `Forecaster`"),
        ("quantize --model {model} --out {bad}/q --compute_type int4", "for --compute_type, got 'int4'"),
        ("translate --model {model} --search_preset onmt", "expected one of ctranslate2, opennmt-py"),
        ("translate --model {model} --search_preset transformers --n_best 2", "is more than --beam_size 1"),
        ("translate --model {model} --batch_type lines", "expected examples or tokens"),
        ("translate --model {model} --with_attention", "goes with --json"),
        ("translate --model {model} --early_stopping now", "expected one of patience, first"),
        ("translate --model {model} --src {bad}/one.txt --sampling_topk 3 --beam_size 2", "with sampling"),
        ("translate --model {model} --allowed_outputs {bad}/words.txt", "line 2: 'z' is not in the target"),
        ("translate --model {model} --suppress {bad}/words.txt", "line 2: 'z' is not in the target"),
        ("translate --model {model} --src {bad}/words.txt --target_prefix {bad}/one.txt", "taken in pairs"),
        ("translate --model {model} --target_prefix -", "cannot both be standard input"),
        ("translate --model {model} --must_contain -", "cannot both be standard input"),
        (
            "translate --model {model} --src {bad}/words.txt --must_contain {bad}/words.txt",
            "line 2: 'z' is not",
        ),
        ("translate --model {model} --src {bad}/words.txt --must_contain {bad}/one.txt", "fewer lines than"),
        ("evaluate --model {model} --data {bad}/words.txt --must_contain {bad}/one.txt", "is for translate"),
        ("translate --model {model} --config {bad}/search.yaml", "Did you mean beam_size"),
        ("evaluate --model {model} --data {bad}/words.txt --target_prefix {bad}/one.txt", "is for translate"),
        ("translate --model {model} --with_score --json", "for plain lines"),
        ("score --model {model} --src - --tgt -", "cannot both be standard input"),
        ("score --model {model} --src {bad}/no_tab.tsv --tgt {bad}/empty.tsv --beam_size 3", "beam_size"),
        ("evaluate --model {model} --data none.tsv", "none.tsv: No such file"),
        ("evaluate --model {model} --data {bad}/empty.tsv", "empty.tsv: no line to evaluate"),
        ("evaluate --model {model} --data {bad}/no_tab.tsv --metrics blue", "there is no 'blue'"),
        ("evaluate --model {model} --data {bad}/no_tab.tsv --metrics ,", "at least one"),
        ("info --model {bad}/none", "none: no such folder"),
        ("info --model {bad}", "is not a model's folder"),
    ],
)
def test_a_users_mistake_is_a_sentence(
    run: Run, data: Path, trained: Path, bad_files: Path, command: str, message: str
) -> None:
    result = run(*command.format(data=data, bad=bad_files, model=trained).split())
    assert result.code == 2
    assert message in " ".join(result.err.split())
    assert "Traceback" not in result.err
    assert result.out == ""


def test_mistakes_come_with_their_traceback_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEQ2SEQ_FAST_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        main(["info", "--model", str(tmp_path / "none")])


# ---- evaluate


@pytest.mark.big
def test_evaluate(run: Run, trained: Path, data: Path, tmp_path: Path) -> None:
    metrics = "exact_match,word_error_rate,token_error_rate,loss,perplexity"
    arguments = ("evaluate", "--model", trained, "--data", data / "valid.tsv", "--metrics", metrics)
    (found,) = run(*arguments, "--json", "--out", tmp_path / "predictions.tsv").records
    assert found["sources"] == len(
        {line.split("\t")[0] for line in (data / "valid.tsv").read_text().splitlines()}
    )
    values = found["metrics"]
    assert list(values) == metrics.split(",")
    assert values["exact_match"] == pytest.approx(1 - values["word_error_rate"])
    assert values["exact_match"] > 0.8
    assert 0 <= values["token_error_rate"] < values["word_error_rate"] + 1e-9
    assert values["perplexity"] == pytest.approx(math.exp(values["loss"]))
    predictions = [line.split("\t") for line in (tmp_path / "predictions.tsv").read_text().splitlines()]
    right = sum(hypothesis in references for _, hypothesis, *references in predictions)
    assert right / len(predictions) == pytest.approx(values["exact_match"])
    table = run(*arguments).out
    assert f"{100 * values['exact_match']:.2f} %" in table


@pytest.mark.big
def test_evaluate_by_metrics_of_texts(run: Run, trained: Path, data: Path) -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    names = "exact_match,bleu_tokenized,chrf,rouge1"
    arguments = ("evaluate", "--model", trained, "--data", data / "valid.tsv", "--metrics", names)
    (found,) = run(*arguments, "--json").records
    values = found["metrics"]
    assert list(values) == names.split(",")
    assert values["rouge1"] >= values["exact_match"] > 0.5
    assert 50 < values["bleu_tokenized"] < 100.01 and 50 < values["chrf"] < 100.01
    assert f"{100 * values['rouge1']:.2f} %" in run(*arguments).out


def test_evaluate_takes_the_best_of_several_references(run: Run, trained: Path, tmp_path: Path) -> None:
    asked = ["abc", "de", "fab"]
    translated = run("translate", "--model", trained, stdin="\n".join(asked)).lines
    columns, lines = tmp_path / "columns.tsv", tmp_path / "lines.tsv"
    columns.write_text("".join(f"{w}\tX Y\t{t}\n" for w, t in zip(asked, translated, strict=True)))
    lines.write_text(
        "".join(f"{w}\tX Y\n" for w in asked)
        + "".join(f"{w}\t{t}\n" for w, t in zip(asked, translated, strict=True))
    )
    for file in (columns, lines):
        (found,) = run("evaluate", "--model", trained, "--data", file, "--json").records
        assert found["sources"] == 3
        assert found["metrics"] == {"exact_match": 1.0, "token_error_rate": 0.0}
    (found,) = run("evaluate", "--model", trained, "--data", lines, "--json", "--every_line").records
    assert found["sources"] == 6 and found["metrics"]["exact_match"] == 0.5


def test_a_metric_of_one_reference_is_refused_before_all_is_decoded(
    run: Run, trained: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("jiwer")
    two = tmp_path / "two.tsv"
    two.write_text("a\tA\na\tB\n")
    evaluate = ("evaluate", "--model", trained, "--data", two, "--metrics", "wer")
    result = run(*evaluate)
    assert result.code == 2
    assert "--metrics wer takes one reference for each source" in result.err
    assert "two.tsv has 2 for 'a'; with --every_line each line is an example of its own" in result.err
    assert run(*evaluate, "--every_line").code == 0
    train = ("train", "--train", data / "train.tsv", *SMALL, "--out", tmp_path / "run", "--valid", two)
    result = run(*train, "--valid_metric", "wer")
    assert result.code == 2 and "--valid_metric wer takes one reference" in result.err


# ---- info, the program itself


def test_info(run: Run, trained: Path) -> None:
    (facts,) = run("info", "--model", trained, "--json").records
    assert facts["kind"] == "seq2seq"
    assert facts["model"]["decoder_hidden"] == 24
    assert facts["source"]["tokenizer"]["type"] == "char"
    model = Seq2Seq.load(trained / "best")
    assert facts["parameters"] == sum(view.size for view in model.parameters().values())
    assert "decoder_hidden" in run("info", "--model", trained).out


def test_version_and_help(run: Run) -> None:
    import seq2seq_fast

    assert run("--version").out.strip() == seq2seq_fast.__version__
    for command in ("train", "translate", "score", "evaluate", "info", "demo", "doctor"):
        result = run(command, "--help")
        assert result.code == 0
        assert "Usage: seq2seq-fast" in result.out
    for command, options in (
        ("train", TRAIN_OPTIONS),
        ("translate", SEARCH_OPTIONS),
        ("evaluate", SEARCH_OPTIONS),
    ):
        everything = run(command, "--help").out
        assert all(f"--{option.name}" in everything for option in options)


def test_it_says_which_extra_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("seq2seq_fast.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 2
    assert "pip install 'seq2seq_fast[cli]'" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(trained: Path) -> None:
    with process("translate", "--model", trained, "--batch_size", 1) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write("ab\n")
        child.stdin.flush()
        assert child.stdout.readline() == run_line(trained)  # answered before the next line comes
        child.stdout.close()
        try:
            child.stdin.write("cd\n" * 1000)
            child.stdin.close()
        except BrokenPipeError:
            pass
        child.wait(60)
        assert child.returncode == 1
        assert child.stderr.read() == ""


def run_line(trained: Path) -> str:
    with process("translate", "--model", trained) as child:
        out, err = child.communicate("ab\n", 60)
        assert (child.returncode, err) == (0, "")
        return out


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is another thing there")
def test_ctrl_c_while_translating_is_quiet(trained: Path) -> None:
    with process("translate", "--model", trained, "--batch_size", 1) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write("ab\n")
        child.stdin.flush()
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.wait(60)
        assert child.returncode == 130
        assert child.stderr.read() == ""


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is another thing there")
def test_ctrl_c_while_training_saves_and_says_how_to_go_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", "--train", data / "train.tsv", "--out", out, *SMALL, "--max_epochs", 10000)
    with process(*arguments, "--report_every", 1) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("step 3 "):
                break
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
        child.wait(60)
        assert child.returncode == 130
        assert "Traceback" not in rest
        assert f"seq2seq-fast train --out {out} --resume" in rest
    assert CheckpointFolder(out).latest() is not None


# ---- batches of lines


@pytest.mark.parametrize(
    ("weights", "limit", "expected"),
    [
        ([], 3, []),
        ([1, 1, 1], 3, [[1, 1, 1]]),
        ([1, 1, 1, 1], 3, [[1, 1, 1], [1]]),
        ([2, 2], 3, [[2], [2]]),
        ([9, 1, 9], 3, [[9], [1], [9]]),
        ([1, 9], 3, [[1], [9]]),
    ],
)
def test_batches(weights: list[int], limit: int, expected: list[list[int]]) -> None:
    assert list(batches(weights, limit, lambda weight: weight)) == expected


def test_a_full_batch_does_not_wait_for_the_next_line() -> None:
    taken = []

    def source() -> Any:
        for i in range(4):
            taken.append(i)
            yield i

    next(batches(source(), 2, lambda _: 1))
    assert taken == [0, 1]


# ---- what the documentation shows


@pytest.mark.big
def test_the_readmes_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, _, rest = (ROOT / "README.md").read_text().partition("```python\n")
    exec(compile(rest.partition("```")[0], "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("]")[0] for line in lines] == ["[9, 8, 7, 6, 5, 4", "[8, 9, 10, 11, 12, 13"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_options(name: str) -> None:
    options = resolve({}, (name, load_config(preset_file(name))))
    Seq2SeqConfig(target_vocab_size=5, source_vocab_size=5, **arguments_for("model", options))
    make_optimizer(options)
    make_scheduler(options)


@pytest.mark.big
def test_flags_and_files_go_before_a_preset(run: Run, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("enc_hid_size: 6\ndec_hid_size: 7\nbatch_size: 20\n")
    common = ("train", "--train", data / "train.tsv", "--valid", data / "valid.tsv", "-c", config)
    small = ("--dec_hid_size", 8, "--word_vec_size", 4, "--train_steps", 4, "--valid_max_length", 2)
    out = tmp_path / "run"
    result = run(*common, *small, "--preset", "g2p", "--out", out)
    assert result.code == 0, result.err
    model = json.loads((out / "last" / "config.json").read_text())["model"]
    assert (model["encoder_hidden"], model["decoder_hidden"], model["encoder_layers"]) == (6, 8, 2)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert any("word_error_rate" in line for line in lines)
    result = run("train", "--preset", "translation", "--resume", "--train_steps", 5, "--out", out)
    assert result.code == 0, result.err  # the run's own options go before the preset, too
    assert json.loads((out / "last" / "config.json").read_text())["model"]["encoder_cell"] == "lstm"
    result = run(*common, "--preset", "pronunciation", "--out", tmp_path / "other")
    assert result.code == 2
    assert (
        "there is no 'pronunciation'; there are captioning, g2p, semantic_parsing, speech, summarization, "
        "translation" in result.err
    )


def test_a_preset_needs_no_validation(run: Run, data: Path, tmp_path: Path) -> None:
    """What it validates by is left out; a metric of one's own is not."""
    tiny = ("--enc_hid_size", 4, "--dec_hid_size", 4, "--word_vec_size", 4, "--train_steps", 1)
    alone = ("train", "--preset", "g2p", "--train", data / "train.tsv", "--out", tmp_path / "run", *tiny)
    result = run(*alone)
    assert result.code == 0, result.err
    assert "without --valid" in result.err and (tmp_path / "run" / "last").is_dir()
    assert run(*alone, "--resume", "--train_steps", 2).code == 0
    wrong = run(*alone, "--overwrite", "--valid_metric", "word_error_rate")
    assert wrong.code == 2 and "--valid_metric word_error_rate needs pairs" in wrong.err


def test_a_cosine_over_the_whole_run() -> None:
    sequences = [np.arange(1 + i % 3, dtype=np.int32) for i in range(10)]
    train = Dataset.from_sequences(sequences, [s.tolist() for s in sequences], eos_id=0)
    cut = {"decay_method": "cosine", "batch_size": 4, "batch_type": "examples"}
    for limits, steps in [
        ({"max_epochs": 5}, 15),
        ({"train_steps": 7}, 7),
        ({"max_epochs": 5, "train_steps": 99}, 15),
        ({"max_epochs": 5, "cosine_steps": 6}, 6),
    ]:
        options = resolve(cut | limits)
        assert make_scheduler(options, planned_steps(options, train)) == CosineDecay(steps)
    assert planned_steps(resolve(cut), train) is None
    assert planned_steps(resolve(cut | {"max_epochs": 2, "accum_count": 2}), train) == 4
