"""Presets against the rules of the systems whose names they have (reference/presets.py), on random models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import presets as systems
from seq2seq_fast.decoding_presets import PRESETS, with_preset
from seq2seq_fast.search import SearchOptions, beam_search
from step_functions import BOS, Step, Tree, normalised

pytestmark = pytest.mark.cpu_only("searches around step functions run on the host")

EOS, UNK = 1, 2
LENGTHS = (3, 1, 4)  # of the sources


class Ending(Tree):
    """A random model that ends sooner."""

    def __init__(self, vocabulary, seed, scale, ending):
        super().__init__(vocabulary, seed=seed, scale=scale)
        self.ending = ending

    def scores(self, source, tokens):
        key = (source, tokens)
        if key not in self.memo:
            scores = np.array(super().scores(source, tokens), np.float64)
            scores[EOS] += self.ending
            self.memo[key] = normalised(scores)
        return self.memo[key]


class AnyStep(Step):
    """JoeyNMT goes on behind end tokens, and two places may then hold the same."""

    distinct = False


def found_by(model, **options):
    return [
        [((*h.tokens,), h.finished, h.score) for h in hypotheses]
        for hypotheses in beam_search(
            AnyStep(model, list(range(len(LENGTHS))), LENGTHS),
            batch_size=len(LENGTHS),
            vocab_size=model.vocabulary,
            bos_id=BOS,
            eos_id=EOS,
            source_lengths=LENGTHS,
            **options,
        )
    ]


def check(model, options, expected):
    """`expected(source, length)`: the system's own results."""
    for source, found in enumerate(found_by(model, **options)):
        right = expected(source, LENGTHS[source])
        assert [f[:2] for f in found] == [r[:2] for r in right]
        assert [f[2] for f in found] == pytest.approx([r[2] for r in right], rel=1e-5, abs=1e-5)


@st.composite
def models(draw):
    """A model, a beam size, how many are wanted; the vocabulary is larger than two beams."""
    beam_size = draw(st.integers(1, 4))
    model = Ending(
        2 * beam_size + draw(st.integers(3, 6)),
        seed=draw(st.integers(0, 10**6)),
        scale=draw(st.sampled_from([0.5, 1.0, 2.0])),
        ending=draw(st.sampled_from([-1.0, 1.0, 2.0, 3.0])),
    )
    return model, beam_size, draw(st.integers(1, beam_size))


def case(draw, model, **more):
    model, beam_size, wanted = draw(model)
    return model, {"beam_size": beam_size, "num_hypotheses": wanted, **more}


many = settings(max_examples=60, deadline=None)


@many
@given(st.data())
def test_ctranslate2(data):
    model, own = case(data.draw, models())
    own |= {
        "length_penalty": data.draw(st.sampled_from([0.0, 0.6, 1.0, -0.5, 2.0])),
        "coverage_penalty": data.draw(st.sampled_from([0.0, 0.0, 0.3])),
        "patience": data.draw(st.sampled_from([1.0, 1.0, 2.0])),
    }
    least, most = data.draw(st.integers(1, 2)), data.draw(st.integers(2, 6))
    options = {"preset": "ctranslate2", "min_decoding_length": least, "max_decoding_length": most} | own
    check(
        model,
        options,
        lambda source, length: systems.ctranslate2(
            model, source, eos=EOS, min_length=least, max_length=most, source_length=length, **own
        ),
    )


@many
@given(st.data())
def test_opennmt_py(data):
    model, own = case(data.draw, models())
    kind = data.draw(st.sampled_from(["avg", "wu", "none"]))
    alpha = data.draw(st.sampled_from([0.4, 1.0]))
    coverage = data.draw(st.sampled_from(["none", "none", "wu", "summary"]))
    least, most = data.draw(st.integers(0, 2)), data.draw(st.integers(2, 6))
    options = {"preset": "opennmt-py", "min_decoding_length": least, "max_decoding_length": most} | own
    if kind != "avg":
        options |= {"length_penalty_type": kind, "length_penalty": alpha}
    if coverage != "none":
        options |= {"coverage_penalty": 0.3, "coverage_penalty_type": coverage}
    check(
        model,
        options,
        lambda source, length: systems.opennmt_py(
            model, source, eos=EOS, length_penalty=kind, alpha=alpha, coverage_penalty=coverage, beta=0.3,
            min_length=least, max_length=min(most, math.floor(1.25 * length + 5)), source_length=length, **own
        ),
    )  # fmt: skip


@many
@given(st.data())
def test_fairseq(data):
    model, own = case(data.draw, models())
    own["length_penalty"] = data.draw(st.sampled_from([0.0, 0.6, 1.0, 2.0]))
    least, most = data.draw(st.integers(0, 2)), data.draw(st.integers(2, 5))
    check(
        model,
        {"preset": "fairseq", "min_decoding_length": least, "max_decoding_length": most + 1} | own,
        lambda source, _: systems.fairseq(model, source, eos=EOS, min_length=least, max_length=most, **own),
    )


