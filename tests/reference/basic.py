"""Functions of rows: linear, embedding, softmax, cross-entropy, top-k."""

from __future__ import annotations

import numpy as np

from reference.autodiff import Array, constant


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x [..., K], weight [N, K], bias [N] -> x W^T + b [..., N]."""
    y = x @ weight.T
    return y if bias is None else y + bias


def embedding(ids: np.ndarray, weight: Array) -> Array:
    """ids [...], weight [V, E] -> [..., E]."""
    return weight[ids]


def softmax(x: Array) -> Array:
    """exp(x_i) / sum_j exp(x_j) along the last axis; taking off the maximum changes nothing but the range."""
    e = np.exp(x - np.max(constant(x), axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    shifted = x - np.max(constant(x), axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    """x [..., C], weight and bias [C] -> [..., C] (Ba et al. 2016)."""
    size = x.shape[-1]
    centred = x - np.sum(x, axis=-1, keepdims=True) / size
    variance = np.sum(centred * centred, axis=-1, keepdims=True) / size
    return centred / np.sqrt(variance + eps) * weight + bias


def cross_entropy(
    logits: Array, targets: np.ndarray, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Array:
    """logits [R, V], targets [R] -> losses [R]: (1 - s) -log p(target) + s mean(-log p); 0 if ignored."""
    rows = np.arange(len(targets))
    kept = targets != ignore_index
    log_p = log_softmax(logits)
    likelihood = -log_p[rows, np.where(kept, targets, 0)]
    uniform = -np.sum(log_p, axis=-1) / logits.shape[-1]
    return ((1 - label_smoothing) * likelihood + label_smoothing * uniform) * kept


def project_topk(x: Array, weight: Array, bias: Array | None, k: int) -> tuple[Array, np.ndarray]:
    """x [R, K], weight [V, K], bias [V] -> the k largest log-probabilities of each row and their columns."""
    return topk(log_softmax(linear(x, weight, bias)), k)


def topk(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """x [R, V] -> the k largest of each row, descending, and their columns; of equals the first."""
    columns = np.array([sorted(range(len(row)), key=lambda i: (-row[i], i))[:k] for row in x])
    return np.take_along_axis(x, columns, axis=1), columns


def sample(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """x [R, V], u [R] in [0, 1) -> of each row the first column up to which the softmax's sum exceeds u."""
    return np.array([int(np.argmax(np.cumsum(softmax(row)) > v)) for row, v in zip(x, u, strict=True)])
