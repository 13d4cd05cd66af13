"""Comparisons: one question, several answers side by side; and the batches they come in."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from assistant.database.tables.common import UtcDateTime, metadata

batches = Table(
    "batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("state", String(16), nullable=False),
    # What every row asks, but for its question and references.
    Column("template", JSON, nullable=False),
    Index("ix_batches_owner", "owner", "created_at"),
)

comparisons = Table(
    "comparisons",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("batch_id", String(32), ForeignKey("batches.id", ondelete="CASCADE")),
    # The row of its batch, from 0; 0 for one that stands alone.
    Column("position", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("state", String(16), nullable=False),
    Column("question", Text, nullable=False),
    Column("request", JSON, nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("revealed_at", UtcDateTime),
    # Why a row of a batch could not be asked at all; what became of each answer is with its turn.
    Column("error", Text),
    Index("ix_comparisons_owner", "owner", "created_at"),
    Index("ix_comparisons_batch", "batch_id", "position"),
)

columns = Table(
    "comparison_columns",
    metadata,
    Column("comparison_id", String(32), ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True),
    # As asked for, from 0; `shown` is its place from the left, which a blind comparison shuffles.
    Column("position", Integer, primary_key=True),
    Column("shown", Integer, nullable=False),
    # The mode, and how one of several drawn answers was chosen: "tuned, best of 4 by taste".
    Column("mode", String(128), nullable=False),
    Column("adapter", String(255), nullable=False),
    # Settled before the turn begins, so that a crash between the two loses nothing.
    Column("turn_id", String(32), nullable=False, unique=True),
)
