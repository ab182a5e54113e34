"""Code lists that every step shares: rate cells, flags of spans and lines, services, groups.

Each list is part of the method: an integer column of the prepared population is a place in one of
them. Not here: what a state's own codes mean (`input_columns.CODE_SYSTEMS`).
"""

from __future__ import annotations

from typing import Final

# --- rate cells: who a member-month belongs to -----------------------------------------------

AID_GROUPS: Final = ("child", "adult", "expansion", "disabled", "newborn", "maternity")

PAYER_KINDS: Final = ("ffs", "managed")

RATE_CELLS: Final = tuple(f"{aid}_{kind}" for aid in AID_GROUPS for kind in PAYER_KINDS)
"""Rate cell code = 2 * aid group + payer kind. A contract may merge cells, never split them."""

# --- bits of spans.flags, lines.flags ----------------------------------------------------------

SPAN_DUAL: Final = 1

SPAN_SPEND_DOWN: Final = 2

SPAN_PARTIAL_BENEFIT: Final = 4

SPAN_LONG_TERM_INSTITUTION: Final = 8

SPAN_MEDICAID: Final = 16

LINE_ED: Final = 1
"""The line is part of an emergency department visit (revenue 045x or 0981, 99281-99285)."""

LINE_INPATIENT: Final = 2
"""The line is part of an acute inpatient claim (bill type 11x or 12x)."""

LINE_BLANK_AMOUNT: Final = 4
"""No paid amount was given: zero dollars, counted as blank."""

# --- lines.kind: TAF CLM_TYPE_CD folded ---------------------------------------------------------

LINE_KINDS: Final = ("fee_for_service", "capitation", "encounter", "supplemental")
"""1/A, 2/B, 3/C, and 4/D or 5/E. A blank type is fee for service."""

# --- visits.class -------------------------------------------------------------------------------

VISIT_CLASSES: Final = ("none", "health_care_home", "evaluation")

SERVICE_CATEGORIES: Final = (
    "inpatient",
    "outpatient_hospital",
    "emergency",
    "ambulatory_surgery",
    "primary_care",
    "specialist",
    "fqhc_rhc",
    "laboratory",
    "radiology",
    "therapy",
    "chiropractic",
    "vision",
    "podiatry",
    "mental_health",
    "substance_use",
    "residential_behavioral",
    "home_health",
    "private_duty_nursing",
    "hospice",
    "personal_care",
    "waiver",
    "nursing_facility",
    "dental",
    "transport_emergency",
    "transport_non_emergency",
    "supplies",
    "pharmacy",
    "health_care_home",
    "other",
)
"""lines.category indexes this list; `ingest` classifies, contracts include or exclude by name."""

SERVICE_CATEGORY_VERSION: Final = "1"

COMPARISON: Final = "COMPARISON"
"""Reserved partnership id: roster rows with it define the comparison population."""

UNATTRIBUTED: Final = "UNATTRIBUTED"
"""Group of eligible members whom no step attributes."""
