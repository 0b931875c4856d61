"""The search, through ``beam_search`` over Python step functions.

``reference_search`` is the search again, written plainly from
the words of generate.h and options.h over lists of Python tuples, one source at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import math
import operator
import pickle
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_fast import Seq2Seq, Translator, _native
from seq2seq_fast import search as native_search
from seq2seq_fast.search import Hypothesis, SearchOptions
from step_functions import BOS, Step, Tree, normalised

pytestmark = pytest.mark.cpu_only("searches around step functions run on the host")

# Unless a test says otherwise: nothing is restricted.
beam_search = functools.partial(native_search.beam_search, beam_size=5, min_decoding_length=0)


def total(scores):
    """The plain sum, in order, as the search adds; Python's own sum compensates for rounding since 3.12."""
    return functools.reduce(operator.add, scores, 0.0)


@dataclass
class Path:
    """A hypothesis of the reference."""

    tokens: tuple[int, ...]
    end: int | None
    scores: tuple[float, ...]

    @property
    def log_prob(self):
        return total(self.scores)

    def score(self, length_penalty):
        return self.log_prob / max(len(self.scores), 1) ** length_penalty


def reference_search(
    tree,
    source,
    *,
    eos_id=(1,),
    beam_size=5,
    patience=1.0,
    num_hypotheses=1,
    length_penalty=1.0,
    min_decoding_length=0,
    max_decoding_length=256,
):
    finished, live = [], [Path((), None, ())]
    enough = max(num_hypotheses, math.floor(beam_size * patience + 0.5)) if patience < math.inf else math.inf
    for step in range(max_decoding_length):
        candidates, stuck = [], []
        for rank, path in enumerate(live):
            before = len(candidates)
            for token, score in enumerate(tree.scores(source, path.tokens).tolist()):
                if score == -math.inf or (token in eos_id and step < min_decoding_length):
                    continue
                scores = (*path.scores, score)
                end = token if token in eos_id else None
                tokens = path.tokens if token in eos_id else (*path.tokens, token)
                candidates.append((-total(scores), rank, -score, token, Path(tokens, end, scores)))
            if len(candidates) == before:
                stuck.append(path)
        ranked = [candidate[-1] for candidate in sorted(candidates, key=lambda candidate: candidate[:4])]
        finished += [path for path in ranked[:beam_size] if path.end is not None]
        live = [path for path in ranked if path.end is None][:beam_size]
        if not live or len(finished) >= enough:
            break
    best_first = [
        path
        for group in (finished, live or stuck)
        for path in sorted(group, key=lambda path: -path.score(length_penalty))
    ]
    return best_first[:num_hypotheses]


def search(tree, sources, *, source_lengths=None, **options):
    step = Step(tree, sources, source_lengths)
    if source_lengths is not None:
        options |= {"return_attention": True, "source_lengths": source_lengths}
    options = {"eos_id": (1,), **options}
    return beam_search(step, batch_size=len(sources), vocab_size=tree.vocabulary, bos_id=BOS, **options)


def assert_equal(results, expected, length_penalty=1.0):
    assert [h.tokens for h in results] == [list(path.tokens) for path in expected]
    assert [h.end_token for h in results] == [path.end for path in expected]
    assert [h.finished for h in results] == [path.end is not None for path in expected]
    assert [tuple(h.token_scores.tolist()) for h in results] == [path.scores for path in expected]
    assert [h.log_prob for h in results] == [path.log_prob for path in expected]
    assert [h.score for h in results] == [path.score(length_penalty) for path in expected]


def as_values(hypotheses):
    return [
        (h.tokens, h.end_token, h.score, h.log_prob, h.token_scores.tolist(), h.finished) for h in hypotheses
    ]


# Against the reference


