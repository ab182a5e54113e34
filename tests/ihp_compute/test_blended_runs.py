"""A run by the blend of CMS-HCC: each year by the models and shares of its payment year."""

from __future__ import annotations

import csv
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.errors import RiskModelError
from ihp_compute.explain import explain_member
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import member_keys
from ihp_compute.results import read_manifest
from ihp_compute.risk import Request, score_files
from ihp_compute.risk.models import store as model_store
from ihp_compute.runner import LocalRunner

CLINIC = "1000000004"
CONCURRENT = {"timing": "each year by its own codes"}
PEOPLE = {
    "heart": ("female", "1950-05-05", {2022: ["I509"], 2023: ["I509", "E1165"], 2024: ["E119"]}),
    "kidney": ("male", "1948-11-30", {2022: ["E1122", "N184"], 2023: ["N184"], 2024: ["N186"]}),
    "young": ("female", "1990-01-31", {2023: ["F200", "J449"], 2024: ["F3341", "C50911"]}),
    "turns": ("male", "1960-02-01", {2023: ["G20"], 2024: ["I4891", "UNKNOWN"]}),
    "well": ("female", "1985-07-04", {}),
}
"""Sex, birth date and codes by year."""


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def visits() -> list[tuple[str, str, str]]:
    """Member, day and code of every visit."""
    return [
        (name, f"{year}-{month:02d}-10", code)
        for name, (_, _, codes) in PEOPLE.items()
        for year in range(2022, 2026)
        for month, code in enumerate([*codes.get(year, ()), *["Z0000"] * 10], start=3)
        if month < 12
    ]


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blended")
    (root / "raw").mkdir()
    write(root / "raw" / "eligibility.csv", [
        {"person_id": name, "gender": sex, "birth_date": born,
         "enrollment_start_date": "2023-10-01" if name == "well" else "2022-01-01",
         "enrollment_end_date": "2025-12-31"}
        for name, (sex, born, _) in PEOPLE.items()
    ])  # fmt: skip
    write(root / "raw" / "medical_claim.csv", [
        {"claim_id": f"{name}-{day}", "claim_line_number": "1", "claim_type": "professional",
         "person_id": name, "claim_start_date": day, "claim_end_date": day, "paid_date": day,
         "paid_amount": "100.00", "hcpcs_code": "99213", "place_of_service_code": "11",
         "diagnosis_code_1": code, "rendering_npi": CLINIC}
        for name, day, code in visits()
    ])  # fmt: skip
    write(root / "raw" / "provider_roster.csv", [
        {"partnership_id": "IHP-01", "npi": CLINIC, "tin": "", "specialty": "primary care"}
    ])  # fmt: skip
    ingest(root / "raw", root / "population", shards=2)
    return root / "population"


@pytest.fixture
def run_dir(population: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(
        years: tuple[int, int] = (2024, 2025), *, accept: dict[str, str] | None = None,
        **terms: Any,
    ) -> Path:  # fmt: skip
        said = {"model": "cms-hcc-blend", "normalise": "none"} | terms
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
            population, (str(tmp_path / "set.toml"),), base_year=years[0],
            performance_year=years[1], replicates=2, programme="none", accept=accept or {},
        )  # fmt: skip
        return run(request, tmp_path / "run", LocalRunner(1), replace=True).run_dir

    return make


def of_run(run_dir: Path, year: int) -> dict[str, int]:
    """Scores in millionths by member."""
    rows = pq.read_table(run_dir / "member_years.parquet").to_pylist()
    scores = {row["member_key"]: row["score_micro"] for row in rows if row["year"] == year}
    return {name: scores[int(member_keys([name])[0])] for name in PEOPLE}


