"""A real recalculation on the cluster gives what threads give, whatever dies in between."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cluster.dispatch import Dispatcher
from cluster.home import Home
from cluster.runner import RayRunner, StoppedError
from cluster.runs import Run
from cluster.store import Store
from cluster.work import Attempt, recalculate, resettle
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.remeasured import sweep_anew
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.storage import Place, place_of, publish_to
from ihp_compute.sweeps import grid_of
from ihp_compute.synth.state import synth
from tests.s3_store import running

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    synth(500, 11, folder)
    return folder


class KillsAWorker:
    """Runs on Ray; the first worker that comes to shard 1 dies before or after its work."""

    name = "ray"

    def __init__(self, runner: RayRunner, mark: Path, *, after: bool) -> None:
        self.parallelism = runner.parallelism
        self._runner = runner
        self._mark = mark
        self._after = after

    def map(self, task: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        mark, after = self._mark, self._after

        def deadly(batch: Any) -> Any:
            result = task(batch) if after else None
            if 1 in [shard.index for shard in batch] and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return result if after else task(batch)

        return self._runner.map(deadly, shards)


def test_threads_ray_and_a_killed_worker_give_one_digest(
    ray_runner: RayRunner, raw: Path, tmp_path: Path
) -> None:
    def digest(runner: Runner, shards: int) -> str:
        population = tmp_path / f"population-{shards}"
        if not population.exists():
            ingest(raw, population, shards=shards)
        request = RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=30)
        told: list[tuple[int, int]] = []
        out = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        outcome: Outcome = run(request, out, runner, lambda *done: told.append(done))
        assert told[-1] == (shards, shards)
        return outcome.digest

    expected = digest(LocalRunner(1), 3)
    assert digest(ray_runner, 3) == expected
    assert digest(ray_runner, 7) == expected
    for after in (False, True):
        mark = tmp_path / f"killed-{after}"
        assert digest(KillsAWorker(ray_runner, mark, after=after), 3) == expected
        assert mark.exists()


def test_a_run_that_was_put_back_goes_on_with_the_shards_it_has(
    ray_runner: RayRunner, small_population: Path, store: Store, home: Home, tmp_path: Path
) -> None:
    """Its first attempt ends when one part of it is measured; the second measures the others."""

    class Stops:
        def __init__(self, attempt: Attempt) -> None:
            self.enter, self.keeping = attempt.enter, attempt.keeping
            self.before = attempt.before

        def progress(self, _done: int, _total: int) -> None:
            raise StoppedError

    def stopped(run: Run, out: Path, runner: RayRunner, attempt: Attempt) -> str:
        return recalculate(run, out, runner, Stops(attempt))

    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=10)
    expected = run(request, tmp_path / "run", LocalRunner(1)).digest
    queued, _ = store.queue.submit(
        "run", request.document(), owner="o", idempotency_key="k", payload_sha256="0" * 64
    )
    for work in (stopped, recalculate):
        with capture_logs() as logs:
            Dispatcher(
                store.leases, home, ray_runner, name="d", work={"run": work}, keep_from_s=0.0
            ).step()
    ended = store.queue.run(queued.id)
    assert (ended.state, ended.digest, ended.attempt) == ("succeeded", expected, 2)
    (taken,) = [log for log in logs if log["event"] == "parts_taken"]
    assert 0 < taken["shards"] < taken["of"] == 5
    assert list(home.parts.iterdir()) == []


def test_a_sweep_that_was_put_back_goes_on_with_the_runs_that_it_has_measured(
    ray_runner: RayRunner, small_population: Path, store: Store, home: Home, tmp_path: Path
) -> None:
    """Its first attempt ends when one of two runs is measured and swept."""

    class Stops:
        def __init__(self, attempt: Attempt) -> None:
            self.enter, self.keeping = attempt.enter, attempt.keeping
            self.before = attempt.before

        def progress(self, done: int, _total: int) -> None:
            if done:
                raise StoppedError

    def stopped(run: Run, out: Path, runner: RayRunner, attempt: Attempt) -> str:
        return resettle(run, out, runner, Stops(attempt))

    request = RunRequest(
        small_population, ("mn-ihp-2.0-track-2",), replicates=10, programme="none"
    )  # fmt: skip
    run(request, tmp_path / "run", LocalRunner(1))
    axes = {"cost.claim_cap": [3000, 20_000]}
    expected = sweep_anew(tmp_path / "run", grid_of(axes), LocalRunner(1), beside=tmp_path)
    document = {
        "run_dir": str(tmp_path / "run"), "asked": {"axes": axes},
        "rows": expected.table.num_rows,
    }  # fmt: skip
    queued, _ = store.queue.submit(
        "sweep", document, owner="o", idempotency_key="k", payload_sha256="0" * 64
    )
    for work in (stopped, resettle):
        with capture_logs() as logs:
            Dispatcher(
                store.leases, home, ray_runner, name="d", work={"sweep": work}, keep_from_s=0.0
            ).step()
    ended = store.queue.run(queued.id)
    assert (ended.state, ended.digest, ended.attempt) == ("succeeded", expected.digest, 2)
    (taken,) = [log for log in logs if log["event"] == "parts_taken"]
    assert taken["shards"] == taken["of"] == 5
    assert list(home.parts.iterdir()) == []


def test_workers_read_the_shards_of_a_bucket_themselves(
    ray_runner: RayRunner, raw: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    ingest(raw, tmp_path / "population", shards=3)
    with running(tmp_path / "store" / "buckets") as store:
        environment = store.environment(tmp_path / "cache")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        place = place_of("lake:2024/state")
        assert isinstance(place, Place)
        publish_to(place, tmp_path / "population")
        # a node has credentials and a cache of its own, and no location: it is told with the shard
        own = {**environment, "IHP_CACHE": str(tmp_path / "node"), "IHP_LOCATIONS": "{}"}

        class OnANode:
            name = "ray"
            parallelism = ray_runner.parallelism

            def map(self, task: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
                def there(batch: Any) -> Any:
                    os.environ.update(own)
                    return task(batch)

                return ray_runner.map(there, shards)

        def digest(population: Path, runner: Runner, out: str) -> str:
            request = RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=30)
            return run(request, tmp_path / out, runner).digest

        expected = digest(tmp_path / "population", LocalRunner(1), "here")
        shutil.rmtree(tmp_path / "population")
        assert digest(place.path, OnANode(), "there") == expected
    assert len(list((tmp_path / "node").glob("objects/*/*"))) > 3
