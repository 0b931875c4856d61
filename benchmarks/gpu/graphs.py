"""The peer in CUDA graphs: PyTorch's network with a decoding step, its choice of tokens included, recorded
once and replayed for each token, as PyTorch's users do where the host cannot keep up. The start (encoder,
bridge, first state) is a graph of its own. All tensors are made before: a graph has its addresses in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..torch_peer import TorchSeq2Seq

Step = Callable[[], None]


def captured(function: Step, prepare: Step) -> Step:
    """`function` as a graph. It runs a few times first, each time after `prepare`, on a stream of its own:
    the libraries choose their kernels and take their memory."""
    make_stream: Any = torch.cuda.Stream
    stream = make_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            prepare()
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    replay: Step = graph.replay
    return replay


class GraphedSearch:
    """Greedy or beam search for one shape of `source` [N, S]; the rows are N * beam."""

    @torch.inference_mode()
    def __init__(
        self, network: TorchSeq2Seq, source: Tensor, length: int, beam: int, *, capture: bool
    ) -> None:
        self._network, self._source, self._beam, self._length = network, source, beam, length
        batch, rows = len(source), len(source) * beam
        memory, keys, state = network.start(source)
        self._memory, self._keys = memory.clone(), keys.clone()
        self._state = tuple(s.repeat_interleave(beam, dim=0).clone() for s in state)
        device = source.device
        self._tokens = source.new_zeros(rows)
        self._score = torch.zeros(batch, beam, device=device)
        self._position = torch.zeros(1, dtype=torch.long, device=device)
        self._history = source.new_zeros(length, 2, rows)  # parent row and token
        self._first_row = torch.arange(batch, device=device).unsqueeze(1) * beam
        self._start: Step = self._begin
        self._step: Step = self._advance
        if capture:
            self._step = captured(self._advance, self._begin)
            self._start = captured(self._begin, lambda: None)

    def _begin(self) -> None:
        memory, keys, state = self._network.start(self._source)
        self._memory.copy_(memory)
        self._keys.copy_(keys)
        for mine, new in zip(self._state, state, strict=True):
            mine.copy_(new.repeat_interleave(self._beam, dim=0))
        self._tokens.fill_(self._network.config.bos_id)
        self._position.zero_()
        self._score.fill_(-torch.inf)  # all beams start equal: only one may branch
        self._score[:, 0] = 0.0

    def _advance(self) -> None:
        h, c, attentional = self._state
        log_probs, state = self._network.advance(self._tokens, (h, c, attentional), self._keys, self._memory)
        log_probs[:, self._network.config.eos_id] = -torch.inf
        vocabulary = log_probs.shape[1]
        if self._beam == 1:
            best, tokens = log_probs.max(dim=-1)
            self._score += best.unsqueeze(1)
            self._history.index_copy_(0, self._position, torch.stack((tokens, tokens)).unsqueeze(0))
        else:
            total = (self._score.view(-1, 1) + log_probs).view(len(self._score), -1)
            score, index = total.topk(self._beam, dim=-1)
            parent = (self._first_row + index // vocabulary).flatten()
            tokens = (index % vocabulary).flatten()
            self._score.copy_(score)
            self._history.index_copy_(0, self._position, torch.stack((parent, tokens)).unsqueeze(0))
            state = tuple(s.index_select(0, parent) for s in state)
        for mine, new in zip(self._state, state, strict=True):
            mine.copy_(new)
        self._tokens.copy_(tokens)
        self._position += 1

    @torch.inference_mode()
    def __call__(self) -> tuple[list[list[int]], list[float]]:
        """Tokens and log-probability of each source's best hypothesis."""
        self._start()
        for _ in range(self._length):
            self._step()
        history, score = self._history.cpu(), self._score[:, 0].tolist()
        row = torch.arange(len(score)) * self._beam
        backwards = []
        for parent, token in reversed(list(history.unbind(0))):
            backwards.append(token[row])
            row = parent[row] if self._beam > 1 else row
        return torch.stack(backwards[::-1], dim=1).tolist(), score
