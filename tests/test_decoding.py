"""Every option of a search, alone and together, against reference/decoding.py on random models."""

from __future__ import annotations

import functools
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import decoding
from seq2seq_fast.search import Trie, beam_search
from step_functions import BOS, Step, Tree
from test_search import Always, as_values

pytestmark = pytest.mark.cpu_only("searches around step functions run on the host")

LENGTHS = {0: 3, 1: 1, 2: 5, 3: 2, 4: 4, 5: 6}  # of the sources


class LooseStep(Step):
    """Samples and groups may have equal rows."""

    distinct = False


def found_by(tree, sources, **options):
    """The search's results. Options that a reference has for each source are dicts here."""
    lengths = [LENGTHS[source] for source in sources]
    given = dict(options)
    for name in ("target_prefix", "sequence_ids"):
        if name in given:
            given[name] = [list(x) if isinstance(x, tuple) else x for x in map(given[name].get, sources)]
    if "must_contain" in given:
        given["must_contain"] = list(map(given["must_contain"].get, sources))
    if "allowed_outputs" in given:
        allowed = [given["allowed_outputs"].get(source) for source in sources]
        given["allowed_outputs"] = [None if one is None else Trie([list(s) for s in one]) for one in allowed]
    return beam_search(
        LooseStep(tree, sources, lengths),
        batch_size=len(sources),
        vocab_size=tree.vocabulary,
        bos_id=BOS,
        source_lengths=lengths,
        return_attention=True,
        **{"eos_id": (1,), "min_decoding_length": 0, **given},
    )


def expected_by(tree, source, place=0, **options):
    given = dict(options)
    if "target_prefix" in given:
        given["target_prefix"] = given["target_prefix"][source]
    if "must_contain" in given:
        given["must_contain"] = tuple(given["must_contain"][source] or ())
    if "allowed_outputs" in given:
        allowed = given["allowed_outputs"].get(source)
        given["allowed_outputs"] = None if allowed is None else frozenset(allowed)
    if "suppress_sequences" in given:
        given["suppress_sequences"] = tuple(map(tuple, given["suppress_sequences"]))
    given["sequence_id"] = given.pop("sequence_ids")[source] if "sequence_ids" in given else place
    return decoding.search(tree, source, source_length=LENGTHS[source], **given)


def check(tree, sources, **options):
    results = found_by(tree, sources, **options)
    assert len(results) == len(sources)
    for place, (source, hypotheses) in enumerate(zip(sources, results, strict=True)):
        expected = expected_by(tree, source, place, **options)
        assert [(tuple(h.tokens), h.end_token) for h in hypotheses] == [
            (p.tokens, p.end) for p, _ in expected
        ]
        assert [tuple(h.token_scores.tolist()) for h in hypotheses] == [p.scores for p, _ in expected]
        assert [h.log_prob for h in hypotheses] == [p.log_prob for p, _ in expected]
        assert [h.score for h in hypotheses] == [score for _, score in expected]
    return results


def tokens(vocabulary, most=3, least=0):
    return st.lists(st.integers(0, vocabulary - 1), min_size=least, max_size=most).map(tuple)


def maybe(options, draw, chance, **strategies):
    """Each with this chance out of ten; else its default."""
    for name, strategy in strategies.items():
        if draw(st.integers(0, 9)) < chance:
            options[name] = draw(strategy)


