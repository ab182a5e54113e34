"""States between queue and end, what lists of runs are searched by, reviews and certification.

Columns are added and filled from the requests that are there. A run that was running when its
service stopped stays so, and is taken over as before; one that was asked to stop is `cancelling`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REASONS = {
    "acceptance_error": "data_error",
    "gate_error": "data_error",
    "grid_error": "contract_error",
    "unbalanced_ledger": "data_error",
    "defect": "infrastructure",
}
"""Reasons of failures that had words of their own before there was one list of them."""


def upgrade() -> None:
    """Add the columns and fill them."""
    for column in (
        sa.Column("population", sa.String(100)),
        sa.Column("contract", sa.String(100)),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("retry_of", sa.String(36)),
        sa.Column("review", sa.JSON()),
        sa.Column("certification", sa.JSON()),
    ):
        op.add_column("runs", column)  # one by one: SQLite would make the table anew otherwise
    op.create_index("ix_runs_fingerprint", "runs", ["fingerprint"])
    op.create_index("ix_runs_retry_of", "runs", ["retry_of"], unique=True)
    table = sa.table(
        "runs",
        sa.column("id", sa.String),
        sa.column("kind", sa.String),
        sa.column("state", sa.String),
        sa.column("reason", sa.String),
        sa.column("cancel_requested", sa.Boolean),
        sa.column("request", sa.JSON),
        sa.column("population", sa.String),
        sa.column("contract", sa.String),
    )
    connection = op.get_bind()
    connection.execute(
        sa.update(table)
        .where(table.c.state == "running", table.c.cancel_requested.is_(True))
        .values(state="cancelling")
    )
    for before, after in _REASONS.items():
        connection.execute(sa.update(table).where(table.c.reason == before).values(reason=after))
    held = connection.execute(sa.select(table.c.id, table.c.request).where(table.c.kind == "run"))
    for run_id, request in held.all():
        asked = (request or {}).get("asked") or {}
        names = asked.get("contracts") or [None]
        connection.execute(
            sa.update(table)
            .where(table.c.id == run_id)
            .values(population=asked.get("population"), contract=names[0])
        )


def downgrade() -> None:
    """Drop the columns; states that the step before does not know become those that it does."""
    table = sa.table("runs", sa.column("state", sa.String))
    connection = op.get_bind()
    for before, after in (
        ("validating", "running"),
        ("committing", "running"),
        ("cancelling", "running"),
        ("needs_review", "queued"),
    ):
        connection.execute(sa.update(table).where(table.c.state == before).values(state=after))
    for name in ("fingerprint", "retry_of"):
        op.drop_index(f"ix_runs_{name}", "runs")
    for name in ("certification", "review", "retry_of", "fingerprint", "contract", "population"):
        op.drop_column("runs", name)
