"""What a calibration adds up: regression rows of each shard, and their exact sums.

    indicators (bits left by the program), months, capped annual cost -> by segment and random group

For features 0/1 and weights in member months every sum is an integer, so shards add up in any
order and any number. The random group of a member is a function of its key; folds and resampling
are made of whole groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.calibration.least_squares import Constraint
from ihp_compute.codes import SERVICE_CATEGORIES
from ihp_compute.population import ShardColumns
from ihp_compute.risk import ModelScores, enrolled_months
from ihp_compute.risk.models import Compiled, Model, emitted
from ihp_compute.units import year_bounds

MONTHS: Final = 12
GROUP_SALT: Final = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class CalibrationTerms:
    """What is estimated from what.

    year : calendar year of the cost; cutoff_day : lines paid later do not count;
    annual_cap_cents : annualised cost above it does not count; services : SERVICE_CATEGORIES
    that count, None all; min_months : members with fewer do not enter; full_months : member months
    at which a feature's own estimate stands alone; groups, folds, replicates, seed : of the
    out-of-sample figures and standard errors.
    """

    year: int
    cutoff_day: int = 2**31 - 1
    annual_cap_cents: int = 25_000_000
    services: frozenset[str] | None = None
    min_months: int = 1
    full_months: int = 3_600
    groups: int = 40
    folds: int = 5
    replicates: int = 100
    seed: int = 1


@dataclass(frozen=True)
class Sums:
    """Sums over members by segment and random group; adding them is exact in any order.

    gram, moment : by segment int64[n_groups, p, p] and int64[n_groups, p], over the segment's
    features; capped : members whose cost met the cap; skipped : members with months who do not
    enter, for they cannot be scored or have too few.
    """

    gram: dict[str, NDArray[np.int64]]
    moment: dict[str, NDArray[np.int64]]
    capped: int
    skipped: int

    def __add__(self, other: Sums) -> Sums:
        """Sum of both."""
        return Sums(
            {s: self.gram[s] + other.gram[s] for s in self.gram},
            {s: self.moment[s] + other.moment[s] for s in self.moment},
            self.capped + other.capped,
            self.skipped + other.skipped,
        )


@dataclass(frozen=True)
class Design:
    """Features of each segment, and the constraints among them.

    unweighted : terms of each segment that are no regressors, for their published weight is zero
    """

    compiled: Compiled
    features: dict[str, tuple[str, ...]]
    unweighted: dict[str, tuple[str, ...]]
    constraints: dict[str, tuple[Constraint, ...]]
    cells: frozenset[str]
    crossed: frozenset[str]
    """Terms of CELL and of CROSS steps; a segment's members have exactly one of either."""


def design_of(compiled: Compiled, full: Model) -> Design:
    """Features and constraints by segment: what the program may leave set, flags left out.

    A term that the published model weighs with zero in a segment takes part there in no sum (CMS
    holds the counts D1 to D3 at zero: they are sums of the categories that they count). Demographic
    cells stay, for every member has one.
    """
    unscored = {f.name for f in full.features if f.kind == "FLAG"}
    cells = frozenset(cell.out for step in full.steps for cell in step.cells)
    crossed = frozenset(out for step in full.steps if step.op == "CROSS" for out in step.outs)
    weighted = {
        (c.segment, c.term)
        for c in full.coefficients
        if c.column == full.default_column and Decimal(c.value)
    }
    features, constraints, unweighted = {}, {}, {}
    for segment in full.segments:
        emits = emitted(full, segment) - unscored
        names = {
            name
            for name in emits
            if name in cells or name in crossed or (segment.name, name) in weighted
        }
        unweighted[segment.name] = tuple(
            name for name in compiled.names if name in emits and name not in names
        )
        ordered = tuple(name for name in compiled.names if name in names)
        number = {name: i for i, name in enumerate(ordered)}
        features[segment.name] = ordered
        constraints[segment.name] = tuple(Constraint(i) for i in range(len(ordered))) + tuple(
            Constraint(number[h.parent], number[child])
            for h in full.hierarchies
            for child in h.children
            if h.parent in number and child in number
        )
    return Design(
        compiled,
        features,
        unweighted,
        constraints,
        cells,
        crossed,
    )


