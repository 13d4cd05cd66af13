"""Who is preferred: strengths with intervals, with and without what length and place do, and what they rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from assistant.feedback.agreement import Alpha, alphas
from assistant.feedback.ballots import Case, Ranking
from assistant.feedback.battles import Battle, By, battles
from assistant.feedback.bradley_terry import Floats, counted, fit, pairwise, resampled

MEAN, POINTS = 1000.0, 400 / np.log(10)
"""Strengths are told as Elo points: 400 more are ten to one, and the mean of all contestants is 1000."""

LEVEL = 95
TWICE_AS_LONG = 1 / 3
"""The length term of an answer twice as long as the other: (2 − 1) / (2 + 1)."""

FEWEST = 10
"""Rankings from which on there is an interval. Samples of fewer are too like each other: of three votes on two, three
times in four for the better one, the intervals hold the true strength in half of the cases."""

NO_WIDTH = 0.01
"""Points. An interval no wider is that of samples which do not vary, but for the last digits of the fit."""

MOST_CELLS = 500_000
"""How many (sample, battle) cells are fitted at once, so that memory stays bounded."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval (percentiles); None and None where there are too few votes for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Standing:
    """One contestant, in Elo points. `adjusted` is without what length and place did for it.

    Only contestants of one `group` have met, directly or through others; points of different groups do not compare.
    """

    name: str
    rating: Interval
    adjusted: Interval
    wins: int
    ties: int
    losses: int
    group: int


@dataclass(frozen=True)
class Leaderboard:
    """`standings` are best first; rows and columns of the matrices are in their order.

    `wins[i][j]` is how often i beat j, a tie counting half, and `met[i][j]` how often they met. `left_seat` and
    `twice_as_long` are the points that the place further left and twice the length are worth. `left_out` counts
    battles by reason, `votes_per_day` all votes, ratings included.
    """

    standings: tuple[Standing, ...]
    wins: tuple[tuple[float, ...], ...]
    met: tuple[tuple[int, ...], ...]
    left_seat: Interval | None
    twice_as_long: Interval | None
    rankings: int
    battles: int
    left_out: dict[str, int]
    votes_per_day: dict[date, int]
    agreement: dict[str, Alpha]


def leaderboard(cases: Sequence[Case], by: By = "contestant", samples: int = 1000, seed: int = 0) -> Leaderboard:
    """The leaderboard of these votes. Whole rankings are drawn for the intervals, `samples` times.

    Raises:
        InvalidRequest: `by` is none that there is.
    """
    found = battles(cases, by)
    days = Counter(case.vote.created_at.date() for case in cases)
    standings, wins, met, effects = _fought(found.battles, samples, seed)
    return Leaderboard(
        standings=standings,
        wins=wins,
        met=met,
        left_seat=effects[0] if effects else None,
        twice_as_long=effects[1] if effects else None,
        rankings=sum(isinstance(case.vote.ballot, Ranking) for case in cases),
        battles=len(found.battles),
        left_out=dict(found.left_out.most_common()),
        votes_per_day=dict(sorted(days.items())),
        agreement=alphas(cases),
    )


def strengths(fought: Sequence[Battle], names: Sequence[str], samples: int, seed: int) -> Floats:
    """Strengths of `names` in points, (1 + samples, names): of the battles themselves, then of each sample."""
    a, b, outcomes, groups = _arrays(fought, names)
    design, rows = pairwise(a, b, len(names))
    drawn = resampled(int(groups.max()) + 1, samples, seed)
    return MEAN + POINTS * fit(design, counted(rows, outcomes, groups, drawn))[:, : len(names)]


