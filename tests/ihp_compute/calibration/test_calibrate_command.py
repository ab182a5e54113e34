"""`ihp calibrate`: on the cost that a run counts, by a contract's terms; what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.console import exit_code
from ihp_compute.calibration import CalibrationRequest, calibrate_population
from ihp_compute.codes import AID_GROUPS
from ihp_compute.errors import (
    AcceptanceError,
    ContractError,
    DataError,
    GateError,
    RiskModelError,
    RunError,
)
from ihp_compute.ingest import ingest
from ihp_compute.measure import RunRequest
from ihp_compute.pipeline import run
from ihp_compute.population import member_keys, open_population
from ihp_compute.risk import Request, imports, score_files
from ihp_compute.runner import LocalRunner
from ihp_compute.units import year_bounds

CONTRACT = "mn-ihp-2.0-track-2"
CLAIM = (
    "claim_id", "claim_line_number", "claim_type", "person_id", "claim_start_date",
    "claim_end_date", "place_of_service_code", "bill_type_code", "hcpcs_code", "rendering_npi",
    "billing_npi", "diagnosis_code_type", "diagnosis_code_1", "paid_date", "paid_amount",
    "allowed_amount", "revenue_center_code", "x_clm_type_cd",
)  # fmt: skip
SPAN = (
    "person_id", "gender", "birth_date", "enrollment_start_date", "enrollment_end_date",
    "payer_type", "medicaid_indicator", "dual_status_code", "x_elgblty_grp_cd", "x_mc_plan_type_cd",
)  # fmt: skip
Prepared = Callable[..., Path]


def _csv(path: Path, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def claim(k: int, who: str, day: str, usd: float, *, dx: str = "", kind: str = "") -> tuple:
    """A line of an office visit; of kind 2 a capitation payment."""
    npi, hcpcs, place = ("", "", "") if kind == "2" else ("1234567893", "99213", "11")
    return (f"C{k}", 1, "professional", who, day, day, place, "", hcpcs, npi, npi, "icd-10-cm",
            dx, f"{day[:8]}28", f"{usd:.2f}", f"{usd:.2f}", "", kind)  # fmt: skip


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Prepares women of 40 who are enrolled from a month on, and their claims."""

    def make(
        claims: Iterable[tuple], people: Iterable[str], *, since: str = "2023-01-01",
        until: str = "2024-12-31", plan_type: str = "",
    ) -> Path:  # fmt: skip
        raw = tmp_path / "raw"
        raw.mkdir()
        _csv(raw / "medical_claim.csv", CLAIM, claims)
        _csv(
            raw / "eligibility.csv", SPAN,
            [
                (p, "F", "1983-06-15", since, until, "medicaid", 1, "00", "72", plan_type)
                for p in people
            ],
        )  # fmt: skip
        ingest(raw, tmp_path / "population", shards=3)
        return tmp_path / "population"

    return make


def calibrated(population: Path, *options: str, out: str = "own.json") -> dict[str, Any]:
    """The report of a calibration by the command line, written beside its model."""
    path = population.parent / out
    found = CliRunner().invoke(
        app, ["calibrate", str(population), "--out", str(path), "--json", *options]
    )
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert json.loads(path.with_suffix(".report.json").read_text()) == report
    return report


def test_capitation_beside_encounters_counts_once(prepared: Prepared) -> None:
    """Forty in managed care: $1,000 or, with heart failure, $5,000 a year, and $500 a month paid
    to their plan, which is no cost."""
    people = [f"P{i:02}" for i in range(40)]
    claims, k = [], 0
    for i, who in enumerate(people):
        for month in range(1, 13):
            k += 1
            claims.append(claim(k, who, f"2024-{month:02}-01", 500, kind="2"))
        for year in (2023, 2024):
            dx, usd = ("I50.9", 5_000) if i < 20 else ("Z00.00", 1_000)
            k += 1
            claims.append(claim(k, who, f"{year}-03-05", usd, dx=dx, kind="3"))
    report = calibrated(
        prepared(claims, people, plan_type="01"),
        "--model", "cms-hcc-v28", "--full-months", "12", "--folds", "2", "--replicates", "2",
    )  # fmt: skip
    assert report["mean_annual_cost_usd"] == 3_000
    assert report["contract"]["name"] == "unbound"
    assert "no contract was named" in report["notes"][0]
    weights = {f["term"]: f["weight_usd"] for f in report["features"]["CND"]}
    cells = [f for f in report["features"]["CND"] if f["term"].startswith("F") and f["credibility"]]
    assert [f["weight_usd"] for f in cells] == [1_000]
    assert weights["HCC226"] == 4_000
    cost = {row["fate"]: row for row in report["cost"]}
    assert cost["capitation"] == {"fate": "capitation", "lines": 480, "paid_cents": 24_000_000}
    assert cost["counted"] == {"fate": "counted", "lines": 40, "paid_cents": 12_000_000}
    assert cost["outside_period"]["lines"] == 40


