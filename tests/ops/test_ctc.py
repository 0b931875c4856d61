from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from checks import WIDE, assert_close, assert_says, bits, double, values
from place import Device
from reference.ctc import ctc, ctc_by_paths, fits
from seq2seq_fast import ops


def batch(
    rng: np.random.Generator, classes: int, shapes: list[tuple[int, int]], blank: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """logits, lengths, targets, target lengths of sequences of (rows, labels); many labels repeat."""
    lengths, counts = (np.array(x, np.int32) for x in zip(*shapes, strict=True))
    labels = [k for k in range(classes) if k != blank]
    targets = rng.choice(labels[: max(2, classes // 2)], int(counts.sum())).astype(np.int32)
    return values(rng, int(lengths.sum()), classes, scale=2), lengths, targets, counts


def each(
    logits: Any, lengths: np.ndarray, targets: np.ndarray, counts: np.ndarray
) -> list[tuple[Any, np.ndarray]]:
    rows, labels = np.cumsum([0, *lengths]), np.cumsum([0, *counts])
    return [(logits[rows[n] : rows[n + 1]], targets[labels[n] : labels[n + 1]]) for n in range(len(lengths))]


SHAPES = [(9, 3), (1, 1), (12, 5), (7, 0), (1, 0), (30, 9), (5, 2)]


def test_the_reference_is_the_sum_over_paths(rng: np.random.Generator) -> None:
    for rows, labels in [
        (1, []),
        (2, [1]),
        (4, [2, 2]),
        (5, [1, 2, 1]),
        (3, [1, 1]),
        (2, [1, 2]),
        (1, [1, 2]),
    ]:
        logits = rng.standard_normal((rows, 3))
        expected = ctc_by_paths(logits, np.array(labels, int), 0)
        assert np.isfinite(expected) == fits(rows, np.array(labels, int))
        if np.isfinite(expected):
            assert np.isclose(ctc(logits, np.array(labels, int), 0), expected, rtol=1e-12)


def test_the_reference_s_gradient(rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((6, 4)), np.array([1, 1, 3])

    def function(x: Any) -> Any:
        return ctc(x, labels, 2)

    found = reference.vjp(function, [logits], np.ones(()))[0]
    assert_close(found, reference.finite_difference_vjp(function, [logits], np.ones(()))[0], factor=1e-3)


@pytest.mark.parametrize(("classes", "blank"), [(2, 0), (5, 4), (8, 3), (33, 0), (129, 128), (1500, 0)])
def test_ctc(device: Device, rng: np.random.Generator, classes: int, blank: int) -> None:
    logits, lengths, targets, counts = batch(rng, classes, SHAPES, blank)
    if classes == 2:  # one label only: give it room
        targets[:], counts[2], counts[5] = 1 - blank, 5, 9

    def function(x: Any) -> Any:
        return np.stack([ctc(z, y, blank) for z, y in each(x, lengths, targets, counts)])

    losses, dlogits = device.run(ops.ctc_loss, logits, lengths, targets, counts, blank=blank)
    assert losses.dtype == dlogits.dtype == np.float32
    expected = function(double(logits))
    assert np.all(np.isfinite(expected))
    assert np.allclose(losses, expected, rtol=1e-5, atol=1e-6)
    assert_close(dlogits, reference.vjp(function, [double(logits)], np.ones(len(lengths)))[0])


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_agrees_with_pytorch(
    device: Device, torch: Any, rng: np.random.Generator, zero_infinity: bool
) -> None:
    """Also where a target does not fit: too many labels, or no room for the blanks between equal ones."""
    shapes = [(40, 12), (3, 5), (80, 31), (4, 3), (25, 0), (64, 20)]
    logits, lengths, targets, counts = batch(rng, 30, shapes)
    targets[12 + 5 + 31 : 12 + 5 + 31 + 3] = 7  # three equal labels in four rows
    losses, dlogits = device.run(ops.ctc_loss, logits, lengths, targets, counts, zero_infinity=zero_infinity)
    x = torch.from_numpy(double(logits)).requires_grad_()
    padded = torch.nn.utils.rnn.pad_sequence(list(torch.split(x.log_softmax(dim=1), lengths.tolist())))
    expected = torch.nn.functional.ctc_loss(
        padded,
        torch.from_numpy(targets.astype(np.int64)),
        torch.from_numpy(lengths.astype(np.int64)),
        torch.from_numpy(counts.astype(np.int64)),
        reduction="none",
        zero_infinity=zero_infinity,
    )
    expected.sum().backward()
    impossible = np.array([not fits(len(z), y) for z, y in each(logits, lengths, targets, counts)])
    assert impossible.tolist() == [False, True, False, True, False, False]
    assert np.array_equal(losses[impossible], np.full(2, 0 if zero_infinity else np.inf))
    assert np.array_equal(losses[impossible], expected.detach().numpy()[impossible])
    assert_close(losses[~impossible], expected.detach().numpy()[~impossible])
    for n, (ours, theirs) in enumerate(
        zip(
            each(dlogits, lengths, targets, counts),
            each(x.grad.numpy(), lengths, targets, counts),
            strict=True,
        )
    ):
        if impossible[n] and not zero_infinity:
            assert np.all(np.isnan(ours[0])) and np.all(np.isnan(theirs[0]))
        else:
            assert_close(ours[0], theirs[0])


def test_improbable_alignments_keep_their_precision(
    device: Device, torch: Any, rng: np.random.Generator
) -> None:
    """Where every path is so improbable that its probability is no number: logarithms of hundreds a row."""
    logits, lengths, targets, counts = batch(rng, 6, [(200, 40), (64, 3)])
    logits = (logits * 100).astype(np.float32)
    losses, dlogits = device.run(ops.ctc_loss, logits, lengths, targets, counts)
    for n, (z, y) in enumerate(each(logits, lengths, targets, counts)):
        x = torch.from_numpy(double(z)).requires_grad_()
        expected = torch.nn.functional.ctc_loss(
            x.log_softmax(dim=1)[:, None],
            torch.from_numpy(y.astype(np.int64))[None],
            torch.tensor([len(z)]),
            torch.tensor([len(y)]),
            reduction="sum",
        )
        expected.backward()
        assert expected > 2000
        assert_close(losses[n], expected.item())
        assert_close(each(dlogits, lengths, targets, counts)[n][0], x.grad.numpy())


@pytest.mark.parametrize("classes", [5, WIDE[1]])
def test_nan_stays_in_its_sequence(device: Device, rng: np.random.Generator, classes: int) -> None:
    logits, lengths, targets, counts = batch(rng, classes, SHAPES)
    expected = device.run(ops.ctc_loss, logits, lengths, targets, counts)
    logits[12, classes - 1] = np.nan  # the third sequence's
    losses, dlogits = device.run(ops.ctc_loss, logits, lengths, targets, counts)
    inside = np.zeros(len(logits), bool)
    inside[10:22] = True
    assert np.isnan(losses[2]) and np.isnan(dlogits[12]).all()
    assert np.array_equal(np.delete(losses, 2), np.delete(expected[0], 2))
    assert np.array_equal(dlogits[~inside], expected[1][~inside])


def test_alone_in_a_batch_and_with_threads(device: Device, rng: np.random.Generator, threads: Any) -> None:
    arguments = batch(rng, 40, [*SHAPES, (90, 30), (64, 31)])
    logits, lengths, targets, counts = arguments
    results = []
    for count in (1, 2):
        threads(count)
        results.append(device.run(ops.ctc_loss, *arguments))
    assert bits(results[0]) == bits(results[1])
    gradients = each(results[0][1], lengths, targets, counts)
    for n, (z, y) in enumerate(each(logits, lengths, targets, counts)):
        one = device.run(ops.ctc_loss, z, lengths[n : n + 1], y, counts[n : n + 1])
        assert bits(one[0]) == bits(results[0][0][n : n + 1])
        assert bits(one[1]) == bits(gradients[n][0].copy())


GOOD = (np.zeros((5, 4), np.float32), np.array([2, 3]), np.array([1, 3, 2]), np.array([1, 2]))


@pytest.mark.parametrize(
    ("at", "value", "error", "name"),
    [
        (0, np.zeros((5, 4)), TypeError, "logits"),
        (0, np.zeros(5, np.float32), ValueError, "logits"),
        (1, np.array([2, 2]), ValueError, "lengths"),
        (1, np.array([2, 4]), ValueError, "lengths"),
        (1, np.array([0, 5]), ValueError, "lengths"),
        (1, np.array([5]), ValueError, "target_lengths"),
        (1, np.array([2.0, 3.0]), TypeError, "lengths"),
        (2, np.array([1, 4, 2]), ValueError, "targets"),
        (2, np.array([1, -1, 2]), ValueError, "targets"),
        (2, np.array([1, 0, 2]), ValueError, "targets"),  # the blank
        (2, np.array([1, 3]), ValueError, "targets"),
        (2, "x", TypeError, "targets"),
        (3, np.array([1, -1]), ValueError, "target_lengths"),
        (3, np.array([3]), ValueError, "target_lengths"),
        (4, 4, ValueError, "blank"),
        (4, -1, ValueError, "blank"),
        (4, 0.5, TypeError, "blank"),
        (5, 1, TypeError, "zero_infinity"),
    ],
)
def test_bad_input(device: Device, at: int, value: Any, error: type[Exception], name: str) -> None:
    arguments: list[Any] = [*GOOD, 0, False]
    arguments[at] = value
    with pytest.raises(error) as caught:
        device.run(ops.ctc_loss, *arguments)
    assert_says(caught.value, name)
