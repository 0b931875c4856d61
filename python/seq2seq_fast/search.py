"""Greedy search, beam search and sampling: the options, and the native search around any step function.

``csrc/search/generate.h`` says how the search works, ``options.h`` what each option means exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from .arguments import flag, integer, number
from .decoding_presets import with_preset

if TYPE_CHECKING:
    from ._native import Automaton, Hypothesis, Trie

__all__ = ["Automaton", "Hypothesis", "SearchOptions", "Trie", "beam_search"]

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]
StepFunction = Callable[[Int32, Int32], "Float32 | tuple[Float32, Float32]"]


def __getattr__(name: str) -> Any:
    if name in ("Automaton", "Hypothesis", "Trie"):
        from . import _native

        return getattr(_native, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to decode, with CTranslate2's names and defaults where it has the option. Wrong values raise when a
    search begins. docs/decoding.md has exact definitions, and whose semantics they match.

    Attributes:
        preset: "ctranslate2", "opennmt-py", "fairseq", "marian", "sockeye", "joeynmt" or "transformers":
            search, rank and stop as that system does, with its defaults. Options given beside it win.
        beam_size: live hypotheses per source; 1 is greedy search.
        patience: a source stops when ``max(num_hypotheses, round(beam_size * patience))`` hypotheses have
            finished, or sooner, when no live one can still enter the result. With ``math.inf`` only then.
        early_stopping: "patience", as above; "first": when the best continuation of some step ended;
            "heuristic": when beam_size have finished and the best live one would not rank among the beam_size
            best if it ended as it is; "never": when no live one can enter the result. Never before
            num_hypotheses have finished.
        cap_finished: with early_stopping "patience", of hypotheses that end in the same step only the best so
            many count that patience is not exceeded.
        end_rule: what becomes of the place in the beam of a hypothesis that ends. "replace": the next best
            continuation takes it; "vacate": it is empty for a step; "shrink": the beam is smaller by it from
            then on; "stay": it stays there as long as beam_size others are not better; "proceed": it is
            searched on, but not returned again. docs/decoding.md has the details.
        unfinished: how hypotheses cut off at the longest length rank: "last", behind the finished; "equal",
            by their scores; "unnormalized", by their log-probabilities.
        force_end_token: the last step takes an end token.
        num_hypotheses: hypotheses returned per source, best first; at most beam_size, unless they are samples
            or alternatives.
        length_penalty: the exponent; the length counts the end token, as in fairseq (CTranslate2 leaves it
            out).
        length_penalty_type: what log_prob is divided by, to be the score: "power", ``length **
            length_penalty``; "wu", ``((5 + length) / 6) ** length_penalty``; "average", ``length``; "none".
        count_end_token: whether the length counts a finished hypothesis's end token.
        length_offset: is added to the length.
        length_penalty_beta: with "power" the divisor is ``((beta + length) / (beta + 1)) ** length_penalty``.
        word_penalty: so many times the length is taken from log_prob before it is divided.
        coverage_penalty: so many times is taken from the score what coverage_penalty_type says of the sums of
            attention that the places of the source got.
        coverage_penalty_type: "wu", the sum of -log(min(coverage, 1)) where there is any; "summary", of
            max(coverage, 1) - 1.
        coverage_end_token: whether a finished hypothesis's coverage has its end token's attention in it.
        min_decoding_length: no end token before this many tokens.
        max_decoding_length: steps at most; the end token takes one. A hypothesis cut off here is returned,
            with ``finished`` False, only where fewer than num_hypotheses have finished.
        ctc_weight: a token's score is (1 - ctc_weight) times the decoder's log-probability + ctc_weight times
            that of the model's CTC output (Watanabe et al. 2017); only of models that have one.
        max_length_ratio: steps are also at most ``max_length_ratio * source length + max_length_offset``,
            rounded down, but at least 1.
        max_length_offset: see there.
        repetition_penalty: multiplies the log-probability of tokens that the hypothesis has already.
        no_repeat_ngram_size: no n-gram of this length occurs twice in a hypothesis; 0: any may.
        suppress_sequences: lists of tokens that never come out.
        disable_unk: nor does the unknown token.
        renormalize: log-probabilities are normalised anew over the tokens that the options before allow.
        end_token: the ids that end a hypothesis; None: the model's end token.
        target_prefix: for each source the tokens its hypotheses begin with; their log-probabilities are part
            of the score, and no other option counts before they end.
        must_contain: for each source a list of phrases, lists of tokens: a hypothesis that lacks one does not
            end. One that still does at its longest length is unfinished.
        allowed_outputs: the only hypotheses there may be, a `Trie` or another `Automaton`; or for each source
            one, or None.
        sampling_topk: other than 1, hypotheses are samples, drawn from the so many most probable tokens of
            each step (0: from all); beam_size must be 1.
        sampling_topp: of these, from the most probable that together have this probability.
        min_p: of these, from such as have this many times the probability of the most probable.
        sampling_temperature: log-probabilities are divided by this before all that.
        seed: of the samples. A source's sample depends on its index and on the seed, not on the batch.
        sequence_ids: the sources' indices, where they are not 0, 1, ...
        return_alternatives: each hypothesis begins with another token, those of the num_hypotheses most
            probable (after target_prefix), and is the best that does.
        min_alternative_expansion_prob: tokens with a lower probability begin none.
        num_beam_groups: groups that beam_size is divided into, of a search each (diverse beam search).
        diversity_penalty: what a token loses for each group before that has chosen it in the same step.
        return_attention: keep each token's attention weights in the hypotheses.
        callback: ``callback(source, hypothesis, place, token, log_prob, is_last)`` is called for each token
            as soon as it is certain that a source's best hypothesis has it: with one live hypothesis at once,
            with more when all that may still win begin so. ``hypothesis`` is 0, or the index of a sample. The
            end token is told, too. Where it returns true, the hypothesis ends there, unfinished. No token of
            that one has ``is_last``, nor of one that ends because options forbid all that might follow.
        scorers: others that score tokens, each a pair ``(make, weight)``. ``make(sources)``, called when a
            search begins with the indices of its sources, returns a function like `beam_search`'s step:
            ``(parents, tokens) -> scores``, float32 ``[rows, vocab_size]``. Their scores, so many times, are
            added to the log-probabilities, and the sums are what the search, token_scores and scores are of.
        vocabulary: the only tokens that may come out, ascending ids, an end token among them. Only their
            columns of the output layer are computed, and log-probabilities are normalised over them, as with
            CTranslate2's vocabulary map. None: all.
    """

    preset: str | None = None
    beam_size: int = 2
    patience: float = 1.0
    early_stopping: Literal["patience", "first", "heuristic", "never"] = "patience"
    cap_finished: bool = False
    end_rule: Literal["replace", "vacate", "shrink", "stay", "proceed"] = "replace"
    unfinished: Literal["last", "equal", "unnormalized"] = "last"
    force_end_token: bool = False
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    length_penalty_type: Literal["power", "wu", "average", "none"] = "power"
    count_end_token: bool = True
    length_offset: int = 0
    length_penalty_beta: float = 0.0
    word_penalty: float = 0.0
    coverage_penalty: float = 0.0
    coverage_penalty_type: Literal["wu", "summary"] = "wu"
    coverage_end_token: bool = True
    min_decoding_length: int = 1
    max_decoding_length: int = 256
    ctc_weight: float = 0.0
    max_length_ratio: float | None = None
    max_length_offset: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_sequences: Sequence[Sequence[int]] | None = None
    disable_unk: bool = False
    renormalize: bool = False
    end_token: int | Sequence[int] | None = None
    target_prefix: Sequence[Sequence[int]] | None = None
    must_contain: Sequence[Sequence[Sequence[int]] | None] | None = None
    allowed_outputs: Automaton | Sequence[Automaton | None] | None = None
    sampling_topk: int = 1
    sampling_topp: float = 1.0
    min_p: float = 0.0
    sampling_temperature: float = 1.0
    seed: int = 0
    sequence_ids: Sequence[int] | NDArray[np.integer[Any]] | None = None
    return_alternatives: bool = False
    min_alternative_expansion_prob: float = 0.0
    num_beam_groups: int = 1
    diversity_penalty: float = 0.5
    return_attention: bool = False
    callback: Callable[[int, int, int, int, float, bool], bool | None] | None = None
    scorers: Sequence[tuple[Callable[[list[int]], StepFunction], float]] | None = None
    vocabulary: Sequence[int] | Int32 | None = None

    def native(self, *, start_token: int, end_tokens: Sequence[int], vocab_size: int) -> dict[str, Any]:
        """The options as the extension takes them, with the ids of the model's special tokens."""
        ends = {"start_token": start_token, "end_tokens": list(end_tokens)}
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "preset"}
        return ends | native_options(options, vocab_size)


