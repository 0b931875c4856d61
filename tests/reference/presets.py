"""How other systems decode, each written out from its own rules, beam place by beam place, in float64.

Shares nothing with csrc/search, nor with decoding.py, which has the rules of our own search. One source at a
time; `eos` is the only end token. A model is an object with ``scores(source, tokens) -> [V]`` and, where
attention counts, ``attention(source, tokens, length) -> [length]``. Each function returns the hypotheses,
best first: (tokens without the end token, whether it ended, score). Vocabularies are so large that the
candidates of a step are always enough, and scores have no ties.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Found = list[tuple[tuple[int, ...], bool, float]]


def rows(model: Any, source: int, tokens: tuple[int, ...]) -> Any:
    return np.array(model.scores(source, tokens), np.float64)


def top(candidates: list[tuple[float, Any]], k: int) -> list[tuple[float, Any]]:
    return sorted(candidates, key=lambda candidate: -candidate[0])[:k]


def cut(tokens: tuple[int, ...], eos: int, score: float) -> tuple[tuple[int, ...], bool, float]:
    return (tokens[:-1], True, score) if tokens[-1] == eos else (tokens, False, score)


def ctranslate2(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, length_penalty: float,
    coverage_penalty: float, patience: float, min_length: int, max_length: int, source_length: int,
) -> Found:  # fmt: skip
    """Twice the beam of candidates; those of the first beam that end, or are cut off, are results, and others
    take their places. Logits are masked before the softmax. Length and coverage are without the end."""
    alive: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    results, top_finished = [], False
    for step in range(max_length):
        candidates = []
        for total, tokens in alive:
            logits = rows(model, source, tokens)
            if step < min_length:
                logits[eos] = -math.inf
            log_probs = logits - math.log(np.exp(logits).sum())
            candidates += [(total + x, (*tokens, t)) for t, x in enumerate(log_probs)]
        chosen = top(candidates, 2 * beam_size)
        spare = [c for c in chosen[beam_size:] if c[1][-1] != eos]
        alive = []
        last = step + 1 == max_length
        for k, (total, tokens) in enumerate(chosen[:beam_size]):
            if tokens[-1] == eos or last:
                top_finished |= k == 0
                text = tokens[:-1] if tokens[-1] == eos else tokens
                score = total / len(text) ** length_penalty
                if coverage_penalty:
                    places = np.zeros(source_length)
                    for t in range(len(text)):
                        places += model.attention(source, text[:t], source_length)
                    score += coverage_penalty * sum(math.log(min(c, 1.0)) for c in places if c > 0)
                results.append((text, tokens[-1] == eos, score))
                if not last:
                    alive.append(spare.pop(0))
            else:
                alive.append((total, tokens))
        if last:
            break
        if length_penalty == 0 and coverage_penalty == 0:
            if top_finished and len(results) >= num_hypotheses:
                break
        elif len(results) >= round(beam_size * patience):
            break
    return sorted(results, key=lambda r: -r[2])[:num_hypotheses]


def opennmt_py(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, length_penalty: str,
    alpha: float, coverage_penalty: str, beta: float, min_length: int, max_length: int, source_length: int,
) -> Found:  # fmt: skip
    """The beam's best candidates, ended or not; the log-probability of an ended one is then -1e10. Lengths
    have the start token in them. Stops when the best place has ended once and there are enough."""
    divisors = {
        "none": lambda length: 1.0,
        "avg": lambda length: float(length),
        "wu": lambda length: ((5 + length) / 6.0) ** alpha,
    }
    alive: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    hypotheses, top_finished = [], False
    for length in range(1, max_length + 1):  # of the beam's sequences, their start token among it
        divisor = divisors[length_penalty](length + 1)
        candidates = []
        for total, tokens in alive:
            log_probs = rows(model, source, tokens)
            if length <= min_length:
                log_probs[eos] = -1e20
            candidates += [((total + x) / divisor, (*tokens, t)) for t, x in enumerate(log_probs)]
        alive = []
        for place, (score, tokens) in enumerate(top(candidates, beam_size)):
            total = score * divisor
            if tokens[-1] == eos or length == max_length:
                top_finished |= place == 0
                if coverage_penalty != "none":
                    places = np.zeros(source_length)
                    for t in range(len(tokens)):
                        places += model.attention(source, tokens[:t], source_length)
                    if coverage_penalty == "wu":
                        score -= beta * -np.log(np.minimum(places, 1.0)).sum()
                    else:
                        score -= beta * (np.maximum(places, 1.0).sum() - source_length)
                hypotheses.append(cut(tokens, eos, float(score)))
                total = -1e10
            alive.append((total, tokens))
        if top_finished and len(hypotheses) >= num_hypotheses:
            break
    return sorted(hypotheses, key=lambda h: -h[2])[:num_hypotheses]


def fairseq(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, length_penalty: float,
    min_length: int, max_length: int,
) -> Found:  # fmt: skip
    """Twice the beam of candidates; of the first beam those that end are finalized, beam_size in all: then
    the source is done. Only the end token may follow max_length tokens."""
    active: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finalized = []
    for step in range(max_length + 1):
        candidates = []
        for total, tokens in active:
            log_probs = rows(model, source, tokens)
            if step >= max_length:
                log_probs[np.arange(len(log_probs)) != eos] = -math.inf
            elif step < min_length:
                log_probs[eos] = -math.inf
            candidates += [(total + x, (*tokens, t)) for t, x in enumerate(log_probs)]
        chosen = top(candidates, 2 * beam_size)
        for total, tokens in chosen[:beam_size]:
            if tokens[-1] == eos and total > -math.inf and len(finalized) < beam_size:
                finalized.append((tokens[:-1], True, total / (step + 1) ** length_penalty))
        if len(finalized) == beam_size or step == max_length:
            break
        active = [c for c in chosen if c[1][-1] != eos][:beam_size]
    return sorted(finalized, key=lambda h: -h[2])[:num_hypotheses]


def marian(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, normalize: float,
    word_penalty: float, unk: int | None, max_length_factor: float, source_length: int,
) -> Found:  # fmt: skip
    """As many candidates as there are in the beam; those that end leave it for good. When the history of
    beams, the first with the start tokens among them, is max_length_factor times the source long, all left
    are results."""
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * beam_size
    history, hypotheses = 1, []
    while beam:
        candidates = []
        for total, tokens in beam[: 1 if history == 1 else None]:
            log_probs = rows(model, source, tokens)
            if unk is not None:
                log_probs[unk] = -math.inf
            candidates += [(total + x, (*tokens, t)) for t, x in enumerate(log_probs)]
        chosen = top(candidates, len(beam))
        beam = [c for c in chosen if c[1][-1] != eos]
        last = not beam or history >= max_length_factor * source_length
        for total, tokens in chosen:
            if tokens[-1] == eos or last:
                score = (total - word_penalty * history) / history**normalize
                hypotheses.append(cut(tokens, eos, score))
        if last:
            break
        history += 1
    return sorted(hypotheses, key=lambda h: -h[2])[:num_hypotheses]


def sockeye(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, alpha: float, beta: float,
    max_length: int,
) -> Found:  # fmt: skip
    """Costs, not log-probabilities. One that ends is normalised and keeps its place by padding, at that cost,
    as long as it is among the beam's best. Ends when all have; what is cut off is never normalised."""
    beam: list[tuple[float, tuple[tuple[int, ...], bool]]] = [(0.0, ((), False))]
    for length in range(1, max_length + 1):
        candidates = []
        for cost, (tokens, finished) in beam:
            if finished:
                candidates.append((-cost, (tokens, None)))
            else:
                for t, x in enumerate(rows(model, source, tokens)):
                    candidates.append((-cost + x, (tokens, t)))
        beam = []
        for score, (tokens, t) in top(candidates, beam_size):
            if t is None:
                beam.append((-score, (tokens, True)))
            elif t == eos:
                penalty = (beta + length) ** alpha / (beta + 1) ** alpha
                beam.append((-score / penalty, (tokens, True)))
            else:
                beam.append((-score, ((*tokens, t), False)))
        if all(finished for _, (_, finished) in beam):
            break
    ordered = sorted(beam, key=lambda place: place[0])[:num_hypotheses]
    return [(tokens, finished, -cost) for cost, (tokens, finished) in ordered]


