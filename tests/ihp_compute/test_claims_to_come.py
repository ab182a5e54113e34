"""Claims still to come, from raw tables to a settlement: cut, completed, given, or refused.

Three members, $100 a month in 2023 and in 2024: $60 paid in the month, $40 three months later. At
the end of 2024 nine months are whole and three are paid $60: $3,240 of $3,600, 0.9.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.data_quality import GateTerms
from ihp_compute.errors import ContractError, GateError, GridError, MissingQualityError
from ihp_compute.explain import explain_member
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.population import open_population, verify
from ihp_compute.results import read_manifest
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps import check, grid_of
from ihp_compute.units import date_of

Row = dict[str, Any]
CLINIC = "1000000004"
YEAR_END = "2024-12-31"
TREND = 1.042
"""Of the contract."""


def enrolled(person: str, **changes: Any) -> Row:
    return {
        "person_id": person, "gender": "female", "birth_date": "1980-05-05",
        "enrollment_start_date": "2023-01-01", "enrollment_end_date": "2024-12-31",
        "payer_type": "medicaid", "plan": "ffs",
    } | changes  # fmt: skip


def claim(person: str, year: int, month: int, late: int, dollars: int, **changes: Any) -> Row:
    """A visit on the 10th, paid on the 25th so many months later."""
    day, paid = f"{year}-{month:02d}-10", month - 1 + late
    return {
        "claim_id": f"{person}-{day}-{late}", "claim_line_number": "1",
        "claim_type": "professional", "person_id": person, "claim_start_date": day,
        "claim_end_date": day, "paid_date": f"{year + paid // 12}-{paid % 12 + 1:02d}-25",
        "paid_amount": f"{dollars}.00", "hcpcs_code": "99213" if not late else "97110",
        "place_of_service_code": "11", "diagnosis_code_1": "E119", "rendering_npi": CLINIC,
    } | changes  # fmt: skip


def two_years(person: str, at_once: int, later: int, late: int) -> list[Row]:
    return [
        row
        for year in (2023, 2024)
        for month in range(1, 13)
        for row in (
            claim(person, year, month, 0, at_once),
            claim(person, year, month, late, later),
        )
    ]


def population(
    folder: Path,
    people: list[Row],
    claims: list[Row],
    quality: list[Row] | None = None,
    roster: dict[str, str] | None = None,
) -> Path:
    """A state whose roster has one clinic a partnership; P1 alone unless given."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    tables = {
        "eligibility": people,
        "medical_claim": claims,
        "provider_roster": [
            {"partnership_id": name, "npi": npi, "tin": "", "specialty": "primary care"}
            for name, npi in (roster or {"P1": CLINIC}).items()
        ],
        "quality_score": quality
        or [{"partnership_id": "P1", "performance_year": "2024", "score": "1"}],
        "risk_score": [
            {"person_id": row["person_id"], "year": year, "model": "x", "score": "1"}
            for row in people
            for year in (2023, 2024)
        ],
    }
    for name, rows in tables.items():
        with (raw / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    accepted = GateTerms(accept={"missing_claim_table": "no drugs"} if len(claims) > 999 else {})
    ingest(raw, folder / "population", shards=2, threads=1, gates=accepted)
    return folder / "population"


@pytest.fixture(scope="module")
def late_claims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = ["M1", "M2", "M3"]
    return population(
        tmp_path_factory.mktemp("late"),
        [enrolled(person) for person in people],
        [row for person in people for row in two_years(person, 60, 40, 3)],
    )


Settled = Callable[..., tuple[Outcome, Row]]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Settled:
    """Run a population under some terms: what came out, and the row of P1."""

    def make(
        of: Path, through: str = YEAR_END, accept: dict[str, str] | None = None, **terms: Any
    ) -> tuple[Outcome, Row]:
        folder = tmp_path_factory.mktemp("run")
        values = "\n".join(
            f'"{path.replace("__", ".")}" = {json.dumps(value)}' for path, value in terms.items()
        )
        (folder / "set.toml").write_text(
            '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
            f"[default.overrides]\n{values}\n"
        )
        request = RunRequest(
            of, (str(folder / "set.toml"),), replicates=2, programme="none", accept=accept or {},
            paid_through=date.fromisoformat(through),
        )  # fmt: skip
        done = run(request, folder / "run", LocalRunner(1))
        return done, done.settlement[0]

    return make


def test_the_base_year_is_cut_at_the_performance_year_s_age(
    late_claims: Path, settled: Settled
) -> None:
    """$3,240 x 1.042 = $3,376.08 against $3,240: half of $136.08."""
    done, row = settled(late_claims)
    assert row["target_cents"] == 337_608
    assert row["observed_cents"] == 324_000
    assert row["payment_cents"] == 6_804
    assert row["status"] == "INTERIM"
    found = read_manifest(done.run_dir)["completion"]
    assert (found["status"], found["run_out_months"], found["ratio"]) == ("INTERIM", 0, "0.900000")
    (one,) = found["measurements"]
    assert (one["base_paid_through"], one["base_lines_cut"]) == ("2023-12-31", 9)
    said = (
        "INTERIM: 2024 is complete to 90.00 %, claims paid through 2024-12-31, 0 months of "
        "run-out; a later run trues it up"
    )
    assert said in done.headlines
    assert said in (done.run_dir / "report.html").read_text(encoding="utf-8")


def test_a_year_with_all_its_claims_is_final(late_claims: Path, settled: Settled) -> None:
    done, row = settled(late_claims, "2025-03-31")
    assert (row["observed_cents"], row["status"]) == (360_000, "final")
    assert row["target_cents"] == 375_120
    assert not any("INTERIM" in line for line in done.headlines)
    page = (done.run_dir / "report.html").read_text(encoding="utf-8")
    assert "INTERIM: 2024" not in page


def test_a_run_completes_costs_by_itself(late_claims: Path, settled: Settled) -> None:
    """$3,600 x 1.042 against $3,240 / 0.9."""
    done, row = settled(late_claims, completion__method="computed")
    assert (row["target_cents"], row["observed_cents"]) == (375_120, 360_000)
    assert row["status"] == "INTERIM"
    (part,) = parts_of(done)
    assert (part["payer"], part["year"], part["completion"]) == ("ffs", 2024, "9/10")
    year = explain_member(done.run_dir, "M1").years[1]
    assert (year["uncapped_cents"], year["cost_cents"]) == (108_000, 120_000)
    detail = walk_detail(done.run_dir, "observed")
    assert "a point of completion less is +$40.45 of cost, a point more -$39.56" in detail


def parts_of(done: Outcome) -> list[Row]:
    """What the only measurement of a run completed."""
    (found,) = read_manifest(done.run_dir)["completion"]["measurements"]
    parts: list[Row] = found["parts"]
    return parts


def walk_detail(run_dir: Path, step: str) -> str:
    rows = pq.read_table(run_dir / "walk.parquet").to_pylist()
    return next(str(row["detail"]) for row in rows if row["step"] == step)


def test_a_stated_factor_is_taken_and_neither_cut_nor_completed(
    late_claims: Path, settled: Settled
) -> None:
    """Who states a factor need not state the method."""
    done, row = settled(late_claims, observed__completion=0.9)
    assert (row["target_cents"], row["observed_cents"]) == (375_120, 360_000)
    (found,) = read_manifest(done.run_dir)["completion"]["measurements"]
    assert (found["methods"], found["base_lines_cut"]) == (["given"], 0)


def test_nothing_done_about_an_immature_year_is_refused_without_a_reason(
    late_claims: Path, settled: Settled
) -> None:
    """Whole base and a year without its last claims: $3,751.20 against $3,240."""
    with pytest.raises(GateError, match=r"2024: completion 0\.900000, 0 months of run-out"):
        settled(late_claims, completion__method="none")
    with pytest.raises(GateError, match="immature"):
        settled(late_claims, completion__method="given")
    reason = {"immature": "to see what it moves"}
    _, row = settled(late_claims, accept=reason, completion__method="none")
    assert (row["target_cents"], row["observed_cents"]) == (375_120, 324_000)
    assert row["status"] == "INTERIM"
    _, mature = settled(late_claims, "2025-03-31", completion__method="none")
    assert mature["status"] == "final"


def test_months_that_nothing_was_paid_of_are_beyond_any_factor(
    late_claims: Path, settled: Settled
) -> None:
    """Nine months of cost, however complete, stand against a target of twelve."""
    with pytest.raises(GateError, match=r"nothing paid of its last 3 months, before the year's"):
        settled(late_claims, "2024-09-30", completion__method="computed")
    reason = {"immature": "to see what it moves"}
    _, row = settled(late_claims, "2024-09-30", accept=reason, completion__method="computed")
    assert (row["target_cents"], row["observed_cents"]) == (375_120, 270_000)


def test_a_year_without_its_last_months_is_never_final(late_claims: Path, settled: Settled) -> None:
    """However low the ratio from which it would be: the months are in no ratio."""
    done, row = settled(late_claims, "2024-11-30", completion__final_ratio=0.5)
    assert row["status"] == "INTERIM"
    said = "nothing paid of its last month, claims paid through 2024-11-30"
    assert any(said in line for line in done.headlines)
    _, paid = settled(late_claims, YEAR_END, completion__final_ratio=0.5)
    assert paid["status"] == "final"


def test_a_lower_final_ratio_makes_the_same_run_final(late_claims: Path, settled: Settled) -> None:
    _, row = settled(late_claims, completion__final_ratio=0.9)
    assert row["status"] == "final"


def test_one_run_has_one_method(late_claims: Path, tmp_path: Path) -> None:
    request = RunRequest(late_claims, (str(tmp_path / "set.toml"),), replicates=0, programme="none")
    (tmp_path / "set.toml").write_text(
        '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
        '[default.overrides]\n"completion.method" = "computed"\n"observed.completion" = 0.9\n'
    )
    with pytest.raises(ContractError, match=r"found 0\.9 beside completion\.method computed"):
        run(request, tmp_path / "run", LocalRunner(1))


def test_a_factor_is_not_swept_on_top_of_a_cut_base(late_claims: Path, settled: Settled) -> None:
    done, _ = settled(late_claims)
    grid = grid_of({"observed.completion": [0.9, 0.95]})
    with pytest.raises(GridError, match="left 9 lines of the base year out"):
        check(done.run_dir, grid)
    whole, _ = settled(late_claims, "2025-03-31")
    check(whole.run_dir, grid)


@pytest.mark.parametrize(
    ("policy", "payment_cents", "said"),
    [
        ("prior", 6_124, "by the score of 2023"),
        ("full", 6_804, "as full"),
        ("none", 3_402, "as none"),
    ],
)
def test_quality_that_is_not_scored_yet_is_what_the_contract_says(
    unscored: Path, settled: Settled, policy: str, payment_cents: int, said: str
) -> None:
    """Half of $68.04 rests on quality: the score of 2023 was 0.8, so 0.5 + 0.5 x 0.8 = 0.9."""
    done, row = settled(unscored, settlement__quality__interim=policy)
    assert row["payment_cents"] == payment_cents
    assert any(f"quality: P1 settled {said} until" in line for line in done.headlines)
    with pytest.raises(MissingQualityError):
        settled(unscored)
    with pytest.raises(MissingQualityError):
        settled(unscored, "2025-03-31", settlement__quality__interim=policy)


def test_a_score_of_the_year_stands_whatever_the_contract_says_of_none(
    late_claims: Path, settled: Settled
) -> None:
    _, row = settled(late_claims, settlement__quality__interim="none")
    assert row["payment_cents"] == 6_804


@pytest.fixture(scope="module")
def unscored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three members, and a quality score of the year before alone."""
    people = ["M1", "M2", "M3"]
    return population(
        tmp_path_factory.mktemp("unscored"),
        [enrolled(person) for person in people],
        [row for person in people for row in two_years(person, 60, 40, 3)],
        quality=[{"partnership_id": "P1", "performance_year": "2023", "score": "0.8"}],
    )


@pytest.fixture(scope="module")
def two_payers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members of a plan that pays $80 of $100 at once and the rest a month later, too."""
    plan = {"payer_type": "managed care", "plan": "Plan A"}
    people = [enrolled("M1"), enrolled("M2"), enrolled("M3", **plan), enrolled("M4", **plan)]
    return population(
        tmp_path_factory.mktemp("payers"),
        people,
        [
            *(row for person in ("M1", "M2") for row in two_years(person, 60, 40, 3)),
            *(row for person in ("M3", "M4") for row in two_years(person, 80, 20, 1)),
        ],
    )


def test_each_payer_has_a_factor_of_its_own(two_payers: Path, settled: Settled) -> None:
    """Fee for service is complete to 0.9, the plan to 1,180 of 1,200."""
    done, row = settled(two_payers, completion__method="computed")
    parts = parts_of(done)
    assert {part["payer"]: Fraction(part["completion"]) for part in parts} == {
        "ffs": Fraction(9, 10),
        "Plan A": Fraction(1180, 1200),
    }
    assert row["observed_cents"] == 4 * 120_000
    assert row["target_cents"] == round(4 * 120_000 * TREND)


def test_the_cap_takes_its_part_of_what_is_still_to_come(
    two_payers: Path, settled: Settled
) -> None:
    """All four pass $900 by the year's end: what comes later costs nothing more."""
    done, row = settled(two_payers, completion__method="computed", cost__claim_cap=900)
    assert parts_of(done) == []
    assert row["observed_cents"] == 4 * 90_000


def test_a_year_reads_the_day_through_which_claims_are_paid(tmp_path: Path) -> None:
    """A thousandth of the lines may be paid later than the day that counts."""
    claims = [
        claim("M1", 2024, 1 + i % 12, 0, 1, claim_id=f"C{i}", paid_date=f"2025-01-{1 + i % 20:02d}")
        for i in range(1998)
    ]
    stray = claim("M1", 2024, 5, 0, 700, claim_id="stray", paid_date="2031-05-05")
    early = claim("M1", 2023, 5, 0, 1, claim_id="early", paid_date="2023-06-05")
    made = population(tmp_path / "a", [enrolled("M1")], [*claims, stray, early])
    opened = open_population(made)
    assert str(date_of(opened.manifest["last_paid_day"])) == "2025-01-20"
    (late,) = [
        row for row in opened.data_quality().to_pylist() if row["finding"] == "paid_after_last_day"
    ]
    assert (late["lines"], late["paid_cents"], late["subject"]) == (1, 70_000, "after 2025-01-20")
    verify(made)


def test_no_payment_behind_the_newest_file_moves_the_day(tmp_path: Path) -> None:
    """Of few lines a thousandth is none: only the day of the file tells the stray one."""
    dated = {"file_date": "2025-02-01"}
    claims = [
        claim("M1", year, month, 0, 10, **dated) for year in (2023, 2024) for month in range(1, 13)
    ]
    stray = claim("M1", 2024, 5, 0, 7, claim_id="stray", paid_date="2031-05-05", **dated)
    made = population(tmp_path / "a", [enrolled("M1")], [*claims, stray])
    assert str(date_of(open_population(made).manifest["last_paid_day"])) == "2024-12-25"
    undated = [{**row, "file_date": ""} for row in (*claims, stray)]
    made = population(tmp_path / "b", [enrolled("M1")], undated)
    assert str(date_of(open_population(made).manifest["last_paid_day"])) == "2031-05-05"
