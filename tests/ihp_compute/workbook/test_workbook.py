"""A run as a workbook: sheets that tie to the tables to the cent, a walk that recalculates."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute import contracts
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import TABLES, kept_terms, open_form, result, verify_run
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import settle_table
from ihp_compute.workbook import WORKBOOK, write_workbook
from ihp_compute.workbook.book import write_text

openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
xlsxwriter = pytest.importorskip("xlsxwriter", reason="XlsxWriter is not installed")
SOFFICE = shutil.which("soffice")
SHEETS = [
    "Cover", "Settlement", "Cells", "Walk", "Intervals", "Corridor", "Sensitivity", "Risk", "Caps",
    "Utilisation", "Payers", "Ledger", "Tied", "Data quality", "Assumptions", "Change log",
    "Manifest",
]  # fmt: skip
OF_PROGRAMME = {
    "Outcomes": "outcomes", "Outcome changes": "outcome_changes", "Cost index": "cost_index",
    "Cost drivers": "cost_drivers", "Trend": "comparison", "Quality measures": "quality_measures",
}  # fmt: skip
OF_TABLES = {
    "Settlement": "settlement", "Cells": "cells", "Sensitivity": "sensitivities",
    "Utilisation": "utilisation", "Payers": "payments", "Ledger": "ledger",
    "Data quality": "data_quality", "Chances": "chances", "Quality": "quality",
    "Attribution": "attribution", "Exclusions": "exclusions", "Caps": "caps",
    "Corridor": "corridor", "Draws": "distribution", "Data review": "data_review",
}  # fmt: skip
RECALCULATE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item></oor:items>
"""
"""A profile that recalculates whatever it opens; LibreOffice shows stored values else."""


@pytest.fixture(scope="module")
def made(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20, programme="none")
    out = tmp_path_factory.mktemp("workbook") / "run"
    return run(request, out, LocalRunner(1), workbook=True).run_dir


@pytest.fixture(scope="module")
def values(made: Path) -> Any:
    return openpyxl.load_workbook(made / WORKBOOK, data_only=True)


@pytest.fixture(scope="module")
def recalculated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """What LibreOffice makes of a workbook."""
    if SOFFICE is None:
        pytest.skip("no LibreOffice (libreoffice-calc-nogui) to recalculate with")
    place = tmp_path_factory.mktemp("office")
    (place / "profile" / "user").mkdir(parents=True)
    (place / "profile" / "user" / "registrymodifications.xcu").write_text(RECALCULATE)

    def open_again(path: Path) -> Any:
        subprocess.run(
            [SOFFICE, f"-env:UserInstallation={(place / 'profile').as_uri()}", "--headless",
             "--convert-to", "xlsx", "--outdir", str(place), str(path)],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return openpyxl.load_workbook(place / path.name, data_only=True)

    return open_again


def _rows(book: Any, sheet: str) -> list[dict[str, Any]]:
    header, *rows = book[sheet].iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _cents(usd: float) -> int:
    return round(Decimal(repr(usd)) * 100)


def test_every_exhibit_is_a_sheet_and_a_part_of_the_verified_run(made: Path, values: Any) -> None:
    assert [name for name in values.sheetnames if name in SHEETS] == SHEETS
    further = {
        "Chances",
        "Draws",
        "Quality",
        "Quality measures",
        "Attribution",
        "Exclusions",
        "Data review",
    }
    assert set(values.sheetnames) - set(SHEETS) == further
    named = [row[0].value for row in values["Cover"].iter_rows()]
    assert named[-len(values.sheetnames) + 1 :] == values.sheetnames[1:]
    verify_run(made)


@pytest.mark.parametrize(("sheet", "table"), OF_TABLES.items())
def test_a_sheet_ties_to_its_table_to_the_cent(
    made: Path, values: Any, sheet: str, table: str
) -> None:
    stored = result(made, TABLES[table])
    rows = _rows(values, sheet)
    assert len(rows) == stored.num_rows > 0
    for name in stored.column_names:
        cells = stored.column(name).to_pylist()
        if name.endswith("_cents"):
            assert [_cents(row[name.removesuffix("_cents") + "_usd"]) for row in rows] == cells
        elif not pa.types.is_floating(stored.schema.field(name).type):
            assert [row[name] or "" for row in rows] == [cell or "" for cell in cells]


def test_tables_of_the_programme_are_sheets_where_a_run_has_them(
    small_population: Path, tmp_path: Path
) -> None:
    """Counties alone stay in their table: they are most of its rows."""
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=0)
    made = run(request, tmp_path / "run", LocalRunner(1)).run_dir
    book = openpyxl.load_workbook(write_workbook(made), data_only=True)
    assert "Score changes" not in book.sheetnames  # scores were supplied: no model explains them
    for sheet, name in OF_PROGRAMME.items():
        rows = result(made, TABLES[name]).to_pylist()
        shown = [row for row in rows if row.get("dimension") != "county_fips"]
        assert len(_rows(book, sheet)) == len(shown) > 0
    drivers = result(made, TABLES["cost_drivers"])["cost_cents"].to_pylist()
    assert [_cents(row["cost_usd"]) for row in _rows(book, "Cost drivers")] == drivers


def test_the_walk_is_stored_as_the_run_wrote_it(made: Path, values: Any) -> None:
    stored = result(made, TABLES["walk"]).to_pylist()
    rows = _rows(values, "Walk")
    assert [(r["partnership_id"], r["step"], _cents(r["amount_usd"])) for r in rows] == [
        (r["partnership_id"], r["step"], r["amount_cents"]) for r in stored
    ]


