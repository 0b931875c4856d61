"""Checks of what callers pass in: TypeError for a wrong type or dtype, ValueError for a wrong value or
shape, naming the argument."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from seq2seq_fast import _native

Array = TypeVar("Array")


def _range(least: float, most: float) -> str:
    if math.isinf(most):
        return "as a number" if math.isinf(least) else f"of at least {least:g}"
    return f"from {least:g} to {most:g}"


def integer(op: str, name: str, value: Any, least: int, most: int = 2**63 - 1) -> int:
    """Return a whole number from `least` to `most`; numpy's integers are welcome, bools and floats are
    not."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"[{op}] Expected {name} as an integer, got {type(value).__name__}.")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"[{op}] Expected {name} as an integer, got {type(value).__name__}.") from None
    if not least <= number <= most:
        wanted = f"of at least {least}" if number < least else f"from {least} to {most}"
        raise ValueError(f"[{op}] Expected {name} {wanted}, got {number}.")
    return number


def number(op: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a float from `least` to `most`, not NaN."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise TypeError(f"[{op}] Expected {name} as a number, got {type(value).__name__}.")
    try:
        result = float(value)
    except OverflowError:  # an integer of hundreds of digits
        result = math.copysign(math.inf, value)
        if least <= result <= most:
            raise ValueError(f"[{op}] Expected {name} as a number, got one beyond any float.") from None
    if not least <= result <= most:
        raise ValueError(f"[{op}] Expected {name} {_range(least, most)}, got {result:g}.")
    return result


def flag(op: str, name: str, value: Any) -> bool:
    """Return a bool that is one."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"[{op}] Expected {name} as a bool, got {type(value).__name__}.")
    return bool(value)


def choice(op: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a string that is one of `choices`."""
    if not isinstance(value, str):
        raise TypeError(f"[{op}] Expected {name} as a string, got {type(value).__name__}.")
    if value not in choices:
        raise ValueError(f"[{op}] Expected {name} as one of {', '.join(choices)}, got {value!r}.")
    return value


def as_list(op: str, name: str, value: Any) -> list[Any]:
    """Return what can be iterated as a list, a list as it is; text and mappings are none."""
    if type(value) is list:
        return value
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"[{op}] Expected {name} as a list, got {type(value).__name__}.")
    return list(value)


def only_step(step: Any) -> Any:
    """Return [1, N, H], the states of a single step, as [N, H]."""
    return step.reshape(step.shape[1:])


def array(
    op: str,
    name: str,
    value: Array,
    shape: tuple[int | None, ...] | None = None,
    dtype: type[np.generic] | None = None,
) -> Array:
    """Return an array with at least one element: a numpy array, or a DeviceArray where it lies on a device.

    Args:
        value: one of these, or of another library that speaks DLPack or __cuda_array_interface__, which is
            viewed, not copied.
        shape: the shape it must have; None in it stands for any size. None: any shape.
        dtype: the dtype it must have; None: any.
    """
    found: Any = value if isinstance(value, np.ndarray) else _native.as_array(op, name, value)
    if dtype is not None and found.dtype != dtype:
        raise TypeError(f"[{op}] Expected {name} of dtype {np.dtype(dtype)}, got {found.dtype}.")
    if shape is not None and (
        len(shape) != found.ndim
        or any(want not in (None, got) for want, got in zip(shape, found.shape, strict=True))
    ):
        wanted = ", ".join("*" if size is None else str(size) for size in shape)
        raise ValueError(f"[{op}] Expected {name} of shape [{wanted}], got {list(found.shape)}.")
    if found.size == 0:
        raise ValueError(f"[{op}] Expected {name} of at least one element, got shape {list(found.shape)}.")
    return found  # type: ignore[no-any-return]