@many
@given(st.data())
def test_marian(data):
    model, own = case(data.draw, models())
    normalize = data.draw(st.sampled_from([None, 0.6, 1.0]))  # its default is 0
    own["word_penalty"] = data.draw(st.sampled_from([0.0, 0.0, 0.5, -0.5]))
    unk = data.draw(st.sampled_from([None, UNK]))
    options = {"preset": "marian", "unk_id": unk} | own
    check(
        model,
        options | ({} if normalize is None else {"length_penalty": normalize}),
        lambda source, length: systems.marian(
            model, source, eos=EOS, unk=unk, normalize=normalize or 0.0, max_length_factor=3.0,
            source_length=length, **own
        ),
    )  # fmt: skip


@many
@given(st.data())
def test_sockeye(data):
    model, own = case(data.draw, models())
    alpha, beta = data.draw(st.sampled_from([0.0, 0.7, 1.0])), data.draw(st.sampled_from([0.0, 0.0, 5.0]))
    most = data.draw(st.integers(1, 6))
    options = {"preset": "sockeye", "length_penalty": alpha, "length_penalty_beta": beta} | own
    check(
        model,
        options | {"max_decoding_length": most},
        lambda source, _: systems.sockeye(
            model, source, eos=EOS, alpha=alpha, beta=beta, max_length=most, **own
        ),
    )


@many
@given(st.data())
def test_joeynmt(data):
    model, own = case(data.draw, models())
    alpha = data.draw(st.sampled_from([0.0, 0.7, 1.0]))
    least, most = data.draw(st.integers(0, 2)), data.draw(st.integers(2, 6))
    options = {"preset": "joeynmt", "min_decoding_length": least, "max_decoding_length": most} | own
    check(
        model,
        options | {"length_penalty": alpha},
        lambda source, length: systems.joeynmt(
            model, source, eos=EOS, alpha=alpha, min_length=least,
            max_length=min(most, math.floor(1.5 * length)), **own
        ),
    )  # fmt: skip


@many
@given(st.data())
def test_transformers(data):
    model, own = case(data.draw, models())
    own["length_penalty"] = data.draw(st.sampled_from([-0.5, 0.0, 0.6, 1.0, 2.0]))
    stop = data.draw(st.sampled_from([None, True, "never"]))
    least, most = data.draw(st.integers(0, 2)), data.draw(st.integers(2, 6))
    options = {"preset": "transformers", "min_decoding_length": least, "max_decoding_length": most} | own
    if stop is not None:
        options["early_stopping"] = "patience" if stop is True else stop
    check(
        model,
        options,
        lambda source, _: systems.transformers(
            model, source, eos=EOS, early_stopping=stop or False, min_length=least, max_new_tokens=most, **own
        ),
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_another_search(preset):
    """With the same beam and the same longest length it does not find what is found without."""
    same = {"beam_size": 4, "num_hypotheses": 4, "max_decoding_length": 5}
    models = [Ending(12, seed=seed, scale=1.0, ending=1.0) for seed in range(10)]
    assert any(found_by(model, preset=preset, **same) != found_by(model, **same) for model in models)
    different = [p for p in PRESETS if p != preset and found_by(models[0], preset=p, **same) == found_by(
        models[0], preset=preset, **same)]  # fmt: skip
    assert not different


def test_what_is_given_wins():
    assert with_preset({"preset": "fairseq", "beam_size": 3})["beam_size"] == 3
    assert with_preset({"preset": "fairseq", "beam_size": 2})["beam_size"] == 2  # also our own default
    assert with_preset({"preset": "fairseq", "beam_size": None})["beam_size"] == 5
    assert with_preset({"preset": "marian", "max_length_ratio": None})["max_length_ratio"] is None
    assert with_preset({"beam_size": 7}) == with_preset({"beam_size": 7, "preset": None}) == {"beam_size": 7}
    assert with_preset({"preset": "fairseq", "sampling_topk": 0})["beam_size"] == 1
    assert "cap_finished" not in with_preset({"preset": "fairseq", "early_stopping": "never"})
    assert with_preset({"preset": "ctranslate2", "length_penalty": 0})["early_stopping"] == "first"
    assert "disable_unk" not in with_preset({"preset": "marian"}, has_unk=False)
    options = SearchOptions(preset="sockeye", beam_size=2)
    assert (options.beam_size, options.end_rule, options.preset) == (2, "stay", "sockeye")
    assert SearchOptions() == SearchOptions(preset=None)


def test_an_unknown_preset():
    with pytest.raises(ValueError, match=r"preset to be one of ctranslate2, .*, got 'onmt'"):
        found_by(Tree(5), preset="onmt")


def test_the_names_of_a_presets_options_are_options():
    for preset in PRESETS:
        SearchOptions(**PRESETS[preset])
