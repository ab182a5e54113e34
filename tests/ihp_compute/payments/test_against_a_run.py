"""What quarters and true-up pay, made again from the member-years of a run.

A run whose roster date is 1 January of its performance year attributes the base year to the same
people: their scores are in its rows of the base year, their months in those of the year after.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import RATE_CELLS
from ihp_compute.payments import Period, pay
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import member_keys
from ihp_compute.runner import LocalRunner

YEAR = 2024
SET = """
[set]
name = "own"
[default]
contract = "mn-ihp-2.0-track-1"
[default.overrides]
"pbp.rate" = 6.35
"pbp.medical_weight" = 0.45
"pbp.social_weight.deep_poverty" = 0.15
"pbp.social_weight.past_incarceration" = 0.4
"attribution.roster_date" = "01-01"
"settlement.quality.missing" = "full"
"""
WEIGHTS = {"deep_poverty": Fraction(15, 100), "past_incarceration": Fraction(4, 10)}


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("contract") / "set.toml"
    path.write_text(SET, encoding="utf-8")
    return str(path)


def social(raw: Path) -> dict[int, Fraction]:
    """Weights of the factors that the raw table has on 1 January, by member."""
    found: dict[int, Fraction] = {}
    for row in pq.read_table(raw / "member_factors.parquet").to_pylist():
        start, end = str(row["start_date"] or ""), str(row["end_date"] or "9999")
        if start <= f"{YEAR}-01-01" <= end:
            said = {name for name in WEIGHTS if str(row[name]).lower() in ("1", "true", "1.0")}
            (key,) = member_keys([row["person_id"]]).tolist()
            found[key] = sum((WEIGHTS[name] for name in said), Fraction(0))
    return found


def test_five_files_pay_what_the_member_years_of_a_run_say(
    small_population: Path, raw_state: Path, contracts: str, tmp_path: Path
) -> None:
    request = RunRequest(
        small_population,
        (contracts,),
        base_year=YEAR - 1,
        performance_year=YEAR,
        replicates=0,
        programme="none",
    )
    run(request, tmp_path / "run", LocalRunner(1))
    rows = pq.read_table(tmp_path / "run" / "member_years.parquet").to_pylist()
    months = {
        (row["member_key"], row["year"]): sum(row[f"months_{cell}"] for cell in RATE_CELLS)
        for row in rows
    }
    base = [row for row in rows if row["year"] == YEAR - 1 and row["group_id"]]
    weighed = sum(row["score_micro"] * months[row["member_key"], YEAR - 1] for row in base)
    mean = Fraction(weighed, sum(months[row["member_key"], YEAR - 1] for row in base))
    held = social(raw_state)
    assert len(set(held.values())) > 2
    due_months: Counter[str] = Counter()
    due_cents: Counter[str] = Counter()
    for row in base:
        if row["group_id"] in ("COMPARISON", "UNATTRIBUTED"):
            continue
        key = row["member_key"]
        part = 1 + Fraction(45, 100) * (row["score_micro"] / mean - 1) + held.get(key, 0)
        rate = round(Fraction(635) * max(Fraction(0), part))
        due_months[row["group_id"]] += months[key, YEAR]
        due_cents[row["group_id"]] += rate * months[key, YEAR]

    found_months: Counter[str] = Counter()
    found_cents: Counter[str] = Counter()
    for period in (*(Period(YEAR, q) for q in (1, 2, 3, 4)), Period(YEAR)):
        paid = pay(small_population, (contracts,), period, LocalRunner(1))
        for row in paid.table.to_pylist():
            found_months[row["partnership_id"]] += row["member_months"]
            found_cents[row["partnership_id"]] += row["payment_cents"] + row["offset_cents"]
    assert (found_months, found_cents) == (due_months, due_cents)
