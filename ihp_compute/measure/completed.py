"""Cost completed by the run: one factor a payer and year, from earlier claims at each lag.

    lines -> cost by payer, month and lag, summed over the state -> chain ladder --\
    base year capped as it was known at that age, and as it is now -> what the cap takes -> factors
    capped cost of a member and cell -> parts by payer -> ÷ factor, to the cent -> cost that settles

A month's payer is fee for service where its rate cell is, else the plan of its span. Development is
that of the base and the performance year, over everybody who is eligible, under each rule set. It
comes before the cap, by the month that incurs a line; the cap takes a part of what is still to
come, and how much is known of the base year: its capped cost, cut as many years earlier, is a
greater part of the whole than its cost before the cap is. Factors are exact fractions and no draw
moves them. A payer that has no cost in the base year has nothing to be developed from and takes
the factor of all payers, which is told.

Not here: how a triangle is developed (`completion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import INCURRED_BY, CostTerms
from ihp_compute.errors import DataError
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.measure.completion import (
    COST_KINDS,
    chain_ladder,
    lags_of,
    overall,
    years_earlier,
)
from ihp_compute.measure.cost import Cost, amount_cents, costs, slots
from ihp_compute.measure.payer_months import IS_MANAGED, payer_names
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.population import ShardColumns
from ihp_compute.units import NO_DAY, half_even, month_of, sums_by

_MONTHS: Final = 12


@dataclass(frozen=True)
class Developed:
    """Cost of some shards by payer, the month that incurs it and months of lag.

    cents : int64[n_rule_sets, n_payers, n_months, n_lags], before the cap, months from January of
        the base year
    undated_cents : int64[n_rule_sets, n_payers, 2], of lines without a payment date, by year
    base_cents : int64[n_rule_sets, n_payers, 2, 2], of the base year, before and after the cap:
        as it was known at the performance year's age, and as it is known now
    """

    cents: NDArray[np.int64]
    undated_cents: NDArray[np.int64]
    base_cents: NDArray[np.int64]

    def __add__(self, other: Developed) -> Developed:
        """Those of two disjoint sets of members."""
        return Developed(
            self.cents + other.cents,
            self.undated_cents + other.undated_cents,
            self.base_cents + other.base_cents,
        )


class _Counted(NamedTuple):
    """Lines that cost, of one shard under one rule set; an entry a line.

    period : 0 base year, 1 performance year; row : month from January of the base year
    """

    member: NDArray[np.int64]
    period: NDArray[np.int64]
    row: NDArray[np.int64]
    cell: NDArray[np.int64]
    payer: NDArray[np.int64]
    paid_day: NDArray[np.int32]
    cents: NDArray[np.int64]

    def at(self, rows: NDArray[np.int64]) -> _Counted:
        """Some of the lines."""
        return _Counted(
            self.member[rows], self.period[rows], self.row[rows], self.cell[rows],
            self.payer[rows], self.paid_day[rows], self.cents[rows],
        )  # fmt: skip


def develop(shard: ShardColumns, plan: ShardPlan, attributions: Sequence[Attribution]) -> Developed:
    """One shard's cost by payer, month and lag, of eligible members."""
    first_month = month_of(plan.base_year, 1)
    n_months = _MONTHS * (plan.performance_year - plan.base_year + 1)
    through = plan.paid_through
    n_lags = max(month_of(through.year, through.month) - first_month + 1, 1)
    n_payers = 1 + len(plan.plans)
    cents = np.zeros((len(plan.rule_sets), n_payers, n_months, n_lags), np.int64)
    undated = np.zeros((len(plan.rule_sets), n_payers, 2), np.int64)
    base = np.zeros((len(plan.rule_sets), n_payers, 2, 2), np.int64)
    payers = [_payer_of_month(shard, attribution) for attribution in attributions]
    eligible = np.stack([attribution.group >= 0 for attribution in attributions])
    for r, terms in enumerate(plan.rule_sets):
        lines = _counted(shard, plan, terms, attributions, payers)
        lines = lines.at(np.flatnonzero(eligible[lines.period, lines.member]))
        dated = lines.paid_day != NO_DAY
        lag = np.full(len(dated), -1, np.int64)
        lag[dated] = lags_of(
            (first_month + lines.row[dated]).astype(np.int32), lines.paid_day[dated],
            first_month=first_month, cutoff_day=plan.cutoff_day,
        )  # fmt: skip
        dated &= lines.row + lag < n_lags  # of a month after the cutoff nothing is to develop
        place = (lines.payer * n_months + lines.row) * n_lags + lag
        cents[r] = sums_by(place[dated], lines.cents[dated], cents[r].size).reshape(cents[r].shape)
        place = lines.payer * 2 + lines.period
        sums = sums_by(place[~dated], lines.cents[~dated], 2 * n_payers)
        undated[r] = sums.reshape(n_payers, 2)
        of_base = lines.at(np.flatnonzero(lines.period == 0))
        earlier = years_earlier(plan.cutoff_day, plan.performance_year - plan.base_year)
        for k, cutoff_day in enumerate((earlier, plan.cutoff_day)):
            known = of_base.at(np.flatnonzero(of_base.paid_day <= cutoff_day))
            base[r, :, 0, k] = sums_by(known.payer, known.cents, n_payers)
            (year,) = costs(shard, [terms], cutoff_day=cutoff_day, attributions=attributions[:1])
            by_payer = _by_payer(known, shard.n_members, n_payers)
            base[r, :, 1, k] = _split(_eligible(year[0], eligible[0]), by_payer).sum(axis=0)
    return Developed(cents, undated, base)


