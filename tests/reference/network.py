"""The whole encoder-decoder, one sequence at a time: the equations of Seq2SeqConfig's options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.attention import attend
from reference.autodiff import Array, constant
from reference.basic import cross_entropy, layer_norm, linear, log_softmax, sample
from reference.ctc import ctc, fits
from reference.random import dropout, uniforms
from reference.recurrent import State, Weights, run_stack, step_of

Params = Mapping[str, Array]


@dataclass(frozen=True)
class Options:
    """The fields of seq2seq_fast.Seq2SeqConfig that the equations read; test_network.py compares the two."""

    target_vocab_size: int
    source_vocab_size: int = 0
    source_features: int = 0
    source_embedding_dim: int = 256
    target_embedding_dim: int = 256
    encoder_cell: str = "lstm"
    decoder_cell: str = "lstm"
    encoder_layers: int = 1
    decoder_layers: int = 1
    encoder_hidden: int = 256
    decoder_hidden: int = 256
    bidirectional: bool = True
    encoder_pyramid: str = ""
    pyramid_skips: bool = False
    conv_layers: int = 0
    conv_channels: int = 64
    conv_width: int = 3
    conv_stride: int = 2
    context: str = "attention"
    attention_score: str = "general"
    attention_dim: int = 0
    input_feeding: bool = True
    bridge: str = "dense"
    copy_attention: bool = False
    coverage: bool = False
    coverage_loss: float = 0.0
    location_filters: int = 0
    location_width: int = 31
    location_cumulative: bool = True
    tie_output: bool = False
    share_embeddings: bool = False
    residual: bool = False
    layer_norm: bool = False
    reset_after: bool = True
    ctc_weight: float = 0.0
    dropout: float = 0.0
    embedding_dropout: float | None = None
    output_dropout: float | None = None
    variational_dropout: bool = False
    word_dropout: float = 0.0
    zoneout_hidden: float = 0.0
    zoneout_cell: float = 0.0
    source_unk_id: int = 3
    bos_id: int = 1
    eos_id: int = 2
    unk_id: int = 3
    pad_id: int = 0


# The number of each place where units are dropped, part of Philox's counter.
OP_SOURCE_EMBEDDING, OP_TARGET_EMBEDDING, OP_COMBINE, OP_DRAW_TARGET = 0, 1, 2, 3
OP_ENCODER_LAYER, OP_DECODER_LAYER = 64, 128  # plus the layer whose output is dropped on its way to the next

OP_SOURCE_WORD, OP_TARGET_WORD = 4, 5
OP_ENCODER_ZONEOUT, OP_DECODER_ZONEOUT = 192, 224  # plus the layer


class Drop:
    """What is dropped: here, out of training, nothing."""

    def __call__(self, op: int, x: Array, first: int) -> Array:
        """x [T, C], row t of which is at time first + t."""
        return x

    def word(self, op: int, time: int) -> bool:
        """Whether a token becomes <unk>."""
        return False

    def stays(self, p: float, count: int, op: int, time: int, stream: int) -> np.ndarray:
        """Zoneout: how much of a unit's value before it keeps, [count]; out of training the expectation."""
        return np.full(count, p)


no_dropout = Drop()


@dataclass
class Dropout(Drop):
    """The dropout of one example at one update."""

    o: Any
    seed: int
    update: int
    example: int

    def __call__(self, op: int, x: Array, first: int) -> Array:
        o, rows = self.o, x.shape[0]
        own = {OP_COMBINE: o.output_dropout}.get(op, o.embedding_dropout if op < OP_ENCODER_LAYER else None)
        times = [0] * rows if o.variational_dropout else range(first, first + rows)
        rate = float(o.dropout if own is None else own)
        return dropout(x, rate, self.seed, self.update, op, [self.example] * rows, times)

    def word(self, op: int, time: int) -> bool:
        return bool(
            uniforms(1, self.seed, self.update, op, self.example, time)[0] < np.float32(self.o.word_dropout)
        )

    def stays(self, p: float, count: int, op: int, time: int, stream: int) -> np.ndarray:
        u = uniforms(count, self.seed, self.update, op, self.example, time, stream)
        return (u < np.float32(p)).astype(float)


