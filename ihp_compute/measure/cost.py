"""Cost of care: which lines of a member's year are cost, how much, and the fate of every line.

    line -> year and month -> included? -> amount -> member-year -> floor -> cap -> rate cells

1. A line belongs to the year and the month that hold its incurred day (`cost.incurred_by`): by
   that month it is asked for enrolment, for countability and for the rate cell.
2. It is cost when it was paid by the cutoff (or its paid day is not stated), it is neither a
   capitation nor a supplemental line, its service category is included, and its month is countable.
3. Its amount is what the contract says; an encounter with nothing paid may take its allowed amount.
4. Per member and year, on the sum: a negative total is raised to zero, then the cap, then what is
   kept above it. What floor and cap take is taken from rate cells in proportion to their cost, as
   differences of running totals rounded half to even, in the order in which the contract lists
   them.

Every line also has one fate (`ledger.RunFate`), by the same tests: counted lines are the cost of
members attributed to partnerships. Cost is measured for everybody, because the market trend and
the statewide mean need it.

Not here: whose member a person is (`attribution`), how complete the claims are (`completion`,
`settlement`), which category a line falls in (`ingest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import LINE_KINDS, RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.contracts import INCURRED_BY, CostTerms
from ihp_compute.errors import ContractError
from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.cut import known_by
from ihp_compute.population import ShardColumns
from ihp_compute.units import months_of_days, year_bounds
from kernels.members.segment_cost import NO_CAP, OUTSIDE, segment_cost

CAPITATION: Final = 1 << LINE_KINDS.index("capitation")
COSTS: Final = 1 << LINE_KINDS.index("fee_for_service") | 1 << LINE_KINDS.index("encounter")
_ALL_KINDS: Final = (1 << len(LINE_KINDS)) - 1


@dataclass(frozen=True)
class Cost:
    """Cost of one shard's members in one year under one rule set.

    capped = uncapped + floored - above_cap, for every member, unless the run completes cost
    (`completed`): capped is then over the completion of each payer.

    Attributes
    ----------
    year : int
    cell_cents : int64[n_rate_cells, n]
        Capped cost by rate cell; sums over cells to `capped_cents`.
    cell_taken_cents : int64[n_rate_cells, n]
        What floor and cap took from each; with `cell_cents` the cost before both.
    uncapped_cents, capped_cents, above_cap_cents, floored_cents : int64[n]
    category_cents : int64[n_categories, n], or [0, n] unless asked for
        Uncapped cost by service category.
    paid_cents : int64[n]
        Paid amount of all lines of the year but capitation, whatever category and month.
    """

    year: int
    cell_cents: NDArray[np.int64]
    cell_taken_cents: NDArray[np.int64]
    uncapped_cents: NDArray[np.int64]
    capped_cents: NDArray[np.int64]
    above_cap_cents: NDArray[np.int64]
    floored_cents: NDArray[np.int64]
    category_cents: NDArray[np.int64]
    paid_cents: NDArray[np.int64]


def costs(
    shard: ShardColumns,
    rule_sets: Sequence[CostTerms],
    *,
    cutoff_day: int,
    attributions: Sequence[Attribution],
    by_category: bool = False,
) -> list[list[Cost]]:
    """Cost of several years under several rule sets, in one pass over the lines.

    Parameters
    ----------
    shard : Shard
    rule_sets : sequence of CostTerms
        Those that share amount and incurred day are measured in the same pass.
    cutoff_day : int
        Lines paid after it do not count.
    attributions : sequence of Attribution
        One a year, of different years: which months count and in which rate cell.
    by_category : bool
        Whether to sum by service category too.

    Returns
    -------
    list over years of list over rule sets of Cost
    """
    found: dict[int, list[Cost]] = {}
    years = [attribution.year for attribution in attributions]
    first_day, slot_of_day = slots(years)
    for members in _passes(rule_sets):
        group = [rule_sets[r] for r in members]
        incurred_day = INCURRED_BY[group[0].incurred_by]
        seen, cutoff_days = known_by(shard, years, incurred_day=incurred_day, cutoff_day=cutoff_day)
        sums = segment_cost(
            amount_cents(seen, group[0]),
            seen.column("lines", "paid_cents"),
            seen.column("lines", incurred_day),
            seen.column("lines", "paid_day"),
            seen.column("lines", "category"),
            seen.column("lines", "kind"),
            seen.offsets("lines"),
            np.stack([attribution.month_cell for attribution in attributions]),
            slot_of_day,
            service_bits(group),
            np.array([_cap(terms) for terms in group], np.int64),
            np.array([terms.keep_above_cap_micro for terms in group], np.int64),
            np.array([terms.floor_at_zero for terms in group], np.bool_),
            np.array([terms.prorate_cap for terms in group], np.bool_),
            np.array([_order(terms) for terms in group], np.uint8),
            cutoff_days,
            first_day=first_day,
            kind_bits=COSTS,
            paid_kind_bits=_ALL_KINDS & ~CAPITATION,
            n_cells=len(RATE_CELLS),
            n_categories=len(SERVICE_CATEGORIES) if by_category else 0,
        )
        for i, r in enumerate(members):
            found[r] = [
                Cost(
                    year=year,
                    cell_cents=sums.cell_cents[i, p],
                    cell_taken_cents=sums.cell_taken_cents[i, p],
                    uncapped_cents=sums.uncapped_cents[i, p],
                    capped_cents=sums.capped_cents[i, p],
                    above_cap_cents=sums.above_cap_cents[i, p],
                    floored_cents=sums.floored_cents[i, p],
                    category_cents=sums.category_cents[i, p],
                    paid_cents=sums.paid_cents[p],
                )
                for p, year in enumerate(years)
            ]
    return [[found[r][p] for r in range(len(rule_sets))] for p in range(len(years))]


def _passes(rule_sets: Sequence[CostTerms]) -> list[list[int]]:
    """Rule sets that read the same columns, by their numbers."""
    together: dict[tuple[str, ...], list[int]] = {}
    for r, terms in enumerate(rule_sets):
        key = (terms.amount, terms.zero_paid_encounter, terms.incurred_by)
        together.setdefault(key, []).append(r)
    return list(together.values())


def service_bits(rule_sets: Sequence[CostTerms]) -> NDArray[np.uint32]:
    """uint32[n_rule_sets]: the services that each rule set counts, a bit a service."""
    return np.array([terms.service_bits for terms in rule_sets], np.uint32)


def _order(terms: CostTerms) -> list[int]:
    return [RATE_CELLS.index(cell) for cell in terms.cell_order]


_ALL: Final = slice(None)


def _cap(terms: CostTerms) -> int:
    return NO_CAP if terms.claim_cap_cents is None else terms.claim_cap_cents


def amount_cents(
    shard: ShardColumns, terms: CostTerms, rows: NDArray[np.intp] | slice = _ALL
) -> NDArray[np.int64]:
    """The amount of each line that the contract measures; of some rows, where they are given."""

    def of(name: str) -> NDArray[Any]:
        return shard.column("lines", name)[rows]

    if terms.amount == "allowed":
        return of("allowed_cents")
    paid: NDArray[np.int64] = of("paid_cents")
    amount = paid
    if terms.zero_paid_encounter == "allowed":
        free = (of("kind") == LINE_KINDS.index("encounter")) & (paid == 0)
        amount = np.where(free, of("allowed_cents"), paid)
    if terms.amount == "paid_less_third_party":
        amount = amount - of("third_party_cents")
    return amount


def slots(years: Sequence[int]) -> tuple[int, NDArray[np.uint8]]:
    """First day, and 12 × position of the year + month of every day from then on."""
    if len(set(years)) != len(years):
        raise ContractError(f"expected different years, got {', '.join(map(str, years))}")
    first = min(year_bounds(year)[0] for year in years)
    end = max(year_bounds(year)[1] for year in years)
    slot_of_day = np.full(end - first, OUTSIDE, np.uint8)
    for position, year in enumerate(years):
        low, high = year_bounds(year)
        months = months_of_days(np.arange(low, high, dtype=np.int32)) - 12 * year
        slot_of_day[low - first : high - first] = 12 * position + months
    return first, slot_of_day
