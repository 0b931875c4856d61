"""A whole training step: forward, backward, clipping, Adam. Here batch 64, 20 tokens a side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from seq2seq_fast.data import Batch
from seq2seq_fast.device import to_host
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
    """PyTorch's Adam in whichever of its three forms is fastest here for parameters of these sizes; on a GPU,
    which it would not wait for, the fused one."""
    variants = {
        "fused": partial(torch.optim.Adam, lr=LEARNING_RATE, fused=True),
        "foreach": partial(torch.optim.Adam, lr=LEARNING_RATE, foreach=True),
        "for-loop": partial(torch.optim.Adam, lr=LEARNING_RATE, foreach=False),
    }
    if parameters[0].is_cuda:
        return variants["fused"](parameters)
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
        device = next(network.parameters()).device
        self.source, self.target = (torch.from_numpy(t).long().to(device) for t in (source, target))
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


def step(
    size: Size,
    *,
    rows: int = BATCH,
    length: int = LENGTH,
    device: str = "cpu",
    torch_device: str = "cpu",
    tolerance: float = 1e-4,
) -> Case:
    """device, torch_device: ours and the peer's, whose batch lies on its device; ours comes from the host."""
    model, network = networks.both(size)
    model = model.to(device)
    network.to(torch_device)
    source = networks.tokens(size, rows, 2, length)
    target = networks.tokens(size, rows, 3, length)
    target[:, -1] = model.config.eos_id
    lengths = np.full(rows, length, dtype=np.int32)
    batch = Batch(source.ravel(), lengths, target.ravel(), lengths, np.arange(rows, dtype=np.int64))
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
        assert_close("loss", loss, peer.forward_backward(), tolerance)
        gradients = {name: to_host(values) for name, values in model.gradients().items()}
        for name, parameter in network.named().items():
            assert parameter.grad is not None
            assert_close(name, gradients[name], parameter.grad.cpu(), 10 * tolerance)
        for _ in range(3):  # the losses of later steps agree only if clipping and Adam do
            assert_close("loss after an update", ours(), peer.step(), tolerance)

    return Case(
        suite="training",
        name=f"training step, {size.name}, batch {rows}",
        ours=ours,
        peer=peer.step,
        check=check,
        work=limits.training_step(size.config, sum(p.numel() for p in network.parameters()), rows, length),
        goal=GOAL,
    )


def cases() -> Iterator[Case]:
    yield step(SMALL)
    yield step(LARGE)
