"""The command line with the options of long inputs: CTC, shorter memories, attention that sees itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from seq2seq_fast.cli import main
from seq2seq_fast.cli.options import load_config, preset_file
from seq2seq_fast.cli.train_options import arguments_for, resolve
from seq2seq_fast.files import load_model
from seq2seq_fast.front_end import FrontEnd
from seq2seq_fast.model import Seq2SeqConfig

OPTIONS = """\
data_type: features
target_tokenizer: char
rnn_type: gru
enc_layers: 2
hidden_size: 8
word_vec_size: 4
conv_layers: 1
conv_channels: 5
conv_width: 5
conv_stride: 1
encoder_pyramid: "1,2"
pyramid_skips: true
global_attention: mlp
location_filters: 2
location_width: 3
location_cumulative: false
ctc_weight: 0.4
max_epochs: 2
batch_size: 10
batch_type: examples
valid_metric: token_error_rate
valid_ctc_weight: 0.4
valid_max_length: 12
device: cpu
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words whose letters are two noisy vectors each."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    letters = rng.normal(size=(4, 3))
    words = [rng.integers(0, 4, rng.integers(2, 5)) for _ in range(50)]
    lengths = [2 * len(word) for word in words]
    features = np.repeat(letters[np.concatenate(words)], 2, axis=0) + 0.1 * rng.normal(size=(sum(lengths), 3))
    np.savez(folder / "x.npz", features=features.astype(np.float32), lengths=np.array(lengths))
    lines = [f"x.npz#{i}\t{''.join('ABCD'[c] for c in word)}\n" for i, word in enumerate(words)]
    (folder / "train.tsv").write_text("".join(lines[:40]))
    (folder / "valid.tsv").write_text("".join(lines[40:]))
    (folder / "options.yaml").write_text(OPTIONS)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    command = ("train", "--config", data / "options.yaml", "--out", data / "run")
    files = ("--train", data / "train.tsv", "--valid", data / "valid.tsv")
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in (*command, *files)])
    assert not end.value.code
    return data / "run"


def test_options_of_a_file_make_the_network(trained: Path) -> None:
    config = load_model(trained / "best", device="cpu").model.config
    assert (config.conv_layers, config.conv_channels, config.conv_width, config.conv_stride) == (1, 5, 5, 1)
    assert (config.encoder_pyramid, config.pyramid_skips, config.reduction) == ("1,2", True, 2)
    assert (config.location_filters, config.location_width, config.location_cumulative) == (2, 3, False)
    assert config.ctc_weight == 0.4


def test_search_by_both(run: Run, data: Path, trained: Path, tmp_path: Path) -> None:
    """A flag and a file say the same; the weight matters; validation had it, too."""
    (tmp_path / "search.yaml").write_text("ctc_weight: 0.4\nbeam_size: 3\n")
    command = ("translate", "--model", trained, "--src", data / "valid.tsv", "--device", "cpu")
    by_flag = run.done(
        *command, "--ctc_weight", 0.4, "--beam_size", 3, "--with_score", "--max_length", 12
    ).out
    by_file = run.done(*command, "--config", tmp_path / "search.yaml", "--with_score", "--max_length", 12).out
    alone = run.done(*command, "--beam_size", 3, "--with_score", "--max_length", 12).out
    assert by_flag == by_file != alone

    evaluate = ("evaluate", "--model", trained, "--data", data / "valid.tsv", "--json", "--device", "cpu")
    search = ("--beam_size", 1, "--min_length", 1, "--max_length", 12, "--ctc_weight", 0.4)
    out = run.done(*evaluate, "--metrics", "token_error_rate", *search).out
    events = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    found = min(event["token_error_rate"] for event in events if event["event"] == "valid")
    assert json.loads(out)["metrics"]["token_error_rate"] == pytest.approx(found)


def test_quantized(run: Run, data: Path, trained: Path, tmp_path: Path) -> None:
    run.done("quantize", "--model", trained, "--out", tmp_path / "int8")
    evaluate = ("evaluate", "--data", data / "valid.tsv", "--json", "--device", "cpu", "--metrics", "loss")
    losses = [
        json.loads(run.done(*evaluate, "--model", model).out)["metrics"]["loss"]
        for model in (trained, tmp_path / "int8")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    command = ("translate", "--model", tmp_path / "int8", "--src", data / "valid.tsv", "--device", "cpu")
    assert len(run.done(*command, "--ctc_weight", 0.3).lines) == 10


def test_mistakes(run: Run, data: Path, trained: Path, tmp_path: Path) -> None:
    train = ("train", "--config", data / "options.yaml", "--out", tmp_path / "run")
    files = ("--train", data / "train.tsv", "--valid", data / "valid.tsv")
    said = run.done(*train, *files, "--ctc_weight", 0, code=2).err
    assert "--valid_ctc_weight needs a model with a CTC output: --ctc_weight." in said
    said = run.done(*train, *files, "--encoder_pyramid", "1,x", code=2).err
    assert "Expected --encoder_pyramid as numbers with commas between them, got 1,x." in said
    run.done(*train, *files, "--ctc_weight", 0, "--valid_ctc_weight", 0, "--max_epochs", 1)
    command = ("translate", "--model", tmp_path / "run", "--src", data / "valid.tsv", "--device", "cpu")
    said = run.done(*command, "--ctc_weight", 0.3, code=2).err
    assert "Expected --ctc_weight 0 with a model that has no CTC output, got 0.3." in said
    both = ("--model", trained, "--model", trained, "--src", data / "valid.tsv", "--device", "cpu")
    said = run.done("translate", *both, "--ctc_weight", 0.3, code=2).err
    assert "Expected --ctc_weight 0 with an ensemble, got 0.3." in said


def test_no_replacement_of_unknown_tokens_where_places_are_shorter(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a b c d\tA B C D\n" * 20)
    train = ("train", "--train", tmp_path / "train.tsv", "--out", tmp_path / "run", "--hidden_size", 4)
    run.done(*train, "--encoder_pyramid", "2", "--max_epochs", 1, "--device", "cpu")
    said = run.done("translate", "--model", tmp_path / "run", "--replace_unk", code=2).err
    assert "--replace_unk: the memory of this model has no place for each token." in said


def test_the_preset() -> None:
    """What reached 6.8 and 10.2 % in PyTorch (examples/asr_an4) is in it."""
    options = resolve({}, ("preset", load_config(preset_file("speech"))))
    width = FrontEnd(13, **arguments_for("front_end", options)).width
    config = Seq2SeqConfig(target_vocab_size=31, source_features=width, **arguments_for("model", options))
    model = config.native_model(trainable=False)
    parameters = sum(int(np.prod(shape)) for _, shape, *_ in model.layout())
    assert 1.4e6 < parameters < 2.0e6
    assert (config.encoder_cell, config.decoder_cell, config.ctc_weight) == ("gru", "gru", 0.3)
    assert config.location_filters == 10 and config.location_cumulative and config.reduction == 2
    augmentation = arguments_for("augmentation", options)
    assert (
        augmentation["speed_change"] == 0.1 and augmentation["time_masks"] * augmentation["time_mask_width"]
    )
