"""Two runs on the same examples: is one better, or was it luck?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Statistics


@dataclass(frozen=True)
class Difference:
    """The second figure less the first, its 95 % interval, and how likely so large a difference is by chance."""

    value: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    first: Statistics, second: Statistics, count: int, resamples: int = 1000, seed: int = 0
) -> list[Difference]:
    """Differences of each figure when both runs are drawn again, with the same examples for both (Koehn, 2004).

    The interval is the 2.5th to 97.5th percentile of the drawn differences d*. p is two-sided and read off the same
    draws (Efron and Tibshirani, 1993, section 16.4, turned round): 2 · min(#(d* ≤ 0), #(d* ≥ 0)), each count and
    the number of draws raised by one so that p is never 0, and at most 1.

    Raises:
        EvaluationError: there are no examples.
    """
    if count == 0:
        raise EvaluationError("no examples to compare")
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = draw.integers(0, count, size=count)
        drawn.append(np.asarray(second(chosen)) - np.asarray(first(chosen)))
    differences = np.asarray(drawn)
    low, high = np.percentile(differences, [2.5, 97.5], axis=0)
    tails = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    p = np.minimum(1.0, 2 * (tails + 1) / (resamples + 1))
    everything = np.arange(count)
    values = np.asarray(second(everything)) - np.asarray(first(everything))
    return [Difference(*map(float, row)) for row in zip(values, low, high, p, strict=True)]


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """p of McNemar's test (1947) in its exact form, for answers that are right (1) or wrong (0).

    Of the b + c examples that one run alone got right, b are the first run's; were both equally good, b would be
    binomial with probability 1/2. p = min(1, 2 · P(X ≤ min(b, c))); 1 where no example tells the runs apart.

    Raises:
        EvaluationError: the lengths differ, or a value is neither 0 nor 1.
    """
    if len(first) != len(second):
        raise EvaluationError(f"{len(first)} and {len(second)} answers; allowed: as many of both")
    if not set(first) | set(second) <= {0, 1}:
        raise EvaluationError("McNemar's test takes right (1) and wrong (0) only")
    pairs = list(zip(first, second, strict=True))
    only_first = sum(one > other for one, other in pairs)
    only_second = sum(one < other for one, other in pairs)
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)
