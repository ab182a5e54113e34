"""A state's own weights for a model's indicators: `ihp calibrate`.

    indicators (terms left by the program) x capped annual cost, by member, weighted by months
    -> exact sums over shards -> constrained least squares per segment -> credibility -> Model

The cost of a member-year is what was paid for lines of the year, brought to twelve months and
capped. Coefficients are not negative, and a category never weighs less than one that it clears.
A rare feature is shrunk towards the published weight, rescaled to the state: Z of its own estimate
and 1 - Z of the prior, Z by the square-root rule on its member months. Where that turns a category
and one that it clears around, the side with fewer member months gives way; a category that nobody
has keeps its prior and moves nobody. What cannot be told apart from other terms keeps its prior
too, and those take what it leaves. The demographic cells then take what the conditions leave, and
each segment is balanced to its own cost. The new model has weights in units of the state's mean
annual cost, one column, no normalisation, and its own digest.

Fit is judged out of sample: members fall into random groups by their key, and K folds of groups are
each predicted from the others. Standard errors resample the groups. All of it is floating point and
stands outside the digest of a run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ihp_compute.calibration.least_squares import (
    Constraint,
    bootstrap_errors,
    credibility,
    solve,
    told_apart,
    within,
)
from ihp_compute.calibration.sums import (
    CalibrationTerms,
    Design,
    Rows,
    Sums,
    design_of,
    indicators,
    rows_of,
    sums_of,
)
from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.population import Population
from ihp_compute.risk import AGE_BANDS, ModelScores
from ihp_compute.risk.models import Coefficient, Model, digest
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.units import MICRO


@dataclass(frozen=True)
class Fit:
    """One segment's estimate, in cents per year; months int64[p] behind each feature.

    dropped : features without an estimate of their own, and why
    """

    estimate: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    z: NDArray[np.float64]
    prior: NDArray[np.float64]
    blended: NDArray[np.float64]
    months: NDArray[np.int64]
    dropped: dict[str, str]


@dataclass(frozen=True)
class Calibrated:
    """The new model, its report as plain numbers, and the fit by segment."""

    model: Model
    report: dict[str, Any]
    fits: dict[str, Fit]


def calibrate(
    scores: ModelScores,
    full: Model,
    population: Population,
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
        "dropped": [
            {"segment": segment, "term": term, "reason": reason}
            for segment, fit in fits.items()
            for term, reason in (
                *((term, "its published weight is 0") for term in design.unweighted[segment]),
                *fit.dropped.items(),
            )
        ],
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
    grams, moments = total.gram[segment], total.moment[segment]
    gram = grams.sum(axis=0)
    own = _estimate(segment, design, gram, moments.sum(axis=0), full, terms)
    error = np.full(len(own.estimate), np.nan)
    if len(own.free) and terms.replicates > 1:
        left = moments[:, own.free] - grams[:, own.free][:, :, own.tied] @ own.prior[own.tied]
        error[own.free] = bootstrap_errors(
            grams[:, own.free[:, None], own.free[None, :]],
            left,
            within(design.constraints[segment], own.free),
            replicates=terms.replicates,
            seed=terms.seed,
        )
    return Fit(
        own.estimate, error, own.z, own.prior, own.blended, np.diag(gram),
        {
            design.features[segment][i]: "cannot be told apart from "
            + ", ".join(design.features[segment][k] for k in others)
            for i, others in own.made_of.items()
        },
    )  # fmt: skip


@dataclass(frozen=True)
class _Estimate:
    """Of one segment, in cents per year: estimate, Z, prior and blend of each feature.

    free : features with an estimate of their own; tied : those that somebody has and that are sums
    of others; made_of : of which
    """

    estimate: NDArray[np.float64]
    z: NDArray[np.float64]
    prior: NDArray[np.float64]
    blended: NDArray[np.float64]
    free: NDArray[np.int64]
    tied: NDArray[np.int64]
    made_of: dict[int, tuple[int, ...]]


def _estimate(
    segment: str,
    design: Design,
    gram: NDArray[np.int64],
    moment: NDArray[np.int64],
    full: Model,
    terms: CalibrationTerms,
) -> _Estimate:
    """What the sums say; a feature that nobody has, or that is a sum of others, keeps the prior."""
    features, constraints = design.features[segment], design.constraints[segment]
    months = np.diag(gram)
    there = np.flatnonzero(months > 0)
    published = _prior(segment, design, full)
    none = np.zeros(len(months))
    if len(there) == 0:
        return _Estimate(none, none, none, none, there, there, {})
    # the prior has the segment's level: the one factor that fits the published weights best
    square = float(published @ gram @ published)
    level = max(float(published @ moment) / square, 0.0) if square > 0 else 0.0
    prior = np.clip(published * level, 0.0, terms.annual_cap_cents)
    alone = design.cells | design.crossed  # each member has exactly one: never a sum of others
    first = tuple(k for k, i in enumerate(there.tolist()) if features[i] in alone)
    apart = told_apart(gram[np.ix_(there, there)], first)
    free, tied = there[apart.own], there[sorted(apart.made_of)]
    estimate = none.copy()
    estimate[free] = solve(
        gram[np.ix_(free, free)],
        moment[free] - gram[np.ix_(free, tied)] @ prior[tied],
        within(constraints, free),
    )
    z = credibility(months, terms.full_months)
    z[tied] = 0.0
    blended = z * estimate + (1 - z) * prior
    _put_in_order(blended, months, constraints)
    cells = [i for i, name in enumerate(features) if name in design.cells]
    if cells:
        _level_cells(blended, prior, cells, gram, moment, z)
    # what the segment cost is what its members are predicted to cost
    whole = cells or [i for i, name in enumerate(features) if name in design.crossed]
    predicted = float(gram[whole].sum(axis=0) @ blended)
    cost = float(moment[whole].sum())
    if predicted > 0 and cost > 0:
        blended *= cost / predicted
    made_of = {
        int(there[k]): tuple(there[list(others)].tolist()) for k, others in apart.made_of.items()
    }
    return _Estimate(estimate, z, prior, blended, free, tied, made_of)


def _put_in_order(
    blended: NDArray[np.float64],
    months: NDArray[np.int64],
    constraints: tuple[Constraint, ...],
) -> None:
    """Let no category weigh less than one that it clears, where blending turned a pair around.

    Features are settled by member months, most first: each stays between those settled before it
    that it clears and those that clear it, over any number of generations. What nobody has settles
    nothing.
    """
    below: dict[int, set[int]] = {}
    for one in constraints:
        if one.below is not None:
            below.setdefault(one.above, set()).add(one.below)
    grown = True
    while grown:  # until children of children are all named
        wider = {i: found.union(*(below.get(k, ()) for k in found)) for i, found in below.items()}
        grown, below = wider != below, wider
    settled: list[int] = []
    for i in np.argsort(-months, kind="stable").tolist():
        if not months[i]:
            break
        low = max((blended[k] for k in settled if k in below.get(i, ())), default=-np.inf)
        high = min((blended[k] for k in settled if i in below.get(k, ())), default=np.inf)
        blended[i] = min(max(blended[i], low), high)
        settled.append(i)


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
    others = np.arange(terms.groups) % terms.folds != fold
    return {
        segment: _estimate(
            segment, design, total.gram[segment][others].sum(axis=0),
            total.moment[segment][others].sum(axis=0), full, terms,
        ).blended
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
) -> dict[str, float | None]:
    """Weighted R squared and mean absolute error over the mean (MAPE), by member months.

    R squared is None where all cost the same: there is nothing to explain.
    """
    w = np.concatenate([rows.months for rows in parts]).astype(np.float64)
    y = np.concatenate([rows.weighted_cost for rows in parts]) / w
    guess = np.concatenate([_predictions(rows, design, weights) for rows in parts])
    mean = (w @ y) / w.sum()
    spread = float(w @ (y - mean) ** 2)
    squared = None if spread <= 0 else round(1.0 - float(w @ (y - guess) ** 2) / spread, 6)
    return {
        "r_squared": squared,
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
        for term, weight in (
            *zip(features, weights[segment], strict=True),
            *((term, 0.0) for term in design.unweighted[segment]),
        )
    )
    fit = {name: "not defined" if v is None else v for name, v in report["out_of_sample"].items()}
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
        timing=report["timing"],
        notes=(basis, *full.notes),
    )
