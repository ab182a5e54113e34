"""Regression rows of each shard, and their exact sums.

    a contract's measure of the year + indicators (bits left by the program) -> rows -> sums

Members whom a run calls eligible have a row: 12 times their capped cost and their countable months,
as the run has them. For features 0/1 and weights in member months every sum is an integer, so
shards add up in any order and any number. The fold of a member is a function of its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.calibration.least_squares import Constraint
from ihp_compute.codes import AID_GROUPS, PAYER_KINDS
from ihp_compute.ledger import RunFate
from ihp_compute.measure import YearPlan
from ihp_compute.population import ShardColumns
from ihp_compute.risk import MemberFactors, ModelScores, enrolled_months
from ihp_compute.risk.models import Model, emitted
from ihp_compute.units import year_bounds

MONTHS: Final = 12
FOLD_SALT: Final = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class CalibrationTerms:
    """What is done with the rows.

    full_months : member months at which a feature's own estimate stands alone
    folds : of the out-of-sample figures
    """

    full_months: int = 3_600
    folds: int = 5


@dataclass(frozen=True)
class Design:
    """Features of each segment, and the constraints among them.

    Attributes
    ----------
    segments : tuple of str
        By number.
    bit : mapping of feature to its bit
    features : mapping of segment to features
        In the order of their bits.
    unweighted : mapping of segment to terms
        No regressors, for their published weight is zero.
    constraints : mapping of segment to constraints
    cells, crossed : frozenset of str
        Terms of CELL and of CROSS steps; a segment's members have exactly one of either.
    conditions : frozenset of str
        Terms that codes set.
    """

    segments: tuple[str, ...]
    bit: dict[str, int]
    features: dict[str, tuple[str, ...]]
    unweighted: dict[str, tuple[str, ...]]
    constraints: dict[str, tuple[Constraint, ...]]
    cells: frozenset[str]
    crossed: frozenset[str]
    conditions: frozenset[str]


def design_of(bit: Mapping[str, int], full: Model, signed: frozenset[str] = frozenset()) -> Design:
    """Features and constraints by segment: what the program may leave set, flags left out.

    A term that the published model weighs with zero in a segment takes part there in no sum (CMS
    holds the counts D1 to D3 at zero: they are sums of the categories that they count). Demographic
    cells stay, for every member has one.

    Parameters
    ----------
    bit : mapping of feature to its bit
        In the order of the features (`Compiled.bit`, and bits of predictors).
    full : Model
        The model with all its tables.
    signed : frozenset of str
        Terms that may weigh less than nothing, and are regressors whatever their weight.
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
        kept = {
            name
            for name in emits
            if name in cells | crossed | signed or (segment.name, name) in weighted
        }
        unweighted[segment.name] = tuple(name for name in bit if name in emits and name not in kept)
        ordered = tuple(name for name in bit if name in kept)
        number = {name: i for i, name in enumerate(ordered)}
        features[segment.name] = ordered
        constraints[segment.name] = tuple(
            Constraint(i) for i, name in enumerate(ordered) if name not in signed
        ) + tuple(
            Constraint(number[h.parent], number[child])
            for h in full.hierarchies
            for child in h.children
            if h.parent in number and child in number
        )
    return Design(
        segments=tuple(segment.name for segment in full.segments),
        bit=dict(bit),
        features=features,
        unweighted=unweighted,
        constraints=constraints,
        cells=cells,
        crossed=crossed,
        conditions=frozenset(bit for rule in full.rules for bit in rule.bits),
    )


@dataclass(frozen=True)
class Counts:
    """What a shard's rows leave out and rest on; adding them is exact in any order.

    Attributes
    ----------
    ledger : int64[n_run_fates, 2]
        Lines and paid cents of all retained lines by `RunFate`. NOT_ATTRIBUTED are those of
        eligible members without a row.
    uncapped_cents, capped_cents : int
        Of the rows, as the contract's amount has it.
    at_cap : int
        Members with a row whose cost met the cap.
    skipped : int
        Eligible members without a row: the model cannot score them, or they have too few months.
    thin : int
        Members with a row who were not enrolled in every month of the year of the codes.
    unstated : int
        Members with a row of whom nothing says the factors asked for.
    """

    ledger: NDArray[np.int64]
    uncapped_cents: int
    capped_cents: int
    at_cap: int
    skipped: int
    thin: int
    unstated: int

    def __add__(self, other: Counts) -> Counts:
        """Those of both."""
        return Counts(
            self.ledger + other.ledger,
            self.uncapped_cents + other.uncapped_cents,
            self.capped_cents + other.capped_cents,
            self.at_cap + other.at_cap,
            self.skipped + other.skipped,
            self.thin + other.thin,
            self.unstated + other.unstated,
        )

    def cost_rows(self) -> list[tuple[str, int, int]]:
        """Fate, lines and paid cents: counted - above_cap + floored + other_amount is the cost."""
        found = [
            (
                "not_calibrated" if fate is RunFate.NOT_ATTRIBUTED else fate.label,
                int(self.ledger[fate, 0]),
                int(self.ledger[fate, 1]),
            )
            for fate in RunFate
        ]
        other = self.uncapped_cents - int(self.ledger[RunFate.COUNTED, 1])
        return [*found, ("other_amount", 0, other)]


