"""In which region a member lives at the end of a year.

    member_factors in force on 31 December -> county -> table `region` -> region, or none

A county is of one region (`ingest`). Of several rows in force that state a county the one that
began last says it, as in strata; who has no such row, or lives in a county that the table lacks, is
of no region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.measure.programme.strata import PersonRows
from ihp_compute.population import Population, ShardColumns
from ihp_compute.units import year_bounds

NO_REGION: Final = -1
_COUNTY: Final = "county_fips"


@dataclass(frozen=True)
class Regions:
    """Where members live, by key and days. Small, picklable.

    Attributes
    ----------
    names : tuple of str
        Regions, sorted.
    rows : PersonRows
        Of one column, the county.
    region_of : int16[n_counties]
        Region of each county that the rows name; `NO_REGION` where it has none.
    """

    names: tuple[str, ...]
    rows: PersonRows
    region_of: NDArray[np.int16]

    @classmethod
    def of(cls, population: Population) -> Regions | None:
        """The regions of a population; None where it lacks the table or says no county."""
        counties = _counties(population.reference("region"))
        table = population.reference("member_factors")
        if not counties or table is None:
            return None
        names = tuple(sorted(set(counties.values())))
        place = {county: names.index(name) for county, name in counties.items()}
        rows = PersonRows.of(table, (_COUNTY,))
        (said,) = rows.names
        region_of = [place.get(county, NO_REGION) for county in said]
        return cls(names, rows, np.array(region_of, np.int16))

    def at_end_of(self, year: int, shard: ShardColumns) -> NDArray[np.int16]:
        """Region of a shard's members on 31 December: int16[n_members]; `NO_REGION` without one."""
        member_key = shard.column("members", "member_key")
        ((county,),) = self.rows.on(member_key, (year_bounds(year)[1] - 1,))
        found: NDArray[np.int16] = self.region_of[county]
        return found


def _counties(table: pa.Table | None) -> dict[str, str]:
    """Region of each county."""
    if table is None:
        return {}
    columns = (table.column(name).to_pylist() for name in (_COUNTY, "region"))
    return {county or "": region or "" for county, region in zip(*columns, strict=True)}
