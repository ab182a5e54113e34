"""What a year's population-based payments come to, beside a run that counts or grades them.

The quarters and the true-up of a year together, of every partnership that is paid, by the rate cell
and the payer of each month that counts; drawn with the people for whom they are paid.

Not here: who is paid what (`payments`), where it is cost (`settling`), what a quality score moves
of it (`population_based`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.data_quality import Noticed


@dataclass(frozen=True)
class PaidYear:
    """A year's population-based payments.

    Attributes
    ----------
    year : int
    drawn_cents : int64[n_groups, n_strata, 1 + B]
        By group of the roster that is paid; replicate 0 is the data as observed.
    rows : tuple of mapping
        partnership_id, year, rate_cell, payer, n_members, member_months, payment_cents,
        offset_cents.
    counts : mapping
        What was missing and counts all the same: people, their months and cents.
    noticed : tuple of Noticed
    """

    year: int
    drawn_cents: NDArray[np.int64]
    rows: tuple[Mapping[str, Any], ...]
    counts: Mapping[str, Mapping[str, int]]
    noticed: tuple[Noticed, ...]

    def cents_of(self, partnerships: Collection[str]) -> int:
        """What some partnerships are paid for the year."""
        return sum(
            row["payment_cents"] for row in self.rows if row["partnership_id"] in partnerships
        )

    def document(self) -> dict[str, Any]:
        """What a manifest says of it."""
        sums = ("member_months", "payment_cents", "offset_cents")
        return {
            "year": self.year,
            **{name: sum(row[name] for row in self.rows) for name in sums},
            **self.counts,
        }