def _preset_first(init: Any) -> Any:
    """A preset's options are defaults, which only the constructor can tell from values that were given."""

    @functools.wraps(init)
    def initialise(self: SearchOptions, **given: Any) -> None:
        init(self, **with_preset(given), preset=given.get("preset"))

    return initialise


SearchOptions.__init__ = _preset_first(SearchOptions.__init__)  # type: ignore[method-assign]


_LISTS = ("suppress_sequences", "target_prefix", "sequence_ids")
_BOOLS = {field.name for field in fields(SearchOptions) if field.type == "bool"}
DEFAULTS = SearchOptions()
"""What every search of the package does unless it is told otherwise."""


def native_options(options: Mapping[str, Any], vocab_size: int, copies: Any = None) -> dict[str, Any]:
    """Return some of SearchOptions' options as the extension takes them, a preset's among them.

    Args:
        options: those that were given.
        vocab_size: how many tokens there are. The extension makes room for each hypothesis that it is asked
            for, and of alternatives there are no more.
        copies: the sources' copy ids, where the model copies: each place may have one more token.

    Raises:
        TypeError: a bool where a number belongs, or the other way round; scorers that are no pairs. Whatever
            else may be wrong with options, the extension finds out.
    """
    native: dict[str, Any] = {}
    for name, value in with_preset(options).items():
        if name in _BOOLS:
            flag("search", name, value)
        elif isinstance(value, bool | np.bool_):
            raise TypeError(f"[search] Expected {name} to be a number, got {value!r}.")
        if name == "end_token" and value is not None:
            native["end_tokens"] = list(value) if isinstance(value, Iterable) else [value]
        elif name == "must_contain" and value is not None:
            native[name] = _lists([] if one is None else one for one in value)
        elif name == "scorers" and value is not None:
            native[name] = scorer_pairs(value)
        elif name in _LISTS and value is not None:
            native[name] = _lists(value)
        elif value is not None:
            native[name] = value
    wanted = native.get("num_hypotheses")
    if native.get("return_alternatives") and isinstance(wanted, int | np.integer):
        native["num_hypotheses"] = min(wanted, vocab_size + (0 if copies is None else np.size(copies)))
    return native


