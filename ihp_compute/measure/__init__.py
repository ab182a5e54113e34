"""What a shard's members amount to, by a plan: belonging, cost, use of care, member-years.

Decides: attribution, what counts as cost, fates of lines, completion, quality and payer months.
Leaves to others: scores (`risk`), sums over draws (`uncertainty`), payment (`settlement`).
"""

from __future__ import annotations

from ihp_compute.measure.attribution import (
    EXCLUSION_REASONS,
    counted_visits,
)
from ihp_compute.measure.claims_to_come import ClaimsToCome, interim_line
from ihp_compute.measure.completed import Developed, completed, develop, parts_of
from ihp_compute.measure.completion import (
    PaymentDays,
    final_less_interim,
    year_completion,
)
from ihp_compute.measure.cost import costs
from ihp_compute.measure.foreseen import Foreseen, foresee
from ihp_compute.measure.line_fates import line_fates, member_line_fates
from ihp_compute.measure.measured import Measured, ShardMeasured
from ihp_compute.measure.member_years import (
    MEASUREMENT,
    MEMBER_YEARS,
    OWN_TEXT,
    VISIT_STEPS,
    member_years_schema,
)
from ihp_compute.measure.movement import MOVEMENT
from ihp_compute.measure.one_year import YearPlan, plan_year
from ihp_compute.measure.paid_ahead import PaidYear
from ihp_compute.measure.payer_months import PLAN_NOT_STATED, payer_names, payer_weights
from ihp_compute.measure.plan import Plan, make_plan, measurements, together
from ihp_compute.measure.programme import (
    DRAWN_MEASURES,
    INDEX_MEASURES,
    READ_APART,
    ComparisonPart,
    ComparisonSums,
    IndexSums,
    ProgrammePart,
    ProgrammeScope,
    Survey,
    added,
    parts_of_each,
    programme_parts,
    programme_scopes,
)
from ihp_compute.measure.prospective import ProspectivePlan, plan_prospective
from ihp_compute.measure.quality_claims import scored, with_scores_of
from ihp_compute.measure.quality_points import FLAGS as QUALITY_FLAGS
from ihp_compute.measure.quality_points import MeasurePoints
from ihp_compute.measure.request import RunRequest
from ihp_compute.measure.score_change import SCORE_PARTS
from ihp_compute.measure.scoring import noticed_of_scoring
from ihp_compute.measure.settling import counted_in, settling, with_payments
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.measure.statement import STATEMENT_FIELDS, read_statement, statement_of, unstated
from ihp_compute.measure.utilisation import measures_of, utilise_years

__all__ = [
    "DRAWN_MEASURES",
    "EXCLUSION_REASONS",
    "INDEX_MEASURES",
    "MEASUREMENT",
    "MEMBER_YEARS",
    "MOVEMENT",
    "OWN_TEXT",
    "PLAN_NOT_STATED",
    "QUALITY_FLAGS",
    "READ_APART",
    "SCORE_PARTS",
    "STATEMENT_FIELDS",
    "VISIT_STEPS",
    "ClaimsToCome",
    "ComparisonPart",
    "ComparisonSums",
    "Developed",
    "Foreseen",
    "IndexSums",
    "MeasurePoints",
    "Measured",
    "PaidYear",
    "PaymentDays",
    "Plan",
    "ProgrammePart",
    "ProgrammeScope",
    "ProspectivePlan",
    "RunRequest",
    "ShardMeasured",
    "ShardPlan",
    "Survey",
    "YearPlan",
    "added",
    "completed",
    "costs",
    "counted_in",
    "counted_visits",
    "develop",
    "final_less_interim",
    "foresee",
    "interim_line",
    "line_fates",
    "make_plan",
    "measurements",
    "measures_of",
    "member_line_fates",
    "member_years_schema",
    "noticed_of_scoring",
    "parts_of",
    "parts_of_each",
    "payer_names",
    "payer_weights",
    "plan_prospective",
    "plan_year",
    "programme_parts",
    "programme_scopes",
    "read_statement",
    "scored",
    "settling",
    "statement_of",
    "together",
    "unstated",
    "utilise_years",
    "with_payments",
    "with_scores_of",
    "year_completion",
]
