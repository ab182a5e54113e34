"""What targets are made of: sums over groups and rate cells, cut into each partnership's sources.

    totals -> by rate cell of the contract -> the state's, the comparison's -> a partnership's own

A source is an array over replicates. Some stand as observed in every replicate: the months that
decide how far an own base carries, their roots, and the state's base where a draw has none of it.
`held` lets the base stand as observed too, for the question of what a signed target will pay.

Decides: which totals a target reads, and which of them are held. Leaves to others: the arithmetic
(`norms`, `credibility`, `target`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON
from ihp_compute.contracts import Agreement
from ihp_compute.errors import ContractError
from ihp_compute.uncertainty import Totals

Sources = dict[str, NDArray[Any]]
"""int64[1 + B] by name, int64[1] of what stands in every replicate; roots are float64[1]."""

YEARS: Final = ("base", "perf")
WHATS: Final = ("months", "risk", "cost")
_HELD: Final = ("base_", "state_base_", "market_")
"""Sources that a signed target rests on: the base year, and what the market grew by."""
_DIGITS: Final = 40


@dataclass(frozen=True)
class StateSums:
    """Totals by rate cell of the contract: what all partnerships' sources are cut from.

    Attributes
    ----------
    totals : Totals
    contract : str
        Its name, for messages.
    cells : tuple of str
        Rate cells of the contract.
    columns : mapping of name to int
        Place of base_months, perf_cost and the like among the columns; cost is of one rule set.
    by_cell : int64[n_groups, n_cells, 1 + B, n_columns]
        Rate cells of the contract; merged cells are summed.
    shared, shared_held : mapping of source name to int64[1 + B]
        Sources that every partnership has alike: the state's and the comparison population's; as
        drawn, and as `held` has them.
    core_cents : int64[n_groups]
        Cost of the performance year before floor and cap, as observed.
    left_out : bool[n_groups, n_columns]
        Whether something stands in rate cells that the contract does not list.
    """

    totals: Totals
    contract: str
    cells: tuple[str, ...]
    columns: dict[str, int]
    by_cell: NDArray[np.int64]
    shared: Sources
    shared_held: Sources
    core_cents: NDArray[np.int64]
    left_out: NDArray[np.bool_]


def state_sums(totals: Totals, agreement: Agreement, rule_set: int) -> StateSums:
    """Sums over merged rate cells and over groups, once for all partnerships. Integers only.

    The state is everybody eligible: partnerships, the comparison population and the unattributed,
    each at the cost rules of this contract.
    """
    cells: tuple[str, ...] = agreement["target.rate_cells"]
    places = [[totals.strata.index(part) for part in cell.split("+")] for cell in cells]
    listed = {place for cell in places for place in cell}
    others = [i for i in range(len(totals.strata)) if i not in listed]
    values = by_cell = totals.values
    if places != [[i] for i in range(len(totals.strata))]:
        by_cell = np.stack([values[:, cell].sum(axis=1) for cell in places], axis=1)
    state = np.ascontiguousarray(np.moveaxis(by_cell.sum(axis=0), -1, 0))
    market = np.zeros_like(state)
    if COMPARISON in totals.groups:
        g = totals.groups.index(COMPARISON)
        market = np.ascontiguousarray(np.moveaxis(by_cell[g], -1, 0))
    columns: dict[str, int] = {}
    shared: Sources = {}
    for year in YEARS:
        for what in WHATS:
            of_cost = f"_r{rule_set}" if what == "cost" else ""
            name, k = f"{year}_{what}", totals.columns.index(f"{year}_{what}{of_cost}")
            columns[name] = k
            for i in range(len(cells)):
                shared[f"state_{name}_{i}"] = shared[f"market_state_{name}_{i}"] = state[k, i]
                shared[f"market_{name}_{i}"] = market[k, i]
                if year == "base":
                    shared[f"observed_state_{name}_{i}"] = _as_observed(state[k, i])
    left_out: NDArray[np.bool_] = np.any(values[:, others], axis=(1, 2))
    observed_cents = by_cell[:, :, 0, columns["perf_cost"]].sum(axis=1)
    core_cents = observed_cents + totals.taken_cents[:, rule_set]
    return StateSums(
        totals, agreement.name, cells, columns, by_cell, shared, _held(shared), core_cents, left_out
    )


def sources(sums: StateSums, group: str) -> Sources:
    """Totals that a partnership's target is made of, by source name.

    Per rate cell of the contract the partnership's own months, risk and cost, the state's and the
    comparison population's; over all cells the partnership's own, and its `core_cost` as observed.

    Raises
    ------
    ContractError
        If the partnership has months or cost in a rate cell that the contract does not list, or
        months of the performance year in one where nobody in the state has a base.
    """
    g = sums.totals.groups.index(group)
    found = dict(sums.shared)
    own = np.ascontiguousarray(np.moveaxis(sums.by_cell[g], -1, 0))
    whole = own.sum(axis=1)
    for name, k in sums.columns.items():
        if sums.left_out[g, k]:
            listed = "+".join(sums.cells).split("+")
            strata, values = sums.totals.strata, sums.totals.values[g, ..., k]
            left = [c for i, c in enumerate(strata) if c not in listed and values[i].any()]
            raise ContractError(
                f"{sums.contract}: target.rate_cells: {group} has {name.split('_')[1]} in "
                f"{', '.join(left)}, rate cells that the contract does not list; expected every "
                "rate cell that occurs"
            )
        for i in range(len(sums.cells)):
            found[f"{name}_{i}"] = own[k, i]
        found[name] = whole[k]
    _check_bases(sums, group, found)
    found["core_cost"] = sums.core_cents[g : g + 1]
    found["observed_months"] = _as_observed(found["perf_months"])
    for year in YEARS:
        found[f"root_{year}_months"] = _root(found[f"{year}_months"])
    for i in range(len(sums.cells)):
        months = found[f"base_months_{i}"]
        found[f"observed_base_months_{i}"] = _as_observed(months)
        found[f"root_base_months_{i}"] = _root(months)
    return found


def held(sums: StateSums, given: Mapping[str, NDArray[Any]]) -> Sources:
    """The sources with the base year and the market as observed in every replicate."""
    own = {name: array for name, array in given.items() if name not in sums.shared}
    return sums.shared_held | _held(own)


def _held(given: Mapping[str, NDArray[Any]]) -> Sources:
    return {
        name: _as_observed(array) if name.startswith(_HELD) else array
        for name, array in given.items()
    }


def root(value: Decimal | int) -> Decimal:
    """The square root of an observed integer or of a term, to forty digits.

    >>> root(14400)
    Decimal('120')
    """
    with localcontext() as context:
        context.prec = _DIGITS
        return Decimal(value).sqrt()


def _root(months: NDArray[np.int64]) -> NDArray[np.float64]:
    """The root of the observed months, rounded once."""
    return np.array([float(root(int(months[0])))])


def _as_observed(array: NDArray[Any]) -> NDArray[Any]:
    return array[:1]


def _check_bases(sums: StateSums, group: str, given: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a rate cell of the performance year for which nobody in the state has a base."""
    for i, cell in enumerate(sums.cells):
        months = int(given[f"perf_months_{i}"][0])
        if not months:
            continue
        for what in ("months", "risk"):
            if not given[f"state_base_{what}_{i}"][0]:
                raise ContractError(
                    f"{sums.contract}: {group} has {months:,} months of the performance year in "
                    f"rate cell {cell}, and nobody in the state has base {what} there; expected a "
                    "base to take the target from: merge the cell with another in "
                    "target.rate_cells, or choose an earlier base year"
                )
