"""The cost index of the performance year: what groups cost, use and pay against their peer.

Indices stand in a chart and a table, and what a difference is made of in dollars beside them, for
each group and, item by item, for all partnerships together. Groups that are hidden are counted, and
an item that is hidden is said to be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.report import numbers
from ihp_compute.report.charts import RatioRow, Whisker, ratios
from ihp_compute.report.partnerships import INNER, OUTER
from ihp_compute.report.rows import Row, RowsOf

INDICES: Final = ("tci", "rui", "price_index")
PARTS: Final = ("mix_usd", "use_usd", "price_usd")
_HEADINGS: Final = (
    ("Total cost", "cost for a score of 1"),
    ("Resource use", "at one scale of rates"),
    ("Price", "cost for a resource"),
)
_LARGEST: Final = 3
"""Categories named of a group."""
_PRINTED: Final = 12
"""Items of a dimension on paper."""


def cost_index_section(rows: RowsOf, year: int) -> Row | None:
    """Chart, rows of groups, and items of all partnerships; None where nothing was measured."""
    found = {
        row["scope_id"]: row
        for row in rows["cost_index"]
        if row["scope"] == "partnership" and row["year"] == year
    }
    if not found:
        return None
    attributed = [
        row for row in rows["cost_index"] if row["scope"] == "attributed" and row["year"] == year
    ]
    drivers: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows["cost_drivers"]:
        if row["year"] == year:
            drivers[row["scope"], row["scope_id"]].append(row)
    reserved = (COMPARISON, UNATTRIBUTED)
    order = sorted(
        (row for row in found.values() if row["scope_id"] not in reserved),
        key=lambda row: (-(row["n_members"] or 0), row["scope_id"]),
    )
    order += [found[group] for group in reserved if group in found]
    shown = [
        row
        for row in [*attributed, *order]
        if row["n_members"] and row["tci"] is not None and row["flag"] != "no_denominator"
    ]
    ends = _ends(rows["intervals"])
    chart = ratios(
        [
            RatioRow(
                _name(row),
                row["n_members"],
                tuple(_whisker(row, name, ends) for name in INDICES),
                bool(row["flag"]),
            )
            for row in shown
        ],
        _HEADINGS,
        title=f"Total cost, resource use and price, {year}",
        description=(
            "Points are indices against the peer, which is 1; thick lines 80 % intervals, thin "
            "lines 95 %. Hollow points have few members. All values stand in the table that "
            "follows."
        ),
    )
    return {
        "peer": order[0]["peer"] if order else attributed[0]["peer"],
        "chart": chart if shown else None,
        "table": [_group(row, drivers[row["scope"], row["scope_id"]]) for row in shown],
        "printed": _PRINTED,
        "n_held_back": sum(row["tci"] is None for row in [*attributed, *order]),
        "dimensions": [
            (heading, _items(drivers["attributed", "attributed"], dimension))
            for heading, dimension in (
                ("Category of service", "service_category"),
                ("Condition group", "condition_group"),
            )
        ],
    }


def _name(row: Row) -> str:
    if row["scope"] == "attributed":
        return "All partnerships"
    group = str(row["scope_id"])
    return group.capitalize() if group in (COMPARISON, UNATTRIBUTED) else group


def _ends(intervals: Sequence[Row]) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Ends of percentile intervals by scope, id, measure and level."""
    return {
        (row["scope"], row["partnership_id"], row["measure"], round(row["level"], 4)): (
            row["low"], row["high"],
        )
        for row in intervals
        if row["method"] == "percentile" and row["measure"] in INDICES and row["low"] is not None
    }  # fmt: skip


def _whisker(row: Row, name: str, ends: dict[tuple[Any, ...], tuple[float, float]]) -> Whisker:
    inner, outer = (
        ends.get((row["scope"], row["scope_id"], name, level)) for level in (INNER, OUTER)
    )
    return Whisker(row[name], inner, outer)


def _group(row: Row, drivers: Sequence[Row]) -> Row:
    """A row of the table: indices, cost and difference per member month, its largest categories."""
    of_all = [d for d in drivers if d["dimension"] == "service_category"]
    own = [d for d in of_all if d["difference_usd"] is not None]

    def total(name: str) -> str:
        return numbers.HELD if len(own) < len(of_all) else _usd(sum(d[name] for d in own))

    largest = sorted(own, key=lambda d: -abs(d["difference_usd"]))[:_LARGEST]
    return {
        "name": _name(row),
        "n_members": numbers.count(row["n_members"]),
        "flagged": bool(row["flag"]),
        "n_truncated": numbers.held_back(row["n_truncated"]),
        "risk": f"{row['risk_mean']:.3f}",
        "indices": [f"{row[name]:.3f}" for name in INDICES],
        "pmpm": numbers.usd(row["cost_cents"] / row["member_months"], places=2),
        "difference": total("difference_usd"),
        "parts": [total(part) for part in PARTS],
        "largest": [f"{numbers.label(d['item'])} {_usd(d['difference_usd'])}" for d in largest],
    }


def _items(drivers: Sequence[Row], dimension: str) -> list[Row]:
    """Items of a dimension, those with the largest difference first."""
    own = [d for d in drivers if d["dimension"] == dimension]
    return [
        {
            "item": numbers.label(d["item"]),
            "services": numbers.held_back(d["services"]),
            "values": [
                numbers.HELD if d[name] is None else _usd(d[name])
                for name in ("difference_usd", *PARTS)
            ],
        }
        for d in sorted(own, key=lambda d: (-abs(d["difference_usd"] or 0), d["item"]))
    ]


def _usd(dollars: float) -> str:
    """Dollars with their sign, to the cent."""
    return numbers.usd(dollars * 100, places=2, plus=True)
