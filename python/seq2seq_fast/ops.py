"""The kernels, one short function each: arrays in, arrays out, on the device where they lie.

numpy arrays run on the CPU and give numpy arrays; floats on a CUDA device run there and give `DeviceArray`s
(see `device`). Floats of two devices are a ValueError. Ids and lengths may always be numpy arrays.

Floats are float32, ids int32 or int64; a wrong dtype is a TypeError, a wrong shape or value a ValueError,
and the message names the argument. Nothing is changed in place but what a trailing underscore says. N is
the batch, T time, C the input's width, H the hidden size, L layers, D directions (1 or 2), V classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast.arguments import array, choice, flag, integer, number, only_step
from seq2seq_fast.device import A, DeviceArray, Ids, device_of, views

__all__ = [
    "adagrad_",
    "adam_",
    "attention",
    "attention_backward",
    "average_",
    "clip_grad_norm_",
    "cross_entropy",
    "ctc_loss",
    "distribution_loss",
    "distribution_parameters",
    "distribution_sample",
    "dropout",
    "embedding",
    "embedding_backward",
    "gru",
    "gru_cell",
    "gru_cell_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "lstm",
    "lstm_cell",
    "lstm_cell_backward",
    "philox",
    "project_topk",
    "sample",
    "scale_",
    "sgd_",
    "softmax",
    "softmax_backward",
    "squared_norm",
    "topk",
    "zoneout",
    "zoneout_backward",
]

DISTRIBUTIONS = ("point", "normal", "student_t", "negative_binomial", "quantiles")

Mask = NDArray[np.uint8] | DeviceArray
CellParams = Sequence[Any]
"""w_ih [G H, C], w_hh [G H, H], b_ih [G H], b_hh [G H]; G = 4 (i f g o) for an LSTM, 3 (r z n) for a GRU."""


def _rows(op: str, name: str, value: A) -> tuple[A, tuple[int, ...]]:
    """[..., W] as [R, W], and the shape it had."""
    rows: A = array(op, name, value)
    shape = rows.shape
    if not shape:
        raise ValueError(f"[{op}] Expected {name} of at least one dimension, got a scalar.")
    return rows.reshape(math.prod(shape[:-1]), shape[-1]), shape


def linear(x: A, weight: A, bias: A | None = None, *, compute_type: str = "float32") -> A:
    """x weight^T + bias (torch.nn.functional.linear).

    Args:
        x: [..., K].
        weight: [N, K].
        bias: [N].
        compute_type: what weight is multiplied as: float32, float16, bfloat16, int8 or auto. int8 quantises
            each row of x and of weight by its largest magnitude; the products are exact integers.

    Returns:
        [..., N].
    """
    rows, shape = _rows("linear", "x", x)
    y = _native.linear(rows, weight, bias, compute_type)
    return y.reshape(*shape[:-1], y.shape[-1])


def linear_backward(dy: A, x: A, weight: A, *, compute_type: str = "float32") -> tuple[A, A, A]:
    """Gradients of `linear`: (dx [..., K], dweight [N, K], dbias [N]).

    Args:
        dy: [..., N]; x: [..., K]; weight: [N, K].
        compute_type: float32, or bfloat16 for products of rounded factors; see `Seq2Seq.forward_backward`.

    Raises:
        ValueError: another compute_type, or shapes that do not fit.
    """
    op = "linear_backward"
    rows, shape = _rows(op, "x", x)
    outputs = array(op, "weight", weight, (None, None)).shape[:1]
    drows, _ = _rows(op, "dy", array(op, "dy", dy, shape[:-1] + outputs))
    dx, dweight, dbias = _native.linear_backward(drows, rows, weight, compute_type)
    return dx.reshape(shape), dweight, dbias


def embedding(ids: Ids, weight: A) -> A:
    """Rows of a table: ids [...] of 0 .. V - 1, weight [V, E] -> [..., E]."""
    array("embedding", "weight", weight)
    which: Any = array("embedding", "ids", ids)
    rows = _native.embedding(which.reshape(-1), weight)
    return rows.reshape((*which.shape, rows.shape[-1]))


def embedding_backward(ids: Ids, dy: A, num_embeddings: int) -> A:
    """Gradient of the table [num_embeddings, E]: rows of dy [..., E] added in their order."""
    op = "embedding_backward"
    which: Any = array(op, "ids", ids)
    rows, _ = _rows(op, "dy", array(op, "dy", dy, (*which.shape, None)))
    return _native.embedding_backward(
        which.reshape(-1), rows, integer(op, "num_embeddings", num_embeddings, 1, 2**31 - 1)
    )


def softmax(x: A) -> A:
    """exp(x) / sum exp(x) over the last dimension of x [..., V]."""
    rows, shape = _rows("softmax", "x", x)
    return _native.softmax(rows, False).reshape(shape)


def log_softmax(x: A) -> A:
    """log of softmax over the last dimension of x [..., V]."""
    rows, shape = _rows("log_softmax", "x", x)
    return _native.softmax(rows, True).reshape(shape)


def softmax_backward(dy: A, y: A) -> A:
    """dx of `softmax`, from its output y [..., V]."""
    op = "softmax_backward"
    rows, shape = _rows(op, "y", y)
    drows, _ = _rows(op, "dy", array(op, "dy", dy, shape))
    return _native.softmax_backward(drows, rows, False).reshape(shape)


def log_softmax_backward(dy: A, y: A) -> A:
    """dx of `log_softmax`, from its output y [..., V]."""
    op = "log_softmax_backward"
    rows, shape = _rows(op, "y", y)
    drows, _ = _rows(op, "dy", array(op, "dy", dy, shape))
    return _native.softmax_backward(drows, rows, True).reshape(shape)


def layer_norm(x: A, weight: A, bias: A, eps: float = 1e-5) -> A:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimension of x [..., C], variance the
    biased one (Ba et al. 2016; torch.nn.functional.layer_norm).

    Args:
        x: [..., C].
        weight, bias: [C].
        eps: above 0.
    """
    op = "layer_norm"
    rows, shape = _rows(op, "x", x)
    return _native.layer_norm(rows, weight, bias, number(op, "eps", eps)).reshape(shape)


