"""What a training step is timed on: two networks of round sizes, and those of the text recipes with the
vocabularies, batches and mean lengths of their data. All sequences of a batch are of one length, nothing is
dropped out and no label is smoothed, on both sides, but for the recipes' embeddings on ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seq2seq_fast import Seq2SeqConfig

from .networks import LARGE, LENGTH, SMALL, Size


@dataclass(frozen=True)
class Shape:
    name: str
    config: Seq2SeqConfig
    rows: int
    source_length: int
    target_length: int  # its <eos> counted
    goal: float | None = None  # the ratio to PyTorch that the project has promised, with two threads
    uniform: bool = False  # every token is as frequent as any other, not as in a text
    embedding_dropout: float = 0.0  # ours alone, where the recipe has it: then no token's work can be shared

    @classmethod
    def of(cls, size: Size, rows: int = 64, length: int = LENGTH, goal: float | None = None) -> Shape:
        return cls(size.name, size.config, rows, length, length, goal)


_LARGE = Shape.of(LARGE, goal=1.6)
SIZES = (
    Shape.of(SMALL, goal=2.0),
    _LARGE,
    replace(_LARGE, name=f"{LARGE.name}, uniform tokens", uniform=True),
)


def _config(
    source: int, target: int, embedding: int, encoder: int, decoder: int, **more: object
) -> Seq2SeqConfig:
    sizes: dict[str, object] = {
        "source_vocab_size": source,
        "target_vocab_size": target,
        "source_embedding_dim": embedding,
        "target_embedding_dim": embedding,
        "encoder_hidden": encoder,
        "decoder_hidden": decoder,
    }
    return Seq2SeqConfig(**sizes | more)  # type: ignore[arg-type]


_MLP = {"attention_score": "mlp"}
_GRU = {"encoder_cell": "gru", "decoder_cell": "gru", "tie_output": True} | _MLP
_COPYING = _GRU | {"attention_dim": 256, "copy_attention": True}

_RECIPES = (
    Shape("g2p_cmudict", _config(31, 43, 128, 256, 512, encoder_layers=2, **_MLP), 128, 8, 7),
    Shape("mt_multi30k", _config(5075, 5080, 256, 256, 512, **_GRU), 85, 15, 16),
    Shape("summ_debian", _config(18597, 4363, 192, 256, 384, **_COPYING), 64, 45, 8),
    Shape("qa GEO", _config(124, 56, 100, 100, 200, **_MLP), 20, 7, 18),
    Shape("qa JOBS", _config(174, 51, 100, 100, 200, **_MLP), 20, 9, 19),
    Shape("qa ATIS", _config(881, 445, 128, 128, 256, **_MLP), 32, 11, 29),
    Shape("qa_geosql", _config(155, 147, 100, 100, 200, **_MLP), 20, 7, 20),
)

RECIPES = tuple(replace(shape, embedding_dropout=0.3) for shape in _RECIPES)
