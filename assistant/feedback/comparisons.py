"""Comparisons, kept: what was asked, which turn answered in which column, and whether the names are told.

The answers themselves are turns. Their ids are settled before anything is computed, so that a crash between the two
loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update

from assistant.database.connection import Database
from assistant.database.tables.comparisons import batches, comparisons
from assistant.database.tables.conversations import turns
from assistant.feedback.batches import close_batch, lock_batch
from assistant.feedback.columns import delete_answers, existing, new_id, outcome, seat, with_columns, with_turns
from assistant.feedback.comparison_records import Comparison, Seat
from assistant.feedback.store import INTERRUPTED
from assistant.messages import Reward


class ComparisonStore:
    """Thread-safe. Every method raises StoreUnavailable where the database does not answer; then nothing was saved.

    An `owner` sees only their own comparisons; another's is NotFound, as if it were not there. The names of a blind
    one are given out only once it has been revealed.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(
        self,
        owner: str,
        question: str,
        request: dict[str, Any],
        contestants: Sequence[tuple[str, str]],
        blind: bool,
    ) -> tuple[str, tuple[Seat, ...]]:
        """Keep what is asked, before anything is computed; returns its id and a seat for each contestant.

        `contestants` are (mode, adapter). The columns of a blind one are shuffled.
        """
        comparison_id = new_id()
        values = {"id": comparison_id, "owner": owner, "position": 0, "state": "running", "question": question}
        with self.database.writing() as connection:
            connection.execute(
                insert(comparisons).values(**values, created_at=datetime.now(UTC), request=request, blind=blind)
            )
            return comparison_id, seat(connection, comparison_id, contestants, blind)

    def finish(self, comparison_id: str, state: Literal["cancelled"] | None = None) -> None:
        """Keep that it is over; what became of each answer is with its turn. The first end stands.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        with self.database.writing() as connection:
            batch_id = existing(connection, comparison_id).batch_id
            if batch_id is not None:
                lock_batch(connection, batch_id)
            connection.execute(
                update(comparisons)
                .where(comparisons.c.id == comparison_id, comparisons.c.state == "running")
                .values(finished_at=datetime.now(UTC), state=state or outcome(comparison_id))
            )
            if batch_id is not None:
                close_batch(connection, batch_id)

    def comparison(self, comparison_id: str, owner: str) -> Comparison:
        """The comparison with its columns. Raises NotFound."""
        with self.database.reading() as connection:
            row = existing(connection, comparison_id, owner)
            return with_columns(connection, [row])[0]

    def comparisons(self, owner: str, limit: int = 100) -> list[Comparison]:
        """The owner's comparisons that stand alone, newest first, without their columns."""
        query = (
            select(comparisons)
            .where(comparisons.c.owner == owner, comparisons.c.batch_id.is_(None))
            .order_by(comparisons.c.created_at.desc(), comparisons.c.id)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [Comparison(**row._mapping) for row in connection.execute(query)]

    def reveal(self, comparison_id: str, owner: str) -> Comparison:
        """Tell the names from now on; what is voted later is no longer blind. The first moment stands.

        Raises:
            NotFound: no such comparison.
        """
        with self.database.writing() as connection:
            existing(connection, comparison_id, owner)
            connection.execute(
                update(comparisons)
                .where(comparisons.c.id == comparison_id, comparisons.c.blind, comparisons.c.revealed_at.is_(None))
                .values(revealed_at=datetime.now(UTC))
            )
        return self.comparison(comparison_id, owner)

    def keep_rewards(self, comparison_id: str, owner: str, rewards: Mapping[str, Reward]) -> Comparison:
        """Keep what a judge made of its answers, by turn, in place of what was kept before. Raises NotFound."""
        with self.database.writing() as connection:
            existing(connection, comparison_id, owner)
            for column in connection.execute(with_turns([comparison_id])).all():
                if not column.parts:
                    continue
                reward = rewards.get(column.turn_id)
                last = {**column.parts[-1], "reward": reward.model_dump(mode="json") if reward else None}
                connection.execute(
                    update(turns).where(turns.c.id == column.turn_id).values(parts=[*column.parts[:-1], last])
                )
        return self.comparison(comparison_id, owner)

    def delete(self, comparison_id: str, owner: str) -> None:
        """Delete it with its answers. Raises NotFound."""
        with self.database.writing() as connection:
            existing(connection, comparison_id, owner)
            delete_answers(connection, comparisons.c.id == comparison_id)
            connection.execute(delete(comparisons).where(comparisons.c.id == comparison_id))

    def recover(self) -> int:
        """Call once at the start, after the turns' own `recover`; returns how many a crash had left running.

        One that stands alone is over, with the answers it had. A row of a running batch waits to be gone on with.
        """
        with self.database.writing() as connection:
            left = connection.execute(
                select(comparisons.c.id, comparisons.c.batch_id).where(comparisons.c.state == "running")
            ).all()
            for row in left:
                values: dict[str, Any] = {"state": "waiting"}
                if row.batch_id is None:
                    ended = [
                        column.turn_state in ("finished", "failed") and column.error_code != INTERRUPTED
                        for column in connection.execute(with_turns([row.id]))
                    ]
                    state = outcome(row.id) if all(ended) else INTERRUPTED
                    values = {"state": state, "finished_at": datetime.now(UTC)}
                connection.execute(update(comparisons).where(comparisons.c.id == row.id).values(**values))
            # An earlier version could leave a batch running whose rows are all over.
            for batch_id in connection.scalars(select(batches.c.id).where(batches.c.state == "running")).all():
                close_batch(connection, batch_id)
            return len(left)
