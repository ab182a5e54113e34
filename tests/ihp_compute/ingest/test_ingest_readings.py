"""One value has one reading: whatever the format, type, table or column that it stands in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import SPAN_DUAL
from ihp_compute.data_quality import GateTerms
from ihp_compute.errors import DataError, GateError
from ihp_compute.ingest.door.texts import is_rounded
from ihp_compute.ingest.door.values import BAD_DAY, MAX_CENTS, read_cents, read_days
from ihp_compute.input_columns import NO_DATES
from ihp_compute.units import NO_DAY, day_of

Row = dict[str, Any]


def parquet(folder: Path, table: str, rows: list[Row], **columns: pa.Array) -> None:
    """A table as Parquet, some of its columns as given."""
    made = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    pq.write_table(pa.table(made | columns), folder / f"{table}.parquet")


READINGS = {
    "not_understood", "not_a_date", "day_or_month_first", "date_out_of_range", "not_an_amount",
    "status_and_denial_differ", "end_before_start", "before_admission", "before_birth",
    "total_line", "money_on_total_line", "months_named_differently", "denied_dollars",
}  # fmt: skip


def told(document: dict[str, Any]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Lines and cents of what was read with doubt, by column, finding and what it is of."""
    return {
        tuple(filter(None, (row["column_name"], row["finding"], row["subject"]))): (
            row["lines"],
            row["paid_cents"],
        )
        for row in document["data_quality"]
        if row["finding"] in READINGS
    }


@pytest.fixture
def drug() -> Callable[..., Row]:
    """A prescription of member 0001 for ten dollars."""

    def make(**changes: Any) -> Row:
        return {
            "claim_id": "R1", "claim_line_number": "1", "person_id": "0001",
            "dispensing_date": "2023-03-10", "ndc_code": "00406052201", "paid_date": "2023-04-01",
            "paid_amount": "10.00", "x_clm_dnd_ind": "",
        } | changes  # fmt: skip

    return make


# --- amounts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("100.00-", -10_000), ("100.00 -", -10_000), ("$(12.00)", -1_200), ("($12.00)", -1_200),
        ("-", 0), (" $ - ", 0), ("$-", 0), ("$1,234.50-", -123_450), ("(1,234.50)", -123_450),
        ("-$5", -500), ("$-5", -500),
    ],
)  # fmt: skip
def test_a_credit_is_read_as_mainframes_and_spreadsheets_write_it(text: str, cents: int) -> None:
    read = read_cents(pa.array([text]))
    assert (int(read.cents[0]), bool(read.bad[0]), bool(read.blank[0])) == (cents, False, False)


@pytest.mark.parametrize(
    "text", ["0000123{", "12,34", "-5-", "(5)-", "(-5)", "((5))", "5+", "--", "$", "5CR", "- 5 -"]
)
def test_a_credit_that_must_be_guessed_is_refused(text: str) -> None:
    assert read_cents(pa.array([text])).bad.tolist() == [True]


EDGES = [
    pa.array([-(2**63)], pa.int64()),
    pa.array([2**63 - 1], pa.int64()),
    pa.array([2**64 - 1], pa.uint64()),
    pa.array([2**63], pa.uint64()),
    pa.array([-(2**63)], pa.int64()).dictionary_encode(),
    pa.array([Decimal(-(2**63))], pa.decimal128(38, 0)),
    pa.array([Decimal("-92233720368547758.08")], pa.decimal128(38, 2)),
    pa.array([Decimal("92233720368547758.08")], pa.decimal128(38, 2)),
    pa.array([Decimal(-(2**63)).scaleb(-6)], pa.decimal128(38, 6)),
    pa.array([Decimal(-(2**64))], pa.decimal128(38, 0)),
    pa.array([Decimal(2**64 + 1).scaleb(-2)], pa.decimal128(38, 2)),
    pa.array([Decimal(-(2**63))], pa.decimal256(76, 0)),
    pa.array([Decimal(10**70)], pa.decimal256(76, 2)),
    pa.array([Decimal(10**16)], pa.decimal64(18, 0)),
    pa.array([-(2.0**63)]),
    pa.array([float("-inf")]),
    pa.array([5e10]),
    pa.array(["50000000000"]),
    pa.array([50_000_000_000]),
    pa.array([3.0e38], pa.float32()),
]


