"""Metrics of whole texts, by the libraries their fields report them with (the extra `metrics`).

`hypotheses` are N texts, `references` one or more texts for each. They are compared as they are, with
their case, as the tokeniser put the tokens together. ROUGE is for English: rouge-score keeps a to z and
digits. A set of no examples is nan.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from seq2seq_fast.metrics import register_metric

Texts = Sequence[str]
References = Sequence[Texts]


def _in_columns(references: References) -> list[list[str | None]]:
    """The first reference of every text, the second of every text, ...: None where there are fewer."""
    most = max(map(len, references))
    return [[texts[i] if i < len(texts) else None for texts in references] for i in range(most)]


def _sacrebleu(score: Any, hypotheses: Texts, references: References) -> float:
    if not hypotheses:
        return math.nan
    return float(score.corpus_score(list(hypotheses), _in_columns(references)).score)


@register_metric("bleu", higher_is_better=True, of_text=True, library="sacrebleu")
def bleu(hypotheses: Texts, references: References) -> float:
    """BLEU of the set, 0 to 100: sacrebleu with its defaults (cased, tokenised by 13a)."""
    return _sacrebleu(import_module("sacrebleu").BLEU(), hypotheses, references)


@register_metric("bleu_tokenized", higher_is_better=True, of_text=True, library="sacrebleu")
def bleu_tokenized(hypotheses: Texts, references: References) -> float:
    """BLEU, 0 to 100, of tokenised texts, words between spaces: sacrebleu --tokenize none."""
    return _sacrebleu(import_module("sacrebleu").BLEU(tokenize="none", force=True), hypotheses, references)


def caption_text(text: str) -> str:
    """Put a caption as captions are compared: lower case, without ASCII punctuation, one space between
    words (the preparation of Karpathy & Fei-Fei 2015, neuraltalk2)."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _caption_bleu(order: int, hypotheses: Texts, references: References) -> float:
    score = import_module("sacrebleu").BLEU(
        tokenize="none", max_ngram_order=order, smooth_method="none", force=True
    )
    found = [caption_text(text) for text in hypotheses]
    return _sacrebleu(score, found, [[caption_text(text) for text in texts] for texts in references])


@register_metric("caption_bleu1", higher_is_better=True, of_text=True, library="sacrebleu")
def caption_bleu1(hypotheses: Texts, references: References) -> float:
    """BLEU-1 of captions, 0 to 100: sacrebleu over the set, not smoothed, of lower-case words without
    punctuation."""
    return _caption_bleu(1, hypotheses, references)


@register_metric("caption_bleu2", higher_is_better=True, of_text=True, library="sacrebleu")
def caption_bleu2(hypotheses: Texts, references: References) -> float:
    """BLEU-2 of captions; see `caption_bleu1`."""
    return _caption_bleu(2, hypotheses, references)


@register_metric("caption_bleu3", higher_is_better=True, of_text=True, library="sacrebleu")
def caption_bleu3(hypotheses: Texts, references: References) -> float:
    """BLEU-3 of captions; see `caption_bleu1`."""
    return _caption_bleu(3, hypotheses, references)


@register_metric("caption_bleu4", higher_is_better=True, of_text=True, library="sacrebleu")
def caption_bleu4(hypotheses: Texts, references: References) -> float:
    """BLEU-4 of captions; see `caption_bleu1`."""
    return _caption_bleu(4, hypotheses, references)


@register_metric("chrf", higher_is_better=True, of_text=True, library="sacrebleu")
def chrf(hypotheses: Texts, references: References) -> float:
    """chrF2 of the set, 0 to 100: sacrebleu with its defaults (Popovic 2015)."""
    return _sacrebleu(import_module("sacrebleu").CHRF(), hypotheses, references)


def _rouge(kind: str, hypotheses: Texts, references: References) -> float:
    if not hypotheses:
        return math.nan
    scorer = import_module("rouge_score.rouge_scorer").RougeScorer([kind], use_stemmer=True)
    pairs = zip(hypotheses, references, strict=True)
    best = [scorer.score_multi(list(right), text)[kind].fmeasure for text, right in pairs]
    return float(sum(best) / len(best))


@register_metric("rouge1", higher_is_better=True, of_text=True, library="rouge_score")
def rouge1(hypotheses: Texts, references: References) -> float:
    """ROUGE-1: mean F1, 0 to 1, of words, stemmed (Lin 2004); of several references the best."""
    return _rouge("rouge1", hypotheses, references)


@register_metric("rouge2", higher_is_better=True, of_text=True, library="rouge_score")
def rouge2(hypotheses: Texts, references: References) -> float:
    """ROUGE-2: mean F1, 0 to 1, of pairs of words, stemmed; of several references the best."""
    return _rouge("rouge2", hypotheses, references)


@register_metric("rougeL", higher_is_better=True, of_text=True, library="rouge_score")
def rouge_l(hypotheses: Texts, references: References) -> float:
    """ROUGE-L: mean F1, 0 to 1, of the longest common subsequence of words, stemmed; of several references
    the best."""
    return _rouge("rougeL", hypotheses, references)


def _only(references: References) -> list[str]:
    if any(len(texts) != 1 for texts in references):
        raise ValueError("[metrics] Expected one reference for each text: wer and cer take no more.")
    return [texts[0] for texts in references]


@register_metric("wer", higher_is_better=False, of_text=True, library="jiwer", one_reference=True)
def wer(hypotheses: Texts, references: References) -> float:
    """Word error rate of speech recognition: edits / words of the references, over the set (jiwer)."""
    if not hypotheses:
        return math.nan
    return float(import_module("jiwer").wer(_only(references), list(hypotheses)))


@register_metric("cer", higher_is_better=False, of_text=True, library="jiwer", one_reference=True)
def cer(hypotheses: Texts, references: References) -> float:
    """Character error rate: edits / characters of the references, over the set (jiwer)."""
    if not hypotheses:
        return math.nan
    return float(import_module("jiwer").cer(_only(references), list(hypotheses)))
