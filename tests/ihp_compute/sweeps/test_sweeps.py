"""Sweeps are settlements: every row to the cent what `settle` gives under the same terms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ihp_compute
from ihp_compute import contracts as contract
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ContractSet
from ihp_compute.contracts.files import FOLDER
from ihp_compute.errors import ContractError, DataError, GridError, RunError
from ihp_compute.results import kept_terms
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import cases_of, payoffs
from ihp_compute.settlement.settle import Settled, settle
from ihp_compute.sweeps import statewide
from ihp_compute.sweeps.file import check_output, verify_sweep, write
from ihp_compute.sweeps.grid import Grid, grid_of, value_text
from ihp_compute.sweeps.jobs import Job
from ihp_compute.sweeps.sweep import check, sweep
from ihp_compute.table_files import beside_cents, read_table, write_table
from ihp_compute.uncertainty.intervals import intervals
from ihp_compute.uncertainty.totals import Totals, column_names, write_totals

GROUPS = ("P1", "P2", "COMPARISON", "UNATTRIBUTED")
BASE, YEAR, B = 2019, 2021, 41
ONE = 1_000_000
CORRIDOR = "0:0.02:0;0.02:0.05:0.4;0.05:none:0.7"


def totals(replicates: int = B) -> Totals:
    """Two rate cells; partnerships near their gates, so that draws fall on both sides of zero."""
    rng = np.random.default_rng(1)
    values = np.zeros((len(GROUPS), len(RATE_CELLS), replicates + 1, 6), np.int64)
    for g in range(len(GROUPS)):
        for cell, pmpm in ((0, 30_000), (3, 60_000)):
            months = 12_000 * (g + 1)
            observed = np.array(
                [months, months * ONE, months + 600, (months + 600) * ONE,
                 months * pmpm, (months + 600) * (pmpm + 900 * (4 - 3 * g))]
            )  # fmt: skip
            values[g, cell, 0] = observed
            values[g, cell, 1:] = np.rint(observed * rng.normal(1, 0.02, (replicates, 6)))
    people = np.array([5_500, 20_000, 3_000, 4_000])
    return Totals(GROUPS, column_names(1), values, people, np.full((4, 1), 1_234_567_89))


def contracts_of(name: str, **overrides: Any) -> ContractSet:
    """P1 as the file has it, P2 with an agreed base of its own."""
    found = contract.load(name).override(overrides) if overrides else contract.load(name)
    own = found.override({"target.base_pmpm_fixed": "455.00"}, where="test")
    return ContractSet("test", {"P1": found, "P2": own})


QUALITY: dict[str, Decimal | None] = {"P1": Decimal("0.83"), "P2": Decimal("0.5")}


def settled(
    contracts: ContractSet, replicates: int = B, quality: Mapping[str, Decimal | None] = QUALITY
) -> list[Settled]:
    return settle(
        totals(replicates), contracts, base_year=BASE, performance_year=YEAR, quality=quality
    )


def write_run(
    folder: Path,
    contracts: ContractSet,
    replicates: int = B,
    quality: Mapping[str, Decimal | None] = QUALITY,
) -> Path:
    """A finished run as far as a sweep reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_totals(totals(replicates), folder / "totals.arrow")
    (folder / kept_terms.FILE).write_text(json.dumps(kept_terms.document(contracts, quality)))
    rows = settled(contracts, replicates, quality)
    names = ("partnership_id", "payment_cents")
    pq.write_table(
        pa.table({n: [getattr(r, n) for r in rows] for n in names}), folder / "settlement.parquet"
    )
    manifest = {
        "kind": "run",
        "population": {},
        "digest": "ab" * 32,
        "method_version": ihp_compute.METHOD_VERSION,
        "table_digests": {},
        "completion": {
            "measurements": [
                {
                    "partnerships": ["P1", "P2"],
                    "methods": ["equal_runout"],
                    "base_lines_cut": 0,
                    "parts": [],
                },
            ],
        },
        "base_year": BASE,
        "performance_year": YEAR,
        "terms": {"contracts": contracts.hashes()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run under a contract shipped; made once."""
    made: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in made:
            made[name] = write_run(tmp_path_factory.mktemp(name), contracts_of(name))
        return made[name]

    return find


def quantile(draws: np.ndarray, p: Decimal) -> int:
    k = max(1, math.ceil(p * len(draws)))
    return int(np.sort(draws)[k - 1])


def paid_without_effect(base: list[Settled], moved: ContractSet) -> dict[str, float]:
    """How often each is paid whose savings are zero in the mean, one replicate after another."""
    paying = payoffs(dict(cases_of(totals(B), moved, YEAR, QUALITY)))
    found = {}
    for one in base:
        draws = one.draws["target_resampled"]
        savings = (draws.target_cents - draws.observed_cents)[1:].tolist()
        mean = int((Decimal(sum(savings)) / B).to_integral_value("ROUND_HALF_EVEN"))
        pays = paying[one.partnership_id]
        payments = [
            pays(target, np.array([target - saved + mean]))["payment"][0]
            for target, saved in zip(draws.target_cents[1:].tolist(), savings, strict=True)
        ]
        found[one.partnership_id] = sum(payment > 0 for payment in payments) / B
    return found


def check_scenarios(rows: list[dict[str, Any]], name: str, grid: Grid) -> None:
    """Each row against `settle` under the same overrides; the state's against sums of draws."""
    run = settled(contracts_of(name))
    base = {r.partnership_id: r.payment_cents for r in run}
    base["state"] = sum(base.values())
    assert len(rows) == grid.n_scenarios * 3
    for i, moved in enumerate(grid.scenarios()):
        contracts = contracts_of(name)
        moved_set = ContractSet(
            "test", {p: c.override(moved) for p, c in contracts.contracts.items()}
        )
        ones = settled(moved_set)
        draws_of = {one.partnership_id: one.draws["target_resampled"].payment_cents for one in ones}
        paid = [one.payment_cents > 0 for one in ones]
        owing = [one.payment_cents < 0 for one in ones]
        draws_of["state"] = np.sum(list(draws_of.values()), axis=0)
        falsely = paid_without_effect(run, moved_set)
        falsely["state"] = sum(falsely.values()) / len(falsely)
        for p, (partnership, draws) in enumerate(draws_of.items()):
            row = rows[3 * i + (p + 1) % 3]  # the state's stands first
            whole = partnership == "state"
            assert row["scenario_id"] == i + 1
            assert row["partnership_id"] == partnership
            assert row["scope"] == ("state" if whole else "partnership")
            assert row["payment_cents"] == draws[0]
            assert row["n_paid"] == (sum(paid) if whole else paid[p])
            assert row["n_owing"] == (sum(owing) if whole else owing[p])
            assert row["p05_cents"] == quantile(draws[1:], Decimal("0.05"))
            assert row["p50_cents"] == quantile(draws[1:], Decimal("0.50"))
            assert row["p95_cents"] == quantile(draws[1:], Decimal("0.95"))
            exact = Decimal(int(draws[1:].sum())) / B
            assert row["mean_cents"] == int(exact.to_integral_value("ROUND_HALF_EVEN"))
            assert row["probability_gain"] == (draws[1:] > 0).sum() / B
            assert row["probability_loss"] == (draws[1:] < 0).sum() / B
            assert row["false_payment_rate"] == pytest.approx(falsely[partnership], abs=1e-12)
            assert row["difference_cents"] == draws[0] - base[partnership]
            for path, value in moved.items():
                told = row[path]
                assert told == (float(value) if isinstance(told, float) else value_text(value))


GRIDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "shares and gates": (
        "mn-ihp-2.0-track-2",
        {
            "settlement.gain.share": {"from": Decimal("0.3"), "to": Decimal("0.7"), "count": 3},
            "settlement.gate.gain_rate": [0, Decimal("0.02")],
            "settlement.loss.share": ["none", Decimal("0.4"), Decimal("0.5")],
        },
    ),
    "bands come, move and go": (
        "mn-ihp-2.0-track-2",
        {
            "settlement.gain.bands": ["none", CORRIDOR, "0:0.02:0;0.02:none:0.5"],
            "settlement.gain.cap_of_target": ["none", Decimal("0.05"), Decimal("0.1")],
            "settlement.quality.weight": ["none", Decimal("0.25")],
        },
    ),
    "named bands": (
        "maine-accountable-communities",
        {
            "settlement.gain.bands.inner.below": [Decimal("0.01"), Decimal("0.03")],
            "settlement.gain.bands.outer.share": [Decimal("0.4"), Decimal("0.6")],
            "settlement.gain.bands.inner.share": [Decimal("0.1"), Decimal("0.2")],
            "settlement.loss.share": [Decimal("0.4"), Decimal("0.6")],
        },
    ),
    "terms of the target": (
        "mn-ihp-2.0-track-2",
        {
            "target.trend": ["none", Decimal("0.03"), Decimal("0.042")],
            "target.base_pmpm_fixed": ["none", 430, Decimal("455.50")],
        },
    ),
    "a cap of the risk ratio": (
        "mn-ihp-2.0-track-2",
        {
            "target.trend": [Decimal("0.03"), Decimal("0.042")],
            "target.risk_ratio_cap_up": ["none", Decimal("0.01")],
            "settlement.gate.loss_rate": ["none", Decimal("0.01")],
        },
    ),
    "corridor, credibility and cap of the risk ratio": (
        "mn-ihp-2.0-track-2",
        {
            "risk.normalise": ["none", "mix_neutral"],
            "risk.growth_corridor": ["none", 0, Decimal("0.001"), Decimal("0.03")],
            "risk.credibility": ["none", 12_000, 90_000, 200_000],
            "target.cell_credibility": ["none"],
            "target.risk_ratio_cap_down": ["none", Decimal("0.002")],
        },
    ),
    "one edge by two names": (
        "maine-accountable-communities",
        {
            "settlement.gain.bands.outer.above": [Decimal("0.01"), Decimal("0.03")],
            "settlement.gain.bands.inner.below": [Decimal("0.02"), Decimal("0.04")],
        },
    ),
    "a gate by size": (
        "cms-mssp-track-1",
        {
            "settlement.gate.gain_rate": ["size_table", Decimal("0.02")],
            "settlement.gain.share": [Decimal("0.4"), Decimal("0.5")],
        },
    ),
    "choices, order and the first year": (
        "mn-ihp-2.0-track-2",
        {
            "settlement.gain.counting": ["first_dollar", "excess"],
            "settlement.direction": ["shared_savings", "corridor"],
            "agreement.first_performance_year": [2020, 2021],
            "target.rate_cells": [";".join(RATE_CELLS), "+".join(RATE_CELLS)],
        },
    ),
    "rate cells and dollars": (
        "mn-ihp-2.0-track-2",
        {
            "settlement.loss.cap_usd": ["none", 10_000, 20_000],
            "settlement.adjustments.disaster_usd": ["none", 5_000],
            "settlement.withhold.rate": ["none", Decimal("0.02")],
            "settlement.quality.floor": ["none", Decimal("0.6")],
        },
    ),
}


def test_the_column_of_a_band_s_edge_says_what_it_is(run_of: Callable[[str], Path]) -> None:
    name, axes = GRIDS["named bands"]
    table = sweep(run_of(name), grid_of(axes), LocalRunner(1)).table
    about = table.schema.field("settlement.gain.bands.inner.below").metadata
    assert about[b"unit"] == b"ratio"
    assert about[b"meaning"].endswith(b": below of inner")


@pytest.mark.parametrize("title", GRIDS)
def test_a_sweep_is_many_settlements(run_of: Callable[[str], Path], title: str) -> None:
    """To the cent, in every scenario, for contracts of several programmes."""
    name, axes = GRIDS[title]
    grid = grid_of(axes)
    swept = sweep(run_of(name), grid, LocalRunner(1))
    check_scenarios(swept.table.to_pylist(), name, grid)


RATES = st.decimals(0, Decimal("0.1"), places=3)
SHARES = st.decimals(0, 1, places=2)
AXES = {
    "settlement.gain.share": SHARES,
    "settlement.loss.share": SHARES | st.just("none"),
    "settlement.gate.gain_rate": RATES | st.just("none"),
    "settlement.gate.loss_rate": RATES | st.just("none"),
    "settlement.gain.bands": st.sampled_from(["none", CORRIDOR, "0:none:0.5"]),
    "settlement.loss.bands": st.sampled_from(["none", CORRIDOR]),
    "settlement.gain.cap_of_target": RATES | st.just("none"),
    "settlement.quality.weight": SHARES | st.just("none"),
    "settlement.gain.counting": st.sampled_from(["first_dollar", "excess"]),
    "target.trend": st.decimals(Decimal("-0.1"), Decimal("0.1"), places=3) | st.just("none"),
    "target.base_pmpm_fixed": st.decimals(300, 600, places=2) | st.just("none"),
    "target.risk_ratio_cap_up": RATES | st.just("none"),
    "target.risk_ratio_cap_down": RATES,
    "settlement.adjustments.other_usd": st.decimals(-1000, 1000, places=2),
}


@st.composite
def grids(draw: Any) -> Grid:
    paths = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=3, unique=True))
    return grid_of({p: draw(st.lists(AXES[p], min_size=1, max_size=2, unique=True)) for p in paths})


