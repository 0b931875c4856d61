"""Tokens as they become certain: the callback of a search."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_fast.search import beam_search
from step_functions import BOS, Step, Tree

pytestmark = pytest.mark.cpu_only("searches around step functions run on the host")

EOS = 1


class Told(Step):
    """Compares, at each step, what has been told with what all live hypotheses have in common."""

    distinct = False

    def __init__(self, tree, sources, compare=True):
        super().__init__(tree, sources)
        self.compare = compare
        self.heard = defaultdict(list)  # by source and sample: (token, log_prob, is_last)
        self.step_of = defaultdict(list)
        self.stop_at = {}

    def callback(self, source, hypothesis, place, token, log_prob, is_last):
        events = self.heard[source, hypothesis]
        assert place == len(events)
        assert not events or not events[-1][-1]  # nothing comes behind the last
        events.append((token, log_prob, is_last))
        self.step_of[source, hypothesis].append(self.calls - 1)
        return self.stop_at.get(source) == place

    def __call__(self, parents, tokens):
        found = super().__call__(parents, tokens)
        if self.compare:
            for i, source in enumerate(self.sources):
                live = [prefix for owner, prefix in self.rows if owner == source]
                if live:
                    told = tuple(token for token, *_ in self.heard[i, 0])
                    same = [len(set(place)) == 1 for place in zip(*live, strict=True)]
                    assert told == live[0][: (*same, False).index(False)]
        return found


def search(step, **options):
    return beam_search(
        step,
        batch_size=len(step.sources),
        vocab_size=step.tree.vocabulary,
        bos_id=BOS,
        eos_id=EOS,
        callback=step.callback,
        **{"min_decoding_length": 0, "max_decoding_length": 7} | options,
    )


def whole(h):
    tokens = h.tokens + ([h.end_token] if h.finished else [])
    return list(zip(tokens, h.token_scores.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(
    vocabulary=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([None, 2]),
    beam_size=st.integers(1, 5),
    rule=st.sampled_from(["patience", "first", "heuristic", "never"]),
    penalty=st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
)
def test_what_is_told_is_the_best_hypothesis(vocabulary, seed, levels, beam_size, rule, penalty):
    step = Told(Tree(vocabulary, seed=seed, levels=levels), [0, 1, 2], compare=False)
    found = search(step, beam_size=beam_size, early_stopping=rule, length_penalty=penalty)
    for i, hypotheses in enumerate(found):
        events = step.heard[i, 0]
        assert [event[:2] for event in events] == whole(hypotheses[0])
        assert [event[2] for event in events] == [False] * (len(events) - 1) + [True]
        if beam_size == 1 and rule in ("patience", "first"):
            assert step.step_of[i, 0] == list(range(len(events)))


@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_all_that_live_hypotheses_share_is_told(beam_size, seed):
    """None ends here, so that nothing else counts."""
    tree = Tree(5, seed=seed, scale=3.0)
    step = Told(tree, [0, 1, 2])
    found = search(step, beam_size=beam_size, min_decoding_length=12, max_decoding_length=12)
    assert step.calls == 12
    for i, [h] in enumerate(found):
        assert [event[:2] for event in step.heard[i, 0]] == whole(h)
    if beam_size > 1:  # some were told long before the end
        assert min(step.step_of[i, 0][0] for i in range(3)) < 6


def test_a_finished_hypothesis_that_may_still_win_holds_tokens_back():
    class Fixed(Told):
        """'2 <end>' is probable at once; '3 3 3 ...' may yet be better by its length."""

        def __call__(self, parents, tokens):
            super().__call__(parents, tokens)
            scores = np.full((len(parents), 4), -30, np.float32)
            for row, (_, prefix) in enumerate(self.rows):
                if prefix == ():
                    scores[row, [2, 3]] = [-1.0, -1.1]
                elif prefix[0] == 2:
                    scores[row, EOS] = -0.1
                else:
                    scores[row, 3] = -0.2
            return scores

    step = Fixed(Tree(4), [0], compare=False)
    [[h]] = search(step, beam_size=2, early_stopping="never", length_penalty=1.0, max_decoding_length=9)
    assert h.score == pytest.approx(-1.1 / 2) and h.tokens == [2]
    assert [event[0] for event in step.heard[0, 0]] == [2, EOS]
    assert step.step_of[0, 0] == [step.calls - 1] * 2


def test_a_callback_ends_its_own_hypothesis():
    tree = Tree(6, seed=4)
    free = search(Told(tree, [0, 1], compare=False), beam_size=1, min_decoding_length=6)
    step = Told(tree, [0, 1], compare=False)
    step.stop_at = {0: 2}
    [[one], [two]] = search(step, beam_size=1, min_decoding_length=6)
    assert one.tokens == free[0][0].tokens[:3] and not one.finished
    assert one.token_scores.tolist() == free[0][0].token_scores.tolist()[:3]
    assert two.tokens == free[1][0].tokens
    assert len(step.heard[0, 0]) == 3
    # With a beam all live hypotheses end.
    step = Told(tree, [0], compare=False)
    step.stop_at = {0: 0}
    [found] = search(step, beam_size=3, num_hypotheses=3, min_decoding_length=6)
    assert len(found) == 3 and not any(h.finished for h in found)
    assert len({len(h.tokens) for h in found}) == 1 and len(found[0].tokens) <= 7


def test_samples_are_told_apart():
    step = Told(Tree(6, seed=2), [0, 1], compare=False)
    found = search(step, beam_size=1, sampling_topk=0, num_hypotheses=3, target_prefix=[[2, 3], []])
    for i, hypotheses in enumerate(found):
        told = sorted([event[:2] for event in step.heard[i, n]] for n in range(3))
        assert told == sorted(whole(h) for h in hypotheses)


def test_what_may_not_be_combined():
    for options, message in (
        ({"return_alternatives": True}, "no callback with return_alternatives"),
        ({"num_beam_groups": 2}, "no callback with num_beam_groups"),
    ):
        with pytest.raises(ValueError, match=message):
            search(Told(Tree(4), [0]), beam_size=2, **options)
    with pytest.raises(TypeError, match="callback to be callable, got 3"):
        beam_search(Step(Tree(4), [0]), batch_size=1, vocab_size=4, bos_id=0, eos_id=1, callback=3)


def test_an_exception_of_the_callback_passes_through():
    def refuse(*_):
        raise KeyError("mine")

    step = Step(Tree(4), [0])
    with pytest.raises(KeyError, match="mine"):
        beam_search(step, batch_size=1, vocab_size=4, bos_id=0, eos_id=1, beam_size=1, callback=refuse)
    assert step.calls == 1