@st.composite
def searches(draw, kind, levels=(None, None, 1, 2, 3)):
    vocabulary = draw(st.integers(1, 6))
    tree = Tree(
        vocabulary,
        seed=draw(st.integers(0, 10**6)),
        levels=draw(st.sampled_from(levels)),
        forbidden=draw(st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.6])),
        scale=draw(st.sampled_from([0.5, 2.0, 5.0])),
    )
    sources = draw(st.lists(st.integers(0, 5), max_size=4, unique=True))
    beam_size = 1 if kind == "sample" else draw(st.integers(1, 6))
    max_length = draw(st.integers(1, 7))
    chance = draw(st.sampled_from([1, 3, 7]))
    options = {
        "eos_id": draw(st.sets(st.integers(0, vocabulary - 1), min_size=1, max_size=3).map(tuple)),
        "beam_size": beam_size,
        "num_hypotheses": draw(st.integers(1, beam_size if kind in ("beam", "groups") else 4)),
        "max_decoding_length": max_length,
        "min_decoding_length": draw(st.integers(0, min(max_length, 3))),
        "length_penalty": draw(st.sampled_from([-1.0, 0.0, 0.6, 1.0, 2.5])),
    }
    inner = sorted(set(range(vocabulary)) - set(options["eos_id"]))
    output = st.lists(st.sampled_from(inner), max_size=4).map(tuple) if inner else st.just(())
    of_sources = lambda strategy: st.fixed_dictionaries(dict.fromkeys(range(6), strategy))  # noqa: E731
    maybe(
        options,
        draw,
        chance,
        length_penalty_type=st.sampled_from(["power", "wu", "average", "none"]),
        count_end_token=st.just(False),
        coverage_penalty=st.sampled_from([0.2, 1.0]),
        max_length_ratio=st.sampled_from([0.0, 0.5, 1.0, 1.3]),
        repetition_penalty=st.sampled_from([0.7, 1.3, 3.0]),
        no_repeat_ngram_size=st.integers(1, 3),
        suppress_sequences=st.lists(tokens(vocabulary, least=1), max_size=3),
        target_prefix=of_sources(tokens(vocabulary, most=4)),
        allowed_outputs=of_sources(st.none() | st.lists(output, max_size=8)),
    )
    maybe(
        options,
        draw,
        chance,
        length_offset=st.integers(1, 2),
        word_penalty=st.sampled_from([-0.3, 0.5]),
        coverage_end_token=st.just(False),
        unfinished=st.sampled_from(["equal", "unnormalized"]),
        force_end_token=st.just(True),
        renormalize=st.just(True),
    )
    if options.get("length_penalty_type", "power") == "power":
        maybe(options, draw, chance, length_penalty_beta=st.sampled_from([0.5, 5.0]))
    if inner:
        phrase = st.lists(st.sampled_from(inner), min_size=1, max_size=3).map(tuple)
        phrases = st.none() | st.lists(phrase, max_size=3)
        maybe(options, draw, min(chance, 4), must_contain=of_sources(phrases))
    if "coverage_penalty" in options:
        options["coverage_penalty_type"] = draw(st.sampled_from(["wu", "summary"]))
    if "max_length_ratio" in options:
        options["max_length_offset"] = draw(st.integers(-1, 2))
    if draw(st.integers(0, 9)) < chance:
        options |= {"disable_unk": True, "unk_id": draw(st.integers(0, vocabulary - 1))}
    if kind == "sample":
        options |= {"sampling_topk": draw(st.sampled_from([0, 0, 2, 3, 100]))}
        maybe(
            options,
            draw,
            5,
            sampling_topp=st.sampled_from([0.01, 0.5, 0.9]),
            min_p=st.sampled_from([0.05, 0.5, 1.0]),
            sampling_temperature=st.sampled_from([0.3, 2.0]),
            seed=st.integers(0, 2**64 - 1),
            sequence_ids=of_sources(st.integers(0, 2**63 - 1)),
        )
    else:
        options["patience"] = draw(st.sampled_from([0.5, 1.0, 1.0, 1.7, math.inf]))
        maybe(options, draw, 5, early_stopping=st.sampled_from(["first", "heuristic", "never", "patience"]))
        maybe(options, draw, 4, end_rule=st.sampled_from(["vacate", "shrink", "stay", "proceed"]))
        rule = options.get("end_rule", "replace")
        if rule == "proceed":
            options["early_stopping"] = "never"
        if rule != "stay" and options.get("early_stopping", "patience") == "patience":
            maybe(options, draw, 4, cap_finished=st.just(True))
    if kind == "alternatives":
        options |= {"return_alternatives": True}
        maybe(options, draw, 5, min_alternative_expansion_prob=st.sampled_from([0.01, 0.2, 1.0]))
    if kind == "groups":
        options["num_beam_groups"] = draw(
            st.sampled_from([g for g in range(1, beam_size + 1) if beam_size % g == 0])
        )
        maybe(options, draw, 7, diversity_penalty=st.sampled_from([0.0, 0.1, 1.0, 10.0]))
    return tree, sources, options


