"""What the part on outcomes makes of a population: strata, a region, what is missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.codes import SERVICE_CATEGORIES
from ihp_compute.errors import ContractError
from ihp_compute.measure import RunRequest, costs, make_plan
from ihp_compute.measure.programme.outcome_measures import DIMENSIONS, INTERVENTION
from ihp_compute.measure.programme.outcomes import CATEGORIES, Outcomes, category_cents

COUNTIES = {"27053": "Metro", "27123": "Metro", "27137": "North"}
FACTORS = [{"person_id": "a", "county_fips": "27053"}, {"person_id": "b", "race": "black"}]


def _population(**tables: list[dict[str, str]]) -> Any:
    names = ("person_id", "member_id", "start_date", "end_date", *DIMENSIONS)

    def reference(name: str) -> pa.Table | None:
        rows = tables.get(name)
        if rows is None:
            return None
        columns = names if name == "member_factors" else tuple(rows[0])
        return pa.table({column: [row.get(column, "") for row in rows] for column in columns})

    return SimpleNamespace(reference=reference, remember=lambda _, make: make())


def _plan(comparator: str = "comparison") -> Any:
    return SimpleNamespace(
        years=(2023, 2024), base_year=2023, performance_year=2024,
        programme={"outcomes.comparator": comparator},
    )  # fmt: skip


def test_without_factors_there_is_all_alone_and_a_finding() -> None:
    part = Outcomes.of(_plan(), _population())
    assert part is not None
    assert part.strata.names == {}
    classifier = [{"dx_prefix": "J", "avoidable_share": "0.5"}]
    (found,) = Outcomes.absent(_plan(), _population(ed_classifier=classifier))
    assert found.finding == "outcomes_without_factors"
    whole = _population(member_factors=FACTORS, ed_classifier=classifier)
    assert not list(Outcomes.absent(_plan(), whole))


def test_who_began_outside_the_years_compared_is_in_no_arm_and_is_counted() -> None:
    arms = [
        {"person_id": person, "arm": "treated", "start_date": day}
        for person, day in (
            ("a", "2023-12-31"), ("b", "2024-01-01"), ("c", "2024-12-31"), ("d", "2025-01-01"),
        )
    ]  # fmt: skip
    population = _population(member_factors=FACTORS, intervention=arms)
    part = Outcomes.of(_plan(), population)
    assert part is not None
    assert part.strata.names[INTERVENTION] == ("treated",)
    *_, found = Outcomes.absent(_plan(), population)
    assert (found.finding, found.lines) == ("intervention_outside_years", 2)


def test_a_region_is_its_counties() -> None:
    regions = [{"county_fips": county, "region": name} for county, name in COUNTIES.items()]
    population = _population(member_factors=FACTORS, region=regions)
    part = Outcomes.of(_plan("region:Metro"), population)
    assert part is not None
    assert part.strata.region_counties == frozenset({"27053", "27123"})
    for wrong, people in (
        ("region:South", population), ("region:Metro", _population(member_factors=FACTORS)),
        ("region:Metro", _population(region=regions)),
    ):  # fmt: skip
        with pytest.raises(ContractError, match=r"outcomes\.comparator: found region"):
            Outcomes.of(_plan(wrong), people)
    with pytest.raises(ContractError, match="found market, expected comparison, others, or region"):
        Outcomes.of(_plan("market"), population)


def test_cents_of_a_category_are_those_that_cost_counts(small_population: Path) -> None:
    plan = make_plan(RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=0))
    terms, whole = plan.rule_sets[0], 0
    for shard in plan.shards:
        years = plan.attributed(shard)
        found = category_cents(plan.seen(shard), terms, years, cutoff_day=plan.cutoff_day)
        expected = costs(
            plan.seen(shard), [terms], cutoff_day=plan.cutoff_day, attributions=years,
            by_category=True,
        )  # fmt: skip
        for cents, of_year, (cost,) in zip(found, years, expected, strict=True):
            for own, name in zip(cents, CATEGORIES, strict=True):
                counted = cost.category_cents[SERVICE_CATEGORIES.index(name)]
                assert own == counted[of_year.group >= 0].sum()
        whole += found.sum()
    assert whole > 0
