"""Trends in exact fractions, as an actuary writes them down: nothing is taken from the program."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Year = Sequence[tuple[int, int, int]]
"""Of each rate cell: member months, months times score in millionths, cents."""
Side = tuple[Year, Year]
"""Earlier year, later year."""
Cells = list[list[int]]


class ByHand(NamedTuple):
    """What a trend comes to; ZeroDivisionError where there is nothing to grow from."""

    growth: Fraction
    comparator_growth: Fraction
    benchmark_cents: int
    observed_cents: int
    months_without_base: int

    @property
    def difference_cents(self) -> int:
        return self.benchmark_cents - self.observed_cents


def cells_of(side: Side, least: int) -> Cells:
    """Rate cells that stand alone, then those that stand together, by the months as observed."""
    n_cells = len(side[0])
    thin = [c for c in range(n_cells) if min(year[c][0] for year in side) < least]
    return [[c] for c in range(n_cells) if c not in thin] + ([thin] if thin else [])


class Unit(NamedTuple):
    months: int
    n: tuple[Fraction, Fraction]
    u: tuple[Fraction, Fraction]


def units(side: Side, state: Side, cells: Cells) -> list[Unit]:
    found = []
    for together in cells:
        n, u = [], []
        for own, every in zip(side, state, strict=True):
            risk, cents = (sum(own[c][k] for c in together) for k in (1, 2))
            state_months, state_risk = (sum(every[c][k] for c in together) for k in (0, 1))
            n.append(Fraction(risk * state_months, state_risk) if state_risk else Fraction(0))
            u.append(cents / n[-1] if n[-1] else Fraction(0))
        months = sum(side[1][c][0] for c in together)
        found.append(Unit(months, (n[0], n[1]), (u[0], u[1])))
    return found


def by_hand(
    own: Side,
    others: Side,
    state: Side,
    least: int,
    observed: tuple[Side, Side] | None = None,
) -> ByHand:
    """A trend of one draw; `observed` are own and others as observed, by which cells stand."""
    first, second = observed or (own, others)
    cells = cells_of(first, least)
    mine = units(own, state, cells)
    theirs = [one for one in units(others, state, cells_of(second, least)) if all(one.n)]
    there = [one for one in mine if all(one.n)]
    at_base = sum((one.n[1] * one.u[0] for one in there), Fraction(0))
    cents = sum((one.n[1] * one.u[1] for one in there), Fraction(0))
    grown = sum((one.months * one.u[1] for one in theirs), Fraction(0)) / sum(
        (one.months * one.u[0] for one in theirs), Fraction(0)
    )
    standing = sum(one.months for one in units(first, state, cells) if all(one.n))
    scale = Fraction(standing, sum(one.months for one in there))
    left = sum(one.months for one in mine if not all(one.n))
    return ByHand(
        cents / at_base, grown, round(at_base * grown * scale), round(cents * scale), left
    )