@pytest.mark.parametrize("array", EDGES, ids=[str(array.type) for array in EDGES])
def test_an_integer_at_its_edge_is_no_amount(array: pa.Array) -> None:
    """What is beyond ten billion dollars is unreadable in every type, never zero or negative."""
    read = read_cents(array)
    assert (read.bad.tolist(), read.cents.tolist(), read.blank.tolist()) == ([True], [0], [False])


@pytest.mark.parametrize("cents", [MAX_CENTS, -MAX_CENTS])
def test_the_largest_amount_is_read_alike_in_every_type(cents: int) -> None:
    dollars = Decimal(cents).scaleb(-2)
    for array in (
        pa.array([str(dollars)]),
        pa.array([cents // 100]),
        pa.array([float(dollars)]),
        pa.array([dollars], pa.decimal128(38, 2)),
        pa.array([dollars], pa.decimal128(38, 0)),
        pa.array([dollars], pa.decimal256(76, 20)),
    ):
        assert read_cents(array).cents.tolist() == [cents]


def test_a_wide_decimal_rounds_by_all_of_its_places() -> None:
    """Just above half a cent is a cent, however far behind the rest stands."""
    above = Decimal("0.005" + 56 * "0" + "1")
    read = read_cents(pa.array([above, Decimal("0.005")], pa.decimal256(76, 60)))
    assert (read.cents.tolist(), read.sub_cent.tolist()) == ([1, 0], [True, True])


def test_a_line_with_an_amount_of_no_size_is_told(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()])
    rows = [line(claim_id=f"C{k}") for k in range(4)]
    amounts = pa.array([150, -(2**63), 75, -20], pa.int64())
    parquet(folder, "medical_claim", rows, paid_amount=amounts)
    document, _ = bench.ingest(folder)
    assert bench.fates(document) == {"unreadable": (1, 0), "retained": (3, 20_500)}
    assert told(document)["paid_amount", "not_an_amount"] == (1, 0)


# --- dates ------------------------------------------------------------------------------------

NO_DATE_TEXTS = ("00000000", "88888888", "9999-99-99", "0000-00-00", "0", "9", ".", "00/00/0000",
                 "0000-00-00 00:00:00", "00000000.0", "NaT", "NA", "#N/A")  # fmt: skip


@pytest.mark.parametrize("text", NO_DATE_TEXTS)
def test_fillers_are_no_date(text: str) -> None:
    assert read_days(pa.array([text])).tolist() == [NO_DAY]
    assert read_days(pa.array([text]).dictionary_encode()).tolist() == [NO_DAY]


OPTIONAL = ("claim_end_date", "claim_line_start_date", "claim_line_end_date", "admission_date",
            "discharge_date", "paid_date", "file_date")  # fmt: skip


@pytest.mark.parametrize("column", OPTIONAL)
def test_no_line_loses_its_dollars_for_an_optional_date(
    bench: Any, member: Any, line: Any, column: str
) -> None:
    fillers = [*(day.isoformat() for day in sorted(NO_DATES)), "00000000", "88888888"]
    wrong = ["soon", "2023-02-30", "2150-05-05", "1700-01-01"]
    rows = [line(claim_id=f"C{k}", **{column: text}) for k, text in enumerate(fillers + wrong)]
    document, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"retained": (len(rows), 10_000 * len(rows))}
    assert told(document) == {
        (column, "date_out_of_range"): (2, 20_000),
        (column, "not_a_date"): (2, 20_000),
    }
    assert population.manifest["last_paid_day"] == (
        NO_DAY if column == "paid_date" else day_of(date(2023, 4, 1))
    )


@pytest.mark.parametrize("filler", ["1000-01-01", "00000000", "9999-12-31", "2150-01-01", "soon"])
def test_a_filler_for_no_death_leaves_everybody_alive(
    bench: Any, member: Any, line: Any, filler: str
) -> None:
    folder = bench.folder(
        eligibility=[member(death_date=filler, birth_date="1900-01-01")], medical_claim=[line()]
    )
    document, population = bench.ingest(folder)
    assert bench.fates(document)["retained"] == (1, 10_000)
    (found,) = bench.rows(population, "members")
    assert (found["death_day"], found["birth_day"]) == (NO_DAY, NO_DAY)