KINDS = ("beam", "groups", "alternatives", "sample")


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_reference(kind):
    @settings(max_examples=200, deadline=None)
    @given(searches(kind))
    def run(case):
        tree, sources, options = case
        check(tree, sources, **options)

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_what_always_holds(kind):
    @settings(max_examples=50, deadline=None)
    @given(searches(kind))
    def run(case):
        tree, sources, options = case
        for source, hypotheses in zip(sources, found_by(tree, sources, **options), strict=True):
            assert 1 <= len(hypotheses) <= options["num_hypotheses"]
            if kind != "sample":
                assert len({(tuple(h.tokens), h.end_token) for h in hypotheses}) == len(hypotheses)
            behind = options.get("unfinished", "last") == "last"
            keys = [(behind and not h.finished, -h.score) for h in hypotheses]
            assert keys == sorted(keys)
            for h in hypotheses:
                holds(h, source, options)

    run()


OF_SOURCES = ("target_prefix", "allowed_outputs", "must_contain", "sequence_ids")


def holds(h, source, options):
    o = decoding.Options(
        **{k: v for k, v in options.items() if k not in OF_SOURCES},
        source_length=LENGTHS[source],
    )
    assert len(h.token_scores) == len(h.tokens) + h.finished <= o.limit
    assert h.log_prob == functools.reduce(operator.add, h.token_scores.tolist(), 0.0)
    assert not set(h.tokens) & set(o.eos_id)
    assert h.attention.shape == (len(h.token_scores), LENGTHS[source])
    assert h.alignment == [(int(row.argmax()), t) for t, row in enumerate(h.attention[: len(h.tokens)])]
    prefix = options.get("target_prefix", {}).get(source, ())
    whole = (*h.tokens, h.end_token) if h.finished else tuple(h.tokens)
    assert whole[: len(prefix)] == prefix[: len(whole)]
    if len(whole) > len(prefix):
        assert not h.finished or len(h.tokens) >= o.min_decoding_length
        allowed = options.get("allowed_outputs", {}).get(source)
        if allowed is not None:
            beginnings = {output[:i] for output in allowed for i in range(len(output) + 1)}
            assert whole in beginnings or (h.finished and tuple(h.tokens) in allowed)
    phrases = options.get("must_contain", {}).get(source) or ()
    if h.finished and len(whole) > len(prefix):
        assert all(contains(h.tokens, phrase) for phrase in phrases)
    behind = whole[len(prefix) :]
    if o.disable_unk:
        assert o.unk_id not in behind
    for banned in options.get("suppress_sequences", ()):
        for i in range(len(prefix), len(whole)):
            assert whole[max(0, i + 1 - len(banned)) : i + 1] != banned


def contains(tokens, phrase):
    return any(tuple(tokens[i : i + len(phrase)]) == tuple(phrase) for i in range(len(tokens)))


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_phrases_are_there_whenever_there_is_room(beam_size):
    """Also where the model would never say them; and the room need not be larger than that."""

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.lists(st.integers(2, 7), min_size=1, max_size=3), min_size=1, max_size=3),
        st.integers(0, 4),
        st.integers(0, 10**6),
    )
    def run(phrases, room, seed):
        tree = Tree(8, seed=seed, scale=4.0)
        for sampling in (1, 0) if beam_size == 1 else (1,):
            found = beam_search(
                Step(tree, [0, 1]),
                batch_size=2,
                vocab_size=8,
                bos_id=BOS,
                eos_id=1,
                beam_size=beam_size,
                sampling_topk=sampling,
                must_contain=[phrases, None],
                max_decoding_length=sum(map(len, phrases)) + 1 + room,
            )
            assert all(contains(found[0][0].tokens, phrase) for phrase in phrases)

    run()


