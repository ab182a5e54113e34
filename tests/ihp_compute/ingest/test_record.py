"""The cold record: every readable row with its fate, as it came, and what can be asked of it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.errors import PopulationError
from ihp_compute.explain import explain_claim
from ihp_compute.population.record import OF_LINES, RECORDS, record_path, write_record
from ihp_compute.population.shards import Population, open_population
from ihp_compute.population.verify import verify
from ihp_compute.units import NO_DAY, day_of

Row = dict[str, Any]


def of(population: Population, name: str = "claims") -> list[Row]:
    """All rows of a record."""
    return [row for shard in population.shards for row in shard.record(name).to_pylist()]


def ledger(document: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Lines and cents of what could be read, by table and fate."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in document["ledger"]:
        if row["fate"] != "unreadable":
            for unit in ("lines", "paid_cents"):
                found[row["source_table"], row["fate"], unit] += row[unit]
    return found


@pytest.fixture
def every_fate(member: Any, line: Any) -> dict[str, list[Row]]:
    """Tables in which rows meet every fate there is."""
    void = {"x_adjstmt_ind": "1", "paid_date": "2023-05-01"}
    later = {"paid_date": "2023-05-01", "paid_amount": "70.00"}
    medical = [
        line(),
        line(file_date="2023-09-09"),
        line(claim_id="C2"), line(claim_id="C2", paid_amount="-100.00", **void),
        line(claim_id="C3"), line(claim_id="C3", **later),
        line(claim_id="C4", paid_amount="-5.00", **void),
        line(claim_id="C5", x_clm_dnd_ind="0"),
        line(claim_id="C6", person_id="0009"),
        line(claim_id="C7", claim_start_date="2024-03-01", claim_end_date="2024-03-01"),
        line(claim_id="C8", paid_amount="much"),
        line(claim_id="", paid_amount="3.00"),
    ]  # fmt: skip
    drug = {
        "claim_id": "D1", "claim_line_number": "1", "person_id": "0001", "paid_amount": "8.00",
        "dispensing_date": "2023-02-02", "paid_date": "2023-02-03", "ndc_code": "00093015001",
    }  # fmt: skip
    people = [member(), member(), member(person_id="0002", birth_date="soon")]
    return {"medical_claim": medical, "pharmacy_claim": [drug], "eligibility": people}


def test_the_record_sums_to_the_ledger_but_for_what_cannot_be_read(
    bench: Any, every_fate: dict[str, list[Row]]
) -> None:
    document, population = bench.ingest(bench.folder(**every_fate))
    assert {row["fate"] for row in document["ledger"]} == {
        "retained", "duplicate", "voided", "superseded", "orphan_void", "denied", "unknown_member",
        "outside_eligibility", "unreadable",
    }  # fmt: skip
    found: Counter[tuple[str, str, str]] = Counter()
    for row in [*of(population), *of(population, "eligibility")]:
        found[row["source_table"], row["fate"], "lines"] += 1
        found[row["source_table"], row["fate"], "paid_cents"] += row.get("paid_cents", 0)
    assert +found == +ledger(document)
    assert -found == -ledger(document)
    assert not {"C8", ""} & {row["claim_id"] for row in of(population)}


def test_a_row_is_kept_as_it_was_read(bench: Any, member: Any, line: Any) -> None:
    """Texts as given, codes by their place in the population's lists, days and cents."""
    given = line(
        claim_id="007", claim_line_number="02", data_source="s", payer="P", plan="Q",
        x_adjstmt_ind="4", x_orgnl_clm_num="006", x_adjstmt_clm_num="~", paid_amount="1.05",
        file_date="2023-06-30", bill_type_code="137", diagnosis_code_2="I10",
    )  # fmt: skip
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[given]))
    (row,) = of(population)
    expected = {
        "source_table": "medical_claim", "fate": "retained", "claim_id": "007",
        "claim_line_number": "2", "data_source": "s", "payer": "P", "payer_plan": "Q",
        "indicator": "4", "original_claim": "006", "adjustment_claim": None, "paid_cents": 105,
        "service_day": day_of(date(2023, 3, 1)), "paid_day": day_of(date(2023, 4, 1)),
        "file_day": day_of(date(2023, 6, 30)), "admission_day": NO_DAY, "file": 1, "row": 1,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert population.codes("bill_type")[row["bill_type"]].as_py() == "137"
    assert [population.codes("dx")[code].as_py() for code in row["dx"]] == ["E119", "I10"]
    (span,) = of(population, "eligibility")
    assert (span["member_id"], span["start_day"]) == ("0001", day_of(date(2023, 1, 1)))


def test_the_record_holds_the_same_however_the_rows_came(
    bench: Any, every_fate: dict[str, list[Row]]
) -> None:
    """But for where they stood, and which of equal rows came first."""

    def content(folder: Path, **options: Any) -> tuple[str, list[Row]]:
        document, population = bench.ingest(folder, **options)
        rows = [
            {key: row[key] for key in row if key not in ("file", "row", "line", "file_day")}
            for name in RECORDS
            for row in of(population, name)
        ]
        return document["population_digest"], sorted(rows, key=repr)

    expected = content(bench.folder(**every_fate))
    turned = {name: rows[::-1] for name, rows in every_fate.items()}
    assert content(bench.folder(**turned), shards=1, threads=1) == expected
    split = {
        f"{name}__{k}": part
        for name, rows in every_fate.items()
        for k, part in enumerate((rows[1::2], rows[::2]))
        if part
    }
    assert content(bench.folder(**split), shards=5) == expected


def test_stretches_of_any_length_are_one_record(
    bench: Any, every_fate: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.folder(**every_fate)
    expected = of(bench.ingest(folder)[1])
    monkeypatch.setattr("ihp_compute.ingest.shard.record._STRETCH", 3)
    assert of(bench.ingest(folder)[1]) == expected


def test_a_shard_without_rows_has_an_empty_record(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    _, population = bench.ingest(folder, shards=2)
    assert sorted(shard.record().num_rows for shard in population.shards) == [0, 1]
    for shard in population.shards:
        for name, schema in RECORDS.items():
            assert shard.record(name).schema.names == schema.names
            assert str(record_path(name, shard.index)) in population.manifest["files"]


def test_some_columns_of_some_rows_can_be_asked_for(
    bench: Any, every_fate: dict[str, list[Row]]
) -> None:
    _, population = bench.ingest(bench.folder(**every_fate), shards=1)
    found = population.shards[0].record(columns=["claim_id"], where=("fate", "voided"))
    assert found.to_pydict() == {"claim_id": ["C2", "C2"]}


def test_a_record_that_does_not_sum_to_the_ledger_is_refused(
    bench: Any, every_fate: dict[str, list[Row]]
) -> None:
    _, population = bench.ingest(bench.folder(**every_fate), shards=1)
    assert verify(population.path)["files"] == len(population.manifest["files"])
    rows = population.shards[0].record().slice(1)
    name, stamp = write_record(population.path, "claims", 0, rows.to_batches())
    with pytest.raises(PopulationError, match="no longer has the content"):
        open_population(population.path)
    manifest = population.path / "manifest.json"
    stated = json.loads(manifest.read_text())
    stated["files"][name] = stamp
    manifest.write_text(json.dumps(stated))
    with pytest.raises(PopulationError, match=r"the record holds .*, the ledger .*Prepare"):
        verify(population.path)


def test_a_damaged_record_is_one_sentence(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    _, population = bench.ingest(folder, shards=1)
    path = population.path / record_path("claims", 0)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PopulationError, match="cannot be read as an Arrow file"):
        population.shards[0].record()


def test_another_program_reads_the_record(bench: Any, member: Any, line: Any) -> None:
    """Fates and tables are texts; what a retained row has from its line is null."""
    rows = [line(claim_id="C1"), line(claim_id="C2", x_clm_dnd_ind="0")]
    folder = bench.folder(eligibility=[member()], medical_claim=rows)
    _, population = bench.ingest(folder, shards=1)
    with pa.ipc.open_file(population.path / record_path("claims", 0)) as reader:
        table = reader.read_all()
    blank = {name for name in table.column_names if table.column(name).null_count}
    assert blank == {"original_claim", "adjustment_claim", *OF_LINES}
    assert table.column("line").to_pylist() == [0, -1]
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.register("record", table)
        found = connection.execute(
            "select source_table, fate, count(*), sum(paid_cents), sum(len(dx)) from record "
            "group by all order by fate"
        ).fetchall()
    assert found == [
        ("medical_claim", "denied", 1, 10_000, 1), ("medical_claim", "retained", 1, None, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "stored"),
    [("2023-03-01", "int16"), ("1881-01-01", "int16"), ("1880-04-14", "int32"),
     ("2060-01-01", "int32")],
)  # fmt: skip
def test_a_column_is_as_narrow_as_what_stands_in_it(
    bench: Any, member: Any, line: Any, day: str, stored: str
) -> None:
    """16 bits hold days from 14 April 1880 to 17 September 2059; the first of them says none."""
    rows = [line(paid_date=day, paid_amount="1.00"), line(claim_id="C2", paid_amount="30000000.00")]
    folder = bench.folder(eligibility=[member()], medical_claim=rows)
    _, population = bench.ingest(folder, shards=1)
    with pa.ipc.open_file(population.path / record_path("claims", 0)) as reader:
        kinds = {field.name: str(field.type) for field in reader.schema}
    narrow = (
        "paid_day",
        "admission_day",
        "paid_cents",
        "third_party_cents",
        "bill_type",
        "file",
        "hash_1",
    )
    assert [kinds[name] for name in narrow] == [
        stored, "int16", "int64", "uint8", "uint8", "uint8", "uint64"
    ]  # fmt: skip
    columns = ("paid_day", "admission_day", "paid_cents")
    assert [tuple(row[name] for name in columns) for row in of(population)] == [
        (day_of(date.fromisoformat(day)), NO_DAY, 100),
        (day_of(date(2023, 4, 1)), NO_DAY, 3_000_000_000),
    ]


# --- one claim explained


@pytest.fixture
def history(bench: Any, member: Any, line: Any) -> Population:
    """A claim replaced under another number, which is voided; and others that it has to do with."""
    rows = [
        line(),
        line(claim_id="R", x_orgnl_clm_num="C1", x_adjstmt_ind="4", paid_amount="60",
             paid_date="2023-05-01"),
        line(claim_id="V", x_orgnl_clm_num="R", x_adjstmt_ind="1", paid_amount="-60",
             paid_date="2023-06-01"),
        line(claim_id="X", x_orgnl_clm_num="ELSEWHERE"),
        line(claim_id="Y", x_orgnl_clm_num="ELSEWHERE"),
        line(person_id="0002"),
    ]  # fmt: skip
    folder = bench.folder(eligibility=[member()], medical_claim=rows)
    population: Population = bench.ingest(folder)[1]
    return population


@pytest.mark.parametrize("asked", ["R", "V"])
def test_a_claim_is_explained_with_those_tied_to_it(history: Population, asked: str) -> None:
    found = explain_claim(history.path, asked).rows
    assert [
        (row["claim_id"], row["says"], row["names"], row["paid_cents"], row["fate"])
        for row in found
    ] == [
        ("C1", "", [], 10_000, "superseded"),
        ("R", "replaces", ["C1"], 6_000, "voided"),
        ("V", "voids", ["R"], -6_000, "voided"),
    ]
    assert {row["member_id"] for row in found} == {"0001"}
    assert [row["row"] for row in found] == [1, 2, 3]
    assert found[0] | {"service_date": "2023-03-01", "paid_date": "2023-04-01"} == found[0]


def test_a_number_that_names_nothing_here_ties_no_claims(history: Population) -> None:
    (row,) = explain_claim(history.path, "X").rows
    assert (row["fate"], row["names"]) == ("retained", ["ELSEWHERE"])


def test_a_number_that_two_members_bear_is_shown_of_both(history: Population) -> None:
    """One of them is enrolled and has a name here."""
    rows = explain_claim(history.path, "C1").rows
    assert sorted((row["member_id"], row["fate"]) for row in rows) == [
        ("", "unknown_member"), ("0001", "superseded"), ("0001", "voided"), ("0001", "voided")
    ]  # fmt: skip


def test_an_unknown_claim_is_refused_without_its_number(history: Population) -> None:
    with pytest.raises(PopulationError, match="no readable row of this claim number") as refusal:
        explain_claim(history.path, "SECRET-1")
    assert "SECRET" not in str(refusal.value)


def test_no_run_reads_the_record(history: Population) -> None:
    """Tables of shards are mapped; the record is none of them."""
    with pytest.raises(KeyError, match="no shard table 'claims'"):
        history.shards[0].batch("claims")
    assert all(isinstance(schema, pa.Schema) for schema in RECORDS.values())