def layer_norm_backward(dy: A, x: A, weight: A, eps: float = 1e-5) -> tuple[A, A, A]:
    """Gradients of `layer_norm`, from its input: (dx [..., C], dweight [C], dbias [C]).

    Args:
        dy, x: [..., C].
        weight: [C].
        eps: above 0, that of `layer_norm`.
    """
    op = "layer_norm_backward"
    rows, shape = _rows(op, "x", x)
    drows, _ = _rows(op, "dy", array(op, "dy", dy, shape))
    dx, dweight, dbias = _native.layer_norm_backward(drows, rows, weight, number(op, "eps", eps))
    return dx.reshape(shape), dweight, dbias


def cross_entropy(
    logits: A, targets: Ids, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[A, A]:
    """Cross-entropy over logits and its gradient in one pass (torch.nn.functional.cross_entropy,
    reduction="none").

    Args:
        logits: [R, V].
        targets: [R], 0 .. V - 1 or ignore_index.
        ignore_index: rows of this target have loss and gradient 0.
        label_smoothing: s in (1 - s) * -log p(target) + s * mean over V of -log p.

    Returns:
        losses [R] in nats, and dlogits [R, V], the gradient of their sum.
    """
    op = "cross_entropy"
    return _native.cross_entropy(
        array(op, "logits", logits),
        array(op, "targets", targets),
        integer(op, "ignore_index", ignore_index, -(2**31), 2**31 - 1),
        number(op, "label_smoothing", label_smoothing, 0.0, 1.0),
    )


def ctc_loss(
    logits: A,
    lengths: Ids,
    targets: Ids,
    target_lengths: Ids,
    blank: int = 0,
    zero_infinity: bool = False,
) -> tuple[A, A]:
    """Connectionist temporal classification (Graves et al. 2006) over logits and its gradient
    (torch.nn.functional.ctc_loss of their log_softmax, reduction="none").

    Args:
        logits: [R, V], sequences one after the other, without padding.
        lengths: [N] rows of each, at least 1, R in all.
        targets: [sum L] the labels of each, one after the other: 0 .. V - 1 but blank.
        target_lengths: [N] labels of each; 0 is an empty target.
        blank: the class that stands for no label.
        zero_infinity: where a target does not fit into its rows (equal neighbours need a blank between them),
            loss and gradients are 0 instead of infinity and NaN.

    Returns:
        losses [N] in nats, and dlogits [R, V], the gradient of their sum.
    """
    op = "ctc_loss"
    which: Any = targets if isinstance(targets, np.ndarray) else _native.as_array(op, "targets", targets)
    return _native.ctc_loss(
        array(op, "logits", logits),
        array(op, "lengths", lengths, (None,)),
        which,  # may be empty
        array(op, "target_lengths", target_lengths, (None,)),
        integer(op, "blank", blank, 0, 2**31 - 1),
        flag(op, "zero_infinity", zero_infinity),
    )


def _energy(op: str, score: str, energy: A | None) -> A | None:
    if score not in ("dot", "mlp"):
        raise ValueError(f"[{op}] Expected score dot or mlp, got {score}.")
    if (score == "mlp") != (energy is not None):
        raise ValueError(f"[{op}] Expected energy with score mlp and only there, got {score}.")
    return energy


def attention(
    query: A,
    keys: A,
    values: A,
    lengths: Ids,
    example: Ids,
    score: str = "dot",
    energy: A | None = None,
) -> tuple[A, A]:
    """Each query attends to the rows of its source (dot: Luong et al. 2015; mlp: Bahdanau et al. 2015).

    dot: score = query . key; mlp: score = energy . tanh(query + key). "general" is dot with keys =
        linear(memory, W).

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
    op = "attention"
    _check_attention(op, query, keys, values, lengths, example)
    return _native.attention(query, keys, values, lengths, example, _energy(op, score, energy))


def _check_attention(
    op: str, query: Any, keys: Any, values: Any, lengths: Any, example: Any
) -> tuple[int, int]:
    """The shape of the context."""
    rows, width = array(op, "query", query, (None, None)).shape
    total = array(op, "keys", keys, (None, width)).shape[0]
    memory = array(op, "values", values, (total, None)).shape[1]
    array(op, "lengths", lengths, (None,))
    array(op, "example", example, (rows,))
    return rows, memory


def attention_backward(
    dcontext: A,
    query: A,
    keys: A,
    values: A,
    lengths: Ids,
    example: Ids,
    score: str = "dot",
    energy: A | None = None,
    dweights: A | None = None,
) -> tuple[A, A, A, A | None]:
    """Gradients of `attention`, whose weights are computed anew.

    Args:
        dcontext: [R, M].
        query, keys, values, lengths, example, score, energy: as in `attention`.
        dweights: [R, max S], the gradient of the weights, where they are used themselves.

    Returns:
        dquery [R, A], dkeys [sum S, A], dvalues [sum S, M], and denergy [A], None with score dot.
    """
    op = "attention_backward"
    array(op, "dcontext", dcontext, _check_attention(op, query, keys, values, lengths, example))
    return _native.attention_backward(
        dcontext, query, keys, values, lengths, example, _energy(op, score, energy), dweights
    )


_WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh")


def _stack(
    op: str,
    x: Any,
    params: Sequence[CellParams],
    bidirectional: bool,
    gates: int,
    reset_after: bool = True,
) -> tuple[_native.Layer, Any]:
    """A native layer with copies of (w_ih, w_hh, b_ih, b_hh) per layer and direction, and x as an array."""
    directions = 2 if flag(op, "bidirectional", bidirectional) else 1
    flag(op, "reset_after", reset_after)
    if not isinstance(params, Sequence) or any(not isinstance(cell, Sequence) for cell in params):
        raise TypeError(f"[{op}] Expected params as a list of (w_ih, w_hh, b_ih, b_hh).")
    if len(params) == 0 or len(params) % directions or any(len(cell) != 4 for cell in params):
        raise ValueError(
            f"[{op}] Expected params as (w_ih, w_hh, b_ih, b_hh) per layer and direction, "
            f"got {len(params)} entries."
        )
    x = array(op, "x", x, (None,) * 3, np.float32)
    width = x.shape[-1]
    hidden = array(op, "w_hh", params[0][1], (None, None)).shape[1]
    rows, layers = gates * hidden, len(params) // directions
    kind = "lstm" if gates == 4 else "gru"
    layer = _native.Layer(
        kind, width, hidden, layers, True, bidirectional, reset_after, 0.0, device=device_of(x)
    )
    names = iter(layer.layout())
    for at, cell in enumerate(params):
        inputs = width if at < directions else directions * hidden
        for name, value, shape in zip(
            _WEIGHTS, cell, ((rows, inputs), (rows, hidden), (rows,), (rows,)), strict=True
        ):
            weight = array(op, name, value, shape, np.float32)
            if device_of(weight) != layer.device:
                raise ValueError(
                    f"[{op}] Expected all arrays on one device, got x on {layer.device} and {name} on "
                    f"{device_of(weight)}."
                )
            layer.load_parameter(next(names)[0], weight)
    return layer, x


def _gradients(layer: _native.Layer, *inputs: Any) -> tuple[Any, ...]:
    """Gradients of a step's inputs, [1, N, .] each, as [N, .], and of each parameter."""
    return (*map(only_step, inputs), *views(layer.layout(), layer.grads).values())


def lstm(
    x: A,
    params: Sequence[CellParams],
    h0: A | None = None,
    c0: A | None = None,
    lengths: Ids | None = None,
    bidirectional: bool = False,
) -> tuple[A, A, A]:
    """A stack of LSTM layers over a ragged batch (torch.nn.LSTM). For training, or many calls, use `nn.LSTM`.

    Args:
        x: [T, N, C].
        params: (w_ih, w_hh, b_ih, b_hh) per layer and direction.
        h0, c0: [L D, N, H]; zeros where None.
        lengths: [N] steps of each sequence, 1 .. T, in any order; all T where None.

    Returns:
        y [T, N, D H], zero past each length, and h_n, c_n [L D, N, H], each sequence's own last states.
    """
    layer, x = _stack("lstm", x, params, bidirectional, 4)
    y, h_n, c_n, _ = layer.forward(x, lengths, h0, c0, False, 0, 0)
    assert c_n is not None
    return y, h_n, c_n


def gru(
    x: A,
    params: Sequence[CellParams],
    h0: A | None = None,
    lengths: Ids | None = None,
    bidirectional: bool = False,
    reset_after: bool = True,
) -> tuple[A, A]:
    """A stack of GRU layers over a ragged batch (torch.nn.GRU): (y [T, N, D H], h_n [L D, N, H]).

    reset_after=False puts the reset gate before the recurrent product, as in Cho et al. 2014, Keras'
    default and ONNX' linear_before_reset=0. Other arguments as in `lstm`.
    """
    layer, x = _stack("gru", x, params, bidirectional, 3, reset_after)
    y, h_n, _, _ = layer.forward(x, lengths, h0, None, False, 0, 0)
    return y, h_n


def _cell(
    op: str, gates: int, x: Any, states: dict[str, Any], weights: Sequence[Any], reset_after: bool = True
) -> tuple[_native.Layer, Any, list[Any]]:
    """A layer of one step, x as [1, N, C], and the states as [1, N, H]."""
    x = array(op, "x", x, (None, None), np.float32)
    hidden = array(op, "w_hh", weights[1], (None, None)).shape[1]
    shape = x.shape[0], hidden
    steps = [array(op, name, state, shape, np.float32).reshape(1, *shape) for name, state in states.items()]
    return *_stack(op, x.reshape(1, *x.shape), [weights], False, gates, reset_after), steps


def lstm_cell(x: A, h: A, c: A, w_ih: A, w_hh: A, b_ih: A, b_hh: A) -> tuple[A, A]:
    """One step of an LSTM (torch.nn.LSTMCell): x [N, C], h and c [N, H] -> (h, c) [N, H]."""
    layer, step, (h0, c0) = _cell("lstm_cell", 4, x, {"h": h, "c": c}, (w_ih, w_hh, b_ih, b_hh))
    _, h_n, c_n, _ = layer.forward(step, None, h0, c0, False, 0, 0)
    assert c_n is not None
    return only_step(h_n), only_step(c_n)


def lstm_cell_backward(
    dh: A,
    dc: A,
    x: A,
    h: A,
    c: A,
    w_ih: A,
    w_hh: A,
    b_ih: A,
    b_hh: A,
) -> tuple[A, ...]:
    """Gradients of `lstm_cell`: (dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh). The step is computed anew.

    Args:
        dh, dc: [N, H], of the states after the step.
        x: [N, C].
        h, c: [N, H], the states before it.
        w_ih, w_hh, b_ih, b_hh: [4 H, C], [4 H, H], [4 H], [4 H].

    Returns:
        Each of the shape of what it is the gradient of.
    """
    states = {"h": h, "c": c, "dh": dh, "dc": dc}
    layer, step, (h0, c0, dh_n, dc_n) = _cell("lstm_cell_backward", 4, x, states, (w_ih, w_hh, b_ih, b_hh))
    saved = layer.forward(step, None, h0, c0, True, 0, 0)[-1]
    assert saved is not None
    dx, dh0, dc0 = layer.backward(saved, None, dh_n, dc_n)
    assert dc0 is not None
    return _gradients(layer, dx, dh0, dc0)


def gru_cell(x: A, h: A, w_ih: A, w_hh: A, b_ih: A, b_hh: A, reset_after: bool = True) -> A:
    """One step of a GRU (torch.nn.GRUCell): x [N, C], h [N, H] -> h [N, H]. reset_after as in `gru`."""
    layer, step, (h0,) = _cell("gru_cell", 3, x, {"h": h}, (w_ih, w_hh, b_ih, b_hh), reset_after)
    _, h_n, _, _ = layer.forward(step, None, h0, None, False, 0, 0)
    only: A = only_step(h_n)
    return only


def gru_cell_backward(
    dh: A,
    x: A,
    h: A,
    w_ih: A,
    w_hh: A,
    b_ih: A,
    b_hh: A,
    reset_after: bool = True,
) -> tuple[A, ...]:
    """Gradients of `gru_cell`: (dx, dh, dw_ih, dw_hh, db_ih, db_hh). The step is computed anew.

    Args:
        dh: [N, H], of the state after the step.
        x: [N, C].
        h: [N, H], the state before it.
        w_ih, w_hh, b_ih, b_hh: [3 H, C], [3 H, H], [3 H], [3 H].
        reset_after: as in `gru`.

    Returns:
        Each of the shape of what it is the gradient of.
    """
    op = "gru_cell_backward"
    weights = (w_ih, w_hh, b_ih, b_hh)
    layer, step, (h0, dh_n) = _cell(op, 3, x, {"h": h, "dh": dh}, weights, reset_after)
    saved = layer.forward(step, None, h0, None, True, 0, 0)[-1]
    assert saved is not None
    dx, dh0, _ = layer.backward(saved, None, dh_n, None)
    return _gradients(layer, dx, dh0)


def dropout(
    x: A,
    p: float,
    seed: int,
    update: int = 0,
    op: int = 0,
    example: Ids | None = None,
    time: Ids | None = None,
) -> A:
    """Inverted dropout whose mask is a function of its names alone; its backward is the same call on dy.

    Element u of a row is kept, times 1 / (1 - p), where uniform(philox(counter, key)) >= p. counter = (u //
    4, time, example, op | high bits of example << 8), key = (seed folded to 32 bits, update), word u % 4
    (Salmon et al. 2011).

    Args:
        x: [R, W].
        p: 0 <= p < 1.
        seed: 0 .. 2^64 - 1.
        update: 0 .. 2^32 - 1, the training step.
        op: 0 .. 255, which dropout of a network.
        example: int64 [R]; 0 .. R - 1 where None.
        time: int32 [R]; 0 where None.
    """
    name = "dropout"
    rows, shape = _rows(name, "x", x)
    mask = _mask(name, seed, update, op, example, time, len(rows))
    return _native.dropout(rows, number(name, "p", p), *mask).reshape(shape)


def _mask(
    name: str, seed: int, update: int, op: int, example: Ids | None, time: Ids | None, rows: int
) -> tuple[Any, ...]:
    """What names a mask and its rows, checked: seed, update, op, example [R], time [R]."""
    return (
        integer(name, "seed", seed, 0, 2**64 - 1),
        integer(name, "update", update, 0, 2**32 - 1),
        integer(name, "op", op, 0, 255),
        np.arange(rows, dtype=np.int64) if example is None else array(name, "example", example),
        np.zeros(rows, np.int32) if time is None else array(name, "time", time),
    )


def zoneout(
    before: A,
    x: A,
    p: float,
    seed: int | None = None,
    update: int = 0,
    op: int = 0,
    stream: int = 0,
    example: Ids | None = None,
    time: Ids | None = None,
) -> A:
    """Zoneout (Krueger et al. 2017): a unit keeps its value of the step before with probability p.

    Element u of a row is before's where uniform(philox(counter, key)) < p, else x's; the names are those of
    `dropout`, but that the counter's first word is u // 4 + stream * 2^28.

    Args:
        before, x: [R, W], the states of the step before and of this one.
        p: 0 <= p <= 1.
        seed: 0 .. 2^64 - 1; None: no mask but its expectation, p before + (1 - p) x, as in inference.
        update, op, example, time: as for `dropout`.
        stream: 0 .. 15, which of an op's masks.
    """
    name = "zoneout"
    rows, shape = _rows(name, "x", x)
    previous, _ = _rows(name, "before", array(name, "before", before, shape))
    mask = _zoneout_mask(name, p, seed, update, op, stream, example, time, len(rows))
    return _native.zoneout(previous, rows, *mask).reshape(shape)


def zoneout_backward(
    dy: A,
    p: float,
    seed: int | None = None,
    update: int = 0,
    op: int = 0,
    stream: int = 0,
    example: Ids | None = None,
    time: Ids | None = None,
) -> tuple[A, A]:
    """dx and dbefore [R, W] of `zoneout` with the same names."""
    name = "zoneout_backward"
    rows, shape = _rows(name, "dy", dy)
    mask = _zoneout_mask(name, p, seed, update, op, stream, example, time, len(rows))
    dx, dbefore = _native.zoneout_backward(rows, *mask)
    return dx.reshape(shape), dbefore.reshape(shape)


def _zoneout_mask(
    name: str,
    p: float,
    seed: int | None,
    update: int,
    op: int,
    stream: int,
    example: Ids | None,
    time: Ids | None,
    rows: int,
) -> tuple[Any, ...]:
    """What the extension takes of a mask; without a seed rows have no names."""
    rate = number(name, "p", p)
    if seed is None:
        return rate, 0, 0, 0, 0, None, None
    *names, who, when = _mask(name, seed, update, op, example, time, rows)
    return rate, *names, integer(name, "stream", stream, 0, 15), who, when


def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Philox 4x32-10 (Salmon et al. 2011): counter [R, 4], key [2] -> words [R, 4], all uint32."""
    array("philox", "counter", counter, (None, 4), np.uint32)
    array("philox", "key", key, (2,), np.uint32)
    return _native.philox(counter, int(key[0]), int(key[1]))


def sample(x: A, u: A) -> Any:
    """Of each row of logits x [R, V] a column drawn from their softmax, by the inverse of its distribution
    function: the first i with sum_{j <= i} exp(x_j) > u sum_j exp(x_j).

    Args:
        x: [R, V].
        u: [R], from 0 to below 1.

    Returns:
        int32 [R].

    Raises:
        ValueError: a number is out of range, or a row holds NaN or infinity, or is all -infinity.
    """
    rows = array("sample", "x", x, (None, None), np.float32)
    return _native.sample(rows, array("sample", "u", u, (rows.shape[0],), np.float32))


def topk(x: A, k: int) -> tuple[A, Any]:
    """The k largest of each row of x [R, V], descending, of equals the lower index first: values and
    indices [R, k]."""
    width = array("topk", "x", x, (None, None)).shape[1]
    return _native.topk(x, integer("topk", "k", k, 1, width))


def project_topk(
    x: A, weight: A, bias: A | None = None, k: int = 1, *, compute_type: str = "float32"
) -> tuple[A, Any]:
    """The k largest of each row of log softmax(x weight^T + bias), whose logits are never written: the output
    layer of a search (Milakov and Gimelshein 2018).

    Args:
        x: [R, K].
        weight: [V, K].
        bias: [V].
        k: 1 to V.
        compute_type: as in `linear`.

    Returns:
        Log-probabilities [R, k], descending, and their columns, of equals the lower first.

    Raises:
        ValueError: a row's logits hold NaN or infinity, or are all -infinity.
    """
    columns, width = array("project_topk", "weight", weight, (None, None)).shape
    rows = array("project_topk", "x", x, (None, width))
    return _native.project_topk(rows, weight, bias, integer("project_topk", "k", k, 1, columns), compute_type)


def _flat(op: str, name: str, value: A) -> A:
    flat: A = array(op, name, value, (None,), np.float32)
    return flat


def adam_(
    param: A,
    grad: A,
    m: A,
    v: A,
    step: int,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    mask: Mask | None = None,
) -> None:
    """One update by Adam (Kingma & Ba 2015; torch.optim.Adam), in place.

    Args:
        param, m, v: [P], written: parameters, first and second moments (zeros before the first step).
        grad: [P].
        step: 1 for the first.
        lr, eps, weight_decay: at least 0.
        beta1, beta2: from 0 to below 1.
        decoupled: weight decay as in AdamW (Loshchilov & Hutter 2019).
        mask: uint8 [ceil(P / 16)], one byte for each 16 parameters: bit 0, weight decay applies; bit 1,
            frozen. None: decay everywhere.
    """
    op = "adam_"
    _native.adam_(
        _flat(op, "param", param),
        _flat(op, "grad", grad),
        _flat(op, "m", m),
        _flat(op, "v", v),
        integer(op, "step", step, 1, 2**62),
        number(op, "lr", lr),
        number(op, "beta1", beta1),
        number(op, "beta2", beta2),
        number(op, "eps", eps),
        number(op, "weight_decay", weight_decay),
        flag(op, "decoupled", decoupled),
        mask,
    )


def sgd_(
    param: A,
    grad: A,
    momentum_buffer: A | None = None,
    lr: float = 1e-3,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
    mask: Mask | None = None,
) -> None:
    """One update by SGD (torch.optim.SGD), in place.

    Args:
        momentum_buffer: [P], written; needed where momentum is not 0.
        lr, momentum, weight_decay: at least 0.
        nesterov: look ahead along the momentum.
        first: the momentum buffer starts with this gradient.
        param, grad, mask: as in `adam_`.
    """
    op = "sgd_"
    _native.sgd_(
        _flat(op, "param", param),
        _flat(op, "grad", grad),
        None if momentum_buffer is None else _flat(op, "momentum_buffer", momentum_buffer),
        number(op, "lr", lr),
        number(op, "momentum", momentum),
        number(op, "weight_decay", weight_decay),
        flag(op, "nesterov", nesterov),
        flag(op, "first", first),
        mask,
    )


def adagrad_(
    param: A,
    grad: A,
    sum: A,
    lr: float = 1e-2,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    mask: Mask | None = None,
) -> None:
    """One update by Adagrad (Duchi et al. 2011; torch.optim.Adagrad), in place.

    Args:
        sum: [P], written: the squares of the gradients so far.
        lr, eps, weight_decay: at least 0.
        param, grad, mask: as in `adam_`.
    """
    op = "adagrad_"
    _native.adagrad_(
        _flat(op, "param", param),
        _flat(op, "grad", grad),
        _flat(op, "sum", sum),
        number(op, "lr", lr),
        number(op, "eps", eps),
        number(op, "weight_decay", weight_decay),
        mask,
    )


def average_(average: A, param: A, weight: float) -> None:
    """Move a moving average towards param [P], in place: average += weight * (param - average).

    Args:
        average: [P], written.
        weight: 0 to 1.
    """
    op = "average_"
    _native.average_(_flat(op, "average", average), _flat(op, "param", param), number(op, "weight", weight))


def squared_norm(x: A) -> float:
    """The sum of the squares of x [P], the same for any number of threads."""
    return _native.squared_norm(_flat("squared_norm", "x", x))


def scale_(x: A, factor: float) -> None:
    """x [P] times factor, in place."""
    _native.scale_(_flat("scale_", "x", x), number("scale_", "factor", factor))


def clip_grad_norm_(grads: A, max_norm: float) -> float:
    """Scale grads [P] in place so that their norm is at most max_norm (torch.nn.utils.clip_grad_norm_).

    Returns:
        The norm before. Not finite: grads are left as they are.
    """
    op = "clip_grad_norm_"
    if number(op, "max_norm", max_norm) <= 0:
        raise ValueError(f"[{op}] Expected max_norm above 0, got {max_norm}.")
    flat: Any = _flat(op, "grads", grads)
    if isinstance(flat, np.ndarray) and not (flat.flags.c_contiguous and flat.flags.writeable):
        raise ValueError(f"[{op}] Expected grads to be contiguous and writable.")
    norm = math.sqrt(_native.squared_norm(flat))
    if max_norm < norm < math.inf:
        _native.scale_(flat, max_norm / (norm + 1e-6))
    return norm


def distribution_loss(
    x: A,
    target: A,
    distribution: str = "normal",
    *,
    levels: A | None = None,
    offset: A | None = None,
    scale: A | None = None,
) -> tuple[A, A]:
    """How improbable real values are under distributions given by raw parameters, and the gradients.

    A distribution is normal, student_t (both by location, scale and, of t, degrees of freedom above 2),
    negative_binomial (mean and alpha, variance mean + alpha mean^2: DeepAR, Salmon et al. 2020), point
    (squared error) or quantiles. Scales and the like are ln(1 + e^raw) + 1e-4. The loss is in nats, of point
    in squared units; of quantiles it is the mean of twice the quantile losses, which approaches the CRPS.

    Args:
        x: float32 [R, D * K], K raw parameters for each of D channels, one after the other: K is 1 for point,
            2, of student_t 3, of quantiles as many as levels.
        target: float32 [R, D]; NaN: missing, loss and gradients are 0. Of negative_binomial >= 0.
        levels: float32 [Q], ascending between 0 and 1; for quantiles.
        offset: float32 [R, D], added to locations and quantiles.
        scale: float32 [R, D]: counts of one unit of target, for negative_binomial.

    Returns:
        losses [R, D] and their gradients [R, D * K].

    Raises:
        ValueError, TypeError: an argument; the message names it.
    """
    op = "distribution_loss"
    return _native.distribution_loss(
        array(op, "x", x, (None, None), np.float32),
        array(op, "target", target, (None, None), np.float32),
        _distribution(op, distribution),
        levels,
        offset,
        scale,
        1.0,
    )


def distribution_parameters(
    x: A, channels: int, distribution: str = "normal", *, levels: A | None = None, offset: A | None = None
) -> A:
    """Raw parameters as locations, scales, degrees of freedom, means, alphas or quantiles.

    Args:
        x, distribution, levels, offset: as in `distribution_loss`.
        channels: D, at least 1.

    Returns:
        float32 [R, D * K], in the order of x.
    """
    op = "distribution_parameters"
    return _native.distribution_parameters(
        array(op, "x", x, (None, None), np.float32),
        integer(op, "channels", channels, 1),
        _distribution(op, distribution),
        levels,
        offset,
    )


def distribution_sample(
    x: A,
    channels: int,
    distribution: str = "normal",
    *,
    example: Ids,
    path: Ids,
    step: int = 0,
    seed: int = 0,
    levels: A | None = None,
    offset: A | None = None,
    scale: A | None = None,
) -> A:
    """A random value of each distribution, which does not depend on the other rows.

    Philox's counter is made of the seed, the row's example and path, the step and the channel. Of quantiles
    the distribution function is linear between the levels and constant beyond them; of point the value is the
    location.

    Args:
        x: float32 [R, D * K], raw parameters, K for each channel: see `distribution_loss`.
        channels: D, at least 1.
        distribution, levels, offset, scale: as in `distribution_loss`.
        example: int64 [R]; path: int32 [R]; the row's names.
        step: 0 .. 2^31 - 1.
        seed: 0 .. 2^64 - 1.

    Returns:
        float32 [R, D].
    """
    op = "distribution_sample"
    return _native.distribution_sample(
        array(op, "x", x, (None, None), np.float32),
        integer(op, "channels", channels, 1),
        _distribution(op, distribution),
        levels,
        offset,
        scale,
        example,
        path,
        integer(op, "step", step, 0, 2**31 - 1),
        integer(op, "seed", seed, 0, 2**64 - 1),
    )


def _distribution(op: str, name: str) -> str:
    return choice(op, "distribution", name, DISTRIBUTIONS)
