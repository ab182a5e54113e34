"""The report's charts: static SVG that needs no script, no font file and no network.

    rows of numbers -> a scale -> an element tree -> markup

Every chart is an element tree, so names from the data are escaped by construction, and carries a
title and a description that state its content in words. Colours are classes, resolved by the
page's style sheet for light, dark and print. Rows run down the page in the order given, so that a
chart reads like the table beside it; amounts are written, not only drawn.

Not here: what is drawn and in which order (`report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ihp_compute.report import numbers
from ihp_compute.report.charts.sheet import ROW, Chart, Scale, Sheet, money_tick


@dataclass(frozen=True)
class Bar:
    """A step of a waterfall, in cents: a level (no `start`) or a change from it to `end`."""

    name: str
    amount: float
    end: float
    start: float | None = None
    outcome: bool = False  # the line the reader looks for: drawn strongly


def waterfall(bars: Sequence[Bar], *, title: str, description: str, from_zero: bool) -> Chart:
    """Steps down the page: levels are marks, changes are bars between them.

    A level is a mark and not a bar, so that a scale which does not begin at zero deceives nobody.

    Parameters
    ----------
    bars : sequence of Bar
        In the contract's order.
    title, description : str
        For a reader who does not see the chart.
    from_zero : bool
        Whether zero must be on the scale.

    Returns
    -------
    Chart
    """
    width, top, left, right = 516, 8, 146, 398
    sheet = Sheet(width, top + ROW * len(bars) + 26, title, description)
    values = [b.end for b in bars] + [b.start for b in bars if b.start is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = (high - low) * 0.06 or max(abs(high), 1.0) * 0.02
    scale = Scale(
        low if from_zero and low == 0 else low - margin,
        high if from_zero and high == 0 else high + margin,
        left,
        right,
    )
    bottom = top + ROW * len(bars)
    for tick in scale.ticks(3):
        sheet.line(scale(tick), top, scale(tick), bottom, "zero" if tick == 0 else "grid")
        sheet.text(scale(tick), bottom + 16, money_tick(tick), "tick", anchor="middle")
    if not from_zero:
        sheet.path(
            [
                (left - 8, bottom),
                (left - 5, bottom - 5),
                (left - 2, bottom + 5),
                (left + 1, bottom),
            ],
            "break",
        )
    for index, bar in enumerate(bars):
        y = top + ROW * index + ROW / 2
        strong = "strong" if bar.outcome else ""
        sheet.text(0, y + 4, bar.name, strong, room=22)
        words = numbers.usd(bar.amount, plus=bar.start is not None)
        sheet.text(width, y + 4, words, f"figure {strong}".strip(), anchor="end")
        if bar.start is None:
            sheet.line(scale(bar.end), y - 8, scale(bar.end), y + 8, "level")
        else:
            tone = "up" if bar.end >= bar.start else "down"
            x1, x2 = sorted((scale(bar.start), scale(bar.end)))
            sheet.box(x1, y - 6, max(x2 - x1, 1.0), 12, tone)
        if index + 1 < len(bars):
            following = bars[index + 1]
            if following.start is not None or following.end == bar.end:
                sheet.line(scale(bar.end), y + 8, scale(bar.end), y + ROW - 8, "joint")
    return sheet.done()
