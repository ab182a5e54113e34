"""The service's database: opened, brought to its newest step, read and written by transaction.

SQLite (WAL) in the home folder, or any PostgreSQL by URL. Its clock is the only one that counts.

Not here: the tables (`schema`), what stands in them (`keys`, `registry`, `queue`, `leases`).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeVar

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Row, Table, create_engine, event, select
from sqlalchemy.exc import OperationalError

from cluster.schema import DatabaseNow
from ihp_compute.errors import InfrastructureError

BUSY_S: Final = 30.0
"""How long a writer waits for another."""

_Record = TypeVar("_Record")


class Database:
    """One database. Safe for threads; open one in each process.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. Migrated to the newest step when opened.

    Raises
    ------
    InfrastructureError
        If the database cannot be opened or is newer than this program.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._reads = self._engine.execution_options(ihp_read_only=True)
        try:
            _migrate(self._engine)
        except OperationalError as error:
            self.close()
            raise InfrastructureError(
                f"the database cannot be opened: {error.orig}; check the folder and its free space"
            ) from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: kept as a whole at its end, dropped on an error."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, beside whoever writes."""
        with self._reads.connect() as connection:
            yield connection


def new_id() -> str:
    """A UUID of version 7: sorts by time, cannot be guessed."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def now_ms(connection: Connection) -> int:
    """Milliseconds since 1970 by the clock of the database."""
    return int(connection.execute(select(DatabaseNow())).scalar_one())


def row_as(kind: type[_Record], row: Row[Any]) -> _Record:
    """A row as a dataclass whose fields bear the names of columns."""
    values = row._mapping  # noqa: SLF001 (public in SQLAlchemy despite its name)
    return kind(**{name: values[name] for name in _names(kind)})


def columns(kind: type[Any], table: Table) -> list[Any]:
    """The columns of a table that a dataclass has fields for."""
    return [table.c[name] for name in _names(kind)]


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        url,
        pool_size=16,
        max_overflow=32,
        connect_args={"timeout": BUSY_S, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    # A reader that becomes a writer fails at once when another wrote in between, so a transaction
    # says from the start which of the two it is.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("ihp_read_only")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _migrate(engine: Engine) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:  # one writer at a time: two processes may open at once
        script = ScriptDirectory.from_config(config)
        found = MigrationContext.configure(connection).get_current_revision()
        if found == script.get_current_head():
            return
        if found is not None and found not in {step.revision for step in script.walk_revisions()}:
            raise InfrastructureError(
                f"the database stands at step {found}, which this program does not know; "
                "use the newer program that wrote it"
            )
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
