"""Whose codes score a year: a model's timing, its code years, and what a contract says of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import AcceptanceError, GateError, RiskModelError
from ihp_compute.explain import explain_member
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.results import read_manifest
from ihp_compute.risk.models.schema import (
    Cell,
    Coefficient,
    Condition,
    Feature,
    Model,
    Rule,
    Segment,
    Step,
    encode,
)
from ihp_compute.runner import LocalRunner

Row = dict[str, Any]
CLINIC = "1000000004"
OTHER_YEAR = {"timing": "the programme scores each year by its own codes"}
PEOPLE = "ABCDEF"
SICK = {"A": 2023, "B": 2023, "C": 2024}
"""Whose heart failure was coded in which year alone."""


def model(timing: str, **changes: Any) -> Model:
    """Everybody weighs 1, with heart failure 2."""
    plain = Model(
        name=f"own-{timing or 'undated'}",
        version="1",
        family="own",
        year=2024,
        code_years=(2024, 2024),
        features=(Feature("HF", "CC"), Feature("ANY", "TERM")),
        flags=(),
        segments=(Segment("ALL", Condition()),),
        rules=(Rule("ICD10", "I509", ("HF",)),),
        hierarchies=(),
        steps=(Step("CELL", cells=tuple(Cell("ANY", sex, (0, 128)) for sex in "FM")),),
        columns=("",),
        coefficients=tuple(Coefficient("ALL", "", term, "1") for term in ("HF", "ANY")),
        timing=timing,
    )
    return msgspec.structs.replace(plain, **changes)


def enrolled(person: str, start: str, end: str = "2025-12-31") -> Row:
    return {
        "person_id": person, "gender": "female", "birth_date": "1980-05-05",
        "enrollment_start_date": start, "enrollment_end_date": end,
    }  # fmt: skip


def visit(person: str, day: str, code: str = "Z0000") -> Row:
    """An office visit, by which its member belongs to the partnership."""
    return {
        "claim_id": f"V{person}{day}", "claim_line_number": "1", "claim_type": "professional",
        "person_id": person, "claim_start_date": day, "claim_end_date": day, "paid_date": day,
        "paid_amount": "100.00", "hcpcs_code": "99213", "place_of_service_code": "11",
        "diagnosis_code_1": code, "rendering_npi": CLINIC,
    }  # fmt: skip


def population(root: Path, eligibility: list[Row], claims: list[Row]) -> Path:
    raw = root / "raw"
    raw.mkdir()
    roster = [{"partnership_id": "IHP-01", "npi": CLINIC, "tin": "", "specialty": "primary care"}]
    tables = {"eligibility": eligibility, "medical_claim": claims, "provider_roster": roster}
    for name, rows in tables.items():
        with (raw / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    ingest(raw, root / "population", shards=2)
    return root / "population"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2022 to 2025; F came in October 2023."""
    return population(
        tmp_path_factory.mktemp("whole"),
        [enrolled(p, "2023-10-01" if p == "F" else "2022-01-01") for p in PEOPLE],
        [
            visit(p, f"{year}-{month}-10", "I509" if month == "03" and SICK.get(p) == year else "")
            for p in PEOPLE
            for year in range(2022, 2026)
            for month in ("02", "03", "11")
        ],
    )


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """December 2023 to 2025."""
    days = ("2023-12-10", *(f"{y}-{m}-10" for y in (2024, 2025) for m in ("02", "11")))
    return population(
        tmp_path_factory.mktemp("thin"),
        [enrolled(p, "2023-12-01") for p in PEOPLE],
        [
            visit(p, day, "I509" if day < "2024" and p == "A" else "")
            for p in PEOPLE
            for day in days
        ],
    )


Settled = Callable[..., Outcome]


@pytest.fixture
def settled(tmp_path: Path) -> Settled:
    """Run a population by a model; terms of risk as given."""

    def make(
        at: Path, by: Model | str, years: tuple[int, int] = (2024, 2025), *,
        accept: dict[str, str] | None = None, **terms: Any,
    ) -> Outcome:  # fmt: skip
        if isinstance(by, Model):
            (tmp_path / "model.json").write_bytes(encode(by))
        named = by if isinstance(by, str) else str(tmp_path / "model.json")
        said = {"model": named, "normalise": "none"} | terms
        (tmp_path / "set.toml").write_text(
            '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
            '[default.overrides]\n"settlement.quality.missing" = "full"\n'
            + "".join(
                f'"risk.{name}" = {value if isinstance(value, int) else repr(value)}\n'
                for name, value in said.items()
            ),
            encoding="utf-8",
        )
        request = RunRequest(
            at, (str(tmp_path / "set.toml"),), base_year=years[0], performance_year=years[1],
            replicates=2, programme="none", accept=accept or {},
        )  # fmt: skip
        return run(request, tmp_path / "run", LocalRunner(1), replace=True)

    return make


