"""Quality as the page shows it: scores with their intervals, points by measure, what they moved.

Of an open form the measures that are not hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.measure import QUALITY_FLAGS
from ihp_compute.report import numbers
from ihp_compute.report.charts import Chart, PointsBar, PointsRow, Whisker, points_chart
from ihp_compute.report.rows import Row, RowsOf

PER_CHART: Final = 7
"""Measures side by side."""
_FROM: Final[Mapping[str, str]] = {
    "": "measures",
    "supplied": "supplied",
    "prior": "an earlier year",
    "filled_full": "none: share whole",
    "filled_none": "none: score 0",
    "filled_average": "none: mean of the contract's",
}
_INSTEAD: Final[Mapping[str, str]] = {"small_denominator": "few cases", "not_a_share": "no share"}


def quality_section(rows: RowsOf) -> dict[str, Any] | None:
    """Scores, charts of points, and measures one by one; None where nobody has quality."""
    scores, of_all = rows["quality"], rows["quality_measures"]
    measures = [row for row in of_all if None not in row.values()]  # hidden cells are None
    held = len(measures) < len(of_all) or rows.n_hidden("quality_measures") > 0
    if not scores and not of_all:
        return None
    return {
        "scores": [_score_row(row) for row in scores],
        "made": any(row["flag"] == "" for row in scores),
        "moved_cents": None
        if rows.n_hidden("quality")
        else numbers.summed(row["share_cents"] for row in scores),
        "charts": _charts(scores, measures, held=held),
        "measures": [_measure_row(row) for row in measures],
        "from_claims": any(row["source"] == "claims" for row in measures),
        "flags": {
            flag.replace("_", " "): QUALITY_FLAGS[flag]
            for flag in QUALITY_FLAGS
            if any(row["flag"] == flag for row in measures)
        },
    }


def _score_row(row: Row) -> Row:
    """A score in words; one that is hidden is said to be."""
    score, ends = row["score"], (row["low"], row["high"])
    if row["flag"] is None or (score is None and row["flag"] != "filled_full"):
        return {**row, "words": numbers.HELD, "interval": numbers.HELD, "from": numbers.DASH}
    made = not row["flag"] and None not in ends
    return {
        **row,
        "words": numbers.DASH if row["flag"] == "filled_full" else f"{score:.4f}",
        "interval": f"{ends[0]:.3f} to {ends[1]:.3f}" if made else numbers.DASH,
        "from": _FROM[row["flag"]],
    }


def _charts(scores: Sequence[Row], measures: Sequence[Row], *, held: bool) -> list[Chart]:
    """Charts of so many measures each, by domain and name; `held`: some are hidden."""
    names = list(
        dict.fromkeys(
            (row["domain"], row["measure"])
            for row in sorted(measures, key=lambda row: (row["domain"], row["measure"]))
        )
    )
    own = {(row["partnership_id"], row["domain"], row["measure"]): row for row in measures}
    whiskers = {row["partnership_id"]: _whisker(row) for row in scores}
    order = list(dict.fromkeys(sorted([*whiskers, *(row["partnership_id"] for row in measures)])))
    found = []
    for first in range(0, len(names), PER_CHART):
        shown = names[first : first + PER_CHART]
        found.append(
            points_chart(
                [f"{name} *" if _from_claims(measures, name) else name for _, name in shown],
                [
                    PointsRow(
                        partnership,
                        whiskers.get(partnership),
                        [_bar(own.get((partnership, *name)), held=held) for name in shown],
                    )
                    for partnership in order
                ],
                title="Quality: scores and points by measure",
                description=(
                    "Scores with their 95 per cent interval, and bars of the points of each "
                    "measure from 0 to 1. All values stand in the tables beside it."
                ),
            )
        )
    return found


def _from_claims(measures: Sequence[Row], name: str) -> bool:
    return any(row["measure"] == name and row["source"] == "claims" for row in measures)


def _whisker(row: Row) -> Whisker | None:
    if row["flag"] == "filled_full" or None in (row["score"], row["low"], row["high"]):
        return None
    return Whisker(row["score"], outer=(row["low"], row["high"]) if not row["flag"] else None)


def _bar(row: Row | None, *, held: bool) -> PointsBar:
    if row is None:
        return PointsBar(instead=numbers.HELD if held else numbers.DASH)
    if not row["counted"]:
        return PointsBar(instead=_INSTEAD[row["flag"]])
    return PointsBar(row["attainment"], row["points"])


def _measure_row(row: Row) -> Row:
    """A measure's numbers in words; a dash where it has none."""
    shown = row["counted"]

    def rate(name: str, *, there: bool = True) -> str:
        return numbers.percent(row[name], places=1) if shown and there else numbers.DASH

    has_prior = row["flag"] != "no_prior" and bool(row["prior_rate"] or row["improvement"])
    return {
        **row,
        "rate": (
            numbers.percent(row["numerator"] / row["denominator"], places=1)
            if row["denominator"]
            else numbers.DASH
        ),
        "prior": rate("prior_rate", there=has_prior),
        "ends": f"{rate('floor')} to {rate('ceiling')}" if shown else numbers.DASH,
        "points_words": f"{row['points']:.3f}" if shown else numbers.DASH,
        "weight_words": numbers.percent(row["weight"], places=1),
        "why": "" if row["counted"] else row["flag"].replace("_", " "),
    }
