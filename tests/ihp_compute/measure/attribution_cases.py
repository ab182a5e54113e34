"""The terms, providers and visits of which cases of attribution are made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa

from ihp_compute.contracts.rules import AttributionTerms
from ihp_compute.measure.attribution import EXCLUSION_REASONS, Attribution, attribute
from ihp_compute.measure.roster import Roster, compile_roster
from ihp_compute.measure.visits import compile_visits
from ihp_compute.units import day_of

TERMS = AttributionTerms(
    min_months_continuous=6,
    min_months_any=9,
    exclude=("dual", "spend_down", "partial_benefit", "limited_benefits"),
    steps=("health_care_home", "primary_care", "specialist"),
    visit_codes=("99201-99205", "99211-99215", "T1015"),
    excluded_places=("21", "23", "81"),
    care_coordination_codes=("S0280-S0281",),
    no_visit=("payment_line", "excluded_month", "inpatient", "emergency"),
    health_care_home="care_coordination",
    health_care_home_specialties=("primary_care",),
    primary_care_specialties=("primary_care",),
    specialist_specialties=("specialist", "behavioral_health"),
    roster_rule="on_date",
    roster_date="12-31",
    keep_pre_visit=True,
    tie_break=("latest_visit", "lowest_id"),
)
CUTOFF = day_of(date(2025, 6, 30))
NPI = pa.array(["", *(f"100000000{i}" for i in range(1, 8))])
TIN = pa.array(["", "41-1", "41-2"])
ALPHA, BETA, GAMMA, HOME, OTHER, THERAPIST, NOBODY = range(1, 8)
HCPCS = ["", "S0280", "99213", "99215", "T1015", "90834", "99223"]
HCH, EVALUATION, _, CLINIC, THERAPY, HOSPITAL_CARE = range(1, 7)
FLAGGED = replace(TERMS, health_care_home="or_flagged_entry")


def row(
    npi: int, partnership: str, specialty: str = "primary care", **other: Any
) -> dict[str, Any]:
    return {
        "npi": str(NPI[npi]),
        "tin": "",
        "partnership_id": partnership,
        "specialty": specialty,
        "health_care_home": "false",
        "start_date": "2020-01-01",
        "end_date": "",
        **other,
    }


ROWS = (
    row(ALPHA, "P1"),
    row(BETA, "P2"),
    row(GAMMA, "P2", "207RC0000X"),
    row(HOME, "P3", health_care_home="true"),
    row(OTHER, "COMPARISON"),
    row(THERAPIST, "P1", "behavioral health"),
)


def roster_of(
    *rows: dict[str, Any], terms: AttributionTerms = TERMS, years: tuple[int, int] = (2022, 2024)
) -> Roster:
    return compile_roster(
        pa.Table.from_pylist(list(rows)),
        npi_codes=NPI,
        tin_codes=TIN,
        terms=terms,
        base_year=years[0],
        performance_year=years[1],
    )


def visit(
    npi: int, month: int, day: int, kind: int = EVALUATION, year: int = 2024, **other: int
) -> dict[str, int]:
    return {
        "rendering_npi": npi,
        "day": day_of(date(year, month, day)),
        "hcpcs": kind,
        **other,
    }


def attributed(
    shard: Any,
    *rows: dict[str, Any],
    terms: AttributionTerms = TERMS,
    year: int = 2024,
    years: tuple[int, int] = (2022, 2024),
) -> tuple[Attribution, list[str]]:
    roster = roster_of(*(rows or ROWS), terms=terms, years=years)
    visits = compile_visits(terms, HCPCS)
    found = attribute(shard, roster, visits, terms, year=year, cutoff_day=CUTOFF)
    return found, [roster.groups[g] if g >= 0 else "" for g in found.group]


def reasons(found: Attribution) -> list[str]:
    return [EXCLUSION_REASONS[code] for code in found.reason]
