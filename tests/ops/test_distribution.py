"""Distributions of real values: losses and gradients against the reference and PyTorch; samples against the
distributions that they are drawn from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import reference
from checks import assert_close, assert_says, bits, double, values
from place import Device
from seq2seq_fast import ops

KINDS = ["point", "normal", "student_t", "negative_binomial", "quantiles"]
LEVELS = np.array([0.05, 0.3, 0.5, 0.9], np.float32)
WIDTH = {"point": 1, "normal": 2, "student_t": 3, "negative_binomial": 2, "quantiles": len(LEVELS)}


def arguments(
    kind: str, rng: np.random.Generator, rows: int, channels: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """x, target and the options; one target in ten is missing."""
    x = values(rng, rows, channels * WIDTH[kind], outliers=False) * 2
    target = values(rng, rows, channels)
    options: dict[str, Any] = {"distribution": kind}
    if kind == "negative_binomial":
        scale = rng.uniform(0.5, 30, (rows, channels)).astype(np.float32)
        target = (rng.poisson(3 * scale) / scale).astype(np.float32)
        options["scale"] = scale
    else:
        options["offset"] = values(rng, rows, channels)
    if kind == "quantiles":
        options["levels"] = LEVELS
    target[rng.random(target.shape) < 0.1] = np.nan
    return x, target, options


def expected(x: Any, target: np.ndarray, options: dict[str, Any]) -> Any:
    kind, rows, channels = options["distribution"], *target.shape
    raw = x.reshape(rows, channels, -1) if isinstance(x, np.ndarray) else x
    there = ~np.isnan(target)
    y = np.where(there, double(target), 1.0)
    offset, scale = double(options.get("offset", 0.0)), double(options.get("scale", 1.0))
    return reference.distribution_losses(kind, raw, y, offset, scale, options.get("levels")) * there


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "channels"), [(1, 1), (5, 3), (130, 7)])
def test_losses_and_gradients(
    device: Device, rng: np.random.Generator, kind: str, rows: int, channels: int
) -> None:
    x, target, options = arguments(kind, rng, rows, channels)
    losses, dx = device.run(ops.distribution_loss, x, target, **options)
    wide = double(x).reshape(rows, channels, -1)
    assert_close(losses, expected(wide, target, options))
    (slopes,) = reference.vjp(lambda a: expected(a, target, options), [wide], np.ones(target.shape))
    assert_close(dx.reshape(wide.shape), slopes, factor=3)
    missing = np.isnan(target)
    assert not np.any(losses[missing])
    assert not np.any(dx.reshape(wide.shape)[missing])


@pytest.mark.parametrize("kind", KINDS)
def test_finite_differences(kind: str, rng: np.random.Generator) -> None:
    """Of the reference."""
    x, target, options = arguments(kind, rng, 6, 2)
    wide = double(x).reshape(6, 2, -1)
    cotangents = rng.standard_normal(target.shape)
    found = [f(lambda a: expected(a, target, options), [wide], cotangents)[0] for f in GRADIENTS]
    assert np.any(found[0] != 0)
    assert_close(found[0], found[1], factor=0.1)


GRADIENTS = (reference.vjp, reference.finite_difference_vjp)


def test_log_gamma_of_the_reference() -> None:
    x = np.array([0.5, 0.7, 1.0, 2.5, 9.0, 300.0, 1e5])
    assert_close(reference.log_gamma(x), [math.lgamma(v) for v in x], dtype="float64")


@pytest.mark.parametrize("kind", ["normal", "student_t", "negative_binomial", "point"])
def test_pytorch_agrees(device: Device, torch: Any, rng: np.random.Generator, kind: str) -> None:
    x, target, options = arguments(kind, rng, 40, 3)
    target = np.nan_to_num(target, nan=1.0)
    if kind == "negative_binomial":  # PyTorch's is of whole numbers alone
        target = (np.rint(target * options["scale"]) / options["scale"]).astype(np.float32)
    a = torch.tensor(double(x).reshape(40, 3, -1), requires_grad=True)
    y, least = torch.tensor(double(target)), 1e-4
    positive = [torch.nn.functional.softplus(a[..., i]) + least for i in range(a.shape[-1])]
    of = torch.distributions
    if kind == "negative_binomial":
        scale = torch.tensor(double(options["scale"]))
        alpha, mean = positive[1], positive[0] * scale
        there = of.NegativeBinomial(1 / alpha, logits=torch.log(alpha * mean), validate_args=False)
        loss = -there.log_prob(y * scale)
    else:
        mean = a[..., 0] + torch.tensor(double(options["offset"]))
        if kind == "point":
            loss = (y - mean) ** 2
        elif kind == "normal":
            loss = -of.Normal(mean, positive[1]).log_prob(y)
        else:
            loss = -of.StudentT(2 + positive[2], mean, positive[1]).log_prob(y)
    loss.sum().backward()
    losses, dx = device.run(ops.distribution_loss, x, target, **options)
    assert_close(losses, loss.detach().numpy())
    assert_close(dx.reshape(a.shape), a.grad.numpy(), factor=3)


def test_far_parameters(device: Device) -> None:
    """Raw parameters at the ends of what a network may give: finite losses and gradients."""
    ends = [-60.0, -5.0, 0.0, 5.0, 60.0]
    for kind in ("normal", "student_t", "negative_binomial"):
        k = WIDTH[kind]
        x = np.array(np.meshgrid(*[ends] * k)).reshape(k, -1).T.astype(np.float32)
        scale = np.full((len(x), 1), 10.0, np.float32)
        options = {"scale": scale} if kind == "negative_binomial" else {}
        for y in (0.0, 1.0, 300.0):
            target = np.full((len(x), 1), y, np.float32)
            losses, dx = device.run(ops.distribution_loss, x, target, distribution=kind, **options)
            assert np.all(np.isfinite(losses)) and np.all(np.isfinite(dx))
            wide = reference.distribution_losses(kind, double(x)[:, None], double(target), 0.0, double(scale))
            assert np.allclose(losses, wide, rtol=1e-5, atol=1e-5)


def test_parameters(device: Device, rng: np.random.Generator) -> None:
    for kind in KINDS:
        x, _, options = arguments(kind, rng, 7, 3)
        options.pop("scale", None)
        found = device.run(ops.distribution_parameters, x, 3, **options).reshape(7, 3, -1)
        raw = double(x).reshape(7, 3, -1)
        positive = np.log1p(np.exp(raw)) + 1e-4
        offset = double(options.get("offset", np.zeros((7, 3))))
        if kind == "quantiles":
            assert_close(found, raw + offset[..., None])
        elif kind == "negative_binomial":
            assert_close(found, positive)
        else:
            parts = [raw[..., 0] + offset, *(positive[..., i] for i in range(1, raw.shape[2]))]
            if kind == "student_t":
                parts[2] = parts[2] + 2
            assert_close(found, np.stack(parts, axis=-1))


def draws(device: Device, kind: str, raw: list[float], count: int, **options: Any) -> np.ndarray:
    x = np.tile(np.array(raw, np.float32), (count, 1))
    rows = {"example": np.full(count, 3, np.int64), "path": np.arange(count, dtype=np.int32)}
    if "scale" in options:
        options["scale"] = np.full((count, 1), options["scale"], np.float32)
    found = device.run(ops.distribution_sample, x, 1, kind, seed=7, step=2, **rows, **options)
    return np.asarray(found[:, 0], np.float64)


def inverse_positive(y: float) -> float:
    return y if y > 30 else math.log(math.expm1(y - 1e-4))


COUNT = 20000


def test_draws_of_a_normal(device: Device) -> None:
    """Kolmogorov and Smirnov: the distribution functions differ by less than chance allows (1 in 1000)."""
    x = np.sort((draws(device, "normal", [0.5, inverse_positive(2.0)], COUNT) - 0.5) / 2)
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    assert np.abs(cdf - (np.arange(COUNT) + 0.5) / COUNT).max() < 1.95 / math.sqrt(COUNT)


def test_draws_of_student_s_t(device: Device) -> None:
    """With three degrees of freedom, whose distribution function is elementary."""
    x = np.sort(draws(device, "student_t", [-1.0, inverse_positive(0.5), inverse_positive(1.0)], COUNT))
    u = (x + 1) / 0.5 / math.sqrt(3)
    cdf = 0.5 + (u / (1 + u * u) + np.arctan(u)) / math.pi
    assert np.abs(cdf - (np.arange(COUNT) + 0.5) / COUNT).max() < 1.95 / math.sqrt(COUNT)
    far = draws(device, "student_t", [0.0, inverse_positive(1.0), 1e6], COUNT)  # all but a normal
    assert abs(far.std() - 1) < 0.02


@pytest.mark.parametrize(
    ("mean", "alpha"), [(0.3, 0.5), (3.0, 2.0), (40.0, 0.05), (2000.0, 0.3), (5e6, 0.01), (8.0, 3.0)]
)
def test_draws_of_a_negative_binomial(device: Device, mean: float, alpha: float) -> None:
    """Whole numbers, of the mean and variance, and as often 0, as the equations say."""
    scale = 5.0
    raw = [inverse_positive(mean / scale), inverse_positive(alpha)]
    x = scale * draws(device, "negative_binomial", raw, COUNT, scale=scale)
    assert np.allclose(x, np.rint(x), rtol=1e-6)
    variance = mean + alpha * mean**2
    assert abs(x.mean() - mean) < 4.5 * math.sqrt(variance / COUNT)
    kurtosis = 3 + 6 * alpha + 1 / variance
    assert abs(x.var() - variance) < 4.5 * variance * math.sqrt((kurtosis - 1) / COUNT)
    zero = (1 + alpha * mean) ** (-1 / alpha)
    assert abs((x < 0.5).mean() - zero) < 4.5 * math.sqrt(max(zero * (1 - zero), 1e-9) / COUNT) + 1e-9


def test_draws_of_quantiles(device: Device) -> None:
    raw = [-2.0, 0.0, 1.0, 5.0]
    x = draws(device, "quantiles", raw, COUNT, levels=LEVELS)
    assert x.min() == -2 and x.max() == 5
    assert abs((x == -2).mean() - 0.05) < 0.01 and abs((x == 5).mean() - 0.1) < 0.01
    for a, level in zip(raw, LEVELS, strict=True):
        if a != 5:
            assert abs((x <= a).mean() - level) < 0.015
    assert abs((x <= 0.5).mean() - 0.4) < 0.015  # between two levels


def test_the_numbers_are_those_of_the_reference(device: Device) -> None:
    """The words of Philox, by which a normal is drawn, are counted as the reference counts them."""
    rows = [(5, 0), (2**40 + 1, 3), (0, 2**31 - 1)]
    x = np.zeros((3, 4), np.float32)
    example, path = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], np.int32)
    seed = (9 << 33) + 1
    found = device.run(ops.distribution_sample, x, 2, example=example, path=path, step=6, seed=seed)
    s = math.log(2) + 1e-4
    for r, (e, p) in enumerate(rows):
        for channel in range(2):
            u, v = [(w + 0.5) / 2**32 for w in reference.draw_words(seed, e, p, 6, channel)[:2]]
            expected = s * math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
            assert abs(found[r, channel] - expected) < 1e-6 * max(1, abs(expected))


def test_student_s_t_is_the_formula_of_its_numbers(device: Device, rng: np.random.Generator) -> None:
    """Bailey 1994, of the reference's words: more rows than a vector has lanes, each of its own example."""
    count = 41
    x = rng.uniform(-6, 40, (count, 3)).astype(np.float32)
    example, path = rng.integers(0, 2**40, count), np.arange(count, dtype=np.int32)
    found = device.run(ops.distribution_sample, x, 1, "student_t", example=example, path=path, step=3, seed=5)
    for r in range(count):
        u, v = [(w + 0.5) / 2**32 for w in reference.draw_words(5, example[r], path[r], 3, 0)[:2]]
        s, freedom = np.logaddexp(0, double(x[r, 1:])) + 1e-4 + [0, 2]
        unit = math.sqrt(freedom * math.expm1(-2 / freedom * math.log(u))) * math.cos(2 * math.pi * v)
        expected = float(x[r, 0]) + s * unit
        assert abs(found[r, 0] - expected) < 1e-6 * (abs(float(x[r, 0])) + abs(s * unit) + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_its_own(device: Device, rng: np.random.Generator, kind: str, threads: Any) -> None:
    """The same bits alone, among other rows, and by any number of threads."""
    x, target, options = arguments(kind, rng, 300, 2)
    example, path = rng.integers(0, 50, 300), rng.integers(0, 9, 300).astype(np.int32)

    def all_of(rows: Any) -> Any:
        own = {n: v[rows] if n in ("offset", "scale") else v for n, v in options.items()}
        drawn = device.run(
            ops.distribution_sample, x[rows], 2, example=example[rows], path=path[rows], seed=1, **own
        )
        return (*device.run(ops.distribution_loss, x[rows], target[rows], **own), drawn)

    threads(1)
    together = all_of(slice(None))
    for rows in ([0], [299, 7], list(range(100, 300))):
        assert bits(all_of(rows)) == bits(tuple(part[rows] for part in together))
    threads(2)
    assert bits(all_of(slice(None))) == bits(together)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"x": np.ones((3, 5), np.float32)}, ValueError),
        ({"x": np.ones((3, 4), np.float64)}, TypeError),
        ({"target": np.ones((4, 2), np.float32)}, ValueError),
        ({"distribution": "gamma"}, ValueError),
        ({"distribution": 3}, TypeError),
        ({"levels": LEVELS}, ValueError),
        ({"offset": np.ones((3, 1), np.float32)}, ValueError),
        ({"scale": np.ones((3, 3), np.float32)}, ValueError),
        ({"scale": np.ones((3, 2), np.int32)}, TypeError),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception]) -> None:
    good = {"x": np.ones((3, 4), np.float32), "target": np.ones((3, 2), np.float32), "distribution": "normal"}
    with pytest.raises(error) as caught:
        ops.distribution_loss(**good | change)
    assert_says(caught.value, *change)


