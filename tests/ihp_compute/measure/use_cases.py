"""What cases of use of care are made of, and a slow reading of its rules, member by member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from ihp_compute.codes import VISIT_ED, VISIT_INPATIENT, VISIT_PAYMENT
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.measure.emergency import avoidable_shares
from ihp_compute.measure.utilisation import ChildRule, UseRule
from ihp_compute.measure.visits import compile_visits
from ihp_compute.units import NO_DAY, date_of, day_of
from tests.ihp_compute.measure.attribution_cases import TERMS

Member = dict[str, Any]
CUTOFF = day_of(date(2025, 6, 30))
WHOLE_YEAR = tuple(range(1, 13))
PROCEDURES = ("", "99213", "99393", "S0280")
DIAGNOSES = ("", "I10", "J069", "O80", "P0739", "R079", "Z3800")
ILL, COLD, DELIVERY, PRETERM, PAIN, BORN = range(1, len(DIAGNOSES))
SHARES = {"J": "0.25", "J06": "0.7", "R": "0.1"}
"""Avoidable shares by prefix."""
OFFICE, PREVENTIVE, COORDINATION = (PROCEDURES.index(c) for c in ("99213", "99393", "S0280"))
PRACTICE, HOSPITAL = 11, 21
"""Places of service: an office, which every contract lets attribute, and an inpatient hospital."""
VISITS = compile_visits(TERMS, PROCEDURES)
MATERNAL = np.array([code[:1] in {"O", "P"} for code in DIAGNOSES])
MEASURED = UseRule(
    visits=VISITS,
    maternal=MATERNAL,
    avoidable_micro=avoidable_shares(
        pa.table({"dx_prefix": list(SHARES), "avoidable_share": list(SHARES.values())}), DIAGNOSES
    ),
    follow_up_days=14,
    child=ChildRule(3, 21, 11, np.array([code == "99393" for code in PROCEDURES])),
)


def countable(year: int, months: Sequence[Iterable[int]]) -> Attribution:
    """A year in which each member's months (1 to 12) count, and nothing else is known."""
    n = len(months)
    month_cell = np.full((n, 12), NOT_COUNTABLE, np.uint8)
    for member, own in enumerate(months):
        month_cell[member, [month - 1 for month in own]] = 0
    nothing = np.zeros(n, np.int64)
    return Attribution(
        year=year,
        group=nothing.astype(np.int32),
        step=nothing.astype(np.uint8),
        n_visits=nothing.astype(np.int32),
        last_visit=nothing,
        tied=nothing.astype(np.bool_),
        reason=nothing.astype(np.uint8),
        months=(month_cell == 0).sum(axis=1)[None, :],
        month_cell=month_cell,
        enrolled_months=nothing,
        spanned=nothing.astype(np.uint16),
    )


def read_slowly(member: Member, months: Iterable[int], year: int) -> dict[str, tuple[int, int]]:
    """Numerator and denominator of each measure of one member, by the words of the method."""
    own = set(months)
    hospital = _chains(member)
    stays = [chain for chain in hospital if not chain["birth"]]

    def counts(day: int) -> bool:
        when = date_of(day)
        return when.year == year and when.month in own

    here = [chain for chain in stays if counts(chain["discharge"])]
    index = [chain for chain in here if _is_index(chain, member, own, year)]
    readmitted = [
        chain
        for chain in index
        for following in stays[stays.index(chain) + 1 : stays.index(chain) + 2]
        if following["admission"] - chain["discharge"] <= 30
    ]
    days: dict[int, set[str]] = {}
    for row in member.get("emergency", ()):
        if row.get("paid_day", 0) <= CUTOFF:
            days.setdefault(row["day"], set()).add(DIAGNOSES[row.get("principal_dx", 0)])
    ed = [
        day
        for day in days
        if counts(day)
        and not any(
            chain["admission"] == day or chain["admission"] < day < chain["discharge"]
            for chain in hospital
        )
    ]
    visits = [v for v in member.get("visits", ()) if v.get("paid_day", 0) <= CUTOFF]
    seen = [
        chain
        for chain in index
        if any(_seen(v) and 1 <= v["day"] - chain["discharge"] <= 14 for v in visits)
    ]
    born = member.get("birth_day", NO_DAY)
    due = born != NO_DAY and 3 <= year - date_of(born).year <= 21 and len(own) >= 11
    made = any(
        v["hcpcs"] == PREVENTIVE and not v.get("marks", 0) and counts(v["day"]) for v in visits
    )
    return {
        "stays": (len(here), len(own)),
        "ed_visits": (len(ed), len(own)),
        "ed_avoidable": (sum(_avoidable(days[day]) for day in ed), len(own)),
        "readmissions": (len(readmitted), len(index)),
        "follow_up": (len(seen), len(index)),
        "well_child": (int(due and made), int(due)),
    }


def _avoidable(codes: set[str]) -> int:
    """The least share of the diagnoses stated, each by its longest prefix; millionths."""
    shares = []
    for code in codes - {""}:
        known = [code[:n] for n in range(len(code), 0, -1) if code[:n] in SHARES]
        shares.append(int(Fraction(SHARES[known[0]]) * 1_000_000) if known else 0)
    return min(shares, default=0)


def _chains(member: Member) -> list[dict[str, Any]]:
    """Acute claims put together, in order of admission."""
    claims = sorted(
        (claim for claim in member.get("stays", ()) if claim.get("paid_day", 0) <= CUTOFF),
        key=lambda claim: (claim["admission_day"], claim["discharge_day"]),
    )
    made: list[dict[str, Any]] = []
    for claim in claims:
        admission = claim["admission_day"]
        discharge = max(admission, claim["discharge_day"])
        if not made or admission > made[-1]["discharge"] + 1:
            made.append(
                {"admission": admission, "discharge": discharge, "birth": False, "claims": []}
            )
        made[-1]["discharge"] = max(made[-1]["discharge"], discharge)
        made[-1]["claims"].append((discharge, claim))
        if admission == made[-1]["admission"] and claim.get("marks", 0):
            made[-1]["birth"] = True
    return made


def _is_index(chain: dict[str, Any], member: Member, own: set[int], year: int) -> bool:
    after = chain["discharge"] + 30
    months = {date_of(day).month for day in range(chain["discharge"], after + 1)}
    last = [claim for discharge, claim in chain["claims"] if discharge == chain["discharge"]][-1]
    death = member.get("death_day", NO_DAY)
    return (
        date_of(after).year == year
        and months <= own
        and chain["admission"] < chain["discharge"]
        and last.get("disposition", 255) not in {20, 40, 41, 42, 2, 5, 43, 66, 82, 85, 88, 94, 30}
        and not (death != NO_DAY and death <= chain["discharge"])
        and not any(
            DIAGNOSES[claim.get("principal_dx", 0)][:1] in {"O", "P"}
            for _, claim in chain["claims"]
        )
    )


def _seen(visit: Member) -> bool:
    hospital = VISIT_ED | VISIT_INPATIENT | VISIT_PAYMENT
    return (
        visit["hcpcs"] == OFFICE
        and visit.get("place", PRACTICE) == PRACTICE
        and not visit.get("marks", 0) & hospital
    )
