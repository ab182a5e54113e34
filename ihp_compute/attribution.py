"""Attribution: whose member a person is in a calendar year, and for how many months.

    spans -> countable months -> eligible? -> visits on the roster -> plurality by step -> group

1. A month counts when a span covers it, it carries none of the flags that the contract excludes,
   and it lies neither before the month of birth nor after the month of death.
2. A member is eligible with `min_months_continuous` countable months in a row, or `min_months_any`
   in all; else the group is -1 and the reason is named.
3. A visit falls under the roster entry of its rendering provider, else of its billing provider
   (when the rendering one is blank or has no entry that fits). An entry fits when its tin is blank
   or the visit's and the visit's day lies in its dates. An entry naming the tin goes before one
   that does not.
4. Encounters (distinct day and partnership) are counted at the first step of `steps` where the
   member has any; the most encounters win, then the latest, then the lowest partnership id. The
   comparison population is a partnership like any other here, and the highest id.
5. An eligible member without encounters is UNATTRIBUTED.

One roster serves both years: the performance year's. That year's visits are held against an entry's
dates; visits of any other year against the entries valid on any day of the performance year, the
latest one first.

Not here: which lines can be visits (`ingest`), what the terms are (`contract`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import ContractError, DataError
from ihp_compute.tables import (
    COMPARISON,
    RATE_CELLS,
    SPAN_DUAL,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
    UNATTRIBUTED,
    VISIT_CLASSES,
)
from ihp_compute.units import NO_DAY, day_of, months_of_days, year_bounds
from kernels.enrolled_months import NO_CELL, EnrolledMonths, enrolled_months
from kernels.plurality import plurality
from kernels.roster_match import roster_match

EXCLUDABLE: Final = {
    "dual": SPAN_DUAL,
    "spend_down": SPAN_SPEND_DOWN,
    "partial_benefit": SPAN_PARTIAL_BENEFIT,
}
EXCLUSION_REASONS: Final = (
    "", "not_enrolled", "dual", "spend_down", "partial_benefit", "too_few_months",
)  # fmt: skip
"""Attribution.reason indexes this list; "" is an eligible member.

`not_enrolled`: no month of the year is covered. `dual`, `spend_down`, `partial_benefit`: with the
excluded months counted the member would be eligible, and this is the first flag found among them.
`too_few_months`: not even then.
"""
STEPS: Final = ("health_care_home", "primary_care", "specialist")
TIE_BREAKS: Final = (("latest_visit", "lowest_id"), ("lowest_id",))
NOT_COUNTABLE: Final = NO_CELL
"""In `Attribution.month_cell`: the month is not countable."""

SPECIALTIES: Final = ("primary care", "specialist", "behavioral health")
_TAXONOMY: Final = re.compile(r"[0-9A-Z]{9}X")
_PRIMARY_CARE_TAXONOMY: Final = re.compile(
    r"207Q.{6}"  # family medicine
    r"|207R00000X|207RG0300X"  # internal medicine, geriatric medicine
    r"|208000000X|2080A0000X"  # pediatrics, adolescent medicine
    r"|208D.{6}"  # general practice
    r"|363L.{6}|363A.{6}"  # nurse practitioner, physician assistant
    r"|261QF0400X|261QR1300X|261QP2300X"  # FQHC, rural health clinic, primary care clinic
)
_BEHAVIORAL_TAXONOMY: Final = re.compile(
    r"2084.{6}|101Y.{6}|103.{7}|1041C.{5}|106H.{6}|363LP0808X|261QM08.{4}|261QR0405X"
)
"""Health Care Provider Taxonomy, National Uniform Claim Committee (nucc.org): psychiatry and
neurology, counsellors, psychologists, clinical social work, family therapists, psychiatric nurse
practitioners, mental health and rehabilitation clinics."""

_FAR_DAY: Final = 2**31 - 1


class ShardColumns(Protocol):
    """What measuring needs of a shard."""

    @property
    def n_members(self) -> int:
        """Members of the shard."""
        ...

    def column(self, table: str, name: str) -> NDArray[Any]:
        """One column, read-only."""
        ...

    def offsets(self, table: str) -> NDArray[np.int64]:
        """Start of each member's rows, int64[n_members + 1]."""
        ...