@pytest.mark.parametrize(
    "end", ["", "2099-12-31", "9999-12-31", "00000000", "1000-01-01", "4712-12-31", "2061-05-05"]
)
def test_an_end_far_behind_the_last_claim_is_open(
    bench: Any, member: Any, line: Any, end: str
) -> None:
    """Open spans end with the last claim, whatever end another member states."""
    rows = [
        member(enrollment_start_date="2022-01-01", enrollment_end_date=end),
        member(person_id="0002", enrollment_start_date="2022-01-01", enrollment_end_date=""),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    assert (document["members"], document["member_months"]) == (2, 30)
    noted = any("more than two years after the last claim" in note for note in document["notes"])
    assert noted == (end == "2061-05-05")


def test_a_start_for_ever_since_reaches_ten_years_before_the_first_service(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        member(enrollment_start_date="1900-01-01", enrollment_end_date="2023-03-31"),
        member(person_id="2", enrollment_start_date="1950-01-01", enrollment_end_date="1960-01-01"),
        member(person_id="3", enrollment_start_date="2013-03-31", enrollment_end_date="2023-03-31"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    assert (document["members"], document["member_months"]) == (3, 121 + 1 + 121)
    assert any(note.startswith("2 enrolment rows start more than") for note in document["notes"])


@pytest.mark.parametrize("paid", ["", "2023-04-01"])
def test_a_service_after_its_payment_moves_no_horizon(
    bench: Any, member: Any, line: Any, paid: str
) -> None:
    """Nor does one without a payment where others have one."""
    rows = [line(), line(claim_id="C2", claim_start_date="2098-05-05", paid_date=paid)]
    people = [member(enrollment_end_date="")]
    document, _ = bench.ingest(bench.folder(eligibility=people, medical_claim=rows))
    assert document["member_months"] == 3


@pytest.mark.parametrize("told", ["claim_end_date", "claim_line_end_date", "discharge_date"])
def test_open_enrolment_reaches_the_end_of_a_stay(
    bench: Any, member: Any, line: Any, told: str
) -> None:
    """Whoever is enrolled without an end when a stay begins is enrolled when it ends."""
    stay = line(claim_start_date="2023-03-30", claim_end_date="", paid_date="2023-05-02")
    rows = [stay | {told: "2023-04-02"}]
    document, population = bench.ingest(
        bench.folder(eligibility=[member(enrollment_end_date="")], medical_claim=rows)
    )
    (span,) = bench.rows(population, "spans")
    assert (span["n_months"], document["member_months"]) == (4, 4)


@pytest.mark.parametrize(
    ("paid", "months"), [("2023-04-01", 3), ("2023-05-05", 5), ("2023-05-06", 5), ("", 3)]
)
def test_an_end_of_a_claim_after_its_payment_moves_no_horizon(
    bench: Any, member: Any, line: Any, paid: str, months: int
) -> None:
    """It is believed from the day of payment on, and not without one where others have one."""
    rows = [line(), line(claim_id="C2", claim_end_date="2023-05-05", paid_date=paid)]
    people = [member(enrollment_end_date="")]
    document, _ = bench.ingest(bench.folder(eligibility=people, medical_claim=rows))
    assert document["member_months"] == months


def test_where_no_line_is_paid_the_last_end_of_a_claim_is_the_horizon(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(claim_end_date="2023-05-05", paid_date="")]
    people = [member(enrollment_end_date="")]
    document, _ = bench.ingest(bench.folder(eligibility=people, medical_claim=rows))
    assert document["member_months"] == 5


def test_an_end_that_is_no_date_puts_its_row_aside(bench: Any, member: Any, line: Any) -> None:
    """A span whose end cannot be read does not become an open one."""
    rows = [member(enrollment_end_date=end) for end in ("soon", "1700-05-05")]
    rows.append(member(person_id="0002"))
    document, _ = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    assert bench.fates(document, "eligibility") == {"unreadable": (2, 0), "retained": (1, 0)}


CHICAGO = ZoneInfo("America/Chicago")
EVENING = datetime(2023, 2, 28, 18, tzinfo=CHICAGO)


def _days_of_parquet(bench: Any, rows: list[Row], member: Row, **columns: Any) -> Any:
    folder = bench.folder(eligibility=[member])
    parquet(folder, "medical_claim", rows, **columns)
    _, population = bench.ingest(folder)
    return [row["service_day"] for row in bench.rows(population, "lines")]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_zoned_timestamp_is_a_local_day_however_it_is_encoded(
    bench: Any, member: Any, line: Any, unit: str, coded: bool
) -> None:
    array = pa.array([EVENING], pa.timestamp(unit, "America/Chicago"))
    array = array.dictionary_encode() if coded else array
    days = _days_of_parquet(bench, [line()], member(), claim_line_start_date=array)
    assert days == [day_of(date(2023, 2, 28))]


def test_a_timestamp_beyond_what_a_day_holds_is_none() -> None:
    """It does not turn round into another day."""
    for unit in ("s", "ms"):
        ticks = pa.array([2**62, -(2**63), 0, None], pa.int64())
        days = read_days(ticks.cast(pa.timestamp(unit)))
        assert days.tolist() == [BAD_DAY, BAD_DAY, 0, NO_DAY]


def test_an_open_end_as_spark_writes_it_is_open(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(medical_claim=[line()])
    ends = pa.array([datetime(9999, 12, 31), datetime(2023, 12, 31)], pa.timestamp("us"))  # noqa: DTZ001
    rows = [member(), member(person_id="0002")]
    made = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    table = pa.table(made | {"enrollment_end_date": ends})
    pq.write_table(table, folder / "eligibility.parquet", use_deprecated_int96_timestamps=True)
    document, _ = bench.ingest(folder)
    assert bench.fates(document) == {"retained": (1, 10_000)}
    assert bench.fates(document, "eligibility") == {"retained": (2, 0)}
    assert document["member_months"] == 3 + 12


# --- order of day and month ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["%d%b%Y", "%d-%b-%Y", "%d %B %Y", "%d%b%Y:00:00:00", "%Y/%m/%d"])
def test_a_date_that_names_its_month_needs_no_settling(
    bench: Any, member: Any, line: Any, form: str
) -> None:
    day = date(2023, 3, 10)
    for text in (day.strftime(form), day.strftime(form).upper()):
        document, population = bench.ingest(
            bench.folder(eligibility=[member()], medical_claim=[line(claim_start_date=text)])
        )
        assert bench.fates(document) == {"retained": (1, 10_000)}
        assert [r["service_day"] for r in bench.rows(population, "lines")] == [day_of(day)]


@pytest.mark.parametrize(
    ("settles", "day"),
    [("12/31/2023", date(2023, 3, 10)), ("31/12/2023", date(2023, 10, 3))],
)
def test_a_date_of_a_file_settles_the_order_of_all_of_them(
    bench: Any, member: Any, line: Any, settles: str, day: date
) -> None:
    """Whichever column and row has it, and for that file alone."""
    rows = [
        line(claim_start_date="03/10/2023", claim_end_date="03/10/2023", paid_date=""),
        line(claim_id="C2", claim_end_date="", paid_date=settles),
    ]
    document, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"retained": (2, 20_000)}
    assert max(r["service_day"] for r in bench.rows(population, "lines")) == day_of(day)
    first = "month" if settles.startswith("12") else "day"
    assert any(f"are read {first} first" in note for note in document["notes"])


@pytest.mark.parametrize("others", [[], ["12/31/2023", "31/12/2023"]])
def test_an_order_that_nothing_settles_is_not_guessed(
    bench: Any, member: Any, line: Any, others: list[str]
) -> None:
    rows = [line(claim_start_date="03/10/2023"), line(claim_id="C2")]
    rows += [line(claim_id=text, paid_date=text) for text in others]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document)["unreadable"] == (1, 10_000)
    assert told(document)["claim_start_date", "day_or_month_first"] == (1, 10_000)


def test_a_table_of_which_no_row_can_be_read_is_refused_for_its_commonest_reason(
    bench: Any, member: Any, line: Any, drug: Any
) -> None:
    """With the column, and without a value."""
    rows = [line(claim_id=f"C{k}", claim_start_date="03/10/2023") for k in range(2)]
    rows.append(line(claim_id="", claim_start_date="03/11/2023"))
    folder = bench.folder(
        eligibility=[member(enrollment_end_date="12/31/2023")], medical_claim=rows
    )
    said = r"medical_claim: 3 lines, .*2 of them: claim_start_date: day or month first\? write"
    with pytest.raises(GateError, match=said):
        bench.ingest(folder)
    folder = bench.folder(
        eligibility=[member(enrollment_start_date=text) for text in ("23076", "x")],
        medical_claim=[line()],
        pharmacy_claim=[drug(claim_id=str(k), paid_amount="4" * 14) for k in range(3)],
    )
    with pytest.raises(
        GateError, match=r"pharmacy_claim: 3 lines, .*3 of them: paid_amount is not an"
    ) as refused:
        bench.ingest(folder)
    assert "2 of them: enrollment_start_date is not a date" in str(refused.value)
    assert "444" not in str(refused.value)


def test_the_denial_gate_judges_a_source_of_1000_lines(bench: Any, member: Any, line: Any) -> None:
    rows = [line(claim_id=f"C{k}", x_clm_dnd_ind=str(int(k % 5 > 0))) for k in range(1_000)]
    folder = bench.folder(eligibility=[member()], medical_claim=rows[:999])
    bench.ingest(folder)
    folder = bench.folder(eligibility=[member()], medical_claim=rows)
    accept = {"missing_claim_table": "drugs are carved out"}
    with pytest.raises(GateError, match=r"denied_dollars .*200 lines, .*20.0% .as it is read"):
        bench.ingest(folder, gates=GateTerms(accept=accept))
    bench.ingest(folder, gates=GateTerms({"denied_dollars": 0.2}, accept))


def test_a_table_of_one_unreadable_row_is_not(bench: Any, member: Any, line: Any) -> None:
    document, _ = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line(claim_start_date="soon")])
    )
    assert bench.fates(document) == {"unreadable": (1, 10_000)}


