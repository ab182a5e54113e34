"""One day has one reading, whatever holds it: fillers, orders, zones, and which day a claim has."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.data_quality import GateTerms
from ihp_compute.errors import GateError
from ihp_compute.ingest.door.values import BAD_DAY, read_days
from ihp_compute.input_columns import NO_DATES
from ihp_compute.units import NO_DAY, day_of

Row = dict[str, Any]


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
    assert bench.told(document) == {
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
    bench.parquet(folder, "medical_claim", rows, **columns)
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
    assert bench.told(document)["claim_start_date", "day_or_month_first"] == (1, 10_000)


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
    with pytest.raises(GateError, match=r"denied_dollars: .*200 lines, .*20.0% .as it is read"):
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
    assert bench.told(document) == {("health_care_home", "not_understood", "letters"): (1, 0)}
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


def test_numpy_and_python_see_one_day() -> None:
    """A day is the same from a date, a timestamp of any unit and its text."""
    day = date(2023, 3, 10)
    at = datetime(2023, 3, 10, 23, 59, tzinfo=UTC) + timedelta(seconds=59)
    forms = [pa.array([day]), pa.array([np.datetime64(day, "ns")]), pa.array(["10MAR2023"])]
    forms += [pa.array([at], pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")]
    assert {int(read_days(form)[0]) for form in forms} == {day_of(day)}
