"""Labels: accuracy, precision, recall and F1 averaged over the labels, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Chosen, Statistics

METRICS = ("accuracy", "precision", "recall", "f1")

Confusion = Mapping[str, Mapping[str, int]]
"""Expected → predicted → how often."""


def classification(predicted: Sequence[str], expected: Sequence[str], labels: Sequence[str]) -> Statistics:
    """The figures named in `METRICS`; all but accuracy are averaged over those of `labels` that are expected or given.

    A label that is neither has no score, rather than 0: a file without it, or a draw of a bootstrap, says nothing of it.
    A prediction outside `labels` is wrong; it lowers recall, and precision only where it is one of them. The same
    figures as scikit-learn's with the labels that occur, which takes milliseconds a call where a bootstrap makes a
    thousand.

    Raises:
        EvaluationError: the lengths differ, or an expected label is unknown.
    """
    if len(predicted) != len(expected):
        raise EvaluationError(f"{len(predicted)} predictions for {len(expected)} examples; allowed: one for each")
    if unknown := set(expected) - set(labels):
        raise EvaluationError(f"label {min(unknown)!r}; allowed: {', '.join(labels)}")
    number = {label: position for position, label in enumerate(labels)}
    size = len(labels) + 1
    cell = np.asarray(
        [number[right] * size + number.get(guess, size - 1) for right, guess in zip(expected, predicted, strict=True)]
    )

    def scores(chosen: Chosen) -> list[float]:
        table = np.bincount(cell[chosen], minlength=size * size).reshape(size, size)
        hits, given, there = table.diagonal()[:-1], table.sum(axis=0)[:-1], table.sum(axis=1)[:-1]
        occurs = given + there > 0
        hits, given, there = hits[occurs], given[occurs], there[occurs]
        precision, recall = hits / np.maximum(given, 1), hits / np.maximum(there, 1)
        # 2PR / (P + R), with hits cancelled
        f1 = 2 * hits / (given + there)
        return [float(value) for value in (hits.sum() / len(chosen), precision.mean(), recall.mean(), f1.mean())]

    return scores


def confusion(predicted: Sequence[str], expected: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts; pairs that never occur are absent."""
    table: dict[str, dict[str, int]] = {}
    for guess, right in zip(predicted, expected, strict=True):
        row = table.setdefault(right, {})
        row[guess] = row.get(guess, 0) + 1
    return table


def print_confusion(table: Confusion) -> None:
    """Rows are what was right, columns what was chosen."""
    columns = sorted({*table, *(column for row in table.values() for column in row)})
    width = max(len(name) for name in columns) + 2
    print("expected \\ chosen".ljust(width + 4) + "".join(name[:12].rjust(14) for name in columns))
    for expected in sorted(table):
        counts = (table[expected].get(column, 0) for column in columns)
        print(expected.ljust(width + 4) + "".join(str(count or ".").rjust(14) for count in counts))
