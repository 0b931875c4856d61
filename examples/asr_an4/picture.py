"""A recording with the alignment of what was heard in it: python picture.py RUN MANIFEST N OUT.png

RUN is a model's or a run's folder, N the number of a recording in the manifest, from 0. Above are its cepstra
(the first left out, which is loudness), below the attention, letter for letter. The speaker is normalised by
what the manifest has of him or her. Needs matplotlib (extra `demo`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq_fast import Translator
from seq2seq_fast.cli.models import model_folder
from seq2seq_fast.front_end import Statistics
from seq2seq_fast.manifest import read_manifest

A = np.ndarray[Any, Any]
FRAMES_A_SECOND = 100


def hear(run: str, manifest: str, number: int) -> tuple[list[str], A, A]:
    """Return letters, the end token last, their attention [letters, places] and the cepstra [frames, 13]."""
    sources = read_manifest(manifest, texts=False)
    speaker = sources.groups[number]
    own = [sources.sequences[i] for i, group in enumerate(sources.groups) if group == speaker]
    with Translator(model_folder(Path(run))) as translator:
        (found,) = translator.translate_batch(
            [sources.sequences[number]],
            groups=[Statistics.of(own)],
            beam_size=5,
            ctc_weight=0.5,
            return_attention=True,
        )
    attention = found.attention[0]
    return [*found.hypotheses[0], "</s>"][: len(attention)], attention, sources.sequences[number]


def draw(letters: list[str], attention: A, cepstra: A, out: str) -> None:
    """Write a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds = len(cepstra) / FRAMES_A_SECOND
    figure = Figure(figsize=(8, 2 + 0.16 * len(letters)), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=(1, 0.12 * len(letters) + 0.5))
    shown = np.asarray(cepstra, np.float32)[:, 1:].T
    above.imshow(shown, aspect="auto", origin="lower", extent=(0, seconds, 1, 13), cmap="magma")
    above.set_ylabel("cepstrum")
    above.set_xticks([])
    below.imshow(attention, aspect="auto", extent=(0, seconds, len(letters) - 0.5, -0.5), cmap="gray_r")
    below.set_yticks(range(len(letters)), [{" ": "_"}.get(letter, letter) for letter in letters], fontsize=7)
    below.set_xlabel("seconds")
    figure.savefig(out, dpi=100, format="png")


def main(run: str, manifest: str, number: str, out: str) -> None:
    letters, attention, cepstra = hear(run, manifest, int(number))
    print("".join(letters[:-1]))
    draw(letters, attention, cepstra, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
