from __future__ import annotations

import json
import sqlite3
import time
import uuid
from functools import partial
from pathlib import Path

import alembic.command
import alembic.config
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateTable

from cluster import database, schema
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


def test_a_database_of_the_first_step_is_brought_to_the_newest(home: Home) -> None:
    """Runs keep id, request, end and history; what stands between the states is found anew."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = create_engine(home.database_url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
    engine.dispose()
    asked = json.dumps({"asked": {"population": "state", "contracts": ["ours"]}, "seed": 1})
    rows = [
        ("1", "run", asked, "succeeded", 0, None, None),
        ("2", "run", asked, "failed", 0, "gate_error", None),
        ("3", "run", asked, "running", 1, None, "dead:1"),
        ("4", "run", asked, "running", 0, None, "dead:1"),
        ("5", "sweep", json.dumps({"asked": {"run": "1"}}), "queued", 0, None, None),
    ]
    with sqlite3.connect(home.path / "service.db") as file:
        file.executemany(
            "INSERT INTO runs (id, kind, owner, request, state, cancel_requested, reason,"
            " lease_owner, lease_until_ms, shards_done, shards_total, attempt, losses, created_ms)"
            " VALUES (?, ?, 'o', ?, ?, ?, ?, ?, 1, 0, 0, 1, 0, 1)",
            rows,
        )
        file.execute(
            "INSERT INTO events (run_id, at_ms, actor, kind, to_state, detail)"
            " VALUES ('1', 1, 'o', 'submitted', 'queued', '{}')"
        )
        file.execute(
            "INSERT INTO attempts (run_id, number, dispatcher, started_ms) VALUES ('1', 1, 'd', 1)"
        )
    file.close()
    store = Store(home.database_url)
    runs = {run.id: run for run in store.queue.runs("run", limit=9)}
    assert {name: run.state for name, run in runs.items()} == {
        "1": "succeeded", "2": "failed", "3": "cancelling", "4": "running",
    }  # fmt: skip
    assert runs["2"].reason == "data_error"
    assert {run.contract for run in runs.values()} == {"ours"}
    assert [event.kind for event in store.queue.events("1")] == ["submitted"]
    assert sorted(store.leases.reclaim(actor="d")) == ["3", "4"]
    assert store.queue.run("3").state == "cancelled"
    assert [run.id for run in store.queue.runs("run", limit=9, state="queued")] == ["4"]
    assert store.queue.runs("sweep", limit=9)[0].population is None
    store.close()


def test_the_schema_can_be_written_for_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in METADATA.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).lstrip().startswith("CREATE TABLE")
    assert "clock_timestamp" in str(select(DatabaseNow()).compile(dialect=dialect))


def test_a_file_of_other_content_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    path.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(InfrastructureError, match="cannot be opened: file is not a database"):
        Store(f"sqlite:///{path}")


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


def test_keys_that_were_printed_at_each_start_end_with_the_operators_first(tmp_path: Path) -> None:
    """A database of the first step, which knew neither an audit nor one key of the operator."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        for n, note in enumerate(("printed by ihp serve", "printed by ihp serve", "mine")):
            connection.exec_driver_sql(
                "INSERT INTO api_keys (id, owner, note, scopes, key_hmac, created_ms, expires_ms) "
                f"VALUES ('{n}', 'operator', '{note}', '[]', 'h{n}', 0, 99999999999999)"
            )
    engine.dispose()
    store = Store(url)
    assert not store.keys.has_operator()
    assert all(store.keys.find(f"h{n}") for n in range(3))
    store.keys.add("new", owner="operator", note="", scopes=[], days=1, operator=True)
    good = [store.keys.find(key_hmac) is not None for key_hmac in ("h0", "h1", "h2", "new")]
    assert good == [False, False, True, True]
    store.close()