@dataclass(frozen=True)
class AttributionTerms:
    """The contract's attribution rule.

    Attributes
    ----------
    min_months_continuous, min_months_any : int
        Eligible with this many countable months in a row, or this many in all.
    exclude : tuple of str
        Flags whose months do not count: among `EXCLUDABLE`.
    steps : tuple of str
        Ordered subset of `STEPS`.
    keep_pre_visit : bool
        Whether months before the first encounter with the attributed group stay countable.
    tie_break : tuple of str
        One of `TIE_BREAKS`.

    Raises
    ------
    ContractError
        If a name is unknown or given twice, or a minimum lies outside 1 to 12.
    """

    min_months_continuous: int
    min_months_any: int
    exclude: tuple[str, ...]
    steps: tuple[str, ...]
    keep_pre_visit: bool = True
    tie_break: tuple[str, ...] = ("latest_visit", "lowest_id")

    def __post_init__(self) -> None:
        """Refuse what the rule cannot mean."""
        for name in ("min_months_continuous", "min_months_any"):
            if not 1 <= getattr(self, name) <= 12:
                raise ContractError(
                    f"attribution.{name}: expected 1 to 12, got {getattr(self, name)}"
                )
        for term, values, known in (
            ("exclude", self.exclude, tuple(EXCLUDABLE)),
            ("steps", self.steps, STEPS),
        ):
            if len(set(values)) != len(values) or not set(values) <= set(known):
                raise ContractError(
                    f"attribution.{term}: expected a subset of {', '.join(known)}, "
                    f"got {', '.join(values)}"
                )
        if not self.steps:
            raise ContractError("attribution.steps: expected at least one step, got none")
        if self.tie_break not in TIE_BREAKS:
            raise ContractError(
                f"attribution.tie_break: expected latest_visit then lowest_id, or lowest_id, "
                f"got {', '.join(self.tie_break)}"
            )


@dataclass(frozen=True)
class RosterEntries:
    """Roster entries by provider, in order of precedence; see `kernels.roster_match`."""

    npi_first: NDArray[np.int32]
    tin: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    group: NDArray[np.int32]
    kind: NDArray[np.uint8]


@dataclass(frozen=True)
class Roster:
    """The performance year's roster in a population's codes. Small, picklable.

    Attributes
    ----------
    groups : tuple of str
        Partnerships sorted by id, then COMPARISON, then UNATTRIBUTED.
    performance_year : int
    dated : RosterEntries
        Entries with their own dates, for visits of the performance year.
    undated : RosterEntries
        Entries valid on any day of the performance year, for visits of other years.
    n_entries : int
        Rows of the roster table valid in the performance year.
    n_unseen : int
        Of those, rows whose npi or tin no claim of the population carries.
    """

    groups: tuple[str, ...]
    performance_year: int
    dated: RosterEntries
    undated: RosterEntries
    n_entries: int
    n_unseen: int

    @property
    def n_partnerships(self) -> int:
        """Partnerships without COMPARISON and UNATTRIBUTED; their indices come first."""
        return len(self.groups) - 2


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
    """

    year: int
    group: NDArray[np.int32]
    step: NDArray[np.uint8]
    n_visits: NDArray[np.int32]
    tied: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    months: NDArray[np.int64]
    month_cell: NDArray[np.uint8]
    enrolled_months: NDArray[np.int64]


# --- the roster ----------------------------------------------------------------------------------


def compile_roster(
    table: pa.Table, *, npi_codes: pa.Array, tin_codes: pa.Array, performance_year: int
) -> Roster:
    """The roster in a population's codes.

    Parameters
    ----------
    table : pa.Table
        provider_roster: npi, tin, partnership_id, specialty, start_date, end_date and, if given,
        health_care_home. Text, or dates and booleans in the columns that hold them. A blank
        start or end date is open.
    npi_codes, tin_codes : pa.Array of str
        The population's code tables "npi" and "tin".
    performance_year : int

    Returns
    -------
    Roster

    Raises
    ------
    DataError
        If a column is missing, a value cannot be read, UNATTRIBUTED is used as an id, no entry is
        valid in the year, or a provider stands under two partnerships with the same tin on one day.
    """
    rows = _roster_rows(table)
    first, end = year_bounds(performance_year)
    valid = (rows["start"] < end) & (rows["end"] > first)
    rows = {name: column[valid] for name, column in rows.items()}
    if not valid.any():
        raise DataError(
            f"provider_roster: no entry is valid in {performance_year}; choose another "
            "performance year or give that year's roster"
        )
    names = sorted({str(name) for name in rows["partnership_id"]} - {COMPARISON})
    groups = (*names, COMPARISON, UNATTRIBUTED)
    index = {name: i for i, name in enumerate(groups)}
    group = np.array([index[str(name)] for name in rows["partnership_id"]], np.int32)
    _refuse_two_partnerships(rows, group)
    npi = _codes_of(rows["npi"], npi_codes)
    tin = np.where(rows["tin"] == "", -1, _codes_of(rows["tin"], tin_codes, absent=-2))
    seen = (npi >= 0) & (tin != -2)
    n_npi = len(npi_codes)

    def entries(*, dated: bool) -> RosterEntries:
        order = np.lexsort((group, rows["kind"], -rows["start"].astype(np.int64), tin == -1, npi))
        order = order[seen[order]]
        counts = np.bincount(npi[order], minlength=n_npi)
        n = order.size
        return RosterEntries(
            npi_first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            tin=tin[order].astype(np.int32),
            start=rows["start"][order] if dated else np.full(n, NO_DAY, np.int32),
            end=rows["end"][order] if dated else np.full(n, _FAR_DAY, np.int32),
            group=group[order],
            kind=rows["kind"][order],
        )

    return Roster(
        groups=groups,
        performance_year=performance_year,
        dated=entries(dated=True),
        undated=entries(dated=False),
        n_entries=int(valid.sum()),
        n_unseen=int((~seen).sum()),
    )


def _roster_rows(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Columns of the roster as arrays, read and checked."""
    needed = ("npi", "tin", "partnership_id", "specialty", "start_date", "end_date")
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(
            f"provider_roster: missing column {', '.join(missing)}; it needs {', '.join(needed)}"
        )
    text = {
        name: np.array(
            [str(value or "").strip() for value in table.column(name).to_pylist()], dtype=object
        )
        for name in ("npi", "tin", "partnership_id", "specialty")
    }
    for name in ("npi", "partnership_id"):
        blank = int((text[name] == "").sum())
        if blank:
            raise DataError(f"provider_roster: {blank} rows have no {name}; correct them")
    if (text["partnership_id"] == UNATTRIBUTED).any():
        raise DataError(f"provider_roster: partnership_id {UNATTRIBUTED} is reserved; rename it")
    home = _booleans(table)
    return {
        **text,
        "start": _days(table, "start_date", NO_DAY),
        "end": _days(table, "end_date", _FAR_DAY - 1) + np.int32(1),
        "kind": np.array(
            [_specialty(name) for name in text["specialty"]], np.uint8
        ) + np.where(home, 0, len(SPECIALTIES)).astype(np.uint8),
    }  # fmt: skip


