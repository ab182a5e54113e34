"""A whole state: recalculation and ingest beside what experts write with general tools.

Two threads each; the process is warm and files are in the page cache. `IHP_BENCH_STATE_MEMBERS`
sets the sizes of the recalculation (50000 unless given; "50000,500000" measures both) and
`IHP_BENCH_INGEST_MEMBERS` that of ingest. Anonymous memory is sampled in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial, reduce
from operator import add
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import pytest

import kernels
from benchmarks import memory
from benchmarks.data import State, shards_for, state
from benchmarks.peers import ingest as ingest_peers
from benchmarks.peers import state as expert
from benchmarks.race import QUICK, WITH_PEERS, Work, race
from ihp_compute.codes import RATE_CELLS
from ihp_compute.ingest.door.claims import LINE_KIND_OF
from ihp_compute.ingest.passes import ingest
from ihp_compute.measure.attribution import attribute
from ihp_compute.measure.cost import costs
from ihp_compute.measure.plan import Plan, make_plan
from ihp_compute.measure.roster import roster_day
from ihp_compute.measure.visits import compile_visits
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.population.shards import Shard
from ihp_compute.runner import LocalRunner, batches
from ihp_compute.settlement.settle import Settled, settle
from ihp_compute.settlement.target import trend_factor
from ihp_compute.uncertainty.intervals import intervals
from ihp_compute.uncertainty.totals import (
    TOTALS,
    Rows,
    Totals,
    YearRows,
    read_totals,
    replicate_totals,
    totals_file,
)
from ihp_compute.units import day_of

CONTRACT: Final = "mn-ihp-2.0-track-2"
THREADS: Final = 2
DEFAULT: Final = "2000" if QUICK else "50000"
RUN_MEMBERS: Final = [int(n) for n in os.environ.get("IHP_BENCH_STATE_MEMBERS", DEFAULT).split(",")]
INGEST_MEMBERS: Final = [
    int(n) for n in os.environ.get("IHP_BENCH_INGEST_MEMBERS", DEFAULT).split(",")
]
ENOUGH_MEMBERS: Final = 200
REPLICATES: Final = 200 if QUICK else 2_000
ROUNDS: Final = int(os.environ.get("IHP_BENCH_STATE_ROUNDS", "3"))


@contextmanager
def folder() -> Iterator[Path]:
    """A scratch folder beside the states: on disk, and of the same file system."""
    with tempfile.TemporaryDirectory(prefix="ihp-bench-", dir=os.environ.get("TMPDIR")) as path:
        yield Path(path)


# --- recalculation -------------------------------------------------------------------------------


def request(made: State) -> RunRequest:
    """The run that is raced."""
    return RunRequest(
        population=made.population_dir, contracts=(CONTRACT,), replicates=REPLICATES, seed=1
    )


@lru_cache(maxsize=4)
def terms(members: int) -> expert.Terms:
    """The contract's terms, for the expert."""
    plan = make_plan(request(state(members)))
    population = state(members).population()
    agreement = next(iter(plan.contracts.at(plan.performance_year).values()))
    hcpcs = population.codes("hcpcs").to_pylist()
    rule = plan.attribution
    visit_codes, home_codes = (
        [code for code, one in zip(hcpcs, made.class_of, strict=True) if one]
        for made in (
            compile_visits(replace(rule, care_coordination_codes=()), hcpcs),
            compile_visits(replace(rule, visit_codes=()), hcpcs),
        )
    )
    assert rule.roster_rule == "on_date"
    assert rule.health_care_home == "care_coordination"
    assert set(rule.no_visit) == {"payment_line", "excluded_month", "inpatient", "emergency"}
    (rules,) = plan.rule_sets
    assert (rules.amount, rules.incurred_by, rules.keep_above_cap_micro) == ("paid", "claim_end", 0)
    trend = trend_factor(agreement, RATE_CELLS[0], plan.base_year, plan.performance_year)
    return expert.Terms(
        base_year=plan.base_year,
        performance_year=plan.performance_year,
        cutoff_day=plan.cutoff_days[1],
        base_cutoff_day=plan.cutoff_days[0],
        claim_types=tuple(code for code, kind in LINE_KIND_OF.items() if kind in (0, 2)),
        services=tuple(sorted(rules.services)),
        cap_cents=int(rules.claim_cap_cents or 0),
        visit_codes=tuple(set(visit_codes) - set(home_codes)),
        home_codes=tuple(home_codes),
        no_visit_places=rule.excluded_places,
        roster_day=day_of(roster_day(rule, plan.performance_year)),
        rate_cells=RATE_CELLS,
        min_months_continuous=plan.attribution.min_months_continuous,
        min_months_any=plan.attribution.min_months_any,
        trend=float(trend or Decimal(1)),
        least_months=int(agreement["target.cell_least_months"]),
        full_months=int(agreement["target.cell_full_months"]),
    )


