"""Ratios to one: several of a group side by side, each with its intervals around 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ihp_compute.report import numbers
from ihp_compute.report.charts.sheet import ROW, Chart, Sheet, Whisker, draw_whisker, scale_of


@dataclass(frozen=True)
class RatioRow:
    """One group: its name, size and ratios, one a panel."""

    name: str
    n_members: int
    ratios: tuple[Whisker, ...]
    flagged: bool


def ratios(
    rows: Sequence[RatioRow], headings: Sequence[tuple[str, str]], *, title: str, description: str
) -> Chart:
    """Panels of points with intervals, on one scale in whose middle 1 stands.

    Parameters
    ----------
    rows : sequence of RatioRow
        From top to bottom.
    headings : sequence of (str, str)
        Of each panel, and a note below it.
    title, description : str
        For a reader who does not see the chart.

    Returns
    -------
    Chart
        A hollow point is flagged. A whisker that leaves the scale ends in an arrow head.
    """
    width, top, first = 1080, 64, 236
    step = (width - first) / len(headings)
    bottom = top + ROW * len(rows)
    sheet = Sheet(width, bottom + 34, title, description)
    about = [_about_one(ratio) for row in rows for ratio in row.ratios]
    scales = [
        scale_of(about, first + step * k, first + step * (k + 1) - 76, least=0.05, most=0.35)
        for k in range(len(headings))
    ]
    sheet.text(0, top - 10, "Group", "note")
    sheet.text(214, top - 10, "Members", "note", anchor="end")
    for scale, (heading, note) in zip(scales, headings, strict=True):
        middle = (scale.left + scale.right) / 2
        sheet.text(middle, 16, heading, "head", anchor="middle")
        sheet.text(middle, 33, note, "note", anchor="middle")
        for tick in scale.ticks(4):
            x = scale(tick)
            sheet.line(x, top - 4, x, bottom, "zero" if tick == 0 else "grid")
            sheet.text(x, bottom + 16, f"{1 + tick:.2f}", "tick", anchor="middle")
    for index, row in enumerate(rows):
        y = top + ROW * index + ROW / 2
        if index % 2 == 1:
            sheet.box(0, y - ROW / 2, width, ROW, "stripe")
        mark = "\N{DAGGER}" if row.flagged else ""
        sheet.text(0, y + 4, row.name, room=19)
        sheet.text(214, y + 4, numbers.count(row.n_members) + mark, "figure", anchor="end")
        for scale, ratio in zip(scales, row.ratios, strict=True):
            tone = "loss" if ratio.point > 1 else "gain"
            draw_whisker(sheet, scale, _about_one(ratio), y, tone, solid=not row.flagged)
            sheet.text(
                scale.right + 60, y + 4, f"{ratio.point:.3f}", f"figure {tone}", anchor="end"
            )
    return sheet.done()


def _about_one(ratio: Whisker) -> Whisker:
    """A ratio less 1, as scales hold zero."""
    inner, outer = (
        None if ends is None else (ends[0] - 1, ends[1] - 1) for ends in (ratio.inner, ratio.outer)
    )
    return Whisker(ratio.point - 1, inner, outer)
