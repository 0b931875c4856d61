"""From manifests to batches, trained models, Translator and the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from command_line import Run
from models import lively
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Trainer, Translator
from seq2seq_fast.augmentation import Augmentation
from seq2seq_fast.checkpoint import Checkpoint, CheckpointFolder
from seq2seq_fast.cli import main
from seq2seq_fast.data import Dataset, Sequences
from seq2seq_fast.feature_data import FeatureDataset, FeatureSources, read_features
from seq2seq_fast.feature_files import FeatureSequences
from seq2seq_fast.files import load_model, save_model
from seq2seq_fast.front_end import FrontEnd, Statistics
from seq2seq_fast.manifest import Manifest, read_manifest
from seq2seq_fast.optim import Adam
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

pytestmark = pytest.mark.cpu_only("what is tested here is Python")

LETTERS = "abcdef"
WIDTH = 4
CODES = np.random.default_rng(0).normal(size=(len(LETTERS), WIDTH)) * [1, 10, 1, 1] + [0, 100, 0, 0]
TARGET = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys(LETTERS, 1)))
SPEAKERS = {"anna": 0.0, "berta": 3.0}


def spoken(rng: np.random.Generator, letters: str, offset: float) -> np.ndarray:
    """A letter is two or three vectors that are like its code; a speaker is an offset."""
    rows = np.repeat(np.arange(len(letters)), rng.integers(2, 4, len(letters)))
    codes = CODES[[LETTERS.index(letter) for letter in letters]]
    return (codes[rows] + rng.normal(scale=0.1, size=(len(rows), WIDTH)) + offset).astype(np.float16)


def write(folder: Path, name: str, count: int, seed: int, *, group: bool = True) -> Path:
    """A manifest of words in an archive; the second text of each is the first, backwards or not at all."""
    rng = np.random.default_rng(seed)
    arrays, lines = [], ["#features\tspeaker\ttext"] if group else []
    for i in range(count):
        letters = "".join(rng.choice(list(LETTERS), rng.integers(1, 5)))
        who = ("anna", "berta")[i % 2]
        arrays.append(spoken(rng, letters, SPEAKERS[who]))
        texts = [" ".join(letters)] + ([" ".join(letters[::-1])] if i % 10 == 0 else [])
        lines.append("\t".join([f"{name}.npz#{i}", *([who] if group else []), *texts]))
    np.savez(folder / f"{name}.npz", features=np.concatenate(arrays), lengths=[len(x) for x in arrays])
    path = folder / f"{name}.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    write(folder, "train", 600, 1)
    write(folder, "valid", 40, 2)
    return folder


@pytest.fixture(scope="module")
def manifest(data: Path) -> Manifest:
    return read_manifest(data / "train.tsv")


AUGMENTED = Augmentation(time_masks=1, time_mask_width=2, speed_change=0.2, noise=0.1)


def dataset(manifest: Manifest, augmentation: Augmentation | None = None, **settings: Any) -> FeatureDataset:
    settings = {"normalization": "group", "deltas": 1, **settings}
    front_end = FrontEnd.fit(manifest.sequences, manifest.groups, **settings)
    return read_features(manifest, TARGET, front_end, augmentation=augmentation)


# ---- batches


def test_batches_are_those_of_arrays_in_memory(manifest: Manifest) -> None:
    """A pair of each sequence with each of its texts, the features behind the front end."""
    found = dataset(manifest, AUGMENTED)
    front_end = found.sources.front_end
    assert manifest.groups is not None
    inputs = [
        front_end(manifest.sequences[i], manifest.groups[i])
        for i, texts in enumerate(manifest.texts)
        for _ in texts
    ]
    texts = [text for texts in manifest.texts for text in texts]
    assert len(texts) > len(manifest)
    expected = Dataset.from_sequences(inputs, [TARGET.encode(text) for text in texts], eos_id=2)
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.source_lengths, expected.source_lengths)
    np.testing.assert_array_equal(found.target_lengths, expected.target_lengths)
    rows = np.array([5, 0, len(found) - 1, 1])
    for name, value in vars(expected.batch(rows)).items():
        np.testing.assert_array_equal(getattr(found.batch(rows), name), value, err_msg=name)
    assert found.batch(rows).source.dtype == np.float32


def test_augmentation_does_not_depend_on_the_batch(manifest: Manifest) -> None:
    found = dataset(manifest, AUGMENTED)
    together = found.training_batch([3, 8, 5], update=7, seed=1)
    alone = found.training_batch([8], update=7, seed=1)
    start = together.source_lengths[0]
    assert together.source_lengths[1] == alone.source_lengths[0]
    np.testing.assert_array_equal(together.source[start : start + alone.source_lengths[0]], alone.source)
    assert not np.array_equal(found.training_batch([8], update=8, seed=1).source, alone.source)
    plain = dataset(manifest).training_batch([8], update=7, seed=1)
    np.testing.assert_array_equal(plain.source, found.batch([8]).source)


def test_limits_and_what_they_leave_out(manifest: Manifest) -> None:
    front_end = FrontEnd(WIDTH, stack=2)
    found = read_features(manifest, TARGET, front_end, max_source_length=3, max_target_length=2)
    assert found.source_lengths.max() == 3
    assert found.target_lengths.max() == 3
    assert set(found.dropped) == {"source too long", "target too long"}
    assert len(found) + sum(found.dropped.values()) == len(dataset(manifest))
    with pytest.raises(ValueError, match=r"train.tsv: no pair to read \(\d+ source too long\)"):
        read_features(manifest, TARGET, front_end, max_source_length=0)


def test_fingerprints(manifest: Manifest, tmp_path: Path) -> None:
    first = dataset(manifest).fingerprint()
    assert dataset(manifest).fingerprint() == first
    assert dataset(manifest, deltas=2).fingerprint() != first
    assert dataset(manifest, normalization="global").fingerprint() != first
    other = read_manifest(write(tmp_path, "train", len(manifest), 1))
    assert dataset(other).fingerprint() == first
    x = np.load(tmp_path / "train.npz")
    changed = x["features"].copy()
    changed[-1, 0] += 1
    np.savez(tmp_path / "train.npz", features=changed, lengths=x["lengths"])
    assert (
        dataset(read_manifest(tmp_path / "train.tsv"), normalization="none").fingerprint()
        != dataset(manifest, normalization="none").fingerprint()
    )


def test_a_dataset_that_is_wrong(manifest: Manifest) -> None:
    sequences = FeatureSequences.of_arrays([np.ones((2, 3), np.float32)])
    targets = Sequences(np.array([5, 2], np.int32), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="Expected feature vectors of 4 values, got 3"):
        FeatureSources(sequences, FrontEnd(4))
    with pytest.raises(ValueError, match="Expected groups of 1 sequences, got 2"):
        FeatureSources(sequences, FrontEnd(3), ["a", "b"])
    sources = FeatureSources(sequences, FrontEnd(3))
    with pytest.raises(ValueError, match=r"Expected pairs of shape \[2\], as many as targets, got \[1\]"):
        FeatureDataset(sources, [0], targets)
    with pytest.raises(ValueError, match="Expected pairs of sequences from 0 to 0"):
        FeatureDataset(sources, [0, 1], targets)
    with pytest.raises(ValueError, match="Expected no empty target, that of pair 1 is"):
        FeatureDataset(sources, [0, 0], Sequences(np.array([5], np.int32), np.array([0, 1, 1])))
    with pytest.raises(ValueError, match="Expected examples from 0 to 1"):
        FeatureDataset(sources, [0, 0], targets).batch([2])
    missing = FeatureSources(manifest.sequences, FrontEnd(WIDTH, "group"), manifest.groups)
    missing.groups = None
    with pytest.raises(ValueError, match=r"train.npz#0: \[front end\] Expected a group"):
        missing.get(0)


# ---- training


def config(width: int, **changes: Any) -> Seq2SeqConfig:
    small: dict[str, Any] = {
        "source_features": width,
        "target_vocab_size": len(TARGET.vocabulary),
        "target_embedding_dim": 8,
        "encoder_hidden": 16,
        "decoder_hidden": 24,
        "encoder_cell": "gru",
        "decoder_cell": "gru",
    }
    return Seq2SeqConfig(**small | changes)


@pytest.mark.parametrize("accum_count", [1, 3])
def test_a_run_that_is_resumed_has_the_same_bits(
    manifest: Manifest, tmp_path: Path, accum_count: int
) -> None:
    train = dataset(manifest, AUGMENTED)

    def fit(out: str, steps: int, **options: Any) -> Checkpoint:
        model = Seq2Seq(config(train.sources.front_end.width, dropout=0.1), seed=1)
        trainer = Trainer(
            model, Adam(lr=0.01), out=tmp_path / out, batch_size=60, max_steps=steps, accum_count=accum_count,
            progress=False,
        )  # fmt: skip
        trainer.fit(train, **options)
        latest = CheckpointFolder(tmp_path / out).latest()
        assert latest is not None
        return Checkpoint.load(latest)

    whole = fit("whole", 12)
    fit("parts", 5)
    parts = fit("parts", 12, resume=True)
    assert bits({"x": whole.parameters}) == bits({"x": parts.parameters})
    assert whole.settings["free"]["augmentation"]["speed_change"] == 0.2


def test_batches_of_an_update_are_told_its_number(manifest: Manifest, tmp_path: Path) -> None:
    """Whether a batch was made ahead or not, and however many make an update."""
    train = dataset(manifest, AUGMENTED)
    seen: list[tuple[int, list[int]]] = []
    make = train.training_batch

    def recorded(examples: Any, *, update: int, seed: int) -> Any:
        seen.append((update, list(examples)))
        return make(examples, update=update, seed=seed)

    train.training_batch = recorded  # type: ignore[method-assign]
    model = Seq2Seq(config(train.sources.front_end.width), seed=1)
    Trainer(model, batch_size=20, batch_type="examples", max_epochs=2, accum_count=2, progress=False).fit(
        train
    )
    per_epoch = -(-len(train) // 20)
    steps = -(-per_epoch // 2)
    expected = [epoch * steps + at // 2 for epoch in range(2) for at in range(per_epoch)]
    assert [update for update, _ in seen] == expected


def test_a_batch_that_cannot_be_read_ends_the_run_with_its_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 2), np.float32))
    np.save(tmp_path / "b.npy", np.full((3, 2), np.nan, np.float32))
    (tmp_path / "m.tsv").write_text("a.npy\ta\nb.npy\tb\n")
    train = read_features(read_manifest(tmp_path / "m.tsv"), TARGET, FrontEnd(2))
    with pytest.raises(ValueError, match=r"b.npy: expected finite features, got nan at \[0, 0\]"):
        Trainer(Seq2Seq(config(2)), max_steps=1, progress=False).fit(train)


# ---- Translator


@pytest.fixture(scope="module", params=["global", "group", "sequence"])
def folder(request: Any, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, whose outputs differ with its inputs."""
    path = tmp_path_factory.mktemp("model")
    settings = {"normalization": request.param, "deltas": 2, "stack": 2}
    front_end = FrontEnd.fit(manifest.sequences, manifest.groups, **settings)
    save_model(path, lively(config(front_end.width)), target=TARGET, front_end=front_end)
    return path


