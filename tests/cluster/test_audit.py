"""What was done is kept in the order it was done, and nobody can take it back."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import alembic.command
import alembic.config
import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError

from cluster import schema
from cluster.audit import COMMAND_LINE, Actor, Chain
from cluster.home import Home
from cluster.store import Store

ANN = Actor("ann", "key-1", "GET /v1/runs/{run_id}/results/{table}", "r-1")


def test_who_did_what_is_listed_newest_first_and_by_what_it_was(store: Store) -> None:
    store.audit.append(ANN, "member_rows_read", run_id="run-1", result_table="member_years")
    store.audit.append(ANN, "request", outcome="refused", run_id="run-2")
    store.audit.append(COMMAND_LINE, "population_removed", subject="state")
    removed, refused, read = store.audit.entries(limit=10)
    assert (read.owner, read.key_id, read.route, read.request_id) == (
        "ann", "key-1", "GET /v1/runs/{run_id}/results/{table}", "r-1",
    )  # fmt: skip
    assert (read.action, read.outcome, read.run_id, read.result_table) == (
        "member_rows_read", "done", "run-1", "member_years",
    )  # fmt: skip
    assert (removed.owner, removed.key_id, removed.subject) == ("command line", None, "state")
    assert store.audit.entries(limit=1) == [removed]
    assert store.audit.entries(limit=1, before=removed.seq) == [refused]
    assert store.audit.entries(limit=10, outcome="refused") == [refused]
    assert store.audit.entries(limit=10, run_id="run-1", owner="ann") == [read]
    assert store.audit.entries(limit=10, since_ms=read.at_ms, until_ms=read.at_ms) == []


def test_keys_made_and_revoked_are_kept_with_them(store: Store) -> None:
    key_id = store.keys.add("h1", owner="bob", note="", scopes=[], days=1, by=ANN)
    store.keys.revoke(key_id)
    assert not store.keys.revoke(key_id)
    revoked, made = store.audit.entries(limit=10)
    assert (made.action, made.owner, made.subject) == ("key_made", "ann", key_id)
    assert (revoked.action, revoked.owner, revoked.subject) == (
        "key_revoked", COMMAND_LINE.owner, key_id,
    )  # fmt: skip


@pytest.mark.parametrize("words", ["UPDATE audit SET owner = 'eve'", "DELETE FROM audit"])
def test_the_database_refuses_to_change_a_row(store: Store, home: Home, words: str) -> None:
    store.audit.append(ANN, "request", outcome="refused")
    connection = sqlite3.connect(home.path / "service.db")
    with pytest.raises(sqlite3.IntegrityError, match="kept as it was written"):
        connection.execute(words)
    connection.close()
    assert [entry.owner for entry in store.audit.entries(limit=10)] == ["ann"]


def test_what_a_caller_puts_into_a_path_is_kept_short_and_printable(store: Store) -> None:
    store.audit.append(ANN, "request", outcome="refused", run_id="a\x00\n" + "b" * 5000)
    (entry,) = store.audit.entries(limit=10)
    assert entry.run_id is not None
    assert entry.run_id.startswith("a??bb")
    assert len(entry.run_id) == 200


def test_an_act_that_fails_leaves_no_row(store: Store) -> None:
    store.keys.add("h1", owner="bob", note="", scopes=[], days=1)
    with pytest.raises(SQLAlchemyError):
        store.keys.add("h1", owner="bob", note="", scopes=[], days=1)  # one key, one hash
    assert len(store.audit.entries(limit=10)) == 1


@contextmanager
def behind_its_back(home: Home) -> Iterator[sqlite3.Connection]:
    """The file, with nothing that keeps the audit: what somebody with the disk can do."""
    with closing(sqlite3.connect(home.path / "service.db")) as file, file:
        for what in ("update", "delete"):
            file.execute(f"DROP TRIGGER audit_no_{what}")
        yield file


def test_each_entry_is_chained_to_the_one_before(store: Store) -> None:
    """As is documented: JSON of the columns, sorted by name, and the SHA-256 before."""
    assert store.audit.chain() == Chain(0, None, None, has_seen=True)
    for n in range(3):
        store.audit.append(ANN, "request", outcome="refused", subject=f"p-{n}")
    entries = store.audit.entries(limit=10)[::-1]
    before = None
    for entry in entries:
        said = {n: v for n, v in vars(entry).items() if n not in ("seq", "sha256")}
        text = json.dumps({**said, "before": before}, sort_keys=True, separators=(",", ":"))
        before = hashlib.sha256(text.encode()).hexdigest()
        assert entry.sha256 == before
    last = (entries[-1].seq, entries[-1].sha256)
    assert store.audit.chain() == Chain(3, last, None, has_seen=True)
    for entry in entries:
        assert store.audit.chain((entry.seq, entry.sha256)).valid
    assert not store.audit.chain((entries[0].seq, entries[1].sha256)).valid


@pytest.mark.parametrize(
    ("words", "broken"),
    [
        ("UPDATE audit SET owner = 'eve' WHERE seq = 3", 3),
        ("UPDATE audit SET at_ms = at_ms - 1 WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 2", 3),
        ("DELETE FROM audit WHERE seq = 1", 2),
        ("UPDATE audit SET seq = CASE seq WHEN 2 THEN 30 ELSE 20 END WHERE seq IN (2, 3)", 4),
    ],
)
def test_what_was_changed_taken_out_or_put_elsewhere_is_found(
    store: Store, home: Home, words: str, broken: int
) -> None:
    for n in range(5):
        store.audit.append(ANN, "request", outcome="refused", subject=f"p-{n}")
    with behind_its_back(home) as file:
        file.execute(words)
    chain = store.audit.chain()
    assert (chain.broken_at, chain.valid) == (broken, False)
    store.audit.append(ANN, "request", outcome="refused")
    assert store.audit.chain().broken_at == broken


def test_a_chain_cut_short_is_found_by_who_kept_its_last_entry(store: Store, home: Home) -> None:
    for _ in range(3):
        store.audit.append(ANN, "request", outcome="refused")
    kept = store.audit.chain().last
    with behind_its_back(home) as file:
        file.execute("DELETE FROM audit WHERE seq = 3")
    store.audit.append(ANN, "request", outcome="refused", subject="another")
    assert store.audit.chain().valid
    chain = store.audit.chain(kept)
    assert (chain.broken_at, chain.has_seen, chain.valid) == (None, False, False)


def test_those_who_write_at_once_make_one_chain(store: Store, home: Home) -> None:
    """From several processes, among acts that keep an entry with what they do."""
    others = [Store(home.database_url) for _ in range(3)]
    by_many(store, *others)
    for other in others:
        other.close()


def by_many(*stores: Store) -> None:
    """Keys, populations and contracts made at once by several writers, and one chain of them."""

    def act(n: int) -> None:
        store = stores[n % len(stores)]
        store.audit.append(ANN, "request", outcome="refused", subject=f"p-{n}")
        store.keys.add(f"h{n}", owner="o", note="", scopes=[], days=1, operator=True)
        store.contracts.add("ours", f"text = {n}", by=ANN)
        held, _ = store.registry.register(
            by=ANN, name=f"p-{n % 4}", location="default", prefix="x", population_digest="d",
            members=1, member_months=1, n_shards=1,
        )  # fmt: skip
        assert held.name == f"p-{n % 4}"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(24)))
    store = stores[0]
    chain = store.audit.chain()
    assert (chain.broken_at, chain.entries) == (None, 24 + 24 + 23 + 24 + 4)
    assert [version.version for version in store.contracts.versions("ours", limit=99)] == [
        *range(24, 0, -1)
    ]
    assert len(store.registry.registered(limit=99)) == 4


def test_entries_of_an_earlier_step_are_chained_when_it_is_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        entries_of_step_4(connection)
    engine.dispose()
    store = Store(url)
    store.audit.append(ANN, "request", outcome="refused")
    assert store.audit.chain().valid
    assert [entry.owner for entry in store.audit.entries(limit=9)] == ["ann", "b", "a"]
    store.close()
    with closing(sqlite3.connect(tmp_path / "old.db")) as file:
        for words in ("UPDATE audit SET owner = 'eve'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="kept as it was written"):
                file.execute(words)


def entries_of_step_4(connection: Connection) -> None:
    """Two entries in a database of the step before there was a chain."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "0004")
    for owner in ("a", "b"):
        connection.exec_driver_sql(
            "INSERT INTO audit (at_ms, owner, action, outcome, route, request_id)"
            f" VALUES (1, '{owner}', 'request', 'refused', '', '')"
        )
