"""Cost completed by the run: one factor a payer and year, from capped cost at each lag.

    lines -> capped cost by payer, month and lag, summed over the state -> chain ladder -> factors
    capped cost of a member and cell -> parts by payer -> ÷ factor, to the cent -> cost that settles

A month's payer is fee for service where its rate cell is, else the plan of its span. Cost is capped
as it was known at each lag: what a member's payments of a month add to the capped cost goes to
their months and payers in proportion. Factors are developed from the base and the performance
year, over everybody who is eligible, under each rule set; they are exact fractions and no draw
moves them. A payer that has no cost in the base year has nothing to be developed from and takes
the factor of all payers, which is told.

Not here: how a triangle is developed (`completion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import INCURRED_BY, CostTerms
from ihp_compute.errors import DataError
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.measure.completion import COST_KINDS, chain_ladder, lags_of, overall
from ihp_compute.measure.cost import Cost, amount_cents, slots
from ihp_compute.measure.payer_months import IS_MANAGED, payer_names
from ihp_compute.measure.plan import Plan
from ihp_compute.population import ShardColumns
from ihp_compute.units import MICRO, NO_DAY, half_even, month_of, sums_by

_MONTHS: Final = 12


@dataclass(frozen=True)
class Developed:
    """Capped cost of some shards by payer, the month that incurs it and months of lag.

    cents : int64[n_rule_sets, n_payers, n_months, n_lags], months from January of the base year
    undated_cents : int64[n_rule_sets, n_payers, 2], of lines without a payment date, by year
    """

    cents: NDArray[np.int64]
    undated_cents: NDArray[np.int64]

    def __add__(self, other: Developed) -> Developed:
        """Those of two disjoint sets of members."""
        return Developed(self.cents + other.cents, self.undated_cents + other.undated_cents)


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


def develop(shard: ShardColumns, plan: Plan, attributions: Sequence[Attribution]) -> Developed:
    """One shard's capped cost by payer, month and lag, of eligible members."""
    first_month = month_of(plan.base_year, 1)
    n_months = _MONTHS * (plan.performance_year - plan.base_year + 1)
    through = plan.paid_through
    n_lags = max(month_of(through.year, through.month) - first_month + 1, 1)
    n_payers = 1 + len(plan.plans)
    cents = np.zeros((len(plan.rule_sets), n_payers, n_months, n_lags), np.int64)
    undated = np.zeros((len(plan.rule_sets), n_payers, 2), np.int64)
    payers = [_payer_of_month(shard, attribution) for attribution in attributions]
    eligible = np.stack([attribution.group >= 0 for attribution in attributions])
    for r, terms in enumerate(plan.rule_sets):
        lines = _counted(shard, plan, terms, attributions, payers)
        here = np.flatnonzero(eligible[lines.period, lines.member])
        lines = _Counted(*(column[here] for column in lines))
        dated = lines.paid_day != NO_DAY
        lag = np.full(len(here), -1, np.int64)
        lag[dated] = lags_of(
            (first_month + lines.row[dated]).astype(np.int32), lines.paid_day[dated],
            first_month=first_month, cutoff_day=plan.cutoff_day,
        )  # fmt: skip
        lag = np.minimum(lag, n_lags - 1 - lines.row)  # a month after the cutoff is not seen yet
        dated &= lag >= 0
        capped = _as_capped(lines, np.where(dated, lines.row + lag, -1), terms, attributions)
        place = (lines.payer * n_months + lines.row) * n_lags + lag
        cents[r] = sums_by(place[dated], capped[dated], cents[r].size).reshape(cents[r].shape)
        place = lines.payer * 2 + lines.period
        undated[r] = sums_by(place[~dated], capped[~dated], 2 * n_payers).reshape(n_payers, 2)
    return Developed(cents, undated)


