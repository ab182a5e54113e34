"""Marks for what a machine may lack. Imports nothing that `kernels` and its tests do not need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # time is for benchmarks, not for tests
settings.load_profile("untimed")

SHARED = Path(os.environ.get("IHP_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not (SHARED / "data").is_dir():
            item.add_marker(pytest.mark.skip(reason="reference data is not beside this checkout"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference data that nobody in the project wrote; tests using it are marked."""
    return SHARED


@pytest.fixture(scope="session")
def raw_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw tables of a small synthetic state, its answers beside them. Read, never write."""
    from ihp_compute.synth import synth  # noqa: PLC0415 - kernels' tests do without

    folder = tmp_path_factory.mktemp("state") / "raw"
    synth(2500, 11, folder)
    return folder


@pytest.fixture(scope="session")
def small_population(raw_state: Path) -> Path:
    """The small state, prepared in five shards. Read, never write."""
    from ihp_compute.ingest import ingest  # noqa: PLC0415

    folder = raw_state.parent / "population"
    ingest(raw_state, folder, shards=5)
    return folder
