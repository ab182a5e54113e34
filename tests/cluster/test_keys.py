from __future__ import annotations

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
