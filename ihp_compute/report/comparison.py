"""Cost trends against the market, and what each alliance's members share, as the page shows them.

Growth of base to performance year with its comparators, the difference in points and in dollars
with 95 % intervals; pairs of further years stand in the table of the run. In the open form there is
no pool: parts of a payment add up to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.report import numbers
from ihp_compute.report.partnerships import OUTER
from ihp_compute.report.rows import Row, RowsOf

_SCOPES: Final = ("alliance", "member", "partnership")
_MEASURES: Final = ("growth_difference", "difference_cents")
_Ends = tuple[float, float]


def comparison_section(rows: RowsOf, manifest: Mapping[str, Any]) -> Row | None:
    """Trends of the run's two years and pools; None where nobody is compared and nothing split."""
    years = manifest["base_year"], manifest["performance_year"]
    found = [row for row in rows["comparison"] if (row["from_year"], row["to_year"]) == years]
    ends = _ends(rows["intervals"])
    found.sort(key=lambda row: (_SCOPES.index(row["scope"]), row["scope_id"], row["comparator"]))
    trends = [_trend(row, ends) for row in found]
    before: set[tuple[str, str]] = set()
    for trend in trends:  # on paper each against its first comparator
        whose = trend["scope"], trend["scope_id"]
        trend["is_printed"] = whose not in before
        before.add(whose)
    pools = [] if rows.form is not None else _pools(rows["pool"])
    if not trends and not pools:
        return None
    return {
        "trends": trends,
        "pools": pools,
        "n_unprinted": sum(not trend["is_printed"] for trend in trends),
        "n_held_back": rows.n_hidden("comparison"),
        "further": len(rows["comparison"]) - len(found),
    }


def _ends(rows: Sequence[Row]) -> dict[tuple[str, ...], _Ends]:
    """Percentile ends of 95 % by scope, id, item and measure."""
    keys = ("scope", "partnership_id", "item", "measure")
    return {
        tuple(row[key] for key in keys): (row["low"], row["high"])
        for row in rows
        if row["measure"] in _MEASURES and row["method"] == "percentile"
        if round(row["level"], 4) == OUTER
    }


def _trend(row: Row, ends: Mapping[tuple[str, ...], _Ends]) -> Row:
    item = f"{row['comparator']} {row['from_year']}-{row['to_year']}"
    points, cents = (
        ends.get((row["scope"], row["scope_id"], item, measure)) for measure in _MEASURES
    )
    growths = row["growth"], row["comparator_growth"]
    shown = [_or_held(growth, _percent_growth) for growth in growths]
    difference = None if None in growths else growths[0] - growths[1]
    return {
        "scope": row["scope"],
        "scope_id": row["scope_id"],
        "comparator": row["comparator"],
        "growth": shown[0],
        "comparator_growth": shown[1],
        "points": _or_held(difference, _points),
        "points_ends": _between(points, _points),
        "dollars": _or_held(row["difference_cents"], numbers.usd),
        "dollars_ends": _between(cents, numbers.usd),
        "is_gain": (row["difference_cents"] or 0) >= 0,
        "months_without_base": _or_held(row["months_without_base"], numbers.count),
    }


def _percent_growth(growth: float) -> str:
    return numbers.percent(growth - 1, plus=True)


def _points(difference: float) -> str:
    """A difference of growths in points.

    >>> _points(-0.0123)
    '−1.23'
    """
    return numbers.percent(difference, plus=True).removesuffix(" %")


def _or_held(value: Any, words: Any) -> str:
    return numbers.HELD if value is None else str(words(value))


def _between(ends: _Ends | None, words: Any) -> str:
    if ends is None or None in ends:
        return numbers.DASH
    return f"{words(ends[0])} to {words(ends[1])}"


def _pools(rows: Sequence[Row]) -> list[Row]:
    """Each alliance with its members in their order, and what they add up to."""
    by_alliance: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["position"]):
        by_alliance[row["alliance_id"]].append(row)
    return [
        {
            "alliance_id": name,
            "members": [
                {
                    "partnership_id": row["partnership_id"],
                    "share": _share(row["weight"], sum(one["weight"] for one in members)),
                    "amount": numbers.usd(row["amount_cents"], places=2),
                }
                for row in members
            ],
            "total": numbers.usd(sum(row["amount_cents"] for row in members), places=2),
        }
        for name, members in sorted(by_alliance.items())
    ]


def _share(weight: float, total: float) -> str:
    return numbers.percent(weight / total, places=1) if total else numbers.DASH
