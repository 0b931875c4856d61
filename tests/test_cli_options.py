"""The tables of options: each exists, is checked and documented, and has the default of what it is for."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from seq2seq_fast.augmentation import Augmentation
from seq2seq_fast.cli.options import Option, load_config
from seq2seq_fast.cli.search_options import SEARCH_OPTIONS, resolve_search
from seq2seq_fast.cli.train import make_optimizer, make_scheduler
from seq2seq_fast.cli.train_options import TRAIN_OPTIONS, arguments_for, resolve
from seq2seq_fast.front_end import FrontEnd
from seq2seq_fast.model import Seq2SeqConfig
from seq2seq_fast.optim import OPTIMIZERS
from seq2seq_fast.schedule import (
    CosineDecay,
    ExponentialDecay,
    InverseSquareRoot,
    Noam,
    ReduceLROnPlateau,
    Scheduler,
    StepDecay,
)
from seq2seq_fast.search import SearchOptions
from seq2seq_fast.trainer import Trainer

ROOT = Path(__file__).parent.parent


def test_every_target_of_an_option_exists() -> None:
    config = {field.name for field in fields(Seq2SeqConfig)}
    trainer = set(inspect.signature(Trainer).parameters)
    optimizers = {field.name for kind in OPTIMIZERS.values() for field in fields(kind)}
    known = {
        "model": config,
        "trainer": trainer,
        "network": {"seed"},
        "optimizer": (optimizers - {"betas"}) | {"type", "beta1", "beta2"},
        "scheduler": {
            field.name for kind in (ReduceLROnPlateau, CosineDecay, StepDecay) for field in fields(kind)
        }
        | {"type", "every"},
        "sampling": {"type", "k", "read_probability"},
        "validation": {"metric", "beam_size", "max_decoding_length", "ctc_weight"},
        "run": {"device", "threads"},
        "front_end": {field.name for field in fields(FrontEnd)},
        "augmentation": {field.name for field in fields(Augmentation)},
    }
    for option in TRAIN_OPTIONS:
        for target in option.targets:
            section, _, argument = target.partition(".")
            if section != "data":
                assert argument in known[section], target
    # ... and every setting of the network can be reached.
    reached = {t.removeprefix("model.") for option in TRAIN_OPTIONS for t in option.targets}
    assert config - reached == {
        "source_vocab_size", "target_vocab_size", "source_features", "source_unk_id",
        "bos_id", "eos_id", "unk_id", "pad_id",
    }  # fmt: skip


def test_defaults_are_those_of_what_is_built() -> None:
    options = resolve({})
    for field in fields(Seq2SeqConfig):
        arguments = arguments_for("model", options)
        if field.name in arguments:
            assert arguments[field.name] == field.default, field.name
    for kind, section in ((FrontEnd, "front_end"), (Augmentation, "augmentation")):
        arguments = arguments_for(section, options)
        own = {field.name: field.default for field in fields(kind) if field.name in arguments}
        assert arguments == own
    parameters = inspect.signature(Trainer).parameters
    for option in TRAIN_OPTIONS:
        for target in option.targets:
            section, _, argument = target.partition(".")
            if section == "trainer":
                default = 0 if option.zero_is_off else option.default
                assert (parameters[argument].default or 0) == (default or 0), option.name
    assert make_optimizer(options).settings() == {"type": "adam", "lr": 1e-3, "weight_decay": 0.0} | {
        "betas": (0.9, 0.999), "eps": 1e-8
    }  # fmt: skip
    assert make_scheduler(resolve({"valid": "v.tsv"})) == ReduceLROnPlateau()
    assert make_scheduler(options) == Scheduler()
    assert make_scheduler(resolve({"valid": "v.tsv", "cosine_steps": 7})) == CosineDecay(7)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"decay_method": "none", "valid": "v.tsv", "warmup_steps": 3}, Scheduler(warmup_steps=3)),
        ({"decay_method": "plateau", "valid": "v.tsv", "decay_patience": 2}, ReduceLROnPlateau(patience=2)),
        ({"decay_method": "step", "decay_steps": 5}, StepDecay(5)),
        (
            {"decay_method": "step", "decay_steps": 5, "start_decay_steps": 9, "min_learning_rate": 0.1},
            StepDecay(5, 0.5, 9, 0.1),
        ),
        (
            {"decay_method": "exponential", "decay_steps": 5, "learning_rate_decay": 0.9},
            ExponentialDecay(5, 0.9),
        ),
        ({"decay_method": "cosine", "cosine_steps": 7, "valid": "v.tsv"}, CosineDecay(7)),
        ({"decay_method": "rsqrt", "warmup_steps": 10}, InverseSquareRoot(warmup_steps=10)),
        ({"decay_method": "noam", "hidden_size": 64}, Noam(64)),
        ({"decay_method": "noam", "dec_hid_size": 32, "warmup_steps": 8}, Noam(32, warmup_steps=8)),
    ],
)
def test_decay_methods(options: dict[str, Any], expected: Scheduler) -> None:
    assert make_scheduler(resolve(options)) == expected


@pytest.mark.parametrize(
    ("method", "missing"), [("plateau", "valid"), ("cosine", "cosine_steps"), ("step", "decay_steps")]
)
def test_a_decay_method_says_what_it_needs(method: str, missing: str) -> None:
    with pytest.raises(ValueError, match=f"--decay_method {method} needs --{missing}"):
        make_scheduler(resolve({"decay_method": method}))


@pytest.mark.parametrize(("options", "file"), [(TRAIN_OPTIONS, "cli.md"), (SEARCH_OPTIONS, "decoding.md")])
def test_names_of_options_are_unique_and_documented(options: tuple[Option, ...], file: str) -> None:
    names = [option.name for option in options]
    assert len(set(names)) == len(names)
    documentation = (ROOT / "docs" / file).read_text()
    for option in options:
        choices = (
            f" One of {', '.join(f'`{choice}`' for choice in option.choices)}." if option.choices else ""
        )
        help = option.help.replace("<", "&lt;") + choices
        row = f"| `{option.name}` | {option.shown_default} | {help} |"
        assert row in documentation, f"docs/{file} has no line '{row}'"


@pytest.mark.parametrize("option", TRAIN_OPTIONS + SEARCH_OPTIONS, ids=lambda option: option.name)
def test_every_choice_can_be_chosen(option: Option) -> None:
    for choice in option.choices:
        assert option.parse(choice, "flag") == option.parse(choice.upper(), "flag") == choice


def test_flags_win_over_files_and_earlier_files_over_later() -> None:
    options = resolve({"dropout": 0.1}, ("a", {"dropout": 0.2, "layers": 2}), ("b", {"layers": 3, "seed": 4}))
    assert (options["dropout"], options["layers"], options["seed"]) == (0.1, 2, 4)
    assert arguments_for("model", options)["encoder_layers"] == 2


def test_zero_turns_off_what_a_file_turned_on() -> None:
    options = resolve({"early_stopping": 0}, ("file", {"early_stopping": 3}))
    assert "early_stopping" not in arguments_for("trainer", options)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "1e-3", 1e-3),
        ("learning_rate", 1, 1.0),
        ("hidden_size", 64.0, 64),
        ("rnn_type", "GRU", "gru"),
        ("input_feed", False, False),
        ("train", 12, "12"),
        ("seed", None, 0),
    ],
)
def test_values_of_a_file(name: str, value: object, expected: object) -> None:
    found = resolve({}, ("file", {name: value}))[name]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 1.5), ("hidden_size", True), ("hidden_size", [1]), ("dropout", "little"),
        ("input_feed", "yes"), ("input_feed", 1), ("rnn_type", 3), ("train", ["a"]),
    ],
)  # fmt: skip
def test_wrong_values_of_a_file(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"file: expected .* {name}, got"):
        resolve({}, ("file", {name: value}))


def test_a_json_file_is_a_config_too(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"hidden-size": 3}')
    assert load_config(tmp_path / "c.json") == {"hidden_size": 3}
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == {}


def test_search_options_reach_the_search() -> None:
    """Each option of `SearchOptions` has a flag with the same default, but for these."""
    targets = {option.targets[0]: option.default for option in SEARCH_OPTIONS}
    for field in fields(SearchOptions):
        if f"search.{field.name}" in targets and field.name not in ("beam_size", "min_decoding_length"):
            assert targets[f"search.{field.name}"] == field.default, field.name
    missing = {field.name for field in fields(SearchOptions)} - {t.partition(".")[2] for t in targets}
    assert missing == {
        "num_hypotheses", "suppress_sequences", "end_token", "sequence_ids", "return_attention", "vocabulary",
        "callback", "scorers",
    }  # fmt: skip


def test_a_preset_of_a_search_gives_way_to_options(tmp_path: Path) -> None:
    flags = dict.fromkeys(option.name for option in SEARCH_OPTIONS)
    (tmp_path / "search.yaml").write_text("search-preset: Marian\nmax-length: 9\n")
    search = resolve_search(flags | {"beam_size": 3}, tmp_path / "search.yaml")
    assert search.options == {"preset": "marian", "beam_size": 3, "max_decoding_length": 9}


def test_whole_numbers_keep_all_their_digits() -> None:
    [seed] = [option for option in SEARCH_OPTIONS if option.name == "seed"]
    for number in (2**53 + 1, 2**64 - 1, 10**400):
        assert seed.parse(number, "flag") == seed.parse(str(number), "flag") == number
    assert seed.parse("1e3", "flag") == seed.parse(1000.0, "flag") == 1000
    for wrong in ("1.5", 1.5, "nan", "inf", float("inf"), "x"):
        with pytest.raises(ValueError, match="seed"):
            seed.parse(wrong, "flag")
