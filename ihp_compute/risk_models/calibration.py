"""A state's own weights for a model's indicators: `ihp calibrate`.

    indicators (terms left by the program) x capped annual cost, by member, weighted by months
    -> exact sums over shards -> constrained least squares per segment -> credibility -> Model

The cost of a member-year is what was paid for lines of the year, brought to twelve months and
capped. Coefficients are not negative, and a category never weighs less than one that it clears.
A rare feature is shrunk towards the published weight, rescaled to the state: Z of its own estimate
and 1 - Z of the prior, Z by the square-root rule on its member months. The demographic cells then
take what the conditions leave, and each segment is balanced to its own cost. The new model has
weights in units of the state's mean annual cost, one column, no normalisation, and its own digest.

Fit is judged out of sample: members fall into random groups by their key, and K folds of groups are
each predicted from the others. Standard errors resample the groups. All of it is floating point and
stands outside the digest of a run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.risk import AGE_BANDS, enrolled_months
from ihp_compute.risk_models.audit import emitted
from ihp_compute.risk_models.compile import Compiled
from ihp_compute.risk_models.least_squares import (
    Constraint,
    bootstrap_errors,
    credibility,
    solve,
    within,
)
from ihp_compute.risk_models.population_scores import ModelScores
from ihp_compute.risk_models.schema import Coefficient, Model, digest
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.tables import RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.units import MICRO, year_bounds

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

    gram, moment: by segment int64[n_groups, p, p] and int64[n_groups, p], over the segment's
    features; members by segment int64[n_groups]; outliers: members whose cost met the cap.
    """

    gram: dict[str, NDArray[np.int64]]
    moment: dict[str, NDArray[np.int64]]
    members: dict[str, NDArray[np.int64]]
    capped: int
    skipped: int

    def __add__(self, other: Sums) -> Sums:
        """Sum of both."""
        return Sums(
            {s: self.gram[s] + other.gram[s] for s in self.gram},
            {s: self.moment[s] + other.moment[s] for s in self.moment},
            {s: self.members[s] + other.members[s] for s in self.members},
            self.capped + other.capped,
            self.skipped + other.skipped,
        )


@dataclass(frozen=True)
class Design:
    """Features of each segment, and the constraints among them."""

    compiled: Compiled
    features: dict[str, tuple[str, ...]]
    constraints: dict[str, tuple[Constraint, ...]]
    cells: frozenset[str]
    crossed: frozenset[str]
    """Terms of CELL and of CROSS steps; a segment's members have exactly one of either."""


def design_of(compiled: Compiled, full: Model) -> Design:
    """Features and constraints by segment: what the program may leave set, flags left out."""
    unscored = {f.name for f in full.features if f.kind == "FLAG"}
    features, constraints = {}, {}
    for segment in full.segments:
        names = emitted(full, segment) - unscored
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
        constraints,
        frozenset(cell.out for step in full.steps for cell in step.cells),
        frozenset(out for step in full.steps if step.op == "CROSS" for out in step.outs),
    )


