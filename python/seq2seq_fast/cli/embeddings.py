"""The options of `train` about embeddings: where they begin, whether they stay, if both sides have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from seq2seq_fast.model import Seq2Seq
from seq2seq_fast.text import TextField
from seq2seq_fast.word_vectors import embedding_name, set_word_vectors

from .options import Value
from .train_options import TRAIN_OPTIONS


def check_joint(options: Mapping[str, Value | None]) -> None:
    """Refuse options of the target's vocabulary that are not the source's, where there is only one."""
    pairs = [("source_tokenizer", "target_tokenizer")]
    pairs += [
        (f"src_{what}", f"tgt_{what}") for what in ("subword_model", "vocab_size", "words_min_frequency")
    ]
    defaults = {option.name: option.default for option in TRAIN_OPTIONS}
    for first, second in pairs:
        said = second == "target_tokenizer" or options[second] != defaults[second]
        if said and options[second] != options[first]:
            raise ValueError(
                f"--share_embeddings is for one vocabulary: --{second} cannot differ from --{first}."
            )


def start_embeddings(
    options: Mapping[str, Value | None],
    model: Seq2Seq,
    source: TextField | None,
    target: TextField,
    tell: Callable[[str], None],
) -> None:
    """Let embeddings begin as the vectors of --pre_word_vecs_enc and --pre_word_vecs_dec."""
    for side, name, text in (("encoder", "enc", source), ("decoder", "dec", target)):
        path = options[f"pre_word_vecs_{name}"]
        if path is not None and text is not None:
            found = set_word_vectors(model, side, text.vocabulary, str(path))
            tell(f"{path} has vectors of {found} of the {side}'s {len(text.vocabulary)} tokens.")


def freeze_embeddings(options: Mapping[str, Value | None], model: Seq2Seq) -> None:
    """Keep the embeddings of --freeze_word_vecs_enc and --freeze_word_vecs_dec as they are."""
    for side, name in (("encoder", "enc"), ("decoder", "dec")):
        if options[f"freeze_word_vecs_{name}"]:
            model.freeze(embedding_name(model, side))
