"""What shards of a run came to, for the attempt that goes on after one that died."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "parts",
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("task_sha256", sa.String(64), nullable=False),
        sa.Column("first_shard", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("n_shards", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kept_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_parts_run_id"),
        sa.PrimaryKeyConstraint(
            "run_id", "task_sha256", "first_shard", "n_shards", name="pk_parts"
        ),
    )


def downgrade() -> None:
    """Drop the table; runs under way begin anew."""
    op.drop_table("parts")
