"""The search again, slowly: one source at a time, lists of tuples, every rule written out from the words of
docs/decoding.md. Shares nothing with csrc/search.

A model is an object with ``vocabulary``, ``scores(source, tokens) -> float32 [V]`` and, where attention
counts, ``attention(source, tokens, length) -> float32 [length]``.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.random import philox


@dataclass(frozen=True)
class Options:
    """Those of SearchOptions, for one source."""

    eos_id: tuple[int, ...] = (1,)
    beam_size: int = 5
    patience: float = 1.0
    early_stopping: str = "patience"
    cap_finished: bool = False
    end_rule: str = "replace"
    unfinished: str = "last"
    force_end_token: bool = False
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    length_penalty_type: str = "power"
    count_end_token: bool = True
    length_offset: int = 0
    length_penalty_beta: float = 0.0
    word_penalty: float = 0.0
    coverage_penalty: float = 0.0
    coverage_penalty_type: str = "wu"
    coverage_end_token: bool = True
    min_decoding_length: int = 0
    max_decoding_length: int = 256
    max_length_ratio: float | None = None
    max_length_offset: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_sequences: tuple[tuple[int, ...], ...] = ()
    disable_unk: bool = False
    unk_id: int | None = None
    renormalize: bool = False
    target_prefix: tuple[int, ...] = ()
    must_contain: tuple[tuple[int, ...], ...] = ()
    allowed_outputs: frozenset[tuple[int, ...]] | None = None
    sampling_topk: int = 1
    sampling_topp: float = 1.0
    min_p: float = 0.0
    sampling_temperature: float = 1.0
    seed: int = 0
    sequence_id: int = 0
    return_alternatives: bool = False
    min_alternative_expansion_prob: float = 0.0
    num_beam_groups: int = 1
    diversity_penalty: float = 0.5
    source_length: int | None = None

    @property
    def limit(self) -> int:
        if self.max_length_ratio is None:
            return self.max_decoding_length
        assert self.source_length is not None
        own = math.floor(self.max_length_ratio * self.source_length + self.max_length_offset)
        return min(self.max_decoding_length, max(1, own))


@dataclass(frozen=True)
class Path:
    """A hypothesis; `tokens` are without the end token, unless it goes on behind it: then it is `over`."""

    tokens: tuple[int, ...] = ()
    end: int | None = None
    scores: tuple[float, ...] = ()
    over: bool = False

    @property
    def log_prob(self) -> float:
        """The plain sum, in order; Python's own compensates for rounding since 3.12."""
        return functools.reduce(operator.add, self.scores, 0.0)

    def extended(self, token: int, score: float, o: Options) -> Path:
        if self.over:
            return Path((*self.tokens, token), None, (*self.scores, score), True)
        if token in o.eos_id:
            return Path(self.tokens, token, (*self.scores, score))
        return Path((*self.tokens, token), None, (*self.scores, score))


def lacking(phrases: tuple[tuple[int, ...], ...], tokens: tuple[int, ...]) -> tuple[int, int, set[int]]:
    """Tokens of the phrases that are not complete, how many are enough, and those that bring that nearer."""
    needed, longest, nearest = 0, 0, set()
    for phrase in phrases:
        n = len(phrase)
        if any(tokens[i : i + n] == phrase for i in range(len(tokens) - n + 1)):
            continue
        has = max(k for k in range(n) if k <= len(tokens) and tokens[len(tokens) - k :] == phrase[:k])
        needed += n
        if has > longest:
            longest, nearest = has, set()
        if has == longest:
            nearest.add(phrase[has])
    return needed, needed - longest, nearest


