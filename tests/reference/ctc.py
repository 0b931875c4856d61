"""Connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

import itertools

import numpy as np

from reference.autodiff import Array, constant
from reference.basic import log_softmax, softmax


def fits(rows: int, labels: np.ndarray) -> bool:
    """Whether labels fit into so many rows: equal neighbours need a blank between them."""
    return rows >= len(labels) + int(np.sum(np.asarray(labels[1:]) == np.asarray(labels[:-1])))


NOTHING = -1e30  # the logarithm of 0, with which arithmetic goes on


def ctc(logits: Array, labels: np.ndarray, blank: int) -> Array:
    """logits [T, V], labels [L] without blanks -> -log P(labels), equations 6 to 8 of the paper."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    count = len(states)
    skips = np.array([s >= 2 and states[s] not in (blank, states[s - 2]) for s in range(count)])
    log_p = log_softmax(logits)
    forward = log_p[0][states] + np.where(np.arange(count) < 2, 0, NOTHING)
    for t in range(1, len(logits)):
        one = np.concatenate([np.full(1, NOTHING), forward])[:count]
        two = np.concatenate([np.full(2, NOTHING), forward])[:count] + np.where(skips, 0, NOTHING)
        forward = log_sum(np.stack([forward, one, two])) + log_p[t][states]
    return -log_sum(forward[-2:])


def log_sum(x: Array) -> Array:
    """log sum exp over the first axis."""
    top = np.max(constant(x), axis=0)
    return top + np.log(np.sum(np.exp(x - top), axis=0))


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
