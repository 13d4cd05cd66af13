"""Percentile bootstrap: how far a figure moves when the examples are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.errors import EvaluationError

Chosen = NDArray[np.intp]
"""Positions of examples, of shape (count,); one may be there more than once."""

Statistics = Callable[[Chosen], Sequence[float]]
"""One or more figures on the chosen examples."""

Groups = Sequence[NDArray[np.intp]]
"""Positions of examples that go together."""


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


def groups_of(keys: Iterable[Hashable]) -> Groups:
    """Examples with equal keys together, in the order in which the keys first come."""
    places: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        places.setdefault(key, []).append(number)
    return [np.array(members, dtype=np.intp) for members in places.values()]


def over_groups(statistics: Statistics, groups: Groups) -> Statistics:
    """The same figures when whole groups of examples are drawn."""

    def of_groups(chosen: Chosen) -> Sequence[float]:
        return statistics(np.concatenate([groups[group] for group in chosen]))

    return of_groups


def means(*columns: Sequence[float]) -> Statistics:
    """The mean of each column; a column holds one value for each example."""
    table = np.asarray(columns, dtype=float)
    return lambda chosen: table[:, chosen].mean(axis=1).tolist()
