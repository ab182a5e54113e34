"""Codes say what a line is; the list of categories is whole."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ihp_compute.codes import SERVICE_CATEGORIES
from ihp_compute.ingest.service_categories import (
    _BILL_TYPES,
    _PLACES,
    _POSSIBLE_VISITS,
    _PROCEDURES,
    _REVENUE,
    CLAIM_TYPES,
    LineFacts,
    classify,
    facts_of,
)


def _category(
    claim_type: str = "professional",
    hcpcs: str = "",
    revenue: str = "",
    bill_type: str = "",
    place: str = "",
    *,
    inpatient: bool = False,
    emergency: bool = False,
) -> str:
    facts = facts_of(["", hcpcs], ["", revenue], ["", bill_type], ["", place], [""])

    def code(text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array([int(bool(text))], np.int32)

    found = classify(
        LineFacts(
            claim_type=np.array([CLAIM_TYPES.index(claim_type)], np.uint8),
            hcpcs=code(hcpcs),
            revenue=code(revenue),
            bill_type=code(bill_type),
            place=code(place),
            inpatient=np.array([inpatient]),
            emergency_claim=np.array([emergency]),
        ),
        facts,
    )
    return SERVICE_CATEGORIES[found[0]]


@pytest.mark.parametrize(
    ("codes", "category"),
    [
        ({"hcpcs": "99213", "place": "11"}, "primary_care"),
        ({"hcpcs": "99395"}, "primary_care"),
        ({"hcpcs": "99245"}, "specialist"),
        ({"hcpcs": "43239", "place": "24"}, "ambulatory_surgery"),
        ({"hcpcs": "99284", "place": "23"}, "emergency"),
        ({"hcpcs": "99284"}, "emergency"),
        ({"hcpcs": "80053"}, "laboratory"),
        ({"hcpcs": "71046"}, "radiology"),
        ({"hcpcs": "97110"}, "therapy"),
        ({"hcpcs": "98941"}, "chiropractic"),
        ({"hcpcs": "92014"}, "vision"),
        ({"hcpcs": "90837"}, "mental_health"),
        ({"hcpcs": "H0015"}, "substance_use"),
        ({"hcpcs": "T1015"}, "fqhc_rhc"),
        ({"hcpcs": "99213", "place": "50"}, "fqhc_rhc"),
        ({"hcpcs": "S0281"}, "health_care_home"),
        ({"hcpcs": "T1019"}, "personal_care"),
        ({"hcpcs": "T1000"}, "private_duty_nursing"),
        ({"hcpcs": "A0429"}, "transport_emergency"),
        ({"hcpcs": "A0100"}, "transport_non_emergency"),
        ({"hcpcs": "T2003"}, "transport_non_emergency"),
        ({"hcpcs": "E0601"}, "supplies"),
        ({"hcpcs": "D1110"}, "dental"),
        ({"claim_type": "dental"}, "dental"),
        ({"claim_type": "vision"}, "vision"),
        ({"hcpcs": "NOPE1"}, "other"),
        ({}, "other"),
        ({"claim_type": "institutional", "bill_type": "0131"}, "outpatient_hospital"),
        ({"claim_type": "institutional", "bill_type": "131", "revenue": "300"}, "laboratory"),
        ({"claim_type": "institutional", "bill_type": "131", "emergency": True}, "emergency"),
        ({"claim_type": "institutional", "bill_type": "111", "inpatient": True}, "inpatient"),
        ({"claim_type": "institutional", "bill_type": "213"}, "nursing_facility"),
        ({"claim_type": "institutional", "bill_type": "322"}, "home_health"),
        ({"claim_type": "institutional", "bill_type": "813"}, "hospice"),
        ({"claim_type": "institutional", "bill_type": "771"}, "fqhc_rhc"),
        ({"claim_type": "", "revenue": "0420"}, "therapy"),
    ],
)
def test_a_line_has_the_category_of_its_codes(codes: dict[str, Any], category: str) -> None:
    assert _category(**codes) == category


def test_every_category_named_by_a_rule_exists() -> None:
    named = {*_BILL_TYPES.values(), *_PLACES.values()}
    named |= {rule[-1] for rule in (*_REVENUE, *_PROCEDURES)}
    assert named <= set(SERVICE_CATEGORIES)


def test_ranges_are_in_order_and_do_not_overlap() -> None:
    for rules in (
        [("", low, high) for low, high, _ in _REVENUE],
        [(letter, low, high) for letter, low, high, _ in _PROCEDURES],
        list(_POSSIBLE_VISITS),
    ):
        for (letter, _, high), (following, low, _) in pairwise(rules):
            assert letter != following or high < low
    assert all(low <= high for _, low, high, _ in _PROCEDURES)


@pytest.mark.parametrize(
    ("code", "possible"),
    [
        ("99202", True), ("99215", True), ("99397", True), ("G0439", True), ("T1015", True),
        ("S0280", True), ("90834", True), ("99285", True), ("H0031", True), ("80053", False),
        ("71046", False), ("", False), ("9921", False), ("99213A", False), ("A0428", False),
    ],
)  # fmt: skip
def test_people_are_seen_at_visits_and_not_at_other_services(code: str, possible: bool) -> None:
    facts = facts_of(["", code], [""], [""], [""], [""])
    assert facts.possible_visit[1] == possible


def test_facts_follow_codes_to_other_numbers() -> None:
    codes = {
        "hcpcs": ["", "99213", "99283", "J1100"],
        "revenue": ["", "0001", "0120", "0301", "0450"],
        "bill_type": ["", "111", "131"],
        "place_of_service": ["", "11", "21", "23"],
        "dx": ["", "P599", "Z3800"],
    }
    number = {system: np.arange(len(of), dtype=np.int32)[::-1] for system, of in codes.items()}
    moved = facts_of(*codes.values()).renumbered(number)
    wanted = facts_of(*([of[k] for k in number[system]] for system, of in codes.items()))
    for field in fields(wanted):
        assert (getattr(moved, field.name) == getattr(wanted, field.name)).all()
        assert len(set(getattr(wanted, field.name).tolist())) > 1, field.name