@given(grid=grids())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_grid_settles_as_its_scenarios_do(run_of: Callable[[str], Path], grid: Grid) -> None:
    swept = sweep(run_of("mn-ihp-2.0-track-2"), grid, LocalRunner(1))
    check_scenarios(swept.table.to_pylist(), "mn-ihp-2.0-track-2", grid)


def test_one_point_is_the_run_itself(run_of: Callable[[str], Path]) -> None:
    """Settle, run and a one-point sweep agree: payment, and the ends of the 90 % interval."""
    name = "mn-ihp-2.0-track-2"
    swept = sweep(run_of(name), grid_of({"settlement.gain.share": [Decimal("0.50")]}))
    state, *of_each = swept.table.to_pylist()
    assert (state["scope"], state["difference_cents"]) == ("state", 0)
    for row, one in zip(of_each, settled(contracts_of(name)), strict=True):
        draws = one.draws["target_resampled"].payment_cents
        ends = next(i for i in intervals(draws) if (i.method, i.level) == ("percentile", 0.9))
        assert row["payment_cents"] == one.payment_cents
        assert (row["p05_cents"], row["p95_cents"]) == (ends.low, ends.high)
        assert row["difference_cents"] == 0


def test_the_state_is_drawn_together_over_blocks_and_tasks(
    run_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More scenarios than a block and a task hold, of several programs, in turns."""
    monkeypatch.setattr(statewide, "JOB_ROWS", 100)
    name = "mn-ihp-2.0-track-2"
    grid = grid_of(
        {
            "settlement.gain.bands": ["none", CORRIDOR],
            "settlement.gain.share": {"from": Decimal("0.3"), "to": Decimal("0.7"), "count": 41},
            "settlement.loss.cap_usd": ["none", 10_000, 20_000],
        }
    )
    found = sweep(run_of(name), grid, LocalRunner(2)).table.to_pylist()
    assert len(found) == 246 * 3
    for i, moved in list(enumerate(grid.scenarios()))[::17]:
        contracts = contracts_of(name).contracts
        ones = settled(ContractSet("test", {p: c.override(moved) for p, c in contracts.items()}))
        draws = np.sum([one.draws["target_resampled"].payment_cents for one in ones], axis=0)
        row = found[3 * i]
        assert (row["scenario_id"], row["scope"], row["payment_cents"]) == (
            i + 1,
            "state",
            draws[0],
        )
        assert [row[f"{k}_cents"] for k in ("p05", "p50", "p95")] == [
            quantile(draws[1:], Decimal(p)) for p in ("0.05", "0.50", "0.95")
        ]
        assert row["probability_loss"] == (draws[1:] < 0).sum() / B


def test_payments_too_large_to_add_up_are_refused() -> None:
    """Each partnership's alone is exact, all of them together are not."""
    as_it_is = np.array([[10, 0, 0, 0]], np.int32)  # the payment is a source, rounded
    one = Job(0, np.arange(1), np.full((1, 3), 2.0**52), np.zeros((1, 0)), as_it_is, 1)
    (job,) = statewide.state_jobs([one], 1)
    assert statewide.summarise_state(job)[1][0, 0] == 2**52
    (job,) = statewide.state_jobs([one, one], 1)
    with pytest.raises(GridError, match="more than can be added up exactly"):
        statewide.summarise_state(job)


def test_threads_do_not_change_the_digest(run_of: Callable[[str], Path]) -> None:
    name, axes = GRIDS["bands come, move and go"]
    one, two = (sweep(run_of(name), grid_of(axes), LocalRunner(n)) for n in (1, 2))
    assert one.digest == two.digest
    other = sweep(run_of(name), grid_of({**axes, "settlement.gain.share": [Decimal("0.4")]}))
    assert other.digest != one.digest


def test_the_contract_file_may_be_gone(tmp_path: Path) -> None:
    """A sweep starts from the terms kept with the run, not from the file they came from."""
    file = tmp_path / "own.toml"
    file.write_text((FOLDER / "mn-ihp-2.0-track-2.toml").read_text())
    found = contract.load(file)
    folder = write_run(tmp_path / "run", ContractSet("own", {"P1": found, "P2": found}))
    file.unlink()
    swept = sweep(folder, grid_of({"settlement.gain.share": [Decimal("0.5")]}))
    assert set(swept.table.column("difference_cents").to_pylist()) == {0}


@pytest.mark.parametrize("name", contract.names())
def test_terms_come_back_as_they_were(name: str) -> None:
    """Every shipped contract, with overrides, through JSON: equal in value and digest."""
    first = contract.load(name)
    own = first.override({"settlement.gain.bands": CORRIDOR, "settlement.gain.share": "0.30"})
    contracts = ContractSet("both", {"P1": first, "P2": own})
    kept = json.loads(json.dumps(kept_terms.document(contracts, QUALITY)))
    again = kept_terms._read(kept)
    assert again.contracts == contracts
    assert again.contracts.sha256 == contracts.sha256
    assert again.quality == QUALITY


def test_terms_changed_after_the_run_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", contracts_of("mn-ihp-1.0"))
    path = folder / kept_terms.FILE
    grid = grid_of({"settlement.gain.share": [Decimal("0.5")]})
    kept = json.loads(path.read_text())
    for one in kept["contracts"].values():
        one["terms"]["settlement.gain.share"][0]["value"] = "0.99"
    path.write_text(json.dumps(kept))
    with pytest.raises(RunError, match="changed after the run"):
        sweep(folder, grid)
    path.write_text("{}")
    with pytest.raises(RunError, match="cannot be read back"):
        sweep(folder, grid)
    path.unlink()
    with pytest.raises(RunError, match="keeps no terms"):
        sweep(folder, grid)


def test_totals_changed_after_the_run_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", contracts_of("mn-ihp-2.0-track-2"))
    other = totals()
    other.values[:, :, 0, 5] += 100_000
    write_totals(other, folder / "totals.arrow")
    with pytest.raises(RunError, match="its files were changed"):
        sweep(folder, grid_of({"settlement.gain.share": [Decimal("0.5")]}))


def test_a_run_without_replicates_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", contracts_of("mn-ihp-2.0-track-2"), replicates=0)
    with pytest.raises(RunError, match="has no replicates"):
        sweep(folder, grid_of({"settlement.gain.share": [Decimal("0.5")]}))


def test_a_grid_above_the_limit_is_refused_with_its_size(run_of: Callable[[str], Path]) -> None:
    axes = {
        "settlement.gain.share": {"from": 0, "to": 1, "count": 10_000},
        "settlement.loss.share": {"from": 0, "to": 1, "count": 100},
    }
    with pytest.raises(GridError, match=r"2,000,000 rows, more than the limit of 1,000,000"):
        sweep(run_of("mn-ihp-2.0-track-2"), grid_of(axes))


def test_progress_ends_at_all_rows(run_of: Callable[[str], Path]) -> None:
    told: list[tuple[int, int]] = []
    name, axes = GRIDS["shares and gates"]
    sweep(run_of(name), grid_of(axes), LocalRunner(1), lambda done, rows: told.append((done, rows)))
    assert told[-1] == (54, 54)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_bands_that_do_not_touch_are_refused_by_scenario(run_of: Callable[[str], Path]) -> None:
    axes = {
        "settlement.gain.bands.inner.below": [Decimal("0.02"), Decimal("0.4")],
        "settlement.gain.bands.middle.below": [Decimal("0.03"), Decimal("0.5")],
    }
    with pytest.raises(GridError, match=r"inner\.below = 0\.4, .*middle\.below = 0\.03"):
        sweep(run_of("aca-1342"), grid_of(axes))


def test_an_unknown_band_or_value_is_refused(run_of: Callable[[str], Path]) -> None:
    with pytest.raises(GridError, match="no such band"):
        sweep(
            run_of("aca-1342"), grid_of({"settlement.gain.bands.inmost.below": [Decimal("0.02")]})
        )
    with pytest.raises(GridError, match=r"found 1\.5, expected a number at least 0 and at most 1"):
        sweep(run_of("aca-1342"), grid_of({"settlement.gain.share": [Decimal("1.5")]}))


def test_a_gate_by_size_without_a_table_is_refused_before_anything_is_settled(
    run_of: Callable[[str], Path],
) -> None:
    gate = {"settlement.gate.gain_rate": ["size_table"]}
    with pytest.raises(GridError, match="found size_table, expected rows"):
        check(run_of("aca-1342"), grid_of(gate))
    table = {"settlement.gate.size_table": ["1000:0.03;5000:0.02"]}
    check(run_of("aca-1342"), grid_of({**gate, **table}))


def test_what_a_missing_score_is_moves_in_a_sweep_as_any_term(tmp_path: Path) -> None:
    """P2 has no score; each scenario is the settlement under its terms, and none is refused one."""
    name, quality = "mn-ihp-2.0-track-2", {"P1": Decimal("0.83"), "P2": None}
    missing, weight = "settlement.quality.missing", "settlement.quality.weight"
    run_dir = write_run(tmp_path / "run", contracts_of(name, **{missing: "full"}), B, quality)
    policies, weights = ["full", "none", "average"], ["none", Decimal("0.25"), Decimal("0.5")]
    found = sweep(run_dir, grid_of({missing: policies, weight: weights})).table.to_pylist()
    for policy in policies:
        for value in weights:
            terms = {missing: policy, weight: value}
            expected = {
                one.partnership_id: one.payment_cents
                for one in settled(contracts_of(name, **terms), B, quality)
            }
            rows = [
                r
                for r in found
                if (r["scope"], r[missing], r[weight]) == ("partnership", policy, str(value))
            ]
            assert {r["partnership_id"]: r["payment_cents"] for r in rows} == expected
    with pytest.raises(GridError, match=r"cannot be settled: found no quality score of P2"):
        sweep(run_dir, grid_of({missing: ["full", "refuse"]}))


def test_a_scenario_that_counts_mix_twice_is_refused(run_of: Callable[[str], Path]) -> None:
    """Alone at once; with rate cells that move too, for the scenarios in which it does."""
    run_dir = run_of("aca-1342")
    for path, value in (
        ("risk.normalise", "statewide"), ("target.risk_ratio_by", "partnership"),
    ):  # fmt: skip
        with pytest.raises(GridError, match=f"{path}: found {value} beside 12 rate cells"):
            check(run_dir, grid_of({path: [value]}))
        one_cell = {"target.rate_cells": ["+".join(RATE_CELLS)]}
        assert sweep(run_dir, grid_of({path: [value], **one_cell})).table.num_rows == 3


def test_a_scenario_of_two_credibilities_is_refused(run_of: Callable[[str], Path]) -> None:
    run_dir, months = run_of("mn-ihp-2.0-track-2"), {"risk.credibility": [12_000]}
    message = r"risk\.credibility: found 12000 beside target\.cell_credibility months"
    with pytest.raises(GridError, match=message):
        check(run_dir, grid_of(months))
    own = {"target.cell_credibility": ["none", "months"]}
    with pytest.raises(GridError, match=message):
        sweep(run_dir, grid_of({**months, **own}))


def test_rate_cells_in_another_order_need_a_new_run(run_of: Callable[[str], Path]) -> None:
    """What a cap took was taken in the order in which the contract lists them."""
    cells = ";".join(reversed(RATE_CELLS))
    with pytest.raises(GridError, match=r"target\.rate_cells: found rate cells in another order"):
        sweep(run_of("aca-1342"), grid_of({"target.rate_cells": [cells]}))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_a_sweep_is_written_by_extension(
    run_of: Callable[[str], Path], tmp_path: Path, suffix: str
) -> None:
    name, axes = GRIDS["shares and gates"]
    swept = sweep(run_of(name), grid_of(axes))
    out = tmp_path / "new" / f"sweep{suffix}"
    write(swept, out)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    if suffix == ".parquet":
        table = pq.read_table(out)
        assert table.equals(swept.table)
        assert json.loads(table.schema.metadata[b"ihp_sweep"])["digest"] == swept.digest
    elif suffix == ".csv":
        first = out.read_text().splitlines()[0].replace('"', "")
        assert first.split(",") == beside_cents(swept.table).column_names
    with pytest.raises(DataError, match=r"\.parquet, \.arrow, \.csv"):
        write(swept, tmp_path / "sweep.xlsx")


def test_a_sweep_takes_the_place_of_a_file_only_when_asked(
    run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    name, axes = GRIDS["shares and gates"]
    swept = sweep(run_of(name), grid_of(axes))
    out = tmp_path / "sweep.parquet"
    out.write_bytes(b"a record")
    with pytest.raises(DataError, match=r"is there already; choose another --out, or give --repl"):
        check_output(out)
    with pytest.raises(DataError, match="is there already"):
        write(swept, out)
    assert out.read_bytes() == b"a record"
    write(swept, out, replace=True)
    assert verify_sweep(out) == swept.digest
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    with pytest.raises(DataError, match="is a folder"):
        check_output(folder, replace=True)


def test_an_unknown_path_is_refused_with_a_near_one(run_of: Callable[[str], Path]) -> None:
    with pytest.raises((GridError, ContractError), match=r"settlement\.gain\.share"):
        sweep(run_of("aca-1342"), grid_of({"settlement.gain.shares": [Decimal("0.5")]}))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_sweep_that_was_changed_is_found(
    run_of: Callable[[str], Path], tmp_path: Path, suffix: str
) -> None:
    """Its rows, and what it says of its run, its terms and its draft."""
    name, axes = GRIDS["bands come, move and go"]
    swept = sweep(run_of(name), grid_of(axes))
    file = tmp_path / f"sweep{suffix}"
    write(swept, file)
    assert verify_sweep(file) == swept.digest
    table = read_table(file)
    about = json.loads(table.schema.metadata[b"ihp_sweep"])
    cents = pa.array([cent + 1 for cent in table.column("payment_cents").to_pylist()])
    at = table.column_names.index("payment_cents")
    for changed in (
        table.set_column(at, table.schema.field(at), cents),
        table.slice(1),
        table.replace_schema_metadata({b"ihp_sweep": json.dumps({**about, "draft_terms": []})}),
        table.replace_schema_metadata({b"ihp_sweep": json.dumps({**about, "digest": "0" * 64})}),
    ):
        other = tmp_path / f"other{suffix}"
        write_table(changed, other)
        with pytest.raises(DataError, match="the sweep was changed"):
            verify_sweep(other)
    write_table(table.replace_schema_metadata(), other)
    with pytest.raises(DataError, match="is no sweep"):
        verify_sweep(other)
    with pytest.raises(DataError, match="a CSV holds no digest"):
        verify_sweep(tmp_path / "sweep.csv")


def test_terms_that_a_grid_moves_are_supplied(run_of: Callable[[str], Path]) -> None:
    name, axes = GRIDS["bands come, move and go"]
    swept = sweep(run_of(name), grid_of({**axes, "settlement.direction": ["corridor"]}))
    assert any("settlement.direction (supplied)" in line for line in swept.about["draft_terms"])
