"""Answers → figures: words of a text, one of some labels, or free text.

A scorer first judges every answer by itself; its figures are then computed from these judgements alone, so that two
runs can be compared from their files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from assistant.errors import EvaluationError
from assistant.measures.em_f1 import exact_match, normalise, raw_match, token_f1
from assistant.measures.rouge import METRICS as ROUGE
from assistant.measures.rouge import rouge
from assistant.messages import Part, TokenScore
from assistant.training.tasks.task import Record, texts_missing
from eval.metrics.bootstrap import Statistics, means
from eval.metrics.calibration import calibration
from eval.metrics.classification import METRICS as LABEL_METRICS
from eval.metrics.classification import classification
from eval.metrics.translation import METRICS as CORPUS_METRICS
from eval.metrics.translation import translation

OTHER = "other"
"""The prediction of an answer that names no label."""

QUOTED = re.compile(r'["“”]([^"“”]+)["“”]')

Judged = Mapping[str, Any]
"""What is known of one answer. A value of its own stands under the name of the figure that is the mean of them."""

Figures = list[tuple[tuple[str, ...], Statistics]]
"""Names, and what computes the figures of these names on chosen answers."""


class Scorer(Protocol):
    @property
    def needs_scores(self) -> bool:
        """Whether the answers must come with the scores of their tokens."""
        ...

    def judge(self, record: Record, part: Part) -> dict[str, Any]: ...

    def figures(self, answers: Sequence[Judged]) -> Figures: ...


def accepted_missing(record: Record, name: str) -> str | None:
    """What is wrong with a field that should list the accepted answers.

    A text alone would be taken letter by letter, and by an answer of which normalisation leaves nothing an empty one
    would be right.
    """
    if (fault := texts_missing(record, name)) is not None:
        return fault
    for text in record[name]:
        if not normalise(text):
            return f"{name} has {text!r}; allowed: texts with more in them than articles and punctuation"
    return None


@dataclass(frozen=True)
class Span:
    """A few words: `em` and `f1` after SQuAD's normalisation, `raw_accuracy` without it, best of the accepted ones."""

    accepted: Callable[[Record], Sequence[str]]
    needs_scores = False

    def judge(self, record: Record, part: Part) -> dict[str, Any]:
        accepted = self.accepted(record)
        return {
            "expected": list(accepted),
            "em": exact_match(part.text, accepted),
            "f1": token_f1(part.text, accepted),
            "raw_accuracy": raw_match(part.text, accepted),
        }

    def figures(self, answers: Sequence[Judged]) -> Figures:
        return [averages(answers, "em", "f1", "raw_accuracy")]


@dataclass(frozen=True)
class Said:
    """Whole sentences: `accuracy`, how often an accepted answer stands in what was said."""

    accepted: Callable[[Record], Sequence[str]]
    needs_scores = False

    def judge(self, record: Record, part: Part) -> dict[str, Any]:
        accepted = self.accepted(record)
        return {"expected": list(accepted), "accuracy": holds_accepted(part.text, accepted)}

    def figures(self, answers: Sequence[Judged]) -> Figures:
        return [averages(answers, "accuracy")]


def holds_accepted(answer: str, accepted: Sequence[str]) -> float:
    """1.0 where an accepted answer stands in the answer as whole words, both normalised as SQuAD does, else 0.0."""
    words = f" {normalise(answer)} "
    return float(any(f" {normalise(text)} " in words for text in accepted))


