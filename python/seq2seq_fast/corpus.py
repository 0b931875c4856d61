"""Corpora larger than memory: text is binarised once into a cache, and training maps that into memory.

    source, target = SpaceTokenizer(), SpaceTokenizer()
    words, parts = build_vocabularies("train.tsv", source, target, cache_dir="cache")
    train = cached_tsv("train.tsv", TextField(source, words), TextField(target, parts), "cache")
    trainer.fit(train)

What stays in memory is 8 bytes a pair, its lengths, and 4 more of the epoch's order; ids lie in files, 2
bytes a token where the vocabulary has at most 65536. The data set's fingerprint is that of `read_tsv`'s, so
that a run may be begun with one and taken up with the other.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from array import array
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq_fast import __version__
from seq2seq_fast.cache import cached, content_digest
from seq2seq_fast.data import Dataset, Sequences
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import Tokenizer
from seq2seq_fast.tsv import Limits, StrPath, count_tokens, read_ids
from seq2seq_fast.vocab import Vocabulary

FORMAT_VERSION = 1
_BUFFER = 1 << 18  # ids


def cached_tsv(
    path: StrPath,
    source: TextField,
    target: TextField,
    cache_dir: StrPath,
    *,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    min_target_length: int = 1,
    max_examples: int | None = None,
    copies: bool = False,
) -> Dataset:
    """Read a TSV file of source TAB target through a cache, in which its ids are kept and mapped from.

    The first time the file is read line by line, as `tsv.read_tsv` does, and written to `cache_dir`, in
    bounded memory. From then on the cache is used, after a check of its checksums. With another content of
    the file, another vocabulary, tokeniser or limit, another version of this library it is made anew, beside
    the old one.

    Args:
        path, source, target, max_source_length, max_target_length, min_target_length, max_examples,
            copies: as for `tsv.read_tsv`.
        cache_dir: the cache's folder, made if it is not there. Several runs may share it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `tsv.read_tsv`; or the cache is damaged, and the message says what to delete.
        OSError: the cache could not be written, e.g. on a full disk; nothing of it is left.
    """
    limits = Limits(max_source_length, max_target_length, min_target_length, max_examples)
    fields = {"source": source, "target": target}
    kinds = {name: np.dtype("u2" if len(f.vocabulary) <= 1 << 16 else "i4") for name, f in fields.items()}
    if copies:  # ids beyond the target vocabulary, too
        kinds["copies"] = kinds["target"] = np.dtype("i4")
    dropped: Counter[str] = Counter()

    def make(folder: Path) -> dict[str, Any]:
        with ExitStack() as stack:
            files = {name: stack.enter_context(_IdsFiles(folder, name, kinds[name])) for name in kinds}
            for pair in read_ids(path, source, target, limits, dropped, copies=copies):
                for name, file in files.items():
                    file.append(getattr(pair, name))
        _unchanged(path, digest)
        return {"dropped": dict(dropped), "fingerprint": _mapped_pairs(folder, kinds).fingerprint()}

    digest = content_digest(path)
    key = {
        **_key("pairs", digest),
        "byteorder": sys.byteorder,
        "limits": vars(limits),
        "copies": copies,
        **{name: _field_key(field) for name, field in fields.items()},
    }
    folder, facts = cached(cache_dir, Path(path).name, key, make)
    return _mapped_pairs(
        folder, kinds, dropped=facts["dropped"], on_disk=True, fingerprint=facts["fingerprint"]
    )


def build_vocabularies(
    path: StrPath,
    source: Tokenizer,
    target: Tokenizer,
    *,
    min_frequency: tuple[int, int] = (1, 1),
    max_size: tuple[int | None, int | None] = (None, None),
    joint: bool = False,
    cache_dir: StrPath | None = None,
) -> tuple[Vocabulary, Vocabulary]:
    """Make the vocabularies of a TSV file's two columns; in memory is a count for each distinct token.

    Args:
        path: the file, plain or compressed (gzip, xz).
        source, target: cut the columns into tokens.
        min_frequency, max_size: of source and target; see `Vocabulary.build`.
        joint: both are one vocabulary, of the tokens of both columns; min_frequency and max_size are then
            those of the source.
        cache_dir: where they are kept and found the next time; None: nowhere.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming file and line of what cannot be read; or the cache is damaged.
        OSError: the cache could not be written.
    """

    def build() -> list[Vocabulary]:
        counts = count_tokens(path, source, target)
        if joint:
            both = Vocabulary.build(
                counts[0] + counts[1], min_frequency=min_frequency[0], max_size=max_size[0]
            )
            return [both, both]
        return [
            Vocabulary.build(counted, min_frequency=least, max_size=most)
            for counted, least, most in zip(counts, min_frequency, max_size, strict=True)
        ]

    def make(folder: Path) -> dict[str, Any]:
        for name, vocabulary in zip(("source", "target"), build(), strict=True):
            vocabulary.save(folder / f"{name}.json")
        _unchanged(path, digest)
        return {}

    if cache_dir is None:
        first, second = build()
        return first, second
    digest = content_digest(path)
    key = {
        **_key("vocabularies", digest),
        "source": _tokenizer_key(source),
        "target": _tokenizer_key(target),
        "min_frequency": min_frequency,
        "max_size": max_size,
        **({"joint": True} if joint else {}),
    }
    folder, _ = cached(cache_dir, f"{Path(path).name}-vocabularies", key, make)
    return Vocabulary.load(folder / "source.json"), Vocabulary.load(folder / "target.json")


class _IdsFiles:
    """Two growing files, ids and offsets: `data.IdsBuilder` on a disk."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._files = [
            open(folder / f"{name}.{what}", "wb")  # noqa: SIM115 (closed by __exit__)
            for what in ("ids", "offsets")
        ]
        self._ids, self._offsets = array("i"), array("q", [0])
        self._total = 0

    def append(self, ids: list[int]) -> None:
        self._ids.extend(ids)
        self._total += len(ids)
        self._offsets.append(self._total)
        if len(self._ids) >= _BUFFER or len(self._offsets) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        self._files[0].write(np.array(self._ids, self._dtype).data)
        self._files[1].write(np.array(self._offsets, np.int64).data)
        self._ids, self._offsets = array("i"), array("q")

    def __enter__(self) -> _IdsFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        for file in self._files:
            file.close()


