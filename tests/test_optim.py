from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from checks import assert_close, bits
from seq2seq_fast.ops import clip_grad_norm_
from seq2seq_fast.optim import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Optimizer,
    decay_mask,
    optimizer_from_settings,
)
from seq2seq_fast.schedule import (
    Best,
    CosineDecay,
    ExponentialDecay,
    InverseSquareRoot,
    Noam,
    ReduceLROnPlateau,
    Scheduler,
    StepDecay,
)

KINDS = [
    Adam(),
    Adam(0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
    AdamW(),
    AdamW(0.01, weight_decay=0.3),
    SGD(0.1),
    SGD(0.1, 0.9),
    SGD(0.1, 0.9, nesterov=True, weight_decay=0.1),
    Adagrad(),
    Adagrad(0.1, 0.05, initial_accumulator_value=0.5, weight_decay=0.1),
]


def fresh(optimizer: Optimizer) -> Optimizer:
    return optimizer_from_settings(optimizer.settings())


@pytest.mark.parametrize("optimizer", KINDS, ids=str)
def test_agrees_with_pytorch(optimizer: Optimizer, torch: Any, rng: np.random.Generator) -> None:
    optimizer = fresh(optimizer)
    parameters = rng.normal(size=208).astype(np.float32)
    theirs = torch.nn.Parameter(torch.from_numpy(parameters.copy()))
    arguments = {name: value for name, value in optimizer.settings().items() if name != "type"}
    torch_optimizer = getattr(torch.optim, type(optimizer).__name__)([theirs], **arguments)
    for step in range(20):
        gradients = rng.normal(size=208).astype(np.float32) * (0 if step == 3 else 1)
        theirs.grad = torch.from_numpy(gradients.copy())
        torch_optimizer.step()
        optimizer.step(parameters, gradients)
    assert_close(parameters, theirs.detach().numpy())
    for name, values in torch_optimizer.state[theirs].items():
        if values is not None:
            assert_close(optimizer.state_dict()[name], values.numpy(), name)


@pytest.mark.parametrize("optimizer", KINDS, ids=str)
def test_state_goes_on_where_it_was(optimizer: Optimizer, rng: np.random.Generator) -> None:
    gradients = rng.normal(size=(6, 32)).astype(np.float32)
    straight, whole = np.ones(32, np.float32), fresh(optimizer)
    for g in gradients:
        whole.step(straight, g.copy())
    parts, first = np.ones(32, np.float32), fresh(optimizer)
    for g in gradients[:3]:
        first.step(parts, g.copy())
    second = fresh(optimizer)
    second.load_state_dict({name: values.copy() for name, values in first.state_dict().items()})
    for g in gradients[3:]:
        second.step(parts, g.copy())
    assert bits(parts) == bits(straight)
    assert bits(second.state_dict()) == bits(whole.state_dict())


@pytest.mark.parametrize("optimizer", [k for k in KINDS if k.weight_decay], ids=str)
def test_weight_decay_only_where_the_mask_says(optimizer: Optimizer) -> None:
    layout = [("weight", (2, 9), 0, True), ("bias", (5,), 32, False), ("last", (1,), 48, True)]
    mask = decay_mask(layout, 64)
    assert mask.tolist() == [1, 1, 0, 1]
    parameters, gradients = np.ones(64, np.float32), np.zeros(64, np.float32)
    fresh(optimizer).step(parameters, gradients, decay_mask=mask)
    assert (parameters[:32] < 1).all()
    assert (parameters[32:48] == 1).all()
    assert (parameters[48:] < 1).all()


def test_the_learning_rate_of_a_step() -> None:
    parameters, gradients = np.zeros(16, np.float32), np.ones(16, np.float32)
    SGD(lr=1.0).step(parameters, gradients, lr=0.25)
    assert (parameters == -0.25).all()


@pytest.mark.parametrize("optimizer", KINDS, ids=str)
def test_settings_come_back(optimizer: Optimizer) -> None:
    again = optimizer_from_settings(json.loads(json.dumps(optimizer.settings())))
    assert again == optimizer
    assert again.settings() == optimizer.settings()


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_defaults_are_pytorchs(kind: type[Optimizer], torch: Any) -> None:
    theirs = getattr(torch.optim, kind.__name__)([torch.zeros(1)]).defaults
    for name, value in kind().settings().items():  # type: ignore[call-arg]
        assert name == "type" or theirs[name] == value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(lr=-1), r"\[adam\] Expected lr of at least 0, got -1"),
        (lambda: Adam(lr=math.nan), "lr of at least 0, got nan"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas from 0 to below 1"),
        (lambda: AdamW(eps=-1), r"\[adamw\] Expected eps"),
        (lambda: AdamW(weight_decay=-1), "weight_decay of at least 0"),
        (lambda: SGD(momentum=-1), "momentum of at least 0"),
        (lambda: SGD(nesterov=True), "nesterov only with a momentum"),
        (lambda: Adagrad(lr_decay=-1), "lr_decay of at least 0"),
        (lambda: Adagrad(initial_accumulator_value=-1), "initial_accumulator_value of at least 0"),
        (lambda: Adagrad(eps=-1), "eps of at least 0"),
        (lambda: optimizer_from_settings({"type": "lion"}), "one of adam, adamw, sgd, adagrad, got 'lion'"),
        (lambda: optimizer_from_settings({}), "got None"),
        (lambda: optimizer_from_settings({"type": "sgd", "betas": 1}), "Unknown field 'betas'; sgd has lr"),
        (
            lambda: Adam().step(np.zeros(32, np.float32), np.zeros(16, np.float32)),
            r"gradients of shape \[32\]",
        ),
        (lambda: Scheduler(warmup_steps=-1), "warmup_steps of at least 0"),
        (lambda: ReduceLROnPlateau(1.0), "factor between 0 and 1"),
        (lambda: StepDecay(0), "steps of at least 1"),
        (lambda: StepDecay(5, start=-1), "start of at least 0"),
        (lambda: ExponentialDecay(5, 1.5), "factor between 0 and 1"),
        (lambda: Noam(0), "model_size of at least 1"),
        (lambda: Noam(8, warmup_steps=0), "warmup_steps of at least 1"),
        (lambda: ReduceLROnPlateau(patience=-1), "patience of at least 0"),
        (lambda: ReduceLROnPlateau(min_lr=-1), "min_lr of at least 0"),
        (lambda: ReduceLROnPlateau(threshold=math.nan), "threshold of at least 0, got nan"),
        (lambda: CosineDecay(0), "steps of at least 1"),
        (lambda: Adam().step(*buffers(16), decay_mask=np.ones(2, np.uint8)), r"decay_mask of shape \[1\]"),
        (lambda: Adam().step(*buffers(0)), "parameters of at least one element"),
        (lambda: Adam().step(*buffers(16), lr=-1), "lr of at least 0"),
        (lambda: Adam().step(*buffers(16), lr=1e30), "lr below 1e30"),
        (lambda: SGD(lr=1e30), r"\[sgd\] Expected lr below 1e30, got 1e\+30"),
        (lambda: SGD(momentum=float("inf")), "momentum below 1e30, got inf"),
        (lambda: Adam().step(buffers(32)[0][::2], buffers(16)[1]), "parameters to be contiguous"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def buffers(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(size, np.float32), np.ones(size, np.float32)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Adam(lr="x"), "lr"),
        (lambda: Adam(lr=True), "lr"),
        (lambda: Adam(betas=0.9), "betas"),
        (lambda: Adam(betas=(0.9,)), "betas"),
        (lambda: Adam(betas=("a", "b")), "betas"),
        (lambda: AdamW(eps=None), "eps"),
        (lambda: AdamW(weight_decay="x"), "weight_decay"),
        (lambda: SGD(momentum="x"), "momentum"),
        (lambda: SGD(momentum=0.9, nesterov=1), "nesterov"),
        (lambda: Adagrad(lr_decay="x"), "lr_decay"),
        (lambda: Adam().step([1.0], [1.0]), "parameters"),
        (lambda: Adam().step(buffers(16)[0], [1.0] * 16), "gradients"),
        (lambda: Adam().step(np.zeros(16), np.zeros(16)), "parameters"),
        (lambda: Adam().step(buffers(16)[0], np.zeros(16)), "gradients"),
        (lambda: Adam().step(*buffers(16), lr="x"), "lr"),
        (lambda: Adam().step(*buffers(16), decay_mask=[1]), "decay_mask"),
        (lambda: Adam().step(*buffers(16), decay_mask=np.ones(1)), "decay_mask"),
        (lambda: Scheduler(warmup_steps=1.5), "warmup_steps"),
        (lambda: ReduceLROnPlateau(factor="x"), "factor"),
        (lambda: ReduceLROnPlateau(patience=True), "patience"),
        (lambda: ReduceLROnPlateau(threshold="x"), "threshold"),
        (lambda: ReduceLROnPlateau(min_lr=None), "min_lr"),
        (lambda: CosineDecay("x"), "steps"),
        (lambda: CosineDecay(5, "x"), "min_lr"),
    ],
)
def test_arguments_of_the_wrong_type(make: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"\] Expected {name} "):
        make()


