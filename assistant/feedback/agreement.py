"""How far voters agree, where several judged the same answers to the same prompt.

The same means the same words: whether two voters judged one comparison or each their own makes no difference.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import krippendorff
import numpy as np

from assistant.feedback.ballots import SCALES, Case, Ranking
from assistant.messages import Message

Unit = tuple[tuple[Message, ...], tuple[str, ...]]
"""What is judged: a prompt, and one answer to it or two in the order of their text."""


@dataclass(frozen=True)
class Judgement:
    """`value` is 1 where the first of two answers is better, -1 where the second is, 0 for a tie; 1 or 0 for a thumb;
    1 to 5 on a scale."""

    measure: str
    unit: Unit
    voter: str
    value: int


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha: 1 for full agreement, 0 for as much as chance gives, below 0 for systematic disagreement.

    `value` is None where nothing was judged by two voters, or all judgements are the same. `units` counts what was
    judged by at least two.
    """

    value: float | None
    units: int
    voters: int


LEVELS: dict[str, Literal["nominal", "ordinal"]] = {
    "preference": "ordinal",
    "thumb": "nominal",
    **dict.fromkeys(SCALES, "ordinal"),
}
"""What is judged, and how far apart its values are: K. Krippendorff, Content Analysis, 2004, chapter 11."""


def alphas(cases: Iterable[Case]) -> dict[str, Alpha]:
    """The agreement on preferences, thumbs and each scale. A voter's newest judgement of a unit counts."""
    found: dict[str, dict[Unit, dict[str, int]]] = {measure: defaultdict(dict) for measure in LEVELS}
    for one in newest(cases):
        found[one.measure][one.unit][one.voter] = one.value
    return {measure: _alpha(list(units.values()), LEVELS[measure]) for measure, units in found.items()}


def _alpha(units: Sequence[dict[str, int]], level: Literal["nominal", "ordinal"]) -> Alpha:
    shared = [unit for unit in units if len(unit) > 1]
    voters = sorted({voter for unit in shared for voter in unit})
    if len({value for unit in shared for value in unit.values()}) < 2:
        return Alpha(None, len(shared), len(voters))
    table = np.array([[unit.get(voter, math.nan) for unit in shared] for voter in voters])
    return Alpha(float(krippendorff.alpha(table, level_of_measurement=level)), len(shared), len(voters))


def agreeing(cases: Sequence[Case], share: float) -> list[Case]:
    """The votes that at least this share of all who judged the same agree with, the voter included.

    For a ranking it is the mean over its pairs of answers. A vote on what nobody else judged agrees with itself.
    """
    said: dict[tuple[str, Unit], dict[str, int]] = defaultdict(dict)
    for one in newest(cases):
        said[one.measure, one.unit][one.voter] = one.value

    def support(case: Case) -> float:
        shares = []
        for one in judgements(case):
            values = list(said[one.measure, one.unit].values())
            shares.append(values.count(one.value) / len(values))
        return sum(shares) / len(shares) if shares else 1.0

    return [case for case in cases if support(case) >= share]


def newest(cases: Iterable[Case]) -> Iterator[Judgement]:
    """The last judgement of each voter on each unit."""
    seen: set[tuple[str, Unit, str]] = set()
    for case in sorted(cases, key=lambda case: case.vote.created_at, reverse=True):
        for one in judgements(case):
            if (one.measure, one.unit, one.voter) not in seen:
                seen.add((one.measure, one.unit, one.voter))
                yield one


def judgements(case: Case) -> Iterator[Judgement]:
    """What a vote says of each pair of finished answers, or of the one answer."""
    voter, ballot = case.vote.voter, case.vote.ballot
    if not isinstance(ballot, Ranking):
        unit = (case.prompt, (case.answers[0].text,))
        if ballot.thumb is not None:
            yield Judgement("thumb", unit, voter, int(ballot.thumb))
        for scale, value in ballot.scales.items():
            yield Judgement(scale, unit, voter, value)
    elif ballot.verdict == "ranked":
        answers = [answer for answer in case.answers if answer.is_finished]
        for one, other in combinations(answers, 2):
            if one.text == other.text:
                continue
            first, second = sorted((one, other), key=lambda answer: answer.text)
            difference = ballot.ranks[second.position] - ballot.ranks[first.position]
            texts = (first.text, second.text)
            yield Judgement("preference", (case.prompt, texts), voter, int(np.sign(difference)))
