from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.home import Home
from cluster.store import Store

if TYPE_CHECKING:
    from cluster.runner import RayRunner


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    store = Store(home.database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def ray_runner() -> Iterator[RayRunner]:
    """One local cluster for every test that wants one: starting it costs seconds."""
    from cluster.runner import RayRunner  # noqa: PLC0415 (tests of the store need no Ray)

    with RayRunner("local", cpus=2) as runner:
        yield runner
