"""A whole training step (forward, backward, clipping, Adam) of batch 64, 20 tokens a side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from seq2seq_fast.data import Batch
from seq2seq_fast.ops import clip_grad_norm_
from seq2seq_fast.optim import Adam

from . import limits, networks
from .agreement import assert_close
from .networks import LARGE, LENGTH, SMALL, Size
from .rows import Case
from .timing import medians
from .torch_peer import TorchSeq2Seq

BATCH = 64
LEARNING_RATE = 1e-4
MAX_NORM = 5.0
GOAL = 1.3  # both sizes, two threads


def _adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Adam:
    """PyTorch's Adam in whichever of its three forms is fastest here for parameters of these sizes."""

    variants = {
        "fused": partial(torch.optim.Adam, lr=LEARNING_RATE, fused=True),
        "foreach": partial(torch.optim.Adam, lr=LEARNING_RATE, foreach=True),
        "for-loop": partial(torch.optim.Adam, lr=LEARNING_RATE, foreach=False),
    }
    trials = {}
    for name, variant in variants.items():
        copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
        for copy in copies:
            copy.grad = torch.ones_like(copy)
        trials[name] = partial(_step, variant(copies))
    return variants[next(iter(medians(trials)))](parameters)


def _step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


class _Peer:
    def __init__(self, network: TorchSeq2Seq, source: np.ndarray, target: np.ndarray) -> None:
        self.network = network.train()
        self.source, self.target = torch.from_numpy(source).long(), torch.from_numpy(target).long()
        self.optimizer = _adam(list(network.parameters()))

    def forward_backward(self) -> float:
        """The summed loss; the gradients are of the mean over target tokens, as ours."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.network(self.source, self.target)
        (loss / self.target.numel()).backward()
        return float(loss.detach())

    def step(self) -> float:
        loss = self.forward_backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self.optimizer.step()
        return loss


def step(size: Size) -> Case:
    model, network = networks.both(size)
    source = networks.tokens(size, BATCH, seed=2)
    target = networks.tokens(size, BATCH, seed=3)
    target[:, -1] = model.config.eos_id
    lengths = np.full(BATCH, LENGTH, dtype=np.int32)
    batch = Batch(source.ravel(), lengths, target.ravel(), lengths, np.arange(BATCH, dtype=np.int64))
    peer = _Peer(network, source, target)
    optimizer = Adam(lr=LEARNING_RATE)

    def ours() -> float:
        loss = model.forward_backward(batch).loss
        clip_grad_norm_(model.flat_gradients, MAX_NORM)
        optimizer.step(model.flat_parameters, model.flat_gradients)
        model.weights_changed()
        return loss

    def check() -> None:
        loss = model.forward_backward(batch).loss
        assert_close("loss", loss, peer.forward_backward())
        gradients = model.gradients()
        for name, parameter in network.named().items():
            assert_close(name, gradients[name], parameter.grad, tolerance=1e-3)
        for _ in range(3):  # the losses of later steps agree only if clipping and Adam do
            assert_close("loss after an update", ours(), peer.step())

    return Case(
        suite="training",
        name=f"training step, {size.name}, batch {BATCH}",
        ours=ours,
        peer=peer.step,
        check=check,
        work=limits.training_step(size.config, sum(p.numel() for p in network.parameters()), BATCH, LENGTH),
        goal=GOAL,
    )


def cases() -> Iterator[Case]:
    yield step(SMALL)
    yield step(LARGE)
