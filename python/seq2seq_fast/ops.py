"""The kernels, one short function each: numpy arrays in, numpy arrays out.

Floats are float32, ids int32 or int64; a wrong dtype is a TypeError, a wrong shape or value a ValueError, and the message names
the argument. Nothing is changed in place but what a trailing underscore says. N is the batch, T time, C the input's width, H the
hidden size, L layers, D directions (1 or 2), V classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast._native import adagrad_, adam_, scale_, sgd_, squared_norm

__all__ = [
    "adagrad_",
    "adam_",
    "attention",
    "attention_backward",
    "clip_grad_norm_",
    "cross_entropy",
    "dropout",
    "embedding",
    "embedding_backward",
    "gru",
    "gru_cell",
    "gru_cell_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "lstm",
    "lstm_cell",
    "lstm_cell_backward",
    "philox",
    "scale_",
    "sgd_",
    "softmax",
    "softmax_backward",
    "squared_norm",
    "topk",
]

Floats = NDArray[np.float32]
Ids = NDArray[np.int32] | NDArray[np.int64]
CellParams = Sequence[Any]
"""w_ih [G H, C], w_hh [G H, H], b_ih [G H], b_hh [G H]; G = 4 (i f g o) for an LSTM, 3 (r z n) for a GRU."""


def _array(op: str, name: str, value: Any, least_rank: int = 1) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"[{op}] Expected {name} as a numpy array, got {type(value).__name__}.")
    if value.ndim < least_rank:
        raise ValueError(
            f"[{op}] Expected {name} of at least {least_rank} dimensions, got shape {list(value.shape)}."
        )
    return value


def _rows(op: str, name: str, value: Any) -> NDArray[Any]:
    """[..., W] as [R, W]."""
    array = _array(op, name, value)
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _same_shape(op: str, name: str, value: Any, shape: tuple[int, ...]) -> None:
    if _array(op, name, value, 0).shape != shape:
        raise ValueError(f"[{op}] Expected {name} of shape {list(shape)}, got {list(value.shape)}.")


def linear(x: Floats, weight: Floats, bias: Floats | None = None) -> Floats:
    """x weight^T + bias (torch.nn.functional.linear).

    Args:
        x: [..., K].
        weight: [N, K].
        bias: [N].

    Returns:
        [..., N].
    """
    y = _native.linear(_rows("linear", "x", x), weight, bias)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def linear_backward(dy: Floats, x: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Gradients of `linear`: (dx [..., K], dweight [N, K], dbias [N])."""
    op = "linear_backward"
    d = _rows(op, "dy", dy)
    if dy.shape[:-1] != _array(op, "x", x).shape[:-1]:
        raise ValueError(f"[{op}] Expected dy of leading shape {list(x.shape[:-1])}, got {list(dy.shape)}.")
    dx, dweight, dbias = _native.linear_backward(d, _rows(op, "x", x), weight)
    return dx.reshape(x.shape), dweight, dbias


def embedding(ids: Ids, weight: Floats) -> Floats:
    """Rows of a table: ids [...] of 0 .. V - 1, weight [V, E] -> [..., E]."""
    rows = _native.embedding(_array("embedding", "ids", ids, 0).reshape(-1), weight)
    return rows.reshape(*ids.shape, rows.shape[-1])


def embedding_backward(ids: Ids, dy: Floats, num_embeddings: int) -> Floats:
    """Gradient of the table [num_embeddings, E]: rows of dy [..., E] added in their order."""
    op = "embedding_backward"
    if _array(op, "dy", dy).shape[:-1] != _array(op, "ids", ids, 0).shape:
        raise ValueError(f"[{op}] Expected dy of shape {[*ids.shape, 'E']}, got {list(dy.shape)}.")
    return _native.embedding_backward(ids.reshape(-1), _rows(op, "dy", dy), num_embeddings)


def softmax(x: Floats) -> Floats:
    """exp(x) / sum exp(x) over the last dimension of x [..., V]."""
    return _native.softmax(_rows("softmax", "x", x), False).reshape(x.shape)


def log_softmax(x: Floats) -> Floats:
    """log of softmax over the last dimension of x [..., V]."""
    return _native.softmax(_rows("log_softmax", "x", x), True).reshape(x.shape)