def allowed_scores(model: Any, source: int, tokens: tuple[int, ...], o: Options) -> dict[int, np.float32]:
    """The scores of the tokens that may follow."""
    raw = model.scores(source, tokens)
    if len(tokens) < len(o.target_prefix):
        forced = o.target_prefix[len(tokens)]
        return {forced: raw[forced]} if raw[forced] > -np.inf else {}
    found = {}
    missing, needed, nearest = lacking(o.must_contain, tokens)
    hurry = needed > 0 and missing + 1 >= o.limit - len(tokens)
    for token in range(model.vocabulary):
        longer = (*tokens, token)
        n = o.no_repeat_ngram_size
        grams = [longer[i : i + n] for i in range(len(longer) - n + 1)] if n else []
        ends = token in o.eos_id
        known = o.allowed_outputs is None or (
            (ends and tokens in o.allowed_outputs)
            or any(output[: len(longer)] == longer for output in o.allowed_outputs)
        )
        if (
            raw[token] == -np.inf
            or (ends and len(tokens) < o.min_decoding_length)
            or (o.disable_unk and token == o.unk_id)
            or any(longer[-len(banned) :] == banned for banned in o.suppress_sequences)
            or (n and grams and grams[-1] in grams[:-1])
            or not known
            or (hurry and token not in nearest)
            or (ends and needed > 0)
            or (o.force_end_token and not ends and len(tokens) + 1 >= o.limit)
        ):
            continue
        score = raw[token]
        if token in tokens:
            score, penalty = np.float32(score), np.float32(o.repetition_penalty)
            score = score * penalty if score < 0 else score / penalty  # above 0 with scorers
        found[token] = score
    changes = (
        len(tokens) < o.min_decoding_length, o.disable_unk, o.suppress_sequences != (), n, o.force_end_token,
        o.repetition_penalty != 1, o.allowed_outputs is not None, o.must_contain != (),
    )  # fmt: skip
    if o.renormalize and found and any(changes):
        most = max(found.values())
        total = functools.reduce(
            operator.add, [math.exp(float(x) - float(most)) for x in found.values()], 0.0
        )
        found = {token: x - most - np.float32(math.log(total)) for token, x in found.items()}
    return found


def divided(log_prob: float, length: int, o: Options, ended: bool = False) -> float:
    length = max(length - (ended and not o.count_end_token) + o.length_offset, 1)
    log_prob -= o.word_penalty * length
    if o.length_penalty_type == "power":
        beta = o.length_penalty_beta
        return log_prob / ((beta + length) / (beta + 1)) ** o.length_penalty
    if o.length_penalty_type == "wu":
        return log_prob / ((5 + length) / 6) ** o.length_penalty
    return log_prob / length if o.length_penalty_type == "average" else log_prob


def score_of(model: Any, source: int, path: Path, o: Options) -> float:
    score = path.log_prob
    if path.end is not None or o.unfinished != "unnormalized":
        score = divided(path.log_prob, len(path.scores), o, path.end is not None)
    if o.coverage_penalty == 0:
        return score
    assert o.source_length is not None
    coverage = [0.0] * o.source_length
    covered = len(path.scores) - (path.end is not None and not o.coverage_end_token)
    for t in reversed(range(covered)):  # the search adds in this order
        weights = model.attention(source, path.tokens[:t], o.source_length)
        coverage = [c + float(w) for c, w in zip(coverage, weights, strict=True)]
    loss = 0.0
    for c in coverage:
        if o.coverage_penalty_type == "summary":
            loss += max(c, 1.0) - 1.0
        elif c > 0:
            loss -= math.log(min(c, 1.0))
    return score - o.coverage_penalty * loss