def test_a_refused_step_does_not_count() -> None:
    adam = Adam()
    with pytest.raises(TypeError):
        adam.step(*buffers(16), lr="x")  # type: ignore[arg-type]
    assert adam.state_dict().keys() == {"step"}
    assert adam.state_dict()["step"] == 0


def test_the_state_of_another_optimizer_or_model_is_refused() -> None:
    adam, sgd = Adam(), SGD(momentum=0.9)
    adam.prepare(16)
    sgd.prepare(16)
    with pytest.raises(
        ValueError, match=r"\[sgd\] Expected state momentum_buffer, step, got exp_avg, exp_avg_sq"
    ):
        sgd.load_state_dict(adam.state_dict())
    with pytest.raises(ValueError, match=r"\[adam\] Expected exp_avg float32"):
        adam.load_state_dict({**adam.state_dict(), "exp_avg": np.zeros(16)})
    with pytest.raises(ValueError, match=r"Expected 32 parameters, as exp_avg has 16"):
        adam.step(np.zeros(32, np.float32), np.zeros(32, np.float32))


def test_clipping(torch: Any, rng: np.random.Generator) -> None:
    for scale in (0.01, 1.0, 1e12):
        gradients = (rng.normal(size=1000) * scale).astype(np.float32)
        theirs = torch.nn.Parameter(torch.zeros(1000))
        theirs.grad = torch.from_numpy(gradients.copy())
        expected = float(torch.nn.utils.clip_grad_norm_([theirs], 2.0))
        before = gradients.copy()
        assert clip_grad_norm_(gradients, 2.0) == pytest.approx(expected, rel=1e-5)
        assert_close(gradients, theirs.grad.numpy())
        assert scale != 0.01 or bits(gradients) == bits(before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clipping_leaves_what_is_not_finite(bad: float) -> None:
    gradients = np.array([1, bad] + [0] * 14, np.float32)
    assert not math.isfinite(clip_grad_norm_(gradients, 1.0))
    assert gradients[0] == 1


# ---- the learning rate


def test_warm_up() -> None:
    scheduler = Scheduler(warmup_steps=4)
    assert [scheduler.lr(2.0, step) for step in (1, 2, 4, 5, 100)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert Scheduler().lr(2.0, 1) == 2.0


@pytest.mark.parametrize(
    "schedule",
    [
        lambda warmup: ReduceLROnPlateau(warmup_steps=warmup),
        lambda warmup: CosineDecay(50, 0.1, warmup_steps=warmup),
        lambda warmup: StepDecay(3, min_lr=0.1, warmup_steps=warmup),
        lambda warmup: ExponentialDecay(7, warmup_steps=warmup),
    ],
    ids=["plateau", "cosine", "step", "exponential"],
)
def test_every_schedule_warms_up(schedule: Callable[[int], Scheduler]) -> None:
    """It is the schedule, times a factor that rises to 1. (Noam and the inverse square root: below.)"""
    warm, cold = schedule(10), schedule(0)
    for step in (1, 4, 9, 10, 11, 40):
        assert warm.lr(2.0, step) == pytest.approx(cold.lr(2.0, step) * min(1, step / 10))


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_agrees_with_pytorch(
    torch: Any, rng: np.random.Generator, maximize: bool, patience: int
) -> None:
    theirs = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    arguments = {"factor": 0.5, "patience": patience, "threshold": 0.01, "min_lr": 0.03}
    mode = "max" if maximize else "min"
    torch_scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, mode=mode, **arguments)
    scheduler: Any = ReduceLROnPlateau(**arguments)
    rates = []
    for value in rng.uniform(1, 2, 40):
        torch_scheduler.step(value)
        scheduler.validated(value, maximize=maximize)
        rates.append(scheduler.lr(1.0, 1))
        assert rates[-1] == theirs.param_groups[0]["lr"]
        again: Any = ReduceLROnPlateau(**arguments)
        again.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
        scheduler = again
    assert rates[-1] == 0.03


def rates(scheduler: Scheduler, steps: int) -> list[float]:
    return [scheduler.lr(2.0, step) for step in range(1, steps + 1)]


@pytest.mark.parametrize("start", [None, 0, 5])
def test_steps_agree_with_pytorch(torch: Any, start: int | None) -> None:
    theirs = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    if start is None:
        schedule = torch.optim.lr_scheduler.StepLR(theirs, 3, gamma=0.5)
    else:
        schedule = torch.optim.lr_scheduler.MultiStepLR(theirs, range(start, 30, 3), gamma=0.5)
    expected = []
    for _ in range(20):
        expected.append(theirs.param_groups[0]["lr"])
        theirs.step()
        schedule.step()
    assert rates(StepDecay(3, 0.5, start), 20) == expected
    assert min(rates(StepDecay(3, 0.5, start, min_lr=0.3), 20)) == 0.3


def test_exponential_agrees_with_pytorch(torch: Any) -> None:
    theirs = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(theirs, gamma=0.5 ** (1 / 4))
    expected = []
    for _ in range(20):
        expected.append(theirs.param_groups[0]["lr"])
        theirs.step()
        schedule.step()
    np.testing.assert_allclose(rates(ExponentialDecay(4, 0.5), 20), expected, rtol=1e-12)
    assert rates(ExponentialDecay(4, 0.5, min_lr=0.7), 20)[-1] == 0.7


def test_inverse_square_root() -> None:
    found = rates(InverseSquareRoot(warmup_steps=4), 400)
    assert found[:4] == [0.5, 1.0, 1.5, 2.0]
    assert found[15] == 1.0 and found[399] == pytest.approx(0.2)
    assert rates(InverseSquareRoot(), 9)[::8] == [2.0, pytest.approx(2 / 3)]
    assert rates(InverseSquareRoot(min_lr=0.9, warmup_steps=2), 50)[-1] == 0.9


def test_noam() -> None:
    """Vaswani et al. 2017, equation 3."""
    found = rates(Noam(256, warmup_steps=100), 1000)
    for step in (1, 50, 100, 101, 1000):
        expected = 2.0 * 256**-0.5 * min(step**-0.5, step * 100**-1.5)
        assert found[step - 1] == pytest.approx(expected, rel=1e-12)
    assert max(found) == found[99]
    assert Noam(256).warmup_steps == 4000


def test_best() -> None:
    best = Best()
    assert [best.update(value, maximize=False) for value in (3, 2, 2, 4, 1)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert (best.value, best.since) == (1, 0)
    best.update(-5, maximize=True)
    assert (best.value, best.since) == (1, 1)
