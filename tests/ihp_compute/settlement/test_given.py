"""Settlement of given aggregates: what is read, what overrides, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.errors import ContractError, DataError, IhpError
from ihp_compute.settlement.given import settle_table
from ihp_compute.table_files import read_table, write_table

CONTRACT = "mn-ihp-2.0-track-2"


def table(**columns: list[Any]) -> pa.Table:
    """Two partnerships that saved 10 % of a million dollars, with further or other columns."""
    given = {
        "partnership_id": ["A", "B"],
        "n_members": [5_000, 20_000],
        "target_usd": ["1000000", "1000000"],
        "observed_usd": ["900000.00", "900000"],
        "quality_score": ["1", "1"],
        **{name.replace("__", "."): values for name, values in columns.items()},
    }
    return pa.table({name: pa.array(values) for name, values in given.items()})


def column(found: pa.Table, name: str) -> list[Any]:
    return found.column(name).to_pylist()


def paid(given: pa.Table, contract: str = CONTRACT) -> list[float]:
    return column(settle_table(given, contract).table, "payment_usd")


def test_one_row_comes_out_for_each_row_in_their_order() -> None:
    settled = settle_table(table(performance_year=[2021, None]), CONTRACT).table
    assert settled.column_names == [
        "partnership_id", "contract", "performance_year", "n_members", "target_usd",
        "observed_usd", "savings_usd", "savings_rate", "gate_rate", "gate_passed",
        "shareable_usd", "share_usd", "quality_usd", "withhold_usd", "cap_usd",
        "adjustment_usd", "payment_usd",
    ]  # fmt: skip
    assert column(settled, "partnership_id") == ["A", "B"]
    assert column(settled, "performance_year") == [2021, None]
    assert column(settled, "savings_rate") == [0.1, 0.1]
    assert column(settled, "gate_rate") == [0.02, 0.02]


def test_an_empty_cell_overrides_nothing() -> None:
    for empty in (None, "", " "):
        assert paid(table(settlement__gain__share=["0.25", empty])) == [25_000, 50_000]


def test_numbers_may_be_text_or_numbers() -> None:
    as_text = table(settlement__gain__share=["0.1", "0.3"])
    as_number = table(settlement__gain__share=[0.1, 0.3], n_members=[5000.0, 20000.0])
    assert paid(as_text) == paid(as_number) == [10_000, 30_000]


def test_a_row_may_name_its_contract() -> None:
    given = table(contract=["aca-1342", None], performance_year=["2015", "2021"])
    settled = settle_table(given, CONTRACT).table
    assert column(settled, "contract") == ["aca-1342", CONTRACT]
    assert column(settled, "payment_usd") == [-41_000, 50_000]


def test_the_performance_year_picks_the_dated_values() -> None:
    given = table(performance_year=["2018", "2019"], settlement__gain__share=["0.5", "0.5"])
    assert paid(given, "cms-mssp-track-1") == [49_000, 50_000]


def test_bands_may_be_moved_named_or_replaced() -> None:
    moved = table(settlement__gain__bands__inner__below=["0.05", None])
    assert paid(moved, "cms-reach-global") == [(50_000 + 25_000) * 0.98, 98_000]
    replaced = table(settlement__gain__bands=["0:0.02:0;0.02:0.05:0.5", "none"])
    assert paid(replaced, "cms-reach-global") == [15_000 * 0.98, 98_000]


def test_a_gate_may_be_by_size_none_or_a_number() -> None:
    given = table(settlement__gate__gain_rate=["0.2", "none"])
    settled = settle_table(given, CONTRACT).table
    assert column(settled, "gate_rate") == [0.2, None]
    assert column(settled, "payment_usd") == [0, 0]
    assert column(settle_table(table(), "cms-mssp-track-1").table, "gate_rate") == [0.039, 0.025]


def test_the_contract_year_of_a_row_may_be_given() -> None:
    given = table(
        observed_usd=["1100000"] * 2,
        performance_year=["2016"] * 2,
        agreement__first_performance_year=["2016", "2015"],
    )
    assert paid(given, "mn-ihp-1.0") == [0, -25_000]


def test_many_rows_settle_as_each_alone() -> None:
    rng = np.random.default_rng(7)
    n = 40
    given = pa.table(
        {
            "partnership_id": [str(i) for i in range(n)],
            "n_members": rng.integers(500, 70_000, n),
            "target_usd": rng.integers(10**6, 10**9, n),
            "observed_usd": rng.integers(10**6, 10**9, n),
            "quality_score": [1] * n,
            "contract": rng.choice(["cms-mssp-track-3", "aca-1342", "mn-ihp-1.0"], n),
            "settlement.gain.share": [None if i % 3 else 0.4 for i in range(n)],
        }
    )
    together = settle_table(given, CONTRACT).payment_cents
    alone = [settle_table(given.slice(i, 1), CONTRACT).payment_cents[0] for i in range(n)]
    assert together.tolist() == alone


def test_a_column_does_not_take_its_term_out_of_the_draft() -> None:
    """What a table says is no document: as many terms lack one as without the column."""
    (line,) = settle_table(table(), CONTRACT).drafts
    assert line.startswith("DRAFT TERMS: ")
    assert f" recalled or assumed in {CONTRACT}: " in line
    assert "settlement.gain.share" in line
    supplied = table(settlement__gain__share=["0.5", "0.4"], settlement__gate__gain_rate=["0", ""])
    (other,) = settle_table(supplied, CONTRACT).drafts
    assert other.split(" recalled")[0] == line.split(" recalled")[0]
    assert "settlement.gain.share (supplied)" in other
    assert "settlement.gate.gain_rate (supplied)" in other
    assert "settlement.loss.share (supplied)" not in other


def test_a_column_may_say_where_its_values_are_written() -> None:
    given = table(settlement__gain__share=["0.5", "0.4"])
    told = pa.array(["exhibit C, p. 17", ""])
    given = given.append_column("settlement.gain.share.source", told)
    settled = settle_table(given, CONTRACT)
    assert settled.table.column("settlement.gain.share.source").to_pylist() == [
        "exhibit C, p. 17", "",
    ]  # fmt: skip
    assert settled.payment_cents.tolist() == (
        settle_table(table(settlement__gain__share=["0.5", "0.4"]), CONTRACT).payment_cents.tolist()
    )
    with pytest.raises(DataError, match=r"found column settlement\.gain\.share\.source and no"):
        settle_table(given.drop_columns(["settlement.gain.share"]), CONTRACT)


def test_columns_that_do_nothing_are_said() -> None:
    notes = settle_table(table(aco_name=["x", "y"], target__trend=["0.1", "0.2"]), CONTRACT).notes
    assert any("left out: aco_name" in note for note in notes)
    assert any("target.trend moves nothing" in note for note in notes)


def test_a_cap_without_its_base_is_said() -> None:
    notes = settle_table(table(), "maine-accountable-communities").notes
    assert any("settlement.core_cost_usd is not given" in note for note in notes)
    given = table(settlement__core_cost_usd=["1000000", "1000000"])
    assert settle_table(given, "maine-accountable-communities").notes == ()
    (note,) = settle_table(table(), "cms-mssp-basic-e").notes
    assert "the cap of revenue cannot bind" in note


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"target_usd": ["1", "nan"]}, DataError, "row 2, target_usd: found nan, expected a"),
        ({"target_usd": ["1", "inf"]}, DataError, "row 2, target_usd: found inf"),
        ({"target_usd": ["0", "1"]}, DataError, "row 1, target_usd: found 0, expected dollars"),
        ({"target_usd": ["-5", "1"]}, DataError, "row 1, target_usd: found -5, expected dollars"),
        ({"observed_usd": ["1", ""]}, DataError, "row 2, observed_usd: found nothing"),
        ({"observed_usd": ["1", "a lot"]}, DataError, "row 2, observed_usd: found a lot"),
        ({"observed_usd": [1.0, float("nan")]}, DataError, "row 2, observed_usd: found nan"),
        ({"n_members": ["0", "1"]}, DataError, "row 1, n_members: found 0, expected a whole"),
        ({"n_members": ["1.5", "1"]}, DataError, "row 1, n_members: found 1.5"),
        ({"quality_score": ["1.01", "1"]}, DataError, "row 1, quality_score: found 1.01"),
        ({"quality_score": ["-0.1", "1"]}, DataError, "row 1, quality_score: found -0.1"),
        ({"performance_year": ["next", ""]}, DataError, "row 1, performance_year: found next"),
        ({"contract": ["mn-ihp-4.0", ""]}, ContractError, "no contract mn-ihp-4.0; did you mean"),
        ({"performance_year": ["2015", ""]}, ContractError, "found no value for 2015"),
        ({"settlement__gain__share": ["1.5", ""]}, ContractError, "row 1, settlement.gain.share"),
        ({"settlement__gain__share": ["half", ""]}, ContractError, "found half, expected a number"),
        ({"settlement__gain__share": ["none", ""]}, ContractError, "found none, expected a number"),
        ({"settlement__gain__shore": ["1", ""]}, ContractError, "settlement.gain.shore: no contra"),
        ({"settlement__gain__bands": ["0:0.1", ""]}, ContractError, "expected above:below:share"),
        (
            {"settlement__gain__bands": ["0:0.1:0;0.2:0.3:1", ""]},
            ContractError,
            "row 1: settlement.gain.bands: found a gap between bands",
        ),
        (
            {"settlement__gain__bands__inner__below": ["0.1", ""]},
            ContractError,
            "bands are none",
        ),
        (
            {"attribution__min_months_any": ["0", ""]},
            ContractError,
            "row 1: attribution.min_months_any: found 0, expected a whole number",
        ),
        (
            {"settlement__gate__gain_rate": ["size_table", ""]},
            ContractError,
            "row 1: mn-ihp-2.0-track-2.toml: settlement.gate.gain_rate: found size_table",
        ),
        (
            {"settlement__gate__size_table": ["1000.5:0.03", ""]},
            ContractError,
            "row 1: settlement.gate.size_table: found",
        ),
        (
            {"settlement__steps": [True, False]},
            ContractError,
            "row 1: settlement.steps: found true",
        ),
        ({"settlement__gain__cap_usd": ["1e400", ""]}, ContractError, "expected a number below"),
        ({"quality_scores": ["1", "1"]}, DataError, "unknown column quality_scores; did you mean"),
    ],
)
def test_what_cannot_be_settled_is_refused(
    change: dict[str, list[Any]], kind: type[IhpError], message: str
) -> None:
    with pytest.raises(kind) as refusal:
        settle_table(table(**change), CONTRACT)
    assert message in str(refusal.value)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="found no column n_members, expected partnership_id"):
        settle_table(table().drop_columns(["n_members"]), CONTRACT)


def test_no_rows_settle_to_no_rows() -> None:
    settled = settle_table(table().slice(0, 0), CONTRACT)
    assert settled.table.num_rows == 0
    assert settled.payment_cents.sum() == 0


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_tables_are_read_and_written_by_extension(tmp_path: Path, suffix: str) -> None:
    given, out = tmp_path / f"given{suffix}", tmp_path / "deep" / f"out{suffix}"
    write_table(table(settlement__gain__share=["0.25", None]), given)
    settled = settle_table(read_table(given), CONTRACT, where=given.name)
    write_table(settled.table, out)
    values = [float(value) for value in column(read_table(out), "payment_usd")]
    assert values == [25_000, 50_000]


def test_text_in_a_csv_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    head = "partnership_id,n_members,target_usd,observed_usd,quality_score\n"
    path.write_text(f"{head}0012,5000,1e6,900000,1\n")
    settled = settle_table(read_table(path), CONTRACT).table
    assert column(settled, "partnership_id") == ["0012"]


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("none.csv", None, "no such file"),
        ("table.xls", lambda p: p.write_text("x"), r"expected \.csv, \.xlsx, \.parquet or \.arrow"),
        ("table.xlsx", lambda p: p.write_text("x"), "cannot be read as a workbook"),
        ("broken.parquet", lambda p: p.write_text("x"), "cannot be read"),
        ("broken.arrow", lambda p: p.write_text("x"), "cannot be read"),
        ("broken.csv", lambda p: p.write_text("a,b\n1,2\n1,2,3\n"), "cannot be read"),
    ],
)
def test_an_unreadable_file_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], Any] | None, message: str
) -> None:
    path = tmp_path / name
    if make is not None:
        make(path)
    with pytest.raises(DataError, match=message):
        read_table(path)
