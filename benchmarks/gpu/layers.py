"""`nn.LSTM` and `nn.GRU` against PyTorch's over cuDNN: the same weights, the same input, whole Python calls.

Ours takes float32 and multiplies 16-bit weights with it; PyTorch's input and state are of the weights' type.
Training is in float32 on our side. A ragged batch is packed before the clock starts on PyTorch's side, in the
order that it likes best; ours gets the padded batch and its lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from seq2seq_fast import nn

from .cells import LayerCell
from .kernels import ROUTE_VARIABLE, Kernels, Plan
from .place import DEVICE, Place
from .store import Row
from .timing import Contestant, Effort, against, contest, variables

SEED = 1
# The largest difference from PyTorch's float32 result, as a share of its largest element.
TOLERANCE = {"float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}
TF32 = 3e-3  # as cuDNN's float32 is by default
OURS = "ours"


@dataclass(frozen=True)
class Problem:
    """x and dy [T, N, .], states [1, N, H] for one step; lengths [N], longest first, or None."""

    cell: LayerCell
    x: np.ndarray
    dy: np.ndarray
    states: np.ndarray | None  # [2, 1, N, H]
    lengths: np.ndarray | None
    weights: dict[str, np.ndarray]

    @classmethod
    def of(cls, cell: LayerCell) -> Problem:
        torch.manual_seed(SEED)
        module = _module(cell)
        rng = np.random.default_rng(SEED)
        directions = 2 if cell.bidirectional else 1
        x = rng.standard_normal((cell.time, cell.batch, cell.hidden), dtype=np.float32)
        dy = rng.standard_normal((cell.time, cell.batch, directions * cell.hidden), dtype=np.float32)
        lengths = states = None
        if cell.ragged:
            lengths = np.linspace(cell.time, max(1, cell.time // 2), cell.batch).astype(np.int32)
            dy[np.arange(cell.time)[:, None] >= lengths] = 0
        if cell.time == 1:
            shape = (2, directions * cell.layers, cell.batch, cell.hidden)
            states = np.tanh(rng.standard_normal(shape, dtype=np.float32))
        weights = {name: values.numpy() for name, values in module.state_dict().items()}
        return cls(cell, x, dy, states, lengths, weights)


def _module(cell: LayerCell) -> torch.nn.RNNBase:
    made: torch.nn.RNNBase = getattr(torch.nn, cell.kind)(
        cell.hidden, cell.hidden, num_layers=cell.layers, bidirectional=cell.bidirectional
    )
    return made


Result = Callable[[Any], np.ndarray]


def _peer(problem: Problem, place: Place, precision: str) -> tuple[Callable[[], Any], Result]:
    """A call, and how to read what it returns: y, or the gradient of x."""
    cell, dtype = problem.cell, getattr(torch, precision)
    module = _module(cell)
    module.load_state_dict({name: torch.from_numpy(values) for name, values in problem.weights.items()})
    module.to(place.torch_device, dtype)
    x, dy = place.tensor(problem.x, dtype), place.tensor(problem.dy, dtype)
    state: Any = None
    if problem.states is not None:
        state = tuple(place.tensor(s, dtype) for s in problem.states)
        state = state if cell.kind == "LSTM" else state[0]
    x.requires_grad_(cell.backward)
    given: Any = x
    if problem.lengths is not None:
        given = pack_padded_sequence(x, torch.from_numpy(problem.lengths).long(), enforce_sorted=True)
        dy = pack_padded_sequence(dy, torch.from_numpy(problem.lengths).long(), enforce_sorted=True).data

    def forward() -> Any:
        with torch.inference_mode():
            return module(given, state)[0]

    def forward_backward() -> Any:
        module.zero_grad(set_to_none=True)
        y = module(given, state)[0]
        tensor = y if problem.lengths is None else y.data
        inputs = (x, *module.parameters())
        return torch.autograd.grad(tensor, inputs, dy, retain_graph=problem.lengths is not None)[0]

    def read(result: Any) -> np.ndarray:
        if isinstance(result, torch.nn.utils.rnn.PackedSequence):
            result = torch.nn.utils.rnn.pad_packed_sequence(result, total_length=cell.time)[0]
        values: np.ndarray = result.detach().float().cpu().numpy()
        return values

    return (forward_backward if cell.backward else forward), read


def _ours(problem: Problem, place: Place) -> tuple[Callable[[], Any], Result]:
    cell = problem.cell
    make: Any = getattr(nn, cell.kind)
    layer = make(
        cell.hidden,
        cell.hidden,
        num_layers=cell.layers,
        bidirectional=cell.bidirectional,
        compute_type="float32" if cell.backward else cell.precision,
        device=DEVICE,
    )
    layer.load_state_dict(problem.weights)
    layer.train(cell.backward)
    x, dy = (place.array(place.tensor(values)) for values in (problem.x, problem.dy))
    state: Any = None
    if problem.states is not None:
        state = tuple(place.array(place.tensor(s)) for s in problem.states)
        state = state if cell.kind == "LSTM" else state[0]
    lengths = problem.lengths

    def forward() -> Any:
        return layer(x, state, lengths)[0]

    def forward_backward() -> Any:
        layer(x, state, lengths)
        return layer.backward(dy, None)[0]

    return (forward_backward if cell.backward else forward), lambda result: np.asarray(result.numpy())


def _reference(problem: Problem, place: Place) -> np.ndarray:
    """PyTorch's float32 without TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        call, read = _peer(problem, place, "float32")
        return read(call())


