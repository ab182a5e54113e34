"""An alliance settles to its members' sums, and everything that goes on from a run knows it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import RunError
from ihp_compute.explain import explain_partnership
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import true_up, verify_run
from ihp_compute.results.resettle import resettle
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps import grid_of, sweep

CONTRACT = "northwest-metro-alliance"
HEAD = f'[set]\nname = "metro"\n[default]\ncontract = "{CONTRACT}"\n'
ALLIANCE = '[alliances.METRO]\nmembers = ["IHP-02", "IHP-01"]\nsplit = "member_months"\n'
ALONE = '[alliances.METRO]\nmembers = ["IHP-02"]\nsplit = "member_months"\n'
MEMBERS = ["IHP-01", "IHP-02"]
B = 20
Rows = list[dict[str, Any]]
Run = Callable[..., Path]
DOCUMENTS = Path(__file__).resolve().parents[2] / "docs/method"


@pytest.fixture(scope="module")
def run_of(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    made: dict[str, Path] = {}

    def find(text: str, **more: Any) -> Path:
        key = f"{text}{more}"
        if key not in made:
            folder = tmp_path_factory.mktemp("alliance")
            (folder / "set.toml").write_text(HEAD + text, encoding="utf-8")
            request = RunRequest(
                small_population,
                (str(folder / "set.toml"),),
                replicates=B,
                programme="none",
                seed=3,
                **more,
            )
            made[key] = run(request, folder / "run", LocalRunner(1)).run_dir
        return made[key]

    return find


def rows(folder: Path, table: str) -> Rows:
    """Rows of a table; of intervals those of settlements."""
    found: Rows = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return [row for row in found if not row.get("item")]


def by_id(folder: Path, table: str = "settlement") -> dict[str, dict[str, Any]]:
    return {row["partnership_id"]: row for row in rows(folder, table)}


def test_it_stands_in_its_members_place_and_people_stay_the_members(run_of: Run) -> None:
    apart, together = run_of(""), run_of(ALLIANCE)
    assert set(by_id(together)) == {*by_id(apart), "METRO"} - {*MEMBERS}
    for table in ("settlement_state", "intervals"):
        who = {r.get("scope_id", r.get("partnership_id")) for r in rows(together, table)}
        assert "METRO" in who
        assert not who & {*MEMBERS}
    for table in ("walk", "cells", "payments", "sensitivities", "chances"):
        who = {row["partnership_id"] for row in rows(together, table)}
        assert "METRO" in who
        assert not who & {*MEMBERS}
    for table in ("attribution", "utilisation", "exclusions", "ledger"):
        assert rows(apart, table) == rows(together, table)
    assert pq.read_table(apart / "member_years.parquet").equals(
        pq.read_table(together / "member_years.parquet")
    )
    verify_run(together)


def test_nobody_else_settles_to_anything_else(run_of: Run) -> None:
    apart, together = by_id(run_of("")), by_id(run_of(ALLIANCE))
    others = {*apart} - {*MEMBERS}
    assert others
    assert {name: together[name] for name in others} == {name: apart[name] for name in others}


def test_its_cells_are_sums_over_its_members_people(run_of: Run) -> None:
    """Read from member-years with DuckDB, and from the members' own rows."""
    folder = run_of(ALLIANCE)
    cells = {
        (row["year"], row["rate_cell"]): row
        for row in rows(folder, "cells")
        if row["partnership_id"] == "METRO"
    }
    assert len(cells) > 4
    for (year, cell), row in cells.items():
        months = " + ".join(f"months_{part}" for part in cell.split("+"))
        (found,) = (
            duckdb.connect()
            .execute(
                f"SELECT count(*) FILTER ({months} > 0), sum({months}),"
                f" sum(({months}) * score_micro::HUGEINT)"
                f" FROM '{folder}/member_years.parquet' WHERE year = {year}"
                " AND group_id IN ('IHP-01', 'IHP-02')"
            )
            .fetchall()
        )
        assert (row["n_members"], row["member_months"]) == found[:2]
        assert row["own_risk_mean"] == pytest.approx(found[2] / found[1] / 1e6, rel=1e-12)
    members = [row for row in rows(run_of(""), "cells") if row["partnership_id"] in MEMBERS]
    for column in ("n_members", "member_months", "paid_cents", "cost_cents"):
        for key, row in cells.items():
            own = [r[column] for r in members if (r["year"], r["rate_cell"]) == key]
            assert row[column] == sum(own)
    assert {cell for _, cell in cells} <= {*RATE_CELLS}


