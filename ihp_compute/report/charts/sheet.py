"""A chart's sheet: SVG marks, scales and ticks, and the whiskers of an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ihp_compute.report import numbers

ROW: Final = 22
"""Height of a chart row; the unit is a CSS pixel at full width."""


@dataclass(frozen=True)
class Whisker:
    """A point with its inner (80 %) and outer (95 %) interval; None where there is none."""

    point: float
    inner: tuple[float, float] | None = None
    outer: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Finished markup; `__html__` lets a template insert it without escaping it again."""

    markup: str = field(repr=False)
    width: int
    title: str
    description: str = field(repr=False)

    def __html__(self) -> str:
        """The SVG element as text."""
        return self.markup


_IN_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_IN_QUOTES: Final = _IN_TEXT | str.maketrans(
    {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}
)


class Sheet:
    """A drawing surface: elements in pixels from the top left corner.

    They are written as text at once, a page has thousands; kinds are words of the style sheet.
    """

    def __init__(self, width: int, height: float, title: str, description: str) -> None:
        self.width, self.title, self.description = width, title, description
        said = f"{title}. {description}".translate(_IN_QUOTES)
        tall = _n(height)
        svg = (
            f'<svg class="chart w{width}" role="img" viewBox="0 0 {width} {tall}" width="{width}"'
            f' height="{tall}" aria-label="{said}">'
        )
        self._parts = [svg, _element("title", title), _element("desc", description)]

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line."""
        self._parts.append(
            f'<line class="{kind}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" />'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A rectangle; a negative width is none."""
        self._parts.append(
            f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0.0))}"'
            f' height="{_n(height)}" />'
        )

    def dot(self, x: float, y: float, radius: float, kind: str, title: str = "") -> None:
        """A circle, with a title where given."""
        circle = f'<circle class="{kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"'
        self._parts.append(
            f"{circle}>{_element('title', title)}</circle>" if title else f"{circle} />"
        )

    def path(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        """Straight lines from point to point."""
        steps = " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._parts.append(f'<path class="{kind}" d="M{steps}" />')

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
        shown, whole = words, ""
        if room and len(words) > room:
            shown = words[: room - 1] + "\N{HORIZONTAL ELLIPSIS}"
            whole = _element("title", words)
        of_kind = f' class="{kind}"' if kind else ""
        element = f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{of_kind}'
        inner = f"{shown.translate(_IN_TEXT)}{whole}"
        self._parts.append(f"{element}>{inner}</text>" if inner else f"{element} />")

    def done(self) -> Chart:
        """The finished chart."""
        markup = f"{''.join(self._parts)}</svg>"
        return Chart(markup, self.width, self.title, self.description)


def _element(name: str, words: str) -> str:
    return f"<{name}>{words.translate(_IN_TEXT)}</{name}>" if words else f"<{name} />"


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


def draw_whisker(
    sheet: Sheet, scale: Scale, whisker: Whisker, y: float, tone: str, *, solid: bool
) -> None:
    """Draw a point with its inner and outer interval, arrows where an end lies off the scale."""
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


def scale_of(
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


def percent_tick(value: float) -> str:
    """A ratio in percent, with a decimal only where it has one."""
    places = 0 if abs(value * 100 - round(value * 100)) < 1e-6 else 1
    return numbers.percent(value, places=places)


def money_tick(cents: float) -> str:
    """Cents as short dollars: $1.5 m."""
    if cents == 0:
        return "0"
    for scale, name in ((100_000_000_000, "bn"), (100_000_000, "m"), (100_000, "k"), (100, "")):
        if abs(cents) >= scale:
            value = f"{abs(cents) / scale:,.3f}".rstrip("0").rstrip(".")
            return f"{numbers.MINUS if cents < 0 else ''}${value} {name}".rstrip()
    return numbers.usd(cents, places=2)


def _n(value: float) -> str:
    """A coordinate with a tenth of a pixel, without trailing zeros."""
    return f"{value:.1f}".rstrip("0").rstrip(".") or "0"