def test_a_translator_applies_the_front_end(folder: Path, manifest: Manifest) -> None:
    loaded = load_model(folder)
    assert loaded.front_end is not None
    assert manifest.groups is not None
    raw = [manifest.sequences[i] for i in range(6)]
    groups = manifest.groups[:6]
    behind = [loaded.front_end(x, who) for x, who in zip(raw, groups, strict=True)]
    by_group = loaded.front_end.normalization == "group"
    options: dict[str, Any] = {"groups": groups} if by_group else {}
    with Translator(folder) as translator:
        lengths = np.array([len(x) for x in behind], np.int32)
        expected = loaded.model.generate(np.concatenate(behind), lengths, max_decoding_length=6)
        found = translator.translate_batch(raw, max_decoding_length=6, return_scores=True, **options)
        assert [one.ids[0] for one in found] == [h[0].tokens for h in expected]
        assert [one.scores[0] for one in found] == [h[0].score for h in expected]
        assert len({tuple(one.ids[0]) for one in found}) > 1

        scores = translator.score_batch(raw, [["a", "b"]] * 6, **options)
        assert len({float(one.log_probs[0]) for one in scores}) == 6

        empty = np.zeros((0, WIDTH), np.float32)
        with_empty = {"groups": ["anna", *groups]} if by_group else {}
        again = translator.translate_batch([empty, *raw], max_decoding_length=6, **with_empty)
        assert again[0].hypotheses == [[]]
        assert [one.ids for one in again[1:]] == [one.ids for one in found]

        with pytest.raises(ValueError, match=r"source 0 of shape \[length, 4\], got \[3, 24\]"):
            translator.translate_batch(
                [np.zeros((3, 24), np.float32)], **({"groups": ["anna"]} if by_group else {})
            )


