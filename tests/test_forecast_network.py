"""The forecasting network: loss, gradients and paths against the float64 reference, for every option."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, bits, double
from networks import pairwise
from reference import network
from seq2seq_fast import _native
from seq2seq_fast.device import views

LEVELS = [0.1, 0.5, 0.8]
OPTIONS: dict[str, list[Any]] = {
    "distribution": ["point", "normal", "student_t", "negative_binomial", "quantiles"],
    "lags": [(1,), (), (1, 3)],
    "covariates": [3, 1],
    "channels": [1, 3],
    "skip": [False, True],
    "offset": [False, True],
    "cell": ["gru", "lstm"],
    "layers": [1, 2],
    "context": ["last", "attention", "mean"],
    "attention_score": ["general", "mlp"],
    "input_feeding": [False, True],
    "bridge": ["dense", "copy", "zero"],
    "bidirectional": [False, True],
    "dropout": [0.0, 0.3],
    "residual": [False, True],
    "layer_norm": [False, True],
    "zoneout_hidden": [0.0, 0.2],
    "share": [False, True],
}
STEPS, PAST, SKIP = 4, 5, 6  # SKIP: inputs of the linear layer, and its outputs


def rows() -> list[dict[str, Any]]:
    """Pairs of options, those that exclude each other set right."""
    found = []
    for row in pairwise(OPTIONS):
        if row["share"]:
            row |= {"bidirectional": False, "bridge": "copy", "input_feeding": False}
        if row["distribution"] == "negative_binomial":
            row |= {"skip": False, "offset": False}
        if row not in found:
            found.append(row)
    return found


ROWS = rows()


def name_of(row: dict[str, Any]) -> str:
    return "-".join(str(value) for value in row.values()).replace(" ", "")


@dataclass
class Network:
    """A native network and the options that the reference reads."""

    native: Any
    o: Any
    params: dict[str, np.ndarray]


class Options:
    """The fields of a token network's options that the reference looks at, and those of forecasting."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(vars(reference.Options(target_vocab_size=1)) | fields)


def make(row: dict[str, Any], rng: np.random.Generator, **sizes: Any) -> Network:
    lags, channels = list(row["lags"]), row["channels"]
    features = len(lags) * channels + row["covariates"]
    memory = 6 if row["bidirectional"] else 3
    o = Options(
        source_features=features if row["share"] else 4,
        target_features=features,
        encoder_cell=row["cell"],
        decoder_cell=row["cell"],
        encoder_layers=row["layers"],
        decoder_layers=row["layers"],
        encoder_hidden=3,
        decoder_hidden=memory if row["bridge"] == "copy" else 5,
        bidirectional=row["bidirectional"],
        context=row["context"],
        attention_score=row["attention_score"],
        input_feeding=row["input_feeding"],
        bridge=row["bridge"],
        residual=row["residual"],
        layer_norm=row["layer_norm"],
        dropout=row["dropout"],
        zoneout_hidden=row["zoneout_hidden"],
        share_recurrence=row["share"],
        distribution=row["distribution"],
        levels=LEVELS if row["distribution"] == "quantiles" else [],
        lags=lags,
        channels=channels,
        skip_inputs=SKIP if row["skip"] else 0,
    )
    own = {"distribution", "levels", "lags", "channels", "skip_inputs", "target_vocab_size", "pad_id"}
    own |= {"bos_id", "eos_id", "unk_id", "source_unk_id", "source_vocab_size"}
    fields = {name: value for name, value in vars(o).items() if name not in own}
    native = _native.ForecastNetwork(
        fields, o.distribution, channels, o.levels, lags, row["covariates"], o.skip_inputs, o.skip_inputs
    )
    params = {}
    for name, shape, *_ in native.layout():
        value = rng.uniform(-2, 2, shape) / np.sqrt(shape[-1] if len(shape) > 1 else 8)
        params[name] = value.astype(np.float32)
        native.load_parameter(name, params[name])
    return Network(native, o, double(params))