@dataclass(frozen=True)
class Part:
    """What the expert computes too, and no more."""

    totals: Totals
    settled: Sequence[Settled]
    rate_intervals: dict[str, tuple[float, float]]


def same_part(made: State, runner: LocalRunner) -> Part:
    """Attribution, scores, cost, replicate totals and settlement; no other table, no file."""
    plan = make_plan(request(made))
    tasks = runner.map(partial(drawn, plan=plan), batches(plan.shards, runner.parallelism))
    totals = reduce(add, tasks)
    settled = settle(
        totals,
        plan.contracts,
        base_year=plan.base_year,
        performance_year=plan.performance_year,
        quality=plan.quality,
    )
    ends = {}
    for one in settled:
        rates = one.draws["target_resampled"].savings_rate
        (wanted,) = [x for x in intervals(rates) if (x.method, x.level) == ("percentile", 0.95)]
        ends[one.partnership_id] = wanted.low, wanted.high
    return Part(totals, settled, ends)


def drawn(shards: Sequence[Shard], *, plan: Plan) -> Totals:
    """Replicate totals of neighbouring shards, by the steps of `pipeline.measure_shard`."""
    parts = []
    n_members = np.zeros(len(plan.roster.groups), np.int64)
    for shard in shards:
        found = [
            attribute(
                shard, plan.roster, plan.visits, plan.attribution, year=year, cutoff_day=cutoff
            )
            for year, cutoff in zip(plan.years, plan.cutoff_days, strict=True)
        ]
        scores = [
            plan.scores.score(shard, year=a.year, cutoff_day=cutoff, months=a.months)
            for a, cutoff in zip(found, plan.cutoff_days, strict=True)
        ]
        cost = costs(
            plan.seen(shard), plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=found
        )
        years = [
            YearRows(a.group, a.months, score.score_micro, [under.cell_cents for under in own])
            for a, score, own in zip(found, scores, cost, strict=True)
        ]
        parts.append(Rows.of(shard.column("members", "member_key"), *years))
        group = found[1].group
        n_members += np.bincount(group[group >= 0], minlength=n_members.size)
    taken = np.zeros((n_members.size, len(plan.rule_sets)), np.int64)  # no cap of core cost here
    return replicate_totals(
        Rows.concat(parts), n_members, taken, groups=plan.roster.groups,
        replicates=plan.replicates, seed=plan.seed, device=plan.device,
    )  # fmt: skip


def equal_part(part: Part, answer: expert.Answer) -> None:
    """As `equal_results`."""
    rates = {one.partnership_id: one.savings_rate for one in part.settled}
    targets = {one.partnership_id: one.target_cents for one in part.settled}
    equal(part.totals, rates, targets, part.rate_intervals, answer)


def equal_results(outcome: Outcome, answer: expert.Answer) -> None:
    """What was written says the same as the expert."""
    totals = read_totals(outcome.run_dir / totals_file(TOTALS))
    rates = {row["partnership_id"]: row["savings_rate"] for row in outcome.settlement}
    targets = {row["partnership_id"]: row["target_cents"] for row in outcome.settlement}
    equal(totals, rates, targets, outcome.rate_intervals, answer)


