"""Votes. The thumbs of the turns become ratings."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

LIKES = """
    SELECT turns.id, conversations.owner, coalesce(turns.finished_at, turns.created_at) AS moment, turns.liked
    FROM turns JOIN conversations ON conversations.id = turns.conversation_id
    WHERE turns.liked IS NOT NULL
"""


def upgrade() -> None:
    votes = op.create_table(
        "votes",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("voter", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True)),
        sa.Column("comparison_id", sa.String(32), sa.ForeignKey("comparisons.id", ondelete="CASCADE")),
        sa.Column("turn_id", sa.String(32), sa.ForeignKey("turns.id", ondelete="CASCADE")),
        sa.Column("was_blind", sa.Boolean, nullable=False),
        sa.Column("ballot", sa.JSON, nullable=False),
        sa.Column("client_key", sa.String(64)),
        sa.CheckConstraint("(comparison_id IS NULL) <> (turn_id IS NULL)", name="ck_votes_subject"),
        sa.UniqueConstraint("voter", "client_key", name="uq_votes_client_key"),
    )
    op.create_index("ix_votes_created", "votes", ["created_at"])
    op.create_index("ix_votes_comparison", "votes", ["comparison_id"])
    op.create_index("ix_votes_turn", "votes", ["turn_id"])
    for name in ("comparison_id", "turn_id"):
        op.create_index(
            f"uq_votes_{name}",
            "votes",
            ["voter", name],
            unique=True,
            sqlite_where=sa.text("superseded_at IS NULL"),
            postgresql_where=sa.text("superseded_at IS NULL"),
        )
    likes = op.get_bind().execute(sa.text(LIKES).columns(moment=sa.DateTime(timezone=True), liked=sa.Boolean)).all()
    ratings = [
        {
            "id": uuid.uuid4().hex,
            "voter": like.owner,
            "created_at": like.moment,
            "turn_id": like.id,
            "was_blind": False,
            "ballot": {"turn_id": like.id, "thumb": like.liked},
        }
        for like in likes
    ]
    op.bulk_insert(votes, ratings)
    op.drop_column("turns", "liked")
