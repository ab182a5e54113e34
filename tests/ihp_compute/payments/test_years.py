"""Payments in advance as cost and under quality, in runs of a state worked by hand.

Everybody who is attributed stays whom he was in every year and is paid for in every month that
counts, ten dollars less fees: so what a run adds is known for each draw, too.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ihp_compute.contracts import check
from ihp_compute.errors import ContractError, RunError
from ihp_compute.explain import write_pack
from ihp_compute.ingest.passes import ingest
from ihp_compute.payments import Period, pay
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import verify_run
from ihp_compute.runner import LocalRunner
from ihp_compute.uncertainty import read_totals
from tests.ihp_compute.payments.payment_cases import enrolled, entry, line, write_tables

NORTH, SOUTH, OTHER = (f"100000000{k}" for k in range(1, 4))
BASE, YEAR = 2023, 2024
CHILD, PLAN = {"birth_date": "2015-01-01"}, {"x_mc_plan_id": "Plan A"}
NORTHERN = [f"N{i:02}" for i in range(20)]
SOUTHERN = [f"S{i:02}" for i in range(15)]
OTHERS = [f"C{i:02}" for i in range(25)]


def _people() -> list[dict[str, Any]]:
    rows = []
    for names in (NORTHERN, SOUTHERN, OTHERS):
        for i, who in enumerate(names):
            more = (CHILD if i % 3 == 0 else {}) | (PLAN if i % 4 == 0 else {})
            rows.append(enrolled(who, "2021-01-01", "2024-12-31", **more))
    rows.append(enrolled("LEAVES", "2021-01-01", "2024-08-31"))
    return rows


def _claims() -> list[dict[str, Any]]:
    whose = {NORTH: [*NORTHERN, "LEAVES"], SOUTH: SOUTHERN, OTHER: OTHERS}
    visits = [
        line(who, f"{year}-05-{1 + i:02}", npi, paid=f"{100 + 7 * i}.00")
        for year in (2021, 2022, 2023, 2024)
        for npi, names in whose.items()
        for i, who in enumerate(names)
    ]
    fees = [line("N01", "2024-03-10", OTHER, "S0280", "4.00"),
            line("N02", "2024-03-10", OTHER, "S0280", "40.00")]  # fmt: skip
    ends = [line("C00", "2021-01-02", OTHER, "99999"), line("C00", "2024-12-31", OTHER, "99999")]
    return [*visits, *fees, *ends]


def contract(folder: Path, default: str, rest: str = "") -> str:
    path = folder / "set.toml"
    path.write_text(
        f"""[set]
name = "own"
performance_year = {YEAR}
base_year = {BASE}
[default]
contract = "mn-ihp-2.0-track-1"
[default.overrides]
"pbp.rate" = "10"
"risk.model" = "none"
"settlement.quality.missing" = "full"
{default}
{rest}
""",
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("years")
    write_tables(
        folder / "raw",
        eligibility=_people(),
        medical_claim=_claims(),
        provider_roster=[
            entry(OTHER, "COMPARISON"), entry(NORTH, "North"), entry(SOUTH, "South"),
        ],
        quality_score=[
            {"partnership_id": "North", "performance_year": f"{YEAR}", "score": "0.8"},
        ],
    )  # fmt: skip
    ingest(folder / "raw", folder / "population", shards=3, threads=1)
    return folder / "population"


def made(population: Path, terms: str, out: Path, replicates: int = 40) -> Path:
    request = RunRequest(population, (terms,), replicates=replicates, programme="none")
    return run(request, out, LocalRunner(1)).run_dir


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"{table}.parquet").to_pylist()


@pytest.fixture(scope="module")
def runs(population: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same state with the payment beside cost, and with it in cost."""
    folder = tmp_path_factory.mktemp("runs")
    beside = made(population, contract(folder, ""), folder / "beside")
    terms = contract(folder, '"pbp.counts_as_cost" = true')
    return beside, made(population, terms, folder / "cost")


