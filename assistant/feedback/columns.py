"""The columns of a comparison in the database: seated, read together with their turns, counted."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, insert, select

from assistant.database.tables.comparisons import columns, comparisons
from assistant.database.tables.conversations import turns
from assistant.errors import NotFound
from assistant.feedback.comparison_records import Answered, Comparison, Seat
from assistant.feedback.hiding import FAILED, hidden_part
from assistant.messages import Part

MOST_BOUND = 500
"""Values in one query; databases limit how many it may hold."""


def seat(
    connection: Connection, comparison_id: str, contestants: Sequence[tuple[str, str]], blind: bool
) -> tuple[Seat, ...]:
    """A new column for each contestant, given as (mode, adapter); those of a blind comparison are shuffled."""
    places = list(range(len(contestants)))
    if blind:
        secrets.SystemRandom().shuffle(places)
    seats = tuple(Seat(position, shown, new_id()) for position, shown in enumerate(places))
    connection.execute(
        insert(columns),
        [
            {
                "comparison_id": comparison_id,
                "position": one.position,
                "shown": one.shown,
                "mode": mode,
                "adapter": adapter,
                "turn_id": one.turn_id,
            }
            for one, (mode, adapter) in zip(seats, contestants, strict=True)
        ],
    )
    return seats


def outcome(comparison_id: str) -> Any:
    """The state of a comparison that is over, for an update of its row."""
    answers = (
        select(func.count())
        .select_from(columns.join(turns, turns.c.id == columns.c.turn_id))
        .where(columns.c.comparison_id == comparison_id, turns.c.state == "finished")
        .scalar_subquery()
    )
    return case((answers > 0, "finished"), else_="failed")


def with_turns(ids: Sequence[str]) -> Any:
    return (
        select(columns, turns.c.state.label("turn_state"), turns.c.parts, turns.c.error_code, turns.c.error_message)
        .join(turns, turns.c.id == columns.c.turn_id, isouter=True)
        .where(columns.c.comparison_id.in_(ids))
        .order_by(columns.c.shown)
    )


def with_columns(connection: Connection, rows: Sequence[Row[Any]]) -> list[Comparison]:
    found = {row.id: (Comparison(**row._mapping), list[Answered]()) for row in rows}
    ids = list(found)
    for start in range(0, len(ids), MOST_BOUND):
        for row in connection.execute(with_turns(ids[start : start + MOST_BOUND])):
            comparison, answered = found[row.comparison_id]
            answered.append(_answered(comparison, row))
    return [replace(one, columns=tuple(answered)) for one, answered in found.values()]


def _answered(comparison: Comparison, row: Row[Any]) -> Answered:
    state, error = row.turn_state, row.error_message if row.turn_state == "failed" else None
    if state is None:
        # The turn never began: it is still to come, or the end came first.
        state = "failed" if comparison.is_over else "waiting"
        error = "not asked before the comparison ended" if comparison.is_over else None
    elif state == "running" and comparison.is_over:
        state = "cancelled" if comparison.state == "cancelled" else "failed"
        error = None if state == "cancelled" else "how the answer ended could not be kept"
    parts = tuple(Part.model_validate(part) for part in row.parts or ())
    if comparison.is_hidden:
        return Answered(row.shown, row.turn_id, state, tuple(map(hidden_part, parts)), FAILED if error else None)
    return Answered(row.shown, row.turn_id, state, parts, error, row.position, row.mode, row.adapter)


def existing(connection: Connection, comparison_id: str, owner: str | None = None) -> Row[Any]:
    """The comparison's row; with an `owner` only theirs. Raises NotFound."""
    query = select(comparisons).where(comparisons.c.id == comparison_id)
    if owner is not None:
        query = query.where(comparisons.c.owner == owner)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"no comparison {comparison_id!r}")
    return row


def delete_answers(connection: Connection, which: Any) -> None:
    """Delete the turns of the comparisons that `which` selects."""
    theirs = select(columns.c.turn_id).join(comparisons, comparisons.c.id == columns.c.comparison_id).where(which)
    connection.execute(delete(turns).where(turns.c.id.in_(theirs)))


def new_id() -> str:
    return uuid.uuid4().hex
