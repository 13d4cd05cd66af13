"""Conversations and their turns."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, Text

from assistant.database.tables.common import UtcDateTime, metadata

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("title", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_conversations_owner", "owner", "updated_at"),
)

turns = Table(
    "turns",
    metadata,
    Column("id", String(32), primary_key=True),
    # Null for a turn outside any conversation, as the API makes them; its position is then 0.
    Column("conversation_id", String(32), ForeignKey("conversations.id", ondelete="CASCADE")),
    Column("position", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
    Column("state", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("adapter", String(255), nullable=False),
    Column("request", JSON, nullable=False),
    Column("user_text", Text, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("base_digest", String(64), nullable=False),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Index("ix_turns_state", "state"),
)

# Removed turns keep their position, so only those that are shown have a place of their own.
Index(
    "uq_turns_place",
    turns.c.conversation_id,
    turns.c.position,
    unique=True,
    sqlite_where=turns.c.removed_at.is_(None),
    postgresql_where=turns.c.removed_at.is_(None),
)