def means(outcome: Outcome) -> list[Any]:
    """Mean risk of the partnership in base and performance year."""
    rows = pq.read_table(outcome.run_dir / "cells.parquet").to_pylist()
    return [
        pytest.approx(row["own_risk_mean"], abs=1e-9)
        for row in sorted(rows, key=lambda row: row["year"])
        if row["partnership_id"] == "IHP-01" and row["n_members"]
    ]


def risk_line(outcome: Outcome) -> str:
    rows = pq.read_table(outcome.run_dir / "walk.parquet").to_pylist()
    return str(next(row["detail"] for row in rows if row["step"] == "risk"))


def noticed(outcome: Outcome, finding: str) -> list[Row]:
    rows = pq.read_table(outcome.run_dir / "data_quality.parquet").to_pylist()
    return [row for row in rows if row["finding"] == finding]


def test_a_prospective_model_scores_each_year_by_the_codes_of_the_year_before(
    whole: Path, settled: Settled
) -> None:
    """Of six people two were coded in 2023 and one in 2024: means of 8/6 and 7/6."""
    outcome = settled(whole, model("prospective"))
    assert means(outcome) == [8 / 6, 7 / 6]
    told = "prospective, 2024 by codes of 2023, 2025 by codes of 2024 (1)"
    assert told in risk_line(outcome)
    held = read_manifest(outcome.run_dir)["risk_model"]
    assert (held["timing"], held["payment_year"], held["minimum_months"]) == (
        "prospective", None, 0,
    )  # fmt: skip
    assert [(of["year"], of["codes_of"]) for of in held["years"]] == [(2024, 2023), (2025, 2024)]
    assert told in (outcome.run_dir / "report.html").read_text(encoding="utf-8")


def test_a_concurrent_model_scores_each_year_by_its_own_codes(
    whole: Path, settled: Settled
) -> None:
    """F, three months in 2023, is not eligible in that year."""
    outcome = settled(whole, model("concurrent"), (2023, 2024))
    assert means(outcome) == [7 / 5, 7 / 6]
    assert "concurrent, 2023 by codes of 2023, 2024 by codes of 2024" in risk_line(outcome)


@pytest.mark.parametrize(
    ("states", "asked"), [("prospective", "concurrent"), ("concurrent", "prospective")]
)
def test_another_timing_than_the_model_s_is_refused_and_named(
    whole: Path, settled: Settled, states: str, asked: str
) -> None:
    with pytest.raises(GateError) as refused:
        settled(whole, model(states), timing=asked)
    assert f": own-{states} is {states}, risk.timing is {asked}" in str(refused.value)
    assert "--accept timing=REASON" in str(refused.value)


def test_another_timing_that_is_accepted_scores_and_stays_a_draft(
    whole: Path, settled: Settled
) -> None:
    outcome = settled(whole, model("prospective"), accept=OTHER_YEAR, timing="concurrent")
    assert means(outcome) == [7 / 6, 1.0]
    assert "risk.timing (supplied)" in outcome.headlines[0]
    assert any(OTHER_YEAR["timing"] in line for line in outcome.headlines)
    page = (outcome.run_dir / "report.html").read_text(encoding="utf-8")
    assert OTHER_YEAR["timing"] in page.split('<dl class="big">')[0]
    assert read_manifest(outcome.run_dir)["accept"] == OTHER_YEAR
    member = explain_member(outcome.run_dir, "C")
    assert [year["score_micro"] for year in member.years] == [2_000_000, 1_000_000]


def test_the_timing_that_the_model_states_needs_no_reason(whole: Path, settled: Settled) -> None:
    outcome = settled(whole, model("prospective"), timing="prospective")
    assert means(outcome) == [8 / 6, 7 / 6]
    with pytest.raises(AcceptanceError, match="did not trip: timing"):
        settled(whole, model("prospective"), timing="prospective", accept=OTHER_YEAR)


def test_a_model_without_a_timing_scores_by_the_year_s_own_codes_and_says_so(
    whole: Path, settled: Settled
) -> None:
    outcome = settled(whole, model(""), (2023, 2024))
    assert means(outcome) == [7 / 5, 7 / 6]
    assert any("states no timing" in line for line in outcome.headlines)
    assert means(settled(whole, model(""), timing="prospective")) == [8 / 6, 7 / 6]


def test_a_code_year_that_the_data_do_not_hold_is_refused_by_name(
    whole: Path, settled: Settled
) -> None:
    with pytest.raises(RiskModelError, match="scores of 2022 need diagnoses of 2021"):
        settled(whole, model("prospective"), (2022, 2025))