class Unit:
    """A beam search for one source: its only one, a group, or an alternative."""

    def __init__(self, model: Any, source: int, o: Options, beam: int, wanted: int, live: list[Path]) -> None:
        self.model, self.source, self.o, self.beam, self.wanted = model, source, o, beam, wanted
        self.live, self.finished, self.unfinished = live, [], []
        self.best_ended = False
        self.places_ended = [False] * beam

    def rank(self, paths: list[Path]) -> list[Path]:
        return sorted(paths, key=lambda path: -score_of(self.model, self.source, path, self.o))

    def advance(self, step: int, chosen: list[int]) -> None:
        """One step; adds the tokens that it chooses to `chosen`."""
        candidates, stuck = [], []
        for row, path in enumerate(self.live):
            follow = allowed_scores(self.model, self.source, path.tokens, self.o)
            if not follow:
                stuck.append(path)
            for token, score in follow.items():
                lost = np.float32(self.o.diversity_penalty * chosen.count(token)) if chosen else np.float32(0)
                score = float(np.float32(score) - lost)
                longer = path.extended(token, score, self.o)
                candidates.append((-(path.log_prob + score), row, -score, token, longer))
        stays = self.o.end_rule == "stay"
        if stays:
            kept = self.rank(self.finished)
            candidates += [(-score_of(self.model, self.source, path, self.o), -1, i, 0, path)
                           for i, path in enumerate(kept)]  # fmt: skip
        order = sorted(candidates, key=lambda c: c[:4])
        divides = self.o.must_contain and self.o.num_beam_groups == 1 and self.beam > 1
        divides = divides and self.o.end_rule == "replace"
        if divides:  # the best of each bank, then the second of each
            banks: dict[int, int] = {}
            ranks = []
            for *_, path in order:
                bank = lacking(self.o.must_contain, path.tokens)[1]
                ranks.append((banks.get(bank, 0), bank))
                banks[bank] = banks.get(bank, 0) + 1
            order = [order[i] for i in sorted(range(len(order)), key=lambda i: ranks[i])]
        last = step + 1 >= self.o.limit
        if self.o.end_rule != "replace" or (last and self.o.unfinished != "last"):
            order = order[: self.beam - (len(self.finished) if self.o.end_rule == "shrink" else 0)]
        if stays:
            self.finished = [c[-1] for c in order if c[1] == -1]
        self.best_ended |= bool(order) and order[0][1] != -1 and order[0][-1].end is not None
        ended = [c[-1] for c in order[: self.beam] if c[-1].end is not None and c[1] != -1]
        live = [c for c in order if c[-1].end is None][: self.beam]
        self.live = [c[-1] for c in sorted(live, key=lambda c: c[0])]
        if self.o.end_rule == "proceed":
            self.live = [
                path if path.end is None else Path((*path.tokens, path.end), None, path.scores, True)
                for *_, path in order
            ]
            for place in range(self.beam):
                behind = step >= len(self.o.target_prefix)
                self.places_ended[place] |= (
                    behind if place >= len(order) else order[place][3] in self.o.eos_id
                )
        if self.o.num_beam_groups > 1:
            chosen += [c[3] for c in order if c[1] != -1 and (c[-1] in self.live or c[-1] in ended)]
        self.finished += ended[: self.cap - len(self.finished)] if self.o.cap_finished else ended
        if not self.live:
            self.unfinished = [path for path in stuck if not path.over]
        elif last:
            self.unfinished, self.live = [path for path in self.live if not path.over], []
        elif self.is_done(step):
            self.live = []

    @property
    def cap(self) -> int:
        if self.o.patience == math.inf:
            return 10**9
        return max(self.wanted, math.floor(self.beam * self.o.patience + 0.5))

    def is_done(self, step: int) -> bool:
        o, count = self.o, len(self.finished)
        if o.end_rule == "proceed":
            return all(self.places_ended)
        if count < self.wanted:
            return False
        if o.early_stopping == "patience":
            return o.patience < math.inf and count >= math.floor(self.beam * o.patience + 0.5)
        if o.early_stopping == "first":
            return self.best_ended
        if o.early_stopping == "heuristic" and count >= self.beam:
            worst = self.rank(self.finished)[: max(self.beam, self.wanted)][-1]
            as_it_is = divided(self.live[0].log_prob, step + 1, o)
            return as_it_is <= score_of(self.model, self.source, worst, o)
        return False

    def result(self) -> list[Path]:
        return ordered(self.rank, self.finished + self.unfinished, self.o)[: self.wanted]


def ordered(rank: Any, paths: list[Path], o: Options) -> list[Path]:
    if o.unfinished != "last":
        return rank(paths)
    return rank([path for path in paths if path.end is not None]) + rank(
        [path for path in paths if path.end is None]
    )


def forced_path(model: Any, source: int, o: Options) -> tuple[Path, bool]:
    """The prefix, and whether a search goes on behind it."""
    path = Path()
    while len(path.tokens) < len(o.target_prefix):
        follow = allowed_scores(model, source, path.tokens, o)
        if not follow:
            return path, False
        ((token, score),) = follow.items()
        path = path.extended(token, float(score), o)
        if path.end is not None or len(path.scores) >= o.limit:
            return path, False
    return path, True


