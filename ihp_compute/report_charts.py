"""The report's charts: static SVG that needs no script, no font file and no network.

    rows of numbers -> a scale -> an element tree -> markup

Every chart is an element tree, so names from the data are escaped by construction, and carries a
title and a description that state its content in words. Colours are classes, resolved by the
page's style sheet for light, dark and print. Rows run down the page in the order given, so that a
chart reads like the table beside it; amounts are written, not only drawn.

Not here: what is drawn and in which order (`report`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

from ihp_compute import figures

ROW: Final = 22
"""Height of a chart row; the unit is a CSS pixel at full width."""


@dataclass(frozen=True)
class Whisker:
    """A point with its inner (80 %) and outer (95 %) interval; None where there is none."""

    point: float
    inner: tuple[float, float] | None = None
    outer: tuple[float, float] | None = None


@dataclass(frozen=True)
class ForestRow:
    """One partnership in the forest: what it saved, what it is paid, how sure either is."""

    name: str
    n_members: int
    rate: Whisker
    payment: Whisker
    gates: tuple[float | None, float | None]  # savings rates at which gain and loss begin to settle
    passed: bool
    flagged: bool


@dataclass(frozen=True)
class Bar:
    """A step of a waterfall, in cents: a level (no `start`) or a change from it to `end`."""

    name: str
    amount: float
    end: float
    start: float | None = None
    outcome: bool = False  # the line the reader looks for: drawn strongly


@dataclass(frozen=True)
class Dumbbell:
    """A group's value in the base and in the performance year; None: held back or undefined."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Chart:
    """Finished markup; `__html__` lets a template insert it without escaping it again."""

    tree: ET.Element
    width: int
    title: str
    description: str = field(repr=False)

    def __html__(self) -> str:
        """The SVG element as text."""
        return ET.tostring(self.tree, encoding="unicode")


