"""Whose diagnoses score: claims that count, lists of a user, what is left out, in a whole run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.errors import IhpError, RiskModelError
from ihp_compute.explain import explain_member
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import open_population
from ihp_compute.risk.diagnosis_filter import REASONS, filter_of
from ihp_compute.risk.eligible_codes import read_eligible_codes
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.units import year_bounds

CLINIC = "1234567893"
PEOPLE = 40
HEART, DIABETES = "I509", "E1165"
SET = """
[set]
name = "filter"
[default]
contract = "mn-ihp-2.0-track-2"
[default.overrides]
"risk.model" = "{model}"
"risk.normalise" = "none"
"risk.timing" = "concurrent"
"risk.payment_year" = 2026
"""
TIMING = {"timing": "a model of the year before, run on codes of the same year"}
LABORATORY = {"place_of_service_code": "81", "hcpcs_code": "83036"}
AMBULANCE = {"place_of_service_code": "41", "hcpcs_code": "A0429"}
EQUIPMENT = {"place_of_service_code": "12", "hcpcs_code": "E0601"}
LAST = 2**31 - 1


def line(person: str, day: str, code: str = "Z0000", **changes: str) -> dict[str, str]:
    """A professional office visit of 500 dollars, paid two weeks later."""
    row = {
        "claim_id": f"{person}{day}{len(changes)}", "claim_line_number": "1",
        "claim_type": "professional", "person_id": person, "claim_start_date": day,
        "claim_end_date": day, "place_of_service_code": "11", "bill_type_code": "",
        "hcpcs_code": "99213", "rendering_npi": CLINIC, "billing_npi": CLINIC,
        "diagnosis_code_1": code, "diagnosis_code_2": "", "paid_date": f"{day[:8]}28",
        "paid_amount": "500.00", "allowed_amount": "500.00", "revenue_center_code": "",
        "admission_date": "", "drg_code": "",
    }  # fmt: skip
    return row | changes


def state(folder: Path, *more: dict[str, str]) -> Path:
    """Forty people without conditions, two visits a year in 2024 and 2025, and what is more."""
    people = [f"P{k:03d}" for k in range(PEOPLE)]
    visits = [
        line(person, f"{year}-{month}-10")
        for person in people
        for year in (2024, 2025)
        for month in ("01", "12")
    ]
    tables: dict[str, list[dict[str, str]]] = {
        "eligibility": [
            {
                "person_id": person, "gender": "MF"[k % 2], "birth_date": "1981-06-15",
                "enrollment_start_date": "2024-01-01", "enrollment_end_date": "2025-12-31",
                "payer_type": "medicaid", "medicaid_indicator": "1", "x_elgblty_grp_cd": "72",
            }
            for k, person in enumerate(people)
        ],
        "medical_claim": [*visits, *more],
        "provider_roster": [
            {
                "npi": CLINIC, "partnership_id": "IHP-01", "specialty": "primary care",
                "health_care_home": "true", "start_date": "2015-01-01",
            }
        ],
        "quality_score": [{"partnership_id": "IHP-01", "performance_year": "2025", "score": "1.0"}],
    }  # fmt: skip
    folder.mkdir()
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    population = folder.parent / f"{folder.name}-population"
    ingest(folder, population, shards=2, threads=1)
    return population


def settled(
    population: Path,
    *terms: str,
    model: str = "cms-hcc-v28",
    accept: Mapping[str, str] = TIMING,
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """The one settlement, the manifest, and the run's folder; terms are lines of the set."""
    contracts = population.parent / f"set-{len(list(population.parent.iterdir()))}.toml"
    contracts.write_text(SET.format(model=model) + "\n".join(terms) + "\n")
    out = contracts.with_suffix("")
    run(
        RunRequest(population, (str(contracts),), accept=accept, replicates=2, programme="none"),
        out,
    )
    (row,) = pq.read_table(out / "settlement.parquet").to_pylist()
    return row, json.loads((out / "manifest.json").read_text()), out


def counts(manifest: dict[str, Any], of: str) -> dict[str, int]:
    """What the run counted under names that hold these words."""
    return {name: n for name, n in manifest["counts"].items() if of in name}


RULED_OUT = [
    *(line(f"P{k:03d}", "2025-06-05", HEART, diagnosis_code_2=DIABETES, **LABORATORY)
      for k in range(10)),
    *(line(f"P{k:03d}", "2025-06-06", HEART, **AMBULANCE) for k in range(10, 15)),
    *(line(f"P{k:03d}", "2025-06-07", HEART, **EQUIPMENT) for k in range(15, 20)),
]  # fmt: skip


@pytest.fixture(scope="module")
def ruled_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten with a laboratory's codes, five with an ambulance's, five with equipment's."""
    return state(tmp_path_factory.mktemp("ruled-out") / "raw", *RULED_OUT)


