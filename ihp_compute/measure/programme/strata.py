"""In which strata people are: by what `member_factors` says on a day, and the arm of a programme.

    rows in force on the last day of a year -> one text a column, blank: unknown
    intervention: person, arm, start -> arm of who began between the years that are compared

Not here: how rows of a person are read (`population.person_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.programme.outcome_measures import DIMENSIONS, INTERVENTION
from ihp_compute.population import UNKNOWN, PersonRows, ShardColumns, factors_on, kept
from ihp_compute.units import year_bounds


@dataclass(frozen=True)
class Strata:
    """The strata of a run, by dimension.

    Attributes
    ----------
    factors : PersonRows or None
        From `member_factors`, `DIMENSIONS` by column; None: the population has no `member_factors`.
    intervention : PersonRows or None
        From `intervention_arms`; None: there is no such table.
    region_counties : frozenset of str or None
        Counties of the region that others are compared with; None: no region is.
    """

    factors: PersonRows | None
    intervention: PersonRows | None
    region_counties: frozenset[str] | None = None

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Strata by dimension, in the order of `of`; `unknown` is the first of factors."""
        found: dict[str, tuple[str, ...]] = {}
        if self.factors is not None:
            for name, names in zip(DIMENSIONS, self.factors.names, strict=True):
                found[name] = (UNKNOWN, *names[1:])
        if self.intervention is not None:
            found[INTERVENTION] = self.intervention.names[0][1:]
        return found

    def of(self, shard: ShardColumns, years: Sequence[int]) -> NDArray[np.int16]:
        """Stratum of each member: int16[n_years, n_dimensions, n_members]; -1: of no arm."""
        key = shard.column("members", "member_key")
        out = np.zeros((len(years), len(self.names), key.size), np.int16)
        if self.factors is not None:
            last_days = [year_bounds(year)[1] - 1 for year in years]
            for told, said in zip(out, factors_on(self.factors, shard, last_days), strict=True):
                told[: len(DIMENSIONS)] = said
        if self.intervention is not None:
            arms = partial(_arms, self.intervention, key, years)
            out[:, -1] = kept(shard, ("intervention_arms", tuple(years)), arms)
        return out


def starts_between(days: NDArray[np.int32], years: Sequence[int]) -> NDArray[np.bool_]:
    """Whether a day lies after the first year and no later than the end of the last."""
    return (days >= year_bounds(years[0])[1]) & (days < year_bounds(years[-1])[1])


def _arms(
    told: PersonRows, member_key: NDArray[np.uint64], years: Sequence[int]
) -> NDArray[np.int16]:
    """Arm of who began after the first year and no later than the last; else -1."""
    rows, member = told.rows_of(member_key)
    between = starts_between(told.first_day[rows], years)
    out = np.full(member_key.size, -1, np.int16)
    out[member[between]] = told.code[0, rows[between]] - 1
    return out
