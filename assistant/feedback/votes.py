"""Votes, kept. Whatever a method returned from is on disk."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Select, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from assistant.database.connection import Database
from assistant.database.tables.comparisons import columns, comparisons
from assistant.database.tables.conversations import conversations, turns
from assistant.database.tables.votes import votes
from assistant.errors import InvalidRequest, NotFound
from assistant.feedback.ballots import IMPORTED, SCALES, Case, Ranking, Rating, Tags, Vote
from assistant.feedback.cases import read_cases, vote_of
from assistant.feedback.filters import Filters

__all__ = ["SCALES", "Case", "Filters", "Ranking", "Rating", "Vote", "VoteStore"]

TAGS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Tags)


class VoteStore:
    """Thread-safe. Every method raises StoreUnavailable where the database does not answer; then nothing was saved.

    A comparison may be voted on by whoever has its id, so that several can judge the same answers. A turn of a
    conversation may be rated by the conversation's owner only. Of what a voter said about one thing the last counts;
    what they said before stays as history.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    # Casting --------------------------------------------------------------------------------------

    def rank(self, owner: str, ranking: Ranking, key: str | None = None, by_place: bool = False) -> Vote:
        """Keep a ranking. `key` is the caller's name for this request: sent again, it is not a second vote.

        With `by_place` the ranks given are those of the places on the screen, from the left, which is all that a
        blind voter can know; they are kept by position all the same.

        Raises:
            NotFound: no such comparison.
            InvalidRequest: an answer is still being written, fewer than two have finished, the ranks do not fit the
                columns, or `key` was used for another vote.
        """
        _check(owner, key)
        comparison = (
            select(comparisons.c.blind, comparisons.c.revealed_at, comparisons.c.finished_at)
            .where(comparisons.c.id == ranking.comparison_id)
            .with_for_update()
        )
        seats = (
            select(columns.c.shown, turns.c.state)
            .select_from(columns.outerjoin(turns, turns.c.id == columns.c.turn_id))
            .where(columns.c.comparison_id == ranking.comparison_id)
            .order_by(columns.c.position)
        )
        with self.database.writing() as connection:
            row = connection.execute(comparison).one_or_none()
            if row is None:
                raise NotFound(f"no comparison {ranking.comparison_id!r}")
            seated = connection.execute(seats).all()
            if by_place and len(ranking.ranks) == len(seated):
                ranks = tuple(ranking.ranks[seat.shown] for seat in seated)
                ranking = ranking.model_copy(update={"ranks": ranks})
            # A turn that never began or never ended is still to come, or the comparison ended without it.
            to_come = "running" if row.finished_at is None else "failed"
            states = [to_come if seat.state in (None, "running") else seat.state for seat in seated]
            check_ranks(ranking, states)
            return _cast(connection, owner, ranking, row.blind and row.revealed_at is None, key)

    def rate(self, owner: str, rating: Rating, key: str | None = None) -> Vote:
        """Keep a rating; one that says nothing takes the earlier one back. `key` is as for `rank`.

        Raises:
            NotFound: no such turn, or it is in another's conversation.
            InvalidRequest: the answer has not finished, or `key` was used for another vote.
        """
        _check(owner, key)
        turn = (
            select(turns.c.state, conversations.c.owner, comparisons.c.blind, comparisons.c.revealed_at)
            .select_from(
                turns.outerjoin(conversations, conversations.c.id == turns.c.conversation_id)
                .outerjoin(columns, columns.c.turn_id == turns.c.id)
                .outerjoin(comparisons, comparisons.c.id == columns.c.comparison_id)
            )
            .where(turns.c.id == rating.turn_id)
            .with_for_update(of=turns)
        )
        with self.database.writing() as connection:
            row = connection.execute(turn).one_or_none()
            if row is None or row.owner not in (None, owner):
                raise NotFound(f"no turn {rating.turn_id!r}")
            if row.state != "finished":
                raise InvalidRequest(f"turn {rating.turn_id!r} is {row.state}; only finished answers can be rated")
            return _cast(connection, owner, rating, bool(row.blind) and row.revealed_at is None, key)

    # Looking --------------------------------------------------------------------------------------

    def ranking(self, owner: str, comparison_id: str) -> Ranking | None:
        """What the voter says of the comparison now; None where they have not voted."""
        ballot = self._current(owner, votes.c.comparison_id == comparison_id)
        return ballot if isinstance(ballot, Ranking) else None

    def rating(self, owner: str, turn_id: str) -> Rating | None:
        """What the voter says of the answer now; None where they have not rated it."""
        ballot = self._current(owner, votes.c.turn_id == turn_id)
        return ballot if isinstance(ballot, Rating) else None

    def history(self, owner: str, subject_id: str) -> list[Vote]:
        """All that the voter said about a comparison or a turn, oldest first."""
        about = or_(votes.c.comparison_id == subject_id, votes.c.turn_id == subject_id)
        return self._all(select(votes).where(votes.c.voter == owner, about).order_by(votes.c.created_at))

    def votes(self, filters: Filters | None = None) -> list[Case]:
        """The votes that count, with the answers they are about, newest first. Ratings taken back are left out."""
        with self.database.reading() as connection:
            return read_cases(connection, filters or Filters())

    def case(self, vote_id: str) -> Case:
        """One vote that counts, with the answers it is about. Raises NotFound."""
        found = self.votes(Filters(vote=vote_id))
        if not found:
            raise NotFound(f"no vote {vote_id!r}; it was replaced or deleted")
        return found[0]

    # Keeping in order -----------------------------------------------------------------------------

    def retag(self, vote_id: str, tags: Sequence[str]) -> Vote:
        """Give a vote other tags; it stays the same vote.

        Raises:
            NotFound: no such vote.
            InvalidRequest: a tag is blank or too long, or there are too many.
        """
        try:
            tags = TAGS.validate_python(tuple(tags))
        except ValidationError as error:
            raise InvalidRequest(f"tags {list(tags)!r}: {error.errors()[0]['msg']}; allowed: up to 32") from error
        with self.database.writing() as connection:
            row = connection.execute(select(votes).where(votes.c.id == vote_id).with_for_update()).one_or_none()
            if row is None:
                raise NotFound(f"no vote {vote_id!r}")
            vote = vote_of(row)
            vote = replace(vote, ballot=vote.ballot.model_copy(update={"tags": tags}))
            connection.execute(
                update(votes).where(votes.c.id == vote_id).values(ballot=vote.ballot.model_dump(mode="json"))
            )
        return vote

    def delete(self, vote_id: str) -> None:
        """Delete a vote with what the voter said about the same before. Raises NotFound."""
        with self.database.writing() as connection:
            row = connection.execute(select(votes).where(votes.c.id == vote_id)).one_or_none()
            if row is None:
                raise NotFound(f"no vote {vote_id!r}")
            connection.execute(delete(votes).where(votes.c.voter == row.voter, _about(vote_of(row).ballot)))

    def export_own(self, owner: str) -> list[Vote]:
        """Everything the voter has said, history included, oldest first. Raises InvalidRequest as `rank` does."""
        _check(owner)
        return self._all(select(votes).where(votes.c.voter == owner).order_by(votes.c.created_at))

    def delete_own(self, owner: str) -> int:
        """Delete everything the voter has said, history included; returns how many votes that were.

        Raises:
            InvalidRequest: the id is that of no voter here.
        """
        _check(owner)
        with self.database.writing() as connection:
            return connection.execute(delete(votes).where(votes.c.voter == owner)).rowcount

    def _current(self, owner: str, about: Any) -> Ranking | Rating | None:
        found = self._all(select(votes).where(votes.c.voter == owner, about, votes.c.superseded_at.is_(None)))
        return found[0].ballot if found else None

    def _all(self, query: Select[Any]) -> list[Vote]:
        with self.database.reading() as connection:
            return [vote_of(row) for row in connection.execute(query)]


