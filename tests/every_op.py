"""Every function of `ops`: what a valid call looks like, and what comes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seq2seq_fast import ops

SMALL = {
    "R": 3,
    "K": 5,
    "N": 4,
    "V": 6,
    "E": 3,
    "A": 5,
    "M": 4,
    "U": 7,
    "S": 3,
    "L": 3,
    "T": 3,
    "C": 5,
    "H": 4,
    "P": 32,
}
SMALL |= {"G": 16, "J": 12, "D": 1, "4": 4, "2": 2}
"""G and J are the gates of an LSTM and of a GRU, D layers, numbers are as they are."""

WIDE = SMALL | dict.fromkeys("KVEAMCHP", 19) | {"G": 4 * 19, "J": 3 * 19}
"""Each set's vectors, of 4, 8 or 16 floats, and a tail."""

NAN = float("nan")


@dataclass(frozen=True)
class Function:
    """A public function and how its arguments hang together."""

    call: Callable[..., Any]
    shapes: str  # each array and its dimensions, a letter each; `*` is any leading ones
    given: dict[str, Any] = field(
        default_factory=dict
    )  # what is not a random array of floats, or a function of sizes
    limits: dict[str, int] = field(default_factory=dict)  # of ids: the first number that is too large
    bad: dict[str, list[Any]] = field(default_factory=dict)  # wrong scalars and choices
    in_place: bool = False
    gives: str = ""  # the dimensions of each result; none: only what is written in place

    @property
    def dimensions(self) -> dict[str, str]:
        return dict(part.split(":") for part in self.shapes.split())

    def arguments(self, sizes: Mapping[str, int] = SMALL) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        floats = {
            name: rng.random(shape_of(letters, sizes), np.float32)  # above 0, as second moments are
            for name, letters in self.dimensions.items()
        }
        given = {name: value(sizes) if callable(value) else value for name, value in self.given.items()}
        return floats | copy.deepcopy(given)

    def check(self, sizes: Mapping[str, int] = SMALL, **options: Any) -> None:
        """The results of a valid call are finite and of the shapes that they should have."""
        arguments = self.arguments(sizes)
        result = self.call(**arguments, **options)
        results = result if isinstance(result, tuple) else () if result is None else (result,)
        assert [np.shape(one) for one in results] == [shape_of(one, sizes) for one in self.gives.split()]
        written = [arguments[name] for name in self.dimensions] if self.in_place else []
        assert all(np.isfinite(one).all() for one in (*results, *written))