def test_a_beam_with_phrases_finds_what_a_greedy_search_does_not():
    """They come where they cost little, not where the room for them ends."""
    better = 0
    for seed in range(20):
        tree = Tree(8, seed=seed, scale=2.0)
        options = {"must_contain": [[[5, 3]]], "max_decoding_length": 12, "length_penalty": 0}
        scores = [
            beam_search(
                Step(tree, [0]), batch_size=1, vocab_size=8, bos_id=BOS, eos_id=1, beam_size=k, **options
            )[0][0].score
            for k in (1, 8)
        ]
        better += scores[1] > scores[0]
    assert better > 15


def test_phrases_without_room_or_probability():
    def found(**options):
        [[h]] = Always([-9.0, -0.1, -1.0, -np.inf]).search(beam_size=3, **options)
        return h

    short = found(must_contain=[[[2, 0, 2, 0]]], max_decoding_length=3)
    assert (short.tokens, short.finished) == ([2, 0, 2], False)
    never = found(must_contain=[[[3]]], max_decoding_length=4)
    assert not never.finished and 3 not in never.tokens
    again = found(must_contain=[[[2], [2], [2, 2]]], max_decoding_length=9)
    assert again.finished and again.tokens == [2, 2]  # one place may be of several phrases


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_does_not_depend_on_its_neighbours(kind):
    @settings(max_examples=60, deadline=None)
    @given(searches(kind))
    def run(case):
        tree, sources, options = case
        options = {"sequence_ids": {source: 7 * source for source in range(6)}, **options}
        for source, together in zip(sources, found_by(tree, sources, **options), strict=True):
            [alone] = found_by(tree, [source], **options)
            assert as_values(alone) == as_values(together)

    run()


# Each option by itself, on a case that one can follow


def test_length_penalties():
    scores = np.log([0.1, 0.8, 0.1])
    for kind, divisor in {"power": 3**0.6, "wu": (8 / 6) ** 0.6, "average": 3, "none": 1}.items():
        options = {"length_penalty": 0.6, "length_penalty_type": kind, "min_decoding_length": 2}
        [[h]] = Always(scores).search(beam_size=1, **options)
        assert len(h.tokens) == 2 and h.score == pytest.approx(h.log_prob / divisor, rel=1e-12)


def test_coverage_penalties():
    def step(parents, tokens):
        step.count = getattr(step, "count", -1) + 1
        scores = np.full((1, 3), -5, np.float32)
        scores[0, 1 if step.count == 2 else 2] = -0.1
        weights = [[0.5, 0.3, 0.2, 0.0], [0.9, 0.1, 0.0, 0.0], [0.6, 0.1, 0.3, 0.0]][step.count]
        return scores, np.array([weights], np.float32)

    options = {"batch_size": 1, "vocab_size": 3, "bos_id": 0, "eos_id": 1, "beam_size": 1}
    for kind, loss in {"wu": -2 * math.log(0.5), "summary": 1.0}.items():
        step.count = -1
        [[h]] = beam_search(step, coverage_penalty=0.3, coverage_penalty_type=kind, **options)
        assert h.score == pytest.approx(h.log_prob / 3 - 0.3 * loss, rel=1e-6)
        assert h.attention is None
    with pytest.raises(ValueError, match="coverage_penalty was asked of a model that has no attention"):
        Always([-1.0, -1.0]).search(coverage_penalty=0.1)


