"""Runs on three nodes of one machine, in a process of its own; midway a node comes or goes.

    python -m tests.cluster.several_nodes POPULATION OUT
    python -m tests.cluster.several_nodes POPULATION OUT ADDRESS COMMAND

Writes the living nodes before and after, and the digest, of each into OUT/told.json: what is
printed has Ray's log in it. Nodes are raylets with a core each; all ask for a token. With an
address a cluster stands, and the command is what happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.cluster_utils import Cluster

from cluster.runner import RayRunner
from ihp_compute.errors import InfrastructureError
from ihp_compute.pipeline import RunRequest, run

PATIENCE_S = 150


class Interrupted:
    """Runs on Ray; something happens when the first result has come."""

    name = "ray"

    def __init__(self, runner: RayRunner, event: Callable[[], object]) -> None:
        self.parallelism = runner.parallelism
        self._runner = runner
        self._event: Callable[[], object] | None = event

    def map(self, task: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        for result in self._runner.map(task, shards):
            if self._event is not None:
                self._event()
                self._event = None
            yield result


def living() -> int:
    """Nodes of the cluster that this process has joined."""
    return sum(node["Alive"] for node in ray.nodes())


def wait_for(address: str, n_nodes: int) -> None:
    """Return once the cluster stands and so many nodes have joined it."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(InfrastructureError), RayRunner(address):
            while living() < n_nodes and time.monotonic() < until:
                time.sleep(0.2)
            return
        time.sleep(0.5)


def recalculate(
    population: Path, out: Path, address: str, events: Mapping[str, Callable[[], object]]
) -> None:
    """Run once for each event, and write what came out."""
    request = RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=30)
    told: list[tuple[int, int, str]] = []
    with RayRunner(address) as runner:
        for name, event in events.items():
            before = living()
            outcome = run(request, out / name, Interrupted(runner, event))
            until = time.monotonic() + PATIENCE_S
            while living() == before and time.monotonic() < until:
                time.sleep(0.2)
            told.append((before, living(), outcome.digest))
    (out / "told.json").write_text(json.dumps(told))


def main() -> None:
    """On a cluster of our own, or on one that stands."""
    population, out = Path(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:
        address, command = sys.argv[3:]
        wait_for(address, 3)
        cut = {"cut": lambda: subprocess.run(shlex.split(command), check=True)}
        recalculate(population, out, address, cut)
        return
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        events: dict[str, Callable[[], object]] = {
            "goes": lambda: cluster.remove_node(nodes[0], allow_graceful=False),
            "comes": lambda: cluster.add_node(num_cpus=1),
        }
        recalculate(population, out, cluster.address, events)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
