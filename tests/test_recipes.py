"""The recipes of examples/, each on a part of its data and with a small network: they run, and they learn."""

from __future__ import annotations

import gzip
import importlib.util
import json
import lzma
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_fast.files import load_model
from seq2seq_fast.manifest import read_manifest

pytestmark = [pytest.mark.cpu_only("they take minutes there"), pytest.mark.big]

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def lines_of(name: str, file: str, count: int) -> list[str]:
    path = DATA / name / file
    if not path.exists():
        pytest.skip(f"The data set {name} is not beside the project.")
    opener = lzma.open if path.suffix == ".xz" else gzip.open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [line.rstrip("\n") for line, _ in zip(stream, range(count), strict=False)]


def example(name: str) -> Any:
    """A recipe's script as a module."""
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepared(name: str, script: str, file: str, folder: Path) -> list[str]:
    """The pairs that a recipe makes of a file of its data."""
    lines_of(name, file, 1)  # or skip
    example(script).main(str(DATA / name / file), str(folder / "pairs.tsv"))
    return (folder / "pairs.tsv").read_text(encoding="utf-8").split("\n")[:-1]


def train(folder: Path, pairs: list[str], *options: object) -> float:
    """Learn all but the last 100 pairs; return the least loss of those, per token, of any validation."""
    (folder / "train.tsv").write_text("\n".join(pairs[:-100]) + "\n", encoding="utf-8")
    (folder / "valid.tsv").write_text("\n".join(pairs[-100:]) + "\n", encoding="utf-8")
    files = ("--train", folder / "train.tsv", "--valid", folder / "valid.tsv", "--out", folder / "run")
    arguments = [str(argument) for argument in (*files, *options)]
    subprocess.run([sys.executable, "-m", "seq2seq_fast", "train", *arguments], check=True)
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return float(min(value["loss"] for line in lines if (value := json.loads(line))["event"] == "valid"))


def entropy(folder: Path, valid: str = "valid.tsv") -> float:
    """The loss per token, end tokens too, of the best guess that is always the same."""
    target = load_model(folder / "run" / "last").target
    assert target is not None
    lines = (folder / valid).read_text(encoding="utf-8").split("\n")[:-1]
    texts = [text for line in lines for text in line.split("\t")[1:]]
    counts = Counter(token for text in texts for token in [*target.tokenizer.tokenize(text), "</s>"])
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())


def test_g2p(tmp_path: Path) -> None:
    pairs = lines_of("g2p_cmudict", "train.tsv.gz", 110_000)[::20]
    small = ("--enc_layers", 1, "--enc_hid_size", 48, "--dec_hid_size", 64, "--word_vec_size", 32)
    faster = ("--train_steps", 250, "--learning_rate", 0.01, "--warmup_steps", 20)
    assert train(tmp_path, pairs, "--preset", "g2p", *small, *faster) < 0.5 * entropy(tmp_path)


