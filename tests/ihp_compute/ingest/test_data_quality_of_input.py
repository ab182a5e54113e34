"""What an ingest notices of an input, keeps, and refuses unless it is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.data_quality import DATA_QUALITY, GateTerms
from ihp_compute.errors import AcceptanceError, DataError, GateError, PopulationError
from ihp_compute.ingest.passes import ingest
from ihp_compute.population.shards import open_population

Row = dict[str, Any]
NO_DRUGS = {"missing_claim_table": "drugs are carved out"}


def _drug(**changes: Any) -> Row:
    return {
        "claim_id": "D1", "claim_line_number": "1", "person_id": "0001", "ndc_code": "00002140701",
        "dispensing_date": "2023-03-01", "paid_date": "2023-04-01", "paid_amount": "10.00",
    } | changes  # fmt: skip


def _told(document: dict[str, Any], finding: str) -> list[Row]:
    return [row for row in document["data_quality"] if row["finding"] == finding]


def _lines(line: Any, n: int, **changes: Any) -> list[Row]:
    return [line(claim_id=f"C{k}", **changes) for k in range(n)]


# --- rows


@pytest.mark.parametrize(
    "changes", [{"paid_amount": "much"}, {"claim_start_date": "soon"}, {"person_id": ""}]
)
def test_a_table_of_which_nothing_can_be_read_is_refused(
    bench: Any, member: Any, line: Any, changes: Row
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=_lines(line, 2, **changes))
    with pytest.raises(GateError, match=r"unreadable_rows.*medical_claim: 2 lines.*2 of them"):
        bench.ingest(folder)
    assert not list(bench.root.glob("population-*"))


def test_one_bad_row_by_itself_is_told_and_put_aside(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line(paid_amount="much")])
    document, _ = bench.ingest(folder)
    assert [row["lines"] for row in _told(document, "unreadable_rows")] == [1]


def test_rows_that_cannot_be_read_bear_the_dollars_that_can(
    bench: Any, member: Any, line: Any
) -> None:
    """A date is what cannot be read of two lines of $100, the amount itself of a third."""
    rows = [
        line(claim_id="C1", claim_start_date="soon", claim_end_date="soon"),
        line(claim_id="C2", claim_start_date="later", claim_end_date="later"),
        line(claim_id="C3", paid_amount="much"),
        line(claim_id="C4"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert {
        row["subject"]: (row["lines"], row["paid_cents"], row["share"])
        for row in _told(document, "unreadable_reason")
    } == {
        "claim_start_date is not a date": (2, 20_000, 0.5),
        "paid_amount is not an amount": (1, 0, 0.25),
    }
    (whole,) = _told(document, "unreadable_rows")
    assert (whole["lines"], whole["paid_cents"]) == (3, 20_000)
    assert whole["subject"] == "2 of them: claim_start_date is not a date"


@pytest.mark.parametrize(("good", "refused"), [(0, True), (498, True), (500, False)])
def test_enrolment_most_of_which_cannot_be_read_is_refused_from_1000_rows_on(
    bench: Any, member: Any, line: Any, good: int, refused: bool
) -> None:
    bad = [member(person_id=f"B{k}", enrollment_start_date="soon") for k in range(1_000 - good)]
    fine = [member(person_id=f"{k:04d}") for k in range(good)]
    folder = bench.folder(eligibility=bad + fine, medical_claim=[line()])
    if refused:
        with pytest.raises(GateError, match="eligibility"):
            bench.ingest(folder)
    else:
        document, _ = bench.ingest(folder)
        assert [row["share"] for row in _told(document, "unreadable_rows")] == [0.5]


def test_a_table_most_of_which_repeats_is_refused(bench: Any, member: Any, line: Any) -> None:
    rows = [*_lines(line, 400), *_lines(line, 400), *_lines(line, 400)]
    folder = bench.folder(eligibility=[member()], medical_claim=rows, pharmacy_claim=[_drug()])
    with pytest.raises(GateError, match=r"duplicate_rows.*800 lines, .*66.7%"):
        bench.ingest(folder)


def test_a_table_most_of_whose_lines_are_replaced_is_refused(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        row
        for day in ("2023-04-01", "2023-05-01", "2023-06-01")
        for row in _lines(line, 400, paid_date=day)
    ]
    folder = bench.folder(eligibility=[member()], medical_claim=rows, pharmacy_claim=[_drug()])
    with pytest.raises(GateError, match=r"superseded_lines.*800 lines"):
        bench.ingest(folder)


@pytest.mark.parametrize(("paid", "refused"), [("100.00", True), ("0.00", False)])
def test_a_denial_flag_that_denies_many_dollars_of_a_source_is_refused_with_both_readings(
    bench: Any, member: Any, line: Any, paid: str, refused: bool
) -> None:
    """Of source b 11 % is denied; source a, and a few lines of c, hide and tell nothing."""
    rows = [
        *_lines(line, 1_000, data_source="a", x_clm_dnd_ind="1"),
        *_lines(line, 890, data_source="b", x_clm_dnd_ind="1"),
        *[
            line(claim_id=f"D{k}", data_source="b", x_clm_dnd_ind="0", paid_amount=paid)
            for k in range(110)
        ],
        line(claim_id="C", data_source="c", x_clm_dnd_ind="0"),
    ]
    folder = bench.folder(eligibility=[member()], medical_claim=rows, pharmacy_claim=[_drug()])
    if not refused:
        document, _ = bench.ingest(folder)
        assert {row["subject"] for row in _told(document, "denied_dollars")} == {
            "source c, as it is read",
            "source c, if it were turned round",
        }
        return
    with pytest.raises(GateError, match=r"denied_dollars.*110 lines, .11,000.00, 11.0%.*source b"):
        bench.ingest(folder)


# --- tables


@pytest.mark.parametrize("empty", [False, True])
def test_a_claim_table_that_is_missing_or_empty_is_told_and_refused_from_1000_lines_on(
    bench: Any, member: Any, line: Any, empty: bool
) -> None:
    few = bench.folder(eligibility=[member()], medical_claim=_lines(line, 999))
    many = bench.folder(eligibility=[member()], medical_claim=_lines(line, 1_000))
    if empty:
        for folder in (few, many):
            folder.joinpath("pharmacy_claim.csv").write_text(",".join(_drug()) + "\n")
    document, _ = bench.ingest(few)
    (row,) = _told(document, "missing_claim_table")
    assert (row["source_table"], row["tripped"]) == ("pharmacy_claim", False)
    with pytest.raises(GateError, match=r"missing_claim_table.*pharmacy_claim"):
        bench.ingest(many)


def test_what_is_accepted_is_kept_with_its_reason(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=_lines(line, 1_000))
    document, population = bench.ingest(folder, gates=GateTerms(accept=NO_DRUGS))
    assert document["accepted"] == population.manifest["accepted"] == NO_DRUGS
    kept = population.data_quality()
    assert kept.schema.equals(DATA_QUALITY.arrow)
    assert kept.to_pylist() == document["data_quality"]
    (row,) = [row for row in kept.to_pylist() if row["tripped"]]
    assert (row["gate"], row["accepted"]) == ("missing_claim_table", "drugs are carved out")
    assert "data_quality.parquet" in population.manifest["files"]


def test_accepting_what_does_not_trip_leaves_nothing(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    with pytest.raises(AcceptanceError, match="missing_claim_table"):
        bench.ingest(folder, gates=GateTerms(accept=NO_DRUGS))
    assert not list(bench.root.glob("population-*"))


def test_a_population_made_before_there_were_findings_opens(
    bench: Any, member: Any, line: Any
) -> None:
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[line()]))
    population.path.joinpath("data_quality.parquet").unlink()
    manifest = population.manifest
    for name in ("accepted", "thresholds", "choices"):
        del manifest[name]
    del manifest["files"]["data_quality.parquet"]
    population.path.joinpath("manifest.json").write_text(json.dumps(manifest))
    opened = open_population(population.path)
    assert opened.digest == population.digest
    assert opened.data_quality().num_rows == 0


def test_a_damaged_table_of_findings_is_refused_in_words(
    bench: Any, member: Any, line: Any
) -> None:
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[line()]))
    path = population.path / "data_quality.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PopulationError, match=r"data_quality\.parquet"):
        open_population(population.path)
    pq.write_table(pa.table({"finding": ["one"]}), path)
    with pytest.raises(PopulationError, match=r"data_quality\.parquet cannot be read"):
        population.data_quality()


def test_files_and_columns_left_out_are_told(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(
        eligibility=[member()], medical_claim=[line(colour="red")], readme=[{"a": "b"}]
    )
    document, _ = bench.ingest(folder)
    assert [row["file"] for row in _told(document, "file_left_out")] == ["readme.csv"]
    assert [
        (row["source_table"], row["file"], row["column_name"])
        for row in _told(document, "column_left_out")
    ] == [("medical_claim", "medical_claim.csv", "colour")]


def test_amounts_that_are_blank_or_finer_than_a_cent_are_told(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(), line(claim_id="C2", paid_amount=""), line(claim_id="C3", paid_amount="1.005")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.noticed(document, "blank_amount") == [(1, 0)]
    assert bench.noticed(document, "sub_cent_amount") == [(1, 0)]


# --- the roster


def _provider(npi: str) -> Row:
    return {
        "npi": npi, "partnership_id": "A", "specialty": "primary care",
        "start_date": "2023-01-01", "end_date": "",
    }  # fmt: skip


def test_providers_that_no_claim_names_are_listed(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(
        eligibility=[member()],
        medical_claim=[line()],
        provider_roster=[_provider("0123456789"), *[_provider("1999999999")] * 2],
    )
    document, _ = bench.ingest(folder)
    assert [(r["subject"], r["lines"]) for r in _told(document, "roster_npi_without_claims")] == [
        ("1999999999", 2)
    ]
    assert [r["share"] for r in _told(document, "roster_without_claims")] == [0.5]


@pytest.mark.parametrize("claims", [999, 1_000])
def test_a_roster_that_no_claim_names_is_refused_from_1000_lines_on(
    bench: Any, member: Any, line: Any, claims: int
) -> None:
    folder = bench.folder(
        eligibility=[member()],
        medical_claim=_lines(line, claims - 1),
        pharmacy_claim=[_drug()],
        provider_roster=[_provider("1999999999")],
    )
    if claims < 1_000:
        document, _ = bench.ingest(folder)
        assert [row["tripped"] for row in _told(document, "roster_without_claims")] == [False]
    else:
        with pytest.raises(GateError, match="roster_without_claims"):
            bench.ingest(folder)


def test_no_roster_at_all_is_told(bench: Any, member: Any, line: Any) -> None:
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[line()]))
    assert len(_told(document, "missing_roster")) == 1


def test_visits_of_providers_off_the_roster_are_told_and_the_largest_named(
    bench: Any, member: Any, line: Any
) -> None:
    """Four of six lines that could be visits: a billing NPI on the roster puts a line on it too.

    No visits, whoever has them: a capitation payment and a laboratory test.
    """
    on, off = {"rendering_npi": "0123456789"}, {"rendering_npi": "1999999999"}
    rows = [
        line(claim_id="C1", **on),
        line(claim_id="C2", billing_npi="0123456789", **off),
        line(claim_id="C3", paid_amount="250.00", **off),
        line(claim_id="C4", paid_amount="50.00", **off),
        line(claim_id="C5", rendering_npi="", billing_npi="1888888888"),
        line(claim_id="C6", rendering_npi=""),
        line(claim_id="C7", x_clm_type_cd="2", **off),
        line(claim_id="C9", hcpcs_code="80053", **off),
    ]
    folder = bench.folder(
        eligibility=[member()],
        medical_claim=rows,
        provider_roster=[_provider("0123456789") | {"end_date": "2023-01-31"}],
    )
    document, _ = bench.ingest(folder)
    (whole,) = _told(document, "visits_off_roster")
    assert (whole["lines"], whole["paid_cents"]) == (4, 500_00)
    assert whole["share"] == pytest.approx(4 / 6)
    assert whole["detail"] == "of 6 lines that could be visits; 3 NPIs"
    named = {r["subject"]: (r["lines"], r["paid_cents"]) for r in _told(document, "npi_off_roster")}
    assert named == {
        "1999999999": (2, 300_00), "1888888888": (1, 100_00), "not stated": (1, 100_00),
    }  # fmt: skip


def test_of_many_providers_off_the_roster_those_with_most_dollars_are_named(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(claim_id=f"C{k}", rendering_npi=f"19999999{k:02d}", paid_amount=f"{k + 1}.00")
        for k in range(12)
    ]
    folder = bench.folder(
        eligibility=[member()],
        medical_claim=[*rows, line(claim_id="C")],
        provider_roster=[_provider("0123456789")],
    )
    document, _ = bench.ingest(folder, shards=5)
    assert [row["lines"] for row in _told(document, "visits_off_roster")] == [12]
    named = {row["subject"] for row in _told(document, "npi_off_roster")}
    assert named == {f"19999999{k:02d}" for k in range(2, 12)}


# --- plans


def test_plans_of_claims_that_no_enrolment_names_are_told(
    bench: Any, member: Any, line: Any
) -> None:
    """A line that states no plan is its payer's; two of four lines have plans nobody names."""
    folder = bench.folder(
        eligibility=[member(plan="A", payer="STATE")],
        medical_claim=[
            line(claim_id="C1", plan="A", payer="STATE"),
            line(claim_id="C2", plan="", payer="STATE"),
            line(claim_id="C3", plan="Z", payer="STATE", paid_amount="70.00"),
            line(claim_id="C4", plan="", payer="ELSEWHERE"),
        ],
    )
    document, _ = bench.ingest(folder)
    assert {
        row["subject"]: (row["lines"], row["paid_cents"], row["share"])
        for row in _told(document, "plan_without_eligibility")
    } == {"Z": (1, 70_00, 0.25), "ELSEWHERE": (1, 100_00, 0.25)}


