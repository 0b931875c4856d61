"""Gradients of plain numpy code: reverse-mode differentiation in float64, and finite differences to check it.

The reference functions are written for arrays and know nothing of this file. `vjp` calls them with `Traced`
arrays, which numpy hands to the rules below (`__array_ufunc__`, `__array_function__`), so that each operation
is recorded with its derivative. An operation without a rule raises; none is skipped silently.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Array = Any  # an ndarray of float64, or a Traced one
Pullback = Callable[[np.ndarray], np.ndarray]  # the gradient of an operation's result -> that of one operand


class Traced(NDArrayOperatorsMixin):
    """A float64 array that remembers from which arrays it was computed."""

    _count = itertools.count()

    def __init__(self, value: Any, parents: Sequence[tuple[Traced, Pullback]] = ()) -> None:
        self.value = np.asarray(value, np.float64)
        self.parents = parents
        self.order = next(self._count)  # parents are always older than children

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def T(self) -> Array:
        return np.transpose(self)  # type: ignore[call-overload]

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Traced:
        def pullback(g: np.ndarray) -> np.ndarray:
            out = np.zeros_like(self.value)
            np.add.at(out, index, g)  # an index may name a row twice
            return out

        return Traced(self.value[index], [(self, pullback)])

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs or ufunc not in _UFUNCS:
            raise NotImplementedError(f"no derivative for {ufunc.__name__}.{method} with {sorted(kwargs)}")
        values = [x.value if isinstance(x, Traced) else np.asarray(x, np.float64) for x in inputs]
        y = np.asarray(ufunc(*values))

        def pullback(rule: Callable[..., np.ndarray], shape: tuple[int, ...]) -> Pullback:
            return lambda g: _unbroadcast(rule(g, y, *values), shape)

        rules = zip(inputs, _UFUNCS[ufunc], strict=True)
        return Traced(y, [(x, pullback(rule, x.shape)) for x, rule in rules if isinstance(x, Traced)])

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func not in _FUNCTIONS:
            raise NotImplementedError(f"no derivative for {func.__name__}")
        return _FUNCTIONS[func](*args, **kwargs)


def constant(x: Array) -> np.ndarray:
    """The value of `x`, through which no gradient flows."""
    return x.value if isinstance(x, Traced) else np.asarray(x)


def _unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> Any:
    """Sum over the dimensions along which an operand of `shape` was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, size in enumerate(shape) if size == 1), keepdims=True).reshape(shape)


