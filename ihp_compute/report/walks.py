"""From target to payment in steps, for the state and for each partnership."""

from __future__ import annotations

from collections.abc import Sequence

from ihp_compute.report import numbers
from ihp_compute.report.charts import Bar, Chart, waterfall
from ihp_compute.report.partnerships import Partnership
from ihp_compute.report.rows import Row
from ihp_compute.settlement import Step, steps


def state_walk(partnerships: Sequence[Partnership]) -> Row | None:
    """The walks of all partnerships added up, if they have the same steps."""
    if not partnerships:
        return None
    names = [[step.step for step in p.walk] for p in partnerships]
    shared = [name for name in names[0] if all(name in other for other in names)]
    if not shared or any(set(other) - set(shared) - {"agreed_base"} for other in names):
        shared = [name for name in shared if name != "share"]
    rows = [
        {
            "position": position,
            "step": name,
            "amount_cents": sum(
                step.amount_cents for p in partnerships for step in p.walk if step.step == name
            ),
            "detail": "",
            "citation": "",
            "basis": "",
        }
        for position, name in enumerate(shared)
    ]
    return _charts(steps(rows), "All partnerships")


def statement(partnership: Partnership) -> Row:
    """A partnership's statement: its numbers, anchor and charts."""
    return {
        "p": partnership,
        "anchor": _anchor(partnership.row["partnership_id"]),
        **_charts(partnership.walk, partnership.row["partnership_id"]),
    }


def _anchor(partnership_id: str) -> str:
    """A fragment identifier that no name can break out of."""
    return "p-" + partnership_id.encode().hex()


def _charts(walk: Sequence[Step], name: str) -> Row:
    """The two halves of a walk: to the observed cost, and from savings to payment."""
    cut = next((i for i, step in enumerate(walk) if step.step == "observed"), len(walk) - 1)
    return {
        "to_target": _half(walk[: cut + 1], f"{name}: from base to observed cost", from_zero=False),
        "to_payment": _half(walk[cut + 1 :], f"{name}: from savings to payment", from_zero=True),
        "walk": walk,
    }


def _half(walk: Sequence[Step], title: str, *, from_zero: bool) -> Chart | None:
    if not walk:
        return None
    bars = [
        Bar(
            numbers.label(step.step),
            step.amount_cents,
            step.after_cents,
            step.before_cents,
            outcome=step.step in {"target", "observed", "payment"},
        )
        for step in walk
        if step.step != "agreed_base" or step.amount_cents  # none was agreed: nothing to draw
    ]
    words = "; ".join(
        f"{numbers.label(s.step)} {numbers.usd(s.amount_cents, plus=s.before_cents is not None)}"
        for s in walk
    )
    return waterfall(bars, title=title, description=f"{words}.", from_zero=from_zero)