def _mapped_pairs(folder: Path, kinds: dict[str, np.dtype[Any]], **facts: Any) -> Dataset:
    parts = {name: _mapped_sequences(folder, name, kind) for name, kind in kinds.items()}
    return Dataset(parts["source"], parts["target"], copies=parts.get("copies"), **facts)


def _mapped_sequences(folder: Path, name: str, dtype: np.dtype[Any]) -> Sequences:
    return Sequences(
        _mapped(folder / f"{name}.ids", dtype), _mapped(folder / f"{name}.offsets", np.dtype(np.int64))
    )


def _mapped(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A file as an array that reads what is asked for. It is never empty: there is at least one pair."""
    with open(path, "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mapping, "madvise"):  # examples are far from one another: what lies around one is of no use
        mapping.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapping, dtype)


def _unchanged(path: StrPath, digest: str) -> None:
    if content_digest(path) != digest:
        raise ValueError(f"{os.fspath(path)} was changed while it was read.")


def _key(what: str, digest: str) -> dict[str, Any]:
    return {"what": what, "format": FORMAT_VERSION, "version": __version__, "data": digest}


def _tokenizer_key(tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "settings": tokenizer.settings(),
        "files": {name: _sha256(content) for name, content in tokenizer.files().items()},
    }


def _field_key(field: TextField) -> dict[str, Any]:
    vocabulary = field.vocabulary
    return {
        **_tokenizer_key(field.tokenizer),
        "vocabulary": _sha256(vocabulary.to_bytes()),
        "specials": vocabulary.specials.settings(),
        "eos": field.eos,
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