def test_a_roster_is_read_as_claims_are(bench: Any, member: Any, line: Any) -> None:
    """Its dates in the order that it settles, its fillers as none, its flags told."""
    rows = [
        {"npi": "1", "partnership_id": "P", "specialty": "primary care", "start_date": start,
         "end_date": end, "health_care_home": home}
        for start, end, home in (
            ("01/02/2020", "12/31/2099", "1"), ("1900-01-01", "06/30/2023", "perhaps"),
            ("00/00/0000", "99999999", ""),
        )
    ]  # fmt: skip
    document, population = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line()], provider_roster=rows)
    )
    kept = population.reference("provider_roster").to_pylist()
    assert sorted((row["start_date"], row["end_date"]) for row in kept) == [
        ("", ""), ("", "2023-06-30"), ("2020-01-02", ""),
    ]  # fmt: skip
    assert told(document) == {("health_care_home", "not_understood", "letters"): (1, 0)}
    assert any("provider_roster.csv are read month first" in note for note in document["notes"])


# --- which day ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "service", "end"),
    [
        ({"claim_end_date": "2023-03-12"}, 12, 12),
        ({"claim_line_end_date": "2023-03-13"}, 13, 13),
        ({"admission_date": "2023-03-10", "discharge_date": "2023-03-14"}, 10, 14),
        ({"admission_date": "2023-03-10", "claim_end_date": "2023-03-12"}, 10, 12),
        ({"claim_start_date": "00000000", "claim_end_date": "2023-03-12"}, 12, 12),
        ({"claim_line_start_date": "soon", "claim_start_date": "2023-03-11"}, 11, 11),
    ],
)
def test_a_claim_with_other_dates_is_read_by_the_date_that_is_there(
    bench: Any, member: Any, line: Any, stated: Row, service: int, end: int
) -> None:
    dates = {"claim_start_date": "", "claim_end_date": ""} | stated
    document, population = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line(**dates)])
    )
    assert bench.fates(document) == {"retained": (1, 10_000)}
    (found,) = bench.rows(population, "lines")
    assert (found["service_day"], found["claim_end_day"]) == (
        day_of(date(2023, 3, service)), day_of(date(2023, 3, end)),
    )  # fmt: skip
    noted = [note for note in document["notes"] if "for their day of service" in note]
    assert len(noted) == (stated.get("claim_start_date") != "2023-03-11")


