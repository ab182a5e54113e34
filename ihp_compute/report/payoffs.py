"""What each partnership would be paid at other savings, and where draws of it fall, as drawn."""

from __future__ import annotations

from collections import defaultdict

from ihp_compute.report import numbers
from ihp_compute.report.charts import Chart, Draw, Rung, payoff_chart
from ihp_compute.report.rows import RowsOf
from ihp_compute.settlement import PARTNERSHIP

UNDER_THIS_BASE = "target_fixed"


def payoffs(rows: RowsOf) -> dict[str, Chart]:
    """The chart of each partnership that has a target, by name.

    Draws are of the performance year under the base as it is, so that they lie on the line.
    """
    rungs: dict[str, list[Rung]] = defaultdict(list)
    for row in reversed(rows["corridor"]):
        rungs[row["partnership_id"]].append(
            Rung(row["savings_rate"], row["payment_cents"], row["gate_passed"])
        )
    draws: dict[str, list[Draw]] = defaultdict(list)
    for row in rows["distribution"]:
        if (row["scope"], row["conditioning"]) == (PARTNERSHIP, UNDER_THIS_BASE):
            draws[row["scope_id"]].append(Draw(row["savings_rate"], row["payment_cents"]))
    found = {}
    for row in rows["settlement"]:
        name = row["partnership_id"]
        if name in rungs:
            point = Draw(row["savings_rate"], row["payment_cents"])
            found[name] = payoff_chart(
                rungs[name], draws[name], point,
                title=f"{name}: what other savings would pay",
                description=_said(draws[name], point),
            )  # fmt: skip
    return found


def _said(draws: list[Draw], point: Draw) -> str:
    """The chart in words.

    >>> _said([Draw(-0.05, -100_00), Draw(0.0, 0), Draw(0.05, 200_00)], Draw(0.01, 0))
    'Settled at $0; of 3 equally likely draws 1 is paid, 1 owes, from \u2212$100 to $200.'
    """
    settled = f"Settled at {numbers.usd(point.payment_cents)}"
    if not draws:
        return f"{settled}; nothing was drawn."
    payments = [draw.payment_cents for draw in draws]
    paid, owing = sum(cents > 0 for cents in payments), sum(cents < 0 for cents in payments)
    return (
        f"{settled}; of {len(draws)} equally likely draws {paid} {'is' if paid == 1 else 'are'} "
        f"paid, {owing} owe{'s' if owing == 1 else ''}, from {numbers.usd(min(payments))} to "
        f"{numbers.usd(max(payments))}."
    )