def test_where_enrolment_names_no_plan_none_of_claims_is_strange(
    bench: Any, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line(plan="Z")])
    document, _ = bench.ingest(folder)
    assert not _told(document, "plan_without_eligibility")


# --- months


def _year(line: Any, by_month: dict[int, int], plan: str = "A", year: int = 2023) -> list[Row]:
    """So many lines in each month, every one paid at the end of the year after."""
    return [
        line(
            claim_id=f"{plan}{year}{month}-{k}", plan=plan,
            claim_start_date=f"{year}-{month:02d}-05", claim_end_date=f"{year}-{month:02d}-05",
            paid_date=f"{year + 1}-12-15",
        )
        for month, n in by_month.items()
        for k in range(n)
    ]  # fmt: skip


def _judged(bench: Any, member: Any, rows: list[Row], **gates: Any) -> dict[str, Any]:
    folder = bench.folder(
        eligibility=[member(enrollment_end_date="2024-12-31")],
        medical_claim=rows,
        pharmacy_claim=[_drug()],
    )
    document, _ = bench.ingest(folder, **gates)
    return dict(document)


@pytest.mark.parametrize("thin", [0, 300])
def test_a_month_under_a_third_of_its_neighbours_is_refused(
    bench: Any, member: Any, line: Any, thin: int
) -> None:
    rows = _year(line, {1: 1_200, 2: 1_200, 3: thin, 4: 1_000, 5: 1_200})
    with pytest.raises(GateError, match=r"thin_month.*plan A, 2023-03: 1,000 lines") as refused:
        _judged(bench, member, rows)
    assert "2023-02" not in str(refused.value)


