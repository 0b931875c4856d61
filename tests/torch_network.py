"""The whole network in PyTorch, as its users write it: padded batches, masks, packed sequences, autograd.

Module and parameter names are those of seq2seq_fast, so that `load_state_dict` of the library's parameters
checks every name and shape, and gradients come back under the same names. There is no dropout: PyTorch's
random numbers are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from networks import Ragged
from reference.network import memory_width, pyramid


class ResetBeforeGRU(nn.GRU):
    """nn.GRU with the reset gate before the recurrent product, as Keras' default, over padded [T, N, C]."""

    def run(self, x: Tensor, h0: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        directions, last = 1 + self.bidirectional, []
        for layer in range(self.num_layers):
            outputs = []
            for d in range(directions):
                w_ih, w_hh, b_ih, b_hh = self.all_weights[layer * directions + d]
                h, ys = h0[layer * directions + d], [torch.empty(0)] * len(x)
                for t in reversed(range(len(x))) if d else range(len(x)):
                    new = self._step(x[t], h, w_ih, w_hh, b_ih, b_hh)
                    inside = (t < lengths)[:, None]
                    h = torch.where(inside, new, h)
                    ys[t] = torch.where(inside, new, torch.zeros_like(new))
                outputs.append(torch.stack(ys))
                last.append(h)
            x = torch.cat(outputs, dim=-1)
        return x, torch.stack(last)

    @staticmethod
    def _step(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        size = h.shape[1]
        x_r, x_z, x_n = F.linear(x, w_ih, b_ih).chunk(3, dim=1)
        h_r, h_z = F.linear(h, w_hh[: 2 * size], b_hh[: 2 * size]).chunk(2, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + F.linear(r * h, w_hh[2 * size :], b_hh[2 * size :]))
        return torch.lerp(n, h, z)


class DeepRNN(nn.RNNBase):
    """Either cell, step by step, with what nn.LSTM and nn.GRU lack: residual connections, layer
    normalisation, zoneout's expectation."""

    def __init__(self, o: Any, cell: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(cell.upper(), *args, **kwargs)
        self.o = o
        if o.layer_norm:
            for k in range(self.num_layers):
                self.add_module(f"norm_l{k}", nn.LayerNorm(self.hidden_size * (1 + self.bidirectional)))

    def run(
        self, x: Tensor, states: tuple[Tensor, ...], lengths: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x [T, N, C] padded; states (h,) or (h, c), [layers x directions, N, H]."""
        directions, last = 1 + self.bidirectional, []
        inside = (torch.arange(len(x))[:, None] < lengths)[:, :, None]
        for layer in range(self.num_layers):
            outputs = []
            for d in range(directions):
                k = layer * directions + d
                state, ys = tuple(s[k] for s in states), [torch.empty(0)] * len(x)
                for t in reversed(range(len(x))) if d else range(len(x)):
                    new = self._step(x[t], state, *self.all_weights[k])
                    rates = (self.o.zoneout_hidden, self.o.zoneout_cell)
                    mixed = [torch.lerp(n, s, p) for n, s, p in zip(new, state, rates, strict=False)]
                    state = tuple(torch.where(inside[t], m, s) for m, s in zip(mixed, state, strict=True))
                    ys[t] = state[0]
                outputs.append(torch.stack(ys))
                last.append(state)
            y = torch.cat(outputs, dim=-1)
            if self.o.residual and layer > 0:
                y = y + x
            x = getattr(self, f"norm_l{layer}")(y) if self.o.layer_norm else y
        return x * inside, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def _step(self, x: Tensor, state: tuple[Tensor, ...], *weights: Tensor) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh = weights
        if self.mode == "LSTM":
            i, f, g, o = (F.linear(x, w_ih, b_ih) + F.linear(state[0], w_hh, b_hh)).chunk(4, dim=1)
            c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c
        if not self.o.reset_after:
            return (ResetBeforeGRU._step(x, state[0], *weights),)
        x_r, x_z, x_n = F.linear(x, w_ih, b_ih).chunk(3, dim=1)
        h_r, h_z, h_n = F.linear(state[0], w_hh, b_hh).chunk(3, dim=1)
        n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        return (torch.lerp(n, state[0], torch.sigmoid(x_z + h_z)),)


def make_rnn(o: Any, cell: str, *args: Any, **kwargs: Any) -> nn.RNNBase:
    if o.residual or o.layer_norm or o.zoneout_hidden or o.zoneout_cell:
        return DeepRNN(o, cell, *args, **kwargs)
    if cell == "lstm":
        return nn.LSTM(*args, **kwargs)
    return (nn.GRU if o.reset_after else ResetBeforeGRU)(*args, **kwargs)


def run_rnn(
    rnn: nn.RNNBase, x: Tensor, states: tuple[Tensor, ...], lengths: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """x [T, N, C] padded; states (h,) or (h, c) -> y, last states."""
    if isinstance(rnn, DeepRNN):
        return rnn.run(x, states, lengths)
    if isinstance(rnn, ResetBeforeGRU):
        y, h = rnn.run(x, states[0], lengths)
        return y, (h,)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, last = rnn(packed, states if isinstance(rnn, nn.LSTM) else states[0])
    return pad_packed_sequence(y)[0], last if isinstance(last, tuple) else (last,)


class Encoder(nn.Module):
    def __init__(self, o: Any) -> None:
        super().__init__()
        size = o.source_features
        self.joined = pyramid(o)
        self.o = o
        for k in range(o.conv_layers):
            inputs = o.conv_width * (o.conv_channels if k else o.source_features or o.source_embedding_dim)
            self.add_module(f"conv_l{k}", nn.Linear(inputs, o.conv_channels))
        if o.source_vocab_size:
            self.embedding = nn.Embedding(o.source_vocab_size, o.source_embedding_dim)
            size = o.source_embedding_dim
        size = o.conv_channels if o.conv_layers else size
        if not o.encoder_layers:
            self.projection = nn.Linear(size, o.encoder_hidden)
        if o.ctc_weight:
            self.ctc = nn.Linear(memory_width(o), o.target_vocab_size + 1)
        self.rnn: Any = None
        if max(self.joined, default=1) > 1:
            self.rnn = Pyramid(o, size, self.joined)
        elif o.encoder_layers:
            self.rnn = make_rnn(
                o,
                o.encoder_cell,
                size,
                o.encoder_hidden,
                num_layers=o.encoder_layers,
                bidirectional=o.bidirectional,
            )

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """source [S, N] or [S, N, C] -> memory [S', N, M], last states [layers, N, M], directions joined, and
        the memory's lengths [N]."""
        x = self.embedding(source) if source.dim() == 2 else source
        for k in range(self.o.conv_layers):
            x, lengths = self.convolve(getattr(self, f"conv_l{k}"), x, lengths)
        if self.rnn is None:
            inside = (torch.arange(len(x))[:, None] < lengths)[:, :, None]
            memory = torch.tanh(self.projection(x)) * inside
            return memory, [(memory.sum(dim=0) / lengths[:, None])[None]], lengths
        if isinstance(self.rnn, Pyramid):
            return self.rnn.run(x, lengths)
        memory, last = run_encoder(self.rnn, x, lengths)
        return memory, last, lengths

    def convolve(self, layer: nn.Linear, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x [S, N, C], past each length anything."""
        width, stride = self.o.conv_width, self.o.conv_stride
        inside = torch.arange(len(x))[:, None] < lengths
        x = F.pad((x * inside[:, :, None]).permute(1, 2, 0), ((width - 1) // 2, width // 2))
        weight = layer.weight.view(len(layer.weight), width, -1).transpose(1, 2)
        y = torch.tanh(F.conv1d(x, weight, layer.bias, stride=stride))
        return y.permute(2, 0, 1), (lengths + stride - 1) // stride


def run_encoder(rnn: nn.RNNBase, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
    layers, directions, hidden = rnn.num_layers, 1 + rnn.bidirectional, rnn.hidden_size
    zero = x.new_zeros(layers * directions, x.shape[1], hidden)
    memory, last = run_rnn(rnn, x, (zero, zero) if rnn.mode == "LSTM" else (zero,), lengths)
    shape = (layers, directions, x.shape[1], hidden)
    return memory, [s.view(shape).transpose(1, 2).flatten(2) for s in last]


class Pyramid(nn.Module):
    """Layers between which neighbouring states are joined (Chan et al. 2016); the names of one RNN's."""

    def __init__(self, o: Any, size: int, joined: list[int]) -> None:
        super().__init__()
        self.joined, self.rnns, self.skips = joined, [], o.pyramid_skips
        for k, count in enumerate(joined):
            width = (1 if o.pyramid_skips else count) * (
                o.encoder_hidden * (1 + o.bidirectional) if k else size
            )
            rnn = make_rnn(o, o.encoder_cell, width, o.encoder_hidden, bidirectional=o.bidirectional)
            for name, parameter in rnn.named_parameters():
                self.register_parameter(name.replace("_l0", f"_l{k}"), parameter)
            self.rnns.append(rnn)  # a list: its modules have no names of their own

    def run(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        last = []
        x = x * (torch.arange(len(x))[:, None] < lengths)[:, :, None]
        for count, rnn in zip(self.joined, self.rnns, strict=True):
            x = F.pad(x, (0, 0, 0, 0, 0, -len(x) % count))
            x = x[::count] if self.skips else torch.cat([x[i::count] for i in range(count)], dim=2)
            lengths = (lengths + count - 1) // count
            x, states = run_encoder(rnn, x, lengths)
            last.append(states)
        return x, [torch.cat(parts) for parts in zip(*last, strict=True)], lengths


class Energy(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Attention(nn.Module):
    def __init__(self, o: Any, memory: int) -> None:
        super().__init__()
        self.score = o.attention_score
        if self.score == "general":
            self.key = nn.Linear(memory, o.decoder_hidden, bias=False)
        if self.score == "mlp":
            inner = o.attention_dim or o.decoder_hidden
            self.key = nn.Linear(memory, inner)
            self.query = nn.Linear(o.decoder_hidden, inner, bias=False)
            self.energy = Energy(inner)
            if o.coverage:
                self.coverage = nn.Linear(1, inner, bias=False)
            if o.location_filters:
                self.filter = nn.Linear(o.location_width, o.location_filters, bias=False)
                self.location = nn.Linear(o.location_filters, inner, bias=False)

    def forward(
        self, h: Tensor, memory: Tensor, inside: Tensor, covered: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """h [N, Hd], memory [N, S, M], inside and covered [N, S] -> context [N, M], weights [N, S]."""
        if self.score == "mlp":
            keys = self.key(memory)
            if covered is not None and hasattr(self, "coverage"):
                keys = keys + self.coverage(covered[:, :, None])
            if covered is not None and hasattr(self, "filter"):
                filters = self.filter.weight[:, None]
                found = F.conv1d(covered[:, None], filters, padding=filters.shape[2] // 2)
                keys = keys + self.location(found.transpose(1, 2))
            scores = self.energy(torch.tanh(self.query(h)[:, None] + keys))
        else:
            keys = self.key(memory) if self.score == "general" else memory
            scores = torch.einsum("na,nsa->ns", h, keys)
        weights = F.softmax(scores.masked_fill(~inside, -torch.inf), dim=1)
        return torch.einsum("ns,nsm->nm", weights, memory), weights


class Decoder(nn.Module):
    def __init__(self, o: Any, memory: int) -> None:
        super().__init__()
        self.width = o.target_embedding_dim if o.tie_output else o.decoder_hidden
        self.embedding = nn.Embedding(o.target_vocab_size, o.target_embedding_dim)
        size = o.target_embedding_dim + (self.width if o.input_feeding else 0)
        self.rnn = make_rnn(o, o.decoder_cell, size, o.decoder_hidden, num_layers=o.decoder_layers)
        self.combine = nn.Linear(o.decoder_hidden + memory, self.width)
        self.output = nn.Linear(self.width, o.target_vocab_size)
        if o.copy_attention:
            self.copy = nn.Linear(self.width, 1)
        if o.tie_output:
            self.output.weight = self.embedding.weight


def ctc_loss(o: Any, scores: Tensor, lengths: Tensor, batch: Ragged) -> Tensor:
    """scores [N, S, V + 1]: the sum over the batch, of the targets without <eos>."""
    labels = [y[:-1] if y[-1] == o.eos_id else y for _, y, _ in batch.pairs()]
    return F.ctc_loss(
        scores.log_softmax(dim=2).transpose(0, 1),
        torch.from_numpy(np.concatenate(labels).astype(np.int64)),
        lengths,
        torch.tensor([len(y) for y in labels]),
        blank=o.target_vocab_size,
        reduction="sum",
        zero_infinity=True,
    )


class TorchNetwork(nn.Module):
    """`o`: a Seq2SeqConfig or anything with its fields; `params`: its parameters by name."""

    def __init__(self, o: Any, params: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        memory = o.encoder_hidden * (2 if o.bidirectional and o.encoder_layers else 1)
        self.o = o
        self.encoder = Encoder(o)
        self.bridge = nn.ModuleDict()
        if o.bridge == "dense":
            for k in range(o.decoder_layers):
                for state in ("h", "c") if o.decoder_cell == "lstm" else ("h",):
                    self.bridge[f"{state}_l{k}"] = nn.Linear(memory, o.decoder_hidden)
        if o.context == "attention":
            self.attention = Attention(o, memory)
        self.decoder = Decoder(o, memory)
        if o.share_embeddings:
            self.encoder.embedding.weight = self.decoder.embedding.weight
        self.to(dtype)
        weights = {name: torch.from_numpy(np.array(value)) for name, value in params.items()}
        if o.tie_output:
            weights["decoder.output.weight"] = weights["decoder.embedding.weight"]
        if o.share_embeddings:
            weights["encoder.embedding.weight"] = weights["decoder.embedding.weight"]
        self.load_state_dict(weights)  # strict: refuses a missing, a surplus and a misshapen name

    def first_states(self, last: list[Tensor]) -> tuple[Tensor, ...]:
        """The bridge: last states of the encoder [L, N, M] -> (h,) or (h, c), [layers, N, Hd]."""
        o = self.o
        lstm = o.decoder_cell == "lstm"
        pick = [max(0, o.encoder_layers - o.decoder_layers + k) for k in range(o.decoder_layers)]
        h, c = last[0][pick], last[-1][pick]
        zero = h.new_zeros(o.decoder_layers, h.shape[1], o.decoder_hidden)
        if o.bridge == "zero":
            h, c = zero, zero
        elif o.bridge == "copy":
            c = c if o.encoder_cell == "lstm" and o.encoder_layers else zero
        else:
            h = torch.stack([torch.tanh(self.bridge[f"h_l{k}"](h[k])) for k in range(o.decoder_layers)])
            if lstm:
                c = torch.stack([torch.tanh(self.bridge[f"c_l{k}"](c[k])) for k in range(o.decoder_layers)])
        return (h, c) if lstm else (h,)

    def forward(self, batch: Ragged) -> tuple[Tensor, Tensor]:
        """-> logits [sum T, Vt] and targets [sum T], example after example. Of a network that copies log P of
        its copy ids are beside the logits: [sum T, Vt + (Vt + n)]."""
        o, decoder = self.o, self.decoder
        source, lengths = self._pad(batch.source, batch.source_lengths)
        target, target_lengths = self._pad(batch.target, batch.target_lengths)
        memory, last, lengths = self.encoder(source, lengths)
        states = self.first_states(last)
        fixed = last[0][-1] if o.context == "last" else memory.sum(dim=0) / lengths[:, None]
        inside = torch.arange(len(memory))[None] < lengths[:, None]
        memory = memory.transpose(0, 1)
        self.ctc_loss = memory.new_zeros(())
        if o.ctc_weight:
            self.ctc_loss = ctc_loss(o, self.encoder.ctc(memory), lengths, batch)
        count = source.shape[1]
        feed = memory.new_zeros(count, decoder.width)
        token = torch.full((count,), o.bos_id)
        one = torch.ones(count, dtype=torch.int64)
        scores = []
        tracks = o.coverage or o.location_filters
        covered = memory.new_zeros(count, memory.shape[1]) if tracks else None
        self.coverage_loss = memory.new_zeros(())
        for t in range(len(target)):
            x = decoder.embedding(token)
            if o.input_feeding:
                x = torch.cat([x, feed], dim=1)
            y, states = run_rnn(decoder.rnn, x[None], states, one)
            h = y[0]
            context, weights = fixed, None
            if o.context == "attention":
                context, weights = self.attention(h, memory, inside, covered)
            if covered is not None:
                lost = torch.minimum(weights, covered).sum(dim=1)[t < target_lengths].sum()
                self.coverage_loss = self.coverage_loss + o.coverage_loss * lost
                covered = covered + weights if o.coverage or o.location_cumulative else weights
            feed = torch.tanh(decoder.combine(torch.cat([h, context], dim=1)))
            logits = decoder.output(feed)
            if o.copy_attention:
                logits = torch.cat([logits, self.mixed(batch, logits, weights, decoder.copy(feed))], dim=1)
            scores.append(logits)
            token = torch.where(target[t] < o.target_vocab_size, target[t], o.unk_id)
        rows = torch.arange(len(target))[None] < target_lengths[:, None]
        return torch.stack(scores, dim=1)[rows], target.T[rows]

    def mixed(self, batch: Ragged, logits: Tensor, weights: Tensor, gate: Tensor) -> Tensor:
        """log P of every copy id of the batch."""
        assert batch.copies is not None
        copies = self._pad(batch.copies, batch.source_lengths)[0].T
        width = max(int(copies.max()) + 1, self.o.target_vocab_size)
        generated = F.pad(torch.sigmoid(-gate) * F.softmax(logits, dim=1), (0, width - logits.shape[1]))
        return torch.log(generated.scatter_add(1, copies, torch.sigmoid(gate) * weights))

    def forward_backward(
        self, batch: Ragged, label_smoothing: float = 0.0
    ) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
        """-> loss summed over tokens, gradients of the loss per token by name, log P of each target token."""
        self.zero_grad()
        scores, targets = self(batch)
        if self.o.copy_attention:
            V, s = self.o.target_vocab_size, label_smoothing
            log_p = scores[:, V:].gather(1, targets[:, None])[:, 0]
            loss = -(1 - s) * log_p.sum() - s * F.log_softmax(scores[:, :V], dim=1).mean(dim=1).sum()
            log_p = log_p.detach()
        else:
            loss = F.cross_entropy(scores, targets, reduction="sum", label_smoothing=label_smoothing)
            log_p = F.log_softmax(scores.detach(), dim=1).gather(1, targets[:, None])[:, 0]
        loss = (1 - self.o.ctc_weight) * (loss + self.coverage_loss) + self.o.ctc_weight * self.ctc_loss
        (loss / len(targets)).backward()  # type: ignore[no-untyped-call]
        named = self.named_parameters()  # a tied weight appears once, as the first that has it
        gradients = {name: p.grad.numpy() for name, p in named if p.grad is not None}
        if self.o.share_embeddings:
            gradients["decoder.embedding.weight"] = gradients.pop("encoder.embedding.weight")
        return float(loss.detach()), gradients, log_p.numpy()

    def _pad(self, rows: np.ndarray, lengths: np.ndarray) -> tuple[Tensor, Tensor]:
        """Sequences one after another -> [longest, N, ...] and their lengths."""
        dtype = next(self.parameters()).dtype if rows.dtype.kind == "f" else torch.int64
        parts = torch.split(torch.from_numpy(np.array(rows)).to(dtype), lengths.tolist())
        return pad_sequence(list(parts)), torch.from_numpy(lengths.astype(np.int64))