def test_groups_of_a_translator(folder: Path, manifest: Manifest) -> None:
    x = manifest.sequences[0]
    with Translator(folder) as translator:
        assert translator.front_end is not None
        if translator.front_end.normalization != "group":
            with pytest.raises(
                ValueError, match="Expected no groups: this model does not normalise by group"
            ):
                translator.translate_batch([x], groups=["anna"])
            return
        with pytest.raises(ValueError, match="Expected groups, as this model normalises by group; got none"):
            translator.translate_batch([x])
        with pytest.raises(ValueError, match="Expected groups for 1 sources, got 2"):
            translator.score_batch([x], [["a"]], groups=["anna", "anna"])
        with pytest.raises(ValueError, match=r"In source 1: .*a group whose statistics are known.*'carla'"):
            translator.translate_batch([x, x], groups=["anna", "carla"])
        known = translator.front_end.statistics["anna"]
        results = [
            translator.score_batch([x], [["a"]], groups=[group])[0].log_probs
            for group in ("anna", Statistics(known.mean, known.scale), "berta")
        ]
        np.testing.assert_array_equal(results[0], results[1])
        assert not np.array_equal(results[0], results[2])


def test_an_ensemble_has_one_front_end(folder: Path, tmp_path: Path) -> None:
    loaded = load_model(folder)
    save_model(tmp_path, loaded.model, target=TARGET, front_end=FrontEnd(WIDTH, deltas=2, stack=2))
    Translator([folder, folder]).close()
    with pytest.raises(ValueError, match="Expected models of one front end"):
        Translator([folder, tmp_path])


