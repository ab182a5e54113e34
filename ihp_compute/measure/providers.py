"""The provider by whom a member was attributed: that of the latest encounter that counted."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.roster import RosterEntries
from ihp_compute.population import ShardColumns

NO_PROVIDER: Final = -1


def providers_of(
    shard: ShardColumns,
    entries: RosterEntries,
    found: Attribution,
) -> NDArray[np.int32]:
    """Code of each member's provider: int32[n_members]; `NO_PROVIDER` without an encounter.

    The rendering provider where the roster has it under the group, else the billing one.

    Parameters
    ----------
    shard : Shard
    entries : RosterEntries
        Of the year.
    found : Attribution
        Of the year.
    """
    visit = found.last_visit
    seen = np.flatnonzero(visit >= 0)
    rendering, billing = (
        shard.column("visits", f"{who}_npi")[visit[seen]] for who in ("rendering", "billing")
    )
    own = entries.has(rendering, found.group[seen])
    provider = np.full(shard.n_members, NO_PROVIDER, np.int32)
    provider[seen] = np.where(own, rendering, billing)
    return provider
