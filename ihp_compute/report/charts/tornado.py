"""What each of several terms moves by itself: one bar a term, the longest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ihp_compute.report import numbers
from ihp_compute.report.charts.sheet import ROW, Chart, Scale, Sheet, money_tick


@dataclass(frozen=True)
class Swing:
    """What a result comes to, in cents, over the values of one term, with the values in words."""

    name: str
    low_cents: int
    high_cents: int
    at_low: str
    at_high: str


def tornado(swings: Sequence[Swing], *, around_cents: int, title: str, description: str) -> Chart:
    """Bars about the result from which each term moves alone.

    Parameters
    ----------
    swings : sequence of Swing
    around_cents : int
        The result where no term moves.
    title, description : str
        For a reader who does not see the chart.

    Returns
    -------
    Chart
    """
    width, left, right = 860, 230, 640
    rows = sorted(swings, key=lambda one: one.low_cents - one.high_cents)
    sheet = Sheet(width, ROW * len(rows) + 40, title, description)
    values = [around_cents, *(v for one in rows for v in (one.low_cents, one.high_cents))]
    margin = (max(values) - min(values)) * 0.04 or 100
    scale = Scale(min(values) - margin, max(values) + margin, left, right)
    bottom = ROW * len(rows) + 8
    for tick in scale.ticks(5):
        sheet.line(scale(tick), 4, scale(tick), bottom, "grid")
        sheet.text(scale(tick), bottom + 16, money_tick(tick), "tick", anchor="middle")
    for n, one in enumerate(rows):
        y = 8 + ROW * n
        sheet.text(left - 10, y + 14, one.name, anchor="end", room=34)
        low, middle, high = (scale(v) for v in (one.low_cents, around_cents, one.high_cents))
        sheet.box(low, y + 4, middle - low, 12, "down")
        sheet.box(middle, y + 4, high - middle, 12, "up")
        ends = f"{numbers.usd_short(one.low_cents)} to {numbers.usd_short(one.high_cents)}"
        sheet.text(right + 10, y + 14, f"{ends} ({one.at_low} … {one.at_high})", "figure", room=32)
    sheet.line(scale(around_cents), 4, scale(around_cents), bottom, "zero")
    return sheet.done()
