"""Total cost, resource use and price of each scope against its peer, and what the gap is made of.

    TCI = cost ÷ months ÷ risk, over the peer's       risk: mean score, months weighing
    RUI = resources ÷ months ÷ risk, over the peer's
    price = cost ÷ resources, over the peer's          so TCI = RUI × price

A difference in cost per member month is split into mix, use and price over categories of service
or condition groups (`drivers`), in float64 in the order written. A draw's indices are made of the
draw's sums of the scope and of its peer, by the same function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import SERVICE_CATEGORIES
from ihp_compute.measure import (
    DRAWN_MEASURES,
    INDEX_MEASURES,
    IndexSums,
    Plan,
    ProgrammeScope,
    programme_scopes,
)
from ihp_compute.results.part import Part
from ihp_compute.results.tables import INTERVALS
from ihp_compute.uncertainty import intervals
from ihp_compute.units import CENTS_PER_USD, MICRO

INDICES: Final = ("tci", "rui", "price_index")
NO_DENOMINATOR, BELOW_MINIMUM = "no_denominator", "below_minimum"
DRAWN: Final = "drawn"
"""Conditioning of intervals: members of a scope and of its peer drawn together."""
Floats = NDArray[np.float64]


class Indices(NamedTuple):
    """Indices of a scope against its peer, one a draw; 0 where a sum they divide by is."""

    tci: Floats
    rui: Floats
    price_index: Floats
    whole: NDArray[np.bool_]


class Totals(NamedTuple):
    """Sums that indices are made of; risk is months times score in millionths."""

    months: NDArray[np.int64]
    risk: NDArray[np.int64]
    cost: NDArray[np.int64]
    resource: NDArray[np.int64]


class Drivers(NamedTuple):
    """Dollars per member month by item: mix + use + price = difference."""

    mix: Floats
    use: Floats
    price: Floats
    difference: Floats


def indices(own: Totals, peer: Totals) -> Indices:
    """Indices of one or many draws; sums are int64 arrays of one shape."""
    whole = np.logical_and.reduce([np.asarray(each) > 0 for each in (*own, *peer)])

    def adjusted(of: Totals, cents: NDArray[np.int64]) -> Floats:
        months = np.where(whole, of.months, 1)
        risk = np.where(whole, of.risk, MICRO) / months / MICRO
        found: Floats = cents / months / risk
        return found

    def per_resource(of: Totals) -> Floats:
        found: Floats = of.cost / np.where(whole, of.resource, 1)
        return found

    def over(one: Floats, other: Floats) -> Floats:
        return np.where(whole, one / np.where(whole, other, 1.0), 0.0)

    return Indices(
        over(adjusted(own, own.cost), adjusted(peer, peer.cost)),
        over(adjusted(own, own.resource), adjusted(peer, peer.resource)),
        over(per_resource(own), per_resource(peer)),
        whole,
    )


def drivers(
    cost: NDArray[np.int64],
    services: NDArray[np.int64],
    months: int,
    peer_cost: NDArray[np.int64],
    peer_services: NDArray[np.int64],
    peer_months: int,
    weight: Floats,
) -> Drivers:
    """What makes a scope's cost per member month differ from its peer's, by item.

    With U services and U₀ the peer's, each over all member months, P and P₀ cost per service, w how
    much more of the item the scope's people should need: mix (w - 1) P₀U₀, use P₀U - w P₀U₀, price
    U (P - P₀). A P that is missing takes the other side's. Price is what mix and use leave of the
    difference, so that it holds cost without services too, which reversals can leave.

    Parameters
    ----------
    cost, services : int64[n], cents and numbers by item
    months : int
        All member months; of the peer likewise.
    weight : float64[n]
        w: by category risk over the peer's; by condition the part of months over the peer's, NaN
        where the peer has none, and then all is mix.

    Returns
    -------
    Drivers
        float64[n] each, US dollars per member month.
    """
    own, other = cost / months / CENTS_PER_USD, peer_cost / peer_months / CENTS_PER_USD
    use, peer_use = services / months, peer_services / peer_months
    unknown = np.isnan(weight)
    w = np.where(unknown, 1.0, weight)
    each = np.where(services > 0, own / np.where(services > 0, use, 1.0), 0.0)
    base = np.where(peer_services > 0, other / np.where(peer_services > 0, peer_use, 1.0), each)
    mix = np.where(unknown, own - other, (w - 1.0) * other)
    used = np.where(unknown, 0.0, base * use - w * other)
    difference = own - other
    return Drivers(mix, used, difference - mix - used, difference)


def cost_index_rows(parts: Sequence[Part]) -> dict[str, list[dict[str, Any]]]:
    """Rows of `cost_index`, `cost_drivers`, and of `intervals` for the performance year."""
    found: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("cost_index", "cost_drivers", INTERVALS.name)
    }
    scopes = programme_scopes(*(part.plan for part in parts))
    for part in parts:
        sums = part.measured.programme.get("cost_index")
        if sums is not None:
            for scope in scopes:
                found["cost_index"] += _index_rows(part.plan, sums, scope)
                found["cost_drivers"] += _driver_rows(part.plan, sums, scope)
                found[INTERVALS.name] += _interval_rows(part.plan, sums, scope)
    return found


def _of(sums: IndexSums, groups: Sequence[int], year: int) -> dict[str, int]:
    """Measures of groups of the sums taken together."""
    whole = sums.groups[year, list(groups)].sum(axis=0)
    return dict(zip(INDEX_MEASURES, whole.tolist(), strict=True))


def _totals(of: dict[str, int]) -> Totals:
    return Totals(*(np.array(of[name], np.int64) for name in DRAWN_MEASURES))


def _flag(plan: Plan, n_members: int, *, whole: bool) -> str:
    if not whole:
        return NO_DENOMINATOR
    least = plan.programme["cost_index.least_members"] if plan.programme else 0
    return BELOW_MINIMUM if n_members < least else ""


def _index_rows(plan: Plan, sums: IndexSums, scope: ProgrammeScope) -> Iterator[dict[str, Any]]:
    for t, year in enumerate(plan.years):
        mine, others = sums.places(scope.groups), sums.peer_groups
        own, peer = _of(sums, mine, t), _of(sums, others, t)
        found = indices(_totals(own), _totals(peer))
        months = own["member_months"]
        yield {
            "scope": scope.scope,
            "scope_id": scope.scope_id,
            "year": year,
            "peer": sums.peer,
            **{name: own[name] for name in own if name != "risk"},
            "risk_mean": own["risk"] / months / MICRO if months else 0.0,
            **{name: float(getattr(found, name)) for name in INDICES},
            "flag": _flag(plan, own["n_members"], whole=bool(found.whole)),
        }


def _driver_rows(plan: Plan, sums: IndexSums, scope: ProgrammeScope) -> Iterator[dict[str, Any]]:
    for t, year in enumerate(plan.years):
        mine, others = sums.places(scope.groups), sums.peer_groups
        own, peer = _of(sums, mine, t), _of(sums, others, t)
        if not all(of[name] > 0 for of in (own, peer) for name in ("member_months", "risk")):
            continue
        months, peer_months = own["member_months"], peer["member_months"]
        of_own, of_peer = (
            [table[t, list(groups)].sum(axis=0) for table in (sums.by_category, sums.by_condition)]
            for groups in (mine, others)
        )
        risk = (own["risk"] / months) / (peer["risk"] / peer_months)
        for dimension, items, here, there in zip(
            ("service_category", "condition_group"), (SERVICE_CATEGORIES, sums.conditions),
            of_own, of_peer, strict=True,
        ):  # fmt: skip
            weight = np.full(len(items), risk)
            if dimension == "condition_group":
                part, base = here[:, 3] / months, there[:, 3] / peer_months
                weight = np.where(base > 0, part / np.where(base > 0, base, 1.0), np.nan)
            split = drivers(
                here[:, 0], here[:, 2], months,
                there[:, 0], there[:, 2], peer_months, weight,
            )  # fmt: skip
            for i in np.flatnonzero((here != 0).any(axis=1) | (there != 0).any(axis=1)).tolist():
                yield {
                    "scope": scope.scope,
                    "scope_id": scope.scope_id,
                    "year": year,
                    "dimension": dimension,
                    "item": items[i],
                    "services": int(here[i, 2]),
                    "cost_cents": int(here[i, 0]),
                    "resource_cents": int(here[i, 1]),
                    **{f"{name}_usd": float(getattr(split, name)[i]) for name in Drivers._fields},
                }


def _interval_rows(plan: Plan, sums: IndexSums, scope: ProgrammeScope) -> Iterator[dict[str, Any]]:
    """Of the performance year: a draw whose sums leave nothing to divide by is flagged."""
    own, peer = (
        Totals(*np.moveaxis(sums.draws[list(groups)].sum(axis=0), 1, 0))
        for groups in (sums.places(scope.groups), sums.peer_groups)
    )
    found = indices(own, peer)
    n_members = _of(sums, sums.places(scope.groups), 1)["n_members"]
    flag = _flag(plan, n_members, whole=bool(found.whole.all()))
    for name in INDICES:
        for interval in intervals(getattr(found, name)):
            yield {
                "scope": scope.scope,
                "partnership_id": scope.scope_id,
                "measure": name,
                "item": str(plan.performance_year),
                "conditioning": DRAWN,
                "flag": flag,
                **vars(interval),
            }
