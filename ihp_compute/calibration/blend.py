"""From a segment's sums to its weights, and how each weight hangs on the sums.

    sums -> estimate (constrained least squares) -> credibility -> order -> cells -> balance

A rare feature is shrunk towards the published weight, rescaled to the state: Z of its own estimate
and 1 - Z of the prior, Z by the square-root rule on its member months. Where that turns a category
and one that it clears around, the side with fewer member months gives way; a category that nobody
has keeps its prior and moves nobody. What cannot be told apart from other terms keeps its prior
too, and those take what it leaves. The demographic cells then take what the conditions leave, and
the segment is balanced to its own cost.

Each of these is linear in the segment's costs, or nearly so (the balance), with Z held: its slope
is carried along, so that a standard error of the sums becomes one of the weights. The slope of an
estimate is that without constraints: where one binds, its standard error is too large, not too
small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ihp_compute.calibration.least_squares import (
    Constraint,
    credibility,
    solve,
    told_apart,
    within,
)
from ihp_compute.calibration.sums import Design
from ihp_compute.risk.models import Model


@dataclass(frozen=True)
class Blend:
    """One segment's weights, in cents per year; arrays over its features, p of them.

    Attributes
    ----------
    estimate : float64[p]
        Under the constraints; NaN of a feature without an estimate of its own.
    unbound : float64[p]
        Without the constraints, from which residuals are taken; the prior of such a feature, 0 of
        one that nobody has.
    z, prior, weight : float64[p]
    months : int64[p]
        Member months behind each feature.
    made_of : mapping
        Of each feature that cannot be told apart, from which others.
    estimate_slope, weight_slope : float64[p, p]
        Of estimate and weight by the moments.
    inverse : float64[p, p]
        Inverse of the sums over features with an estimate, zero elsewhere.
    """

    estimate: NDArray[np.float64]
    unbound: NDArray[np.float64]
    z: NDArray[np.float64]
    prior: NDArray[np.float64]
    weight: NDArray[np.float64]
    months: NDArray[np.int64]
    made_of: dict[int, tuple[int, ...]]
    estimate_slope: NDArray[np.float64]
    weight_slope: NDArray[np.float64]
    inverse: NDArray[np.float64]


def published(segment: str, design: Design, full: Model) -> NDArray[np.float64]:
    """The model's own weights of a segment's features, float64[p]; 0 where it has none."""
    found = {
        c.term: float(Decimal(c.value))
        for c in full.coefficients
        if c.segment == segment and c.column == full.default_column
    }
    return np.array([found.get(name, 0.0) for name in design.features[segment]])


def blend(
    segment: str,
    design: Design,
    own: NDArray[np.float64],
    gram: NDArray[np.int64],
    moment: NDArray[np.int64],
    *,
    full_months: int,
    level: float,
) -> Blend:
    """The weights of a segment.

    Of a segment without members nothing is known but the model's own weights and the state's
    level, and its slopes are not defined.

    Parameters
    ----------
    segment : str
    design : Design
    own : float64[p]
        The model's own weights (`published`).
    gram, moment : int64[p, p], int64[p]
        Sums of months, and of 12 times the cost in cents, over the members.
    full_months : int
    level : float
        Cents a year that a weight of 1 is worth in the whole state (`level_of`).
    """
    features, constraints = design.features[segment], design.constraints[segment]
    months = np.diag(gram).copy()
    p = len(months)
    there = np.flatnonzero(months > 0)
    if len(there) == 0:
        none, flat = np.zeros(p), np.zeros((p, p))
        prior = np.where(_bounded(constraints, p), np.maximum(own, 0.0), own) * level
        return Blend(none * np.nan, none, none, prior, prior, months, {}, flat, flat * np.nan, flat)
    prior, prior_slope = _prior(own, gram, moment, bounded=_bounded(constraints, p))
    alone = design.cells | design.crossed  # each member has exactly one: never a sum of others
    first = tuple(k for k, i in enumerate(there.tolist()) if features[i] in alone)
    apart = told_apart(gram[np.ix_(there, there)], first)
    free, tied = there[apart.own], there[sorted(apart.made_of)]
    inverse = np.zeros((p, p))
    among = gram[np.ix_(free, free)]
    size = np.sqrt(np.diag(among).astype(np.float64))
    factor = cho_factor(among / np.outer(size, size))
    inverse[np.ix_(free, free)] = cho_solve(factor, np.eye(len(free))) / np.outer(size, size)
    left = moment - gram[:, tied] @ prior[tied]
    left_slope = np.eye(p) - gram[:, tied] @ prior_slope[tied]
    unbound, estimate_slope = inverse @ left, inverse @ left_slope
    unbound[tied] = prior[tied]
    estimate = np.zeros(p)
    estimate[free] = solve(among, left[free], within(constraints, free))
    z = credibility(months, full_months)
    z[tied] = 0.0
    weight = z * estimate + (1 - z) * prior
    slope = z[:, None] * estimate_slope + (1 - z)[:, None] * prior_slope
    taken = put_in_order(weight, months, constraints)
    weight, slope = weight[taken], slope[taken]
    cells = [i for i, name in enumerate(features) if name in design.cells]
    if cells:
        _level_cells(weight, slope, prior, cells, gram, moment, z)
    # what the segment cost is what its members are predicted to cost
    whole = cells or [i for i, name in enumerate(features) if name in design.crossed]
    over = gram[whole].sum(axis=0)
    predicted, cost = float(over @ weight), float(moment[whole].sum())
    if predicted > 0 and cost > 0:
        ratio = cost / predicted
        of_ratio = (np.isin(np.arange(p), whole) - ratio * (over @ slope)) / predicted
        slope = ratio * slope + np.outer(weight, of_ratio)
        weight = weight * ratio
    estimate[np.setdiff1d(np.arange(p), free)] = np.nan
    made_of = {
        int(there[k]): tuple(there[list(others)].tolist()) for k, others in apart.made_of.items()
    }
    return Blend(
        estimate, unbound, z, prior, weight, months, made_of, estimate_slope, slope, inverse
    )


def level_of(
    segments: Sequence[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]],
) -> float:
    """The one factor by which the model's own weights fit the cost of some segments best.

    Parameters
    ----------
    segments : sequence of (own float64[p], gram int64[p, p], moment int64[p])

    Returns
    -------
    float
        Cents a year of a weight of 1; 0 where the weights say nothing of the cost.
    """
    square = sum(float(own @ gram @ own) for own, gram, _ in segments)
    if square <= 0:
        return 0.0
    return max(sum(float(own @ moment) for own, _, moment in segments) / square, 0.0)


def _bounded(constraints: tuple[Constraint, ...], p: int) -> NDArray[np.bool_]:
    """Features that may not weigh less than nothing."""
    found = np.zeros(p, np.bool_)
    found[[one.above for one in constraints if one.below is None]] = True
    return found


def _prior(
    own: NDArray[np.float64],
    gram: NDArray[np.int64],
    moment: NDArray[np.int64],
    *,
    bounded: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The model's own weights at the segment's level, and their slope by the moments.

    The level is the one factor that fits them best.
    """
    level = level_of([(own, gram, moment)])
    if not level:
        return np.zeros(len(own)), np.zeros((len(own), len(own)))
    prior, slope = own * level, np.outer(own, own) / float(own @ gram @ own)
    below = bounded & (prior < 0)
    prior[below], slope[below] = 0.0, 0.0
    return prior, slope


