"""Whole decodings, `length` tokens from as many, `<eos>` forbidden before the last: our network and PyTorch's
over the same weights, eager and in CUDA graphs.

Each of our types stands against PyTorch's of the same; int8, which PyTorch has not here, against float16.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from ..inference.decoding import TOLERANCE, Found
from ..inference.ours import Network
from ..networks import FIRST_TOKEN, Size
from ..torch_peer import TorchSeq2Seq
from .cells import SearchCell
from .graphs import GraphedSearch
from .place import DEVICE, Place
from .store import Row
from .timing import Contestant, Effort, against, contest

SEED = 1
OURS, EAGER, GRAPHS = "ours", "PyTorch eager", "PyTorch in CUDA graphs"
LIKE = {"float32": torch.float32, "float16": torch.float16, "int8": torch.float16}
SLACK = 3.0  # for peers
TF32 = 1e-2  # theirs in float32: the encoder's cuDNN uses it


@lru_cache(maxsize=1)
def _network(vocabulary: int, hidden: int) -> TorchSeq2Seq:
    """In float32, on the CPU."""
    torch.manual_seed(SEED)
    network = TorchSeq2Seq(Size(vocabulary, hidden).config).eval().requires_grad_(False)
    # Fresh weights give nearly equal scores, and rounding would choose. Sharper ones take the same time.
    network.decoder.output.weight *= 16
    return network


@lru_cache(maxsize=2)  # the reference in float32, the peer in its type
def _peer(vocabulary: int, hidden: int, dtype: torch.dtype, place: Place) -> TorchSeq2Seq:
    return deepcopy(_network(vocabulary, hidden)).to(place.torch_device, dtype)


@lru_cache(maxsize=1)
def _ours(vocabulary: int, hidden: int, precision: str) -> Network:
    network = _network(vocabulary, hidden)
    parameters = {name: values.detach().numpy() for name, values in network.named().items()}
    return Network(network.config, precision, parameters, DEVICE)


def _eager(network: TorchSeq2Seq, source: torch.Tensor, cell: SearchCell) -> Callable[[], Found]:
    if cell.beam == 1:
        return lambda: network.greedy(source, cell.length)
    return lambda: network.beam(source, cell.length, cell.beam)


def _error(found: Found, reference: Found, network: TorchSeq2Seq, source: torch.Tensor, length: int) -> float:
    """How far the log-probabilities are from those that the float32 network gives the same tokens, or how
    much worse the hypotheses are than its own: the larger, relative, a mean over the sources."""
    tokens, claimed = found
    assert [len(t) for t in tokens] == [length] * len(source), "lengths differ"
    actual = np.array(network.score(source, torch.tensor(tokens, device=source.device)))
    best = np.array(reference[1])
    off = float(np.mean(np.abs(np.array(claimed) - actual) / np.abs(actual)))
    worse = float(np.mean((best - actual) / np.abs(best)))
    return max(off, worse)


def run(cell: SearchCell, place: Place, effort: Effort) -> Row:
    """Raises:
    AssertionError: our result is wrong.
    """
    size = (cell.vocabulary, cell.hidden)
    rng = np.random.default_rng(4)
    tokens = rng.integers(FIRST_TOKEN, cell.vocabulary, (cell.batch, cell.length), dtype=np.int32)
    source = torch.from_numpy(tokens).long().to(place.torch_device)
    exact = _peer(*size, torch.float32, place)
    without_tf32: Any = partial(torch.backends.cudnn.flags, enabled=True, allow_tf32=False)
    with without_tf32():
        reference = _eager(exact, source, cell)()
    ours = _ours(*size, cell.precision)

    def error(call: Callable[[], Any]) -> float:
        found = call()
        with without_tf32():
            return _error(found, reference, exact, source, cell.length)

    def call() -> Found:
        return ours.search(tokens, cell.beam, cell.length)

    off, most = error(call), TOLERANCE[cell.precision]
    assert off <= most, f"off by {off:.1e}, more than {most:.0e}"
    contestants = [Contestant(OURS, call)]
    row: Row = {"error": off, "peers": {}}
    peer = _peer(*size, LIKE[cell.precision], place)
    errors = {}
    graphed: Any = GraphedSearch
    for name, make in (
        (EAGER, lambda: _eager(peer, source, cell)),
        (GRAPHS, lambda: graphed(peer, source, cell.length, cell.beam, capture=not place.emulated)),
    ):
        try:
            theirs = make()
            errors[name] = error(theirs)
            assert errors[name] <= max(SLACK * most, TF32), f"{name} is off by {errors[name]:.1e}"
            contestants.append(Contestant(name, theirs))
        except (RuntimeError, AssertionError) as reason:
            row["peers"][name] = {"absent": str(reason).splitlines()[0]}
    times = contest(contestants, place, effort)
    row |= times[OURS].row()
    for one in contestants[1:]:
        row["peers"][one.name] = (
            times[one.name].row() | against(times[OURS], times[one.name]) | {"error": errors[one.name]}
        )
    return row