def test_repetition_penalty_and_ngrams():
    step = Always([-1.0, -50.0, -1.1, -1.2])
    options = {"beam_size": 1, "max_decoding_length": 5}
    assert step.search(**options)[0][0].tokens == [0] * 5
    [[h]] = step.search(repetition_penalty=1.15, **options)
    assert h.tokens == [0, 2, 0, 0, 0] and h.token_scores.tolist()[2] == pytest.approx(-1.15)
    assert step.search(no_repeat_ngram_size=1, **options)[0][0].tokens == [0, 2, 3]
    assert step.search(no_repeat_ngram_size=2, **options)[0][0].tokens == [0, 0, 2, 0, 3]


def test_suppressed():
    step = Always([-1.0, -50.0, -1.1, -1.2])
    options = {"beam_size": 1, "max_decoding_length": 5}
    assert step.search(suppress_sequences=[[0]], **options)[0][0].tokens == [2] * 5
    assert step.search(suppress_sequences=[[0, 0], [2, 0]], **options)[0][0].tokens == [0, 2, 2, 2, 2]
    assert step.search(disable_unk=True, unk_id=0, **options)[0][0].tokens == [2] * 5
    [[h]] = step.search(suppress_sequences=[[0], [1], [2], [3]], **options)
    assert h.tokens == [] and not h.finished and h.score == 0


def test_prefix():
    step = Always([-1.0, -2.0, -3.0, -4.0])
    [[a], [b], [c]] = step.search(
        batch_size=3,
        target_prefix=[[3, 2], [], [3] * 9],
        beam_size=3,
        max_decoding_length=4,
        length_penalty=0.0,
    )
    assert a.tokens[:2] == [3, 2] and a.token_scores.tolist()[:2] == [-4.0, -3.0]
    assert b.tokens == []
    assert c.tokens == [3] * 4 and not c.finished
    [[h]] = step.search(target_prefix=[[2, 1]], beam_size=3, min_decoding_length=4)
    assert h.tokens == [2] and h.finished  # a prefix goes before min_decoding_length


def test_length_ratio():
    step = Always([-0.1, -50.0, -3.0])
    options = {"batch_size": 3, "source_lengths": [1, 4, 100], "beam_size": 2}
    found = step.search(max_length_ratio=1.5, max_length_offset=1, max_decoding_length=20, **options)
    assert [len(h.tokens) for [h] in found] == [2, 7, 20]
    with pytest.raises(ValueError, match="source_lengths for 1 sources, got 0"):
        step.search(max_length_ratio=1.5)


def test_early_stopping():
    # The best continuation never ends, the second best always does.
    steps = {}
    for rule in ("patience", "first", "heuristic", "never"):
        step = Always(np.log([0.6, 0.3, 0.1]))
        step.search(beam_size=3, length_penalty=2.0, max_decoding_length=40, early_stopping=rule)
        steps[rule] = step.steps
    assert steps["patience"] < steps["first"] == steps["never"] == 40
    assert steps["heuristic"] <= 40


@pytest.mark.parametrize("beam_size", [1, 3])
def test_alternatives(beam_size):
    tree = Tree(8, seed=1)
    options = {"return_alternatives": True, "num_hypotheses": 4, "max_decoding_length": 6}
    options["target_prefix"] = {0: (3, 4)}
    [found] = check(tree, [0], beam_size=beam_size, **options)
    best = sorted(range(8), key=lambda token: -tree.scores(0, (3, 4))[token])[:4]
    assert {(*h.tokens, h.end_token)[2] for h in found} == set(best)
    [fewer] = check(tree, [0], beam_size=beam_size, min_alternative_expansion_prob=0.1, **options)
    assert len(fewer) == sum(tree.scores(0, (3, 4)) >= np.log(0.1)) < 4
    every = check(tree, [0], beam_size=beam_size, **options | {"num_hypotheses": 10**12})[0]
    assert len(every) == 8


