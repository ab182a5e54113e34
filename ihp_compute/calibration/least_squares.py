"""Weights of a model fitted from sums alone, no member in sight.

Each member-year is an equation: the weights of its features add up to its annual cost, and it
counts as many times as it has months. All that a fit needs of them are two sums; with features 0
or 1 they are exact integers,

    gram[i, j] = sum of months over members with i and j
    moment[i]  = sum over members with i of months x annual cost = sum of 12 x capped cents

so they add up over shards in any order. What is solved from them uses LAPACK and stands outside
the digest of a run.

A feature that is a sum of others has no estimate of its own, and none is invented for it:
`told_apart` says which those are, `solve` takes the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

from ihp_compute.errors import DataError

LEAST_OWN: Final = 1e-8
"""Part of a feature's months that no sum of others explains, from which it has an own estimate."""
TINY: Final = 1e-12
"""What is nearer to zero than this is zero, in units of the largest scaled moment."""
TINY_PART: Final = 1e-6
"""A feature of a smaller part is none of those that make up a sum."""


@dataclass(frozen=True)
class Constraint:
    """coefficient[above] >= coefficient[below]; below None: >= 0."""

    above: int
    below: int | None = None


@dataclass(frozen=True)
class Apart:
    """Which features have an estimate of their own.

    own : int64, their numbers, ascending
    made_of : of each other one, the features before it that it is a sum of
    """

    own: NDArray[np.int64]
    made_of: dict[int, tuple[int, ...]]


def told_apart(gram: NDArray[np.int64], first: tuple[int, ...] = ()) -> Apart:
    """Features that are no sum of those before them, taken in the order of who knows most.

    Parameters
    ----------
    gram : int64[p, p]
        Every feature must occur: no zero on the diagonal.
    first : tuple of int
        Features that come before all others; the rest by months, most first, then by number.

    Returns
    -------
    Apart
    """
    months = np.diag(gram)
    rest = [i for i in np.argsort(-months, kind="stable").tolist() if i not in set(first)]
    order = [*first, *rest]
    size = np.sqrt(months.astype(np.float64))
    scaled = (gram / np.outer(size, size))[np.ix_(order, order)]
    try:  # most often none is a sum of others
        if (np.diag(np.linalg.cholesky(scaled)) ** 2 > LEAST_OWN).all():
            return Apart(np.arange(len(order)), {})
    except np.linalg.LinAlgError:
        pass
    root = np.zeros_like(scaled)  # lower, of the features kept
    kept: list[int] = []
    made_of: dict[int, tuple[int, ...]] = {}
    for j in range(len(order)):
        k = len(kept)
        along = np.zeros(0)
        if k:
            along = solve_triangular(root[:k, :k], scaled[kept, j], lower=True)
        left = float(scaled[j, j] - along @ along)
        if left > LEAST_OWN:
            root[k, :k], root[k, k] = along, np.sqrt(left)
            kept.append(j)
        else:
            parts = solve_triangular(root[:k, :k], along, lower=True, trans="T")
            made_of[order[j]] = tuple(
                sorted(
                    order[i] for i, part in zip(kept, parts, strict=True) if abs(part) > TINY_PART
                )
            )
    return Apart(np.array(sorted(order[j] for j in kept), np.int64), made_of)


def solve(
    gram: NDArray[np.int64],
    moment: NDArray[np.int64] | NDArray[np.float64],
    constraints: tuple[Constraint, ...],
) -> NDArray[np.float64]:
    """Coefficients that minimise the weighted squared error under the constraints.

    min b' gram b - 2 moment' b subject to A b >= 0, as a least-distance problem whose dual is one
    non-negative least squares (Lawson and Hanson, Solving Least Squares Problems, chapter 23).

    Parameters
    ----------
    gram : int64[p, p], moment : int64[p] or float64[p]
        Every feature must occur and be no sum of others (`told_apart`).
    constraints : tuple of Constraint

    Returns
    -------
    float64[p], in the unit of the moment per month
    """
    size = np.sqrt(np.diag(gram).astype(np.float64))
    level = max(float(np.abs(moment / size).max()), TINY)
    root = cholesky(gram / np.outer(size, size))  # upper: root' root = scaled
    target = solve_triangular(root, moment / size / level, trans="T")
    free = cast(NDArray[np.float64], solve_triangular(root, target) * level / size)
    if all(
        free[one.above] >= (0.0 if one.below is None else free[one.below]) for one in constraints
    ):
        return free
    rows = np.zeros((len(constraints), len(size)))
    for k, one in enumerate(constraints):
        rows[k, one.above] = 1.0 / size[one.above]
        if one.below is not None:
            rows[k, one.below] = -1.0 / size[one.below]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    # z = root b - target: minimise |z| subject to (rows root^-1) z >= -rows root^-1 target
    through = solve_triangular(root, rows.T, trans="T").T
    bound = -through @ target
    stacked = np.vstack([through.T, bound])
    unit = np.zeros(len(size) + 1)
    unit[-1] = 1.0
    dual, _ = nnls(stacked, unit, maxiter=50 * stacked.shape[1])
    if abs((stacked @ dual - unit)[-1]) < TINY:
        raise DataError("the constraints of the calibration contradict each other")
    held = [one for one, force in zip(constraints, dual, strict=True) if force > 0]
    return _bound_together(gram, moment, held)


def _bound_together(
    gram: NDArray[np.int64],
    moment: NDArray[np.int64] | NDArray[np.float64],
    binding: Sequence[Constraint],
) -> NDArray[np.float64]:
    """The solution where these constraints bind, by equations alone.

    Features bound together have one coefficient. The dual itself leaves errors of the order of the
    root of rounding.
    """
    of = np.arange(len(gram))
    zero = np.zeros(len(gram), np.bool_)
    for one in binding:
        if one.below is None:
            zero |= of == of[one.above]
        else:
            zero[(of == of[one.above]) | (of == of[one.below])] = zero[one.above] or zero[one.below]
            of[of == of[one.below]] = of[one.above]
    classes, number = np.unique(of[~zero], return_inverse=True)
    together = np.zeros((len(gram), len(classes)))
    together[np.flatnonzero(~zero), number] = 1.0
    if not len(classes):
        return np.zeros(len(gram))
    among = together.T @ gram @ together
    size = np.sqrt(np.diag(among))
    root = cho_factor(among / np.outer(size, size))
    return cast(
        NDArray[np.float64], together @ (cho_solve(root, together.T @ moment / size) / size)
    )


def credibility(months: NDArray[np.int64], full_months: int) -> NDArray[np.float64]:
    """Square-root rule: Z = min(1, sqrt(months / full_months))."""
    return cast(NDArray[np.float64], np.minimum(1.0, np.sqrt(months / full_months)))


def within(constraints: tuple[Constraint, ...], there: NDArray[np.int64]) -> tuple[Constraint, ...]:
    """The constraints among some of the features, renumbered."""
    number = {int(feature): i for i, feature in enumerate(there)}
    return tuple(
        Constraint(number[c.above], None if c.below is None else number[c.below])
        for c in constraints
        if c.above in number and (c.below is None or c.below in number)
    )
