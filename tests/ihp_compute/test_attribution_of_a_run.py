"""Who belongs to whom, from raw tables to the settlement of a run and to what explains it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import DataError
from ihp_compute.explain import explain_member
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import read_manifest
from ihp_compute.runner import LocalRunner

Row = dict[str, Any]
A, B, C, OTHER = (f"100000000{k}" for k in range(1, 5))


def enrolled(person: str, start: str = "2023-01-01", end: str = "2024-12-31", **more: str) -> Row:
    return {
        "person_id": person, "gender": "female", "birth_date": "1990-01-01",
        "enrollment_start_date": start, "enrollment_end_date": end, "x_elgblty_grp_cd": "01",
        **more,
    }  # fmt: skip


def visit(person: str, day: str, npi: str, **more: str) -> Row:
    """A line of $100.00 that is paid at the end of its year."""
    return {
        "claim_id": f"{person}{day}{npi}", "claim_line_number": "1", "claim_type": "professional",
        "person_id": person, "claim_start_date": day, "claim_end_date": day,
        "place_of_service_code": "11", "hcpcs_code": "99213", "rendering_npi": npi,
        "diagnosis_code_1": "J209", "paid_date": f"{day[:4]}-12-31", "paid_amount": "100.00",
        "x_clm_type_cd": "1", **more,
    }  # fmt: skip


def entry(npi: str, partnership: str, start: str = "2020-01-01", end: str = "", **more: str) -> Row:
    return {
        "npi": npi, "tin": "", "partnership_id": partnership, "specialty": "primary care",
        "start_date": start, "end_date": end, **more,
    }  # fmt: skip


Made = Callable[..., Path]


@pytest.fixture
def settled(tmp_path: Path) -> Made:
    """Ingest a state and run it: the run's folder."""

    def make(people: list[Row], lines: list[Row], roster: list[Row], **terms: str) -> Path:
        raw = tmp_path / "raw"
        raw.mkdir()
        first, last = enrolled("ZZ"), [visit("ZZ", d, OTHER) for d in ("2023-01-02", "2024-12-31")]
        members = sorted({row["person_id"] for row in people})
        for name, rows in {
            "eligibility": [first, *people],
            "medical_claim": [*last, *lines],
            "provider_roster": [entry(OTHER, "COMPARISON"), *roster],
            "risk_score": [
                {"person_id": p, "year": y, "model": "acg", "score": "1.0"}
                for p in ("ZZ", *members)
                for y in ("2023", "2024")
            ],
            "quality_score": [
                {"partnership_id": p, "performance_year": "2024", "score": "1.0"}
                for p in sorted({row["partnership_id"] for row in roster})
            ],
        }.items():
            with (raw / f"{name}.csv").open("w", newline="") as stream:
                columns = dict.fromkeys(name for row in rows for name in row)
                writer = csv.DictWriter(stream, list(columns), restval="")
                writer.writeheader()
                writer.writerows(rows)
        ingest(raw, tmp_path / "population", shards=2, threads=1)
        contract = tmp_path / "set.toml"
        given = "".join(f'"attribution.{name}" = "{value}"\n' for name, value in terms.items())
        contract.write_text(
            '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
            f"[default.overrides]\n{given}"
        )
        request = RunRequest(
            tmp_path / "population", (str(contract),), base_year=2023, performance_year=2024,
            replicates=2, programme="none",
        )  # fmt: skip
        run(request, tmp_path / "run", LocalRunner(1))
        return tmp_path / "run"

    return make


def shown(run_dir: Path) -> dict[str, tuple[int, int, int, int]]:
    """Members, target, observed and payment in cents of each partnership."""
    return {
        row["partnership_id"]: (
            row["n_members"], row["target_cents"], row["observed_cents"], row["payment_cents"],
        )
        for row in pq.read_table(run_dir / "settlement.parquet").to_pylist()
    }  # fmt: skip


def moved(run_dir: Path, partnership: str, year: int = 2024) -> dict[str, int]:
    """What is not nothing of a partnership's rows of attribution, over its steps."""
    sums: dict[str, int] = {}
    for row in pq.read_table(run_dir / "attribution.parquet").to_pylist():
        if (row.pop("partnership_id"), row.pop("year")) == (partnership, year):
            row.pop("step")
            sums = {name: sums.get(name, 0) + value for name, value in row.items()}
    return {name: value for name, value in sums.items() if value}


MONTHS = ("01", "02", "03", "04", "05", "07", "08", "09", "10", "11")
TEN_AGAINST_ONE = [
    *(visit("M1", f"{year}-{m}-10", A) for year in (2023, 2024) for m in MONTHS),
    *(visit("M1", f"{year}-06-10", B) for year in (2023, 2024)),
]
FLAGGED = [entry(A, "IHP-A", health_care_home="false"), entry(B, "IHP-B", health_care_home="true")]


def test_ten_visits_are_not_lost_to_one_at_a_flagged_clinic(settled: Made) -> None:
    """All of the eleven visits' $1,100 are the cost of the partnership with ten of them."""
    run_dir = settled([enrolled("M1")], TEN_AGAINST_ONE, FLAGGED)
    assert {p: (n, observed) for p, (n, _, observed, _) in shown(run_dir).items()} == {
        "IHP-A": (1, 110_000), "IHP-B": (0, 0),
    }  # fmt: skip
    assert shown(run_dir)["IHP-B"] == (0, 0, 0, 0)
    assert moved(run_dir, "IHP-A") == {"members": 1, "member_months": 12}
    assert moved(run_dir, "IHP-B") == {}