@dataclass(frozen=True)
class Label:
    """One of some labels: accuracy, macro precision, recall and F1, `exact`, and `ece`, the calibration error.

    The first label that an answer names counts, so that the base is not punished for talking; `exact` is how often
    the answer is the bare label, or with `explains` begins with it. `also` are other words for the labels.

    With `explains` there is `reason`, too: how often the answer is a label, whether or not the right one, followed by
    exactly one sentence, and what that quotes stands in the `source` of the record.
    """

    labels: tuple[str, ...]
    also: Mapping[str, str] = field(default_factory=dict)
    explains: bool = False
    source: Callable[[Record], str] = lambda record: record["text"]
    needs_scores = True

    def judge(self, record: Record, part: Part) -> dict[str, Any]:
        expected, (predicted, start, end) = record["label"], self.named(part.text)
        answer = part.text.strip()
        return {
            "expected": expected,
            "predicted": predicted,
            "confidence": confidence(part.scores, start, end),
            "accuracy": float(predicted == expected),
            "exact": float(answer == expected or (self.explains and answer.startswith(expected))),
            **({"reason": float(self._has_reason(answer, self.source(record)))} if self.explains else {}),
        }

    def figures(self, answers: Sequence[Judged]) -> Figures:
        predicted, expected = [a["predicted"] for a in answers], [a["expected"] for a in answers]
        error = calibration(
            [a["confidence"] for a in answers], [float(a["predicted"] == a["expected"]) for a in answers]
        )
        # Results that were written before there was a figure for reasons do not tell of them.
        explained = self.explains and all("reason" in answer for answer in answers)
        return [
            (LABEL_METRICS, classification(predicted, expected, self.labels)),
            averages(answers, "exact", *(["reason"] if explained else [])),
            (("ece",), error),
        ]

    def named(self, answer: str) -> tuple[str, int, int]:
        """The first label the answer names as a word of its own, and where it stands; OTHER where it names none."""
        words = "|".join(map(re.escape, (*self.labels, *self.also)))
        if (found := re.search(rf"\b({words})\b", answer, re.IGNORECASE)) is None:
            return OTHER, 0, 0
        word = found.group().lower()
        return self.also.get(word, word), found.start(), found.end()

    def _has_reason(self, answer: str, source: str) -> bool:
        labels = "|".join(map(re.escape, self.labels))
        if (found := re.fullmatch(rf"(?:{labels})[.:]\s+(.+)", answer)) is None:
            return False
        # Marks within a quotation end no sentence; a quotation mark that is left has no other one.
        said = QUOTED.sub("_", found[1])
        is_sentence = re.fullmatch(r'\S+\s[^"“”]*[.!?]', said) and not re.search(r"[.!?]\s", said)
        return bool(is_sentence) and all(_stands_in(source, quoted) for quoted in QUOTED.findall(found[1]))


@dataclass(frozen=True)
class Text:
    """Free text: `rouge_1`, `rouge_2` and `rouge_l` for English, and `bleu` and `chrf` of all answers together."""

    references: Callable[[Record], Sequence[str]]
    is_english: bool = True
    needs_scores = False

    def judge(self, record: Record, part: Part) -> dict[str, Any]:
        references = list(self.references(record))
        return {"expected": references, **(rouge(part.text, references) if self.is_english else {})}

    def figures(self, answers: Sequence[Judged]) -> Figures:
        corpus = translation([a["answer"].strip() for a in answers], [a["expected"] for a in answers])
        return [*([averages(answers, *ROUGE)] if self.is_english else []), (CORPUS_METRICS, corpus)]


def _stands_in(text: str, words: str) -> bool:
    """Whether the words do, whole, in letters of either case."""
    return re.search(rf"(?<![a-z]){re.escape(words)}(?![a-z])", text, re.IGNORECASE) is not None


def averages(answers: Sequence[Judged], *names: str) -> tuple[tuple[str, ...], Statistics]:
    return names, means(*([answer[name] for answer in answers] for name in names))


def confidence(scores: Sequence[TokenScore], start: int, end: int) -> float:
    """The probability of the tokens that hold the characters from `start` to `end`, each given what is before it.

    Without characters it is that of the first token: the answer named no label.

    Raises:
        EvaluationError: the answer came without scores.
    """
    if not scores:
        raise EvaluationError("an answer came without the scores of its tokens, which its confidence is read from")
    total, place = 0.0, 0
    for number, token in enumerate(scores):
        before, place = place, place + len(token.token)
        holds = before < end and place > start if end > start else number == 0
        total += (token.logprob or 0.0) if holds else 0.0
    return min(1.0, math.exp(total))  # rounding may leave a hair above
