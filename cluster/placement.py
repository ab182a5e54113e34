"""How much fits where: the cost of a run on paper, and what follows for a cluster.

    lines, members, replicates -> bytes and nanoseconds a task -> tasks in flight, memory a task

Cost is linear in lines and in members x replicates, and nothing grows faster than
groups x strata x replicates (the size of one task's result).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import NONE
from ihp_compute.population import Population, tables

BYTES_PER_LINE: Final = sum(field.type.bit_width for field in tables.LINES) // 8
"""Hot columns of one claim line, as the shard's file maps them."""
BYTES_PER_INTEGER: Final = 8
RESULT_STORE_BYTES: Final = 1 << 30
"""Memory for results under way. Ray would take 30 % of the machine; shards are mapped, not sent."""


@dataclass(frozen=True)
class Coefficient:
    """A measured number of the model, with where it was measured."""

    value: float
    unit: str
    source: str


_MEASURED: Final = (
    "benchmarks/capacity.py: whole runs of 30,000, 100,000 and 200,000 members, 1 and 2 threads, "
    "200 to 10,000 replicates; Intel Xeon, AVX-512, not alone on its two cores"
)


@dataclass(frozen=True)
class Costs:
    """What runs of a kind take: the terms of the model.

    Attributes
    ----------
    line, draw : Coefficient
        Work that threads divide: of a claim line; of one member's weight in one replicate, added
        to one column.
    line_alone, total, run : Coefficient
        What is done once, by one thread: of a claim line; of one total of one replicate; of a run.
    fresh : Coefficient
        Loading, and the first use of each kernel, of a process that has not run before.
    base, member, result : Coefficient
        Anonymous memory: of a process; of a member; copies of a task's result, for each thread.
    """

    line: Coefficient
    draw: Coefficient
    line_alone: Coefficient
    total: Coefficient
    run: Coefficient
    fresh: Coefficient
    base: Coefficient
    member: Coefficient
    result: Coefficient

    @classmethod
    def of(cls, *values: float) -> Costs:
        """Coefficients of these values, in the order of the attributes."""
        units = (
            "ns a claim line", "ns a member, replicate and column", "ns a claim line", "ns a total",
            "s a run", "s a process", "bytes a process", "bytes a member", "copies a thread",
        )  # fmt: skip
        pairs = zip(values, units, strict=True)
        return cls(*(Coefficient(value, unit, _MEASURED) for value, unit in pairs))


SETTLED: Final = Costs.of(7.0, 0.13, 55.0, 103.0, 0.39, 0.5, 2.2e8, 870.0, 3.4)
"""Of runs that settle and report nothing beside."""
REPORTED: Final = Costs.of(53.0, 0.1, 101.0, 158.0, 0.91, 0.6, 4.1e8, 1670.0, 3.4)
"""Of runs with the tables of a programme."""


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
    costs: Costs = REPORTED

    @property
    def n_totals(self) -> int:
        """One of each group, stratum, column and replicate."""
        return self.n_groups * self.n_strata * self.n_columns * self.n_replicates

    @property
    def task_result_bytes(self) -> int:
        """Totals that one task sends back."""
        return self.n_totals * BYTES_PER_INTEGER

    @property
    def shared_seconds(self) -> float:
        """Time of one core for the tasks, which cores divide."""
        draws = self.n_members * self.n_replicates * self.n_columns
        return (self.n_lines * self.costs.line.value + draws * self.costs.draw.value) / 1e9

    @property
    def alone_seconds(self) -> float:
        """Time of one core for what follows the tasks, which cores do not divide."""
        spent_ns = (
            self.n_lines * self.costs.line_alone.value + self.n_totals * self.costs.total.value
        )
        return spent_ns / 1e9 + self.costs.run.value

    @property
    def cpu_seconds(self) -> float:
        """Time of one core for all of it, loading and compiling aside."""
        return self.shared_seconds + self.alone_seconds

    def seconds(self, cores: int) -> float:
        """Time of a run on so many cores, in a process that has run before."""
        return self.shared_seconds / min(cores, max(self.n_tasks, 1)) + self.alone_seconds

    def anonymous_bytes(self, threads: int) -> int:
        """Memory of a run in one process, mapped files aside, which the system may drop."""
        results = min(threads, max(self.n_tasks, 1)) * self.task_result_bytes
        return round(
            self.costs.base.value
            + self.n_members * self.costs.member.value
            + results * self.costs.result.value
        )


@dataclass(frozen=True)
class Placement:
    """How a runner spreads a run: tasks at a time, memory to ask for each, time to expect.

    `seconds` leave loading and compiling aside, and that cores are busy with other things.
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
        seconds=work.seconds(cpus),
    )


def workload(
    population: Population, *, n_tasks: int, n_replicates: int, n_contracts: int, programme: str
) -> Workload:
    """The size of a run over a population, an upper bound where only the plan knows."""
    roster = population.reference("provider_roster")
    partnerships = 0 if roster is None else len(set(roster.column("partnership_id").to_pylist()))
    retained = sum(
        entry["lines"] for entry in population.manifest["ledger"] if entry["fate"] == "retained"
    )
    return Workload(
        n_lines=retained,
        n_members=population.manifest["members"],
        n_tasks=n_tasks,
        n_replicates=n_replicates,
        n_groups=partnerships + 2,
        n_strata=len(RATE_CELLS),
        n_columns=4 + 2 * n_contracts,
        costs=SETTLED if programme == NONE else REPORTED,
    )