def test_a_code_year_that_is_not_whole_is_refused_by_name(thin: Path, settled: Settled) -> None:
    with pytest.raises(GateError) as refused:
        settled(thin, model("prospective"))
    said = str(refused.value)
    assert "codes of 2023, by which" in said
    assert "scores 2024" in said
    assert "codes of 2024" not in said
    assert "--accept codes=REASON" in said


def test_a_code_year_that_is_not_whole_and_accepted_is_marked(thin: Path, settled: Settled) -> None:
    reason = {"codes": "a rehearsal"}
    outcome = settled(thin, model("prospective"), accept=reason)
    assert means(outcome) == [7 / 6, 1.0]
    page = (outcome.run_dir / "report.html").read_text(encoding="utf-8")
    assert "a rehearsal" in page.split('<dl class="big">')[0]
    assert [row["accepted"] for row in noticed(outcome, "codes_not_whole")] == ["a rehearsal"]


def test_who_was_enrolled_too_briefly_in_the_year_of_the_codes_has_no_score(
    whole: Path, settled: Settled
) -> None:
    """F, three months in 2023, takes the mean of the other five in 2024: 7/5."""
    outcome = settled(whole, model("prospective"), minimum_months=6)
    assert means(outcome) == [7 / 5, 7 / 6]
    assert read_manifest(outcome.run_dir)["counts"]["2024:n_under_minimum_months"] == 1
    (row,) = noticed(outcome, "under_minimum_months")
    assert (row["subject"], row["members"]) == ("2023, scoring 2024", 1)
    assert "under 6 months no score" in risk_line(outcome)


def test_the_model_s_own_minimum_holds_unless_the_contract_says_otherwise(
    whole: Path, settled: Settled
) -> None:
    of_six = model("prospective", minimum_months=6)
    assert means(settled(whole, of_six)) == [7 / 5, 7 / 6]
    assert means(settled(whole, of_six, minimum_months=0)) == [8 / 6, 7 / 6]


def test_codes_of_which_the_map_has_no_category_are_counted_by_year(
    whole: Path, settled: Settled
) -> None:
    def without(code: str) -> list[tuple[str, int]]:
        by = model("prospective", rules=(Rule("ICD10", code, ("HF",)),))
        rows = noticed(settled(whole, by), "codes_without_category")
        return [(row["subject"], row["lines"]) for row in rows]

    assert without("I509") == []
    assert without("I500") == [
        ("codes of 2023, scoring 2024", 2),
        ("codes of 2024, scoring 2025", 1),
    ]


def test_a_payment_year_says_nothing_beside_a_model_of_one_map(
    whole: Path, settled: Settled
) -> None:
    outcome = settled(whole, model("prospective"), payment_year=2026)
    assert means(outcome) == [8 / 6, 7 / 6]
    assert any("risk.payment_year = 2026 has no effect" in line for line in outcome.headlines)


@pytest.mark.parametrize(
    ("terms", "accept", "versions"),
    [
        ({}, {}, [2024, 2025]),
        ({"payment_year": 2026}, {}, [2026, 2026]),
        ({"timing": "concurrent", "payment_year": 2025}, OTHER_YEAR, [2025, 2025]),
    ],
)
def test_a_published_model_has_map_and_factor_of_each_payment_year_or_of_one(
    whole: Path, settled: Settled, terms: Row, accept: dict[str, str], versions: list[int]
) -> None:
    outcome = settled(whole, "cms-hcc-v28", accept=accept, **terms)
    held = read_manifest(outcome.run_dir)["risk_model"]
    for of, payment_year in zip(held["years"], versions, strict=True):
        assert f"payment year {payment_year}" in of["version"]
    assert f"payment year {versions[1]}" in risk_line(outcome)
    assert held["timing"] == terms.get("timing", "prospective")


def test_a_year_without_published_map_and_factor_is_refused_by_name(
    whole: Path, settled: Settled
) -> None:
    """V28 was first paid on in 2024; one payment year for both years says what stands in."""
    with pytest.raises(RiskModelError, match=r"scores of 2023: cms-hcc-v28.* payment year 2023"):
        settled(whole, "cms-hcc-v28", (2023, 2025))
    fixed = settled(whole, "cms-hcc-v28", (2023, 2025), payment_year=2024)
    assert "2023 by codes of 2022, 2025 by codes of 2024 (V28, payment year 2024" in risk_line(
        fixed
    )
    with pytest.raises(RiskModelError, match="payment year 2021"):
        settled(whole, "cms-hcc-v28", payment_year=2021)
