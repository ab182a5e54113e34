"""Dumbbell chart: a rate in the base year and in the performance year, for each group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ihp_compute.report.charts.sheet import ROW, Chart, Scale, Sheet

_AWAY: Final = 6
"""How far from its point an interval is drawn."""


@dataclass(frozen=True)
class Dumbbell:
    """A group's value in the base and in the performance year; None: held back or undefined.

    `before_ends` and `after_ends` are ends of intervals, where there are some.
    """

    name: str
    before: float | None
    after: float | None
    before_ends: tuple[float, float] | None = None
    after_ends: tuple[float, float] | None = None

    @property
    def points(self) -> list[float]:
        """Both values, as far as there are."""
        return [value for value in (self.before, self.after) if value is not None]

    @property
    def ends(self) -> list[float]:
        """All ends of intervals."""
        return [end for pair in (self.before_ends, self.after_ends) if pair for end in pair]


def dumbbells(
    panels: Sequence[tuple[str, Callable[[float], str], Sequence[Dumbbell]]],
    *,
    years: tuple[str, str],
    title: str,
    description: str,
) -> Chart:
    """Two years of several rates side by side, one row per group.

    An interval is a thin line, of the base year above the points and of the performance year below
    them; what leaves the scale is cut off there.

    Parameters
    ----------
    panels : sequence of (heading, writer of a value, rows)
        Every panel has the same groups in the same order.
    years : (str, str)
        What the hollow and the filled point stand for.
    title, description : str
        For a reader who does not see the chart.

    Returns
    -------
    Chart
    """
    width, top, label_width, gap = 1080, 56, 150, 36
    names = [row.name for row in panels[0][2]] if panels else []
    bottom = top + ROW * len(names)
    sheet = Sheet(width, bottom + 30, title, description)
    each = (width - label_width - gap * len(panels)) / max(len(panels), 1)
    for index, name in enumerate(names):
        y: float = top + ROW * index
        if index % 2 == 1:
            sheet.box(0, y, width, ROW, "stripe")
        sheet.text(0, y + ROW / 2 + 4, name, room=20)
    sheet.dot(5, 32, 4, "hollow neutral")
    sheet.text(14, 36, years[0], "note")
    sheet.dot(65, 32, 4, "solid neutral")
    sheet.text(74, 36, years[1], "note")
    for panel, (heading, words, rows) in enumerate(panels):
        left = label_width + gap + panel * (each + gap)
        scale = Scale(*_range(rows), left, left + each)
        sheet.text(left + each / 2, 16, heading, "head", anchor="middle")
        for tick in scale.ticks(4):
            sheet.line(scale(tick), top - 4, scale(tick), bottom, "grid")
            sheet.text(scale(tick), bottom + 16, words(tick), "tick", anchor="middle")
        for index, row in enumerate(rows):
            y = top + ROW * index + ROW / 2
            for ends, at in ((row.before_ends, y - _AWAY), (row.after_ends, y + _AWAY)):
                if ends is not None:
                    sheet.line(scale(ends[0]), at, scale(ends[1]), at, "outer none")
            if row.before is not None and row.after is not None:
                tone = "loss" if row.after > row.before else "gain"
                sheet.line(scale(row.before), y, scale(row.after), y, f"inner {tone}")
            if row.before is not None:
                sheet.dot(scale(row.before), y, 4, "hollow neutral")
            if row.after is not None:
                sheet.dot(scale(row.after), y, 4, "solid neutral")
            if row.before is None and row.after is None:
                sheet.text(left + each / 2, y + 4, "held back", "tick", anchor="middle")
    return sheet.done()


def _range(rows: Sequence[Dumbbell]) -> tuple[float, float]:
    """What a scale shows: every point, and intervals no further than the points lie apart."""
    points = [value for row in rows for value in row.points]
    low, high = min(points, default=0.0), max(points, default=1.0)
    ends = [end for row in rows for end in row.ends]
    room = high - low
    first = max(min([low, *ends]), low - room)
    last = min(max([high, *ends]), high + room)
    margin = (last - first) * 0.08 or max(last, 1.0) * 0.05
    return max(first - margin, 0.0), last + margin
