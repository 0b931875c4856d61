"""Bad input: each argument of every op, wrong in each way, is refused by a sentence that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from seq2seq_fast import ops

SIZES = {"R": 3, "K": 5, "N": 4, "V": 6, "E": 3, "A": 5, "M": 4, "U": 7, "T": 3, "C": 5, "H": 4, "P": 32}
SIZES |= {
    "G": 16,
    "J": 12,
    "D": 1,
    "4": 4,
    "2": 2,
}  # gates of an LSTM, of a GRU, layers, and numbers as they are
NAN = float("nan")


@dataclass(frozen=True)
class Function:
    """A public function and how its arguments hang together."""

    call: Callable[..., Any]
    shapes: str  # each array and its dimensions, a letter each; `*` is any leading ones
    given: dict[str, Any] = field(default_factory=dict)  # what is not a random array of floats
    limits: dict[str, int] = field(default_factory=dict)  # of ids: the first number that is too large
    bad: dict[str, list[Any]] = field(default_factory=dict)  # wrong scalars and choices
    in_place: bool = False

    @property
    def dimensions(self) -> dict[str, str]:
        return dict(part.split(":") for part in self.shapes.split())

    def arguments(self) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        floats = {
            name: rng.standard_normal([SIZES[d] for d in letters.replace("*", "R")]).astype(np.float32)
            for name, letters in self.dimensions.items()
        }
        return floats | {
            name: value.copy() if hasattr(value, "copy") else value for name, value in self.given.items()
        }


LENGTHS, EXAMPLE = np.array([2, 1, 3, 1], np.int32), np.array([3, 0, 2], np.int32)
LSTM, GRU = "w_ih:GC w_hh:GH b_ih:G b_hh:G", "w_ih:JC w_hh:JH b_ih:J b_hh:J"
IDS = np.array([0, 5, 2], np.int32)
RATE = [-0.1, NAN, float("inf"), "fast", None]
BELOW_ONE = [*RATE, (1.0, ValueError)]
WORD = ["plus", 3, None]
FUNCTIONS = {
    "linear": Function(ops.linear, "x:*K weight:NK bias:N"),
    "linear_backward": Function(ops.linear_backward, "dy:*N x:*K weight:NK"),
    "embedding": Function(ops.embedding, "ids:* weight:VE", {"ids": IDS}, {"ids": 6}),
    "embedding_backward": Function(
        ops.embedding_backward,
        "ids:* dy:*E",
        {"ids": IDS, "num_embeddings": 6},
        {"ids": 6},
        {"num_embeddings": [0, -1, 2.5, "6"]},
    ),
    "softmax": Function(ops.softmax, "x:*K"),
    "log_softmax": Function(ops.log_softmax, "x:*K"),
    "softmax_backward": Function(ops.softmax_backward, "dy:*K y:*K"),
    "log_softmax_backward": Function(ops.log_softmax_backward, "dy:*K y:*K"),
    "cross_entropy": Function(
        ops.cross_entropy,
        "logits:RV targets:R",
        {"targets": IDS},
        {"targets": 6},
        {
            "label_smoothing": [-0.1, 1.1, NAN, "x"],
            "ignore_index": [1.5, "x", 1 << 40],
        },
    ),
    "attention": Function(
        ops.attention,
        "query:RA keys:UA values:UM lengths:N example:R energy:A",
        {"lengths": LENGTHS, "example": EXAMPLE, "score": "mlp"},
        {"example": 4},
        {"score": WORD},
    ),
    "attention_backward": Function(
        ops.attention_backward,
        "dcontext:RM query:RA keys:UA values:UM lengths:N example:R energy:A",
        {"lengths": LENGTHS, "example": EXAMPLE, "score": "mlp"},
        {"example": 4},
        {"score": WORD},
    ),
    "lstm_cell": Function(ops.lstm_cell, f"x:RC h:RH c:RH {LSTM}"),
    "lstm_cell_backward": Function(ops.lstm_cell_backward, f"dh:RH dc:RH x:RC h:RH c:RH {LSTM}"),
    "gru_cell": Function(ops.gru_cell, f"x:RC h:RH {GRU}"),
    "gru_cell_backward": Function(ops.gru_cell_backward, f"dh:RH x:RC h:RH {GRU}"),
    "lstm": Function(
        lambda x, w_ih, w_hh, b_ih, b_hh, **kw: ops.lstm(x, [(w_ih, w_hh, b_ih, b_hh)], **kw),
        f"x:TNC {LSTM} h0:DNH c0:DNH lengths:N",
        {"lengths": LENGTHS},
        {"lengths": 4},
    ),
    "gru": Function(
        lambda x, w_ih, w_hh, b_ih, b_hh, **kw: ops.gru(x, [(w_ih, w_hh, b_ih, b_hh)], **kw),
        f"x:TNC {GRU} h0:DNH lengths:N",
        {"lengths": LENGTHS},
        {"lengths": 4},
    ),
    "dropout": Function(
        ops.dropout,
        "x:*K example:R time:R",
        {"p": 0.5, "seed": 1, "example": IDS.astype(np.int64), "time": IDS},
        {},
        {
            "p": BELOW_ONE,
            "seed": [-1, 1 << 64, 0.5, "s"],
            "update": [-1, 1 << 32, 0.5],
            "op": [-1, 256, 0.5],
        },
    ),
    "philox": Function(
        ops.philox, "counter:R4 key:2", {"counter": np.ones((3, 4), np.uint32), "key": np.ones(2, np.uint32)}
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
    ),
    "project_topk": Function(
        ops.project_topk,
        "x:RK weight:VK bias:V",
        {"k": 2},
        {},
        {"k": [0, -1, 7, 1.5, "2"], "x": [np.full((3, 5), NAN, np.float32)]},
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
    "squared_norm": Function(ops.squared_norm, "x:P"),
    "scale_": Function(ops.scale_, "x:P", {"factor": 2.0}, {}, {"factor": ["2"]}, in_place=True),
    "clip_grad_norm_": Function(
        ops.clip_grad_norm_,
        "grads:P",
        {"max_norm": 1.0},
        {},
        {"max_norm": [-1.0, NAN, "1"]},
        in_place=True,
    ),
}


@dataclass(frozen=True)
class Wrong:
    """One argument, spoilt in one way, and what must be said."""

    function: str
    argument: str
    how: str
    value: Any
    error: type[Exception] | tuple[type[Exception], ...]
    names: tuple[str, ...]  # one of these arguments must be named


def wrong_arrays(name: str, argument: str) -> Iterator[Wrong]:
    function = FUNCTIONS[name]
    valid, letters = function.arguments()[argument], function.dimensions[argument]

    def wrong(how: str, value: Any, error: type[Exception], names: tuple[str, ...] = ()) -> Wrong:
        return Wrong(name, argument, how, value, error, names or (argument,))

    if valid.dtype.kind == "f":
        others: list[Any] = [np.float64, np.int32, np.complex64]
    else:
        others = [np.float32, np.float64, np.complex64]
    for dtype in others:
        yield wrong(np.dtype(dtype).name, valid.astype(dtype), TypeError)
    yield wrong("text", "text", TypeError)
    yield wrong("objects", valid.astype(object), TypeError)
    related = tuple(a for a, other in function.dimensions.items() if set(letters) & set(other))
    if "*" not in letters and argument != "mask":
        yield wrong("one dimension more", valid[None], ValueError, related)
    if letters != "*":
        yield wrong("no dimension", np.asarray(valid.reshape(-1)[0]), ValueError, related)

    # A dimension that another argument shares, one longer than there.
    for axis, letter in enumerate(letters):
        tied = letter + "GJ" if letter == "H" else letter  # G and J are multiples of H
        partners = [a for a, other in function.dimensions.items() if set(tied) & set(other)]
        if len(partners) > 1 or letters.count(letter) > 1 or letter in "42":
            longer = np.concatenate([valid, valid.take([0], axis)], axis)
            yield wrong(f"{letter} too long", longer, ValueError, tuple(partners) or (argument,))


def wrong_integers(name: str, argument: str) -> Iterator[Wrong]:
    function = FUNCTIONS[name]
    valid, limit = function.arguments()[argument], function.limits.get(argument)
    bad = [] if limit is None else [-1, limit]
    if argument == "lengths":
        bad = [*bad, 0]
        yield Wrong(name, argument, "NaN", np.where(valid == 1, NAN, valid), TypeError, (argument,))
    if argument == "ids":  # int64 that would wrap to something valid
        bad = [*bad, 1 << 32]
    for number in bad:
        spoilt = valid.astype(np.int64)
        spoilt[1] = number
        yield Wrong(name, argument, str(number), spoilt, ValueError, (argument,))


def every_wrong() -> Iterator[Wrong]:
    for name, function in FUNCTIONS.items():
        for argument in function.dimensions:
            yield from wrong_arrays(name, argument)
            if argument in function.given and function.given[argument].dtype.kind == "i":
                yield from wrong_integers(name, argument)
        for argument, values in function.bad.items():
            for value in values:
                yield Wrong(name, argument, repr(value), value, (ValueError, TypeError), (argument,))


@pytest.mark.parametrize("wrong", list(every_wrong()), ids=lambda w: f"{w.function}-{w.argument}-{w.how}")
def test_ops(wrong: Wrong) -> None:
    function = FUNCTIONS[wrong.function]
    arguments = function.arguments()
    with pytest.raises(wrong.error) as caught:
        function.call(**arguments | {wrong.argument: wrong.value})
    assert_says(caught.value, *wrong.names)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_good_input_is_good(name: str) -> None:
    """What the other tests spoil works as it is."""
    function = FUNCTIONS[name]
    function.call(**function.arguments())


# Dimensions that may not be empty, with those that hang on them.
NEEDED = {"*": "R", "R": "R", "N": "NU", "T": "T", "P": "P", "V": "V", "H": "HGJ"}


def empty_dimensions() -> Iterator[tuple[str, str]]:
    for name, function in FUNCTIONS.items():
        for letter in NEEDED:
            if letter in "".join(function.dimensions.values()) and (name, letter) not in {
                ("linear", "N"),
                ("linear_backward", "N"),
            }:
                yield name, letter


@pytest.mark.parametrize(("name", "letter"), list(empty_dimensions()))
def test_nothing_at_all(name: str, letter: str) -> None:
    """Every array without elements along one dimension, together: an empty batch."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    for argument, letters in function.dimensions.items():
        for axis, other in enumerate(letters.replace("*", "R")):
            if other in NEEDED[letter]:
                arguments[argument] = arguments[argument].take([], axis)
    if "mask" in arguments:
        arguments["mask"] = None
    with pytest.raises((ValueError, TypeError)) as caught:
        function.call(**arguments)
    assert_says(caught.value, *arguments, "hidden_size")


IN_PLACE = [
    (name, a)
    for name, f in FUNCTIONS.items()
    if f.in_place
    for a in f.dimensions
    if a not in ("mask", "grad") and (name, a) != ("average_", "param")
]


@pytest.mark.parametrize(("name", "argument"), IN_PLACE)
def test_in_place_needs_the_array_itself(name: str, argument: str) -> None:
    """A copy made on the way in would be changed and lost: what cannot be written to is refused."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    arguments[argument].flags.writeable = False
    with pytest.raises(ValueError) as caught:
        function.call(**arguments)
    assert_says(caught.value, argument)
    arguments = function.arguments()
    arguments[argument] = np.repeat(arguments[argument], 2)[::2]
    with pytest.raises(ValueError) as caught:
        function.call(**arguments)
    assert_says(caught.value, argument)
