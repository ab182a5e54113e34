"""Attribution: whose member a person is in a calendar year, and for how many months.

    spans -> countable months -> visits on the roster -> plurality by step -> eligible? -> group

1. A month counts when a span covers it, it carries none of the flags that the contract excludes,
   and it lies neither before the month of birth nor after the month of death.
2. A member is eligible with `min_months_continuous` countable months in a row, or `min_months_any`
   in all; else the group is -1 and the reason is named.
3. A visit counts in a month that counts; where the contract's `no_visit` lacks `excluded_month`,
   in any month that a span covers. Its month is that of its service.
4. A visit falls under the roster entry of its rendering provider, else of its billing provider
   (when the rendering one is blank or has no entry that fits). An entry fits when its tin is blank
   or the visit's and the visit's day lies in its days. An entry naming the tin goes before one
   that does not.
5. Encounters (distinct day and partnership) are counted at the first step of `steps` where the
   member has any; the most encounters win, then the latest, then the lowest partnership id. The
   comparison population is a partnership like any other here, and the highest id.
6. An eligible member without encounters is UNATTRIBUTED.

Not here: which lines are visits, and of which step (`visits`); on which days an entry holds
(`roster`); what the terms are (`contracts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ATTRIBUTION_STEPS, EXCLUDABLE, AttributionTerms
from ihp_compute.measure.roster import Roster
from ihp_compute.measure.visits import VisitRule
from ihp_compute.population import ShardColumns
from ihp_compute.units import NO_DAY, months_of_days, year_bounds
from kernels.members.enrolled_months import NO_CELL, EnrolledMonths, enrolled_months
from kernels.members.plurality import NO_VISIT, plurality
from kernels.members.roster_match import roster_match

EXCLUSION_REASONS: Final = (
    "", "not_enrolled", "dual", "spend_down", "partial_benefit", "limited_benefits",
    "too_few_months",
)  # fmt: skip
"""Attribution.reason indexes this list; "" is an eligible member.

`not_enrolled`: no month of the year is covered. A flag of months (`EXCLUDABLE`): with the excluded
months counted the member would be eligible, and this is the first flag found among them.
`too_few_months`: not even then.
"""
NOT_COUNTABLE: Final = NO_CELL
"""In `Attribution.month_cell`: the month is not countable."""


@dataclass(frozen=True)
class Attribution:
    """One year of one shard, arrays over its members.

    Attributes
    ----------
    year : int
    group : int32[n]
        Index into `Roster.groups`; -1 for a member who is not eligible.
    step : uint8[n]
        1 health care home, 2 primary care, 3 specialist; 0 none.
    n_visits : int32[n]
        Encounters with the group at that step.
    last_visit : int64[n]
        Row in "visits" of the latest of those encounters; `NO_VISIT` without any.
    tied : bool[n]
        Whether another group had as many.
    reason : uint8[n]
        Why a member is not eligible: index into `EXCLUSION_REASONS`.
    months : int64[n_rate_cells, n]
        Countable member months by rate cell, of eligible and other members.
    month_cell : uint8[n, 12]
        Rate cell of each calendar month; `NOT_COUNTABLE` where the month does not count.
    enrolled_months : int64[n]
        Months covered by a span, countable or not.
    spanned : uint16[n]
        Bit i: a span stands in month i of the year, whether the member lives then or not.
    """

    year: int
    group: NDArray[np.int32]
    step: NDArray[np.uint8]
    n_visits: NDArray[np.int32]
    last_visit: NDArray[np.int64]
    tied: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    months: NDArray[np.int64]
    month_cell: NDArray[np.uint8]
    enrolled_months: NDArray[np.int64]
    spanned: NDArray[np.uint16]


# --- months --------------------------------------------------------------------------------------


def _run(mask: int) -> int:
    """Longest run of set bits."""
    return max(len(part) for part in f"{mask:012b}".split("0"))


_ALL_MASKS: Final = range(1 << 12)
_N_MONTHS: Final = np.array([mask.bit_count() for mask in _ALL_MASKS], np.int64)
_LONGEST: Final = np.array([_run(mask) for mask in _ALL_MASKS], np.int64)
"""Months in a mask of the year's twelve, and the longest of its runs."""