@dataclass(frozen=True)
class Rows:
    """A shard's members as regression rows: arrays by member, those who enter only.

    Attributes
    ----------
    segment : uint8[n]
    terms : uint64[n, n_words]
    months : int64[n]
        Countable months.
    weighted_cost : int64[n]
        12 times the capped cost, cents: months times the annual cost.
    order : uint64[n]
        A function of the member's key: by it members of one prediction are told apart.
    fold : int64[n]
    rate_cell : int64[n]
        In which they have most months.
    aid_group : int64[n]
        The same.
    factors : uint8[n]
        Bit i: `MEMBER_FACTORS[i]` holds on the last day of the codes' year; 0 where none is asked.
    group : int32[n]
        Index into the roster's groups.
    age : int16[n]
    sex : uint8[n]
    counts : Counts
    """

    segment: NDArray[np.uint8]
    terms: NDArray[np.uint64]
    months: NDArray[np.int64]
    weighted_cost: NDArray[np.int64]
    order: NDArray[np.uint64]
    fold: NDArray[np.int64]
    rate_cell: NDArray[np.int64]
    aid_group: NDArray[np.int64]
    factors: NDArray[np.uint8]
    group: NDArray[np.int32]
    age: NDArray[np.int16]
    sex: NDArray[np.uint8]
    counts: Counts


def rows_of(
    shard: ShardColumns,
    scores: ModelScores,
    plan: YearPlan,
    *,
    folds: int,
    factors: MemberFactors | None = None,
) -> Rows:
    """The regression rows of one shard; with the factors of members, where they are asked for."""
    attribution, cost = plan.measure(shard)
    by_cell = attribution.months
    members, scored, able = scores.indicators(
        shard, year=plan.year, cutoff_day=plan.cutoff_day, months=by_cell
    )
    eligible = attribution.group >= 0
    enters = eligible & able
    covered = enrolled_months(shard, year=scores.diagnosis_year(plan.year)).sum(axis=0)
    key = shard.column("members", "member_key") * np.uint64(FOLD_SALT)
    here = np.flatnonzero(enters)
    bits, stated = np.zeros(len(key), np.uint8), np.ones(len(key), np.bool_)
    if factors is not None:
        bits, stated = factors.on(shard, year_bounds(scores.diagnosis_year(plan.year))[1] - 1)
    months = by_cell[:, here]
    by_aid_group = months.reshape(len(AID_GROUPS), len(PAYER_KINDS), len(here))
    return Rows(
        segment=scored.segment[here],
        terms=scored.terms[here],
        months=months.sum(axis=0),
        weighted_cost=MONTHS * cost.capped_cents[here],
        order=key[here],
        fold=(key[here] >> np.uint64(32)).astype(np.int64) % folds,
        rate_cell=months.argmax(axis=0),
        aid_group=by_aid_group.sum(axis=1).argmax(axis=0),
        factors=bits[here],
        group=attribution.group[here],
        age=members.age[here],
        sex=members.sex[here],
        counts=Counts(
            ledger=plan.ledger(shard, attribution, cost, enters),
            uncapped_cents=int(cost.uncapped_cents[here].sum()),
            capped_cents=int(cost.capped_cents[here].sum()),
            at_cap=int((cost.above_cap_cents[here] > 0).sum()),
            skipped=int((eligible & ~able).sum()),
            thin=int((covered[here] < MONTHS).sum()),
            unstated=int((~stated[here]).sum()),
        ),
    )


@dataclass(frozen=True)
class Sums:
    """Sums over members by segment and fold; adding them is exact in any order.

    gram, moment : by segment int64[n_folds, p, p] and int64[n_folds, p], over its features
    """

    gram: dict[str, NDArray[np.int64]]
    moment: dict[str, NDArray[np.int64]]

    def __add__(self, other: Sums) -> Sums:
        """Sum of both."""
        return Sums(
            {s: self.gram[s] + other.gram[s] for s in self.gram},
            {s: self.moment[s] + other.moment[s] for s in self.moment},
        )


def indicators(
    rows: Rows, design: Design, segment: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions of a segment's members, and their 0/1 matrix, float64[n, p]."""
    at = np.flatnonzero(rows.segment == design.segments.index(segment))
    matrix = np.empty((len(at), len(design.features[segment])), np.float64, order="F")
    terms = rows.terms[at]
    for column, name in enumerate(design.features[segment]):
        word, bit = divmod(design.bit[name], 64)
        matrix[:, column] = terms[:, word] >> np.uint64(bit) & np.uint64(1)
    return at, matrix


def sums_of(rows: Rows, design: Design, folds: int) -> Sums:
    """Exact sums of one shard.

    Products of 0/1, months and cost add up in float64 without rounding: all are whole, and their
    sums stay far below 2^53 (12 times a shard's cost, in cents).
    """
    gram, moment = {}, {}
    for segment, features in design.features.items():
        at, matrix = indicators(rows, design, segment)
        p = len(features)
        gram[segment] = np.zeros((folds, p, p), np.int64)
        moment[segment] = np.zeros((folds, p), np.int64)
        for fold in np.unique(rows.fold[at]).tolist():
            own = np.flatnonzero(rows.fold[at] == fold)
            x, months = matrix[own], rows.months[at[own]]
            gram[segment][fold] = np.rint(x.T @ (x * months[:, None])).astype(np.int64)
            cost = rows.weighted_cost[at[own]].astype(np.float64)
            moment[segment][fold] = np.rint(x.T @ cost).astype(np.int64)
    return Sums(gram, moment)
