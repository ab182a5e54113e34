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
from ihp_compute.ingest.shard.rows import MONTH_BITS, Fates, Members, ShardRows
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
    cover = _Cover(enrolled, len(member_key))
    served = _served(columns["service_day"], is_open, member, cover)
    outside = is_open & ~served
    rows = np.flatnonzero(outside)
    for name in _OTHER_DAYS if len(rows) else ():
        months = months_of_days(raw.passing(name)[rows])
        outside[rows] &= ~cover.holds(months, member[rows])
    for reason, met in (
        (IngestFate.DENIED, columns["denial"] != 0),
        (IngestFate.UNKNOWN_MEMBER, member < 0),
        (IngestFate.OUTSIDE_ELIGIBILITY, outside),
    ):
        fate[is_open & met] = reason
        is_open &= ~met
    fate[is_open] = IngestFate.RETAINED
    return Fates(fate, member, claim, served & is_open)


def served_on(
    day: NDArray[np.int32], member: NDArray[np.int32], members: Members
) -> NDArray[np.bool_]:
    """Whether each member, by place, is enrolled in the month of a day."""
    return _Cover(members.enrolled, len(members.key)).holds(months_of_days(day), member)


def _served(
    service_day: NDArray[np.int32],
    is_open: NDArray[np.bool_],
    member: NDArray[np.int32],
    cover: _Cover,
) -> NDArray[np.bool_]:
    """Rows whose member is enrolled in the month of service; only open rows are asked."""
    if not is_open.any():
        return np.zeros(len(is_open), bool)
    day = np.where(is_open, service_day, service_day[is_open.argmax()])
    first = int(day.min())
    months = months_of_days(np.arange(first, int(day.max()) + 1, dtype=np.int32))
    return cover.holds(row_pick(months, None, day - np.int32(first)), member)


class _Cover:
    """Months in which members are enrolled, as a grid: it is small, and no key is looked for.

    enrolled : int64, member << MONTH_BITS | month
    """

    def __init__(self, enrolled: NDArray[np.int64], n_members: int) -> None:
        months = enrolled & ((1 << MONTH_BITS) - 1)
        self._first = int(months.min(initial=1 << MONTH_BITS))
        # one month more, in which nobody is enrolled, and one member more, who never is
        self._width = max(int(months.max(initial=0)) - self._first, -1) + 2
        self._grid = np.zeros((n_members + 1) * self._width, bool)
        self._grid[((enrolled >> MONTH_BITS) + 1) * self._width + (months - self._first)] = True

    def holds(self, months: NDArray[np.int32], member: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each member, -1 of nobody, is enrolled in its month."""
        place = months.astype(np.int64)
        place -= self._first
        np.minimum(place.view(np.uint64), np.uint64(self._width - 1), out=place.view(np.uint64))
        place += (member.astype(np.int64) + 1) * self._width
        return self._grid.take(place)