def _alive(shard: ShardColumns, year: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """First month of the year that counts by birth, and the month after the last by death."""
    first_day, end_day = year_bounds(year)
    birth, death = shard.column("members", "birth_day"), shard.column("members", "death_day")
    born = np.zeros(shard.n_members, np.uint8)
    died = np.full(shard.n_members, 12, np.uint8)
    late = np.flatnonzero(birth >= first_day)
    born[late] = np.minimum(months_of_days(birth[late]) - 12 * year, 12)
    early = np.flatnonzero((death != NO_DAY) & (death < end_day))
    died[early] = np.maximum(months_of_days(death[early]) - 12 * year + 1, 0)
    return born, died


def _eligible(mask: NDArray[np.uint16], terms: AttributionTerms) -> NDArray[np.bool_]:
    enough = terms.min_months_continuous <= _LONGEST
    enough |= terms.min_months_any <= _N_MONTHS
    return enough.take(mask)


def _reasons(
    found: EnrolledMonths, terms: AttributionTerms, left_out: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Why members are not eligible, those at `left_out`; 0 of all others."""
    covered = found.covered.take(left_out)
    why = np.full(left_out.size, EXCLUSION_REASONS.index("too_few_months"), np.uint8)
    undecided = _eligible(covered, terms)
    for name, flagged in zip(EXCLUDABLE, found.flagged, strict=True):
        if name in terms.exclude:
            here = undecided & (flagged.take(left_out) != 0)
            why[here] = EXCLUSION_REASONS.index(name)
            undecided &= ~here
    why[covered == 0] = EXCLUSION_REASONS.index("not_enrolled")
    reason = np.zeros(found.covered.size, np.uint8)
    reason[left_out] = why
    return reason


# --- the year ------------------------------------------------------------------------------------


def attribute(
    shard: ShardColumns,
    roster: Roster,
    visits: VisitRule,
    terms: AttributionTerms,
    *,
    year: int,
    cutoff_day: int,
) -> Attribution:
    """Attribute every member of a shard for a calendar year.

    Parameters
    ----------
    shard : Shard
    roster : Roster
        From `compile_roster`, over the same population and years.
    visits : VisitRule
        From `compile_visits`, over the same population and terms.
    terms : AttributionTerms
    year : int
    cutoff_day : int
        Visits paid after this day do not count; a visit without a paid day does.

    Returns
    -------
    Attribution
    """
    found = _months(shard, terms, year, np.zeros(shard.n_members, np.uint8))
    first_day, month_of = year_bounds(year)[0], _month_of_day(year)
    visit_group, visit_step = _match(shard, roster, visits, year=year, cutoff_day=cutoff_day)
    months = _open_months(found, terms)
    group, step, n_visits, tied, first_visit, last_visit = plurality(
        visit_group,
        visit_step,
        shard.column("visits", "day"),
        shard.offsets("visits"),
        months,
        month_of,
        first_day=first_day,
        n_groups=len(roster.groups),
        n_steps=len(terms.steps),
        latest="latest_visit" in terms.tie_break,
    )
    if not terms.keep_pre_visit:
        from_month = np.zeros(shard.n_members, np.uint8)
        seen = np.flatnonzero(step)
        from_month[seen] = months_of_days(first_visit[seen]) - 12 * year
        found = _months(shard, terms, year, from_month)
    left_out = np.flatnonzero(~_eligible(found.countable, terms))
    np.putmask(group, group < 0, len(roster.groups) - 1)
    nothing_of = (
        (group, -1), (step, 0), (n_visits, 0), (last_visit, NO_VISIT), (tied, False),
    )  # fmt: skip
    for column, nothing in nothing_of:
        column[left_out] = nothing
    step_number = np.array(
        [0, *(ATTRIBUTION_STEPS.index(name) + 1 for name in terms.steps)], np.uint8
    )
    return Attribution(
        year=year,
        group=group,
        step=step_number.take(step),
        n_visits=n_visits,
        last_visit=last_visit,
        tied=tied,
        reason=_reasons(found, terms, left_out),
        months=found.months,
        month_cell=found.month_cell,
        enrolled_months=_N_MONTHS.take(found.covered),
        spanned=found.spanned,
    )


def countable_months(
    shard: ShardColumns,
    year: int,
    *,
    roster: Roster,
    visits: VisitRule,
    terms: AttributionTerms,
    cutoff_days: Mapping[int, int],
) -> NDArray[np.int64]:
    """`Attribution.months` of a year; parameters as `attribute`, the cutoff by year.

    Visits are read only where months before the first one do not count.
    """
    if terms.keep_pre_visit:
        return _months(shard, terms, year, np.zeros(shard.n_members, np.uint8)).months
    return attribute(shard, roster, visits, terms, year=year, cutoff_day=cutoff_days[year]).months


def countable_cells(
    shard: ShardColumns, year: int, terms: AttributionTerms
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Months of a year that count, of members who were attributed before it.

    Returns
    -------
    month_cell : uint8[n, 12]
        As `Attribution.month_cell`: no visit of the year is waited for.
    spanned : uint16[n]
        As `Attribution.spanned`.
    """
    found = _months(shard, terms, year, np.zeros(shard.n_members, np.uint8))
    return found.month_cell, found.spanned


def eligible_cells(
    shard: ShardColumns,
    year: int,
    *,
    roster: Roster,
    visits: VisitRule,
    terms: AttributionTerms,
    cutoff_day: int,
) -> NDArray[np.uint8]:
    """`Attribution.month_cell` of eligible members, no month of others; parameters as `attribute`.

    Visits are read only where months before the first one do not count.
    """
    if not terms.keep_pre_visit:
        found = attribute(shard, roster, visits, terms, year=year, cutoff_day=cutoff_day)
        cells, eligible = found.month_cell, found.group >= 0
    else:
        months = _months(shard, terms, year, np.zeros(shard.n_members, np.uint8))
        cells, eligible = months.month_cell, _eligible(months.countable, terms)
    return np.where(eligible[:, None], cells, np.uint8(NOT_COUNTABLE))


def _months(
    shard: ShardColumns, terms: AttributionTerms, year: int, from_month: NDArray[np.uint8]
) -> EnrolledMonths:
    """Months of every member; those before `from_month` have no cell."""
    alive_from, alive_to = _alive(shard, year)
    return enrolled_months(
        shard.column("spans", "first_month"),
        shard.column("spans", "n_months"),
        shard.column("spans", "rate_cell"),
        shard.column("spans", "flags"),
        shard.offsets("spans"),
        alive_from,
        alive_to,
        from_month,
        np.array(list(EXCLUDABLE.values()), np.uint8),
        january=12 * year,
        exclude=sum(EXCLUDABLE[name] for name in terms.exclude),
        n_cells=len(RATE_CELLS),
    )


def _open_months(found: EnrolledMonths, terms: AttributionTerms) -> NDArray[np.uint16]:
    """Months of each member in which visits count, a bit a month."""
    months: NDArray[np.uint16] = (
        found.countable if "excluded_month" in terms.no_visit else found.covered
    )
    return months


def _month_of_day(year: int) -> NDArray[np.uint8]:
    """Month of each day of a year, January 0."""
    months = months_of_days(np.arange(*year_bounds(year), dtype=np.int32)) - 12 * year
    return months.astype(np.uint8)


@dataclass(frozen=True)
class CountedVisit:
    """A visit that counted towards attribution: its row in "visits", and the entry it falls under.

    `step` is one of `ATTRIBUTION_STEPS`, `npi` a code of the provider whose entry it is.
    """

    row: int
    group: int
    step: str
    npi: int


def counted_visits(
    shard: ShardColumns,
    member: int,
    roster: Roster,
    visits: VisitRule,
    terms: AttributionTerms,
    *,
    year: int,
    cutoff_day: int,
) -> list[CountedVisit]:
    """The visits of one member that count in a year, at any step, for explaining them.

    Parameters as `attribute`; member is a position in the shard.
    """
    match = partial(_match, shard, roster, visits, year=year, cutoff_day=cutoff_day)
    group, step = match()
    rendering, _ = match(billing=False)
    found = _months(shard, terms, year, np.zeros(shard.n_members, np.uint8))
    months, month_of = int(_open_months(found, terms)[member]), _month_of_day(year)
    made = []
    for row in range(*shard.offsets("visits")[member : member + 2].tolist()):
        day = int(shard.column("visits", "day")[row]) - year_bounds(year)[0]
        if group[row] >= 0 and months >> int(month_of[day]) & 1:
            who = "rendering_npi" if rendering[row] >= 0 else "billing_npi"
            npi = int(shard.column("visits", who)[row])
            made.append(CountedVisit(row, int(group[row]), terms.steps[step[row] - 1], npi))
    return made


def _match(
    shard: ShardColumns,
    roster: Roster,
    visits: VisitRule,
    *,
    year: int,
    cutoff_day: int,
    billing: bool = True,
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Group and step (from 1) of each possible visit of a shard; -1 and 0 where it does not count.

    Parameters as `attribute`; without `billing` only the rendering provider's entries are asked.
    Whether a visit's month counts is not asked here.
    """
    entries = roster.entries[year]
    first_day, end_day = year_bounds(year)
    billing_npi = shard.column("visits", "billing_npi")
    group, step = roster_match(
        shard.column("visits", "rendering_npi"),
        billing_npi if billing else np.zeros_like(billing_npi),
        shard.column("visits", "tin"),
        shard.column("visits", "day"),
        shard.column("visits", "paid_day"),
        shard.column("visits", "hcpcs"),
        shard.column("visits", "place"),
        shard.column("visits", "marks"),
        entries.npi_first,
        entries.tin,
        entries.start,
        entries.end,
        entries.group,
        entries.kind,
        visits.class_of,
        visits.place_marks,
        visits.barred,
        visits.step_of,
        first_day=first_day,
        end_day=end_day,
        cutoff_day=cutoff_day,
    )
    return group, step