def test_codes_that_rule_out_do_not_raise_the_score(ruled_out: Path) -> None:
    row, manifest, _ = settled(ruled_out)
    assert row["risk_ratio"] == 1.0
    assert counts(manifest, "left_out") == {
        "2025:left_out_laboratory_cents": 500_000,
        "2025:left_out_transport_cents": 250_000,
        "2025:left_out_equipment_cents": 250_000,
        "2025:n_diagnoses_left_out_laboratory": 20,
        "2025:n_diagnoses_left_out_transport": 5,
        "2025:n_diagnoses_left_out_equipment": 5,
    }


def test_what_is_left_out_is_told_by_reason_with_its_dollars(ruled_out: Path) -> None:
    _, _, out = settled(ruled_out)
    found = {
        row["subject"]: (row["lines"], row["paid_cents"])
        for row in pq.read_table(out / "data_quality.parquet").to_pylist()
        if row["finding"] == "diagnoses_left_out"
    }
    assert found == {
        "laboratory: codes of 2025, scoring 2025": (20, 500_000),
        "transport: codes of 2025, scoring 2025": (5, 250_000),
        "equipment: codes of 2025, scoring 2025": (5, 250_000),
    }
    assert "diagnoses on claims that do not count" in (out / "report.html").read_text()


def test_what_is_left_out_of_one_member_s_codes_is_shown_with_the_reason(tmp_path: Path) -> None:
    """A code that the office states too on that day counts; the other year has none."""
    population = state(
        tmp_path / "raw",
        line("P000", "2025-06-05", HEART, diagnosis_code_2=DIABETES, **LABORATORY),
        line("P000", "2025-06-05", DIABETES),
        line("P000", "2025-07-01", HEART, **AMBULANCE),
    )
    _, _, out = settled(population)
    before, now = (year["scoring"] for year in explain_member(out, "P000").years)
    assert before["codes_left_out"] == []
    assert now["codes_left_out"] == [
        {"code": HEART, "date": "2025-06-05", "reason": "laboratory"},
        {"code": HEART, "date": "2025-07-01", "reason": "transport"},
    ]
    assert [row["code"] for row in now["codes"] if row["sets"]] == [DIABETES]
    shown = CliRunner().invoke(app, ["explain", str(out), "--member", "P000"])
    assert shown.exit_code == 0
    assert "left out: laboratory" in shown.output
    every = settled(population, '"risk.diagnoses_from" = "all"')[2]
    assert explain_member(every, "P000").years[1]["scoring"]["codes_left_out"] == []


def test_every_claim_counts_where_the_contract_says_so(ruled_out: Path) -> None:
    row, manifest, _ = settled(ruled_out, '"risk.diagnoses_from" = "all"')
    assert row["risk_ratio"] > 2
    assert counts(manifest, "left_out") == {}


def test_a_list_of_a_user_decides_instead_of_the_services(ruled_out: Path, tmp_path: Path) -> None:
    """Whatever its order and format; another list is another digest."""
    digests = []
    for k, text in enumerate(("hcpcs_code\n83036\n99202-99215\n", "code\n99202-99215\n 83036\n")):
        listed = tmp_path / f"list-{k}.csv"
        listed.write_text(text)
        row, manifest, _ = settled(ruled_out, f'"risk.diagnoses_from" = "{listed}"')
        assert row["risk_ratio"] > 1.5
        assert counts(manifest, "left_out") == {
            "2025:left_out_not_on_list_cents": 500_000,
            "2025:n_diagnoses_left_out_not_on_list": 10,
        }
        digests.append(manifest["digest"])
    listed.write_text("code\n99202-99215\n")
    row, manifest, _ = settled(ruled_out, f'"risk.diagnoses_from" = "{listed}"')
    assert row["risk_ratio"] == 1.0
    assert digests[0] == digests[1] != manifest["digest"]


