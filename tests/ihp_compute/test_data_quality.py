"""Gates: what trips them, how they are set and accepted, and what is kept of findings."""

from __future__ import annotations

import pytest

from ihp_compute.data_quality import (
    DATA_QUALITY,
    FINDINGS,
    GATES,
    GateTerms,
    Noticed,
    table_of,
)
from ihp_compute.errors import AcceptanceError, GateError


def _tripped(finding: str, share: float, size: int, terms: GateTerms | None = None) -> bool:
    noticed = Noticed(finding, "medical_claim", lines=1, share=share, size=size)
    (row,) = (terms or GateTerms()).judge([noticed])
    return bool(row["tripped"])


@pytest.mark.parametrize(
    ("finding", "passes", "trips"),
    [
        ("unreadable_rows", 0.5, 0.501),
        ("duplicate_rows", 0.5, 0.501),
        ("superseded_lines", 0.5, 0.501),
        ("denied_dollars", 0.1, 0.101),
        ("roster_without_claims", 0.999, 1.0),
        ("thin_month", 0.334, 0.333),
        ("missing_claim_table", 0.0, 1.0),
    ],
)
def test_a_gate_by_share_trips_beyond_its_threshold_from_1000_on(
    finding: str, passes: float, trips: float
) -> None:
    assert not _tripped(finding, passes, 1_000)
    assert not _tripped(finding, trips, 999)
    assert _tripped(finding, trips, 1_000)


def test_a_table_is_refused_from_two_rows_on_where_none_can_be_read() -> None:
    assert not _tripped("unreadable_rows", 1, 1)
    assert _tripped("unreadable_rows", 1, 2)
    assert not _tripped("unreadable_rows", 0.9, 2)


def test_a_threshold_is_set_by_the_gate_s_name() -> None:
    terms = GateTerms({"duplicate_rows": 0.2})
    assert _tripped("duplicate_rows", 0.3, 1_000, terms)
    assert not _tripped("superseded_lines", 0.3, 1_000, terms)


@pytest.mark.parametrize(
    ("thresholds", "accept", "words"),
    [
        ({"no_such": 1.0}, {}, "'no_such'"),
        ({}, {"no_such": "why"}, "'no_such'"),
        ({}, {"thin_month": " "}, "a reason"),
        ({"thin_month": -1.0}, {}, "from 0"),
        ({"thin_month": float("nan")}, {}, "from 0"),
    ],
)
def test_what_is_no_gate_no_reason_or_no_threshold_is_refused(
    thresholds: dict[str, float], accept: dict[str, str], words: str
) -> None:
    with pytest.raises(AcceptanceError, match=words):
        GateTerms(thresholds, accept)


def _both() -> list[Noticed]:
    return [
        Noticed("duplicate_rows", "medical_claim", lines=600, share=0.6, size=1_000),
        Noticed("missing_claim_table", "pharmacy_claim", share=1.0, size=1_000),
    ]


def test_every_gate_that_trips_is_named_with_its_numbers_and_the_way_on() -> None:
    terms = GateTerms()
    with pytest.raises(GateError) as refused:
        terms.refuse(terms.judge(_both()), {"some": "document"})
    said = str(refused.value)
    assert "medical_claim: 600 lines, 60.0%" in said
    assert "--accept duplicate_rows=REASON --accept missing_claim_table=REASON" in said
    assert refused.value.document == {"some": "document"}


def test_what_is_accepted_passes_and_keeps_its_reason() -> None:
    terms = GateTerms(accept={"duplicate_rows": "a re-send", "missing_claim_table": "carved out"})
    rows = terms.judge(_both())
    terms.refuse(rows, {})
    assert [(row["tripped"], row["accepted"]) for row in rows] == [
        (True, "a re-send"),
        (True, "carved out"),
    ]


def test_one_gate_accepted_leaves_the_other_refused() -> None:
    terms = GateTerms(accept={"duplicate_rows": "a re-send"})
    with pytest.raises(GateError, match="1 gate tripped") as refused:
        terms.refuse(terms.judge(_both()), {})
    assert "duplicate_rows" not in str(refused.value)


def test_accepting_what_does_not_trip_is_refused() -> None:
    terms = GateTerms(accept={"thin_month": "a slow month"})
    with pytest.raises(AcceptanceError, match=r"thin_month \(none tripped\)"):
        terms.refuse(terms.judge([]), {})


def test_findings_name_gates_that_exist_and_every_gate_judges_one() -> None:
    assert {finding.gate for finding in FINDINGS.values()} - {""} == set(GATES)


def test_rows_become_a_table_of_the_declared_columns_in_order_of_its_keys() -> None:
    table = table_of(GateTerms().judge(reversed(_both())))
    assert table.schema.names == list(DATA_QUALITY.names)
    assert table.column("source_table").to_pylist() == ["medical_claim", "pharmacy_claim"]
