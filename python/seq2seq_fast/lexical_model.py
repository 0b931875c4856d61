"""Which target tokens come of which source tokens, learnt from pairs: IBM Model 1 (Brown et al. 1993).

Each target token comes of one source token, or of none (NULL, which every source begins with), all of them
equally probable before it is seen. EM finds t(target | source), the probabilities under which the targets are
most probable; it starts where all are equal.

Pairs are worked through in chunks of a million *links*, a link being a place of the source and one of the
target. What stays in memory is an entry for each pair of tokens that occur together: a key, source token *
target vocabulary + target token, ascending, and a probability.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.arguments import integer, number
from seq2seq_fast.data import Dataset
from seq2seq_fast.files import ModelFolder, StrPath
from seq2seq_fast.lexical_shortlist import LexicalShortlist, save_shortlist
from seq2seq_fast.tsv import read_tsv

__all__ = ["LexicalTable", "learn_shortlist", "lexical_table", "make_shortlist"]

CHUNK = 1 << 20
"""Links that are in memory at a time. A pair that has more by itself is left out."""
MOST_ENTRIES = 1 << 24
"""Beyond these the ones of the smallest counts are dropped."""

OnProgress = Callable[[float, str], None]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LexicalTable:
    """t(target | source) of the tokens that occur together."""

    source: Int64
    """[entries] ascending; the source vocabulary's size stands for NULL."""
    target: Int64
    """[entries] ascending for each source token."""
    probability: Float64
    """[entries]"""


def make_shortlist(
    folder: StrPath, data: StrPath, *, on_progress: OnProgress | None = None, **options: Any
) -> LexicalShortlist:
    """Learn a shortlist for a model from a file of pairs, and put it into the model's folder.

    Args:
        folder: the model's folder; it has both vocabularies.
        data: lines of source TAB target, plain or compressed, best those of the training.
        on_progress: as for `learn_shortlist`.
        options: the others of `learn_shortlist`.

    Returns:
        The shortlist.
    """
    opened = ModelFolder.open(folder)
    if opened.config.source_vocab_size == 0:
        raise ValueError("[make_shortlist] Expected a model whose sources are tokens, got one of features.")
    if opened.source is None or opened.target is None:
        raise ValueError("[make_shortlist] Expected a model that was saved with its vocabularies.")
    pairs = read_tsv(data, opened.source, opened.target)
    found = learn_shortlist(
        pairs,
        len(opened.source.vocabulary),
        len(opened.target.vocabulary),
        source_control_ids=opened.source.vocabulary.control_ids,
        target_control_ids=opened.target.vocabulary.control_ids,
        on_progress=on_progress,
        **options,
    )
    save_shortlist(folder, found)
    return found


def learn_shortlist(
    pairs: Dataset,
    source_vocab_size: int,
    target_vocab_size: int,
    *,
    best: int = 100,
    frequent: int = 100,
    least_probability: float = 1e-4,
    iterations: int = 5,
    max_pairs: int = 200_000,
    seed: int = 0,
    source_control_ids: Collection[int] = (),
    target_control_ids: Collection[int] = (),
    on_progress: OnProgress | None = None,
) -> LexicalShortlist:
    """Learn which target tokens may come of each source token.

    Args:
        pairs: the data; sources are token ids, and every target ends with the end token.
        source_vocab_size, target_vocab_size: ids are below them.
        best: each source token's list has so many target tokens at most, the most probable ones.
        frequent: so many target tokens, the most frequent ones of the data, are always allowed.
        least_probability: in a list are only tokens of t(target | source) at least this.
        iterations: of EM, at least 1.
        max_pairs: more pairs are not looked at; of more, so many are drawn.
        seed: of that draw.
        source_control_ids: source ids that no list is made for, as the end token's.
        target_control_ids: target ids that are in no list, the end token's among them.
        on_progress: called with the part that is done, from 0 to 1, and a few words.

    Raises:
        ValueError, TypeError: an argument; the message names it.
    """
    op = "learn_shortlist"
    integer(op, "best", best, 1)
    integer(op, "frequent", frequent, 0)
    number(op, "least_probability", least_probability, 0, 1)
    rows = np.arange(len(pairs))
    if len(rows) > integer(op, "max_pairs", max_pairs, 1):
        draw = np.random.default_rng(integer(op, "seed", seed, 0))
        rows = np.sort(draw.choice(len(rows), max_pairs, replace=False))
    table = lexical_table(
        pairs,
        source_vocab_size,
        target_vocab_size,
        rows=rows,
        iterations=iterations,
        prune=least_probability / 10,
        on_progress=on_progress,
    )
    listed = (
        (table.source < source_vocab_size)
        & (table.probability >= least_probability)
        & ~np.isin(table.source, list(source_control_ids))
        & ~np.isin(table.target, list(target_control_ids))
    )
    source, target, probability = table.source[listed], table.target[listed], table.probability[listed]
    order = np.lexsort((target, -probability, source))  # by source; then the most probable, the lower id
    sizes = np.bincount(source, minlength=source_vocab_size)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.sort(order[rank < best])  # by source and target again
    offsets = np.zeros(source_vocab_size + 1, np.int64)
    np.cumsum(np.bincount(source[kept], minlength=source_vocab_size), out=offsets[1:])
    return LexicalShortlist(
        offsets,
        target[kept].astype(np.int32),
        _most_frequent(pairs, rows, target_vocab_size, frequent, target_control_ids),
        target_vocab_size,
    )