# ---- the command line


OPTIONS: tuple[object, ...] = (
    *("--data_type", "features", "--normalization", "group", "--deltas", 1, "--feature_noise", 0.1),
    *("--time_masks", 1, "--time_mask_width", 1, "--rnn_type", "gru", "--hidden_size", 24),
    *(
        "--word_vec_size",
        12,
        "--learning_rate",
        0.01,
        "--batch_size",
        150,
        "--valid_metric",
        "token_error_rate",
    ),
)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    files = ("--train", data / "train.tsv", "--valid", data / "valid.tsv", "--out", out)
    arguments = ("train", *files, *OPTIONS, "--max_epochs", 12)
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    assert (end.value.code or 0) == 0
    return out


def test_the_command_line_learns_from_features(trained: Path, data: Path, run: Run, tmp_path: Path) -> None:
    metrics = ("--metrics", "token_error_rate,exact_match,loss,perplexity", "--out", tmp_path / "o")
    text = run.done("evaluate", "--model", trained, "--data", data / "valid.tsv", "--json", *metrics).lines
    record = json.loads(text[0])
    assert record["sources"] == 40
    assert record["metrics"]["token_error_rate"] < 0.3
    assert record["metrics"]["perplexity"] == pytest.approx(np.exp(record["metrics"]["loss"]))
    rows = [line.split("\t") for line in (tmp_path / "o").read_text().splitlines()]
    assert [row[0] for row in rows] == [f"valid.npz#{i}" for i in range(40)]
    assert len(rows[0]) == 4  # two references
    assert np.mean([row[1] in row[2:] for row in rows]) == record["metrics"]["exact_match"]


