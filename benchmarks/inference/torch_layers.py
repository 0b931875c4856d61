"""PyTorch's layers: float32, bfloat16, and dynamic int8 by whichever of its engines is fastest."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from .contestant import Absent, Contestant, fastest_of

if TYPE_CHECKING:
    from .layers import Problem

Layer = Callable[..., Any]


def layer_call(layer: Layer, dtype: torch.dtype, problem: Problem) -> Callable[[], Any]:
    """(y, state), as the layer gives them."""
    x = torch.from_numpy(problem.x).to(dtype)
    state: Any = None
    if problem.h0 is not None:
        state = torch.from_numpy(problem.h0).to(dtype)
        if problem.c0 is not None:
            state = (state, torch.from_numpy(problem.c0).to(dtype))

    def call() -> Any:
        with torch.inference_mode():
            return layer(x) if state is None else layer(x, state)

    return call


def _quantized(module: torch.nn.RNNBase, engine: str) -> Layer:
    quantize: Any = torch.ao.quantization.quantize_dynamic
    backend: Any = torch.backends.quantized
    before, backend.engine = backend.engine, engine
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, but nothing else quantises layers
            layer: Layer = quantize(torch.nn.Sequential(module), {type(module)}, dtype=torch.qint8)[0]
    finally:
        backend.engine = before
    return layer


def _int8(problem: Problem) -> Contestant | Absent:
    name = "PyTorch int8"
    calls: dict[str, Callable[[], Any]] = {}
    why = ""
    backend: Any = torch.backends.quantized
    for engine in {"fbgemm", "onednn"} & set(backend.supported_engines) or {"qnnpack"}:
        try:
            call = layer_call(_quantized(problem.module, engine), torch.float32, problem)
            call()
        except (RuntimeError, AttributeError) as error:
            why = str(error).splitlines()[0]
        else:
            calls[engine] = call
    if not calls:
        return Absent(name, "int8", f"{name}: not in this PyTorch: {why}")
    return fastest_of(name, "int8", calls, lambda y: y[0])


def peers(problem: Problem, wanted: Collection[str]) -> Iterator[Contestant | Absent]:
    if "PyTorch float32" in wanted:
        call = layer_call(problem.module, torch.float32, problem)
        yield Contestant("PyTorch float32", "float32", call, lambda y: y[0])
    if "PyTorch bfloat16" in wanted:
        call = layer_call(deepcopy(problem.module).to(torch.bfloat16), torch.bfloat16, problem)
        yield Contestant("PyTorch bfloat16", "bfloat16", call, lambda y: y[0])
    if "PyTorch int8" in wanted:
        yield _int8(problem)