dropout_of = Dropout


def _zone(o: Any, drop: Drop, op: int, first: int) -> Callable[[int, int, int, State, State], State]:
    """Zoneout (Krueger et al. 2017) of a stack whose first step is at time `first`."""

    def zone(layer: int, direction: int, t: int, before: State, now: State) -> State:
        mixed = []
        for i, (b, n, p) in enumerate(zip(before, now, [o.zoneout_hidden, o.zoneout_cell], strict=False)):
            s = drop.stays(p, n.shape[-1], op + layer, first + t, 2 * direction + i)
            mixed.append(s * b + (1 - s) * n)
        return tuple(mixed)

    return zone


def _norm(o: Any, params: Params, name: str) -> Callable[[int, Array], Array]:
    def norm(layer: int, y: Array) -> Array:
        if not o.layer_norm:
            return y
        return layer_norm(y, params[f"{name}.norm_l{layer}.weight"], params[f"{name}.norm_l{layer}.bias"])

    return norm


Draw = Callable[[int, Array], int | None]  # (t, logits of t - 1) -> the token fed at t; None: the target's


def no_draw(t: int, scores: Array) -> int | None:
    return None


def drawing(probability: float, seed: int, update: int, example: int) -> Draw:
    """Scheduled sampling (Bengio et al. 2015) of one example at one update."""

    def draw(t: int, scores: Array) -> int | None:
        coin, number = uniforms(2, seed, update, OP_DRAW_TARGET, example, t)
        return int(sample(constant(scores)[None], [number])[0]) if coin < probability else None

    return draw


def memory_width(o: Any) -> int:
    return int(o.encoder_hidden) * (2 if o.bidirectional and o.encoder_layers else 1)


def pyramid(o: Any) -> list[int]:
    return (
        [int(count) for count in o.encoder_pyramid.split(",")]
        if o.encoder_pyramid
        else [1] * o.encoder_layers
    )


def attentional_width(o: Any) -> int:
    return int(o.target_embedding_dim if o.tie_output else o.decoder_hidden)


