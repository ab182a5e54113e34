"""The day by which a contract incurs a line, from raw tables to the ledger of a run."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.explain import explain_member
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import open_population
from ihp_compute.results import read_manifest
from ihp_compute.runner import LocalRunner

Row = dict[str, Any]
Fates = dict[str, tuple[int, int]]
CLINIC = "1000000004"


def enrolled(person: str, start: str, end: str) -> Row:
    return {
        "person_id": person, "gender": "female", "birth_date": "1980-05-05",
        "enrollment_start_date": start, "enrollment_end_date": end,
    }  # fmt: skip


def visit(person: str, day: str) -> Row:
    """An office visit for one dollar, by which its member belongs to the partnership."""
    return {
        "claim_id": f"V{person}{day}", "claim_line_number": "1", "claim_type": "professional",
        "person_id": person, "claim_start_date": day, "claim_end_date": day, "paid_date": day,
        "paid_amount": "1.00", "hcpcs_code": "99213", "place_of_service_code": "11",
        "diagnosis_code_1": "E119", "rendering_npi": CLINIC,
    }  # fmt: skip


def stay(person: str, start: str, served: str, end: str, dollars: str, **changes: Any) -> Row:
    """One line of a stay: when its claim starts, when it was served, when its claim ends."""
    return {
        "claim_id": f"S{person}{start}", "claim_line_number": "1", "claim_type": "institutional",
        "person_id": person, "claim_start_date": start, "claim_line_start_date": served,
        "claim_end_date": end, "admission_date": start, "discharge_date": end, "paid_date": end,
        "paid_amount": dollars, "bill_type_code": "111", "revenue_center_code": "0120",
        "diagnosis_code_1": "I509", "billing_npi": "1000000012",
    } | changes  # fmt: skip


def write(folder: Path, **tables: list[Row]) -> Path:
    folder.mkdir()
    roster = [{"partnership_id": "IHP-01", "npi": CLINIC, "tin": "", "specialty": "primary care"}]
    for name, rows in {**tables, "provider_roster": roster}.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(
                stream, list(dict.fromkeys(name for row in rows for name in row)), restval=""
            )
            writer.writeheader()
            writer.writerows(rows)
    return folder


Settled = Callable[..., tuple[Path, Fates]]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Settled:
    """Run a population by one rule: the run's folder, and its lines and cents by fate."""

    def make(population: Path, rule: str, **changes: Any) -> tuple[Path, Fates]:
        folder = tmp_path_factory.mktemp("run")
        terms = folder / "set.toml"
        terms.write_text(
            '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
            f'[default.overrides]\n"cost.incurred_by" = "{rule}"\n'
            '"risk.model" = "cms-hcc-v28"\n"settlement.quality.missing" = "full"\n'
            '"risk.timing" = "concurrent"\n"risk.payment_year" = 2026\n'
        )
        request = RunRequest(
            population, (str(terms),), base_year=2022, performance_year=2023, replicates=2,
            programme="none", accept={"timing": "no earlier year is at hand"}, **changes,
        )  # fmt: skip
        run(request, folder / "run", LocalRunner(1))
        return folder / "run", fates(folder / "run")

    return make


def fates(run_dir: Path) -> Fates:
    rows = pq.read_table(run_dir / "ledger.parquet").to_pylist()
    lines: Counter[str] = Counter()
    cents: Counter[str] = Counter()
    for row in rows:
        if row["stage"] == "run" and row["lines"]:
            lines[row["fate"]] += row["lines"]
            cents[row["fate"]] += row["paid_cents"]
    return {fate: (lines[fate], cents[fate]) for fate in lines}


