"""Planted changes in the use of care and its prices stand in the raw claims; nothing else does.

Everything is counted from the raw files by SQL and plain Python. Who belongs to whom is as it was
drawn; `test_decoys` holds a run to that.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from ihp_compute.errors import PlantError
from ihp_compute.synth import synth
from ihp_compute.synth.costs import people
from ihp_compute.synth.effects import planted
from ihp_compute.synth.factors import BLACK, TREATED, UNTREATED
from ihp_compute.synth.people import CHANGED, COMPARISON_GROUP, Calendar, People

MEMBERS, SEED = 10_000, 17
BARE: Final = {"levels": 0.0, "thin": 0.0, "clinics": 0.0, "creep": 0.0, "savings_lost": 1.0}
PLANTED: Final = {
    "ed_change": -0.4, "stay_change": 0.5, "readmission_change": -0.8, "ed_disparity": 0.6,
    "ed_disparity_homeless": 0.8, "intervention_effect": -0.7, "use_change": 0.3,
}  # fmt: skip
DEARER: Final = {"trend_difference": 0.3, "price_change": 0.4, "use_change": 0.3}
STANDARD_ERRORS: Final = 3.5
SINCE: Final = date(1970, 1, 1)
LINES: Final = """
    SELECT claim_id, person_id, bill_type_code AS bill, revenue_center_code AS revenue,
        hcpcs_code AS hcpcs, diagnosis_code_1 AS principal, discharge_disposition_code AS went,
        coalesce(claim_line_start_date, claim_start_date, admission_date, claim_end_date) AS day,
        coalesce(admission_date, claim_start_date, claim_end_date) AS admitted,
        coalesce(discharge_date, claim_end_date, admission_date) AS discharged, *
    FROM read_parquet('{raw}/medical_claim/part-*.parquet') WHERE claim_id LIKE 'C%'
"""
"""Lines of clean claims, in all of their versions: those happen on the same days."""
STAYS: Final = f"""
    SELECT person_id, min(admitted), max(discharged), arg_max(went, claim_line_number),
        min(principal) FROM ({LINES}) WHERE bill LIKE '11%' GROUP BY claim_id, person_id
    ORDER BY person_id, 2, 3
"""
VISITS: Final = f"""
    SELECT DISTINCT person_id, day FROM ({LINES}) WHERE coalesce(bill, '') NOT LIKE '11%'
    AND (revenue BETWEEN '0450' AND '0459' OR hcpcs BETWEEN '99281' AND '99285')
"""
SERVICES: Final = f"""
    WITH seen AS (SELECT * FROM ({LINES}) WHERE x_clm_type_cd IN ('1', '3')
        AND claim_type <> 'dental' AND coalesce(bill, '') NOT SIMILAR TO '(21|86).'
        AND coalesce(hcpcs, '') NOT SIMILAR TO '[DES].*|T1019|T20.*|A0130|A4253|A7030'),
    single AS (SELECT claim_id FROM seen GROUP BY claim_id HAVING count(*) =
        count(DISTINCT claim_line_number) AND bool_and(coalesce(x_adjstmt_ind, '7') = '0')),
    lines AS (SELECT seen.* FROM seen SEMI JOIN single USING (claim_id)
        WHERE allowed_amount > 0)
    SELECT person_id, year(max(discharged)) AS year, 'DRG ' || any_value(drg_code) AS
        service, 1.0 AS units, sum(allowed_amount)::DOUBLE AS usd FROM lines WHERE bill LIKE '11%'
    GROUP BY claim_id, person_id UNION ALL
    SELECT person_id, year(discharged), coalesce(hcpcs, revenue),
        coalesce(service_unit_quantity::DOUBLE, 1), allowed_amount::DOUBLE
    FROM lines WHERE coalesce(bill, '') NOT LIKE '11%' UNION ALL
    SELECT person_id, year(dispensing_date), ndc_code, quantity::DOUBLE, allowed_amount::DOUBLE
    FROM read_parquet('{{raw}}/pharmacy_claim/part-*.parquet')
    WHERE claim_id LIKE 'C%' AND coalesce(x_adjstmt_ind, '7') = '0' AND allowed_amount > 0
"""
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A state on disk, its people, and events by member and year: float64[n, 2]."""

    raw: Path
    truth: dict[str, Any]
    people: People
    visits: Counts
    stays: Counts
    index_stays: Counts
    readmissions: Counts

    @property
    def months(self) -> Counts:
        return self.people.months.astype(float)

    def of(self, groups: Callable[[NDArray[np.int8]], Any]) -> NDArray[np.bool_]:
        """Who is eligible and of these groups, by year: bool[n, 2]."""
        found: NDArray[np.bool_] = self.people.eligible & groups(self.people.group)
        return found


