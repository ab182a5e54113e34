"""Tables that a user gives beside claims: regions, conditions, classifier, intervention, quality.

They stand for a user's own. Codes are real where a code system defines them; groups, ranks, shares
and results are invented.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from ihp_compute.synth import columns
from ihp_compute.synth.codes import AVOIDABLE, CONDITIONS
from ihp_compute.synth.factors import ARMS, NO_ARM
from ihp_compute.synth.network import partnership_ids
from ihp_compute.synth.people import Calendar, People, generator, sizes

COUNTIES: Final = tuple(f"27{2 * county + 1:03d}" for county in range(87))
"""Minnesota's, FIPS."""
METRO: Final = ("27003", "27019", "27037", "27053", "27123", "27139", "27163")
"""The seven counties of the Metropolitan Council."""
REGIONS: Final = ("greater minnesota", "metro")
_LEAST_WEIGHT: Final = 0.9
"""Conditions that weigh less make no group."""
_MEASURES: Final = (
    ("diabetes_control", "chronic", 0.62, 0.07),
    ("blood_pressure_control", "chronic", 0.66, 0.14),
    ("childhood_immunisation", "prevention", 0.55, 0.10),
    ("breast_cancer_screening", "prevention", 0.58, 0.06),
    ("depression_remission", "behavioral", 0.31, 0.09),
    ("asthma_control", "chronic", 0.48, 0.08),
)
"""Measure, domain, mean rate, and denominator over a partnership's members."""
_SPREAD: Final = 0.06
_PROGRESS: Final = 0.02
_DECIMALS: Final = 6


def given_tables(people: People, seed: int) -> dict[str, pa.Table]:
    """All of them by name."""
    return {
        "region": _regions(),
        "condition_group": _condition_groups(),
        "ed_classifier": _classifier(),
        "intervention": _intervention(people),
        "quality_measure": _quality_measures(people, seed),
    }


def _texts(name: str, values: dict[str, list[str]]) -> pa.Table:
    return columns.raw_table(
        name, {column: pa.array(text, pa.string()) for column, text in values.items()}
    )


def _regions() -> pa.Table:
    return _texts(
        "region",
        {
            "county_fips": list(COUNTIES),
            "region": [REGIONS[county in METRO] for county in COUNTIES],
        },
    )


def _condition_groups() -> pa.Table:
    """Conditions in the order of their weight, each by all of its codes."""
    heavy = sorted(
        (c for c in CONDITIONS if c.weight >= _LEAST_WEIGHT), key=lambda c: -c.weight
    )  # fmt: skip
    rows = [(code, c.name, str(rank)) for rank, c in enumerate(heavy, start=1) for code in c.codes]
    prefix, group, rank = zip(*rows, strict=True)
    return _texts(
        "condition_group",
        {"dx_prefix": list(prefix), "condition_group": list(group), "rank": list(rank)},
    )


def _classifier() -> pa.Table:
    prefix, share = zip(*AVOIDABLE, strict=True)
    millionths = np.array([round(float(text) * 10**_DECIMALS) for text in share])
    return columns.raw_table(
        "ed_classifier",
        {
            "dx_prefix": pa.array(prefix),
            "avoidable_share": columns.decimals(millionths, scale=_DECIMALS),
        },
    )


def _intervention(people: People) -> pa.Table:
    """Both arms from the first day of the performance year on."""
    arm = people.factors.arm
    member = np.flatnonzero(arm != NO_ARM)
    first = people.calendar.first_days[people.calendar.columns(1).start]
    return columns.raw_table(
        "intervention",
        {
            "person_id": columns.ids(np.full(len(member), ord("P"), np.uint8), member),
            "arm": columns.dictionary(arm[member].astype(np.int32) - 1, pa.array(ARMS[1:])),
            "start_date": columns.dates(np.full(len(member), first)),
        },
    )


def _quality_measures(people: People, seed: int) -> pa.Table:
    """Results of the performance year and the one before it, a little better in the later."""
    rng = generator(seed, 15, 0)
    calendar: Calendar = people.calendar
    size = sizes(people.n_partnerships) / 1200 * people.n_members
    ids = partnership_ids(people.n_partnerships)
    rows: list[tuple[str, str, str, str, str, str]] = []
    for measure, domain, mean, share in _MEASURES:
        rate = np.clip(mean + _SPREAD * rng.standard_normal(len(size)), 0.05, 0.95)
        for y, year in enumerate((calendar.performance_year - 1, calendar.performance_year)):
            denominator = rng.binomial(np.rint(size).astype(np.int64), share)
            numerator = rng.binomial(denominator, np.minimum(rate + _PROGRESS * y, 1))
            rows += [
                (name, str(year), measure, domain, str(of), str(all_))
                for name, of, all_ in zip(partnership_ids(), numerator, denominator, strict=True)
                if name in ids
            ]
    names = (
        "partnership_id", "performance_year", "measure", "domain", "numerator", "denominator",
    )  # fmt: skip
    return _texts(
        "quality_measure",
        {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)},
    )