def test_two_months_in_a_row_without_claims_are_refused(bench: Any, member: Any, line: Any) -> None:
    rows = _year(line, {1: 1_500, 2: 1_500, 5: 1_500, 6: 1_500})
    with pytest.raises(GateError, match=r"2023-03.*2023-04"):
        _judged(bench, member, rows)


def test_a_thin_month_of_a_small_plan_is_told(bench: Any, member: Any, line: Any) -> None:
    document = _judged(bench, member, _year(line, {1: 90, 2: 20, 3: 90}))
    assert [(r["lines"], r["tripped"]) for r in _told(document, "thin_month")] == [(20, False)]


def test_one_plan_s_missing_month_is_not_hidden_by_another(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        *_year(line, {1: 1_500, 3: 1_500}, "A"),
        *_year(line, {1: 3_000, 2: 3_000, 3: 3_000}, "B"),
    ]
    with pytest.raises(GateError, match="plan A, 2023-02"):
        _judged(bench, member, rows)
    accepted = GateTerms(accept={"thin_month": "A closed"})
    document = _judged(bench, member, rows, gates=accepted)
    assert "plan A: 2023-02" in [row["subject"] for row in _told(document, "months_without_claims")]


def test_a_table_that_ends_before_the_other_is_told_its_months_without_claims(
    bench: Any, member: Any, line: Any
) -> None:
    document = _judged(bench, member, _year(line, {1: 10, 2: 10, 3: 10, 4: 10, 6: 10}))
    assert {
        (row["source_table"], row["subject"]) for row in _told(document, "months_without_claims")
    } == {
        ("medical_claim", "plan A: 2023-05"),
        ("pharmacy_claim", "plan not stated: 2023-02, 2023-04 to 2023-06"),
    }


