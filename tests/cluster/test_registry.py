from __future__ import annotations

import pytest

from cluster.registry import NameTakenError, UnknownPopulationError
from cluster.store import Store


def test_a_population_name_stands_for_one_content(store: Store) -> None:
    values = {
        "name": "2024",
        "location": "default",
        "prefix": "pop",
        "population_digest": "aa",
        "members": 1,
        "member_months": 12,
        "n_shards": 4,
        "owner": "operator",
    }
    held, new = store.registry.register(**values)
    assert new
    assert store.registry.register(**values) == (held, False)
    with pytest.raises(NameTakenError, match="2024"):
        store.registry.register(**{**values, "population_digest": "bb"})
    assert store.registry.find("2024") == store.registry.find(held.id) == held
    assert store.registry.registered() == [held]


def test_an_unknown_population_is_named_as_such(store: Store) -> None:
    with pytest.raises(UnknownPopulationError):
        store.registry.find("no")