def equal(
    totals: Totals,
    rates: Mapping[str, float],
    targets: Mapping[str, int],
    rate_intervals: Mapping[str, tuple[float, float]],
    answer: expert.Answer,
) -> None:
    """Observed totals to the cent in every group and rate cell; intervals as theory allows.

    The ends of two independent percentile intervals differ by sqrt(2 p (1 - p) / B) / density
    standard errors of the measure; five of those are allowed.
    """
    assert totals.groups == answer.groups
    for y, year in enumerate(("base", "perf")):
        for c, name in enumerate(("months", "risk", "cost_r0")):
            ours = totals.column(f"{year}_{name}")[:, :, 0]
            assert (ours == answer.totals[y, c]).all(), (year, name)
    target = np.array(list(targets.values()))
    # ours rounds to cents
    apart = np.abs(np.array(list(rates.values())) - answer.savings_rate[:, 0])
    assert (apart * target < 2).all()
    assert np.allclose(target, answer.target_cents, rtol=0, atol=1)
    spread = answer.savings_rate[:, 1:].std(axis=1)
    allowed = 5 * np.sqrt(2 * 0.025 * 0.975 / REPLICATES) / 0.0584
    months = answer.totals[1, 0].sum(axis=1)
    for i, partnership in enumerate(rates):
        if months[i] < 12 * ENOUGH_MEMBERS:
            continue  # ratios of a small group have no normal shape
        off = np.abs(np.array(rate_intervals[partnership]) - answer.interval[i]) / spread[i]
        assert (off < allowed).all(), (partnership, off, allowed)


PEERS: Final = {"polars + NumPy": False, "polars + NumPy, words": True}
"""The expert, who draws members with replacement or Poisson weights from words."""


def peer(made: State, *, by_words: bool) -> expert.Answer:
    """What the expert finds."""
    return expert.recalculate(
        made.clean, terms(made.members), replicates=REPLICATES, seed=1, threads=THREADS,
        by_words=by_words,
    )  # fmt: skip


@pytest.mark.parametrize("members", RUN_MEMBERS)
def test_bench_recalculation(benchmark: Any, members: int) -> None:
    made = state(members)
    with folder() as scratch:

        def ours() -> Outcome:
            return run(request(made), scratch / "run", LocalRunner(THREADS))

        lines = made.lines
        race(
            benchmark,
            ours,
            {name: partial(peer, made, by_words=by_words) for name, by_words in PEERS.items()},
            Work("line", lines, _hot_bytes(made), sizes={"members": members, "lines": lines}),
            check=dict.fromkeys(PEERS, equal_results),
            rounds=ROUNDS,
            threads=THREADS,
            note=(
                "ours from the prepared population, with ledger, walk, exclusions, utilisation, "
                "digest, exhibit and member-years written; the peer from cleaned Parquet, "
                "nothing written; wall time"
            ),
        )


@pytest.mark.parametrize("members", RUN_MEMBERS)
def test_bench_recalculation_same_part(benchmark: Any, members: int) -> None:
    made = state(members)
    runner = LocalRunner(THREADS)
    race(
        benchmark,
        lambda: same_part(made, runner),
        {name: partial(peer, made, by_words=by_words) for name, by_words in PEERS.items()},
        Work("line", made.lines, _hot_bytes(made), sizes={"members": members, "lines": made.lines}),
        check=dict.fromkeys(PEERS, equal_part),
        rounds=ROUNDS,
        threads=THREADS,
        note=(
            "ours from the prepared population, the peer from cleaned Parquet; both make totals, "
            "settlement and intervals of the savings rate, and write nothing; wall time"
        ),
    )


