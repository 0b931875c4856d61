"""What every numeric test uses: inputs that leave no bug a place to hide, and one way to compare."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Largest allowed max|actual - expected| / max|expected| of a tensor, by the dtype the library computes in.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

# Around the width of a vector register (4, 8 or 16 floats) and its multiples.
SIZES = (1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)

# Rows beyond any one group of threads of a GPU.
WIDE = (1024, 1025, 5000, 9001)


def values(rng: np.random.Generator, *shape: int, scale: float = 1.0, outliers: bool = True) -> np.ndarray:
    """float32 normal numbers, one in fifty of them twenty times as large."""
    x = rng.standard_normal(shape) * scale
    if outliers:
        x = np.where(rng.random(shape) < 0.02, 20 * x, x)
    return x.astype(np.float32)


def relative_error(actual: Any, expected: Any) -> float:
    """max|a - b| / max|b|; the largest difference itself where b is all zeros."""
    a, b = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert a.shape == b.shape, f"shape {a.shape} instead of {b.shape}"
    if a.size == 0:
        return 0.0
    largest = float(np.max(np.abs(b)))
    error = float(np.max(np.abs(a - b)))
    assert np.isfinite(error), "not finite"
    return error / largest if largest > 0 else error


def assert_close(
    actual: Any, expected: Any, what: str = "result", dtype: str = "float32", factor: float = 1.0
) -> None:
    """Each array of `actual` agrees with that of `expected`; both may be nested tuples, lists and dicts.

    None in `expected` (what has no gradient) is not compared.
    """
    if isinstance(expected, Mapping):
        assert set(actual) == set(expected), f"{what}: names {sorted(set(actual) ^ set(expected))}"
        for name in expected:
            assert_close(actual[name], expected[name], f"{what}.{name}", dtype, factor)
    elif isinstance(expected, (tuple, list)):
        assert len(actual) == len(expected), f"{what}: {len(actual)} parts instead of {len(expected)}"
        for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
            assert_close(a, b, f"{what}[{i}]", dtype, factor)
    elif expected is not None:
        error = relative_error(actual, expected)
        limit = TOLERANCE[dtype] * factor
        assert error <= limit, f"{what}: relative error {error:.3g}, allowed {limit:.3g}"


def bits(tree: Any) -> Any:
    """The bytes of every array of nested tuples, lists and dicts, for comparison to the last bit."""
    if isinstance(tree, Mapping):
        return {name: bits(x) for name, x in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [bits(x) for x in tree]
    return (tree.shape, str(tree.dtype), tree.tobytes()) if isinstance(tree, np.ndarray) else tree


def ragged(rng: np.random.Generator, count: int, longest: int) -> np.ndarray:
    """int32 lengths [count] in no order, from 1 to `longest`, both present where there is room for them."""
    lengths = rng.integers(1, longest + 1, count)
    lengths[0] = longest
    if count > 1:
        lengths[1] = 1
    return rng.permutation(lengths).astype(np.int32)


def rnn_weights(
    rng: np.random.Generator, gates: int, sizes: Sequence[int], hidden: int, directions: int = 1
) -> list[tuple[np.ndarray, ...]]:
    """(w_ih, w_hh, b_ih, b_hh) of each layer and direction; sizes[l] is the width of layer l's input."""
    k = 1 / np.sqrt(hidden)
    shapes = [
        [(gates * hidden, size), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)]
        for size in sizes
    ]
    return [
        tuple(rng.uniform(-k, k, shape).astype(np.float32) for shape in layer)
        for layer in shapes
        for _ in range(directions)
    ]


def double(tree: Any) -> Any:
    """The same arrays in float64, for the reference; integers and other things as they are."""
    if isinstance(tree, Mapping):
        return {name: double(x) for name, x in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [double(x) for x in tree]
    if isinstance(tree, np.ndarray) and tree.dtype.kind == "f":
        return tree.astype(np.float64)
    return tree


def assert_sums_close(actual: Any, expected: Any, magnitudes: Any, what: str = "result") -> None:
    """Each element agrees relative to the sum of its terms' magnitudes; an outlier excuses nothing."""
    error = np.abs(np.asarray(actual, np.float64) - expected)
    limit = TOLERANCE["float32"] * np.asarray(magnitudes)
    assert np.shape(actual) == np.shape(expected)
    assert np.all(error <= limit), f"{what}: error {np.max(error - limit):.3g} beyond what the terms allow"


def assert_says(error: BaseException, *names: str) -> None:
    """The message begins with the function in brackets and names one of these arguments."""
    message = str(error)
    assert re.match(r"\[[\w.]+\] ", message), f"does not say which function: {message}"
    said = set(re.findall(r"\w+", message))
    assert set(names) & said, f"{names} not named: {message}"
