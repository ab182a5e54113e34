"""The synthetic state: the same bytes always, and answers that its own rows confirm."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import COMPARISON
from ihp_compute.contracts import load
from ihp_compute.errors import DataError
from ihp_compute.ledger import IngestFate
from ihp_compute.synth import claims as synth_claims
from ihp_compute.synth import costs as synth_costs
from ihp_compute.synth import lines as synth_lines
from ihp_compute.synth import member_years as synth_member_years
from ihp_compute.synth import network
from ihp_compute.synth import people as synth_people
from ihp_compute.synth.codes import (
    CONDITIONS,
    DELIVERY_CODES,
    DRUGS,
    NEWBORN_CODES,
    PREMATURE_CODES,
    WELL_CODES,
)
from ihp_compute.synth.decoys import with_decoys
from ihp_compute.synth.effects import planted
from ihp_compute.synth.lognormal import capped_mean
from ihp_compute.synth.state import synth

MEMBERS = 6_000  # two blocks


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "state"
    synth(MEMBERS, 11, folder, threads=2)
    return folder


@pytest.fixture(scope="module")
def truth(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "truth.json").read_text())
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def query(state: Path, sql: str) -> list[tuple[Any, ...]]:
    """Run SQL over the raw files; every amount and date is text, as it came."""
    files = {
        name: f"(SELECT * FROM read_parquet('{state}/{name}/*.parquet', union_by_name = true))"
        for name in ("medical_claim", "pharmacy_claim", "eligibility")
    }
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.sql(sql.format(**files)).fetchall()


def test_threads_change_no_byte(state: Path, tmp_path: Path) -> None:
    synth(MEMBERS, 11, tmp_path / "again", threads=1)
    assert digests(state) == digests(tmp_path / "again")


def test_another_seed_gives_another_state(state: Path, tmp_path: Path) -> None:
    synth(MEMBERS, 12, tmp_path / "other")
    left, right = digests(state), digests(tmp_path / "other")
    assert left.keys() == right.keys()
    assert not any(left[name] == right[name] for name in left if "part-" in name)


def test_the_return_value_is_what_lies_beside_the_tables(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = synth(50, 3, tmp_path / "small", progress=lambda done, of: calls.append((done, of)))
    assert found == json.loads((tmp_path / "small" / "truth.json").read_text())
    assert calls == [(1, 1)]


@pytest.mark.parametrize(
    ("members", "seed", "years"),
    [(0, 1, (2023, 2024)), (10, -1, (2023, 2024)), (10, 1, (2024, 2024))],
)
def test_impossible_requests_are_refused(
    members: int, seed: int, years: tuple[int, int], tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        synth(members, seed, tmp_path / "x", base_year=years[0], performance_year=years[1])
    assert not list(tmp_path.iterdir())


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not an empty folder"):
        synth(10, 1, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(done: int, of: int) -> None:
        raise RuntimeError(f"stopped after {done} of {of}")

    with pytest.raises(RuntimeError):
        synth(10, 1, tmp_path / "x", progress=fail)
    assert not list(tmp_path.iterdir())


# --- planted errors, counted by SQL ---------------------------------------------------------------


LINES = (
    "SELECT claim_id, claim_line_number, person_id, paid_date, CAST(paid_amount AS VARCHAR) AS"
    " paid_amount, x_adjstmt_ind, x_orgnl_clm_num, x_clm_dnd_ind, CAST({start} AS VARCHAR) AS"
    " start_date FROM {{{table}}} AS rows"
)
MEDICAL = LINES.format(
    table="medical_claim",
    start="coalesce(claim_line_start_date::VARCHAR, claim_start_date::VARCHAR,"
    " admission_date::VARCHAR, claim_end_date::VARCHAR)",
)
PHARMACY = LINES.format(table="pharmacy_claim", start="dispensing_date")
BOTH = f"(({MEDICAL}) UNION ALL BY NAME ({PHARMACY}))"


def test_every_line_is_accounted_for(state: Path, truth: dict[str, Any]) -> None:
    ((lines,),) = query(state, f"SELECT count(*) FROM {BOTH}")
    assert lines == truth["lines"] == truth["retained_lines"] + sum(truth["errors"].values())
    assert set(truth["errors"]) == {f.label for f in IngestFate} - {"retained"}
    assert all(truth["errors"].values())


def test_unreadable_lines_are_counted(state: Path, truth: dict[str, Any]) -> None:
    sql = (
        f"SELECT count(*) FROM {BOTH} WHERE try_cast(start_date AS DATE) IS NULL"
        " OR (paid_amount IS NOT NULL AND try_cast(paid_amount AS DECIMAL(18, 2)) IS NULL)"
    )
    assert query(state, sql) == [(truth["errors"]["unreadable"],)]


def test_duplicates_are_counted(state: Path, truth: dict[str, Any]) -> None:
    """Lines equal to another in every column but the day of their file."""
    total = 0
    for table in ("medical_claim", "pharmacy_claim"):
        ((rows, distinct),) = query(
            state,
            f"SELECT (SELECT count(*) FROM {{{table}}} AS r), (SELECT count(*) FROM"
            f" (SELECT DISTINCT * EXCLUDE file_date FROM {{{table}}} AS r))",
        )
        total += rows - distinct
    assert total == truth["errors"]["duplicate"]


def test_denied_and_unknown_are_counted(state: Path, truth: dict[str, Any]) -> None:
    sql = f"""
        SELECT count(*) FILTER (x_clm_dnd_ind = 'Y'), count(*) FILTER (person_id NOT IN
        (SELECT person_id FROM {{eligibility}} AS e)) FROM {BOTH}
    """
    errors = truth["errors"]
    assert query(state, sql) == [(errors["denied"], errors["unknown_member"])]


def test_services_outside_enrolment_are_counted(state: Path, truth: dict[str, Any]) -> None:
    """By calendar month: a month counts when any day of it is enrolled."""
    sql = f"""
        WITH months AS (
            SELECT DISTINCT person_id, unnest(generate_series(
                date_trunc('month', enrollment_start_date), enrollment_end_date, INTERVAL 1 MONTH
            )) AS month FROM {{eligibility}} AS e
        )
        SELECT count(*) FROM {BOTH} AS l ANTI JOIN months m ON m.person_id = l.person_id
        AND m.month = date_trunc('month', try_cast(l.start_date AS DATE))
        WHERE l.claim_id NOT SIMILAR TO '[UX].*'
    """
    assert query(state, sql) == [(truth["errors"]["outside_eligibility"],)]


# --- people, providers and money ------------------------------------------------------------------


def test_spans_of_a_member_do_not_overlap(state: Path) -> None:
    sql = """
        SELECT count(*) FROM (SELECT enrollment_start_date AS s,
            lag(enrollment_end_date) OVER (PARTITION BY person_id ORDER BY s) AS before
            FROM {eligibility} AS e)
        WHERE s <= before
    """
    assert query(state, sql) == [(0,)]


def test_roster_npis_pass_the_check(state: Path) -> None:
    """Luhn over 80840 and the ten digits, digit by digit."""
    roster = pq.read_table(state / "provider_roster.parquet").to_pylist()
    for npi in {row["npi"] for row in roster}:
        total = 0
        for place, digit in enumerate(reversed(f"80840{npi}")):
            value = int(digit) * (1 + place % 2)
            total += value - 9 * (value > 9)
        assert len(npi) == 10
        assert total % 10 == 0
    assert {row["partnership_id"] for row in roster} == {
        *network.partnership_ids(),
        COMPARISON,
    }
    assert {row["specialty"] for row in roster} == {
        "primary care",
        "specialist",
        "behavioral health",
    }


def test_sizes_follow_the_size_set() -> None:
    """The largest partnership holds 78 of 1,200 people, all of them 505, the comparison 35 %."""
    people = synth_costs.people(60_000, 5, synth_people.Calendar(2023, 2024))
    group = np.where(people.eligible, people.group, synth_people.NO_GROUP)[:, 1]
    found = np.bincount(group[group >= 0], minlength=26) * 1200 / 60_000
    assert found[0] == pytest.approx(78, rel=0.06)
    assert found[:25].sum() == pytest.approx(505, rel=0.04)
    assert found[25] == pytest.approx(0.35 * 1200, rel=0.06)


def test_included_lines_add_up_to_the_member_year() -> None:
    """To the cent, over every clean line of the two years."""
    calendar = synth_people.Calendar(2023, 2024)
    people = synth_costs.people(500, 7, calendar)
    net = network.network(500, 7, calendar)
    rng = synth_people.generator(7, 4, 0)
    years = synth_member_years.MemberYears.of(people, 0, 500)
    claims = with_decoys(rng, years, net, synth_claims.draw_claims(rng, years, net))
    lines = synth_lines.Lines(rng, years, claims.sorted(), 0)
    row = lines.claims.row[lines.claim[lines.included]]
    found = np.zeros(1000, np.int64)
    np.add.at(found, row, lines.paid_cents[lines.included])
    assert (found == people.cost_cents.reshape(-1)).all()
    assert (people.cost_cents[people.months == 0] == 0).all()


def test_scores_explain_cost_in_every_band() -> None:
    """Capped cost per score-month is one constant, whatever the score and the year."""
    people = synth_costs.people(60_000, 9, synth_people.Calendar(2023, 2024))
    capped = np.minimum(people.cost_cents, synth_people.CAP_CENTS)
    nobody = people.group == synth_people.NO_GROUP
    plain = nobody | (people.group == synth_people.COMPARISON_GROUP)
    weight = people.score_micro * people.months / 1e6
    for year, growth in enumerate((1.0, 1.042)):
        mine = plain[:, year] & (people.months[:, year] > 0)
        band = np.digitize(people.score_micro[:, year], [300_000, 800_000, 1_500_000, 4_000_000])
        for b in range(5):
            rows = mine & (band == b)
            ratio = capped[rows, year].sum() / weight[rows, year].sum()
            assert ratio == pytest.approx(synth_people.BASE_PMPM_CENTS * growth, rel=0.06)


def test_mean_score_of_a_cell_is_the_same_in_both_years() -> None:
    """So that the statewide normaliser of a concurrent model moves nothing."""
    people = synth_costs.people(30_000, 10, synth_people.Calendar(2023, 2024))
    months = people.months * people.eligible
    for cell in range(12):
        means = []
        for year in (0, 1):
            middle = synth_people.MONTHS_BEFORE + 12 * year + 6
            mine = 2 * people.aid[:, middle].astype(int) + people.kind[:, middle] == cell
            weight = months[mine, year]
            if weight.sum() == 0:
                continue
            means.append((people.score_micro[mine, year] * weight).sum() / weight.sum())
        if len(means) == 2:
            assert means[0] == pytest.approx(means[1], rel=1e-6)


def test_expected_cost_is_a_level_times_what_scores_say_less_savings(truth: dict[str, Any]) -> None:
    """Level x (1 - savings) x trend x constant x score-months, scores before a creep of 1 %."""
    people = synth_costs.people(MEMBERS, 11, synth_people.Calendar(2023, 2024), planted({}))
    cents = people.expected_cents()
    for p, found in enumerate(truth["partnerships"]):
        for year, growth, kept in ((0, 1.0, 1.0), (1, 1.042, 1 - found["true_savings_rate"])):
            mine = people.eligible[:, year] & (people.group[:, year] == p)
            stated = (people.score_micro[mine, year] * people.months[mine, year]).sum() / 1e6
            stated *= synth_people.BASE_PMPM_CENTS * growth / (1.01 if year else 1)
            assert cents[mine, year].sum() / stated / found["level"] == pytest.approx(
                kept, abs=1e-4
            )
        assert found["n_members"] == mine.sum()
    levels = [found["level"] for found in truth["partnerships"]]
    assert 0.9 <= min(levels) < 0.93 < 1.07 < max(levels) <= 1.1


def test_the_truth_lies_in_intervals_about_as_often_as_stated() -> None:
    """Members drawn with replacement; savings against own base x trend x ratio of score-months."""
    calendar = synth_people.Calendar(2023, 2024)
    truth = np.array(synth_people.TRUE_SAVINGS_MICRO) / 1e6
    inside = {0.80: 0, 0.95: 0}
    seeds = range(21, 25)
    for seed in seeds:
        people = synth_costs.people(40_000, seed, calendar)
        capped = np.minimum(people.cost_cents, synth_people.CAP_CENTS)
        risk = people.score_micro * people.months
        rng = np.random.default_rng(seed)
        for p in range(synth_people.N_PARTNERSHIPS):
            mine = people.eligible & (people.group == p)
            rows = np.flatnonzero(mine.any(axis=1))
            columns = np.stack([(v * mine)[rows, y] for v in (capped, risk) for y in (0, 1)])
            draws = rng.poisson(1.0, (300, len(rows))) @ columns.T.astype(float)
            base, cost, base_risk, cost_risk = draws.T
            rate = 1 - cost / (base * calendar.trend * cost_risk / base_risk)
            for level in inside:
                low, high = np.quantile(rate, [(1 - level) / 2, (1 + level) / 2])
                inside[level] += int(low <= truth[p] <= high)
    n = len(seeds) * synth_people.N_PARTNERSHIPS
    assert inside[0.80] / n == pytest.approx(0.80, abs=0.09)
    assert inside[0.95] / n == pytest.approx(0.95, abs=0.06)


def test_capped_mean_is_the_mean_of_capped_draws() -> None:
    rng = np.random.default_rng(4)
    mean, sigma = np.array([50.0, 300.0]), np.array([1.1, 0.6])
    draws = mean * np.exp(sigma * rng.standard_normal((2_000_000, 2)) - sigma**2 / 2)
    found = capped_mean(mean, sigma, 200.0)
    assert found == pytest.approx(np.minimum(draws, 200.0).mean(0), rel=2e-3)


def test_the_planted_trend_and_cap_are_the_demonstration_contracts() -> None:
    terms = load("mn-ihp-2.0-track-2").terms

    def value(path: str) -> Any:
        (entry,) = terms[path].entries
        return entry.value

    assert value("target.trend") == Decimal(str(synth_people.TREND))
    assert value("cost.claim_cap") * 100 == synth_people.CAP_CENTS
    assert value("cost.zero_paid_encounter") == "as_paid"
    assert value("attribution.min_months_continuous") == synth_people.MINIMUM_MONTHS[0]
    assert value("attribution.min_months_any") == synth_people.MINIMUM_MONTHS[1]


def test_codes_are_distinct_and_well_formed() -> None:
    diagnoses = [code for condition in CONDITIONS for code in condition.codes]
    diagnoses += [*WELL_CODES, *DELIVERY_CODES, *NEWBORN_CODES, *PREMATURE_CODES]
    assert len(set(diagnoses)) == len(diagnoses)
    assert all(re.fullmatch(r"[A-Z]\d[0-9A-Z]{1,5}", code) for code in diagnoses)
    products = [drug.ndc for drug in DRUGS]
    assert len(set(products)) == len(products)
    assert all(re.fullmatch(r"\d{11}", code) for code in products)