def test_groups_are_diverse():
    step = Always(np.log([0.5, 0.02, 0.3, 0.18]))
    options = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 2}
    firsts = {h.tokens[0] for h in step.search(**options)[0]}
    assert firsts == {0, 2}
    [found] = step.search(num_beam_groups=3, diversity_penalty=5.0, **options)
    assert {h.tokens[0] for h in found} == {0, 2, 3}


def test_samples_are_distributed_as_they_should():
    probabilities = np.array([0.5, 0.05, 0.3, 0.15])
    step = Always(np.log(probabilities))
    [found] = step.search(beam_size=1, sampling_topk=0, num_hypotheses=4000, max_decoding_length=1)
    drawn = np.bincount([h.tokens[0] if h.tokens else 1 for h in found], minlength=4) / 4000
    np.testing.assert_allclose(drawn, probabilities, atol=4 * np.sqrt(0.25 / 4000))
    one = step.search(beam_size=1, sampling_topk=0, num_hypotheses=50, seed=1)[0]
    two = step.search(beam_size=1, sampling_topk=0, num_hypotheses=50, seed=2)[0]
    assert as_values(one) != as_values(two)


class Sum:
    """A model whose scores are those of two."""

    def __init__(self, one, other, weight):
        self.one, self.other, self.weight = one, other, np.float32(weight)
        self.vocabulary = one.vocabulary

    def scores(self, source, tokens):
        return self.one.scores(source, tokens) + self.weight * self.other.scores(source, tokens)


class Bonus(Tree):
    """Scores above 0."""

    def scores(self, source, tokens):
        return super().scores(source, tokens) + np.float32(3)


@pytest.mark.parametrize("weight", [0.5, -0.25])
@pytest.mark.parametrize("kind", [Tree, Bonus])
@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 3, "num_hypotheses": 3},
        {"beam_size": 3, "early_stopping": "never", "length_penalty": 0.0},
        {"beam_size": 1, "sampling_topk": 0, "num_hypotheses": 2},
        {"beam_size": 4, "num_beam_groups": 2, "repetition_penalty": 1.2},
    ],
)
def test_scorers(weight, kind, options):
    tree, other, sources = Tree(6, seed=1), kind(6, seed=2), [0, 1, 2]
    options = {"max_decoding_length": 6, "min_decoding_length": 0} | options
    made = []

    def make(places):
        made.append(places)
        return LooseStep(other, [sources[place] for place in places])

    step = LooseStep(tree, sources)
    found = beam_search(
        step, batch_size=3, vocab_size=6, bos_id=BOS, eos_id=1, scorers=[(make, weight)], **options
    )
    assert made == [[0, 1, 2]]
    both = Sum(tree, other, weight)
    for place, hypotheses in enumerate(found):
        expected = decoding.search(both, place, sequence_id=place, **options)
        assert [(tuple(h.tokens), h.end_token) for h in hypotheses] == [
            (p.tokens, p.end) for p, _ in expected
        ]
        assert [h.score for h in hypotheses] == [score for _, score in expected]


def test_bad_scorers():
    def search(*scorers):
        Always([-1.0] * 3).search(scorers=list(scorers))

    def make(scores):
        return lambda sources: lambda parents, tokens: scores

    for scorer, error, message in (
        (3, TypeError, "scorers to be a list of pairs of a function and a weight"),
        ((3, 1.0), TypeError, "scorers to be a list of pairs"),
        ((make(None), math.inf), ValueError, "scorers with finite weights, got inf"),
        ((lambda sources: 3, 1.0), TypeError, "a scorer to return a step function, got int"),
        ((make(np.zeros((1, 2), np.float32)), 1.0), ValueError, r"scores of shape \[1, 3\], got \[1, 2\]"),
        ((make(np.zeros((1, 3))), 1.0), TypeError, "scores of dtype float32, got float64"),
        ((make(np.full((1, 3), np.nan, np.float32)), 1.0), RuntimeError, "score is NaN or infinite"),
    ):
        with pytest.raises(error, match=message):
            search(scorer)