VISITS = [
    *(visit(p, day) for p in "ABCD" for day in ("2022-02-10", "2023-05-10")),
    visit("D", "2023-12-10"),
]


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four members of one partnership, three with a stay over an edge of their enrolment.

    A's ($1,000) starts before Medicaid and ends in it, B's ($2,000) starts in it and ends after.
    C's ($4,000) starts and ends in gaps, with a line served between them; another line of it
    ($8,000) is served in the gap, so by no rule is it of an enrolled month.
    """
    folder = write(
        tmp_path_factory.mktemp("edges") / "raw",
        eligibility=[
            *(enrolled(p, "2022-01-01", "2022-12-31") for p in "ABCD"),
            enrolled("A", "2023-03-01", "2023-12-31"),
            enrolled("B", "2023-01-01", "2023-10-31"),
            enrolled("C", "2023-01-01", "2023-03-31"),
            enrolled("C", "2023-05-01", "2023-05-31"),
            enrolled("C", "2023-07-01", "2023-12-31"),
            enrolled("D", "2023-01-01", "2023-12-31"),
        ],
        medical_claim=[
            *VISITS,
            stay("A", "2023-02-26", "2023-02-26", "2023-03-03", "1000.00"),
            stay("B", "2023-10-28", "2023-10-28", "2023-11-02", "2000.00"),
            stay("C", "2023-04-20", "2023-05-05", "2023-06-03", "4000.00"),
            stay("C", "2023-04-20", "2023-04-20", "2023-06-03", "8000.00", claim_line_number="2"),
        ],
    )
    ingest(folder, folder.with_name("population"), shards=3, threads=1)
    return folder.with_name("population")


def test_a_line_that_one_rule_keeps_is_retained(population: Path) -> None:
    manifest = open_population(population).manifest
    found = {
        row["fate"]: (row["lines"], row["paid_cents"])
        for row in manifest["ledger"]
        if row["source_table"] == "medical_claim" and row["lines"]
    }
    assert found == {"outside_eligibility": (1, 800_000), "retained": (12, 700_900)}


@pytest.mark.parametrize(
    ("rule", "counted", "outside"),
    [
        ("claim_end", 1_000, (2, 600_000)),
        ("claim_start", 2_000, (2, 500_000)),
        ("line", 2_000 + 4_000, (1, 100_000)),
    ],
)
def test_a_stay_over_an_edge_of_enrolment_is_counted_by_the_day_that_incurs_it(
    population: Path, settled: Settled, rule: str, counted: int, outside: tuple[int, int]
) -> None:
    """Beside the visits, nine dollars; what is not counted stands with its dollars."""
    run_dir, found = settled(population, rule)
    lines, cents = outside
    assert found == {
        "outside_eligibility": outside,
        "counted": (12 - lines, 100 * counted + 900),
    }
    assert 100 * counted + cents == 700_000
    (row,) = pq.read_table(run_dir / "settlement.parquet").to_pylist()
    assert row["observed_cents"] == 100 * counted + 500  # the performance year's visits


def test_a_line_outside_eligibility_is_explained_by_the_day_that_incurs_it(
    population: Path, settled: Settled
) -> None:
    for rule, day, fate in (
        ("claim_end", "2023-03-03", "counted"),
        ("claim_start", "2023-02-26", "outside_eligibility"),
    ):
        run_dir, _ = settled(population, rule)
        (line,) = [
            line for line in explain_member(run_dir, "A").lines if line["paid_cents"] == 100_000
        ]
        assert (line["incurred_date"], line["fate"]) == (day, fate)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[set[int], Row]]]:
    """Raw tables with every pattern of enrolment from March to June, and every claim in it.

    Members are enrolled in the rest of the time but January and February 2023. A claim starts, is
    served and ends in any of the four months, in this order, and no sum of cents is another's.
    """
    spring = range(3, 7)
    patterns = [set(months) for n in range(5) for months in combinations(spring, n)]
    members = [enrolled("WHOLE", "2022-01-01", "2023-12-31")]
    claims: list[tuple[set[int], Row]] = []
    people = [f"P{number:02d}" for number in range(len(patterns))]
    for person, months in zip(people, patterns, strict=True):
        members += [
            enrolled(person, "2022-01-01", "2022-12-31"),
            enrolled(person, "2023-07-01", "2023-12-31"),
            *(enrolled(person, f"2023-{m:02d}-01", f"2023-{m:02d}-28") for m in sorted(months)),
        ]
        for k, days in enumerate(combinations_with_replacement(spring, 3)):
            start, served, end = (f"2023-{m:02d}-{10 + i}" for i, m in enumerate(days))
            cents = 100_003 * (1 + len(claims)) + len(claims) ** 2
            row = stay(person, start, served, end, f"{cents / 100:.2f}", claim_id=f"S{person}{k}")
            claims.append((months, row))
    visits = [visit(p, day) for p in people for day in ("2022-02-10", "2023-07-10", "2023-12-10")]
    folder = write(
        tmp_path_factory.mktemp("every") / "raw",
        eligibility=members, medical_claim=[*visits, *(row for _, row in claims)],
    )  # fmt: skip
    return folder, claims


def sums(rows: list[Row]) -> tuple[int, int]:
    return len(rows), sum(round(100 * float(row["paid_amount"])) for row in rows)


DAYS = {
    "claim_start": "claim_start_date", "claim_end": "claim_end_date",
    "line": "claim_line_start_date",
}  # fmt: skip


def test_fates_partition_lines_and_dollars_whatever_the_rule(
    every: tuple[Path, list[tuple[set[int], Row]]], settled: Settled, tmp_path: Path
) -> None:
    """Sixteen patterns of enrolment by twenty claims, on one shard and on five."""
    folder, claims = every

    def inside(months: set[int], row: Row, rule: str) -> bool:
        return int(row[DAYS[rule]][5:7]) in months

    kept = [(months, row) for months, row in claims if any(inside(months, row, r) for r in DAYS)]
    digests: dict[str, set[str]] = {rule: set() for rule in DAYS}
    n_visits = 3 * 16
    for shards in (1, 5):
        population = tmp_path / str(shards)
        document = ingest(folder, population, shards=shards, threads=1)
        outside = [row for months, row in claims if (months, row) not in kept]
        (found,) = [row for row in document["ledger"] if row["fate"] == "outside_eligibility"]
        assert (found["lines"], found["paid_cents"]) == sums(outside)
        for rule in DAYS:
            run_dir, met = settled(population, rule)
            digests[rule].add(read_manifest(run_dir)["digest"])
            lines, cents = sums([row for months, row in kept if inside(months, row, rule)])
            assert met == {
                "counted": (lines + n_visits, cents + 100 * n_visits),
                "outside_eligibility": sums(
                    [row for months, row in kept if not inside(months, row, rule)]
                ),
            }
    assert [len(found) for found in digests.values()] == [1, 1, 1]
    assert len(set().union(*digests.values())) == 3
