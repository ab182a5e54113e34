"""A sweep on the cluster gives what threads give."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cluster.runner import RayRunner
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps.grid import grid_of
from ihp_compute.sweeps.sweep import sweep
from ihp_compute.synth.state import synth

pytestmark = pytest.mark.ray


def test_threads_and_ray_give_one_digest(ray_runner: RayRunner, tmp_path: Path) -> None:
    synth(500, 11, tmp_path / "raw")
    ingest(tmp_path / "raw", tmp_path / "population", shards=2)
    request = RunRequest(tmp_path / "population", ("mn-ihp-2.0-track-2",), replicates=30)
    run(request, tmp_path / "run", LocalRunner(1))
    grid = grid_of(
        {
            "settlement.gain.share": [Decimal("0.4"), Decimal("0.5")],
            "settlement.loss.share": ["none", Decimal("0.5")],
        }
    )
    expected = sweep(tmp_path / "run", grid, LocalRunner(1)).digest
    assert sweep(tmp_path / "run", grid, ray_runner).digest == expected
