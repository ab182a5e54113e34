"""An input column is declared once: the reader, the spill and the synthetic state agree with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.claims import read_lines
from ihp_compute.ingest.door.columns import Coded, Column, Stated
from ihp_compute.ingest.door.eligibility import read_eligibility
from ihp_compute.ingest.door.layout import check_columns
from ihp_compute.ingest.door.rows import Rows
from ihp_compute.ingest.door.scores import read_scores
from ihp_compute.ingest.door.texts import Text, read_text
from ihp_compute.input_columns import (
    CODE_SYSTEMS,
    INPUT_TABLES,
    NOTHING,
    SPILL_COLUMNS,
    SPILLED,
    InputColumn,
    InputTable,
    Kind,
    SpillColumn,
)
from ihp_compute.synth.columns import raw_table
from ihp_compute.units import NO_DAY

EVERY = [(table, column) for table in INPUT_TABLES.values() for column in table.columns]
tables = pytest.mark.parametrize("table", INPUT_TABLES.values(), ids=list(INPUT_TABLES))


def test_what_is_counted_has_a_unit_and_every_column_a_meaning() -> None:
    counted = {Kind.NUMBER, Kind.AMOUNT}
    for table, column in EVERY:
        assert column.meaning, (table.name, column.name)
        assert bool(column.unit) == (column.kind in counted), (table.name, column.name)
    assert all(table.meaning for table in INPUT_TABLES.values())


@tables
def test_a_name_stands_once_in_a_table(table: InputTable) -> None:
    assert len(table.by_name) == len(table.columns)
    assert {name for names in table.one_of for name in names} <= set(table.known)


def test_columns_are_of_declared_code_systems_and_none_is_idle() -> None:
    assert {column.code_system for _, column in EVERY} - {""} == set(CODE_SYSTEMS)


@tables
def test_the_reader_requires_what_is_declared_required(table: InputTable) -> None:
    """Each required column and each last one of alternatives is missed by name."""
    assert check_columns(table, list(table.known), "f.csv") == (list(table.known), [])
    for missed in [*((name,) for name in table.required_columns), *table.one_of]:
        names = [name for name in table.known if name not in missed]
        with pytest.raises(DataError, match=f"lacks required columns .*: {' or '.join(missed)}\\."):
            check_columns(table, names, "f.csv")


@tables
def test_what_a_column_has_a_say_in_is_spilled(table: InputTable) -> None:
    said = {spilled for column in table.columns for spilled in column.spill}
    assert said <= {*SPILL_COLUMNS.get(table.name, ())}


STATED = {
    "claim_id": "C1", "person_id": "P1", "claim_start_date": "2024-01-05", "paid_amount": "1",
    "dispensing_date": "2024-01-05", "enrollment_start_date": "2024-01-01", "year": "2024",
    "model": "m", "score": "1.5",
}  # fmt: skip


def _read(table: str, columns: list[str]) -> dict[str, Column]:
    rows = Rows(table, {name: pa.array([STATED.get(name, "")]) for name in columns}, 1)
    members, codes = MemberBook(), CodeBook()
    if table == "eligibility":
        return read_eligibility(rows, 0, members, codes)
    if table == "risk_score":
        return read_scores(rows, "f.csv", members, codes)
    return read_lines(rows, table, 0, members, codes)


@pytest.mark.parametrize("table", list(SPILLED))
@pytest.mark.parametrize("given", ["all", "required"])
def test_the_reader_hands_on_exactly_what_is_spilled(table: str, given: str) -> None:
    declared = INPUT_TABLES[table]
    needed = [*declared.required_columns, *(names[-1] for names in declared.one_of)]
    needed = [name.replace("member_id", "person_id") for name in needed]
    found = _read(table, list(declared.known) if given == "all" else needed)
    assert set(found) == set(SPILLED[table].names)


@pytest.mark.parametrize(
    ("kind", "type_", "system", "values"),
    [
        (Kind.DATE, pa.int32(), "", [19_723, NO_DAY]),
        (Kind.AMOUNT, pa.int64(), "", [0, 1_250]),
        (Kind.CODE, pa.int32(), "hcpcs", [1, 2]),
        (Kind.TEXT, pa.string(), "", ["2024-01-01", "12.5"]),
    ],
)
def test_a_declaration_is_all_it_takes_to_carry_a_column(
    kind: Kind, type_: pa.DataType, system: str, values: list[int | str]
) -> None:
    rows = Rows("medical_claim", {"x_new": pa.array(["2024-01-01", "12.5"])}, 1)
    blank = "" if pa.types.is_string(type_) else 0
    spilled = SpillColumn("new", type_, blank, system)
    column = InputColumn("x_new", kind, "a new one", (spilled,))
    rows.table = replace(rows.table, columns=(column,))
    found = rows.carried(CodeBook())["new"]
    if isinstance(found, Text):
        assert [found.values[k] for k in found.index] == values
    else:
        assert isinstance(found, Coded | np.ndarray)
        assert (found.rows() if isinstance(found, Coded) else found).tolist() == values


def test_of_two_faults_in_a_row_an_amount_is_told_before_a_date() -> None:
    """Which reason a row is put aside with does not hang on the order of declarations."""
    faults = {"allowed_amount": "much", "paid_date": "soon", "x_tpl_amt": "some"}
    stated = {**STATED, "discharge_date": "later", **faults}
    rows = Rows("medical_claim", {name: pa.array([text]) for name, text in stated.items()}, 1)
    reason = read_lines(rows, "medical_claim", 0, MemberBook(), CodeBook())["reason"]
    assert isinstance(reason, Stated)
    assert reason.text.values[0] == "allowed_amount is not an amount: 'much'"


def test_a_code_that_is_carried_by_a_rule_is_not_read_without_it() -> None:
    rows = Rows("medical_claim", {"claim_type": pa.array(["dental"])}, 1)
    with pytest.raises(TypeError, match=r"medical_claim.claim_type is spilled by a rule"):
        rows.carried(CodeBook())


def test_texts_that_state_nothing_are_blank() -> None:
    written = pa.array([*NOTHING, *(text.upper() for text in NOTHING), " ", "0"])
    found = read_text(written)
    assert [found.values[k] for k in found.index] == [""] * (2 * len(NOTHING) + 1) + ["0"]


def test_the_synthetic_state_writes_declared_columns_of_declared_types(raw_state: Path) -> None:
    seen: set[str] = set()
    for path in raw_state.rglob("*.parquet"):
        name = path.relative_to(raw_state).parts[0].removesuffix(".parquet")
        declared, seen = INPUT_TABLES[name].by_name, seen | {name}
        for field in pq.read_schema(path):
            damaged = path.stem == "unreadable"
            wanted = pa.string() if damaged else declared[field.name].arrow_type
            assert (field.name in declared, field.type) == (True, wanted), (name, field.name)
    assert seen == set(INPUT_TABLES)


@pytest.mark.parametrize(
    ("column", "values"),
    [("x_unheard_of", pa.array(["1"])), ("paid_date", pa.array(["2024-01-01"]))],
)
def test_a_column_that_is_not_as_declared_is_not_written(column: str, values: pa.Array) -> None:
    with pytest.raises(TypeError, match=f"medical_claim.{column}: string is not what is declared"):
        raw_table("medical_claim", {column: values})