def test_what_a_contract_states_is_not_said_beside_it(small_population: Path) -> None:
    for option, value in (("--cap", "1000"), ("--timing", "concurrent"), ("--min-months", "3")):
        found = CliRunner().invoke(
            app,
            ["calibrate", str(small_population), "--contract", CONTRACT, "--model", "cms-hcc-v28",
             option, value, "--out", "never.json"],
        )  # fmt: skip
        assert found.exit_code == 2
        assert option in found.output
    assert not Path("never.json").exists()


def test_a_model_is_named_where_the_contract_has_none(small_population: Path) -> None:
    found = CliRunner().invoke(app, ["calibrate", str(small_population), "--out", "never.json"])
    assert found.exit_code == 2
    with pytest.raises(RiskModelError, match=f"{CONTRACT}: risk.model is supplied"):
        calibrated(small_population, "--contract", CONTRACT)


def test_a_year_that_is_not_whole_and_a_contract_that_is_none_are_refused(
    small_population: Path,
) -> None:
    first, last = open_population(small_population).manifest["full_years"]
    with pytest.raises(RunError, match=f"{last + 1} is not a full calendar year"):
        calibrated(small_population, "--model", "cms-hcc-v28", "--year", str(last + 1))
    with pytest.raises(ContractError, match="no contract mn-ihp-9"):
        calibrated(small_population, "--model", "cms-hcc-v28", "--contract", "mn-ihp-9")
    assert first < last


def test_a_year_of_codes_that_is_not_whole_is_refused(prepared: Prepared) -> None:
    """Enrolled and served since December 2024: codes of one month explain no cost of 2025."""
    people = [f"P{i:02}" for i in range(20)]
    days = ("2024-12-10", "2025-01-10", "2025-12-10")
    claims = [
        claim(100 * i + k, who, day, 100 + i, dx="I50.9" if i % 2 else "Z00.00")
        for i, who in enumerate(people)
        for k, day in enumerate(days)
    ]
    population = prepared(claims, people, since="2024-12-01", until="2025-12-31")
    options = ("--model", "cms-hcc-v28", "--timing", "prospective", "--folds", "2")
    with pytest.raises(GateError, match="codes of 2024") as refused:
        calibrated(population, *options)
    assert exit_code(refused.value) == 3
    assert not (population.parent / "own.json").exists()
    report = calibrated(population, *options, "--accept", "codes=nothing older is there")
    assert report["accepted"] == {"codes": "nothing older is there"}
    assert report["codes_of"] == 2024
    assert report["members_without_full_code_year"] == report["members"] == 20
    assert any("nothing older is there" in note for note in report["notes"])
    model = json.loads((population.parent / "own.json").read_text())
    assert model["timing"] == "prospective"
    assert model["calibration"]["accepted"] == report["accepted"]
    assert any("nothing older is there" in note for note in model["notes"])
    with pytest.raises(AcceptanceError, match="did not trip: codes"):
        calibrated(population, "--model", "cms-hcc-v28", "--accept", "codes=in vain")
    with pytest.raises(AcceptanceError, match="judges no calibration"):
        calibrated(population, *options, "--accept", "immature=in vain")


def test_a_contract_says_how_its_model_scores(small_population: Path, tmp_path: Path) -> None:
    """The model states the timing unless the contract does; a calibration takes either."""
    contract = tmp_path / "own.toml"
    for timing, codes_of in (("model", 2023), ("concurrent", 2024)):
        contract.write_text(
            f'[set]\nname = "own"\n\n[default]\ncontract = "{CONTRACT}"\n\n[default.overrides]\n'
            f'"risk.model" = "cms-hcc-v28"\n"risk.timing" = "{timing}"\n'
            '"risk.minimum_months" = 7\n'
        )
        report = calibrate_population(
            small_population, tmp_path / "own.json", CalibrationRequest(contract=str(contract)),
            LocalRunner(1),
        )  # fmt: skip
        assert report["codes_of"] == codes_of
        assert report["members_skipped"] > 0
        assert report["terms"]["min_months"] == 7
        assert report["contract"]["name"] == "own"
        assert report["notes"] == []
        model = json.loads((tmp_path / "own.json").read_text())
        assert model["minimum_months"] == 7


