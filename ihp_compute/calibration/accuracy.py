"""What weights make of members: residuals for standard errors, and how well cost is predicted.

    rows + blends -> meat of the sandwich, predictions in and out of sample -> R squared, ratios

A member has one row a year, so errors clustered by member are those robust to unequal variance:

    covariance of the sums = sum over members of x x' u^2 / (1 - h)

with u the residual in months times cents, h the member's leverage (the form HC2 of MacKinnon and
White, Journal of Econometrics 1985, which is unbiased for a mean of equal variances; for clusters:
Bell and McCaffrey, Survey Methodology 2002). A feature that rests on one member alone has no
standard error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.calibration.blend import Blend
from ihp_compute.calibration.sums import Design, Rows, indicators
from ihp_compute.codes import AID_GROUPS, RATE_CELLS
from ihp_compute.risk import AGE_BANDS

ALONE: Final = 1e-8
"""Part of a member's weight that is left to others, below which a feature rests on it alone."""
MOST_CONDITIONS: Final = 10
"""Members with more conditions than this are told with those who have as many."""


@dataclass(frozen=True)
class Judged:
    """Rows of some shards beside what the weights predict of them.

    Attributes
    ----------
    meat : mapping of segment to float64[p, p]
        Covariance of its moments.
    alone : mapping of segment to bool[p]
        Features that rest on one member alone.
    inside, outside : float64[n]
        Predicted annual cents by all rows, and by those of other folds.
    months, weighted_cost : int64[n]
    order : uint64[n]
    parts : mapping of kind to int64[n]
        Of each way to part members, which part they are of.
    """

    meat: dict[str, NDArray[np.float64]]
    alone: dict[str, NDArray[np.bool_]]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    months: NDArray[np.int64]
    weighted_cost: NDArray[np.int64]
    order: NDArray[np.uint64]
    parts: dict[str, NDArray[np.int64]]

    @classmethod
    def together(cls, found: Sequence[Judged]) -> Judged:
        """Rows of all shards, in the order given."""
        first = found[0]
        return cls(
            {s: np.sum([one.meat[s] for one in found], axis=0) for s in first.meat},
            {s: np.any([one.alone[s] for one in found], axis=0) for s in first.alone},
            np.concatenate([one.inside for one in found]),
            np.concatenate([one.outside for one in found]),
            np.concatenate([one.months for one in found]),
            np.concatenate([one.weighted_cost for one in found]),
            np.concatenate([one.order for one in found]),
            {kind: np.concatenate([one.parts[kind] for one in found]) for kind in first.parts},
        )


def judged(
    rows: Rows,
    design: Design,
    blends: Mapping[str, Blend],
    folded: Sequence[Mapping[str, NDArray[np.float64]]],
) -> Judged:
    """One shard's rows beside the weights.

    Parameters
    ----------
    rows : Rows
    design : Design
    blends : mapping of segment to Blend
        Of all rows.
    folded : sequence of mapping of segment to float64[p]
        By fold: weights of all other folds.
    """
    n = len(rows.months)
    inside, outside, conditions = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    meat, alone = {}, {}
    for segment, features in design.features.items():
        at, matrix = indicators(rows, design, segment)
        found = blends[segment]
        months = rows.months[at].astype(np.float64)
        left = rows.weighted_cost[at] - months * (matrix @ found.unbound)
        reach = matrix @ found.inverse
        others = 1.0 - months * np.einsum("ij,ij->i", reach, matrix)
        single = others < ALONE
        spread = np.where(single, 0.0, left**2 / np.where(single, 1.0, others))
        meat[segment] = matrix.T @ (matrix * spread[:, None])
        size = np.sqrt(found.months)
        alone[segment] = (np.abs(reach[single] * size) > ALONE).any(axis=0)
        inside[at] = matrix @ found.weight
        for fold, weights in enumerate(folded):
            own = np.flatnonzero(rows.fold[at] == fold)
            outside[at[own]] = matrix[own] @ weights[segment]
        coded = [i for i, name in enumerate(features) if name in design.conditions]
        conditions[at] = matrix[:, coded].sum(axis=1).astype(np.int64)
    return Judged(
        meat, alone, inside, outside, rows.months, rows.weighted_cost, rows.order,
        {
            "rate_cell": rows.rate_cell,
            "aid_group": rows.aid_group,
            "partnership": rows.group.astype(np.int64),
            "age_from": np.searchsorted(np.array(AGE_BANDS), rows.age, side="right") - 1,
            "sex": rows.sex.astype(np.int64),
            "conditions": np.minimum(conditions, MOST_CONDITIONS),
        },
    )  # fmt: skip


