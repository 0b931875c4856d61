from __future__ import annotations

import itertools
import math
import random

import pytest

from seq2seq_fast import metrics

pytestmark = pytest.mark.cpu_only("no kernel runs here")


def slow_distance(a: str, b: str) -> int:
    """From the recurrence, with nothing clever."""
    table = [[max(i, j) if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        table[i][j] = min(
            table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
        )
    return table[-1][-1]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("aaa", "aa", 1),
        ("aa", "aaaa", 2),
        ("ab", "ba", 2),
        ("abab", "baba", 2),
        ("same", "same", 0),
    ],
)
def test_edit_distance_known(a: str, b: str, expected: int) -> None:
    assert metrics.edit_distance(a, b) == expected
    assert metrics.edit_distance(list(a), tuple(b)) == expected


def test_edit_distance_random() -> None:
    rng = random.Random(0)
    for _ in range(500):
        a, b = ("".join(rng.choices("abc", k=rng.randrange(9))) for _ in range(2))
        assert metrics.edit_distance(a, b) == metrics.edit_distance(b, a) == slow_distance(a, b), (a, b)


HYPOTHESES = [["a", "b"], ["c"], ["x", "y", "z"]]
REFERENCES = [[["a", "b"]], [["d"], ["c"]], [["x", "q", "z"], ["w"]]]


def test_exact_match_counts_any_reference() -> None:
    assert metrics.exact_match(HYPOTHESES, REFERENCES) == pytest.approx(2 / 3)
    assert metrics.word_error_rate(HYPOTHESES, REFERENCES) == pytest.approx(1 / 3)


def test_exact_match_compares_tokens_not_containers() -> None:
    assert metrics.exact_match([("a", "b")], [[["a", "b"]]]) == 1.0
    assert metrics.exact_match([["ab"]], [[["a", "b"]]]) == 0.0


def test_token_error_rate_uses_the_closest_reference() -> None:
    # 0 edits of 2 tokens, 0 of 1, 1 of 3.
    assert metrics.token_error_rate(HYPOTHESES, REFERENCES) == pytest.approx(1 / 6)


def test_token_error_rate_tie_takes_the_first() -> None:
    assert metrics.token_error_rate([["a"]], [[["a", "b"], ["c"]]]) == pytest.approx(1 / 2)
    assert metrics.token_error_rate([["a"]], [[["c"], ["a", "b"]]]) == pytest.approx(1 / 1)


def test_token_error_rate_may_exceed_one() -> None:
    assert metrics.token_error_rate([["a", "b", "c"]], [[["d"]]]) == 3.0


def test_empty_sequences() -> None:
    assert metrics.exact_match([[]], [[[]]]) == 1.0
    assert metrics.token_error_rate([[]], [[[]]]) == 0.0
    assert metrics.token_error_rate([["a"]], [[[]]]) == math.inf
    assert metrics.token_error_rate([[]], [[["a", "b"]]]) == 1.0
    assert metrics.token_error_rate([[], ["a"]], [[[]], [["a", "b"]]]) == 0.5


@pytest.mark.parametrize("name", ["exact_match", "word_error_rate", "token_error_rate"])
def test_no_examples_is_nan(name: str) -> None:
    assert math.isnan(metrics.get_metric(name)([], []))


@pytest.mark.parametrize("name", ["exact_match", "word_error_rate", "token_error_rate"])
def test_bad_input(name: str) -> None:
    metric = metrics.get_metric(name)
    with pytest.raises(ValueError, match=r"as many references as hypotheses \(1\), got 0"):
        metric([["a"]], [])
    with pytest.raises(ValueError, match="at least one reference for example 1"):
        metric([["a"], ["b"]], [[["a"]], []])
    with pytest.raises(TypeError, match=r"references\[0\]"):
        metric([["a"]], ["a"])


def test_ids_are_tokens_too() -> None:
    assert metrics.token_error_rate([[1, 2, 3]], [[[1, 3]]]) == 0.5


def test_perplexity() -> None:
    assert metrics.perplexity(math.log(7.0) * 5, 5) == pytest.approx(7.0)
    assert metrics.perplexity(1e6, 1) == math.inf
    assert math.isnan(metrics.perplexity(0.0, 0))
    with pytest.raises(ValueError, match="tokens"):
        metrics.perplexity(1.0, -1)


def test_registry() -> None:
    assert {"exact_match", "token_error_rate", "word_error_rate"} <= set(metrics.available_metrics())
    assert metrics.get_metric("exact_match").higher_is_better
    assert not metrics.get_metric("token_error_rate").higher_is_better
    with pytest.raises(ValueError, match="Did you mean 'exact_match'"):
        metrics.get_metric("exact-match")
    with pytest.raises(ValueError, match="exists already"):
        metrics.register_metric("exact_match", higher_is_better=True)(metrics.exact_match)


def test_a_metric_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_registry", dict(metrics._registry))

    @metrics.register_metric("mean_length", higher_is_better=True)
    def mean_length(hypotheses: object, references: object) -> float:
        assert isinstance(hypotheses, list)
        return sum(map(len, hypotheses)) / len(hypotheses)

    assert metrics.get_metric("mean_length")([["a"], ["b", "c"]], [[["a"]], [["b"]]]) == 1.5
