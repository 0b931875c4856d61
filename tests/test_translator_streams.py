"""Translator's streams, files, texts, asynchronous calls and tokens as they come."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_fast import Translator
from seq2seq_fast.files import save_model
from seq2seq_fast.front_end import FrontEnd, Statistics
from seq2seq_fast.search import Trie
from test_translator import SOURCE, TARGET, WORDS, make, plain, sentences

pytestmark = pytest.mark.big  # hundreds of sentences, of which a device sees batches as any other

OPTIONS: dict[str, Any] = {"max_decoding_length": 8, "return_scores": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tokens"
    save_model(path, make(source_vocab_size=len(SOURCE.vocabulary)), source=SOURCE, target=TARGET)
    return path


@pytest.fixture(scope="module", params=[1, 2])
def translator(folder: Path, request: pytest.FixtureRequest) -> Iterator[Translator]:
    with Translator(folder, inter_threads=request.param) as opened:
        yield opened


def collect(stream: Any, found: list[Any]) -> None:
    for item in stream:
        found.append(item)


# ---- translate_iterable


@pytest.mark.parametrize(("size", "kind"), [(1, "examples"), (3, "examples"), (20, "tokens")])
def test_a_stream_gives_what_a_list_gives(translator: Translator, size: int, kind: str) -> None:
    source = [*sentences(60), [], *sentences(40, seed=1)]
    expected = translator.translate_batch(source, **OPTIONS)
    found = translator.translate_iterable(iter(source), max_batch_size=size, batch_type=kind, **OPTIONS)
    assert [plain(r) for r in found] == [plain(r) for r in expected]
    prefixes = [["a"], None, ["b", "c"]] * 34
    expected = translator.translate_batch(source, prefixes[:101], **OPTIONS)
    found = translator.translate_iterable(source, iter(prefixes[:101]), max_batch_size=size, **OPTIONS)
    assert [plain(r) for r in found] == [plain(r) for r in expected]


def test_samples_of_a_stream_are_those_of_a_list(translator: Translator) -> None:
    source = sentences(70)
    options: dict[str, Any] = OPTIONS | {"beam_size": 1, "sampling_topk": 0, "seed": 3}
    expected = translator.translate_batch(source, **options)
    found = translator.translate_iterable(source, max_batch_size=2, **options)
    assert [plain(r) for r in found] == [plain(r) for r in expected]


def test_an_endless_stream_is_read_as_it_is_used(translator: Translator) -> None:
    read = 0

    def endless() -> Iterator[list[str]]:
        nonlocal read
        for tokens in itertools.cycle(sentences(10)):
            read += 1
            yield tokens

    stream = translator.translate_iterable(endless(), max_batch_size=2, **OPTIONS)
    assert read == 0
    ahead = 2 * 16 * (translator.num_translators + 1)
    for taken in range(1, 200):
        next(stream)
        assert read <= taken + ahead
    jobs = translator._background
    stream.close()  # type: ignore[attr-defined]
    after = read
    time.sleep(0.05)
    assert read == after
    # Nothing is left to do: a new call is answered at once.
    assert jobs.submit(lambda stop: 7).future.result(timeout=30) == 7


def test_closing_ends_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Translator(folder) as translator:
        batches = []
        native = translator._native
        begun, go_on = threading.Event(), threading.Event()

        class Slow:
            def generate(self, *arguments: Any) -> Any:
                batches.append(1)
                if len(batches) > 20:
                    begun.set()
                    go_on.wait(30)
                assert native is not None
                return native.generate(*arguments)

        monkeypatch.setattr(translator, "_native", Slow())
        stream = translator.translate_iterable(sentences(200), max_batch_size=1, **OPTIONS)
        next(stream)
        assert begun.wait(30)
        stream.close()  # type: ignore[attr-defined]
        go_on.set()
        translator._background.submit(lambda stop: None).future.result(timeout=30)
        assert len(batches) <= 22


def test_an_exception_of_the_source_surfaces_behind_what_came_before(translator: Translator) -> None:
    def failing() -> Iterator[list[str]]:
        yield from sentences(37)
        raise OSError("the disk is gone")

    found: list[Any] = []
    with pytest.raises(OSError, match="the disk is gone") as raised:
        collect(translator.translate_iterable(failing(), max_batch_size=2, **OPTIONS), found)
    assert [plain(r) for r in found] == [
        plain(r) for r in translator.translate_batch(sentences(37), **OPTIONS)
    ]
    assert "failing" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]


def test_a_bad_source_is_named_by_its_place_in_the_stream(translator: Translator) -> None:
    source: list[Any] = [*sentences(50), 7, *sentences(50)]
    found: list[Any] = []
    with pytest.raises(TypeError, match=r"\[translate_iterable\] Expected source 50 as a list, got int"):
        collect(translator.translate_iterable(source, max_batch_size=1, **OPTIONS), found)
    assert len(found) == 48  # three whole parts of 16 batches


@pytest.mark.parametrize(
    ("source", "prefix", "options", "error", "message"),
    [
        ("text", None, {}, TypeError, "source as an iterable, got str"),
        (3, None, {}, TypeError, "source as an iterable, got int"),
        (None, None, {}, TypeError, "source as an iterable, got NoneType"),
        ([], None, {"must_contain": 3}, TypeError, "must_contain as an iterable, got int"),
        ([], 3, {}, TypeError, "target_prefix as an iterable, got int"),
        ([], None, {"max_batch_size": 0}, ValueError, "max_batch_size of at least 1"),
        ([], None, {"batch_type": "lines"}, ValueError, "batch_type as one of examples, tokens"),
        ([], None, {"sequence_ids": [1]}, ValueError, "no sequence_ids"),
        ([], None, {"sequence_ids": np.arange(2)}, ValueError, "no sequence_ids"),
        ([], None, {"callback": print}, ValueError, "no callback"),
        ([], None, {"asynchronous": True}, ValueError, "no asynchronous"),
    ],
)
def test_bad_streams(
    translator: Translator, source: Any, prefix: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"\[translate_iterable\] Expected {message}"):
        translator.translate_iterable(source, prefix, **options)


def test_options_of_a_stream_are_checked_at_once(translator: Translator) -> None:
    with pytest.raises(ValueError, match="beam_size of at least 1"):
        translator.translate_iterable([], beam_size=-3)
    with pytest.raises(ValueError, match="suppress_sequences 0 of target tokens, got 'z'"):
        translator.translate_iterable(iter([["w1"]]), suppress_sequences=[["z"]])


@pytest.mark.parametrize(("sources", "prefixes"), [(5, 4), (4, 5)])
def test_streams_of_unequal_length(translator: Translator, sources: int, prefixes: int) -> None:
    stream = translator.translate_iterable(sentences(sources), [["a"]] * prefixes, **OPTIONS)
    with pytest.raises(ValueError, match="as many of source and target_prefix, got only 4"):
        list(stream)


OF_EACH: dict[str, list[Any]] = {
    "target_prefix": [["a"], None, [], ["b", "c"], ["d"]],
    "must_contain": [[["a"]], None, [["b", "c"], ["d"]], [], [["e"]]],
    "vocabulary": [list("abc"), None, list("cde"), list("abc"), ["f"]],
    "allowed_outputs": [re.compile("a( b)*"), None, Trie([[5, 6], [7]]), re.compile("[c-e]"), None],
}
"""Options of five sources."""


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", OF_EACH)
def test_options_with_one_for_each_source(translator: Translator, name: str, size: int) -> None:
    source, listed = sentences(50), OF_EACH[name] * 10
    expected = [plain(r) for r in translator.translate_batch(source, **{name: listed}, **OPTIONS)]
    assert expected != [plain(r) for r in translator.translate_batch(source, **OPTIONS)]
    for same in (listed, iter(listed)):
        found = translator.translate_iterable(source, max_batch_size=size, **{name: same}, **OPTIONS)
        assert [plain(r) for r in found] == expected
    # A part is 16 batches.
    for few in (16 * size, 49, 51):
        stream = translator.translate_iterable(
            source, max_batch_size=size, **{name: (listed * 2)[:few]}, **OPTIONS
        )
        short = "50 of source" if few > 50 else f"{few} of {name}"
        with pytest.raises(ValueError, match=f"as many of source and {name}, got only {short}"):
            list(stream)


def test_what_is_for_each_source_is_read_with_it(translator: Translator) -> None:
    source, listed = sentences(1000), OF_EACH["must_contain"]
    left = iter(listed * 200)
    stream = translator.translate_iterable(source, must_contain=left, max_batch_size=2, **OPTIONS)
    expected = translator.translate_batch(source[:5], must_contain=listed, **OPTIONS)
    assert [plain(r) for r in itertools.islice(stream, 5)] == [plain(r) for r in expected]
    stream.close()  # type: ignore[attr-defined]
    assert len(list(left)) >= 1000 - 5 - 2 * 16 * (translator.num_translators + 1)
    phrases: list[Any] = [None] * 40
    phrases[37] = [["z"]]
    with pytest.raises(ValueError, match=r"must_contain 37 0 of target tokens, got 'z'"):
        list(translator.translate_iterable(sentences(40), must_contain=phrases, max_batch_size=1, **OPTIONS))


def test_scorers_know_the_place_in_the_stream(translator: Translator) -> None:
    asked: list[int] = []

    def make_scorer(sources: list[int]) -> Any:
        asked.extend(sources)
        bonus = {place: np.float32(place % 3) for place in sources}
        rows = list(sources)

        def step(parents: Any, tokens: Any) -> Any:
            nonlocal rows
            rows = [rows[parent] for parent in parents]
            scores = np.zeros((len(rows), len(TARGET.vocabulary)), np.float32)
            scores[:, 5] = [bonus[place] for place in rows]
            return scores

        return step

    scorers = [(make_scorer, 0.5)]
    expected = [plain(r) for r in translator.translate_batch(sentences(50), scorers=scorers, **OPTIONS)]
    asked.clear()
    for same in (scorers, iter(scorers)):
        found = translator.translate_iterable(sentences(50), max_batch_size=1, scorers=same, **OPTIONS)
        assert [plain(r) for r in found] == expected
    assert sorted(asked) == sorted([*range(50), *range(50)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suppress_sequences", [["a"], ["b", "c"]]),
        ("end_token", ["c", "d"]),
        ("vocabulary", ["a", "b", "c"]),
        ("allowed_outputs", [["a", "b"], ["c"]]),
    ],
)
def test_options_that_can_be_read_once(translator: Translator, name: str, value: list[Any]) -> None:
    expected = translator.translate_batch(sentences(50), **{name: value}, **OPTIONS)
    once = (iter(one) if isinstance(one, list) else one for one in value)
    found = translator.translate_iterable(sentences(50), max_batch_size=1, **{name: once}, **OPTIONS)
    assert [plain(r) for r in found] == [plain(r) for r in expected]


def test_a_stream_of_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    arrays = [rng.normal(size=(4, 5)).astype(np.float32) for _ in range(20)]
    groups = ["one", "two"] * 10
    statistics = {"one": Statistics.of(arrays[:1]), "two": Statistics.of(arrays[1:])}
    save_model(
        tmp_path / "model",
        make(source_features=5),
        target=TARGET,
        front_end=FrontEnd(5, "group", statistics=statistics),
    )
    with Translator(tmp_path / "model") as translator:
        expected = translator.translate_batch(arrays, groups=groups, **OPTIONS)
        found = translator.translate_iterable(arrays, groups=iter(groups), max_batch_size=1, **OPTIONS)
        assert [plain(r) for r in found] == [plain(r) for r in expected]
        with pytest.raises(ValueError, match="as many of source and groups, got only 19 of groups"):
            list(translator.translate_iterable(arrays, groups=groups[1:], **OPTIONS))


def test_a_long_stream_takes_constant_memory(folder: Path) -> None:
    """Python's memory after 400 lines and after 6,400: the same but for some 250 lines that are under way."""
    lines = itertools.islice(itertools.cycle(sentences(50)), 7000)
    with Translator(folder) as translator:
        stream = translator.translate_iterable(lines, max_batch_size=8, max_decoding_length=2, beam_size=1)
        for _ in itertools.islice(stream, 400):
            pass
        tracemalloc.start()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in itertools.islice(stream, 6000):
            pass
        gc.collect()
        after, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 400_000 and most - before < 2_000_000


