"""Feature sequences in files: what a reference in a manifest stands for, and how its vectors are read.

    FILE.npy             one sequence: an array [T, C]
    FILE.npy#N           sequence N, from 0, of an array [N, T, C], all of one length
    FILE.npz#NAME        one sequence: the member NAME, an array [T, C]
    FILE.npz#N           sequence N, from 0, of an archive with members
                             features  [sum T, C], the sequences one after another
                             lengths   [N] integers
                             keys      [N] names, if there are any: then FILE.npz#KEY
                             scale     a number, or [C]: what int8 features are multiplied by

Features are float32, float16 or float64, or int8 in an archive with a scale; vectors come out as float32.
Archives (numpy.savez) and arrays [N, T, C] are mapped into memory, so that what is read is what is asked for;
files of one sequence are read when they are asked for. A compressed archive (numpy.savez_compressed) cannot
be mapped: it is refused unless it may be read into memory as a whole.

Nothing in a file is executed: pickled objects are refused, sizes are checked against the file before memory
is taken.
"""

from __future__ import annotations

import lzma
import mmap
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from seq2seq_fast.data import Float32, Int32, Int64
from seq2seq_fast.npy import array_of_buffer, array_of_file

__all__ = ["FeatureFiles", "FeatureSequences"]

FLOATS = tuple(np.dtype(kind) for kind in ("f2", "f4", "f8"))
FLAT = {"features", "lengths"}


class _Opened(Protocol):
    """A file of feature sequences."""

    def find(self, name: str) -> int:
        """Return the place of a sequence; KeyError, whose text says why, where there is none."""

    def shape(self, place: int) -> tuple[int, ...]: ...

    def read(self, place: int) -> npt.NDArray[Any]: ...


class Feature(NamedTuple):
    """Where a sequence is."""

    file: int
    place: int
    length: int


