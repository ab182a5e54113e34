"""Programmes, tracks and the state as the page shows them: sums, and intervals drawn together."""

from __future__ import annotations

from typing import Final

from ihp_compute.report.partnerships import INNER, OUTER
from ihp_compute.report.rows import Row, RowsOf
from ihp_compute.settlement import STATE

RESAMPLED: Final = "target_resampled"
SHOWN: Final = ("programme", "track", STATE)
"""Scopes of the table, in its order; partnerships have one of their own, all are the state."""


def scope_rows(rows: RowsOf) -> list[Row]:
    """Rows of `settlement_state` of more than one partnership's kind, with their intervals.

    Each has `savings_rate`, and `interval`: (measure, level) to the percentile ends of
    `target_resampled`; None where nothing was drawn.
    """
    ends: dict[tuple[str, str], dict[tuple[str, float], tuple[float, float]]] = {}
    for row in rows["intervals"]:
        if (row["method"], row["conditioning"]) == ("percentile", RESAMPLED):
            own = ends.setdefault((row["scope"], row["partnership_id"]), {})
            own[row["measure"], round(row["level"], 4)] = row["low"], row["high"]
    found = []
    for scope in SHOWN:
        for row in rows["settlement_state"]:
            if row["scope"] != scope:
                continue
            target = row["target_cents"]
            own = ends.get((scope, row["scope_id"]), {})
            found.append(
                {
                    **row,
                    "savings_rate": row["savings_cents"] / target if target else 0.0,
                    "federal_cents": row["payment_cents"] - row["state_net_cents"],
                    "interval": {
                        measure: {level: own.get((measure, level)) for level in (INNER, OUTER)}
                        for measure in ("savings_rate", "payment_cents", "state_net_cents")
                    },
                }
            )
    return found


def state_of(found: list[Row]) -> Row | None:
    """The state among the rows; None where nothing settles."""
    return next((row for row in found if row["scope"] == STATE), None)
