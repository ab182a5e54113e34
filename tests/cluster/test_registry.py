from __future__ import annotations

from typing import Any

import pytest

from cluster.audit import Actor
from cluster.registry import NameTakenError, UnknownPopulationError
from cluster.store import Store


def test_a_population_name_stands_for_one_content(store: Store) -> None:
    values: dict[str, Any] = {
        "name": "2024",
        "location": "default",
        "prefix": "pop",
        "population_digest": "aa",
        "members": 1,
        "member_months": 12,
        "n_shards": 4,
        "by": Actor("operator"),
    }
    held, new = store.registry.register(**values)
    assert new
    assert store.registry.register(**values) == (held, False)
    with pytest.raises(NameTakenError, match="2024"):
        store.registry.register(**{**values, "population_digest": "bb"})
    assert store.registry.find("2024") == store.registry.find(held.id) == held
    assert store.registry.registered(limit=9) == [held]
    assert held.owner == "operator"


def test_a_population_that_is_forgotten_leaves_its_name_to_another(store: Store) -> None:
    values: dict[str, Any] = {
        "name": "2024", "location": "default", "prefix": "pop", "members": 1,
        "member_months": 12, "n_shards": 4, "by": Actor("ann"),
    }  # fmt: skip
    held, _ = store.registry.register(**values, population_digest="aa")
    store.registry.remove(held, by=Actor("bob"))
    store.registry.remove(held, by=Actor("bob"))
    _, new = store.registry.register(**values, population_digest="bb")
    assert new
    kept = [(entry.owner, entry.action, entry.subject) for entry in store.audit.entries(limit=9)]
    assert kept == [
        ("ann", "population_registered", "2024"),
        ("bob", "population_removed", "2024"),
        ("ann", "population_registered", "2024"),
    ]


def test_an_unknown_population_is_named_as_such(store: Store) -> None:
    with pytest.raises(UnknownPopulationError):
        store.registry.find("no")
