"""Population-based payments of a run's years as rows, and what is said of them in a walk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ihp_compute.measure import Plan, counted_in
from ihp_compute.results.part import Part
from ihp_compute.uncertainty import Totals
from ihp_compute.units import dollars


def paid_ahead_rows(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """Rows of `tables.PAID_AHEAD`: partnerships stand in the measurement of their contract."""
    for part in parts:
        yield from _rows(part)


def _rows(part: Part) -> Iterator[dict[str, Any]]:
    plan, measured, _ = part
    for one in measured.paid_ahead:
        into = _places(plan, measured.totals, one.year)
        for row in one.rows:
            who = plan.contracts.settles(row["partnership_id"])
            if who in plan.contracts.contracts:
                yield {**row, "counted_in": into.get((who, row["rate_cell"]), "")}


def in_cost_words(part: Part, partnership: str, year: int) -> str:
    """What of a year's cost was paid in advance, for the walk; empty where none counts."""
    plan = part.plan
    cents = sum(
        row["payment_cents"]
        for row in _rows(part)
        if row["counted_in"]
        and row["year"] == year
        and plan.contracts.settles(row["partnership_id"]) == partnership
    )
    return f"; {dollars(cents)} of {year} are population-based payments" if cents else ""


def _places(plan: Plan, totals: Totals, year: int) -> dict[tuple[str, str], str]:
    """Rate cell of the contract in whose cost a rate cell's payment stands, by who settles."""
    found = {}
    agreements = plan.contracts.at(plan.performance_year)
    for group, into in zip(totals.groups, counted_in(plan, totals, year), strict=True):
        if group not in agreements or not agreements[group].cost.counts_payments:
            continue
        merged = {part: c for c in agreements[group]["target.rate_cells"] for part in c.split("+")}
        for stratum, at in zip(totals.strata, into, strict=True):
            if at is not None:
                found[group, stratum] = merged[totals.strata[at]]
    return found