def scorer_pairs(scorers: Any) -> list[tuple[Callable[[list[int]], StepFunction], float]]:
    """Return scorers as pairs of a function and a weight; TypeError where they are something else."""
    pairs = list(scorers) if isinstance(scorers, Iterable) else [scorers]
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not callable(pair[0]):
            break
        if not isinstance(pair[1], SupportsFloat):
            break
    else:
        return [(make, weight) for make, weight in pairs]
    raise TypeError(
        f"[search] Expected scorers to be a list of pairs of a function and a weight, got {scorers!r}."
    )


def check_without_sources(
    options: Mapping[str, Any], *, vocab_size: int, bos_id: int, eos_id: int, unk_id: int
) -> None:
    """Check options of a model's search that has no sources, so that nothing else checks them."""
    from . import _native

    ends = {"start_token": bos_id, "end_tokens": [eos_id], "unk_token": unk_id}
    native = ends | native_options(options, vocab_size)
    number("search", "ctc_weight", native.pop("ctc_weight", 0.0), 0, 1)  # a step function has no CTC output
    _native.beam_search(lambda parents, tokens: None, 0, vocab_size, native, False, [])


def given(**options: Any) -> dict[str, Any]:
    """Return those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _lists(value: Any) -> Any:
    """A list of lists, of whatever sequences; anything else is refused later."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_lists(item) for item in value]


def _integer(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
    return integer("beam_search", name, value, least, most)


def beam_search(
    step: StepFunction,
    *,
    batch_size: int,
    vocab_size: int,
    bos_id: int,
    eos_id: int | Iterable[int],
    beam_size: int | None = None,
    patience: float | None = None,
    num_hypotheses: int | None = None,
    length_penalty: float | None = None,
    min_decoding_length: int | None = None,
    max_decoding_length: int | None = None,
    logits: bool = False,
    return_attention: bool = DEFAULTS.return_attention,
    source_lengths: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    unk_id: int | None = None,
    **options: Any,
) -> list[list[Hypothesis]]:
    """Search for the best sequences of a model of which only one step is known. None stands for what the
    preset says, or else for :class:`SearchOptions`' default.

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
            max_length_ratio needs them.
        unk_id: the unknown token, for disable_unk.
        options: others of :class:`SearchOptions`.

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
    if "end_token" in options:
        raise TypeError("[beam_search] Expected the end token as eos_id, got end_token.")
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

    options |= given(
        beam_size=beam_size,
        patience=patience,
        num_hypotheses=num_hypotheses,
        length_penalty=length_penalty,
        min_decoding_length=min_decoding_length,
        max_decoding_length=max_decoding_length,
        return_attention=return_attention,
    )
    search = SearchOptions(**with_preset(options, has_unk=unk_id is not None))
    flag("beam_search", "logits", logits)
    native = search.native(start_token=bos_id, end_tokens=end_tokens, vocab_size=vocab_size)
    if unk_id is not None:
        native["unk_token"] = _integer("unk_id", unk_id, 0, vocab_size - 1)
    return _native.beam_search(step, batch_size, vocab_size, native, logits, lengths)
