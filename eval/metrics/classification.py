"""Labels: accuracy, and precision, recall and F1 averaged over the labels, all through scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Measure, measure

AVERAGED = ("precision", "recall", "f1")


def classification(predicted: Sequence[str], expected: Sequence[str], labels: Sequence[str]) -> dict[str, Measure]:
    """accuracy, and macro precision, recall and f1 over `labels`.

    A prediction outside `labels` is wrong; it lowers recall, and precision only where it is one of them.

    Raises:
        EvaluationError: the lengths differ, or there is nothing.
    """
    if len(predicted) != len(expected):
        raise EvaluationError(f"{len(predicted)} predictions for {len(expected)} examples; allowed: one for each")
    given, wanted = np.asarray(predicted, dtype=object), np.asarray(expected, dtype=object)

    def macro(part: int, chosen: NDArray[np.intp]) -> float:
        scores = precision_recall_fscore_support(
            wanted[chosen], given[chosen], labels=list(labels), average="macro", zero_division=0
        )
        return float(scores[part])

    measures = {"accuracy": measure(lambda chosen: float(accuracy_score(wanted[chosen], given[chosen])), len(given))}
    for part, name in enumerate(AVERAGED):
        measures[name] = measure(lambda chosen, part=part: macro(part, chosen), len(given), resamples=300)  # type: ignore[misc]
    return measures
