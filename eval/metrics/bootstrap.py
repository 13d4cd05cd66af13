"""Percentile bootstrap: how far a figure moves when the examples are drawn again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.errors import EvaluationError


@dataclass(frozen=True)
class Measure:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def measure(
    statistic: Callable[[NDArray[np.intp]], float], count: int, resamples: int = 1000, seed: int = 0
) -> Measure:
    """A statistic over `count` examples with the 2.5th and 97.5th percentile of its resampled values.

    Args:
        statistic: indices of shape (count,) → the figure on those examples.

    Raises:
        EvaluationError: there are no examples.
    """
    if count == 0:
        raise EvaluationError("no examples to measure; an empty run has no score")
    draw = np.random.default_rng(seed)
    values = [statistic(draw.integers(0, count, size=count)) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return Measure(float(statistic(np.arange(count))), float(low), float(high))


def measure_mean(values: list[float]) -> Measure:
    """The mean of per-example values."""
    array = np.asarray(values, dtype=float)
    return measure(lambda chosen: float(array[chosen].mean()), len(values))
