"""Answers to questions: exact match and token F1 as SQuAD defines them (Rajpurkar et al., 2016)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from assistant.errors import EvaluationError

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1.0 where the normalised answer is one of the normalised accepted ones, else 0.0."""
    return float(normalise(answer) in {normalise(text) for text in _some(accepted)})


def raw_match(answer: str, accepted: Sequence[str]) -> float:
    """1.0 where the answer is one of the accepted ones letter by letter, else 0.0."""
    return float(answer.strip() in {text.strip() for text in _some(accepted)})


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """The best F1 over the accepted answers; tokens are words after normalisation."""
    return max(_f1(normalise(answer).split(), normalise(text).split()) for text in _some(accepted))


def _f1(answer: list[str], accepted: list[str]) -> float:
    if not answer or not accepted:
        return float(answer == accepted)
    common = sum((Counter(answer) & Counter(accepted)).values())
    return 2 * common / (len(answer) + len(accepted))


def _some(accepted: Sequence[str]) -> Sequence[str]:
    if not accepted:
        raise EvaluationError("a question without accepted answers cannot be scored")
    return accepted
