"""The first people of a state, one in each rate cell throughout the base year.

A target is refused where a rate cell has months in the performance year and nobody in the state has
any in the base year. Chance alone leaves a small state without such people in the rare cells, so
the first of every state stand there whatever is drawn: enrolled without a gap, alive, with full
benefits, a newborn from the first month of the base year on. What befalls them in the performance
year is drawn as for anybody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS, PAYER_KINDS
from ihp_compute.synth.columns import Array

N_ANCHORS: Final = len(AID_GROUPS) * len(PAYER_KINDS)
_CHILD, _ADULT, _NEWBORN, _MATERNITY = (
    AID_GROUPS.index(name) for name in ("child", "adult", "newborn", "maternity")
)
_DAYS_OLD: Final = {_CHILD: 8 * 365}
"""At the start of the base year; of other aid groups `_GROWN`."""
_GROWN: Final = 30 * 365


@dataclass(frozen=True)
class Anchors:
    """The anchored people of a block, at its first places.

    Parameters
    ----------
    count : int
        How many they are: `N_ANCHORS` in the first block of a state that has so many people, none
        in another.
    base_start_day : int
        First day of the base year.
    """

    count: int
    base_start_day: int

    @property
    def at(self) -> slice:
        """Their places."""
        return slice(0, self.count)

    @property
    def _aid(self) -> Array:
        return np.arange(self.count) // len(PAYER_KINDS)

    @property
    def kind(self) -> NDArray[np.uint8]:
        """Who pays for each, a place in `PAYER_KINDS`."""
        return (np.arange(self.count) % len(PAYER_KINDS)).astype(np.uint8)

    def settle(
        self, aid_year: NDArray[np.uint8], birth_day: NDArray[np.int32], born: NDArray[np.bool_]
    ) -> None:
        """Give them aid group and age, in place.

        Parameters
        ----------
        aid_year : uint8[n, 2]
            A newborn is a child by group; maternity comes again in the performance year where it
            was drawn, else it is followed by an adult's group.
        birth_day : int32[n]
        born : bool[n]
            Whether they are born within the window.
        """
        aid = self._aid
        group = np.where(aid == _NEWBORN, _CHILD, aid).astype(np.uint8)
        later = np.where(group == _MATERNITY, _ADULT, group)
        pregnant = aid_year[self.at, 1] == _MATERNITY
        aid_year[self.at, 0] = group
        aid_year[self.at, 1] = np.where(pregnant & (later == _ADULT), _MATERNITY, later)
        born[self.at] = aid == _NEWBORN
        days = np.array([_DAYS_OLD.get(a, _GROWN) for a in range(len(AID_GROUPS))])[aid]
        birth_day[self.at] = self.base_start_day - np.where(aid == _NEWBORN, 0, days)
