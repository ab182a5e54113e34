"""Multiples of one on logarithmic scales: several measures side by side, a row for each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ihp_compute.report.charts.sheet import ROW, Chart, Scale, Sheet, Whisker, draw_whisker

_TICKS: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
_MOST: Final = 4.0
_LEAST_SPAN: Final = 1.25
"""A scale holds at least from 1 over this to this, at most from a quarter to four."""


@dataclass(frozen=True)
class Multiple:
    """A ratio with its 95 % interval; fewer are wished for: -1, more: 1, neither: 0."""

    point: float
    low: float
    high: float
    wished: int = 0


def multiples(
    names: Sequence[str],
    panels: Sequence[tuple[str, Sequence[Multiple | None]]],
    *,
    title: str,
    description: str,
    heads: Sequence[int] = (),
) -> Chart:
    """Ratios on logarithmic scales around 1, one panel a measure.

    Parameters
    ----------
    names : sequence of str
        Of the rows, from top to bottom.
    panels : sequence of (heading, ratios)
        A ratio for each row; None: held back, or there is none.
    title, description : str
        For a reader who does not see the chart.
    heads : sequence of int
        Rows that stand at the edge, the others under them; none: all do.

    Returns
    -------
    Chart
        A filled point differs from 1 at 95 %, a hollow one does not. A whisker that leaves the
        scale ends in an arrow head.
    """
    width, top, label_width, gap = 1080, 34, 190, 30
    bottom = top + ROW * len(names)
    sheet = Sheet(width, bottom + 28, title, description)
    each = (width - label_width - gap * len(panels)) / max(len(panels), 1)
    for index, name in enumerate(names):
        y: float = top + ROW * index
        if index % 2 == 1:
            sheet.box(0, y, width, ROW, "stripe")
        is_under = heads and index not in heads
        sheet.text(12 if is_under else 0, y + ROW / 2 + 4, name, room=30)
    for panel, (heading, found) in enumerate(panels):
        left = label_width + gap + panel * (each + gap)
        scale = _scale([one for one in found if one is not None], left, left + each)
        sheet.text(left + each / 2, 16, heading, "head", anchor="middle")
        for tick in _TICKS:
            x = math.log(tick)
            if scale.low <= x <= scale.high:
                sheet.line(scale(x), top - 4, scale(x), bottom, "zero" if tick == 1 else "grid")
                sheet.text(scale(x), bottom + 16, f"{tick:g}", "tick", anchor="middle")
        for index, one in enumerate(found):
            if one is None:
                continue
            y = top + ROW * index + ROW / 2
            is_sure = not one.low <= 1 <= one.high
            draw_whisker(sheet, scale, _logs(one), y, _tone(one, is_sure), solid=is_sure)
    return sheet.done()


def _tone(one: Multiple, is_sure: bool) -> str:
    if not is_sure or not one.wished:
        return "none"
    return "gain" if (one.point > 1) == (one.wished > 0) else "loss"


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _logs(one: Multiple) -> Whisker:
    return Whisker(_log(one.point), outer=(_log(one.low), _log(one.high)))


def _scale(found: Sequence[Multiple], left: float, right: float) -> Scale:
    """A scale that holds 1 in its middle and every interval, as far as it may."""
    ends = [abs(_log(end)) for one in found for end in (one.low, one.high)]
    reach = min(max([*ends, math.log(_LEAST_SPAN)]), math.log(_MOST)) * 1.06
    return Scale(-reach, reach, left, right)