@st.composite
def searches(draw):
    vocabulary = draw(st.integers(1, 6))
    tree = Tree(
        vocabulary,
        seed=draw(st.integers(0, 10**6)),
        levels=draw(st.sampled_from([None, 1, 2, 3])),
        forbidden=draw(st.sampled_from([0.0, 0.0, 0.2, 0.6, 1.0])),
        scale=draw(st.sampled_from([0.5, 2.0, 5.0])),
    )
    beam_size = draw(st.integers(1, 8))
    max_length = draw(st.integers(1, 7))
    options = {
        "eos_id": draw(st.sets(st.integers(0, vocabulary - 1), min_size=1, max_size=3).map(tuple)),
        "beam_size": beam_size,
        "num_hypotheses": draw(st.integers(1, beam_size)),
        "patience": draw(st.sampled_from([0.5, 1.0, 1.0, 1.7, math.inf])),
        "length_penalty": draw(st.sampled_from([-1.0, 0.0, 0.6, 1.0, 2.5])),
        "min_decoding_length": draw(st.integers(0, min(max_length, 3))),
        "max_decoding_length": max_length,
    }
    return tree, draw(st.lists(st.integers(0, 5), max_size=4, unique=True)), options


@settings(max_examples=600, deadline=None)
@given(searches())
def test_equals_the_reference(case):
    tree, sources, options = case
    results = search(tree, sources, **options)
    assert len(results) == len(sources)
    for source, hypotheses in zip(sources, results, strict=True):
        assert hypotheses
        assert_equal(hypotheses, reference_search(tree, source, **options), options["length_penalty"])


@settings(max_examples=200, deadline=None)
@given(searches())
def test_what_always_holds(case):
    tree, sources, options = case
    for hypotheses in search(tree, sources, **options):
        assert 1 <= len(hypotheses) <= options["num_hypotheses"]
        assert len({(tuple(h.tokens), h.end_token) for h in hypotheses}) == len(hypotheses)
        keys = [(not h.finished, -h.score) for h in hypotheses]
        assert keys == sorted(keys)
        for h in hypotheses:
            assert len(h.token_scores) == len(h.tokens) + h.finished <= options["max_decoding_length"]
            assert h.log_prob == total(h.token_scores.tolist())
            assert not set(h.tokens) & set(options["eos_id"])
            assert h.attention is None
            assert h.finished == (h.end_token in options["eos_id"])
            assert not h.finished or len(h.tokens) >= options["min_decoding_length"]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.5])
def test_a_beam_wide_enough_is_exhaustive(length_penalty):
    tree, length = Tree(3, seed=3), 4
    every = []
    for count in range(length):
        for tokens in itertools.product((0, 2), repeat=count):
            scores = [float(tree.scores(7, tokens[:i])[token]) for i, token in enumerate((*tokens, 1))]
            every.append(Path(tokens, 1, tuple(scores)))
    every.sort(key=lambda path: -path.score(length_penalty))
    options = {"beam_size": 40, "length_penalty": length_penalty, "max_decoding_length": length}
    [hypotheses] = search(tree, [7], num_hypotheses=len(every), **options)
    assert_equal(hypotheses, every, length_penalty)
    [best] = search(tree, [7], **options)
    assert_equal(best, every[:1], length_penalty)


def test_greedy_is_the_plain_loop():
    tree, sources = Tree(50, seed=1, scale=1.5), list(range(12))
    lengths = set()
    for source, [hypothesis] in zip(sources, search(tree, sources, beam_size=1), strict=True):
        tokens = ()
        while (token := int(np.argmax(tree.scores(source, tokens)))) != 1:
            tokens = (*tokens, token)
        assert hypothesis.tokens == list(tokens) and hypothesis.finished
        lengths.add(len(tokens))
    assert len(lengths) > 5


# Batches


def test_a_source_does_not_depend_on_its_neighbours():
    tree, sources = Tree(20, seed=4), list(range(8))
    options = {"beam_size": 4, "num_hypotheses": 4, "max_decoding_length": 30}
    together = search(tree, sources, **options)
    for source in sources:
        [alone] = search(tree, [source], **options)
        assert as_values(alone) == as_values(together[source])


def test_finished_sources_leave_the_batch():
    # Source s ends after s tokens, for certain.
    rows = []

    def step(parents, tokens):
        rows.append(len(parents))
        scores = np.full((len(parents), 3), -np.inf, np.float32)
        for row, parent in enumerate(parents):
            step.left[row] = parent if len(rows) == 1 else step.left[parent] - 1
            scores[row, 1 if step.left[row] == 0 else 2] = 0
        return scores

    step.left = {}
    results = beam_search(step, batch_size=4, vocab_size=3, bos_id=0, eos_id=1, beam_size=1)
    assert [len(h.tokens) for [h] in results] == [0, 1, 2, 3]
    assert rows == [4, 3, 2, 1]


