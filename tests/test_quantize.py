"""Weights in fewer bits: the rule, the folders, and that it does not matter where a model was rounded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from checks import bits
from networks import OPTIONS, small_network
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator, _native, files
from seq2seq_fast.cli import main
from seq2seq_fast.files import load_model, quantize_model, save_model
from seq2seq_fast.quantization import column_splits, dequantize, quantize, round_to, store
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer, SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

SMALLER = ["float16", "bfloat16", "int8"]
SOURCE = TextField(CharTokenizer(), Vocabulary.build(dict.fromkeys("abcdefg", 1)))
TARGET = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys("HIJKLMNOP", 1)))
SPLIT = "decoder.rnn.weight_ih_l0"

matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


# ---- the rule


@given(matrices)
@settings(max_examples=200, deadline=None)
def test_what_is_quantised_is_near_and_stays(values: np.ndarray) -> None:
    integers, scale = quantize(values)
    assert integers.dtype == np.int8 and integers.shape == values.shape
    assert scale.dtype == np.float32 and scale.shape == values.shape[:1]
    assert integers.min() >= -127
    rows = dequantize(integers, scale)
    wide = scale.astype(np.float64)[:, None]
    np.testing.assert_array_equal(rows, integers * wide)  # exact in float32
    assert np.all(np.abs(rows - values.astype(np.float64)) <= np.maximum(wide / 2, 2.0**-100))
    again, scale_again = quantize(rows)
    np.testing.assert_array_equal(again, integers)
    np.testing.assert_array_equal(scale_again, scale)


def test_the_rule_in_plain_numbers() -> None:
    values = np.array([[1.0, -0.5, 0.25], [0, 0, 0], [2e-31, 0, 0], [-3, 3, 1.5]], np.float32)
    integers, scale = quantize(values)
    step = 2.0**-22  # of 16 bits, for numbers from 1/128 to 1/64
    assert scale[0] == np.ceil(1 / 127 / step) * step
    # 0.5 / scale is a little below 63.5, as the scale was rounded up.
    assert integers.tolist() == [[127, -63, 32], [0, 0, 0], [0, 0, 0], [-127, 127, 63]]
    assert scale[1] == scale[2] == 0


def test_ties_go_to_the_even_integer() -> None:
    values = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)
    integers, scale = quantize(values)
    assert scale[0] == 1
    assert integers.tolist() == [[127, 0, 2, 2, 0, -2]]


def test_bfloat16_is_pytorchs(torch: Any, rng: np.random.Generator) -> None:
    values = (rng.standard_normal((50, 70)) * 10.0 ** rng.integers(-30, 30, (50, 70))).astype(np.float32)
    values[0, :4] = [1 + 2.0**-8, 1 + 3 * 2.0**-8, -(1 + 2.0**-8), 0.0]  # ties
    expected = torch.from_numpy(values).bfloat16()
    np.testing.assert_array_equal(
        store("w", values, "bfloat16", {})["w"], expected.view(torch.int16).numpy().view(np.uint16)
    )
    np.testing.assert_array_equal(round_to("w", values, "bfloat16", {}), expected.float().numpy())


@pytest.mark.parametrize("compute_type", SMALLER)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_rounded(compute_type: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'w' is not finite, so it cannot be stored as {compute_type}"):
        store("w", np.array([[1, value]], np.float32), compute_type, {})


def test_numbers_too_large_for_a_type() -> None:
    for value, compute_type in ((65520, "float16"), (3.4e38, "bfloat16")):
        with pytest.raises(ValueError, match=f"'w' holds numbers too large for {compute_type}"):
            store("w", np.array([[value]], np.float32), compute_type, {})
    assert round_to("w", np.array([[65519]], np.float32), "float16", {})[0, 0] == 65504


# ---- folders


def model_of(**changes: Any) -> Seq2Seq:
    sizes: dict[str, Any] = {
        "source_vocab_size": len(SOURCE.vocabulary),
        "target_vocab_size": len(TARGET.vocabulary),
        "source_embedding_dim": 6,
        "target_embedding_dim": 5,
        "encoder_hidden": 18,
        "decoder_hidden": 35,
    }
    model = Seq2Seq(Seq2SeqConfig(**sizes | changes), seed=1)
    for name, values in model.parameters().items():
        if "bias" in name:
            values[...] = np.random.default_rng(len(name)).normal(0, 0.1, values.shape)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", model_of(), source=SOURCE, target=TARGET)
    return tmp_path / "model"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


@pytest.mark.parametrize("compute_type", SMALLER)
def test_quantising_twice_is_quantising_once(folder: Path, tmp_path: Path, compute_type: str) -> None:
    once, twice, saved = tmp_path / "once", tmp_path / "twice", tmp_path / "saved"
    quantize_model(folder, once, compute_type)
    quantize_model(once, twice, compute_type)
    loaded = load_model(once)
    save_model(saved, loaded.model, source=loaded.source, target=loaded.target, compute_type=compute_type)
    assert contents(once) == contents(twice) == contents(saved)


def test_back_to_float32_is_an_ordinary_folder(folder: Path, tmp_path: Path) -> None:
    quantize_model(folder, tmp_path / "same", "float32")
    assert contents(tmp_path / "same") == contents(folder)
    quantize_model(folder, tmp_path / "int8", "int8")
    quantize_model(tmp_path / "int8", tmp_path / "back", "float32")
    assert json.loads((tmp_path / "back" / "config.json").read_text())["format_version"] == 1
    expected = bits(load_model(tmp_path / "int8").model.parameters())
    assert bits(load_model(tmp_path / "back").model.parameters()) == expected


@pytest.mark.parametrize("input_feeding", [True, False])
def test_what_is_in_an_int8_folder(tmp_path: Path, input_feeding: bool) -> None:
    from safetensors.numpy import load_file

    model = model_of(input_feeding=input_feeding, attention_score="mlp")
    save_model(tmp_path, model, source=SOURCE, target=TARGET, compute_type="int8")
    settings = json.loads((tmp_path / "config.json").read_text())
    assert (settings["format_version"], settings["compute_type"]) == (2, "int8")
    tensors, names = load_file(tmp_path / "model.safetensors"), set()
    for name, values in model.parameters().items():
        names.add(name)
        if values.ndim == 1:
            np.testing.assert_array_equal(tensors[name], values)
            continue
        names.add(name + ".scale")
        columns = 2 if name == SPLIT and input_feeding else 1
        assert tensors[name].dtype == np.int8 and tensors[name].shape == values.shape
        assert tensors[name + ".scale"].dtype == np.float32
        assert tensors[name + ".scale"].size == columns * len(values)
        for block, scale in zip(
            np.split(values, [5] if columns == 2 else [], axis=1),
            tensors[name + ".scale"].reshape(len(values), columns).T,
            strict=True,
        ):
            np.testing.assert_array_equal(scale, quantize(block)[1])
    assert set(tensors) == names


@pytest.mark.parametrize(("compute_type", "dtype"), [("float16", "F16"), ("bfloat16", "BF16")])
def test_what_is_in_a_16_bit_folder(torch: Any, tmp_path: Path, compute_type: str, dtype: str) -> None:
    from safetensors import safe_open

    model = model_of()
    save_model(tmp_path, model, compute_type=compute_type)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        for name, values in model.parameters().items():
            stored = file.get_slice(name)
            assert stored.get_dtype() == (dtype if values.ndim == 2 else "F32")
            expected = torch.from_numpy(values.copy())
            if values.ndim == 2:
                expected = expected.to(getattr(torch, compute_type))
            assert torch.equal(file.get_tensor(name), expected)


@pytest.mark.parametrize(("compute_type", "least"), [("float16", 1.9), ("bfloat16", 1.9), ("int8", 3.5)])
def test_folders_are_smaller(tmp_path: Path, compute_type: str, least: float) -> None:
    model = Seq2Seq(Seq2SeqConfig(source_vocab_size=300, target_vocab_size=300))
    save_model(tmp_path / "a", model)
    save_model(tmp_path / "b", model, compute_type=compute_type)
    before, after = ((tmp_path / f / "model.safetensors").stat().st_size for f in "ab")
    assert before / after > least


def rows_for_every_option() -> list[dict[str, Any]]:
    """Each value of each option, with the first values of all others."""
    first = {name: values[0] for name, values in OPTIONS.items()}
    return [first] + [first | {name: value} for name, values in OPTIONS.items() for value in values[1:]]


@pytest.mark.parametrize("compute_type", SMALLER)
@pytest.mark.parametrize("row", rows_for_every_option(), ids=lambda row: "-".join(map(str, row.values())))
def test_a_quantised_folder_is_the_model_quantised_at_load(
    tmp_path: Path, row: dict[str, Any], compute_type: str
) -> None:
    config = Seq2SeqConfig(**small_network(row, encoder_hidden=9))
    save_model(tmp_path / "model", Seq2Seq(config, seed=2))
    quantize_model(tmp_path / "model", tmp_path / "smaller", compute_type)
    rng = np.random.default_rng(0)
    batch: list[Any] = [
        rng.integers(0, config.source_vocab_size, n)
        if config.source_vocab_size
        else rng.standard_normal((n, 4)).astype(np.float32)
        for n in (3, 5, 1)
    ]
    options: dict[str, Any] = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 9}
    found = []
    for folder, asked in (("model", compute_type), ("smaller", "default"), ("smaller", compute_type)):
        with Translator(tmp_path / folder, compute_type=asked) as translator:
            assert translator.compute_type == compute_type
            results = translator.translate_batch(batch, return_scores=True, **options)
            scores = translator.score_batch(batch, [[5, 6], [], [7]])
            found.append([(r.ids, r.scores) for r in results] + [s.log_probs.tobytes() for s in scores])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("compute_type", "tolerance"), [("float16", 0.005), ("bfloat16", 0.05), ("int8", 0.05)]
)
def test_a_quantised_model_is_near(folder: Path, compute_type: str, tolerance: float) -> None:
    sources, targets = [list("abc"), list("gfedcba"), ["d"]], [["H", "I"], ["P"] * 6, ["K"]]
    with Translator(folder) as exact, Translator(folder, compute_type=compute_type) as rounded:
        for a, b in zip(
            exact.score_batch(sources, targets), rounded.score_batch(sources, targets), strict=True
        ):
            assert np.abs(a.log_probs - b.log_probs).max() < tolerance
            assert a.log_probs.tobytes() != b.log_probs.tobytes()


def test_any_type_can_be_asked_of_any_folder(folder: Path, tmp_path: Path) -> None:
    quantize_model(folder, tmp_path / "int8", "int8")
    for compute_type in ("float32", *SMALLER):
        with Translator(tmp_path / "int8", compute_type=compute_type) as translator:
            assert translator.compute_type == compute_type
            assert translator.translate_batch([["a", "b"]], max_decoding_length=5)[0].hypotheses
    with Translator(tmp_path / "int8", compute_type="auto") as translator:
        assert translator.compute_type in ("float32", "int8")


# ---- folders that are wrong


def test_an_older_version_refuses_with_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantize_model(folder, tmp_path / "int8", "int8")
    monkeypatch.setattr(files, "FORMAT_VERSION", 1)
    load_model(folder)
    with pytest.raises(ValueError, match="reads formats up to 1, the model is of format 2; a newer version"):
        load_model(tmp_path / "int8")


Change = Callable[[dict[str, np.ndarray]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(SPLIT + ".scale"), f"tensor '{SPLIT}.scale' is missing"),
        (lambda t: t.update({SPLIT: t[SPLIT].astype(np.float32)}), f"'{SPLIT}' of dtype I8, got F32"),
        (
            lambda t: t.update({SPLIT: t[SPLIT][:, 1:].copy()}),
            rf"'{SPLIT}' of shape \[140, 40\], got \[140, 39\]",
        ),
        (
            lambda t: t.update({SPLIT + ".scale": t[SPLIT + ".scale"][:, 0].copy()}),
            rf"'{SPLIT}.scale' of shape \[140, 2\], got \[140\]",
        ),
        (lambda t: t.update({"decoder.output.bias.scale": np.ones(1, np.float32)}), "unknown tensor"),
    ],
)
def test_wrong_tensors_are_named(folder: Path, tmp_path: Path, change: Change, message: str) -> None:
    from safetensors.numpy import load_file, save_file

    out = tmp_path / "int8"
    quantize_model(folder, out, "int8")
    tensors = load_file(out / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors")
    for load in (load_model, Translator):
        with pytest.raises(ValueError, match=message):
            load(out)


@pytest.mark.parametrize("value", ["int4", None, 8, "default"])
def test_wrong_compute_types_are_named(folder: Path, tmp_path: Path, value: object) -> None:
    out = tmp_path / "int8"
    quantize_model(folder, out, "int8")
    settings = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(settings | {"compute_type": value}))
    with pytest.raises(
        ValueError, match="field 'compute_type': expected one of float32, float16, bfloat16, int8"
    ):
        load_model(out)


def test_weights_that_are_not_numbers_are_not_quantised(tmp_path: Path) -> None:
    model = model_of()
    model.parameters()["decoder.output.weight"][2, 3] = np.nan
    with pytest.raises(ValueError, match=r"'decoder\.output\.weight' is not finite"):
        save_model(tmp_path / "a", model, compute_type="int8")
    assert not (tmp_path / "a").exists()
    save_model(tmp_path / "b", model)
    with pytest.raises(ValueError, match=r"'decoder\.output\.weight' is not finite"):
        Translator(tmp_path / "b", compute_type="int8")


def test_a_type_that_there_is_not(tmp_path: Path) -> None:
    for compute_type in ("int4", "auto", "default", "", None):
        with pytest.raises(ValueError, match="compute_type as one of float32, float16, bfloat16, int8"):
            save_model(tmp_path / "a", model_of(), compute_type=compute_type)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["run", "run/best", "run/last"])
def test_a_training_runs_folder_is_its_own(folder: Path, tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint-000000003.safetensors").touch()
    for name in ("best", "last"):
        shutil.copytree(folder, run / name)
    with pytest.raises(
        ValueError, match="is a training run's: a model made of one needs a folder of its own"
    ):
        quantize_model(folder, tmp_path / place, "int8")
    assert contents(run / "best") == contents(run / "last") == contents(folder)
    quantize_model(run / "best", run / "int8", "int8")
    quantize_model(folder, tmp_path / "best", "int8")


# ---- the command line


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, " ".join(err.split())


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small"
    code, out, _ = run(capsys, "quantize", "--model", folder, "--out", small)
    assert code == 0 and out.startswith(f"{small}: int8, ") and "times fewer" in out
    code, out, _ = run(capsys, "info", "--model", small, "--json")
    assert (json.loads(out)["compute_type"], json.loads(out)["format_version"]) == ("int8", 2)
    lines = tmp_path / "lines.txt"
    lines.write_text("abc\n\ngfe\n")
    translated = [
        run(capsys, "translate", "--src", lines, "--max_length", 9, "--with_score", *options)
        for options in (
            ("--model", small),
            ("--model", folder, "--compute_type", "int8"),
            ("--model", small, "--intra_threads", 2, "--batch_size", 1),
        )
    ]
    assert translated[0][0] == 0 and translated[0][1].count("\n") == 3
    assert translated[0] == translated[1] == translated[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{model}"], "would be written over the one it is made of"),
        (["--out", "{out}", "--compute_type", "int4"], "for --compute_type, got 'int4'"),
        (["--out", "{out}", "--model", "{out}"], "no such folder"),
        ([], "--out"),
    ],
)
def test_mistakes_are_sentences(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {"model": folder, "out": tmp_path / "out"}
    before = contents(folder)
    code, _, err = run(capsys, "quantize", "--model", folder, *[a.format(**places) for a in arguments])
    assert code == 2 and message in err
    assert contents(folder) == before and not (tmp_path / "out").exists()


# ---- the extension


@pytest.mark.parametrize("compute_type", SMALLER)
@pytest.mark.parametrize("changes", [{}, {"decoder_cell": "gru", "input_feeding": False, "tie_output": True}])
def test_the_extension_rounds_by_the_same_rule(compute_type: str, changes: dict[str, Any]) -> None:
    """Packing the parameters as they are, and packing them once rounded, gives the same bits."""
    model = model_of(**changes)
    splits = column_splits(model.config)
    batch = np.arange(4, 11, dtype=np.int32), np.array([3, 4], np.int32)
    targets = np.array([5, 6, 2, 7, 2], np.int32), np.array([3, 2], np.int32)
    scores = []
    for everything in (True, False):
        native = model.config.native_model(compute_type=compute_type, trainable=False)
        assert native.compute_type == compute_type
        for name, values in model.parameters().items():
            rounded = round_to(name, values, compute_type, splits)
            # What is looked up, and what makes the table of the decoder's input products, is used in float32:
            # rounding that is left to whoever loads it.
            if not everything and "embedding" not in name:
                looked_up = model.config.target_embedding_dim if name == SPLIT else 0
                rounded[..., looked_up:] = values[..., looked_up:]
            native.load_parameter(name, rounded)
        scores.append(native.score(*batch, *targets).tobytes())
    assert scores[0] == scores[1]


def test_a_model_that_is_not_trained_has_no_gradients() -> None:
    native = model_of().config.native_model(trainable=False)
    ids, lengths = np.array([4, 5], np.int32), np.array([2], np.int32)
    for call in (
        lambda: native.grads,
        lambda: native.params,
        lambda: native.forward_backward(ids, lengths, ids, lengths, None, 0, 0, 0.0, "float32"),
    ):
        with pytest.raises(RuntimeError, match="not trainable"):
            call()
    assert not any(values.any() for values in native.state().values())
    assert native.loss(ids, lengths, ids, lengths, 0.0)[2] == 2


def test_what_a_translator_has_released_is_gone() -> None:
    native = model_of().config.native_model(trainable=False)
    _native.Translator([native], "probability", 1, 1)
    with pytest.raises(RuntimeError, match="has released"):
        native.state()
    with pytest.raises(RuntimeError, match=r"has released decoder\.output\.weight"):
        native.load_parameter("decoder.output.weight", np.zeros((13, 35), np.float32))


def test_a_compute_type_the_extension_does_not_know() -> None:
    with pytest.raises(ValueError, match="compute_type"):
        model_of().config.native_model(compute_type="int4")
