"""Which votes are meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator

from assistant.feedback.ballots import Case, Ranking
from assistant.messages import Frozen


def with_zone(moment: datetime) -> datetime:
    """The moment in UTC; one that names no zone is meant in it. Raises ValueError where UTC has no such year."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(
            f"{moment.isoformat()} is outside the calendar in UTC; allowed: the years 1 to 9999"
        ) from error


Moment = Annotated[datetime, AfterValidator(with_zone)]


class Filters(Frozen):
    """All that is given must fit; None asks for nothing. `until` itself is not included.

    `vote` is one vote's id. `adapters` and `modes` want one of them among the answers, a best of n counting as its
    mode, and names that have been told: else what is found would tell them; `text` stands anywhere in question, answers, comment or correction, whatever the case; `tags` must all be
    there; `blind` is whether names were hidden at the vote.
    """

    vote: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    voter: str | None = None
    kind: Literal["ranking", "rating"] | None = None
    adapters: frozenset[str] | None = None
    modes: frozenset[str] | None = None
    text: str | None = None
    tags: frozenset[str] = frozenset()
    blind: bool | None = None

    def fits(self, case: Case) -> bool:
        """Those of the conditions that need the answers; the rest is asked of the database."""
        ballot = case.vote.ballot
        if case.is_hidden and (self.adapters is not None or self.modes is not None):
            return False
        if self.adapters is not None and not any(
            self.adapters.intersection(answer.adapter.split("+")) for answer in case.answers
        ):
            return False
        if self.modes is not None and self.modes.isdisjoint(answer.mode.partition(",")[0] for answer in case.answers):
            return False
        if not self.tags <= set(ballot.tags):
            return False
        if self.text is None:
            return True
        said = "" if isinstance(ballot, Ranking) else ballot.correction or ""
        texts = [case.question, *(answer.text for answer in case.answers), ballot.comment, said]
        return any(self.text.casefold() in text.casefold() for text in texts)
