"""Emergency department visits of a shard that did not lead into a hospital stay.

    emergency days -> visits, without those of a chain of acute claims

A **visit** is a distinct member and day of the table `emergency`: with an emergency line that is
not itself part of an inpatient claim. It does not count if the member was admitted that day, or was
in hospital over it; on the day of a discharge it is a new visit.

Days paid after the cutoff do not count. Not here: what an emergency line is (`ingest`), in which
months and years a visit counts (`utilisation`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.stays import WIDE, Chains
from ihp_compute.population import ShardColumns


def emergency_visits(
    shard: ShardColumns, hospital: Chains, *, cutoff_day: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Member and day of every emergency visit, by member and day.

    Parameters
    ----------
    shard : Shard
    hospital : Chains
        Of the same shard and cutoff; births too, for who is born is in hospital.
    cutoff_day : int
        Days paid after this one do not count; a day without a paid day does.
    """
    paid = shard.column("emergency", "paid_day") <= cutoff_day
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("emergency")))[paid]
    day = shard.column("emergency", "day")[paid].astype(np.int64)
    visits = member * WIDE + day  # in order, as the table is
    new = np.diff(visits, prepend=-1) != 0
    outside = ~_in_hospital(member[new], day[new], hospital)
    return member[new][outside], day[new][outside]


def _in_hospital(
    member: NDArray[np.int64], day: NDArray[np.int64], hospital: Chains
) -> NDArray[np.bool_]:
    """Whether the member was admitted on the day, or in hospital over it; days in order."""
    if hospital.member.size == 0:
        return np.zeros(member.size, np.bool_)
    # The last chain of the member that was admitted on the day or before; both are in order.
    admitted = np.searchsorted(member * WIDE + day, hospital.member * WIDE + hospital.admission)
    at = np.cumsum(np.bincount(admitted, minlength=member.size))[: member.size] - 1
    inside = (at >= 0) & (hospital.member[at] == member)
    inside &= day < np.maximum(hospital.admission + 1, hospital.discharge)[at]
    return inside
