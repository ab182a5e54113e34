"""The fate of each claim row of a shard: history, denial, membership, enrolment.

All rows of a member are here, so every rule that compares rows is decided here, by content, never
file or position. What a claim's history leaves standing is found by `histories`; of that, what is
denied, of no known member or outside enrolment is put aside, in this order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ingest.final_action import OPEN
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.histories import Histories, read_histories
from ihp_compute.ingest.shard.rows import MONTH_BITS, Columns, Fates, ShardRows
from ihp_compute.ledger import IngestFate
from ihp_compute.units import months_of_days
from kernels import key_place, row_pick


def claim_row_fates(
    raw: ShardRows, member_key: NDArray[np.uint64], enrolled: NDArray[np.int64], rules: Rules
) -> tuple[Fates, Histories]:
    """Fate, member and claim of each row of one table; and what its histories came to."""
    columns = raw.numbers
    fate = columns["fate"].copy()
    histories = read_histories(raw, fate, rules.choices)
    member = key_place(columns["member_key"], member_key)
    is_open = fate == OPEN
    for reason, met in (
        (IngestFate.DENIED, columns["denial"] != 0),
        (IngestFate.UNKNOWN_MEMBER, member < 0),
        (IngestFate.OUTSIDE_ELIGIBILITY, ~_covered(columns, is_open, member, enrolled)),
    ):
        fate[is_open & met] = reason
        is_open &= ~met
    fate[is_open] = IngestFate.RETAINED
    return Fates(fate, member, histories.claim), histories


def _covered(
    columns: Columns,
    is_open: NDArray[np.bool_],
    member: NDArray[np.int32],
    enrolled: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Rows whose member is enrolled in the month of service; only open rows are asked."""
    if not is_open.any():
        return np.zeros(len(is_open), bool)
    day = columns["service_day"]
    day = np.where(is_open, day, day[is_open.argmax()])
    first = int(day.min())
    months = months_of_days(np.arange(first, int(day.max()) + 1, dtype=np.int32)).astype(np.int64)
    asked = row_pick(months, None, day - np.int32(first))
    asked |= member.astype(np.int64) << MONTH_BITS
    return key_place(asked.view(np.uint64), enrolled.view(np.uint64)) >= 0