# ---- asynchronous


def test_asynchronous_results(translator: Translator) -> None:
    source = [*sentences(9), []]
    expected = [plain(r) for r in translator.translate_batch(source, **OPTIONS)]
    calls = [
        translator.translate_batch(source, asynchronous=True, max_batch_size=2, **OPTIONS) for _ in range(4)
    ]
    for call in calls:
        assert [plain(one.result(timeout=60)) for one in call] == expected
        assert all(one.done() for one in call)
    call = translator.translate_batch(iter(source), asynchronous=True, **OPTIONS)
    assert [plain(one.result(timeout=60)) for one in call] == expected
    with pytest.raises(ValueError, match="beam_size of at least 1"):
        translator.translate_batch(source, asynchronous=True, beam_size=0)[0].result(timeout=60)
    with pytest.raises(TypeError, match="asynchronous as a bool"):
        translator.translate_batch(source, asynchronous=1)  # type: ignore[call-overload]


def test_a_full_queue_makes_its_caller_wait(folder: Path) -> None:
    with Translator(folder, max_queued_batches=1) as translator:
        go_on, submitted = threading.Event(), []
        for _ in range(2):  # one runs, one waits
            translator._background.submit(lambda stop: go_on.wait(30))

        def ask() -> None:
            submitted.append(translator.translate_batch([["w1"]], asynchronous=True, **OPTIONS))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and not submitted
        go_on.set()
        thread.join(30)
        assert submitted[0][0].result(timeout=30).hypotheses
    with Translator(folder, max_queued_batches=-1) as translator:
        many = [translator.translate_batch([["w1"]], asynchronous=True, **OPTIONS) for _ in range(50)]
        assert len({tuple(call[0].result(timeout=60).ids[0]) for call in many}) == 1
    with pytest.raises(ValueError, match="max_queued_batches of at least -1"):
        Translator(folder, max_queued_batches=-2)


