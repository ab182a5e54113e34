"""A run that succeeded, which several tests of pages show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.service import Service
from cluster.runs import Run
from ihp_compute.results import read_manifest


@pytest.fixture
def done(service: Service, start: Callable[..., Any], small_run: Path) -> Run:
    """A run of the service that succeeded with these results."""
    start()
    held = service.store.leases.take("d1", lease_ms=60_000)
    assert held is not None
    folder = service.home.attempt(held.id, held.attempt)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(small_run, folder)
    ended = service.store.leases.finish(
        held, "succeeded", digest=read_manifest(small_run)["digest"]
    )
    assert ended is not None
    return ended