def rows(raw: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.sql(sql.format(raw=raw)).fetchall()


def state(folder: Path, effects: dict[str, float]) -> State:
    truth = synth(MEMBERS, SEED, folder, plant=effects)
    drawn = people(MEMBERS, SEED, Calendar(2023, 2024), planted(effects))
    of_member = defaultdict(list)
    for person, admitted, discharged, went, principal in rows(folder, STAYS):
        of_member[person].append((admitted, discharged, went, principal))
    visits, stays, index, again = np.zeros((4, MEMBERS, 2))
    chains = {person: chained(claims) for person, claims in of_member.items()}
    for person, day in rows(folder, VISITS):
        inside = any(a <= day < max(a + timedelta(1), z) for a, z, _, _ in chains.get(person, []))
        if day.year in (2023, 2024) and not inside:
            visits[int(person[1:]), day.year - 2023] += 1
    for person, chain in chains.items():
        for place, (admitted, discharged, went, principal) in enumerate(chain):
            if discharged.year not in (2023, 2024) or principal.startswith("Z38"):
                continue
            at = int(person[1:]), discharged.year - 2023
            stays[at] += 1
            if admitted == discharged or went in ("02", "20", "30") or principal[0] in "OP":
                continue
            index[at] += 1
            soon = discharged + timedelta(30)
            again[at] += place + 1 < len(chain) and chain[place + 1][0] <= soon
    return State(folder, truth, drawn, visits, stays, index, again)


def chained(claims: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Stays of a member: claims admitted at most a day after the last discharge are one."""
    found: list[list[Any]] = []
    for admitted, discharged, went, principal in claims:
        if found and admitted <= found[-1][1] + timedelta(1):
            if discharged >= found[-1][1]:
                found[-1][1:3] = discharged, went
        else:
            found.append([admitted, discharged, went, principal])
    return [tuple(chain) for chain in found]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> State:
    return state(tmp_path_factory.mktemp("plain") / "raw", BARE)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> State:
    return state(tmp_path_factory.mktemp("changed") / "raw", {**BARE, **PLANTED})


@pytest.fixture(scope="module")
def dearer(tmp_path_factory: pytest.TempPathFactory) -> State:
    return state(tmp_path_factory.mktemp("dearer") / "raw", {**BARE, **DEARER})


def ratio(
    parts: list[tuple[int, Counts, Counts]], *, error: float | None = None
) -> tuple[float, float]:
    """Logarithm of a product of rates to powers +1, -1, and its standard error over members.

    parts : (power, numerators, denominators of members)
    """
    value, influence = 0.0, np.zeros(MEMBERS)
    for power, n, d in parts:
        value += power * np.log(n.sum() / d.sum())
        influence += power * (n / n.sum() - d / d.sum())
    return value, float(np.sqrt((influence**2).sum())) if error is None else error


def change(n: Counts, d: Counts, left: Any, right: Any) -> tuple[float, float]:
    """Of the rates of one group from base to performance year, over that of another."""
    return ratio(
        [
            (power * (1 if year else -1), n[:, year] * who[:, year], d[:, year] * who[:, year])
            for power, who in ((1, left), (-1, right))
            for year in (0, 1)
        ]
    )


def others(group: Any) -> Any:
    """Partnerships without the one whose prices and use change."""
    return (group >= 0) & (group < COMPARISON_GROUP) & (group != CHANGED)


def comparison(group: Any) -> Any:
    return group == COMPARISON_GROUP


def the_one(group: Any) -> Any:
    return group == CHANGED


def holds(found: tuple[float, float], wanted: float, *, most_error: float) -> None:
    """The planted ratio, within chance; and chance is small enough to see it."""
    value, error = found
    assert error < most_error
    assert abs(value - np.log(wanted)) < STANDARD_ERRORS * error
    if wanted != 1:
        assert abs(value) > 2.5 * error


MEASURES: Final = {
    "ed_visits": ("visits", "months", 0.08),
    "stays": ("stays", "months", 0.12),
    "readmissions": ("readmissions", "index_stays", 0.5),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_use_of_care_changes_as_planted(measure: str, plain: State, changed: State) -> None:
    numerator, denominator, most_error = MEASURES[measure]
    for of in (plain, changed):
        told = of.truth["programme"]["changes"][1]
        assert told["partnership_id"] == "IHP-02"
        found = change(
            getattr(of, numerator), getattr(of, denominator), of.of(others), of.of(comparison)
        )
        holds(found, 1 + told[measure], most_error=most_error)


def test_changes_are_told_as_they_were_planted(plain: State, changed: State) -> None:
    told = changed.truth["programme"]["changes"]
    assert len(told) == len(plain.truth["programme"]["changes"]) == 25
    assert told[1] == {
        "partnership_id": "IHP-02", "comparator": "COMPARISON", "ed_visits": -0.4, "stays": 0.5,
        "readmissions": -0.8,
    }  # fmt: skip
    assert told[0] == {
        "partnership_id": "IHP-01", "comparator": "COMPARISON",
        "ed_visits": pytest.approx(0.6 * 1.3 - 1), "stays": pytest.approx(1.5 * 1.3 - 1),
    }  # fmt: skip
    nothing = {row[m] for row in plain.truth["programme"]["changes"] for m in MEASURES}
    assert nothing == {0.0}


def test_more_use_is_more_visits_and_stays_too(changed: State) -> None:
    one, comparators = changed.of(the_one), changed.of(comparison)
    told = changed.truth["programme"]["changes"][0]
    months = changed.months
    value, error = change(changed.visits, months, one, comparators)
    assert abs(value - np.log(1 + told["ed_visits"])) < STANDARD_ERRORS * error < 0.5
    value, error = change(changed.stays, months, one, comparators)
    assert abs(value - np.log(1 + told["stays"])) < STANDARD_ERRORS * error


def test_strata_differ_as_planted(plain: State, changed: State) -> None:
    for of in (plain, changed):
        factors = of.people.factors
        strata = {
            "race": (factors.race == BLACK, factors.race == 0),
            "homelessness": (factors.is_homeless, ~factors.is_homeless),
        }
        for told in of.truth["programme"]["strata"]:
            sides = zip((1, -1), strata[told["dimension"]], strict=True)
            mine = of.people.eligible
            found = ratio(
                [
                    (power, (of.visits * mine)[:, :].sum(1) * who, (of.months * mine).sum(1) * who)
                    for power, who in sides
                ]
            )
            holds(found, told["ratio"], most_error=0.15)
    assert [told["ratio"] for told in changed.truth["programme"]["strata"]] == [1.6, 1.8]


def test_an_intervention_works_on_its_treated_arm(plain: State, changed: State) -> None:
    for of in (plain, changed):
        arm = of.people.factors.arm[:, None]
        told = of.truth["programme"]["intervention"]["relative_change"]
        mine = of.people.eligible
        found = change(of.visits, of.months, mine & (arm == TREATED), mine & (arm == UNTREATED))
        holds(found, 1 + told, most_error=0.2)


# --- prices


def priced(of: State) -> tuple[Counts, Counts]:
    """Dollars and standard dollars of services, by member and year.

    The standard price of a service is its mean over all services of the year.
    """
    found = rows(of.raw, SERVICES)
    member = np.array([int(person[1:]) for person, *_ in found])
    year = np.array([row[1] for row in found]) - 2023
    _, service = np.unique([row[2] for row in found], return_inverse=True)
    units, usd = (np.array([row[k] for row in found], float) for k in (3, 4))
    inside = (year >= 0) & (year < 2) & (units > 0)
    key = service[inside] * 2 + year[inside]
    price = np.bincount(key, usd[inside]) / np.maximum(np.bincount(key, units[inside]), 1e-9)
    cost, resource = np.zeros((2, MEMBERS, 2))
    np.add.at(cost, (member[inside], year[inside]), usd[inside])
    np.add.at(resource, (member[inside], year[inside]), units[inside] * price[key])
    return cost, resource


def test_services_cost_what_is_told_over_those_of_the_comparison(
    plain: State, dearer: State
) -> None:
    for of in (plain, dearer):
        cost, resource = priced(of)
        comparators = of.of(comparison)
        told = {row["group_id"]: row for row in of.truth["programme"]["prices"]}
        for name, groups, most in (("IHP-01", the_one, 0.09), ("IHP-02", others, 0.05)):
            mine = of.of(groups)
            for year in (0, 1):
                value, error = ratio(
                    [
                        (power, cost[:, year] * who[:, year], resource[:, year] * who[:, year])
                        for power, who in ((1, mine), (-1, comparators))
                    ]
                )
                assert error < most
                assert abs(value - np.log(told[name][str(2023 + year)])) < STANDARD_ERRORS * error
    assert told["IHP-02"]["2024"] > 1.25
    assert told["IHP-01"]["2024"] == pytest.approx(1.4 * told["IHP-02"]["2024"], rel=0.02)
    assert told["IHP-01"]["2023"] == pytest.approx(1, abs=1e-9)


def test_members_of_one_partnership_have_more_of_every_service(plain: State, dearer: State) -> None:
    """Standard dollars per member month and score, over the comparison's."""
    for of in (plain, dearer):
        _, resource = priced(of)
        need = of.people.score_micro * of.months / 1e6
        one, comparators = of.of(the_one), of.of(comparison)
        found = change(resource, need, one, comparators)
        told = of.truth["programme"]["use"][0]
        assert told["2023"] == 1
        value, error = found
        assert abs(value - np.log(told["2024"])) < STANDARD_ERRORS * error
        assert error < 0.12


def test_cost_grows_as_told(plain: State, dearer: State) -> None:
    """Realised cost after the cap, per score and month, of partnerships over the comparison."""
    for of in (plain, dearer):
        capped = np.minimum(of.people.cost_cents, 20_000_000).astype(float)
        need = of.people.score_micro * of.months
        for place, groups, most in ((0, the_one, 0.2), (1, others, 0.08)):
            told = of.truth["programme"]["growth"][place]
            value, error = change(capped, need, of.of(groups), of.of(comparison))
            assert error < most
            wanted = told["growth"] / told["comparator_growth"]
            assert abs(value - np.log(wanted)) < STANDARD_ERRORS * error
    told = dearer.truth["programme"]["growth"]
    assert told[1]["growth"] / told[1]["comparator_growth"] == pytest.approx(1.3)
    savings = dearer.truth["partnerships"]
    assert savings[1]["true_savings_rate"] == pytest.approx(-0.3)
    assert 1 - 1.3 * 1.4 * 1.3 < savings[0]["true_savings_rate"] < -1.25


def test_prices_are_not_told_where_dollars_buy_other_services(changed: State) -> None:
    told = changed.truth["programme"]
    assert told["prices"] == told["use"] == []
    assert len(told["growth"]) == 25


def test_the_index_that_is_told_is_that_of_expected_cost(dearer: State) -> None:
    told = dearer.truth["programme"]["cost_index"]
    state_row = {row["year"]: row for row in told if row["group_id"] == "STATE"}
    for row in told:
        of = state_row[row["year"]]
        wanted = row["expected_usd"] / row["risk"] / (of["expected_usd"] / of["risk"])
        assert row["tci"] == pytest.approx(wanted, rel=1e-6)
    long = dearer.people.eligible & (dearer.people.months >= 9)
    assert [state_row[y]["n_members"] for y in (2023, 2024)] == long.sum(0).tolist()
    capped = np.minimum(dearer.people.cost_cents, 12_500_000) / 100
    for y, year in enumerate((2023, 2024)):
        cost = capped[long[:, y], y]
        error = cost.std() * np.sqrt(len(cost))
        assert abs(cost.sum() - state_row[year]["expected_usd"]) < 4 * error


# --- what the claims say


def test_principal_diagnoses_dispositions_and_quantities_are_there(plain: State) -> None:
    stays = rows(
        plain.raw,
        f"SELECT drg_code, principal, went, count(DISTINCT claim_id) FROM ({LINES})"
        " WHERE bill LIKE '11%' GROUP BY ALL",
    )
    of_drg = defaultdict(set)
    for drg, principal, _, _ in stays:
        of_drg[drg].add(principal)
    assert of_drg["795"] == {"Z3800"}
    assert of_drg["807"] == {"O80"}
    assert of_drg["788"] == {"O82"}
    assert of_drg["194"] == {"J189"}
    assert of_drg["291"] == {"I509", "I5022", "I5032"}
    assert {went for _, _, went, _ in stays} == {"01", "02", "03", "06", "07", "20", "30"}
    quantities = rows(plain.raw, f"SELECT hcpcs, service_unit_quantity FROM ({LINES}) GROUP BY ALL")
    of_code = defaultdict(set)
    for hcpcs, quantity in quantities:
        of_code[hcpcs].add(quantity)
    assert of_code["97110"] == {"1", "2", "3", "4"}
    assert of_code["99213"] == {"1"}
    assert len({quantity for _, quantity in quantities}) < 40


def test_some_stays_are_in_two_hospitals_on_the_day_of_transfer(plain: State) -> None:
    sql = f"""
        WITH stays AS (SELECT person_id, claim_id, min(admitted) AS a, max(discharged) AS z,
            any_value(went) AS went, any_value(billing_npi) AS npi FROM ({LINES})
            WHERE bill LIKE '11%' GROUP BY ALL)
        SELECT count(*), count(*) FILTER (first.npi <> second.npi) FROM stays first JOIN stays
        second USING (person_id) WHERE first.went = '02' AND second.a = first.z
        AND first.claim_id <> second.claim_id
    """
    ((both, other),) = rows(plain.raw, sql)
    assert both > 20
    assert other > 0.9 * both


def test_preventive_visits_are_those_of_the_age(plain: State) -> None:
    sql = f"""
        SELECT hcpcs, min(date_diff('day', birth_date, day) / 365.25), max(date_diff('day',
            birth_date, day) / 365.25), count(*) FROM ({LINES}) JOIN (SELECT DISTINCT person_id,
            birth_date FROM read_parquet('{{raw}}/eligibility/*.parquet')) USING (person_id)
        WHERE hcpcs BETWEEN '99391' AND '99396' GROUP BY hcpcs ORDER BY hcpcs
    """
    ages = {"99391": (0, 1), "99392": (1, 5), "99393": (5, 12), "99394": (12, 18),
            "99395": (18, 40), "99396": (40, 70)}  # fmt: skip
    found = rows(plain.raw, sql)
    assert [row[0] for row in found] == list(ages)
    for hcpcs, least, most, n in found:
        low, high = ages[hcpcs]
        assert low - 0.01 <= least
        assert most <= high + 0.01
        assert n > 10


def test_visits_follow_some_stays(plain: State) -> None:
    """In the two weeks after a discharge there are more of them than in the two before the last."""
    sql = f"""
        WITH stays AS (SELECT person_id, claim_id, max(discharged) AS z FROM ({LINES})
            WHERE bill LIKE '11%' AND principal NOT LIKE 'Z38%' GROUP BY ALL),
        visits AS (SELECT DISTINCT person_id, day FROM ({LINES}) WHERE hcpcs SIMILAR TO
            '992[01].*|T1015|993[89].*|99495|G0463|G0467' AND coalesce(bill, '') = '')
        SELECT count(DISTINCT claim_id) FILTER (day - z BETWEEN 1 AND 14), count(DISTINCT claim_id)
        FILTER (day - z BETWEEN 31 AND 44), (SELECT count(*) FROM stays) FROM stays JOIN visits
        USING (person_id)
    """
    ((soon, late, n),) = rows(plain.raw, sql)
    assert soon > 0.3 * n
    assert late < 0.75 * soon


def test_tables_of_a_user_stand_beside_the_claims(plain: State) -> None:
    def table(name: str, columns: str = "*") -> list[tuple[Any, ...]]:
        return rows(plain.raw, f"SELECT {columns} FROM read_parquet('{{raw}}/{name}.parquet')")

    regions = table("region")
    assert len(dict(regions)) == len(regions) == 87
    assert sum(region == "metro" for _, region in regions) == 7
    groups = table("condition_group")
    assert len({prefix for prefix, _, _ in groups}) == len(groups)
    shares = dict(table("ed_classifier"))
    seen = rows(plain.raw, f"SELECT DISTINCT principal FROM ({LINES}) WHERE revenue = '0450'")
    assert all(0 <= share <= 1 for share in shares.values())
    assert any(code.startswith(prefix) for (code,) in seen for prefix in shares)
    arms = table("intervention")
    assert {arm for _, arm, _ in arms} == {"treated", "comparison"}
    assert len({person for person, _, _ in arms}) == len(arms) > 0.1 * MEMBERS
    measures = table("quality_measure")
    assert {row[1] for row in measures} == {"2023", "2024"}
    assert all(0 <= int(row[4]) <= int(row[5]) for row in measures)
    assert all(place for (place,) in table("provider_roster", "location_id"))
    consents = table("member_factors", "substance_use_disorder, substance_use_consent_date")
    given = [uses for uses, day in consents if day is not None]
    assert 10 < len(given) < sum(uses == "true" for uses, _ in consents)
    assert set(given) == {"true"}


def test_changes_of_cost_stand_not_beside_weights() -> None:
    for name in ("trend_difference", "price_change", "use_change"):
        with pytest.raises(PlantError, match="not beside --plant weights"):
            planted({"weights": 1, name: 0.1})
    assert json.dumps(planted({"weights": 1, "ed_change": -0.1}))
