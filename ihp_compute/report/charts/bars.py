"""Bars of cents by year, each with its interval as a line over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ihp_compute.report import numbers
from ihp_compute.report.charts.sheet import Chart, Sheet, Whisker, money_tick, scale_of

_ROW = 34


@dataclass(frozen=True)
class YearBar:
    """A year's amount in cents with its outer interval; None: held back."""

    name: str
    amount: Whisker | None


def year_bars(rows: Sequence[YearBar], *, title: str, description: str) -> Chart:
    """One bar a row from zero to the amount, on one scale that holds zero and every interval.

    Parameters
    ----------
    rows : sequence of YearBar
        From top to bottom.
    title, description : str
        For a reader who does not see the chart.

    Returns
    -------
    Chart
    """
    width, top, left, right = 860, 8, 70, 730
    bottom = top + _ROW * len(rows)
    sheet = Sheet(width, bottom + 26, title, description)
    shown = [row.amount for row in rows if row.amount is not None]
    scale = scale_of(shown, left, right, least=100_00, most=None)
    for tick in scale.ticks(6):
        sheet.line(scale(tick), top, scale(tick), bottom, "zero" if tick == 0 else "grid")
        sheet.text(scale(tick), bottom + 16, money_tick(tick), "tick", anchor="middle")
    for index, row in enumerate(rows):
        y = top + _ROW * index + _ROW / 2
        sheet.text(0, y + 4, row.name, "strong")
        if row.amount is None:
            sheet.text(scale(0) + 6, y + 4, "held back", "tick")
            continue
        point = row.amount.point
        x1, x2 = sorted((scale(0), scale(point)))
        sheet.box(x1, y - 8, max(x2 - x1, 1.0), 16, "up" if point >= 0 else "down")
        if row.amount.outer is not None:
            low, high = (scale(end) for end in row.amount.outer)
            sheet.line(low, y, high, y, "level")
            for x in (low, high):
                sheet.line(x, y - 5, x, y + 5, "level")
        tone = "gain" if point >= 0 else "loss"
        sheet.text(width, y + 4, numbers.usd(point), f"figure {tone}", anchor="end")
    return sheet.done()
