"""In which region a member lives at the end of a year.

    member_factors in force on 31 December -> county -> table `region` -> region, or none

A county is of one region (`ingest`). Of several rows in force the one that began last says the
county; a member of no row, of a blank county or of one that the table lacks is of no region.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.population import Population, ShardColumns, member_keys
from ihp_compute.units import day_of, year_bounds

NO_REGION: Final = -1
_FAR_DAY: Final = 2**31 - 1
_SIDES: Final[tuple[Literal["left", "right"], ...]] = ("left", "right")


@dataclass(frozen=True)
class Regions:
    """Where members live, by key and days. Small, picklable.

    Attributes
    ----------
    names : tuple of str
        Regions, sorted.
    key : uint64[n]
        Of members, ascending; rows of one member by their first day.
    first_day, last_day : int32[n]
        Days between which a row holds, both included.
    region : int16[n]
        Index into `names`; `NO_REGION` where the county has none.
    """

    names: tuple[str, ...]
    key: NDArray[np.uint64]
    first_day: NDArray[np.int32]
    last_day: NDArray[np.int32]
    region: NDArray[np.int16]

    @classmethod
    def of(cls, population: Population) -> Regions | None:
        """The regions of a population; None where it lacks the table or says no county."""
        counties = _counties(population.reference("region"))
        table = population.reference("member_factors")
        if not counties or table is None:
            return None
        names = tuple(sorted(set(counties.values())))
        place = {county: names.index(name) for county, name in counties.items()}
        ids = [
            person or member
            for person, member in zip(_texts(table, "person_id"), _texts(table, "member_id"),
                                      strict=True)
        ]  # fmt: skip
        region = [place.get(county, NO_REGION) for county in _texts(table, "county_fips")]
        key = member_keys(ids)
        first_day = _days(table, "start_date", -_FAR_DAY)
        order = np.lexsort((first_day, key))
        return cls(
            names,
            key[order],
            first_day[order],
            _days(table, "end_date", _FAR_DAY)[order],
            np.array(region, np.int16)[order],
        )

    def at_end_of(self, year: int, shard: ShardColumns) -> NDArray[np.int16]:
        """Region of a shard's members on 31 December: int16[n_members]; `NO_REGION` without one."""
        day = year_bounds(year)[1] - 1
        member_key = shard.column("members", "member_key")
        first, end = (np.searchsorted(self.key, member_key, side=side) for side in _SIDES)
        found = np.full(len(member_key), NO_REGION, np.int16)
        for k in range(int((end - first).max(initial=0))):  # the last of a member's rows stands
            members = np.flatnonzero(first + k < end)
            rows = first[members] + k
            holds = (self.first_day[rows] <= day) & (day <= self.last_day[rows])
            found[members[holds]] = self.region[rows[holds]]
        return found


def _counties(table: pa.Table | None) -> dict[str, str]:
    """Region of each county."""
    if table is None:
        return {}
    return dict(zip(_texts(table, "county_fips"), _texts(table, "region"), strict=True))


def _texts(table: pa.Table, name: str) -> list[str]:
    return [text or "" for text in table.column(name).to_pylist()]


def _days(table: pa.Table, name: str, blank: int) -> NDArray[np.int32]:
    return np.array(
        [day_of(date.fromisoformat(text)) if text else blank for text in _texts(table, name)],
        np.int32,
    )