def test_a_flagged_clinic_makes_the_first_step_where_the_contract_says_so(settled: Made) -> None:
    run_dir = settled(
        [enrolled("M1")], TEN_AGAINST_ONE, FLAGGED, health_care_home="or_flagged_entry"
    )
    assert {p: row[0] for p, row in shown(run_dir).items()} == {"IHP-A": 0, "IHP-B": 1}


JULY = [
    visit(f"{who}{half}", f"{year}-{month}-10", npi)
    for who, npi in (("D", A), ("E", B))
    for half, month in ((1, "03"), (2, "09"))
    for year in (2023, 2024)
]
HALVES = [enrolled(f"{who}{half}") for who in "DE" for half in (1, 2)]
TURNING = [entry(A, "IHP-D", start="2024-07-01"), entry(B, "IHP-E", end="2024-06-30")]


@pytest.mark.parametrize(
    ("terms", "members"),
    [
        ({}, {"IHP-D": (2, 2), "IHP-E": (0, 0)}),
        ({"roster_date": "06-30"}, {"IHP-D": (0, 0), "IHP-E": (2, 2)}),
        ({"roster_rule": "any_day"}, {"IHP-D": (2, 2), "IHP-E": (2, 2)}),
        ({"roster_rule": "same_days"}, {"IHP-D": (1, 1), "IHP-E": (1, 1)}),
    ],
)
def test_a_clinic_that_joins_or_leaves_in_july_counts_alike_in_both_years(
    settled: Made, terms: dict[str, str], members: dict[str, tuple[int, int]]
) -> None:
    """Each has one member who visits in March and one who visits in September, in both years."""
    run_dir = settled(HALVES, JULY, TURNING, **terms)
    assert {
        p: tuple(moved(run_dir, p, year).get("members", 0) for year in (2023, 2024))
        for p in members
    } == members
    if not terms:
        assert shown(run_dir) == {"IHP-D": (2, 20_840, 20_000, 420), "IHP-E": (0, 0, 0, 0)}
        words = "roster entries valid on 2024-12-31 hold for all days of both years"
        assert read_manifest(run_dir)["roster"] == words
        assert f"the same in both years; {words}" in (run_dir / "report.html").read_text()


def test_each_years_own_roster_needs_one_in_the_base_year(settled: Made) -> None:
    with pytest.raises(DataError, match="IHP-D has no entry valid in 2023"):
        settled(HALVES, JULY, TURNING, roster_rule="own_year")


def test_what_is_no_cost_attributes_nobody(settled: Made) -> None:
    """M1 is dual with three visits at C, then has one at A; M2 has two payments at C, one at A.

    $100 a member in the base year; M1 has nine months in the performance year: the target is
    1.75 x $100 x 1.042 = $182.35.
    """
    run_dir = settled(
        [
            enrolled("M1", end="2023-12-31"),
            enrolled("M1", "2024-01-01", "2024-03-31", dual_status_code="02"),
            enrolled("M1", "2024-04-01"),
            enrolled("M2"),
        ],
        [
            *(visit(m, "2023-05-10", A) for m in ("M1", "M2")),
            *(visit(m, "2024-05-10", A) for m in ("M1", "M2")),
            *(visit("M1", f"2024-02-0{day}", C) for day in (1, 2, 3)),
            *(visit("M2", f"2024-02-0{day}", C, x_clm_type_cd="2") for day in (1, 2)),
        ],
        [entry(A, "IHP-A"), entry(C, "IHP-C")],
    )
    assert {p: row[:3] for p, row in shown(run_dir).items()} == {
        "IHP-A": (2, 18_235, 20_000), "IHP-C": (0, 0, 0),
    }  # fmt: skip
    for member, others in (("M1", 3), ("M2", 2)):
        found = explain_member(run_dir, member)
        assert [(y["group_id"], y["n_visits"]) for y in found.years] == [("IHP-A", 1)] * 2
        visits = [(line["visit_of"], line["visit_step"], line["visit_npi"]) for line in found.lines]
        assert visits.count(("IHP-A", "primary_care", A)) == 2
        assert visits.count(("", "", "")) == others


def test_limited_benefits_have_a_reason_of_their_own(settled: Made) -> None:
    run_dir = settled(
        [
            enrolled("F1", x_elgblty_grp_cd="35"),
            enrolled("F2", x_rstrctd_bnfts_cd="6"),
            enrolled("G", x_rstrctd_bnfts_cd="1"),
        ],
        [visit(m, f"{y}-05-10", A) for m in ("F1", "F2", "G") for y in (2023, 2024)],
        [entry(A, "IHP-A")],
    )
    assert shown(run_dir)["IHP-A"][0] == 1
    (row,) = [
        row
        for row in pq.read_table(run_dir / "exclusions.parquet").to_pylist()
        if row["year"] == 2024
    ]
    assert (row["reason"], row["n_members"], row["member_months"], row["paid_cents"]) == (
        "limited_benefits", 2, 24, 20_000,
    )  # fmt: skip