def test_a_file_may_have_no_start_dates_at_all(bench: Any, member: Any, line: Any) -> None:
    row = line()
    del row["claim_start_date"]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[row]))
    assert bench.fates(document) == {"retained": (1, 10_000)}


# --- whole numbers and ids ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "float", "decimal"])
def test_a_number_with_point_zero_is_the_number(
    bench: Any, member: Any, line: Any, form: str
) -> None:
    """In codes, ids, flags and line numbers, of every table, as text and as a float."""
    spelled: Callable[[str], Any] = {
        "csv": lambda text: f"{text}.0" if text else "",
        "float": lambda text: float(text) if text else None,
        "decimal": lambda text: Decimal(text) if text else None,
    }[form]
    types = {"csv": None, "float": pa.float64(), "decimal": pa.decimal128(20, 1)}

    def column(*texts: str) -> pa.Array:
        return pa.array([spelled(text) for text in texts], types[form])

    folder = bench.folder()
    claims = [line(claim_id=c) for c in ("11", "11", "12")]
    parquet(
        folder, "medical_claim", claims,
        person_id=column("71", "71", "71"), claim_id=column("11", "11", "12"),
        paid_amount=pa.array(["100.00", "0.00", "70.00"]), x_clm_type_cd=column("1", "1", "3"),
        x_adjstmt_ind=column("0", "1", "0"), paid_date=pa.array(["2023-04-01", "2023-05-01", ""]),
        rendering_npi=column(*["1111111112"] * 3), place_of_service_code=column("11", "11", "11"),
        x_clm_dnd_ind=column("1", "", "1"), claim_start_date=column(*["20230301"] * 3),
    )  # fmt: skip
    parquet(
        folder, "eligibility", [member()], person_id=column("71"),
        x_elgblty_grp_cd=column("72"), dual_status_code=column("2"), medicaid_indicator=column("1"),
    )  # fmt: skip
    parquet(
        folder, "provider_roster", [{"partnership_id": "P1"}], npi=column("1111111112"),
        health_care_home=column("1"),
    )  # fmt: skip
    document, population = bench.ingest(folder)
    assert bench.fates(document) == {"voided": (2, 10_000), "retained": (1, 7_000)}
    assert told(document) == {}
    (kept,) = bench.rows(population, "lines")
    assert kept["kind"] == 2
    assert population.codes("npi").to_pylist() == ["", "1111111112"]
    assert population.codes("place_of_service").to_pylist() == ["", "11"]
    (span,) = bench.rows(population, "spans")
    assert (span["dual_status"], span["flags"] & 1) == (2, 1)


