"""Percentile bootstrap: how far a figure moves when the examples are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.errors import EvaluationError

Chosen = NDArray[np.intp]
"""Positions of examples, of shape (count,); one may be there more than once."""

Statistics = Callable[[Chosen], Sequence[float]]
"""One or more figures on the chosen examples."""


@dataclass(frozen=True)
class Measure:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def measure(statistics: Statistics, count: int, resamples: int = 1000, seed: int = 0) -> list[Measure]:
    """Statistics over `count` examples, each with the 2.5th and 97.5th percentile of its resampled values.

    Raises:
        EvaluationError: there are no examples.
    """
    if count == 0:
        raise EvaluationError("no examples to measure; an empty run has no score")
    draw = np.random.default_rng(seed)
    resampled = [statistics(draw.integers(0, count, size=count)) for _ in range(resamples)]
    bounds = np.percentile(np.asarray(resampled), [2.5, 97.5], axis=0)
    values = statistics(np.arange(count))
    return [Measure(float(value), float(low), float(high)) for value, low, high in zip(values, *bounds, strict=True)]


def measure_mean(values: Sequence[float]) -> Measure:
    """The mean of per-example values."""
    return measure(means(values), len(values))[0]


def means(*columns: Sequence[float]) -> Statistics:
    """The mean of each column; a column holds one value for each example."""
    table = np.asarray(columns, dtype=float)
    return lambda chosen: table[:, chosen].mean(axis=1).tolist()
