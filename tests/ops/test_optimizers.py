"""adam_, sgd_, adagrad_: updates in place, against the reference and against torch.optim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import SIZES, assert_close, double, values
from place import Device
from seq2seq_fast import ops

STEPS = 5
DECAY, FROZEN = 1, 2  # bits of a mask's byte, one byte for each 16 elements


def run_adam(device: Device, param: Any, grads: list[Any], mask: Any = None, **options: Any) -> Any:
    m, v = np.zeros_like(param), np.zeros_like(param)
    for step, grad in enumerate(grads, 1):
        device.run(ops.adam_, param, grad, m, v, step, lr=0.01, mask=mask, **options)
    return param, m, v


def run_sgd(device: Device, param: Any, grads: list[Any], mask: Any = None, **options: Any) -> Any:
    buffer = (
        np.full_like(param, np.nan) if options.get("momentum") else None
    )  # the first step must not read it
    for step, grad in enumerate(grads, 1):
        device.run(ops.sgd_, param, grad, buffer, lr=0.1, first=step == 1, mask=mask, **options)
    return (param,) if buffer is None else (param, buffer)


def run_adagrad(device: Device, param: Any, grads: list[Any], mask: Any = None, **options: Any) -> Any:
    total = np.full_like(param, 0.1)
    for grad in grads:
        device.run(ops.adagrad_, param, grad, total, lr=0.1, mask=mask, **options)
    return param, total


def expect(kind: str, param: Any, grads: list[Any], decay: Any, options: dict[str, Any]) -> Any:
    """The reference's result; `decay` is the weight decay of each element."""
    a, b = np.full_like(param, 0.1 if kind == "adagrad" else 0.0), np.zeros_like(param)
    for step, grad in enumerate(grads, 1):
        if kind == "adam":
            param, a, b = reference.adam(param, grad, a, b, step, 0.01, weight_decay=decay, **options)
        elif kind == "sgd":
            buffer = a if options.get("momentum") else None
            param, buffer = reference.sgd(
                param, grad, buffer, 0.1, weight_decay=decay, first=step == 1, **options
            )
            a = a if buffer is None else buffer
        else:
            param, a = reference.adagrad(param, grad, a, 0.1, weight_decay=decay, **options)
    if kind == "adam":
        return param, a, b
    return (param,) if kind == "sgd" and not options.get("momentum") else (param, a)


RUN = {"adam": run_adam, "sgd": run_sgd, "adagrad": run_adagrad}
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("adam", {}),
    ("adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-4}),
    ("adam", {"decoupled": True}),
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adagrad", {}),
    ("adagrad", {"eps": 1e-2}),
]
kinds = pytest.mark.parametrize(
    ("kind", "options"), KINDS, ids=[f"{k}-{'-'.join(o) or 'plain'}" for k, o in KINDS]
)


@kinds
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sizes(
    device: Device, rng: np.random.Generator, kind: str, options: dict[str, Any], decay: float
) -> None:
    for count in (*SIZES, 5000):
        param, grads = values(rng, count), [values(rng, count) for _ in range(STEPS)]
        expected = expect(kind, double(param), double(grads), decay, options)
        actual = RUN[kind](device, param, grads, weight_decay=decay, **options)
        assert_close(actual, expected, f"{count} elements")


def test_moving_average(device: Device, rng: np.random.Generator) -> None:
    for count in (*SIZES, 5000):
        average, param = values(rng, count), values(rng, count)
        for weight in (0.0, 0.3, 1.0):
            expected = double(average) + weight * (double(param) - double(average))
            device.run(ops.average_, average, param, weight)
            assert_close(average, expected, f"{count} elements, weight {weight}")


@kinds
def test_mask(device: Device, rng: np.random.Generator, kind: str, options: dict[str, Any]) -> None:
    """Decay in the blocks whose byte says so; frozen blocks do not move, and neither do their moments."""
    mask = np.array([DECAY, 0, DECAY | FROZEN, FROZEN, 0, DECAY, DECAY, 0], np.uint8)
    each = np.repeat(mask, 16)
    param, grads = values(rng, 128), [values(rng, 128) for _ in range(STEPS)]
    before, frozen = param.copy(), (each & FROZEN) != 0
    expected = expect(kind, double(param), double(grads), 0.1 * ((each & DECAY) != 0), options)
    actual = RUN[kind](device, param, grads, mask, weight_decay=0.1, **options)
    assert np.array_equal(param[frozen], before[frozen])
    for a, b in zip(actual, expected, strict=True):
        assert_close(a[~frozen], b[~frozen])


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_agree_with_pytorch(
    device: Device, torch: Any, rng: np.random.Generator, name: str, weight_decay: float
) -> None:
    param, grads = values(rng, 100), [values(rng, 100) for _ in range(STEPS)]
    theirs = torch.nn.Parameter(torch.from_numpy(double(param)))
    lr = 0.01 if name.startswith("Adam") else 0.1
    extra = {"SGD": {"momentum": 0.9, "nesterov": True}, "Adagrad": {"initial_accumulator_value": 0.1}}.get(
        name, {}
    )
    optimizer = getattr(torch.optim, name)([theirs], lr=lr, weight_decay=weight_decay, **extra)
    for grad in grads:
        theirs.grad = torch.from_numpy(double(grad))
        optimizer.step()
    options: dict[str, Any] = {"weight_decay": weight_decay}
    if name == "SGD":
        options |= {"momentum": 0.9, "nesterov": True}
    if name == "AdamW":
        options["decoupled"] = True
    kind = {"AdamW": "adam"}.get(name, name.lower())
    assert_close(RUN[kind](device, param, grads, **options)[0], theirs.detach().numpy())
