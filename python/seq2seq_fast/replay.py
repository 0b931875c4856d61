"""All log-probabilities of the steps of outputs that a search found: their tokens, decoded once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from seq2seq_fast import _native
    from seq2seq_fast._native import Hypothesis

__all__ = ["log_probs_of"]

ROUNDING = 1e-5

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


def log_probs_of(
    native: _native.Translator,
    source: NDArray[Any],
    source_lengths: Ids,
    copies: Ids | None,
    found: Sequence[Sequence[Hypothesis]],
    widths: Sequence[int],
    bos_id: int,
) -> list[list[Floats]]:
    """Return for each hypothesis float32 [steps, V], the decoder's log-probabilities at each of its steps.

    A search sums its softmax up in another order than what gives all of it, so that numbers may differ in
    their last bits. An output's own tokens have the search's, where no option made them others.

    Args:
        native: of one model.
        source, source_lengths, copies: what was searched.
        found: the hypotheses of each source. A finished one has a step more than tokens, its end token's.
        widths: V of each source, with the tokens that only it lets the output copy.
        bos_id: the start token.
    """
    every = [(i, h.tokens, len(h.token_scores)) for i, one in enumerate(found) for h in one]
    arrays = [np.empty((steps, widths[i]), np.float32) for i, _, steps in every]
    session = native.start(source, source_lengths, copies)
    sources = np.arange(len(source_lengths), dtype=np.int32)
    log_probs = session.step(sources, np.full(len(sources), bos_id, np.int32))
    rows = [i for i, _, _ in every]  # of the session, one for each of the hypotheses that go on
    going = list(range(len(every)))
    step = 0
    while True:
        on = [(n, row) for n, row in zip(going, rows, strict=True) if step < every[n][2]]
        for n, row in on:
            arrays[n][step] = log_probs[row, : arrays[n].shape[1]]
        step += 1
        on = [(n, row) for n, row in on if step < every[n][2]]
        if not on:
            break
        going = [n for n, _ in on]
        parents = np.array([row for _, row in on], np.int32)
        log_probs = session.step(parents, np.array([every[n][1][step - 1] for n in going], np.int32))
        rows = list(range(len(on)))
    for values, h in zip(arrays, (h for one in found for h in one), strict=True):
        _take_over(values, h)
    each = iter(arrays)
    return [[next(each) for _ in one] for one in found]


def _take_over(log_probs: Floats, hypothesis: Hypothesis) -> None:
    """Give an output's own tokens the search's numbers, where these are the same but for rounding."""
    ids = [*hypothesis.tokens, *([] if hypothesis.end_token is None else [hypothesis.end_token])]
    place = np.arange(len(ids)), np.array(ids, np.int64)
    ours, scores = log_probs[place], hypothesis.token_scores
    log_probs[place] = np.where(np.abs(scores - ours) <= ROUNDING * np.maximum(1, np.abs(ours)), scores, ours)
