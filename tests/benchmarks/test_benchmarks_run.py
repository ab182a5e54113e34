"""Every benchmark runs once, small and untimed, and every peer agrees with ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_benchmark_runs_and_its_peers_agree() -> None:
    """In a process of its own: the peers' thread counts are fixed when they are imported."""
    files = sorted(str(path) for path in (ROOT / "benchmarks").glob("bench_*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={
            **os.environ,
            "IHP_BENCH_QUICK": "1",
            "IHP_BENCH_MEMBERS": "2000",
            "IHP_BENCH_PEER_MEMBERS": "50",
            "POLARS_MAX_THREADS": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
