"""The synthetic state makes every term of attribution bind, and its own answers hold beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import COMPARISON, RATE_CELLS, UNATTRIBUTED
from ihp_compute.contracts import AttributionTerms, load, rules
from ihp_compute.contracts.kinds import Kind
from ihp_compute.ingest import ingest
from ihp_compute.measure.attribution import attribute
from ihp_compute.measure.movement import movement
from ihp_compute.measure.roster import compile_roster
from ihp_compute.measure.visits import compile_visits
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import Population, member_keys, open_population
from ihp_compute.runner import LocalRunner
from ihp_compute.synth import costs as synth_costs
from ihp_compute.synth import network
from ihp_compute.synth import people as synth_people
from ihp_compute.synth.codes import PLACES_ELSEWHERE
from ihp_compute.synth.effects import planted
from ihp_compute.synth.state import synth
from ihp_compute.units import day_of

MEMBERS, SEED = 4_000, 31
ALL_PAID: Final = date(2026, 12, 31)
CONTRACT: Final = "mn-ihp-2.0-track-2"
YEARS: Final = (2023, 2024)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoys")
    synth(MEMBERS, SEED, folder / "raw", paid_through=ALL_PAID)
    ingest(folder / "raw", folder / "population", shards=1)
    return folder


@pytest.fixture(scope="module")
def population(state: Path) -> Population:
    return open_population(state / "population")


# --- every term of attribution binds


def shipped() -> AttributionTerms:
    """The terms of the contract, as shipped."""
    terms = load(CONTRACT).terms
    values: dict[str, Any] = {}
    for name in AttributionTerms.names():
        (entry,) = terms[f"attribution.{name}"].entries
        value = entry.value
        values[name] = tuple(value) if isinstance(value, list | tuple) else value
    return AttributionTerms(**values)


BESIDE: Final[dict[str, dict[str, Any]]] = {
    "health_care_home_specialties": {"health_care_home": "or_flagged_entry"},
}
"""What else must hold for a term to say anything."""
WIDER: Final[dict[str, list[Any]]] = {
    "health_care_home_specialties": [
        ("primary_care", "specialist"),
        ("primary_care", "behavioral_health"),
    ],
    "primary_care_specialties": [("primary_care", "specialist")],
    "visit_codes": [("90785-90899",)],
}
"""Values with something more in them."""


def other_values(kind: Kind, value: Any) -> Iterator[Any]:
    """Values of a term, each changed in one way: by what its declaration says that it may be."""
    if kind.orders:
        yield from (order for order in kind.orders if order != value)
    elif kind.form in ("names", "codes", "places of service"):
        yield from (tuple(one for one in value if one != left) for left in value)
    elif kind.form == "choice":
        yield from (one for one in kind.choices if one != value)
    elif kind.form == "flag":
        yield not value
    elif kind.form == "day of a year":
        yield from ("03-31", "06-30", "09-30")
    elif kind.form == "number":
        yield from (value - 1, value + 1)
    else:
        pytest.fail(f"no other value is known for a {kind.form}: name one here")


CHANGES: Final = [
    (name, value)
    for name in AttributionTerms.names()
    for value in (
        *other_values(rules.KINDS[f"attribution.{name}"], getattr(shipped(), name)),
        *WIDER.get(name, ()),
    )
]


def table_attribution(population: Population, terms: AttributionTerms) -> Any:
    """What table `attribution` counts, by year, group and step."""
    base_year, performance_year = YEARS
    roster = compile_roster(
        population.reference("provider_roster"),
        npi_codes=population.codes("npi"),
        tin_codes=population.codes("tin"),
        terms=terms,
        base_year=base_year,
        performance_year=performance_year,
    )
    visits = compile_visits(terms, population.codes("hcpcs").to_pylist())
    (shard,) = population.shards
    cutoff = day_of(ALL_PAID)
    years = [
        attribute(shard, roster, visits, terms, year=year, cutoff_day=cutoff) for year in YEARS
    ]
    n_groups = len(roster.groups)
    return movement(years, n_groups=n_groups, n_partnerships=n_groups - 2)


def test_every_term_of_attribution_is_changed() -> None:
    declared = {path for path in rules.KINDS if path.startswith("attribution.")}
    assert {f"attribution.{name}" for name, _ in CHANGES} == declared


@pytest.mark.parametrize(
    ("name", "value"), CHANGES, ids=[f"{name}-{value}"[:60] for name, value in CHANGES]
)
def test_a_term_of_attribution_changed_alone_changes_who_is_attributed(
    population: Population, name: str, value: Any
) -> None:
    terms = replace(shipped(), **BESIDE.get(name, {}))
    changed = replace(terms, **{name: value})
    assert (table_attribution(population, terms) != table_attribution(population, changed)).any()


def test_places_elsewhere_are_those_that_attribute_nobody() -> None:
    assert shipped().excluded_places == PLACES_ELSEWHERE


# --- and none of it moves what is known


def test_a_run_finds_group_months_and_cost_of_everybody_as_they_were_drawn(state: Path) -> None:
    """To the month and the cent, of every member who may be attributed."""
    run(
        RunRequest(state / "population", (CONTRACT,), replicates=0, programme="none"),
        state / "run",
        LocalRunner(1),
    )
    found = pq.read_table(state / "run" / "member_years.parquet")
    people = synth_costs.people(MEMBERS, SEED, synth_people.Calendar(*YEARS), planted({}))
    keys = member_keys(pa.array([f"P{k:012d}" for k in range(MEMBERS)]))
    names = [*network.partnership_ids(), COMPARISON, UNATTRIBUTED]
    for y, year in enumerate(YEARS):
        rows = found.filter(pc.equal(found.column("year"), year)).to_pydict()
        place = {key: k for k, key in enumerate(rows["member_key"])}
        at = [place[key] for key in np.asarray(keys).tolist() if key in place]
        who = [k for k, key in enumerate(np.asarray(keys).tolist()) if key in place]
        eligible = people.eligible[who, y]
        group = [rows["group_id"][k] for k in at]
        wanted = [names[g] for g in people.group[who, y]]
        assert [g != "" for g in group] == eligible.tolist()
        assert [g for g, e in zip(group, eligible, strict=True) if e] == [
            g for g, e in zip(wanted, eligible, strict=True) if e
        ]
        months = np.sum([np.array(rows[f"months_{cell}"])[at] for cell in RATE_CELLS], axis=0)
        cost = np.array(rows["uncapped_r0_cents"])[at]
        assert (months == people.months[who, y])[eligible].all()
        assert (cost == people.cost_cents[who, y])[eligible].all()
        assert eligible.sum() > 0.5 * MEMBERS
