"""How much fits where: the cost of a run on paper, and what follows for a cluster.

    lines, members, replicates -> bytes and nanoseconds a task -> tasks in flight, memory a task

Cost is linear in lines and in members x replicates, and nothing grows faster than
groups x strata x replicates (the size of one task's result).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ihp_compute.population import tables

BYTES_PER_LINE: Final = sum(field.type.bit_width for field in tables.LINES) // 8
"""Hot columns of one claim line, as the shard's file maps them."""
BYTES_PER_INTEGER: Final = 8
NS_PER_LINE: Final = 88.0
"""Attribution, cost, fates and use of care of both years, for each claim line."""
NS_PER_DRAW: Final = 0.9
"""One member's weight in one replicate, added to one column. Both measured: CPU time of
`pipeline.measure`, warm, on shards of 5,000 members and 420,000 lines, 0 to 2,000 replicates."""


@dataclass(frozen=True)
class Workload:
    """The size of a run."""

    n_lines: int
    n_members: int
    n_tasks: int  # each measures one or more shards
    n_replicates: int  # the observed row included
    n_groups: int
    n_strata: int
    n_columns: int

    @property
    def task_result_bytes(self) -> int:
        """Totals that one task sends back."""
        cells = self.n_groups * self.n_strata * self.n_columns * self.n_replicates
        return cells * BYTES_PER_INTEGER

    @property
    def cpu_seconds(self) -> float:
        """Time of one core for all of it, loading and compiling aside."""
        draws = self.n_members * self.n_replicates * self.n_columns
        return (self.n_lines * NS_PER_LINE + draws * NS_PER_DRAW) / 1e9


@dataclass(frozen=True)
class Placement:
    """How a runner spreads a run: tasks at a time, memory to ask for each, time to expect.

    `seconds` leave loading, compiling and settling aside.
    """

    in_flight: int
    task_memory_bytes: int
    seconds: float


def place(work: Workload, *, cpus: int, result_budget_bytes: int) -> Placement:
    """Tasks in flight and memory to ask for each.

    Two tasks a core keep every core busy while results are fetched; fewer when their results would
    not fit the memory set aside for them. Never fewer than one.

    Parameters
    ----------
    work : Workload
    cpus : int
    result_budget_bytes : int
        Memory for results that wait to be merged.

    Returns
    -------
    Placement
    """
    lines = math.ceil(work.n_lines / max(work.n_tasks, 1))
    fitting = result_budget_bytes // max(work.task_result_bytes, 1)
    return Placement(
        in_flight=max(1, min(2 * cpus, fitting, max(work.n_tasks, 1))),
        # the mapped lines, the totals being summed, and their copy on the way out
        task_memory_bytes=lines * BYTES_PER_LINE + 2 * work.task_result_bytes,
        seconds=work.cpu_seconds / min(cpus, max(work.n_tasks, 1)),
    )
