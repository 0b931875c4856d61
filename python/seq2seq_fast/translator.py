"""Translator: a trained model in a service, from tokens to tokens.

Names, defaults and results are CTranslate2's, so that code written for it runs here; what differs is said.
"""

from __future__ import annotations

import functools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import asdict, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast.arguments import as_list, choice, flag, integer
from seq2seq_fast.background import AsyncTranslationResult, Background
from seq2seq_fast.batching import batches
from seq2seq_fast.copying import CopySource
from seq2seq_fast.decoding_presets import with_preset
from seq2seq_fast.device import resolve_device
from seq2seq_fast.files import ModelFolder
from seq2seq_fast.front_end import FrontEnd, Statistics
from seq2seq_fast.memory_files import MemoryFolder
from seq2seq_fast.quantization import COMPUTE_TYPES
from seq2seq_fast.replay import log_probs_of
from seq2seq_fast.search import check_without_sources, given, native_options
from seq2seq_fast.search_tokens import options_as_ids, options_of_sources, with_copies
from seq2seq_fast.source_vocabularies import both_of_each, by_vocabulary, vocabulary_of_each
from seq2seq_fast.statistics import Counters, ExecutionStats
from seq2seq_fast.text import TextField
from seq2seq_fast.translation_results import GenerationStepResult, ScoringResult, TranslationResult
from seq2seq_fast.translator_models import check_same_text, load, parameters
from seq2seq_fast.translator_rows import (
    cut,
    feature_row,
    id_row,
    joined,
    joined_copies,
    token_row,
)
from seq2seq_fast.translator_streams import Streams

if TYPE_CHECKING:
    from seq2seq_fast._native import Hypothesis
    from seq2seq_fast.data import Batch
    from seq2seq_fast.decoding_session import DecodingSession, SessionModel
    from seq2seq_fast.lexical_shortlist import LexicalShortlist
    from seq2seq_fast.model import Seq2SeqConfig

__all__ = [
    "AsyncTranslationResult",
    "ExecutionStats",
    "GenerationStepResult",
    "ScoringResult",
    "TranslationResult",
    "Translator",
]

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Tokens = Sequence[str] | Sequence[int] | NDArray[np.integer[Any]]
VocabularyTokens = Iterable[str] | Iterable[int] | NDArray[np.integer[Any]]
BatchType = Literal["examples", "tokens"]
T = TypeVar("T")

MOST_THREADS, MOST_PATTERNS = 256, 64


