"""A lexical shortlist: for each source token the target tokens that may come of it, kept with a model.

    shortlist.safetensors     int64 offsets [source vocabulary + 1], int32 targets: the ids of source token s
                              are targets[offsets[s]:offsets[s + 1]], ascending; int32 always, ascending.
                              metadata: format; source and target, the vocabularies' SHA-256 or nothing

The file is one more of a model's folder (see `files`): a folder without it is as whole as one with it.
`lexical_model` learns one from pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast.atomic import atomic_write
from seq2seq_fast.files import SHORTLIST, ModelFolder, StrPath
from seq2seq_fast.tensor_file import TensorFile, TensorSpec, write_tensors
from seq2seq_fast.text import TextField
from seq2seq_fast.vocab import Vocabulary

__all__ = ["LexicalShortlist", "load_shortlist", "save_shortlist", "shortlist_of_vmap"]

FORMAT = "1"

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class LexicalShortlist:
    """Which target tokens a source's tokens allow.

    Raises:
        ValueError: offsets do not fit the targets, or a list is not of ascending ids of the vocabulary.
        TypeError: a dtype is another than below.
    """

    offsets: NDArray[np.int64]
    """[source vocabulary + 1] where each source token's list begins, and where the last ends."""
    targets: Ids
    """The lists one after the other, each of ascending ids."""
    always: Ids
    """Ascending ids that any source allows."""
    target_vocab_size: int

    def __post_init__(self) -> None:
        for name, dtype in (("offsets", np.int64), ("targets", np.int32), ("always", np.int32)):
            values = getattr(self, name)
            if values.dtype != dtype or values.ndim != 1:
                raise TypeError(
                    f"[LexicalShortlist] Expected {name} as {np.dtype(dtype)} of one dimension, got "
                    f"{values.dtype} {list(values.shape)}."
                )
        ends = self.offsets
        if not len(ends) or ends[0] != 0 or ends[-1] != len(self.targets) or (np.diff(ends) < 0).any():
            raise ValueError("[LexicalShortlist] Expected offsets from 0 to len(targets), never falling.")
        for name, values in (("targets", self.targets), ("always", self.always)):
            if len(values) and (values.min() < 0 or values.max() >= self.target_vocab_size):
                raise ValueError(
                    f"[LexicalShortlist] Expected {name} of ids from 0 to {self.target_vocab_size - 1}, got "
                    f"{values.min()} to {values.max()}."
                )
        rising = np.diff(self.targets) > 0
        begins = ends[1:-1][(ends[1:-1] > 0) & (ends[1:-1] < len(self.targets))]
        rising[begins - 1] = True  # from a list to the next one
        if not rising.all() or not (np.diff(self.always) > 0).all():
            raise ValueError("[LexicalShortlist] Expected lists of ascending ids.")

    @property
    def source_vocab_size(self) -> int:
        """How many source tokens there are."""
        return len(self.offsets) - 1

    def of(self, source_id: int) -> Ids:
        """Return the ascending ids of one source token."""
        return self.targets[self.offsets[source_id] : self.offsets[source_id + 1]]

    def allowed(self, source_ids: Iterable[int], *others: Iterable[int]) -> Ids:
        """Return the ascending ids that a source allows, those of every source and these others among them.

        Args:
            source_ids: the source's tokens.
            others: target ids.
        """
        lists = [self.of(i) for i in {int(i) for i in source_ids}]
        rest = [np.array([int(i) for i in ids], np.int32) for ids in others]
        return np.unique(np.concatenate([self.always, *lists, *rest]))