def check_ranks(ranking: Ranking, states: Sequence[str]) -> None:
    """Raises InvalidRequest unless the ranking fits columns whose turns are in these `states`."""
    if "running" in states:
        raise InvalidRequest("an answer is still being written; votes are possible once all have ended")
    if sum(state == "finished" for state in states) < 2:
        raise InvalidRequest("fewer than two answers have finished, so there is nothing to compare")
    ranks, count = ranking.ranks, len(states)
    if ranking.verdict != "ranked":
        if ranks:
            raise InvalidRequest(f"verdict {ranking.verdict!r} has no ranks; given: {list(ranks)}")
        return
    if len(ranks) != count:
        raise InvalidRequest(f"{len(ranks)} ranks for {count} columns; allowed: one for each")
    for position, (rank, state) in enumerate(zip(ranks, states, strict=True)):
        if state != "finished" and rank:
            raise InvalidRequest(f"column {position} has no finished answer; its rank must be 0, not {rank}")
        if state == "finished" and not 1 <= rank <= count:
            raise InvalidRequest(f"rank {rank} of column {position}; allowed: 1 to {count}, 1 is best")


def _check(owner: str, key: str | None = None) -> None:
    if not 0 < len(owner) <= 255:
        raise InvalidRequest(f"the voter's id has {len(owner)} characters; allowed: 1 to 255")
    if owner.startswith(IMPORTED):
        raise InvalidRequest(
            f"the voter's id begins with {IMPORTED!r}, as those of votes from files do; allowed: any other"
        )
    if key is not None and not 0 < len(key) <= 64:
        raise InvalidRequest(f"the key has {len(key)} characters; allowed: 1 to 64")


