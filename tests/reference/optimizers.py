"""One update of each optimizer, returning the new values: the semantics of torch.optim, in float64."""

from __future__ import annotations

import numpy as np


def adam(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: np.ndarray | float = 0.0,
    decoupled: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kingma & Ba 2015; `decoupled`: AdamW (Loshchilov & Hutter 2019). step counts from 1 -> param, m, v."""
    if decoupled:
        param = param * (1 - lr * weight_decay)
    else:
        grad = grad + weight_decay * param
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def sgd(
    param: np.ndarray,
    grad: np.ndarray,
    buffer: np.ndarray | None,
    lr: float,
    momentum: float = 0.0,
    weight_decay: np.ndarray | float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """With momentum the first update starts the buffer at the gradient itself -> param, buffer."""
    grad = grad + weight_decay * param
    if buffer is None:
        return param - lr * grad, None
    buffer = grad if first else momentum * buffer + grad
    return param - lr * (grad + momentum * buffer if nesterov else buffer), buffer


def adagrad(
    param: np.ndarray,
    grad: np.ndarray,
    total: np.ndarray,
    lr: float,
    eps: float = 1e-10,
    weight_decay: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Duchi et al. 2011 -> param, sum of squares."""
    grad = grad + weight_decay * param
    total = total + grad * grad
    return param - lr * grad / (np.sqrt(total) + eps), total


def clip_grad_norm(grad: np.ndarray, max_norm: float) -> tuple[np.ndarray, float]:
    """The gradient, scaled down to `max_norm` if longer, and its norm before (torch's clip_grad_norm_)."""
    norm = float(np.sqrt(np.sum(grad * grad)))
    return grad * min(1.0, max_norm / (norm + 1e-6)), norm
