"""Gates: what trips them, how they are set and accepted, and what is kept of findings."""

from __future__ import annotations

import pytest

from ihp_compute.data_quality import (
    DATA_QUALITY,
    FINDINGS,
    GATES,
    INGEST,
    RUN,
    GateTerms,
    Noticed,
    Stage,
    accepted_lines,
    gates_of,
    over_files,
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
        ({}, {"thin_month": "a slow\nmonth"}, "one line of text"),
        ({}, {"thin_month": "\x1b[2J"}, "one line of text"),
        ({}, {"inconsistent": "amended"}, "'inconsistent' judges a run, not an ingest"),
        ({"inconsistent": 2.0}, {}, "'inconsistent' judges a run, not an ingest"),
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
        terms.refuse(terms.judge(_both()), {"some": "document"}, Stage.READ)
    said = str(refused.value)
    assert "medical_claim: 600 lines, 60.0%" in said
    assert "--accept duplicate_rows=REASON --accept missing_claim_table=REASON" in said
    assert refused.value.document == {"some": "document"}


def test_what_is_accepted_passes_and_keeps_its_reason() -> None:
    terms = GateTerms(accept={"duplicate_rows": "a re-send", "missing_claim_table": "carved out"})
    rows = terms.judge(_both())
    terms.refuse(rows, {}, Stage.READ)
    assert [(row["tripped"], row["accepted"]) for row in rows] == [
        (True, "a re-send"),
        (True, "carved out"),
    ]


def test_one_gate_accepted_leaves_the_other_refused() -> None:
    terms = GateTerms(accept={"duplicate_rows": "a re-send"})
    with pytest.raises(GateError, match="1 gate tripped") as refused:
        terms.refuse(terms.judge(_both()), {}, Stage.READ)
    assert "duplicate_rows" not in str(refused.value)


def test_accepting_what_does_not_trip_is_refused() -> None:
    terms = GateTerms(accept={"thin_month": "a slow month"})
    with pytest.raises(AcceptanceError, match=r"thin_month \(none tripped\)"):
        terms.refuse(terms.judge([]), {}, Stage.READ)


def test_findings_name_gates_that_exist_and_every_gate_judges_one() -> None:
    assert {finding.gate for finding in FINDINGS.values()} - {""} == set(GATES)


def test_rows_become_a_table_of_the_declared_columns_in_order_of_its_keys() -> None:
    table = table_of(GateTerms().judge(reversed(_both())))
    assert table.schema.names == list(DATA_QUALITY.names)
    assert table.column("source_table").to_pylist() == ["medical_claim", "pharmacy_claim"]


@pytest.mark.parametrize("name", gates_of(INGEST))
def test_a_gate_of_an_ingest_is_none_of_a_run_s(name: str) -> None:
    with pytest.raises(AcceptanceError, match=rf"'{name}' judges an ingest, not a run"):
        GateTerms(accept={name: "why"}, work=RUN)


def test_every_gate_is_of_one_kind_of_work() -> None:
    assert sorted([*gates_of(INGEST), *gates_of(RUN)]) == sorted(GATES)


def test_a_stage_refuses_only_the_idle_acceptances_of_its_own_gates() -> None:
    """Where a gate judges later, whether it trips is not known yet."""
    terms = GateTerms(accept={"inconsistent": "amended"}, work=RUN)
    terms.refuse([], {}, Stage.READ)
    with pytest.raises(AcceptanceError, match=r"inconsistent \(none tripped\)"):
        terms.refuse([], {}, Stage.PLAN)


def test_what_was_accepted_is_a_line_of_gate_place_numbers_and_reason() -> None:
    accept = {"duplicate_rows": "a re-send", "missing_claim_table": "carved out"}
    (first, second) = accepted_lines(GateTerms(accept=accept).judge(_both()))
    assert first.startswith("gate duplicate_rows accepted: ")
    assert first.endswith("medical_claim: 600 lines, 60.0%; reason: a re-send")
    assert second.endswith("pharmacy_claim; reason: carved out")
    assert accepted_lines(GateTerms().judge([])) == []


def test_what_another_version_noticed_is_still_told() -> None:
    """A population may bear a gate and a finding that are no longer declared."""
    (row,) = GateTerms(accept={"duplicate_rows": "a re-send"}).judge(_both()[:1])
    (line,) = accepted_lines([{**row, "finding": "rows_twice", "gate": "twice"}])
    assert line.startswith("gate twice accepted: rows twice: medical_claim")


def test_rows_of_several_files_are_one_row_whose_share_is_of_the_table() -> None:
    """Twice 3 lines of 60 are a tenth of them, whatever their part of each file was."""
    rows = GateTerms().judge(
        [
            Noticed("blank_amount", "medical_claim", file, lines=3, paid_cents=5, share=0.5)
            for file in ("a.csv", "b.csv")
        ]
        + [Noticed("file_left_out", file=name) for name in ("c.txt", "d.txt")]
    )
    whole = over_files(rows, {"medical_claim": 60})
    assert [(row["file"], row["lines"], row["paid_cents"], row["share"]) for row in whole] == [
        ("c.txt", 0, 0, 0.0),
        ("d.txt", 0, 0, 0.0),
        ("(2 files)", 6, 10, 0.1),
    ]
