"""A model in numpy with the trainer's interface: softmax regression from a bag of words, with dropout.

It trains in milliseconds, so the trainer's tests of exactness can afford hundreds of runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seq2seq_fast.data import Batch, Dataset

SOURCE_VOCABULARY, TARGET_VOCABULARY, EOS = 11, 7, 2
DROPOUT = 0.2


@dataclass
class Sums:
    loss: float
    nll: float
    tokens: int
    correct: int


class FakeModel:
    def __init__(self, seed: int = 0) -> None:
        self._layout = [
            ("output.weight", (SOURCE_VOCABULARY, TARGET_VOCABULARY), 0, True),
            ("output.bias", (TARGET_VOCABULARY,), 80, False),
        ]
        self.flat_parameters = np.zeros(96, np.float32)
        self.flat_gradients = np.zeros(96, np.float32)
        self.parameters()["output.weight"][...] = np.random.default_rng(seed).normal(
            size=(SOURCE_VOCABULARY, TARGET_VOCABULARY)
        )
        self.fail_at: int | None = None
        self.updates: list[int] = []

    def layout(self) -> list[tuple[str, tuple[int, ...], int, bool]]:
        return self._layout

    def _views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        return {name: flat[at : at + np.prod(shape)].reshape(shape) for name, shape, at, _ in self._layout}

    def parameters(self) -> dict[str, np.ndarray]:
        return self._views(self.flat_parameters)

    def weights_changed(self) -> None: ...

    def _bags(self, batch: Batch, keep: np.ndarray | None) -> np.ndarray:
        bags = np.zeros((len(batch), SOURCE_VOCABULARY), np.float32)
        rows = np.repeat(np.arange(len(batch)), batch.source_lengths)
        np.add.at(bags, (rows, batch.source), 1)
        return bags / batch.source_lengths[:, None] * (1 if keep is None else keep)

    def _run(
        self, batch: Batch, smoothing: float, keep: np.ndarray | None
    ) -> tuple[Sums, np.ndarray, np.ndarray]:
        weights = self.parameters()
        bags = self._bags(batch, keep)
        logits = bags @ weights["output.weight"] + weights["output.bias"]
        log_p = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        log_p -= logits.max(1, keepdims=True)
        rows = np.repeat(np.arange(len(batch)), batch.target_lengths)
        picked = log_p[rows]
        nll = -picked[np.arange(len(rows)), batch.target]
        loss = (1 - smoothing) * nll - smoothing * picked.mean(1)
        d = np.exp(picked) - smoothing / TARGET_VOCABULARY
        d[np.arange(len(rows)), batch.target] -= 1 - smoothing
        sums = Sums(
            float(loss.sum()), float(nll.sum()), len(rows), int((picked.argmax(1) == batch.target).sum())
        )
        return sums, bags[rows], d

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> Sums:
        return self._run(batch, label_smoothing, None)[0]

    def forward_backward(
        self, batch: Batch, *, update: int = 0, seed: int = 0, label_smoothing: float = 0.0
    ) -> Sums:
        self.updates.append(update)
        keep = np.stack(
            [
                np.random.Generator(np.random.Philox(key=[seed + int(example), update])).random(
                    SOURCE_VOCABULARY
                )
                for example in batch.example_ids
            ]
        )
        sums, bags, d = self._run(batch, label_smoothing, (keep >= DROPOUT) / np.float32(1 - DROPOUT))
        gradients = self._views(self.flat_gradients)
        gradients["output.weight"][...] = bags.T @ d / sums.tokens
        gradients["output.bias"][...] = d.sum(0) / sums.tokens
        if update == self.fail_at:
            sums.loss = float("nan")
        return sums

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps(self.flat_parameters.tolist()))

    @staticmethod
    def saved(folder: Path) -> list[float]:
        return json.loads((folder / "model.json").read_text())


def fake_data(count: int = 100, seed: int = 0) -> Dataset:
    """Pairs of length 1 to 8, targets that depend on the source."""
    random = np.random.default_rng(seed)
    sources = [random.integers(0, SOURCE_VOCABULARY, random.integers(1, 9)) for _ in range(count)]
    return Dataset.from_sequences(sources, [s[::2] % 4 + 3 for s in sources], eos_id=EOS)
