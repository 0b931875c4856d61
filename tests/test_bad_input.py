"""Bad input: each argument of every op, wrong in each way, is refused by a sentence that names it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from checks import assert_says
from every_op import FUNCTIONS, NAN


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
    FUNCTIONS[name].check()


# Dimensions that may not be empty, with those that hang on them.
NEEDED = {"*": "R", "R": "R", "N": "NU", "T": "T", "P": "P", "V": "V", "H": "HGJ"}


def empty_dimensions() -> Iterator[tuple[str, str]]:
    for name, function in FUNCTIONS.items():
        for letter in NEEDED:
            if letter in "".join(function.dimensions.values()):
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
