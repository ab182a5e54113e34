"""The roster compiled: which provider works for which partnership, on which days of each year.

    on_date    entries valid on the roster date of the performance year, for all days of both years
    any_day    entries valid on any day of the performance year, for all days of both years
    same_days  of a day of either year, entries valid on that day of the performance year
    own_year   of a day of either year, entries valid on that day

Two partnerships may not hold one provider on one day; that is refused, not decided. A partnership
without an entry in force is a group like any other, of nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.contracts import SPECIALTIES, AttributionTerms
from ihp_compute.errors import DataError
from ihp_compute.units import NO_DAY, day_of, year_bounds

_WRITTEN: Final = tuple(name.replace("_", " ") for name in SPECIALTIES)
"""Specialties as a roster writes them."""

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
_LEAP: Final = 366
_FEBRUARY_29: Final = 59
"""Its place among the days of a leap year."""

_WORDS: Final = {
    "on_date": "roster entries valid on {day} hold for all days of both years",
    "any_day": "roster entries valid on any day of {year} hold for all days of both years",
    "same_days": "roster entries hold on the calendar days of {year} on which they are valid, in "
    "both years",
    "own_year": "roster entries hold on their own dates, in each year its own",
}

_Days = NDArray[np.int32]


_HALF_WORD: Final = 32


@dataclass(frozen=True)
class RosterEntries:
    """Roster entries by provider, in order of precedence; see `kernels.roster_match`."""

    npi_first: NDArray[np.int32]
    tin: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    group: NDArray[np.int32]
    kind: NDArray[np.uint8]

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        provider = np.repeat(np.arange(len(self.npi_first) - 1), np.diff(self.npi_first))
        pairs: NDArray[np.int64] = np.unique(provider << _HALF_WORD | self.group)
        return pairs

    def has(self, provider: NDArray[np.int32], group: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether some entry has the provider under the group."""
        if not self._pairs.size:
            return np.zeros(len(provider), np.bool_)
        wanted = provider.astype(np.int64) << _HALF_WORD | group
        at = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        found: NDArray[np.bool_] = self._pairs[at] == wanted
        return found


@dataclass(frozen=True)
class Roster:
    """A run's roster in a population's codes. Small, picklable.

    Attributes
    ----------
    groups : tuple of str
        Partnerships sorted by id, then COMPARISON, then UNATTRIBUTED.
    providers : mapping of code to str
        National provider identifiers of the roster that claims of the population carry.
    entries : mapping of year to RosterEntries
        What a visit of the year may fall under.
    n_entries : int
        Rows of the roster table that visits of the performance year may fall under.
    n_unseen : int
        Of those, rows whose npi or tin no claim of the population carries.
    words : str
        Which entries hold on which days.
    n_practitioners : int
        Providers of partnerships, COMPARISON left out, by entries valid on 31 December of the
        performance year, whatever claims carry them.
    n_locations : int or None
        Places (`location_id`) of these entries; None where no entry of the roster states one.
    n_unplaced : int
        Of these entries, those that state none.
    """

    groups: tuple[str, ...]
    providers: Mapping[int, str]
    entries: Mapping[int, RosterEntries]
    n_entries: int
    n_unseen: int
    words: str
    n_practitioners: int
    n_locations: int | None
    n_unplaced: int

    @property
    def n_partnerships(self) -> int:
        """Partnerships without COMPARISON and UNATTRIBUTED; their indices come first."""
        return len(self.groups) - 2

    def met_by_nobody(self, year: int) -> tuple[str, ...]:
        """Partnerships of which no entry in force for a year is one that a claim carries."""
        met = set(self.entries[year].group.tolist())
        return tuple(name for g, name in enumerate(self.groups) if g not in met)


