"""Contracts as data: read, check, date, override, identify.

    file (+ the contract it extends) -> terms, each with unit, dates, source, basis
                                     -> overrides by path -> the agreement of one year

Decides: which terms and steps there are, what each may hold, which partnership has which contract.
Leaves to others: what a term does (`settlement`, `measure`, `risk`). Nothing has a default in code.
"""

from __future__ import annotations

from ihp_compute.contracts.alliances import BY_QUALITY, BY_RESULTS, WEIGHTS, Alliance
from ihp_compute.contracts.completion import FACTORS as COMPLETION_FACTORS
from ihp_compute.contracts.contract import Agreement, Contract
from ihp_compute.contracts.copies import copy
from ihp_compute.contracts.draft import Draft
from ihp_compute.contracts.files import (
    UNBOUND,
    load,
    name_of,
    names,
    read_toml,
    same_content,
    shipped_name,
    unbound,
)
from ihp_compute.contracts.kinds import BASES, CARRIED, DRAFT_BASES, NO_RULE, NONE, Kind
from ihp_compute.contracts.population_based import PopulationBasedTerms
from ihp_compute.contracts.programme import (
    STANDARD,
    Programme,
    load_programme,
    programmes,
)
from ihp_compute.contracts.quality_measures import CLAIMS_MEASURES, QualityTerms
from ihp_compute.contracts.quality_scores import (
    FILLED,
    INTERIM_QUALITY_TERM,
    MISSING_QUALITY_TERM,
    Own,
    QualityFill,
    QualityScores,
    listed,
    missing_text,
    quality_fill,
    rests_on_quality,
)
from ihp_compute.contracts.rules import (
    AS_MODEL,
    ATTRIBUTION_STEPS,
    COUNT,
    EVERY_CLAIM,
    EXCLUDABLE,
    INCURRED_BY,
    LEAVE_OUT,
    MISSING_SCORE,
    NEWBORNS,
    RISK_ADJUSTABLE,
    SPECIALTIES,
    TIMINGS,
    AttributionTerms,
    CostTerms,
    RiskTerms,
    incurred_by,
    names_a_file,
)
from ihp_compute.contracts.sets import ContractSet, check, load_set, the_one
from ihp_compute.contracts.steps import (
    AMOUNTS,
    MOVED_BY,
    REFUSE,
    SETTLEMENT_STEPS,
    SIDES,
    SIZE_TABLE,
)
from ihp_compute.contracts.terms import Document, Entry, Source, Term, Value, split_band_path
from ihp_compute.contracts.together import TOGETHER
from ihp_compute.contracts.values import Band, TermError, decimal_of, parse, text_of
from ihp_compute.contracts.vocabulary import KINDS, NAMED, idle, kind_of, speaks

__all__ = [
    "AMOUNTS",
    "AS_MODEL",
    "ATTRIBUTION_STEPS",
    "BASES",
    "BY_QUALITY",
    "BY_RESULTS",
    "CARRIED",
    "CLAIMS_MEASURES",
    "COMPLETION_FACTORS",
    "COUNT",
    "DRAFT_BASES",
    "EVERY_CLAIM",
    "EXCLUDABLE",
    "FILLED",
    "INCURRED_BY",
    "INTERIM_QUALITY_TERM",
    "KINDS",
    "LEAVE_OUT",
    "MISSING_QUALITY_TERM",
    "MISSING_SCORE",
    "MOVED_BY",
    "NAMED",
    "NEWBORNS",
    "NONE",
    "NO_RULE",
    "REFUSE",
    "RISK_ADJUSTABLE",
    "SETTLEMENT_STEPS",
    "SIDES",
    "SIZE_TABLE",
    "SPECIALTIES",
    "STANDARD",
    "TIMINGS",
    "TOGETHER",
    "UNBOUND",
    "WEIGHTS",
    "Agreement",
    "Alliance",
    "AttributionTerms",
    "Band",
    "Contract",
    "ContractSet",
    "CostTerms",
    "Document",
    "Draft",
    "Entry",
    "Kind",
    "Own",
    "PopulationBasedTerms",
    "Programme",
    "QualityFill",
    "QualityScores",
    "QualityTerms",
    "RiskTerms",
    "Source",
    "Term",
    "TermError",
    "Value",
    "check",
    "copy",
    "decimal_of",
    "idle",
    "incurred_by",
    "kind_of",
    "listed",
    "load",
    "load_programme",
    "load_set",
    "missing_text",
    "name_of",
    "names",
    "names_a_file",
    "parse",
    "programmes",
    "quality_fill",
    "read_toml",
    "rests_on_quality",
    "same_content",
    "shipped_name",
    "speaks",
    "split_band_path",
    "text_of",
    "the_one",
    "unbound",
]