def test_a_diagnosis_keeps_the_digits_behind_its_dot(bench: Any, member: Any, line: Any) -> None:
    """401.0 of ICD-9 is not 401."""
    row = line(diagnosis_code_1="401.0", diagnosis_code_2="250.00", hcpcs_code="99213.0")
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[row]))
    assert population.codes("dx").to_pylist() == ["", "25000", "4010"]
    assert population.codes("hcpcs").to_pylist() == ["", "99213"]


def test_line_numbers_are_numbers_in_every_table_and_type(
    bench: Any, member: Any, drug: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    rows = [drug(), drug(paid_date="2023-05-01", paid_amount="12.00")]
    for numbers in (pa.array(["1", "01"]), pa.array(["1.0", "001"]), pa.array([1.0, 1.0])):
        parquet(folder, "pharmacy_claim", rows, claim_line_number=numbers)
        document, _ = bench.ingest(folder)
        assert bench.fates(document, "pharmacy_claim") == {
            "superseded": (1, 1_000), "retained": (1, 1_200),
        }  # fmt: skip


ROUNDED = [
    pa.array(["1.23457E+11"]), pa.array([" 1.23457e+11 "]), pa.array(["1E+11"]),
    pa.array(["1,23457E+11"]), pa.array(["9007199254740993.0"]), pa.array(["A1", "4.5E11"]),
    pa.array([1.5]), pa.array([2.0**53 + 2]), pa.array([2.0**24 + 2], pa.float32()),
    pa.array([None, 1e22]), pa.array(["2.5E+10"]).dictionary_encode(),
    pa.array([1.5]).dictionary_encode(), pa.array(["1.2E+9"], pa.large_string()),
]  # fmt: skip
EXACT = [
    pa.array(["123457000000"]), pa.array(["1E11"]), pa.array(["2023.001", "A+B", "x,y"]),
    pa.array([2.0**53, None]), pa.array([123456789012.0]), pa.array([2**63 - 1]),
    pa.array(["123456789012.0"]), pa.array([None], pa.string()), pa.array([], pa.string()),
    pa.array(["1E4TE5MK73", "12E+"]),
]  # fmt: skip


@pytest.mark.parametrize("array", ROUNDED, ids=str)
def test_a_rounded_number_is_seen(array: pa.Array) -> None:
    assert is_rounded(array)


@pytest.mark.parametrize("array", EXACT, ids=str)
def test_a_number_that_tells_people_apart_is_none(array: pa.Array) -> None:
    assert not is_rounded(array)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("medical_claim", "person_id"), ("medical_claim", "member_id"),
        ("medical_claim", "claim_id"), ("medical_claim", "x_orgnl_clm_num"),
        ("medical_claim", "rendering_npi"), ("eligibility", "person_id"),
        ("pharmacy_claim", "dispensing_provider_npi"), ("pharmacy_claim", "claim_id"),
        ("eligibility", "x_mc_plan_id"), ("provider_roster", "npi"), ("provider_roster", "tin"),
        ("risk_score", "member_id"),
    ],
)  # fmt: skip
def test_rounded_ids_are_refused_by_column_and_without_the_value(
    bench: Any, member: Any, line: Any, drug: Any, table: str, column: str
) -> None:
    rows = {
        "medical_claim": line(), "pharmacy_claim": drug(), "eligibility": member(),
        "provider_roster": {"npi": "1", "partnership_id": "P", "tin": ""},
        "risk_score": {"person_id": "", "member_id": "0001", "year": "2023", "model": "m",
                       "score": "1"},
    }  # fmt: skip
    rows[table] |= {column: "1.23457E+11"}
    folder = bench.folder(**{name: [row, row] for name, row in rows.items()})
    with pytest.raises(DataError, match=f"^{table}.csv: {column} looks like a number") as refused:
        bench.ingest(folder)
    assert "1.23457" not in str(refused.value)


