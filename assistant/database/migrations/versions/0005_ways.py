"""The way a column is answered may tell who chose its answer, too."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("comparison_columns") as table:
        table.alter_column("mode", existing_type=sa.String(16), type_=sa.String(128), existing_nullable=False)
