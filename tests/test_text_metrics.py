from __future__ import annotations

import importlib.util
import math
from collections import Counter

import pytest

from seq2seq_fast import metrics
from seq2seq_fast.decoding import compare
from seq2seq_fast.text import TextField
from seq2seq_fast.tokenizers import CharTokenizer
from seq2seq_fast.vocab import Vocabulary

pytestmark = pytest.mark.cpu_only("no kernel runs here")

NAMES = [name for name in metrics.available_metrics() if metrics._registry[name].of_text]


def metric(name: str) -> metrics.Metric:
    pytest.importorskip(metrics._registry[name].library)
    return metrics.get_metric(name)


def slow_bleu(hypotheses: list[str], references: list[list[str]], order: int = 4) -> float:
    """Papineni et al. 2002, words between spaces; of references equally close in length the shorter."""
    matched, found, length, target = [0] * order, [0] * order, 0, 0
    for hypothesis, texts in zip(hypotheses, references, strict=True):
        words, right = hypothesis.split(), [text.split() for text in texts]
        length += len(words)
        target += min((len(r) for r in right), key=lambda n: (abs(n - len(words)), n))
        for n in range(1, order + 1):
            grams = [Counter(tuple(w[i : i + n]) for i in range(len(w) - n + 1)) for w in (words, *right)]
            most = {gram: max(counts[gram] for counts in grams[1:]) for gram in grams[0]}
            matched[n - 1] += sum(min(count, most[gram]) for gram, count in grams[0].items())
            found[n - 1] += sum(grams[0].values())
    precision = math.exp(sum(math.log(m / f) for m, f in zip(matched, found, strict=True)) / order)
    return 100 * precision * min(1.0, math.exp(1 - target / length))


HYPOTHESES = ["a man rides a red bike down the street .", "two dogs run over the green grass"]
REFERENCES = [
    ["a man rides a bike down the street .", "a man on a red bike rides down the long street ."],
    ["two dogs are running over the green grass"],
]


def test_bleu() -> None:
    expected = slow_bleu(HYPOTHESES, REFERENCES)
    assert 20 < expected < 90
    assert metric("bleu_tokenized")(HYPOTHESES, REFERENCES) == pytest.approx(expected, abs=1e-6)
    assert metric("bleu")(HYPOTHESES, REFERENCES) == pytest.approx(
        expected, abs=1e-6
    )  # 13a changes nothing here
    tied = ["Well, I never said that."], [["Well , I never said that ."]]
    assert metric("bleu")(*tied) == pytest.approx(100)
    assert metric("bleu_tokenized")(*tied) < 50


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_captions_are_compared_in_lower_case_without_punctuation(order: int) -> None:
    caption = metric(f"caption_bleu{order}")
    plain = [text.replace(" .", "") for text in HYPOTHESES]
    right = [[text.replace(" .", "") for text in texts] for texts in REFERENCES]
    expected = slow_bleu(plain, right, order)
    assert caption(HYPOTHESES, REFERENCES) == pytest.approx(expected, abs=1e-6)
    written = ["A man rides a Red bike, down the street!", ' "Two" dogs run over the green  grass.']
    assert caption(written, REFERENCES) == pytest.approx(expected, abs=1e-6)
    assert caption(["a t-shirt"] * 2, [["A tshirt"], ["a t-shirt ."]]) == pytest.approx(
        100 if order <= 2 else 0
    )


def test_bleu_of_captions_is_not_smoothed() -> None:
    assert metric("caption_bleu3")(["a b c", "d e f"], [["a b x"], ["d e y"]]) == 0


def test_chrf() -> None:
    assert metric("chrf")(["abc"], [["abc"]]) == pytest.approx(100)
    # Precisions 2/2, 1/1 and recalls 2/3, 1/2 of one and two characters; beta is 2.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    assert metric("chrf")(["ab"], [["abc"]]) == pytest.approx(expected)


def test_rouge() -> None:
    found, right = ["the cat", "dogs"], [["the cat sat"], ["nothing", "a dog"]]  # stemmed: dogs is dog
    assert metric("rouge1")(found, right) == pytest.approx((0.8 + 2 / 3) / 2)
    assert metric("rouge2")(found, right) == pytest.approx((2 / 3 + 0) / 2)
    assert metric("rougeL")(["cat the"], [["the cat sat"]]) == pytest.approx(0.4)


def test_speech() -> None:
    assert metric("wer")(["a b", "c d e"], [["a x b"], ["c d"]]) == pytest.approx(2 / 5)
    assert metric("cer")(["abc"], [["abd"]]) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="one reference for each text"):
        metric("wer")(["a"], [["a", "b"]])


@pytest.mark.parametrize("name", NAMES)
def test_directions_and_nothing(name: str) -> None:
    m = metric(name)
    assert math.isnan(m([], []))
    right, wrong = (
        m(["the red bike is here"], [["the red bike is here"]]),
        m(["no"], [["the red bike is here"]]),
    )
    assert right > wrong if m.higher_is_better else right < wrong


def test_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"bleu needs an extra, for sacrebleu: pip install .*\[metrics\]"):
        metrics.get_metric("bleu")
    metrics.get_metric("exact_match")


def test_texts_are_put_together_again() -> None:
    """A metric of texts sees what a user would; one of tokens sees the tokeniser's."""
    tokenizer = CharTokenizer()
    field = TextField(tokenizer, Vocabulary.build({"a": 1, "b": 1}))
    seen = []

    def note(hypotheses: object, references: object) -> float:
        seen.append((hypotheses, references))
        return 0.0

    for of_text in (True, False):
        compare(metrics.Metric("m", True, note, of_text), [["a", "b"]], [["ba", "ab"]], field)
    assert seen == [(["ab"], [["ba", "ab"]]), ([["a", "b"]], [[["b", "a"], ["a", "b"]]])]