def parameter_shapes(o: Any) -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape."""
    shapes: dict[str, tuple[int, ...]] = {}

    def rnn(
        name: str, cell: str, size: int, hidden: int, joined: Sequence[int], suffixes: tuple[str, ...]
    ) -> None:
        gates = {"lstm": 4, "gru": 3}[cell] * hidden
        for k, count in enumerate(joined):
            for suffix in suffixes:
                width = count * (size if k == 0 else hidden * len(suffixes))
                shapes[f"{name}.weight_ih_l{k}{suffix}"] = (gates, width)
                shapes[f"{name}.weight_hh_l{k}{suffix}"] = (gates, hidden)
                shapes[f"{name}.bias_ih_l{k}{suffix}"] = (gates,)
                shapes[f"{name}.bias_hh_l{k}{suffix}"] = (gates,)
            if o.layer_norm:
                for part in ("weight", "bias"):
                    shapes[f"{name}.norm_l{k}.{part}"] = (hidden * len(suffixes),)

    memory, hidden, width = memory_width(o), o.decoder_hidden, attentional_width(o)
    if o.source_vocab_size and not o.share_embeddings:
        shapes["encoder.embedding.weight"] = (o.source_vocab_size, o.source_embedding_dim)
    source = o.source_embedding_dim if o.source_vocab_size else o.source_features
    for k in range(o.conv_layers):
        shapes[f"encoder.conv_l{k}.weight"] = (o.conv_channels, o.conv_width * source)
        shapes[f"encoder.conv_l{k}.bias"] = (o.conv_channels,)
        source = o.conv_channels
    suffixes = ("", "_reverse") if o.bidirectional else ("",)
    if not o.encoder_layers:
        shapes["encoder.projection.weight"], shapes["encoder.projection.bias"] = (memory, source), (memory,)
    widths = [1] * o.encoder_layers if o.pyramid_skips else pyramid(o)
    rnn("encoder.rnn", o.encoder_cell, source, o.encoder_hidden, widths, suffixes)
    if o.bridge == "dense":
        for k in range(o.decoder_layers):
            for state in ("h", "c") if o.decoder_cell == "lstm" else ("h",):
                shapes[f"bridge.{state}_l{k}.weight"] = (hidden, memory)
                shapes[f"bridge.{state}_l{k}.bias"] = (hidden,)
    shapes["decoder.embedding.weight"] = (o.target_vocab_size, o.target_embedding_dim)
    fed = width if o.input_feeding else 0
    rnn("decoder.rnn", o.decoder_cell, o.target_embedding_dim + fed, hidden, [1] * o.decoder_layers, ("",))
    if o.context == "attention" and o.attention_score == "general":
        shapes["attention.key.weight"] = (hidden, memory)
    if o.context == "attention" and o.attention_score == "mlp":
        inner = o.attention_dim or hidden
        shapes["attention.key.weight"] = (inner, memory)
        shapes["attention.key.bias"] = (inner,)
        shapes["attention.query.weight"] = (inner, hidden)
        shapes["attention.energy.weight"] = (inner,)
        if o.coverage:
            shapes["attention.coverage.weight"] = (inner, 1)
        if o.location_filters:
            shapes["attention.filter.weight"] = (o.location_filters, o.location_width)
            shapes["attention.location.weight"] = (inner, o.location_filters)
    shapes["decoder.combine.weight"] = (width, hidden + memory)
    shapes["decoder.combine.bias"] = (width,)
    if not o.tie_output:
        shapes["decoder.output.weight"] = (o.target_vocab_size, width)
    shapes["decoder.output.bias"] = (o.target_vocab_size,)
    if o.copy_attention:
        shapes["decoder.copy.weight"], shapes["decoder.copy.bias"] = (1, width), (1,)
    if o.ctc_weight:
        shapes["encoder.ctc.weight"] = (o.target_vocab_size + 1, memory)
        shapes["encoder.ctc.bias"] = (o.target_vocab_size + 1,)
    return shapes


def _rnn_weights(params: Params, name: str, layers: int, directions: int) -> list[Weights]:
    suffixes = ("", "_reverse")[:directions]
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [
        [params[f"{name}.{part}_l{k}{suffix}"] for part in parts]
        for k in range(layers)
        for suffix in suffixes
    ]


def encode(o: Any, params: Params, source: np.ndarray, drop: Drop = no_dropout) -> tuple[Array, list[State]]:
    """source [S] ids or [S, C] features -> memory [S, M], each layer's final state, directions joined [M]."""
    x: Array = source
    if o.source_vocab_size:
        read = [o.source_unk_id if drop.word(OP_SOURCE_WORD, t) else int(s) for t, s in enumerate(source)]
        side = "decoder" if o.share_embeddings else "encoder"
        x = drop(OP_SOURCE_EMBEDDING, params[f"{side}.embedding.weight"][np.array(read)], 0)
    for k in range(o.conv_layers):
        x = np.tanh(_conv(x, params[f"encoder.conv_l{k}.weight"], params[f"encoder.conv_l{k}.bias"], o))
    if not o.encoder_layers:
        memory = drop(OP_ENCODER_LAYER, _dense(params, "encoder.projection", x), 0)
        return memory, [(np.sum(memory, axis=0) / len(memory),)]
    directions = 2 if o.bidirectional else 1
    weights = _rnn_weights(params, "encoder.rnn", o.encoder_layers, directions)
    zero = tuple(np.zeros(o.encoder_hidden) for _ in range(2 if o.encoder_cell == "lstm" else 1))
    memory, last = run_stack(
        step_of(o.encoder_cell, o.reset_after),
        x,
        [zero] * len(weights),
        weights,
        directions,
        lambda layer, y: drop(OP_ENCODER_LAYER + layer, y, 0),
        o.residual,
        _norm(o, params, "encoder.rnn"),
        _zone(o, drop, OP_ENCODER_ZONEOUT, 0),
        pyramid(o),
        o.pyramid_skips,
    )
    per_layer = [last[k : k + directions] for k in range(0, len(last), directions)]
    joined = [
        tuple(np.concatenate(list(parts)) for parts in zip(*states, strict=True)) for states in per_layer
    ]
    return memory, joined


