"""The peer: the same network in PyTorch, written as PyTorch's users write it, with its best settings.

`nn.LSTM` encodes; the decoder is a Python loop over `nn.LSTMCell` with Luong's "general" attention and
input feeding (Luong et al. 2015). Everything that needs no recurrence is taken out of the loop: all
embeddings are looked up at once, the memory is projected to keys once, and training multiplies by the
output matrix once for all steps. Sequences are of equal length, so that PyTorch pays for no padding, no
mask and no packing.

Parameters come by the names of `seq2seq_fast.Seq2Seq.parameters()`: the module tree gives the same ones,
but for the decoder's cell, whose names in PyTorch lack the layer ("_l0").
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq_fast import Seq2SeqConfig

State = tuple[Tensor, Tensor, Tensor]  # h [N, H], c [N, H], attentional a [N, H]


class Encoder(nn.Module):
    """Tokens [N, S] -> memory [N, S, M] and the last states of all directions, each [N, M]."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.source_vocab_size, config.source_embedding_dim)
        self.rnn = nn.LSTM(
            config.source_embedding_dim,
            config.encoder_hidden,
            batch_first=True,
            bidirectional=config.bidirectional,
        )

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        memory, (h, c) = self.rnn(self.embedding(source))
        return memory, torch.cat(tuple(h), dim=-1), torch.cat(tuple(c), dim=-1)


class Attention(nn.Module):
    """Luong's "general" score, h . (W m), over keys that are computed once a sequence."""

    def __init__(self, hidden: int, memory_width: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_width, hidden, bias=False)

    def forward(self, h: Tensor, keys: Tensor, memory: Tensor) -> Tensor:
        """h [N, K, H], keys [N, S, H], memory [N, S, M] -> context [N, K, M]."""
        weights = torch.softmax(torch.bmm(h, keys.transpose(1, 2)), dim=-1)
        return torch.bmm(weights, memory)


class Decoder(nn.Module):
    def __init__(self, config: Seq2SeqConfig, memory_width: int) -> None:
        super().__init__()
        hidden = config.decoder_hidden
        self.embedding = nn.Embedding(config.target_vocab_size, config.target_embedding_dim)
        self.rnn = nn.LSTMCell(config.target_embedding_dim + hidden, hidden)
        self.combine = nn.Linear(hidden + memory_width, hidden)
        self.output = nn.Linear(hidden, config.target_vocab_size)


