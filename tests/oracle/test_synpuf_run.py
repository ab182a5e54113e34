"""A whole run over public claims that nobody here wrote, with a roster of their own physicians."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from itertools import zip_longest
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.results.verify import verify_run
from ihp_compute.runner import LocalRunner

CONTRACT = Path(__file__).with_name("contract_2009.toml")
CAP_CENTS = 50_000_00


@pytest.fixture(scope="module")
def outcome(synpuf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    out = tmp_path_factory.mktemp("synpuf-run")
    ingest(synpuf_folder, out / "population", shards=3)
    request = RunRequest(out / "population", (str(CONTRACT),), replicates=100)
    return run(request, out / "run", LocalRunner(2))


@pytest.mark.shared
def test_public_claims_settle_and_verify(outcome: Outcome) -> None:
    assert [row["partnership_id"] for row in outcome.settlement] == [
        "EAST", "NORTH", "SOUTH", "WEST",
    ]  # fmt: skip
    assert all(row["performance_year"] == 2009 for row in outcome.settlement)
    assert verify_run(outcome.run_dir) == outcome.digest


@pytest.mark.shared
def test_every_public_line_meets_one_fate(outcome: Outcome) -> None:
    ledger = pq.read_table(outcome.run_dir / "ledger.parquet").to_pylist()
    retained = sum(row["lines"] for row in ledger if row["fate"] == "retained")
    claims = [row for row in ledger if row["source_table"] != "eligibility"]
    assert sum(row["lines"] for row in claims if row["stage"] == "run") == sum(
        row["lines"] for row in claims if row["fate"] == "retained"
    )
    assert retained > 0
    dollars = {row["fate"]: 0 for row in claims}
    for row in claims:
        dollars[row["fate"]] += row["paid_cents"] if row["stage"] == "run" else 0
    members = pq.read_table(outcome.run_dir / "member_years.parquet").to_pylist()
    attributed = [row for row in members if row["group_id"] in {"EAST", "NORTH", "SOUTH", "WEST"}]
    settles = sum(min(row["uncapped_r0_cents"], CAP_CENTS) for row in attributed)
    assert dollars["above_cap"] > 0
    assert dollars["counted"] - dollars["above_cap"] == settles
    assert settles == sum(row["cost_r0_cents"] for row in attributed)


@pytest.mark.shared
def test_an_earlier_cutoff_is_a_settlement_of_its_own(outcome: Outcome, tmp_path: Path) -> None:
    population = outcome.run_dir.parent / "population"
    request = RunRequest(population, (str(CONTRACT),), replicates=0, paid_through=date(2009, 6, 30))
    early = run(request, tmp_path / "run", LocalRunner(1))
    assert early.digest != outcome.digest
    assert sum(r["observed_cents"] for r in early.settlement) < sum(
        r["observed_cents"] for r in outcome.settlement
    )


@pytest.mark.shared
def test_public_stays_and_emergency_visits_are_counted_as_by_hand(
    shared: Path, outcome: Outcome
) -> None:
    """From CMS's own files: stays chained, index stays, readmissions, emergency days.

    Of 499 people in each of 2008 and 2009 the sample has 113 and 108 stays (226 and 216 per 1,000
    people), 8 of 104 and 7 of 101 index stays readmitted, 229 and 193 emergency visits.
    """
    found = duckdb.execute(
        "SELECT year, sum(stays), sum(index_stays), sum(readmissions), sum(ed_visits) "
        f"FROM '{outcome.run_dir}/member_years.parquet' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert [tuple(map(int, row)) for row in found] == _by_hand(shared / "data" / "synpuf")


def _by_hand(source: Path) -> list[tuple[int, ...]]:
    """Stays, index stays, readmissions and emergency visits of each year, person by person."""
    names = ("bene", "inpatient", "outpatient", "carrier")
    tables = {name: pq.read_table(source / f"{name}.parquet").to_pylist() for name in names}
    enrolled = {(row["DESYNPUF_ID"], int(row["BENE_YEAR"])) for row in tables["bene"]}
    died = {
        row["DESYNPUF_ID"]: row["BENE_DEATH_DT"] for row in tables["bene"] if row["BENE_DEATH_DT"]
    }

    def counts(person: str, day: date) -> bool:
        last = died.get(person, date.max)
        return (person, day.year) in enrolled and (day.year, day.month) <= (last.year, last.month)

    claims: dict[str, set[tuple[date, date]]] = defaultdict(set)
    for row in tables["inpatient"]:
        end = row["NCH_BENE_DSCHRG_DT"] or row["CLM_THRU_DT"]
        claims[row["DESYNPUF_ID"]].add((row["CLM_ADMSN_DT"] or row["CLM_FROM_DT"], end))
    stays: dict[str, list[list[date]]] = {}
    for person, own in claims.items():
        chained: list[list[date]] = []
        for admitted, discharged in sorted(own):
            if chained and admitted <= chained[-1][1] + timedelta(days=1):
                chained[-1][1] = max(chained[-1][1], discharged)
            else:
                chained.append([admitted, discharged])
        stays[person] = chained
    emergencies = {
        (row["DESYNPUF_ID"], row["CLM_FROM_DT"])
        for table, columns in (("outpatient", 1), ("carrier", 5))
        for row in tables[table]
        for k in range(1, columns + 1)
        if str(row[f"HCPCS_CD_{k}"]) in {"99281", "99282", "99283", "99284", "99285"}
    }
    sums = {year: [0, 0, 0, 0] for year in (2008, 2009)}
    for person, own_stays in stays.items():
        for here, after in zip_longest(own_stays, own_stays[1:]):
            admitted, discharged = here
            if discharged.year not in sums or not counts(person, discharged):
                continue
            thirty = discharged + timedelta(days=30)
            is_index = (
                admitted < discharged
                and thirty.year == discharged.year
                and counts(person, thirty)
                and died.get(person, date.max) > discharged
            )
            again = after is not None and after[0] <= thirty
            for place, one in enumerate((True, is_index, is_index and again)):
                sums[discharged.year][place] += one
    for person, day in emergencies:
        inside = any(a == day or a < day < d for a, d in stays.get(person, ()))
        sums[day.year][3] += counts(person, day) and not inside
    return [(year, *of_year) for year, of_year in sums.items()]