def save_shortlist(folder: StrPath, shortlist: LexicalShortlist) -> None:
    """Write a shortlist into its model's folder, atomically.

    Raises:
        ValueError, FileNotFoundError: there is no model, or its vocabularies are of other sizes.
    """
    opened = ModelFolder.open(folder)
    config = opened.config
    sizes = (shortlist.source_vocab_size, shortlist.target_vocab_size)
    if sizes != (config.source_vocab_size, config.target_vocab_size):
        raise ValueError(
            f"[save_shortlist] Expected a shortlist of {config.source_vocab_size} source and "
            f"{config.target_vocab_size} target tokens, got one of {sizes[0]} and {sizes[1]}."
        )
    tensors: dict[str, NDArray[Any]] = {
        "offsets": shortlist.offsets,
        "targets": shortlist.targets,
        "always": shortlist.always,
    }
    metadata = {"format": FORMAT, "source": _digest(opened.source), "target": _digest(opened.target)}
    with atomic_write(opened.path / SHORTLIST) as file:
        write_tensors(file, tensors, metadata)


def load_shortlist(folder: StrPath | ModelFolder) -> LexicalShortlist | None:
    """Read the shortlist of a model's folder; None: it has none.

    Raises:
        FileNotFoundError, ValueError: the folder holds no model.
        ValueError: the file is damaged, of a newer format, or was made for other vocabularies.
    """
    opened = folder if isinstance(folder, ModelFolder) else ModelFolder.open(folder)
    path = opened.path / SHORTLIST
    if not path.is_file():
        return None
    config = opened.config
    with TensorFile(path) as file:
        if file.metadata.get("format") != FORMAT:
            raise ValueError(
                f"{path}: expected a shortlist of format {FORMAT}, got {file.metadata.get('format')}."
            )
        for side in ("source", "target"):
            if file.metadata.get(side) != _digest(getattr(opened, side)):
                raise ValueError(
                    f"{path}: it was made for another {side} vocabulary; seq2seq-fast shortlist makes one "
                    "for this model."
                )
        lengths = {name: spec.shape[:1] for name, spec in file.specs.items()}
        file.expect(
            {
                "offsets": TensorSpec("I64", (config.source_vocab_size + 1,)),
                "targets": TensorSpec("I32", lengths.get("targets", ())),
                "always": TensorSpec("I32", lengths.get("always", ())),
            }
        )
        offsets, targets, always = (file.read(name) for name in ("offsets", "targets", "always"))
    try:
        return LexicalShortlist(offsets, targets, always, config.target_vocab_size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def shortlist_of_vmap(
    lines: Iterable[str], source: Vocabulary, target: Vocabulary
) -> tuple[LexicalShortlist, int]:
    """Make a shortlist of a vocabulary map as CTranslate2 reads it.

    Args:
        lines: each of source tokens, separated by spaces, TAB, target tokens, likewise. Those of a line
            without source tokens are always allowed. Tokens that a vocabulary does not have are passed over.
        source, target: the vocabularies.

    Returns:
        The shortlist, and how many lines were left out because they are of more than one source token.

    Raises:
        ValueError: a line has no TAB.
    """
    lists: list[Sequence[int]] = [()] * len(source)
    always: set[int] = set()
    left_out = 0
    for number, line in enumerate(lines, 1):
        key, tab, tokens = line.partition("\t")
        if not tab:
            raise ValueError(
                f"[shortlist_of_vmap] Expected source tokens TAB target tokens, got no TAB in line {number}."
            )
        ids = sorted(set(target.encode([token for token in tokens.split() if token in target])))
        if not key:
            always.update(ids)
        elif " " in key.strip():
            left_out += 1
        elif key in source:
            lists[source.encode([key])[0]] = ids
    return from_lists(lists, sorted(always), len(target)), left_out


def from_lists(lists: Sequence[Sequence[int]], always: Sequence[int], size: int) -> LexicalShortlist:
    """Make a shortlist of each source token's ascending ids."""
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(one) for one in lists], out=offsets[1:])
    targets = np.array([i for one in lists for i in one], np.int32)
    return LexicalShortlist(offsets, targets, np.array(always, np.int32), size)


def _digest(field: TextField | None) -> str:
    return "" if field is None else hashlib.sha256(field.vocabulary.to_bytes()).hexdigest()