def _eligible(cost: Cost, eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(eligible, cost.cell_cents, 0).reshape(-1)


def parts_of(
    found: Developed, plan: ShardPlan
) -> tuple[dict[tuple[int, int, int], Fraction], list[str]]:
    """Completion of each (rule set, year's position, payer) that is not complete, and what to tell.

    Raises
    ------
    DataError
        If the state's claims themselves say nothing of what is still to come.
    """
    parts: dict[tuple[int, int, int], Fraction] = {}
    borrowed: dict[str, None] = {}
    names = payer_names(list(plan.plans))
    last = found.cents.shape[2] - _MONTHS
    for r in range(len(plan.rule_sets)):
        whole = _factors(found, r, slice(None), last)
        for k, name in enumerate(names):
            cents, undated = found.cents[r, k], found.undated_cents[r, k]
            own = _factors(found, r, slice(k, k + 1), last) if cents[:_MONTHS].any() else None
            for p in (0, 1):
                if not cents[_rows(p, last)].any() and not undated[p]:
                    continue
                ratio = None if own is None else own[p]
                if ratio is None:
                    ratio = whole[p]
                    if ratio is None:
                        raise DataError(
                            f"completion.method computed: nothing says what is still to come of "
                            f"the claims of {plan.years[p]}, paid through {plan.paid_through}; "
                            "settle later, or state observed.completion"
                        )
                    if ratio != 1:
                        borrowed[f"{name} {plan.years[p]}"] = None
                if ratio != 1:
                    parts[r, p, k] = ratio
    notes = []
    if borrowed:
        notes.append(
            f"completion: {', '.join(borrowed)} cannot be developed from earlier claims of its "
            "own and takes the factor of all payers"
        )
    return parts, notes


def completed(
    shard: ShardColumns,
    plan: ShardPlan,
    attributions: Sequence[Attribution],
    measured: Sequence[Sequence[Cost]],
) -> list[list[Cost]]:
    """Costs over the completion of each payer; as they are where every part is complete.

    A member's capped cost of a rate cell is split over payers as its uncapped cost is, in the order
    of the payers, the remainder to the last. Each part is divided by its payer's factor and rounded
    to the cent, half to even.
    """
    found = [list(of_year) for of_year in measured]
    parts = plan.completion.parts
    if not parts:
        return found
    n, n_payers = shard.n_members, 1 + len(plan.plans)
    payers = [_payer_of_month(shard, attribution) for attribution in attributions]
    for r, terms in enumerate(plan.rule_sets):
        lines = _counted(shard, plan, terms, attributions, payers)
        for p in range(len(attributions)):
            factors = [parts.get((r, p, k)) for k in range(n_payers)]
            if not any(factors):
                continue
            here = lines.at(np.flatnonzero(lines.period == p))
            by_payer = _by_payer(here, n, n_payers)
            whole = found[p][r].cell_cents
            made = _completed_cells(whole.reshape(-1), by_payer, factors).reshape(whole.shape)
            found[p][r] = replace(
                found[p][r],
                cell_cents=made,
                cell_taken_cents=found[p][r].cell_taken_cents - (made - whole),
                capped_cents=found[p][r].capped_cents + (made - whole).sum(axis=0),
            )
    return found


def _completed_cells(
    cents: NDArray[np.int64], by_payer: NDArray[np.int64], factors: Sequence[Fraction | None]
) -> NDArray[np.int64]:
    """Capped cents of each member and cell, completed; `by_payer` are their uncapped parts."""
    parts = _split(cents, by_payer)
    for k, factor in enumerate(factors):
        if factor is not None:
            here = np.flatnonzero(parts[:, k])
            parts[here, k] = _over(parts[here, k], factor)
    return parts.sum(axis=1)


def _by_payer(lines: _Counted, n: int, n_payers: int) -> NDArray[np.int64]:
    """Cost before the cap by cell and member, and by payer: int64[n_cells * n, n_payers]."""
    place = (lines.cell * n + lines.member) * n_payers + lines.payer
    return sums_by(place, lines.cents, len(RATE_CELLS) * n * n_payers).reshape(-1, n_payers)


def _split(cents: NDArray[np.int64], by_payer: NDArray[np.int64]) -> NDArray[np.int64]:
    """Capped cents in the proportion of uncapped parts, the remainder to the last: as `by_payer`.

    What has no parts goes to the first payer.
    """
    stands = by_payer != 0
    n_parts = stands.sum(axis=1)
    out = np.zeros_like(by_payer)
    one = np.flatnonzero(n_parts <= 1)
    out[one, stands[one].argmax(axis=1)] = cents[one]
    for i in np.flatnonzero((n_parts > 1) & (cents != 0)).tolist():
        weights = by_payer[i].tolist()
        last = max(k for k, weight in enumerate(weights) if weight)
        for k in range(last):
            out[i, k] = _share(int(cents[i]), weights[k], sum(weights))
        out[i, last] = cents[i] - out[i].sum()
    return out


def _share(cents: int, part: int, whole: int) -> int:
    """Cents in the proportion of a part to a whole, half to even; of no whole, nothing."""
    if not whole:
        return 0
    sign = 1 if whole > 0 else -1
    return half_even(sign * cents * part, sign * whole)


def _over(cents: NDArray[np.int64], factor: Fraction | None) -> NDArray[np.int64]:
    """Cents over a factor, half to even; exact, whatever the size of the fraction."""
    if factor is None:
        return cents
    values, place = np.unique(cents, return_inverse=True)
    made = [half_even(value * factor.denominator, factor.numerator) for value in values.tolist()]
    return np.array(made, np.int64)[place]


def _rows(period: int, last: int) -> slice:
    start = last if period else 0
    return slice(start, start + _MONTHS)


def _factors(
    found: Developed, rule_set: int, payers: slice, last: int
) -> tuple[Fraction | None, Fraction | None]:
    """Completion of the base and of the performance year, of some payers together."""
    cents = found.cents[rule_set, payers].sum(axis=0)
    undated = found.undated_cents[rule_set, payers].sum(axis=0)
    months = chain_ladder(cents)
    ratios = []
    for period in (0, 1):
        rows = _rows(period, last)
        paid = [int(row.sum()) for row in cents[rows]]
        ratios.append(overall(paid, months[rows], int(undated[period])))
    base, performance = ratios
    if performance is not None:
        performance *= _of_cap(*found.base_cents[rule_set, payers].sum(axis=0).tolist())
    return base, performance


def _of_cap(before: list[int], after: list[int]) -> Fraction:
    """How much greater a part of the whole was known after the cap than before it, from 1."""
    if min(*before, *after) <= 0:
        return Fraction(1)
    return Fraction(after[0], after[1]) / Fraction(before[0], before[1])


def _payer_of_month(shard: ShardColumns, attribution: Attribution) -> NDArray[np.int64]:
    """Payer of each member's months, int64[n, 12]: 0 fee for service, 1 + code of the plan."""
    january = month_of(attribution.year, 1)
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("spans")))
    first = shard.column("spans", "first_month") - january
    end = first + shard.column("spans", "n_months")
    plan = shard.column("spans", "plan")
    payer = np.zeros((shard.n_members, _MONTHS), np.int64)
    for month in range(_MONTHS):
        here = (first <= month) & (month < end)
        payer[member[here], month] = 1 + plan[here]
    payer[~IS_MANAGED[attribution.month_cell]] = 0
    return payer


