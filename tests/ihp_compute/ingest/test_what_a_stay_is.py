"""What a population keeps of stays, emergency days and quantities, by claims made by hand."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.codes import LINE_ED, LINE_INPATIENT, NO_STAY, STAY_BIRTH
from ihp_compute.ingest.door.rows import Rows
from ihp_compute.ingest.door.values import day_of_text
from ihp_compute.population import open_population
from ihp_compute.population.digest import population_digest
from ihp_compute.units import NO_DAY

HOSPITAL = {
    "claim_type": "institutional", "bill_type_code": "111", "place_of_service_code": "",
    "hcpcs_code": "", "admission_date": "2023-03-01", "discharge_date": "2023-03-04",
    "claim_end_date": "2023-03-04",
}  # fmt: skip
EMERGENCY = {"hcpcs_code": "99284", "place_of_service_code": "23"}


def ingested(bench: Any, member: Any, *lines: dict[str, Any], **tables: Any) -> Any:
    """The only shard of a population of these lines, and its code lists."""
    people = sorted({line["person_id"] for line in lines})
    folder = bench.folder(
        eligibility=[member(person_id=person) for person in people],
        medical_claim=list(lines),
        **tables,
    )
    document, population = bench.ingest(folder, shards=1)
    return document, population


def named(population: Any, table: str, **systems: str) -> list[dict[str, Any]]:
    """Rows of a table, with codes as texts."""
    codes = {name: population.codes(system).to_pylist() for name, system in systems.items()}
    (shard,) = population.shards
    return [
        row | {name: codes[name][row[name]] for name in codes}
        for row in shard.batch(table).to_pylist()
    ]


def test_a_stay_has_drg_and_principal_diagnosis_of_its_claim(
    bench: Any, member: Any, line: Any
) -> None:
    """Whichever of its lines states them; the principal one is number 1 and no other."""
    lines = [
        line(claim_line_number="1", **HOSPITAL, drg_code="", diagnosis_code_1="I50.9"),
        line(claim_line_number="2", **HOSPITAL, drg_code="0291", diagnosis_code_1=""),
        line(claim_id="C2", **HOSPITAL | {"admission_date": "2023-03-02"}, diagnosis_code_1="",
             diagnosis_code_2="E11.9"),
        line(claim_id="C3"),
    ]  # fmt: skip
    _, population = ingested(bench, member, *lines)
    found = named(population, "stays", drg="drg", principal_dx="dx")
    assert [(row["drg"], row["principal_dx"], row["marks"]) for row in found] == [
        ("0291", "I509", 0),
        ("", "", 0),
    ]
    assert population.codes("drg").to_pylist() == ["", "0291"]


def test_of_several_principal_diagnoses_the_first_by_code_stands_and_only_of_standing_lines(
    bench: Any, member: Any, line: Any
) -> None:
    """A denied line says nothing of its claim."""
    lines = [
        line(claim_line_number="1", **HOSPITAL, diagnosis_code_1="A01.0", x_clm_dnd_ind="0"),
        line(claim_line_number="2", **HOSPITAL, diagnosis_code_1="J18.9"),
        line(claim_line_number="3", **HOSPITAL, diagnosis_code_1="I50.9"),
    ]
    _, population = ingested(bench, member, *lines)
    (stay,) = named(population, "stays", principal_dx="dx")
    assert stay["principal_dx"] == "I509"


@pytest.mark.parametrize(
    ("codes", "marks"),
    [
        (("Z38.00", ""), STAY_BIRTH), (("P59.9", "z3831"), STAY_BIRTH), (("O80", "Z37.0"), 0),
        (("Z3", ""), 0),
    ],
)  # fmt: skip
def test_a_birth_is_told_by_any_diagnosis_of_its_claim(
    bench: Any, member: Any, line: Any, codes: tuple[str, str], marks: int
) -> None:
    first, second = codes
    lines = [
        line(claim_line_number="1", **HOSPITAL, diagnosis_code_1=first),
        line(claim_line_number="2", **HOSPITAL, diagnosis_code_1=first, diagnosis_code_9=second),
        line(claim_id="C2", **HOSPITAL | {"admission_date": "2023-03-02"}, diagnosis_code_1="I10"),
    ]
    _, population = ingested(bench, member, *lines)
    assert [row["marks"] for row in bench.rows(population, "stays")] == [marks, 0]


def test_a_line_has_the_stay_that_its_claim_is(bench: Any, member: Any, line: Any) -> None:
    later = HOSPITAL | {"admission_date": "2023-06-01", "claim_start_date": "2023-06-01"}
    lines = [
        line(claim_id="B", person_id=person, **later | {"claim_line_number": number})
        for person in ("0002", "0001")
        for number in ("1", "2")
    ]
    lines += [line(claim_id="A", **HOSPITAL), line(claim_id="V"), line(claim_id="W", **EMERGENCY)]
    _, population = ingested(bench, member, *lines)
    (shard,) = population.shards
    stays = shard.batch("stays").to_pylist()
    owner = np.repeat(np.arange(2), np.diff(shard.offsets("lines")))
    of_stay = np.repeat(np.arange(2), np.diff(shard.offsets("stays")))
    found = defaultdict(set)
    for member_, row in zip(owner.tolist(), shard.batch("line_detail").to_pylist(), strict=True):
        found[member_, row["claim_id"]].add(row["stay"])
    for (member_, claim), places in found.items():
        (place,) = places
        if claim in "VW":
            assert place == NO_STAY
            continue
        assert of_stay[place] == member_
        assert stays[place]["admission_day"] == day_of_text(
            HOSPITAL["admission_date"] if claim == "A" else later["admission_date"]
        )


def test_stays_alike_keep_their_lines_however_files_and_shards_are_cut(
    bench: Any, member: Any, line: Any
) -> None:
    """Two claims alike in all that a stay says: the digest knows whose lines are whose."""
    lines = [
        line(claim_id=claim, claim_line_number=str(k), person_id=person,
             paid_amount=f"{100 + k}.00", **HOSPITAL)
        for person in ("0001", "0002", "0003")
        for claim, k in (("A", 1), ("B", 2), ("A", 3))
    ]  # fmt: skip
    people = [member(person_id=person) for person in ("0001", "0002", "0003")]
    digests = set()
    for rows, shards in ((lines, 1), (lines[::-1], 3)):
        folder = bench.folder(eligibility=people, medical_claim=rows)
        _, population = bench.ingest(folder, shards=shards)
        digests.add(population.digest)
        assert population_digest(population) == population.digest
    assert len(digests) == 1


def test_a_change_of_drg_diagnosis_or_units_is_a_change_of_content(
    bench: Any, member: Any, line: Any
) -> None:
    stay = HOSPITAL | {"drg_code": "291", "service_unit_quantity": "2"}
    changes: list[dict[str, str]] = [
        {}, {"drg_code": "292"}, {"diagnosis_code_1": "I10"}, {"service_unit_quantity": "3"},
    ]  # fmt: skip
    digests = {ingested(bench, member, line(**stay | change))[1].digest for change in changes}
    assert len(digests) == len(changes)


def test_emergency_days_have_each_principal_diagnosis_once_with_the_earliest_payment(
    bench: Any, member: Any, line: Any
) -> None:
    """Lines of an inpatient claim and days outside enrolment are no emergency days."""
    lines = [
        line(claim_id="E1", **EMERGENCY, diagnosis_code_1="R07.9", paid_date="2023-05-02"),
        line(claim_id="E2", **EMERGENCY, diagnosis_code_1="R07.9", paid_date="2023-05-01"),
        line(claim_id="E3", **EMERGENCY, diagnosis_code_1="J06.9", paid_date=""),
        line(claim_id="E4", **EMERGENCY, diagnosis_code_1="J06.9", paid_date="2023-05-01"),
        line(claim_id="E5", **EMERGENCY, claim_start_date="2023-02-28", diagnosis_code_1="",
             diagnosis_code_2="I10"),
        line(claim_id="H", **HOSPITAL | {"revenue_center_code": "0450"}),
        line(claim_id="O", **EMERGENCY, claim_start_date="2022-12-31"),
        line(claim_id="V"),
    ]  # fmt: skip
    _, population = ingested(bench, member, *lines)
    found = named(population, "emergency", principal_dx="dx")
    day = day_of_text("2023-03-01")
    assert [(row["day"], row["principal_dx"], row["paid_day"]) for row in found] == [
        (day_of_text("2023-02-28"), "", day_of_text("2023-04-01")),
        (day, "J069", NO_DAY),
        (day, "R079", day_of_text("2023-05-01")),
    ]


def test_stays_and_emergency_days_without_a_principal_diagnosis_are_told_with_their_dollars(
    bench: Any, member: Any, line: Any
) -> None:
    none = {"diagnosis_code_1": "", "diagnosis_code_2": "I10"}
    lines = [
        line(claim_id="A", claim_line_number="1", **HOSPITAL, **none),
        line(claim_id="A", claim_line_number="2", **HOSPITAL, **none),
        line(claim_id="B", **HOSPITAL | {"admission_date": "2023-03-02"}),
        line(claim_id="E", claim_line_number="1", **EMERGENCY, **none),
        line(claim_id="E", claim_line_number="2", **EMERGENCY, **none),
        line(claim_id="F", **EMERGENCY),
        line(claim_id="V", **none),
    ]
    document, _ = ingested(bench, member, *lines)
    assert bench.noticed(document, "stays_without_diagnosis") == [(1, 20_000)]
    assert bench.noticed(document, "emergency_without_diagnosis") == [(1, 20_000)]
    complete, _ = ingested(bench, member, lines[2], lines[5], lines[6])
    for finding in ("stays_without_diagnosis", "emergency_without_diagnosis"):
        assert not bench.noticed(complete, finding)


@pytest.mark.parametrize(
    ("written", "milli"),
    [
        ("1", 1_000), ("2.5", 2_500), ("0.0005", 0), ("0.0015", 2), ("1,000", 1_000_000),
        ("", 0), ("0", 0), ("-3", 0), ("N/A", 0), ("1e2", 100_000), ("1000000000", 10**12),
    ],
)  # fmt: skip
def test_units_are_thousandths_and_none_where_none_is_above_zero(
    bench: Any, member: Any, line: Any, drug: Any, written: str, milli: int
) -> None:
    document, population = ingested(
        bench, member, line(service_unit_quantity=written), pharmacy_claim=[drug(quantity=written)]
    )
    found = bench.rows(population, "line_detail")
    assert [row["units_milli"] for row in found] == [milli] * 2
    assert not bench.noticed(document, "not_a_number")


@pytest.mark.parametrize("written", ["many", "1000000000.001", "1e40", "3 tablets"])
def test_a_quantity_that_cannot_be_held_is_none_and_told(
    bench: Any, member: Any, line: Any, drug: Any, written: str
) -> None:
    document, population = ingested(
        bench, member, line(service_unit_quantity=written), line(claim_id="C2"),
        pharmacy_claim=[drug(quantity=written)],
    )  # fmt: skip
    assert [row["units_milli"] for row in bench.rows(population, "line_detail")] == [0, 0, 0]
    assert sorted(bench.noticed(document, "not_a_number")) == [(1, 1_000), (1, 10_000)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([30.0, 2.5, None]),
        pa.array([Decimal("30.000"), Decimal("2.500"), None]),
        pa.array(["30", "2.50", None]).dictionary_encode(),
        pa.array(["30.0", "2.5", ""]),
    ],
)
def test_a_quantity_has_one_reading_whatever_the_type_of_its_column(column: pa.Array) -> None:
    rows = Rows("pharmacy_claim", {"quantity": column}, 1)
    assert rows.thousandths("quantity").rows().tolist() == [30_000, 2_500, 0]


@given(st.lists(st.decimals(-10, 10**9, allow_nan=False, places=5), min_size=1, max_size=20))
def test_thousandths_are_the_decimal_rounded_half_to_even(values: list[Decimal]) -> None:
    rows = Rows("medical_claim", {"service_unit_quantity": pa.array([f"{v:f}" for v in values])}, 1)
    wanted = [max(0, int(v.scaleb(3).quantize(Decimal(1), ROUND_HALF_EVEN))) for v in values]
    assert rows.thousandths("service_unit_quantity").rows().tolist() == wanted


def test_stays_and_emergency_days_follow_from_the_record(small_population: Path) -> None:
    """Computed anew from every claim row as it was read, one at a time."""
    population = open_population(small_population)
    dx, drg = (population.codes(system).to_pylist() for system in ("dx", "drg"))
    n_days = 0
    for shard in population.shards:
        lines = shard.batch("lines").to_pylist()
        detail = shard.batch("line_detail").to_pylist()
        member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("lines"))).tolist()
        rows = [row for row in shard.record("claims").to_pylist() if row["fate"] == "retained"]
        claims = defaultdict(list)
        for row in rows:
            start = row["claim_start_day"] if detail[row["line"]]["stay"] == NO_STAY else 0
            claims[
                member[row["line"]], row["data_source"], row["payer"], row["payer_plan"],
                row["claim_id"], start,
            ].append(row)  # fmt: skip
        days: dict[tuple[int, int, str], int] = {}
        stays: dict[int, tuple[str, str, int]] = {}
        for (who, *_), of in claims.items():
            principal = min(
                (dx[row["principal_dx"]] for row in of if row["principal_dx"]), default=""
            )
            for row in of:
                line, place = lines[row["line"]], detail[row["line"]]["stay"]
                if line["flags"] & (LINE_ED | LINE_INPATIENT) == LINE_ED:
                    key = who, line["service_day"], principal
                    days[key] = min(days.get(key, line["paid_day"]), line["paid_day"])
                if place != NO_STAY:
                    born = any(dx[code].startswith("Z38") for each in of for code in each["dx"])
                    group = min((drg[each["drg"]] for each in of if each["drg"]), default="")
                    stays[place] = group, principal, STAY_BIRTH * born
        found = shard.batch("emergency").to_pylist()
        whose = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("emergency"))).tolist()
        assert days == {
            (who, row["day"], dx[row["principal_dx"]]): row["paid_day"]
            for who, row in zip(whose, found, strict=True)
        }
        assert [stays[k] for k in range(len(stays))] == [
            (drg[row["drg"]], dx[row["principal_dx"]], row["marks"])
            for row in shard.batch("stays").to_pylist()
        ]
        n_days += len(days)
    assert n_days


def test_every_row_says_what_its_file_says(raw_state: Path, small_population: Path) -> None:
    """Quantity, DRG and principal diagnosis of each row that could be read, by file and row."""
    population = open_population(small_population)
    dx, drg = (population.codes(system).to_pylist() for system in ("dx", "drg"))
    names = [entry["file"] for entry in population.manifest["inputs"]]
    asked = {
        "medical_claim": ("service_unit_quantity", "drg_code", "diagnosis_code_1"),
        "pharmacy_claim": ("quantity",),
    }
    raw: dict[str, list[Any]] = {}
    kept = set()
    for shard in population.shards:
        rows = shard.record("claims").to_pylist()
        for row in rows:
            name = names[row["file"]]
            if name not in raw:
                table = pq.read_table(raw_state / name)
                of = [c for c in asked[row["source_table"]] if c in table.column_names]
                raw[name] = table.select(of).to_pylist()
            said = raw[name][row["row"] - 1]
            written = said.get("service_unit_quantity") or said.get("quantity") or "0"
            units = Decimal(written).scaleb(3).quantize(Decimal(1), ROUND_HALF_EVEN)
            assert row["units_milli"] == max(0, int(units))
            assert drg[row["drg"]] == (said.get("drg_code") or "")
            principal = (said.get("diagnosis_code_1") or "").upper().replace(".", "")
            assert dx[row["principal_dx"]] == principal
            kept.add((row["source_table"], row["units_milli"] > 0, row["drg"] > 0))
    assert {source for source, *_ in kept} == {*asked}
    assert any(has_units for _, has_units, _ in kept)
    assert any(has_drg for *_, has_drg in kept)
