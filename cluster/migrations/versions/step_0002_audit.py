"""What was done by whom, contracts with their versions, last use of keys, the operator's key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEEP = "what was done is kept as it was written"
"""Said by the database to whoever would change or remove a row of the audit."""


def upgrade() -> None:
    """Create the tables, and make the audit one that only grows."""
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("key_id", sa.String(36)),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("run_id", sa.String(200)),
        sa.Column("result_table", sa.String(200)),
        sa.Column("subject", sa.String(200)),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_run_id", "audit", ["run_id"])
    op.create_table(
        "contracts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("toml", sa.Text(), nullable=False),
        sa.Column("toml_sha256", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_contracts"),
        sa.UniqueConstraint("name", "version", name="uq_contracts_name"),
    )
    op.add_column("api_keys", sa.Column("last_used_ms", sa.BigInteger()))
    op.add_column(
        "api_keys", sa.Column("operator", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    keep_audit()


def keep_audit() -> None:
    """Have the database refuse to change or remove a row."""
    if op.get_context().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{what.lower()} BEFORE {what} ON audit "
                f"BEGIN SELECT RAISE(ABORT, '{KEEP}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{KEEP}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_kept()"
        )


def downgrade() -> None:
    """Drop them."""
    for table in ("contracts", "audit"):
        op.drop_table(table)
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_column("operator")
        keys.drop_column("last_used_ms")