def _specialty(text: str) -> int:
    """Index into `SPECIALTIES` of a specialty or taxonomy code."""
    if text.lower() in SPECIALTIES:
        return SPECIALTIES.index(text.lower())
    code = text.upper()
    if _BEHAVIORAL_TAXONOMY.fullmatch(code):
        return 2
    if _PRIMARY_CARE_TAXONOMY.fullmatch(code):
        return 0
    if _TAXONOMY.fullmatch(code):
        return 1
    raise DataError(
        f"provider_roster: specialty {text!r} is neither {', '.join(SPECIALTIES)} nor a taxonomy "
        "code of ten characters; correct it"
    )


def _booleans(table: pa.Table) -> NDArray[np.bool_]:
    if "health_care_home" not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    known = {"": False, "none": False, "false": False, "0": False, "true": True, "1": True}
    values = [str(value).strip().lower() for value in table.column("health_care_home").to_pylist()]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise DataError(
            f"provider_roster: health_care_home holds {unknown[0]!r}; write true or false"
        )
    return np.array([known[value] for value in values], np.bool_)


def _days(table: pa.Table, name: str, blank: int) -> NDArray[np.int32]:
    days = np.full(table.num_rows, blank, np.int32)
    for row, value in enumerate(table.column(name).to_pylist()):
        if value is None or value == "":
            continue
        try:
            days[row] = day_of(
                value if isinstance(value, date) else date.fromisoformat(str(value).strip()[:10])
            )
        except ValueError as error:
            raise DataError(
                f"provider_roster: {name} holds {str(value)!r}; write dates as YYYY-MM-DD"
            ) from error
    return days


def _codes_of(values: NDArray[Any], codes: pa.Array, *, absent: int = -1) -> NDArray[np.int64]:
    found = pc.index_in(pa.array(values, pa.string()), value_set=codes.cast(pa.string()))
    return pc.fill_null(found, absent).to_numpy(zero_copy_only=False).astype(np.int64)


def _refuse_two_partnerships(rows: Mapping[str, NDArray[Any]], group: NDArray[np.int32]) -> None:
    """A visit can belong to one partnership only."""
    order = np.lexsort(
        (rows["end"], rows["start"], rows["tin"].astype(str), rows["npi"].astype(str))
    )
    npi, tin = rows["npi"][order], rows["tin"][order]
    start, end, who = rows["start"][order], rows["end"][order], group[order]
    torn: set[str] = set()
    reach: dict[int, int] = {}  # partnership -> last day reached, within one npi and tin
    for i in range(len(order)):
        if i == 0 or npi[i] != npi[i - 1] or tin[i] != tin[i - 1]:
            reach = {}
        if any(last > start[i] for other, last in reach.items() if other != who[i]):
            torn.add(str(npi[i]))
        reach[int(who[i])] = max(reach.get(int(who[i]), NO_DAY), int(end[i]))
    if torn:
        raise DataError(
            f"provider_roster: {len(torn)} npi stand under two partnerships with the same tin on "
            f"one day, the first {min(torn)}; end one entry before the other starts"
        )


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
    in_a_row = _LONGEST[mask] >= terms.min_months_continuous
    return in_a_row | (_N_MONTHS[mask] >= terms.min_months_any)


