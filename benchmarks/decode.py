"""Greedy and beam-5 decoding of 20 tokens, <eos> forbidden, so that both sides do the same work."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from . import limits, networks
from .agreement import assert_close
from .networks import LARGE, LENGTH, SMALL, Size
from .rows import Case

BEAM = 5
GOALS = {(SMALL, 1): 3.0, (LARGE, 1): 1.2, (SMALL, BEAM): 4.0, (LARGE, BEAM): 1.5}  # at batch 1, two threads


def decode(size: Size, batch: int, beam: int) -> Case:
    model, network = networks.both(size)
    # Fresh weights give nearly equal scores, and rounding would choose. Sharper ones take the same time.
    model.parameters()["decoder.output.weight"][:] *= 16
    model.weights_changed()
    network.load(model.parameters())
    network.eval()
    source = networks.tokens(size, batch, seed=4)
    lengths = np.full(batch, LENGTH, dtype=np.int32)
    flat, torch_source = source.ravel(), torch.from_numpy(source).long()

    def ours() -> tuple[list[list[int]], list[float]]:
        results = model.generate(
            flat,
            lengths,
            beam_size=beam,
            length_penalty=0.0,
            min_decoding_length=LENGTH,
            max_decoding_length=LENGTH,
        )
        return [r[0].tokens for r in results], [r[0].log_prob for r in results]

    def peer() -> tuple[list[list[int]], list[float]]:
        if beam == 1:
            return network.greedy(torch_source, LENGTH)
        return network.beam(torch_source, LENGTH, beam)

    def check() -> None:
        (tokens, scores), (peer_tokens, peer_scores) = ours(), peer()
        assert_close("scores", scores, peer_scores)
        assert tokens == peer_tokens, "The two sides chose different tokens."

    return Case(
        suite="decode",
        name=f"{'greedy' if beam == 1 else f'beam {beam}'}, {size.name}, batch {batch}",
        ours=ours,
        peer=peer,
        check=check,
        work=limits.decoding(size.config, batch, beam, LENGTH, LENGTH),
        goal=GOALS[size, beam] if batch == 1 else None,
    )


def cases() -> Iterator[Case]:
    for size in (SMALL, LARGE):
        for beam in (1, BEAM):
            for batch in (1, 32):
                yield decode(size, batch, beam)