# --- codes and denial -----------------------------------------------------------------------------


def test_denial_is_read_from_the_rows_that_state_it(
    bench: Any, member: Any, line: Any, drug: Any
) -> None:
    """Tables that say nothing have no vote, and both readings are told with their dollars."""
    rows = [line(claim_id=f"C{k}", x_clm_dnd_ind="1") for k in range(2)]
    rows.append(line(claim_id="C9", x_clm_dnd_ind="0", paid_amount="999"))
    drugs = [drug(claim_id=f"R{k}") for k in range(4)]
    document, _ = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=rows, pharmacy_claim=drugs)
    )
    assert bench.fates(document) == {"denied": (1, 99_900), "retained": (2, 20_000)}
    assert bench.fates(document, "pharmacy_claim") == {"retained": (4, 4_000)}
    assert told(document) == {
        ("x_clm_dnd_ind", "denied_dollars", "as it is read"): (1, 99_900),
        ("x_clm_dnd_ind", "denied_dollars", "if it were turned round"): (2, 20_000),
    }


def test_denial_is_judged_by_source(bench: Any, member: Any, line: Any) -> None:
    rows = [
        line(claim_id=f"{source}{k}", data_source=source, x_clm_dnd_ind=mark, paid_amount="10")
        for source, marks in (("a", "1" * 99 + "0"), ("b", "110"))
        for k, mark in enumerate(marks)
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert told(document) == {
        ("x_clm_dnd_ind", "denied_dollars", "source b, as it is read"): (1, 1_000),
        ("x_clm_dnd_ind", "denied_dollars", "source b, if it were turned round"): (2, 2_000),
    }


def test_a_status_of_denied_must_agree_with_the_flag(bench: Any, member: Any, line: Any) -> None:
    cases = [("F2", "0"), ("F1", "1"), ("", "1"), ("F2", "1"), ("f1", "N"), ("F1", ""), ("F2", "")]
    rows = [
        line(claim_id=f"C{k}", x_clm_stus_ctgry=status, x_clm_dnd_ind=mark, paid_amount=10**k)
        for k, (status, mark) in enumerate(cases)
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document)["denied"] == (1, 100)
    assert told(document)["x_clm_stus_ctgry", "status_and_denial_differ"] == (2, 100_100_000)


def test_codes_that_are_not_understood_are_told_by_kind_and_with_dollars(
    bench: Any, member: Any, line: Any
) -> None:
    claim = {
        "x_adjstmt_ind": "77", "claim_type": "hospital", "x_clm_dnd_ind": "maybe",
        "x_clm_stus_ctgry": "paid?",
    }  # fmt: skip
    rows = [line(**claim), line(claim_id="C2"), line(claim_id="C3", x_clm_type_cd="Q9")]
    people = {
        "gender": "unk?", "dual_status_code": "B7", "x_elgblty_grp_cd": "999",
        "x_mc_plan_type_cd": "HMO", "original_reason_entitlement_code": "7",
        "x_spenddown_flag": "perhaps", "x_rstrctd_bnfts_cd": "Z9",
    }  # fmt: skip
    document, _ = bench.ingest(
        bench.folder(eligibility=[member(**people), member(person_id="2")], medical_claim=rows)
    )
    assert told(document) == {
        ("x_adjstmt_ind", "not_understood", "digits"): (1, 10_000),
        ("claim_type", "not_understood", "letters"): (1, 10_000),
        ("x_clm_dnd_ind", "not_understood", "letters"): (1, 10_000),
        ("x_clm_stus_ctgry", "not_understood", "other"): (1, 10_000),
        ("x_clm_type_cd", "not_understood", "mixed"): (1, 10_000),
        ("gender", "not_understood", "other"): (1, 0),
        ("dual_status_code", "not_understood", "mixed"): (1, 0),
        ("x_elgblty_grp_cd", "not_understood", "digits"): (1, 0),
        ("x_mc_plan_type_cd", "not_understood", "letters"): (1, 0),
        ("original_reason_entitlement_code", "not_understood", "digits"): (1, 0),
        ("x_spenddown_flag", "not_understood", "letters"): (1, 0),
        ("x_rstrctd_bnfts_cd", "not_understood", "mixed"): (1, 0),
    }


# --- what cannot well be --------------------------------------------------------------------------


def test_what_cannot_well_be_is_told_and_stands(bench: Any, member: Any, line: Any) -> None:
    rows = [
        line(claim_id="A", claim_end_date="2022-03-10", paid_amount="1"),
        line(claim_id="B", claim_line_start_date="2023-03-02", claim_line_end_date="2023-03-01",
             paid_amount="2"),
        line(claim_id="C", admission_date="2023-03-02", discharge_date="2023-03-01",
             paid_amount="4"),
        line(claim_id="D", person_id="0002", paid_amount="8"),
    ]  # fmt: skip
    people = [member(), member(person_id="0002", birth_date="2023-05-05", death_date="2023-04-01")]
    document, _ = bench.ingest(bench.folder(eligibility=people, medical_claim=rows))
    assert bench.fates(document) == {"retained": (4, 1_500)}
    assert told(document) == {
        ("claim_end_date", "end_before_start"): (1, 100),
        ("claim_line_end_date", "end_before_start"): (1, 200),
        ("discharge_date", "before_admission"): (1, 400),
        ("birth_date", "before_birth"): (1, 800),
        ("death_date", "before_birth"): (1, 0),
    }


@pytest.mark.parametrize(
    ("total", "finding"),
    [("100", "total_line"), ("99", "money_on_total_line")],
)
@pytest.mark.parametrize("code", ["0001", "1", "001.0"])
def test_money_on_a_total_line_is_named(
    bench: Any, member: Any, line: Any, code: str, total: str, finding: str
) -> None:
    rows = [
        line(claim_line_number=str(k), revenue_center_code=revenue, paid_amount=paid)
        for k, (revenue, paid) in enumerate([(code, total), ("0450", "60"), ("0300", "40")])
    ]
    rows.append(line(claim_id="C2", revenue_center_code=code, paid_amount="0"))
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert told(document) == {("revenue_center_code", finding): (1, int(total) * 100)}


# --- two rows of enrolment for one month ----------------------------------------------------------


def test_rows_that_name_different_cells_for_a_month_follow_the_declared_order(
    bench: Any, member: Any, line: Any
) -> None:
    """Child stands before adult and expansion, whatever else the rows say; the months are told."""
    codes = ["72", "07", "11"]  # expansion, child (an adult by age), disabled
    for order in (codes, codes[::-1]):
        rows = [member(x_elgblty_grp_cd=code, first_name=code) for code in order]
        document, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
        (span,) = bench.rows(population, "spans")
        assert span["rate_cell"] == 2  # adult, fee for service
        assert told(document) == {("months_named_differently",): (12, 0)}


def test_rows_that_differ_in_a_flag_alone_are_told_and_the_flag_stands(
    bench: Any, member: Any, line: Any
) -> None:
    """Whether a month counts hangs on it: the row with the flag stands, in whatever order."""
    for order in (["00", "02"], ["02", "00"]):
        rows = [member(dual_status_code=code) for code in order]
        document, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
        (span,) = bench.rows(population, "spans")
        assert span["flags"] & SPAN_DUAL
        assert told(document) == {("months_named_differently",): (12, 0)}


def test_numpy_and_python_see_one_day() -> None:
    """A day is the same from a date, a timestamp of any unit and its text."""
    day = date(2023, 3, 10)
    at = datetime(2023, 3, 10, 23, 59, tzinfo=UTC) + timedelta(seconds=59)
    forms = [pa.array([day]), pa.array([np.datetime64(day, "ns")]), pa.array(["10MAR2023"])]
    forms += [pa.array([at], pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")]
    assert {int(read_days(form)[0]) for form in forms} == {day_of(day)}
