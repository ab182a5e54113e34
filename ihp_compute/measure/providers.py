"""The provider by whom a member was attributed: that of the latest encounter that counted."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.roster import RosterEntries
from ihp_compute.population import ShardColumns

NO_PROVIDER: Final = -1


def last_providers(
    shard: ShardColumns,
    entries: RosterEntries,
    visits: tuple[NDArray[np.int32], NDArray[np.uint8]],
    found: tuple[NDArray[np.int32], NDArray[np.uint8]],
    months: NDArray[np.uint16],
    month_of: NDArray[np.uint8],
    *,
    first_day: int,
) -> NDArray[np.int32]:
    """Code of each member's provider: int32[n_members]; `NO_PROVIDER` without any encounter.

    The rendering provider where the roster has it under the group, else the billing one.

    Parameters
    ----------
    shard : Shard
    entries : RosterEntries
        Of the year.
    visits : int32[n_visits], uint8[n_visits]
        Group and step of each visit; step 0 where it does not count.
    found : int32[n_members], uint8[n_members]
        Group and step that attributed the member.
    months : uint16[n_members]
        Bit i: visits of month i count.
    month_of : uint8[n_days]
        Month of day first_day + i.
    first_day : int
    """
    visit_group, visit_step = visits
    group, step = found
    possible = np.flatnonzero(visit_step)
    member = np.repeat(
        np.arange(shard.n_members, dtype=np.int32), np.diff(shard.offsets("visits"))
    )[possible]
    month = month_of[shard.column("visits", "day")[possible] - first_day]
    counts = (months[member] >> month) & 1 != 0
    counts &= (visit_group[possible] == group[member]) & (visit_step[possible] == step[member])
    possible, member = possible[counts], member[counts]
    last = np.full(shard.n_members, -1, np.int64)
    last[member] = possible  # by day, so the last of a member's stays
    seen = np.flatnonzero(last >= 0)
    rendering, billing = (
        shard.column("visits", f"{who}_npi")[last[seen]] for who in ("rendering", "billing")
    )
    own = entries.has(rendering, group[seen])
    provider = np.full(shard.n_members, NO_PROVIDER, np.int32)
    provider[seen] = np.where(own, rendering, billing)
    return provider
