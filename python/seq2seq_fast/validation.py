"""How well a model predicts the targets of a data set, given the true tokens before each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from seq2seq_fast.batching import Batching

if TYPE_CHECKING:
    from seq2seq_fast.trainer import TrainableModel, TrainingData


def measure(model: TrainableModel, data: TrainingData, batching: Batching) -> dict[str, float]:
    """Return loss (nats per target token, end tokens counted), perplexity and accuracy (of the tokens); of a
    model that predicts no tokens (`predicts_tokens` false) the loss per value alone.

    Batches are cut by length and not shuffled; on the CPU each sequence's result is the same in any batch.
    """
    nll, tokens, correct = 0.0, 0, 0
    for examples in batching.in_order_of_length(data.source_lengths, data.target_lengths):
        result = model.loss(data.batch(examples))
        nll += float(result.nll)
        tokens += int(result.tokens)
        correct += int(result.correct)
    loss = nll / tokens
    if not getattr(model, "predicts_tokens", True):
        return {"loss": loss}
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "accuracy": correct / tokens}
