"""The state's row of a run: it foots to the settlement, and its interval is made of kept draws."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report.page import render
from ihp_compute.report.rows import RowsOf
from ihp_compute.report.scopes import scope_rows
from ihp_compute.results import kept_terms, read_manifest
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import settle
from ihp_compute.sweeps import grid_of, sweep
from ihp_compute.uncertainty import read_totals, totals_file, totals_names

SET = """
[set]
name = "two-programmes"
[default]
contract = "mn-ihp-2.0-track-2"
[default.overrides]
"state.federal_share" = { value = 0.5, source = "State plan, p. 1" }
[partnerships.IHP-01]
contract = "vermont-medicaid-aco"
[partnerships.IHP-01.overrides]
"""
TREND = '"target.trend" = { value = 0.04, source = "Agreement, p. 2" }'
SET += f"{TREND}\n"
MOVED = """
"target.trend" = { value = 0.03, source = "Agreement, p. 3" }
"settlement.gain.share" = { value = 0.3, source = "Agreement, p. 3" }
"""
B = 40
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    (folder / "set.toml").write_text(SET, encoding="utf-8")
    request = RunRequest(
        small_population, (str(folder / "set.toml"),), replicates=B, programme="none", seed=3
    )
    return run(request, folder / "run").run_dir


def rows(folder: Path, name: str) -> Rows:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def test_sums_are_those_of_the_settlement(folder: Path) -> None:
    settled, found = rows(folder, "settlement"), rows(folder, "settlement_state")
    by_id = {row["partnership_id"]: row for row in settled}
    shared = set(settled[0]) & set(found[0])
    assert shared == {
        "n_members", "member_months", "target_cents", "observed_cents", "savings_cents",
        "payment_cents",
    }  # fmt: skip
    for row in found:
        own = settled if row["scope"] in ("state", "attributed") else None
        if row["scope"] == "partnership":
            own = [by_id.pop(row["scope_id"])]
        elif row["scope"] == "track":
            own = [one for one in settled if one["contract"] == row["scope_id"]]
        if own is not None:
            assert {n: row[n] for n in shared} == {n: sum(one[n] for one in own) for n in shared}
    assert not by_id
    assert len([row for row in found if row["scope"] == "programme"]) == 2
    state = next(row for row in found if row["scope"] == "state")
    parts = [row for row in found if row["scope"] == "programme"]
    assert state["state_net_cents"] == sum(row["state_net_cents"] for row in parts)


def test_the_state_s_interval_is_made_of_the_draws_that_the_run_keeps(folder: Path) -> None:
    manifest = read_manifest(folder)
    (name,) = totals_names(len(manifest["completion"]["measurements"]))
    terms = kept_terms.read(folder)
    settled = settle(
        read_totals(folder / totals_file(name)), terms.contracts, base_year=manifest["base_year"],
        performance_year=manifest["performance_year"], quality=terms.quality,
    )  # fmt: skip
    draws = np.array([one.draws["target_resampled"].payment_cents for one in settled])
    ends = np.sort(draws[:, 1:].sum(axis=0))
    (row,) = (
        row
        for row in rows(folder, "intervals")
        if (row["scope"], row["measure"], row["method"], row["conditioning"], row["level"])
        == ("state", "payment_cents", "percentile", "target_resampled", 0.95)
    )
    assert (row["point"], row["low"], row["high"]) == (draws[:, 0].sum(), ends[0], ends[38])


def test_the_page_has_the_state_its_programmes_and_tracks(folder: Path) -> None:
    shown = scope_rows(RowsOf(folder))
    assert [row["scope"] for row in shown] == ["programme"] * 2 + ["track"] * 2 + ["state"]
    page = render(folder)
    first, _, rest = page.partition('<h2 id="settlement">')
    assert "Payment by the state, net of it" in first
    assert "By programme and track" in rest
    assert "Vermont Medicaid Next Generation" in rest
    low, high = shown[-1]["interval"]["savings_rate"][0.95]
    assert low < shown[-1]["savings_rate"] < high


def test_a_sweep_s_state_is_that_of_a_run_of_such_terms(
    folder: Path, small_population: Path, tmp_path: Path
) -> None:
    axes = {"settlement.gain.share": [Decimal("0.5"), Decimal("0.3")], "target.trend": ["0.03"]}
    swept = sweep(folder, grid_of(axes), LocalRunner(1)).table.to_pylist()
    row = next(row for row in swept if row["scenario_id"] == 2)
    terms = SET.replace("[default.overrides]", f"[default.overrides]{MOVED}")
    terms = terms.replace(TREND, MOVED)
    (tmp_path / "set.toml").write_text(terms, encoding="utf-8")
    request = RunRequest(
        small_population, (str(tmp_path / "set.toml"),), replicates=B, programme="none", seed=3
    )
    again = run(request, tmp_path / "run").run_dir
    (state,) = (r for r in rows(again, "settlement_state") if r["scope"] == "state")
    (ends,) = (
        r
        for r in rows(again, "intervals")
        if (r["scope"], r["measure"], r["method"], r["conditioning"], r["level"])
        == ("state", "payment_cents", "percentile", "target_resampled", 0.9)
    )
    assert (row["scope"], row["scenario_id"]) == ("state", 2)
    assert row["payment_cents"] == state["payment_cents"]
    assert (row["p05_cents"], row["p95_cents"]) == (ends["low"], ends["high"])
    before = next(r for r in rows(folder, "settlement_state") if r["scope"] == "state")
    assert row["difference_cents"] == state["payment_cents"] - before["payment_cents"] != 0
