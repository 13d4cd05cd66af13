"""Labels: accuracy, and precision, recall and F1 averaged over the labels, all through scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Measure, measure

METRICS = ("accuracy", "precision", "recall", "f1")


def classification(predicted: Sequence[str], expected: Sequence[str], labels: Sequence[str]) -> dict[str, Measure]:
    """accuracy, and macro precision, recall and f1 over `labels`.

    A prediction outside `labels` is wrong; it lowers recall, and precision only where it is one of them.

    Raises:
        EvaluationError: the lengths differ, or there is nothing.
    """
    if len(predicted) != len(expected):
        raise EvaluationError(f"{len(predicted)} predictions for {len(expected)} examples; allowed: one for each")
    given, wanted = np.asarray(predicted, dtype=object), np.asarray(expected, dtype=object)

    def scores(chosen: NDArray[np.intp]) -> list[float]:
        right, guess = wanted[chosen], given[chosen]
        macro = precision_recall_fscore_support(right, guess, labels=list(labels), average="macro", zero_division=0)
        return [float(accuracy_score(right, guess)), *(float(score) for score in macro[:3])]

    return dict(zip(METRICS, measure(scores, len(given), resamples=500), strict=True))