def softmax_backward(dy: Floats, y: Floats) -> Floats:
    """dx of `softmax`, from its output y [..., V]."""
    op = "softmax_backward"
    _same_shape(op, "dy", dy, _array(op, "y", y).shape)
    return _native.softmax_backward(_rows(op, "dy", dy), _rows(op, "y", y), False).reshape(y.shape)


def log_softmax_backward(dy: Floats, y: Floats) -> Floats:
    """dx of `log_softmax`, from its output y [..., V]."""
    op = "log_softmax_backward"
    _same_shape(op, "dy", dy, _array(op, "y", y).shape)
    return _native.softmax_backward(_rows(op, "dy", dy), _rows(op, "y", y), True).reshape(y.shape)


def cross_entropy(
    logits: Floats, targets: Ids, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[Floats, Floats]:
    """Cross-entropy over logits and its gradient in one pass (torch.nn.functional.cross_entropy, reduction="none").

    Args:
        logits: [R, V].
        targets: [R], 0 .. V - 1 or ignore_index.
        ignore_index: rows of this target have loss and gradient 0.
        label_smoothing: s in (1 - s) * -log p(target) + s * mean over V of -log p.

    Returns:
        losses [R] in nats, and dlogits [R, V], the gradient of their sum.
    """
    return _native.cross_entropy(logits, targets, ignore_index, label_smoothing)


def _energy(op: str, score: str, energy: Floats | None) -> Floats | None:
    if score not in ("dot", "mlp"):
        raise ValueError(f"[{op}] Expected score dot or mlp, got {score}.")
    if (score == "mlp") != (energy is not None):
        raise ValueError(f"[{op}] Expected energy with score mlp and only there, got {score}.")
    return energy


def attention(
    query: Floats,
    keys: Floats,
    values: Floats,
    lengths: Ids,
    example: Ids,
    score: str = "dot",
    energy: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Each query attends to the rows of its source (dot: Luong et al. 2015; mlp: Bahdanau et al. 2015).

    dot: score = query . key; mlp: score = energy . tanh(query + key). "general" is dot with keys = linear(memory, W).

    Args:
        query: [R, A].
        keys: [sum S, A], the sources one after the other, without padding.
        values: [sum S, M].
        lengths: [N] rows of each source, at least 1.
        example: [R] the source of each query, 0 .. N - 1.
        energy: [A], for mlp.

    Returns:
        context [R, M] and weights [R, max S], zero past each source's length.
    """
    return _native.attention(query, keys, values, lengths, example, _energy("attention", score, energy))


def attention_backward(
    dcontext: Floats,
    query: Floats,
    keys: Floats,
    values: Floats,
    lengths: Ids,
    example: Ids,
    weights: Floats | None = None,
    score: str = "dot",
    energy: Floats | None = None,
) -> tuple[Floats, Floats, Floats, Floats | None]:
    """Gradients of `attention`: (dquery, dkeys, dvalues, denergy or None). The weights are computed anew."""
    op = "attention_backward"
    return _native.attention_backward(
        dcontext, query, keys, values, lengths, example, _energy(op, score, energy)
    )


def _load(layer: _native.Layer, op: str, cells: Sequence[CellParams]) -> None:
    """Copy (w_ih, w_hh, b_ih, b_hh) per layer and direction into a layer."""
    layout, params = layer.layout(), layer.params
    given = [value for cell in cells for value in cell]
    if len(given) != len(layout):
        raise ValueError(f"[{op}] Expected params of {len(layout)} arrays, got {len(given)}.")
    for (name, shape, offset, _), value in zip(layout, given, strict=True):
        _same_shape(op, name.removesuffix("_l0"), value, shape)
        if value.dtype != np.float32:
            raise TypeError(f"[{op}] Expected {name} of dtype float32, got {value.dtype}.")
        params[offset : offset + value.size] = value.reshape(-1)


def _stack(
    kind: str, x: Any, params: Sequence[CellParams], bidirectional: bool, reset_after: bool = True
) -> _native.Layer:
    directions = 2 if bidirectional else 1
    if len(params) == 0 or len(params) % directions or any(len(cell) != 4 for cell in params):
        raise ValueError(
            f"[{kind}] Expected params as (w_ih, w_hh, b_ih, b_hh) per layer and direction, got {len(params)} entries."
        )
    hidden = _array(kind, "w_hh", params[0][1], 2).shape[1]
    width = _array(kind, "x", x).shape[-1]
    layers = len(params) // directions
    layer = _native.Layer(kind, width, hidden, layers, True, bidirectional, reset_after, 0.0)
    _load(layer, kind, params)
    return layer


def lstm(
    x: Floats,
    params: Sequence[CellParams],
    h0: Floats | None = None,
    c0: Floats | None = None,
    lengths: Ids | None = None,
    bidirectional: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """A stack of LSTM layers over a ragged batch (torch.nn.LSTM). For training, or many calls, use `nn.LSTM`.

    Args:
        x: [T, N, C].
        params: (w_ih, w_hh, b_ih, b_hh) per layer and direction.
        h0, c0: [L D, N, H]; zeros where None.
        lengths: [N] steps of each sequence, 1 .. T, in any order; all T where None.

    Returns:
        y [T, N, D H], zero past each length, and h_n, c_n [L D, N, H], each sequence's own last states.
    """
    y, h_n, c_n, _ = _stack("lstm", x, params, bidirectional).forward(x, lengths, h0, c0, False, 0, 0)
    assert c_n is not None
    return y, h_n, c_n


def gru(
    x: Floats,
    params: Sequence[CellParams],
    h0: Floats | None = None,
    lengths: Ids | None = None,
    bidirectional: bool = False,
    reset_after: bool = True,
) -> tuple[Floats, Floats]:
    """A stack of GRU layers over a ragged batch (torch.nn.GRU): (y [T, N, D H], h_n [L D, N, H]).

    reset_after=False puts the reset gate before the recurrent product, as in Cho et al. 2014, Keras' default and ONNX'
    linear_before_reset=0. Other arguments as in `lstm`.
    """
    layer = _stack("gru", x, params, bidirectional, reset_after)
    y, h_n, _, _ = layer.forward(x, lengths, h0, None, False, 0, 0)
    return y, h_n


def _one_step(name: str, array: Any, op: str) -> NDArray[Any]:
    value = _array(op, name, array)
    if value.ndim != 2:
        raise ValueError(f"[{op}] Expected {name} of two dimensions, got shape {list(value.shape)}.")
    return value[None]


def lstm_cell(
    x: Floats, h: Floats, c: Floats, w_ih: Floats, w_hh: Floats, b_ih: Floats, b_hh: Floats
) -> tuple[Floats, Floats]:
    """One step of an LSTM (torch.nn.LSTMCell): x [N, C], h and c [N, H] -> (h, c) [N, H]."""
    op = "lstm_cell"
    step = _one_step("x", x, op)
    layer = _stack("lstm", step, [(w_ih, w_hh, b_ih, b_hh)], False)
    _, h_n, c_n, _ = layer.forward(step, None, _one_step("h", h, op), _one_step("c", c, op), False, 0, 0)
    assert c_n is not None
    return h_n[0], c_n[0]


def _cell_gradients(layer: _native.Layer) -> list[Floats]:
    return [
        layer.grads[offset : offset + math.prod(shape)].reshape(shape)
        for _, shape, offset, _ in layer.layout()
    ]


def lstm_cell_backward(
    dh: Floats,
    dc: Floats,
    x: Floats,
    h: Floats,
    c: Floats,
    w_ih: Floats,
    w_hh: Floats,
    b_ih: Floats,
    b_hh: Floats,
) -> tuple[Floats, ...]:
    """Gradients of `lstm_cell`: (dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh). The step is computed anew."""
    op = "lstm_cell_backward"
    step = _one_step("x", x, op)
    layer = _stack("lstm", step, [(w_ih, w_hh, b_ih, b_hh)], False)
    *_, saved = layer.forward(step, None, _one_step("h", h, op), _one_step("c", c, op), True, 0, 0)
    assert saved is not None
    dx, dh0, dc0 = layer.backward(saved, None, _one_step("dh", dh, op), _one_step("dc", dc, op))
    assert dc0 is not None
    return (dx[0], dh0[0], dc0[0], *_cell_gradients(layer))


def gru_cell(
    x: Floats, h: Floats, w_ih: Floats, w_hh: Floats, b_ih: Floats, b_hh: Floats, reset_after: bool = True
) -> Floats:
    """One step of a GRU (torch.nn.GRUCell): x [N, C], h [N, H] -> h [N, H]. reset_after as in `gru`."""
    op = "gru_cell"
    step = _one_step("x", x, op)
    layer = _stack("gru", step, [(w_ih, w_hh, b_ih, b_hh)], False, reset_after)
    _, h_n, _, _ = layer.forward(step, None, _one_step("h", h, op), None, False, 0, 0)
    result: Floats = h_n[0]
    return result


def gru_cell_backward(
    dh: Floats,
    x: Floats,
    h: Floats,
    w_ih: Floats,
    w_hh: Floats,
    b_ih: Floats,
    b_hh: Floats,
    reset_after: bool = True,
) -> tuple[Floats, ...]:
    """Gradients of `gru_cell`: (dx, dh, dw_ih, dw_hh, db_ih, db_hh). The step is computed anew."""
    op = "gru_cell_backward"
    step = _one_step("x", x, op)
    layer = _stack("gru", step, [(w_ih, w_hh, b_ih, b_hh)], False, reset_after)
    *_, saved = layer.forward(step, None, _one_step("h", h, op), None, True, 0, 0)
    assert saved is not None
    dx, dh0, _ = layer.backward(saved, None, _one_step("dh", dh, op), None)
    return (dx[0], dh0[0], *_cell_gradients(layer))


def dropout(
    x: Floats,
    p: float,
    seed: int,
    update: int = 0,
    op: int = 0,
    example: Ids | None = None,
    time: Ids | None = None,
) -> Floats:
    """Inverted dropout whose mask is a function of its names alone; its backward is the same call on dy.

    Element u of a row is kept, times 1 / (1 - p), where uniform(philox(counter, key)) >= p. counter = (u // 4, time, example,
    op | high bits of example << 8), key = (seed folded to 32 bits, update), word u % 4 (Salmon et al. 2011).

    Args:
        x: [R, W].
        p: 0 <= p < 1.
        seed: 0 .. 2^64 - 1.
        update: 0 .. 2^32 - 1, the training step.
        op: 0 .. 255, which dropout of a network.
        example: int64 [R]; 0 .. R - 1 where None.
        time: int32 [R]; 0 where None.
    """
    rows = _rows("dropout", "x", x)
    who = np.arange(len(rows), dtype=np.int64) if example is None else example
    when = np.zeros(len(rows), np.int32) if time is None else time
    if not 0 <= seed < 2**64:
        raise ValueError(f"[dropout] Expected seed from 0 to 2^64 - 1, got {seed}.")
    if not 0 <= update < 2**32:
        raise ValueError(f"[dropout] Expected update from 0 to 2^32 - 1, got {update}.")
    return _native.dropout(rows, p, seed, update, op, who, when).reshape(x.shape)


def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Philox 4x32-10 (Salmon et al. 2011): counter [R, 4], key [2] -> words [R, 4], all uint32."""
    for name, value in (("counter", counter), ("key", key)):
        if _array("philox", name, value).dtype != np.uint32:
            raise TypeError(f"[philox] Expected {name} of dtype uint32, got {value.dtype}.")
    if counter.ndim != 2 or counter.shape[1] != 4:
        raise ValueError(f"[philox] Expected counter of shape [R, 4], got {list(counter.shape)}.")
    if key.shape != (2,):
        raise ValueError(f"[philox] Expected key of shape [2], got {list(key.shape)}.")
    return _native.philox(counter, int(key[0]), int(key[1]))


def topk(x: Floats, k: int) -> tuple[Floats, NDArray[np.int32]]:
    """The k largest of each row of x [R, V], descending, of equals the lower index first: values and indices [R, k]."""
    return _native.topk(x, k)


def clip_grad_norm_(grads: Floats, max_norm: float) -> float:
    """Scale grads [P] in place so that their norm is at most max_norm (torch.nn.utils.clip_grad_norm_).

    Returns:
        The norm before. Not finite: grads are left as they are.
    """
    if not max_norm > 0:
        raise ValueError(f"[clip_grad_norm_] Expected max_norm above 0, got {max_norm}.")
    norm = math.sqrt(squared_norm(grads))
    if max_norm < norm < math.inf:
        scale_(grads, max_norm / (norm + 1e-6))
    return norm
