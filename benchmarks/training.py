"""A whole training step: forward, backward, clipping, Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from seq2seq_fast import Seq2Seq
from seq2seq_fast.data import Batch
from seq2seq_fast.device import to_host
from seq2seq_fast.ops import clip_grad_norm_
from seq2seq_fast.optim import Adam

from . import limits, machine, networks
from .agreement import assert_close
from .rows import Case
from .shapes import RECIPES, SIZES, Shape
from .timing import medians
from .torch_peer import TorchSeq2Seq

LEARNING_RATE = 1e-4
MAX_NORM = 5.0
STEPS = 3  # timed one after the other, as they are in a training
COPIED = 0.25  # of the targets, in a network that copies


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


@contextmanager
def _inner_precision(name: str) -> Iterator[None]:
    """What float32 products and recurrences of PyTorch's CPU round their factors to."""
    mkldnn: Any = torch.backends.mkldnn
    modes = (mkldnn.matmul, mkldnn.rnn)
    before = [mode.fp32_precision for mode in modes]
    for mode in modes:
        mode.fp32_precision = name
    try:
        yield
    finally:
        for mode, old in zip(modes, before, strict=True):
            mode.fp32_precision = old


PRECISIONS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "float32": nullcontext,
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "float32 that bfloat16 multiplies": lambda: _inner_precision("bf16"),
}
"""PyTorch's ways to train with products of rounded factors; it may be fastest without."""


class _Peer:
    def __init__(self, network: TorchSeq2Seq, *inputs: np.ndarray, precision: str = "float32") -> None:
        self.network = network.train()
        self.precision = PRECISIONS[precision]
        device = next(network.parameters()).device
        self.inputs = [torch.from_numpy(tokens).long().to(device) for tokens in inputs]
        self.optimizer = _adam(list(network.parameters()))

    def forward_backward(self) -> float:
        """The summed loss; the gradients are of the mean over target tokens, as ours."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision():
            loss = self.network(*self.inputs)
            (loss / self.inputs[1].numel()).backward()
        return float(loss.detach())

    def step(self) -> float:
        loss = self.forward_backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self.optimizer.step()
        return loss


def _pairs(shape: Shape) -> tuple[np.ndarray, ...]:
    """int32 source [N, S] and target [N, T], each ending with <eos>; of a network that copies also copy ids
    [N, S]: every second token of the source is none of the target vocabulary."""
    config = shape.config
    tokens = networks.tokens if shape.uniform else networks.words
    source = tokens(config.source_vocab_size, shape.rows, 2, shape.source_length)
    target = tokens(config.target_vocab_size, shape.rows, 3, shape.target_length)
    copies = networks.tokens(config.target_vocab_size, shape.rows, 4, shape.source_length)
    copies[:, ::2] = config.target_vocab_size + np.arange(copies[:, ::2].shape[1])
    if config.copy_attention:
        rng = np.random.default_rng(5)
        places = rng.integers(0, shape.source_length, target.shape)
        copied = np.take_along_axis(copies, places, axis=1)
        target = np.where(rng.random(target.shape) < COPIED, copied, target)
    target[:, -1] = config.eos_id
    return (source, target, copies) if config.copy_attention else (source, target)


def _batch(source: np.ndarray, target: np.ndarray, copies: np.ndarray | None = None) -> Batch:
    lengths = [np.full(len(side), side.shape[1], np.int32) for side in (source, target)]
    return Batch(
        source.ravel(),
        lengths[0],
        target.ravel(),
        lengths[1],
        np.arange(len(source), dtype=np.int64),
        None if copies is None else copies.ravel(),
    )


def _repeated(shape: Shape, source: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Tokens of a side that its batch has before, where their embeddings are the same in all places."""
    if shape.embedding_dropout:
        return 0, 0
    return source.size - np.unique(source).size, target.size - np.unique(target).size


def _fastest_peer(network: TorchSeq2Seq, pairs: tuple[np.ndarray, ...]) -> _Peer:
    peers = {precision: _Peer(network, *pairs, precision=precision) for precision in PRECISIONS}
    times = medians({precision: peer.forward_backward for precision, peer in peers.items()})
    return peers[next(iter(times))]


def step(
    shape: Shape,
    *,
    compute_type: str = "float32",
    device: str = "cpu",
    torch_device: str = "cpu",
    tolerance: float = 1e-4,
) -> Case:
    """compute_type: what our products round their factors to; PyTorch, too, may then round them.

    device, torch_device: ours and the peer's, whose batch lies on its device; ours comes from the host.
    """
    model, network = networks.both(shape.config)
    model = model.to(device)
    network.to(torch_device)
    pairs = _pairs(shape)
    batch = _batch(*pairs)
    rounded = compute_type != "float32"
    peer = _fastest_peer(network, pairs) if rounded else _Peer(network, *pairs)

    def updating(model: Seq2Seq) -> Callable[[], float]:
        optimizer = Adam(lr=LEARNING_RATE)

        def update() -> float:
            loss = model.forward_backward(batch, compute_type=compute_type).loss
            clip_grad_norm_(model.flat_gradients, MAX_NORM)
            optimizer.step(model.flat_parameters, model.flat_gradients)
            model.weights_changed()
            return loss

        return update

    ours = timed = updating(model)
    if shape.embedding_dropout:
        dropping = replace(shape.config, embedding_dropout=shape.embedding_dropout)
        timed = updating(Seq2Seq(dropping, seed=networks.RNG_SEED).to(device))

    def check() -> None:
        loss = model.forward_backward(batch, compute_type=compute_type).loss
        assert_close("loss", loss, peer.forward_backward(), tolerance)
        gradients = {name: to_host(values) for name, values in model.gradients().items()}
        theirs = {}
        for name, parameter in network.named().items():
            assert parameter.grad is not None
            theirs[name] = parameter.grad.cpu().reshape(gradients[name].shape).numpy()
        if rounded:  # sums that nearly cancel may differ as a whole
            ours_all, theirs_all = (
                np.concatenate([g[name].ravel() for name in theirs]) for g in (gradients, theirs)
            )
            assert_close("gradients", ours_all, theirs_all, 10 * tolerance)
        else:
            for name, expected in theirs.items():
                assert_close(name, gradients[name], expected, 10 * tolerance)
        for _ in range(3):  # the losses of later steps agree only if clipping and Adam do
            assert_close("loss after an update", ours(), peer.step(), tolerance)

    return Case(
        suite="training",
        name=f"training step{', ' + compute_type if rounded else ''}, {shape.name}, batch {shape.rows}",
        ours=timed,
        peer=peer.step,
        check=check,
        work=replace(
            limits.training_step(
                shape.config,
                sum(p.numel() for p in network.parameters()),
                shape.rows,
                shape.source_length,
                shape.target_length,
                _repeated(shape, *pairs[:2]),
            ),
            compute_type=compute_type,
        ),
        goal=shape.goal,
        together=STEPS,
    )


def cases(quick: bool) -> Iterator[Case]:
    """Every shape in float32, and in bfloat16 where the processor multiplies that faster."""
    shapes = (*SIZES[:2], RECIPES[-1]) if quick else (*SIZES, *RECIPES)
    for compute_type in machine.training_types():
        for shape in shapes:
            tolerance = 1e-4 if compute_type == "float32" else 5e-3
            yield step(shape, compute_type=compute_type, tolerance=tolerance)
