"""ONNX Runtime's layers: float32 and dynamic int8, by plain calls or bound buffers, whichever is faster."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .contestant import Absent, Contestant, fastest_of

try:
    import onnx
    import onnxruntime
except ModuleNotFoundError:
    onnx = None

if TYPE_CHECKING:
    from .layers import Problem

MISSING = "ONNX Runtime is not installed: pip install '.[bench]'"
NO_INT8_GRU = "ONNX Runtime has no int8 GRU"
OPSET, IR_VERSION = 17, 8  # that every ONNX Runtime since 1.12 reads
# PyTorch's order of the gates (LSTM: i f g o, GRU: r z n) in ONNX' order (i o f c, z r h).
GATE_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


def _reordered(kind: str, weight: np.ndarray) -> np.ndarray:
    """[G H, ...] in PyTorch's order -> [1, G H, ...] in ONNX' order."""
    order = GATE_ORDER[kind]
    parts = np.split(weight, len(order))
    return np.concatenate([parts[gate] for gate in order])[None]


def model(problem: Problem) -> Any:
    """One LSTM or GRU node as an ONNX model: x (and h0, c0) -> y [T, 1, N, H], h (and c) [1, N, H]."""
    cell, weights = problem.cell, problem.weights
    w, r, b_ih, b_hh = (
        _reordered(cell.kind, weights[name])
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    stored = {"W": w, "R": r, "B": np.concatenate((b_ih, b_hh), axis=1)}
    states = ["h", "c"] if cell.kind == "LSTM" else ["h"]
    given = [f"{state}0" for state in states] if cell.time == 1 else []
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    attributes: dict[str, int] = {"hidden_size": cell.hidden}
    if cell.kind == "GRU":
        attributes["linear_before_reset"] = 1
    node = helper.make_node(
        cell.kind,
        ["x", "W", "R", "B", *(["", *given] if given else [])],
        ["y", *states],
        "layer",
        **attributes,
    )
    state_shape = [1, cell.batch, cell.hidden]

    def values(names: list[str], first: str, shape: list[int]) -> list[Any]:
        return [
            helper.make_tensor_value_info(first, floats, shape),
            *(helper.make_tensor_value_info(name, floats, state_shape) for name in names),
        ]

    graph = helper.make_graph(
        [node],
        cell.kind,
        values(given, "x", [cell.time, cell.batch, cell.hidden]),
        values(states, "y", [cell.time, 1, cell.batch, cell.hidden]),
        [onnx.numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR_VERSION
    onnx.checker.check_model(made)
    return made


def quantized(made: Any) -> Any:
    """The same with dynamic int8, by ONNX Runtime's own tool."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it recommends its pre-processing, which has nothing to do on one node
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            onnx.save(made, source)
            quantize_dynamic(source, target, weight_type=QuantType.QInt8)
            return onnx.load(target)
    finally:
        logging.disable(logging.NOTSET)


def _session(made: Any, threads: int, spinning: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return onnxruntime.InferenceSession(made.SerializeToString(), options, ["CPUExecutionProvider"])


def _inputs(problem: Problem) -> dict[str, np.ndarray]:
    given = {"x": problem.x, "h0": problem.h0, "c0": problem.c0}
    return {name: value for name, value in given.items() if value is not None}


def _plain(session: Any, inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    return lambda: session.run(None, inputs)


def _bound(session: Any, inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Inputs and outputs bound once: a user then writes into the same buffers before each call."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_cpu_input(name, value)
    outputs = []
    for output in session.get_outputs():
        outputs.append(np.empty(output.shape, np.float32))
        binding.bind_output(
            output.name, "cpu", 0, np.float32, output.shape, outputs[-1].__array_interface__["data"][0]
        )

    def call() -> list[np.ndarray]:
        session.run_with_iobinding(binding)
        return outputs

    return call


def _contestant(name: str, precision: str, made: Any, problem: Problem, threads: int) -> Contestant:
    inputs = _inputs(problem)
    calls = {}
    for spinning in (True, False) if threads > 1 else (True,):
        session = _session(made, threads, spinning)
        note = "" if threads == 1 or spinning else ", no spinning"
        calls[f"plain{note}"] = _plain(session, inputs)
        calls[f"bound{note}"] = _bound(session, inputs)
    return fastest_of(name, precision, calls, lambda outputs: outputs[0][:, 0])


def peers(problem: Problem, threads: int, wanted: Collection[str]) -> Iterator[Contestant | Absent]:
    for precision in ("float32", "int8"):
        name = f"ONNX Runtime {precision}"
        if name not in wanted:
            continue
        if onnx is None:
            yield Absent(name, precision, MISSING)
        elif precision == "int8" and problem.cell.kind == "GRU":
            yield Absent(name, precision, NO_INT8_GRU)
        else:
            made = model(problem)
            if precision == "int8":
                made = quantized(made)
            yield _contestant(name, precision, made, problem, threads)
