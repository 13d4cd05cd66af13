"""Calibration: is an answer given with 80 % confidence right in 80 of 100 cases?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Chosen, Statistics

BINS = 10


def calibration(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> Statistics:
    """The expected calibration error, ECE = Σ_b n_b / n · |accuracy_b − confidence_b| over bins of equal width (Guo et al., 2017, eq. 3);
    0 is best.

    Args:
        confidences: the probability given to each answer, in [0, 1].
        right: 1.0 where it was right, else 0.0.

    Raises:
        EvaluationError: the lengths differ, or a confidence is no probability.
    """
    if len(confidences) != len(right):
        raise EvaluationError(f"{len(confidences)} confidences for {len(right)} answers; allowed: one for each")
    given, gap = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float) - np.asarray(confidences)
    if given.size and not (given.min() >= 0 and given.max() <= 1):
        raise EvaluationError(f"confidences from {given.min()} to {given.max()}; allowed: 0 to 1")
    # Bins are (0, 0.1], (0.1, 0.2] …, as in the paper; a confidence of 0 joins the first.
    bin_of = np.clip(np.ceil(given * bins).astype(int) - 1, 0, bins - 1)

    def error(chosen: Chosen) -> list[float]:
        # n_b · (accuracy_b − confidence_b) is the sum of the gaps in the bin.
        sums = np.bincount(bin_of[chosen], weights=gap[chosen], minlength=bins)
        return [float(np.abs(sums).sum() / len(chosen))]

    return error
