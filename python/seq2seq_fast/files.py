"""A model's folder: config.json, model.safetensors, vocabularies, the tokenisers' files.

    config.json               {"format_version": 1 or 2, "kind": "seq2seq", "compute_type": format 2 only,
                               "model": the Seq2SeqConfig,
                               "source": a side, or null (feature vectors or bare ids), "target": likewise,
                               "front_end": what happens to feature vectors; not in every folder}
    a side                    {"tokenizer": settings, "eos": whether ids end with eos,
                               "vocabulary": a file's name, "special_tokens": {"pad": ..., ..., "unk": ...}}
    model.safetensors         the parameters by PyTorch's names: float32, or as `quantization` says
    *_vocabulary.json         a JSON list of tokens, the id being the place in the list
    a front end               {FrontEnd's arguments, "groups": whose statistics front_end.safetensors has}
    front_end.safetensors     float32 mean, scale [groups, features]; where there are groups
    shortlist.safetensors     what `lexical_shortlist` says, where one was made

Whatever a folder holds, loading it ends with a model or with a ValueError that names the file and the field.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import quantization
from seq2seq_fast.atomic import atomic_write, sync_directory, write_bytes
from seq2seq_fast.checkpoint import expect_no_run
from seq2seq_fast.device import resolve_device
from seq2seq_fast.front_end import FrontEnd, Statistics
from seq2seq_fast.tensor_file import TensorFile, TensorSpec, write_tensors
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import tokenizer_from_settings
from seq2seq_fast.vocab import SpecialTokens, Vocabulary

if TYPE_CHECKING:
    from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig

FORMAT_VERSION = 2
"""The newest. Raised when a folder can hold what an older version would misread; older ones stay readable.

1: the parameters are float32, and so they are written still. 2: they are of another compute type.
"""

CONFIG, WEIGHTS, FRONT_END = "config.json", "model.safetensors", "front_end.safetensors"
SHORTLIST = "shortlist.safetensors"

USERS = {
    "seq2seq": "`seq2seq-fast translate`, `score`, `evaluate` and `Translator`",
    "forecast": "`seq2seq-fast forecast` and `Forecaster`",
}
"""Who takes a folder of each kind."""

Floats = NDArray[np.float32]
StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class SavedModel:
    """What a model's folder holds."""

    model: Seq2Seq
    source: TextField | None
    """None: the source is feature vectors, or the folder was saved without a vocabulary."""
    target: TextField | None
    front_end: FrontEnd | None = None
    """What the feature vectors of sources go through; None: nothing, or the source is text."""


def save_model(
    folder: StrPath,
    model: Seq2Seq,
    *,
    source: TextField | None = None,
    target: TextField | None = None,
    front_end: FrontEnd | None = None,
    compute_type: str = "float32",
) -> None:
    """Write a model's folder, each file atomically.

    Written over the same model of an earlier moment (same config, same vocabularies), the folder holds one or
    the other at any time. Written over another model, it has no config.json, and so is no model, until all
    else is in place.

    Args:
        folder: made if it is not there; files of other names in it are left alone.
        model: the model.
        source: tokeniser and vocabulary of the source, if it is text.
        target: tokeniser and vocabulary of the target.
        front_end: what the sources' feature vectors went through in training.
        compute_type: float32, float16, bfloat16 or int8: how the matrices are stored.

    Raises:
        ValueError: a vocabulary or the front end does not fit the model's config, there is no such compute
            type, or a parameter cannot be stored in it.
        OSError: the folder cannot be written.
    """
    parameters = model.parameters() if model.device == "cpu" else model.native.state()
    _save(Path(folder), model.config, parameters, source, target, front_end, compute_type)


def _save(
    folder: Path,
    model_config: Seq2SeqConfig,
    parameters: Mapping[str, Floats],
    source: TextField | None,
    target: TextField | None,
    front_end: FrontEnd | None,
    compute_type: str,
) -> None:
    if compute_type not in quantization.COMPUTE_TYPES:
        known = ", ".join(quantization.COMPUTE_TYPES)
        raise ValueError(f"[save_model] Expected compute_type as one of {known}, got {compute_type!r}.")
    _check_vocabularies(model_config, source, target)
    _check_front_end(model_config, front_end)
    config = {
        "format_version": 1,
        "kind": "seq2seq",
        "model": asdict(model_config),
        "source": _side_settings("source", source),
        "target": _side_settings("target", target),
    }
    if compute_type != "float32":
        config |= {"format_version": 2, "compute_type": compute_type}
    if front_end is not None:
        config["front_end"] = {**front_end.settings(), "groups": list(front_end.statistics)}
    splits = quantization.column_splits(model_config)
    tensors: dict[str, NDArray[Any]] = {}
    for name, values in parameters.items():
        tensors |= quantization.store(name, values, compute_type, splits)
    files = {CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()}
    for name, text in (("source", source), ("target", target)):
        if text is not None:
            files[f"{name}_vocabulary.json"] = text.vocabulary.to_bytes()
            files.update(text.tokenizer.files())
    if front_end is not None and front_end.statistics:
        files[FRONT_END] = _statistics_bytes(front_end)
    write_folder(folder, files, tensors)