def test_a_result_that_is_not_there_in_time(folder: Path) -> None:
    with Translator(folder) as translator:
        go_on = threading.Event()
        translator._background.submit(lambda stop: go_on.wait(30))
        [one] = translator.translate_batch([["w1"]], asynchronous=True, **OPTIONS)
        assert not one.done()
        with pytest.raises(TimeoutError, match=r"\[translate_batch\] No result within 0.01 seconds"):
            one.result(timeout=0.01)
        go_on.set()
        assert one.result(timeout=30).hypotheses


def test_awaited(translator: Translator) -> None:
    source = sentences(8)
    expected = [plain(r) for r in translator.translate_batch(source, **OPTIONS)]

    async def ask() -> list[Any]:
        calls = [translator.translate_batch_async(source[i : i + 2], **OPTIONS) for i in range(0, 8, 2)]
        return [result for part in await asyncio.gather(*calls) for result in part]

    assert [plain(r) for r in asyncio.run(ask())] == expected

    async def wrong() -> Any:
        return await translator.translate_batch_async(source, beam_size=0)

    with pytest.raises(ValueError, match="beam_size of at least 1"):
        asyncio.run(wrong())


def test_cancelling_a_task_ends_its_work(folder: Path) -> None:
    with Translator(folder) as translator:
        go_on = threading.Event()
        blocker = translator._background.submit(lambda stop: go_on.wait(30))

        async def ask() -> None:
            await asyncio.wait_for(translator.translate_batch_async(sentences(4), **OPTIONS), 0.05)

        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            asyncio.run(ask())
        go_on.set()
        blocker.future.result(timeout=30)
        translator._background.submit(lambda stop: None).future.result(timeout=30)
        assert translator.statistics.num_examples == 0  # it never began