def lexical_table(
    pairs: Dataset,
    source_vocab_size: int,
    target_vocab_size: int,
    *,
    rows: NDArray[np.integer[Any]],
    iterations: int = 5,
    prune: float = 0.0,
    most_entries: int = MOST_ENTRIES,
    on_progress: OnProgress | None = None,
) -> LexicalTable:
    """Learn t(target | source) by EM; end tokens of targets are left aside.

    Args:
        pairs, source_vocab_size, target_vocab_size: as for `learn_shortlist`.
        rows: which pairs.
        iterations: of EM.
        prune: entries of lower probability are dropped between iterations.
        most_entries: so many entries stay.
        on_progress: as for `learn_shortlist`.
    """
    op = "learn_shortlist"
    integer(op, "iterations", iterations, 1)
    for side, size in (("source", source_vocab_size), ("target", target_vocab_size)):
        values = getattr(pairs, side).values
        if values.ndim != 1:
            raise ValueError(f"[{op}] Expected pairs whose {side} is token ids, got features.")
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < size:
            raise ValueError(
                f"[{op}] Expected {side} ids from 0 to {size - 1}, got {values.min()} to {values.max()}."
            )

    def tell(iteration: int, done: float) -> None:
        if on_progress is not None:
            on_progress((iteration + done) / iterations, f"iteration {iteration + 1} of {iterations}")

    chunks = list(_chunks(pairs, rows))
    gathered = _Counts(most_entries)
    for i, chunk in enumerate(chunks):
        tell(0, i / len(chunks))
        links = _Links.of(pairs, chunk, source_vocab_size, target_vocab_size)
        keys, place = np.unique(links.keys, return_inverse=True)
        gathered.add(keys, _sums(place, 1.0 / np.repeat(links.width, links.width), len(keys)))
    keys, counts = gathered.result()
    probability = _normalized(keys // target_vocab_size, counts)
    for iteration in range(1, iterations if len(keys) else 1):
        kept = probability >= prune
        keys, probability = keys[kept], probability[kept]
        counts = np.zeros(len(keys))
        for i, chunk in enumerate(chunks):
            tell(iteration, i / len(chunks))
            links = _Links.of(pairs, chunk, source_vocab_size, target_vocab_size)
            found, place = np.unique(links.keys, return_inverse=True)
            at = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
            known = keys[at] == found
            weight = links.shares(np.where(known, probability[at], 0.0)[place])
            counts[at[known]] += _sums(place, weight, len(found))[known]
        probability = _normalized(keys // target_vocab_size, counts)
    tell(iterations - 1, 1.0)
    return LexicalTable(keys // target_vocab_size, keys % target_vocab_size, probability)


@dataclass(frozen=True)
class _Links:
    """All links of some pairs: of each target token in turn those to NULL and to the source's places."""

    keys: Int64
    """[links]"""
    width: Int64
    """[target tokens] how many links each has."""

    @classmethod
    def of(cls, pairs: Dataset, rows: NDArray[Any], source_vocab_size: int, target_vocab_size: int) -> _Links:
        source, source_lengths = pairs.source.take(rows)
        target, target_lengths = pairs.target.take(rows)
        lengths = source_lengths.astype(np.int64) + 1
        begins = np.cumsum(lengths) - lengths
        sources = np.full(int(lengths.sum()), source_vocab_size, np.int64)
        behind_null = np.ones(len(sources), bool)
        behind_null[begins] = False
        sources[behind_null] = source
        ends = np.cumsum(target_lengths.astype(np.int64))
        targets = np.delete(target.astype(np.int64), ends - 1)  # without the end tokens
        each = target_lengths - 1
        width = np.repeat(lengths, each)
        first = np.repeat(begins, each)
        place = np.arange(int(width.sum())) - np.repeat(np.cumsum(width) - width - first, width)
        return cls(sources[place] * target_vocab_size + np.repeat(targets, width), width)

    def shares(self, weight: Float64) -> Float64:
        """Divide each link's weight by the sum of those of its target token; 0 where that is 0."""
        if not len(weight):
            return weight
        sums = np.add.reduceat(weight, np.cumsum(self.width) - self.width)
        sums[sums == 0] = 1.0
        divided: Float64 = weight / np.repeat(sums, self.width)
        return divided


class _Counts:
    """Sums by key. What comes in is merged into the whole when it is as large, so that a corpus costs a few
    sorts."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[tuple[Int64, Float64]] = [(np.zeros(0, np.int64), np.zeros(0))]

    def add(self, keys: Int64, counts: Float64) -> None:
        """Add the counts of ascending keys."""
        self._parts.append((keys, counts))
        waiting = sum(len(part) for part, _ in self._parts[1:])
        if waiting > max(CHUNK, len(self._parts[0][0])):
            self._merge()

    def result(self) -> tuple[Int64, Float64]:
        """Return the keys, ascending, and their counts."""
        self._merge()
        return self._parts[0]

    def _merge(self) -> None:
        every = np.concatenate([keys for keys, _ in self._parts])
        counted = np.concatenate([counts for _, counts in self._parts])
        keys, place = np.unique(every, return_inverse=True)
        counts = _sums(place, counted, len(keys))
        if len(keys) > self._most:
            kept = np.sort(np.argpartition(-counts, self._most)[: self._most])
            keys, counts = keys[kept], counts[kept]
        self._parts = [(keys, counts)]


def _chunks(pairs: Dataset, rows: NDArray[np.integer[Any]]) -> Iterator[NDArray[np.integer[Any]]]:
    """Cut the pairs into runs of up to CHUNK links."""
    offsets = pairs.source.offsets, pairs.target.offsets
    lengths = [(ends[rows + 1] - ends[rows]).astype(np.int64) for ends in offsets]
    links = (lengths[0] + 1) * (lengths[1] - 1)
    rows, links = rows[links <= CHUNK], links[links <= CHUNK]
    ends = np.cumsum(links)
    begin = 0
    while begin < len(rows):
        before = ends[begin - 1] if begin else 0
        end = int(np.searchsorted(ends, before + CHUNK, side="right"))
        yield rows[begin:end]
        begin = end


def _sums(places: NDArray[Any], values: Float64, size: int) -> Float64:
    """The sum of the values of each place."""
    return np.bincount(places, values, size).astype(np.float64, copy=False)


def _normalized(source: Int64, counts: Float64) -> Float64:
    """Divide counts by the sum of those of the same source token."""
    sums = _sums(source, counts, 0)[source] if len(source) else counts
    return np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)


def _most_frequent(
    pairs: Dataset, rows: NDArray[Any], size: int, most: int, control_ids: Collection[int]
) -> NDArray[np.int32]:
    """The ascending ids of the most frequent target tokens, of equals the lower ids."""
    counts = np.zeros(size, np.int64)
    for begin in range(0, len(rows), 1 << 16):
        counts += np.bincount(pairs.target.take(rows[begin : begin + (1 << 16)])[0], minlength=size)
    counts[list(control_ids)] = 0
    order = np.argsort(-counts, kind="stable")[:most]
    return np.sort(order[counts[order] > 0]).astype(np.int32)
