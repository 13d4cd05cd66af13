"""What people thought of the answers: rankings of a comparison, ratings of a turn, and all they said before."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, ForeignKey, Index, String, Table, UniqueConstraint

from assistant.database.tables.common import UtcDateTime, metadata

votes = Table(
    "votes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("voter", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Set once the voter has changed their mind; the vote stays as history.
    Column("superseded_at", UtcDateTime),
    # A vote is about one of the two.
    Column("comparison_id", String(32), ForeignKey("comparisons.id", ondelete="CASCADE")),
    Column("turn_id", String(32), ForeignKey("turns.id", ondelete="CASCADE")),
    Column("was_blind", Boolean, nullable=False),
    Column("ballot", JSON, nullable=False),
    # The client's own name for its request: one that is sent again is not a second vote.
    Column("client_key", String(64)),
    CheckConstraint("(comparison_id IS NULL) <> (turn_id IS NULL)", name="ck_votes_subject"),
    UniqueConstraint("voter", "client_key", name="uq_votes_client_key"),
    Index("ix_votes_created", "created_at"),
    Index("ix_votes_comparison", "comparison_id"),
    Index("ix_votes_turn", "turn_id"),
)

# Of all that a voter said about one thing, one vote counts.
for name in ("comparison_id", "turn_id"):
    Index(
        f"uq_votes_{name}",
        votes.c.voter,
        votes.c[name],
        unique=True,
        sqlite_where=votes.c.superseded_at.is_(None),
        postgresql_where=votes.c.superseded_at.is_(None),
    )
