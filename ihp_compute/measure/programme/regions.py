"""In which region a member lives at the end of a year.

    member_factors in force on 31 December -> county -> table `region` -> region, or none

A county is of one region (`ingest`). Of several rows in force that state a county the one that
began last says it, as in strata; who has no such row, or lives in a county that the table lacks, is
of no region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.population import (
    COUNTY,
    PersonRows,
    Population,
    ShardColumns,
    factors_on,
    member_factors,
)
from ihp_compute.units import year_bounds

NO_REGION: Final = -1


@dataclass(frozen=True)
class Regions:
    """Where members live, by key and days. Small, picklable.

    Attributes
    ----------
    names : tuple of str
        Regions, sorted.
    rows : PersonRows
        What `member_factors` says, the county too.
    region_of : int16[n_counties]
        Region of each county that the rows name; `NO_REGION` where it has none.
    """

    names: tuple[str, ...]
    rows: PersonRows
    region_of: NDArray[np.int16]

    @staticmethod
    def are_told(population: Population) -> bool:
        """Whether a population has the table and says a county."""
        counties = _counties(population.reference("region"))
        return bool(counties) and population.reference("member_factors") is not None

    @classmethod
    def of(cls, population: Population) -> Regions | None:
        """The regions of a population; None where it lacks the table or says no county."""
        counties = _counties(population.reference("region"))
        factors = member_factors(population) if counties else None
        if factors is None:
            return None
        names = tuple(sorted(set(counties.values())))
        place = {county: names.index(name) for county, name in counties.items()}
        said = factors.names[factors.columns.index(COUNTY)]
        region_of = [place.get(county, NO_REGION) for county in said]
        return cls(names, factors, np.array(region_of, np.int16))

    def at_ends_of(self, years: Sequence[int], shard: ShardColumns) -> NDArray[np.int16]:
        """Region of a shard's members on 31 December: int16[n_years, n_members]; or `NO_REGION`."""
        said = factors_on(self.rows, shard, [year_bounds(year)[1] - 1 for year in years])
        county = self.rows.columns.index(COUNTY)
        return np.stack([self.region_of[told[county]] for told in said])


def _counties(table: pa.Table | None) -> dict[str, str]:
    """Region of each county."""
    if table is None:
        return {}
    columns = (table.column(name).to_pylist() for name in (COUNTY, "region"))
    return {county or "": region or "" for county, region in zip(*columns, strict=True)}
