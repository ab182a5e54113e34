"""What a run measures beside settlements, part by part, by the terms of its programme.

    terms + population -> parts -> (survey of the state) -> sums of each shard -> drawn together

A part that the programme does not have, or whose inputs a population lacks, is not there and costs
nothing; what is lacking is a finding.
"""

from __future__ import annotations

from ihp_compute.measure.programme.comparison import ComparisonPart, ComparisonSums
from ihp_compute.measure.programme.cost_index import DRAWN_MEASURES, INDEX_MEASURES, IndexSums
from ihp_compute.measure.programme.outcome_measures import (
    ALL,
    CONTROL,
    COST,
    DENOMINATORS,
    EVENTS,
    INTERVENTION,
    MEASURES,
    REGION,
)
from ihp_compute.measure.programme.outcomes import MemberOutcomes, OutcomeSums, comparator_of
from ihp_compute.measure.programme.part import (
    READ_APART,
    MemberYear,
    ProgrammePart,
    ProgrammeSums,
    Survey,
    added,
)
from ihp_compute.measure.programme.parts import parts_of_each, programme_parts
from ihp_compute.measure.programme.scopes import ATTRIBUTED, ProgrammeScope, programme_scopes

__all__ = [
    "ALL",
    "ATTRIBUTED",
    "CONTROL",
    "COST",
    "DENOMINATORS",
    "DRAWN_MEASURES",
    "EVENTS",
    "INDEX_MEASURES",
    "INTERVENTION",
    "MEASURES",
    "READ_APART",
    "REGION",
    "ComparisonPart",
    "ComparisonSums",
    "IndexSums",
    "MemberOutcomes",
    "MemberYear",
    "OutcomeSums",
    "ProgrammePart",
    "ProgrammeScope",
    "ProgrammeSums",
    "Survey",
    "added",
    "comparator_of",
    "parts_of_each",
    "programme_parts",
    "programme_scopes",
]
