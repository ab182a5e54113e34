"""The roster compiled: which provider works for which partnership, from when to when.

Two partnerships may not hold one provider on one day; that is refused, not decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.errors import DataError
from ihp_compute.units import NO_DAY, day_of, year_bounds

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
