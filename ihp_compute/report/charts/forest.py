"""Forest chart: a savings rate with its intervals for each partnership, one under another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ihp_compute.report import numbers
from ihp_compute.report.charts.sheet import (
    ROW,
    Chart,
    Sheet,
    Whisker,
    draw_whisker,
    money_tick,
    percent_tick,
    scale_of,
)


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
    sheet = Sheet(width, bottom + 34, title, description)
    rate = scale_of([r.rate for r in rows], 236, 590, least=0.02, most=0.30)
    money = scale_of([r.payment for r in rows], 706, 958, least=100_00, most=None)

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

    for scale, words in ((rate, percent_tick), (money, money_tick)):
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
        sheet.text(214, y + 4, numbers.count(row.n_members) + mark, "figure", anchor="end")
        for gate in row.gates:
            if gate is not None and rate.low <= gate <= rate.high:
                sheet.line(rate(gate), y - ROW / 2, rate(gate), y + ROW / 2, "gate")
        tone = "gain" if row.rate.point >= 0 else "loss"
        draw_whisker(sheet, rate, row.rate, y, tone, solid=row.passed)
        sheet.text(660, y + 4, numbers.percent(row.rate.point), f"figure {tone}", anchor="end")
        paid = "gain" if row.payment.point > 0 else "loss" if row.payment.point < 0 else "none"
        draw_whisker(sheet, money, row.payment, y, paid, solid=row.payment.point != 0)
        sheet.text(width, y + 4, numbers.usd(row.payment.point), f"figure {paid}", anchor="end")
    return sheet.done()
