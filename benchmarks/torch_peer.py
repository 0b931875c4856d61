"""The peer: the same network in PyTorch, written as PyTorch's users write it, with its best settings.

`nn.LSTM` or `nn.GRU` encodes; the decoder is a Python loop over `nn.LSTMCell` or `nn.GRUCell` with input
feeding and "general" or "mlp" attention (Luong et al. 2015, Bahdanau et al. 2015). Everything that needs no
recurrence is taken out of the loop: all embeddings are looked up at once, the memory is projected to keys
once, and training multiplies by the output matrix once for all steps. Sequences are of equal length, so that
PyTorch pays for no padding, no mask and no packing. The probability of a copy is computed for the targets
alone.

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

State = tuple[Tensor, ...]  # h [N, H], of an LSTM c [N, H], attentional a [N, W]


class Encoder(nn.Module):
    """Tokens [N, S] -> memory [N, S, M] and the last layer's last states, h and of an LSTM c, each [N, M]."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.source_vocab_size, config.source_embedding_dim)
        self.directions = 2 if config.bidirectional else 1
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[config.encoder_cell](
            config.source_embedding_dim,
            config.encoder_hidden,
            num_layers=config.encoder_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )

    def forward(self, source: Tensor) -> tuple[Tensor, list[Tensor]]:
        memory, last = self.rnn(self.embedding(source))
        states = last if isinstance(last, tuple) else (last,)
        return memory, [torch.cat(tuple(state[-self.directions :]), dim=-1) for state in states]


