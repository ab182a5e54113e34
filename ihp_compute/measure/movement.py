"""How many members stand in each group by step, and who came and went between the years.

    members of the performance year - of the base year = gained + moved_in - lost - moved_out

for a group over all its steps. Who came is counted at the step of the performance year, who went at
that of the base year; a member who stays may change step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import ATTRIBUTION_STEPS
from ihp_compute.measure.attribution import Attribution

MOVEMENT: Final = (
    "members", "member_months", "ties", "gained", "lost", "moved_in", "moved_out",
)  # fmt: skip
"""What is counted; from `gained` on, in the performance year only."""
N_STEPS: Final = 1 + len(ATTRIBUTION_STEPS)


def movement(
    attributions: Sequence[Attribution], *, n_groups: int, n_partnerships: int
) -> NDArray[np.int64]:
    """Counts of one shard's members.

    Parameters
    ----------
    attributions : (base year, performance year)
    n_groups, n_partnerships : int
        Partnerships are the first groups, and the comparison population the next: it is on the
        roster, so that who was of it moved.

    Returns
    -------
    int64[2, n_groups, N_STEPS, len(MOVEMENT)]
        By year, group, `Attribution.step` and `MOVEMENT`.
    """
    base, performance = attributions
    out = np.zeros((2, n_groups, N_STEPS, len(MOVEMENT)), np.int64)

    def enter(year: int, of: Attribution, what: str, counted: NDArray[Any]) -> None:
        at = np.flatnonzero(of.group >= 0)
        place = of.group[at].astype(np.int64) * N_STEPS + of.step[at]
        sums = np.bincount(place, counted[at], n_groups * N_STEPS)
        out[year, :, :, MOVEMENT.index(what)] = sums.reshape(n_groups, N_STEPS)

    for year, of in enumerate(attributions):
        enter(year, of, "members", np.ones(of.group.size))
        enter(year, of, "member_months", of.months.sum(axis=0))
        enter(year, of, "ties", of.tied)
    elsewhere = base.group != performance.group
    for of, other, moved, alone in (
        (performance, base, "moved_in", "gained"),
        (base, performance, "moved_out", "lost"),
    ):
        of_one = (other.group >= 0) & (other.group <= n_partnerships)
        enter(1, of, moved, elsewhere & of_one)
        enter(1, of, alone, elsewhere & ~of_one)
    return out