def write_folder(folder: Path, files: Mapping[str, bytes], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write the files of a model's folder, config.json among them, and its weights, each file atomically.

    Where a file is to become another, config.json goes first and comes last: in between the folder is no
    model. Otherwise only the weights are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stale = [name for name, content in files.items() if not _holds(folder / name, content)]
    if stale:
        (folder / CONFIG).unlink(missing_ok=True)
        sync_directory(folder)
        for name in stale:
            if name != CONFIG:
                write_bytes(folder / name, files[name])
    with atomic_write(folder / WEIGHTS) as file:
        write_tensors(file, tensors, {"format": "pt"})  # "pt": what PyTorch's tools look for
    if stale:
        write_bytes(folder / CONFIG, files[CONFIG])


def load_model(folder: StrPath, device: str = "cpu") -> SavedModel:
    """Read a model's folder. A quantised model comes as the float32 numbers that its integers stand for.

    Args:
        folder: the model's folder.
        device: where the model shall lie; see `Seq2Seq`.

    Raises:
        FileNotFoundError: the folder, or a file that has to be in it, is not there.
        ValueError: a file is damaged, a field is unknown, missing or wrong, names, shapes or dtypes of the
            weights are not those of the config, or the format is newer than this version of the software.
        RuntimeError: there is no such device.
    """
    from seq2seq_fast.model import Seq2Seq

    device = resolve_device("load_model", device, auto=True)
    opened = ModelFolder.open(folder)
    layout = opened.layout()  # fits the file, so that what is made next is no larger
    with names_errors(opened.path):
        model = Seq2Seq(opened.config, seed=None, device=device)
    for name, values in opened.parameters(layout):
        # Not through `parameters()`: once there are writable views, each call looks for changes in them.
        model.native.load_parameter(name, values)
    return SavedModel(model, opened.source, opened.target, opened.front_end)


def quantize_model(folder: StrPath, out: StrPath, compute_type: str) -> None:
    """Write a model's folder anew, its matrices rounded to a compute type.

    Args:
        folder: a model's folder, of any compute type.
        out: the folder to write; see `save_model`.
        compute_type: float32, float16, bfloat16 or int8.

    Raises:
        ValueError: as `load_model` and `save_model`, or `out` is the folder itself or a training run's.
    """
    opened = ModelFolder.open(folder)
    if Path(out).exists() and os.path.samefile(folder, out):
        raise ValueError(f"{out}: the rounded model would be written over the one it is made of.")
    expect_no_run(out)
    parameters = dict(opened.parameters(opened.layout()))
    _save(Path(out), opened.config, parameters, opened.source, opened.target, opened.front_end, compute_type)
    if (opened.path / SHORTLIST).is_file():
        write_bytes(Path(out) / SHORTLIST, (opened.path / SHORTLIST).read_bytes())


@dataclass(frozen=True)
class ModelFolder:
    """What a model's folder says before its weights are read."""

    path: Path
    config: Seq2SeqConfig
    compute_type: str
    """How the matrices are stored."""
    source: TextField | None
    target: TextField | None
    front_end: FrontEnd | None

    @classmethod
    def open(cls, folder: StrPath) -> ModelFolder:
        """Read everything but the weights. `load_model` says what is raised."""
        path = Path(folder)
        settings = read_config(path)
        opened = cls(
            path,
            _model_config(path / CONFIG, settings["model"]),
            settings.get("compute_type", "float32"),
            _load_side(path, "source", settings["source"]),
            _load_side(path, "target", settings["target"]),
            _load_front_end(path, settings.get("front_end")),
        )
        with names_errors(opened.path):
            _check_vocabularies(opened.config, opened.source, opened.target)
            _check_front_end(opened.config, opened.front_end)
        return opened

    def weights_digest(self) -> str:
        """Return SHA-256 of the weights' file, in hexadecimal."""
        digest = hashlib.sha256()
        with open(self.path / WEIGHTS, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def layout(self) -> quantization.Layout:
        """Return the parameters the model has, checked against the weights' file: names, shapes, dtypes."""
        with names_errors(self.path):
            layout = self.config.layout()
        with TensorFile(self.path / WEIGHTS) as weights:
            weights.expect(
                quantization.specs(layout, self.compute_type, quantization.column_splits(self.config))
            )
        return layout

    def parameters(
        self, layout: quantization.Layout, compute_type: str = "float32"
    ) -> Iterator[tuple[str, Floats]]:
        """Read the parameters one by one, as float32.

        Args:
            layout: the parameters there have to be.
            compute_type: what matrices are rounded to, if they are not stored so.
        """
        splits = quantization.column_splits(self.config)
        with TensorFile(self.path / WEIGHTS) as weights:
            weights.expect(quantization.specs(layout, self.compute_type, splits))
            for name, shape, *_ in layout:
                values = quantization.restore(weights.read, name, shape, self.compute_type, splits)
                if compute_type != self.compute_type:
                    values = quantization.round_to(name, values, compute_type, splits)
                yield name, values


@contextmanager
def names_errors(folder: Path) -> Iterator[None]:
    """Turn what is wrong with a value of a folder's config.json into a ValueError that names the file."""
    try:
        yield
    except (ValueError, TypeError, MemoryError) as error:
        message = str(error) or "the model does not fit in memory"
        raise ValueError(f"{folder / CONFIG}: {message}") from error


def read_config(folder: StrPath) -> dict[str, Any]:
    """Read and check the outer fields of a folder's config.json; `load_model` says what is raised."""
    path = Path(folder) / CONFIG
    config = read_json(folder, "seq2seq", FORMAT_VERSION)
    version = config["format_version"]
    required: tuple[str, ...] = ("format_version", "kind", "model", "source", "target")
    required = required if version == 1 else (*required, "compute_type")
    check_fields(path, "", config, required=required, optional=["front_end"])
    stored = config.get("compute_type", "float32")
    if stored not in quantization.COMPUTE_TYPES:
        known = ", ".join(quantization.COMPUTE_TYPES)
        raise ValueError(f"{path}: field 'compute_type': expected one of {known}, got {stored!r}.")
    return config


def read_json(folder: StrPath, kind: str, newest: int) -> dict[str, Any]:
    """Read a folder's config.json, which has to be of this kind, and of a format up to `newest`."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        models = [part for part in ("best", "last") if (Path(folder) / part / CONFIG).is_file()]
        if models:
            named = " and ".join(str(Path(folder) / part) for part in models)
            raise FileNotFoundError(
                f"{path}: no such file; {os.fspath(folder)} is a training run's, its models are in {named}."
            )
        raise FileNotFoundError(f"{path}: no such file; {os.fspath(folder)} is not a model's folder.")
    try:
        config = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON ({error}).") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(config).__name__}.")
    version = config.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(
            f"{path}: field 'format_version': expected an integer of at least 1, got {version!r}."
        )
    if version > newest:
        raise ValueError(
            f"{path}: field 'format_version': this seq2seq_fast reads formats up to {newest}, "
            f"the model is of format {version}; a newer version is needed."
        )
    if "kind" in config and config["kind"] != kind:
        users = USERS.get(config["kind"]) if isinstance(config["kind"], str) else None
        hint = "" if users is None else f"; such a model is for {users}"
        raise ValueError(f"{path}: field 'kind': expected {kind!r}, got {config['kind']!r}{hint}.")
    return config


def _side_settings(name: str, text: TextField | None) -> dict[str, Any] | None:
    if text is None:
        return None
    return {
        "tokenizer": text.tokenizer.settings(),
        "eos": text.eos,
        "vocabulary": f"{name}_vocabulary.json",
        "special_tokens": text.vocabulary.specials.settings(),
    }


def _load_side(folder: Path, name: str, settings: Any) -> TextField | None:
    if settings is None:
        return None
    path = folder / CONFIG
    check_fields(path, f"{name}.", settings, required=("tokenizer", "eos", "vocabulary", "special_tokens"))
    if not isinstance(settings["eos"], bool):
        raise ValueError(f"{path}: field '{name}.eos': expected true or false, got {settings['eos']!r}.")
    field = "special_tokens"
    try:
        specials = SpecialTokens.from_settings(settings[field])
        field = "tokenizer"
        tokenizer = tokenizer_from_settings(
            settings[field], lambda file: _neighbour(folder, file).read_bytes()
        )
        field = "vocabulary"
        vocabulary_path = _neighbour(folder, settings[field])
    except ValueError as error:
        raise ValueError(f"{path}: field '{name}.{field}': {error}") from error
    vocabulary = Vocabulary.load(vocabulary_path, specials=specials)
    try:
        return TextField(tokenizer, vocabulary, settings["eos"])
    except ValueError as error:
        raise ValueError(f"{path}: field '{name}.eos': {error}") from None


def _statistics_bytes(front_end: FrontEnd) -> bytes:
    content = io.BytesIO()
    every = list(front_end.statistics.values())
    tensors = {what: np.stack([getattr(one, what) for one in every]) for what in ("mean", "scale")}
    write_tensors(content, tensors, {})
    return content.getvalue()


def _load_front_end(folder: Path, settings: Any) -> FrontEnd | None:
    if settings is None:
        return None
    path = folder / CONFIG
    names = ("features", "normalization", "deltas", "delta_window", "stack", "stride")
    check_fields(path, "front_end.", settings, required=(*names, "groups"))
    groups = settings["groups"]
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise ValueError(f"{path}: field 'front_end.groups': expected a list of names, got {groups!r}.")
    if len(set(groups)) != len(groups):
        raise ValueError(f"{path}: field 'front_end.groups': expected each name once.")
    if settings["normalization"] == "global" and groups != [""]:
        raise ValueError(f"{path}: field 'front_end.groups': expected [''], got {groups!r}.")
    try:
        front_end = FrontEnd(**{name: settings[name] for name in names})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: field 'front_end': {error}") from error
    if not groups:
        return front_end
    with TensorFile(folder / FRONT_END) as file:
        file.expect(
            {what: TensorSpec("F32", (len(groups), front_end.features)) for what in ("mean", "scale")}
        )
        means, scales = file.read("mean"), file.read("scale")
    for what, values in (("mean", means), ("scale", scales)):
        if not np.isfinite(values).all():
            raise ValueError(f"{folder / FRONT_END}: tensor {what!r}: expected finite values.")
    statistics = {group: Statistics(means[i], scales[i]) for i, group in enumerate(groups)}
    return replace(front_end, statistics=statistics)


def _check_front_end(config: Seq2SeqConfig, front_end: FrontEnd | None) -> None:
    if front_end is not None and front_end.width != config.source_features:
        raise ValueError(
            f"the front end makes vectors of {front_end.width} features, source_features is "
            f"{config.source_features}."
        )


def _model_config(path: Path, settings: Any) -> Seq2SeqConfig:
    """Make a Seq2SeqConfig of its fields, names and types checked."""
    from seq2seq_fast.model import Seq2SeqConfig

    known = fields(Seq2SeqConfig)
    required = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    check_fields(path, "model.", settings, required=required, optional=[f.name for f in known])
    types = get_type_hints(Seq2SeqConfig)
    for name, value in settings.items():
        expected = "float or null" if types[name] == float | None else types[name].__name__
        allowed = get_args(types[name]) or (types[name],)
        allowed += (int,) if float in allowed else ()
        if not isinstance(value, allowed) or (isinstance(value, bool) and types[name] is not bool):
            raise ValueError(f"{path}: field 'model.{name}': expected {expected}, got {value!r}.")
    try:
        return Seq2SeqConfig(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: field 'model': {error}") from error


def _check_vocabularies(config: Seq2SeqConfig, source: TextField | None, target: TextField | None) -> None:
    for name, text in (("source", source), ("target", target)):
        size = getattr(config, f"{name}_vocab_size")
        if text is not None and len(text.vocabulary) != size:
            raise ValueError(
                f"the {name} vocabulary has {len(text.vocabulary)} tokens, {name}_vocab_size is {size}."
            )
    if (
        config.share_embeddings
        and source is not None
        and target is not None
        and source.vocabulary.tokens != target.vocabulary.tokens
    ):
        raise ValueError("share_embeddings is on, and the source vocabulary is not the target's.")
    for name in ("pad", "bos", "eos", "unk") if target is not None else ():
        special = getattr(target.vocabulary, f"{name}_id") if target is not None else None
        if special is not None and special != getattr(config, f"{name}_id"):
            expected = getattr(config, f"{name}_id")
            raise ValueError(
                f"the {name} token of the target vocabulary has id {special}, {name}_id is {expected}."
            )


def check_fields(
    path: Path,
    prefix: str,
    settings: Any,
    *,
    required: tuple[str, ...] | list[str],
    optional: list[str] | None = None,
) -> None:
    """Refuse settings that are no object, or of which a required field is missing or one is unknown."""
    if not isinstance(settings, Mapping):
        raise ValueError(f"{path}: field '{prefix.rstrip('.')}': expected an object, got {settings!r}.")
    for name in required:
        if name not in settings:
            raise ValueError(f"{path}: field '{prefix}{name}' is missing.")
    for name in settings:
        if name not in required and name not in (optional or ()):
            raise ValueError(f"{path}: unknown field '{prefix}{name}'.")


def _neighbour(folder: Path, name: Any) -> Path:
    """The path of a file that a config names: it has to lie in the folder itself."""
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or "\0" in name
        or Path(name).name != name
        or "\\" in name
    ):
        raise ValueError(f"expected the name of a file in the folder, got {name!r}.")
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    return path


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
