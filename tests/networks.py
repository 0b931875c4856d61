"""Networks and ragged batches for tests: every option of Seq2SeqConfig, sizes that cannot be mixed up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import reference
from checks import ragged

OPTIONS: dict[str, list[Any]] = {  # every value of every option that changes the equations
    "encoder_cell": ["lstm", "gru"],
    "decoder_cell": ["lstm", "gru"],
    "encoder_layers": [1, 3, 0],
    "decoder_layers": [1, 2, 3],
    "bidirectional": [True, False],
    "context": ["attention", "last", "mean"],
    "attention_score": ["general", "dot", "mlp"],
    "attention_dim": [0, 5],
    "input_feeding": [True, False],
    "bridge": ["dense", "copy", "zero"],
    "tie_output": [False, True],
    "reset_after": [True, False],
    "source": ["tokens", "features", "shared"],  # shared: with the target's embedding
    "residual": [False, True],
    "layer_norm": [False, True],
    "zoneout_hidden": [0.0, 0.2],
    "zoneout_cell": [0.0, 0.5],
}


def pairwise(options: dict[str, list[Any]], seed: int = 0) -> list[dict[str, Any]]:
    """Few combinations in which every pair of values of every two options occurs (greedy, deterministic)."""
    rng = np.random.default_rng(seed)
    names = list(options)
    missing = {
        ((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in options[a] for y in options[b]
    }
    rows = []
    while missing:
        (a, x), (b, y) = min(missing, key=repr)
        best, found = None, -1
        for _ in range(30):
            row = {name: choices[rng.integers(len(choices))] for name, choices in options.items()} | {
                a: x,
                b: y,
            }
            new = sum(row[p] == u and row[q] == v for (p, u), (q, v) in missing)
            if new > found:
                best, found = row, new
        assert best is not None
        missing = {pair for pair in missing if any(best[name] != value for name, value in pair)}
        rows.append(best)
    return rows


def small_network(row: dict[str, Any], **sizes: Any) -> dict[str, Any]:
    """Arguments of a configuration, from a row of `pairwise`; widths are equal only where they must be."""
    fields = {name: value for name, value in row.items() if name != "source"}
    tokens, shared = row["source"] != "features", row["source"] == "shared"
    encoder_hidden = sizes.pop("encoder_hidden", 3)
    memory = encoder_hidden * (2 if row["bidirectional"] and row.get("encoder_layers", 1) else 1)
    needs_equal = row["bridge"] == "copy" or (
        row["context"] == "attention" and row["attention_score"] == "dot"
    )
    arguments = {
        "source_vocab_size": 11 if tokens else 0,
        "source_features": 0 if tokens else 4,
        "target_vocab_size": 9,
        "source_embedding_dim": 5,
        "target_embedding_dim": 6,
        "encoder_hidden": encoder_hidden,
        "decoder_hidden": memory if needs_equal else 7,
        **fields,
        **sizes,
    }
    if shared:
        arguments |= {
            "share_embeddings": True,
            "source_vocab_size": arguments["target_vocab_size"],
            "source_embedding_dim": arguments["target_embedding_dim"],
        }
    return arguments


def name_of(row: dict[str, Any]) -> str:
    return "-".join(f"{value}" for value in row.values())


@dataclass
class Ragged:
    """The arrays of seq2seq_fast.data.Batch."""

    source: np.ndarray
    source_lengths: np.ndarray
    target: np.ndarray
    target_lengths: np.ndarray
    example_ids: np.ndarray
    copies: np.ndarray | None = None

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """(source, target, example id) of every example."""
        sources = np.split(self.source, np.cumsum(self.source_lengths)[:-1])
        targets = np.split(self.target, np.cumsum(self.target_lengths)[:-1])
        yield from zip(sources, targets, (int(i) for i in self.example_ids), strict=True)

    def copied(self) -> list[np.ndarray]:
        """The copy ids of every example's source."""
        assert self.copies is not None
        return np.split(self.copies, np.cumsum(self.source_lengths)[:-1])

    def take(self, rows: list[int]) -> Ragged:
        """The batch of these examples, in this order."""
        pairs = list(self.pairs())
        return Ragged(
            np.concatenate([pairs[r][0] for r in rows]),
            self.source_lengths[rows],
            np.concatenate([pairs[r][1] for r in rows]),
            self.target_lengths[rows],
            self.example_ids[rows],
            None if self.copies is None else np.concatenate([self.copied()[r] for r in rows]),
        )


def batch_for(
    o: Any, rng: np.random.Generator, count: int, longest_source: int, longest_target: int
) -> Ragged:
    """A ragged batch for a configuration; ids are drawn from the whole vocabulary, targets end with <eos>."""
    source_lengths, target_lengths = ragged(rng, count, longest_source), ragged(rng, count, longest_target)
    total = int(source_lengths.sum())
    if o.source_vocab_size:
        source = rng.integers(0, o.source_vocab_size, total).astype(np.int32)
    else:
        source = rng.standard_normal((total, o.source_features)).astype(np.float32)
    target = rng.integers(0, o.target_vocab_size, int(target_lengths.sum())).astype(np.int32)
    target[np.cumsum(target_lengths) - 1] = o.eos_id
    example_ids = (rng.permutation(count) + (5 << 32) * (np.arange(count) % 2)).astype(np.int64)
    batch = Ragged(source, source_lengths, target, target_lengths, example_ids)
    if o.copy_attention:
        make_copies(o, rng, batch)
    return batch


def make_copies(o: Any, rng: np.random.Generator, batch: Ragged) -> None:
    """Copy ids, of which many are outside the vocabulary, some twice; half of the targets are copied."""
    copies, targets = [], []
    for source, target, _ in batch.pairs():
        outside = np.cumsum(rng.random(len(source)) < 0.6) + o.target_vocab_size - 1
        inside = rng.integers(0, o.target_vocab_size, len(source))
        ids = np.where((rng.random(len(source)) < 0.5) & (outside >= o.target_vocab_size), outside, inside)
        copied = rng.random(len(target)) < 0.5
        copied[-1] = False  # <eos>
        copies.append(ids)
        targets.append(np.where(copied, rng.choice(ids, len(target)), target))
    batch.copies = np.concatenate(copies).astype(np.int32)
    batch.target = np.concatenate(targets).astype(np.int32)


def random_parameters(o: Any, rng: np.random.Generator, scale: float = 1.0) -> dict[str, np.ndarray]:
    """float32, of the size PyTorch starts with (uniform within 1/sqrt(columns)), biases not zero."""
    return {
        name: (rng.uniform(-scale, scale, shape) / np.sqrt(shape[-1] if len(shape) > 1 else 8)).astype(
            np.float32
        )
        for name, shape in reference.parameter_shapes(o).items()
    }
