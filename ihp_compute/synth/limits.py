"""Months for which a person's cover is of a class that contracts leave out.

Some people are dual, spend down, or have cover of some care only for a part of the window, and full
Medicaid for the rest. What the classes are, and what a row of enrolment says of each, is declared
in `LIMITS`. Somebody who is so for whole years is drawn in `people`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import SPAN_DUAL, SPAN_PARTIAL_BENEFIT, SPAN_SPEND_DOWN

FULL_SCOPE: Final = "1"
PREGNANCY_SCOPE: Final = "4"
"""Restricted to pregnancy, and none of the limited ones."""


@dataclass(frozen=True)
class Limit:
    """A class of cover.

    share : of those who have any
    flags : `codes.SPAN_DUAL`, `SPAN_SPEND_DOWN` or `SPAN_PARTIAL_BENEFIT`, where a column of its
        own says so
    is_family_planning : whether the eligibility group says so
    scope : scope of benefits
    """

    share: float
    flags: int = 0
    is_family_planning: bool = False
    scope: str = FULL_SCOPE


NO_LIMIT: Final = 0
LIMITS: Final = (
    Limit(0.0),
    Limit(0.34, flags=SPAN_DUAL),
    Limit(0.13, flags=SPAN_SPEND_DOWN),
    Limit(0.13, flags=SPAN_PARTIAL_BENEFIT),
    Limit(0.10, is_family_planning=True),
    Limit(0.10, scope="2"),
    Limit(0.10, scope="3"),
    Limit(0.10, scope="6"),
)
"""By number; the first is full cover."""
SCOPES: Final = (*dict.fromkeys(limit.scope for limit in LIMITS), PREGNANCY_SCOPE)
FLAGS_OF: Final = np.array([limit.flags for limit in LIMITS], np.int64)
SCOPE_OF: Final = np.array([SCOPES.index(limit.scope) for limit in LIMITS], np.int64)
IS_FAMILY_PLANNING: Final = np.array([limit.is_family_planning for limit in LIMITS])
_SHARE: Final = 0.045
_IN_THE_MIDDLE: Final = 0.3
"""Of them, those whose months lie in the middle of a year and leave fewer than six in a row."""
_TO_THE_END: Final = 0.3


def draw_limits(
    rng: np.random.Generator, year_starts: tuple[int, int], n_months: int, may: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Class of cover of people in each month of the window.

    Parameters
    ----------
    rng : numpy.random.Generator
    year_starts : (int, int)
        Columns of January of the base and the performance year.
    n_months : int
        Of the window.
    may : bool[n]
        Who may have such months.

    Returns
    -------
    uint8[n, n_months]
        Place in `LIMITS`.
    """
    n = len(may)
    who = may & (rng.random(n) < _SHARE)
    edges = np.cumsum([limit.share for limit in LIMITS[1:]])[:-1]
    which = 1 + np.searchsorted(edges, rng.random(n))
    middle = rng.random(n) < _IN_THE_MIDDLE
    january = np.array(year_starts)[rng.integers(0, 2, n)]
    begin = np.where(middle, january + rng.integers(4, 6, n), rng.integers(0, n_months, n))
    some = np.where(rng.random(n) < _TO_THE_END, n_months, rng.integers(1, 12, n))
    end = begin + np.where(middle, rng.integers(2, 5, n), some)
    month = np.arange(n_months)[None, :]
    inside = who[:, None] & (month >= begin[:, None]) & (month < end[:, None])
    return np.where(inside, which[:, None], NO_LIMIT).astype(np.uint8)
