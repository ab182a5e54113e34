from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.storage import place_of
from ihp_compute.storage.locations import Place
from ihp_compute.storage.publishing import publish_to
from tests.s3_store import Store, running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with running(tmp_path_factory.mktemp("store") / "buckets") as found:
        yield found


@pytest.fixture
def lake(store: Store, tmp_path: Path, monkeypatch: Any) -> Store:
    """The store, by the name `lake` in this process's environment, with an empty cache."""
    for name, value in store.environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    return store


@pytest.fixture
def published(lake: Store, small_population: Path, tmp_path: Path) -> Place:
    """The small population in a bucket, at a place of the test's own."""
    del lake
    place = place_of(f"lake:{tmp_path.name}/state")
    assert isinstance(place, Place)
    publish_to(place, small_population)
    return place
