"""Stays, emergency visits and readmissions of each group, base year beside performance year.

Where a run has outcomes, each rate has their interval. What is hidden is said to be, in the table
and in the chart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.report import numbers
from ihp_compute.report.charts import Dumbbell, dumbbells
from ihp_compute.report.rows import Row


def utilisation_section(
    rows: Sequence[Row], outcomes: Sequence[Row], manifest: Mapping[str, Any]
) -> Row:
    """Rates of both years per group.

    Parameters
    ----------
    rows : sequence of Row
        Of `utilisation`.
    outcomes : sequence of Row
        Of `outcomes`, everybody of each partnership: `MEASURES`; none where a run has none.
    manifest : mapping
    """
    ends = {
        (row["scope_id"], row["year"], row["measure"]): (row["low"], row["high"])
        for row in outcomes
        if row["low"] is not None and row["denominator"]
    }
    base, performance = manifest["base_year"], manifest["performance_year"]
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        found[row["group_id"]][row["year"]] = row
    reserved = (COMPARISON, UNATTRIBUTED)
    order = sorted(
        found,
        key=lambda group: (
            reserved.index(group) + 1 if group in reserved else 0,
            -max(row["n_members"] or 0 for row in found[group].values()),
            group,
        ),
    )
    panels = []
    for measure, (heading, name, words) in MEASURES.items():
        panel = [
            Dumbbell(
                _group_name(group),
                _rate(found[group].get(base), name),
                _rate(found[group].get(performance), name),
                ends.get((group, base, measure)),
                ends.get((group, performance, measure)),
            )
            for group in order
        ]
        panels.append((heading, words, panel))
    table = []
    for index, group in enumerate(order):
        cells = []
        for _, words, panel in panels:
            pair = (panel[index].before, panel[index].after)
            before, after = (words(v) if v is not None else numbers.HELD for v in pair)
            change = (
                numbers.percent(pair[1] / pair[0] - 1, places=1, plus=True)
                if pair[0] and pair[1] is not None
                else numbers.DASH
            )
            cells.append((before, after, change))
        table.append(
            {
                "group": _group_name(group),
                "members": [
                    numbers.held_back(found[group][year]["n_members"])
                    if year in found[group]
                    else numbers.DASH
                    for year in (base, performance)
                ],
                "cells": cells,
            }
        )
    chart = dumbbells(
        panels,
        years=(str(base), str(performance)),
        title="Utilisation, base and performance year",
        description=(
            f"Hollow points: {base}; filled points: {performance}. Hospital stays and emergency "
            "department visits per 1,000 member years, and the share of index stays followed "
            "by a readmission within 30 days. All values stand in the table that follows."
            + (" Thin lines: 95 % intervals." if ends else "")
        ),
    )
    return {"chart": chart if order else None, "table": table, "with_intervals": bool(ends)}


def _per_thousand(rate: float) -> str:
    return f"{rate:,.1f}"


def _share(rate: float) -> str:
    return numbers.percent(rate, places=1)


MEASURES: Final = {
    "stays": ("Stays per 1,000", "stays_per_1000", _per_thousand),
    "ed_visits": ("ED visits per 1,000", "ed_visits_per_1000", _per_thousand),
    "readmissions": ("Readmitted in 30 days", "readmission_rate", _share),
}
"""By the name that outcomes have: heading, column of `utilisation`, how a rate is written."""


def _group_name(group: str) -> str:
    return group.capitalize() if group in (COMPARISON, UNATTRIBUTED) else group


def _rate(row: Row | None, name: str) -> float | None:
    return None if row is None or row[name] is None else float(row[name])
