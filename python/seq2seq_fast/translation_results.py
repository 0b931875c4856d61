"""What a Translator returns. Names are CTranslate2's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["GenerationStepResult", "ScoringResult", "TranslationResult"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TranslationResult:
    """The outputs for one source, best first: between 1 and num_hypotheses of them."""

    hypotheses: list[list[str]]
    """Tokens, without start and end token. Ids in decimal where the model has no target vocabulary."""
    ids: list[list[int]]
    """The tokens' ids; of a model that copies, copy ids (see `copying`)."""
    finished: list[bool]
    """False for an output that was cut off at max_decoding_length."""
    scores: list[float]
    """What ranks them, log-probability / length ** length_penalty; empty unless return_scores."""
    token_scores: list[Floats]
    """float32 [tokens], the log-probability of each token; of a finished output the end token's too, last.
    Empty unless return_token_scores."""
    attention: list[Floats]
    """float32 [as token_scores, source length]; empty unless return_attention, or without attention."""
    alignment: list[list[tuple[int, int]]]
    """For each token a pair: the place in the source that had the largest attention, and its own place. Empty
    unless return_alignment."""
    logits: list[Floats] = field(default_factory=list)
    """float32 [as token_scores, V], at each step the log-probability of every token: the decoder's own,
    whatever options changed or forbade; of a model that copies, V counts the tokens that only the source has,
    too. Empty unless return_logits_vocab."""


@dataclass(frozen=True)
class ScoringResult:
    """How probable a given target is."""

    tokens: list[str]
    """The target's tokens and the end token. Ids in decimal where the model has no target vocabulary."""
    log_probs: Floats
    """float32 [tokens], the log-probability of each; NaN where the source is empty."""


@dataclass(frozen=True)
class GenerationStepResult:
    """A token that is certain to be in an output, while the search goes on."""

    step: int
    """Its place in the output."""
    batch_id: int
    """The source's place in the call."""
    token_id: int
    hypothesis_id: int
    """Which of the source's samples; else 0, the best output."""
    token: str
    """In decimal where the model has no target vocabulary."""
    log_prob: float
    is_last: bool
    """It ends the output, as an end token, which is told, too, or at the longest length. None is the last of
    an output that ends because options forbid all that might follow, or because a callback ended it."""