class _Sheet:
    """A drawing surface: elements in pixels from the top left corner."""

    def __init__(self, width: int, height: float, title: str, description: str) -> None:
        self.width, self.title, self.description = width, title, description
        self.root = ET.Element(
            "svg",
            {
                "class": "chart",
                "role": "img",
                "viewBox": f"0 0 {width} {_n(height)}",
                "width": str(width),
                "height": _n(height),
                "aria-label": f"{title}. {description}",
            },
        )
        ET.SubElement(self.root, "title").text = title
        ET.SubElement(self.root, "desc").text = description

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        ET.SubElement(
            self.root,
            "line",
            {"class": kind, "x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2)},
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        ET.SubElement(
            self.root,
            "rect",
            {
                "class": kind,
                "x": _n(x),
                "y": _n(y),
                "width": _n(max(width, 0.0)),
                "height": _n(height),
            },
        )

    def dot(self, x: float, y: float, radius: float, kind: str, title: str = "") -> None:
        circle = ET.SubElement(
            self.root, "circle", {"class": kind, "cx": _n(x), "cy": _n(y), "r": _n(radius)}
        )
        if title:
            ET.SubElement(circle, "title").text = title

    def path(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        steps = " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        ET.SubElement(self.root, "path", {"class": kind, "d": f"M{steps}"})

    def text(
        self,
        x: float,
        y: float,
        words: str,
        kind: str = "",
        *,
        anchor: str = "start",
        room: int = 0,
    ) -> None:
        """Write words at a base line; with `room`, at most so many characters, all in a title."""
        attributes = {"x": _n(x), "y": _n(y), "text-anchor": anchor}
        if kind:
            attributes["class"] = kind
        element = ET.SubElement(self.root, "text", attributes)
        element.text = words
        if room and len(words) > room:
            element.text = words[: room - 1] + "\N{HORIZONTAL ELLIPSIS}"
            ET.SubElement(element, "title").text = words

    def done(self) -> Chart:
        return Chart(self.root, self.width, self.title, self.description)


@dataclass(frozen=True)
class Scale:
    """A linear scale from values in `low`…`high` to pixels in `left`…`right`.

    >>> Scale(0, 10, 100, 200)(5), Scale(0, 10, 100, 200)(99)
    (150.0, 200.0)
    """

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        """The pixel of a value, held at the ends of the scale."""
        span = (self.high - self.low) or 1.0
        share = (min(max(value, self.low), self.high) - self.low) / span
        return self.left + share * (self.right - self.left)

    def ticks(self, about: int = 6) -> list[float]:
        """Round values inside the scale.

        >>> Scale(-0.031, 0.062, 0, 1).ticks()
        [-0.02, 0.0, 0.02, 0.04, 0.06]
        """
        step = _round_step((self.high - self.low) / max(about, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def forest(rows: Sequence[ForestRow], *, title: str, description: str) -> Chart:
    """Savings rate and payment of each partnership with their intervals, on two shared scales.

    Parameters
    ----------
    rows : sequence of ForestRow
        From top to bottom.
    title, description : str
        Stand in the markup for a reader who does not see the chart.

    Returns
    -------
    Chart
        A filled point passed its gate, a hollow one did not. A whisker that leaves the scale
        ends in an arrow head.
    """
    width, top = 1080, 64
    bottom = top + ROW * len(rows)
    sheet = _Sheet(width, bottom + 34, title, description)
    rate = _scale([r.rate for r in rows], 236, 590, least=0.02, most=0.30)
    money = _scale([r.payment for r in rows], 706, 958, least=100_00, most=None)

    sheet.text(rate(0.0) if rate.low <= 0 <= rate.high else rate.left, 14, "")
    sheet.text(
        (rate.left + rate.right) / 2, 16, "Savings rate: is it real?", "head", anchor="middle"
    )
    sheet.text(
        (rate.left + rate.right) / 2, 33, "target drawn with the members", "note", anchor="middle"
    )
    sheet.text(
        (money.left + money.right) / 2, 16, "Payment: what shall be paid?", "head", anchor="middle"
    )
    sheet.text(
        (money.left + money.right) / 2, 33, "under the target as signed", "note", anchor="middle"
    )
    sheet.text(0, top - 10, "Partnership", "note")
    sheet.text(214, top - 10, "Members", "note", anchor="end")
    sheet.text(660, top - 10, "Rate", "note", anchor="end")
    sheet.text(width, top - 10, "Payment", "note", anchor="end")

    for scale, words in ((rate, _percent_tick), (money, _money_tick)):
        for tick in scale.ticks(5):
            x = scale(tick)
            sheet.line(x, top - 4, x, bottom, "zero" if tick == 0 else "grid")
            sheet.text(x, bottom + 16, words(tick), "tick", anchor="middle")
    for index in range(len(rows)):
        y = top + ROW * index + ROW / 2
        if index % 2 == 1:
            sheet.box(0, y - ROW / 2, width, ROW, "stripe")
    for index, row in enumerate(rows):
        y = top + ROW * index + ROW / 2
        mark = "\N{DAGGER}" if row.flagged else ""
        sheet.text(0, y + 4, row.name, room=19)
        sheet.text(214, y + 4, figures.count(row.n_members) + mark, "figure", anchor="end")
        for gate in row.gates:
            if gate is not None and rate.low <= gate <= rate.high:
                sheet.line(rate(gate), y - ROW / 2, rate(gate), y + ROW / 2, "gate")
        tone = "gain" if row.rate.point >= 0 else "loss"
        _whisker(sheet, rate, row.rate, y, tone, solid=row.passed)
        sheet.text(660, y + 4, figures.percent(row.rate.point), f"figure {tone}", anchor="end")
        paid = "gain" if row.payment.point > 0 else "loss" if row.payment.point < 0 else "none"
        _whisker(sheet, money, row.payment, y, paid, solid=row.payment.point != 0)
        sheet.text(width, y + 4, figures.usd(row.payment.point), f"figure {paid}", anchor="end")
    return sheet.done()


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
    width, top, left, right = 540, 8, 148, 420
    sheet = _Sheet(width, top + ROW * len(bars) + 26, title, description)
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
        sheet.text(scale(tick), bottom + 16, _money_tick(tick), "tick", anchor="middle")
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
        words = figures.usd(bar.amount, plus=bar.start is not None)
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


def dumbbells(
    panels: Sequence[tuple[str, Callable[[float], str], Sequence[Dumbbell]]],
    *,
    years: tuple[str, str],
    title: str,
    description: str,
) -> Chart:
    """Two years of several rates side by side, one row per group.

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
    sheet = _Sheet(width, bottom + 30, title, description)
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
        shown = [v for row in rows for v in (row.before, row.after) if v is not None]
        low, high = min(shown, default=0.0), max(shown, default=1.0)
        margin = (high - low) * 0.08 or max(high, 1.0) * 0.05
        scale = Scale(max(low - margin, 0.0), high + margin, left, left + each)
        sheet.text(left + each / 2, 16, heading, "head", anchor="middle")
        for tick in scale.ticks(4):
            sheet.line(scale(tick), top - 4, scale(tick), bottom, "grid")
            sheet.text(scale(tick), bottom + 16, words(tick), "tick", anchor="middle")
        for index, row in enumerate(rows):
            y = top + ROW * index + ROW / 2
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


def _whisker(
    sheet: _Sheet, scale: Scale, whisker: Whisker, y: float, tone: str, *, solid: bool
) -> None:
    for interval, kind in ((whisker.outer, "outer"), (whisker.inner, "inner")):
        if interval is None:
            continue
        low, high = interval
        sheet.line(scale(low), y, scale(high), y, f"{kind} {tone}")
        if kind == "outer":
            for end, way in ((low, -1), (high, 1)):
                if not scale.low <= end <= scale.high:
                    x = scale(end)
                    sheet.path(
                        [(x - 5 * way, y - 4), (x, y), (x - 5 * way, y + 4)], f"arrow {tone}"
                    )
    sheet.dot(scale(whisker.point), y, 4, f"{'solid' if solid else 'hollow'} {tone}")


def _scale(
    whiskers: Sequence[Whisker], left: float, right: float, *, least: float, most: float | None
) -> Scale:
    """A scale that holds zero and every whisker, but not beyond `most` either side."""
    values = [0.0]
    for whisker in whiskers:
        values.append(whisker.point)
        values.extend(whisker.outer or ())
    low, high = min(*values, -least), max(*values, least)
    if most is not None:
        low, high = max(low, -most), min(high, most)
    margin = (high - low) * 0.03
    return Scale(low - margin, high + margin, left, right)


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `rough`."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(
        step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= rough * 0.999
    )


def _percent_tick(value: float) -> str:
    places = 0 if abs(value * 100 - round(value * 100)) < 1e-6 else 1
    return figures.percent(value, places=places)


def _money_tick(cents: float) -> str:
    if cents == 0:
        return "0"
    for scale, name in ((100_000_000_000, "bn"), (100_000_000, "m"), (100_000, "k"), (100, "")):
        if abs(cents) >= scale:
            value = f"{abs(cents) / scale:,.3f}".rstrip("0").rstrip(".")
            return f"{figures.MINUS if cents < 0 else ''}${value} {name}".rstrip()
    return figures.usd(cents, places=2)


def _n(value: float) -> str:
    """A coordinate with a tenth of a pixel, without trailing zeros."""
    return f"{value:.1f}".rstrip("0").rstrip(".") or "0"
