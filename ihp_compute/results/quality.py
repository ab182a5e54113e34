"""Rows of quality: the score that settled each partnership, its measures, and what it moved.

What a score moved is the payment as settled less the payment of the same data and terms at a score
of 1: not above 0 where shared savings rest on it, because no score is better. Of the
population-based payment of the year it moves the part at stake, in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ihp_compute.contracts import Agreement, QualityScores
from ihp_compute.measure import Measured, MeasurePoints, Plan

AT_ONE: Final = "quality_full"
"""The scenario of `sensitivities` in which every score is 1."""
PRIOR: Final = "prior"
SUPPLIED: Final = "supplied"
FILLED: Final = "filled_"


def score_rows(
    plan: Plan, measured: Measured, changed: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A row of each partnership of a measurement that has a score or something in its place.

    Parameters
    ----------
    plan : Plan
    measured : Measured
    changed : sequence of mapping
        Rows of `sensitivities`.
    """
    agreements = plan.contracts.at(plan.performance_year)
    scores = QualityScores.of(plan.quality, agreements, measured.totals.without_members)
    moved = {
        row["partnership_id"]: -row["difference_cents"]
        for row in changed
        if row["scenario"] == AT_ONE
    }
    for name, agreement in agreements.items():
        used, fill = scores.used(name, agreement), scores.fill(name, agreement)
        if used is None and fill is None:
            continue
        flag = _from(plan, name) if fill is None else f"{FILLED}{fill.policy}"
        score = float(used or 0)
        made = plan.quality_of_year.measured.get(name) if not flag else None
        low, high = made.interval if made else (score, score)
        yield {
            "partnership_id": name,
            "score": score,
            "std_error": made.std_error if made else 0.0,
            "low": low,
            "high": high,
            "share_cents": moved[name],
            "pbp_cents": _of_payment(plan, measured, name, agreement, used),
            "flag": flag,
        }


def _of_payment(
    plan: Plan, measured: Measured, name: str, agreement: Agreement, score: Decimal | None
) -> int:
    """What a score moves of the payments in advance to a partnership, or to an alliance's."""
    whose = [group for group in plan.roster.groups if plan.contracts.settles(group) == name]
    return sum(
        agreement.population_based.moved_by_quality(one.cents_of(whose), score)
        for one in measured.paid_ahead
        if one.year == plan.performance_year
    )


def _from(plan: Plan, name: str) -> str:
    """Where a partnership's own score is from; empty: of measures."""
    found = plan.quality_of_year
    if found.scores.get(name) is None:
        return PRIOR
    return SUPPLIED if name in found.supplied else ""


def measure_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row of each measure of who settles by a measurement, and of members of its alliances."""
    for name in plan.contracts.graded(plan.performance_year):
        made = plan.quality_of_year.measured.get(name)
        for one in made.points if made else ():
            yield _measure_row(one)


def _measure_row(one: MeasurePoints) -> dict[str, Any]:
    measure, curve = one.measure, one.curve
    floor, ceiling, prior = (curve.floor, curve.ceiling, curve.prior) if curve else (0, 0, 0)
    return {
        "partnership_id": measure.partnership_id,
        "measure": measure.measure,
        "domain": measure.domain,
        "source": measure.source,
        "higher_is_better": measure.higher_is_better,
        "numerator": measure.numerator,
        "denominator": measure.denominator,
        "counted": one.counted,
        "prior_rate": float(prior or 0),
        "floor": float(floor),
        "ceiling": float(ceiling),
        "attainment": float(one.attainment),
        "improvement": float(one.improvement),
        "points": float(one.points),
        "weight": float(one.weight),
        "flag": one.flag,
    }
