"""Changes of outcomes from base to performance year, against a comparator's, and what they come to.

    r1 / r0 - 1, own and the comparator's -> relative change, its error -> events and dollars

Crude rates are over denominators, standardised ones over what is expected. Whoever stands in
several of the four rates (own and comparator's, of both years) moves all of them together: the
error of the logarithm is √Σ over members of (own performance - own base - comparator's performance
+ comparator's base)², each n / N - d / D of the member, which is worked out from sums of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.measure.programme import MEASURES
from ihp_compute.results.programme.outcome_rates import (
    NO_DENOMINATOR,
    NO_EVENTS,
    NO_EXPECTED,
    NOTHING,
    Columns,
    Flags,
    Texts,
    of_fields,
    over,
)
from ihp_compute.results.programme.outcome_sums import PRODUCTS, DimensionSums
from ihp_compute.units import Z

NO_COMPARATOR: Final = "no_comparator"
BASES: Final = {"crude": "d", "standardised": "e"}
"""What a rate is over, as sums name it."""
BASE, PERFORMANCE = 0, 1


@dataclass(frozen=True)
class Compared:
    """Sums of scopes and of what each is compared with.

    Attributes
    ----------
    own, other, common : float64[2, n_fields, n_measures, n_scopes, n_strata]
        Of the scope, of its comparator, of people who are in both; by year.
    products : dict of str to float64[n_products, n_measures, n_scopes, n_strata]
        Over people of both years, by "own" or "other" of the later and of the earlier year.
    """

    own: NDArray[np.float64]
    other: NDArray[np.float64]
    common: NDArray[np.float64]
    products: dict[tuple[str, str], NDArray[np.float64]]

    @classmethod
    def of(
        cls, sums: DimensionSums, scopes: NDArray[np.float64], others: NDArray[np.float64]
    ) -> Compared:
        """Scopes against groups of people in the same stratum.

        Parameters
        ----------
        sums : DimensionSums
        scopes, others : float64[n_scopes, n_groups]
            1 for the groups of a scope, and of its comparator.
        """
        whose = {"own": scopes, "other": others}
        return cls(
            own=scopes @ sums.sums,
            other=others @ sums.sums,
            common=(scopes * others) @ sums.sums,
            products={
                (later, earlier): _of_pairs(sums, whose[later], whose[earlier])
                for later in whose
                for earlier in whose
            },
        )

    @classmethod
    def of_strata(cls, sums: DimensionSums, scopes: NDArray[np.float64], control: int) -> Compared:
        """Each stratum against one of them, in the same scope; nobody is in two."""
        own = scopes @ sums.sums
        products = _of_pairs(sums, scopes, scopes)
        at = np.s_[..., control, None]
        return cls(
            own=own,
            other=np.broadcast_to(own[at], own.shape),
            common=np.zeros(own.shape),
            products={
                ("own", "own"): products,
                ("other", "other"): np.broadcast_to(products[at], products.shape),
                ("own", "other"): np.zeros(products.shape),
                ("other", "own"): np.zeros(products.shape),
            },
        )


def _of_pairs(
    sums: DimensionSums, later: NDArray[np.float64], earlier: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Products over people of some groups in the later year and of some in the earlier."""
    n_strata = sums.sums.shape[-1]
    out = np.zeros((*sums.products.shape[:2], later.shape[0], n_strata))
    order = np.argsort(sums.stratum, kind="stable")
    edges = np.searchsorted(sums.stratum[order], np.arange(n_strata + 1))
    for stratum in range(n_strata):
        rows = order[edges[stratum] : edges[stratum + 1]]
        whom = later[:, sums.later[rows]] * earlier[:, sums.earlier[rows]]
        out[..., stratum] = sums.products[:, :, rows] @ whom.T
    return out


