"""What members of one clinic share in a year: how much it varies, and what it adds to an error.

    cost over expected, by clinic and year -> its change -> less what drawing members explains
        -> variance of a clinic-year -> what it adds to a partnership's savings rate

Members are drawn one by one, as if nothing happened to all members of a clinic at once. Where a
practice changes how it treats or codes, they move together, and draws of members do not see it.

A clinic's cost over expected is O(t) = l (1 + e(t)) in year t: l lasts, the clinic-year e has mean
0 and variance s². The change z = O(performance) - O(base) is free of l; its variance is 2 s² + v,
where v is what drawing members explains. With residuals r(t) = cost - O(t) expected of its members,

    v = n ÷ (n - 1) Σ (r(performance) ÷ E(performance) - r(base) ÷ E(base))²

over the clinic's n members, E its expected cost: the variance of z over Poisson draws of members,
in first order. s² is the moment estimator of a variance component in an unbalanced one-way layout
(Searle, Casella and McCulloch, Variance Components, 1992, chapter 3; with known sampling variances
DerSimonian and Kacker, Contemporary Clinical Trials 28, 2007). It is taken within partnerships, so
that what a partnership saves is no variance of its clinics: with weights
a = 1 ÷ (1 ÷ E(base) + 1 ÷ E(performance)), A their sum in a partnership and z̄ their mean of z,

    s² = (Σ a (z - z̄)² - Σ a (1 - a ÷ A) v) ÷ 2 Σ a (1 - a ÷ A), not below 0

A partnership whose members stand in clinics in the parts w has a clinic-year of variance s² Σ w².

Not here: who is in which clinic, what a member was expected to cost (`results.clinics`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.units import CENTS_PER_USD, sums_by

LEAST_CLINICS: Final = 8
"""From so many clinics a partnership's own estimate stands; below them the state's."""


@dataclass(frozen=True)
class Component:
    """The variance of a clinic-year as estimated.

    Attributes
    ----------
    n_clinics : int
        Clinics that it rests on.
    variance : float
        Of cost over expected, not below 0.
    std_error : float
        Of `variance` before it is held at 0, if changes were normal.
    """

    n_clinics: int
    variance: float
    std_error: float


@dataclass(frozen=True)
class Clinics:
    """Clinics of a state with members in both years, in the order of group and name.

    Attributes
    ----------
    group : int32[n]
    weight : float64[n]
        Dollars.
    change : float64[n]
        z: of cost over expected, from base to performance year.
    sampling : float64[n]
        v: variance of the change over draws of members.
    """

    group: NDArray[np.int32]
    weight: NDArray[np.float64]
    change: NDArray[np.float64]
    sampling: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        group: NDArray[np.int32],
        clinic: NDArray[np.int64],
        cost_cents: NDArray[np.int64],
        expected_cents: NDArray[np.int64],
    ) -> Clinics:
        """Clinics from their members; sums are of integers, so members come in any order.

        Parameters
        ----------
        group : int32[n_clinics]
            Partnership of each clinic.
        clinic : int64[2, n_members]
            Of the base and of the performance year; -1: none.
        cost_cents, expected_cents : int64[2, n_members]
            After the cap.
        """
        n = group.size
        people = np.zeros(n, np.int64)
        residual = np.zeros(clinic.shape, np.int64)
        ratios, sizes, squares = [], [], []
        for t in (0, 1):
            here = np.flatnonzero(clinic[t] >= 0)
            place, cost, expected = clinic[t, here], cost_cents[t, here], expected_cents[t, here]
            size = sums_by(place, expected, n)
            ratio = sums_by(place, cost, n) / np.where(size > 0, size, 1)
            # whole dollars: their squares sum exactly in 64 bits, in any order
            dollars = np.rint((cost - ratio[place] * expected) / CENTS_PER_USD).astype(np.int64)
            residual[t, here] = dollars
            people += np.bincount(place, minlength=n)
            ratios.append(ratio)
            sizes.append(size)
            squares.append(sums_by(place, dollars**2, n))
        both = np.flatnonzero((clinic[0] >= 0) & (clinic[0] == clinic[1]))
        people -= np.bincount(clinic[0, both], minlength=n)
        across = sums_by(clinic[0, both], residual[0, both] * residual[1, both], n)
        used = (sizes[0] > 0) & (sizes[1] > 0) & (people > 1)
        base, perf = (size[used] / CENTS_PER_USD for size in sizes)
        people = people[used]
        drawn = squares[0][used] / base**2 + squares[1][used] / perf**2
        drawn -= 2 * across[used] / (base * perf)
        return cls(
            group=group[used],
            weight=1 / (1 / base + 1 / perf),
            change=(ratios[1] - ratios[0])[used],
            sampling=drawn * people / (people - 1),
        )

    def within(self, group: int) -> Clinics:
        """The clinics of one partnership."""
        here = self.group == group
        return Clinics(self.group[here], self.weight[here], self.change[here], self.sampling[here])

    def component(self) -> Component | None:
        """The variance of a clinic-year; None where no partnership has two clinics."""
        groups, place = np.unique(self.group, return_inverse=True)
        n = groups.size
        a = self.weight

        def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.bincount(place, values, minlength=n).astype(np.float64)

        whole = total(a)
        mean = total(a * self.change) / whole
        free = a * (1 - a / whole[place])
        least = 2 * free.sum()
        if not least > 0:
            return None
        between = (a * (self.change - mean[place]) ** 2).sum()
        variance = max((between - (free * self.sampling).sum()) / least, 0.0)
        each = 2 * variance + self.sampling
        spread = (a**2 * each**2 * (1 - 2 * a / whole[place])).sum()
        spread += ((total(a**2 * each) / whole) ** 2).sum()
        counts = np.bincount(place, minlength=n)
        return Component(
            n_clinics=int(counts[counts > 1].sum()),
            variance=float(variance),
            std_error=math.sqrt(2 * spread) / float(least),
        )


def chance_above_zero(draws: NDArray[np.float64], spread: float) -> float:
    """Chance of more than 0 where each draw has a normal error besides, of a standard deviation.

    >>> chance_above_zero(np.array([0.01, -0.01]), 0.5)
    0.5
    """
    if not spread > 0:
        return int(np.count_nonzero(draws > 0)) / draws.size
    errors = np.array([*map(math.erf, (draws / (spread * math.sqrt(2))).tolist())])
    return math.fsum((1 + errors).tolist()) / (2 * draws.size)