def test_a_stray_date_widens_no_span(bench: Any, member: Any, line: Any) -> None:
    rows = [*_year(line, {1: 20, 2: 20, 3: 20}), line(claim_start_date="1955-02-01")]
    document = _judged(bench, member, rows)
    assert not [row for row in _told(document, "months_without_claims") if "19" in row["subject"]]


def test_claims_on_their_way_trip_nothing(bench: Any, member: Any, line: Any) -> None:
    """The last three months before the last paid day are not judged, nor the first month."""
    rows = _year(line, {1: 100, 2: 1_500, 3: 1_500, 4: 1_500, 5: 1_500, 6: 400, 7: 90, 8: 90})
    for row in rows:
        row["paid_date"] = "2023-08-20"
    document = _judged(bench, member, rows)
    assert not _told(document, "thin_month")


# --- choices and control totals


def test_the_choices_made_are_in_the_manifest(bench: Any, member: Any, line: Any) -> None:
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[line()]))
    assert population.manifest["choices"] == {
        "equal_rows": "duplicate",
        "later_amounts": "restated",
    }


def test_both_readings_of_later_amounts_have_their_dollars(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(), line(paid_date="2023-05-01", paid_amount="60")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert {row["subject"]: row["paid_cents"] for row in _told(document, "later_amounts")} == {
        "read as restated, what stands": 6_000,
        "if read as additional, what stands": 16_000,
    }


@pytest.fixture
def delivered(bench: Any, member: Any, line: Any) -> Path:
    """Two files of claims, of two plans and months."""
    folder: Path = bench.folder(
        eligibility=[member()],
        medical_claim__a=[line(plan="X"), line(claim_id="C2", plan="Y", paid_amount="7.25")],
        medical_claim__b=[line(claim_id="C3", plan="X", claim_start_date="2023-05-02")],
    )
    return folder


CONTROL = "table,file,month,plan,lines,dollars\n"


@pytest.mark.parametrize(
    "row",
    [
        "medical_claim,,,,3,207.25",
        "medical_claim,a.csv,,,2,$107.25",
        "medical_claim,medical_claim/b.csv,,,1,",
        "medical_claim,,2023-03,,2,107.25",
        "medical_claim,,,X,2,200.00",
        "medical_claim,,202305,X,1,100",
        "eligibility,,,,1,",
        "pharmacy_claim,,,,0,0",
    ],
)
def test_control_totals_that_are_met_pass(
    bench: Any, delivered: Path, tmp_path: Path, row: str
) -> None:
    control = tmp_path / "control.csv"
    control.write_text(CONTROL + row + "\n")
    document, _ = bench.ingest(delivered, control=control)
    assert not _told(document, "control_total")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("medical_claim,,,,4,207.25", "stated 4 lines and .207.25, read 3 lines"),
        ("medical_claim,,,,3,207.26", "-.0.01"),
        ("medical_claim,c.csv,,,2,", "stated 2 lines, read 0 lines"),
        ("medical_claim,,2023-04,,1,", "2023-04: stated 1 lines, read 0"),
        ("medical_claim,,2023-03,Y,,8", "Y, 2023-03"),
        ("eligibility,,,,2,", "eligibility"),
    ],
)
def test_control_totals_that_are_not_met_are_refused_with_both_numbers(
    bench: Any, delivered: Path, tmp_path: Path, row: str, words: str
) -> None:
    control = tmp_path / "control.csv"
    control.write_text(CONTROL + row + "\n")
    with pytest.raises(GateError, match=f"control_totals.*{words}"):
        bench.ingest(delivered, control=control)


