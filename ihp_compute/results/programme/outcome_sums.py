"""First and second moments of outcomes over people, by group and stratum: all that rates rest on.

    members in order -> a place for each (group, stratum) -> sums of n, d, e and of their products

n is what a member's year brings to a numerator, d to a denominator, e to what is expected. With
sums of n², nd, d², ne, e² over each year, and of the products of two years over people who are in
both, the standard error of any ratio, difference or change of ratios follows without another look
at a person (`outcome_rates`, `outcome_changes`).

Strata of several dimensions are summed together: each distinct combination of a few dimensions is
one stratum of a finer division, whose sums are then added up for each of them. Sums are of float64
in one order of members, so they are the same however a population is sharded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

FIELDS: Final = ("with", "n", "nn", "nd", "ne", "d", "dd", "e", "ee")
"""Sums of one year: members with n, and of n, n², nd, ne, d, d², e, e²."""
PRODUCTS: Final = ("nn", "nd", "dn", "dd", "ne", "en", "ee")
"""Sums over people of both years: the first letter is of the later year."""
_FEW: Final = 1 << 12
"""Sums that are always worth taking together."""


@dataclass(frozen=True)
class OutcomeYear:
    """What the people of one year bring to each measure, in one order of all members.

    Attributes
    ----------
    group : int64[n]
        -1: not eligible in the year, and in no sum.
    n, e : float64[n_measures, n]
        Numerator, and what is expected; 0 where d is.
    d : float64[n_kinds, n]
        Denominators: months, stays, people.
    kind : tuple of int
        Denominator of each measure.
    """

    group: NDArray[np.int64]
    n: NDArray[np.float64]
    e: NDArray[np.float64]
    d: NDArray[np.float64]
    kind: tuple[int, ...]


@dataclass(frozen=True)
class DimensionSums:
    """Sums of one dimension.

    Attributes
    ----------
    people : float64[2, n_groups, n_strata]
        By year: base, performance.
    sums : float64[2, n_fields, n_measures, n_groups, n_strata]
    later, earlier, stratum : int64[n_pairs]
        Groups and stratum of people who are in the same stratum in both years, by stratum.
    products : float64[n_products, n_measures, n_pairs]
    """

    people: NDArray[np.float64]
    sums: NDArray[np.float64]
    later: NDArray[np.int64]
    earlier: NDArray[np.int64]
    stratum: NDArray[np.int64]
    products: NDArray[np.float64]


def dimension_sums(
    years: Sequence[OutcomeYear],
    strata: Sequence[NDArray[np.integer[Any]]],
    n_strata: Sequence[int],
    *,
    n_groups: int,
) -> list[DimensionSums]:
    """Sums of every dimension, in their order.

    Parameters
    ----------
    years : (base, performance)
    strata : sequence of integers[2, n], one a dimension
        Stratum of each member by year; -1: in none of the dimension's.
    n_strata : sequence of int
        Strata of each dimension.
    n_groups : int
    """
    summed = _Summed(years, strata, n_groups)
    found: dict[int, DimensionSums] = {}
    for place, codes in _divisions(strata, n_strata, n_groups):
        people, sums = zip(*(summed.of_year(y, place[y], codes.n) for y in (0, 1)), strict=True)
        stayed = summed.of_stayed(place[1], codes.n)
        for dimension, code in codes.of.items():
            n = n_strata[dimension]
            later, earlier, stratum, products = summed.of_moved(strata[dimension])
            own = np.arange(n_groups * n)
            found[dimension] = DimensionSums(
                _added(np.stack(people), code, n),
                _added(np.stack(sums), code, n),
                np.append(own // n, later),
                np.append(own // n, earlier),
                np.append(own % n, stratum),
                np.concatenate([_flat(_added(stayed, code, n)), products], axis=2),
            )
    return [found[dimension] for dimension in range(len(n_strata))]


# --- dimensions summed together -------------------------------------------------------------------


@dataclass(frozen=True)
class _Codes:
    """Combinations of strata that there are: how many, and the stratum of each by dimension."""

    n: int
    of: dict[int, NDArray[np.int64]]


def _divisions(
    strata: Sequence[NDArray[np.integer[Any]]], n_strata: Sequence[int], n_groups: int
) -> Iterator[tuple[NDArray[np.int64], _Codes]]:
    """Combination of each member by year, of dimensions whose combinations are few."""
    room = max(_FEW, strata[0].shape[1] // 32) // n_groups
    one = np.zeros((2, strata[0].shape[1]), np.int64)
    place, codes = one, _Codes(1, {})
    for dimension in sorted(range(len(n_strata)), key=lambda k: n_strata[k]):
        finer, more = _divided(place, codes, dimension, strata[dimension], n_strata[dimension])
        if codes.of and more.n > room:
            yield place, codes
            nothing = _Codes(1, {})
            finer, more = _divided(one, nothing, dimension, strata[dimension], n_strata[dimension])
        place, codes = finer, more
    yield place, codes


def _divided(
    place: NDArray[np.int64],
    codes: _Codes,
    dimension: int,
    stratum: NDArray[np.integer[Any]],
    n_strata: int,
) -> tuple[NDArray[np.int64], _Codes]:
    """Combinations with one dimension more."""
    width = n_strata + 1
    finer = place * width + (stratum + 1)
    there = np.flatnonzero(np.bincount(finer.ravel(), minlength=codes.n * width))
    at = np.zeros(codes.n * width, np.int64)
    at[there] = np.arange(there.size)
    before, own = np.divmod(there, width)
    of = {dimension_: code[before] for dimension_, code in codes.of.items()}
    return np.take(at, finer), _Codes(there.size, {**of, dimension: own - 1})


# --- sums by place --------------------------------------------------------------------------------


class _Weights(NamedTuple):
    """One sum over some rows: its name, the measures it is the same of, the rows' values or 1."""

    name: str
    measures: Sequence[int]
    values: NDArray[np.float64] | None


