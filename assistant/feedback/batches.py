"""Batches of comparisons, kept: every row is written down before the first is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, select, update

from assistant.database.connection import Database
from assistant.database.tables.comparisons import batches, columns, comparisons
from assistant.database.tables.conversations import turns
from assistant.errors import NotFound
from assistant.feedback.columns import delete_answers, existing, new_id, seat, with_columns, with_turns
from assistant.feedback.comparison_records import Batch, Comparison, Seat
from assistant.feedback.store import INTERRUPTED

PASSING = ("cancelled", INTERRUPTED, "queue_full", "engine_stopped", "store_unavailable")
"""Error codes of turns that say nothing about the question: a batch asks such a column again."""


class BatchStore:
    """Thread-safe. Every method raises StoreUnavailable where the database does not answer; then nothing was saved.

    An `owner` sees only their own batches; another's is NotFound, as if it were not there.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(
        self, owner: str, name: str, template: dict[str, Any], rows: Sequence[tuple[str, dict[str, Any], str | None]]
    ) -> str:
        """Keep all rows before the first is asked; returns the id of the batch.

        A row is (question, whole request, why it cannot be asked or None).
        """
        batch_id, now = new_id(), datetime.now(UTC)
        with self.database.writing() as connection:
            connection.execute(
                insert(batches).values(
                    id=batch_id, owner=owner, name=name, created_at=now, state="running", template=template
                )
            )
            connection.execute(
                insert(comparisons),
                [
                    {
                        "id": new_id(),
                        "owner": owner,
                        "batch_id": batch_id,
                        "position": position,
                        "created_at": now,
                        "finished_at": now if error else None,
                        "state": "failed" if error else "waiting",
                        "question": question,
                        "request": request,
                        "blind": bool(template.get("blind", False)),
                        "error": error,
                    }
                    for position, (question, request, error) in enumerate(rows)
                ],
            )
            close_batch(connection, batch_id)
        return batch_id

    def batches(self, owner: str, limit: int = 100) -> list[Batch]:
        """The owner's batches, newest first."""
        query = (
            _batches_with_counts()
            .where(batches.c.owner == owner)
            .order_by(batches.c.created_at.desc(), batches.c.id)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [Batch(**row._mapping) for row in connection.execute(query)]

    def batch(self, batch_id: str, owner: str) -> Batch:
        """Raises NotFound."""
        query = _batches_with_counts().where(batches.c.id == batch_id, batches.c.owner == owner)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no batch {batch_id!r}")
        return Batch(**row._mapping)

    def rows(self, batch_id: str, owner: str, start: int = 0, limit: int | None = None) -> list[Comparison]:
        """The rows from `start` on, in order, with their columns. Raises NotFound."""
        self.batch(batch_id, owner)
        query = (
            select(comparisons)
            .where(comparisons.c.batch_id == batch_id, comparisons.c.position >= start)
            .order_by(comparisons.c.position)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return with_columns(connection, connection.execute(query).all())

    def take_row(self) -> Comparison | None:
        """The next waiting row of any running batch, which is then running; None where none waits.

        Batches take turns: the row that comes earliest in its batch is next.
        """
        query = (
            select(comparisons.c.id)
            .join(batches, batches.c.id == comparisons.c.batch_id)
            .where(comparisons.c.state == "waiting", batches.c.state == "running")
            .order_by(comparisons.c.position, batches.c.created_at)
            .limit(1)
            # Who cancels meanwhile waits, and then finds it running.
            .with_for_update(of=comparisons)
        )
        with self.database.writing() as connection:
            comparison_id = connection.scalar(query)
            if comparison_id is None:
                return None
            _is = comparisons.c.id == comparison_id
            connection.execute(update(comparisons).where(_is).values(state="running"))
            return Comparison(**connection.execute(select(comparisons).where(_is)).one()._mapping)

    def seats(self, comparison_id: str, contestants: Sequence[tuple[str, str]]) -> tuple[Seat, ...]:
        """The columns of a running row that are still to be answered, each with a new turn, in place of any before.

        None where the row is over: its batch was cancelled at the moment at which it was taken.

        Call while none of them is being answered: a turn that still runs is then one whose end was not recorded.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        with self.database.writing() as connection:
            row = existing(connection, comparison_id)
            if row.state != "running":
                return ()
            taken = connection.execute(with_turns([comparison_id])).all()
            if not taken:
                return seat(connection, comparison_id, contestants, row.blind)
            seats = []
            for column in taken:
                is_passing = column.turn_state == "failed" and column.error_code in PASSING
                if column.turn_state in (None, "running", "cancelled") or is_passing:
                    seats.append(Seat(column.position, column.shown, new_id()))
                    connection.execute(
                        update(columns).where(columns.c.turn_id == column.turn_id).values(turn_id=seats[-1].turn_id)
                    )
                    # No column leads to it any more, so nothing would ever delete it.
                    connection.execute(delete(turns).where(turns.c.id == column.turn_id))
            return tuple(seats)

    def give_up(self, comparison_id: str, error: str) -> None:
        """Keep that a running row could not be asked, and why. Raises NotFound."""
        with self.database.writing() as connection:
            row = existing(connection, comparison_id)
            lock_batch(connection, row.batch_id)
            connection.execute(
                update(comparisons)
                .where(comparisons.c.id == comparison_id, comparisons.c.state == "running")
                .values(state="failed", error=error, finished_at=datetime.now(UTC))
            )
            close_batch(connection, row.batch_id)

    def cancel(self, batch_id: str, owner: str) -> None:
        """Ask no further row; what was answered stays. Raises NotFound."""
        self.batch(batch_id, owner)
        now = datetime.now(UTC)
        with self.database.writing() as connection:
            connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.state == "running")
                .values(state="cancelled", finished_at=now)
            )
            connection.execute(
                update(comparisons)
                .where(comparisons.c.batch_id == batch_id, comparisons.c.state.in_(("waiting", "running")))
                .values(state="cancelled", finished_at=now)
            )

    def reveal(self, batch_id: str, owner: str) -> None:
        """Tell the names of every row that is over. Raises NotFound."""
        self.batch(batch_id, owner)
        with self.database.writing() as connection:
            connection.execute(
                update(comparisons)
                .where(
                    comparisons.c.batch_id == batch_id,
                    comparisons.c.blind,
                    comparisons.c.revealed_at.is_(None),
                    comparisons.c.state.not_in(("waiting", "running")),
                )
                .values(revealed_at=datetime.now(UTC))
            )

    def delete(self, batch_id: str, owner: str) -> None:
        """Delete it with its rows and their answers. Raises NotFound."""
        self.batch(batch_id, owner)
        with self.database.writing() as connection:
            delete_answers(connection, comparisons.c.batch_id == batch_id)
            connection.execute(delete(batches).where(batches.c.id == batch_id))


def lock_batch(connection: Connection, batch_id: str) -> None:
    """Call before a row of it ends: of two that end at the same moment, neither would see that the other is over."""
    connection.execute(select(batches.c.id).where(batches.c.id == batch_id).with_for_update())


def close_batch(connection: Connection, batch_id: str) -> None:
    """End the batch once none of its rows is to be asked any more."""
    ahead = (
        select(comparisons.c.id)
        .where(comparisons.c.batch_id == batch_id, comparisons.c.state.in_(("waiting", "running")))
        .exists()
    )
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state == "running", ~ahead)
        .values(state="finished", finished_at=datetime.now(UTC))
    )


def _batches_with_counts() -> Any:
    def count(*states: str) -> Any:
        return func.count(case((comparisons.c.state.in_(states), 1)))

    over = ("finished", "failed", "cancelled", INTERRUPTED)
    return (
        select(
            batches,
            func.count(comparisons.c.id).label("rows"),
            count(*over).label("done"),
            count("failed").label("failed"),
        )
        .join(comparisons, comparisons.c.batch_id == batches.c.id, isouter=True)
        .group_by(batches.c.id)
    )
