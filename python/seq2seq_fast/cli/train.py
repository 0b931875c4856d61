"""`seq2seq-fast train`: from a file of pairs and options to a model's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seq2seq_fast import set_num_threads, tsv
from seq2seq_fast.atomic import write_bytes
from seq2seq_fast.batching import Batching
from seq2seq_fast.checkpoint import CheckpointFolder
from seq2seq_fast.corpus import build_vocabularies, cached_tsv
from seq2seq_fast.data import Dataset
from seq2seq_fast.decoding import decoding_metric, feature_metric
from seq2seq_fast.device import multiplies_bfloat16, resolve_device
from seq2seq_fast.feature_data import FeatureDataset
from seq2seq_fast.files import save_model
from seq2seq_fast.front_end import FrontEnd
from seq2seq_fast.metrics import get_metric
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.optim import Optimizer, optimizer_from_settings
from seq2seq_fast.progress import tell
from seq2seq_fast.run_lock import RunLock
from seq2seq_fast.schedule import (
    CosineDecay,
    ExponentialDecay,
    InverseSquareRoot,
    Noam,
    ReduceLROnPlateau,
    Scheduler,
    StepDecay,
)
from seq2seq_fast.scheduled_sampling import ScheduledSampling
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import SentencePieceTokenizer, Tokenizer, tokenizer_from_settings
from seq2seq_fast.trainer import Metric, Trainer, TrainingData, TrainingInterrupted, TrainingResult

from .embeddings import check_joint, freeze_embeddings, start_embeddings
from .evaluate import LIKELIHOOD_METRICS, check_references
from .features import (
    check_data_type,
    fit_front_end,
    make_data,
    make_target,
    open_training_manifest,
    references_of,
    tell_dropped,
)
from .forecast_options import FORECAST_OPTIONS
from .lines import is_standard, name_of
from .options import Option, Value, load_config, preset_file
from .train_options import TRAIN_OPTIONS, arguments_for, resolve

OPTIONS_FILE = "options.json"
"""In the run's folder: the options it was started with, for --resume."""


def resolve_run(
    command: str,
    flags: Mapping[str, object],
    config: Path | None,
    presets: Sequence[tuple[str, Mapping[str, object]]],
    *,
    resume: bool,
    overwrite: bool,
    table: Sequence[Option] | None = None,
) -> tuple[dict[str, Value | None], Path]:
    """Return a run's options and its folder: flags before `config` before, with `resume`, what the run began
    with, before presets, pairs of a name and its options. `table`: see `resolve`.

    Raises:
        ValueError, OSError: an option; there is no folder, or it holds a run and neither flag says what then.
    """
    files: list[tuple[str, Mapping[str, object]]] = []
    if config is not None:
        files.append((str(config), load_config(config)))
    options = resolve(flags, *files, *presets, table=table)
    if options["out"] is None:
        raise ValueError(f"{command} needs a folder for the run: --out DIR.")
    out = Path(str(options["out"]))
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other.")
    run = CheckpointFolder(out)
    if run.run() is not None and not (overwrite or (resume and run.latest() is not None)):
        go_on = "" if run.latest() is None else "go on with --resume, or "
        raise ValueError(f"{out} holds a training run ({run.run()}): {go_on}start anew with --overwrite.")
    if run.run() is not None:
        RunLock(out).close()  # refused before data are read, or a tokeniser is learnt in the run's folder
    if resume and (out / OPTIONS_FILE).exists():
        begun = load_config(out / OPTIONS_FILE)
        check_command(command, out, begun)
        files.append((str(out / OPTIONS_FILE), begun))
        options = resolve(flags, *files, *presets, table=table)
    return options, out


def check_command(command: str, out: Path, begun: Mapping[str, object]) -> None:
    """Refuse to resume a run that another command began with these options."""
    tables = {"train": TRAIN_OPTIONS, "forecast train": FORECAST_OPTIONS}
    fitting = [name for name, table in tables.items() if begun.keys() <= {option.name for option in table}]
    if fitting and command not in fitting:
        raise ValueError(f"{out} holds a run of `{fitting[0]}`: go on with seq2seq-fast {fitting[0]}.")


