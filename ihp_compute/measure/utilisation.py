"""Use of care: acute stays, emergency department visits and readmissions of a member-year.

    acute claims -> stays -> readmissions
    emergency lines -> visits, without those that led into a stay

A **stay** is a chain of acute inpatient claims of a member, each admitted no later than the day
after the last discharge so far: interim bills of one hospital, and transfers to another on the same
or the next day (the direct transfer of HEDIS inpatient measures: discharge and next admission one
day or less apart). It counts in the year of its last discharge.

A **readmission** is a stay admitted 1 to 30 days after the discharge of another (all causes), as in
HEDIS Plan All-Cause Readmissions; it counts in the year of that index discharge. No index: a stay
that ends in death (disposition 20, 40, 41 or 42, or a death day no later than the discharge), in a
transfer to another acute hospital (02, 05, 66), or with the member still in hospital (30).

An **emergency visit** is a distinct (member, day) with an emergency line that is not itself part of
an inpatient claim. It does not count if a stay was admitted that day, or lasted over it.

Claims paid after the cutoff do not count. Enrolment and attribution are not asked: the caller sums
over the members it wants. Not here: what an acute claim or an emergency line is (`ingest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import LINE_ED, LINE_INPATIENT
from ihp_compute.population import ShardColumns
from ihp_compute.units import NO_DAY, year_bounds

READMISSION_DAYS: Final = 30
DIED: Final = (20, 40, 41, 42)
TRANSFERRED: Final = (2, 5, 66)
STILL_PATIENT: Final = 30
_WIDE: Final = np.int64(2**33)  # wider than any span of day numbers


@dataclass(frozen=True)
class Utilisation:
    """One year of one shard, arrays over its members.

    Attributes
    ----------
    stays : int64[n]
        Acute stays discharged in the year.
    ed_visits : int64[n]
        Emergency visits that did not lead into a stay.
    readmissions : int64[n]
        Index stays of the year followed by another within 30 days.
    index_stays : int64[n]
        Stays of the year that could be followed by a readmission.
    """

    stays: NDArray[np.int64]
    ed_visits: NDArray[np.int64]
    readmissions: NDArray[np.int64]
    index_stays: NDArray[np.int64]


@dataclass(frozen=True)
class Stays:
    """Acute stays of a shard, by member and admission."""

    member: NDArray[np.int64]
    admission: NDArray[np.int64]
    discharge: NDArray[np.int64]
    is_index: NDArray[np.bool_]


def utilise_years(
    shard: ShardColumns, *, years: Sequence[int], cutoff_day: int
) -> list[Utilisation]:
    """Stays, emergency visits and readmissions of every member, in one pass for several years.

    Parameters
    ----------
    shard : Shard
    years : sequence of int
        Calendar years.
    cutoff_day : int
        Claims paid after this day do not count; a claim without a paid day does.

    Returns
    -------
    list of Utilisation
        One a year, in their order.
    """
    n = shard.n_members
    found = stays(shard, cutoff_day=cutoff_day)
    follows = np.zeros(found.member.size, np.bool_)
    follows[:-1] = (found.member[1:] == found.member[:-1]) & (
        found.admission[1:] - found.discharge[:-1] <= READMISSION_DAYS
    )
    ed_member, ed_day = _ed_visits(shard, found, cutoff_day)
    use = []
    for year in years:
        first, end = year_bounds(year)
        here = (found.discharge >= first) & (found.discharge < end)
        index = here & found.is_index
        use.append(
            Utilisation(
                stays=_count(found.member[here], n),
                ed_visits=_count(ed_member[(ed_day >= first) & (ed_day < end)], n),
                readmissions=_count(found.member[index & follows], n),
                index_stays=_count(found.member[index], n),
            )
        )
    return use


def stays(shard: ShardColumns, *, cutoff_day: int) -> Stays:
    """Acute stays of a shard over all years.

    Parameters
    ----------
    shard : Shard
    cutoff_day : int

    Returns
    -------
    Stays
        Of one member, each is admitted at least two days after the discharge before it.
    """
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("stays")))
    paid = shard.column("stays", "paid_day") <= cutoff_day
    paid &= shard.column("stays", "admission_day") != NO_DAY
    member = member[paid]
    admission = shard.column("stays", "admission_day")[paid].astype(np.int64)
    discharge = np.maximum(shard.column("stays", "discharge_day")[paid].astype(np.int64), admission)
    disposition = shard.column("stays", "disposition")[paid]
    if member.size == 0:
        nothing = np.zeros(0, np.int64)
        return Stays(nothing, nothing, nothing, np.zeros(0, np.bool_))
    reach = np.maximum.accumulate(discharge + member * _WIDE) - member * _WIDE
    starts = np.ones(member.size, np.bool_)
    starts[1:] = (member[1:] != member[:-1]) | (admission[1:] > reach[:-1] + 1)
    first = np.flatnonzero(starts)
    last = np.append(first[1:], member.size) - 1
    final = _last_discharged(discharge, first)
    death = shard.column("members", "death_day")[member[first]].astype(np.int64)
    died = (death != NO_DAY) & (death <= reach[last])
    away = np.isin(disposition[final], (*DIED, *TRANSFERRED, STILL_PATIENT))
    return Stays(member[first], admission[first], reach[last], ~died & ~away)


def _last_discharged(discharge: NDArray[np.int64], first: NDArray[np.intp]) -> NDArray[np.int64]:
    """The claim of each stay that was discharged last; of several, the one listed last."""
    latest = np.repeat(
        np.maximum.reduceat(discharge, first), np.diff(np.append(first, discharge.size))
    )
    place = np.where(discharge == latest, np.arange(discharge.size), -1)
    return np.maximum.reduceat(place, first)


def _ed_visits(
    shard: ShardColumns, found: Stays, cutoff_day: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Member and day of every emergency visit that did not lead into a stay."""
    flags = shard.column("lines", "flags")
    rows = np.flatnonzero((flags & (LINE_ED | LINE_INPATIENT)) == LINE_ED)
    rows = rows[shard.column("lines", "paid_day")[rows] <= cutoff_day]
    day = shard.column("lines", "service_day")[rows].astype(np.int64)
    edges = np.searchsorted(rows, shard.offsets("lines"))
    member = np.repeat(np.arange(shard.n_members), np.diff(edges))
    visits = member * _WIDE + day  # in order, as lines are
    new = np.diff(visits, prepend=-1) != 0
    member, day, visits = member[new], day[new], visits[new]
    if found.member.size == 0:
        return member, day
    # The last stay of the member that was admitted on the visit's day or before; both are in order.
    admitted = np.searchsorted(visits, found.member * _WIDE + found.admission)
    at = np.cumsum(np.bincount(admitted, minlength=visits.size))[: visits.size] - 1
    inside = (at >= 0) & (found.member[at] == member)
    inside &= day < np.maximum(found.admission + 1, found.discharge)[at]
    return member[~inside], day[~inside]


def _count(member: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.bincount(member, minlength=n).astype(np.int64)