def _matmul_left(g: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> Any:
    """[..., K] @ [K, N], [..., K] @ [K]: d/da."""
    return g @ b.T if b.ndim == 2 else np.multiply.outer(g, b)


def _matmul_right(g: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> Any:
    """[..., K] @ [K, N], [..., K] @ [K]: d/db. The leading dimensions of a are summed over."""
    return a.reshape(-1, a.shape[-1]).T @ g.reshape(-1, *b.shape[1:])


_UFUNCS: dict[
    np.ufunc, tuple[Callable[..., np.ndarray], ...]
] = {  # one rule per operand: (g, result, *operands)
    np.add: (lambda g, y, a, b: g, lambda g, y, a, b: g),
    np.subtract: (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    np.multiply: (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    np.divide: (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    np.negative: (lambda g, y, a: -g,),
    np.exp: (lambda g, y, a: g * y,),
    np.log: (lambda g, y, a: g / a,),
    np.sqrt: (lambda g, y, a: g / (2 * y),),
    np.tanh: (lambda g, y, a: g * (1 - y * y),),
    np.matmul: (_matmul_left, _matmul_right),
}


def _join(joined: Callable[..., np.ndarray], parts: Sequence[Array], axis: int) -> Traced:
    """Concatenate or stack; every part gets back its own slice."""
    values = [constant(part) for part in parts]
    positions = joined([np.full(v.shape, i) for i, v in enumerate(values)], axis=axis)

    def pullback(i: int) -> Pullback:
        return lambda g: g[positions == i].reshape(values[i].shape)

    parents = [(part, pullback(i)) for i, part in enumerate(parts) if isinstance(part, Traced)]
    return Traced(joined(values, axis=axis), parents)


def _sum(x: Traced, axis: int | None = None, keepdims: bool = False) -> Traced:
    def pullback(g: np.ndarray) -> np.ndarray:
        expanded = g if keepdims or axis is None else np.expand_dims(g, axis)
        return np.broadcast_to(expanded, x.shape)

    return Traced(x.value.sum(axis=axis, keepdims=keepdims), [(x, pullback)])


_FUNCTIONS: dict[Any, Callable[..., Traced]] = {
    np.concatenate: lambda parts, axis=0: _join(np.concatenate, parts, axis),
    np.stack: lambda parts, axis=0: _join(np.stack, parts, axis),
    np.sum: _sum,
    np.transpose: lambda x: Traced(x.value.T, [(x, lambda g: g.T)]),
}


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to the leaves of nested tuples, lists and dicts."""
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [_map(function, value) for value in tree]
    return function(tree)


def _leaves(tree: Any) -> list[Any]:
    found: list[Any] = []
    _map(found.append, tree)
    return found


def _objective(outputs: Any, cotangents: Any) -> Array:
    """The sum of every output times its cotangent: the number whose gradients a backward pass returns."""
    pairs = zip(_leaves(outputs), _leaves(cotangents), strict=True)
    total: Array = np.float64(0)
    for y, dy in pairs:
        total = total + np.sum(y * np.asarray(dy, np.float64))
    return total


def _backpropagate(result: Traced) -> dict[int, np.ndarray]:
    """The gradient of the scalar `result` with respect to every array it was computed from, by `order`."""
    reached, stack = {result.order: result}, [result]
    while stack:
        for parent, _ in stack.pop().parents:
            if parent.order not in reached:
                reached[parent.order] = parent
                stack.append(parent)
    gradients = {result.order: np.ones(())}
    for order in sorted(reached, reverse=True):
        for parent, pullback in reached[order].parents:
            gradients[parent.order] = gradients.get(parent.order, 0) + pullback(gradients[order])
    return gradients


def vjp(function: Callable[..., Any], arguments: Sequence[Any], cotangents: Any) -> Any:
    """Gradients of sum(outputs * cotangents) with respect to every array of floats in `arguments`.

    `arguments`, the outputs and `cotangents` may be nested tuples, lists and dicts. What is returned is
    nested as `arguments` is (tuples become lists), with None in the place of what is no array of floats.
    """
    traced = _map(lambda x: Traced(x) if _is_float(x) else x, arguments)
    result = _objective(function(*traced), cotangents)
    gradients = _backpropagate(result)
    return _map(
        lambda x: gradients.get(x.order, np.zeros(x.shape)) if isinstance(x, Traced) else None,
        traced,
    )


def finite_difference_vjp(
    function: Callable[..., Any], arguments: Sequence[Any], cotangents: Any, step: float = 1e-4
) -> Any:
    """What `vjp` returns, by central differences of order four: four calls for each element."""
    arguments = _map(lambda x: np.array(x, np.float64) if _is_float(x) else x, arguments)

    def slopes(x: Any) -> Any:
        if not _is_float(x):
            return None
        out = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            unit = np.zeros_like(x)
            unit[index] = 1
            out[index] = directional_derivative(objective, x, unit, step)
        return out

    def objective() -> float:
        return float(_objective(function(*arguments), cotangents))

    return _map(slopes, arguments)


def directional_derivative(
    objective: Callable[[], float], x: np.ndarray, direction: np.ndarray, step: float = 1e-4
) -> float:
    """The derivative of `objective()`, which reads `x`, as x moves along `direction` (fourth order)."""
    original = x.copy()

    def moved(d: float) -> float:
        x[...] = original + d * direction
        value = objective()
        x[...] = original
        return value

    return (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step)
