"""Rates of outcomes by scope and stratum, what they are held against, and how sure they are.

    sums -> rate N / D · expected E · standardised rate N / E x the state's base rate
         -> difference and ratio to the stratum that most of the state's months are of

A standard error is that of the ratio over draws of members with weights of mean and variance 1:
√Σ(n - r d)² ÷ D, from second moments, so it needs no draw. Intervals are of 95 % by the normal
curve, those of a ratio on its logarithm. Nothing is null: what cannot be said is 0, and a word in
`flag` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.programme import MEASURES
from ihp_compute.results.programme.outcome_sums import FIELDS
from ihp_compute.units import Z

NOTHING: Final = 1e-12
"""A part of a sum of squares so small is rounding."""
NO_DENOMINATOR: Final = "no_denominator"
NO_EXPECTED: Final = "no_expected"
BELOW_MINIMUM: Final = "below_minimum"
NO_REFERENCE: Final = "no_reference"
NO_EVENTS: Final = "no_events"
SCALE: Final = np.array([measure.scale for measure in MEASURES])[:, None, None]


class Texts(NamedTuple):
    """A column of few texts: place of each row's among the names."""

    place: NDArray[np.int64]
    names: Sequence[str]


Columns = dict[str, NDArray[Any]]


def over(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    """A quotient; 0 where there is nothing to divide by."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.zeros(numerator.shape)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def of_fields(sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """Sums by name of field, the first axis."""
    return dict(zip(FIELDS, sums, strict=True))


def ratio_error(
    nn: NDArray[np.float64],
    nb: NDArray[np.float64],
    bb: NDArray[np.float64],
    ratio: NDArray[np.float64],
    b: NDArray[np.float64],
) -> NDArray[np.float64]:
    """√Σ(n - ratio b)² ÷ Σb, from sums of n², nb and b²."""
    terms = nn, 2 * ratio * nb, ratio * ratio * bb
    squared = terms[0] - terms[1] + terms[2]
    return over(np.sqrt(np.where(squared < NOTHING * terms[0], 0.0, squared)), b)


def rate_columns(
    sums: NDArray[np.float64],
    people: NDArray[np.float64],
    state_rate: NDArray[np.float64],
    least: NDArray[np.float64],
    reference: int,
) -> tuple[Columns, Texts]:
    """Columns of one year and dimension, and the flag.

    Parameters
    ----------
    sums : float64[n_fields, n_measures, n_scopes, n_strata]
    people : float64[n_scopes, n_strata]
    state_rate : float64[n_measures]
        The state's numerator over denominator of the base year.
    least : float64[n_measures]
        Denominators below it are flagged.
    reference : int
        Stratum that the others are held against.

    Returns
    -------
    dict of arrays[n_measures, n_scopes, n_strata]
        By name of column in `outcomes`, without keys and reference.
    """
    s = of_fields(sums)
    n, d, e = s["n"], s["d"], s["e"]
    rate = over(n, d)
    error = SCALE * ratio_error(s["nn"], s["nd"], s["dd"], rate, d)
    quotient = over(n, e)
    unit = SCALE * state_rate[:, None, None]
    standardised = quotient * unit
    standardised_error = unit * ratio_error(s["nn"], s["ne"], s["ee"], quotient, e)
    flags = Flags(rate.shape)
    flags.add(NO_DENOMINATOR, d == 0)
    flags.add(NO_EXPECTED, (d != 0) & (e == 0))
    flags.add(BELOW_MINIMUM, (d != 0) & (d < least[:, None, None]))
    parts = np.array([measure.parts for measure in MEASURES])[:, None, None]
    against = _against(standardised, standardised_error, e != 0, reference, flags)
    columns = {
        "n_members": np.broadcast_to(people, rate.shape).astype(np.int64),
        "n_with": s["with"].astype(np.int64),
        "numerator": n / parts,
        "denominator": d.astype(np.int64),
        "expected": e / parts,
        "rate": SCALE * rate,
        "std_error": error,
        "low": SCALE * rate - Z * error,
        "high": SCALE * rate + Z * error,
        "rate_standardised": standardised,
        "std_error_standardised": standardised_error,
        **against,
    }
    return columns, flags.texts()


def _against(
    rate: NDArray[np.float64],
    error: NDArray[np.float64],
    known: NDArray[np.bool_],
    reference: int,
    flags: Flags,
) -> Columns:
    """Difference and ratio to one stratum of the same scope, whose errors are its own."""
    at = np.s_[..., reference, None]
    other = np.arange(rate.shape[-1]) != reference
    has = known & known[at] & other
    flags.add(NO_REFERENCE, known & other & ~(known[at] & (rate[at] > 0)))
    difference = np.where(has, rate - rate[at], 0.0)
    spread = Z * np.where(has, np.hypot(error, error[at]), 0.0)
    has_ratio = has & (rate[at] > 0)
    ratio = np.where(has_ratio, over(rate, rate[at]), np.where(known & ~other, 1.0, 0.0))
    flags.add(NO_EVENTS, has_ratio & (rate <= 0))
    sure = has_ratio & (rate > 0)
    factor = np.exp(Z * np.where(sure, np.hypot(over(error, rate), over(error[at], rate[at])), 0.0))
    return {
        "difference": difference,
        "difference_low": difference - spread,
        "difference_high": difference + spread,
        "ratio": ratio,
        "ratio_low": ratio / factor,
        "ratio_high": ratio * factor,
    }


class Flags:
    """Words by row, in the order in which they are given."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._words: list[str] = []
        self._code = np.zeros(shape, np.int64)

    def add(self, word: str, where: NDArray[np.bool_]) -> None:
        """Say a word of some rows."""
        self._code |= where.astype(np.int64) << len(self._words)
        self._words.append(word)

    def texts(self) -> Texts:
        """The words of each row, one after another."""
        there, at = np.unique(self._code, return_inverse=True)
        texts = [
            " ".join(word for i, word in enumerate(self._words) if code >> i & 1)
            for code in there.tolist()
        ]
        return Texts(at.reshape(self._code.shape), texts)