def of_files(folder: Path, code_year: int, model: str, payment_year: int) -> dict[str, int]:
    """The same of the codes of one year, scored from files."""
    write(folder / "members.csv", [
        {"member_id": name, "sex": sex, "birth_date": born}
        for name, (sex, born, _) in PEOPLE.items()
    ])  # fmt: skip
    write(folder / "diagnoses.csv", [
        {"member_id": name, "diagnosis_code": code, "service_date": day}
        for name, day, code in visits()
    ])  # fmt: skip
    out = folder / "scores.csv"
    score_files(Request(
        folder / "members.csv", folder / "diagnoses.csv", model, out, year=code_year,
        payment_year=payment_year,
    ))  # fmt: skip
    with out.open(newline="") as stream:
        return {r["member_id"]: int(Decimal(r["score"]) * 10**6) for r in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("years", "terms", "scored"),
    [
        ((2024, 2025), {}, [(2023, 2024), (2024, 2025)]),
        ((2023, 2025), {}, [(2022, 2023), (2024, 2025)]),
        ((2023, 2024), {"timing": "concurrent"}, [(2023, 2024), (2024, 2025)]),
        ((2023, 2025), {"timing": "concurrent"}, [(2023, 2024), (2025, 2026)]),
    ],
)
def test_a_member_has_in_a_run_the_score_of_the_same_codes_in_files(
    run_dir: Callable[..., Path], tmp_path: Path, years: tuple[int, int], terms: dict[str, Any],
    scored: list[tuple[int, int]],
) -> None:  # fmt: skip
    """Every member, in years of V24 alone, of both blends, and of V28 alone."""
    found = run_dir(years, accept=CONCURRENT if terms else {}, **terms)
    for year, (code_year, payment_year) in zip(years, scored, strict=True):
        by_files = of_files(tmp_path, code_year, "cms-hcc-blend", payment_year)
        assert of_run(found, year) == by_files
        if code_year < 2025:
            assert len(set(by_files.values())) > 2


def test_shares_are_of_rounded_scores_and_the_sum_is_rounded_half_up(
    run_dir: Callable[..., Path], tmp_path: Path
) -> None:
    found = of_run(run_dir(), 2024)
    v24, v28 = (of_files(tmp_path, 2023, f"cms-hcc-{v}", 2024) for v in ("v24", "v28"))
    for name, micro in found.items():
        exact = (Decimal("0.67") * v24[name] + Decimal("0.33") * v28[name]) / 1000
        assert micro == int(exact.quantize(Decimal(1), ROUND_HALF_UP)) * 1000


def test_one_payment_year_fixes_models_and_shares_of_both_years(
    run_dir: Callable[..., Path],
) -> None:
    """By the term and by the name alike; the other blend scores otherwise."""
    by_term = run_dir(payment_year=2025)
    told = read_manifest(by_term)["risk_model"]
    assert told["payment_year"] == 2025
    for of in told["years"]:
        assert of["models"] == ["cms-hcc-v24", "cms-hcc-v28"]
        assert of["version"].startswith("33% V24, payment year 2025")
        assert "; 67% V28, payment year 2025" in of["version"]
    scores = [of_run(by_term, year) for year in (2024, 2025)]
    by_name = run_dir(model="cms-hcc-blend@2025")
    assert [of_run(by_name, year) for year in (2024, 2025)] == scores
    assert of_run(run_dir(payment_year=2024), 2024) != scores[0]


def test_the_manifest_says_which_shares_scored_which_year(run_dir: Callable[..., Path]) -> None:
    manifest = read_manifest(run_dir())
    told = manifest["risk_model"]
    assert (told["name"], told["timing"], told["diagnoses_from"]) == (
        "cms-hcc-blend", "prospective", "risk_adjustable",
    )  # fmt: skip
    assert [(of["year"], of["codes_of"]) for of in told["years"]] == [(2024, 2023), (2025, 2024)]
    assert [of["version"][:7] for of in told["years"]] == ["67% V24", "33% V24"]
    other = read_manifest(run_dir(payment_year=2025))["risk_model"]
    assert other["sha256"] != told["sha256"]
    assert manifest["counts"]["2025:cms-hcc-v28_icd10_unmapped"] > 0
    rows = pq.read_table(run_dir() / "data_quality.parquet").to_pylist()
    subjects = {row["subject"] for row in rows if row["finding"] == "codes_without_category"}
    assert "codes of 2024, scoring 2025, by cms-hcc-v24" in subjects


