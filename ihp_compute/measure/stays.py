"""Hospital stays of a shard: claims chained, births put apart, index stays and readmissions.

    acute claims -> chains -> stays -> index stays -> readmissions

A **chain** is what a member's acute inpatient claims make, each admitted at most one day after the
last discharge so far: interim bills of one hospital, and transfers to another on the same or the
next day, as the direct transfers of HEDIS. A **stay** is a chain that does not begin with a birth.

A stay may be an **index** unless it ended on the day on which it began, in death (disposition 20,
40, 41, 42, or a death no later than the discharge), in a transfer to another acute hospital (02,
05, 43, 66, and 82, 85, 88, 94, where a readmission is planned beside it) or not at all (30), or a
claim of it has a principal diagnosis of pregnancy and childbirth (ICD-10-CM O) or of the perinatal
period (P). It is **readmitted** when the member's next stay begins within 30 days of its
discharge, for whatever cause, planned or not.

Claims paid after the cutoff do not count. Not here: what an acute claim is (`ingest`), in which
months and years a stay counts (`utilisation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import STAY_BIRTH
from ihp_compute.population import ShardColumns
from ihp_compute.units import NO_DAY

READMISSION_DAYS: Final = 30
DIED: Final = (20, 40, 41, 42)
TRANSFERRED: Final = (2, 5, 43, 66, 82, 85, 88, 94)
STILL_PATIENT: Final = 30
WIDE: Final = np.int64(2**33)
"""Wider than any span of day numbers: member times this, plus a day, is in order of both."""


@dataclass(frozen=True)
class Chains:
    """Chained acute claims of a shard over all years, by member and admission.

    Of one member, each is admitted at least two days after the discharge before it.

    Attributes
    ----------
    member : int64[n]
    admission, discharge : int64[n]
        First admission and last discharge, day numbers.
    is_stay : bool[n]
        It does not begin with a birth.
    may_be_index : bool[n]
        What its claims say; months and year are not asked.
    readmitted : bool[n]
        The member's next stay begins within 30 days of its discharge.
    """

    member: NDArray[np.int64]
    admission: NDArray[np.int64]
    discharge: NDArray[np.int64]
    is_stay: NDArray[np.bool_]
    may_be_index: NDArray[np.bool_]
    readmitted: NDArray[np.bool_]


def chains(shard: ShardColumns, maternal: NDArray[np.bool_], *, cutoff_day: int) -> Chains:
    """Chained acute claims of every member.

    Parameters
    ----------
    shard : Shard
    maternal : bool[n_dx]
        Codes of pregnancy, childbirth and the perinatal period, of the population's table "dx".
    cutoff_day : int
        Claims paid after this day do not count; a claim without a paid day does.
    """
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("stays")))
    counts = shard.column("stays", "paid_day") <= cutoff_day
    counts &= shard.column("stays", "admission_day") != NO_DAY
    member = member[counts]
    admission = shard.column("stays", "admission_day")[counts].astype(np.int64)
    discharge = np.maximum(
        shard.column("stays", "discharge_day")[counts].astype(np.int64), admission
    )
    disposition = shard.column("stays", "disposition")[counts]
    of_birth = maternal[shard.column("stays", "principal_dx")[counts]]
    is_birth = (shard.column("stays", "marks")[counts] & STAY_BIRTH) != 0
    if member.size == 0:
        day, flag = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return Chains(day, day, day, flag, flag, flag)
    reach = np.maximum.accumulate(discharge + member * WIDE) - member * WIDE
    starts = np.ones(member.size, np.bool_)
    starts[1:] = (member[1:] != member[:-1]) | (admission[1:] > reach[:-1] + 1)
    first = np.flatnonzero(starts)
    last = np.append(first[1:], member.size) - 1
    final = _last_discharged(discharge, first)
    whose, admitted, discharged = member[first], admission[first], reach[last]
    death = shard.column("members", "death_day")[whose].astype(np.int64)
    ended = np.isin(disposition[final], (*DIED, *TRANSFERRED, STILL_PATIENT))
    ended |= (death != NO_DAY) & (death <= discharged)
    # of claims admitted on one day none is the first: a birth on any of them is one
    at_first = admission == np.repeat(admitted, np.diff(np.append(first, member.size)))
    is_stay = ~np.logical_or.reduceat(is_birth & at_first, first)
    ended |= np.logical_or.reduceat(of_birth, first)
    return Chains(
        whose,
        admitted,
        discharged,
        is_stay,
        is_stay & ~ended & (admitted < discharged),
        _readmitted(whose, admitted, discharged, is_stay),
    )


def _readmitted(
    member: NDArray[np.int64],
    admission: NDArray[np.int64],
    discharge: NDArray[np.int64],
    is_stay: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Whether the member's next stay begins within 30 days."""
    found = np.zeros(member.size, np.bool_)
    at = np.flatnonzero(is_stay)
    here, following = at[:-1], at[1:]
    found[here] = (member[following] == member[here]) & (
        admission[following] - discharge[here] <= READMISSION_DAYS
    )
    return found


def _last_discharged(discharge: NDArray[np.int64], first: NDArray[np.intp]) -> NDArray[np.int64]:
    """The claim of each chain that was discharged last; of several, the one listed last."""
    latest = np.repeat(
        np.maximum.reduceat(discharge, first), np.diff(np.append(first, discharge.size))
    )
    place = np.where(discharge == latest, np.arange(discharge.size), -1)
    return np.maximum.reduceat(place, first)
