"""How a group's cost grew against that of others, at the same risk and mix of rate cells.

    months, risk, cost by rate cell and year -> cells that can stand -> cost per unit of risk
        -> growth of each -> what the group would have cost at the others' growth, less what it did

In a rate cell and year n are months at the state's mean risk: months × score over the state's mean
score, and u is cost over n. A group's benchmark at base is Σ n₁u₀, and its growth what it cost over
that. Others grew by Σ m₁u₁ ÷ Σ m₁u₀ over their own months m₁. The benchmark is Σ n₁u₀ times the
others' growth. Rate cells in which a group has too few months in either year stand together as one,
by the months as observed; a cell without months or risk in one year is left out of both years, in
each draw as it is there. Per draw dollars are those of a member month times the months as observed.

Only + − × ÷ in the order written, so that every machine comes to the same. Not here: whose totals
they are (`results.programme.comparison`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellYears:
    """Totals of one group of people in two years, by rate cell and draw; the first as observed.

    Attributes
    ----------
    months, risk, cost : int64[2, n_cells, 1 + B]
        Member months; months times score, millionths; cents. The earlier year first.
    """

    months: NDArray[np.int64]
    risk: NDArray[np.int64]
    cost: NDArray[np.int64]

    def __sub__(self, other: CellYears) -> CellYears:
        """Everybody but those of another group."""
        return CellYears(self.months - other.months, self.risk - other.risk, self.cost - other.cost)

    @property
    def n_draws(self) -> int:
        """B: draws beside the observed totals."""
        return self.months.shape[2] - 1

    def draws(self, n: int) -> CellYears:
        """The observed totals and the first `n` draws."""
        return CellYears(*(a[..., : n + 1] for a in (self.months, self.risk, self.cost)))

    @cached_property
    def has_both(self) -> bool:
        """Whether there are months in both years."""
        return bool(self.months[..., 0].sum(axis=1).all())

    def merged(self, cells: Sequence[Sequence[int]]) -> CellYears:
        """Sums over rate cells that stand together."""
        if list(cells) == [(c,) for c in range(self.months.shape[1])]:
            return self
        return CellYears(
            *(
                np.stack([sum(a[:, c] for c in together) for together in cells], axis=1)
                for a in (self.months, self.risk, self.cost)
            )
        )


@dataclass(frozen=True)
class Trend:
    """A group's growth beside that of others; arrays of 1 + B, the first as observed.

    Attributes
    ----------
    growth, comparator_growth : float64
        1 is no growth.
    benchmark_cents, observed_cents : int64
        What the group would have cost at the others' growth, and what it did, in rate cells that
        have a base.
    months_without_base : int
        Its months of the later year in rate cells that are left out, as observed.
    """

    growth: _Floats
    comparator_growth: _Floats
    benchmark_cents: NDArray[np.int64]
    observed_cents: NDArray[np.int64]
    months_without_base: int

    @property
    def difference_cents(self) -> NDArray[np.int64]:
        """Benchmark less observed: positive where the group grew less."""
        return self.benchmark_cents - self.observed_cents

    @property
    def growth_difference(self) -> _Floats:
        """Own growth less that of others: negative where the group grew less."""
        return self.growth - self.comparator_growth


@dataclass(frozen=True)
class OwnGrowth:
    """A group's own side of a trend, whoever it is held against; arrays of 1 + B.

    Attributes
    ----------
    at_base, cost : float64
        Months at the state's mean risk of the later year at the earlier one's cost, and what they
        cost, cents, in rate cells that have a base.
    scale : float64
        What brings dollars of a draw to the months as observed.
    months_without_base : int
    """

    at_base: _Floats
    cost: _Floats
    scale: _Floats
    months_without_base: int

    @classmethod
    def of(cls, own: CellYears, state: CellYears, *, least_months: int) -> OwnGrowth:
        """A group's side.

        Parameters
        ----------
        own, state : CellYears
            Of the group and of everybody eligible; the same rate cells, cost rules and draws. The
            group has months in both years.
        least_months : int
            A rate cell with fewer months of a group in either year does not stand alone in it.
        """
        unit = _units(own, state, least_months)
        months, at_base, cost = unit.months[1], unit.zero, unit.zero
        kept = unit.zero
        for c in range(unit.n_cells):
            known = unit.known[c]
            at_base = at_base + np.where(known, unit.n[1][c] * unit.u[0][c], 0.0)
            cost = cost + np.where(known, unit.cost[1][c], 0)
            kept = kept + np.where(known, months[c], 0)
        scale = _ratio(np.full_like(kept, kept[0]), kept)
        return cls(at_base, cost, scale, int(months[~unit.known[:, 0], 0].sum()))

    def against(self, grown: _Floats) -> Trend:
        """The trend against others, whose `comparator_growth` is given: float64[1 + B]."""
        return Trend(
            growth=_ratio(self.cost, self.at_base, 1.0),
            comparator_growth=grown,
            benchmark_cents=np.rint(self.at_base * grown * self.scale).astype(np.int64),
            observed_cents=np.rint(self.cost * self.scale).astype(np.int64),
            months_without_base=self.months_without_base,
        )


def comparator_growth(others: CellYears, state: CellYears, *, least_months: int) -> _Floats:
    """What others' cost per unit of risk grew by at their own months; 1 where nothing can stand.

    Parameters as for `OwnGrowth.of`; others have months in both years.
    """
    unit = _units(others, state, least_months)
    now, then = unit.zero, unit.zero
    for c in range(unit.n_cells):
        m = unit.months[1][c]
        now = now + np.where(unit.known[c], m * unit.u[1][c], 0.0)
        then = then + np.where(unit.known[c], m * unit.u[0][c], 0.0)
    return _ratio(now, then, 1.0)


def stand_alone_or_together(
    months: NDArray[np.int64], least_months: int
) -> tuple[tuple[int, ...], ...]:
    """Rate cells that stand alone, in their order, then those that stand together.

    Parameters
    ----------
    months : int64[2, n_cells]
        Of a group in both years, as observed.
    least_months : int

    >>> stand_alone_or_together(np.array([[500, 10, 300, 0], [500, 200, 90, 0]]), 120)
    ((0,), (1, 2, 3))
    """
    thin = (months < least_months).any(axis=0)
    alone: tuple[tuple[int, ...], ...] = tuple((int(c),) for c in np.flatnonzero(~thin))
    together = tuple(map(int, np.flatnonzero(thin)))
    return (*alone, together) if together else alone


@dataclass(frozen=True)
class _Units:
    """Rate cells that stand: arrays of years, cells and draws; `known` of cells and draws."""

    months: NDArray[np.int64]
    cost: NDArray[np.int64]
    n: _Floats
    u: _Floats
    known: NDArray[np.bool_]

    @property
    def n_cells(self) -> int:
        return len(self.known)

    @property
    def zero(self) -> _Floats:
        return np.zeros(self.known.shape[1])


def _units(group: CellYears, state: CellYears, least_months: int) -> _Units:
    cells = stand_alone_or_together(group.months[..., 0], least_months)
    group, state = group.merged(cells), state.merged(cells)
    mean = _ratio(state.risk, state.months)
    n = _ratio(group.risk, mean)
    known = (n[0] > 0) & (n[1] > 0)
    return _Units(group.months, group.cost, n, _ratio(group.cost, n), known)


def _ratio(over: NDArray[Any], under: NDArray[Any], otherwise: float = 0.0) -> _Floats:
    """Quotients; `otherwise` where there is nothing to divide by."""
    if under.all():
        return over / under
    found = np.full(over.shape, otherwise)
    return np.divide(over, under, out=found, where=under != 0)
