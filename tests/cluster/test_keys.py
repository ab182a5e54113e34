from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from cluster.database import BUSY_S
from cluster.schema import api_keys
from cluster.store import Store


def test_a_key_is_found_by_its_hash_until_it_is_revoked_or_expires(store: Store) -> None:
    key_id = store.keys.add("h1", owner="operator", note="n", scopes=["runs:read"], days=1)
    store.keys.add("h2", owner="operator", note="n", scopes=[], days=0)
    found = store.keys.find("h1")
    assert found is not None
    assert (found.id, found.owner, found.scopes) == (key_id, "operator", ("runs:read",))
    assert store.keys.find("h2") is None
    assert store.keys.find("h3") is None
    assert store.keys.revoke(key_id)
    assert not store.keys.revoke(key_id)
    assert store.keys.find("h1") is None
    assert len(store.keys.issued()) == 2


def test_the_last_use_of_a_key_is_noted_once_a_minute_and_waits_for_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keys.add("h1", owner="operator", note="n", scopes=[], days=1)
    assert store.keys.issued()[0].last_used_ms is None
    with store._database.write() as other:
        other.execute(update(api_keys).values(note="held"))
        started_s = time.monotonic()
        assert store.keys.find("h1") is not None
        assert time.monotonic() - started_s < BUSY_S / 2  # a writer waits for so long
    assert store.keys.issued()[0].last_used_ms is None
    store.keys.find("h1")
    first = store.keys.issued()[0].last_used_ms
    assert first is not None
    time.sleep(0.005)
    store.keys.find("h1")
    assert store.keys.issued()[0].last_used_ms == first
    monkeypatch.setattr("cluster.keys.USED_MS", 1)
    store.keys.find("h1")
    assert store.keys.issued()[0].last_used_ms != first


def test_a_new_key_of_the_operator_ends_the_one_before(store: Store) -> None:
    assert not store.keys.has_operator()
    store.keys.add("h1", owner="operator", note="", scopes=["admin"], days=1, operator=True)
    store.keys.add("h2", owner="operator", note="", scopes=["admin"], days=1)
    store.keys.add("h3", owner="operator", note="", scopes=["admin"], days=1, operator=True)
    assert store.keys.has_operator()
    assert store.keys.find("h1") is None
    assert store.keys.find("h2") is not None
    assert store.keys.find("h3") is not None


def test_keys_are_listed_page_by_page(store: Store) -> None:
    for n in range(3):
        store.keys.add(f"h{n}", owner="o", note=str(n), scopes=[], days=1)
        time.sleep(0.002)
    newest, middle, oldest = store.keys.issued()
    assert store.keys.issued(limit=2) == [newest, middle]
    assert store.keys.issued(limit=2, before=middle.id) == [oldest]
