"""Which months a quarter pays and a true-up moves, and to whom they are charged.

    quarter   three months of whoever counts in its first, charged to that month's payer
    true-up   each month that counts at the rate less fees, charged to its own payer,
              less the months that the four quarters paid, each back to the payer who bore it

So the four quarters and the true-up add up to the year, for a person, a payer and in all, in
months as in cents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ihp_compute.payments.periods import Period
from ihp_compute.units import sums_by


@dataclass(frozen=True)
class Sums:
    """By group and payer, int64[n_groups, n_payers] each.

    `n_members` are people with a month that counts or was paid.
    """

    n_members: NDArray[np.int64]
    member_months: NDArray[np.int64]
    payment_cents: NDArray[np.int64]
    offset_cents: NDArray[np.int64]


@dataclass(frozen=True)
class Months:
    """What each person's months of a period come to; n people.

    Attributes
    ----------
    payer : int32[n, k]
        Who is charged, in `payer_names`; -1: nothing is.
    months, payment_cents, offset_cents : int64[n, k]
    """

    payer: NDArray[np.int32]
    months: NDArray[np.int64]
    payment_cents: NDArray[np.int64]
    offset_cents: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        period: Period,
        payer: NDArray[np.int32],
        rate_cents: NDArray[np.int64],
        fees_cents: NDArray[np.int64],
    ) -> Months:
        """The months of a period.

        Parameters
        ----------
        period : Period
        payer : int32[n, 12]
            Payer of each month of the year that counts; -1 where it does not.
        rate_cents : int64[n]
        fees_cents : int64[n, 12]
            Fees of each month; what is below zero takes nothing off.
        """
        rate = rate_cents[:, None]
        if period.quarter is not None:
            first = payer[:, period.first : period.first + 1]
            months = np.where(first >= 0, 3, 0)
            return cls(first, months, months * rate, np.zeros_like(months))
        year = cls.of_year(payer, rate_cents, fees_cents)
        before = np.repeat(payer[:, ::3], 3, axis=1)
        paid = (before >= 0).astype(np.int64)
        return cls(
            np.concatenate([payer, before], axis=1),
            np.concatenate([year.months, -paid], axis=1),
            np.concatenate([year.payment_cents, -paid * rate], axis=1),
            np.concatenate([year.offset_cents, np.zeros_like(paid)], axis=1),
        )

    @classmethod
    def of_year(
        cls,
        payer: NDArray[np.int32],
        rate_cents: NDArray[np.int64],
        fees_cents: NDArray[np.int64],
    ) -> Months:
        """What the four quarters and the true-up of a year come to; parameters as for `of`."""
        rate = rate_cents[:, None]
        counts = (payer >= 0).astype(np.int64)
        offset = counts * np.clip(fees_cents, 0, rate)
        return cls(payer, counts, counts * rate - offset, offset)

    def by(self, group: NDArray[np.int32], n_groups: int, n_payers: int) -> Sums:
        """Sums by group, int32[n, 1] or [n, k], and payer."""
        n, k = self.payer.shape
        charged = self.payer >= 0
        place = (group * n_payers + self.payer)[charged]
        size = n_groups * n_payers

        def summed(values: NDArray[np.int64]) -> NDArray[np.int64]:
            return sums_by(place, values[charged], size).reshape(n_groups, n_payers)

        person = np.repeat(np.arange(n, dtype=np.int64), k).reshape(n, k)[charged]
        people = np.unique(person * size + place) % size
        return Sums(
            np.bincount(people, minlength=size).reshape(n_groups, n_payers),
            summed(self.months),
            summed(self.payment_cents),
            summed(self.offset_cents),
        )
