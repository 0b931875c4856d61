"""use_vmap: a shortlist that is learnt from pairs, kept with the model, and obeyed source by source."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from command_line import Run
from models import SOURCE, WORDS, lively, plain, sentences
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast import lexical_model as learning
from seq2seq_fast.data import Dataset
from seq2seq_fast.decoding import decode
from seq2seq_fast.files import quantize_model, save_model
from seq2seq_fast.lexical_model import learn_shortlist, lexical_table, make_shortlist
from seq2seq_fast.lexical_shortlist import (
    LexicalShortlist,
    from_lists,
    load_shortlist,
    save_shortlist,
    shortlist_of_vmap,
)
from seq2seq_fast.tensor_file import write_tensors
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SpaceTokenizer
from seq2seq_fast.vocab import Vocabulary

LETTERS = list("abcdefghijklmnopqrst")
TARGET = TextField(SpaceTokenizer(), Vocabulary.build(dict.fromkeys(LETTERS, 1)))
DICTIONARY = dict(zip(WORDS, LETTERS[7:] + LETTERS[:7], strict=True))
V = len(TARGET.vocabulary)
EOS = TARGET.vocabulary.eos_id or 0
UNK = TARGET.vocabulary.unk_id or 0
EVERYTHING: dict[str, Any] = {
    "max_decoding_length": 8,
    "beam_size": 3,
    "num_hypotheses": 2,
    "return_scores": True,
    "return_token_scores": True,
}


def translated(sentence: list[str], rng: np.random.Generator) -> list[str]:
    """By the dictionary, in another order."""
    found = [DICTIONARY[word] for word in sentence]
    rng.shuffle(found)
    return found


def write_pairs(path: Path, count: int = 300) -> Path:
    rng = np.random.default_rng(9)
    lines = [f"{' '.join(one)}\t{' '.join(translated(one, rng))}\n" for one in sentences(count)]
    path.write_text("".join(lines))
    return path


def random_pairs(num: int, seed: int, size: int = 6) -> Dataset:
    rng = np.random.default_rng(seed)
    sources = [rng.integers(0, size, rng.integers(1, 6)).tolist() for _ in range(num)]
    targets = [rng.integers(3, size + 3, rng.integers(0, 6)).tolist() for _ in range(num)]
    return Dataset.from_sequences(sources, targets, eos_id=EOS)


def slow_model_1(pairs: Dataset, null: int, iterations: int) -> dict[tuple[int, int], float]:
    """Brown et al. 1993, as it is written."""
    sentences = [
        ([null, *pairs.source[i].tolist()], pairs.target[i].tolist()[:-1]) for i in range(len(pairs))
    ]
    t: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        totals: dict[int, float] = defaultdict(float)
        for source, target in sentences:
            for f in target:
                norm = sum(t[e, f] for e in source)
                for e in source:
                    counts[e, f] += t[e, f] / norm
                    totals[e] += t[e, f] / norm
        t = defaultdict(float, {(e, f): count / totals[e] for (e, f), count in counts.items()})
    return t


# ---- learning


@pytest.mark.parametrize("iterations", [1, 2, 6])
@pytest.mark.parametrize("chunk", [40, 1 << 20])
def test_equals_model_1_as_it_is_written(monkeypatch: Any, iterations: int, chunk: int) -> None:
    monkeypatch.setattr(learning, "CHUNK", chunk)
    pairs = random_pairs(50, seed=2)
    table = lexical_table(pairs, 7, 12, rows=np.arange(50), iterations=iterations)
    found = dict(
        zip(
            zip(table.source.tolist(), table.target.tolist(), strict=True),
            table.probability.tolist(),
            strict=True,
        )
    )
    expected = slow_model_1(pairs, 7, iterations)
    assert list(found) == sorted(expected)
    assert found == pytest.approx(dict(expected), rel=1e-12, abs=1e-15)


def test_few_entries_stay_where_there_is_no_room(monkeypatch: Any) -> None:
    pairs = random_pairs(50, seed=2)
    whole = lexical_table(pairs, 7, 12, rows=np.arange(50), iterations=1)
    table = lexical_table(pairs, 7, 12, rows=np.arange(50), iterations=1, most_entries=10)
    assert len(table.source) == 10
    kept = set(zip(table.source.tolist(), table.target.tolist(), strict=True))
    # The ones of the largest counts: with one iteration these are the probabilities times the source's sums.
    weights = slow_counts(pairs)
    order = sorted(weights, key=lambda pair: -weights[pair])
    assert len(whole.source) > 10 and kept == set(order[:10])
    later = lexical_table(pairs, 7, 12, rows=np.arange(50), iterations=4, most_entries=10, prune=0.05)
    assert 0 < len(later.source) <= 10 and np.isfinite(later.probability).all()


def slow_counts(pairs: Dataset) -> dict[tuple[int, int], float]:
    counts: dict[tuple[int, int], float] = defaultdict(float)
    for i in range(len(pairs)):
        source = [7, *pairs.source[i].tolist()]
        for f in pairs.target[i].tolist()[:-1]:
            for e in source:
                counts[e, f] += 1 / len(source)
    return counts


def test_a_known_dictionary_is_learnt_exactly(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    shortlist = make_shortlist(folder, write_pairs(tmp_path / "pairs.tsv"), best=1, frequent=0, iterations=8)
    for word in WORDS:
        [source_id] = SOURCE.vocabulary.encode([word])
        assert TARGET.vocabulary.decode(shortlist.of(source_id).tolist()) == [DICTIONARY[word]]
    for i in (SOURCE.vocabulary.eos_id, SOURCE.vocabulary.bos_id, SOURCE.vocabulary.pad_id):
        assert i is not None and len(shortlist.of(i)) == 0
    loaded = load_shortlist(folder)
    assert loaded is not None
    for name in ("offsets", "targets", "always"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(shortlist, name))


def test_lists_are_the_most_probable_and_the_most_frequent() -> None:
    pairs = random_pairs(60, seed=3)
    expected = slow_model_1(pairs, 7, 3)
    counts = Counter(i for n in range(60) for i in pairs.target[n].tolist() if i not in (EOS, 5))
    found = learn_shortlist(
        pairs,
        7,
        12,
        best=3,
        frequent=2,
        least_probability=0.1,
        iterations=3,
        source_control_ids=[1],
        target_control_ids=[EOS, 5],
    )
    for source in range(7):
        ranked = sorted((f for e, f in expected if e == source), key=lambda f: -expected[source, f])
        best = [f for f in ranked if expected[source, f] >= 0.1 and f != 5][:3]
        assert found.of(source).tolist() == (sorted(best) if source != 1 else [])
    assert found.always.tolist() == sorted(sorted(counts, key=lambda i: (-counts[i], i))[:2])
    assert found.source_vocab_size == 7


def test_of_many_pairs_some_are_drawn() -> None:
    pairs = random_pairs(60, seed=3)
    one = learn_shortlist(pairs, 7, 12, max_pairs=20, seed=1)
    same = learn_shortlist(pairs, 7, 12, max_pairs=20, seed=1)
    other = learn_shortlist(pairs, 7, 12, max_pairs=2, seed=2)
    np.testing.assert_array_equal(one.targets, same.targets)
    assert len(other.targets) < len(one.targets)


def test_progress_rises_to_the_end() -> None:
    told: list[float] = []
    learn_shortlist(random_pairs(9, 1), 7, 12, on_progress=lambda part, _: told.append(part))
    assert told == sorted(told) and told[0] == 0 and told[-1] == 1


def test_pairs_without_target_tokens_teach_nothing() -> None:
    pairs = Dataset.from_sequences([[1, 2]], [[]], eos_id=EOS)
    found = learn_shortlist(pairs, 3, 12, target_control_ids=[EOS])
    assert len(found.targets) == len(found.always) == 0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("best", 0, ValueError),
        ("best", 1.5, TypeError),
        ("frequent", -1, ValueError),
        ("least_probability", 2.0, ValueError),
        ("least_probability", "1", TypeError),
        ("iterations", 0, ValueError),
        ("max_pairs", 0, ValueError),
    ],
)
def test_bad_arguments(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        learn_shortlist(random_pairs(9, 1), 7, 12, **{name: value})
    assert_says(caught.value, name)


def test_ids_beyond_a_vocabulary() -> None:
    with pytest.raises(ValueError, match="Expected target ids from 0 to 6"):
        learn_shortlist(random_pairs(9, 1), 7, 7)
    with pytest.raises(ValueError, match="Expected source ids from 0 to 1"):
        learn_shortlist(random_pairs(9, 1), 2, 12)


# ---- what is stored


def make_model(**changes: Any) -> Seq2Seq:
    sizes: dict[str, Any] = {
        "source_vocab_size": len(SOURCE.vocabulary),
        "target_vocab_size": V,
        "source_embedding_dim": 9,
        "target_embedding_dim": 7,
        "encoder_hidden": 17,
        "decoder_hidden": 33,
    }
    return lively(Seq2SeqConfig(**sizes | changes))


def model_folder(path: Path, **changes: Any) -> Path:
    save_model(path, make_model(**changes), source=SOURCE, target=TARGET)
    return path


def some_shortlist() -> LexicalShortlist:
    """Three target tokens for each source token but the special ones, two always."""
    rng = np.random.default_rng(4)
    lists = [
        [] if i < 4 else sorted(rng.choice(np.arange(4, V), 3, replace=False).tolist())
        for i in range(len(SOURCE.vocabulary))
    ]
    return from_lists(lists, [7, 11], V)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = model_folder(tmp_path / "model")
    save_shortlist(path, some_shortlist())
    return path


@pytest.fixture
def translator(folder: Path) -> Iterator[Translator]:
    with Translator(folder, inter_threads=2, intra_threads=1) as opened:
        yield opened


def test_a_folder_without_one_is_a_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    assert load_shortlist(folder) is None
    with Translator(folder) as translator:
        assert translator.translate_batch([["w1"]], max_decoding_length=3)
        with pytest.raises(ValueError, match=r"a model with a lexical shortlist, .* has none"):
            translator.translate_batch([["w1"]], use_vmap=True)


def test_saving_the_model_again_leaves_it(folder: Path) -> None:
    model_folder(folder)
    assert load_shortlist(folder) is not None


def test_another_vocabulary_is_noticed(folder: Path) -> None:
    words = [*WORDS[:-1], "another"]
    source = replace(SOURCE, vocabulary=Vocabulary.build(dict.fromkeys(words, 1)))
    save_model(folder, make_model(), source=source, target=TARGET)
    with pytest.raises(ValueError, match="made for another source vocabulary"):
        load_shortlist(folder)


def test_a_quantised_model_has_it_too(folder: Path, tmp_path: Path) -> None:
    quantize_model(folder, tmp_path / "int8", "int8")
    assert (tmp_path / "int8" / "shortlist.safetensors").read_bytes() == (
        folder / "shortlist.safetensors"
    ).read_bytes()
    with Translator(tmp_path / "int8") as translator:
        translator.translate_batch([["w1"]], use_vmap=True)


def test_from_memory(folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Translator("memory", files=files) as translator:
        [result] = translator.translate_batch([["w1", "w2"]], use_vmap=True, max_decoding_length=5)
    with Translator(folder) as translator:
        [expected] = translator.translate_batch([["w1", "w2"]], use_vmap=True, max_decoding_length=5)
    assert result == expected


def test_a_shortlist_of_other_sizes_is_not_saved(folder: Path) -> None:
    with pytest.raises(ValueError, match="source and 24 target tokens, got one of 1 and 24"):
        save_shortlist(folder, from_lists([[4]], [], V))


def test_truncated_and_altered_files_are_refused(folder: Path) -> None:
    path = folder / "shortlist.safetensors"
    whole = path.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"shortlist\.safetensors"):
            load_shortlist(folder)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("offsets", lambda x: x[:-1], "of shape"),
        ("offsets", lambda x: x.astype(np.int32), "dtype I64"),
        ("offsets", lambda x: x + 1, "never falling"),
        ("offsets", lambda x: np.concatenate([x[:5], x[5:6] + 90, x[6:]]), "never falling"),
        ("targets", lambda x: x[:-1], "never falling"),
        ("targets", lambda x: x + V, "ids from 0 to 23"),
        ("targets", lambda x: -x, "ids from 0 to 23"),
        ("targets", lambda x: x[::-1].copy(), "ascending"),
        ("targets", lambda x: x.astype(np.float32), "dtype I32"),
        ("targets", lambda x: x.reshape(-1, 1), "of shape"),
        ("always", lambda x: x[::-1].copy(), "ascending"),
        ("always", lambda x: x + V, "ids from 0 to 23"),
        ("always", lambda x: x[:1] * np.ones(2, np.int32), "ascending"),
        ("always", None, "'always' is missing"),
        ("more", lambda x: np.zeros(1, np.int32), "unknown tensor 'more'"),
    ],
)
def test_damaged_shortlists_are_refused(folder: Path, name: str, change: Any, words: str) -> None:
    path, shortlist = folder / "shortlist.safetensors", some_shortlist()
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    tensors = {n: getattr(shortlist, n) for n in ("offsets", "targets", "always")}
    value = None if change is None else change(tensors.get(name))
    tensors = {n: x for n, x in {**tensors, name: value}.items() if x is not None}
    with path.open("wb") as file:
        write_tensors(file, tensors, header["__metadata__"])
    with Translator(folder) as translator:
        assert translator.translate_batch([["w1"]], max_decoding_length=2)
        with pytest.raises(ValueError, match=words) as caught:
            translator.translate_batch([["w1"]], use_vmap=True)
    assert "shortlist.safetensors" in str(caught.value)


def test_a_newer_format_is_refused(folder: Path) -> None:
    path, shortlist = folder / "shortlist.safetensors", some_shortlist()
    tensors = {n: getattr(shortlist, n) for n in ("offsets", "targets", "always")}
    with path.open("wb") as file:
        write_tensors(file, tensors, {"format": "2"})
    with pytest.raises(ValueError, match="of format 1, got 2"):
        load_shortlist(folder)


# ---- what comes out


def expected_ids(source: list[str], *others: int) -> list[int]:
    shortlist = some_shortlist()
    ids = {EOS, UNK, 7, 11, *others}
    for i in SOURCE.tokens_to_ids(source):
        ids |= set(shortlist.of(i).tolist())
    return sorted(ids)


@pytest.mark.parametrize("max_batch_size", [0, 1, 4])
def test_equals_the_vocabulary_that_it_stands_for(translator: Translator, max_batch_size: int) -> None:
    sources = [*sentences(8, seed=1), [], ["w3", "zzz"], ["w5"]]
    found = translator.translate_batch(sources, use_vmap=True, max_batch_size=max_batch_size, **EVERYTHING)
    free = translator.translate_batch(sources, **EVERYTHING)
    assert [plain(r) for r in found] != [plain(r) for r in free]
    for source, result in zip(sources, found, strict=True):
        [one] = translator.translate_batch([source], vocabulary=expected_ids(source), **EVERYTHING)
        assert plain(result) == plain(one)
    ids = [SOURCE.tokens_to_ids(source) if source else [] for source in sources]
    for same in (ids, [np.array(i, np.int32) for i in ids]):
        again = translator.translate_batch(same, use_vmap=True, **EVERYTHING)
        assert [plain(r) for r in again] == [plain(r) for r in found]


def test_what_a_call_demands_may_come(translator: Translator) -> None:
    source = ["w4"]
    other = next(i for i in range(V - 1, 3, -1) if i not in expected_ids(source))
    another = next(i for i in range(other - 1, 3, -1) if i not in expected_ids(source))
    for options in ({"target_prefix": [[other]]}, {"must_contain": [[[other]]]}):
        [result] = translator.translate_batch([source], use_vmap=True, **options, **EVERYTHING)
        [one] = translator.translate_batch(
            [source], vocabulary=expected_ids(source, other), **options, **EVERYTHING
        )
        assert plain(result) == plain(one)
        assert other in result.ids[0]
    [result] = translator.translate_batch([source], use_vmap=True, end_token=[another], **EVERYTHING)
    listed = [i for i in expected_ids(source, another) if i != EOS]
    [one] = translator.translate_batch([source], vocabulary=listed, end_token=[another], **EVERYTHING)
    assert plain(result) == plain(one)


def test_with_a_vocabulary_only_what_is_in_both(translator: Translator) -> None:
    sources, rng = sentences(5, seed=2), np.random.default_rng(0)
    lists = [[UNK, *rng.choice(np.arange(4, V), 12, replace=False).tolist()] for _ in sources]
    vocabularies = [lists[0], None, *lists[2:]]
    found = translator.translate_batch(sources, use_vmap=True, vocabulary=vocabularies, **EVERYTHING)
    for source, listed, result in zip(sources, vocabularies, found, strict=True):
        both = [i for i in expected_ids(source) if listed is None or i in [*listed, EOS]]
        [one] = translator.translate_batch([source], vocabulary=both, **EVERYTHING)
        assert plain(result) == plain(one)


def test_streams(translator: Translator) -> None:
    sources = sentences(7, seed=3)
    expected = translator.translate_batch(sources, use_vmap=True, **EVERYTHING)
    found = translator.translate_iterable(iter(sources), use_vmap=True, max_batch_size=2, **EVERYTHING)
    assert [plain(r) for r in found] == [plain(r) for r in expected]


def test_a_model_that_copies_may_copy(tmp_path: Path) -> None:
    both = dict.fromkeys([*WORDS, *LETTERS], 1)
    target = TextField(SpaceTokenizer(), Vocabulary.build(both))
    model = make_model(copy_attention=True, target_vocab_size=len(target.vocabulary))
    save_model(tmp_path, model, source=SOURCE, target=target)
    lists: list[list[int]] = [[] for _ in range(len(SOURCE.vocabulary))]
    save_shortlist(tmp_path, from_lists(lists, target.vocabulary.encode(["a"]), len(target.vocabulary)))
    sources = [["w3", "out"], ["w4", "of", "w5"], ["w6"]]
    with Translator(tmp_path) as translator:
        found = translator.translate_batch(sources, use_vmap=True, **EVERYTHING)
        for source, result in zip(sources, found, strict=True):
            known = [token for token in source if token in target.vocabulary]
            [one] = translator.translate_batch([source], vocabulary=["a", "<unk>", *known], **EVERYTHING)
            assert plain(result) == plain(one)
    assert any(token in WORDS for result in found for tokens in result.hypotheses for token in tokens)


def test_ensembles_and_features(folder: Path, tmp_path: Path) -> None:
    model_folder(tmp_path / "second")
    sources = sentences(4)
    with Translator([tmp_path / "second", folder]) as translator:  # one of them has it
        found = translator.translate_batch(sources, use_vmap=True, **EVERYTHING)
        for source, result in zip(sources, found, strict=True):
            [one] = translator.translate_batch([source], vocabulary=expected_ids(source), **EVERYTHING)
            assert plain(result) == plain(one)
    save_model(tmp_path / "features", make_model(source_vocab_size=0, source_features=3), target=TARGET)
    with (
        Translator(tmp_path / "features") as translator,
        pytest.raises(ValueError, match="sources are tokens"),
    ):
        translator.translate_batch([np.zeros((2, 3), np.float32)], use_vmap=True)
    with pytest.raises(ValueError, match="sources are tokens"):
        make_shortlist(tmp_path / "features", tmp_path / "none.tsv")


def test_decoding_by_a_model_without_a_folder(translator: Translator) -> None:
    with pytest.raises(TypeError, match=r"use_vmap: of a Translator, got Seq2Seq"):
        decode(Seq2Seq(translator.config), [[4, 5]], use_vmap=True)


def test_use_vmap_is_a_bool(translator: Translator) -> None:
    with pytest.raises(TypeError) as caught:
        translator.translate_batch([["w1"]], use_vmap=1)  # type: ignore[call-overload]
    assert_says(caught.value, "use_vmap")


# ---- vocabulary maps


def test_a_vocabulary_map_of_ctranslate2() -> None:
    lines = ["\ta b", "w1\tc d zzz", "w2 w3\te", "w4\t", "zzz\tf", "w5\tg a g"]
    found, left_out = shortlist_of_vmap(lines, SOURCE.vocabulary, TARGET.vocabulary)
    assert left_out == 1
    shown = {
        word: TARGET.vocabulary.decode(found.of(SOURCE.vocabulary.encode([word])[0]).tolist())
        for word in WORDS
    }
    assert {word: tokens for word, tokens in shown.items() if tokens} == {
        "w1": ["c", "d"],
        "w5": ["a", "g"],
    }
    assert TARGET.vocabulary.decode(found.always.tolist()) == ["a", "b"]
    with pytest.raises(ValueError, match="no TAB in line 2"):
        shortlist_of_vmap(["a\tb", "w1 c d"], SOURCE.vocabulary, TARGET.vocabulary)


# ---- the command line


@pytest.mark.cpu_only("options go the same way to a translator on a device")
def test_on_the_command_line(tmp_path: Path, run: Run) -> None:
    pytest.importorskip("typer")
    folder, data = model_folder(tmp_path / "model"), write_pairs(tmp_path / "pairs.tsv")
    text = "".join(" ".join(one) + "\n" for one in [*sentences(5, seed=4), []])
    refused = run.done("translate", "--model", folder, "--use_vmap", stdin=text, code=2)
    assert "seq2seq-fast shortlist makes one" in refused.err
    made = run.done("shortlist", "--model", folder, "--data", data, "--best", 2, "--frequent", 1)
    assert "1 always, of 24" in made.out
    with Translator(folder) as translator:
        sources = [line.split() for line in text.splitlines()]
        expected = translator.translate_batch(
            sources, use_vmap=True, beam_size=5, min_decoding_length=0, max_decoding_length=9
        )
        free = translator.translate_batch(sources, beam_size=5, min_decoding_length=0, max_decoding_length=9)
    assert expected != free
    options = ["translate", "--model", folder, "--max_length", 9, "--json"]
    for more in ((), ("--batch_size", 2)):
        records = run.done(*options, "--use_vmap", *more, stdin=text).records
        tokens = [record["hypotheses"] for record in records]
        assert [one[0]["tokens"] if one else [] for one in tokens] == [r.hypotheses[0] for r in expected]
    assert run.done("info", "--model", folder, "--json").records[0]["shortlist"]["always"] == 1
    run.done("evaluate", "--model", folder, "--data", data, "--use_vmap", "--beam_size", 1)
    (tmp_path / "map").write_text("\ta\nw1 w2\tb\n")
    mapped = run.done("shortlist", "--model", folder, "--vmap", tmp_path / "map")
    assert "1 lines of more than one source token were left out" in mapped.out
    assert "--data or --vmap" in run.done("shortlist", "--model", folder, code=2).err