@pytest.mark.parametrize("terms", [{"payment_year": 2021}, {"model": "cms-hcc-blend@2021"}])
def test_a_payment_year_without_a_blend_is_refused_by_name(
    run_dir: Callable[..., Path], terms: dict[str, Any]
) -> None:
    with pytest.raises(
        RiskModelError,
        match=r"scores of 2024: cms-hcc-blend: .* payment year 2021.* there are 2022",
    ):
        run_dir(**terms)


def test_a_year_of_which_there_are_no_codes_is_refused_by_name(
    run_dir: Callable[..., Path],
) -> None:
    with pytest.raises(RiskModelError, match="scores of 2022 need diagnoses of 2021"):
        run_dir((2022, 2025))


def test_what_is_behind_a_blended_score_adds_up(run_dir: Callable[..., Path]) -> None:
    folder = run_dir()
    for name in PEOPLE:
        for year in explain_member(folder, name).years:
            scoring = year["scoring"]
            assert (scoring["kind"], scoring["model"]) == ("blend", "cms-hcc-blend")
            exact = Decimal(0)
            for one in scoring["models"]:
                assert sum(one["terms"].values()) == one["raw_micro"]
                assert one["post_steps"][-1]["score_micro"] == one["own_score_micro"]
                exact += Decimal(one["share"]) * one["own_score_micro"] / 1000
            rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP)) * 1000
            assert rounded == scoring["own_score_micro"] == scoring["score_micro"]
            assert scoring["score_micro"] == of_run(folder, year["year"])[name]
    shown = CliRunner().invoke(app, ["explain", str(folder), "--member", "heart"],
                               env={"COLUMNS": "200"})  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert "0.67 of cms-hcc-v24" in shown.output
    assert "0.33 of cms-hcc-v28" in shown.output
    assert "blend" in shown.output


def test_who_cannot_be_scored_by_the_blend_takes_the_mean_of_the_others(
    run_dir: Callable[..., Path],
) -> None:
    """Of who came in October 2023; two others are in the rate cell of adults under 65."""
    folder = run_dir(minimum_months=6)
    found = of_run(folder, 2024)
    assert found["well"] == (found["young"] + found["turns"]) // 2
    assert found["well"] != of_run(run_dir(), 2024)["well"]
    (year, _) = explain_member(run_dir(minimum_months=6), "well").years
    assert year["scoring"]["why_none"] == ["enrolled in 2023 for fewer than 6 months"]
    assert not year["scoring"]["is_scored"]
    assert year["scoring"]["filled"]["mean_micro"] == found["well"]


def test_the_parts_of_blended_scores_add_up_under_the_blend_of_the_base_year(
    run_dir: Callable[..., Path],
) -> None:
    """`model` is codes of 2024 by models and shares of 2024 against those of 2025."""
    folder = run_dir()
    by_year = [of_run(folder, year) for year in (2024, 2025)]
    means = [round(Decimal(sum(scores.values())) / len(PEOPLE)) for scores in by_year]
    rows = pq.read_table(folder / "score_changes.parquet").to_pylist()
    (state,) = [row for row in rows if row["partnership_id"] == ""]
    assert [state["base_score_micro"], state["score_micro"]] == means
    kinds = ("mix", "age_sex", "filled", "coding", "people", "model")
    assert sum(state[f"{kind}_micro"] for kind in kinds) == means[1] - means[0]
    as_base = sum(of_run(run_dir(payment_year=2024), 2025).values())
    moved = Decimal(sum(by_year[1].values()) - as_base) / len(PEOPLE)
    assert abs(state["model_micro"] - moved) <= 1
    assert state["model_micro"] != 0


def test_models_of_a_blend_state_alike_how_they_score() -> None:
    """So that what one of them states holds of the blend."""
    stated = model_store.stated("cms-hcc-blend")
    for name in ("cms-hcc-v24", "cms-hcc-v28"):
        model = model_store.load(name)
        for what in ("timing", "minimum_months", "newborn", "diagnoses_from", "columns"):
            assert getattr(model, what) == getattr(stated, what)