def joeynmt(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, alpha: float, min_length: int,
    max_length: int,
) -> Found:  # fmt: skip
    """The beam's best candidates, ended or not, and all are continued, also behind their end. A place that
    has held an end is finished for good; the source is when all places are."""
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    is_finished = [False] * beam_size
    hypotheses = []
    for step in range(max_length):
        divisor = ((5.0 + (step + 1)) / 6.0) ** alpha if alpha > 0 else 1.0
        candidates = []
        for total, tokens in beam:
            log_probs = rows(model, source, tokens)
            if step < min_length:
                log_probs[eos] = -math.inf
            candidates += [((total + x) / divisor, (*tokens, t)) for t, x in enumerate(log_probs)]
        chosen = top(candidates, beam_size)
        last = step + 1 == max_length
        is_finished = [
            last or before or tokens[-1] == eos or score == -math.inf
            for before, (score, tokens) in zip(is_finished, chosen, strict=True)
        ]
        for score, tokens in [c for c, finished in zip(chosen, is_finished, strict=True) if finished]:
            ends = tokens.count(eos)
            if (ends == 0 and last) or (ends == 1 and tokens[-1] == eos):
                hypotheses.append(cut(tokens, eos, score))
        if all(is_finished):
            break
        beam = [(score * divisor, tokens) for score, tokens in chosen]
    return sorted(hypotheses, key=lambda h: -h[2])[:num_hypotheses]


def transformers(
    model: Any, source: int, *, eos: int, beam_size: int, num_hypotheses: int, length_penalty: float,
    early_stopping: bool | str, min_length: int, max_new_tokens: int,
) -> Found:  # fmt: skip
    """Twice the beam of candidates; of the first beam those that end, or have max_new_tokens, go to the
    finished, of which the beam_size best are kept."""
    running: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for generated in range(1, max_new_tokens + 1):
        candidates = []
        for total, tokens in running:
            log_probs = rows(model, source, tokens)
            if generated <= min_length:
                log_probs[eos] = -math.inf
            candidates += [(total + x, (*tokens, t)) for t, x in enumerate(log_probs)]
        chosen = top(candidates, 2 * beam_size)
        for total, tokens in chosen[:beam_size]:
            if tokens[-1] == eos or generated == max_new_tokens:
                finished.append((total / generated**length_penalty, tokens))
        finished = top(finished, beam_size)
        running = [c for c in chosen if c[1][-1] != eos][:beam_size]
        if generated == max_new_tokens or (early_stopping is True and len(finished) == beam_size):
            break
        if len(finished) == beam_size:
            never = early_stopping == "never" and length_penalty > 0
            length = max_new_tokens if never else generated
            if running[0][0] / length**length_penalty <= finished[-1][0]:
                break
    return [cut(tokens, eos, score) for score, tokens in finished[:num_hypotheses]]
