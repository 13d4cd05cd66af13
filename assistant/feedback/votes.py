"""Votes, kept. Whatever a method returned from is on disk."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, Select, delete, insert, or_, select, update

from assistant.database.connection import Database
from assistant.database.tables.comparisons import columns, comparisons
from assistant.database.tables.conversations import conversations, turns
from assistant.database.tables.votes import votes
from assistant.errors import InvalidRequest, NotFound
from assistant.feedback.ballots import SCALES, Answer, Case, Ranking, Rating, Tags, Vote
from assistant.feedback.filters import Filters
from assistant.messages import Message, Part

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
            # A turn that never began is still to come, or the comparison ended before it.
            to_come = "running" if row.finished_at is None else "failed"
            check_ranks(ranking, [seat.state or to_come for seat in seated])
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
        filters = filters or Filters()
        conditions = [votes.c.superseded_at.is_(None), *_conditions(filters)]
        query = select(votes).where(*conditions).order_by(votes.c.created_at.desc(), votes.c.id)
        compared = (
            select(columns, comparisons.c.question, comparisons.c.request.label("asked"), *_turn_fields())
            .select_from(
                columns.join(comparisons, comparisons.c.id == columns.c.comparison_id).outerjoin(
                    turns, turns.c.id == columns.c.turn_id
                )
            )
            .where(columns.c.comparison_id.in_(select(votes.c.comparison_id).where(*conditions)))
            .order_by(columns.c.position)
        )
        rated = (
            select(*_turn_fields(), columns.c.mode, columns.c.shown, columns.c.position.label("place"))
            .select_from(turns.outerjoin(columns, columns.c.turn_id == turns.c.id))
            .where(turns.c.id.in_(select(votes.c.turn_id).where(*conditions)))
        )
        with self.database.reading() as connection:
            found = [_vote(row) for row in connection.execute(query)]
            by_comparison: dict[str, list[Row[Any]]] = defaultdict(list)
            for row in connection.execute(compared):
                by_comparison[row.comparison_id].append(row)
            by_turn: dict[str, Any] = {row.id: row for row in connection.execute(rated)}
        cases = [
            _comparison_case(vote, by_comparison[vote.subject_id])
            if isinstance(vote.ballot, Ranking)
            else _turn_case(vote, by_turn[vote.subject_id])
            for vote in found
            if isinstance(vote.ballot, Ranking) or not vote.ballot.is_empty
        ]
        return [case for case in cases if filters.fits(case)]

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
            vote = _vote(row)
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
            connection.execute(delete(votes).where(votes.c.voter == row.voter, _about(_vote(row).ballot)))

    def export_own(self, owner: str) -> list[Vote]:
        """Everything the voter has said, history included, oldest first."""
        return self._all(select(votes).where(votes.c.voter == owner).order_by(votes.c.created_at))

    def delete_own(self, owner: str) -> int:
        """Delete everything the voter has said, history included; returns how many votes that were."""
        with self.database.writing() as connection:
            return connection.execute(delete(votes).where(votes.c.voter == owner)).rowcount

    def _current(self, owner: str, about: Any) -> Ranking | Rating | None:
        found = self._all(select(votes).where(votes.c.voter == owner, about, votes.c.superseded_at.is_(None)))
        return found[0].ballot if found else None

    def _all(self, query: Select[Any]) -> list[Vote]:
        with self.database.reading() as connection:
            return [_vote(row) for row in connection.execute(query)]


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


def _check(owner: str, key: str | None) -> None:
    if not 0 < len(owner) <= 255:
        raise InvalidRequest(f"the voter's id has {len(owner)} characters; allowed: 1 to 255")
    if key is not None and not 0 < len(key) <= 64:
        raise InvalidRequest(f"the key has {len(key)} characters; allowed: 1 to 64")


def _cast(connection: Connection, owner: str, ballot: Ranking | Rating, was_blind: bool, key: str | None) -> Vote:
    if key is not None:
        known = connection.execute(select(votes).where(votes.c.voter == owner, votes.c.client_key == key))
        if (row := known.one_or_none()) is not None:
            vote = _vote(row)
            if vote.ballot != ballot:
                raise InvalidRequest(f"key {key!r} was used for another vote; give each vote a key of its own")
            return vote
    vote = Vote(uuid.uuid4().hex, owner, datetime.now(UTC), None, was_blind, ballot)
    connection.execute(
        update(votes)
        .where(votes.c.voter == owner, _about(ballot), votes.c.superseded_at.is_(None))
        .values(superseded_at=vote.created_at)
    )
    connection.execute(
        insert(votes).values(
            id=vote.id,
            voter=owner,
            created_at=vote.created_at,
            was_blind=was_blind,
            ballot=ballot.model_dump(mode="json"),
            client_key=key,
            comparison_id=ballot.comparison_id if isinstance(ballot, Ranking) else None,
            turn_id=ballot.turn_id if isinstance(ballot, Rating) else None,
        )
    )
    return vote


def _about(ballot: Ranking | Rating) -> Any:
    if isinstance(ballot, Ranking):
        return votes.c.comparison_id == ballot.comparison_id
    return votes.c.turn_id == ballot.turn_id


def _conditions(filters: Filters) -> list[Any]:
    conditions: list[Any] = []
    if filters.since is not None:
        conditions.append(votes.c.created_at >= filters.since)
    if filters.until is not None:
        conditions.append(votes.c.created_at < filters.until)
    if filters.voter is not None:
        conditions.append(votes.c.voter == filters.voter)
    if filters.blind is not None:
        conditions.append(votes.c.was_blind.is_(filters.blind))
    if filters.kind is not None:
        conditions.append((votes.c.comparison_id if filters.kind == "ranking" else votes.c.turn_id).is_not(None))
    return conditions


def _turn_fields() -> list[Any]:
    named = (turns.c.id, turns.c.state, turns.c.kind, turns.c.request, turns.c.user_text, turns.c.parts)
    return [*named, turns.c.base_digest, turns.c.adapter.label("asked_of")]


def _vote(row: Row[Any]) -> Vote:
    kind = Ranking if row.comparison_id is not None else Rating
    ballot = kind.model_validate(row.ballot)
    return Vote(row.id, row.voter, row.created_at, row.superseded_at, row.was_blind, ballot)


def _comparison_case(vote: Vote, rows: Sequence[Row[Any]]) -> Case:
    system = rows[0].asked.get("system")
    before = (Message(role="system", content=system),) if system else ()
    prompt = (*before, Message(role="user", content=rows[0].question))
    return Case(vote, prompt, tuple(_answer(row, row.turn_id, row.mode, row.position, row.shown) for row in rows))


def _turn_case(vote: Vote, row: Any) -> Case:
    answer = _answer(row, row.id, row.mode or "", row.place or 0, row.shown or 0)
    if row.kind != "chat":
        return Case(vote, (Message(role="user", content=row.user_text),), (answer,), is_chat=False)
    prompt = tuple(Message.model_validate(message) for message in row.request["messages"])
    return Case(vote, prompt, (answer,))


def _answer(row: Row[Any], turn_id: str, mode: str, position: int, shown: int) -> Answer:
    parts = [Part.model_validate(part) for part in row.parts or ()]
    return Answer(
        turn_id=turn_id,
        position=position,
        shown=shown,
        mode=mode,
        adapter="+".join(dict.fromkeys(part.route.adapter for part in parts)) or row.asked_of or "",
        digest=parts[0].digest if parts else None,
        base_digest=row.base_digest or "",
        is_finished=row.state == "finished",
        text="\n\n".join(part.text for part in parts),
        tokens=sum(part.usage.completion_tokens for part in parts),
        seconds=sum(part.timing.total for part in parts),
    )
