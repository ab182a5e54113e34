"""Rows of `comparison`, and how sure each trend is: own growth against that of the market."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ihp_compute.results.part import Part
from ihp_compute.results.programme.trends import Compared, trends
from ihp_compute.results.programme_tables import TRENDS
from ihp_compute.uncertainty import intervals

DRAWN: Final = "drawn"
"""Conditioning: everything moves with the members drawn, both sides together."""
MEASURES: Final = ("growth_difference", "difference_cents")


def comparison_rows(parts: Sequence[Part]) -> dict[str, list[dict[str, Any]]]:
    """Rows of `comparison` and of `intervals`; none where the programme has no comparison."""
    found = [one for part in parts for one in _trends_of(part)]
    return {
        TRENDS.name: [_row(one) for one in found],
        "intervals": [row for one in found for row in _intervals(one)],
    }


def _trends_of(part: Part) -> Sequence[Compared]:
    programme = part.plan.programme
    if programme is None:
        return ()
    least_months = int(programme["comparison.least_months"])
    return list(trends(part, programme["comparison.comparators"], least_months))


def _row(one: Compared) -> dict[str, Any]:
    found = one.trend
    return {
        "scope": one.scope,
        "scope_id": one.scope_id,
        "comparator": one.comparator,
        "from_year": one.from_year,
        "to_year": one.to_year,
        "growth": float(found.growth[0]),
        "comparator_growth": float(found.comparator_growth[0]),
        "benchmark_cents": int(found.benchmark_cents[0]),
        "observed_cents": int(found.observed_cents[0]),
        "difference_cents": int(found.difference_cents[0]),
        "months_without_base": found.months_without_base,
    }


def _intervals(one: Compared) -> Sequence[dict[str, Any]]:
    return [
        {
            "scope": one.scope,
            "partnership_id": one.scope_id,
            "measure": measure,
            "item": one.item,
            "conditioning": DRAWN,
            "flag": "",
            **vars(interval),
        }
        for measure in MEASURES
        for interval in intervals(getattr(one.trend, measure))
    ]
