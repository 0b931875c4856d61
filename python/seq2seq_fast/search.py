"""Greedy and beam search: the options, and the native search around any step function.

``csrc/search/generate.h`` says how the search works, ``options.h`` what each option means exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arguments import flag, integer

if TYPE_CHECKING:
    from ._native import Hypothesis

__all__ = ["Hypothesis", "SearchOptions", "beam_search"]

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]
StepFunction = Callable[[Int32, Int32], "Float32 | tuple[Float32, Float32]"]


def __getattr__(name: str) -> Any:
    if name == "Hypothesis":
        from . import _native

        return _native.Hypothesis
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to decode, with CTranslate2's names and defaults. Wrong values raise when a search begins.

    Attributes:
        beam_size: live hypotheses per source; 1 is greedy search.
        patience: a source stops when ``max(num_hypotheses, round(beam_size * patience))`` hypotheses have
            finished, or sooner, when no live one can still enter the result. With ``math.inf`` only then.
        num_hypotheses: hypotheses returned per source, best first; at most beam_size.
        length_penalty: ``score = log_prob / length ** length_penalty``; the length counts the end token, as
            in fairseq (CTranslate2 leaves it out). 0: no normalisation.
        min_decoding_length: no end token before this many tokens.
        max_decoding_length: steps at most; the end token takes one. A hypothesis cut off here is returned,
            with ``finished`` False, only where fewer than num_hypotheses have finished.
        ctc_weight: a token's score is (1 - ctc_weight) times the decoder's log-probability + ctc_weight times
            that of the model's CTC output (Watanabe et al. 2017); only of models that have one.
        return_attention: keep each token's attention weights in the hypotheses.
        vocabulary: the only tokens that may come out, ascending ids, an end token among them. Only their
            columns of the output layer are computed, and log-probabilities are normalised over them, as with
            CTranslate2's vocabulary map. None: all.
    """

    beam_size: int = 2
    patience: float = 1.0
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    min_decoding_length: int = 1
    max_decoding_length: int = 256
    ctc_weight: float = 0.0
    return_attention: bool = False
    vocabulary: Sequence[int] | Int32 | None = None

    def native(self, *, start_token: int, end_tokens: Sequence[int]) -> dict[str, Any]:
        """The options as the extension takes them, with the ids of the model's special tokens."""
        return {**asdict(self), "start_token": start_token, "end_tokens": list(end_tokens)}


_BOOLS = {field.name for field in fields(SearchOptions) if field.type == "bool"}
DEFAULTS = SearchOptions()
"""What every search of the package does unless it is told otherwise."""


def check_bools(options: Mapping[str, Any]) -> None:
    """Raise TypeError for a bool where a number belongs, or the other way round; whatever else may be wrong
    with options, the extension finds out."""
    for name, value in options.items():
        if name in _BOOLS:
            flag("search", name, value)
        elif isinstance(value, bool | np.bool_):
            raise TypeError(f"[search] Expected {name} to be a number, got {value!r}.")


def _integer(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
    return integer("beam_search", name, value, least, most)


def beam_search(
    step: StepFunction,
    *,
    batch_size: int,
    vocab_size: int,
    bos_id: int,
    eos_id: int | Iterable[int],
    beam_size: int = DEFAULTS.beam_size,
    patience: float = DEFAULTS.patience,
    num_hypotheses: int = DEFAULTS.num_hypotheses,
    length_penalty: float = DEFAULTS.length_penalty,
    min_decoding_length: int = DEFAULTS.min_decoding_length,
    max_decoding_length: int = DEFAULTS.max_decoding_length,
    logits: bool = False,
    return_attention: bool = DEFAULTS.return_attention,
    source_lengths: Sequence[int] | NDArray[np.integer[Any]] | None = None,
) -> list[list[Hypothesis]]:
    """Search for the best sequences of a model of which only one step is known.

    Args:
        step: ``step(parents, tokens) -> scores`` for any number of rows, each a live hypothesis. Arguments
            are int32 ``[rows]``: row j continues row ``parents[j]`` of the call before, which emitted
            ``tokens[j]``. In the first call there is a row per source: ``parents`` are the sources'
            indices, ``tokens`` all bos_id. ``scores``: float32 ``[rows, vocab_size]``, log-probabilities of
            the next token; ``-inf`` forbids one. To have attention kept, return ``(scores, attention)``,
            attention float32 ``[rows, S]``, S constant.
        batch_size: number of sources; 0 gives an empty list.
        eos_id: the end token, or several.
        logits: the scores are not normalised yet; the search does it.
        source_lengths: ``[batch_size]``, how many columns of the attention are each source's. None: all S.

    The other options are those of :class:`SearchOptions`.

    Returns:
        For every source its hypotheses, best first: between 1 and num_hypotheses. A source's result does not
        depend on the other sources, if step's rows do not.

    Raises:
        ValueError: an option is out of range, or step returned a wrong shape or log-probabilities above 0.
        TypeError: step is not callable, or returned something else than float32 arrays.
        RuntimeError: a score is NaN. What step itself raises passes through.
    """
    from . import _native

    if not callable(step):
        raise TypeError(f"[beam_search] Expected step to be callable, got {type(step).__name__}.")
    batch_size = _integer("batch_size", batch_size, 0)
    vocab_size = _integer("vocab_size", vocab_size, 1)
    bos_id = _integer("bos_id", bos_id, 0, vocab_size - 1)
    ends = eos_id if isinstance(eos_id, Iterable) else [eos_id]
    end_tokens = [_integer("eos_id", end, 0, vocab_size - 1) for end in ends]
    lengths: list[int] = []
    if source_lengths is not None:
        if not isinstance(source_lengths, Iterable):
            raise TypeError(
                f"[beam_search] Expected source_lengths as integers, got {type(source_lengths).__name__}."
            )
        lengths = [_integer("source_lengths", length, 0) for length in source_lengths]
        if len(lengths) != batch_size:
            raise ValueError(
                f"[beam_search] Expected source_lengths of shape [{batch_size}], got [{len(lengths)}]."
            )

    options = SearchOptions(
        beam_size=beam_size,
        patience=patience,
        num_hypotheses=num_hypotheses,
        length_penalty=length_penalty,
        min_decoding_length=min_decoding_length,
        max_decoding_length=max_decoding_length,
        return_attention=return_attention,
    )
    check_bools(asdict(options))
    flag("beam_search", "logits", logits)
    native = options.native(start_token=bos_id, end_tokens=end_tokens)
    return _native.beam_search(step, batch_size, vocab_size, native, logits, lengths)