class TorchSeq2Seq(nn.Module):
    """One-layer LSTM encoder and decoder, general attention, input feeding, dense bridge."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        memory_width = config.encoder_hidden * (2 if config.bidirectional else 1)
        self.encoder = Encoder(config)
        self.bridge = nn.ModuleDict(
            {name: nn.Linear(memory_width, config.decoder_hidden) for name in ("h_l0", "c_l0")}
        )
        self.attention = Attention(config.decoder_hidden, memory_width)
        self.decoder = Decoder(config, memory_width)

    def named(self) -> dict[str, nn.Parameter]:
        """The parameters by the names of `Seq2Seq.parameters()`."""
        cell = "decoder.rnn."
        return {
            name + "_l0" if name.startswith(cell) else name: parameter
            for name, parameter in self.named_parameters()
        }

    @torch.no_grad()
    def load(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Copies the parameters; ValueError if their names are not exactly this network's."""
        mine = self.named()
        if mine.keys() != parameters.keys():
            raise ValueError(f"The names differ: {sorted(mine.keys() ^ parameters.keys())}.")
        for name, parameter in mine.items():
            parameter.copy_(torch.from_numpy(np.array(parameters[name])))

    def start(self, source: Tensor) -> tuple[Tensor, Tensor, State]:
        """Tokens [N, S] -> memory [N, S, M], keys [N, S, H] and the decoder's first state."""
        memory, h, c = self.encoder(source)
        h = torch.tanh(self.bridge["h_l0"](h))
        c = torch.tanh(self.bridge["c_l0"](c))
        return memory, self.attention.key(memory), (h, c, torch.zeros_like(h))

    def step(self, embedded: Tensor, state: State, keys: Tensor, memory: Tensor) -> State:
        """embedded [R, E], one row per hypothesis; keys and memory one per source, R = N or N * K."""
        h, c, attentional = state
        h, c = self.decoder.rnn(torch.cat((embedded, attentional), dim=1), (h, c))
        context = self.attention(h.view(len(memory), -1, h.shape[1]), keys, memory).view(len(h), -1)
        attentional = torch.tanh(self.decoder.combine(torch.cat((h, context), dim=1)))
        return h, c, attentional

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Tokens [N, S] and [N, T], each target ending with <eos> -> the summed cross-entropy."""
        memory, keys, state = self.start(source)
        first = target.new_full((len(target), 1), self.config.bos_id)
        embedded = self.decoder.embedding(torch.cat((first, target[:, :-1]), dim=1))
        outputs = []
        for x in embedded.unbind(1):
            state = self.step(x, state, keys, memory)
            outputs.append(state[2])
        logits = self.decoder.output(torch.stack(outputs, dim=1))
        return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")

    def advance(self, tokens: Tensor, state: State, keys: Tensor, memory: Tensor) -> tuple[Tensor, State]:
        """A decoding step: the last tokens [R] -> the next ones' log-probabilities [R, V] and the state."""
        state = self.step(self.decoder.embedding(tokens), state, keys, memory)
        return torch.log_softmax(self.decoder.output(state[2]), dim=-1), state

    @torch.inference_mode()
    def score(self, source: Tensor, target: Tensor) -> list[float]:
        """The log-probabilities' sum of each target [N, T]."""
        memory, keys, state = self.start(source)
        tokens = source.new_full((len(source),), self.config.bos_id)
        total = torch.zeros(len(source), device=source.device)
        for following in target.unbind(1):
            log_probs, state = self.advance(tokens, state, keys, memory)
            tokens = following
            total += log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        return total.tolist()

    @torch.inference_mode()
    def greedy(self, source: Tensor, length: int) -> tuple[list[list[int]], list[float]]:
        """`length` tokens for each source [N, S], <eos> forbidden, and their log-probabilities' sums."""
        memory, keys, state = self.start(source)
        tokens = source.new_full((len(source),), self.config.bos_id)
        score = torch.zeros(len(source), device=source.device)
        chosen = []
        for _ in range(length):
            log_probs, state = self.advance(tokens, state, keys, memory)
            log_probs[:, self.config.eos_id] = -torch.inf
            best, tokens = log_probs.max(dim=-1)
            score += best
            chosen.append(tokens)
        return torch.stack(chosen, dim=1).tolist(), score.tolist()

    @torch.inference_mode()
    def beam(self, source: Tensor, length: int, beam: int) -> tuple[list[list[int]], list[float]]:
        """The best of `beam` hypotheses of `length` tokens for each source, and its log-probability's sum."""
        memory, keys, state = self.start(source)
        batch = len(source)
        state = tuple(s.repeat_interleave(beam, dim=0) for s in state)  # type: ignore[assignment]
        tokens = source.new_full((batch * beam,), self.config.bos_id)
        first_row = torch.arange(batch, device=source.device).unsqueeze(1) * beam  # [N, 1]
        score = torch.full((batch, beam), -torch.inf, device=source.device)
        score[:, 0] = 0.0  # all beams start equal: only one may branch
        history: list[tuple[Tensor, Tensor]] = []  # (parent row, token), each [N * K]
        for _ in range(length):
            log_probs, state = self.advance(tokens, state, keys, memory)
            log_probs[:, self.config.eos_id] = -torch.inf
            vocabulary = log_probs.shape[1]
            total = score.view(-1, 1) + log_probs
            score, index = total.view(batch, beam * vocabulary).topk(beam, dim=-1)
            parent = (first_row + index // vocabulary).flatten()
            tokens = (index % vocabulary).flatten()
            state = tuple(s.index_select(0, parent) for s in state)  # type: ignore[assignment]
            history.append((parent, tokens))
        row = first_row.squeeze(1)  # topk sorts: the best hypothesis is the first of its source
        backwards = []
        for parent, token in reversed(history):
            backwards.append(token[row])
            row = parent[row]
        return torch.stack(backwards[::-1], dim=1).tolist(), score[:, 0].tolist()