def test_translation(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    pytest.importorskip("sacrebleu")
    sides = [lines_of("mt_multi30k", f"tok/train.lc.norm.tok.{side}.gz", 4000) for side in ("en", "de")]
    pairs = ["\t".join(pair) for pair in zip(*sides, strict=True)]
    small = ("--enc_hid_size", 64, "--dec_hid_size", 128, "--word_vec_size", 128, "--subword_vocab_size", 600)
    faster = ("--train_steps", 400, "--learning_rate", 0.003, "--warmup_steps", 20, "--batch_size", 500)
    regular = ("--dropout", 0.1, "--label_smoothing", 0)
    loss = train(tmp_path, pairs, "--preset", "translation", *small, *faster, *regular)
    assert loss < 0.8 * entropy(tmp_path)


def test_summarization(tmp_path: Path) -> None:
    pytest.importorskip("rouge_score")
    pairs = prepared("summ_debian", "summ_debian/prepare", "train.tsv.xz", tmp_path)[::12]
    small = ("--enc_hid_size", 48, "--dec_hid_size", 64, "--word_vec_size", 48, "--attention_dim", 48)
    faster = ("--train_steps", 200, "--learning_rate", 0.006, "--warmup_steps", 20, "--batch_size", 24)
    regular = ("--dropout", 0.1, "--label_smoothing", 0, "--src_seq_length", 60, "--average_decay", 0.02)
    loss = train(tmp_path, pairs, "--preset", "summarization", *small, *faster, *regular)
    assert loss < 0.9 * entropy(tmp_path)


@pytest.mark.parametrize(
    ("name", "script", "file"),
    [
        ("qa_geo_jobs_atis", "qa_logic/prepare", "atis.train.tsv.gz"),
        ("qa_geosql", "qa_geosql/prepare", "train.tsv.gz"),
    ],
)
def test_semantic_parsing(name: str, script: str, file: str, tmp_path: Path) -> None:
    pairs = prepared(name, script, file, tmp_path)[:700]
    random.Random(0).shuffle(pairs)
    small = ("--enc_hid_size", 40, "--dec_hid_size", 80, "--word_vec_size", 40, "--dropout", 0.2)
    faster = ("--max_epochs", 9, "--learning_rate", 0.01, "--label_smoothing", 0, "--average_decay", 0.04)
    loss = train(tmp_path, pairs, "--preset", "semantic_parsing", *small, *faster)
    assert loss < 0.85 * entropy(tmp_path)


def test_speech(tmp_path: Path) -> None:
    """Short utterances, few epochs: no words yet, but more than the letters' frequencies."""
    pytest.importorskip("jiwer")
    lines_of("asr_an4", "an4.dic.gz", 1)  # or skip
    example("asr_an4/prepare").main(str(DATA / "asr_an4"), str(tmp_path))
    train, dev = (read_manifest(tmp_path / f"{split}.tsv") for split in ("train", "dev"))
    assert (len(train), len(dev)) == (883, 65)
    assert not {*train.groups} & {*dev.groups}
    for split in ("train", "dev"):
        header, *lines = (tmp_path / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        short = [line for line in lines if len(line.split("\t")[2]) < 20]
        (tmp_path / f"{split}.small.tsv").write_text("\n".join([header, *short]) + "\n", encoding="utf-8")
    files = ("--train", tmp_path / "train.small.tsv", "--valid", tmp_path / "dev.small.tsv")
    small = ("--enc_hid_size", 48, "--dec_hid_size", 64, "--word_vec_size", 32, "--attention_dim", 48)
    faster = ("--max_epochs", 6, "--learning_rate", 0.006, "--warmup_steps", 10, "--average_decay", 0.02)
    regular = ("--dropout", 0.1, "--label_smoothing", 0, "--ctc_weight", 0.1, "--valid_metric", "loss")
    arguments = (*files, "--out", tmp_path / "run", "--preset", "speech", *small, *faster, *regular)
    subprocess.run([sys.executable, "-m", "seq2seq_fast", "train", *map(str, arguments)], check=True)
    found = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["loss"] < 0.8 * entropy(tmp_path, "dev.small.tsv"), found
    command = ("evaluate", "--model", tmp_path / "run", "--data", tmp_path / "dev.small.tsv", "--json")
    search = ("--metrics", "cer,wer", "--beam_size", 2, "--ctc_weight", 0.3, "--max_length", 40)
    evaluate = [sys.executable, "-m", "seq2seq_fast", *map(str, (*command, *search))]
    rates = json.loads(subprocess.run(evaluate, check=True, capture_output=True).stdout)["metrics"]
    assert 0 < rates["cer"] < 0.9 and rates["wer"] > 0, rates

    picture = example("asr_an4/picture")
    letters, attention, cepstra = picture.hear(str(tmp_path / "run"), str(tmp_path / "test.tsv"), 3)
    assert attention.shape == (len(letters), -(-len(cepstra) // 6))  # three frames, then two states, are one
    pytest.importorskip("matplotlib")
    picture.draw(letters, attention, cepstra, str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """Flickr8k's manifests, and smaller ones beside them."""
    lines_of("caption_flickr8k", "captions.dev.tsv.gz", 1)  # or skip
    example("caption_flickr8k/prepare").main(str(DATA / "caption_flickr8k"), str(tmp_path))
    for split, every in (("train", 8), ("dev", 10)):
        lines = (tmp_path / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[::every]
        (tmp_path / f"{split}.small.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_captions_are_prepared(captions: Path) -> None:
    train, dev = (read_manifest(captions / f"{split}.tsv") for split in ("train", "dev"))
    assert (len(train), len(dev)) == (6000, 1000)
    assert train.texts[0][0] == "a black dog is running after a white dog in the snow"
    with np.load(DATA / "caption_flickr8k" / "features.npz") as features:
        for manifest, first in ((train, 0), (dev, 6000)):
            expected = features["grid_cm"][:, first + 7].T.astype(np.float32)
            found = manifest.sequences[7]
            np.testing.assert_allclose(found * (expected.std() / found.std()), expected, rtol=1e-5)
    cells = np.concatenate([train.sequences[i] for i in range(len(train))])
    assert cells.var(axis=0).mean() == pytest.approx(1.0, abs=1e-3)


def test_captioning(captions: Path) -> None:
    pytest.importorskip("sacrebleu")
    files = ("--train", captions / "train.small.tsv", "--valid", captions / "dev.small.tsv")
    small = ("--enc_hid_size", 64, "--dec_hid_size", 96, "--word_vec_size", 64, "--attention_dim", 64)
    faster = ("--train_steps", 350, "--learning_rate", 0.008, "--warmup_steps", 20, "--average_decay", 0.02)
    regular = ("--dropout", 0.1, "--label_smoothing", 0, "--feature_noise", 0.1, "--time_masks", 1)
    options = ("--batch_size", 32, "--valid_metric", "loss", *small, *faster, *regular)
    arguments = (*files, "--out", captions / "run", "--preset", "captioning", *options)
    command = [sys.executable, "-m", "seq2seq_fast"]
    subprocess.run([*command, "train", *map(str, arguments)], check=True)

    # It knows more than words, and of its picture more than of another.
    lines = [line.split("\t") for line in (captions / "dev.small.tsv").read_text("utf-8").splitlines()]
    other = ["\t".join([lines[i - 1][0], *lines[i][1:]]) for i in range(len(lines))]
    (captions / "other.tsv").write_text("\n".join(other) + "\n", encoding="utf-8")
    losses = []
    for name in ("dev.small.tsv", "other.tsv"):
        evaluate = ("evaluate", "--model", captions / "run", "--data", captions / name, "--json", "--metrics",
                    "loss,caption_bleu1,caption_bleu4", "--length_penalty", "0.7")  # fmt: skip
        found = subprocess.run([*command, *map(str, evaluate)], check=True, capture_output=True, text=True)
        metrics = json.loads(found.stdout)["metrics"]
        assert metrics["caption_bleu1"] > metrics["caption_bleu4"]
        losses.append(metrics["loss"])
    assert losses[0] < 0.85 * entropy(captions, "dev.small.tsv")
    assert losses[0] < losses[1] - 0.02

    picture = example("caption_flickr8k/picture")
    words, attention = picture.caption(str(captions / "run"), str(captions / "dev.tsv"), 3)
    assert attention.shape == (len(words), 16)
    pytest.importorskip("matplotlib")
    picture.draw(words, attention, str(captions / "a.png"))
    assert (captions / "a.png").read_bytes().startswith(b"\x89PNG")


def test_entities_are_cut_and_joined() -> None:
    logic = example("qa_logic/prepare")
    form = "( _miles_distant sfo:_ap san_francisco:_ci ) ( _from $0 _airline:_e ) ( _= $1 1200:_ti )"
    assert logic.cut(form) == (
        "( _miles_distant sfo :_ap san francisco :_ci ) ( _from $0 _airline:_e ) ( _= $1 1200 :_ti )"
    )
    assert logic.join(logic.cut(form)) == form


def test_variables_lose_their_quotes_and_get_them_back() -> None:
    sql = example("qa_geosql/prepare")
    template = (
        'SELECT CITYalias0.CITY_NAME FROM CITY AS CITYalias0 WHERE CITYalias0.STATE_NAME = "state_name0" ;'
    )
    assert sql.unquote(template).split().count("state_name0") == 1
    assert sql.quote(sql.unquote(template)) == template


def test_etth(tmp_path: Path) -> None:
    """Less error than the best constant guess: 1, of standardised channels, but for how the years differ."""
    lines = lines_of("ts_etth", "ETTh1.csv.xz", 9001)
    (tmp_path / "etth1.csv").write_text("\n".join(lines) + "\n")
    config = Path(__file__).parent.parent / "examples" / "ts_etth" / "etth1.yaml"
    small = ("--prediction_length", 24, "--context_length", 48, "--hidden_size", 8)
    part = ("--end", 9000, "--stride", 3)
    faster = ("--train_steps", 60, "--valid_steps", 60, "--learning_rate", 0.005, "--batch_size", 32)
    files = ("-c", config, "--train", tmp_path / "etth1.csv", "--out", tmp_path / "run")
    command = [sys.executable, "-m", "seq2seq_fast", "forecast"]
    arguments = [str(argument) for argument in (*files, *small, *part, *faster)]
    subprocess.run([*command, "train", *arguments], check=True)
    judged = ("--model", tmp_path / "run", "--data", tmp_path / "etth1.csv", "--begin", 8640)
    figures = subprocess.run(
        [*command, "evaluate", *map(str, judged), "--standardized", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    values = np.array([line.split(",")[1:] for line in lines[1:]], np.float64)
    train, valid = values[:8640], values[8640:]
    guess = (((valid - train.mean(axis=0)) / train.std(axis=0)) ** 2).mean()
    assert json.loads(figures.stdout)["mse"] < 0.6 * guess


def test_entities_are_exchanged_in_question_and_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples" / "qa_logic"))
    recombine = example("qa_logic/recombine")
    pairs = [
        ("from salt lake city on may first", "( _from san_jose:_ci salt_lake_city:_ci 1:_dn may:_mn )"),
        ("to san jose by 5 pm on june third", "( _to san_jose:_ci 1700:_ti 3:_dn june:_mn )"),
        ("from st. paul at 830am", "( _from st_paul:_ci 830:_ti )"),
        ("boston airport to boston airport", "( _from boston:_ci )"),
    ]
    lexicon = recombine.learn(pairs)
    assert lexicon["st_paul:_ci"] == ["st. paul"] and lexicon["3:_dn"] == ["third"]
    assert "5pm" in lexicon["1700:_ti"] and "8:30 am" not in lexicon["830:_ti"]
    made = recombine.more(pairs, 20, random.Random(0))
    assert [pair for pair in pairs if pair not in made] == []
    for question, form in made:
        if (question, form) in pairs:
            continue
        for entity in set(recombine.entities(form)) - {"san_jose:_ci"}:
            assert any(phrase in question for phrase in lexicon[entity]), (question, form)
    assert not any("airport" in question for question, _ in made if question != pairs[3][0])


def test_more_pairs_look_as_prepared_pairs_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples" / "qa_logic"))
    line = "to salt lake city\t( _to salt_lake_city:_ci )\n"
    (tmp_path / "pairs.tsv").write_text(line)
    with gzip.open(tmp_path / "pairs.tsv.gz", "wt") as file:
        file.write(line)
    example("qa_logic/recombine").main(str(tmp_path / "pairs.tsv"), "0", str(tmp_path / "more.tsv"))
    example("qa_logic/prepare").main(str(tmp_path / "pairs.tsv.gz"), str(tmp_path / "test.tsv"))
    assert (tmp_path / "more.tsv").read_text() == (tmp_path / "test.tsv").read_text()


def test_phrases_are_nested_in_place_of_names() -> None:
    nest = example("qa_logic/nest")
    pairs = [
        ("what is the capit of s0", "capital:c s0"),
        ("which state border s0", "lambda $0 e ( and ( state:t $0 ) ( next_to:t $0 s0 ) )"),
        ("what state border most state", "argmax $0 ( state:t $0 ) ( count $1 ( next_to:t $0 $1 ) )"),
    ]
    assert nest.more(pairs, 9, random.Random(0)) == [
        pairs[0],
        (
            "what is the capit of the state that border most state",
            "capital:c ( argmax $1 ( state:t $1 ) ( count $2 ( next_to:t $1 $2 ) ) )",
        ),
        pairs[1],
        (
            "which state border the state that border most state",
            "lambda $0 e ( and ( state:t $0 ) ( next_to:t $0 "
            "( argmax $1 ( state:t $1 ) ( count $2 ( next_to:t $1 $2 ) ) ) ) )",
        ),
        pairs[2],
    ]


def test_nested_forms_are_numbered_as_the_data_are(tmp_path: Path) -> None:
    """A form's n-th enclosing variable is $n, but in three of 432."""
    nest = example("qa_logic/nest")
    rows = [line.split("\t") for line in lines_of("qa_geo_jobs_atis", "geo.train.tsv.gz", 600)]
    made = nest.more([(row[0], row[1]) for row in rows], 2, random.Random(0))
    assert len(made) > 1200
    wrong = 0
    for _, form in made:
        tokens = form.split()
        assert tokens.count("(") == tokens.count(")")
        binders = [i for i, token in enumerate(tokens) if token in set(nest.BINDERS) - {"capital:c"}]
        wrong += sum(tokens[i + 1] != f"${nest.depth(tokens[:i])}" for i in binders)
    assert wrong < 20
