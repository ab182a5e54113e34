"""Code lists that every step shares: rate cells, flags of spans and lines, services, groups.

Each list is part of the method: an integer column of the prepared population is a place in one of
them. Not here: what a state's own codes mean (`input_columns.CODE_SYSTEMS`).
"""

from __future__ import annotations

import re
from typing import Final

# --- rate cells: who a member-month belongs to -----------------------------------------------

AID_GROUPS: Final = ("child", "adult", "expansion", "disabled", "newborn", "maternity")

PAYER_KINDS: Final = ("ffs", "managed")

RATE_CELLS: Final = tuple(f"{aid}_{kind}" for aid in AID_GROUPS for kind in PAYER_KINDS)
"""Rate cell code = 2 * aid group + payer kind. A contract may merge cells, never split them."""

MOST_SCORE: Final = 100_000
"""A risk score or weight above it is a mistake, were it in dollars a year; up to it, the sum of
scores times months over a state stays in int64."""

NO_SCORE: Final = -1
"""A supplied row whose score is not stated; its cell is."""

MEMBER_FACTORS: Final = (
    "disability", "deep_poverty", "homelessness", "serious_mental_illness",
    "substance_use_disorder", "past_incarceration", "child_protection",
)  # fmt: skip
"""Flags of the table `member_factors`, that a risk model may ask for; at most eight."""

SOCIAL_FACTORS: Final = MEMBER_FACTORS[MEMBER_FACTORS.index("deep_poverty") :]
"""Those of them that a population-based payment may be adjusted for."""

# --- bits of spans.flags, lines.flags ----------------------------------------------------------

SPAN_DUAL: Final = 1

SPAN_SPEND_DOWN: Final = 2

SPAN_PARTIAL_BENEFIT: Final = 4

SPAN_LONG_TERM_INSTITUTION: Final = 8

SPAN_MEDICAID: Final = 16

SPAN_LIMITED_BENEFITS: Final = 32
"""A class of cover that pays for some care only, whoever has it."""

LINE_ED: Final = 1
"""The line is part of an emergency department visit (revenue 045x or 0981, 99281-99285)."""

LINE_INPATIENT: Final = 2
"""The line is part of an acute inpatient claim (bill type 11x or 12x)."""

LINE_BLANK_AMOUNT: Final = 4
"""No paid amount was given: zero dollars, counted as blank."""

# --- lines.kind: TAF CLM_TYPE_CD folded ---------------------------------------------------------

LINE_KINDS: Final = ("fee_for_service", "capitation", "encounter", "supplemental")
"""1/A, 2/B, 3/C, and 4/D or 5/E. A blank type is fee for service."""

# --- visits -------------------------------------------------------------------------------------

VISIT_ED: Final = LINE_ED

VISIT_INPATIENT: Final = LINE_INPATIENT

VISIT_PAYMENT: Final = 4
"""Bits of visits.marks. A payment is capitation, service tracking or a supplemental payment."""

STAY_BIRTH: Final = 1
"""Bit of stays.marks: some diagnosis of the claim is Z38, a liveborn infant by place of birth."""

BIRTH_DIAGNOSES: Final = "Z38"
"""Beginning of the codes of ICD-10-CM that a hospital writes once, for the newborn's own birth."""

NO_STAY: Final = -1
"""Of a line whose claim is no stay."""

VISIT_CODES: Final = (
    "90785-90899", "92002-92014", "96156-96171", "98000-98016", "98960-98981", "99201-99499",
    "G0101-G0182", "G0270-G0271", "G0296", "G0372-G0473", "G0502-G0560", "G2010-G2252",
    "G3002-G3003", "G9001-G9012", "H0001-H0050", "H2000-H2037", "S0220-S0221", "S0257",
    "S0280-S0281", "S0302", "S0310-S0340", "S0610-S0613", "T1015-T1017", "T2022-T2023",
)  # fmt: skip
"""Procedures at which a person is seen or coordinated, as ranges of CPT and HCPCS codes.

A population keeps the lines that have them as possible visits; which of them attribute a member is
a term of the contract.
"""


def parts_of(code: str) -> tuple[str, int]:
    """Letter and number of a procedure code; CPT has no letter; anything else is ("?", 0).

    >>> parts_of("99213"), parts_of("T1015"), parts_of("0001F")
    (('', 99213), ('T', 1015), ('?', 0))
    """
    found = re.fullmatch(r"([A-Z]?)(\d{4,5})", code, re.ASCII)
    if found is None or len(code) != 5:
        return ("?", 0)
    return (found[1], int(found[2]))


def range_of(text: str) -> tuple[str, int, int]:
    """Letter, first and last number of a procedure code, or of a range FIRST-LAST of them.

    Raises
    ------
    ValueError
        If it is neither.

    >>> range_of("99202-99205"), range_of("T1015")
    (('', 99202, 99205), ('T', 1015, 1015))
    """
    first, _, last = text.partition("-")
    letter, low = parts_of(first)
    sign, high = parts_of(last) if "-" in text else (letter, low)
    if letter == "?" or sign != letter or low > high:
        raise ValueError(text)
    return letter, low, high


# --- diagnoses ----------------------------------------------------------------------------------

DIAGNOSIS_FORMS: Final = (
    "professional", "outpatient", "unbilled", "inpatient", "unbilled_stay", "other_bill",
    "other_claim",
)  # fmt: skip
"""Claims that carry diagnoses. By bill type: inpatient is 11x and 41x, outpatient 13x, 71x, 76x,
77x, 85x and 87x, other_bill any other. An institutional claim without one is an unbilled_stay where
ingest takes it for an acute stay, else unbilled. Dental and vision claims are other_claim."""

SERVED_FORMS: Final = ("professional", "outpatient", "unbilled")
"""Forms of claims whose service is told too."""

DIAGNOSIS_SERVICES: Final = ("any", "laboratory", "imaging", "transport", "equipment")
"""What a claim is for, where all its lines are of services that rule out or deliver, and "any"."""

NO_DIAGNOSIS: Final = 255


def diagnosis_source(form: str, service: str = "any") -> int:
    """The code of claims of a form and a service in `diagnoses.source`.

    >>> diagnosis_source("professional"), diagnosis_source("outpatient", "imaging")
    (0, 7)
    """
    n = len(DIAGNOSIS_SERVICES)
    return n * DIAGNOSIS_FORMS.index(form) + DIAGNOSIS_SERVICES.index(service)


# --- services -----------------------------------------------------------------------------------

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
