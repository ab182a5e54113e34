"""A real recalculation on the cluster gives what threads give, whatever dies in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.runner import RayRunner
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.synth.state import synth

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
