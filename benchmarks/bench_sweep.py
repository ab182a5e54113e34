"""A sweep of corridor terms beside the same sweep in NumPy, equal in every cell.

The kernel takes one partnership; the whole sweep starts from a run folder and ends with a table of
rows, its digest included, while the peer gets its targets and costs as arrays and leaves arrays.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import ihp_compute
import kernels
from benchmarks.peers.sweep import Scenario, scenarios_of, summaries, summaries_by_side
from benchmarks.race import QUICK, Work, race
from ihp_compute import contracts as contract
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ContractSet
from ihp_compute.results import kept_terms
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement.program import Program
from ihp_compute.settlement.settle import settle
from ihp_compute.settlement.steps import write_settlement
from ihp_compute.sweeps.grid import Grid, grid_of
from ihp_compute.sweeps.jobs import QUANTILES_MICRO
from ihp_compute.sweeps.scenarios import classes
from ihp_compute.sweeps.sweep import sweep
from ihp_compute.uncertainty.totals import Totals, column_names, write_totals
from ihp_compute.units import half_even
from kernels.draws.quantiles import ranks_of

CONTRACT: Final = "mn-ihp-2.0-track-2"
REPLICATES: Final = 200 if QUICK else 2_000
PARTNERSHIPS: Final = 3 if QUICK else 25
SCORES: Final = {f"IHP-{k:02d}": Decimal(1) for k in range(1, PARTNERSHIPS + 1)}
"""Quality score of each partnership."""
COUNT: Final = 3 if QUICK else int(os.environ.get("IHP_BENCH_SWEEP", "10"))
"""Values of each axis."""
P_MICRO: Final = tuple(QUANTILES_MICRO.values())
RANKS: Final = tuple(int(k) - 1 for k in ranks_of(P_MICRO, REPLICATES))
BASE: Final = Scenario(0.02, 0.02, 0.5, 0.5)
YEARS: Final = (2019, 2021)


def span(first: str, last: str) -> dict[str, Any]:
    return {"from": Decimal(first), "to": Decimal(last), "count": COUNT}


def grid(*, four: bool) -> Grid:
    axes = {
        "settlement.gate.gain_rate": span("0.0", "0.04"),
        "settlement.gain.share": span("0.3", "0.7"),
        "settlement.gain.cap_of_target": span("0.02", "0.10"),
    }
    if four:
        axes["settlement.loss.share"] = span("0.3", "0.7")
    return grid_of(axes)


def work(n_scenarios: int, n_partnerships: int) -> Work:
    n = n_scenarios * n_partnerships * REPLICATES
    rows = n_scenarios * n_partnerships * 8 * (4 + len(P_MICRO))
    given = 16 * n_partnerships * (1 + REPLICATES)
    return Work(
        "scenario-partnership-replicate", n, rows + given,
        sizes={
            "scenarios": n_scenarios, "partnerships": n_partnerships, "replicates": REPLICATES,
            "quantiles": len(P_MICRO),
        },
    )  # fmt: skip


def test_bench_settle_summary(benchmark: Any) -> None:
    """One partnership: the kernel against NumPy over the same target and cost."""
    rng = np.random.default_rng(17)
    n = 1 + REPLICATES
    target = np.rint(6e9 * rng.normal(1, 0.01, n))
    observed = np.rint(target * (1 - rng.normal(0.01, 0.025, n)))
    axes = grid(four=True)
    quality = Decimal("0.9")

    def build(agreement: Any) -> Any:
        program = Program()
        nodes = [program.source(name) for name in ("target", "observed")]
        written = write_settlement(program, agreement, *nodes, n_members=20_000, quality=quality)
        return program.compile({"payment": written["payment"]})

    (found,) = classes(contract.load(CONTRACT), YEARS[1], axes, build)
    given = {"target": target, "observed": observed}
    sources = np.array([given[name] for name in found.compiled.sources])
    output = int(found.compiled.registers[0])
    scenarios = scenarios_of(list(axes.scenarios()), BASE)
    factor = (1.0 - 0.5) + 0.5 * 0.9

    def by(form: Any) -> Any:
        return form(target[None], observed[None], scenarios, factor, RANKS)[:, 0]

    race(
        benchmark,
        lambda: kernels.settle_summary(
            sources, found.constants, found.compiled.table, output, P_MICRO
        ),
        {
            "numpy": lambda: by(summaries),
            "numpy, sides once": lambda: by(summaries_by_side),
        },
        work(len(scenarios), 1),
    )


@pytest.fixture(scope="module")
def state() -> Iterator[tuple[Path, Totals, ContractSet]]:
    """A run of 25 partnerships whose draws fall on both sides of the gates."""
    rng = np.random.default_rng(19)
    names = list(SCORES)
    values = np.zeros((PARTNERSHIPS + 1, len(RATE_CELLS), 1 + REPLICATES, 6), np.int64)
    for g in range(PARTNERSHIPS + 1):
        months = 60_000 * (1 + g % 7)
        per_month = np.array([1, 1e6, 1, 1e6, 40_000, 40_000 * (1.032 + 0.002 * (g % 11))])
        values[g, 0] = np.rint(months * per_month * rng.normal(1, 0.012, (1 + REPLICATES, 6)))
    totals = Totals(
        (*names, "UNATTRIBUTED"), column_names(1), values, np.full(PARTNERSHIPS + 1, 5_000),
        np.zeros((PARTNERSHIPS + 1, 1), np.int64),
    )  # fmt: skip
    contracts = ContractSet("state", dict.fromkeys(names, contract.load(CONTRACT)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_totals(totals, path / "totals.arrow")
        (path / kept_terms.FILE).write_text(json.dumps(kept_terms.document(contracts, SCORES)))
        rows = settle(
            totals, contracts, base_year=YEARS[0], performance_year=YEARS[1], quality=SCORES
        )
        table = {k: [getattr(r, k) for r in rows] for k in ("partnership_id", "payment_cents")}
        pq.write_table(pa.table(table), path / "settlement.parquet")
        manifest = {
            "kind": "run",
            "population": {},
            "digest": "",
            "method_version": ihp_compute.METHOD_VERSION,
            "table_digests": {},
            "completion": {
                "measurements": [
                    {
                        "partnerships": list(names),
                        "methods": ["equal_runout"],
                        "base_lines_cut": 0,
                        "parts": [],
                    },
                ],
            },
            "base_year": YEARS[0],
            "performance_year": YEARS[1],
            "terms": {"contracts": contracts.hashes()},
        }
        (path / "manifest.json").write_text(json.dumps(manifest))
        yield path, totals, contracts


def test_bench_sweep(benchmark: Any, state: tuple[Path, Totals, ContractSet]) -> None:
    """All partnerships, from a run's folder to the table of rows."""
    folder, totals, contracts = state
    axes = grid(four=False)
    rows = settle(totals, contracts, base_year=YEARS[0], performance_year=YEARS[1], quality=SCORES)
    draws = [one.draws["target_resampled"] for one in rows]
    target, observed = (
        np.array([getattr(d, name) for d in draws], dtype=np.float64)
        for name in ("target_cents", "observed_cents")
    )
    scenarios = scenarios_of(list(axes.scenarios()), BASE)

    def equal(ours: Any, peer: Any) -> None:
        flat = peer.reshape(-1, peer.shape[2])
        expected = {
            "payment_cents": flat[:, 0],
            "mean_cents": half_even(flat[:, 1], REPLICATES),
            "probability_gain": flat[:, 2] / REPLICATES,
            "probability_loss": flat[:, 3] / REPLICATES,
            **{f"{name}_cents": flat[:, 4 + k] for k, name in enumerate(QUANTILES_MICRO)},
        }
        of_each = ours.table.filter(pc.equal(ours.table.column("scope"), "partnership"))
        for name, values in expected.items():
            assert (of_each.column(name).to_numpy() == values).all(), name

    race(
        benchmark,
        lambda: sweep(folder, axes, LocalRunner(1)),
        {
            "numpy": lambda: summaries(target, observed, scenarios, 1.0, RANKS),
            "numpy, sides once": lambda: summaries_by_side(target, observed, scenarios, 1.0, RANKS),
        },
        work(len(scenarios), PARTNERSHIPS),
        check={"numpy": equal, "numpy, sides once": equal},
        rounds=3,
        note="ours reads the run, adds the state, tabulates, digests; the peer starts from arrays",
    )
