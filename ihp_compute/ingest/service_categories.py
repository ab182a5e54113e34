"""Which service a claim line is: facts of billing, as versioned ranges.

    bill type -> revenue centre -> procedure code -> place of service -> claim type

`facts_of` looks at distinct codes once; `classify` then only indexes arrays. The ranges are
facts of the code sets (UB-04 bill types and revenue centres, CMS place of service, HCPCS level II
sections, numeric ranges of CPT); no descriptor of a licensed code set stands here. Version:
`codes.SERVICE_CATEGORY_VERSION`.

Decided here: the category of a line, whether it is part of an emergency visit or an acute stay, and
whether it is a possible visit. Contracts decide which categories count (`cost`) and which possible
visits attribute; rosters decide who is a primary care provider (`attribution`): the categories
primary_care and specialist here follow the kind of visit, not the person who gave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import (
    BIRTH_DIAGNOSES,
    DIAGNOSIS_FORMS,
    SERVICE_CATEGORIES,
    VISIT_CODES,
    parts_of,
    range_of,
)
from kernels import row_pick

CLAIM_TYPES: Final = ("", "institutional", "professional", "dental", "vision", "pharmacy")
NO_CATEGORY: Final = 255

_CODE: Final = {name: code for code, name in enumerate(SERVICE_CATEGORIES)}
_BILL_TYPES: Final = {  # first two digits: facility and classification
    "11": "inpatient", "12": "inpatient", "41": "inpatient",
    "13": "outpatient_hospital", "14": "laboratory", "85": "outpatient_hospital",
    "18": "nursing_facility", "21": "nursing_facility", "22": "nursing_facility",
    "23": "nursing_facility", "28": "nursing_facility",
    "61": "nursing_facility", "62": "nursing_facility", "63": "nursing_facility",
    "64": "nursing_facility", "65": "nursing_facility", "66": "nursing_facility",
    "67": "nursing_facility", "68": "nursing_facility",
    "32": "home_health", "33": "home_health", "34": "home_health",
    "71": "fqhc_rhc", "73": "fqhc_rhc", "77": "fqhc_rhc",
    "72": "outpatient_hospital", "74": "therapy", "75": "therapy", "76": "mental_health",
    "79": "outpatient_hospital",
    "81": "hospice", "82": "hospice", "83": "ambulatory_surgery", "84": "outpatient_hospital",
    "86": "residential_behavioral", "87": "outpatient_hospital", "89": "other",
}  # fmt: skip
_OUTPATIENT_BILL_TYPES: Final = frozenset({"13", "85"})
_ADMITTED: Final = frozenset({"11", "41"})
_DIAGNOSIS_OUTPATIENT: Final = frozenset({"13", "71", "76", "77", "85", "87"})
"""Outpatient bill types whose diagnoses CMS-HCC and HHS-HCC take, beside stays."""

_REVENUE: Final = (  # first, last, category: refine lines of outpatient institutional claims
    (300, 319, "laboratory"),
    (320, 359, "radiology"),
    (400, 409, "radiology"),
    (420, 449, "therapy"),
    (490, 499, "ambulatory_surgery"),
    (510, 529, "outpatient_hospital"),
    (540, 549, "transport_emergency"),
    (550, 609, "home_health"),
    (610, 619, "radiology"),
    (650, 659, "hospice"),
    (900, 905, "mental_health"),
    (906, 906, "substance_use"),
    (907, 919, "mental_health"),
    (944, 945, "substance_use"),
    (1000, 1005, "residential_behavioral"),
)
_PLACES: Final = {
    "23": "emergency", "24": "ambulatory_surgery", "31": "nursing_facility",
    "32": "nursing_facility", "34": "hospice", "41": "transport_emergency",
    "42": "transport_emergency", "50": "fqhc_rhc", "72": "fqhc_rhc", "53": "mental_health",
    "55": "residential_behavioral", "56": "residential_behavioral", "57": "substance_use",
    "58": "substance_use", "81": "laboratory",
}  # fmt: skip
_PROCEDURES: Final = (  # letter, first, last, category; CPT has the letter ""
    ("", 100, 1999, "specialist"),  # anaesthesia
    ("", 10004, 69990, "specialist"),  # surgery
    ("", 70010, 79999, "radiology"),
    ("", 80047, 89398, "laboratory"),
    ("", 90281, 90756, "primary_care"),  # immunisation
    ("", 90785, 90899, "mental_health"),
    ("", 90901, 92000, "specialist"),
    ("", 92002, 92499, "vision"),
    ("", 92502, 92526, "therapy"),
    ("", 92527, 96100, "specialist"),
    ("", 96101, 96171, "mental_health"),
    ("", 96202, 96999, "specialist"),
    ("", 97010, 97799, "therapy"),
    ("", 98940, 98943, "chiropractic"),
    ("", 98960, 98972, "primary_care"),
    ("", 99202, 99215, "primary_care"),
    ("", 99217, 99239, "inpatient"),  # hospital observation and inpatient care, professional
    ("", 99241, 99255, "specialist"),  # consultations
    ("", 99281, 99288, "emergency"),
    ("", 99291, 99292, "specialist"),
    ("", 99304, 99318, "nursing_facility"),
    ("", 99324, 99350, "primary_care"),  # domiciliary and home visits
    ("", 99354, 99499, "primary_care"),  # preventive, counselling, care management
    ("", 99500, 99602, "home_health"),
    ("A", 21, 140, "transport_non_emergency"),
    ("A", 170, 210, "transport_non_emergency"),
    ("A", 380, 999, "transport_emergency"),
    ("A", 2000, 9300, "supplies"),
    ("A", 9500, 9700, "radiology"),
    ("A", 9900, 9999, "supplies"),
    ("B", 4034, 9999, "supplies"),
    ("C", 1000, 9999, "outpatient_hospital"),
    ("D", 0, 9999, "dental"),
    ("E", 100, 8999, "supplies"),
    ("G", 101, 124, "laboratory"),
    ("G", 151, 168, "home_health"),
    ("G", 299, 300, "home_health"),
    ("G", 396, 397, "substance_use"),
    ("G", 402, 402, "primary_care"),
    ("G", 438, 439, "primary_care"),
    ("G", 442, 447, "primary_care"),
    ("G", 463, 463, "outpatient_hospital"),
    ("G", 466, 470, "fqhc_rhc"),
    ("G", 2067, 2080, "substance_use"),
    ("H", 1, 30, "substance_use"),
    ("H", 31, 40, "mental_health"),
    ("H", 41, 45, "waiver"),
    ("H", 46, 46, "mental_health"),
    ("H", 47, 50, "substance_use"),
    ("H", 1000, 1011, "primary_care"),
    ("H", 2000, 2013, "mental_health"),
    ("H", 2014, 2016, "waiver"),
    ("H", 2017, 2033, "mental_health"),
    ("H", 2034, 2037, "substance_use"),
    ("H", 2038, 2040, "mental_health"),
    ("J", 100, 9999, "specialist"),  # drugs given in an office
    ("K", 1, 9999, "supplies"),
    ("L", 100, 9999, "supplies"),
    ("P", 2000, 9999, "laboratory"),
    ("Q", 5001, 5010, "hospice"),
    ("R", 70, 76, "radiology"),
    ("S", 209, 215, "transport_non_emergency"),
    ("S", 280, 281, "health_care_home"),
    ("S", 5100, 5199, "waiver"),
    ("S", 9061, 9098, "home_health"),
    ("S", 9122, 9124, "home_health"),
    ("S", 9127, 9131, "home_health"),
    ("S", 9480, 9485, "mental_health"),
    ("T", 1000, 1000, "private_duty_nursing"),
    ("T", 1001, 1004, "home_health"),
    ("T", 1005, 1005, "waiver"),
    ("T", 1006, 1012, "substance_use"),
    ("T", 1015, 1015, "fqhc_rhc"),
    ("T", 1016, 1018, "waiver"),
    ("T", 1019, 1020, "personal_care"),
    ("T", 1021, 1022, "home_health"),
    ("T", 1030, 1031, "private_duty_nursing"),
    ("T", 2001, 2007, "transport_non_emergency"),
    ("T", 2010, 2041, "waiver"),
    ("T", 2042, 2046, "hospice"),
    ("T", 2048, 2048, "residential_behavioral"),
    ("T", 2049, 2049, "transport_non_emergency"),
    ("T", 4521, 4545, "supplies"),
    ("V", 2020, 2799, "vision"),
    ("V", 5008, 5364, "therapy"),
)
_POSSIBLE_VISITS: Final = tuple(range_of(codes) for codes in VISIT_CODES)
_EMERGENCY: Final = (("", 99281, 99285),)
DRUG_CODE_LETTERS: Final = frozenset("CJQ")
"""HCPCS sections that name drugs; kept beside NDC for risk models with drug classes."""


@dataclass(frozen=True)
class CodeFacts:
    """What distinct codes say, one array entry a code; arrays are uint8."""

    procedure: NDArray[np.uint8]  # category, or NO_CATEGORY
    possible_visit: NDArray[np.bool_]  # VISIT_CODES
    emergency_procedure: NDArray[np.bool_]
    drug: NDArray[np.bool_]
    revenue: NDArray[np.uint8]
    emergency_revenue: NDArray[np.bool_]
    room_and_board: NDArray[np.bool_]
    total_revenue: NDArray[np.bool_]
    bill_type: NDArray[np.uint8]
    inpatient_bill: NDArray[np.bool_]  # 11x, 12x, 41x
    admitted_bill: NDArray[np.bool_]  # 11x, 41x
    diagnosis_bill: NDArray[np.uint8]  # place in DIAGNOSIS_FORMS, NO_CATEGORY: not stated
    outpatient_bill: NDArray[np.bool_]
    place: NDArray[np.uint8]
    place_number: NDArray[np.uint8]  # two digits as a number; 0 for anything else
    birth: NDArray[np.bool_]  # a diagnosis of a liveborn infant

    def renumbered(self, code_of: Mapping[str, NDArray[np.int32]]) -> CodeFacts:
        """The same of codes that have other numbers, given the number here of each, by system."""
        return CodeFacts(
            **{
                name: getattr(self, name).take(code_of[system])
                for system, names in _FACTS.items()
                for name in names
            }
        )


_FACTS: Final = {
    "hcpcs": ("procedure", "possible_visit", "emergency_procedure", "drug"),
    "revenue": ("revenue", "emergency_revenue", "room_and_board", "total_revenue"),
    "bill_type": (
        "bill_type",
        "inpatient_bill",
        "admitted_bill",
        "outpatient_bill",
        "diagnosis_bill",
    ),
    "place_of_service": ("place", "place_number"),
    "dx": ("birth",),
}
"""The fields of `CodeFacts` that speak of each code system."""


def facts_of(
    hcpcs: Sequence[str],
    revenue: Sequence[str],
    bill_type: Sequence[str],
    place: Sequence[str],
    dx: Sequence[str],
) -> CodeFacts:
    """Look up every distinct code once. Entry 0 of each is "", not stated."""
    procedures = [parts_of(code) for code in hcpcs]
    bills = [_bill(code) for code in bill_type]
    revenues = [int(code) if code.isdecimal() else -1 for code in revenue]
    places = [code.zfill(2) if code.isdecimal() else code for code in place]
    return CodeFacts(
        procedure=_u8(_procedure_category(parts) for parts in procedures),
        possible_visit=_flags(_within(parts, _POSSIBLE_VISITS) for parts in procedures),
        emergency_procedure=_flags(_within(parts, _EMERGENCY) for parts in procedures),
        drug=_flags(code[:1] in DRUG_CODE_LETTERS for code in hcpcs),
        revenue=_u8(
            next((_CODE[c] for first, last, c in _REVENUE if first <= code <= last), NO_CATEGORY)
            for code in revenues
        ),
        emergency_revenue=_flags(450 <= code <= 459 or code == 981 for code in revenues),
        room_and_board=_flags(100 <= code <= 219 for code in revenues),
        total_revenue=_flags(code == 1 for code in revenues),
        bill_type=_u8(_CODE[_BILL_TYPES[b]] if b in _BILL_TYPES else NO_CATEGORY for b in bills),
        inpatient_bill=_flags(b in ("11", "12", "41") for b in bills),
        admitted_bill=_flags(b in _ADMITTED for b in bills),
        diagnosis_bill=_u8(_diagnosis_form(b) for b in bills),
        outpatient_bill=_flags(b in _OUTPATIENT_BILL_TYPES for b in bills),
        place=_u8(_CODE[_PLACES[p]] if p in _PLACES else NO_CATEGORY for p in places),
        place_number=_u8(int(p) if len(p) == 2 and p.isdecimal() else 0 for p in places),
        birth=_flags(code.startswith(BIRTH_DIAGNOSES) for code in dx),
    )


@dataclass(frozen=True)
class LineFacts:
    """Columns of medical lines that classification needs; integer codes as in `CodeFacts`."""

    claim_type: NDArray[np.uint8]  # CLAIM_TYPES
    hcpcs: NDArray[np.int32]
    revenue: NDArray[np.int32]
    bill_type: NDArray[np.int32]
    place: NDArray[np.int32]
    inpatient: NDArray[np.bool_]  # the claim is an acute inpatient claim
    emergency_claim: NDArray[np.bool_]  # a line of the claim is an emergency line


def classify(lines: LineFacts, facts: CodeFacts) -> NDArray[np.uint8]:
    """Category of each medical line, an index into `SERVICE_CATEGORIES`.

    An acute inpatient claim is inpatient whatever its lines say. An outpatient hospital claim with
    an emergency line is emergency as a whole; else its lines follow revenue centre, then
    outpatient_hospital. Other institutional claims follow the bill type, but for health care home
    and FQHC codes. Professional lines follow the procedure code, but in an emergency department,
    a surgery centre or an FQHC, where evaluation and management follow the place.
    """
    n = len(lines.hcpcs)
    procedure = row_pick(facts.procedure, None, lines.hcpcs)
    revenue = row_pick(facts.revenue, None, lines.revenue)
    bill = row_pick(facts.bill_type, None, lines.bill_type)
    place = row_pick(facts.place, None, lines.place)
    institutional = (lines.claim_type == CLAIM_TYPES.index("institutional")) | (
        (lines.claim_type == 0) & ((lines.bill_type > 0) | (lines.revenue > 0))
    )
    category = np.full(n, _CODE["other"], np.uint8)

    def settle(mask: NDArray[np.bool_], value: NDArray[np.uint8] | int) -> None:
        np.copyto(category, value, where=mask, casting="unsafe")

    def one_of(given: NDArray[np.uint8], *names: str) -> NDArray[np.bool_]:
        return np.logical_or.reduce([given == _CODE[name] for name in names])

    # professional and everything not institutional
    settle(place != NO_CATEGORY, place)
    settle(procedure != NO_CATEGORY, procedure)
    visits = one_of(procedure, "primary_care", "specialist", "inpatient")
    settle(visits & one_of(place, "emergency", "ambulatory_surgery", "fqhc_rhc"), place)
    settle(lines.claim_type == CLAIM_TYPES.index("dental"), _CODE["dental"])
    settle(
        (lines.claim_type == CLAIM_TYPES.index("vision")) & (procedure == NO_CATEGORY),
        _CODE["vision"],
    )
    # institutional
    settle(institutional, _CODE["outpatient_hospital"])
    settle(institutional & (procedure == _CODE["laboratory"]), procedure)
    settle(institutional & (procedure == _CODE["radiology"]), procedure)
    settle(institutional & (revenue != NO_CATEGORY), revenue)
    outpatient = row_pick(facts.outpatient_bill, None, lines.bill_type) | (lines.bill_type == 0)
    settle(institutional & (bill != NO_CATEGORY) & ~outpatient, bill)
    settle(institutional & outpatient & lines.emergency_claim, _CODE["emergency"])
    settle(procedure == _CODE["health_care_home"], _CODE["health_care_home"])
    settle(lines.inpatient, _CODE["inpatient"])
    return category


def _within(parts: tuple[str, int], ranges: Sequence[tuple[str, int, int]]) -> bool:
    return any(parts[0] == letter and low <= parts[1] <= high for letter, low, high in ranges)


def _procedure_category(parts: tuple[str, int]) -> int:
    letter, number = parts
    return next(
        (
            _CODE[c]
            for sign, low, high, c in _PROCEDURES
            if sign == letter and low <= number <= high
        ),
        NO_CATEGORY,
    )


def _bill(code: str) -> str:
    """First two digits of a bill type that counts, without its leading zero."""
    return (code[1:] if len(code) == 4 and code.startswith("0") else code)[:2]


def _diagnosis_form(bill: str) -> int:
    if not bill:
        return NO_CATEGORY
    form = "inpatient" if bill in _ADMITTED else "outpatient"
    return DIAGNOSIS_FORMS.index(
        form if bill in _ADMITTED | _DIAGNOSIS_OUTPATIENT else "other_bill"
    )


def _u8(values: Iterable[int]) -> NDArray[np.uint8]:
    return np.fromiter(values, np.uint8)


def _flags(values: Iterable[bool]) -> NDArray[np.bool_]:
    return np.fromiter(values, np.bool_)
