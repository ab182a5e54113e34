"""How sure a number is: replicate totals over members, and intervals over replicates.

    member-years -> rows (member, group, rate cell) -> replicate totals -> [settlement] -> intervals

Members are drawn, not claims: a member has one weight in base and performance year and in whatever
group it stands (design of the weights: `kernels.philox`). Totals are integers, so they may be added
over shards in any order. A quantile is a selection: the k-th smallest of replicates 1 to B with
k = max(1, ceil(p B)). Means and variances come from exact integer sums.

Not here: what a replicate's totals settle to (`settlement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import kernels
from ihp_compute.tables import RATE_CELLS
from ihp_compute.units import MICRO

LEVELS: Final = (Fraction(80, 100), Fraction(90, 100), Fraction(95, 100))
_LEVELS: Final = tuple(map(float, LEVELS))
_TAILS_MICRO: Final = [
    int(MICRO * p) for level in LEVELS for p in ((1 - level) / 2, (1 + level) / 2)
]
_WORD_BITS: Final = 64
RATE_NANO: Final = 10**9
"""Savings rates are averaged as integers of this many parts."""


@dataclass(frozen=True)
class Totals:
    """Sums over members, per group, rate cell and replicate; what settlement starts from.

    Attributes
    ----------
    groups : tuple of str
        Partnerships sorted by id, then COMPARISON, then UNATTRIBUTED.
    columns : tuple of str
        base_months, base_risk, perf_months, perf_risk, then base_cost_<rule set> and
        perf_cost_<rule set> for each rule set. Months are member months, risk is the sum of
        score_micro × months, cost is in cents after the cap.
    values : int64[n_groups, n_strata, 1 + B, n_columns]
        Replicate 0 is the data as observed.
    n_members : int64[n_groups]
        Members of the group in the performance year, as observed.
    strata : tuple of str
        Rate cells.
    """

    groups: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.int64]
    n_members: NDArray[np.int64]
    strata: tuple[str, ...] = RATE_CELLS

    def __add__(self, other: Totals) -> Totals:
        """Totals of two disjoint sets of members."""
        return replace(
            self, values=self.values + other.values, n_members=self.n_members + other.n_members
        )

    def column(self, name: str) -> NDArray[np.int64]:
        """One column, int64[n_groups, n_strata, 1 + B], contiguous."""
        return np.ascontiguousarray(self.values[..., self.columns.index(name)])

    @property
    def n_replicates(self) -> int:
        """B: draws beside the observed row."""
        return self.values.shape[2] - 1


def column_names(n_rule_sets: int) -> tuple[str, ...]:
    """Names of the columns of `Totals` for a number of rule sets.

    >>> column_names(1)
    ('base_months', 'base_risk', 'perf_months', 'perf_risk', 'base_cost_r0', 'perf_cost_r0')
    """
    costs = (f"{year}_cost_r{r}" for r in range(n_rule_sets) for year in ("base", "perf"))
    return ("base_months", "base_risk", "perf_months", "perf_risk", *costs)


@dataclass(frozen=True)
class YearRows:
    """What one year of a shard brings to the totals.

    Attributes
    ----------
    group : int32[n_members]
        Index into `Totals.groups`; -1 for members who are not eligible.
    months : int64[n_strata, n_members]
        Countable member months.
    score_micro : int64[n_members]
        Risk score in millionths.
    cell_cents : sequence of int64[n_strata, n_members]
        Cost after the cap by rate cell, one array a rule set.
    """

    group: NDArray[np.int32]
    months: NDArray[np.int64]
    score_micro: NDArray[np.int64]
    cell_cents: Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Rows:
    """Rows that the replicate totals sum: one per member, group and rate cell.

    Attributes
    ----------
    columns : int64[n_columns, n_rows]
        `Totals.columns`.
    cell : int32[n_rows]
        Group × number of strata + stratum.
    member_key : uint64[n_rows]
    """

    columns: NDArray[np.int64]
    cell: NDArray[np.int32]
    member_key: NDArray[np.uint64]

    @classmethod
    def of(cls, member_key: NDArray[np.uint64], base: YearRows, performance: YearRows) -> Rows:
        """Rows of a shard's members over the two years, members in the order of `member_key`.

        A member who stands in several groups or rate cells becomes several rows with one key,
        hence one weight. Who has neither months nor cost in a cell has no row there: it would add
        nothing.
        """
        names = column_names(len(base.cell_cents))
        n_strata = len(RATE_CELLS)
        same = base.group == performance.group
        in_base = _present(base)
        in_performance = _present(performance)
        parts = []
        # one row where both years stand in one group: they share the weight; else a row each
        for here, group, years in (
            (in_base | (in_performance & same), base.group, ("base", "perf")),
            (in_performance & ~same, performance.group, ("perf",)),
        ):
            place = np.flatnonzero(here)
            stratum = place // len(member_key)
            member = place - stratum * len(member_key)
            block = np.zeros((len(names), member.size), np.int64)
            for year in years:
                rows = base if year == "base" else performance
                shared = np.int64(1) if year == "base" or len(years) == 1 else same[member]
                months = rows.months.take(place) * shared
                block[names.index(f"{year}_months")] = months
                block[names.index(f"{year}_risk")] = months * rows.score_micro.take(member)
                for r, cents in enumerate(rows.cell_cents):
                    block[names.index(f"{year}_cost_r{r}")] = cents.take(place) * shared
            cell = group[member] * np.int32(n_strata) + stratum.astype(np.int32)
            parts.append(cls(block, cell, member_key[member]))
        return cls.concat(parts)

    @classmethod
    def concat(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of several parts."""
        return cls(
            np.concatenate([part.columns for part in parts], axis=1),
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.member_key for part in parts]),
        )