def test_a_difference_within_the_tolerance_is_told(
    bench: Any, delivered: Path, tmp_path: Path
) -> None:
    control = tmp_path / "control.parquet"
    table = pa.table({"source_table": ["medical_claim"], "lines": [4]})
    pq.write_table(table, control)
    document, _ = bench.ingest(delivered, control=control, gates=GateTerms({"control_totals": 0.3}))
    assert [(r["lines"], r["share"], r["tripped"]) for r in _told(document, "control_total")] == [
        (-1, 0.25, False)
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("table,file\nmedical_claim,a\n", "expected columns table and lines or dollars"),
        ("table,lines,colour\nmedical_claim,1,red\n", "colour"),
        (CONTROL + "claims,,,,1,\n", "row 1: table"),
        (CONTROL + "medical_claim,,March,,1,\n", "row 1: month"),
        (CONTROL + "medical_claim,,,,some,\n", "row 1: lines"),
        (CONTROL + "medical_claim,,,,,many\n", "row 1: dollars"),
        (CONTROL + "medical_claim,,,,,\n", "row 1: expected lines or dollars"),
        (CONTROL + "eligibility,,2023-01,,1,\n", "row 1: eligibility"),
    ],
)
def test_control_totals_that_cannot_be_read_are_refused(
    delivered: Path, tmp_path: Path, text: str, words: str
) -> None:
    control = tmp_path / "control.csv"
    control.write_text(text)
    with pytest.raises(DataError, match=words):
        ingest(delivered, tmp_path / "out", control=control)