def test_empty_batch():
    assert beam_search(lambda parents, tokens: 1 / 0, batch_size=0, vocab_size=3, bos_id=0, eos_id=1) == []


# Stopping


class Always:
    """The same scores at every step; counts the steps."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, dtype=np.float32)
        self.steps = 0

    def __call__(self, parents, tokens):
        self.steps += 1
        return np.tile(self.scores, (len(parents), 1))

    def search(self, **options):
        options = {"eos_id": 1, "batch_size": 1, **options}
        return beam_search(self, vocab_size=len(self.scores), bos_id=0, **options)


def test_stops_when_no_live_hypothesis_can_get_better():
    step = Always(np.log([0.1, 0.6, 0.3]))
    [[hypothesis]] = step.search(beam_size=3, length_penalty=0.0, patience=math.inf)
    assert hypothesis.tokens == [] and step.steps == 1


def test_patience_bounds_the_finished():
    steps = []
    for patience in (0.5, 1.0, 2.0):
        step = Always(np.log([0.4, 0.3, 0.3]))
        step.search(beam_size=4, num_hypotheses=1, length_penalty=1.0, patience=patience)
        steps.append(step.steps)
    assert 1 < steps[0] < steps[1] < steps[2] < 256


@pytest.mark.parametrize("beam_size", [1, 3])
def test_max_length_cuts_off(beam_size):
    step = Always([-0.1, -5.0, -3.0, -4.0])
    [[hypothesis]] = step.search(beam_size=beam_size, max_decoding_length=4)
    assert hypothesis.tokens == [0, 0, 0, 0]
    assert not hypothesis.finished and hypothesis.end_token is None
    assert hypothesis.token_scores.tolist() == pytest.approx([-0.1] * 4)
    assert hypothesis.score == pytest.approx(-0.1)


def test_unfinished_rank_after_finished():
    step = Always([-0.1, -2.0, -3.0])
    [hypotheses] = step.search(beam_size=2, num_hypotheses=2, max_decoding_length=1)
    assert [(h.tokens, h.finished) for h in hypotheses] == [([], True), ([0], False)]
    assert hypotheses[0].score < hypotheses[1].score


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("min_length", [0, 1, 3])
def test_min_length(beam_size, min_length):
    step = Always([-3.0, -0.1, -2.0])
    [[hypothesis]] = step.search(beam_size=beam_size, min_decoding_length=min_length)
    assert hypothesis.tokens == [2] * min_length and hypothesis.finished
    assert hypothesis.token_scores.tolist() == pytest.approx([-2.0] * min_length + [-0.1])


@pytest.mark.parametrize("beam_size", [1, 3])
def test_min_length_equal_to_max(beam_size):
    step = Always([-3.0, -0.1, -2.0])
    [[h]] = step.search(beam_size=beam_size, min_decoding_length=2, max_decoding_length=2)
    assert h.tokens == [2, 2] and not h.finished


@pytest.mark.parametrize("beam_size", [1, 2, 100])
def test_vocabulary_of_the_end_token_alone(beam_size):
    [[h]] = Always([0.0]).search(eos_id=0, beam_size=beam_size)
    assert h.tokens == [] and h.finished and h.score == 0 and h.token_scores.tolist() == [0.0]
    [[h]] = Always([0.0]).search(eos_id=0, beam_size=beam_size, min_decoding_length=1)
    assert h.tokens == [] and not h.finished and h.token_scores.shape == (0,)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_dead_ends(beam_size):
    scores = {(): [-1.0, -np.inf, -0.5], (0,): [-np.inf] * 3, (2,): [-np.inf] * 3}
    tree = Tree(3)
    tree.memo = {(0, tokens): np.array(row, np.float32) for tokens, row in scores.items()}
    [[h]] = search(tree, [0], beam_size=beam_size)
    assert h.tokens == [2] and not h.finished and h.log_prob == -0.5


def test_several_end_tokens():
    step = Always([-9.0, -3.0, -1.0, -2.0])
    [hypotheses] = step.search(eos_id=[1, 3], beam_size=2, num_hypotheses=2, max_decoding_length=5)
    assert [h.end_token for h in hypotheses] == [3, 3]
    assert [h.tokens for h in hypotheses] == [[2], []]
    assert 3 not in step.search(eos_id=(n for n in (3,)), beam_size=4)[0][0].tokens


def test_a_beam_larger_than_the_vocabulary():
    tree = Tree(3, seed=8)
    for beam_size in (4, 7, 1000):
        options = {"beam_size": beam_size, "num_hypotheses": 4, "max_decoding_length": 6}
        assert_equal(search(tree, [0], **options)[0], reference_search(tree, 0, **options))


def test_of_equals_the_lower_token_first():
    step = Always([-1.0] * 6)
    [hypotheses] = step.search(eos_id=3, beam_size=4, num_hypotheses=4, max_decoding_length=1)
    assert [(h.tokens, h.finished) for h in hypotheses] == [
        ([], True),
        ([0], False),
        ([1], False),
        ([2], False),
    ]


# Scores and attention


def test_length_penalty_counts_the_end_token():
    [[h]] = Always(np.log([0.1, 0.8, 0.1])).search(beam_size=1, length_penalty=0.6, min_decoding_length=2)
    assert len(h.tokens) == 2
    assert h.score == pytest.approx(h.log_prob / 3**0.6)


def test_logits_are_normalised():
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=300) * 5 + 100).astype(np.float32)
    [[h]] = Always(logits).search(logits=True, beam_size=3, max_decoding_length=3)
    expected = normalised(logits)[[*h.tokens, *([1] if h.finished else [])]]
    np.testing.assert_allclose(h.token_scores, expected, atol=2e-6)
    with pytest.raises(ValueError, match="logits=True"):
        Always(logits).search()


def test_logits_may_forbid():
    [[h]] = Always([-np.inf, 1.0, 3.0]).search(logits=True, beam_size=3, max_decoding_length=2)
    assert 0 not in h.tokens


@pytest.mark.parametrize("beam_size", [1, 3])
def test_attention_of_every_token(beam_size):
    tree, source_lengths = Tree(6, seed=2, scale=1.0), [4, 1, 7]
    options = {"beam_size": beam_size, "num_hypotheses": beam_size, "max_decoding_length": 5}
    results = search(tree, [0, 1, 2], source_lengths=source_lengths, **options)
    for source, (length, hypotheses) in enumerate(zip(source_lengths, results, strict=True)):
        for h in hypotheses:
            rows = [tree.attention(source, tuple(h.tokens[:i]), length) for i in range(len(h.token_scores))]
            assert h.attention.dtype == np.float32
            np.testing.assert_array_equal(h.attention, np.stack(rows))


def test_attention_is_kept_only_if_asked():
    def step(parents, tokens):
        return np.full((len(parents), 3), -1, np.float32), np.ones((len(parents), 2), np.float32)

    [[h]] = beam_search(step, batch_size=1, vocab_size=3, bos_id=0, eos_id=1)
    assert h.attention is None
    [[h]] = beam_search(step, batch_size=1, vocab_size=3, bos_id=0, eos_id=1, return_attention=True)
    assert h.attention.shape == (len(h.token_scores), 2)
    with pytest.raises(ValueError, match="return_attention"):
        Always([-1.0, -1.0]).search(return_attention=True)


# The hypothesis object


def test_hypothesis_object():
    [[h]] = search(Tree(6, seed=2), [0], source_lengths=[3], max_decoding_length=4)
    assert isinstance(h, Hypothesis)
    assert repr(h).startswith(f"Hypothesis(tokens={h.tokens}, score=-")
    with pytest.raises(ValueError, match="read-only"):
        h.token_scores[0] = 0
    with pytest.raises(AttributeError):
        h.score = 0
    copy = pickle.loads(pickle.dumps(h))
    assert as_values([copy]) == as_values([h])
    np.testing.assert_array_equal(copy.attention, h.attention)
    scores, expected = h.token_scores, h.token_scores.copy()
    del h  # a view keeps what it shows
    np.testing.assert_array_equal(scores, expected)


# Step functions that are wrong, and others that are right


def test_an_exception_of_step_keeps_its_traceback():
    class OwnError(Exception):
        pass

    def culprit(parents, tokens):
        if len(tokens) > 1:
            raise OwnError("here")
        return np.full((len(tokens), 4), -1.0, np.float32)

    with pytest.raises(OwnError, match="here") as error:
        beam_search(culprit, batch_size=1, vocab_size=4, bos_id=0, eos_id=1)
    assert error.traceback[-1].name == "culprit"


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (np.zeros((1, 5), np.float32), ValueError, r"scores of shape \[1, 4\], got \[1, 5\]"),
        (np.zeros((2, 4), np.float32), ValueError, r"scores of shape \[1, 4\], got \[2, 4\]"),
        (np.zeros(4, np.float32), ValueError, r"scores of shape \[1, 4\], got \[4\]"),
        (np.zeros((1, 4)), TypeError, "scores of dtype float32, got float64"),
        (np.zeros((1, 4), ">f4"), TypeError, "scores of dtype float32, got >f4"),
        (np.zeros((1, 4), np.int64), TypeError, "scores of dtype float32, got int64"),
        (None, TypeError, "scores of dtype float32, got object"),
        ([[0.0], [0.0, 1.0]], TypeError, "scores as a numpy array, got list"),
        ((np.zeros((1, 4), np.float32),) * 3, ValueError, "got 3 values"),
        ((np.zeros((1, 4), np.float32), np.zeros((1, 2))), TypeError, "attention of dtype float32"),
        (
            (np.zeros((1, 4), np.float32), np.zeros((3, 2), np.float32)),
            ValueError,
            r"attention of shape \[1, S\]",
        ),
        (np.full((1, 4), 0.5, np.float32), ValueError, "none above 0, got 0.5"),
        (np.full((1, 4), np.nan, np.float32), RuntimeError, "source 0 is NaN at step 0"),
        (np.array([[-1, -1, np.nan, -2]], np.float32), RuntimeError, "source 0 is NaN at step 0"),
        (np.array([[-1, -1, -1, np.inf]], np.float32), ValueError, "none above 0, got inf"),
    ],
)
@pytest.mark.parametrize("beam_size", [1, 2, 9])
def test_a_wrong_return_value(returned, error, message, beam_size):
    with pytest.raises(error, match=message):
        beam_search(lambda *_: returned, batch_size=1, vocab_size=4, bos_id=0, eos_id=1, beam_size=beam_size)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_without_a_distribution(bad):
    logits = np.full((1, 4), bad, np.float32)
    with pytest.raises(RuntimeError, match="NaN"):
        beam_search(lambda *_: logits, batch_size=1, vocab_size=4, bos_id=0, eos_id=1, logits=True)


def test_nan_in_one_source_later_on():
    def step(parents, tokens):
        scores = np.full((len(parents), 4), -2.0, np.float32)
        scores[:, 1] = -50
        if len(parents) > 3:
            scores[-1, 2] = np.nan
        return scores

    with pytest.raises(RuntimeError, match="A score of source 2 is NaN at step 1"):
        beam_search(step, batch_size=3, vocab_size=4, bos_id=0, eos_id=1, beam_size=2)


def test_attention_of_changing_or_too_small_width():
    widths = iter((2, 3))

    def step(parents, tokens):
        return np.full((len(parents), 3), -1, np.float32), np.ones((len(parents), next(widths)), np.float32)

    with pytest.raises(ValueError, match=r"attention of shape \[2, 2\], got \[2, 3\]"):
        beam_search(step, batch_size=1, vocab_size=3, bos_id=0, eos_id=1, beam_size=2, length_penalty=3.0)
    with pytest.raises(ValueError, match="as wide as the longest of source_lengths"):
        beam_search(
            lambda p, t: (np.full((len(p), 3), -1, np.float32), np.ones((len(p), 2), np.float32)),
            batch_size=1,
            vocab_size=3,
            bos_id=0,
            eos_id=1,
            source_lengths=[3],
        )


def test_arrays_of_any_layout():
    tree, options = Tree(7, seed=5), {"batch_size": 3, "vocab_size": 7, "bos_id": 0, "eos_id": 1}
    expected = as_values(itertools.chain(*search(tree, [0, 1, 2])))
    buffer = np.empty((64, 7), np.float32)

    def fortran(scores):
        return np.asfortranarray(scores)

    def strided(scores):
        return np.repeat(scores, 2, axis=1)[:, ::2]

    def read_only(scores):
        scores.flags.writeable = False
        return scores

    def reused(scores):
        buffer[: len(scores)] = scores
        return buffer[: len(scores)]

    for layout in (fortran, strided, read_only, reused):
        step = Step(tree, [0, 1, 2])
        results = beam_search(lambda *rows, s=step, f=layout: f(s(*rows)), **options)
        assert as_values(itertools.chain(*results)) == expected


def test_a_processor_leaves_the_scores_of_step_alone():
    scores = np.full((1, 3), -1, np.float32)
    scores.flags.writeable = False

    def step(parents, tokens):
        return np.broadcast_to(scores, (len(parents), 3))

    beam_search(step, batch_size=1, vocab_size=3, bos_id=0, eos_id=1, min_decoding_length=2)
    assert (scores == -1).all()


def test_torch_tensors_will_do(torch):
    tree = Tree(7, seed=5)
    step = Step(tree, [0])
    results = beam_search(
        lambda *rows: torch.from_numpy(step(*rows)), batch_size=1, vocab_size=7, bos_id=0, eos_id=1
    )
    assert as_values(results[0]) == as_values(search(tree, [0])[0])


def test_arguments_of_step_may_be_kept():
    kept = []
    tree = Tree(7, seed=5)
    step = Step(tree, [0, 1])

    def keeping(parents, tokens):
        kept.append((parents, tokens, parents.copy(), tokens.copy()))
        return step(parents, tokens)

    beam_search(keeping, batch_size=2, vocab_size=7, bos_id=0, eos_id=1)
    for parents, tokens, parents_then, tokens_then in kept:
        np.testing.assert_array_equal(parents, parents_then)
        np.testing.assert_array_equal(tokens, tokens_then)


def test_a_search_within_a_search_and_in_threads():
    tree = Tree(7, seed=5)
    expected = as_values(search(tree, [0])[0])
    outer = Step(tree, [0])

    def step(parents, tokens):
        assert as_values(search(tree, [0])[0]) == expected
        return outer(parents, tokens)

    options = {"batch_size": 1, "vocab_size": 7, "bos_id": 0, "eos_id": 1}
    assert as_values(beam_search(step, **options)[0]) == expected

    results = [None] * 4

    def work(i):
        results[i] = as_values(search(Tree(7, seed=5), [0])[0])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_nothing_leaks():
    scores = np.full((1, 3), -1, np.float32)
    before = sys.getrefcount(scores)
    for _ in range(5):
        beam_search(lambda p, t: scores, batch_size=1, vocab_size=3, bos_id=0, eos_id=1, beam_size=1)
        with pytest.raises(ZeroDivisionError):
            beam_search(lambda p, t: scores / (1 // 0), batch_size=1, vocab_size=3, bos_id=0, eos_id=1)
    assert sys.getrefcount(scores) == before


# Options that are wrong


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"beam_size": 0}, ValueError, "beam_size of at least 1.*got 0"),
        ({"beam_size": 2**40}, ValueError, "beam_size"),
        ({"beam_size": 2.0}, TypeError, "beam_size to be an integer, got 2.0"),
        ({"beam_size": True}, TypeError, "beam_size to be a number, got True"),
        ({"length_penalty": True}, TypeError, "length_penalty to be a number"),
        ({"logits": 1}, TypeError, "logits as a bool"),
        ({"beam_size": "2"}, TypeError, "beam_size to be an integer"),
        ({"patience": 0.0}, ValueError, "patience above 0, got 0"),
        ({"patience": math.nan}, ValueError, "patience"),
        ({"patience": "long"}, TypeError, "patience to be a number"),
        ({"num_hypotheses": 0}, ValueError, "num_hypotheses of at least 1, got 0"),
        ({"beam_size": 2, "num_hypotheses": 3}, ValueError, "num_hypotheses of at most beam_size, got 3"),
        ({"length_penalty": math.nan}, ValueError, "length_penalty"),
        ({"length_penalty": math.inf}, ValueError, "length_penalty"),
        ({"min_decoding_length": -1}, ValueError, "min_decoding_length of at least 0, got -1"),
        ({"max_decoding_length": 0}, ValueError, "max_decoding_length of at least 1, got 0"),
        (
            {"min_decoding_length": 5, "max_decoding_length": 4},
            ValueError,
            "min_decoding_length of at most max_decoding_length, got 5",
        ),
        ({"eos_id": []}, ValueError, "end_tokens, got none"),
        ({"eos_id": 3}, ValueError, "eos_id from 0 to 2, got 3"),
        ({"eos_id": [1, -1]}, ValueError, "eos_id of at least 0, got -1"),
        ({"eos_id": "</s>"}, TypeError, "eos_id as an integer"),
        ({"bos_id": -1}, ValueError, "bos_id of at least 0, got -1"),
        ({"bos_id": 3}, ValueError, "bos_id from 0 to 2, got 3"),
        ({"bos_id": None}, TypeError, "bos_id as an integer, got NoneType"),
        ({"batch_size": -1}, ValueError, "batch_size of at least 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size as an integer"),
        ({"vocab_size": 0}, ValueError, "vocab_size of at least 1"),
        ({"return_attention": "yes"}, TypeError, "return_attention as a bool"),
    ],
)
@pytest.mark.parametrize("batch_size", [0, 1])
def test_bad_options(option, error, message, batch_size):
    options = {"batch_size": batch_size, "vocab_size": 3, "bos_id": 0, "eos_id": 1, **option}
    with pytest.raises(error, match=message):
        beam_search(Always([-1.0] * 3), **options)


@pytest.mark.parametrize(
    ("source_lengths", "error", "message"),
    [
        ([1, 2], ValueError, r"source_lengths of shape \[1\], got \[2\]"),
        ([-1], ValueError, "source_lengths of at least 0"),
        ([1.0], TypeError, "source_lengths as an integer"),
        (5, TypeError, "source_lengths as integers, got int"),
    ],
)
def test_bad_source_lengths(source_lengths, error, message):
    with pytest.raises(error, match=message):
        Always([-1.0] * 3).search(source_lengths=source_lengths)


def test_step_must_be_callable():
    with pytest.raises(TypeError, match="step to be callable, got int"):
        beam_search(3, batch_size=1, vocab_size=3, bos_id=0, eos_id=1)


def test_native_options():

    def native(options):
        return _native.beam_search(Always([-1.0] * 3), 1, 3, options, False, [])

    with pytest.raises(ValueError, match="no option beam_width"):
        native({"beam_width": 3})
    with pytest.raises(ValueError, match="start_token"):
        native({"end_tokens": [1]})
    # What the dict leaves out has the defaults of SearchOptions.
    tokens = {"start_token": 0, "end_tokens": [1]}
    assert as_values(native(tokens)[0]) == as_values(
        native(SearchOptions().native(start_token=0, end_tokens=[1], vocab_size=3))[0]
    )


def test_every_search_has_the_same_defaults() -> None:
    """Those of SearchOptions, which are CTranslate2's; the extension's own are the same. None is the preset's
    value, else SearchOptions'."""
    defaults = dataclasses.asdict(SearchOptions())
    assert {name: defaults[name] for name in ("beam_size", "num_hypotheses", "length_penalty")} == {
        "beam_size": 2,
        "num_hypotheses": 1,
        "length_penalty": 1,
    }
    assert (defaults["min_decoding_length"], defaults["max_decoding_length"]) == (1, 256)
    for call in (native_search.beam_search, Seq2Seq.generate, Translator.translate_batch):
        for name, parameter in inspect.signature(call).parameters.items():
            if name in defaults:
                assert parameter.default in (None, defaults[name]), (call, name)
                if parameter.default is None:
                    assert native_search.native_options({name: None}, 5) == {}  # the extension's
    step = Step(Tree(5, seed=1), [0, 1])
    explicit = native_search.beam_search(step, batch_size=2, vocab_size=5, bos_id=BOS, eos_id=1)
    options = {"start_token": BOS, "end_tokens": [1]}
    implicit = _native.beam_search(Step(Tree(5, seed=1), [0, 1]), 2, 5, options, False, [])
    assert [as_values(h) for h in explicit] == [as_values(h) for h in implicit]