def _cast(connection: Connection, owner: str, ballot: Ranking | Rating, was_blind: bool, key: str | None) -> Vote:
    if (known := _known(connection, owner, ballot, key)) is not None:
        return known
    vote = Vote(uuid.uuid4().hex, owner, datetime.now(UTC), None, was_blind, ballot)
    try:
        with connection.begin_nested():
            _insert(connection, vote, key)
    except IntegrityError:
        # Another vote with this key, about something else, was cast at the same moment.
        if (known := _known(connection, owner, ballot, key)) is None:
            raise
        return known
    return vote


def _known(connection: Connection, owner: str, ballot: Ranking | Rating, key: str | None) -> Vote | None:
    """The vote that was cast with the key. Raises InvalidRequest where it was another one."""
    if key is None:
        return None
    row = connection.execute(select(votes).where(votes.c.voter == owner, votes.c.client_key == key)).one_or_none()
    if row is None:
        return None
    vote = vote_of(row)
    if vote.ballot != ballot:
        raise InvalidRequest(f"key {key!r} was used for another vote; give each vote a key of its own")
    return vote


def _insert(connection: Connection, vote: Vote, key: str | None) -> None:
    ballot = vote.ballot
    connection.execute(
        update(votes)
        .where(votes.c.voter == vote.voter, _about(ballot), votes.c.superseded_at.is_(None))
        .values(superseded_at=vote.created_at)
    )
    connection.execute(
        insert(votes).values(
            id=vote.id,
            voter=vote.voter,
            created_at=vote.created_at,
            was_blind=vote.was_blind,
            ballot=ballot.model_dump(mode="json"),
            client_key=key,
            comparison_id=ballot.comparison_id if isinstance(ballot, Ranking) else None,
            turn_id=ballot.turn_id if isinstance(ballot, Rating) else None,
        )
    )


def _about(ballot: Ranking | Rating) -> Any:
    if isinstance(ballot, Ranking):
        return votes.c.comparison_id == ballot.comparison_id
    return votes.c.turn_id == ballot.turn_id
