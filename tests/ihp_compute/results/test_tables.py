"""What is declared of a result table is what a run writes."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import RunError
from ihp_compute.measure import MEMBER_YEARS
from ihp_compute.measure.member_years import RULE_SET, member_years_schema
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import TABLES, result
from ihp_compute.sweeps.file import write
from ihp_compute.sweeps.grid import grid_of
from ihp_compute.sweeps.sweep import AXIS, SWEEP, sweep
from ihp_compute.table_schema import UNITS, Column, TableSchema

DECLARED = [*TABLES.values(), SWEEP]
COLUMNS = [
    pytest.param(column, id=f"{table.name}.{column.name}")
    for table in DECLARED
    for column in table.columns
    if column.each != AXIS  # unit and meaning of a moved term are its contract's
]
TERMS = """
[set]
name = "two-caps"

[default]
contract = "mn-ihp-2.0-track-2"

[partnerships.IHP-01]
contract = "mn-ihp-2.0-track-2"

[partnerships.IHP-01.overrides]
"cost.claim_cap" = 50000
"pbp.rate" = 5
"pbp.quality" = 0.1

[alliances.TWO]
members = ["IHP-02", "IHP-03"]
split = "member_months"

[alliances.TWO.overrides]
"settlement.quality.missing" = "none"
"""


@pytest.fixture(scope="module")
def folder(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    terms = tmp_path_factory.mktemp("terms") / "two.toml"
    terms.write_text(TERMS, encoding="utf-8")
    folder = tmp_path_factory.mktemp("tables") / "run"
    run(RunRequest(small_population, (str(terms),), replicates=5), folder)
    return folder


def declared_of(folder: Path, name: str) -> TableSchema:
    """The declaration, with the columns of costs that this run's rule sets ask for."""
    if name != MEMBER_YEARS.name:
        return TABLES[name]
    names = pq.read_schema(folder / f"{name}.parquet").names
    n_rule_sets = sum(re.fullmatch(r"cost_r\d+_cents", column) is not None for column in names)
    return member_years_schema(n_rule_sets)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_has_a_meaning_and_a_number_its_unit(column: Column) -> None:
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    assert column.meaning
    assert len(column.meaning) <= 100
    assert column.unit in UNITS if number else not column.unit
    assert column.name.endswith("_cents") <= (column.unit == "cents")


def test_every_unit_is_some_column_s() -> None:
    assert {column.unit for table in DECLARED for column in table.columns} - {""} == set(UNITS)


@pytest.mark.parametrize("declared", DECLARED, ids=lambda table: table.name)
def test_keys_are_columns_and_rows_of_members_are_restricted(declared: TableSchema) -> None:
    names = set(declared.names)
    assert declared.meaning
    assert len(names) == len(declared.columns)
    assert declared.keys
    assert set(declared.keys) <= names
    of_members = bool(names & {"member_key", "member_id", "person_id"})
    thin = declared.name in ("cells", "paid_ahead")  # rate cells of few people show
    assert declared.restricted == (of_members or thin)


def test_a_run_writes_the_declared_tables(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.parquet")} == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_written_table_has_columns_and_metadata_as_declared(folder: Path, name: str) -> None:
    declared = declared_of(folder, name)
    written = pq.read_schema(folder / f"{name}.parquet")
    assert written.equals(declared.arrow)
    for column in declared.columns:
        about = {"meaning": column.meaning} | ({"unit": column.unit} if column.unit else {})
        metadata = written.field(column.name).metadata
        assert {key.decode(): value.decode() for key, value in metadata.items()} == about


@pytest.mark.parametrize("name", TABLES)
def test_rows_differ_in_their_keys(folder: Path, name: str) -> None:
    table = pq.read_table(folder / f"{name}.parquet", columns=list(TABLES[name].keys))
    # this run names no earlier one, and its scores, of risk and of quality, came with the data
    assert table.num_rows > 0 or name in ("netted", "quality_measures", "score_changes")
    assert table.group_by(table.column_names).aggregate([]).num_rows == table.num_rows


def test_costs_stand_once_for_each_rule_set(folder: Path) -> None:
    once = [column.name for column in MEMBER_YEARS.columns if column.each == RULE_SET]
    names = pq.read_schema(folder / "member_years.parquet").names
    wanted = [name.format(rule_set=r) for r in range(2) for name in once]
    assert names == [n for n in MEMBER_YEARS.names if n not in once] + wanted


def test_a_table_without_metadata_is_read_as_one_with_it(folder: Path, tmp_path: Path) -> None:
    """Tables are compared by names, types and values: so runs of before are read."""
    declared = TABLES["settlement"]
    table = pq.read_table(folder / "settlement.parquet")
    bare = pa.schema([field.remove_metadata() for field in table.schema])
    pq.write_table(table.cast(bare), tmp_path / "settlement.parquet")
    found = result(tmp_path, declared)
    assert found.equals(table)
    assert found.schema.field("payment_cents").metadata[b"unit"] == b"cents"


def test_a_table_without_a_column_of_today_is_refused_by_its_name(
    folder: Path, tmp_path: Path
) -> None:
    table = pq.read_table(folder / "caps.parquet").drop_columns(["n_floored"])
    pq.write_table(table, tmp_path / "caps.parquet")
    with pytest.raises(RunError, match=r"found no n_floored, expected .* an earlier one .* again$"):
        result(tmp_path, TABLES["caps"])


def test_a_sweep_s_columns_say_what_they_are(folder: Path, tmp_path: Path) -> None:
    grid = grid_of(
        {
            "settlement.gain.share": [Decimal("0.4"), Decimal("0.6")],
            "settlement.gain.counting": ["first_dollar"],
        }
    )
    path = tmp_path / "sweep.parquet"
    write(sweep(folder, grid), path)
    written = pq.read_schema(path)
    keys = pq.read_table(path, columns=list(SWEEP.keys))
    assert keys.group_by(list(SWEEP.keys)).aggregate([]).num_rows == keys.num_rows > 0
    fixed = [column for column in SWEEP.columns if column.each != AXIS]
    moved = [axis.path for axis in grid.axes]
    assert written.names == [fixed[0].name, *moved, *(column.name for column in fixed[1:])]
    for column in fixed:
        assert written.field(column.name).equals(column.field, check_metadata=True)
    share, counting = (written.field(name).metadata for name in moved)
    assert share[b"unit"] == b"ratio"
    assert b"unit" not in counting
    assert all(metadata[b"meaning"] for metadata in (share, counting))


def test_every_rate_of_use_can_be_made_of_what_stands_beside_it(folder: Path) -> None:
    """Readmissions are of index stays, which are not all stays."""
    rows = result(folder, TABLES["utilisation"]).to_pylist()
    assert sum(row["stays"] for row in rows)
    for row in rows:
        years = row["member_months"] / 12_000
        assert row["stays_per_1000"] == pytest.approx(row["stays"] / years if years else 0)
        assert row["ed_visits_per_1000"] == pytest.approx(row["ed_visits"] / years if years else 0)
        index = row["index_stays"]
        assert row["readmissions"] <= index <= row["stays"]
        assert row["readmission_rate"] == (row["readmissions"] / index if index else 0)
