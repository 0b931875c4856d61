"""Encoders that take their input in chunks: the bits of the whole sequence's run, however it is cut."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from checks import bits
from models import make_model
from networks import batch_for, name_of, pairwise, small_network
from seq2seq_fast import Seq2Seq, Seq2SeqConfig
from seq2seq_fast.files import save_model
from seq2seq_fast.streaming import EncoderStream

ROWS = pairwise(
    {
        "encoder_cell": ["lstm", "gru"],
        "encoder_layers": [3],
        "encoder_pyramid": ["", "1,2,1", "3,1,2"],
        "pyramid_skips": [False, True],
        "conv_layers": [0, 1, 2],
        "conv_channels": [5],
        "conv_width": [1, 4, 5],
        "conv_stride": [1, 2, 3],
        "residual": [False, True],
        "layer_norm": [False, True],
        "reset_after": [True, False],
        "zoneout_hidden": [0.0, 0.2],
        "context": ["attention", "last", "mean"],
        "source": ["tokens", "features"],
    }
)
FIXED = {"bidirectional": False, "bridge": "dense", "attention_score": "general"}


def small(rng: np.random.Generator, row: dict[str, Any], longest: int = 37) -> tuple[Seq2Seq, np.ndarray]:
    model = make_model(small_network(row | FIXED), rng)
    return model, batch_for(model.config, rng, 1, longest, 3).source


def cuts(rng: np.random.Generator, length: int) -> list[tuple[int, int]]:
    """Chunks of 0 to 9 steps."""
    places = [0]
    while places[-1] < length:
        places.append(min(length, places[-1] + int(rng.integers(0, 10))))
    return list(zip(places, [*places[1:], length], strict=True))


def streamed(
    model: Seq2Seq, source: np.ndarray, chunks: list[tuple[int, int]]
) -> tuple[EncoderStream, np.ndarray]:
    stream = model.stream()
    parts = [stream.push(source[begin:end]) for begin, end in chunks]
    return stream, np.concatenate([*parts, stream.finish()])


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_bits_of_the_whole_run(own_products: None, rng: np.random.Generator, row: dict[str, Any]) -> None:
    model, source = small(rng, row)
    lengths = np.array([len(source)], np.int32)
    whole = model.encode(source, lengths, max_rows=3)
    for chunks in ([(0, len(source))], cuts(rng, len(source)), [(i, i + 1) for i in range(len(source))]):
        stream, states = streamed(model, source, chunks)
        assert bits(states) == bits(whole.memory)
        state = stream.encode(max_rows=3)
        assert bits(state.memory) == bits(whole.memory)
        assert bits(state.last) == bits(whole.last)
        options: dict[str, Any] = {"beam_size": 3, "num_hypotheses": 3, "max_decoding_length": 6}
        for ours, theirs in zip(
            stream.generate(**options)[0], model.generate(source, lengths, **options)[0], strict=True
        ):
            assert (ours.tokens, bits(ours.token_scores)) == (theirs.tokens, bits(theirs.token_scores))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_bits_in_int8(own_products: None, rng: np.random.Generator, cell: str) -> None:
    """Weights and states are rounded as in the whole run, also where a walk begins with a state."""
    from seq2seq_fast import _native

    model, source = small(rng, ROWS[0] | {"encoder_cell": cell, "source": "features"})
    fields = {name: getattr(model.config, name) for name in Seq2SeqConfig.__dataclass_fields__}
    native = _native.Model(fields, compute_type="int8", trainable=False, device=model.device)
    for name, value in model.native.state().items():
        native.load_parameter(name, value)
    whole = native.encode(source, np.array([len(source)], np.int32), 1)
    stream = _native.EncoderStream(native)
    parts = [stream.push(source[begin:end]) for begin, end in cuts(rng, len(source))]
    assert bits(np.concatenate([*parts, stream.finish()])) == bits(whole.memory())


def test_states_come_as_soon_as_they_can(rng: np.random.Generator) -> None:
    """A pyramid of 2, 1, 2 gives a state for every fourth step, and what is left over at the end."""
    row = ROWS[0] | {
        "encoder_pyramid": "2,1,2",
        "pyramid_skips": False,
        "conv_layers": 0,
        "source": "features",
    }
    model, source = small(rng, row)
    stream = model.stream()
    counts = [len(stream.push(source[t : t + 1])) for t in range(10)]
    assert counts == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]
    assert len(stream.finish()) == 1


def test_a_stream_keeps_the_weights_it_began_with(rng: np.random.Generator) -> None:
    model, source = small(rng, ROWS[0])
    expected = model.encode(source, np.array([len(source)], np.int32)).memory
    stream = model.stream()
    for view in model.parameters().values():
        view *= -1
    assert bits(np.concatenate([stream.push(source), stream.finish()])) == bits(expected)


def test_a_saved_model_streams(rng: np.random.Generator, tmp_path: Any) -> None:
    model, source = small(rng, ROWS[1])
    save_model(tmp_path, model)
    loaded = Seq2Seq.load(tmp_path)
    assert loaded.config == model.config
    assert bits(streamed(loaded, source, [(0, 5), (5, len(source))])[1]) == bits(
        model.encode(source, np.array([len(source)], np.int32)).memory
    )


def test_misuse(rng: np.random.Generator) -> None:
    model, source = small(rng, ROWS[0] | {"source": "features"})
    stream = model.stream()
    with pytest.raises(ValueError, match="at least one step"):
        stream.finish()
    with pytest.raises(ValueError, match="has ended: call finish"):
        stream.generate()
    with pytest.raises(ValueError, match="values"):
        stream.push(source[:, :-1])
    with pytest.raises(TypeError, match="values"):
        stream.push(source.astype(np.float64))
    assert len(stream.push(source[:0])) == 0
    stream.push(source)
    stream.finish()
    with pytest.raises(ValueError, match="not ended"):
        stream.push(source)
    with pytest.raises(ValueError, match="max_rows"):
        stream.encode(0)
    with pytest.raises(TypeError, match="model"):
        EncoderStream("x")  # type: ignore[arg-type]
    both = Seq2Seq(Seq2SeqConfig(source_features=3, target_vocab_size=5))
    with pytest.raises(ValueError, match="not bidirectional"):
        both.stream()


def test_streams_side_by_side(own_products: None, rng: np.random.Generator) -> None:
    """Each has states of its own; two threads may have one each."""
    model, source = small(rng, ROWS[0])
    lengths = np.array([len(source)], np.int32)
    expected = bits(model.encode(source, lengths).memory)
    found: list[Any] = []

    def run() -> None:
        found.append(bits(streamed(model, source, cuts(np.random.default_rng(0), len(source)))[1]))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3