def _counted(
    shard: ShardColumns,
    plan: ShardPlan,
    terms: CostTerms,
    attributions: Sequence[Attribution],
    payers: Sequence[NDArray[np.int64]],
) -> _Counted:
    """The lines that are cost in the years of a run, as `cost` counts them."""
    first_day, slot_of_day = slots([attribution.year for attribution in attributions])
    offset = shard.column("lines", INCURRED_BY[terms.incurred_by]) - np.int64(first_day)
    paid_day = shard.column("lines", "paid_day")
    counts = (offset >= 0) & (offset < len(slot_of_day)) & (paid_day <= plan.cutoff_day)
    counts &= np.isin(shard.column("lines", "kind"), COST_KINDS)
    counts &= (terms.service_bits >> shard.column("lines", "category").astype(np.int64)) & 1 == 1
    rows = np.flatnonzero(counts)
    slot = slot_of_day[offset[rows]].astype(np.int64)
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("lines")))[rows]
    inside = slot < _MONTHS * len(attributions)
    rows, slot, member = rows[inside], slot[inside], member[inside]
    period, month = np.divmod(slot, _MONTHS)
    cell = np.stack([a.month_cell for a in attributions])[period, member, month].astype(np.int64)
    kept = cell != NOT_COUNTABLE
    rows, member, period, month, cell = (
        column[kept] for column in (rows, member, period, month, cell)
    )
    years = np.array([12 * (a.year - plan.base_year) for a in attributions])
    return _Counted(
        member,
        period,
        years[period] + month,
        cell,
        np.stack(payers)[period, member, month],
        paid_day[rows],
        amount_cents(shard, terms)[rows],
    )
