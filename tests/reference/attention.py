"""Attention over ragged sources: scores, softmax over one source, weighted sum of its values."""

from __future__ import annotations

import numpy as np

from reference.autodiff import Array
from reference.basic import softmax


def attend(
    query: Array, keys: Array, values: Array, score: str = "dot", energy: Array | None = None
) -> tuple[Array, Array]:
    """One query [A] over one source, keys [S, A] and values [S, M] -> context [M], weights [S].

    dot: score_s = key_s . query (Luong 2015); mlp: score_s = energy . tanh(query + key_s) (Bahdanau 2015).
    """
    scores = keys @ query if score == "dot" else np.tanh(query + keys) @ energy
    weights = softmax(scores)
    return values.T @ weights, weights


def attention(
    query: Array,
    keys: Array,
    values: Array,
    lengths: np.ndarray,
    example: np.ndarray,
    score: str = "dot",
    energy: Array | None = None,
) -> tuple[Array, Array]:
    """query [R, A], keys [sum S, A], values [sum S, M] -> context [R, M], weights [R, max S].

    Row r looks at the source example[r]; the sources lie one after another, `lengths` rows each.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    contexts, weights = [], []
    for r, n in enumerate(example):
        source = slice(int(starts[n]), int(starts[n + 1]))
        c, w = attend(query[r], keys[source], values[source], score, energy)
        contexts.append(c)
        weights.append(np.concatenate([w, np.zeros(max(lengths) - lengths[n])]))
    return np.stack(contexts), np.stack(weights)
