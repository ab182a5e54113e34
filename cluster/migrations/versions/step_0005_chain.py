"""Each row of the audit chained to the one before it, those that are there too."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

from cluster.migrations.versions.step_0002_audit import keep_audit

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SAID = (
    "at_ms", "owner", "key_id", "action", "outcome", "route", "run_id", "result_table", "subject",
    "request_id",
)  # fmt: skip


def upgrade() -> None:
    """Add the column, fill it, and have the table kept again."""
    _let_go()
    op.add_column("audit", sa.Column("sha256", sa.String(64)))
    table = sa.table(
        "audit", sa.column("seq"), sa.column("sha256"), *(sa.column(name) for name in _SAID)
    )
    connection = op.get_bind()
    before = None
    for row in connection.execute(sa.select(table).order_by(table.c.seq)).mappings().all():
        said = {name: row[name] for name in _SAID}
        text = json.dumps({**said, "before": before}, sort_keys=True, separators=(",", ":"))
        before = hashlib.sha256(text.encode()).hexdigest()
        connection.execute(sa.update(table).where(table.c.seq == row["seq"]).values(sha256=before))
    with op.batch_alter_table("audit") as audit:
        audit.alter_column("sha256", existing_type=sa.String(64), nullable=False)
    keep_audit()


def downgrade() -> None:
    """Drop the column."""
    _let_go()
    op.drop_column("audit", "sha256")
    keep_audit()


def _let_go() -> None:
    if op.get_context().dialect.name == "sqlite":
        for what in ("update", "delete"):
            op.execute(f"DROP TRIGGER audit_no_{what}")
    else:
        op.execute("DROP TRIGGER audit_kept ON audit")
        op.execute("DROP FUNCTION audit_kept")
