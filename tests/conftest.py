"""Marks for what a machine may lack. Imports nothing that `kernels` and its tests do not need."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from llvmlite.binding import get_host_cpu_features

if TYPE_CHECKING:
    from tests.postgresql import Server
    from tests.s3_store import Store

# time is for benchmarks, not for tests
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SHARED = Path(os.environ.get("IHP_SHARED", Path(__file__).resolve().parents[2] / "shared"))

VECTORS = {"avx512bw": "AVX-512", "avx2": "AVX2", "sse4.2": "SSE4.2", "sve": "SVE", "neon": "NEON"}
"""Vector units by the processor feature that tells of them, the widest of a kind first."""


def pytest_report_header() -> str:
    """What a failure may depend on: interpreter, array libraries, the vectors compiled for."""
    features = vars(numba.config)["CPU_FEATURES"]  # numba sets its config at run time
    if features is None:
        features = get_host_cpu_features().flatten()
    known = (unit for name, unit in VECTORS.items() if f"+{name}" in features.split(","))
    return (
        f"{platform.python_implementation()} {platform.python_version()}, NumPy {np.__version__}, "
        f"Numba {numba.__version__}, {next(known, 'no known vector unit')}"
    )


BESIDE = {"postgresql", "lake"}
"""Fixtures that are a program beside ours."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not BESIDE.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.beside)
        if item.get_closest_marker("shared") and not (SHARED / "data").is_dir():
            item.add_marker(pytest.mark.skip(reason="reference data is not beside this checkout"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference data that nobody in the project wrote; tests using it are marked."""
    return SHARED


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server, for whoever makes a database on it; started again by who stops it."""
    from tests.postgresql import programs, server  # noqa: PLC0415 - kernels' tests do without

    if programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    with server() as started:
        yield started


@pytest.fixture(scope="module")
def bucket_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An S3-compatible store, which a module may damage and stop."""
    from tests.s3_store import running  # noqa: PLC0415 - kernels' tests do without

    with running(tmp_path_factory.mktemp("store") / "buckets") as started:
        yield started


@pytest.fixture
def lake(bucket_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, by the name `lake` in this process's environment, with an empty cache."""
    for name, value in bucket_store.environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    return bucket_store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's file of SQLite with its tables made; whoever wants one copies it."""
    from cluster.store import Store  # noqa: PLC0415

    path = tmp_path_factory.mktemp("database") / "service.db"
    Store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def raw_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw tables of a small synthetic state, its answers beside them. Read, never write."""
    from ihp_compute.synth.state import synth  # noqa: PLC0415 - kernels' tests do without

    folder = tmp_path_factory.mktemp("state") / "raw"
    synth(2500, 11, folder)
    return folder


@pytest.fixture(scope="session")
def small_population(raw_state: Path) -> Path:
    """The small state, prepared in five shards. Read, never write."""
    from ihp_compute.ingest.passes import ingest  # noqa: PLC0415

    folder = raw_state.parent / "population"
    ingest(raw_state, folder, shards=5)
    return folder


@pytest.fixture(scope="session")
def small_run(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small state. Read, never write, and show its open form of a copy only."""
    from ihp_compute.pipeline import RunRequest, run  # noqa: PLC0415
    from ihp_compute.runner import LocalRunner  # noqa: PLC0415

    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20)
    return run(request, tmp_path_factory.mktemp("of-the-state") / "run", LocalRunner(1)).run_dir


@pytest.fixture(scope="session")
def shown_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, its open form shown. Read, never write."""
    from ihp_compute.results import open_form  # noqa: PLC0415

    place = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("shown") / "run"))
    open_form(place)
    return place