def put_in_order(
    weight: NDArray[np.float64],
    months: NDArray[np.int64],
    constraints: tuple[Constraint, ...],
) -> NDArray[np.int64]:
    """Whose weight each feature takes, so that none weighs less than one that it clears: int64[p].

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
    taken = np.arange(len(weight))
    settled: list[int] = []
    for i in np.argsort(-months, kind="stable").tolist():
        if not months[i]:
            break
        low = [int(taken[k]) for k in settled if k in below.get(i, ())]
        high = [int(taken[k]) for k in settled if i in below.get(k, ())]
        taken[i] = max([i, *low], key=lambda k: weight[k])
        taken[i] = min([int(taken[i]), *high], key=lambda k: weight[k])
        settled.append(i)
    return taken


def _level_cells(
    weight: NDArray[np.float64],
    slope: NDArray[np.float64],
    prior: NDArray[np.float64],
    cells: list[int],
    gram: NDArray[np.int64],
    moment: NDArray[np.int64],
    z: NDArray[np.float64],
) -> None:
    """Set the demographic cells to what the conditions leave, rare cells drawn to the mean.

    Every member of the segment has exactly one cell, so the conditions' weights decide what is
    left for each; the prior's level says little about it. Weight, slope and prior change in place.
    """
    p = len(weight)
    others = np.setdiff1d(np.arange(p), cells)
    months = np.diag(gram)[cells]
    of_others = gram[cells][:, others]
    left = moment[cells] - of_others @ weight[others]
    left_slope = np.eye(p)[cells] - of_others @ slope[others]
    mean, mean_slope = float(left.sum()) / float(months.sum()), left_slope.sum(axis=0)
    mean_slope = mean_slope / float(months.sum()) * (mean > 0)
    mean = max(mean, 0.0)
    each = np.maximum(months, 1)
    own = np.maximum(left / each, 0.0)
    own_slope = left_slope / each[:, None] * (left > 0)[:, None]
    prior[cells] = mean
    weight[cells] = z[cells] * own + (1 - z[cells]) * mean
    slope[cells] = z[cells][:, None] * own_slope + (1 - z[cells])[:, None] * mean_slope