def compile_roster(
    table: pa.Table,
    *,
    npi_codes: pa.Array,
    tin_codes: pa.Array,
    terms: AttributionTerms,
    base_year: int,
    performance_year: int,
) -> Roster:
    """The roster in a population's codes, by a contract's rule.

    Parameters
    ----------
    table : pa.Table
        provider_roster: npi, tin, partnership_id, specialty, start_date, end_date and, if given,
        health_care_home and location_id. Text, or dates and booleans in the columns that hold them.
        A blank start or end date is open.
    npi_codes, tin_codes : pa.Array of str
        The population's code tables "npi" and "tin".
    terms : AttributionTerms
    base_year, performance_year : int

    Returns
    -------
    Roster

    Raises
    ------
    DataError
        If a column is missing, a value cannot be read, UNATTRIBUTED is used as an id, no entry is
        in force in the performance year, a provider stands under two partnerships with the same tin
        on one day, or each year's own entries are asked for and a partnership has none in the base
        year.
    """
    rows = _roster_rows(table)
    names = sorted({str(name) for name in rows["partnership_id"]} - {COMPARISON})
    groups = (*names, COMPARISON, UNATTRIBUTED)
    index = {name: i for i, name in enumerate(groups)}
    group = np.array([index[str(name)] for name in rows["partnership_id"]], np.int32)
    years = {
        year: _in_force(rows, terms, year, performance_year)
        for year in (base_year, performance_year)
    }
    own_years = (base_year, performance_year) if terms.roster_rule == "own_year" else ()
    _refuse_nobody(years[performance_year], terms, performance_year)
    if own_years:
        _refuse_no_base(groups, group, years, base_year, performance_year)
    for year in own_years or (performance_year,):
        held = _within(rows, *year_bounds(year))
        _refuse_two_partnerships({name: column[held] for name, column in rows.items()}, group[held])
    npi = _codes_of(rows["npi"], npi_codes)
    tin = np.where(rows["tin"] == "", -1, _codes_of(rows["tin"], tin_codes, absent=-2))
    seen = (npi >= 0) & (tin != -2)
    order = np.lexsort((group, rows["kind"], -rows["start"].astype(np.int64), tin == -1, npi))
    entries = {}
    for year, (start, end) in years.items():
        used = order[(seen & (start < end))[order]]
        counts = np.bincount(npi[used], minlength=len(npi_codes))
        entries[year] = RosterEntries(
            npi_first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            tin=tin[used].astype(np.int32),
            start=start[used],
            end=end[used],
            group=group[used],
            kind=rows["kind"][used],
        )
    start, end = years[performance_year]
    in_force = start < end
    known = npi >= 0
    providers = {
        int(code): str(name) for code, name in zip(npi[known], rows["npi"][known], strict=True)
    }
    words = _WORDS[terms.roster_rule].format(
        day=roster_day(terms, performance_year), year=performance_year
    )
    return Roster(
        groups, providers, entries, int(in_force.sum()), int((in_force & ~seen).sum()), words,
        *_on_last_day(rows, performance_year),
    )  # fmt: skip


def nobodys_roster(year: int, n_npi: int) -> Roster:
    """The roster of a state without one: in a year everybody is unattributed.

    `n_npi` is the length of the population's code table "npi".
    """
    none = np.zeros(0, np.int32)
    entries = RosterEntries(
        np.zeros(n_npi + 1, np.int32), none, none, none, none, np.zeros(0, np.uint8)
    )
    return Roster(
        (COMPARISON, UNATTRIBUTED), {}, {year: entries}, 0, 0, "there is no roster", 0, None, 0
    )


def roster_day(terms: AttributionTerms, performance_year: int) -> date:
    """The roster date of a performance year; of 29 February, the 28th where there is none."""
    try:
        return date.fromisoformat(f"{performance_year:04}-{terms.roster_date}")
    except ValueError:
        return date(performance_year, 2, 28)