def test_trie():
    words = [[2], [2, 3], [2, 3, 4], [5], [5, 2], [5, 2]]
    trie = Trie(words)
    assert len(trie) == 5
    assert all(word in trie for word in words) and [3] not in trie and [2, 3, 4, 5] not in trie
    assert trie.next([]) == [2, 5] and trie.next([2]) == [3] and trie.next([3]) == []
    with pytest.raises(ValueError, match="tokens of at least 0, got -1"):
        Trie([[1, -1]])
    tree = Tree(6, seed=9)
    [found] = search_all(tree, trie, 20)
    assert sorted(h.tokens for h in found if h.finished) == sorted(map(list, {tuple(w) for w in words}))
    # Nothing allowed but the empty output; nothing at all.
    [[h]] = search_all(tree, Trie([[]]), 1)
    assert h.tokens == [] and h.finished
    [[h]] = search_all(tree, Trie([]), 1)
    assert h.tokens == [] and not h.finished


def search_all(tree, trie, count):
    return beam_search(
        Step(tree, [0]),
        batch_size=1,
        vocab_size=6,
        bos_id=0,
        eos_id=1,
        beam_size=20,
        num_hypotheses=count,
        min_decoding_length=0,
        allowed_outputs=trie,
    )


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"length_penalty_type": "gnmt"}, ValueError, "one of power, wu, average, none, got gnmt"),
        ({"length_penalty_type": 1}, TypeError, "length_penalty_type to be a string"),
        ({"coverage_penalty": -0.1}, ValueError, "coverage_penalty of at least 0"),
        ({"coverage_penalty_type": "both"}, ValueError, "one of wu, summary"),
        ({"early_stopping": "always"}, ValueError, "one of patience, first, heuristic, never"),
        ({"early_stopping": True}, TypeError, "early_stopping"),
        ({"max_length_ratio": -1.0}, ValueError, "max_length_ratio between 0"),
        ({"max_length_ratio": "2"}, TypeError, "max_length_ratio to be a number or None"),
        ({"repetition_penalty": 0.0}, ValueError, "repetition_penalty above 0"),
        ({"no_repeat_ngram_size": -1}, ValueError, "no_repeat_ngram_size of at least 0"),
        ({"suppress_sequences": [[]]}, ValueError, "suppress_sequences of at least one token each"),
        ({"suppress_sequences": [[3]]}, ValueError, "suppress_sequences between 0 and 2, got 3"),
        ({"suppress_sequences": [1]}, TypeError, "suppress_sequences to be a list of lists"),
        ({"disable_unk": True}, ValueError, "disable_unk of a model with an unknown token"),
        ({"disable_unk": 1}, TypeError, "disable_unk as a bool"),
        ({"unk_id": 3}, ValueError, "unk_id from 0 to 2"),
        ({"target_prefix": [[1], [2]]}, ValueError, "target_prefix for 1 sources, got 2"),
        ({"target_prefix": [[-1]]}, ValueError, "target_prefix between 0 and 2, got -1"),
        (
            {"allowed_outputs": [[1]]},
            TypeError,
            "a Trie, an Automaton, or a list of them",
        ),
        ({"allowed_outputs": Trie([[7]])}, ValueError, "allowed_outputs between 0 and 2, got 7"),
        ({"allowed_outputs": Trie([[2, 1]])}, ValueError, "allowed_outputs without end tokens, got 1"),
        ({"vocabulary": [0]}, ValueError, "no vocabulary of a search around a step function"),
        ({"allowed_outputs": [Trie([]), None]}, ValueError, "allowed_outputs for 1 sources, got 2"),
        ({"sampling_topk": 2}, ValueError, "beam_size of 1 with sampling, got 2"),
        ({"sampling_topk": -1}, ValueError, "sampling_topk of at least 0"),
        ({"sampling_topp": 0.0}, ValueError, "sampling_topp above 0"),
        ({"min_p": 1.1}, ValueError, "min_p between 0 and 1"),
        ({"sampling_temperature": 0.0}, ValueError, "sampling_temperature above 0"),
        ({"seed": -1}, TypeError, "seed to be an integer"),
        ({"sequence_ids": [0, 1]}, ValueError, "sequence_ids for 1 sources, got 2"),
        ({"sequence_ids": [-1]}, ValueError, "sequence_ids of at least 0"),
        ({"must_contain": [[], []]}, ValueError, "must_contain for 1 sources, got 2"),
        ({"must_contain": [[[]]]}, ValueError, "must_contain of at least one token each"),
        ({"must_contain": [[[3]]]}, ValueError, "must_contain between 0 and 2, got 3"),
        ({"must_contain": [[[2, 1]]]}, ValueError, "must_contain without end tokens, got 1"),
        ({"must_contain": [[2]]}, TypeError, "must_contain to be a list of lists of lists"),
        ({"preset": "onmt"}, ValueError, "preset to be one of ctranslate2, .* got 'onmt'"),
        ({"end_rule": "leave"}, ValueError, "end_rule"),
        ({"end_rule": "proceed"}, ValueError, "early_stopping never with end_rule proceed"),
        (
            {"end_rule": "proceed", "early_stopping": "never", "callback": print},
            ValueError,
            "no callback with end_rule proceed",
        ),
        ({"unfinished": "first"}, ValueError, "unfinished"),
        ({"cap_finished": True, "early_stopping": "never"}, ValueError, "patience with cap_finished"),
        ({"cap_finished": True, "end_rule": "stay"}, ValueError, "no end_rule stay with cap_finished"),
        ({"length_offset": -1}, ValueError, "length_offset of at least 0, got -1"),
        ({"length_penalty_beta": -0.5}, ValueError, "length_penalty_beta of at least 0"),
        (
            {"length_penalty_beta": 1.0, "length_penalty_type": "wu"},
            ValueError,
            "length_penalty_type power with length_penalty_beta",
        ),
        ({"word_penalty": math.inf}, ValueError, "finite word_penalty"),
        ({"preset": "marian"}, ValueError, "source_lengths for 1 sources, got 0"),
        ({"num_beam_groups": 0}, ValueError, "num_beam_groups of at least 1"),
        ({"num_beam_groups": 3}, ValueError, "num_beam_groups that divide beam_size, got 3"),
        ({"num_beam_groups": 2, "return_alternatives": True}, ValueError, "no num_beam_groups with"),
        ({"diversity_penalty": -1.0}, ValueError, "diversity_penalty of at least 0"),
        ({"min_alternative_expansion_prob": 2.0}, ValueError, "between 0 and 1"),
        ({"end_token": 1}, TypeError, "end token as eos_id"),
        ({"beam_width": 1}, TypeError, "beam_width"),
    ],
)
def test_bad_options(option, error, message):
    if option.get("disable_unk") is not True:
        option = {"unk_id": 2, **option}
    with pytest.raises(error, match=message):
        beam_search(
            Always([-1.0] * 3), **{"batch_size": 1, "vocab_size": 3, "bos_id": 0, "eos_id": 1, **option}
        )


def test_sampling_refuses_alternatives():
    with pytest.raises(ValueError, match="no return_alternatives with sampling"):
        Always([-1.0] * 3).search(beam_size=1, sampling_topk=2, return_alternatives=True)


@pytest.mark.parametrize("sampling_topk", [0, 3])
def test_nan_is_told_in_sampling(sampling_topk):
    with pytest.raises(RuntimeError, match="source 0 is NaN at step 0"):
        Always([-1.0, np.nan, -2.0]).search(beam_size=1, sampling_topk=sampling_topk)