class FeatureSequences:
    """Feature sequences of one width, read when they are asked for: `sequences[i]` is float32 [T, C].

    Args:
        names: what errors call each of them.
        features: where they are.
        files: the files they are in.
        width: C.
    """

    def __init__(
        self, names: Sequence[str], features: Sequence[Feature], files: Sequence[_Opened], width: int
    ) -> None:
        self.names = names
        self.width = width
        self.lengths: Int32 = np.array([feature.length for feature in features], np.int32)
        """[N]"""
        self._files = list(files)
        self._file: Int32 = np.array([feature.file for feature in features], np.int32)
        self._place: Int64 = np.array([feature.place for feature in features], np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Float32:
        """Read a sequence.

        Raises:
            IndexError: there is none of that number.
            ValueError: it holds NaN or infinity, or its file has changed; the message names it.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"sequence {i} of {len(self)}")
        name = self.names[i]
        read = self._files[self._file[i]].read(int(self._place[i]))
        if read.shape != (self.lengths[i], self.width):
            raise ValueError(f"{name}: the file was changed while it was in use.")
        with np.errstate(over="ignore"):  # what is too large for float32 is told below
            values: Float32 = np.ascontiguousarray(read, np.float32)
        if not np.isfinite(values).all():
            t, c = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(f"{name}: expected finite features, got {values[t, c]} at [{t}, {c}].")
        return values

    @classmethod
    def of_arrays(
        cls, arrays: Sequence[npt.NDArray[Any]], names: Sequence[str] | None = None
    ) -> FeatureSequences:
        """Make sequences of arrays in memory, [T, C] each; `names` are those that errors use."""
        named = [f"sequence {i}" for i in range(len(arrays))] if names is None else list(names)
        if len(named) != len(arrays):
            raise ValueError(f"[features] Expected names of {len(arrays)} arrays, got {len(named)}.")
        features, width = [], 0
        for i, (name, values) in enumerate(zip(named, arrays, strict=True)):
            length, width = _checked(name, tuple(values.shape), values.dtype, width)
            features.append(Feature(0, i, length))
        return cls(named, features, [_Arrays(arrays)], width)


@dataclass
class _Arrays:
    """Arrays in memory."""

    arrays: Sequence[npt.NDArray[Any]]

    def find(self, name: str) -> int:
        raise KeyError(name)

    def shape(self, place: int) -> tuple[int, ...]:
        return tuple(self.arrays[place].shape)

    def read(self, place: int) -> npt.NDArray[Any]:
        return self.arrays[place]


class FeatureFiles:
    """Opens the files that references name, each once, and collects the sequences.

    Args:
        folder: what relative paths start from.
        in_memory: read archives into memory, compressed ones, too, instead of mapping them.
    """

    def __init__(self, folder: Path, *, in_memory: bool = False) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._loose = _LooseFiles()
        self._files: list[_Opened] = [self._loose]
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._features: list[Feature] = []
        self._width = 0

    def add(self, reference: str) -> int:
        """Find a sequence and return its number.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: there is no such sequence in it, or it is empty, not of numbers, or of another width
                than those before; or the file is damaged or not of a kind that is read.
        """
        path, name = _split(reference)
        if name is None:
            number = 0
            place = self._loose.add(self._folder / path)
        else:
            number = self._number(path)
            try:
                place = self._files[number].find(name)
            except KeyError as error:
                raise ValueError(f"{self._folder / path}: {error.args[0]}") from None
        file = self._files[number]
        length, self._width = _checked(str(self._folder / reference), file.shape(place), None, self._width)
        self._names.append(reference)
        self._features.append(Feature(number, place, length))
        return len(self._names) - 1

    def finish(self) -> FeatureSequences:
        """Return the sequences that were added."""
        return FeatureSequences(self._names, self._features, self._files, self._width)

    def _number(self, path: str) -> int:
        if path not in self._numbers:
            opened: _Opened
            if path.endswith(".npz"):
                opened = _open_archive(self._folder / path, in_memory=self._in_memory)
            else:
                opened = _Stacked(_mapped_npy(self._folder / path), self._folder / path)
            self._numbers[path] = len(self._files)
            self._files.append(opened)
        return self._numbers[path]


def _split(reference: str) -> tuple[str, str | None]:
    """Part a reference into path and name."""
    for kind in (".npz#", ".npy#"):
        path, found, name = reference.partition(kind)
        if found:
            return path + kind[:-1], name
    if reference.endswith(".npy"):
        return reference, None
    if reference.endswith(".npz"):
        raise ValueError(f"expected the name of a sequence in the archive, {reference}#NAME, got none.")
    raise ValueError(
        f"expected FILE.npy, FILE.npz#NAME or the like, got {reference!r}: "
        "a line of a manifest begins with a file of features."
    )


def _checked(name: str, shape: tuple[int, ...], dtype: np.dtype[Any] | None, width: int) -> tuple[int, int]:
    """Check a sequence's shape; return length and width. `width` is that of the others, 0: any."""
    if dtype is not None and dtype not in FLOATS:
        raise TypeError(f"{name}: expected features of float32, float16 or float64, got {dtype}.")
    wanted = f"[T, {width}]" if width else "[T, C]"
    if len(shape) != 2 or (width and shape[1] != width) or shape[1] < 1:
        raise ValueError(f"{name}: expected features of shape {wanted}, got {list(shape)}.")
    if shape[0] < 1:
        raise ValueError(f"{name}: expected at least one feature vector, got none.")
    if max(shape) > np.iinfo(np.int32).max:
        raise ValueError(f"{name}: expected fewer than 2**31 feature vectors, got shape {list(shape)}.")
    return shape[0], shape[1]


def _expect_floats(where: str, values: npt.NDArray[Any]) -> None:
    if values.dtype.newbyteorder("=") not in FLOATS:
        raise ValueError(f"{where}: expected float32, float16 or float64, got {values.dtype}.")


class _LooseFiles:
    """Files of one sequence each. Not mapped: a system allows so many mappings, and fewer open files."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._shapes: list[tuple[int, ...]] = []

    def add(self, path: Path) -> int:
        with open(path, "rb") as file:
            header = array_of_file(path, file, read=False)
        _expect_floats(str(path), header)
        self._paths.append(path)
        self._shapes.append(tuple(header.shape))
        return len(self._paths) - 1

    def find(self, name: str) -> int:
        raise KeyError(name)

    def shape(self, place: int) -> tuple[int, ...]:
        return self._shapes[place]

    def read(self, place: int) -> npt.NDArray[Any]:
        path = self._paths[place]
        with open(path, "rb") as file:
            values = array_of_file(path, file)
        _expect_floats(str(path), values)
        return values


class _Stacked:
    """An array [N, T, C]: N sequences of one length."""

    def __init__(self, values: npt.NDArray[Any], path: Path) -> None:
        _expect_floats(str(path), values)
        if values.ndim != 3:
            raise ValueError(f"{path}: expected an array of shape [N, T, C], got {list(values.shape)}.")
        self._values = values

    def find(self, name: str) -> int:
        return _place(name, len(self._values))

    def shape(self, place: int) -> tuple[int, ...]:
        return tuple(self._values.shape[1:])

    def read(self, place: int) -> npt.NDArray[Any]:
        sequence: npt.NDArray[Any] = self._values[place]
        return sequence


class _Flat:
    """Sequences one after another in one array, and their lengths."""

    def __init__(self, path: Path, members: _Archive) -> None:
        values, lengths = members.read("features"), members.read("lengths")
        scale = members.read("scale") if "scale" in members else None
        where = f"{path}, features"
        if values.ndim != 2:
            raise ValueError(f"{where}: expected shape [sum T, C], got {list(values.shape)}.")
        if scale is None:
            if values.dtype == np.int8:
                raise ValueError(f"{where}: int8 features need a member 'scale', there is none.")
            _expect_floats(where, values)
        else:
            _expect_floats(f"{path}, scale", scale)
            if values.dtype != np.int8:
                raise ValueError(
                    f"{path}, scale: expected int8 features where there is one, got {values.dtype}."
                )
            if scale.shape not in ((), (1,), (values.shape[1],)):
                raise ValueError(
                    f"{path}, scale: expected one number or [{values.shape[1]}], got {list(scale.shape)}."
                )
            scale = scale.astype(np.float32)
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{path}, lengths: expected integers of shape [N], got {lengths.dtype} {list(lengths.shape)}."
            )
        if len(lengths) and not (lengths.min() >= 0 and lengths.max() <= len(values)):
            raise ValueError(
                f"{path}, lengths: expected lengths from 0 to {len(values)}, the number of feature vectors."
            )
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        if ends[-1] != len(values):
            raise ValueError(
                f"{path}, lengths: expected a sum of {len(values)}, the number of feature vectors, "
                f"got {ends[-1]}."
            )
        self._values, self._offsets, self._scale = values, ends, scale
        self._keys = _keys(path, members, len(lengths)) if "keys" in members else None

    def find(self, name: str) -> int:
        if self._keys is None:
            return _place(name, len(self._offsets) - 1)
        if name not in self._keys:
            raise KeyError(f"there is no sequence {name!r} among its {len(self._keys)} keys.")
        return self._keys[name]

    def shape(self, place: int) -> tuple[int, ...]:
        return int(self._offsets[place + 1] - self._offsets[place]), self._values.shape[1]

    def read(self, place: int) -> npt.NDArray[Any]:
        sequence: npt.NDArray[Any] = self._values[self._offsets[place] : self._offsets[place + 1]]
        return sequence if self._scale is None else sequence * self._scale


def _keys(path: Path, members: _Archive, count: int) -> dict[str, int]:
    keys = members.read("keys")
    if keys.shape != (count,) or keys.dtype.kind != "U":
        raise ValueError(
            f"{path}, keys: expected {count} texts, as many as lengths, got {keys.dtype} {list(keys.shape)}."
        )
    try:
        places = {str(key): i for i, key in enumerate(keys)}
    except (SystemError, ValueError):  # numbers that are no characters
        raise ValueError(f"{path}, keys: these are no texts.") from None
    if len(places) != count:
        raise ValueError(f"{path}, keys: expected each of them once.")
    return places


class _Named:
    """An archive with one array for each sequence."""

    def __init__(self, path: Path, members: _Archive) -> None:
        self._path, self._members = path, members
        self._places: dict[str, int] = {}
        self._arrays: list[npt.NDArray[Any]] = []

    def find(self, name: str) -> int:
        if name not in self._places:
            values = self._members.read(name)
            _expect_floats(f"{self._path}, {name}", values)
            self._places[name] = len(self._arrays)
            self._arrays.append(values)
        return self._places[name]

    def shape(self, place: int) -> tuple[int, ...]:
        return tuple(self._arrays[place].shape)

    def read(self, place: int) -> npt.NDArray[Any]:
        return self._arrays[place]


def _open_archive(path: Path, *, in_memory: bool) -> _Opened:
    members = _Archive(path, in_memory=in_memory)
    if members.names >= FLAT:
        return _Flat(path, members)
    return _Named(path, members)


def _place(name: str, count: int) -> int:
    """The number of a sequence, from its decimal digits."""
    if not (name.isascii() and name.isdigit()) or len(name) > 18 or int(name) >= count:
        raise KeyError(f"expected the number of a sequence, from 0 to {count - 1}, got {name!r}.")
    return int(name)


class _Archive:
    """The arrays of a .npz file by name, mapped or in memory.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a whole zip file.
    """

    def __init__(self, path: Path, *, in_memory: bool) -> None:
        self._path, self._in_memory = path, in_memory
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path}: not a whole .npz file ({error}).") from error
        self._infos = {info.filename.removesuffix(".npy"): info for info in infos}
        if len(self._infos) != len(infos):
            raise ValueError(f"{path}: two arrays of the archive have the same name.")
        self._buffer = None if in_memory else _mapped(path)

    @property
    def names(self) -> set[str]:
        return set(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return an array; ValueError where it is damaged, KeyError where there is none."""
        if name not in self._infos:
            raise KeyError(f"there is no array {name!r} in the archive.")
        info, where = self._infos[name], f"{self._path}, {name}"
        if info.flag_bits & 1:
            raise ValueError(f"{where}: it is encrypted.")
        if self._buffer is not None:
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(
                    f"{where}: it is compressed, and cannot be mapped into memory: write the archive with "
                    "numpy.savez, or allow it to be read into memory (features_in_memory)."
                )
            start = self._start(info, where)
            return array_of_buffer(where, memoryview(self._buffer)[start : start + info.file_size])
        try:
            with zipfile.ZipFile(self._path) as archive:
                content = archive.read(info)
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            zlib.error,
            lzma.LZMAError,
            NotImplementedError,
        ) as error:
            raise ValueError(f"{where}: it is damaged ({error}).") from error
        return array_of_buffer(where, memoryview(content))

    def _start(self, info: zipfile.ZipInfo, where: str) -> int:
        """Where a member's bytes begin: after its local header, which has a size of its own."""
        assert self._buffer is not None
        local = bytes(self._buffer[info.header_offset : info.header_offset + 30])
        start = info.header_offset + 30
        if len(local) == 30 and local[:4] == b"PK\3\4":
            start += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
            if info.file_size == info.compress_size and start + info.file_size <= len(self._buffer):
                return start
        raise ValueError(f"{where}: the archive is damaged.")


def _mapped(path: Path) -> mmap.mmap:
    if not os.path.getsize(path):
        raise ValueError(f"{path}: the file is empty.")
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _mapped_npy(path: Path) -> npt.NDArray[Any]:
    return array_of_buffer(str(path), memoryview(_mapped(path)))
