"""The provider by whom a member was attributed: that of the latest encounter that counted."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.roster import RosterEntries
from ihp_compute.population import ShardColumns

NO_PROVIDER: Final = -1


def providers_of(
    shard: ShardColumns,
    entries: RosterEntries,
    group: NDArray[np.int32],
    visit: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Code of each member's provider: int32[n_members]; `NO_PROVIDER` without a visit.

    The rendering provider where the roster has it under the group, else the billing one.

    Parameters
    ----------
    shard : Shard
    entries : RosterEntries
        Of the year.
    group : int32[n_members]
        That attributed the member.
    visit : int64[n_members]
        Row of the last visit that counted for it; negative without any.
    """
    seen = np.flatnonzero(visit >= 0)
    rendering, billing = (
        shard.column("visits", f"{who}_npi")[visit[seen]] for who in ("rendering", "billing")
    )
    own = entries.has(rendering, group[seen])
    provider = np.full(shard.n_members, NO_PROVIDER, np.int32)
    provider[seen] = np.where(own, rendering, billing)
    return provider
