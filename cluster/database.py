"""The service's database: opened, brought to its newest step, read and written by transaction.

SQLite (WAL) in the home folder, or any PostgreSQL by URL. Its clock is the only one that counts. A
database that is away, or held by another for too long, raises one of `AWAY`: it may come back.

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
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Table,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy import exc as sql

from cluster.schema import DatabaseNow
from ihp_compute.errors import InfrastructureError

BUSY_S: Final = 30.0
"""How long a writer waits for another."""
REACHED_S: Final = 10
"""How long it may take to reach a server, and until one of the connections to it is free."""
AWAY: Final = (sql.OperationalError, sql.InterfaceError, sql.TimeoutError)
"""What is raised while the database does not answer, a connection that breaks among them."""
_DRIVER: Final = "postgresql+psycopg"
_MIGRATING: Final = 7_145_318
"""Lock of PostgreSQL under which steps are taken: a number that nobody else uses there."""

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
        If the database cannot be opened or is newer than this program, or its driver is missing.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._on_server = self._engine.dialect.name != "sqlite"
        # a reader of SQLite sees one moment in any case
        moment = {"isolation_level": "REPEATABLE READ"} if self._on_server else {}
        self._reads = self._engine.execution_options(ihp_read_only=True, **moment)
        try:
            _migrate(self._engine)
        except (*AWAY, sql.DatabaseError) as error:  # the last: what stands there is no database
            self.close()
            where = "its server and its URL" if self._on_server else "the folder and its free space"
            said = str(getattr(error, "orig", error)).strip().partition("\n")[0]
            raise InfrastructureError(
                f"the database cannot be opened: {said}; check {where}"
            ) from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @contextmanager
    def write(self, *, wait_s: float | None = None) -> Iterator[Connection]:
        """A transaction that writes: kept as a whole at its end, dropped on an error.

        Parameters
        ----------
        wait_s : float, optional
            How long to wait for another writer, of SQLite or of the same row; `BUSY_S` unless
            given.
        """
        wait_s = BUSY_S if wait_s is None else wait_s
        engine = self._engine.execution_options(ihp_wait_s=wait_s)
        with engine.begin() as connection:
            if self._on_server:  # where 0 would be for ever
                wait_ms = max(1, round(wait_s * 1000))
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait_ms}")
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
    return _sqlite(url) if url.startswith("sqlite") else _postgresql(url)


def _postgresql(url: str) -> Engine:
    try:
        address = make_url(url)
        if address.drivername in ("postgres", "postgresql"):
            address = address.set(drivername=_DRIVER)
        if address.drivername != _DRIVER:
            raise InfrastructureError(
                f"the database is of kind {address.drivername}; SQLite in the home, or "
                "postgresql://USER@HOST/DATABASE"
            )
        return create_engine(
            address,
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=24,
            pool_timeout=REACHED_S,
            connect_args={
                "connect_timeout": REACHED_S,
                # a server that is gone without a word is noticed in half a minute
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 4,
                "tcp_user_timeout": 30_000,
            },
        )
    except sql.ArgumentError as error:
        raise InfrastructureError(
            "the database's URL is none; postgresql://USER@HOST/DATABASE, or leave it out for "
            "SQLite in the home"
        ) from error
    except ModuleNotFoundError as error:
        raise InfrastructureError(
            f"PostgreSQL needs {error.name}, which is not installed; "
            "install ihp-compute with its extra: ihp-compute[postgres]"
        ) from error


def _sqlite(url: str) -> Engine:
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
        options = connection.get_execution_options()
        if options.get("ihp_read_only"):
            connection.exec_driver_sql("BEGIN")
            return
        wait_ms = round(options.get("ihp_wait_s", BUSY_S) * 1000)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait_ms}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _migrate(engine: Engine) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:  # one writer at a time: two processes may open at once
        if engine.dialect.name != "sqlite":
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
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
