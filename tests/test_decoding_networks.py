"""Options of a search over networks, whatever the batch: with many tokens, through Translator and decode, in
ensembles. What they find is compared in test_decoding_models.py."""

from __future__ import annotations

import numpy as np
import pytest

from seq2seq_fast import Seq2Seq, Seq2SeqConfig, Translator
from seq2seq_fast.decoding import decode
from seq2seq_fast.search import Trie, beam_search
from test_ensemble import mean
from test_search import as_values

LENGTHS = np.array([3, 5, 1], np.int32)
SOURCE = (np.arange(9) % 9).astype(np.int32)
SOURCES = np.split(SOURCE, np.cumsum(LENGTHS)[:-1])
BASE = {"beam_size": 4, "num_hypotheses": 3, "min_decoding_length": 3, "max_decoding_length": 9}
SAMPLE = {"beam_size": 1, "num_hypotheses": 3, "max_decoding_length": 9, "seed": 5}


def random_model(vocabulary: int, **fields) -> Seq2Seq:
    """Not so flat as a new model is."""
    config = Seq2SeqConfig(
        source_vocab_size=9,
        target_vocab_size=vocabulary,
        source_embedding_dim=6,
        target_embedding_dim=5,
        encoder_hidden=8,
        decoder_hidden=8,
        **fields,
    )
    model = Seq2Seq(config, seed=3)
    for name, value in model.native.state().items():
        model.native.load_parameter(name, value * (6 if "output" in name or "embedding" in name else 2))
    bias = model.parameters()["decoder.output.bias"]
    bias[2] += 1.0 if vocabulary == 11 else 2.0  # some outputs end
    return model


OPTIONS = [
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2},
    {"suppress_sequences": [[5], [6, 7]], "disable_unk": True},
    {"target_prefix": [[4, 5], [], [6]]},
    {"length_penalty_type": "wu", "length_penalty": 0.7},
    {"coverage_penalty": 0.3},
    {"coverage_penalty": 0.3, "coverage_penalty_type": "summary"},
    {"early_stopping": "never", "length_penalty": 2.0},
    {"max_length_ratio": 1.2, "max_length_offset": 1},
    {"allowed_outputs": [Trie([[4], [4, 5], [6, 7, 8]]), None, Trie([[9]])]},
    {"num_beam_groups": 2},
    {"return_alternatives": True, "num_hypotheses": 5},
    {"end_token": [2, 10]},
    SAMPLE | {"sampling_topk": 3},
    SAMPLE | {"sampling_topk": 0, "sampling_topp": 0.8, "min_p": 0.01, "sampling_temperature": 1.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_a_source_does_not_depend_on_its_neighbours(options: dict) -> None:
    """With 1000 tokens dense scores and the fused output layer differ in bits."""
    model = random_model(1000)
    options = BASE | options
    together = model.generate(SOURCE, LENGTHS, **options)
    for i, source in enumerate(SOURCES):
        given = dict(options)
        for name in ("target_prefix", "allowed_outputs"):
            if name in given:
                given[name] = [given[name][i]]
        if given.get("sampling_topk", 1) != 1:
            given["sequence_ids"] = [i]
        [alone] = model.generate(source, LENGTHS[i : i + 1], **given)
        assert as_values(alone) == as_values(together[i])


def test_a_row_without_a_prefix_has_the_bits_it_has_without_the_option() -> None:
    model = random_model(1000)
    plain = model.generate(SOURCE, LENGTHS, **BASE)
    for option in ({"target_prefix": [[7, 8, 9], [], []]}, {"allowed_outputs": [Trie([[7, 8]]), None, None]}):
        found = model.generate(SOURCE, LENGTHS, **BASE, **option)
        assert [as_values(h) for h in found[1:]] == [as_values(h) for h in plain[1:]]
        assert as_values(found[0]) != as_values(plain[0])


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_translator_and_decode(options: dict, tmp_path) -> None:
    model = random_model(11)
    model.save(tmp_path)
    options = BASE | options
    found = model.generate(SOURCE, LENGTHS, **options)
    with Translator(tmp_path, device=model.device) as translator:
        together = translator.generate(SOURCE, LENGTHS, **options)
        assert [as_values(h) for h in together] == [as_values(h) for h in found]
        for size in (0, 1):  # in batches, sorted by length
            results = translator.translate_batch(
                SOURCES, max_batch_size=size, return_scores=True, return_token_scores=True, **options
            )
            for result, hypotheses in zip(results, found, strict=True):
                assert result.ids == [h.tokens for h in hypotheses]
                assert result.scores == [h.score for h in hypotheses]
                assert [s.tolist() for s in result.token_scores] == [
                    h.token_scores.tolist() for h in hypotheses
                ]
        for batch_tokens in (1, 100):
            decoded = decode(translator, SOURCES, batch_tokens=batch_tokens, **options)
            assert [as_values(h) for h in decoded] == [as_values(h) for h in found]


# Ensembles


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
@pytest.mark.parametrize("copies", [False, True], ids=["plain", "copying"])
def test_ensembles(options: dict, copies: bool, tmp_path) -> None:
    """As over the mean of the members' own steps."""
    members, states = [], []
    given = (np.arange(9) % 4 + 9).astype(np.int32) if copies else None  # 2 known tokens, 2 of the source's
    for i, score in enumerate(("general", "mlp")):
        members.append(random_model(11, attention_score=score, copy_attention=copies))
        members[i].save(tmp_path / str(i))
        states.append(members[i].encode(SOURCE, LENGTHS, 64, given))

    def step(parents: np.ndarray, tokens: np.ndarray) -> tuple:
        found = [m.decoder.step(s, tokens, parents) for m, s in zip(members, states, strict=True)]
        mean_of = mean("probability", [scores for scores, _ in found]).astype(np.float32)
        return mean_of, np.mean([weights for _, weights in found], axis=0)

    search = BASE | options
    with Translator([tmp_path / "0", tmp_path / "1"], device=members[0].device) as translator:
        found = translator.generate(SOURCE, LENGTHS, copies=given, **search)
    ends = search.pop("end_token", 2)
    expected = beam_search(
        step,
        batch_size=3,
        vocab_size=13 if copies else 11,
        bos_id=1,
        eos_id=ends,
        unk_id=3,
        source_lengths=LENGTHS,
        **search,
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert [(h.tokens, h.end_token) for h in ours] == [(h.tokens, h.end_token) for h in theirs]
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=1e-4, atol=1e-5)
