"""A caption with its attention over the grid, word for word: python picture.py RUN MANIFEST N OUT.png [IMAGE]

RUN is a model's or a run's folder, N the number of a sequence in the manifest, from 0. IMAGE, if it is given,
is drawn below the attention. Needs matplotlib (extra `demo`), and Pillow, which comes with it, for an IMAGE.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq_fast import Translator
from seq2seq_fast.cli.models import model_folder
from seq2seq_fast.manifest import read_manifest


def caption(run: str, manifest: str, number: int) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return a caption's words, the end token last, and their attention [words, cells]."""
    sources = read_manifest(manifest, texts=False).sequences
    with Translator(model_folder(Path(run))) as translator:
        (found,) = translator.translate_batch(
            [sources[number]], beam_size=5, length_penalty=0.7, return_attention=True
        )
    attention = found.attention[0]
    return [*found.hypotheses[0], "</s>"][: len(attention)], attention


def draw(words: list[str], attention: np.ndarray[Any, Any], out: str, image: str | None = None) -> None:
    """Write a PNG: a grid for each word, bright where it looked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = math.isqrt(attention.shape[1])
    if side * side != attention.shape[1]:
        raise ValueError(f"Expected the cells of a square grid, got {attention.shape[1]}.")
    pixels = None
    if image is not None:
        from PIL import Image

        pixels = np.asarray(Image.open(image).convert("RGB").resize((224, 224)))
    columns = min(len(words), 6)
    rows = -(-len(words) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (word, weights) in enumerate(zip(words, attention, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        extent = (0, 224, 224, 0)
        if pixels is not None:
            axes.imshow(pixels, extent=extent)
        axes.imshow(
            weights.reshape(side, side),
            cmap="gray",
            vmin=0.0,
            vmax=float(attention.max()),
            alpha=0.6 if pixels is not None else 1.0,
            interpolation="bicubic" if pixels is not None else "nearest",
            extent=extent,
        )
        axes.set_title(word, fontsize=9)
        axes.set_axis_off()
    figure.savefig(out, dpi=120, format="png")


def main(run: str, manifest: str, number: str, out: str, image: str | None = None) -> None:
    words, attention = caption(run, manifest, int(number))
    print(" ".join(words[:-1]))
    draw(words, attention, out, image)


if __name__ == "__main__":
    main(*sys.argv[1:])
