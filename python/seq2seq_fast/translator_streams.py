"""What a translator does with more than one list of sources: streams, files, texts, tokens as they come."""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from seq2seq_fast.arguments import choice, flag, integer
from seq2seq_fast.background import Background, Job
from seq2seq_fast.batching import batches
from seq2seq_fast.search import given
from seq2seq_fast.statistics import ExecutionStats
from seq2seq_fast.translator_stream_options import aligned, by_source
from seq2seq_fast.tsv import read_lines

if TYPE_CHECKING:
    from seq2seq_fast.text import TextField
    from seq2seq_fast.translation_results import GenerationStepResult, ScoringResult, TranslationResult

__all__ = ["Streams"]

READ_AHEAD = 16
"""Batches that are sorted by length together."""

T = TypeVar("T")
Work = Callable[[threading.Event], T]


class Streams(ABC):
    """The part of a Translator that this module adds to it."""

    source: TextField | None
    target: TextField | None
    num_translators: int

    @abstractmethod
    def _translation(
        self, op: str, source: Any, target_prefix: Any, **options: Any
    ) -> Work[list[TranslationResult]]:
        """Check a call of translate_batch and return its work."""

    @abstractmethod
    def _scoring(
        self, op: str, source: Any, target: Any, *, max_batch_size: int = 0, batch_type: str = "examples"
    ) -> Work[list[ScoringResult]]:
        """Check a call of score_batch and return its work."""

    @abstractmethod
    def _running(self) -> Background:
        """Return the threads of asynchronous calls; RuntimeError where there is no model."""

    # ---- streams

    def translate_iterable(
        self,
        source: Iterable[Any],
        target_prefix: Iterable[Any] | None = None,
        *,
        max_batch_size: int = 32,
        batch_type: str = "examples",
        **options: Any,
    ) -> Iterator[TranslationResult]:
        """Translate a stream of any length, in order and in bounded memory.

        So many sources are read ahead that the translator's batches are full and of like length: at most 16
        batches for each of inter_threads and one more. Closing the generator ends the work. An exception
        from `source` is raised when all results before it have been given.

        Args:
            source: as for `translate_batch`, one at a time.
            target_prefix: one for each source, or None.
            max_batch_size: the size of a batch, at least 1.
            batch_type: what it counts: "examples", or "tokens" of the source.
            options: the others of `translate_batch`, for all sources. Where these have one for each source
                (`must_contain`, `groups`, and so given `vocabulary` and `allowed_outputs`), it is an iterable
                as long as the stream; an iterator of the last two is read at once, as only the whole says
                what it is. The index of a source, for samples and scorers, is its place in the stream.

        Yields:
            The result of each source.

        Raises:
            ValueError, TypeError: an option, at once; what is wrong with a source or with what is for it, and
                lengths that differ, behind the results before it.
        """
        op = "translate_iterable"
        for name in ("sequence_ids", "callback", "asynchronous"):
            if (value := options.pop(name, None)) is not None and value is not False:
                raise ValueError(f"[{op}] Expected no {name}.")
        sides = {"source": source} | given(target_prefix=target_prefix)
        for_all, of_each = by_source(op, options)
        for_all |= {"max_batch_size": max_batch_size, "batch_type": batch_type}
        columns = sides | of_each
        rows = aligned(op, columns)
        weight = _weight(op, max_batch_size, batch_type)

        def work(part: list[tuple[Any, ...]], begin: int) -> Work[list[TranslationResult]]:
            lists: dict[str, Any] = {"target_prefix": None}
            lists |= dict(zip(columns, zip(*part, strict=True), strict=True))
            return self._translation(op, **lists, **for_all, first_source=begin)

        # Raises now where there is no model, or an option is wrong.
        self._translation(op, [], None, **for_all, **{"groups": []} if "groups" in of_each else {})
        return self._in_order(rows, max_batch_size, lambda row: weight(row[: len(sides)]), work)

    def _in_order(
        self,
        items: Iterator[T],
        size: int,
        weight: Callable[[T], int],
        work: Callable[[list[T], int], Work[list[Any]]],
    ) -> Iterator[Any]:
        """Work through the items in parts, side by side, and yield the results of each in turn."""
        background = self._running()
        failures: list[Exception] = []
        parts = batches(_until_failure(items, failures), size * READ_AHEAD, weight)
        jobs: deque[Job[list[Any]]] = deque()
        begin = 0
        try:
            while True:
                while len(jobs) <= self.num_translators and (part := next(parts, None)) is not None:
                    try:
                        jobs.append(background.submit(work(part, begin), wait=False))
                    except Exception as error:  # of an argument: what came before it is given first
                        failures.insert(0, error)
                        parts = iter(())
                    begin += len(part)
                if not jobs:
                    break
                yield from jobs.popleft().future.result()
            if failures:
                raise failures[0]
        finally:
            for job in jobs:
                job.cancel()

    async def translate_batch_async(
        self, source: Iterable[Any], target_prefix: Iterable[Any] | None = None, **options: Any
    ) -> list[TranslationResult]:
        """Await `translate_batch`, whose arguments these are. Cancelling ends the work after its present
        batch."""
        work = self._translation("translate_batch_async", source, target_prefix, **options)
        job = self._running().submit(work, wait=False)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.cancel()
            raise

    # ---- tokens as they come

    def generate_tokens(
        self,
        source: Any,
        target_prefix: Any = None,
        *,
        max_decoding_length: int | None = None,
        **options: Any,
    ) -> Iterator[GenerationStepResult]:
        """Yield the tokens of one source's output as soon as they are certain, the end token last.

        With `beam_size` 1, which is the default here, and with sampling that is each token at once. With more
        it is when all hypotheses that may still win begin with it. Where options forbid all that might follow
        a token, the output ends, and no token of it has `is_last`.

        Leaving the generator ends the search at its next token, and so does the end of the program.

        Args:
            source: its tokens, ids or features.
            target_prefix: the tokens that the output begins with, which come first.
            max_decoding_length: steps at most; None: 256, or what the preset says.
            options: the others of `translate_batch`. With num_hypotheses samples the tokens of all come,
                told apart by hypothesis_id.
        """
        op = "generate_tokens"
        for name in ("callback", "asynchronous"):
            if options.get(name):
                raise ValueError(f"[{op}] Expected no {name}.")
        options = {"beam_size": 1} | given(max_decoding_length=max_decoding_length) | options
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        closed = threading.Event()

        def hear(result: GenerationStepResult) -> bool:
            events.put(result)
            return closed.is_set()

        prefixes = None if target_prefix is None else [target_prefix]
        work = self._translation(op, [source], prefixes, callback=hear, **options)
        return _told(work, events, closed)

    # ---- files and texts

    def translate_text(self, source: Iterable[str], **options: Any) -> list[str]:
        """Translate texts to texts, by the tokenisers of the model's folder.

        Args:
            source: lines of text.
            options: those of `translate_batch`.

        Returns:
            The best output of each, as text.

        Raises:
            ValueError: the folder has no tokenisers.
        """
        op = "translate_text"
        one, two = self._text_fields(op)
        if isinstance(source, str):
            raise TypeError(f"[{op}] Expected source as a list of texts, got str.")
        tokens = [one.tokenizer.tokenize(text) for text in source]
        results = self._translation(op, tokens, None, **options)(threading.Event())
        return [two.tokenizer.detokenize(_without_specials(two, result.hypotheses[0])) for result in results]

    def translate_file(
        self,
        source_path: str | os.PathLike[str],
        output_path: str | os.PathLike[str],
        target_path: str | os.PathLike[str] | None = None,
        *,
        max_batch_size: int = 32,
        batch_type: str = "examples",
        with_scores: bool = False,
        source_tokenize_fn: Callable[[str], Sequence[str]] | None = None,
        target_tokenize_fn: Callable[[str], Sequence[str]] | None = None,
        target_detokenize_fn: Callable[[list[str]], str] | None = None,
        **options: Any,
    ) -> ExecutionStats:
        """Translate a file line by line, in bounded memory.

        Args:
            source_path: lines of text, UTF-8, plain or .gz.
            output_path: where to write the best output of each line.
            target_path: prefixes of the outputs, a line for each.
            max_batch_size: as for `translate_iterable`.
            batch_type: likewise.
            with_scores: lines begin with the score and " ||| ".
            source_tokenize_fn: cuts a line into tokens; None: the model's own tokeniser.
            target_tokenize_fn: the same of the prefixes.
            target_detokenize_fn: makes a line of tokens.
            options: the others of `translate_batch`, as for `translate_iterable`.
        """
        op = "translate_file"
        flag(op, "with_scores", with_scores)
        cut, cut_prefix, join = self._text_functions(
            op, source_tokenize_fn, target_tokenize_fn, target_detokenize_fn
        )
        begin = time.perf_counter()
        tokens = examples = 0
        prefixes = None if target_path is None else map(cut_prefix, read_lines(target_path))
        with open(output_path, "w", encoding="utf-8", newline="\n") as out:
            results = self.translate_iterable(
                map(cut, read_lines(source_path)),
                prefixes,
                max_batch_size=max_batch_size,
                batch_type=batch_type,
                **options | ({"return_scores": True} if with_scores else {}),
            )
            for result in results:
                text = join(result.hypotheses[0])
                out.write((f"{result.scores[0]:.6f} ||| " if with_scores else "") + text + "\n")
                tokens += len(result.hypotheses[0])
                examples += 1
        return ExecutionStats(tokens, examples, (time.perf_counter() - begin) * 1000)

    def score_file(
        self,
        source_path: str | os.PathLike[str],
        target_path: str | os.PathLike[str],
        output_path: str | os.PathLike[str],
        *,
        max_batch_size: int = 32,
        batch_type: str = "examples",
        with_tokens_score: bool = False,
        source_tokenize_fn: Callable[[str], Sequence[str]] | None = None,
        target_tokenize_fn: Callable[[str], Sequence[str]] | None = None,
        target_detokenize_fn: Callable[[list[str]], str] | None = None,
    ) -> ExecutionStats:
        """Score pairs of lines: each output line is the mean log-probability of the target's tokens, the end
        token among them, " ||| ", and the target.

        Args:
            source_path: lines of text, UTF-8, plain or .gz.
            target_path: as many.
            output_path: where to write.
            max_batch_size: as for `translate_iterable`.
            batch_type: "examples", or "tokens" of source or target, whichever has more.
            with_tokens_score: behind it " ||| " and the log-probability of each token.
            source_tokenize_fn: as for `translate_file`.
            target_tokenize_fn: likewise.
            target_detokenize_fn: likewise.
        """
        op = "score_file"
        flag(op, "with_tokens_score", with_tokens_score)
        cut, cut_target, join = self._text_functions(
            op, source_tokenize_fn, target_tokenize_fn, target_detokenize_fn
        )
        begin = time.perf_counter()
        tokens = examples = 0

        def work(part: list[tuple[Any, ...]], _: int) -> Work[list[ScoringResult]]:
            return self._scoring(
                op,
                [one for one, _ in part],
                [two for _, two in part],
                max_batch_size=max_batch_size,
                batch_type=batch_type,
            )

        weight = _weight(op, max_batch_size, batch_type)
        sources, targets = map(cut, read_lines(source_path)), map(cut_target, read_lines(target_path))
        pairs = aligned(op, {"source": sources, "target": targets})
        with open(output_path, "w", encoding="utf-8", newline="\n") as out:
            results: Iterator[ScoringResult] = self._in_order(pairs, max_batch_size, weight, work)
            for result in results:
                line = f"{result.log_probs.mean():.6f} ||| {join(result.tokens[:-1])}"
                if with_tokens_score:
                    line += " ||| " + " ".join(f"{x:.6f}" for x in result.log_probs.tolist())
                out.write(line + "\n")
                tokens += len(result.tokens)
                examples += 1
        return ExecutionStats(tokens, examples, (time.perf_counter() - begin) * 1000)

    def _text_fields(self, op: str) -> tuple[TextField, TextField]:
        if self.source is None or self.target is None:
            raise ValueError(f"[{op}] Expected a model that was saved with its tokenisers.")
        return self.source, self.target

    def _text_functions(
        self, op: str, cut: Any, cut_target: Any, join: Any
    ) -> tuple[Callable[[str], Any], Callable[[str], Any], Callable[[list[str]], str]]:
        """Return what cuts sources and targets into tokens, and what makes texts of tokens."""
        if cut is not None and cut_target is not None and join is not None:
            return cut, cut_target, join
        one, two = self._text_fields(op)

        def own_join(tokens: list[str]) -> str:
            return two.tokenizer.detokenize(_without_specials(two, tokens))

        return (
            one.tokenizer.tokenize if cut is None else cut,
            two.tokenizer.tokenize if cut_target is None else cut_target,
            own_join if join is None else join,
        )


