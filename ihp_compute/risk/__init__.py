"""A score for each member and year: supplied, by a model, or by weights of cells.

Decides: who is scored by what, and what happens to members without a score.
Leaves to others: what a model is (`risk.models`), the arithmetic (`kernels`).
"""

from __future__ import annotations

from ihp_compute.risk.diagnosis_filter import LEFT_OUT_REASONS
from ihp_compute.risk.member_factors import MemberFactors
from ihp_compute.risk.population_scores import ModelScores, model_provider
from ihp_compute.risk.providers import provider
from ihp_compute.risk.score_files import Request, score_files
from ihp_compute.risk.score_parts import ScoreParts
from ihp_compute.risk.score_terms import ScoreTerms, Scoring, idle_terms, scoring_of
from ihp_compute.risk.scores import (
    AGE_BANDS,
    MonthsThatCount,
    ScoreProvider,
    Scores,
    enrolled_months,
)

__all__ = [
    "AGE_BANDS",
    "LEFT_OUT_REASONS",
    "MemberFactors",
    "ModelScores",
    "MonthsThatCount",
    "Request",
    "ScoreParts",
    "ScoreProvider",
    "ScoreTerms",
    "Scores",
    "Scoring",
    "enrolled_months",
    "idle_terms",
    "model_provider",
    "provider",
    "score_files",
    "scoring_of",
]
