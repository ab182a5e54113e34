"""Where the cost that settles lies: by partnership and year, payer, category of service."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow.parquet import write_table as write_parquet

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report import numbers
from ihp_compute.report.costs import payers_section, services_section, tied_section
from ihp_compute.report.partnerships import partnerships_of
from ihp_compute.report.rows import RowsOf
from ihp_compute.results import TABLES, open_form, read_manifest, result
from ihp_compute.runner import LocalRunner
from ihp_compute.synth.state import synth


@pytest.fixture(scope="module")
def settled(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=0)
    return run(request, tmp_path_factory.mktemp("costs") / "run", LocalRunner(1)).run_dir


def _tied(run_dir: Path, form: Any = None) -> Any:
    partnerships = partnerships_of(RowsOf(run_dir, form))
    return tied_section(run_dir, read_manifest(run_dir), form, partnerships)


def test_cost_of_each_partnership_is_its_observed_and_all_are_the_ledger_s(settled: Path) -> None:
    found = _tied(settled)
    assert found["balanced"]
    assert len(found["rows"]) == 25
    assert {row["tied"] for row in [*found["rows"], *found["totals"]]} == {"ties"}
    assert all(row["years"][1][2] == row["observed"] for row in found["rows"])
    observed = sum(result(settled, TABLES["settlement"])["observed_cents"].to_pylist())
    assert found["all"][1][2] == numbers.usd(observed)
    assert [row["group"] for row in found["others"]] == ["Comparison", "Unattributed"]
    assert [row["name"] for row in found["totals"]] == ["counted", "above_cap", "floored", "cost"]
    assert all(row["cents"] == row["ledger"] for row in found["totals"])


def test_what_does_not_tie_says_by_how_much(settled: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(settled, tmp_path / "run"))
    rows = result(folder, TABLES["caps"]).to_pylist()
    rows[-1]["above_cap_cents"] += 123_45
    write_parquet(pa.Table.from_pylist(rows, TABLES["caps"].arrow), folder / "caps.parquet")
    found = _tied(folder)
    off = [row for row in found["rows"] if row["tied"] != "ties"]
    assert [(row["group"], row["tied"]) for row in off] == [
        (rows[-1]["partnership_id"], "off by +$123.45")
    ]
    assert not found["balanced"]
    assert found["totals"][1]["tied"] == "off by +$123.45"


def test_a_partnership_without_members_in_a_year_ties_with_nothing(tmp_path: Path) -> None:
    synth(300, 1, tmp_path / "raw")
    ingest(tmp_path / "raw", tmp_path / "population", shards=1)
    request = RunRequest(tmp_path / "population", ("mn-ihp-2.0-track-2",), replicates=0)
    folder = run(request, tmp_path / "run", LocalRunner(1)).run_dir  # the report is written too
    settled = set(result(folder, TABLES["settlement"])["partnership_id"].to_pylist())
    cells = result(folder, TABLES["cells"]).to_pylist()
    empty = settled - {row["partnership_id"] for row in cells if row["year"] == 2023}
    assert empty
    found = _tied(folder)
    assert found["balanced"]
    of = [row["years"][0] for row in found["rows"] if row["group"] in empty]
    assert of == [["$0", "$0", "$0", "$0.00"]] * len(empty)


def test_floor_and_cap_are_what_lies_between_paid_and_cost(settled: Path) -> None:
    cells = result(settled, TABLES["cells"]).to_pylist()
    found = _tied(settled)
    moved = set()
    for row in [*found["rows"], *found["others"]]:
        for year, words in zip((2023, 2024), row["years"], strict=True):
            of = [
                cell["cost_cents"] - cell["paid_cents"]
                for cell in cells
                if cell["partnership_id"].lower() == row["group"].lower() and cell["year"] == year
            ]
            assert words[1] == numbers.usd(sum(of))
            moved.add(sum(of))
    assert len(moved) > 1


def test_in_the_open_form_what_is_shown_is_what_the_whole_one_shows(settled: Path) -> None:
    """Sums of all are held back with the partnerships that are left out."""
    whole, found = _tied(settled), _tied(settled, open_form(settled))
    assert found["all"][1][2] == numbers.HELD
    assert {row["tied"] for row in found["totals"]} == {numbers.HELD}
    of = {row["group"]: row["years"] for row in whole["rows"]}
    assert 0 < len(found["rows"]) < len(of)
    for row in found["rows"]:
        for shown, words in zip(row["years"], of[row["group"]], strict=True):
            assert all(a in (b, numbers.HELD) for a, b in zip(shown, words, strict=True))


def test_payments_by_payer_add_up_to_each_payment(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    found = payers_section(RowsOf(run_dir))
    payments = result(run_dir, TABLES["settlement"])["payment_cents"].to_pylist()
    assert found is not None
    assert found["payers"] == ["ffs", "MCO-A"]
    assert len(found["rows"]) == 25
    thirds = numbers.usd(sum(round(cents / 3) for cents in payments))
    assert found["all"][0] == thirds


def test_cost_by_service_adds_up_to_cost_per_member_month(settled: Path) -> None:
    found = services_section(RowsOf(settled), (2023, 2024))
    assert found is not None
    index = {
        (row["scope_id"], row["year"]): row["cost_cents"] / row["member_months"]
        for row in result(settled, TABLES["cost_index"]).to_pylist()
        if row["member_months"]
    }
    named = {row["name"]: row["pmpm"] for row in found["rows"]}
    for name, key in (
        ("All partnerships, 2023", "attributed"),
        ("IHP-01", "IHP-01"),
        ("The state, 2024", "state"),
    ):
        year = 2023 if name.endswith("2023") else 2024
        assert named[name][-1] == numbers.usd(index[key, year], places=2)
        assert len(named[name]) == len(found["items"]) + 1