def test_its_settlement_is_that_of_the_sums(run_of: Run) -> None:
    """Target, observed and payment made again from `cells` and the contract by the documents."""
    folder = run_of(ALLIANCE)
    again = runpy.run_path(str(DOCUMENTS / "recompute.py"))["settle"](folder, CONTRACT).to_pylist()
    written = by_id(folder)["METRO"]
    (row,) = (row for row in again if row["partnership_id"] == "METRO")
    for name in ("target", "observed", "payment"):
        assert round(row[f"{name}_usd"] * 100) == written[f"{name}_cents"]
    (cost,) = (
        duckdb.connect()
        .execute(
            f"SELECT sum(cost_r0_cents), count(*) FROM '{folder}/member_years.parquet'"
            f" WHERE year = {written['performance_year']} AND group_id IN ('IHP-01', 'IHP-02')"
        )
        .fetchall()
    )
    assert (written["observed_cents"], written["n_members"]) == cost


def test_an_alliance_of_one_member_settles_as_that_member(run_of: Run) -> None:
    apart, together = run_of(""), run_of(ALONE)
    named = {"partnership_id": "IHP-02"}
    for table in ("settlement", "walk", "cells", "intervals", "payments", "sensitivities"):
        own = [row for row in rows(apart, table) if row["partnership_id"] == "IHP-02"]
        its = [row for row in rows(together, table) if row["partnership_id"] == "METRO"]
        assert own
        assert [{**row, **named} for row in its] == own
    of_state = [
        [r for r in rows(f, "intervals") if r["scope"] == "state"] for f in (apart, together)
    ]
    assert of_state[0] == of_state[1]


def test_what_goes_on_from_a_run_knows_the_alliance(run_of: Run) -> None:
    folder = run_of(ALLIANCE)
    settled = {one.partnership_id: one.payment_cents for one in resettle(folder)}
    assert settled == {name: row["payment_cents"] for name, row in by_id(folder).items()}
    assert explain_partnership(folder, "METRO").settlement == by_id(folder)["METRO"]
    with pytest.raises(RunError, match="no partnership 'IHP-01'"):
        explain_partnership(folder, "IHP-01")
    swept = sweep(folder, grid_of({"settlement.gain.share": ["0.25"]}), LocalRunner(1)).table
    (row,) = (row for row in swept.to_pylist() if row["partnership_id"] == "METRO")
    share = '[alliances.METRO.overrides]\n"settlement.gain.share" = 0.25\n'
    assert row["payment_cents"] == by_id(run_of(ALLIANCE + share))["METRO"]["payment_cents"]


def test_a_later_settlement_nets_an_alliance_of_the_same_members_alone(run_of: Run) -> None:
    earlier = run_of(ALLIANCE, paid_through=date(2025, 1, 31))
    found = true_up(run_of(ALLIANCE), earlier)
    assert found.moved_cents["METRO"] == (
        found.final_cents["METRO"] - found.interim_cents["METRO"]
    )  # fmt: skip
    with pytest.raises(RunError, match="IHP-01 is of METRO and of no alliance, expected the same"):
        true_up(run_of(ALLIANCE), run_of("", paid_through=date(2025, 1, 31)))


def test_the_members_of_an_alliance_name_its_set(run_of: Run) -> None:
    kept = (run_of(ALLIANCE) / "contracts.json").read_text(encoding="utf-8")
    assert '"METRO": {"members": ["IHP-02", "IHP-01"], "split": "member_months"' in kept