def _in_force(
    rows: Mapping[str, NDArray[Any]], terms: AttributionTerms, year: int, performance_year: int
) -> tuple[_Days, _Days]:
    """First day and day after the last on which visits of a year may fall under each entry.

    An entry that is not in force has none.
    """
    start, end = rows["start"], rows["end"]
    if terms.roster_rule == "own_year":
        used = _within(rows, *year_bounds(year))
    elif terms.roster_rule == "on_date":
        day = day_of(roster_day(terms, performance_year))
        used = _within(rows, day, day + 1)
    else:
        used = _within(rows, *year_bounds(performance_year))
    if terms.roster_rule in ("on_date", "any_day"):
        start, end = np.full_like(start, NO_DAY), np.full_like(end, _FAR_DAY)
    elif terms.roster_rule == "same_days":
        there = _same_days(year, performance_year)
        first = year_bounds(year)[0]
        start, end = (first + np.searchsorted(there, days) for days in (start, end))
    return start.astype(np.int32), np.where(used, end, start).astype(np.int32)


def _within(rows: Mapping[str, NDArray[Any]], first: int, end: int) -> NDArray[np.bool_]:
    """Whether an entry is valid on any day from `first` until before `end`."""
    valid: NDArray[np.bool_] = (rows["start"] < end) & (rows["end"] > first)
    return valid


def _on_last_day(rows: Mapping[str, NDArray[Any]], year: int) -> tuple[int, int | None, int]:
    """Providers and places of partnerships on the last day of a year; entries without a place."""
    end = year_bounds(year)[1]
    held = _within(rows, end - 1, end) & (rows["partnership_id"] != COMPARISON)
    places = rows["location_id"][held]
    known = (rows["location_id"] != "").any()
    return (
        len(set(rows["npi"][held])),
        len(set(places) - {""}) if known else None,
        int((places == "").sum()),
    )


def _same_days(year: int, performance_year: int) -> _Days:
    """The same calendar day of the performance year, for each day of a year.

    29 February is the 28th where there is none.
    """
    there = np.arange(*year_bounds(performance_year), dtype=np.int32)
    leap = len(there) == _LEAP, year_bounds(year)[1] - year_bounds(year)[0] == _LEAP
    if leap == (True, False):
        return np.delete(there, _FEBRUARY_29)
    if leap == (False, True):
        return np.insert(there, _FEBRUARY_29, there[_FEBRUARY_29 - 1])
    return there


def _refuse_nobody(
    in_force: tuple[_Days, _Days], terms: AttributionTerms, performance_year: int
) -> None:
    start, end = in_force
    if (start < end).any():
        return
    when = (
        f"on {roster_day(terms, performance_year)}, the day of attribution.roster_date"
        if terms.roster_rule == "on_date"
        else f"in {performance_year}"
    )
    raise DataError(
        f"provider_roster: no entry is valid {when}; choose another performance year or give that "
        "year's roster"
    )


def _refuse_no_base(
    groups: tuple[str, ...],
    group: NDArray[np.int32],
    years: Mapping[int, tuple[_Days, _Days]],
    base_year: int,
    performance_year: int,
) -> None:
    """Refuse a partnership that has a roster in the performance year and none in the base year."""
    base, performance = (
        {*group[years[year][0] < years[year][1]].tolist()} for year in (base_year, performance_year)
    )
    without = [groups[g] for g in sorted(performance - base)]
    if without:
        some = ", ".join(without[:5]) + (", …" if len(without) > 5 else "")
        raise DataError(
            f"provider_roster: {some} {'have' if len(without) > 1 else 'has'} no entry valid in "
            f"{base_year}, and attribution.roster_rule is own_year; give the base year's roster, "
            "or choose on_date, any_day or same_days"
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
    text["location_id"] = np.array(
        table.column("location_id").to_pylist()
        if "location_id" in table.column_names
        else [""] * table.num_rows,
        dtype=object,
    )
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
    if text.lower() in _WRITTEN:
        return _WRITTEN.index(text.lower())
    code = text.upper()
    if _BEHAVIORAL_TAXONOMY.fullmatch(code):
        return 2
    if _PRIMARY_CARE_TAXONOMY.fullmatch(code):
        return 0
    if _TAXONOMY.fullmatch(code):
        return 1
    raise DataError(
        f"provider_roster: specialty {text!r} is neither {', '.join(_WRITTEN)} nor a taxonomy "
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
