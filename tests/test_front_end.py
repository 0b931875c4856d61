"""Normalisation, deltas, stacking and augmentation, against their equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits
from seq2seq_fast.augmentation import Augmentation, resample
from seq2seq_fast.feature_files import FeatureSequences
from seq2seq_fast.files import load_model, save_model
from seq2seq_fast.front_end import FrontEnd, Statistics, add_deltas, stack_frames
from seq2seq_fast.model import Seq2Seq, Seq2SeqConfig

pytestmark = pytest.mark.cpu_only("no kernel runs here")

RNG = np.random.default_rng(3)
ARRAYS = [(RNG.normal(5.0, [1.0, 30.0, 1e-3, 0.0], (n, 4))).astype(np.float32) for n in (9, 1, 30, 17)]
GROUPS = ["a", "b", "a", "c"]


def fit(**settings: Any) -> FrontEnd:
    return FrontEnd.fit(FeatureSequences.of_arrays(ARRAYS), GROUPS, **settings)


def normalised(x: np.ndarray, of: list[np.ndarray]) -> np.ndarray:
    values = np.concatenate(of).astype(np.float64)
    deviation = values.std(axis=0)
    return (x - values.mean(axis=0)) / np.where(deviation > 1e-6 * np.abs(values.mean(axis=0)), deviation, 1)


@pytest.mark.parametrize(
    ("normalization", "of"),
    [
        ("global", [ARRAYS] * 4),
        ("group", [[ARRAYS[0], ARRAYS[2]], [ARRAYS[1]], [ARRAYS[0], ARRAYS[2]], [ARRAYS[3]]]),
        ("sequence", [[x] for x in ARRAYS]),
    ],
)
def test_normalisation(normalization: str, of: list[list[np.ndarray]]) -> None:
    front_end = fit(normalization=normalization)
    for x, group, these in zip(ARRAYS, GROUPS, of, strict=True):
        found = front_end(x, group)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, normalised(x, these), rtol=1e-3, atol=1e-3)


def test_nothing_asked_for_changes_nothing() -> None:
    for x in ARRAYS:
        assert bits({"x": fit()(x)}) == bits({"x": x})
    assert not Augmentation().active
    assert Augmentation(time_masks=3).settings() is None


def test_statistics_are_accurate_where_the_mean_is_large() -> None:
    x = (1e4 + RNG.normal(size=(5000, 2))).astype(np.float32)
    found = Statistics.of([x[:4000], x[4000:4001], x[4001:]])
    np.testing.assert_allclose(found.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(1 / found.scale, x.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_a_group_that_is_not_known_is_learnt_from_all_of_its_sequences() -> None:
    front_end = fit(normalization="group")
    new = FeatureSequences.of_arrays([ARRAYS[3] + 1, ARRAYS[0], ARRAYS[1]])
    extended = front_end.with_groups(new, ["d", "a", "d"])
    np.testing.assert_allclose(
        extended(ARRAYS[1], "d"), normalised(ARRAYS[1], [ARRAYS[3] + 1, ARRAYS[1]]), rtol=1e-3, atol=1e-3
    )
    assert bits({"x": extended(ARRAYS[0], "a")}) == bits({"x": front_end(ARRAYS[0], "a")})
    statistics = Statistics.of([ARRAYS[3] + 1, ARRAYS[1]])
    assert bits({"x": front_end(ARRAYS[1], statistics)}) == bits({"x": extended(ARRAYS[1], "d")})


def slopes(x: np.ndarray, window: int) -> np.ndarray:
    out = np.zeros_like(x)
    for t in range(len(x)):
        for n in range(1, window + 1):
            ahead, behind = x[min(t + n, len(x) - 1)], x[max(t - n, 0)]
            out[t] += n * (ahead - behind) / (2 * sum(m * m for m in range(1, window + 1)))
    return out


@pytest.mark.parametrize("length", [1, 2, 5, 40])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_deltas(length: int, window: int) -> None:
    x = RNG.normal(size=(length, 3))
    first = slopes(x, window)
    second = slopes(first, window)
    for order, parts in enumerate(([x], [x, first], [x, first, second])):
        found = add_deltas(x.astype(np.float32), order, window)
        np.testing.assert_allclose(found, np.concatenate(parts, axis=1), rtol=1e-5, atol=1e-6)


def test_the_slope_of_a_line_is_its_slope() -> None:
    line = np.arange(20, dtype=np.float32)[:, None] * 3
    np.testing.assert_allclose(add_deltas(line, 1)[2:-2, 1], 3.0, rtol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8])
@pytest.mark.parametrize(("stack", "stride"), [(1, 1), (3, 3), (3, 1), (1, 2), (2, 5)])
def test_stacking(length: int, stack: int, stride: int) -> None:
    x = RNG.normal(size=(length, 2)).astype(np.float32)
    expected = [
        np.concatenate([x[min(start + k, length - 1)] for k in range(stack)])
        for start in range(0, length, stride)
    ]
    found = stack_frames(x, stack, stride)
    np.testing.assert_array_equal(found, expected)
    front_end = FrontEnd(2, stack=stack, stride=stride)
    assert front_end.lengths(np.array([length], np.int32)).tolist() == [len(expected)]
    assert front_end.width == 2 * stack


def test_widths() -> None:
    front_end = FrontEnd(4, deltas=2, stack=3)
    assert front_end.width == 36
    assert front_end(ARRAYS[0]).shape == (3, 36)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"normalization": "speaker"}, ValueError, "normalization as one of none, global, group, sequence"),
        ({"deltas": 3}, ValueError, "deltas from 0 to 2, got 3"),
        ({"delta_window": 0}, ValueError, "delta_window of at least 1"),
        ({"stack": 0}, ValueError, "stack of at least 1"),
        ({"stride": -1}, ValueError, "stride of at least 0"),
        ({"stack": 1.0}, TypeError, "stack as an integer"),
        (
            {"statistics": {"": Statistics(np.ones(3, np.float32), np.ones(4, np.float32))}},
            ValueError,
            "mean",
        ),
    ],
)
def test_a_front_end_that_is_wrong(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FrontEnd(4, **arguments)


def test_groups_that_are_missing() -> None:
    front_end = fit(normalization="group")
    with pytest.raises(ValueError, match="Expected a group, as normalization is by group; got none"):
        front_end(ARRAYS[0])
    with pytest.raises(ValueError, match="a group whose statistics are known, or its statistics, got 'x'"):
        front_end(ARRAYS[0], "x")
    with pytest.raises(ValueError, match="Expected statistics of 4 features, got 2"):
        front_end(ARRAYS[0], Statistics(np.ones(2, np.float32), np.ones(2, np.float32)))
    with pytest.raises(ValueError, match="Expected groups"):
        FrontEnd.fit(FeatureSequences.of_arrays(ARRAYS), None, normalization="group")


def test_features_that_overflow_are_told() -> None:
    tiny = np.array([[0.0], [1e-5]], np.float32)
    front_end = FrontEnd.fit(FeatureSequences.of_arrays([tiny]), normalization="global")
    with pytest.raises(ValueError, match="they overflow when normalised"):
        front_end(np.array([[3e38]], np.float32))


# ---- in a model's folder


@pytest.mark.parametrize("normalization", ["none", "global", "group", "sequence"])
def test_a_front_end_comes_back_from_a_folder(tmp_path: Path, normalization: str) -> None:
    front_end = fit(normalization=normalization, deltas=1, stack=2, stride=1)
    model = Seq2Seq(Seq2SeqConfig(target_vocab_size=9, source_features=16, encoder_hidden=3))
    save_model(tmp_path, model, front_end=front_end)
    assert (tmp_path / "front_end.safetensors").exists() == (normalization in ("global", "group"))
    found = load_model(tmp_path).front_end
    assert found is not None
    assert found.settings() == front_end.settings()
    for x, group in zip(ARRAYS, GROUPS, strict=True):
        assert bits({"x": found(x, group)}) == bits({"x": front_end(x, group)})


def test_a_front_end_has_to_fit_the_model(tmp_path: Path) -> None:
    model = Seq2Seq(Seq2SeqConfig(target_vocab_size=9, source_features=5, encoder_hidden=3))
    with pytest.raises(ValueError, match="the front end makes vectors of 4 features, source_features is 5"):
        save_model(tmp_path, model, front_end=FrontEnd(4))


# ---- augmentation


def changed(options: Augmentation, x: np.ndarray, update: int = 3, example: int = 5) -> np.ndarray:
    return FrontEnd(x.shape[1])(x, None, options.of(7, update, example))


ALL = Augmentation(2, 5, 0.5, 2, 2, 0.2, 0.1)


def test_changes_depend_on_seed_update_and_example_alone() -> None:
    x = RNG.normal(size=(40, 4)).astype(np.float32)
    first = changed(ALL, x)
    assert bits({"x": first}) == bits({"x": changed(ALL, x)})
    others = [
        changed(ALL, x, update=4),
        changed(ALL, x, example=6),
        FrontEnd(4)(x, None, ALL.of(8, 3, 5)),
        FrontEnd(4)(x, None, ALL.of(7, 5, 3)),
    ]
    for other in others:
        assert first.shape != other.shape or not np.array_equal(first, other)


def test_time_masks() -> None:
    x = np.ones((50, 3), np.float32)
    lengths, starts = [], []
    for example in range(400):
        found = changed(Augmentation(time_masks=1, time_mask_width=10), x, example=example)
        masked = np.flatnonzero(found[:, 0] == 0)
        assert np.array_equal(found == 0, np.repeat(found[:, :1] == 0, 3, axis=1))
        lengths.append(len(masked))
        if len(masked):
            assert masked[-1] - masked[0] == len(masked) - 1
            starts.append(masked[0])
    assert set(lengths) == set(range(11))
    assert np.mean(lengths) == pytest.approx(5.0, abs=0.6)
    assert min(starts) == 0
    assert max(starts) >= 45


def test_time_masks_are_a_share_of_the_sequence_at_most() -> None:
    options = Augmentation(time_masks=1, time_mask_width=10, time_mask_share=0.2)
    most = max((changed(options, np.ones((20, 1), np.float32), example=i) == 0).sum() for i in range(200))
    assert most == 4
    assert (changed(options, np.ones((4, 1), np.float32)) == 1).all()


def test_frequency_masks_hide_the_slopes_too() -> None:
    x = RNG.normal(size=(9, 5)).astype(np.float32)
    front_end = FrontEnd(5, deltas=1)
    options = Augmentation(frequency_masks=1, frequency_mask_width=3)
    counts = set()
    for example in range(60):
        found = front_end(x, None, options.of(0, 0, example)).reshape(9, 2, 5)
        hidden = (found == 0).all(axis=(0, 1))
        assert ((found == 0).all(axis=0) == hidden).all()
        np.testing.assert_array_equal(found[:, 0, ~hidden], x[:, ~hidden])
        counts.add(int(hidden.sum()))
    assert counts == {0, 1, 2, 3}


def test_noise_is_normal() -> None:
    x = np.full((3000, 5), 2.0, np.float32)
    noise = (changed(Augmentation(noise=0.5), x) - x).ravel().astype(np.float64)
    assert noise.mean() == pytest.approx(0.0, abs=0.02)
    assert noise.std() == pytest.approx(0.5, abs=0.01)
    assert (np.abs(noise) < 0.5).mean() == pytest.approx(0.683, abs=0.01)
    assert np.abs(noise).max() > 1.5
    assert len(np.unique(noise)) > 14000


def test_speed_changes_the_number_of_frames() -> None:
    x = np.arange(100, dtype=np.float32)[:, None]
    lengths = [len(changed(Augmentation(speed_change=0.1), x, example=i)) for i in range(300)]
    assert min(lengths) in (91, 92)
    assert max(lengths) in (110, 111)
    assert np.mean(1.0 / np.array(lengths)) == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("length", [1, 2, 3, 10, 11, 25])
def test_resampling_is_linear_interpolation(length: int) -> None:
    x = RNG.normal(size=(11, 3)).astype(np.float32)
    found = resample(x, length)
    at = np.linspace(0, 10, length) if length > 1 else np.array([5.0])
    expected = np.stack([np.interp(at, np.arange(11), x[:, c]) for c in range(3)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    assert resample(x[:1], length).tolist() == [x[0].tolist()] * length


def test_the_callers_array_stays_as_it_is() -> None:
    x = RNG.normal(size=(40, 4)).astype(np.float32)
    before = x.copy()
    changed(ALL, x)
    changed(Augmentation(time_masks=4, time_mask_width=9), x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time_masks": -1}, "time_masks of at least 0"),
        ({"time_mask_share": 1.5}, "time_mask_share from 0 to 1"),
        ({"speed_change": 1.0}, "speed_change from 0 to 0.9"),
        ({"noise": float("nan")}, "noise"),
    ],
)
def test_augmentation_that_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