# ---- tokens as they come


@pytest.mark.parametrize("options", [{}, {"beam_size": 4}, {"sampling_topk": 0, "seed": 4}])
def test_tokens_as_they_come(translator: Translator, options: dict[str, Any]) -> None:
    for source in sentences(4):
        events = list(translator.generate_tokens(source, ["a"], max_decoding_length=7, **options))
        [result] = translator.translate_batch(
            [source],
            [["a"]],
            max_decoding_length=7,
            return_end_token=True,
            return_token_scores=True,
            **{"beam_size": 1} | options,
        )
        assert [event.token_id for event in events] == result.ids[0]
        assert [event.token for event in events] == result.hypotheses[0] and events[0].token == "a"
        assert [event.log_prob for event in events] == result.token_scores[0].tolist()
        assert [event.step for event in events] == list(range(len(events)))
        assert [event.is_last for event in events] == [False] * (len(events) - 1) + [True]
        assert {(event.batch_id, event.hypothesis_id) for event in events} == {(0, 0)}


def test_a_callback_knows_its_source(translator: Translator) -> None:
    source = [sentences(1)[0], [], *sentences(5, seed=2)]
    heard: dict[int, list[int]] = {}

    def callback(event: Any) -> bool:
        heard.setdefault(event.batch_id, []).append(event.token_id)
        return event.batch_id == 3 and event.step == 1

    results = translator.translate_batch(
        source, callback=callback, max_batch_size=2, beam_size=1, min_decoding_length=4, return_end_token=True
    )
    assert heard == {i: result.ids[0] for i, result in enumerate(results) if i != 1}
    assert len(heard[3]) == 2 and results[3].finished == [False]