def _conv(x: Array, weight: Array, bias: Array, o: Any) -> Array:
    """x [T, C] -> [ceil(T / stride), channels]; zeros stand around the sequence."""
    left = np.zeros(((o.conv_width - 1) // 2, x.shape[1]))
    padded = np.concatenate([left, x, np.zeros((o.conv_width, x.shape[1]))])
    starts = range(0, len(x), o.conv_stride)
    rows = [np.concatenate([padded[s + j] for j in range(o.conv_width)]) for s in starts]
    return linear(np.stack(rows), weight, bias)


def first_states(o: Any, params: Params, encoder_states: list[State]) -> list[State]:
    """The bridge: the state in which each decoder layer starts, from the encoder's last."""
    states: list[State] = []
    zero = np.zeros(o.decoder_hidden)
    both_lstm = o.encoder_cell == "lstm" and o.decoder_cell == "lstm" and o.encoder_layers > 0
    for k in range(o.decoder_layers):
        final = encoder_states[max(0, o.encoder_layers - o.decoder_layers + k)]
        if o.bridge == "zero":
            h, c = zero, zero
        elif o.bridge == "copy":
            h, c = final[0], final[1] if both_lstm else zero
        else:
            h = _dense(params, f"bridge.h_l{k}", final[0])
            c = _dense(params, f"bridge.c_l{k}", final[-1]) if o.decoder_cell == "lstm" else zero
        states.append((h, c) if o.decoder_cell == "lstm" else (h,))
    return states


def _dense(params: Params, name: str, x: Array) -> Array:
    return np.tanh(linear(x, params[f"{name}.weight"], params[f"{name}.bias"]))


def _context(
    o: Any, params: Params, memory: Array, encoder_states: list[State], h: Array, covered: Array
) -> tuple[Array, Array]:
    """The context c_t [M] for the decoder's output h [Hd], and the weights [S] (zeros without attention).
    covered [S]: the sum of the weights before, or those of the step before."""
    if o.context == "last":
        return encoder_states[-1][0], np.zeros(len(memory))
    if o.context == "mean":
        return np.sum(memory, axis=0) / len(memory), np.zeros(len(memory))
    if o.attention_score == "dot":
        return attend(h, memory, memory)
    keys = linear(memory, params["attention.key.weight"])
    if o.attention_score == "general":
        return attend(h, keys, memory)
    keys = keys + params["attention.key.bias"]
    if o.coverage:
        keys = keys + linear(covered[:, None], params["attention.coverage.weight"])
    if o.location_filters:
        margin = np.zeros(o.location_width // 2)
        padded = np.concatenate([margin, covered, margin])
        windows = padded[np.arange(len(memory))[:, None] + np.arange(o.location_width)]
        features = linear(windows, params["attention.filter.weight"])
        keys = keys + linear(features, params["attention.location.weight"])
    query = linear(h, params["attention.query.weight"])
    return attend(query, keys, memory, "mlp", params["attention.energy.weight"])


@dataclass
class Decoding:
    """Where a decoder stands between two steps."""

    memory: Array
    encoder_states: list[State]
    states: list[State]
    fed: Array  # a_{t-1} [F]
    covered: Array  # [S] the sum of the attention weights so far, or the last ones
    time: int = 0


def start_decoding(o: Any, params: Params, memory: Array, encoder_states: list[State]) -> Decoding:
    states = first_states(o, params, encoder_states)
    return Decoding(memory, encoder_states, states, np.zeros(attentional_width(o)), np.zeros(len(memory)))


def advance(o: Any, params: Params, at: Decoding, x: Array, drop: Drop = no_dropout) -> Array:
    """One step of the decoder on an input x [1, E]; -> attention weights [S]. at.fed becomes a_t."""
    if o.input_feeding:
        x = np.concatenate([x, at.fed[None]], axis=-1)
    y, at.states = run_stack(
        step_of(o.decoder_cell, o.reset_after),
        x,
        at.states,
        _rnn_weights(params, "decoder.rnn", o.decoder_layers, 1),
        1,
        lambda layer, z: drop(OP_DECODER_LAYER + layer, z, at.time),
        o.residual,
        _norm(o, params, "decoder.rnn"),
        _zone(o, drop, OP_DECODER_ZONEOUT, at.time),
    )
    h = y[0]
    context, weights = _context(o, params, at.memory, at.encoder_states, h, at.covered)
    at.covered = at.covered + weights if o.coverage or o.location_cumulative else weights
    a = _dense(params, "decoder.combine", np.concatenate([h, context]))
    at.fed = drop(OP_COMBINE, a[None], at.time)[0]
    at.time += 1
    return weights


def decode(o: Any, params: Params, at: Decoding, token: int, drop: Drop = no_dropout) -> tuple[Array, Array]:
    """Feed the token y_{t-1}; -> logits [Vt] for y_t and attention weights [S]. Moves `at` on by one step."""
    x = drop(OP_TARGET_EMBEDDING, params["decoder.embedding.weight"][token][None], at.time)
    weights = advance(o, params, at, x, drop)
    output = params["decoder.embedding.weight" if o.tie_output else "decoder.output.weight"]
    return linear(at.fed, output, params["decoder.output.bias"]), weights


def logits(
    o: Any,
    params: Params,
    source: np.ndarray,
    target: np.ndarray,
    drop: Drop = no_dropout,
    draw: Draw = no_draw,
) -> tuple[Array, Array]:
    """Teacher forcing: logits [T, Vt] of each position given the ones before, attention weights [T, S]."""
    memory, encoder_states = encode(o, params, source, drop)
    at = start_decoding(o, params, memory, encoder_states)
    steps = [decode(o, params, at, o.bos_id, drop)]
    for t in range(1, len(target)):
        drawn = draw(t, steps[-1][0])
        given = o.unk_id if drop.word(OP_TARGET_WORD, t) else int(target[t - 1])
        steps.append(decode(o, params, at, given if drawn is None else drawn, drop))
    return np.stack([step[0] for step in steps]), np.stack([step[1] for step in steps])


def log_probabilities(o: Any, params: Params, source: np.ndarray, target: np.ndarray) -> Array:
    """log P(y_t | y_<t, x) of the target's own tokens, [T]."""
    log_p = log_softmax(logits(o, params, source, target)[0])
    return log_p[np.arange(len(target)), target]


def sequence_loss(
    o: Any,
    params: Params,
    source: np.ndarray,
    target: np.ndarray,
    label_smoothing: float = 0.0,
    drop: Drop = no_dropout,
    draw: Draw = no_draw,
) -> Array:
    """The loss of one pair, summed over its tokens: source [S] or [S, C], target [T] (ends with <eos>)."""
    scores, weights = logits(o, params, source, target, drop, draw)
    loss = np.sum(cross_entropy(scores, target, label_smoothing=label_smoothing))
    loss = loss + coverage_loss(o, weights)
    if not o.ctc_weight:
        return loss
    return (1 - o.ctc_weight) * loss + o.ctc_weight * ctc_loss(o, params, source, target, drop)


def ctc_loss(
    o: Any, params: Params, source: np.ndarray, target: np.ndarray, drop: Drop = no_dropout
) -> Array:
    """-log P of the target without its <eos> by the encoder's own output; 0 where it does not fit."""
    memory = encode(o, params, source, drop)[0]
    labels = target[:-1] if target[-1] == o.eos_id else target
    if not fits(len(memory), labels):
        return 0.0
    scores = linear(memory, params["encoder.ctc.weight"], params["encoder.ctc.bias"])
    return ctc(scores, labels, o.target_vocab_size)


def coverage_loss(o: Any, weights: Array) -> Array:
    """weights [T, S] -> coverage_loss times the sum of min(weights, the sum of those before)."""
    if not o.coverage_loss:
        return 0.0
    before = np.zeros(weights.shape[1])
    total: Array = 0.0
    for w in weights:
        covered = constant(before) < constant(w)
        total = total + np.sum(before * covered + w * ~covered)
        before = before + w
    return o.coverage_loss * total