def shape_of(letters: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Of dimensions that are a letter each; `-` is a scalar."""
    return () if letters == "-" else tuple(sizes[d] for d in letters.replace("*", "R"))


LENGTHS, EXAMPLE = np.array([2, 1, 3, 1], np.int32), np.array([3, 0, 2], np.int32)
LSTM, GRU = "w_ih:GC w_hh:GH b_ih:G b_hh:G", "w_ih:JC w_hh:JH b_ih:J b_hh:J"
IDS = np.array([0, 5, 2], np.int32)
RATE = [-0.1, NAN, float("inf"), "fast", None]
BELOW_ONE = [*RATE, (1.0, ValueError)]
WORD = ["plus", 3, None]
MASK: dict[str, list[Any]] = {
    "seed": [-1, 1 << 64, 0.5, "s"],
    "update": [-1, 1 << 32, 0.5],
    "op": [-1, 256, 0.5],
}
FUNCTIONS = {
    "linear": Function(ops.linear, "x:*K weight:EK bias:E", gives="*E"),
    "linear_backward": Function(ops.linear_backward, "dy:*E x:*K weight:EK", gives="*K EK E"),
    "embedding": Function(ops.embedding, "ids:* weight:VE", {"ids": IDS}, {"ids": 6}, gives="*E"),
    "embedding_backward": Function(
        ops.embedding_backward,
        "ids:* dy:*E",
        {"ids": IDS, "num_embeddings": lambda sizes: sizes["V"]},
        {"ids": 6},
        {"num_embeddings": [0, -1, 2.5, "6"]},
        gives="VE",
    ),
    "softmax": Function(ops.softmax, "x:*K", gives="*K"),
    "log_softmax": Function(ops.log_softmax, "x:*K", gives="*K"),
    "softmax_backward": Function(ops.softmax_backward, "dy:*K y:*K", gives="*K"),
    "log_softmax_backward": Function(ops.log_softmax_backward, "dy:*K y:*K", gives="*K"),
    "cross_entropy": Function(
        ops.cross_entropy,
        "logits:RV targets:R",
        {"targets": IDS},
        {"targets": 6},
        {
            "label_smoothing": [-0.1, 1.1, NAN, "x"],
            "ignore_index": [1.5, "x", 1 << 40],
        },
        gives="R RV",
    ),
    "layer_norm": Function(
        ops.layer_norm, "x:*K weight:K bias:K", {"eps": 1e-5}, {}, {"eps": RATE}, gives="*K"
    ),
    "layer_norm_backward": Function(
        ops.layer_norm_backward, "dy:*K x:*K weight:K", {"eps": 1e-5}, {}, {"eps": RATE}, gives="*K K K"
    ),
    "ctc_loss": Function(
        ops.ctc_loss,
        "logits:UV lengths:N targets:L target_lengths:N",
        {"lengths": LENGTHS, "targets": np.array([1, 2, 5]), "target_lengths": np.array([1, 1, 1, 0])},
        {"targets": 6},
        {"blank": [-1, 19, 0.5], "zero_infinity": ["yes", 2]},
        gives="N UV",
    ),
    "distribution_loss": Function(
        ops.distribution_loss,
        "x:RJ target:RH offset:RH",
        {
            "distribution": "student_t",
            "scale": lambda sizes: np.full((sizes["R"], sizes["H"]), 0.5, np.float32),
        },
        {},
        {"distribution": WORD},
        gives="RH RJ",
    ),
    "distribution_parameters": Function(
        ops.distribution_parameters,
        "x:RJ offset:RH",
        {"distribution": "student_t", "channels": lambda sizes: sizes["H"]},
        {},
        {"channels": [0, -1, 5, 1.5], "distribution": WORD},
        gives="RJ",
    ),
    "distribution_sample": Function(
        ops.distribution_sample,
        "x:RJ offset:RH scale:RH example:R path:R",
        {
            "distribution": "student_t",
            "channels": lambda sizes: sizes["H"],
            "example": IDS.astype(np.int64),
            "path": IDS,
        },
        {},
        {
            "channels": [0, -1, 5, 1.5],
            "distribution": WORD,
            "step": [-1, 1 << 31],
            "seed": [-1, 1 << 64, 0.5],
        },
        gives="RH",
    ),
    "attention": Function(
        ops.attention,
        "query:RA keys:UA values:UM lengths:N example:R energy:A",
        {"lengths": LENGTHS, "example": EXAMPLE, "score": "mlp"},
        {"example": 4},
        {"score": WORD},
        gives="RM RS",
    ),
    "attention_backward": Function(
        ops.attention_backward,
        "dcontext:RM query:RA keys:UA values:UM lengths:N example:R energy:A",
        {"lengths": LENGTHS, "example": EXAMPLE, "score": "mlp"},
        {"example": 4},
        {"score": WORD},
        gives="RA UA UM A",
    ),
    "lstm_cell": Function(ops.lstm_cell, f"x:RC h:RH c:RH {LSTM}", gives="RH RH"),
    "lstm_cell_backward": Function(
        ops.lstm_cell_backward, f"dh:RH dc:RH x:RC h:RH c:RH {LSTM}", gives="RC RH RH GC GH G G"
    ),
    "gru_cell": Function(ops.gru_cell, f"x:RC h:RH {GRU}", gives="RH"),
    "gru_cell_backward": Function(ops.gru_cell_backward, f"dh:RH x:RC h:RH {GRU}", gives="RC RH JC JH J J"),
    "lstm": Function(
        lambda x, w_ih, w_hh, b_ih, b_hh, **kw: ops.lstm(x, [(w_ih, w_hh, b_ih, b_hh)], **kw),
        f"x:TNC {LSTM} h0:DNH c0:DNH lengths:N",
        {"lengths": LENGTHS},
        {"lengths": 4},
        gives="TNH DNH DNH",
    ),
    "gru": Function(
        lambda x, w_ih, w_hh, b_ih, b_hh, **kw: ops.gru(x, [(w_ih, w_hh, b_ih, b_hh)], **kw),
        f"x:TNC {GRU} h0:DNH lengths:N",
        {"lengths": LENGTHS},
        {"lengths": 4},
        gives="TNH DNH",
    ),
    "dropout": Function(
        ops.dropout,
        "x:*K example:R time:R",
        {"p": 0.5, "seed": 1, "example": IDS.astype(np.int64), "time": IDS},
        {},
        MASK | {"p": BELOW_ONE},
        gives="*K",
    ),
    "zoneout": Function(
        ops.zoneout,
        "before:*K x:*K example:R time:R",
        {"p": 0.5, "seed": 1, "example": IDS.astype(np.int64), "time": IDS},
        {},
        MASK | {"p": RATE, "stream": [-1, 16, 0.5]},
        gives="*K",
    ),
    "zoneout_backward": Function(
        ops.zoneout_backward,
        "dy:*K example:R time:R",
        {"p": 0.5, "seed": 1, "example": IDS.astype(np.int64), "time": IDS},
        {},
        MASK | {"p": RATE, "stream": [-1, 16, 0.5]},
        gives="*K *K",
    ),
    "philox": Function(
        ops.philox,
        "counter:R4 key:2",
        {"counter": np.ones((3, 4), np.uint32), "key": np.ones(2, np.uint32)},
        gives="R4",
    ),
    "topk": Function(
        ops.topk,
        "x:RV",
        {"k": 2},
        {},
        {
            "k": [0, -1, 7, 1.5, "2"],
            "x": [np.array([[1, NAN, 3]], np.float32)],
        },
        gives="R2 R2",
    ),
    "sample": Function(
        ops.sample,
        "x:RV u:R",
        {"u": np.array([0, 0.5, 0.9], np.float32)},
        {},
        {
            "x": [np.array([[1, NAN, 3]] * 3, np.float32)],
            "u": [np.array([0, 1, 0.5], np.float32), np.array([0, -0.1, 0.5], np.float32)],
        },
        gives="R",
    ),
    "project_topk": Function(
        ops.project_topk,
        "x:RK weight:VK bias:V",
        {"k": 2},
        {},
        {"k": [0, -1, 7, 1.5, "2"], "x": [np.full((3, 5), NAN, np.float32)]},
        gives="R2 R2",
    ),
    "adam_": Function(
        ops.adam_,
        "param:P grad:P m:P v:P mask:2",
        {"step": 1, "lr": 0.1, "mask": np.ones(2, np.uint8)},
        {},
        {
            "step": [0, -1, 1.5, "1"],
            "lr": RATE,
            "eps": RATE,
            "weight_decay": RATE,
            "beta1": BELOW_ONE,
            "beta2": BELOW_ONE,
        },
        in_place=True,
    ),
    "sgd_": Function(
        ops.sgd_,
        "param:P grad:P momentum_buffer:P mask:2",
        {"lr": 0.1, "mask": np.ones(2, np.uint8), "momentum": 0.9},
        {},
        {"lr": RATE, "momentum": RATE, "weight_decay": RATE},
        in_place=True,
    ),
    "adagrad_": Function(
        ops.adagrad_,
        "param:P grad:P sum:P mask:2",
        {"lr": 0.1, "mask": np.ones(2, np.uint8)},
        {},
        {"lr": RATE, "eps": RATE, "weight_decay": RATE},
        in_place=True,
    ),
    "average_": Function(
        ops.average_,
        "average:P param:P",
        {"weight": 0.5},
        {},
        {"weight": [*RATE, (1.5, ValueError)]},
        in_place=True,
    ),
    "squared_norm": Function(ops.squared_norm, "x:P", gives="-"),
    "scale_": Function(ops.scale_, "x:P", {"factor": 2.0}, {}, {"factor": ["2"]}, in_place=True),
    "clip_grad_norm_": Function(
        ops.clip_grad_norm_,
        "grads:P",
        {"max_norm": 1.0},
        {},
        {"max_norm": [-1.0, NAN, "1"]},
        in_place=True,
        gives="-",
    ),
}