class GeneralAttention(nn.Module):
    """Luong's score, h . (W m), over keys that are computed once a sequence."""

    def __init__(self, config: Seq2SeqConfig, memory_width: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_width, config.decoder_hidden, bias=False)

    def forward(self, h: Tensor, keys: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """h [N, K, H], keys [N, S, A], memory [N, S, M] -> context [N, K, M], weights [N, K, S]."""
        weights = torch.softmax(torch.bmm(h, keys.transpose(1, 2)), dim=-1)
        return torch.bmm(weights, memory), weights


class MlpAttention(nn.Module):
    """Bahdanau's score, v . tanh(U h + W m + b), over keys that are computed once a sequence."""

    def __init__(self, config: Seq2SeqConfig, memory_width: int) -> None:
        super().__init__()
        inner = config.attention_dim or config.decoder_hidden
        self.key = nn.Linear(memory_width, inner)
        self.query = nn.Linear(config.decoder_hidden, inner, bias=False)
        self.energy = nn.Linear(inner, 1, bias=False)

    def forward(self, h: Tensor, keys: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """As GeneralAttention's."""
        scores = self.energy(torch.tanh(self.query(h).unsqueeze(2) + keys.unsqueeze(1))).squeeze(3)
        weights = torch.softmax(scores, dim=-1)
        return torch.bmm(weights, memory), weights


class Decoder(nn.Module):
    def __init__(self, config: Seq2SeqConfig, memory_width: int) -> None:
        super().__init__()
        hidden = config.decoder_hidden
        self.width = config.target_embedding_dim if config.tie_output else hidden
        self.embedding = nn.Embedding(config.target_vocab_size, config.target_embedding_dim)
        cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[config.decoder_cell]
        self.rnn = cell(config.target_embedding_dim + self.width, hidden)
        self.combine = nn.Linear(hidden + memory_width, self.width)
        self.output = nn.Linear(self.width, config.target_vocab_size)
        if config.tie_output:
            self.output.weight = self.embedding.weight
        if config.copy_attention:
            self.copy = nn.Linear(self.width, 1)


class TorchSeq2Seq(nn.Module):
    """A recurrent encoder, a decoder of one layer, attention, input feeding, dense bridge."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = config.decoder_cell == "lstm"
        memory_width = config.encoder_hidden * (2 if config.bidirectional else 1)
        self.encoder = Encoder(config)
        self.bridge = nn.ModuleDict(
            {
                f"{state}_l0": nn.Linear(memory_width, config.decoder_hidden)
                for state in ("hc" if self.lstm else "h")
            }
        )
        score: type[GeneralAttention] | type[MlpAttention]
        score = MlpAttention if config.attention_score == "mlp" else GeneralAttention
        self.attention = score(config, memory_width)
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
        """Tokens [N, S] -> memory [N, S, M], keys [N, S, A] and the decoder's first state."""
        memory, last = self.encoder(source)
        states = [torch.tanh(bridge(state)) for bridge, state in zip(self.bridge.values(), last, strict=True)]
        attentional = memory.new_zeros(len(memory), self.decoder.width)
        return memory, self.attention.key(memory), (*states, attentional)

    def step(self, embedded: Tensor, state: State, keys: Tensor, memory: Tensor) -> tuple[State, Tensor]:
        """embedded [R, E], one row per hypothesis; keys and memory one per source, R = N or N * K -> the next
        state and the attention's weights [N, K, S]."""
        *before, attentional = state
        x = torch.cat((embedded, attentional), dim=1)
        after = self.decoder.rnn(x, tuple(before)) if self.lstm else (self.decoder.rnn(x, before[0]),)
        h = after[0]
        context, weights = self.attention(h.view(len(memory), -1, h.shape[1]), keys, memory)
        attentional = torch.tanh(self.decoder.combine(torch.cat((h, context.view(len(h), -1)), dim=1)))
        return (*after, attentional), weights

    def forward(self, source: Tensor, target: Tensor, copies: Tensor | None = None) -> Tensor:
        """Tokens [N, S] and [N, T], each target ending with <eos> -> the summed cross-entropy. Of a network
        that copies, `copies` [N, S] are the source's copy ids, as may be targets."""
        memory, keys, state = self.start(source)
        first = target.new_full((len(target), 1), self.config.bos_id)
        read = torch.cat((first, target[:, :-1]), dim=1)
        if copies is not None:
            read = torch.where(read < self.config.target_vocab_size, read, self.config.unk_id)
        outputs, weights = [], []
        for x in self.decoder.embedding(read).unbind(1):
            state, attention = self.step(x, state, keys, memory)
            outputs.append(state[-1])
            weights.append(attention)
        attentional = torch.stack(outputs, dim=1)
        logits = self.decoder.output(attentional)
        if copies is not None:
            return self._copying_loss(attentional, logits, torch.cat(weights, dim=1), target, copies)
        return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")

    def _copying_loss(
        self, attentional: Tensor, logits: Tensor, weights: Tensor, target: Tensor, copies: Tensor
    ) -> Tensor:
        """attentional [N, T, W], logits [N, T, V], weights [N, T, S] (See et al. 2017)."""
        gate = torch.sigmoid(self.decoder.copy(attentional)).squeeze(2)
        known = target < self.config.target_vocab_size
        column = torch.where(known, target, 0).unsqueeze(2)
        generated = torch.softmax(logits, dim=-1).gather(2, column).squeeze(2) * known
        copied = (weights * (copies.unsqueeze(1) == target.unsqueeze(2))).sum(dim=2)
        return -torch.log((1 - gate) * generated + gate * copied).sum()

    def advance(self, tokens: Tensor, state: State, keys: Tensor, memory: Tensor) -> tuple[Tensor, State]:
        """A decoding step: the last tokens [R] -> the next ones' log-probabilities [R, V] and the state."""
        state, _ = self.step(self.decoder.embedding(tokens), state, keys, memory)
        return torch.log_softmax(self.decoder.output(state[-1]), dim=-1), state

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
        state = tuple(s.repeat_interleave(beam, dim=0) for s in state)
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
            state = tuple(s.index_select(0, parent) for s in state)
            history.append((parent, tokens))
        row = first_row.squeeze(1)  # topk sorts: the best hypothesis is the first of its source
        backwards = []
        for parent, token in reversed(history):
            backwards.append(token[row])
            row = parent[row]
        return torch.stack(backwards[::-1], dim=1).tolist(), score[:, 0].tolist()