def _reasons(
    found: EnrolledMonths, terms: AttributionTerms, eligible: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Why members are not eligible."""
    reason = np.full(eligible.size, EXCLUSION_REASONS.index("too_few_months"), np.uint8)
    undecided = ~eligible & _eligible(found.covered, terms)
    for name, flagged in zip(EXCLUDABLE, found.flagged, strict=True):
        if name in terms.exclude:
            here = undecided & (flagged != 0)
            reason[here] = EXCLUSION_REASONS.index(name)
            undecided &= ~here
    reason[found.covered == 0] = EXCLUSION_REASONS.index("not_enrolled")
    reason[eligible] = 0
    return reason


# --- the year ------------------------------------------------------------------------------------


def attribute(
    shard: ShardColumns, roster: Roster, terms: AttributionTerms, *, year: int, cutoff_day: int
) -> Attribution:
    """Attribute every member of a shard for a calendar year.

    Parameters
    ----------
    shard : Shard
    roster : Roster
        From `compile_roster`, over the same population.
    terms : AttributionTerms
    year : int
    cutoff_day : int
        Visits paid after this day do not count; a visit without a paid day does.

    Returns
    -------
    Attribution
    """
    n = shard.n_members
    group, step, n_visits, tied, first_visit = _plurality(shard, roster, terms, year, cutoff_day)
    from_month = np.zeros(n, np.uint8)
    if not terms.keep_pre_visit:
        seen = np.flatnonzero(step)
        from_month[seen] = months_of_days(first_visit[seen]) - 12 * year
    alive_from, alive_to = _alive(shard, year)
    found = enrolled_months(
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
    eligible = _eligible(found.countable, terms)
    group[group < 0] = len(roster.groups) - 1
    for column, nothing in ((group, -1), (step, 0), (n_visits, 0), (tied, False)):
        column[~eligible] = nothing
    step_number = np.array([0, *(STEPS.index(name) + 1 for name in terms.steps)], np.uint8)
    return Attribution(
        year=year,
        group=group,
        step=step_number[step],
        n_visits=n_visits,
        tied=tied,
        reason=_reasons(found, terms, eligible),
        months=found.months,
        month_cell=found.month_cell,
        enrolled_months=_N_MONTHS[found.covered],
    )


def _plurality(
    shard: ShardColumns, roster: Roster, terms: AttributionTerms, year: int, cutoff_day: int
) -> tuple[NDArray[Any], ...]:
    first_day, end_day = year_bounds(year)
    entries = roster.dated if year == roster.performance_year else roster.undated
    visit_group, visit_step = roster_match(
        shard.column("visits", "rendering_npi"),
        shard.column("visits", "billing_npi"),
        shard.column("visits", "tin"),
        shard.column("visits", "day"),
        shard.column("visits", "paid_day"),
        shard.column("visits", "class"),
        entries.npi_first,
        entries.tin,
        entries.start,
        entries.end,
        entries.group,
        entries.kind,
        _step_of(terms.steps),
        first_day=first_day,
        end_day=end_day,
        cutoff_day=cutoff_day,
    )
    return plurality(
        visit_group,
        visit_step,
        shard.column("visits", "day"),
        shard.offsets("visits"),
        n_groups=len(roster.groups),
        n_steps=len(terms.steps),
        latest="latest_visit" in terms.tie_break,
    )


def _step_of(steps: tuple[str, ...]) -> NDArray[np.uint8]:
    """Position in `steps` (from 1) that a visit class serves under an entry's kind; 0 for none.

    A kind is a specialty, twice: first those of certified health care homes. Behavioural health
    visits are specialist visits. A health care home service serves that step whoever renders it.
    """
    table = np.zeros((len(VISIT_CLASSES), 2 * len(SPECIALTIES)), np.uint8)
    own = ("primary_care", "specialist", "specialist")
    for kind in range(2 * len(SPECIALTIES)):
        serves = {own[kind % len(SPECIALTIES)]}
        if kind < len(SPECIALTIES):
            serves.add("health_care_home")
        for name, found in (("health_care_home", {"health_care_home"}), ("evaluation", serves)):
            places = [steps.index(step) + 1 for step in found if step in steps]
            table[VISIT_CLASSES.index(name), kind] = min(places, default=0)
    return table