def annual_cost(
    shard: ShardColumns, terms: CalibrationTerms, months: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Months x capped annual cost of each member, int64[n] cents; and who met the cap.

    Exact: months x min(12 cents / months, cap) = min(12 cents, cap months).
    """
    first, last = year_bounds(terms.year)
    day = shard.column("lines", "claim_end_day")
    keep = (day >= first) & (day < last) & (shard.column("lines", "paid_day") <= terms.cutoff_day)
    if terms.services is not None:
        counts = np.array([name in terms.services for name in SERVICE_CATEGORIES])
        keep &= counts[shard.column("lines", "category")]
    running = np.concatenate([[0], np.cumsum(shard.column("lines", "paid_cents") * keep)])
    offsets = shard.offsets("lines")
    cents = running[offsets[1:]] - running[offsets[:-1]]
    limit = terms.annual_cap_cents * months
    return np.minimum(MONTHS * cents, limit), MONTHS * cents > limit


@dataclass(frozen=True)
class Rows:
    """A shard's members as regression rows: everything by member, those who enter only."""

    segment: NDArray[np.uint8]
    terms: NDArray[np.uint64]
    months: NDArray[np.int64]
    weighted_cost: NDArray[np.int64]
    group: NDArray[np.int64]
    rate_cell: NDArray[np.int64]
    age: NDArray[np.int16]
    sex: NDArray[np.uint8]
    capped: int
    skipped: int


def rows_of(shard: ShardColumns, scores: ModelScores, terms: CalibrationTerms) -> Rows:
    """The regression rows of one shard."""
    by_cell = enrolled_months(shard, year=terms.year)
    months = by_cell.sum(axis=0)
    members, scored, able = scores.indicators(
        shard, year=terms.year, cutoff_day=terms.cutoff_day, months=by_cell
    )
    weighted, capped = annual_cost(shard, terms, months)
    enters = able & (months >= max(terms.min_months, 1))
    key = shard.column("members", "member_key") * np.uint64(GROUP_SALT)
    group = (key >> np.uint64(32)).astype(np.int64) % terms.groups
    return Rows(
        scored.segment[enters], scored.terms[enters], months[enters], weighted[enters],
        group[enters], by_cell.argmax(axis=0)[enters], members.age[enters], members.sex[enters],
        int(capped[enters].sum()), int(((months > 0) & ~enters).sum()),
    )  # fmt: skip


def indicators(
    rows: Rows, design: Design, segment: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions of a segment's members, and their 0/1 matrix, float64[n, p]."""
    number = design.compiled.segment_names.index(segment)
    at = np.flatnonzero(rows.segment == number)
    bits = np.array([design.compiled.bit[name] for name in design.features[segment]], np.int64)
    words = rows.terms[at][:, bits // 64]
    return at, (words >> (bits % 64).astype(np.uint64) & np.uint64(1)).astype(np.float64)


def sums_of(rows: Rows, design: Design, n_groups: int) -> Sums:
    """Exact sums of one shard. Products of 0/1 and months stay far below 2^53 in float64."""
    gram, moment = {}, {}
    for segment, features in design.features.items():
        at, matrix = indicators(rows, design, segment)
        p = len(features)
        gram[segment] = np.zeros((n_groups, p, p), np.int64)
        moment[segment] = np.zeros((n_groups, p), np.int64)
        for group in np.unique(rows.group[at]):
            own = rows.group[at] == group
            x = matrix[own]
            weighted = x * rows.months[at][own, None]
            gram[segment][group] = np.rint(weighted.T @ x).astype(np.int64)
            moment[segment][group] = x.astype(np.int64).T @ rows.weighted_cost[at][own]
    return Sums(gram, moment, rows.capped, rows.skipped)
