"""The fate of claim rows that their history leaves standing: denial, membership, enrolment.

What is denied, of no known member or outside enrolment is put aside, in this order; the rest is
retained. A contract incurs a line on the day of service, or the first or last day of its claim: a
row is outside enrolment when its member is enrolled in the month of none of them. Not here: what a
history leaves standing (`histories`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ingest.final_action import OPEN
from ihp_compute.ingest.shard.rows import MONTH_BITS, Fates, ShardRows
from ihp_compute.ledger import IngestFate
from ihp_compute.units import months_of_days
from kernels import key_place, row_pick

_OTHER_DAYS: Final = ("claim_start_day", "claim_end_day")
"""Days beside that of service by which a contract may incur a line."""


def claim_row_fates(
    raw: ShardRows,
    fate: NDArray[np.uint8],
    claim: NDArray[np.int64],
    member_key: NDArray[np.uint64],
    enrolled: NDArray[np.int64],
) -> Fates:
    """Fate, member and claim of each row of one table; rows without a fate get theirs, in place."""
    columns = raw.numbers
    member = key_place(columns["member_key"], member_key)
    is_open = fate == OPEN
    served = _served(columns["service_day"], is_open, member, enrolled)
    outside = is_open & ~served
    rows = np.flatnonzero(outside)
    for name in _OTHER_DAYS if len(rows) else ():
        months = months_of_days(raw.passing(name)[rows])
        outside[rows] &= ~_enrolled(months.astype(np.int64), member[rows], enrolled)
    for reason, met in (
        (IngestFate.DENIED, columns["denial"] != 0),
        (IngestFate.UNKNOWN_MEMBER, member < 0),
        (IngestFate.OUTSIDE_ELIGIBILITY, outside),
    ):
        fate[is_open & met] = reason
        is_open &= ~met
    fate[is_open] = IngestFate.RETAINED
    return Fates(fate, member, claim, served & is_open)


def _served(
    service_day: NDArray[np.int32],
    is_open: NDArray[np.bool_],
    member: NDArray[np.int32],
    enrolled: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Rows whose member is enrolled in the month of service; only open rows are asked."""
    if not is_open.any():
        return np.zeros(len(is_open), bool)
    day = np.where(is_open, service_day, service_day[is_open.argmax()])
    first = int(day.min())
    months = months_of_days(np.arange(first, int(day.max()) + 1, dtype=np.int32)).astype(np.int64)
    return _enrolled(row_pick(months, None, day - np.int32(first)), member, enrolled)


def _enrolled(
    months: NDArray[np.int64], member: NDArray[np.int32], enrolled: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which members are enrolled in these months, which are overwritten."""
    months |= member.astype(np.int64) << MONTH_BITS
    return key_place(months.view(np.uint64), enrolled.view(np.uint64)) >= 0