class Translator(Streams):
    """Reads a model's folder once and answers calls from any number of threads.

    A result depends on its source and the options alone: not on the batch, on other calls, or on how many
    threads there are.

    Args:
        path: the model's folder; or several, of models that read the same sources and have the same target
            vocabulary: an ensemble, whose steps are the mean of theirs.
        device: "cpu", "cuda", "cuda:1" ...; "auto": CUDA where it is ready, else the CPU.
        device_index: which CUDA device, where device does not say it.
        compute_type: what matrices are multiplied in: "float32", "float16", "bfloat16" or "int8"; "default":
            as the folder stores them; "auto": the fastest that this processor does well, int8 or float32.
        ensemble_mean: "probability": the members' probabilities are averaged (fairseq, OpenNMT);
            "log_probability": their logarithms (Marian), which is not normalised again.
        inter_threads: batches that are computed at once. Further calls wait, first come first served.
        intra_threads: threads of each. 0: as many as the processor has for each batch, but at most 4.
        max_queued_batches: asynchronous calls that may wait before one more makes its caller wait; 0: four
            times inter_threads; -1: any number.
        files: a model from memory: contents by the names that the files of its folder have. `path` is then
            what it is called in messages.

    Raises:
        FileNotFoundError, ValueError: the folder is none, or damaged; the message names file and field.
        ValueError, TypeError: an argument; the message names it.
        RuntimeError: there is no such device; the message says what is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        device: str = "auto",
        *,
        device_index: int = 0,
        compute_type: str = "default",
        ensemble_mean: str = "probability",
        inter_threads: int = 1,
        intra_threads: int = 0,
        max_queued_batches: int = 0,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        index = integer("Translator", "device_index", device_index, 0, 999)
        self.device = resolve_device("Translator", f"cuda:{index}" if device == "cuda" else device, auto=True)
        """Where the model lies: "cpu", "cuda:0", ..."""
        choice("Translator", "compute_type", compute_type, ("default", "auto", *COMPUTE_TYPES))
        inter = integer("Translator", "inter_threads", inter_threads, 1, MOST_THREADS)
        intra = integer("Translator", "intra_threads", intra_threads, 0, MOST_THREADS)
        queued = integer("Translator", "max_queued_batches", max_queued_batches, -1)
        choice("Translator", "ensemble_mean", ensemble_mean, ("probability", "log_probability"))
        paths: list[Any] = list(path) if isinstance(path, list | tuple) else [path]
        if not paths:
            raise ValueError("[Translator] Expected path as at least one folder, got none.")
        if files is not None and len(paths) > 1:
            raise ValueError("[Translator] Expected files of one model, got several paths.")
        self._memory = None if files is None else MemoryFolder("Translator", files)
        if self._memory is not None:
            paths = [self._memory.path]
        self._folders = [ModelFolder.open(one) for one in paths]
        first = self._folders[0]
        for folder in self._folders[1:]:
            check_same_text(first, folder)
        self.config: Seq2SeqConfig = first.config
        """The first model's."""
        self.source: TextField | None = first.source
        """Tokeniser and vocabulary of the sources, if the folder has them."""
        self.target: TextField | None = first.target
        self.front_end: FrontEnd | None = first.front_end
        """What feature vectors go through before the network; None: nothing, or the sources are tokens."""
        self._attends = all(folder.config.context == "attention" for folder in self._folders)
        self.num_translators = inter
        """Batches that are computed at once: inter_threads."""
        self.intra_threads = intra or max(1, min(4, _processors() // inter))
        self._wanted_type, self._ensemble_mean = compute_type, ensemble_mean
        self._background = Background(inter, 4 * inter if queued == 0 else queued)
        self._counters = Counters()
        self._closed = False
        # For any number of threads, without a lock that a fork could leave locked.
        self._patterns = functools.lru_cache(MOST_PATTERNS)(functools.partial(_automaton, self.target))
        self._fingerprint: dict[str, str] | None = None  # of sessions
        self._shortlist: LexicalShortlist | None = None  # read when it is first asked for
        self._kept: list[list[tuple[str, Floats]]] = []  # parameters that unload_model left in memory
        self.compute_type: str
        """What matrices are multiplied in."""
        self._native: _native.Translator | None = None
        self.load_model()

    def close(self) -> None:
        """Give the model's memory back when the calls under way have ended; later ones raise RuntimeError."""
        self._closed = True
        self._kept.clear()
        self._native = None
        _native.release_memory()

    def unload_model(self, to_cpu: bool = False) -> None:
        """Give the model's memory back when the calls under way have ended, until `load_model`.

        Args:
            to_cpu: keep the parameters in the host's memory, so that no file is read to load it again.
        """
        if flag("unload_model", "to_cpu", to_cpu) and self._native is not None:
            self._kept = [list(parameters(folder, self._wanted_type)) for folder in self._folders]
        self._native = None
        _native.release_memory()

    def load_model(self, keep_cache: bool = False) -> None:
        """Load the model again after `unload_model`; nothing where it is loaded.

        Args:
            keep_cache: keep what unload_model left in the host's memory there.
        """
        if self._closed:
            raise RuntimeError("[Translator] It is closed.")
        if self._native is not None:
            return
        kept: list[Any] = self._kept or [None] * len(self._folders)
        models = [
            load(folder, self._wanted_type, self.device, held)
            for folder, held in zip(self._folders, kept, strict=True)
        ]
        self.compute_type = models[0].compute_type
        self._native = _native.Translator(
            models, self._ensemble_mean, self.num_translators, self.intra_threads
        )
        if not flag("load_model", "keep_cache", keep_cache):
            self._kept = []

    @property
    def model_is_loaded(self) -> bool:
        """Whether calls find a model."""
        return self._native is not None

    @property
    def statistics(self) -> ExecutionStats:
        """Of all calls of `translate_batch` and its like, and of `score_batch`, so far."""
        return self._counters.read()

    def __enter__(self) -> Translator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def num_active_batches(self) -> int:
        """Batches that are being computed or wait."""
        return self._opened().active

    @property
    def num_queued_batches(self) -> int:
        """Batches that wait."""
        return self._opened().queued

    @overload
    def translate_batch(
        self,
        source: Iterable[Tokens] | Iterable[Floats],
        target_prefix: Iterable[Tokens | None] | None = None,
        *,
        asynchronous: Literal[True],
        **options: Any,
    ) -> list[AsyncTranslationResult]: ...

    @overload
    def translate_batch(
        self,
        source: Iterable[Tokens] | Iterable[Floats],
        target_prefix: Iterable[Tokens | None] | None = None,
        *,
        asynchronous: Literal[False] = False,
        **options: Any,
    ) -> list[TranslationResult]: ...

    def translate_batch(
        self,
        source: Iterable[Tokens] | Iterable[Floats],
        target_prefix: Iterable[Tokens | None] | None = None,
        *,
        max_batch_size: int = 0,
        batch_type: BatchType = "examples",
        beam_size: int | None = None,
        patience: float | None = None,
        num_hypotheses: int | None = None,
        length_penalty: float | None = None,
        max_decoding_length: int | None = None,
        min_decoding_length: int | None = None,
        preset: str | None = None,
        vocabulary: VocabularyTokens | Iterable[VocabularyTokens | None] | None = None,
        use_vmap: bool = False,
        return_scores: bool = False,
        return_token_scores: bool = False,
        return_attention: bool = False,
        return_alignment: bool = False,
        return_end_token: bool = False,
        return_logits_vocab: bool = False,
        replace_unknowns: bool = False,
        max_input_length: int = 0,
        callback: Callable[[GenerationStepResult], bool | None] | None = None,
        asynchronous: bool = False,
        groups: Iterable[str | Statistics] | None = None,
        **options: Any,
    ) -> list[TranslationResult] | list[AsyncTranslationResult]:
        """Search for the best outputs. `SearchOptions` says what each option of the search means exactly, and
        has the defaults for which None stands here.

        Args:
            source: for each source its tokens (an unknown one is unk; the end token is added if the model
                wants it), its ids (taken as they are), or its features, float32 [S, C], as they were in the
                training files (the model's front end does the rest). One without any gives an empty output.
            target_prefix: for each source the tokens (or ids) that its outputs begin with; None: none.
            max_batch_size: cut the sources, sorted by length, into batches of so many; 0: one batch. Batches
                are computed side by side as far as inter_threads allow. No result depends on it.
            batch_type: what max_batch_size counts: "examples", or "tokens" of the source (or feature
                vectors).
            beam_size: live hypotheses per source; 1: greedy search.
            patience: a source stops when beam_size times so many hypotheses have finished.
            num_hypotheses: outputs per source, at most beam_size.
            length_penalty: outputs are ranked by log-probability / length ** length_penalty.
            max_decoding_length: steps at most.
            min_decoding_length: no end token before so many tokens.
            preset: "ctranslate2", "opennmt-py", "fairseq", "marian", "sockeye", "joeynmt" or "transformers":
                search, rank and stop as that system does, with its defaults; options given beside it win.
            vocabulary: the only target tokens (or ids) that may come out, the end token apart, which always
                may; probabilities are normalised over them. None: all. Or a list with such a list, or None,
                for each source; sources of the same tokens are then computed together.
            use_vmap: of each source only those target tokens may come out that the lexical shortlist in the
                model's folder has for its tokens (`lexical_model.make_shortlist`), the unknown token, and
                what its target_prefix and must_contain have; a model that copies may copy, too. As if they
                were its `vocabulary`; with one beside it, only what is in both.
            return_scores: fill `scores` of the results.
            return_token_scores: fill `token_scores`.
            return_attention: fill `attention`.
            return_alignment: fill `alignment`; the model must have attention.
            return_end_token: hypotheses and ids of finished outputs have the end token, last.
            return_logits_vocab: fill `logits`; the outputs are decoded once more for it. Not of an ensemble.
            replace_unknowns: in the place of an unknown token stands the source token with the largest
                attention; ids stay as they are.
            max_input_length: sources are cut to so many tokens (or ids, or vectors) before the end token is
                added; 0: as long as they are.
            callback: called with each token as soon as it is certain, as `SearchOptions` says; if it returns
                true, that output ends there. It runs on the thread of the search, which waits for it.
            asynchronous: return at once; each result is then one to wait for, with `result()` and `done()`.
            groups: who each source is of, a group that training knew or its `front_end.Statistics`; for a
                model whose front end normalises by group.
            options: others of `SearchOptions`. Tokens may stand for ids in end_token, suppress_sequences,
                must_contain and allowed_outputs, which may also be a list of outputs, or a compiled regular
                expression that the output's text matches as a whole (see `regex`), for all sources or in a
                list for each.

        Returns:
            A result for each source, in their order.

        Raises:
            ValueError, TypeError: an argument; the message names it, and which source.
            RuntimeError: the translator is closed, or the model computes NaN.
        """
        source = as_list("translate_batch", "source", source)
        work = self._translation(
            "translate_batch",
            source,
            target_prefix,
            max_batch_size=max_batch_size,
            batch_type=batch_type,
            **given(
                beam_size=beam_size,
                patience=patience,
                num_hypotheses=num_hypotheses,
                length_penalty=length_penalty,
                max_decoding_length=max_decoding_length,
                min_decoding_length=min_decoding_length,
                preset=preset,
            ),
            vocabulary=vocabulary,
            use_vmap=use_vmap,
            return_scores=return_scores,
            return_token_scores=return_token_scores,
            return_attention=return_attention,
            return_alignment=return_alignment,
            return_end_token=return_end_token,
            return_logits_vocab=return_logits_vocab,
            replace_unknowns=replace_unknowns,
            max_input_length=max_input_length,
            callback=callback,
            groups=groups,
            **options,
        )
        if not flag("translate_batch", "asynchronous", asynchronous):
            return work(threading.Event())
        job = self._background.submit(work)
        return [AsyncTranslationResult(job, place) for place in range(len(source))]

    def _translation(
        self,
        op: str,
        source: Any,
        target_prefix: Any,
        *,
        max_batch_size: int = 0,
        batch_type: str = "examples",
        vocabulary: Any = None,
        use_vmap: bool = False,
        return_scores: bool = False,
        return_token_scores: bool = False,
        return_attention: bool = False,
        return_alignment: bool = False,
        return_end_token: bool = False,
        return_logits_vocab: bool = False,
        replace_unknowns: bool = False,
        max_input_length: int = 0,
        callback: Callable[[GenerationStepResult], bool | None] | None = None,
        groups: Iterable[str | Statistics] | None = None,
        first_source: int = 0,
        **options: Any,
    ) -> Callable[[threading.Event], list[TranslationResult]]:
        """Check a call of `translate_batch` and return its work, which ends early once the event is set.
        `first_source`: the first one's index, for errors, samples and scorers."""
        native = self._opened()
        source = as_list(op, "source", source)
        most = integer(op, "max_input_length", max_input_length, 0)
        if most:
            source = [cut(one, most) for one in source]
        rows = self._source_rows(op, source, first_source, groups)
        wants_attention = (
            flag(op, "return_attention", return_attention)
            | self._needs_attention(op, "return_alignment", return_alignment)
            | self._needs_attention(op, "replace_unknowns", replace_unknowns)
        )
        named: dict[str, Any] = {"return_attention": wants_attention, "target_prefix": target_prefix}
        copied = self._copied(op, source, rows)
        options = with_preset(options, has_unk=self._has_unk())
        options = options_as_ids(
            op,
            options | named,
            self._encode_with(op),
            len(rows),
            functools.partial(self._compiled, op),
            first_source,
        )
        if callback is not None:
            options["callback"] = self._listener(op, callback, copied)
        vocabularies = self._vocabularies(op, vocabulary, len(rows), options.get("end_token"), first_source)
        if flag(op, "use_vmap", use_vmap):
            copies = [one.ids for one in copied] if copied else None
            listed = self.shortlisted(rows, copies, options, op)
            vocabularies = listed if vocabularies is None else both_of_each(listed, vocabularies)
        flag(op, "return_scores", return_scores)
        flag(op, "return_token_scores", return_token_scores)
        flag(op, "return_end_token", return_end_token)
        if flag(op, "return_logits_vocab", return_logits_vocab) and len(self._folders) > 1:
            raise ValueError(f"[{op}] Expected return_logits_vocab of one model, got an ensemble.")
        replacements = self._replacements(op, source, rows) if replace_unknowns else []
        logits: dict[int, list[Floats]] = {}
        size = self.config.target_vocab_size

        def search(part: Sequence[int]) -> list[list[Hypothesis]]:
            copies = joined_copies([copied[i] for i in part]) if copied else None
            given = options_of_sources(options, part, first_source)
            if vocabularies is not None:
                given["vocabulary"] = vocabularies[part[0]]
            inputs = joined([rows[i] for i in part])
            found = native.generate(*inputs, native_options(given, size, copies), copies)
            if return_logits_vocab:
                widths = [size + (len(copied[i].extra) if copied else 0) for i in part]
                again = log_probs_of(native, *inputs, copies, found, widths, self.config.bos_id)
                logits.update(zip(part, again, strict=True))
            return found

        weights = [len(row) for row in rows]
        if not any(weights):
            check_without_sources(
                options_of_sources(options, []),
                vocab_size=size,
                bos_id=self.config.bos_id,
                eos_id=self.config.eos_id,
                unk_id=self.config.unk_id,
            )
        in_parts = self._in_parts(op, search, weights, rows, max_batch_size, batch_type, vocabularies)

        def work(stop: threading.Event) -> list[TranslationResult]:
            begin = time.perf_counter()
            results = [
                self._result(
                    hypotheses,
                    return_scores,
                    return_token_scores,
                    return_attention,
                    return_alignment,
                    return_end_token,
                    copied[i].extra if copied else (),
                    replacements[i] if replacements else None,
                    logits.get(i) if return_logits_vocab else [],
                )
                for i, hypotheses in enumerate(in_parts(stop))
            ]
            self._counters.add(
                tokens=sum(len(result.ids[0]) for result in results),
                examples=len(results),
                seconds=time.perf_counter() - begin,
            )
            return results

        return work

    def _listener(
        self, op: str, callback: Any, copied: Sequence[CopySource]
    ) -> Callable[[int, int, int, int, float, bool], bool | None]:
        """Return a callback of a search, by ids, that calls one by tokens."""
        if not callable(callback):
            raise TypeError(f"[{op}] Expected callback to be callable, got {type(callback).__name__}.")

        def hear(source: int, hypothesis: int, place: int, token: int, log_prob: float, last: bool) -> Any:
            [text] = self._tokens([token], copied[source].extra if copied else ())
            return callback(GenerationStepResult(place, source, token, hypothesis, text, log_prob, last))

        return hear

    def score_batch(
        self,
        source: Iterable[Tokens] | Iterable[Floats],
        target: Iterable[Tokens],
        *,
        max_batch_size: int = 0,
        batch_type: BatchType = "examples",
        groups: Iterable[str | Statistics] | None = None,
    ) -> list[ScoringResult]:
        """Return how probable given targets are.

        Args:
            source: as for `translate_batch`.
            target: for each source its target's tokens, or ids, without start and end token; may be empty.
            max_batch_size: as for `translate_batch`.
            batch_type: "examples", or "tokens": of source or target, whichever has more.
            groups: as for `translate_batch`.

        Returns:
            A result for each pair, in their order.

        Raises:
            ValueError, TypeError: an argument; the message names it, and which source or target.
            RuntimeError: the translator is closed.
        """
        work = self._scoring(
            "score_batch", source, target, max_batch_size=max_batch_size, batch_type=batch_type, groups=groups
        )
        return work(threading.Event())

    def _scoring(
        self,
        op: str,
        source: Any,
        target: Any,
        *,
        max_batch_size: int = 0,
        batch_type: str = "examples",
        groups: Iterable[str | Statistics] | None = None,
    ) -> Callable[[threading.Event], list[ScoringResult]]:
        """Check a call of `score_batch` and return its work."""
        native = self._opened()
        source = as_list(op, "source", source)
        rows = self._source_rows(op, source, groups=groups)
        copied = self._copied(op, source, rows)
        targets = self._target_rows(op, target, copied)
        if len(targets) != len(rows):
            raise ValueError(f"[{op}] Expected target for {len(rows)} sources, got {len(targets)}.")

        def score(part: Sequence[int]) -> list[Floats]:
            right, lengths = joined([targets[i] for i in part])
            copies = joined_copies([copied[i] for i in part]) if copied else None
            scores = native.score(*joined([rows[i] for i in part]), right, lengths, copies)
            return np.split(scores, np.cumsum(lengths)[:-1])

        weights = [max(len(row), len(right)) for row, right in zip(rows, targets, strict=True)]
        in_parts = self._in_parts(op, score, weights, rows, max_batch_size, batch_type)

        def work(stop: threading.Event) -> list[ScoringResult]:
            begin = time.perf_counter()
            found = in_parts(stop)
            self._counters.add(
                tokens=sum(map(len, targets)), examples=len(rows), seconds=time.perf_counter() - begin
            )
            return [
                ScoringResult(
                    self._tokens(ids.tolist(), copied[i].extra if copied else ()),
                    np.full(len(ids), np.nan, np.float32) if log_probs is None else log_probs,
                )
                for i, (ids, log_probs) in enumerate(zip(targets, found, strict=True))
            ]

        return work

    # ---- sessions

    def start(self, source: Iterable[Tokens] | Iterable[Floats]) -> DecodingSession:
        """Encode sources and return a decoder that goes on by a token at a time, as its caller says.

        Args:
            source: as for `translate_batch`, none of them empty; at first each has a row.

        Raises:
            ValueError, TypeError: an argument; the translator has an ensemble.
            RuntimeError: there is no model.
        """
        from seq2seq_fast.decoding_session import DecodingSession, SessionSource

        op = "start"
        native = self._opened()
        sources = as_list(op, "source", source)
        rows = self._source_rows(op, sources)
        for i, row in enumerate(rows):
            if not len(row):
                raise ValueError(f"[{op}] Expected source {i} of at least one token, got none.")
        if not rows:
            raise ValueError(f"[{op}] Expected at least one source, got none.")
        copied = self._copied(op, sources, rows)
        copies = joined_copies(copied) if copied else None
        values, lengths = joined(rows)
        encoded = SessionSource(values, lengths, copies, [list(one.extra) for one in copied])
        return DecodingSession.begin(native.start(values, lengths, copies), self._session_model(), encoded)

    def restore(self, saved: bytes) -> DecodingSession:
        """Return the session whose `DecodingSession.save` gave these bytes, in this process or another.

        Raises:
            ValueError: the bytes are truncated or altered, of a newer format, or of another model.
        """
        from seq2seq_fast.decoding_session import restored

        return restored(saved, self._opened(), self._session_model())

    def _session_model(self) -> SessionModel:
        from seq2seq_fast.decoding_session import SessionModel

        if self._fingerprint is None:
            folder = self._folders[0]
            self._fingerprint = {
                "config": json.dumps(asdict(self.config)),
                "compute_type": self.compute_type,
                "weights": folder.weights_digest(),
            }
        return SessionModel(self.config.bos_id, self.config.target_vocab_size, self.target, self._fingerprint)

    def generate(
        self, source: Floats | Ids, source_lengths: Ids, *, copies: Ids | None = None, **options: Any
    ) -> list[list[Hypothesis]]:
        """Search with `Seq2Seq.generate`'s arguments and results, which tell more: flat arrays, ids only.

        Features are those behind the front end.
        """
        options = with_preset(options, has_unk=self._has_unk())
        native = native_options(options, self.config.target_vocab_size, copies)
        return self._opened().generate(source, source_lengths, native, copies)

    def score(self, batch: Batch) -> Floats:
        """float32 [sum T]: the log-probability of every target token of a batch, as `Seq2Seq.score`."""
        native = self._opened()
        return native.score(
            batch.source, batch.source_lengths, batch.target, batch.target_lengths, batch.copies
        )

    def shortlisted(
        self,
        sources: Sequence[Sequence[int] | NDArray[np.integer[Any]]],
        copies: Sequence[Sequence[int]] | None,
        options: Mapping[str, Any],
        op: str = "use_vmap",
    ) -> list[Ids | None]:
        """Return for each source the ascending ids that may come out of it with `use_vmap`: what `generate`
        takes as `vocabulary`, of sources that have the same.

        Args:
            sources: ids; None comes of one without any.
            copies: their copy ids, where the model copies.
            options: of the search, as ids: what its end_token, target_prefix and must_contain have may come.
            op: whose sources they are, for errors.

        Raises:
            ValueError: there is no shortlist, it is damaged, or the sources are features.
        """
        shortlist = self._read_shortlist(op)
        size, unk_id = self.config.target_vocab_size, self.config.unk_id
        always = list(options.get("end_token") or [self.config.eos_id])
        if self._has_unk():
            always.append(unk_id)
        prefixes, phrases = options.get("target_prefix"), options.get("must_contain")
        found: list[Ids | None] = []
        for i, source in enumerate(sources):
            wanted = [[] if prefixes is None else prefixes[i], *([] if phrases is None else phrases[i])]
            copied = [] if copies is None else copies[i]
            ids = shortlist.allowed(
                source, always, *([t for t in tokens if t < size] for tokens in [copied, *wanted])
            )
            found.append(ids if len(source) else None)
        return found

    def _read_shortlist(self, op: str) -> LexicalShortlist:
        from seq2seq_fast.lexical_shortlist import load_shortlist

        if self.config.source_vocab_size == 0:
            raise ValueError(f"[{op}] Expected use_vmap of a model whose sources are tokens.")
        if self._shortlist is None:
            lists = (load_shortlist(folder) for folder in self._folders)
            self._shortlist = next((one for one in lists if one is not None), None)
        if self._shortlist is None:
            raise ValueError(
                f"[{op}] Expected use_vmap of a model with a lexical shortlist, {self._folders[0].path} has "
                "none; seq2seq-fast shortlist makes one."
            )
        return self._shortlist

    def _has_unk(self) -> bool:
        return self.target is None or self.target.vocabulary.unk_id is not None

    # ---- from the caller's data to arrays

    def _opened(self) -> _native.Translator:
        native = self._native  # held until the call ends, even if another thread closes
        if native is None:
            raise RuntimeError(
                "[Translator] It is closed."
                if self._closed
                else "[Translator] Its model is unloaded; load_model() loads it again."
            )
        return native

    def _running(self) -> Background:
        self._opened()
        return self._background

    def _source_rows(self, op: str, source: Any, first: int = 0, groups: Any = None) -> list[NDArray[Any]]:
        """The sources as int32 [S] or float32 [S, C] each."""
        sources, config = as_list(op, "source", source), self.config
        by_group = self.front_end is not None and self.front_end.normalization == "group"
        if groups is not None:
            if not by_group:
                raise ValueError(f"[{op}] Expected no groups: this model does not normalise by group.")
            groups = as_list(op, "groups", groups)
            if len(groups) != len(sources):
                raise ValueError(f"[{op}] Expected groups for {len(sources)} sources, got {len(groups)}.")
        elif by_group:
            raise ValueError(f"[{op}] Expected groups, as this model normalises by group; got none.")
        if config.source_vocab_size:
            return [
                token_row(op, f"source {i}", tokens, self.source, config.source_vocab_size)
                for i, tokens in enumerate(sources, first)
            ]
        front_end = self.front_end
        if front_end is None:
            return [
                feature_row(op, f"source {i}", x, config.source_features)
                for i, x in enumerate(sources, first)
            ]
        rows = []
        for i, x in enumerate(sources):
            row = feature_row(op, f"source {first + i}", x, front_end.features)
            if not len(row):
                rows.append(np.zeros((0, front_end.width), np.float32))
                continue
            try:
                rows.append(front_end(row, groups[i] if groups is not None else None))
            except ValueError as error:
                raise ValueError(f"[{op}] In source {first + i}: {error}") from None
        return rows

    def _copied(self, op: str, sources: list[Any], rows: Sequence[NDArray[Any]]) -> list[CopySource]:
        """What each source lets the output copy; nothing where the model does not copy."""
        if not self.config.copy_attention:
            return []
        if self.source is None or self.target is None:
            raise ValueError(
                f"[{op}] Expected a model with vocabularies, to know what a source's tokens are to the "
                "output; `generate` takes copies."
            )
        copied = []
        for tokens, row in zip(sources, rows, strict=True):
            given_ids = isinstance(tokens, np.ndarray) or not all(isinstance(token, str) for token in tokens)
            texts = self.source.vocabulary.decode(row.tolist()) if given_ids else tokens
            eos = self.source.eos and not given_ids and len(row) > 0
            copied.append(CopySource.of(texts, self.target.vocabulary, eos=eos))
        return copied

    def _target_rows(self, op: str, target: Any, copied: Sequence[CopySource]) -> list[Ids]:
        """The targets as int32 [T] each, the end token last."""
        end = np.array([self.config.eos_id], np.int32)
        field = None if self.target is None else replace(self.target, eos=False)
        size = self.config.target_vocab_size
        rows = []
        for i, tokens in enumerate(as_list(op, "target", target)):
            row = token_row(op, f"target {i}", tokens, field, size)
            # Tokens, not ids: those that only the source has are copied from it.
            if i < len(copied) and self.target is not None and len(row) and isinstance(tokens[0], str):
                row = np.array(copied[i].target_ids(tokens, self.target.vocabulary), np.int32)
            rows.append(np.append(row, end))
        return rows

    def _needs_attention(self, op: str, name: str, wanted: bool) -> bool:
        if flag(op, name, wanted) and not self._attends:
            raise ValueError(f"[{op}] {name} was asked of a model that has no attention.")
        return wanted

    def _replacements(self, op: str, sources: list[Any], rows: Sequence[NDArray[Any]]) -> list[list[str]]:
        """Of each source the tokens that may replace unknown ones."""
        if self.target is None or self.config.source_vocab_size == 0:
            raise ValueError(f"[{op}] Expected replace_unknowns of a model with vocabularies.")
        if self.config.reduction > 1:
            raise ValueError(
                f"[{op}] Expected replace_unknowns of a model whose memory has a place for each token."
            )
        found = []
        for tokens, row in zip(sources, rows, strict=True):
            if not isinstance(tokens, np.ndarray) and all(isinstance(token, str) for token in tokens):
                found.append(list(tokens))
            elif self.source is None:
                raise ValueError(f"[{op}] Expected replace_unknowns of a model with vocabularies.")
            else:
                found.append(self.source.vocabulary.decode(row.tolist()))
        return found

    def _encode_with(self, op: str) -> Callable[[str, Any], list[int]]:
        """Return what makes ids of target tokens, known ones, or of ids."""
        size = self.config.target_vocab_size

        def encode(name: str, tokens: Any) -> list[int]:
            tokens = tokens if isinstance(tokens, np.ndarray) else as_list(op, name, tokens)
            if len(tokens) == 0:
                return []
            if self.target is None or not all(isinstance(token, str) for token in tokens):
                return [int(i) for i in id_row(op, name, tokens, size)]
            for token in tokens:
                if token not in self.target.vocabulary:
                    raise ValueError(f"[{op}] Expected {name} of target tokens, got {token!r}.")
            return self.target.vocabulary.encode(tokens)

        return encode

    def _compiled(self, op: str, expression: re.Pattern[str]) -> _native.Automaton:
        """The automaton of a regular expression over the outputs' texts; the last ones are kept."""
        if self.target is None:
            raise ValueError(f"[{op}] Expected a model with a target vocabulary, for a regular expression.")
        if expression.flags != re.compile("").flags:
            raise ValueError(f"[{op}] Expected a regular expression of strings without flags.")
        return self._patterns(expression.pattern)

    def _vocabularies(
        self, op: str, vocabulary: Any, num_sources: int, end_token: list[int] | None, first: int
    ) -> list[Ids | None] | None:
        """For each source the ids that may come out, ascending; None: all may, of a source or of each."""
        if vocabulary is None:
            return None
        if not isinstance(vocabulary, np.ndarray):
            vocabulary = as_list(op, "vocabulary", vocabulary)
        listed = vocabulary_of_each(op, vocabulary)
        if listed is None and (num_sources or len(vocabulary)):
            return [self._allowed(op, "vocabulary", vocabulary, end_token)] * num_sources
        listed = listed or []
        if len(listed) != num_sources:
            raise ValueError(f"[{op}] Expected vocabulary for {num_sources} sources, got {len(listed)}.")
        return [
            None if one is None else self._allowed(op, f"vocabulary {i}", one, end_token)
            for i, one in enumerate(listed, first)
        ]

    def _allowed(self, op: str, name: str, vocabulary: Any, end_token: list[int] | None) -> Ids:
        """The ids of a `vocabulary` and the end tokens, ascending."""
        tokens = vocabulary if isinstance(vocabulary, np.ndarray) else as_list(op, name, vocabulary)
        if len(tokens) == 0:
            raise ValueError(f"[{op}] Expected {name} of at least one token, got none.")
        if self.target is not None and all(isinstance(token, str) for token in tokens):
            known = self.target.vocabulary
            for token in tokens:
                if token not in known:
                    raise ValueError(f"[{op}] Expected {name} of target tokens, got {token!r}.")
            ids = np.array(known.encode(tokens), np.int32)
        else:
            ids = id_row(op, name, tokens, self.config.target_vocab_size)
        return np.union1d(ids, np.array(end_token or [self.config.eos_id], np.int32))

    # ---- batches

    def _in_parts(
        self,
        op: str,
        work: Callable[[Sequence[int]], list[T]],
        weights: Sequence[int],
        rows: Sequence[NDArray[Any]],
        max_batch_size: int,
        batch_type: str,
        vocabularies: Sequence[Ids | None] | None = None,
    ) -> Callable[[threading.Event], list[T | None]]:
        """Return what calls `work` with the places of the rows that are not empty, a batch at a time, all
        of one vocabulary.

        That returns its results in the order of the rows, None for an empty one; or raises CancelledError
        where the event is set.
        """
        size = integer(op, "max_batch_size", max_batch_size, 0)
        by_tokens = choice(op, "batch_type", batch_type, ("examples", "tokens")) == "tokens"
        places = [i for i, row in enumerate(rows) if len(row)]
        parts: list[list[int]] = by_vocabulary(places, vocabularies) if places else []
        if size:
            weight = weights.__getitem__ if by_tokens else lambda _: 1
            sized = [batches(sorted(part, key=lambda i: -weights[i]), size, weight) for part in parts]
            parts = [part for group in sized for part in group]
        workers = min(self.num_translators, len(parts))

        def run(stop: threading.Event) -> list[T | None]:
            def one(part: Sequence[int]) -> list[T]:
                if stop.is_set():
                    raise CancelledError
                return work(part)

            results: list[T | None] = [None] * len(rows)
            if workers > 1:
                with ThreadPoolExecutor(workers) as pool:
                    found = list(pool.map(one, parts))
            else:
                found = [one(part) for part in parts]
            for part, answers in zip(parts, found, strict=True):
                for i, answer in zip(part, answers, strict=True):
                    results[i] = answer
            return results

        return run

    # ---- from arrays to results

    def _tokens(self, ids: list[int], extra: Sequence[str] = ()) -> list[str]:
        if self.target is None:
            return [str(i) for i in ids]
        return self.target.vocabulary.decode(ids, extra=extra)

    def _result(
        self,
        hypotheses: list[Hypothesis] | None,
        scores: bool,
        token_scores: bool,
        attention: bool,
        alignment: bool,
        end_token: bool,
        extra: Sequence[str],
        replacements: Sequence[str] | None,
        logits: list[Floats] | None,
    ) -> TranslationResult:
        if hypotheses is None:  # of an empty source
            nothing = np.zeros(0, np.float32)
            return TranslationResult(
                hypotheses=[[]],
                ids=[[]],
                finished=[True],
                scores=[0.0] if scores else [],
                token_scores=[nothing] if token_scores else [],
                attention=[nothing.reshape(0, 0)] if attention and self._attends else [],
                alignment=[[]] if alignment else [],
                logits=[np.zeros((0, self.config.target_vocab_size), np.float32)] if logits is None else [],
            )
        ids = [h.tokens for h in hypotheses]
        shown = ids
        if replacements is not None:
            first = self.config.target_vocab_size + len(extra)
            shown = [
                with_copies(h.tokens, self.config.unk_id, h.attention, len(replacements), first)
                for h in hypotheses
            ]
            extra = [*extra, *replacements]
        tokens = [self._tokens(one, extra) for one in shown]
        if end_token:
            ends = [[] if h.end_token is None else [h.end_token] for h in hypotheses]
            ids = [one + end for one, end in zip(ids, ends, strict=True)]
            tokens = [one + self._tokens(end) for one, end in zip(tokens, ends, strict=True)]
        return TranslationResult(
            hypotheses=tokens,
            ids=ids,
            finished=[h.finished for h in hypotheses],
            scores=[h.score for h in hypotheses] if scores else [],
            token_scores=[h.token_scores for h in hypotheses] if token_scores else [],
            attention=[h.attention for h in hypotheses if h.attention is not None] if attention else [],
            alignment=[h.alignment or [] for h in hypotheses] if alignment else [],
            logits=logits or [],
        )


def _automaton(target: TextField | None, expression: str) -> _native.Automaton:
    from seq2seq_fast.patterns import pattern, token_texts

    assert target is not None  # _compiled has looked
    return pattern(expression, **token_texts(target))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