def _told(
    work: Work[Any], events: queue.SimpleQueue[Any], closed: threading.Event
) -> Iterator[GenerationStepResult]:
    """Run the work on a thread of its own and yield what it puts into `events`."""

    def run() -> None:
        _searching[threading.current_thread()] = closed
        try:
            work(closed)
            events.put(None)
        except BaseException as error:  # goes to whoever reads
            events.put(error)
        finally:
            del _searching[threading.current_thread()]

    # A daemon, as an exit waits for other threads before it calls _end_searching, so for all of the output.
    threading.Thread(target=run, name="generate_tokens", daemon=True).start()
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        closed.set()


_searching: dict[threading.Thread, threading.Event] = {}
"""The threads of `_told` that may be in native code, and what ends their work at the next token."""


@atexit.register
def _end_searching() -> None:
    """End them while there is an interpreter: a thread that comes back from native code later is killed, and
    the process with it."""
    running = list(_searching.items())
    for _, closed in running:
        closed.set()
    for thread, _ in running:
        thread.join()


def _without_specials(field: TextField, tokens: Sequence[str]) -> list[str]:
    control = {field.vocabulary.decode([i])[0] for i in field.vocabulary.control_ids}
    return [token for token in tokens if token not in control]


def _until_failure(items: Iterator[T], failures: list[Exception]) -> Iterator[T]:
    """The items up to an exception, which is kept, for what came before it to be given first."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)


def _weight(op: str, max_batch_size: int, batch_type: str) -> Callable[[tuple[Any, ...]], int]:
    integer(op, "max_batch_size", max_batch_size, 1)
    if choice(op, "batch_type", batch_type, ("examples", "tokens")) == "examples":
        return lambda _: 1
    return lambda sides: max([1, *(len(one) for one in sides if hasattr(one, "__len__"))])
