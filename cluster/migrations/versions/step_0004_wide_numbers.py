"""Numbers of events and of the audit's rows in 64 bits; whose home a database on a server is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTED = ("events", "audit")


def upgrade() -> None:
    """Widen the numbers, which SQLite has so wide already, and add the table."""
    _count_in("BIGINT")
    op.create_table(
        "belongs",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("home", sa.String(64), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_belongs"),
    )


def downgrade() -> None:
    """Drop the table; numbers that do not fit any more stop this."""
    op.drop_table("belongs")
    _count_in("INTEGER")


def _count_in(kind: str) -> None:
    if op.get_context().dialect.name == "sqlite":
        return
    for table in COUNTED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN seq TYPE {kind}")
        op.execute(f"ALTER SEQUENCE {table}_seq_seq AS {kind}")