def test_cost_rises_by_what_four_quarters_and_the_true_up_pay(
    population: Path, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """By partnership in both years; observed cost and the base year's cells rise by it."""
    beside, cost = runs
    terms = contract(tmp_path, '"pbp.counts_as_cost" = true')
    paid: Counter[tuple[str, int, str]] = Counter()
    for year in (BASE, YEAR):
        for period in (*(Period(year, q) for q in (1, 2, 3, 4)), Period(year)):
            for row in pay(population, (terms,), period, LocalRunner(1)).table.to_pylist():
                paid[row["partnership_id"], year, row["payer"]] += row["payment_cents"]
    written: Counter[tuple[str, int, str]] = Counter()
    by_cell: Counter[tuple[str, int, str]] = Counter()
    for row in rows_of(cost, "paid_ahead"):
        written[row["partnership_id"], row["year"], row["payer"]] += row["payment_cents"]
        by_cell[row["partnership_id"], row["year"], row["counted_in"]] += row["payment_cents"]
    assert written == paid
    # North: 20 people of 12 months and LEAVES of 8; fees of 4.00, and of 40.00 of which 10.00
    assert sum(n for (who, year, _), n in paid.items() if (who, year) == ("North", YEAR)) == (
        248 * 1000 - 400 - 1000
    )

    def costs(folder: Path) -> Counter[tuple[str, int, str]]:
        return Counter(
            {
                (row["partnership_id"], row["year"], row["rate_cell"]): row["cost_cents"]
                for row in rows_of(folder, "cells")
            }
        )

    risen = costs(cost)
    risen.subtract(costs(beside))
    assert {at: n for at, n in risen.items() if n} == dict(by_cell)
    before, after = ({row["partnership_id"]: row for row in rows_of(f, "settlement")} for f in runs)
    for who in ("North", "South"):
        more = after[who]["observed_cents"] - before[who]["observed_cents"]
        assert more == sum(n for (p, year, _), n in paid.items() if (p, year) == (who, YEAR))
    assert not rows_of(beside, "paid_ahead")
    assert pq.read_table(cost / "member_years.parquet").equals(
        pq.read_table(beside / "member_years.parquet")
    )


def test_payments_are_drawn_with_their_people(runs: tuple[Path, Path]) -> None:
    """Ten dollars for each drawn month of South, whom no fee touches, in every draw."""
    beside, cost = (read_totals(folder / "totals.arrow") for folder in runs)
    g = cost.groups.index("South")
    for year in ("base", "perf"):
        months = cost.column(f"{year}_months")[g]
        more = cost.column(f"{year}_cost_r0")[g] - beside.column(f"{year}_cost_r0")[g]
        assert np.array_equal(more, 1000 * months)
        assert len({*months.sum(axis=0).tolist()}) > 10
    for group in ("COMPARISON", "UNATTRIBUTED"):
        g = cost.groups.index(group)
        assert np.array_equal(cost.values[g], beside.values[g])


def test_walk_manifest_and_pack_say_what_of_cost_was_paid_in_advance(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    _, cost = runs
    walk = {
        row["step"]: row["detail"]
        for row in rows_of(cost, "walk")
        if row["partnership_id"] == "North"
    }
    assert walk["observed"].endswith("; $2,466.00 of 2024 are population-based payments")
    assert walk["recomputed_base"].endswith("; $2,520.00 of 2023 are population-based payments")
    manifest = json.loads((cost / "manifest.json").read_text())
    assert [one["year"] for one in manifest["paid_ahead"]] == [BASE, YEAR]
    assert manifest["paid_ahead"][1]["offset_cents"] == 1400
    assert "pbp.rate" in manifest["draft_terms"]["names"]
    verify_run(cost)
    write_pack(cost, "North", tmp_path / "pack")
    with (tmp_path / "pack" / "reconciliation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for year, cents in ((BASE, 252_000), (YEAR, 246_600)):
        of_year = {row["line"]: int(row["cents"]) for row in rows if int(row["year"]) == year}
        assert of_year["population_based_payment"] == cents
        observed = of_year.pop("observed")
        assert observed == sum(of_year.values())


def test_a_payment_for_a_rate_cell_without_months_stands_in_the_largest(
    tmp_path: Path,
) -> None:
    """North's child goes to South: North is paid for it, and has no child of its own."""
    names = ["MOVES", "N1", "N2", "S1", "C1"]
    people = [
        enrolled(who, "2021-01-01", "2024-12-31", **(CHILD if who in ("MOVES", "S1", "C1") else {}))
        for who in names
    ]
    people += [enrolled(who, "2021-01-01", "2024-12-31") for who in ("S2", "C2")]
    whose = {"N1": NORTH, "N2": NORTH, "S1": SOUTH, "S2": SOUTH, "C1": OTHER, "C2": OTHER}
    claims = [
        line(who, f"{year}-0{k}-05", npi)
        for year in (2021, 2022, 2023, 2024)
        for who, npi in {**whose, "MOVES": NORTH if year < YEAR else SOUTH}.items()
        for k in ((1, 2, 3) if year == YEAR else (5,))
    ]
    claims += [line("C1", d, OTHER, "99999") for d in ("2021-01-01", "2024-12-31")]
    roster = [entry(OTHER, "COMPARISON"), entry(NORTH, "North"), entry(SOUTH, "South")]
    write_tables(tmp_path / "raw", eligibility=people, medical_claim=claims, provider_roster=roster)
    ingest(tmp_path / "raw", tmp_path / "population", shards=1, threads=1)
    terms = contract(tmp_path, '"pbp.counts_as_cost" = true')
    folder = made(tmp_path / "population", terms, tmp_path / "run", replicates=0)
    found = {
        row["rate_cell"]: row
        for row in rows_of(folder, "paid_ahead")
        if (row["partnership_id"], row["year"]) == ("North", YEAR)
    }
    child = next(cell for cell in found if cell.startswith("child"))
    adult = next(cell for cell in found if cell.startswith("adult"))
    assert (found[child]["payment_cents"], found[child]["counted_in"]) == (12_000, adult)
    cells = {
        row["rate_cell"]: row["cost_cents"]
        for row in rows_of(folder, "cells")
        if (row["partnership_id"], row["year"]) == ("North", YEAR) and row["cost_cents"]
    }
    assert cells == {adult: 2 * 3 * 10_000 + 24_000 + 12_000}


def test_a_score_moves_the_part_of_the_payment_that_is_at_stake(
    population: Path, tmp_path: Path
) -> None:
    """Half at stake, a score of 0.8: a tenth of the year's payment; without a score it is whole."""
    folder = made(population, contract(tmp_path, '"pbp.quality" = "0.5"'), tmp_path / "run", 0)
    found = {row["partnership_id"]: row for row in rows_of(folder, "quality")}
    assert (found["North"]["score"], found["North"]["pbp_cents"]) == (0.8, -24_660)
    assert found["South"]["flag"] == "filled_full"
    assert found["South"]["pbp_cents"] == 0
    assert {row["year"] for row in rows_of(folder, "paid_ahead")} == {YEAR}
    assert {row["counted_in"] for row in rows_of(folder, "paid_ahead")} == {""}


def test_what_is_not_paid_can_neither_count_nor_be_graded(tmp_path: Path) -> None:
    none = "[partnerships.North.overrides]"
    for term in ('"pbp.counts_as_cost" = true', '"pbp.quality" = "0.5"'):
        terms = contract(tmp_path, "", f'{none}\n"pbp.rate" = "none"\n{term}')
        path = term.split('"')[1]
        with pytest.raises(ContractError, match=rf"{path}: found .* for North .*and pbp.rate"):
            check(Path(terms), YEAR, BASE)


def test_a_base_year_of_whose_people_nothing_is_known_is_refused(
    population: Path, tmp_path: Path
) -> None:
    """People of 2021 are those of 2020, which the data do not hold."""
    terms = contract(tmp_path, '"pbp.counts_as_cost" = true')
    request = RunRequest(population, (terms,), base_year=2021, replicates=0, programme="none")
    with pytest.raises(RunError, match="people of 2021 are those of 2020, which is not a full"):
        run(request, tmp_path / "run", LocalRunner(1))
