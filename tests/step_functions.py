"""Models for tests of the search.

``Tree`` is a random model: the log-probabilities of a step are a function of the source and of all tokens so
far, so that rows cannot be confused unnoticed. ``Step`` is its step function.
"""

from __future__ import annotations

import numpy as np

BOS = 0


def normalised(logits):
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))).astype(np.float32)


class Tree:
    """A random model over V tokens. ``levels``: scores are rounded to so few values that ties abound."""

    def __init__(self, vocabulary, seed=0, levels=None, forbidden=0.0, scale=2.0):
        self.vocabulary = vocabulary
        self.seed = seed
        self.levels = levels
        self.forbidden = forbidden
        self.scale = scale
        self.memo = {}

    def scores(self, source, tokens):
        key = (source, tokens)
        if key not in self.memo:
            rng = np.random.default_rng([self.seed, source, *tokens])
            if self.levels:
                scores = -rng.integers(1, self.levels + 1, self.vocabulary).astype(np.float32)
            else:
                scores = normalised(rng.normal(size=self.vocabulary) * self.scale)
            scores[rng.random(self.vocabulary) < self.forbidden] = -np.inf
            self.memo[key] = scores
        return self.memo[key]

    def attention(self, source, tokens, length):
        rng = np.random.default_rng([self.seed + 1, source, *tokens])
        return rng.dirichlet(np.ones(length)).astype(np.float32)


class Step:
    """The step function of a Tree; keeps each row's source and tokens, and checks how it is called."""

    distinct = True

    def __init__(self, tree, sources, source_lengths=None):
        self.tree = tree
        self.sources = sources
        self.source_lengths = source_lengths
        self.rows = None
        self.calls = 0

    def __call__(self, parents, tokens):
        assert parents.dtype == tokens.dtype == np.int32 and parents.shape == tokens.shape
        if self.rows is None:
            assert parents.tolist() == list(range(len(self.sources)))
            assert (tokens == BOS).all()
            self.rows = [(source, ()) for source in self.sources]
        else:
            self.rows = [
                (self.rows[parent][0], (*self.rows[parent][1], token))
                for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True)
            ]
            assert len(set(self.rows)) == len(self.rows) or not self.distinct
        self.calls += 1
        scores = np.stack([self.tree.scores(*row) for row in self.rows])
        if self.source_lengths is None:
            return scores
        attention = np.full((len(self.rows), max(self.source_lengths)), np.nan, np.float32)
        for i, (source, prefix) in enumerate(self.rows):
            length = self.source_lengths[self.sources.index(source)]
            attention[i, :length] = self.tree.attention(source, prefix, length)
        return scores, attention