def test_translate_reads_manifests(trained: Path, data: Path, run: Run, tmp_path: Path) -> None:
    lines = run.done("translate", "--model", trained, "--src", data / "valid.tsv").lines
    assert len(lines) == 40
    same = run.done("translate", "--model", trained, "--src", data / "valid.tsv", "--batch_size", 3).lines
    assert same == lines
    by_tokens = run.done("translate", "--model", trained, "--src", data / "valid.tsv", "--batch_size", 20,
                    "--batch_type", "tokens").lines  # fmt: skip
    assert by_tokens == lines
    absolute = f"#features\tgroup\n{data / 'valid.npz'}#3\tberta\n"
    found = run.done("translate", "--model", trained, "--json", "--with_attention", stdin=absolute).lines
    record = json.loads(found[0])
    assert record["source"] == f"{data / 'valid.npz'}#3"
    assert record["hypotheses"][0]["text"] == lines[3]
    attention = np.array(record["hypotheses"][0]["attention"])
    assert (
        attention.shape[1] == record["source_length"] == len(read_manifest(data / "valid.tsv").sequences[3])
    )
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-4)


def test_what_translator_and_command_line_say_is_the_same(trained: Path, data: Path, run: Run) -> None:
    lines = run.done("translate", "--model", trained, "--src", data / "valid.tsv", "--with_score").lines
    valid = read_manifest(data / "valid.tsv")
    with Translator(trained / "best") as translator:
        raw = [valid.sequences[i] for i in range(len(valid))]
        found = translator.translate_batch(raw, groups=valid.groups, beam_size=5, return_scores=True)
    assert lines == [f"{one.scores[0]:.4f} ||| {' '.join(one.hypotheses[0])}" for one in found]


def test_speakers_that_training_did_not_know(trained: Path, data: Path, run: Run, tmp_path: Path) -> None:
    """They are normalised by what the manifest has of them: another offset changes next to nothing."""
    valid = read_manifest(data / "valid.tsv")
    arrays = [valid.sequences[i] + 40 for i in range(0, 40, 2)]
    np.savez(tmp_path / "x.npz", features=np.concatenate(arrays), lengths=[len(x) for x in arrays])
    lines = [f"x.npz#{i}\tcarla\t{valid.texts[2 * i][0]}" for i in range(20)]
    (tmp_path / "x.tsv").write_text("#features\tspeaker\n" + "\n".join(lines) + "\n")
    same = [line.replace("x.npz#", f"{tmp_path / 'y.npz'}#").replace("carla", "doris") for line in lines]
    np.savez(tmp_path / "y.npz", features=np.concatenate(arrays) - 40, lengths=[len(x) for x in arrays])
    found = run.done("translate", "--model", trained, "--src", tmp_path / "x.tsv").lines
    shifted = run.done(
        "translate", "--model", trained, stdin="#features\tspeaker\n" + "\n".join(same) + "\n"
    ).lines
    assert sum(a == b for a, b in zip(found, shifted, strict=True)) >= 18