def test_a_second_model_is_not_weighed_and_that_is_said(
    small_population: Path, tmp_path: Path
) -> None:
    contract = tmp_path / "own.toml"
    contract.write_text(
        f'[set]\nname = "own"\n\n[default]\ncontract = "{CONTRACT}"\n\n[default.overrides]\n'
        '"risk.model" = "cms-hcc-v28"\n"risk.second_model" = "supplied"\n'
        '"risk.second_model_for" = ["newborn", "maternity"]\n'
    )
    request = CalibrationRequest(contract=str(contract))
    report = calibrate_population(small_population, tmp_path / "own.json", request, LocalRunner(1))
    (said,) = report["notes"]
    assert said.startswith("risk.second_model (supplied) is not weighed: members of")
    assert "newborn" in said
    assert "maternity" in said


# --- against a run of the same contract, recomputed with plain NumPy


OWN_WEIGHTS = """
name = "own-weights"
title = "Scores by the state's own weights"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A test"

[risk.model]
value = "{model}"
unit = "name"
basis = "contract"
from = 2020-01-01
source = {{ doc = "here", at = "risk model" }}
"""
CATEGORIES = {"ALPHA": "EF", "BETA": "IJ", "GAMMA": "KM"}
"""Chapters of ICD-10 that make a category."""


@dataclass(frozen=True)
class Recomputed:
    """A calibration of a small state, and its members by raw columns, in the order of `years`."""

    population: Path
    report: dict[str, Any]
    contract: Path
    years: dict[str, np.ndarray]
    x: np.ndarray
    terms: tuple[str, ...]

    @property
    def months(self) -> np.ndarray:
        cells = [v for name, v in self.years.items() if name.startswith("months_")]
        return np.sum(cells, axis=0)


def years_of(run_dir: Path, year: int) -> dict[str, np.ndarray]:
    """Eligible member-years of a run, by column."""
    table = pq.read_table(run_dir / "member_years.parquet")
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    kept = (columns["year"] == year) & (columns["exclusion"] == "")
    return {name: column[kept] for name, column in columns.items()}


