"""Every part of the programme, and those of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ihp_compute.data_quality import Noticed
from ihp_compute.measure.plan import Plan
from ihp_compute.measure.programme.comparison import ComparisonPart
from ihp_compute.measure.programme.cost_index import CostIndex
from ihp_compute.measure.programme.outcomes import Outcomes
from ihp_compute.measure.programme.part import ProgrammePart
from ihp_compute.population import open_population

PARTS: Final[tuple[type[ProgrammePart], ...]] = (CostIndex, Outcomes, ComparisonPart)
"""In the order in which they are measured."""


def programme_parts(plan: Plan) -> tuple[tuple[ProgrammePart, ...], tuple[Noticed, ...]]:
    """The parts of a run, and what its programme asks for and its population lacks."""
    if plan.programme is None:
        return (), ()
    population = open_population(plan.origin.path)
    found = (part.of(plan, population) for part in PARTS)

    def lacking() -> Iterator[Noticed]:
        for part in PARTS:
            yield from part.absent(plan, population)

    return tuple(part for part in found if part is not None), tuple(lacking())


def parts_of_each(plan: Plan) -> tuple[ProgrammePart, ...]:
    """The parts that every measurement of a run has, by the rules of one that is not the first."""
    return tuple(part for part in programme_parts(plan)[0] if part.each)