def _hot_bytes(made: State) -> int:
    """Bytes of the population's tables that a run reads."""
    names = ("members", "offsets", "spans", "lines", "visits", "stays", "emergency", "scores")
    return sum(
        (made.population_dir / "shards" / f"{shard.index:05d}" / f"{name}.arrow").stat().st_size
        for shard in made.population().shards
        for name in names
    )


def test_bench_state_bootstrap(benchmark: Any) -> None:
    """505,000 members × 10,000 replicates × 8 columns, two threads, and the memory it takes."""
    members, replicates = (5_000, 100) if QUICK else (505_000, 10_000)
    rng = np.random.default_rng(21)
    columns = rng.integers(0, 5_000_000, (8, members))
    group = rng.integers(0, 25, members).astype(np.int32)
    member_key = rng.integers(0, 2**64, members, dtype=np.uint64)
    half = replicates // 2 // 64 * 64

    def part(first: int, count: int) -> Any:
        return kernels.replicate_totals(
            columns, group, member_key, n_groups=25, n_replicates=count, seed=1,
            first_replicate=first,
        )  # fmt: skip

    def ours() -> Any:
        blocks = [(0, half), (half, replicates - half)]
        runner = LocalRunner(THREADS)
        return list(runner.map(lambda block: part(*block), blocks))

    part(0, 64)
    with memory.sampled() as seen:
        ours()
    assert seen.grown_bytes < 256 * 2**20
    if benchmark.enabled:
        benchmark.extra_info["memory"] = {"ours": seen.grown_bytes}
    n = members * replicates
    race(
        benchmark,
        ours,
        {},
        Work(
            "member-replicate", n, columns.nbytes + group.nbytes + member_key.nbytes,
            n * (60 // 8 + 14 + 2 * 8), limit="philox",
            sizes={"members": members, "replicates": replicates, "columns": 8}, n_words=n // 2,
        ),
        rounds=1 if QUICK else 2,
        threads=THREADS,
    )  # fmt: skip


# --- ingest --------------------------------------------------------------------------------------


def _all_rows(document: dict[str, Any], rows: int, made: State) -> None:
    """Every claim line is written by the peer, and accounted for by ours."""
    readable = sum(
        pq.ParquetFile(path).metadata.num_rows
        for table, *_ in ingest_peers.TABLES
        for path in (made.raw / table).glob("part-*.parquet")
    )
    assert rows == readable
    claims = {table for table, *_ in ingest_peers.TABLES}
    entered = sum(e["lines"] for e in document["ledger"] if e["source_table"] in claims)
    assert entered == made.lines


@pytest.mark.parametrize("members", INGEST_MEMBERS)
def test_bench_ingest(benchmark: Any, members: int) -> None:
    made = State(members).make_raw()
    with folder() as scratch:
        shards = shards_for(members)

        def clear() -> None:
            """Nothing of an earlier form is left, on disk or waiting to be written there."""
            for path in scratch.iterdir():
                shutil.rmtree(path)
            os.sync()

        def ours() -> Any:
            return ingest(made.raw, scratch / "population", shards=shards, threads=THREADS)

        forms = {
            "polars": lambda: ingest_peers.by_polars(made.raw, scratch / "polars"),
            "duckdb": lambda: ingest_peers.by_duckdb(
                made.raw, scratch / "duckdb", threads=THREADS, memory="8GB"
            ),
        }
        check = partial(_all_rows, made=made)
        if benchmark.enabled and WITH_PEERS:
            benchmark.extra_info["memory"] = memory.of_forms(members, ("ours", *forms))
        race(
            benchmark,
            ours,
            forms,
            Work(
                "line",
                made.lines,
                sum(path.stat().st_size for path in made.raw.rglob("*.parquet")),
                sizes={"members": members, "lines": made.lines},
            ),
            check=dict.fromkeys(forms, check),
            rounds=ROUNDS,
            threads=THREADS,
            note=(
                "ours validates, deduplicates, takes final actions, classifies and keeps the "
                "ledger; the peers read, sort and write the same columns; wall time"
            ),
            before=clear,
        )
