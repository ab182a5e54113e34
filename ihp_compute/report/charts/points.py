"""Points from 0 to 1 as bars, a row a partnership, beside its score with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ihp_compute.report.charts.sheet import ROW, Chart, Scale, Sheet, Whisker, draw_whisker


@dataclass(frozen=True)
class PointsBar:
    """What a measure earned.

    Attributes
    ----------
    attainment, points : float
        From 0 to 1; what points are more than attainment is improvement.
    instead : str
        What stands in place of a bar, in a word or two; empty: the bar.
    """

    attainment: float = 0.0
    points: float = 0.0
    instead: str = ""


@dataclass(frozen=True)
class PointsRow:
    """A row: its name, its score, and a bar for each measure; a score of None has no mark."""

    name: str
    score: Whisker | None
    bars: Sequence[PointsBar] = field(default=())


def points_chart(
    measures: Sequence[str], rows: Sequence[PointsRow], *, title: str, description: str
) -> Chart:
    """Scores and points side by side, every column on one scale from 0 to 1.

    Parameters
    ----------
    measures : sequence of str
        Headings of the bars.
    rows : sequence of PointsRow
        From top to bottom, each with a bar for every measure.
    title, description : str
        For a reader who does not see the chart.

    Returns
    -------
    Chart
    """
    width, label_width, top, gap, edge = 1080, 150, 34, 22, 8
    bottom = top + ROW * len(rows)
    sheet = Sheet(width, bottom + 24, title, description)
    each = (width - label_width - edge) / (1 + len(measures)) - gap
    lefts = [label_width + gap + k * (each + gap) for k in range(1 + len(measures))]
    for index in range(1, len(rows), 2):
        sheet.box(0, top + ROW * index, width, ROW, "stripe")
    for heading, left in zip(("Score", *measures), lefts, strict=True):
        scale = Scale(0.0, 1.0, left, left + each)
        sheet.text(left, 16, heading, "head", room=max(4, int(each / 7.2)))
        for tick in (0.0, 0.5, 1.0):
            sheet.line(scale(tick), top - 4, scale(tick), bottom, "zero" if tick == 0 else "grid")
        for tick in (0.0, 1.0):
            sheet.text(scale(tick), bottom + 16, f"{tick:.0f}", "tick", anchor="middle")
    for index, row in enumerate(rows):
        y = top + ROW * index + ROW / 2
        sheet.text(0, y + 4, row.name, room=20)
        if row.score is not None:
            scale = Scale(0.0, 1.0, lefts[0], lefts[0] + each)
            draw_whisker(sheet, scale, row.score, y, "gain", solid=row.score.outer is not None)
        for bar, left in zip(row.bars, lefts[1:], strict=True):
            if bar.instead:
                sheet.text(left + 4, y + 4, bar.instead, "tick")
                continue
            attained = each * bar.attainment
            sheet.box(left, y - 6, attained, 12, "up")
            sheet.box(left + attained, y - 6, each * bar.points - attained, 12, "down")
    return sheet.done()