def parts_of(
    found: Developed, plan: Plan
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
        whole = [
            _of_year(found.cents[r].sum(axis=0), found.undated_cents[r].sum(axis=0), p, last)
            for p in (0, 1)
        ]
        for k, name in enumerate(names):
            cents, undated = found.cents[r, k], found.undated_cents[r, k]
            own = cents[:_MONTHS].any()
            for p in (0, 1):
                if not cents[_rows(p, last)].any() and not undated[p]:
                    continue
                ratio = _of_year(cents, undated, p, last) if own else None
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
    plan: Plan,
    attributions: Sequence[Attribution],
    costs: Sequence[Sequence[Cost]],
) -> list[list[Cost]]:
    """Costs over the completion of each payer; as they are where every part is complete.

    A member's capped cost of a rate cell is split over payers as its uncapped cost is, in the order
    of the payers, the remainder to the last. Each part is divided by its payer's factor and rounded
    to the cent, half to even.
    """
    found = [list(of_year) for of_year in costs]
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
            here = lines.period == p
            place = (lines.cell * n + lines.member) * n_payers + lines.payer
            size = len(RATE_CELLS) * n * n_payers
            by_payer = sums_by(place[here], lines.cents[here], size).reshape(-1, n_payers)
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
    out = cents.copy()
    stands = by_payer != 0
    several = stands.sum(axis=1) > 1
    one = stands & ~several[:, None]
    for k, factor in enumerate(factors):
        if factor is not None:
            here = np.flatnonzero(one[:, k] & (cents != 0))
            out[here] = _over(cents[here], factor)
    for i in np.flatnonzero(several & (cents != 0)).tolist():
        left, total = int(cents[i]), 0
        weights = by_payer[i].tolist()
        last = max(k for k, weight in enumerate(weights) if weight)
        for k in range(last):
            part = _share(int(cents[i]), weights[k], sum(weights))
            left -= part
            total += int(_over(np.array([part]), factors[k])[0])
        out[i] = total + int(_over(np.array([left]), factors[last])[0])
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


def _of_year(
    cents: NDArray[np.int64], undated: NDArray[np.int64], period: int, last: int
) -> Fraction | None:
    rows = _rows(period, last)
    paid = [int(row.sum()) for row in cents[rows]]
    return overall(paid, chain_ladder(cents)[rows], int(undated[period]))


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
    plan: Plan,
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


def _as_capped(
    lines: _Counted,
    paid_in: NDArray[np.int64],
    terms: CostTerms,
    attributions: Sequence[Attribution],
) -> NDArray[np.int64]:
    """What each line added to its member's capped cost when it was paid: int64[n_lines].

    `paid_in` is the month of payment of each line, in order; -1: not stated, before all others.
    """
    out = lines.cents.copy()
    n = len(attributions[0].group)
    who = lines.period * n + lines.member
    size = n * len(attributions)
    positive = sums_by(who, np.maximum(lines.cents, 0), size)
    caps = _caps(terms, attributions)
    doubtful = (caps >= 0) & (positive > caps)
    if terms.floor_at_zero:
        doubtful |= sums_by(who, lines.cents < 0, size) > 0
    rows = np.flatnonzero(doubtful[who])
    order = rows[np.lexsort((lines.payer[rows], lines.row[rows], paid_in[rows], who[rows]))]
    for start, end in _pieces(who[order]):
        known, settled = 0, 0
        cap = int(caps[who[order[start]]])
        for first, stop in _pieces(paid_in[order[start:end]]):
            paid = order[start + first : start + stop]
            added = int(lines.cents[paid].sum())
            known += added
            now = _settles(known, cap, terms)
            out[paid] = _in_proportion(lines.cents[paid].tolist(), added, now - settled)
            settled = now
    return out


def _in_proportion(parts: list[int], whole: int, cents: int) -> list[int]:
    """Cents given to parts by their running totals, half to even."""
    if whole == cents:
        return parts
    given, through, before = [], 0, 0
    for part in parts:
        through += part
        now = _share(cents, through, whole)
        given.append(now - before)
        before = now
    return given


def _settles(total: int, cap: int, terms: CostTerms) -> int:
    """A member-year's cost after floor and cap (`kernels.segment_cost`)."""
    if total < 0 and terms.floor_at_zero:
        return 0
    if 0 <= cap < total:
        return cap + half_even((total - cap) * terms.keep_above_cap_micro, MICRO)
    return total


def _caps(terms: CostTerms, attributions: Sequence[Attribution]) -> NDArray[np.int64]:
    """Cap of each year and member, -1 where there is none."""
    n = len(attributions[0].group)
    if terms.claim_cap_cents is None:
        return np.full(n * len(attributions), -1, np.int64)
    cap = np.full((len(attributions), n), terms.claim_cap_cents, np.int64)
    if terms.prorate_cap:
        months = np.stack([(a.month_cell != NOT_COUNTABLE).sum(axis=1) for a in attributions])
        cap = half_even(cap * months, _MONTHS)
    return cap.reshape(-1)


def _pieces(sorted_values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Start and end of each run of equal values."""
    if not len(sorted_values):
        return
    starts = np.flatnonzero(np.r_[True, sorted_values[1:] != sorted_values[:-1]]).tolist()
    yield from zip(starts, [*starts[1:], len(sorted_values)], strict=True)