def replicate_totals(
    rows: Rows,
    n_members: NDArray[np.int64],
    *,
    groups: tuple[str, ...],
    replicates: int,
    seed: int,
    device: str,
) -> Totals:
    """Sum rows under every replicate's weights.

    Parameters
    ----------
    rows : Rows
        Of one shard or of many: the more at once, the less each costs.
    n_members : int64[n_groups]
        Members of each group in the performance year.
    groups : tuple of str
        Group names; the rows' cells point into it.
    replicates : int
        B, draws beside the observed row.
    seed : int
        64-bit seed of the weights.
    device : str
        "cpu" or "gpu": where the sums are made. The result is the same and lies on the host.

    Returns
    -------
    Totals
    """
    n_strata = len(RATE_CELLS)
    move = kernels.to_device if device == "gpu" else np.ascontiguousarray
    with kernels.own_stream(device):
        values = kernels.to_host(
            kernels.replicate_totals(
                move(rows.columns),
                move(rows.cell),
                move(rows.member_key),
                n_groups=len(groups) * n_strata,
                n_replicates=replicates + 1,
                seed=seed,
            )
        )
    return Totals(
        groups=groups,
        columns=column_names((rows.columns.shape[0] - 4) // 2),
        values=values.reshape(len(groups), n_strata, replicates + 1, -1),
        n_members=n_members,
    )


def _present(rows: YearRows) -> NDArray[np.bool_]:
    """Where a member of a group has months or cost in a rate cell: bool[n_strata, n_members]."""
    present = rows.months != 0
    for cents in rows.cell_cents:
        present = present | (cents != 0)
    return present & (rows.group >= 0)[None, :]


@dataclass(frozen=True)
class Interval:
    """An interval for one measure at one level; `std_error` in the measure's unit."""

    method: str
    level: float
    point: float
    low: float
    high: float
    std_error: float


def _exact_std_error(values: NDArray[np.int64]) -> float:
    """Standard deviation over replicates (n - 1), from exact integer sums."""
    n = values.size
    if n < 2:
        return 0.0
    total, squares = _sums(values - values[0])
    return math.sqrt(Fraction(n * squares - total * total, n * (n - 1)))


def _sums(values: NDArray[np.int64]) -> tuple[int, int]:
    """Sum and sum of squares, exact: each value in two halves, whose products fit int64."""
    size = max(int(values.max()), -int(values.min()))
    half = (size.bit_length() + 1) // 2
    if 2 * half + values.size.bit_length() >= _WORD_BITS:
        wide = values.astype(object)
        return int(wide.sum()), int((wide * wide).sum())
    high, low = values >> half, values & ((1 << half) - 1)
    squares = (int(high @ high) << 2 * half) + (int(high @ low) << half + 1) + int(low @ low)
    return int(values.sum()), squares


def intervals(values: NDArray[Any]) -> list[Interval]:
    """Percentile and basic intervals of a measure at every level.

    Parameters
    ----------
    values : int64[1 + B] (cents) or float64[1 + B] (rates)
        Value per replicate; index 0 is the observed value.

    Returns
    -------
    list of Interval
        Empty when B is 0. The basic interval reflects the percentile one about the point.
    """
    point, draws = values[0], values[1:]
    if draws.size == 0:
        return []
    if values.dtype.kind == "f":
        std_error = _exact_std_error(np.rint(draws * RATE_NANO).astype(np.int64)) / RATE_NANO
        ends = _in_order(kernels.quantiles(_in_order(draws.view(np.int64))[None], _TAILS_MICRO)[0])
        ends = ends.view(np.float64)
    else:
        std_error = _exact_std_error(draws)
        ends = kernels.quantiles(draws[None], _TAILS_MICRO)[0]
    found = []
    for level, low, high in zip(_LEVELS, ends[::2], ends[1::2], strict=True):
        for method, pair in (("percentile", (low, high)), ("basic", _reflect(point, low, high))):
            found.append(
                Interval(method, level, float(point), float(pair[0]), float(pair[1]), std_error)
            )
    return found


def _in_order(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of floats as integers in the floats' order; its own inverse."""
    return bits ^ ((bits >> (_WORD_BITS - 1)) & np.iinfo(np.int64).max)


def _reflect(point: Any, low: Any, high: Any) -> tuple[Any, Any]:
    return 2 * point - high, 2 * point - low
