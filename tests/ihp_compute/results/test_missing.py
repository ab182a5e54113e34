"""What is missing and counts all the same stands before the settlement, with its count and dollars.

Forty adults in managed care in 2023 and 2024, each with one visit of $1,200 a year. Twenty are
IHP-A's; in 2024 ten of them have no risk score, and of its ten encounters five have no payment.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.data_quality import RUN, GateTerms, Noticed, Stage
from ihp_compute.errors import DataError, GateError, MissingQualityError
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest
from ihp_compute.pipeline import run as pipeline_run
from ihp_compute.report import write_report
from ihp_compute.results import missing, open_form
from ihp_compute.runner import LocalRunner
from ihp_compute.uncertainty.totals import Totals, column_names

OWN, OTHER = (tuple(f"{of}{i:02d}" for i in range(20)) for of in ("A", "B"))
SHORT, DUAL = "S00", "D00"
RUN_TERMS = """
[set]
name = "ours"

[default]
contract = "mn-ihp-2.0-track-2"

[default.overrides]
"risk.normalise" = "none"
{more}
"""
ENROLLED = (
    "person_id,gender,birth_date,enrollment_start_date,enrollment_end_date,payer,payer_type,plan,"
    "dual_status_code,x_elgblty_grp_cd,x_mc_plan_id"
)
CLAIM = (
    "claim_id,claim_line_number,claim_type,person_id,claim_start_date,claim_end_date,"
    "place_of_service_code,hcpcs_code,rendering_npi,billing_npi,paid_date,paid_amount,"
    "allowed_amount,x_clm_type_cd"
)
QUALITY = ("IHP-A,2024,1.0",)


def _write(path: Path, head: str, rows: Sequence[str]) -> None:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def _enrolled(person: str, first: str, last: str, dual: str = "00") -> str:
    return f"{person},female,1980-01-01,{first},{last},STATE,medicaid,MCO-A,{dual},01,MCO-A"


def _visit(person: str, year: int) -> str:
    mine = OWN.index(person) if person in OWN else -1
    encounter = year == 2024 and 0 <= mine < 10
    paid = "" if encounter and mine < 5 else "1200.00"
    npi = "1000000001" if person in OWN else "1000000002"
    return (
        f"{person}{year},1,professional,{person},{year}-06-15,{year}-06-15,11,99213,{npi},,"
        f"{year}-12-31,{paid},1200.00,{3 if encounter else 1}"
    )


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Ingest the state with its quality scores, or others."""

    def make(
        quality: Sequence[str] = QUALITY,
        strangers: int = 0,
        roster: Sequence[str] = (),
        paid: str = "-12-31",
    ) -> Path:
        root = tmp_path_factory.mktemp("state")
        raw = root / "raw"
        raw.mkdir()
        people = (*OWN, *OTHER)
        spans = [_enrolled(p, "2023-01-01", "2024-12-31") for p in people]
        spans.append(_enrolled(SHORT, "2024-01-01", "2024-03-31"))  # counts, and is not eligible
        spans.append(_enrolled(DUAL, "2023-01-01", "2024-12-31", "02"))  # no month counts
        _write(raw / "eligibility.csv", ENROLLED, spans)
        claims = [_visit(p, year) for p in people for year in (2023, 2024)]
        if not paid:
            claims = [
                row.replace(f"{year}-12-31", "")
                for row in claims
                for year in (2023, 2024)
                if f"{year}-12-31" in row
            ]
        _write(raw / "medical_claim.csv", CLAIM, claims)
        scores = [f"{p},2023,acg,1.0" for p in (*people, DUAL)]
        scores += [f"{p},2024,acg,1.2" for p in OWN[:10]]
        scores += [f"{p},2024,acg,1.0" for p in OTHER]
        scores += [f"{SHORT},2024,acg,3.0", f"{DUAL},2024,acg,9.0"]
        scores += [f"X{i},2024,acg,1.0" for i in range(strangers)]
        _write(raw / "risk_score.csv", "person_id,year,model,score", scores)
        _write(
            raw / "provider_roster.csv",
            "npi,tin,partnership_id,specialty,start_date,end_date",
            ["1000000001,,IHP-A,primary care,2020-01-01,", *roster],
        )
        _write(raw / "quality_score.csv", "partnership_id,performance_year,score", quality)
        ingest(raw, root / "population", shards=2)
        return root / "population"

    return make


def settled(population: Path, folder: Path, more: str = "") -> Outcome:
    terms = folder / "ours.toml"
    terms.write_text(RUN_TERMS.format(more=more), encoding="utf-8")
    request = RunRequest(population, (str(terms),), replicates=0)
    return pipeline_run(request, folder / "run", LocalRunner(1))