def test_one_listed_line_makes_all_codes_of_its_claim_count(tmp_path: Path) -> None:
    """And no code of another claim of the day."""
    rows = [
        line("P000", "2025-06-05", HEART, claim_id="A", **LABORATORY),
        line("P000", "2025-06-05", "", claim_id="A", claim_line_number="2", hcpcs_code="99214"),
        line("P000", "2025-06-05", DIABETES, claim_id="B", **LABORATORY),
        line("P000", "2025-06-05", "J449", claim_id="C", claim_type="institutional",
             bill_type_code="111", hcpcs_code="", place_of_service_code=""),
    ]  # fmt: skip
    population = open_population(state(tmp_path / "raw", *rows))
    (tmp_path / "list.csv").write_text("hcpcs_code\n99214\n")
    procedures = population.codes("hcpcs").to_pylist()
    chosen = filter_of(ScoreTerms(diagnoses_from=str(tmp_path / "list.csv")), procedures)
    words = population.codes("dx").to_pylist()
    kept = {
        words[shard.column("diagnoses", "dx")[row]]
        for shard in population.shards
        for row in (chosen.of_diagnoses(shard) == 0).nonzero()[0]
    }
    assert kept == {HEART, "J449"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n99213,1\n", "found the columns a, b, expected hcpcs_code"),
        ("hcpcs_code\n99213\nvisit\n", "row 2 says VISIT"),
        ("hcpcs_code\n\n", "found no codes"),
        ("hcpcs_code\n99215-99202\n", "row 1 says 99215-99202"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(RiskModelError, match=message):
        read_eligible_codes(path)


def test_a_list_that_is_not_there_is_refused(ruled_out: Path) -> None:
    with pytest.raises(IhpError, match=r"nowhere\.csv"):
        settled(ruled_out, '"risk.diagnoses_from" = "nowhere.csv"')


def test_a_stay_over_new_year_scores_the_new_year(tmp_path: Path) -> None:
    """Ten stays with heart failure, from 28 December 2024 to 5 January 2025."""
    stays = [
        line(
            f"P{k:03d}", "2024-12-28", HEART, claim_end_date="2025-01-05", bill_type_code="111",
            claim_type="institutional", paid_date="2025-01-28", hcpcs_code="",
        )
        for k in range(10)
    ]  # fmt: skip
    row, _, out = settled(state(tmp_path / "raw", *stays))
    assert row["risk_ratio"] > 1
    state_row, own = pq.read_table(out / "score_changes.parquet").to_pylist()
    assert own["coding_micro"] == own["score_micro"] - own["base_score_micro"] > 0
    assert own | {"partnership_id": ""} == state_row
    assert "Why mean scores moved" in (out / "report.html").read_text()


def test_without_a_model_nothing_is_compared(ruled_out: Path) -> None:
    _, _, out = settled(ruled_out, model="none", accept={})
    assert pq.read_table(out / "score_changes.parquet").num_rows == 0


def test_claims_without_a_bill_type_are_counted_or_left_out(tmp_path: Path) -> None:
    rows = [
        line(
            f"P{k:03d}", "2025-06-05", HEART, claim_type="institutional", hcpcs_code="",
            place_of_service_code="", revenue_center_code="0450",
        )
        for k in range(10)
    ]  # fmt: skip
    population = state(tmp_path / "raw", *rows)
    row, manifest, _ = settled(population)
    assert row["risk_ratio"] > 1
    assert counts(manifest, "bill_type") == {
        "2025:n_diagnoses_without_bill_type": 10,
        "2025:without_bill_type_cents": 500_000,
    }
    row, manifest, _ = settled(population, '"risk.without_bill_type" = "leave_out"')
    assert row["risk_ratio"] == 1.0
    assert counts(manifest, "bill_type") == {
        "2025:left_out_no_bill_type_cents": 500_000,
        "2025:n_diagnoses_left_out_no_bill_type": 10,
    }


def test_both_years_have_the_same_run_out(tmp_path: Path) -> None:
    """Codes of 2024 that were paid five months after its end, as those of 2025 cannot be yet."""
    late = [
        line(f"P{k:03d}", "2024-06-05", HEART, paid_date="2025-05-20") for k in range(10)
    ]  # fmt: skip
    population = state(tmp_path / "raw", *late, line("P039", "2025-12-20", paid_date="2026-01-31"))
    as_it_is = '"completion.method" = "none"'
    accept = TIMING | {"immature": "a test of run-out"}
    none, _, _ = settled(population, as_it_is, accept=accept)
    assert none["risk_ratio"] < 1
    same, _, _ = settled(population, as_it_is, '"risk.runout_months" = 1', accept=accept)
    assert same["risk_ratio"] == 1.0
    with pytest.raises(RiskModelError, match="at most 1 months after"):
        settled(population, as_it_is, '"risk.runout_months" = 2', accept=accept)


def test_a_diagnosis_that_counts_on_one_claim_is_not_left_out(tmp_path: Path) -> None:
    """The same code and day on a laboratory's claim and in the office."""
    rows = [
        line("P000", "2025-06-05", HEART, claim_id="A", **LABORATORY),
        line("P000", "2025-06-05", HEART, claim_id="B"),
    ]
    population = open_population(state(tmp_path / "raw", *rows))
    chosen = filter_of(ScoreTerms(diagnoses_from="risk_adjustable"), [])
    found = [
        chosen.left_out(
            shard,
            days=year_bounds(2025),
            cutoff_day=LAST,
            members=shard.column("members", "sex") >= 0,
        )
        for shard in population.shards
    ]
    assert not any(one.diagnoses.any() for one in found)
    assert sum(one.paid_cents[REASONS.index("laboratory")] for one in found) == 50_000