def accuracy(found: Judged, guess: NDArray[np.float64]) -> dict[str, float | None]:
    """Weighted R squared and mean absolute error over the mean (MAPE), by member months.

    None where it is not defined: where all cost the same there is nothing to explain.
    """
    w = found.months.astype(np.float64)
    y = found.weighted_cost / w
    mean = (w @ y) / w.sum()
    spread = float(w @ (y - mean) ** 2)
    squared = None if spread <= 0 else round(1.0 - float(w @ (y - guess) ** 2) / spread, 6)
    return {
        "r_squared": squared,
        "mape": round(float((w @ np.abs(y - guess)) / w.sum() / mean), 6),
    }


def ratios(
    found: Judged, guess: NDArray[np.float64], partnerships: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Predicted over actual cost, by decile of prediction and by the ways to part members."""
    w = found.months.astype(np.float64)
    order = np.lexsort((found.order, np.rint(guess)))
    share = np.cumsum(w[order]) - w[order] / 2
    decile = np.empty(len(w), np.int64)
    decile[order] = np.minimum(10 * share / max(w.sum(), 1.0), 9).astype(np.int64)
    names: dict[str, tuple[str, ...]] = {
        "decile": tuple(str(d + 1) for d in range(10)),
        "rate_cell": RATE_CELLS,
        "aid_group": AID_GROUPS,
        "partnership": tuple(partnerships),
        "age_from": tuple(map(str, AGE_BANDS)),
        "sex": ("unknown", "female", "male"),
        "conditions": tuple(
            f"{n}+" if n == MOST_CONDITIONS else str(n) for n in range(MOST_CONDITIONS + 1)
        ),
    }
    parted = {"decile": decile, **found.parts}
    ratios: dict[str, dict[str, float]] = {}
    for kind, words in names.items():
        number = parted[kind]
        cost = np.bincount(number, found.weighted_cost, minlength=len(words))
        predicted = np.bincount(number, w * guess, minlength=len(words))
        ratios[kind] = {
            word: round(float(predicted[i] / cost[i]), 6)
            for i, word in enumerate(words)
            if cost[i] > 0
        }
    return ratios


def described(
    features: tuple[str, ...], found: Blend, meat: NDArray[np.float64], alone: NDArray[np.bool_]
) -> tuple[list[dict[str, Any]], list[list[float | None]]]:
    """A segment's features for the report, and the covariance of their estimates, USD squared.

    What is not defined is None.
    """
    covariance = found.estimate_slope @ meat @ found.estimate_slope.T
    none = np.isnan(found.estimate) | alone
    covariance[none], covariance[:, none] = np.nan, np.nan
    of_weight = np.einsum("ij,jk,ik->i", found.weight_slope, meat, found.weight_slope)
    of_weight[alone & (found.z > 0)] = np.nan
    error, weight_error = (np.sqrt(np.maximum(of, 0.0)) for of in (np.diag(covariance), of_weight))
    rows = [
        {
            "term": name,
            "member_months": int(found.months[i]),
            "estimate_usd": _usd(found.estimate[i]),
            "standard_error_usd": _usd(error[i]),
            "credibility": round(float(found.z[i]), 6),
            "prior_usd": _usd(found.prior[i]),
            "weight_usd": _usd(found.weight[i]),
            "weight_standard_error_usd": _usd(weight_error[i]),
        }
        for i, name in enumerate(features)
    ]
    squares = [
        [None if np.isnan(value) else float(value) / CENTS_SQUARED for value in row]
        for row in covariance
    ]
    return rows, squares


CENTS_SQUARED: Final = 100.0**2


def _usd(cents: float) -> float | None:
    return None if np.isnan(cents) else round(float(cents) / 100, 2)
