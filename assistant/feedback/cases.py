"""Votes read from the database, together with the answers they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from assistant.database.tables.comparisons import columns, comparisons
from assistant.database.tables.conversations import turns
from assistant.database.tables.votes import votes
from assistant.feedback.ballots import Answer, Case, Ranking, Rating, Vote
from assistant.feedback.filters import Filters
from assistant.messages import Message, Part

IS_HIDDEN = comparisons.c.blind & comparisons.c.revealed_at.is_(None)
HIDDEN = IS_HIDDEN.label("hidden")


def read_cases(connection: Connection, filters: Filters) -> list[Case]:
    """The votes that count and fit, newest first. Ratings taken back are left out."""
    conditions = [votes.c.superseded_at.is_(None), *_conditions(filters)]
    query = select(votes).where(*conditions).order_by(votes.c.created_at.desc(), votes.c.id)
    asked = (comparisons.c.question, comparisons.c.request.label("asked"), HIDDEN)
    compared = (
        select(columns, *asked, *_turn_fields())
        .select_from(
            columns.join(comparisons, comparisons.c.id == columns.c.comparison_id).outerjoin(
                turns, turns.c.id == columns.c.turn_id
            )
        )
        .where(columns.c.comparison_id.in_(select(votes.c.comparison_id).where(*conditions)))
        .order_by(columns.c.position)
    )
    rated = (
        select(*_turn_fields(), columns.c.mode, columns.c.shown, columns.c.position.label("place"), *asked)
        .select_from(
            turns.outerjoin(columns, columns.c.turn_id == turns.c.id).outerjoin(
                comparisons, comparisons.c.id == columns.c.comparison_id
            )
        )
        .where(turns.c.id.in_(select(votes.c.turn_id).where(*conditions)))
    )
    found = [vote_of(row) for row in connection.execute(query)]
    by_comparison: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(compared):
        by_comparison[row.comparison_id].append(row)
    by_turn: dict[str, Any] = {row.id: row for row in connection.execute(rated)}
    cases = []
    for vote in found:
        # What was deleted since the first of the three queries has no answers any more.
        if isinstance(vote.ballot, Ranking):
            if vote.subject_id in by_comparison:
                cases.append(_comparison_case(vote, by_comparison[vote.subject_id]))
        elif vote.subject_id in by_turn and not vote.ballot.is_empty:
            cases.append(_turn_case(vote, by_turn[vote.subject_id]))
    return [case for case in cases if filters.fits(case)]


def vote_of(row: Row[Any]) -> Vote:
    kind = Ranking if row.comparison_id is not None else Rating
    ballot = kind.model_validate(row.ballot)
    return Vote(row.id, row.voter, row.created_at, row.superseded_at, row.was_blind, ballot)


def _conditions(filters: Filters) -> list[Any]:
    conditions: list[Any] = []
    if filters.vote is not None:
        conditions.append(votes.c.id == filters.vote)
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


def _comparison_case(vote: Vote, rows: Sequence[Row[Any]]) -> Case:
    answers = tuple(_answer(row, row.turn_id, row.mode, row.position, row.shown) for row in rows)
    return Case(vote, _compared_prompt(rows[0]), answers, is_hidden=bool(rows[0].hidden))


def _turn_case(vote: Vote, row: Any) -> Case:
    answer = _answer(row, row.id, row.mode or "", row.place or 0, row.shown or 0)
    is_chat = row.kind == "chat"
    if row.question is not None:
        # As its ranking has it: the worked examples of a column are its contestant's, and would tell who that is.
        return Case(vote, _compared_prompt(row), (answer,), is_chat, bool(row.hidden))
    messages = row.request["messages"] if is_chat else [{"role": "user", "content": row.user_text}]
    prompt = tuple(Message.model_validate(message) for message in messages)
    return Case(vote, prompt, (answer,), is_chat)


def _compared_prompt(row: Row[Any]) -> tuple[Message, ...]:
    """What every column of a comparison answers."""
    system = row.asked.get("system")
    before = (Message(role="system", content=system),) if system else ()
    return (*before, Message(role="user", content=row.question))


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