@pytest.mark.cpu_only("a device's numbers are not looked at")
@pytest.mark.parametrize("target", [-1.0, -1e10, -np.inf])
def test_counts_below_0(target: float) -> None:
    """They would take a gamma function of a negative number; of -1e10 a loop of as many steps."""
    values = np.array([[3.0], [target]], np.float32)
    with pytest.raises(ValueError, match=r"target of at least 0, got -.* at index 1\."):
        ops.distribution_loss(np.zeros((2, 2), np.float32), values, "negative_binomial")


@pytest.mark.cpu_only("a device's numbers are not looked at")
def test_scales_are_above_0() -> None:
    x, target = np.zeros((2, 2), np.float32), np.ones((2, 1), np.float32)
    for scale in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"scale above 0, got .* at index 1\."):
            ops.distribution_loss(x, target, "normal", scale=np.array([[1.0], [scale]], np.float32))


@pytest.mark.parametrize("levels", [[0.5, 0.5], [0.9, 0.1], [0.0], [1.0], [float("nan")]])
def test_bad_levels(levels: list[float]) -> None:
    x, target = np.ones((3, len(levels)), np.float32), np.ones((3, 1), np.float32)
    with pytest.raises(ValueError, match=r"\[distribution_loss\] Expected levels between 0 and 1"):
        ops.distribution_loss(x, target, "quantiles", levels=np.array(levels, np.float32))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"example": np.zeros(2, np.int64)}, ValueError),
        ({"path": np.zeros(4, np.int32)}, ValueError),
        ({"step": -1}, ValueError),
        ({"seed": -1}, ValueError),
        ({"channels": 0}, ValueError),
        ({"channels": 3}, ValueError),
    ],
)
def test_bad_draws(change: dict[str, Any], error: type[Exception]) -> None:
    good: dict[str, Any] = {"x": np.ones((3, 4), np.float32), "channels": 2}
    good |= {"example": np.zeros(3, np.int64), "path": np.zeros(3, np.int32)}
    with pytest.raises(error) as caught:
        ops.distribution_sample(**good | change)
    assert_says(caught.value, *change)
