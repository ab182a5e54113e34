"""From target to payment in steps, for the state and for each partnership."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ihp_compute.contracts import NO_RULE
from ihp_compute.report import numbers
from ihp_compute.report.charts import Bar, Chart, waterfall
from ihp_compute.report.partnerships import Partnership
from ihp_compute.report.rows import Row
from ihp_compute.settlement import RATIO_RULES, Step, steps


def state_walk(partnerships: Sequence[Partnership]) -> Row | None:
    """The walks of all partnerships added up, if they have the same steps.

    A rule of the risk ratio moves nothing where a contract has none, so one may have it alone.
    """
    if not partnerships:
        return None
    walks = [[step.step for step in p.walk] for p in partnerships]
    names = [[name for name in walk if name not in RATIO_RULES] for walk in walks]
    shared = [name for name in names[0] if all(name in other for other in names)]
    if not shared or any(set(other) - set(shared) - {"agreed_base"} for other in names):
        shared = [name for name in shared if name != "share"]
    if "target" in shared:
        rules = [rule for rule in RATIO_RULES if any(rule in walk for walk in walks)]
        shared[shared.index("target") : shared.index("target")] = rules
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
    return drawn(steps(rows), "All partnerships")


def statements(
    partnerships: Sequence[Partnership],
    cells: Mapping[str, Sequence[Row]],
    payoffs: Mapping[str, Chart],
) -> tuple[list[Row], list[str]]:
    """Each partnership's numbers, anchor, charts, walk and rate cells; the sources of all walks.

    A step of a walk has the place of its citation among the sources, counted from 1: on paper,
    where the same line would stand in every walk, it is written once. Idle steps are those for
    which the contract has no rule.
    """
    cited = (s.citation for p in partnerships for s in p.walk if s.citation and not is_idle(s))
    sources = list(dict.fromkeys(cited))
    places = {citation: place for place, citation in enumerate(sources, start=1)}
    found = []
    for p in partnerships:
        name = p.row["partnership_id"]
        found.append(
            {
                "p": p,
                "anchor": _anchor(name),
                **drawn(p.walk, name),
                "walk": [(step, places.get(step.citation)) for step in p.walk],
                "idle": [step.step for step in p.walk if is_idle(step)],
                "cells": cells.get(name, ()),
                "payoff": payoffs.get(name),
            }
        )
    return found, sources


def is_idle(step: Step) -> bool:
    """Whether a line of a walk is one for which the contract has no rule."""
    return step.basis == NO_RULE and not step.amount_cents


def _anchor(partnership_id: str) -> str:
    """A fragment identifier that no name can break out of."""
    return "p-" + partnership_id.encode().hex()


_OUTCOMES: Final = frozenset({"target", "observed", "payment"})
"""Steps that a half of a walk leads to."""


def drawn(walk: Sequence[Step], name: str) -> Row:
    """The two halves of a walk: to the observed cost, and from savings to payment."""
    cut = next((i for i, step in enumerate(walk) if step.step == "observed"), len(walk) - 1)
    return {
        "to_target": _half(walk[: cut + 1], f"{name}: from base to observed cost", from_zero=False),
        "to_payment": _half(walk[cut + 1 :], f"{name}: from savings to payment", from_zero=True),
    }


def _half(walk: Sequence[Step], title: str, *, from_zero: bool) -> Chart | None:
    """The steps that have dollars, and what they lead to."""
    shown = [step for step in walk if step.amount_cents or step.step in _OUTCOMES]
    if not shown:
        return None
    bars = [
        Bar(
            numbers.label(step.step),
            step.amount_cents,
            step.after_cents,
            step.before_cents,
            outcome=step.step in _OUTCOMES,
        )
        for step in shown
    ]
    words = "; ".join(
        f"{bar.name} {numbers.usd(bar.amount, plus=bar.start is not None)}" for bar in bars
    )
    return waterfall(bars, title=title, description=f"{words}.", from_zero=from_zero)
