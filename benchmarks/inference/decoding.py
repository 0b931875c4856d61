"""The decoding cells: our network and PyTorch's search over the same weights, eager and compiled."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq2seq_fast import Seq2SeqConfig

from .. import networks
from ..networks import LENGTH
from ..torch_peer import State, TorchSeq2Seq
from . import ours
from .cells import SearchCell
from .contestant import OURS, Absent, Contestant, check

SEED = 1
COMPILE_SECONDS = 120.0
# Relative difference of log-probabilities' sums, a mean over the sources.
TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int8": 8e-2}

Found = tuple[list[list[int]], list[float]]  # tokens and log-probability of each source's best hypothesis


class CompiledSeq2Seq(TorchSeq2Seq):
    """The same loop over a step that `torch.compile` has compiled, weights frozen into it."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self._compiled = torch.compile(super().advance, dynamic=False)

    def advance(self, tokens: Tensor, state: State, keys: Tensor, memory: Tensor) -> tuple[Tensor, State]:
        result: tuple[Tensor, State] = self._compiled(tokens, state, keys, memory)
        return result


class _TooLong(Exception):
    pass


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises _TooLong in this thread, the main one, when the time is over."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Problem:
    """source int32 [N, S]; `network` holds the weights in float32."""

    cell: SearchCell
    source: np.ndarray
    network: TorchSeq2Seq

    @classmethod
    def of(cls, cell: SearchCell) -> Problem:
        size = networks.Size(cell.vocabulary, cell.hidden)
        torch.manual_seed(SEED)
        network = TorchSeq2Seq(size.config).eval().requires_grad_(False)
        # Fresh weights give nearly equal scores, and rounding would choose. Sharper ones take the same time.
        network.decoder.output.weight *= 16
        return cls(cell, networks.tokens(size.vocabulary, cell.batch, seed=4), network)

    def reference(self) -> Found:
        return _search(self.network, self)()


def _search(network: TorchSeq2Seq, problem: Problem) -> Callable[[], Found]:
    source, beam = torch.from_numpy(problem.source).long(), problem.cell.beam
    if beam == 1:
        return lambda: network.greedy(source, LENGTH)
    return lambda: network.beam(source, LENGTH, beam)


def _ours(problem: Problem, compute_type: str) -> Contestant | Absent:
    name = f"{OURS} {compute_type}"
    parameters = {key: value.detach().numpy() for key, value in problem.network.named().items()}
    try:
        network = ours.Network(problem.network.config, compute_type, parameters)
    except ours.NotInThisBuild as absent:
        return Absent(name, compute_type, str(absent))

    def call() -> Found:
        return network.search(problem.source, problem.cell.beam, LENGTH)

    return Contestant(name, compute_type, call, lambda found: found)


def _compiled(problem: Problem) -> Contestant | Absent:
    name = "torch.compile"
    inductor: Any = importlib.import_module("torch._inductor.config")
    torch.compiler.reset()
    with inductor.patch(freezing=True, compile_threads=1):
        network = CompiledSeq2Seq(problem.network.config).eval().requires_grad_(False)
        network.load_state_dict(problem.network.state_dict())
        call = _search(network, problem)
        try:
            with _time_limit(COMPILE_SECONDS):
                call()
        except _TooLong:
            return Absent(name, "float32", f"{name} had not finished after {COMPILE_SECONDS:.0f} s")
        except Exception as error:  # a compiler has more ways to fail than can be named
            message = (str(error).strip() or type(error).__name__).splitlines()[0]
            return Absent(name, "float32", f"{name} failed: {message}")
    return Contestant(name, "float32", call, lambda found: found)


def contestants(
    problem: Problem, compute_types: Collection[str], peers: Collection[str]
) -> Iterator[Contestant | Absent]:
    for compute_type in compute_types:
        yield _ours(problem, compute_type)
    if "PyTorch eager" in peers:
        yield Contestant("PyTorch eager", "float32", _search(problem.network, problem), lambda found: found)
    if "torch.compile" in peers:
        yield _compiled(problem)


def error(contestant: Contestant, problem: Problem, reference: Found) -> float:
    """How far its log-probabilities are from those that the float32 network gives the same tokens;
    AssertionError where that is too far, or its hypotheses are worse than the reference by more than that.
    """
    tokens, claimed = contestant.result(contestant.call())
    assert [len(t) for t in tokens] == [LENGTH] * len(reference[0]), f"{contestant.name}: lengths differ"
    source = torch.from_numpy(problem.source).long()
    actual = np.array(problem.network.score(source, torch.tensor(tokens)))
    best = np.array(reference[1])
    off = float(np.mean(np.abs(claimed - actual) / np.abs(actual)))
    worse = float(np.mean((best - actual) / np.abs(best)))
    check(contestant, off, TOLERANCE, "log-probabilities off")
    check(contestant, worse, TOLERANCE, "hypotheses worse")
    return max(off, worse)