def test_a_run_of_features_is_resumed(data: Path, run: Run, tmp_path: Path) -> None:
    files = ("--train", data / "valid.tsv", "--valid", data / "valid.tsv", *OPTIONS)
    run.done("train", *files, "--out", tmp_path / "whole", "--train_steps", 6)
    run.done("train", *files, "--out", tmp_path / "parts", "--train_steps", 3)
    run.done("train", "--out", tmp_path / "parts", "--train_steps", 6, "--resume")
    for name in ("model.safetensors", "front_end.safetensors", "config.json"):
        whole, parts = (tmp_path / out / "last" / name for out in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--copy_attn",), "--copy_attn is for sources of text: --data_type text"),
        (("--src_vocab_size", 5), "--src_vocab_size is for sources of text"),
        (("--cache",), "--cache is for sources of text"),
        (("--data_type", "text", "--deltas", 1), "--deltas is for sources of features: --data_type features"),
        (("--speed_change", 2), "Expected --speed_change from 0 to 0.9"),
        (("--stack_frames", 0), "Expected --stack_frames of at least 1"),
        (("--normalization", "speaker"), "expected one of none, global, group, sequence"),
    ],
)
def test_options_that_do_not_fit(
    data: Path, run: Run, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    files = ("--train", data / "train.tsv", "--out", tmp_path / "run", "--data_type", "features")
    assert message in run.done("train", *files, *arguments, code=2).err


def test_data_that_are_wrong(trained: Path, data: Path, run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", a=np.zeros((2, 5), np.float32))
    (tmp_path / "wide.tsv").write_text("#features\tgroup\nwide.npz#a\tanna\tx\n")
    message = run.done("translate", "--model", trained, "--src", tmp_path / "wide.tsv", code=2).err
    assert "wide.tsv: [features] Expected feature vectors of 4 values, got 5" in message
    (tmp_path / "none.tsv").write_text(f"{data / 'valid.npz'}#0\tx\n")
    message = run.done("evaluate", "--model", trained, "--data", tmp_path / "none.tsv", code=2).err
    assert "none.tsv: [front end] Expected groups, as normalization is by group; got none" in message
    np.savez_compressed(tmp_path / "small.npz", a=np.zeros((2, 4), np.float32))
    (tmp_path / "small.tsv").write_text("#features\tgroup\nsmall.npz#a\tanna\tx\n")
    source = ("translate", "--model", trained, "--src", tmp_path / "small.tsv")
    assert "it is compressed" in run.done(*source, code=2).err
    assert len(run.done(*source, "--features_in_memory").lines) == 1
    (tmp_path / "prefix.txt").write_text("no such token\n")
    prefix = ("--features_in_memory", "--target_prefix", tmp_path / "prefix.txt")
    assert "is not in the target vocabulary" in run.done(*source, *prefix, code=2).err
    manifest = f"#features\tgroup\n{tmp_path / 'small.npz'}#a\tanna\tx\n"
    evaluate = ("evaluate", "--model", trained, "--data", "-", "--features_in_memory", "--json")
    assert run.done(*evaluate, stdin=manifest).records[0]["sources"] == 1
    (tmp_path / "t.txt").write_text("a\n")
    score = ("score", "--model", trained, "--src", tmp_path / "t.txt", "--tgt", tmp_path / "t.txt")
    assert "the sources of this model are feature vectors" in run.done(*score, code=2).err


def test_quantize_average_and_info_keep_the_front_end(
    trained: Path, data: Path, run: Run, tmp_path: Path
) -> None:
    run.done("quantize", "--model", trained, "--out", tmp_path / "small")
    run.done("average", "--run", trained, "--out", tmp_path / "mean")
    for folder in (tmp_path / "small", tmp_path / "mean"):
        assert len(run.done("translate", "--model", folder, "--src", data / "valid.tsv").lines) == 40
        front_end = load_model(folder).front_end
        assert front_end is not None
        assert sorted(front_end.statistics) == ["anna", "berta"]
    facts = json.loads(run.done("info", "--model", trained, "--json").lines[0])
    assert facts["front_end"]["normalization"] == "group"
    assert facts["front_end"]["groups"] == 2


def test_damaged_front_ends_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"deltas": 7}, "config.json: field 'front_end': .*deltas from 0 to 2"),
        ({"features": 5}, "the front end makes vectors|front_end.safetensors"),
        ({"groups": "x"}, "field 'front_end.groups': expected a list of names"),
        ({"groups": ["a", "a"]}, "field 'front_end.groups'"),
        ({"color": 1}, "unknown field 'front_end.color'"),
        ({"normalization": "global", "groups": ["x"]}, r"field 'front_end.groups': expected \[''\]"),
    ]
    for change, message in changes:
        path.write_text(json.dumps({**config, "front_end": config["front_end"] | change}))
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path / "model")
    del config["front_end"]["stack"]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"field 'front_end\.stack' is missing"):
        load_model(tmp_path / "model")
