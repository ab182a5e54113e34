from __future__ import annotations

from pathlib import Path

import pytest

from ihp_compute.storage import place_of
from ihp_compute.storage.locations import Place
from ihp_compute.storage.publishing import publish_to
from tests.s3_store import Store


@pytest.fixture
def published(lake: Store, small_population: Path, tmp_path: Path) -> Place:
    """The small population in a bucket, at a place of the test's own."""
    del lake
    place = place_of(f"lake:{tmp_path.name}/state")
    assert isinstance(place, Place)
    publish_to(place, small_population)
    return place