def test_a_callback_may_call_its_translator(folder: Path) -> None:
    """Though its search has the only slot."""
    with Translator(folder, inter_threads=1) as translator:
        [alone] = translator.translate_batch([["w2"]], beam_size=2)
        scored = translator.score_batch([["w1"]], [["a"]])[0].log_probs.tolist()
        heard = []

        def callback(event: Any) -> None:
            heard.append(translator.translate_batch([["w2"]], beam_size=2)[0])
            assert translator.score_batch([["w1"]], [["a"]])[0].log_probs.tolist() == scored

        translator.translate_batch([["w1"]], callback=callback, beam_size=1, max_decoding_length=3)
        assert heard and all(plain(one) == plain(alone) for one in heard)


def test_leaving_early_ends_the_search(translator: Translator) -> None:
    before = threading.active_count()
    stream = translator.generate_tokens(WORDS[:5], max_decoding_length=100_000, min_decoding_length=100_000)
    tokens = [event.token_id for event in itertools.islice(stream, 5)]
    assert len(tokens) == 5
    stream.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
    for options, message in (
        ({"callback": print}, "no callback"),
        ({"return_alternatives": True}, "no callback with return_alternatives"),
    ):
        with pytest.raises(ValueError, match=message):
            list(translator.generate_tokens(["w1"], **options))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"\[generate_tokens\] There is no option beam_width"):
        translator.generate_tokens(["w1"], beam_width=3)