_Rows = tuple[NDArray[np.intp], list[_Weights]]


class _Summed:
    """Values ready to be summed by any places: where they are not 0, and products of them.

    Who stays in group and strata has a place by combination; the others, who are few, are summed
    by each dimension.
    """

    def __init__(
        self,
        years: Sequence[OutcomeYear],
        strata: Sequence[NDArray[np.integer[Any]]],
        n_groups: int,
    ) -> None:
        self.n_groups, self.n_measures = n_groups, years[0].n.shape[0]
        self.groups = [year.group for year in years]
        self.people = [np.flatnonzero(year.group >= 0) for year in years]
        there = [[np.flatnonzero(n != 0) for n in year.n] for year in years]
        self.years = [list(_of_year(year, rows)) for year, rows in zip(years, there, strict=True)]
        both = (self.groups[0] >= 0) & (self.groups[1] >= 0)
        same = self.groups[0] == self.groups[1]
        for earlier, later in strata:
            same &= earlier == later
        self.stayed = list(_of_both(years, there, both & same))
        self.moved = list(_of_both(years, there, both & ~same))
        self.movers = np.flatnonzero(both & ~same)

    def of_year(
        self, year: int, place: NDArray[np.int64], n: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """People: float64[n, n_groups]; sums: float64[n_fields, n_measures, n, n_groups]."""
        cell, n_cells = place * self.n_groups + self.groups[year], self.n_groups * n
        people = np.bincount(cell[self.people[year]], minlength=n_cells).astype(np.float64)
        shape = (n, self.n_groups)
        return people.reshape(shape), self._entered(FIELDS, self.years[year], cell, shape)

    def of_stayed(self, place: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        """Products of people who stay: float64[n_products, n_measures, n, n_groups]."""
        cell = place * self.n_groups + self.groups[1]
        return self._entered(PRODUCTS, self.stayed, cell, (n, self.n_groups))

    def of_moved(
        self, stratum: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Groups, stratum and products of people who move and keep this dimension's stratum."""
        here = self.movers
        earlier, later = (np.take(group, here) for group in self.groups)
        before, after = (np.take(own, here).astype(np.int64) for own in stratum)
        keeps = (before == after) & (before >= 0)
        there, at = _distinct(
            np.where(keeps, (after * self.n_groups + later) * self.n_groups + earlier, -1)
        )
        cell = np.zeros(self.groups[0].size, np.int64)
        cell[here] = at
        products = self._entered(PRODUCTS, self.moved, cell, (there.size,))
        first = int(there.size > 0 and there[0] < 0)
        rest, earlier = np.divmod(there[first:], self.n_groups)
        stratum_of, later = np.divmod(rest, self.n_groups)
        return later, earlier, stratum_of, products[:, :, first:]

    def _entered(
        self,
        names: Sequence[str],
        weights: Sequence[_Rows],
        cell: NDArray[np.int64],
        shape: tuple[int, ...],
    ) -> NDArray[np.float64]:
        n = math.prod(shape)
        sums = np.zeros((len(names), self.n_measures, n))
        for rows, found in weights:
            at = np.take(cell, rows)
            for name, measures, values in found:
                sums[names.index(name), measures] = np.bincount(at, values, n)
        return sums.reshape(*sums.shape[:2], *shape)


def _distinct(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that there are, ascending, and the place of each among them; none is below -1."""
    n = int(values.max(initial=-1)) + 2
    if n > max(_FEW, 4 * values.size):
        found, at = np.unique(values, return_inverse=True)
        return found, at
    there = np.flatnonzero(np.bincount(values + 1, minlength=n))
    place = np.zeros(n, np.int64)
    place[there] = np.arange(there.size)
    return there - 1, place[values + 1]


def _added(sums: NDArray[np.float64], code: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Sums of combinations (the last axis but one) added up by their stratum, which is last."""
    return np.stack([sums[..., code == stratum, :].sum(axis=-2) for stratum in range(n)], axis=-1)


def _flat(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Groups and strata as one axis."""
    return sums.reshape(*sums.shape[:2], -1)


_Places = Sequence[NDArray[np.intp]]
"""By measure, whose n is not 0."""


def _of_year(year: OutcomeYear, with_n: _Places) -> Iterator[_Rows]:
    for kind, d in enumerate(year.d):
        measures = [m for m, own in enumerate(year.kind) if own == kind]
        is_in = (year.group >= 0) & (d != 0)
        rows = np.flatnonzero(is_in)
        own = np.take(d, rows)
        expected = [(m, np.take(year.e[m], rows)) for m in measures]
        yield (
            rows,
            [
                _Weights("d", measures, own),
                _Weights("dd", measures, own * own),
                *(_Weights("e", [m], e) for m, e in expected),
                *(_Weights("ee", [m], e * e) for m, e in expected),
            ],
        )
        for m in measures:
            there = with_n[m][np.take(is_in, with_n[m])]
            n = np.take(year.n[m], there)
            yield (
                there,
                [
                    _Weights("with", [m], None),
                    _Weights("n", [m], n),
                    _Weights("nn", [m], n * n),
                    _Weights("nd", [m], n * np.take(d, there)),
                    _Weights("ne", [m], n * np.take(year.e[m], there)),
                ],
            )


def _of_both(
    years: Sequence[OutcomeYear], with_n: Sequence[_Places], whom: NDArray[np.bool_]
) -> Iterator[_Rows]:
    """Rows of some people of both years, and products of the years."""
    earlier, later = years
    e0, e1 = earlier.e, later.e
    for kind, (d0, d1) in enumerate(zip(earlier.d, later.d, strict=True)):
        measures = [m for m, own in enumerate(later.kind) if own == kind]
        rows = np.flatnonzero(whom & (d0 != 0) & (d1 != 0))
        yield (
            rows,
            [
                _Weights("dd", measures, np.take(d1, rows) * np.take(d0, rows)),
                *(
                    _Weights("ee", [m], np.take(e1[m], rows) * np.take(e0[m], rows))
                    for m in measures
                ),
            ],
        )
        for m in measures:
            n0, n1 = earlier.n[m], later.n[m]
            then, now = (own[m][np.take(whom, own[m])] for own in with_n)
            for those, others, pairs in (
                (now, n0, (("nn", n1, n0),)),
                (now, d0, (("nd", n1, d0), ("ne", n1, e0[m]))),
                (then, d1, (("dn", d1, n0), ("en", e1[m], n0))),
            ):
                rows = those[np.take(others, those) != 0]
                yield (
                    rows,
                    [
                        _Weights(name, [m], np.take(x, rows) * np.take(y, rows))
                        for name, x, y in pairs
                    ],
                )