def change_columns(
    found: Compared, basis: str, mean_cents: NDArray[np.float64], has_other: NDArray[np.bool_]
) -> tuple[Columns, Texts]:
    """Columns of one dimension and basis, and the flag.

    Parameters
    ----------
    found : Compared
    basis : str
        One of `BASES`.
    mean_cents : float64[n_measures]
        What one event costs; 0 where it is not told.
    has_other : bool[n_scopes, n_strata]
        Whether there is a comparator.

    Returns
    -------
    dict of arrays[n_measures, n_scopes, n_strata]
        By name of column in `outcome_changes`.
    """
    over_what = BASES[basis]
    rates = {}
    for name, sums in (("own", found.own), ("other", found.other)):
        for year in (BASE, PERFORMANCE):
            s = of_fields(sums[year])
            rates[name, year] = s["n"], s[over_what]
    r = {slot: over(n, b) for slot, (n, b) in rates.items()}
    has = {name: (r[name, BASE] != 0) & (r[name, PERFORMANCE] != 0) for name in ("own", "other")}
    change = np.where(has["own"], over(r["own", PERFORMANCE], r["own", BASE]) - 1, 0.0)
    compared = has["own"] & has["other"] & has_other
    theirs = np.where(compared, over(r["other", PERFORMANCE], r["other", BASE]) - 1, 0.0)
    relative = np.where(compared, over(1 + change, 1 + theirs) - 1, 0.0)
    error = np.where(compared, np.sqrt(np.maximum(_square(found, rates, over_what), 0.0)), 0.0)
    n, b = rates["own", PERFORMANCE]
    parts = np.array([measure.parts for measure in MEASURES])[:, None, None]
    events = np.where(compared, (n - r["own", BASE] * (1 + theirs) * b) / parts, 0.0)
    flags = Flags(change.shape)
    d = of_fields(found.own[BASE])["d"], of_fields(found.own[PERFORMANCE])["d"]
    nobody = (d[BASE] == 0) | (d[PERFORMANCE] == 0)
    flags.add(NO_DENOMINATOR, nobody)
    nothing = ~nobody & ((rates["own", BASE][1] == 0) | (rates["own", PERFORMANCE][1] == 0))
    flags.add(NO_EXPECTED, nothing)
    flags.add(NO_EVENTS, ~nobody & ~nothing & ~has["own"])
    flags.add(NO_COMPARATOR, ~has["other"] | ~has_other)
    columns = {
        "change": change,
        "comparator_change": theirs,
        "relative_change": relative,
        "std_error_log": error,
        "low": np.where(compared, (1 + relative) * np.exp(-Z * error) - 1, 0.0),
        "high": np.where(compared, (1 + relative) * np.exp(Z * error) - 1, 0.0),
        "events_difference": events,
        "usd_cents": (-np.rint(events * mean_cents[:, None, None])).astype(np.int64),
    }
    return columns, flags.texts()


_Rate = tuple[NDArray[np.float64], NDArray[np.float64]]
_SIGN: Final = {
    ("own", PERFORMANCE): 1.0,
    ("own", BASE): -1.0,
    ("other", PERFORMANCE): -1.0,
    ("other", BASE): 1.0,
}


def _square(
    found: Compared, rates: dict[tuple[str, int], _Rate], over_what: str
) -> NDArray[np.float64]:
    """Σ over members of the square of what each moves the logarithm by."""
    slots = list(_SIGN)
    total, alone = (np.zeros(rates[slots[0]][0].shape) for _ in range(2))
    for i, one in enumerate(slots):
        for another in slots[i:]:
            products = _products(found, one, another, over_what)
            moment = _moment(products, rates[one], rates[another])
            if one == another:
                alone += moment
                total += moment
            else:
                total += 2 * _SIGN[one] * _SIGN[another] * moment
    total[total < NOTHING * alone] = 0.0
    return total


def _products(
    found: Compared, one: tuple[str, int], another: tuple[str, int], over_what: str
) -> Sequence[NDArray[np.float64]]:
    """Sums of n n, n b, b n, b b over people of both slots, the first letter of the first slot."""
    (whose, year), (others, other_year) = one, another
    b = over_what
    if year == other_year:
        sums = found.common if whose != others else found.own if whose == "own" else found.other
        s = of_fields(sums[year])
        return s["nn"], s["n" + b], s["n" + b], s[b + b]
    flip = year == BASE
    pair = (others, whose) if flip else (whose, others)
    p = dict(zip(PRODUCTS, found.products[pair], strict=True))
    crossed = p["n" + b], p[b + "n"]
    return p["nn"], crossed[flip], crossed[not flip], p[b + b]


def _moment(
    products: Sequence[NDArray[np.float64]], one: _Rate, another: _Rate
) -> NDArray[np.float64]:
    """Σ (n / N - b / B)(n' / N' - b' / B')."""
    (n, b), (m, c) = one, another
    nn, nb, bn, bb = products
    return over(nn, n * m) - over(nb, n * c) - over(bn, b * m) + over(bb, b * c)