@pytest.mark.parametrize("leave", ["", "sys.exit()"])
def test_an_exit_ends_the_search(folder: Path, leave: str) -> None:
    script = f"""
import itertools, sys
from seq2seq_fast import Translator
stream = Translator({str(folder)!r}, device="cpu").generate_tokens(
    ["w1"], beam_size=1, max_decoding_length=10_000_000, min_decoding_length=10_000_000
)
print(len(list(itertools.islice(stream, 3))))
{leave}
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "3\n", "")


# ---- texts and files


def test_texts(translator: Translator) -> None:
    texts = [" ".join(tokens) for tokens in sentences(5)] + [""]
    results = translator.translate_batch([text.split() for text in texts], **OPTIONS)
    assert translator.translate_text(texts, **OPTIONS) == [TARGET.decode(r.ids[0]) for r in results]
    shown = translator.translate_text(texts, return_end_token=True, **OPTIONS)
    assert not any("</s>" in text for text in shown)
    with pytest.raises(TypeError, match=r"\[translate_text\] Expected source as a list of texts, got str"):
        translator.translate_text("w1 w2")


def test_files(translator: Translator, tmp_path: Path) -> None:
    source = [*sentences(40), [], *sentences(5, seed=3)]
    prefixes: list[list[str]] = [["a"], []] * 23
    (tmp_path / "src").write_text("".join(" ".join(one) + "\n" for one in source), encoding="utf-8")
    (tmp_path / "prefix").write_text("".join(" ".join(one) + "\n" for one in prefixes), encoding="utf-8")
    results = translator.translate_batch(source, prefixes, **OPTIONS)
    stats = translator.translate_file(
        tmp_path / "src", tmp_path / "out", tmp_path / "prefix", max_batch_size=3, **OPTIONS
    )
    lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert lines == [TARGET.decode(r.ids[0]) for r in results]
    assert stats.num_examples == 46 and stats.total_time_in_ms > 0
    assert stats.num_tokens == sum(len(r.ids[0]) for r in results)
    phrases = [[["a"]], None] * 23
    results = translator.translate_batch(source, must_contain=phrases, **OPTIONS)
    translator.translate_file(
        tmp_path / "src", tmp_path / "out", max_batch_size=1, must_contain=iter(phrases), **OPTIONS
    )
    lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert lines == [TARGET.decode(r.ids[0]) for r in results]
    translator.translate_file(
        tmp_path / "src",
        tmp_path / "out",
        with_scores=True,
        source_tokenize_fn=lambda line: line.split()[:2],
        target_detokenize_fn="".join,
        **OPTIONS,
    )
    results = translator.translate_batch([one[:2] for one in source], **OPTIONS)
    assert (tmp_path / "out").read_text(encoding="utf-8").splitlines() == [
        f"{r.scores[0]:.6f} ||| {''.join(r.hypotheses[0])}" for r in results
    ]


def test_scores_of_files(translator: Translator, tmp_path: Path) -> None:
    source = sentences(40)
    target = [list("abc")[: i % 4] for i in range(40)]
    for name, lines in (("src", source), ("tgt", target)):
        (tmp_path / name).write_text("".join(" ".join(one) + "\n" for one in lines), encoding="utf-8")
    stats = translator.score_file(
        tmp_path / "src", tmp_path / "tgt", tmp_path / "out", max_batch_size=3, with_tokens_score=True
    )
    assert (stats.num_examples, stats.num_tokens) == (40, sum(len(one) + 1 for one in target))
    results = translator.score_batch(source, target)
    for line, result, tokens in zip(
        (tmp_path / "out").read_text(encoding="utf-8").splitlines(), results, target, strict=True
    ):
        score, text, each = line.split(" ||| ")
        assert float(score) == pytest.approx(float(result.log_probs.mean()), abs=1e-6)
        assert text.split() == tokens
        np.testing.assert_allclose([float(x) for x in each.split()], result.log_probs, atol=1e-6)


def test_texts_need_tokenisers(tmp_path: Path) -> None:
    make(source_vocab_size=30).save(tmp_path / "bare")
    (tmp_path / "src").write_text("4 5\n6\n", encoding="utf-8")
    with Translator(tmp_path / "bare") as translator:
        with pytest.raises(ValueError, match=r"\[translate_text\] Expected a model that was saved with"):
            translator.translate_text(["4 5"])
        with pytest.raises(ValueError, match=r"\[translate_file\] Expected a model that was saved with"):
            translator.translate_file(tmp_path / "src", tmp_path / "out")
        stats = translator.translate_file(
            tmp_path / "src",
            tmp_path / "out",
            source_tokenize_fn=lambda line: [int(i) for i in line.split()],  # type: ignore[arg-type,return-value]
            target_tokenize_fn=str.split,
            target_detokenize_fn=" ".join,
        )
        assert stats.num_examples == 2


# ---- the model comes and goes


def test_unloaded_and_loaded_again(folder: Path) -> None:
    with Translator(folder) as translator:
        before = [plain(r) for r in translator.translate_batch(sentences(3), **OPTIONS)]
        assert translator.model_is_loaded
        for to_cpu, keep in ((False, False), (True, True), (True, False)):
            translator.unload_model(to_cpu=to_cpu)
            translator.unload_model()
            assert not translator.model_is_loaded
            with pytest.raises(RuntimeError, match=r"\[Translator\] Its model is unloaded"):
                translator.translate_batch([["w1"]])
            with pytest.raises(RuntimeError, match="unloaded"):
                translator.translate_iterable([["w1"]])
            assert bool(translator._kept) == (to_cpu or keep)
            translator.load_model(keep_cache=keep)
            translator.load_model()
            assert [plain(r) for r in translator.translate_batch(sentences(3), **OPTIONS)] == before
    with pytest.raises(RuntimeError, match="closed"):
        translator.load_model()


def test_a_model_from_memory(folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Translator(folder) as one, Translator("in memory", files=files) as two:
        expected = one.translate_batch(sentences(3), **OPTIONS)
        assert [plain(r) for r in two.translate_batch(sentences(3), **OPTIONS)] == [
            plain(r) for r in expected
        ]
        place = two._folders[0].path
        assert place.is_dir()
    del two
    gc.collect()
    assert not os.path.exists(place)
    for bad, error, message in (
        ({"../x": b""}, ValueError, "files by names without folders, got '../x'"),
        ({"config.json": "text"}, TypeError, "the file config.json as bytes or a binary file, got str"),
        ([], TypeError, "files as a dict, got list"),
    ):
        with pytest.raises(error, match=message):
            Translator("in memory", files=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="files of one model"):
        Translator(["a", "b"], files=files)


def test_statistics(folder: Path) -> None:
    with Translator(folder) as translator:
        assert translator.statistics.num_examples == 0
        results = translator.translate_batch(sentences(5), **OPTIONS)
        list(translator.translate_iterable(sentences(5), **OPTIONS))
        translator.score_batch([["w1"]], [["a", "b"]])
        stats = translator.statistics
        assert stats.num_examples == 11
        assert stats.num_tokens == 2 * sum(len(r.ids[0]) for r in results) + 3
        assert stats.total_time_in_ms > 0
