"""Networks that copy: what is generated mixed with what is copied (See et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference.autodiff import Array
from reference.basic import linear, log_softmax, softmax
from reference.network import (
    Decoding,
    Drop,
    Params,
    coverage_loss,
    decode,
    encode,
    no_dropout,
    start_decoding,
)
from reference.recurrent import sigmoid


def gate(params: Params, at: Decoding) -> Array:
    """c, from the attentional vector of the step that `at` has just taken."""
    return sigmoid(linear(at.fed, params["decoder.copy.weight"], params["decoder.copy.bias"])[0])


def mixture(logits: Array, weights: Array, c: Array, copies: np.ndarray, token: int) -> Array:
    """P(token) = (1 - c) softmax(logits)_token + c sum of the weights of its places."""
    copied = c * np.sum(weights * (copies == token))
    return copied + (1 - c) * softmax(logits)[token] if token < len(logits) else copied


def step(
    o: Any, params: Params, at: Decoding, token: int, copies: np.ndarray, drop: Drop = no_dropout
) -> tuple[Array, Array, Array]:
    """Feed a copy id; -> logits, attention weights, c."""
    logits, weights = decode(o, params, at, token if token < o.target_vocab_size else o.unk_id, drop)
    return logits, weights, gate(params, at)


def log_probs(logits: Array, weights: Array, c: Array, copies: np.ndarray, width: int) -> np.ndarray:
    """log P of every copy id below `width`."""
    with np.errstate(divide="ignore"):
        return np.log([mixture(logits, weights, c, copies, v) for v in range(width)])


def sequence(
    o: Any,
    params: Params,
    source: np.ndarray,
    copies: np.ndarray,
    target: np.ndarray,
    label_smoothing: float = 0.0,
    drop: Drop = no_dropout,
) -> tuple[Array, list[Array]]:
    """-> the loss of one pair, summed over its tokens, and log P of each of them."""
    at = start_decoding(o, params, *encode(o, params, source, drop))
    total: Array = 0.0
    scores, attention = [], []
    for before, token in zip([o.bos_id, *target[:-1]], target, strict=True):
        logits, weights, c = step(o, params, at, int(before), copies, drop)
        log_p = np.log(mixture(logits, weights, c, copies, int(token)))
        uniform = -np.sum(log_softmax(logits)) / len(logits)
        total = total - (1 - label_smoothing) * log_p + label_smoothing * uniform
        scores.append(log_p)
        attention.append(weights)
    return total + coverage_loss(o, np.stack(attention)), scores