def search(model: Any, source: int, **options: Any) -> list[tuple[Path, float]]:
    """The hypotheses of one source, with their scores."""
    o = Options(**options)
    paths = _search(model, source, o)
    return [(path, score_of(model, source, path, o)) for path in paths]


def _search(model: Any, source: int, o: Options) -> list[Path]:
    if o.sampling_topk != 1:
        return sample(model, source, o)
    if not o.return_alternatives and o.num_beam_groups == 1:
        units = [Unit(model, source, o, o.beam_size, o.num_hypotheses, [Path()])]
        first_step = 0
    else:
        path, goes_on = forced_path(model, source, o)
        if not goes_on:
            return [path]
        first_step = len(path.scores)
        if o.return_alternatives:
            units = alternatives(model, source, o, path)
            first_step += 1
        else:
            beam = o.beam_size // o.num_beam_groups
            units = [Unit(model, source, o, beam, beam, [path]) for _ in range(o.num_beam_groups)]
    for step in range(first_step, o.limit):
        chosen: list[int] = []
        for unit in units:
            if unit.live:
                unit.advance(step, chosen)
    found = [path for unit in units for path in unit.result()]
    if len(units) == 1:
        return found
    best: list[Path] = []
    for path in ordered(units[0].rank, found, o):
        if (path.tokens, path.end) not in [(one.tokens, one.end) for one in best]:
            best.append(path)
    return best[: o.num_hypotheses]


def alternatives(model: Any, source: int, o: Options, path: Path) -> list[Unit]:
    follow = allowed_scores(model, source, path.tokens, o)
    order = sorted(follow, key=lambda token: (-follow[token], token))[: o.num_hypotheses]
    units = []
    for place, token in enumerate(order):
        if place and math.exp(float(follow[token])) < o.min_alternative_expansion_prob:
            break
        begun = path.extended(token, float(follow[token]), o)
        unit = Unit(model, source, o, o.beam_size, 1, [])
        if begun.end is not None:
            unit.finished = [begun]
        elif len(begun.scores) >= o.limit:
            unit.unfinished = [begun]
        else:
            unit.live = [begun]
        units.append(unit)
    if not units:
        units = [Unit(model, source, o, o.beam_size, 1, [])]
        units[0].unfinished = [path]
    return units


def uniform(o: Options, n: int, step: int) -> float:
    """In [0, 1), of 53 bits."""
    counter = (step, n, o.sequence_id & 0xFFFFFFFF, o.sequence_id >> 32)
    words = philox(counter, (o.seed & 0xFFFFFFFF, o.seed >> 32))
    return ((int(words[0]) << 32 | int(words[1])) >> 11) * 2.0**-53


def sample(model: Any, source: int, o: Options) -> list[Path]:
    begin, goes_on = forced_path(model, source, o)
    if not goes_on:
        return [begin]
    found = []
    for n in range(o.num_hypotheses):
        path = begin
        while path.end is None and len(path.scores) < o.limit:
            follow = allowed_scores(model, source, path.tokens, o)
            if not follow:
                break
            order = sorted(follow, key=lambda token: (-follow[token], token))
            if o.sampling_topk:
                order = order[: o.sampling_topk]
            top = float(follow[order[0]])
            weights = [math.exp((float(follow[token]) - top) / o.sampling_temperature) for token in order]
            if o.sampling_topp < 1:
                kept, goal = 0, o.sampling_topp * functools.reduce(operator.add, weights, 0.0)
                so_far = 0.0
                while kept < len(order) and (kept == 0 or so_far < goal):
                    so_far += weights[kept]
                    kept += 1
                order, weights = order[:kept], weights[:kept]
            likely = sorted((t, w) for t, w in zip(order, weights, strict=True) if w >= o.min_p)
            goal = uniform(o, n, len(path.scores)) * functools.reduce(
                operator.add, [w for _, w in likely], 0.0
            )
            sums = itertools.accumulate(weight for _, weight in likely)
            drawn = next((i for i, so_far in enumerate(sums) if so_far > goal), len(likely) - 1)
            token = likely[drawn][0]
            path = path.extended(token, float(follow[token]), o)
        found.append(path)
    return ordered(lambda paths: sorted(paths, key=lambda path: -score_of(model, source, path, o)), found, o)
