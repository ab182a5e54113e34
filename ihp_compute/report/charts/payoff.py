"""What other savings would pay, with draws of savings below and of payments beside it.

payment ─┐        line: the contract; pale: between the gates      dots: draws of the payment
         └─ savings rate
            dots: draws of the savings
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ihp_compute.report import numbers
from ihp_compute.report.charts.sheet import Chart, Scale, Sheet, money_tick, percent_tick

_WIDTH: Final = 700
_LEFT, _RIGHT = 74.0, 480.0
_TOP, _BOTTOM = 34.0, 168.0
_STRIP: Final = 212.0
"""The foot of the dots of savings."""
_BESIDE: Final = 520.0
"""Where the dots of payments begin."""
_DOT: Final = 4.5
_LEAST: Final = 0.03
"""Savings rate either side of zero that is always drawn."""


@dataclass(frozen=True)
class Draw:
    """One of equally likely draws: its savings rate, its payment in cents."""

    savings_rate: float
    payment_cents: int


@dataclass(frozen=True)
class Rung:
    """What a savings rate would pay, and whether a gate lets it settle."""

    savings_rate: float
    payment_cents: int
    passed: bool


def payoff_chart(
    rungs: Sequence[Rung], draws: Sequence[Draw], point: Draw, *, title: str, description: str
) -> Chart:
    """The payment at every savings rate, the settled point on it, and how draws lie.

    Parameters
    ----------
    rungs : sequence of Rung
        From the highest savings down.
    draws : sequence of Draw
        Equally likely, the lowest first; savings and payments each in their own order.
    point : Draw
        As observed.
    title, description : str
        For a reader who does not see the chart.

    Returns
    -------
    Chart
        A draw beyond the scale stands at its end.
    """
    sheet = Sheet(_WIDTH, _STRIP + 36, title, description)
    rates = [point.savings_rate, *(draw.savings_rate for draw in draws)]
    margin = 0.012
    x = Scale(
        max(min(*rates, -_LEAST) - margin, rungs[-1].savings_rate),
        min(max(*rates, _LEAST) + margin, rungs[0].savings_rate),
        _LEFT,
        _RIGHT,
    )
    line = [(rung.savings_rate, rung.payment_cents) for rung in rungs
            if x.low <= rung.savings_rate <= x.high]  # fmt: skip
    cents = [0, point.payment_cents, *(draw.payment_cents for draw in draws),
             *(payment for _, payment in line)]  # fmt: skip
    room = (max(cents) - min(cents)) * 0.05 or 100_00
    y = Scale(min(cents) - room, max(cents) + room, _BOTTOM, _TOP)

    middle = (_LEFT + _RIGHT) / 2
    sheet.text(middle, 14, "What other savings would pay", "head", anchor="middle")
    sheet.text(_BESIDE, 14, "20 equally likely payments", "head")
    _between_gates(sheet, rungs, x)
    for tick in y.ticks(4):
        sheet.line(_LEFT, y(tick), _RIGHT, y(tick), "zero" if tick == 0 else "grid")
        sheet.line(_BESIDE, y(tick), _WIDTH, y(tick), "zero" if tick == 0 else "grid")
        sheet.text(_LEFT - 8, y(tick) + 4, money_tick(tick), "tick", anchor="end")
    for tick in x.ticks(6):
        sheet.line(x(tick), _TOP, x(tick), _STRIP, "zero" if tick == 0 else "grid")
        sheet.text(x(tick), _STRIP + 16, percent_tick(tick), "tick", anchor="middle")
    sheet.text(_RIGHT, _STRIP + 31, "savings, % of target", "tick", anchor="end")
    sheet.line(_LEFT, _STRIP, _RIGHT, _STRIP, "grid")
    sheet.path([(x(rate), y(payment)) for rate, payment in line], "course")

    for at, level, draw in _stacked([(x(d.savings_rate), d) for d in draws]):
        sheet.dot(at, _STRIP - _DOT - 1 - level * (2 * _DOT + 1), _DOT, _tone(draw.payment_cents))
    for at, level, draw in _stacked([(y(d.payment_cents), d) for d in draws]):
        sheet.dot(_BESIDE + _DOT + 4 + level * (2 * _DOT + 1), at, _DOT, _tone(draw.payment_cents))
    said = f"settled: {numbers.usd(point.payment_cents)} at {numbers.percent(point.savings_rate)}"
    sheet.line(x(point.savings_rate), y(point.payment_cents), x(point.savings_rate), _STRIP, "gate")
    sheet.dot(x(point.savings_rate), y(point.payment_cents), 5, "solid point", said)
    return sheet.done()


def _between_gates(sheet: Sheet, rungs: Sequence[Rung], x: Scale) -> None:
    """Pale where no gate is passed: savings there pay nothing."""
    shut = [rung.savings_rate for rung in rungs if not rung.passed]
    if not shut or x(max(shut)) - x(min(shut)) < 1:
        return
    low, high = x(min(shut)), x(max(shut))
    sheet.box(low, _TOP, high - low, _STRIP - _TOP, "stripe")
    for end, rate in ((low, min(shut)), (high, max(shut))):
        if x.low < rate < x.high:
            sheet.line(end, _TOP, end, _STRIP, "gate")
            sheet.text(end, _TOP - 5, f"gate {numbers.percent(rate)}", "tick", anchor="middle")


def _stacked(places: Sequence[tuple[float, Draw]]) -> list[tuple[float, int, Draw]]:
    """Dots in columns as wide as one, each on the dots before it in its column."""
    wide = 2 * _DOT + 1
    levels: dict[int, int] = {}
    found = []
    for at, draw in places:
        column = round(at / wide)
        found.append((column * wide, levels.get(column, 0), draw))
        levels[column] = levels.get(column, 0) + 1
    return found


def _tone(cents: int) -> str:
    return "draw gain" if cents > 0 else "draw loss" if cents < 0 else "draw none"