def run_train(
    flags: Mapping[str, object],
    *,
    config: Path | None = None,
    preset: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingResult | None:
    """Train as told by flags and a file of options; None if it was interrupted (and saved).

    Raises:
        ValueError, OSError: something is wrong with the options or the data; the message says what.
    """
    presets = [] if preset is None else [(f"preset {preset}", dict(load_config(preset_file(preset))))]
    options, out = resolve_run("train", flags, config, presets, resume=resume, overwrite=overwrite)
    if options["valid"] is None and presets and presets[0][1].pop("valid_metric", None):
        # A preset's metric is for who has pairs to decode; one's own without them is refused below.
        options, out = resolve_run("train", flags, config, presets, resume=resume, overwrite=overwrite)
        tell("Nothing is validated without --valid: the model will be the last one.")
    if options["train"] is None and resume:
        raise ValueError(f"--resume: {out} holds no training run to go on with.")
    if options["train"] is None:
        raise ValueError("train needs pairs to learn from: --train FILE.tsv.")
    if threads := arguments_for("run", options).get("threads"):
        set_num_threads(threads)

    # Settings before data: a mistake in them should not wait until a large file is read.
    device = resolve_device("train", arguments_for("run", options)["device"], auto=True)
    optimizer = make_optimizer(options)
    make_scheduler(options)
    check_metric(options)
    check_early_stopping(options)
    trainer_arguments = arguments_for("trainer", options)
    trainer_arguments["scheduled_sampling"] = make_sampling(options)
    check_data_type(options)
    read_data = feature_data if options["data_type"] == "features" else text_data
    data = read_data(options, out, resume=resume)
    source, target, train, valid = data.source, data.target, data.train, data.valid
    scheduler = make_scheduler(options, planned_steps(options, train))
    model = Seq2Seq(
        Seq2SeqConfig(
            target_vocab_size=len(target.vocabulary),
            **arguments_for("model", options),
            **data.reads,
            **{
                f"{name}_id": getattr(target.vocabulary, f"{name}_id")
                for name in ("bos", "eos", "unk", "pad")
            },
        ),
        **arguments_for("network", options),
        device=device,
    )
    if not (resume and CheckpointFolder(out).latest()):  # else they come with the checkpoint
        start_embeddings(options, model, source, target, tell)
    freeze_embeddings(options, model)
    trainer = Trainer(
        model,
        optimizer,
        out=out,
        scheduler=scheduler,
        metric=data.metric,
        save_model=lambda folder: save_model(
            folder, model, source=source, target=target, front_end=data.front_end
        ),
        resume_hint=f"seq2seq-fast train --out {out} --resume",
        **trainer_arguments,
    )
    tell(
        f"{len(train)} pairs, {data.described}{len(target.vocabulary)} target tokens, "
        f"{sum(view.size for view in model.parameters().values())} parameters on {model.device}."
    )
    tell_of_bfloat16(trainer, model.device)
    return fit_run(
        trainer, train, valid, options, out, TRAIN_OPTIONS, "translate", resume=resume, overwrite=overwrite
    )


def tell_of_bfloat16(trainer: Trainer, device: str) -> None:
    """Say so if bfloat16 was asked for in vain."""
    if trainer.compute_type == "bfloat16" and not multiplies_bfloat16(device):
        tell("This processor does not multiply bfloat16: products stay float32.")


def fit_run(
    trainer: Trainer,
    train: TrainingData,
    valid: TrainingData | None,
    options: Mapping[str, Value | None],
    out: Path,
    table: Sequence[Option],
    next_command: str,
    *,
    resume: bool,
    overwrite: bool,
) -> TrainingResult | None:
    """Train, keeping the run's options beside it as soon as it is known to be one; None if interrupted.
    `next_command`: what uses the model."""
    kept, started = kept_options(options, table), False

    def on_start() -> None:
        nonlocal started
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(out / OPTIONS_FILE, (json.dumps(kept, indent=2) + "\n").encode())
        started = True

    try:
        result = trainer.fit(train, valid, resume=resume, overwrite=overwrite, on_start=on_start)
    except TrainingInterrupted as interruption:
        tell(str(interruption))
        return None
    except ValueError as error:
        if started or not resume or not (others := changed_options(kept, out)):
            raise
        raise ValueError(f"{error} Options that are not those of the run: {others}.") from error
    tell(f"The model is in {result.best or result.last}: seq2seq-fast {next_command} --model {out}")
    return result


@dataclass(frozen=True)
class Data:
    """What a run reads."""

    source: TextField | None
    """None: feature vectors."""
    target: TextField
    front_end: FrontEnd | None
    train: Dataset | FeatureDataset
    valid: Dataset | FeatureDataset | None
    metric: str | Metric
    reads: dict[str, Any]
    """What the network's config says of its sources."""
    described: str


def text_data(options: Mapping[str, Value | None], out: Path, *, resume: bool) -> Data:
    """Read pairs of texts."""
    for name in ("train", "valid"):
        check_regular(name, options[name])
    source, target = make_fields(options, out, resume=resume)
    size = len(source.vocabulary)
    reads: dict[str, Any] = {"source_vocab_size": size}
    if options["word_dropout"]:
        reads["source_unk_id"] = source.vocabulary.unk_id
    train = read(options, "train", source, target)
    valid = read(options, "valid", source, target) if options["valid"] is not None else None
    metric = make_metric(options, source, target)
    return Data(source, target, None, train, valid, metric, reads, f"{size} source and ")


def check_regular(name: str, value: object) -> None:
    """Refuse pairs that can be read but once: standard input, a pipe."""
    path = Path(str(value))
    if value is None or path.is_file() or path.is_dir() or not (path.exists() or is_standard(path)):
        return
    raise ValueError(
        f"--{name}: {name_of(path)} can be read but once, and train reads its files several times: "
        "write it to a file first."
    )


def feature_data(options: Mapping[str, Value | None], out: Path, *, resume: bool) -> Data:
    """Read pairs of feature sequences and texts."""
    manifest = open_training_manifest(options, "train")
    lines = (text for texts in manifest.texts for text in texts)
    target = make_target(
        options, manifest, make_tokenizer(options, "tgt", (1,), out, resume=resume, texts=lines)
    )
    front_end = fit_front_end(options, manifest)
    train = make_data(options, manifest, target, front_end)
    tell_dropped(options["train"], train)
    valid = None
    arguments = arguments_for("validation", options)
    metric: str | Metric = arguments.pop("metric")
    if options["valid"] is not None:
        checked = open_training_manifest(options, "valid")
        valid = make_data(options, checked, target, front_end)
        tell_dropped(options["valid"], valid)
        if metric not in LIKELIHOOD_METRICS:
            name, names, right = str(metric), checked.sequences.names, references_of(checked)
            check_references(f"--valid_metric {name}", name, checked.path, names, right)
            metric = feature_metric(name, valid.sources, target, right, **arguments)
    features = {"source_features": front_end.width}
    return Data(None, target, front_end, train, valid, metric, features, f"{front_end.width} features and ")


def make_fields(
    options: Mapping[str, Value | None], out: Path, *, resume: bool
) -> tuple[TextField, TextField]:
    """Make tokenisers, and vocabularies of the training file's tokens."""
    joint = bool(options["share_embeddings"])
    if joint:
        check_joint(options)
        tokenizers = [make_tokenizer(options, "src", (0, 1), out, resume=resume)] * 2
    else:
        tokenizers = [
            make_tokenizer(options, side, (column,), out, resume=resume)
            for column, side in enumerate(("src", "tgt"))
        ]
    least, most = (
        tuple(int(options[f"{side}_{what}"] or 0) for side in ("src", "tgt"))
        for what in ("words_min_frequency", "vocab_size")
    )
    vocabularies = build_vocabularies(
        str(options["train"]),
        *tokenizers,
        min_frequency=(least[0] or 1, least[1] or 1),
        max_size=(most[0] or None, most[1] or None),
        joint=joint,
        cache_dir=cache_folder(options),
    )
    return (
        TextField(tokenizers[0], vocabularies[0], eos=bool(options["source_eos"])),
        TextField(tokenizers[1], vocabularies[1]),
    )


def make_tokenizer(
    options: Mapping[str, Value | None],
    side: str,
    columns: tuple[int, ...],
    out: Path,
    *,
    resume: bool,
    texts: Iterable[str] | None = None,
) -> Tokenizer:
    """Make the tokeniser of these columns. A SentencePiece model that is learnt is kept for --resume.

    `texts`: what it is learnt from, where that is not the columns.
    """
    kind = options["source_tokenizer" if side == "src" else "target_tokenizer"]
    lowercase = bool(options["lowercase"])
    path = options[f"{side}_subword_model"]
    if kind != "sentencepiece":
        if path is not None:
            raise ValueError(f"--{side}_subword_model is for the sentencepiece tokenizer, not for {kind}.")
        return tokenizer_from_settings({"type": kind, "lowercase": lowercase})
    if path is not None:
        return SentencePieceTokenizer(str(path), lowercase=lowercase)
    kept = out / f"{side}.sentencepiece.model"
    if not (resume and kept.exists()):
        named = " and ".join(f"column {column + 1}" for column in columns)
        tell(f"Learning a SentencePiece model of {named} of {options['train']}.")
        if texts is None:
            rows = (line for _, line in tsv.read_columns(str(options["train"])))
            texts = (line[column] for line in rows for column in columns)
        tokenizer = SentencePieceTokenizer.train(
            texts,
            vocab_size=int(options["subword_vocab_size"] or 0),
            lowercase=lowercase,
        )
        out.mkdir(parents=True, exist_ok=True)
        (content,) = tokenizer.files().values()
        write_bytes(kept, content)
    return SentencePieceTokenizer(kept, lowercase=lowercase)


def read(options: Mapping[str, Value | None], name: str, source: TextField, target: TextField) -> Dataset:
    """Read the training or the validation file."""
    arguments = arguments_for("data", options)
    limits: dict[str, Any] = {
        "max_source_length": arguments.get("src_seq_length"),
        "max_target_length": arguments.get("tgt_seq_length"),
        "copies": arguments_for("model", options)["copy_attention"],
    }
    cache = cache_folder(options)
    if cache is None:
        data = tsv.read_tsv(arguments[name], source, target, **limits)
    else:
        data = cached_tsv(arguments[name], source, target, cache, **limits)
    if name == "valid":
        data.dropped.pop(tsv.FURTHER_COLUMNS, None)  # they are references
    if data.dropped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items())
        tell(f"Left out of {arguments[name]}: {reasons}.")
    return data


