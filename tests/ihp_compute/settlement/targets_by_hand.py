"""Small states of member-years, what settles over them, and their targets in exact fractions.

`by_hand` is the rule as an actuary would write it down: nothing of it is taken from the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, Final

import numpy as np

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import Contract, ContractSet
from ihp_compute.settlement.settle import Settled, settle
from ihp_compute.uncertainty.totals import Totals, column_names

GROUPS: Final = ("A", "B", "COMPARISON", "UNATTRIBUTED")
CELLS: Final = ("adult_ffs", "disabled_ffs", "newborn_ffs", "child_managed")
ONE: Final = 1_000_000
BASE, YEAR = 2023, 2024


@dataclass(frozen=True)
class MemberYear:
    """A member in one year: months and cents by rate cell, one score."""

    group: str
    year: int
    months: Mapping[str, int]
    cents: Mapping[str, int]
    score_micro: int = ONE


def several(
    n: int, group: str, cell: str, pmpm: int, score: float = 1.0, months: int = 12, year: int = BASE
) -> list[MemberYear]:
    """So many members alike; `pmpm` in cents."""
    one = MemberYear(group, year, {cell: months}, {cell: months * pmpm}, round(score * ONE))
    return [one] * n


def totals_of(members: Sequence[MemberYear]) -> Totals:
    values = np.zeros((len(GROUPS), len(RATE_CELLS), 1, 6), np.int64)
    people = np.zeros(len(GROUPS), np.int64)
    for one in members:
        first = 0 if one.year == BASE else 1
        people[GROUPS.index(one.group)] += first
        for cell, months in one.months.items():
            at = values[GROUPS.index(one.group), RATE_CELLS.index(cell), 0]
            at[2 * first] += months
            at[2 * first + 1] += months * one.score_micro
            at[4 + first] += one.cents[cell]
    return Totals(GROUPS, column_names(1), values, people, np.zeros((len(GROUPS), 1), np.int64))


def settled(
    members: Sequence[MemberYear] | Totals, found: Contract | str, *partnerships: str
) -> list[Settled]:
    contract = contracts.load(found) if isinstance(found, str) else found
    totals = members if isinstance(members, Totals) else totals_of(members)
    return settle(
        totals,
        ContractSet("test", dict.fromkeys(partnerships or ("A",), contract)),
        base_year=BASE,
        performance_year=YEAR,
        quality=dict.fromkeys(partnerships or ("A",), Decimal(1)),
    )


def with_terms(
    terms: Mapping[str, Any] | None = None, name: str = "mn-ihp-2.0-track-2"
) -> Contract:
    return contracts.load(name).override(terms or {})


@dataclass
class Sums:
    """Months, risk and cents of a rate cell in one year; ratios of nothing are none."""

    months: Fraction = Fraction(0)
    risk: Fraction = Fraction(0)
    cents: Fraction = Fraction(0)

    @property
    def mean(self) -> Fraction | None:
        return self.risk / self.months if self.risk else None


@dataclass
class Terms:
    """What `by_hand` reads of a contract."""

    norm: str | None = "statewide_rate_cell"
    trend: Fraction | None = Fraction(1042, 1000)
    agreed_cents: Fraction | None = None
    credible: bool = True
    empty_cell: str = "statewide"
    least: int = 120
    full: int = 12_000
    base_full: int = 12_000
    cap_up: Fraction | None = None
    cap_down: Fraction | None = None
    cap_by: str = "partnership"
    corridor: Fraction | None = None
    full_ratio: int | None = None
    completion: Fraction = Fraction(1)
    policy: Fraction = Fraction(1)
    cents: bool = False
    paths: dict[str, Any] = field(default_factory=dict)


def carried(months: Fraction, full: int) -> Fraction:
    with localcontext() as context:
        context.prec = 60
        return min(Fraction(1), Fraction((Decimal(int(months)) / full).sqrt()))


def by_hand(members: Sequence[MemberYear], group: str, terms: Terms) -> Fraction:
    """Cents of the target before it is rounded (whole, where its PMPM is)."""
    state: dict[tuple[int, str], Sums] = {}
    own: dict[tuple[int, str], Sums] = {}
    market: dict[tuple[int, str], Sums] = {}
    for year in (BASE, YEAR):
        for cell in CELLS:
            for sums in (state, own, market):
                sums[year, cell] = Sums()
    for one in members:
        for cell, months in one.months.items():
            for sums, meant in (
                (state, True), (own, one.group == group), (market, one.group == "COMPARISON"),
            ):  # fmt: skip
                if meant:
                    sums[one.year, cell].months += months
                    sums[one.year, cell].risk += Fraction(months * one.score_micro, ONE)
                    sums[one.year, cell].cents += one.cents[cell]

    def norm(year: int, cell: str) -> Fraction:
        if terms.norm is None or (terms.norm == "mix_neutral" and year == BASE):
            return Fraction(1)
        if terms.norm == "mix_neutral":
            both = [c for c in CELLS if state[BASE, c].mean and state[YEAR, c].mean]
            at_base = sum(
                (state[YEAR, c].months * (state[BASE, c].mean or 0) for c in both), Fraction(0)
            )
            return sum((state[YEAR, c].risk for c in both), Fraction(0)) / at_base
        return state[year, cell].mean or Fraction(0)

    def normed(sums: dict[tuple[int, str], Sums], year: int, cell: str) -> Fraction:
        mean = sums[year, cell].mean
        return mean / norm(year, cell) if mean else Fraction(0)

    def unit(sums: dict[tuple[int, str], Sums], year: int, cell: str) -> Fraction:
        risk = normed(sums, year, cell)
        return sums[year, cell].cents / sums[year, cell].months / risk if risk else Fraction(0)

    growth = terms.trend
    if growth is None:
        both = [c for c in CELLS if market[BASE, c].mean and market[YEAR, c].mean]
        now, then = (
            sum((market[YEAR, c].months * unit(market, year, c) for c in both), Fraction(0))
            for year in (YEAR, BASE)
        )
        growth = now / then

    weight = {c: own[BASE, c].months * normed(own, BASE, c) for c in CELLS}
    u = {c: unit(state, BASE, c) for c in CELLS}
    base_months = sum((own[BASE, c].months for c in CELLS), Fraction(0))
    base_cents = sum((own[BASE, c].cents for c in CELLS), Fraction(0))
    expected = sum((weight[c] * u[c] for c in CELLS), Fraction(0))
    perf = {c: own[YEAR, c].months for c in CELLS}
    units: dict[str, Fraction] = {}
    if not expected and terms.agreed_cents is not None:
        mean = sum((perf[c] * u[c] for c in CELLS), Fraction(0)) / sum(perf.values())
        units = {c: terms.agreed_cents * u[c] / mean for c in CELLS}
    elif not expected:
        units = u
    else:
        whole = carried(base_months, terms.base_full) if terms.credible else Fraction(1)
        b = whole * base_cents + (1 - whole) * expected
        if terms.agreed_cents is not None:
            b = terms.agreed_cents * base_months
        level = b / expected
        for c in CELLS:
            z = carried(own[BASE, c].months, terms.full) if terms.credible else Fraction(1)
            if not weight[c] or (terms.credible and own[BASE, c].months < terms.least):
                z = Fraction(0)
            if terms.credible:
                own_part = z * unit(own, BASE, c) if z else Fraction(0)
                units[c] = own_part + (1 - z) * level * u[c]
            elif weight[c]:
                units[c] = unit(own, BASE, c)
            elif terms.empty_cell == "partnership":
                units[c] = base_cents / sum(weight.values())
            else:
                units[c] = u[c]
        k = b / sum((weight[c] * units[c] for c in CELLS), Fraction(0))
        units = {c: k * units[c] for c in CELLS}
    factor = growth * terms.policy / terms.completion
    before = {
        c: perf[c] * units[c] * (normed(own, BASE, c) or normed(state, BASE, c)) * factor
        for c in CELLS
    }
    after = {c: perf[c] * units[c] * normed(own, YEAR, c) * factor for c in CELLS}

    state_ratio = Fraction(1)
    if terms.norm is None:
        both = [c for c in CELLS if state[BASE, c].mean and state[YEAR, c].mean]
        at_base = sum(
            (state[YEAR, c].months * (state[BASE, c].mean or 0) for c in both), Fraction(0)
        )
        state_ratio = sum((state[YEAR, c].risk for c in both), Fraction(0)) / at_base
        if terms.corridor is not None:
            held = min(max(state_ratio, 1 - terms.corridor), 1 + terms.corridor)
            after = {c: after[c] * held / state_ratio for c in CELLS}
            state_ratio = held
    if terms.full_ratio is not None:
        z = carried(sum(perf.values(), Fraction(0)), terms.full_ratio)
        after = {c: z * after[c] + (1 - z) * state_ratio * before[c] for c in CELLS}

    def capped(before: Fraction, after: Fraction) -> Fraction:
        if not before:
            return after
        ratio = after / before
        if terms.cap_up is not None:
            ratio = min(ratio, 1 + terms.cap_up)
        if terms.cap_down is not None:
            ratio = max(ratio, 1 - terms.cap_down)
        return before * ratio

    if terms.cap_by == "rate_cell":
        target = sum((capped(before[c], after[c]) for c in CELLS), Fraction(0))
    else:
        target = capped(sum(before.values(), Fraction(0)), sum(after.values(), Fraction(0)))
    if terms.cents:
        people = sum(perf.values(), Fraction(0))
        return round(target / people) * people
    return target


def random_state(seed: int) -> list[MemberYear]:
    """Partnerships of either side of a thousand people, thin and empty cells, members who move."""
    rng = np.random.default_rng(seed)
    members = []
    for group, n in zip(GROUPS, (int(rng.integers(40, 1500)), 300, 200, 200), strict=True):
        for year in (BASE, YEAR):
            mix = rng.dirichlet([8, 2, 0.3, 4])
            for _ in range(n // 10):
                cell = str(rng.choice(CELLS, p=mix))
                months = {cell: int(rng.integers(1, 13))}
                if rng.random() < 0.1:
                    months |= {str(rng.choice(CELLS)): int(rng.integers(1, 13))}
                score = int(rng.gamma(2, ONE / 2)) + 1
                cents = {c: int(m * rng.gamma(1, 40_000)) for c, m in months.items()}
                member = MemberYear(group, year, months, cents, score)
                members += [member] * int(rng.integers(5, 15))
    # somebody of the state stands in every cell
    for year in (BASE, YEAR):
        for cell in CELLS:
            members += several(3, "UNATTRIBUTED", cell, 45_000 + year, 1.2, year=year)
    return members