def annual_cost(
    shard: Any, terms: CalibrationTerms, months: NDArray[np.int64]
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


def rows_of(shard: Any, scores: ModelScores, terms: CalibrationTerms) -> Rows:
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


def indicators(rows: Rows, design: Design, segment: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Positions of a segment's members, and their 0/1 matrix, float64[n, p]."""
    number = design.compiled.segment_names.index(segment)
    at = np.flatnonzero(rows.segment == number)
    bits = np.array([design.compiled.bit[name] for name in design.features[segment]], np.int64)
    words = rows.terms[at][:, bits // 64]
    return at, (words >> (bits % 64).astype(np.uint64) & np.uint64(1)).astype(np.float64)


def sums_of(rows: Rows, design: Design, n_groups: int) -> Sums:
    """Exact sums of one shard. Products of 0/1 and months stay far below 2^53 in float64."""
    gram, moment, members = {}, {}, {}
    for segment, features in design.features.items():
        at, matrix = indicators(rows, design, segment)
        p = len(features)
        gram[segment] = np.zeros((n_groups, p, p), np.int64)
        moment[segment] = np.zeros((n_groups, p), np.int64)
        members[segment] = np.bincount(rows.group[at], minlength=n_groups)
        for group in np.unique(rows.group[at]):
            own = rows.group[at] == group
            x = matrix[own]
            weighted = x * rows.months[at][own, None]
            gram[segment][group] = np.rint(weighted.T @ x).astype(np.int64)
            moment[segment][group] = x.astype(np.int64).T @ rows.weighted_cost[at][own]
    return Sums(gram, moment, members, rows.capped, rows.skipped)


@dataclass(frozen=True)
class Fit:
    """One segment's estimate, in cents per year; months int64[p] behind each feature."""

    estimate: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    z: NDArray[np.float64]
    prior: NDArray[np.float64]
    blended: NDArray[np.float64]
    months: NDArray[np.int64]


@dataclass(frozen=True)
class Calibrated:
    """The new model, its report as plain numbers, and the fit by segment."""

    model: Model
    report: dict[str, Any]
    fits: dict[str, Fit]


def calibrate(
    scores: ModelScores,
    full: Model,
    population: Any,
    terms: CalibrationTerms,
    *,
    name: str,
    runner: Runner | None = None,
) -> Calibrated:
    """Estimate a state's weights on a model's indicators.

    Parameters
    ----------
    scores : ModelScores
        The model over the population; its timing makes the weights concurrent or prospective.
    full : Model
        The model of `scores` with all its tables.
    population : Population
    terms : CalibrationTerms
    name : str
        Name of the new model.

    Raises
    ------
    DataError
        If nobody has months and cost in the year.
    """
    if terms.folds < 2 or terms.groups < terms.folds:
        raise RiskModelError("calibration needs at least 2 folds and as many groups as folds")
    design = design_of(scores.compiled(terms.year), full)
    shards = population.shards
    runner = runner or LocalRunner()
    parts = list(runner.map(lambda shard: rows_of(shard, scores, terms), shards))
    total = _total([sums_of(rows, design, terms.groups) for rows in parts])
    cost = sum(int(rows.weighted_cost.sum()) for rows in parts)
    months = sum(int(rows.months.sum()) for rows in parts)
    if months == 0 or cost <= 0:
        raise DataError(f"nobody has months and cost in {terms.year}; calibrate on another year")
    mean_cents = cost / months
    fits = {s: fit_segment(s, design, total, full, terms) for s in design.features}
    weights = {s: fit.blended for s, fit in fits.items()}
    folded = [_fold_weights(total, design, full, terms, fold) for fold in range(terms.folds)]
    report = {
        "name": name,
        "base_model": full.name,
        "base_model_sha256": digest(full),
        "population_digest": str(population.manifest.get("population_digest", "")),
        "terms": {**asdict(terms), "services": sorted(terms.services or ()) or "all"},
        "timing": scores.terms.timing,
        "members": sum(len(rows.months) for rows in parts),
        "members_skipped": total.skipped,
        "members_at_cap": total.capped,
        "member_months": months,
        "mean_annual_cost_usd": round(mean_cents / 100, 2),
        "in_sample": _accuracy(parts, design, [weights] * terms.folds),
        "out_of_sample": _accuracy(parts, design, folded),
        "predictive_ratios": _ratios(parts, design, folded),
        "features": {s: _described(design.features[s], fit) for s, fit in fits.items()},
    }
    model = _model(full, design, weights, mean_cents, name, report)
    report["sha256"] = digest(model)
    return Calibrated(model, report, fits)


def _total(parts: list[Sums]) -> Sums:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _prior(segment: str, design: Design, full: Model) -> NDArray[np.float64]:
    published = {
        c.term: float(Decimal(c.value))
        for c in full.coefficients
        if c.segment == segment and c.column == full.default_column
    }
    return np.array([published.get(name, 0.0) for name in design.features[segment]])


def fit_segment(
    segment: str, design: Design, total: Sums, full: Model, terms: CalibrationTerms
) -> Fit:
    """Estimate, standard errors and credibility of one segment."""
    gram, moment = total.gram[segment].sum(axis=0), total.moment[segment].sum(axis=0)
    estimate, z, prior, blended = _estimate(segment, design, gram, moment, full, terms)
    there = np.flatnonzero(np.diag(gram) > 0)
    error = np.full(len(estimate), np.nan)
    if len(there) and terms.replicates > 1:
        error[there] = bootstrap_errors(
            total.gram[segment][:, there[:, None], there[None, :]],
            total.moment[segment][:, there],
            within(design.constraints[segment], there),
            replicates=terms.replicates,
            seed=terms.seed,
        )
    return Fit(estimate, error, z, prior, blended, np.diag(gram))


def _estimate(
    segment: str,
    design: Design,
    gram: NDArray[np.int64],
    moment: NDArray[np.int64],
    full: Model,
    terms: CalibrationTerms,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Estimate, Z, prior and blend, in cents per year; a feature nobody has keeps the prior."""
    months = np.diag(gram)
    there = np.flatnonzero(months > 0)
    published = _prior(segment, design, full)
    estimate = np.zeros(len(months))
    if len(there) == 0:
        return estimate, np.zeros(len(months)), published * 0.0, published * 0.0
    estimate[there] = solve(
        gram[np.ix_(there, there)], moment[there], within(design.constraints[segment], there)
    )
    # the prior has the segment's level: the one factor that fits the published weights best
    square = float(published @ gram @ published)
    level = max(float(published @ moment) / square, 0.0) if square > 0 else 0.0
    prior = np.clip(published * level, 0.0, terms.annual_cap_cents)
    z = credibility(months, terms.full_months)
    blended = z * estimate + (1 - z) * prior
    cells = [i for i, name in enumerate(design.features[segment]) if name in design.cells]
    if cells:
        _level_cells(blended, prior, cells, gram, moment, z)
    for one in reversed(design.constraints[segment]):
        if one.below is not None:  # blending with two different Z can turn a pair around
            blended[one.above] = max(blended[one.above], blended[one.below])
    # what the segment cost is what its members are predicted to cost
    whole = cells or [
        i for i, name in enumerate(design.features[segment]) if name in design.crossed
    ]
    predicted = float(gram[whole].sum(axis=0) @ blended)
    cost = float(moment[whole].sum())
    if predicted > 0 and cost > 0:
        blended *= cost / predicted
    return estimate, z, prior, blended


def _level_cells(
    blended: NDArray[np.float64],
    prior: NDArray[np.float64],
    cells: list[int],
    gram: NDArray[np.int64],
    moment: NDArray[np.int64],
    z: NDArray[np.float64],
) -> None:
    """Set the demographic cells to what the conditions leave, rare cells drawn to the mean.

    Every member of the segment has exactly one cell, so the conditions' weights decide what is
    left for each; the prior's level says little about it.
    """
    others = [i for i in range(len(blended)) if i not in set(cells)]
    months = np.diag(gram)[cells]
    left = moment[cells] - gram[np.ix_(cells, others)] @ blended[others]
    mean = max(float(left.sum()) / float(months.sum()), 0.0)
    own = np.maximum(left / np.maximum(months, 1), 0.0)
    prior[cells] = mean
    blended[cells] = z[cells] * own + (1 - z[cells]) * mean


def _fold_weights(
    total: Sums, design: Design, full: Model, terms: CalibrationTerms, fold: int
) -> dict[str, NDArray[np.float64]]:
    kept = np.arange(terms.groups) % terms.folds != fold
    return {
        segment: _estimate(
            segment, design, total.gram[segment][kept].sum(axis=0),
            total.moment[segment][kept].sum(axis=0), full, terms,
        )[3]
        for segment in design.features
    }  # fmt: skip


def _predictions(
    rows: Rows, design: Design, weights: list[dict[str, NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Predicted annual cents of each row, by the weights of its fold."""
    predicted = np.zeros(len(rows.months))
    fold = rows.group % len(weights)
    for segment in design.features:
        at, matrix = indicators(rows, design, segment)
        for number, of_fold in enumerate(weights):
            own = fold[at] == number
            predicted[at[own]] = matrix[own] @ of_fold[segment]
    return predicted


def _accuracy(
    parts: list[Rows], design: Design, weights: list[dict[str, NDArray[np.float64]]]
) -> dict[str, float]:
    """Weighted R squared and mean absolute error over the mean (MAPE), by member months."""
    w = np.concatenate([rows.months for rows in parts]).astype(np.float64)
    y = np.concatenate([rows.weighted_cost for rows in parts]) / w
    guess = np.concatenate([_predictions(rows, design, weights) for rows in parts])
    mean = (w @ y) / w.sum()
    squared = 1.0 - (w @ (y - guess) ** 2) / (w @ (y - mean) ** 2)
    return {
        "r_squared": round(float(squared), 6),
        "mape": round(float((w @ np.abs(y - guess)) / w.sum() / mean), 6),
    }


def _ratios(
    parts: list[Rows], design: Design, weights: list[dict[str, NDArray[np.float64]]]
) -> dict[str, dict[str, float]]:
    """Predicted over actual cost out of sample, by decile of prediction and by subgroup."""
    w = np.concatenate([rows.months for rows in parts]).astype(np.float64)
    cost = np.concatenate([rows.weighted_cost for rows in parts]).astype(np.float64)
    guess = np.concatenate([_predictions(rows, design, weights) for rows in parts])
    order = np.argsort(guess, kind="stable")
    share = np.cumsum(w[order]) - w[order] / 2
    decile = np.empty(len(w), np.int64)
    decile[order] = np.minimum(10 * share / max(w.sum(), 1.0), 9).astype(np.int64)
    cell = np.concatenate([rows.rate_cell for rows in parts])
    age = np.concatenate([rows.age for rows in parts])
    band = np.searchsorted(np.array(AGE_BANDS), age, side="right") - 1
    sex = np.concatenate([rows.sex for rows in parts])
    groups = {
        "decile": {str(d + 1): decile == d for d in range(10)},
        "rate_cell": {name: cell == i for i, name in enumerate(RATE_CELLS)},
        "age_from": {str(low): band == i for i, low in enumerate(AGE_BANDS)},
        "sex": {"female": sex == 1, "male": sex == 2},
    }
    return {
        kind: {
            name: round(float((w * guess)[own].sum() / cost[own].sum()), 6)
            for name, own in parted.items()
            if cost[own].sum() > 0
        }
        for kind, parted in groups.items()
    }


def _described(features: tuple[str, ...], fit: Fit) -> list[dict[str, Any]]:
    return [
        {
            "term": name,
            "member_months": int(fit.months[i]),
            "estimate_usd": round(float(fit.estimate[i]) / 100, 2),
            "standard_error_usd": (
                round(float(fit.standard_error[i]) / 100, 2)
                if np.isfinite(fit.standard_error[i])
                else None
            ),
            "credibility": round(float(fit.z[i]), 6),
            "prior_usd": round(float(fit.prior[i]) / 100, 2),
            "weight_usd": round(float(fit.blended[i]) / 100, 2),
        }
        for i, name in enumerate(features)
    ]


def _model(
    full: Model,
    design: Design,
    weights: dict[str, NDArray[np.float64]],
    mean_cents: float,
    name: str,
    report: dict[str, Any],
) -> Model:
    coefficients = tuple(
        Coefficient(
            segment, "", term, str(Decimal(round(float(weight) / mean_cents * MICRO)) / MICRO)
        )
        for segment, features in design.features.items()
        for term, weight in zip(features, weights[segment], strict=True)
    )
    fit = report["out_of_sample"]
    basis = (
        f"Calibrated on {full.name} (sha256 {report['base_model_sha256']}), {report['timing']}, "
        f"{report['member_months']} member months; 1.000 is ${report['mean_annual_cost_usd']:.2f} "
        f"a year; out of sample R squared {fit['r_squared']}, MAPE {fit['mape']}"
    )
    return msgspec.structs.replace(
        full,
        name=name,
        version=(
            f"weights of {report['terms']['year']} on {full.version}; population "
            f"{report['population_digest'][:16]}"
        ),
        columns=("",),
        default_column="",
        coefficients=coefficients,
        csr={},
        post_steps=(),
        notes=(basis, *full.notes),
    )