def cache_folder(options: Mapping[str, Value | None]) -> Path | None:
    """Return where binarised data are kept; None: nowhere, the data are read into memory."""
    if options["cache_dir"] is not None:
        return Path(str(options["cache_dir"]))
    return Path(str(options["out"])) / "cache" if options["cache"] else None


def make_optimizer(options: Mapping[str, Value | None]) -> Optimizer:
    """Make the optimiser; an option that it does not have is a ValueError."""
    arguments = arguments_for("optimizer", options)
    first, second = arguments.pop("beta1", None), arguments.pop("beta2", None)
    if first is not None or second is not None:
        arguments["betas"] = (0.9 if first is None else first, 0.999 if second is None else second)
    return optimizer_from_settings(arguments)


def make_sampling(options: Mapping[str, Value | None]) -> ScheduledSampling | None:
    """Make the schedule of --scheduled_sampling_type; None: the target's tokens are always read."""
    arguments = arguments_for("sampling", options)
    return None if arguments["type"] == "none" else ScheduledSampling(**arguments)


def planned_steps(options: Mapping[str, Value | None], train: TrainingData) -> int | None:
    """Return how many steps --train_steps and --max_epochs allow on this data; None: as many as it takes.

    Batches of so many tokens differ a little in number from epoch to epoch; counted are those of the first.
    """
    limits = arguments_for("trainer", options)
    cut = {name: limits[name] for name in ("batch_size", "batch_type", "bucket_size", "seed")}
    steps = [limits["max_steps"]] if "max_steps" in limits else []
    if "max_epochs" in limits:
        batches = Batching(**cut).epoch(train.source_lengths, train.target_lengths, 0)
        steps.append(limits["max_epochs"] * -(-len(batches) // limits["accum_count"]))
    return min(steps, default=None)


def make_scheduler(options: Mapping[str, Value | None], planned: int | None = None) -> Scheduler:
    """Make the schedule of the learning rate that --decay_method names, for a run of so many steps."""
    arguments: dict[str, Any] = arguments_for("scheduler", options)
    method = arguments["type"]
    if method == "cosine" and "steps" not in arguments and (options["train_steps"] or options["max_epochs"]):
        arguments["steps"] = planned or 1  # before the data are read nobody knows
    if method == "auto":
        validates = options["valid"] is not None and arguments["factor"] != 1
        method = "cosine" if "steps" in arguments else "plateau" if validates else "none"
    needed = {
        "plateau": ("valid", options["valid"]),
        "cosine": ("cosine_steps, --train_steps or --max_epochs", arguments.get("steps")),
        "step": ("decay_steps", arguments.get("every")),
        "exponential": ("decay_steps", arguments.get("every")),
    }
    if method in needed and needed[method][1] is None:
        raise ValueError(f"--decay_method {method} needs --{needed[method][0]}.")

    def given(*names: str) -> dict[str, Any]:
        return {name: arguments[name] for name in ("warmup_steps", *names) if name in arguments}

    if method == "plateau":
        return ReduceLROnPlateau(**given("factor", "patience", "threshold", "min_lr"))
    if method == "cosine":
        return CosineDecay(**given("steps", "min_lr"))
    if method == "step":
        return StepDecay(arguments["every"], **given("factor", "start", "min_lr"))
    if method == "exponential":
        return ExponentialDecay(arguments["every"], **given("factor", "min_lr"))
    if method == "rsqrt":
        return InverseSquareRoot(**given("min_lr"))
    if method == "noam":
        warmup = arguments["warmup_steps"] or 4000  # as in the paper
        return Noam(arguments_for("model", options)["decoder_hidden"], warmup_steps=warmup)
    return Scheduler(**given())


def check_metric(options: Mapping[str, Value | None]) -> None:
    """Refuse a metric that needs what is not there: pairs to decode, a library."""
    arguments = arguments_for("validation", options)
    name: str = arguments["metric"]
    if arguments.get("ctc_weight") and not options["ctc_weight"]:
        raise ValueError("--valid_ctc_weight needs a model with a CTC output: --ctc_weight.")
    if name not in LIKELIHOOD_METRICS:
        get_metric(name)
        if options["valid"] is None:
            raise ValueError(f"--valid_metric {name} needs pairs to decode: --valid FILE.tsv.")


def check_early_stopping(options: Mapping[str, Value | None]) -> None:
    """Refuse to stop by validations where there are none: the run would never end."""
    if options["early_stopping"] and options["valid"] is None:
        raise ValueError(
            f"--early_stopping {options['early_stopping']} counts validations: it needs --valid."
        )


def make_metric(options: Mapping[str, Value | None], source: TextField, target: TextField) -> str | Metric:
    """Make what validations go by."""
    arguments = arguments_for("validation", options)
    name: str = arguments.pop("metric")
    if name in LIKELIHOOD_METRICS:
        return name
    path = str(options["valid"])
    texts, right = tsv.read_references(path)
    check_references(f"--valid_metric {name}", name, path, texts, right)
    references = dict(zip(texts, right, strict=True))
    return decoding_metric(name, source, target, references, **arguments)


def kept_options(options: Mapping[str, Value | None], table: Sequence[Option]) -> dict[str, Value]:
    """The options to keep beside a run; paths are made absolute, so that --resume works from anywhere."""
    kept = {name: value for name, value in options.items() if value is not None}
    paths = (option.name for option in table if option.kind == "path")
    for name in paths:
        if name in kept:
            kept[name] = str(Path(str(kept[name])).absolute())
    return kept


def changed_options(kept: Mapping[str, Value], out: Path) -> str:
    """Those that are not as the run has them, with both values."""
    if not (out / OPTIONS_FILE).exists():
        return ""
    saved = load_config(out / OPTIONS_FILE)
    names = [name for name in {**saved, **kept} if name != "out" and saved.get(name) != kept.get(name)]
    return ", ".join(f"--{name} {kept.get(name)} (was {saved.get(name)})" for name in names)