@pytest.fixture(scope="module", params=[(), ("aid_group", "disability", "homelessness")])
def recomputed(
    request: Any, small_population: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recomputed:
    folder = tmp_path_factory.mktemp("recomputed")
    population = open_population(small_population)
    year = population.manifest["full_years"][1]
    words = population.codes("dx").to_pylist()
    of_word = {
        w: name for name, letters in CATEGORIES.items() for w in words if w and w[0] in letters
    }
    (folder / "model.toml").write_text(
        'version = "1"\nyear = 2024\nlicense = "our own"\nsegments = [{ name = "all" }]\n'
        'cells = [{ term = "F", sex = "F", ages = [0, 128] }, '
        '{ term = "M", sex = "M", ages = [0, 128] }]\n'
        f"ladders = {[[name] for name in CATEGORIES]}\n"
    )
    (folder / "codes.csv").write_text(
        "system,code,category\n" + "".join(f"ICD10,{w},{name}\n" for w, name in of_word.items())
    )
    terms = ("F", "M", *CATEGORIES)
    (folder / "weights.csv").write_text(
        "segment,term,weight\n" + "".join(f"all,{term},1\n" for term in terms)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IHP_MODEL_STORE", str(folder / "store"))
        imports.import_model(folder, "chapters")
        calibrate_population(
            small_population, folder / "own.json",
            CalibrationRequest(
                contract=CONTRACT, model="chapters", full_months=1, predictors=request.param
            ),
            LocalRunner(1),
        )  # fmt: skip
        contract = folder / "own.toml"
        contract.write_text(OWN_WEIGHTS.format(model=folder / "own.json"))
        asked = RunRequest(
            small_population, (CONTRACT,), replicates=0, programme="none", device="cpu"
        )
        run(asked, folder / "run", LocalRunner(1))
    years = years_of(folder / "run", year)
    sex: dict[int, int] = {}
    has: dict[int, set[str]] = {}
    first, last = year_bounds(year)
    for shard in population.shards:
        keys = shard.column("members", "member_key").tolist()
        sex.update(zip(keys, shard.column("members", "sex").tolist(), strict=True))
        offsets = shard.offsets("diagnoses")
        dx, day = (shard.column("diagnoses", name) for name in ("dx", "day"))
        for m, key in enumerate(keys):
            rows = slice(offsets[m], offsets[m + 1])
            inside = (day[rows] >= first) & (day[rows] < last)
            has[key] = {of_word.get(words[c], "") for c in dx[rows][inside].tolist()}
    keys = years["member_key"].tolist()
    x = np.array(
        [[sex[k] == 1, sex[k] == 2, *(name in has[k] for name in CATEGORIES)] for k in keys], float
    )
    report = json.loads((folder / "own.report.json").read_text())
    if request.param:
        by_group = [
            years[f"months_{group}_ffs"] + years[f"months_{group}_managed"] for group in AID_GROUPS
        ]
        of_most = np.argmax(by_group, axis=0)
        months = np.sum(by_group, axis=0)
        reference = int(np.argmax([months[of_most == g].sum() for g in range(len(AID_GROUPS))]))
        assert report["predictors"] == {"aid_group": AID_GROUPS[reference]}
        others = [g for g in range(len(AID_GROUPS)) if g != reference and (of_most == g).any()]
        assert len(others) > 2
        x = np.column_stack([x, *(of_most == g for g in others)])
        terms = (*terms, *(f"aid_{AID_GROUPS[g]}" for g in others))
        table = population.reference("member_factors")
        assert table is not None
        of_key = dict(
            zip(member_keys(table.column("person_id")).tolist(), table.to_pylist(), strict=True)
        )
        for factor in request.param[1:]:
            has_it = np.array([of_key[k][factor] == "true" for k in keys])
            assert 20 < has_it.sum() < len(keys) / 2
            x, terms = np.column_stack([x, has_it]), (*terms, factor)
        assert report["members_without_factors"] == 0
    return Recomputed(small_population, report, contract, years, x, terms)


def test_a_calibration_is_the_regression_of_what_a_run_counts(recomputed: Recomputed) -> None:
    """Members, months and cost of the run's own member-years; estimates by least squares."""
    report, years, x = recomputed.report, recomputed.years, recomputed.x
    months, cost = recomputed.months, years["cost_r0_cents"]
    assert report["members"] == len(months)
    assert {"UNATTRIBUTED", "COMPARISON"} < set(years["group_id"].tolist())
    assert report["member_months"] == int(months.sum())
    assert report["cost_cents"] == int(cost.sum())
    assert report["members_at_cap"] == int((years["above_cap_r0_cents"] > 0).sum()) > 0
    mean = 12 * int(cost.sum()) / int(months.sum()) / 100
    assert report["mean_annual_cost_usd"] == pytest.approx(mean, abs=0.006)
    root = np.sqrt(months)
    want, *_ = np.linalg.lstsq(x * root[:, None], 12 * cost / months / 100 * root, rcond=None)
    assert (want[:5] > 0).all()  # no constraint binds
    features = {f["term"]: f for f in report["features"]["all"]}
    for term, estimate in zip(recomputed.terms, want, strict=True):
        assert features[term]["estimate_usd"] == pytest.approx(estimate, abs=0.01)
        assert features[term]["weight_usd"] == pytest.approx(estimate, abs=0.01)
    ledger = {row["fate"]: row["paid_cents"] for row in report["cost"]}
    assert ledger["counted"] == int(years["uncapped_r0_cents"].sum())
    assert ledger["above_cap"] == int(years["above_cap_r0_cents"].sum())


def test_a_run_scores_by_the_weights_as_by_hand(recomputed: Recomputed, tmp_path: Path) -> None:
    """Three partnerships: each member's score, and so their mean, from the weights of the report.

    The state's mean is 1, for the weights are in units of its mean cost.
    """
    request = RunRequest(
        recomputed.population,
        (str(recomputed.contract),),
        replicates=0,
        programme="none",
        device="cpu",
    )
    run(request, tmp_path / "own", LocalRunner(1))
    year = recomputed.report["year"]
    years = years_of(tmp_path / "own", year)
    assert (years["member_key"] == recomputed.years["member_key"]).all()
    weight = {f["term"]: f["weight_usd"] for f in recomputed.report["features"]["all"]}
    usd = recomputed.x @ np.array([weight[term] for term in recomputed.terms])
    score = usd / recomputed.report["mean_annual_cost_usd"]
    assert years["score_micro"] / 1e6 == pytest.approx(score, abs=2e-5)
    months = recomputed.months
    for group in sorted(set(years["group_id"].tolist()) - {"COMPARISON", "UNATTRIBUTED"})[:3]:
        own = years["group_id"] == group
        by_hand = float((score * months)[own].sum() / months[own].sum())
        of_run = float((years["score_micro"] * months)[own].sum() / months[own].sum() / 1e6)
        assert of_run == pytest.approx(by_hand, abs=1e-5)
    whole = float((years["score_micro"] * months).sum() / months.sum() / 1e6)
    assert whole == pytest.approx(1.0, abs=1e-5)


def test_a_file_is_scored_by_the_same_facts(recomputed: Recomputed, tmp_path: Path) -> None:
    """Aid group and factors stand in the members' table; a factor without a column is refused."""
    if not recomputed.report["factors"]:
        # of the fixture's calibrations one has no predictors, and its model reads no such column
        pytest.skip("weights without predictors ask for nothing")
    head = ("member_id", "age", "gender", "aid_group", "disability", "homelessness")
    reference = recomputed.report["predictors"]["aid_group"]
    other = next(t for t in recomputed.terms if t.startswith("aid_")).removeprefix("aid_")
    rows = [
        (k, 40, "F", group, disabled, homeless)
        for k, (group, disabled, homeless) in enumerate(
            [(reference, "no", "no"), (other, "no", "no"), (reference, "yes", "yes")]
        )
    ]
    _csv(tmp_path / "members.csv", head, rows)
    _csv(tmp_path / "codes.csv", ("member_id", "diagnosis_code"), [])
    own = recomputed.contract.with_name("own.json")
    asked = Request(
        members=tmp_path / "members.csv", diagnoses=tmp_path / "codes.csv", model=str(own),
        out=tmp_path / "scores.csv",
    )  # fmt: skip
    score_files(asked)
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        found = [float(row["score"]) for row in csv.DictReader(file)]
    weight = {f["term"]: f["weight_usd"] for f in recomputed.report["features"]["all"]}
    more = (0.0, weight[f"aid_{other}"], weight["disability"] + weight["homelessness"])
    mean = recomputed.report["mean_annual_cost_usd"]
    assert found == pytest.approx([(weight["F"] + usd) / mean for usd in more], abs=2e-5)
    _csv(tmp_path / "members.csv", head[:-1], [row[:-1] for row in rows])
    with pytest.raises(DataError, match="homelessness; expected a column"):
        score_files(asked)


def test_there_is_no_such_predictor(small_population: Path) -> None:
    found = CliRunner().invoke(
        app,
        ["calibrate", str(small_population), "--model", "cms-hcc-v28", "--out", "never.json",
         "--predictors", "aid_group, shoe_size"],
    )  # fmt: skip
    assert found.exit_code == 2
    assert "found shoe_size" in found.output
    assert not Path("never.json").exists()
    with pytest.raises(RiskModelError, match="no predictor 'shoe_size'; there are aid_group"):
        calibrate_population(
            small_population, Path("never.json"),
            CalibrationRequest(model="cms-hcc-v28", predictors=("shoe_size",)), LocalRunner(1),
        )  # fmt: skip


def test_a_prior_that_saw_the_population_is_told(recomputed: Recomputed, tmp_path: Path) -> None:
    own = recomputed.contract.with_name("own.json")
    report = calibrate_population(
        recomputed.population, tmp_path / "again.json",
        CalibrationRequest(contract=CONTRACT, model=str(own)), LocalRunner(1),
    )  # fmt: skip
    (note,) = report["notes"]
    assert "not out of sample" in note
    assert report["prior_saw_population"]
    assert not recomputed.report["prior_saw_population"]
    model = json.loads((tmp_path / "again.json").read_text())
    assert model["calibration"]["seen"] == [report["population_digest"]]
    assert any("not out of sample" in line for line in model["notes"])
