"""Tables of the service's database, and its clock: milliseconds since 1970, one for every lease.

`migrations` builds the tables; a test holds the two equal. No column holds member data.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


COUNTED: Final = BigInteger().with_variant(Integer(), "sqlite")
"""Type of a number that the database gives out; SQLite counts in its own integer alone."""


class DatabaseNow(ColumnElement[int]):
    """Milliseconds since 1970 by the clock of the database: one clock for every lease."""

    type = BigInteger()
    inherit_cache = True


# SQLAlchemy's decorator has no annotations; with some of its releases nothing needs ignoring
@compiles(DatabaseNow, "sqlite")  # type: ignore[no-untyped-call,untyped-decorator,unused-ignore]
def _sqlite_now(_element: DatabaseNow, _compiler: Any, **_kw: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


# as above
@compiles(DatabaseNow, "postgresql")  # type: ignore[no-untyped-call,untyped-decorator,unused-ignore]
def _postgresql_now(_element: DatabaseNow, _compiler: Any, **_kw: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


api_keys: Final = Table(
    "api_keys",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("note", String(200), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("key_hmac", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("last_used_ms", BigInteger),
    Column("operator", Boolean, nullable=False, server_default=false()),  # one in use at a time
    UniqueConstraint("key_hmac"),
)
populations: Final = Table(
    "populations",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("location", String(100), nullable=False),
    Column("prefix", String(500), nullable=False),
    Column("population_digest", String(64), nullable=False),
    Column("members", BigInteger, nullable=False),
    Column("member_months", BigInteger, nullable=False),
    Column("n_shards", Integer, nullable=False),
    Column("owner", String(100), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("name"),
)
runs: Final = Table(
    "runs",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("kind", String(20), nullable=False),  # which work of the dispatcher
    Column("owner", String(100), nullable=False),
    Column("request", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("shards_done", Integer, nullable=False),
    Column("shards_total", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("population", String(100)),  # by the names that the caller gave
    Column("contract", String(100)),
    Column("fingerprint", String(64)),  # equal: the same results
    Column("retry_of", String(36)),  # the run that this one makes again
    Column("review", JSON),  # gates that tripped, and who accepted them
    Column("certification", JSON),  # the one thing that a run that succeeded may still be given
    Column("digest", String(64)),
    Column("reason", String(40)),  # of a failure
    Column("detail", Text),
    Column("attempt", Integer, nullable=False),  # the last one started; 0: none yet
    Column("losses", Integer, nullable=False),  # attempts whose dispatcher died
    Column("lease_owner", String(200)),
    Column("lease_until_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Index(None, "state"),
    Index(None, "created_ms"),
    Index(None, "fingerprint"),
    Index(None, "retry_of", unique=True),
)
attempts: Final = Table(
    "attempts",
    METADATA,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("dispatcher", String(200), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("outcome", String(20)),  # a final state, needs_review, released, lost
)
parts: Final = Table(
    "parts",  # results of shards of runs under way; gone when their run ends
    METADATA,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("task_sha256", String(64), primary_key=True),
    Column("first_shard", Integer, primary_key=True, autoincrement=False),
    Column("n_shards", Integer, primary_key=True, autoincrement=False),
    Column("content_sha256", String(64), nullable=False),
    Column("file_sha256", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),  # whose it is
    Column("kept_ms", BigInteger, nullable=False),
)
idempotency: Final = Table(
    "idempotency",
    METADATA,
    Column("owner", String(100), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("payload_sha256", String(64), nullable=False),
    Column("run_id", String(36), ForeignKey("runs.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
events: Final = Table(
    "events",
    METADATA,
    Column("seq", COUNTED, primary_key=True, autoincrement=True),
    Column("run_id", String(36), ForeignKey("runs.id"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("from_state", String(20)),
    Column("to_state", String(20)),
    Column("detail", JSON, nullable=False),
    Index(None, "run_id"),
)
belongs: Final = Table(
    "belongs",  # one row, of a database that a home does not hold itself
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("home", String(64), nullable=False),  # what `Home.identity` says
    Column("since_ms", BigInteger, nullable=False),
)
contracts: Final = Table(
    "contracts",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("version", Integer, nullable=False),  # 1, 2 …; never changed once it is there
    Column("toml", Text, nullable=False),
    Column("toml_sha256", String(64), nullable=False),
    Column("owner", String(100), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("name", "version"),
)
audit: Final = Table(
    "audit",  # rows are appended, each chained to the one before; none is changed or removed
    METADATA,
    Column("seq", COUNTED, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("owner", String(100), nullable=False),
    Column("key_id", String(36)),
    Column("action", String(40), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("route", String(200), nullable=False),
    Column("run_id", String(200)),
    Column("result_table", String(200)),
    Column("subject", String(200)),
    Column("request_id", String(36), nullable=False),
    Column("sha256", String(64), nullable=False),
    Index(None, "run_id"),
)
