"""What every kind of network is held against: reference, finite differences, PyTorch, its own steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import reference
from checks import assert_close, bits, double
from models import as_batch, double_parameters
from networks import Ragged, random_parameters
from reference import autodiff, copying, network
from seq2seq_fast import Seq2Seq
from seq2seq_fast.search import beam_search

SMOOTHING = 0.1


def total_loss(o: Any, p: Any, batch: Ragged, drop: Any = None) -> Any:
    """The reference's loss of a batch; `drop` gives the dropout of an example."""
    total: Any = 0.0
    for i, (source, target, example) in enumerate(batch.pairs()):
        dropped = network.no_dropout if drop is None else drop(example)
        if o.copy_attention:
            total = total + copying.sequence(o, p, source, batch.copied()[i], target, SMOOTHING, dropped)[0]
        else:
            total = total + reference.sequence_loss(o, p, source, target, SMOOTHING, dropped)
    return total


def check_reference(o: Any, batch: Ragged, rng: np.random.Generator) -> None:
    """The reference's own gradients, by finite differences."""
    params = double(random_parameters(o, rng, scale=2.0))
    gradients = reference.vjp(lambda p: total_loss(o, p, batch), [params], np.ones(()))[0]
    for name, x in params.items():
        direction = rng.standard_normal(x.shape)
        expected = autodiff.directional_derivative(lambda: float(total_loss(o, params, batch)), x, direction)
        terms = gradients[name] * direction
        assert abs(float(np.sum(terms)) - expected) <= 1e-6 * (np.abs(terms).sum() + 1e-3), name


def check_gradients(model: Seq2Seq, batch: Ragged, factor: float = 3) -> dict[str, np.ndarray]:
    """Loss and gradients with dropout, and the loss without, are the reference's; returns the gradients.

    Where attention is saturated its gradients all but cancel, to a thousandth of other rows': `factor`.
    """
    o, params, tokens = model.config, double_parameters(model), len(batch.target)

    def mean_loss(p: Any) -> Any:
        return total_loss(o, p, batch, lambda i: network.dropout_of(o, 5, 3, i)) / tokens

    result = model.forward_backward(as_batch(batch), update=3, seed=5, label_smoothing=SMOOTHING)
    assert_close(result.loss, mean_loss(params) * tokens, "loss")
    gradients = {name: g.copy() for name, g in model.gradients().items()}
    expected = reference.vjp(mean_loss, [params], np.ones(()))[0]
    assert_close(gradients, expected, "gradient", factor=factor)
    result = model.loss(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.loss, total_loss(o, params, batch), "loss without dropout")
    return gradients


def check_pytorch(model: Seq2Seq, batch: Ragged) -> None:
    """Loss, scores and gradients are those of the same network in PyTorch."""
    from torch_network import TorchNetwork

    theirs = TorchNetwork(model.config, double_parameters(model))
    loss, gradients, log_p = theirs.forward_backward(batch, SMOOTHING)
    result = model.forward_backward(as_batch(batch), label_smoothing=SMOOTHING)
    assert_close(result.loss, loss, "loss")
    assert_close(model.score(as_batch(batch)), log_p, "scores")
    assert_close(model.gradients(), gradients, "gradient")


def check_steps(model: Seq2Seq, batch: Ragged, rng: np.random.Generator) -> None:
    """Rows of four sources that change places, multiply and end take along what they have attended to."""
    o, params = model.config, double_parameters(model)
    state = model.encode(batch.source, batch.source_lengths, max_rows=6)
    encoded = [reference.encode(o, params, source) for source, _, _ in batch.pairs()]
    assert_close(state.memory, np.concatenate([memory for memory, _ in encoded]), "memory")
    at = [network.start_decoding(o, params, *parts) for parts in encoded]
    tokens, parents = [o.bos_id] * 4, [0, 1, 2, 3]
    for count in (4, 4, 6, 3, 3):
        log_probs, _ = model.decoder.step(state, np.array(tokens), np.array(parents))
        at = [copy.copy(at[p]) for p in parents]
        expected = [network.decode(o, params, a, token) for a, token in zip(at, tokens, strict=True)]
        assert_close(log_probs, np.stack([reference.log_softmax(logits) for logits, _ in expected]), "log P")
        in_place = count == len(at)  # as a greedy search
        parents = list(range(count)) if in_place else rng.integers(0, len(at), count).tolist()
        tokens = rng.integers(0, o.target_vocab_size, count).tolist()


def check_search(model: Seq2Seq, batch: Ragged, threads: Any) -> None:
    """It is that over its own steps, and its bits do not depend on company or threads."""
    o, count = model.config, len(batch.source_lengths)
    options = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 7}
    width = o.target_vocab_size if batch.copies is None else int(batch.copies.max()) + 1
    found = model.generate(batch.source, batch.source_lengths, copies=batch.copies, **options)
    state = model.encode(batch.source, batch.source_lengths, max_rows=3 * count, copies=batch.copies)

    def step(parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return model.decoder.step(state, tokens, parents)[0]

    sizes = {"batch_size": count, "vocab_size": width, "bos_id": o.bos_id, "eos_id": o.eos_id}
    for ours, theirs in zip(found, beam_search(step, **sizes, **options), strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert_close(np.array([h.log_prob for h in ours]), np.array([h.log_prob for h in theirs]), "scores")
    threads(2)
    for r in range(count):
        one = batch.take([r])
        (alone,) = model.generate(one.source, one.source_lengths, copies=one.copies, **options)
        assert [(h.tokens, bits(h.token_scores)) for h in alone] == [
            (h.tokens, bits(h.token_scores)) for h in found[r]
        ]


def check_threads(model: Seq2Seq, batch: Ragged, threads: Any) -> None:
    """Gradients have the same bits by one thread and by two."""
    results = []
    for count in (1, 2):
        threads(count)
        model.forward_backward(as_batch(batch))
        results.append(bits(model.gradients()))
    assert results[0] == results[1]
