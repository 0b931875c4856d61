"""A decoder's attention as a picture: shades in a terminal, or a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["render_alignment", "save_alignment_png"]

_SHADES = " ░▒▓█"
_ASCII_SHADES = " .:*#"


def _checked(source: Sequence[str], target: Sequence[str], attention: ArrayLike) -> NDArray[np.float32]:
    weights = np.asarray(attention, dtype=np.float32)
    expected = (len(target), len(source))
    if weights.shape != expected:
        raise ValueError(
            f"[alignment] Expected attention of shape {list(expected)} (target, source), "
            f"got {list(weights.shape)}."
        )
    return weights


def render_alignment(
    source: Sequence[str], target: Sequence[str], attention: ArrayLike, *, encoding: str = "utf-8"
) -> str:
    """Return the attention as lines of text: a column for each source token, a row for each target token.

    attention: [len(target), len(source)], weights from 0 to 1. Where `encoding` has no block characters,
    ASCII is used.
    """
    weights = _checked(source, target, attention)
    try:
        _SHADES.encode(encoding)
        shades = _SHADES
    except (UnicodeEncodeError, LookupError):
        shades = _ASCII_SHADES
    # Equal steps of the square root: a weight of 0.1 should still be seen.
    level = np.rint(np.sqrt(np.clip(np.nan_to_num(weights), 0.0, 1.0)) * (len(shades) - 1)).astype(int)
    margin = max((len(token) for token in target), default=0)
    width = max((len(token) for token in source), default=1) + 1
    lines = [" " * (margin + 1) + "".join(f"{token:^{width}}" for token in source).rstrip()]
    for token, row in zip(target, level, strict=True):
        lines.append(f"{token:>{margin}} " + "".join(shades[k] * width for k in row).rstrip())
    return "\n".join(lines)


def save_alignment_png(
    path: str | Path,
    pictures: Sequence[tuple[Sequence[str], Sequence[str], ArrayLike]],
) -> None:
    """Write (source, target, attention [len(target), len(source)]) pictures, side by side, as one PNG.

    Needs matplotlib (extra [demo]); ImportError says so.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "A PNG of the alignment needs matplotlib: pip install 'seq2seq_fast[demo]'"
        ) from error

    checked = [(source, target, _checked(source, target, weights)) for source, target, weights in pictures]
    if not checked:
        raise ValueError("[alignment] Expected at least one picture, got none.")
    cell = 0.32  # inches for one token
    columns = min(len(checked), 4)
    rows = -(-len(checked) // columns)
    wide = cell * max(len(source) for source, _, _ in checked) + 0.9
    high = cell * max(len(target) for _, target, _ in checked) + 0.7
    figure = Figure(figsize=(wide * columns, high * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (source, target, weights) in enumerate(checked):
        axes = figure.add_subplot(rows, columns, index + 1)
        if weights.size:
            axes.imshow(weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
        axes.set_xticks(range(len(source)), list(source))
        axes.set_yticks(range(len(target)), list(target))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
    figure.savefig(path, dpi=120, format="png")
