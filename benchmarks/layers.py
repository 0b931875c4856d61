"""`seq2seq_fast.nn.LSTM` and `GRU` against `torch.nn.LSTM` and `GRU`: one layer, one direction, 50 time
steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from seq2seq_fast import nn

from . import limits
from .agreement import assert_close
from .rows import Case

TIME = 50
GATES = {"LSTM": 4, "GRU": 3}
RNG_SEED = 1


def _pair(kind: str, hidden: int) -> tuple[nn.LSTM | nn.GRU, torch.nn.RNNBase]:
    torch.manual_seed(RNG_SEED)
    peer = getattr(torch.nn, kind)(hidden, hidden)
    ours = getattr(nn, kind)(hidden, hidden)
    ours.load_state_dict({name: tensor.numpy() for name, tensor in peer.state_dict().items()})
    return ours, peer


def forward(kind: str, hidden: int, batch: int) -> Case:
    ours, peer = _pair(kind, hidden)
    ours.eval()
    peer.eval()
    x = np.random.default_rng(RNG_SEED).standard_normal((TIME, batch, hidden), dtype=np.float32)
    tx = torch.from_numpy(x)

    def run_peer() -> torch.Tensor:
        with torch.inference_mode():
            y, _ = peer(tx)
        assert isinstance(y, torch.Tensor)
        return y

    def check() -> None:
        assert_close("y", ours(x)[0], run_peer())

    return Case(
        suite="layers",
        name=f"{kind} forward, H {hidden}, batch {batch}",
        ours=lambda: ours(x),
        peer=run_peer,
        check=check,
        work=limits.layer(GATES[kind], hidden, batch, TIME, backward=False),
    )


def forward_backward(kind: str, hidden: int, batch: int) -> Case:
    """Both sides give the gradient of the input and of every parameter."""
    ours, peer = _pair(kind, hidden)
    ours.train()
    peer.train()
    rng = np.random.default_rng(RNG_SEED)
    x, dy = rng.standard_normal((2, TIME, batch, hidden), dtype=np.float32)
    tx, tdy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)

    def run_ours() -> np.ndarray:
        ours(x)
        dx: np.ndarray = ours.backward(dy, None)[0]
        return dx

    def run_peer() -> None:
        tx.grad = None
        peer.zero_grad(set_to_none=True)
        peer(tx)[0].backward(tdy)

    def check() -> None:
        dx = run_ours()
        run_peer()
        assert_close("dx", dx, tx.grad)
        gradients = ours.gradients()
        for name, parameter in peer.named_parameters():
            assert_close(name, gradients[name], parameter.grad)

    return Case(
        suite="layers",
        name=f"{kind} forward+backward, H {hidden}, batch {batch}",
        ours=run_ours,
        peer=run_peer,
        check=check,
        work=limits.layer(GATES[kind], hidden, batch, TIME, backward=True),
    )


def cases(*, backward: bool, quick: bool) -> Iterator[Case]:
    make = forward_backward if backward else forward
    for kind in GATES:
        for hidden in (128,) if quick else (128, 256, 512):
            for batch in (1, 8) if quick else (1, 8, 64):
                yield make(kind, hidden, batch)