def test_computed_lines_are_formulas_each_with_its_value(made: Path, values: Any) -> None:
    sheet = openpyxl.load_workbook(made / WORKBOOK)["Walk"]
    computed = {"target", "savings", "gate", "share", "quality", "cap", "payment"}
    for row, stored in zip(sheet.iter_rows(min_row=2), values["Walk"].iter_rows(min_row=2),
                           strict=True):  # fmt: skip
        is_formula = str(row[2].value).startswith("=")
        assert is_formula == (row[1].value in computed | {"withhold", "adjustments"})
        assert stored[2].value is not None
        assert not str(stored[2].value).startswith("=")


def test_the_same_run_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    """Also where the workbook is made once the run is finished."""
    again = write_workbook(made, tmp_path / "again.xlsx")
    assert again.read_bytes() == (made / WORKBOOK).read_bytes()


def test_another_office_recalculates_the_same_walk(
    made: Path, values: Any, recalculated: Callable[[Path], Any]
) -> None:
    """To the cent, or one where half a cent is rounded up and not to even."""
    found = _rows(recalculated(made / WORKBOOK), "Walk")
    for stored, row in zip(_rows(values, "Walk"), found, strict=True):
        assert abs(_cents(row["amount_usd"]) - _cents(stored["amount_usd"])) <= 1, stored


def test_another_observed_cost_flows_through_to_the_payment(
    made: Path, tmp_path: Path, recalculated: Callable[[Path], Any]
) -> None:
    """To what a settlement of given aggregates comes to: gains, losses, some below their gate."""
    book = openpyxl.load_workbook(made / WORKBOOK)
    terms = kept_terms.read(made)
    facts = {row["partnership_id"]: row for row in result(made, TABLES["settlement"]).to_pylist()}
    targets: dict[str, float] = {}
    given: list[dict[str, Any]] = []
    factors = (0.8, 0.93, 0.985, 0.999, 1.01, 1.05, 1.3)
    for row in book["Walk"].iter_rows(min_row=2):
        name, step = row[0].value, row[1].value
        if step == "observed":
            target = facts[name]["target_cents"]
            row[2].value = round(target * factors[len(given) % len(factors)]) / 100
            targets[name] = row[2].value
            given.append(
                {"partnership_id": name, "n_members": facts[name]["n_members"],
                 "target_usd": target / 100, "observed_usd": row[2].value,
                 "performance_year": facts[name]["performance_year"],
                 "quality_score": str(terms.quality[name])}
            )  # fmt: skip
    book.save(tmp_path / "edited.xlsx")
    settled = settle_table(pa.Table.from_pylist(given), contracts.load("mn-ihp-2.0-track-2"))
    expected = dict(
        zip([row["partnership_id"] for row in given], settled.payment_cents.tolist(), strict=True)
    )
    rows = _rows(recalculated(tmp_path / "edited.xlsx"), "Walk")
    found = {r["partnership_id"]: _cents(r["amount_usd"]) for r in rows if r["step"] == "payment"}
    assert len({cents > 0 for cents in expected.values()}) == 2
    assert all(abs(found[name] - cents) <= 1 for name, cents in expected.items())


def test_the_open_form_holds_no_hidden_dollar(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "run"))
    form = open_form(copy)
    path = write_workbook(copy, tmp_path / "open.xlsx", form=form)
    book = openpyxl.load_workbook(path, data_only=True)
    hidden = [
        row["partnership_id"]
        for row in form.table("settlement").to_pylist()
        if row["payment_cents"] is None
    ]
    assert hidden
    for sheet in ("Settlement", "Walk", "Corridor", "Payers", "Sensitivity"):
        for row in _rows(book, sheet):
            if row["partnership_id"] in hidden:
                assert all(row[n] is None for n in row if n.endswith("_usd")), (sheet, row)
    assert "what everybody may see" in str(book["Cover"]["B3"].value)


def test_the_open_walk_tells_no_cost_before_the_claims_cap(
    small_population: Path, tmp_path: Path
) -> None:
    """Where dollars are held to a part of it: less observed cost it is what the cap took."""
    request = RunRequest(
        small_population, ("maine-accountable-communities",), replicates=2, programme="none"
    )
    folder = run(request, tmp_path / "run", LocalRunner(1)).run_dir

    def amounts(path: Path) -> set[str]:
        """Dollars and cents that formulas state, of seven digits and more."""
        sheet = openpyxl.load_workbook(path)["Walk"]
        cells = [str(cell.value) for row in sheet.iter_rows() for cell in row]
        return {n for text in cells if text.startswith("=MIN") for n in re.findall(r"\d{7,}", text)}

    form = open_form(folder)
    shown = write_workbook(folder, tmp_path / "open.xlsx", form=form)
    assert amounts(write_workbook(folder, tmp_path / "whole.xlsx"))
    assert not amounts(shown)
    rows = _rows(openpyxl.load_workbook(shown, data_only=True), "Walk")
    told = [row for row in form.table("walk").to_pylist() if row["amount_cents"] is not None]
    assert [_cents(row["amount_usd"]) for row in rows] == [row["amount_cents"] for row in told]


def test_a_name_is_text_whatever_it_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "names.xlsx"
    file = xlsxwriter.Workbook(str(path))
    sheet = file.add_worksheet()
    names = ["=1+1", "+1", "-1", "@SUM(1)", "{=1}", "http://x", "=" + "x" * 40_000]
    for at, name in enumerate(names):
        write_text(sheet, at, 0, name)
    file.close()
    with zipfile.ZipFile(path) as parts:
        assert b"<f>" not in parts.read("xl/worksheets/sheet1.xml")
        assert "xl/worksheets/_rels/sheet1.xml.rels" not in parts.namelist()
    read = openpyxl.load_workbook(path).active
    assert [read.cell(at, 1).value for at in range(1, len(names))] == names[:-1]
    assert read.cell(len(names), 1).value.endswith("a cell holds no more)")