def windows(net: Network, row: dict[str, Any], rng: np.random.Generator, count: int) -> dict[str, Any]:
    """The native arrays of a batch with missing targets and pasts of several lengths."""
    d, history = row["channels"], max(row["lags"], default=0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    lengths = rng.permutation([1 + i % PAST for i in range(count)]).astype(np.int32)
    target = normal(count, STEPS, d)
    arrays = {
        "past": normal(int(lengths.sum()), net.o.source_features),
        "past_lengths": lengths,
        "steps": STEPS,
        "covariates": normal(count, STEPS, row["covariates"]),
        "example_ids": rng.permutation(count).astype(np.int64) + (3 << 32),
    }
    if row["lags"]:
        arrays["known"] = normal(count, history + STEPS, d)
    if row["offset"]:
        arrays["offset"] = normal(count, STEPS, d)
    if row["skip"]:
        arrays["window"] = normal(count, d, SKIP)
    if row["distribution"] == "negative_binomial":
        arrays["scale"] = rng.uniform(1, 9, (count, d)).astype(np.float32)
        target = (rng.poisson(2, target.shape) / arrays["scale"][:, None]).astype(np.float32)
    target[rng.random(target.shape) < 0.2] = np.nan
    return arrays | {"target": target}


def each(arrays: dict[str, Any]) -> list[dict[str, Any]]:
    """One window after the other, in float64, as the reference takes them."""
    pasts = np.split(arrays["past"], np.cumsum(arrays["past_lengths"])[:-1])
    names = {"known", "covariates", "offset", "window", "scale", "target"} & set(arrays)
    return [
        double({"past": past, **{name: arrays[name][n] for name in names}}) | {"steps": arrays["steps"]}
        for n, past in enumerate(pasts)
    ]


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_gradients(row: dict[str, Any], rng: np.random.Generator) -> None:
    """Every option with every other, with the very dropout masks."""
    net = make(row, rng)
    arrays = windows(net, row, rng, 4)
    values = int((~np.isnan(arrays["target"])).sum())
    ids = arrays["example_ids"]

    def mean_loss(params: Any) -> Any:
        total: Any = 0.0
        for window, example in zip(each(arrays), ids, strict=True):
            drop = network.dropout_of(net.o, seed=(9 << 32) + 5, update=3, example=int(example))
            total = total + reference.forecast_loss(net.o, params, window, drop)
        return total / values

    loss, count = net.native.forward_backward(arrays, 3, (9 << 32) + 5, "float32")
    assert count == values
    assert_close(loss, mean_loss(net.params) * values, "loss")
    found = {name: g.copy() for name, g in views(net.native.layout(), net.native.grads).items()}
    assert_close(found, reference.vjp(mean_loss, [net.params], np.ones(()))[0], "gradient", factor=4)


@pytest.mark.parametrize("row", ROWS[::4], ids=name_of)
def test_finite_differences(row: dict[str, Any], rng: np.random.Generator) -> None:
    """Of the reference, along a random direction: of quantiles, where no target lies on one."""
    net = make(row, rng)
    arrays = windows(net, row, rng, 2)

    def loss(params: Any) -> Any:
        total: Any = 0.0
        for window in each(arrays):
            total = total + reference.forecast_loss(net.o, params, window)
        return total

    (slopes,) = reference.vjp(loss, [net.params], np.ones(()))
    way = {name: rng.standard_normal(p.shape) for name, p in net.params.items()}

    def moved(by: float) -> float:
        return float(loss({name: p + by * way[name] for name, p in net.params.items()}))

    h = 1e-5
    expected = (8 * (moved(h) - moved(-h)) - moved(2 * h) + moved(-2 * h)) / (12 * h)
    found = sum(float(np.sum(slopes[name] * way[name])) for name in slopes)
    assert abs(found - expected) < 1e-6 * max(1.0, abs(expected))


@pytest.mark.parametrize("row", ROWS[::3], ids=name_of)
def test_loss_and_distributions(row: dict[str, Any], rng: np.random.Generator) -> None:
    """Without dropout, whatever the configuration says of it."""
    net = make(row, rng)
    arrays = windows(net, row, rng, 3)
    expected = sum(reference.forecast_loss(net.o, net.params, w) for w in each(arrays))
    loss, count = net.native.loss(arrays)
    assert count == (~np.isnan(arrays["target"])).sum()
    assert_close(loss, expected)
    target = arrays.pop("target")
    found = net.native.distributions(arrays).reshape(*target.shape, -1)
    for n, window in enumerate(each(arrays | {"target": target})):
        raw = reference.forecast_raw(net.o, net.params, window).reshape(STEPS, row["channels"], -1)
        offset = reference.forecast_offset(net.o, net.params, window)
        positive = np.log1p(np.exp(raw)) + 1e-4
        if row["distribution"] == "quantiles":
            wanted = raw + offset[..., None]
        elif row["distribution"] == "negative_binomial":
            wanted = positive
        else:
            wanted = np.concatenate([raw[..., :1] + offset[..., None], positive[..., 1:]], axis=-1)
            if row["distribution"] == "student_t":
                wanted[..., 2] += 2
        assert_close(found[n], wanted, factor=3)


def without_future(arrays: dict[str, Any], history: int) -> dict[str, Any]:
    arrays = {name: value for name, value in arrays.items() if name != "target"}
    if "known" in arrays:
        arrays["known"] = np.ascontiguousarray(arrays["known"][:, :history])
    return arrays


@pytest.mark.parametrize("row", [r for r in ROWS if r["distribution"] in ("normal", "point")], ids=name_of)
def test_paths(row: dict[str, Any], rng: np.random.Generator) -> None:
    """A path is the reference's: each value drawn by its own random words, and fed to the steps after it."""
    net = make(row, rng)
    history, seed, paths = max(row["lags"], default=0), (7 << 32) + 1, 2
    arrays = windows(net, row, rng, 2)
    found = net.native.sample(without_future(arrays, history), paths, seed)
    assert found.shape == (2, paths, STEPS, row["channels"])
    for n, window in enumerate(each(arrays)):
        for path in range(paths):
            y = np.zeros((STEPS, row["channels"]))
            for t in range(STEPS):  # the reference forecasts all steps anew, the drawn ones known
                if row["lags"]:
                    window["known"] = np.concatenate([window["known"][:history], y])
                raw = reference.forecast_raw(net.o, net.params, window).reshape(STEPS, row["channels"], -1)
                offset = reference.forecast_offset(net.o, net.params, window)
                for d in range(row["channels"]):
                    y[t, d] = raw[t, d, 0] + offset[t, d]
                    if row["distribution"] == "normal":
                        example = int(arrays["example_ids"][n])
                        u, v = [
                            (w + 0.5) / 2**32 for w in reference.draw_words(seed, example, path, t, d)[:2]
                        ]
                        unit = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
                        y[t, d] += (math.log1p(math.exp(raw[t, d, 1])) + 1e-4) * unit
            assert_close(found[n, path], y, factor=5)


@pytest.mark.parametrize("row", ROWS[::5], ids=name_of)
def test_the_same_bits_in_any_company(row: dict[str, Any], rng: np.random.Generator, threads: Any) -> None:
    """Paths, whatever the batch, their number and the threads; gradients, whatever the threads."""
    net = make(row, rng)
    history = max(row["lags"], default=0)
    arrays = windows(net, row, rng, 5)
    threads(1)
    past = without_future(arrays, history)
    together = net.native.sample(past, 7, 3)
    at = np.concatenate([[0], np.cumsum(past["past_lengths"])])
    for n in (0, 3):
        alone = {
            name: value[n : n + 1] if name not in ("past", "steps") else value for name, value in past.items()
        }
        alone["past"] = past["past"][at[n] : at[n + 1]]
        assert bits(net.native.sample(alone, 4, 3)[0]) == bits(together[n, :4])
    sums = net.native.forward_backward(arrays, 1, 2, "float32")
    gradients = net.native.grads.copy()
    threads(2)
    assert bits(net.native.sample(past, 7, 3)) == bits(together)
    assert net.native.forward_backward(arrays, 1, 2, "float32") == sums
    assert bits(net.native.grads.copy()) == bits(gradients)
    assert np.any(net.native.sample(past, 7, 4) != together) or row["distribution"] == "point"


@pytest.mark.cpu_only("a device takes all rows at once")
def test_more_paths_than_a_block_holds(rng: np.random.Generator, threads: Any) -> None:
    row = next(r for r in ROWS if r["lags"] and r["distribution"] == "normal")
    net = make(row, rng)
    past = without_future(windows(net, row, rng, 2), max(row["lags"]))
    few = bits(net.native.sample(past, 3, 1))
    for count in (1, 2):
        threads(count)
        assert bits(net.native.sample(past, 2300, 1)[:, :3]) == few


def test_bad_windows(rng: np.random.Generator) -> None:
    row = next(r for r in ROWS if r["lags"] and r["skip"] and r["offset"])
    net = make(row, rng)
    good = windows(net, row, rng, 3)
    net.native.loss(good)
    bad: dict[str, Any] = {
        "past": good["past"][:, :1],
        "past_lengths": np.zeros(3, np.int32),
        "known": good["known"][:, 1:].copy(),
        "covariates": good["covariates"][:2].copy(),
        "target": good["target"][:, 1:].copy(),
        "offset": good["offset"][:1].copy(),
        "window": good["window"][:, :, 1:].copy(),
        "example_ids": np.zeros(2, np.int64),
    }
    for name, value in bad.items():
        with pytest.raises(ValueError, match=name if "past" not in name else "source"):
            net.native.loss(good | {name: value})
        if name not in ("past", "past_lengths", "offset", "example_ids"):
            with pytest.raises(ValueError, match=name):
                net.native.loss({k: v for k, v in good.items() if k != name})
    with pytest.raises(TypeError, match="target"):
        net.native.loss(good | {"target": good["target"].astype(np.float64)})
    with pytest.raises(ValueError, match="not missing"):
        net.native.forward_backward(good | {"target": np.full_like(good["target"], np.nan)}, 0, 0, "float32")
    with pytest.raises(ValueError, match="num_samples"):
        net.native.sample(without_future(good, max(row["lags"])), 0, 0)
    with pytest.raises(ValueError, match="no scale"):
        net.native.loss(good | {"scale": np.ones((3, row["channels"]), np.float32)})
