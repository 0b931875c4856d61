"""Connectionist temporal classification (Graves et al. 2006), in probabilities: for short sequences."""

from __future__ import annotations

import itertools

import numpy as np

from reference.autodiff import Array
from reference.basic import softmax


def fits(rows: int, labels: np.ndarray) -> bool:
    """Whether labels fit into so many rows: equal neighbours need a blank between them."""
    return rows >= len(labels) + int(np.sum(np.asarray(labels[1:]) == np.asarray(labels[:-1])))


def ctc(logits: Array, labels: np.ndarray, blank: int) -> Array:
    """logits [T, V], labels [L] without blanks -> -log P(labels), equations 6 to 8 of the paper."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    count = len(states)
    skips = np.array([s >= 2 and states[s] not in (blank, states[s - 2]) for s in range(count)], float)
    p = softmax(logits)
    forward = p[0][states] * (np.arange(count) < 2)
    for t in range(1, len(logits)):
        one = np.concatenate([np.zeros(1), forward])[:count]
        two = np.concatenate([np.zeros(2), forward])[:count]
        forward = (forward + one + two * skips) * p[t][states]
    return -np.log(np.sum(forward[-2:]))


def ctc_by_paths(logits: np.ndarray, labels: np.ndarray, blank: int) -> float:
    """The same as the definition has it: the sum over every path that collapses to the labels."""
    p, total = softmax(logits), 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if collapse(path, blank) == list(labels):
            total += float(np.prod(p[np.arange(len(path)), list(path)]))
    return float(-np.log(total)) if total > 0 else np.inf


def collapse(path: tuple[int, ...], blank: int) -> list[int]:
    """A path's labels: repetitions once, then without blanks."""
    return [k for k, _ in itertools.groupby(path) if k != blank]
