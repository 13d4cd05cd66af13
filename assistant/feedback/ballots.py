"""What can be said of answers, and what is kept of it, as plain values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from assistant.messages import Frozen, Message

Scale = Literal["fluency", "coherence", "relevance", "correctness"]
SCALES: tuple[Scale, ...] = ("fluency", "coherence", "relevance", "correctness")
Verdict = Literal["ranked", "all_bad", "skipped"]

IMPORTED = "imported-"
"""How the voter of a vote begins that came with a file; the pseudonym it was under there follows."""


def once_each(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip() for tag in tags))


Tag = Annotated[str, Field(max_length=64, pattern=r"\S")]
Tags = Annotated[tuple[Tag, ...], Field(max_length=32), AfterValidator(once_each)]
Comment = Annotated[str, Field(max_length=10_000)]
Stars = Annotated[int, Field(ge=1, le=5)]


class Ranking(Frozen):
    """The answers of one comparison, put in order. `ranks` is by column position as asked for: 1 is best, equal
    numbers tie, and a column whose answer did not finish has 0. The two other verdicts have no ranks.
    """

    comparison_id: str
    verdict: Verdict
    ranks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    comment: Comment = ""
    tags: Tags = ()


class Rating(Frozen):
    """One answer on its own. `scales` holds 1 to 5 for any of SCALES; `correction` is what it should have said.

    A rating that says nothing takes the earlier one back.
    """

    turn_id: str
    thumb: bool | None = None
    scales: dict[Scale, Stars] = Field(default_factory=dict)
    tags: Tags = ()
    comment: Comment = ""
    correction: Annotated[str, Field(max_length=100_000, pattern=r"\S")] | None = None

    @property
    def is_empty(self) -> bool:
        return self == Rating(turn_id=self.turn_id)


@dataclass(frozen=True)
class Vote:
    """`superseded_at` is set once the voter has changed their mind. `was_blind`: the names were hidden then.

    `by_place`: the ranks are those of the places from the left, as its voter gave them and may know them.
    """

    id: str
    voter: str
    created_at: datetime
    superseded_at: datetime | None
    was_blind: bool
    ballot: Ranking | Rating
    by_place: bool = False

    @property
    def subject_id(self) -> str:
        """The comparison or the turn it is about."""
        return self.ballot.comparison_id if isinstance(self.ballot, Ranking) else self.ballot.turn_id

    @property
    def pseudonym(self) -> str:
        return pseudonym(self.voter)


@dataclass(frozen=True)
class Answer:
    """An answer that was voted on. `position` is as asked for, `shown` its place on the screen, both from 0.

    `mode` is "" outside a comparison; where one of several was chosen it says how: "tuned, best of 4 by taste".
    `adapter` is who answered; several are joined by "+".
    """

    turn_id: str
    position: int
    shown: int
    mode: str
    adapter: str
    digest: str | None
    base_digest: str
    is_finished: bool
    text: str
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Case:
    """A vote with all it was about. `prompt` ends with the question; `answers` is by position.

    `is_chat` is false for raw text, which has no conversation. `is_hidden`: it is about a blind comparison whose names
    have not been told yet.
    """

    vote: Vote
    prompt: tuple[Message, ...]
    answers: tuple[Answer, ...]
    is_chat: bool = True
    is_hidden: bool = False

    @property
    def question(self) -> str:
        return self.prompt[-1].content


def pseudonym(voter: str) -> str:
    """A voter's name as it may leave the server: their id itself would let others act for them."""
    if voter.startswith(IMPORTED):
        return voter.removeprefix(IMPORTED)
    return hashlib.sha256(voter.encode()).hexdigest()[:16]