def adjusted_strengths(
    fought: Sequence[Battle], names: Sequence[str], samples: int, seed: int
) -> tuple[Floats, Floats]:
    """As `strengths`, beside what place and length are worth: (1 + samples, names), (1 + samples, 2).

    The length term is (length_a − length_b) / (length_a + length_b), that of the Arena's style control. As a is always
    the one further left, the place is a constant.
    """
    a, b, outcomes, groups = _arrays(fought, names)
    lengths = np.array([(battle.length_a, battle.length_b) for battle in fought], dtype=np.float64)
    longer = (lengths[:, 0] - lengths[:, 1]) / np.maximum(lengths.sum(axis=1), 1)
    plain, rows = pairwise(a, b, len(names))
    design = np.column_stack([plain[rows], np.ones(len(fought)), longer])
    ended = np.eye(3)[outcomes]
    drawn = resampled(int(groups.max()) + 1, samples, seed)
    first = fit(design, ended[None])
    chunks = np.array_split(drawn[1:], max(1, samples * len(fought) // MOST_CELLS))
    others = [fit(design, chunk[:, groups, None] * ended, first[0]) for chunk in chunks]
    found = np.concatenate([first, *others])
    width = len(names)
    return MEAN + POINTS * found[:, :width], POINTS * found[:, width : width + 2] * (1, TWICE_AS_LONG)


def interval(values: Floats, is_enough: bool = True) -> Interval:
    """The first value, with the percentiles of all others, of which there must be some, around it.

    There is no interval where the votes are not enough for one, or the samples do not vary.
    """
    low, high = np.percentile(values[1:], [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    if not is_enough or high - low < NO_WIDTH:
        return Interval(float(values[0]), None, None)
    return Interval(float(values[0]), float(low), float(high))


def _fought(
    fought: Sequence[Battle], samples: int, seed: int
) -> tuple[
    tuple[Standing, ...], tuple[tuple[float, ...], ...], tuple[tuple[int, ...], ...], tuple[Interval, Interval] | None
]:
    if not fought:
        return (), (), (), None
    names = sorted({name for battle in fought for name in (battle.a, battle.b)})
    points = strengths(fought, names, samples, seed)
    adjusted, effects = adjusted_strengths(fought, names, samples, seed)
    order = np.argsort(-points[0], kind="stable")
    won, met = _matrices(fought, names)
    tied = _matrices([battle for battle in fought if battle.outcome == 0.5], names)[1].sum(axis=1)
    groups = connected_components(met, directed=False)[1]
    took_part = {(battle.ranking, name) for battle in fought for name in (battle.a, battle.b)}
    rankings = Counter(name for _, name in took_part)
    enough = _bounded(won) & np.array([rankings[name] >= FEWEST for name in names])
    is_enough = len({ranking for ranking, _ in took_part}) >= FEWEST
    standings = tuple(
        Standing(
            name=names[index],
            rating=interval(points[:, index], enough[index]),
            adjusted=interval(adjusted[:, index], enough[index]),
            wins=int(won[index].sum() - tied[index] / 2),
            ties=int(tied[index]),
            losses=int(met[index].sum() - won[index].sum() - tied[index] / 2),
            group=int(groups[index]),
        )
        for index in order
    )
    return (
        standings,
        tuple(tuple(row) for row in won[np.ix_(order, order)].tolist()),
        tuple(tuple(row) for row in met[np.ix_(order, order)].astype(int).tolist()),
        (interval(effects[:, 0], is_enough), interval(effects[:, 1], is_enough)),
    )


def _bounded(won: Floats) -> NDArray[np.bool_]:
    """Whose strength the votes bound on both sides: a chain of wins and ties leads from them to another and back.

    That of whoever only won or only lost, or stands between such, is held by the prior alone, in every sample.
    """
    parts = connected_components(won, directed=True, connection="strong")[1]
    return np.bincount(parts)[parts] > 1


def _matrices(fought: Sequence[Battle], names: Sequence[str]) -> tuple[Floats, Floats]:
    place = {name: index for index, name in enumerate(names)}
    won, met = np.zeros((2, len(names), len(names)))
    for battle in fought:
        a, b = place[battle.a], place[battle.b]
        won[a, b] += battle.outcome
        won[b, a] += 1 - battle.outcome
        met[a, b] += 1
        met[b, a] += 1
    return won, met


def _arrays(
    fought: Sequence[Battle], names: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """a, b, outcome (0 for a win of a, 1 for a tie, 2 for a win of b) and ranking of each battle, (battles,) each."""
    place = {name: index for index, name in enumerate(names)}
    a = np.array([place[battle.a] for battle in fought], dtype=np.intp)
    b = np.array([place[battle.b] for battle in fought], dtype=np.intp)
    outcomes = np.array([2 - int(2 * battle.outcome) for battle in fought], dtype=np.intp)
    groups = np.unique([battle.ranking for battle in fought], return_inverse=True)[1].reshape(-1)
    return a, b, outcomes, groups
