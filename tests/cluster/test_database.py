from __future__ import annotations

import sqlite3
import time
import uuid
from functools import partial

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateTable

from cluster.database import new_id
from cluster.home import Home
from cluster.schema import METADATA, DatabaseNow
from cluster.store import Store
from ihp_compute.errors import InfrastructureError


@pytest.mark.usefixtures("store")
def test_the_migrations_build_the_schema_as_declared(home: Home) -> None:
    engine = create_engine(home.database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_the_schema_can_be_written_for_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in METADATA.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).lstrip().startswith("CREATE TABLE")
    assert "clock_timestamp" in str(select(DatabaseNow()).compile(dialect=dialect))


def test_a_database_of_a_newer_program_is_refused(store: Store, home: Home) -> None:
    store.close()
    with sqlite3.connect(home.path / "service.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(InfrastructureError, match="step 9999"):
        Store(home.database_url)


def test_a_file_that_is_no_database_is_refused_in_words(home: Home) -> None:
    (home.path / "service.db").mkdir()
    with pytest.raises(InfrastructureError, match="cannot be opened"):
        Store(home.database_url)


def test_ids_sort_by_the_time_they_were_made() -> None:
    first = new_id()
    time.sleep(0.003)
    second = new_id()
    assert first < second
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122


def test_a_locked_database_is_an_error_and_no_half_of_a_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.database.BUSY_S", 0.05)
    store = Store(home.database_url)
    submit = partial(
        store.queue.submit, "run", {}, owner="o", idempotency_key="k", payload_sha256="0" * 64
    )
    other = sqlite3.connect(home.path / "service.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        submit()
    other.execute("ROLLBACK")
    other.close()
    assert store.queue.runs("run", limit=9) == []
    run, _ = submit()
    assert run.state == "queued"
    store.close()