@pytest.fixture(scope="module")
def done(population: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return settled(population(), tmp_path_factory.mktemp("done"))


def found(outcome: Outcome, finding: str) -> list[Mapping[str, Any]]:
    return [row for row in outcome.noticed if row["finding"] == finding]


def test_a_filled_score_is_the_mean_over_months_that_count_of_everybody_scored(
    done: Outcome,
) -> None:
    """(120 × 1.2 + 240 × 1.0 + 3 × 3.0) ÷ 363 = 1.082645; the dual's 9.0 has no month that counts.

    The target: 20 × $1,200 × 1.042 × (1.2 + 1.082645) ÷ 2.
    """
    assert done.settlement[0]["target_cents"] == 28_542_19


def test_unscored_months_are_counted_with_what_their_fill_moves(done: Outcome) -> None:
    """Had they the mean of IHP-A's own scored members, 1.2, the target were $30,009.60."""
    (row,) = found(done, "unscored_months")
    assert row["subject"] == "IHP-A, 2024"
    assert (row["lines"], row["members"], row["share"]) == (120, 10, 0.5)
    assert row["paid_cents"] == 28_542_19 - 30_009_60
    assert "of 240, at 1.0826 on average, the state's mean of the rate cell" in row["detail"]


def test_encounters_without_a_payment_are_counted_and_priced(done: Outcome) -> None:
    """Five of ten, $1,200 allowed each, that count as nothing: $18,000 observed, not $24,000."""
    (row,) = found(done, "unpaid_encounters")
    assert row["subject"] == "IHP-A, 2024, plan MCO-A"
    assert (row["lines"], row["members"], row["paid_cents"]) == (5, 5, 6_000_00)
    assert row["share"] == 0.5
    assert "counted as $0.00" in row["detail"]
    assert done.settlement[0]["observed_cents"] == 18_000_00


def test_the_contract_s_rule_may_price_them_as_allowed(
    population: Callable[..., Path], tmp_path: Path
) -> None:
    outcome = settled(population(), tmp_path, '"cost.zero_paid_encounter" = "allowed"')
    (row,) = found(outcome, "unpaid_encounters")
    assert "counted as allowed" in row["detail"]
    assert outcome.settlement[0]["observed_cents"] == 24_000_00


def test_a_line_for_each_stands_before_the_settlement(done: Outcome, tmp_path: Path) -> None:
    """On the screen, in the document and on the first page; in its open form small ones do not."""
    said = "\n".join(done.headlines)
    assert "member months without a risk score, filled" in said
    assert "IHP-A, 2024: 120 member months, -$1,467.41, 50.0%" in said
    assert "IHP-A, 2024, plan MCO-A: 5 lines, $6,000.00" in said
    assert "eligible people whom no visit on the roster attributes; dollars: their cost" in said
    assert [row["finding"] for row in done.document()["data_quality"]] == [
        row["finding"] for row in done.noticed
    ]
    shutil.copytree(done.run_dir, tmp_path / "run")
    opened = write_report(
        tmp_path / "run", tmp_path / "open.html", form=open_form(tmp_path / "run")
    )
    page, open_page = (
        path.read_text(encoding="utf-8") for path in (done.run_dir / "report.html", opened)
    )
    first_page, of_everybody = (text[: text.index('id="settlement"')] for text in (page, open_page))
    assert "Missing: member months without a risk score" in first_page
    assert "Missing: encounters without a payment" in first_page
    assert "IHP-A, 2024, plan MCO-A" in first_page
    for small in ("$6,000", "120 member months", "\N{MINUS SIGN}$1,467"):
        assert small in first_page
        assert small not in of_everybody


def test_rate_cells_without_people_and_the_unattributed_are_named(done: Outcome) -> None:
    (cells,) = found(done, "cells_without_members")
    assert cells["lines"] == 11
    (others,) = found(done, "unattributed")
    assert (others["lines"], others["paid_cents"]) == (20, 24_000_00)


def test_months_in_rate_cells_that_a_contract_does_not_list_are_told() -> None:
    """A partnership with such months is refused; the unattributed have them: 24 of 60 months."""
    cells = ("adult_ffs", "child_ffs", "disabled_ffs")
    values = np.zeros((3, len(cells), 1, 6), np.int64)
    values[0, 0, 0, 2], values[2, 0, 0, 2], values[2, 2, 0, 2] = 24, 12, 24
    values[2, 2, 0, 5] = 900_00
    totals = Totals(
        ("A", "COMPARISON", "UNATTRIBUTED"),
        column_names(1),
        values,
        np.array([2, 0, 3]),
        np.zeros((3, 1), np.int64),
        cells,
    )
    agreement = _Listing({"target.rate_cells": ("child_ffs+adult_ffs",)})
    plan: Any = SimpleNamespace(
        contracts=SimpleNamespace(at=lambda _year: {"A": agreement}),
        performance_year=2024,
        rule_sets=(agreement.cost,),
    )
    measured: Any = SimpleNamespace(totals=totals)
    one: Any = SimpleNamespace(partnership_id="A")
    (row,) = missing._cells_not_listed(plan, measured, [one])
    assert (row.subject, row.detail) == ("ours", "disabled_ffs")
    assert (row.lines, row.paid_cents, row.share) == (24, 900_00, 0.4)
    every: Any = _Listing({"target.rate_cells": cells})
    plan.contracts.at = lambda _year: {"A": every}
    assert not list(missing._cells_not_listed(plan, measured, [one]))


class _Listing(dict[str, tuple[str, ...]]):
    name = "ours"
    cost = "as paid"


@pytest.mark.parametrize(
    ("quality", "instead"),
    [
        (("IHP-a,2024,0.4",), "matching no partnership of the roster: IHP-a"),
        (("IHP-A,2023,0.4",), "quality_score has rows of 2023, and none of 2024"),
        (("IHP-A,2024,",), "quality_score has rows of 2024, and none that gives it"),
    ],
)
def test_a_run_names_whose_quality_is_missing_and_what_is_there(
    population: Callable[..., Path], tmp_path: Path, quality: Sequence[str], instead: str
) -> None:
    with pytest.raises(MissingQualityError) as refused:
        settled(population(quality), tmp_path)
    assert "found no quality score of IHP-A (mn-ihp-2.0-track-2)" in str(refused.value)
    assert instead in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_what_stands_in_for_a_missing_quality_is_told_in_dollars(
    population: Callable[..., Path], tmp_path: Path
) -> None:
    """$10,542.19 saved, half shared; at score 0 half of that is lost."""
    outcome = settled(
        population(("IHP-a,2024,1",)), tmp_path, '"settlement.quality.missing" = "full"'
    )
    assert outcome.settlement[0]["payment_cents"] == 5_271_10
    (row,) = found(outcome, "quality_filled")
    assert (row["subject"], row["paid_cents"]) == ("IHP-A", 5_271_10 - 2_635_55)
    (stranger,) = found(outcome, "quality_id_unmatched")
    assert stranger["subject"] == "IHP-a"
    assert not stranger["tripped"]


def test_a_partnership_with_nobody_needs_no_score_and_is_named(
    population: Callable[..., Path], tmp_path: Path
) -> None:
    ended = ("1000000002,,IHP-Z,primary care,2020-01-01,2021-12-31",)
    outcome = settled(population(roster=ended), tmp_path)
    assert [(row["partnership_id"], row["payment_cents"]) for row in outcome.settlement][1] == (
        "IHP-Z", 0,
    )  # fmt: skip
    subjects = [row["subject"] for row in found(outcome, "partnership_without_members")]
    assert subjects == ["IHP-Z, 2023", "IHP-Z, 2024"]


def test_a_market_of_nobody_is_named(done: Outcome) -> None:
    told = found(done, "comparison_without_base")
    assert [row["subject"] for row in told] == ["COMPARISON, 2023", "COMPARISON, 2024"]
    assert [row["lines"] for row in told] == [1, 1]


def test_claims_without_a_paid_date_ask_for_the_day_they_are_paid_through(
    population: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="say it, as paid_through"):
        settled(population(paid=""), tmp_path)


def test_scores_of_nobody_enrolled_are_a_finding_of_the_ingest(
    population: Callable[..., Path], tmp_path: Path
) -> None:
    outcome = settled(population(strangers=3), tmp_path)
    page = (outcome.run_dir / "report.html").read_text(encoding="utf-8")
    assert "risk scores of members without enrolment, left out" in page


def test_scores_mostly_of_nobody_stop_the_ingest(population: Callable[..., Path]) -> None:
    with pytest.raises(GateError, match="score_unmatched"):
        population(strangers=1_000)


@pytest.mark.parametrize(("size", "trips"), [(999, False), (1_000, True)])
def test_too_many_filled_months_stop_a_run_unless_accepted(size: int, trips: bool) -> None:
    one = Noticed("unscored_months", subject="IHP-A, 2024", lines=600, share=0.6, size=size)
    gates = GateTerms({"unscored_months": 0.5}, work=RUN)
    rows = gates.judge([one])
    assert rows[0]["tripped"] is trips
    if trips:
        with pytest.raises(GateError, match="unscored_months"):
            gates.refuse(rows, {}, Stage.SETTLED)


@pytest.mark.parametrize("score", ["NaN", "inf", "-0.1", "1.01", "x"])
def test_a_quality_score_that_is_none_is_refused(
    population: Callable[..., Path], tmp_path: Path, score: str
) -> None:
    with pytest.raises(DataError, match="IHP-A"):
        settled(population((f"IHP-A,2024,{score}",)), tmp_path)


def test_the_command_prints_them_before_the_settlement(
    population: Callable[..., Path], tmp_path: Path
) -> None:
    made = str(population())
    command = [
        "run",
        made,
        "--contracts",
        "mn-ihp-2.0-track-2",
        "--replicates",
        "0",
        "--threads",
        "1",
    ]
    plain = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "plain")])
    assert plain.exit_code == 0, plain.output
    said = " ".join(plain.output.split())
    assert said.index("without a risk score") < said.index("Settlement")
    as_json = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "json"), "--json"])
    kinds = {row["finding"] for row in json.loads(as_json.stdout)["data_quality"]}
    assert {"unscored_months", "unpaid_encounters"} <= kinds
