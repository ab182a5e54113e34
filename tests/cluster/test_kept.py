"""Results of a service's runs in a bucket: what is put, what is brought back, what goes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cluster import kept
from cluster.dispatch import Dispatcher
from cluster.home import Home
from cluster.runner import RayRunner
from cluster.runs import Run
from cluster.store import Store
from cluster.work import WORK, opening
from ihp_compute import pipeline
from ihp_compute.errors import InfrastructureError, LocationError
from ihp_compute.pipeline import RunRequest
from ihp_compute.results import verify_run, was_shown
from ihp_compute.runner import LocalRunner
from ihp_compute.storage import Place, buckets, place_of, publish_to
from tests import s3_store


class Threads(LocalRunner):
    """Threads in the place of a cluster."""

    def for_run(self, **_named: object) -> Threads:
        return self

    def placed(self, _placement: object) -> Threads:
        return self


@pytest.fixture
def lake(lake: s3_store.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> s3_store.Store:
    """The store, where the service's runs are kept."""
    monkeypatch.setenv(kept.VARIABLE, f"lake:{tmp_path.name}")
    return lake


@pytest.fixture
def step(store: Store, home: Home) -> Callable[[RunRequest], Run]:
    """Queues a run and has a dispatcher do it; gives how it ended."""

    def do(request: RunRequest) -> Run:
        run, _ = store.queue.submit(
            "run", {**request.document(), "inputs": "0" * 64}, owner="o",
            idempotency_key=str(time.monotonic_ns()), payload_sha256="0" * 64,
        )  # fmt: skip
        runner = cast(RayRunner, Threads(1))
        show = opening(store.queue, home)
        assert Dispatcher(
            store.leases, home, runner, name="d", work=WORK, before_success=show
        ).step()
        return store.queue.run(run.id)

    return do


def request(population: Path) -> RunRequest:
    return RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=5, programme="none")


def test_a_run_of_a_service_is_put_into_the_bucket_and_brought_back(
    lake: s3_store.Store,
    step: Callable[[RunRequest], Run],
    home: Home,
    small_population: Path,
    tmp_path: Path,
) -> None:
    place = place_of(f"lake:{tmp_path.name}-state")
    assert isinstance(place, Place)
    publish_to(place, small_population)
    run = step(request(place.path))
    here = pipeline.run(request(small_population), tmp_path / "run")
    assert (run.state, run.digest, run.detail) == ("succeeded", here.digest, None)
    folder = home.attempt(run.id, run.attempt)
    assert was_shown(folder)
    shutil.rmtree(home.runs / run.id)
    assert kept.at_hand(folder) == folder
    assert verify_run(folder) == run.digest
    assert was_shown(folder)  # what it hides is chosen once, and is in the bucket
    assert (lake.at(tmp_path.name) / run.id / "1" / "manifest.json").is_file()


def test_a_run_whose_results_cannot_be_put_fails_and_shows_nothing(
    lake: s3_store.Store,
    step: Callable[[RunRequest], Run],
    home: Home,
    small_population: Path,
    monkeypatch: Any,
    tmp_path: Path,
) -> None:
    write = buckets.write

    def failing(place: Place, name: str, pieces: Iterator[bytes]) -> None:
        if name == "manifest.json":
            raise InfrastructureError("the store went away")
        write(place, name, pieces)

    monkeypatch.setattr(buckets, "write", failing)
    run = step(request(small_population))
    assert (run.state, run.reason, run.detail) == (
        "failed", "infrastructure", "the store went away",
    )  # fmt: skip
    assert not home.attempt(run.id, run.attempt).exists()
    left = lake.at(tmp_path.name) / run.id / "1"
    assert not (left / "manifest.json").exists()
    # a day later they go
    with lake.stopped():
        first = next(iter(s3_store.whole_objects(left / "objects")))
        for path in {*(left / "objects").iterdir()} - {first}:
            path.unlink()
        os.utime(first, (int(time.time()) - 25 * 3600,) * 2)
    assert kept.sweep(lambda _run: 0) == 1
    assert not first.exists()


def test_a_location_that_is_a_folder_holds_the_runs(
    home: Home, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("IHP_LOCATIONS", f'{{"disk": "{tmp_path / "disk"}"}}')
    assert home.runs == home.path / "runs"
    monkeypatch.setenv(kept.VARIABLE, "disk")
    assert home.attempt("r", 1) == tmp_path / "disk" / "r" / "1"
    monkeypatch.setenv(kept.VARIABLE, "disk:service/one")
    assert home.runs == tmp_path / "disk" / "service" / "one"
    monkeypatch.setenv(kept.VARIABLE, "pond")
    with pytest.raises(LocationError, match="IHP_RUNS: pond: no location pond is configured"):
        kept.check()