def _error(result: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(result.reshape(reference.shape) - reference).max() / np.abs(reference).max())


def run(
    cell: LayerCell, place: Place, effort: Effort, kernels: Kernels | None, routes: Sequence[str] = ()
) -> Row:
    """routes: what ROUTE_VARIABLE is set to, so that ours runs by each of these, too, as far as it fits.
    Without `kernels` nobody can say whether it does, so none runs.

    Raises:
        AssertionError: our result is wrong.
    """
    problem = Problem.of(cell)
    reference = _reference(problem, place)
    call, read = _ours(problem, place)
    tolerance = TOLERANCE["float32" if cell.backward else cell.precision]
    row: Row = {"error": _checked(read(call()), reference, tolerance, "ours"), "peers": {}, "routes": {}}
    contestants = [Contestant(OURS, call)]
    for asked in routes if kernels else ():
        forced = {ROUTE_VARIABLE: asked}
        with variables(forced):
            plan = _plan(cell, kernels)
            if plan is None or not plan.answers(asked):
                continue
            _checked(read(call()), reference, tolerance, f"route {asked}")
        contestants.append(Contestant(asked, call, forced))
        row["routes"][asked] = vars(plan)
    chosen = _plan(cell, kernels)
    if chosen is not None:
        row["plan"] = vars(chosen)
    peer = f"PyTorch {cell.precision}"
    try:
        peer_call, peer_read = _peer(problem, place, cell.precision)
        allowed = 3 * max(tolerance, TOLERANCE[cell.precision], TF32)
        row["peers"][peer] = {"error": _checked(peer_read(peer_call()), reference, allowed, peer)}
        contestants.append(Contestant(peer, peer_call))
    except (RuntimeError, AssertionError) as reason:
        row["peers"][peer] = {"absent": str(reason).splitlines()[0]}
    times = contest(contestants, place, effort)
    row |= times[OURS].row()
    for asked, plan_row in row["routes"].items():
        row["routes"][asked] = plan_row | times[asked].row()
    if peer in times:
        row["peers"][peer] |= times[peer].row() | against(times[OURS], times[peer])
    return row


def _checked(result: np.ndarray, reference: np.ndarray, most: float, who: str) -> float:
    off = _error(result, reference)
    assert off <= most, f"{who}: off by {off:.1e} of the largest element, more than {most:.0e}"
    return off


def _plan(cell: LayerCell, kernels: Kernels | None) -> Plan | None:
    """The model's choice for one layer and direction of equal lengths, forward; None for others."""
    if kernels is None or cell.departures > 0:
        return None
    return kernels.plan(cell.kind, cell.precision, cell.hidden, cell.batch, cell.time)
