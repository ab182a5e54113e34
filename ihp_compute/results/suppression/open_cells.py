"""The table `cells` as everybody may see it: hidden rate cells stand as one, and all foots.

In each year of a partnership under a contract, hidden rate cells are one row `pooled`: months and
cents are their sums, what is a mean of them is made of the sums, and what is neither is null. A
partnership whose settlement is hidden has no rows. Cost before floor and cap stands in none: of how
many people of a rate cell the cap took anything is not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.results.tables import CELLS
from ihp_compute.units import CENTS_PER_USD

POOLED: Final = "pooled"
_SUMMED: Final = (
    "member_months", "cost_cents", "risk_corridor_cents", "risk_credibility_cents", "target_cents",
)  # fmt: skip
_OF_STATE: Final = ("state_member_months", "state_cost_cents")
_TOLD_BY_STATE: Final = (*_OF_STATE, "state_risk_mean", "norm")


def pooled(whole: pa.Table, hidden: NDArray[np.bool_], hidden_of_state: frozenset[str]) -> pa.Table:
    """The open form of `cells`.

    Parameters
    ----------
    whole : Table
        As `tables.CELLS`.
    hidden : bool[n]
        Its rows that may not stand alone.
    hidden_of_state : frozenset of str
        Rate cells of which the state's columns are hidden.
    """
    found: dict[tuple[Any, ...], list[tuple[dict[str, Any], bool]]] = defaultdict(list)
    for row, held in zip(whole.to_pylist(), hidden.tolist(), strict=True):
        found[row["contract"], row["partnership_id"], row["year"]].append((row, held))
    rows: list[dict[str, Any]] = []
    for key, of in found.items():
        alone = [_alone(row, hidden_of_state) for row, held in of if not held]
        together = [row for row, held in of if held]
        rows += alone
        if alone and together:
            rows.append(_pool(key, together, hidden_of_state))
    schema = pa.schema([f.with_nullable(f.name not in CELLS.keys) for f in CELLS.arrow])
    return pa.Table.from_pylist(rows, schema=schema)


def _alone(row: dict[str, Any], hidden_of_state: frozenset[str]) -> dict[str, Any]:
    told = _TOLD_BY_STATE if row["rate_cell"] in hidden_of_state else ()
    return row | dict.fromkeys((*told, "paid_cents"))


def _pool(
    key: tuple[Any, ...], rows: Sequence[Mapping[str, Any]], hidden_of_state: frozenset[str]
) -> dict[str, Any]:
    """Rows of one partnership and year as one."""
    sums: dict[str, Any] = {name: sum(row[name] for row in rows) for name in _SUMMED}
    months = sums["member_months"]
    if not any(row["rate_cell"] in hidden_of_state for row in rows):
        sums |= {name: sum(row[name] for row in rows) for name in _OF_STATE}
    if months:
        risk = sum(row["own_risk_mean"] * row["member_months"] for row in rows)
        sums["own_risk_mean"] = risk / months
        sums["target_pmpm_usd"] = sums["target_cents"] / CENTS_PER_USD / months
    contract, partnership, year = key
    return {
        **dict.fromkeys(CELLS.names),
        "contract": contract, "partnership_id": partnership, "year": year, "rate_cell": POOLED,
        **sums,
    }  # fmt: skip
