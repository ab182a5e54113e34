"""Emergency department visits of a shard that did not lead into a hospital stay.

    emergency days -> visits, without those of a chain of acute claims

A **visit** is a distinct member and day of the table `emergency`: with an emergency line that is
not itself part of an inpatient claim. It does not count if the member was admitted that day, or was
in hospital over it; on the day of a discharge it is a new visit.

Days paid after the cutoff do not count. Not here: what an emergency line is (`ingest`), in which
months and years a visit counts (`utilisation`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.measure.stays import WIDE, Chains
from ihp_compute.population import ShardColumns
from ihp_compute.units import MICRO, micro_of


@dataclass(frozen=True)
class EmergencyVisits:
    """Visits of a shard over all years, by member and day.

    Attributes
    ----------
    member, day : int64[n]
    avoidable_micro : int64[n]
        Share of the visit that could have been avoided; 0 without a classifier.
    """

    member: NDArray[np.int64]
    day: NDArray[np.int64]
    avoidable_micro: NDArray[np.int64]


def emergency_visits(
    shard: ShardColumns,
    hospital: Chains,
    avoidable_micro: NDArray[np.int32] | None,
    *,
    cutoff_day: int,
) -> EmergencyVisits:
    """Every emergency visit that led into no chain.

    Parameters
    ----------
    shard : Shard
    hospital : Chains
        Of the same shard and cutoff; births too, for who is born is in hospital.
    avoidable_micro : int32[n_dx] or None
        Avoidable share by principal diagnosis (`avoidable_shares`).
    cutoff_day : int
        Days paid after this one do not count; a day without a paid day does.
    """
    rows = np.flatnonzero(shard.column("emergency", "paid_day") <= cutoff_day)
    offsets = shard.offsets("emergency")
    member = np.repeat(np.arange(shard.n_members), np.diff(np.searchsorted(rows, offsets)))
    day = shard.column("emergency", "day")[rows].astype(np.int64)
    first = np.flatnonzero(np.diff(member * WIDE + day, prepend=-1))  # in order, as the table is
    share = np.zeros(first.size, np.int64)
    if avoidable_micro is not None and first.size:
        principal = shard.column("emergency", "principal_dx")[rows]
        each = np.where(principal > 0, avoidable_micro[principal], MICRO + 1)
        share = np.minimum.reduceat(each, first).astype(np.int64)
        share[share > MICRO] = 0  # no diagnosis is stated
    outside = ~_in_hospital(member[first], day[first], hospital)
    return EmergencyVisits(member[first][outside], day[first][outside], share[outside])


def avoidable_shares(classifier: pa.Table, diagnoses: Sequence[str]) -> NDArray[np.int32]:
    """Avoidable share of a visit by principal diagnosis: int32[n_dx], millionths.

    The longest prefix that a code begins with decides; a code that begins with none has 0.

    Parameters
    ----------
    classifier : Table
        The population's `ed_classifier`.
    diagnoses : sequence of str
        Its code table "dx", sorted.
    """
    shares = np.zeros(len(diagnoses), np.int32)
    prefixes = zip(
        classifier["dx_prefix"].to_pylist(), classifier["avoidable_share"].to_pylist(), strict=True
    )
    for prefix, share in sorted(prefixes, key=lambda row: len(row[0])):
        first = bisect_left(diagnoses, prefix)
        end = bisect_left(diagnoses, prefix + _AFTER, lo=first)
        shares[first:end] = micro_of(share)
    return shares


_AFTER: Final = "\U0010ffff"
"""Sorts after every continuation of a code."""


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
