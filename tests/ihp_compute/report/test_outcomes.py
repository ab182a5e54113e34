"""Care changed and who has how much of it, as the report shows them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ihp_compute.report.charts import Multiple, multiples
from ihp_compute.report.outcomes import outcomes_section
from ihp_compute.report.page import render
from ihp_compute.report.rows import RowsOf
from ihp_compute.results import read_manifest
from ihp_compute.results.programme_tables import OUTCOME_CHANGES, OUTCOMES


@pytest.fixture(scope="module")
def run_dir(small_run: Path) -> Path:
    """A run of the small state, without draws."""
    return small_run


def _rows(run_dir: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(run_dir / f"{name}.parquet").to_pylist()
    return found


def _section(run_dir: Path) -> dict[str, Any]:
    return outcomes_section(RowsOf(run_dir), read_manifest(run_dir))


def test_the_page_shows_each_group_s_change_as_the_table_has_it(run_dir: Path) -> None:
    changes = _section(run_dir)["changes"]
    shown = {row["name"]: row["cells"] for row in changes["table"]}
    stored = {
        row["scope_id"]: row
        for row in _rows(run_dir, "outcome_changes")
        if (row["dimension"], row["basis"], row["measure"]) == ("all", "standardised", "ed_visits")
    }
    assert list(shown)[:2] == ["The state", "All partnerships"]
    assert "Comparison" not in shown  # nobody is held against themselves
    assert set(shown) - {"The state", "All partnerships", "Unattributed"} == {
        name for name in stored if name.startswith("IHP-")
    }
    for name, cells in shown.items():
        row = stored[{"The state": "state", "All partnerships": "attributed"}.get(name, name.upper()
                     if name == "Unattributed" else name)]  # fmt: skip
        if row["flag"]:
            assert cells[0]["change"] == "–"
        else:
            assert (
                cells[0]["change"]
                .replace("\N{MINUS SIGN}", "-")
                .startswith(f"{row['relative_change']:+.1%}"[:-1])
            )


def test_each_stratum_stands_under_its_dimension_with_the_reference_first(run_dir: Path) -> None:
    lines = _section(run_dir)["strata"]["table"]
    names = [line["dimension"] for line in lines]
    assert "race" in names
    assert "county fips" not in names
    outcomes = [
        row
        for row in _rows(run_dir, "outcomes")
        if (row["scope"], row["year"], row["measure"]) == ("attributed", 2024, "ed_visits")
    ]
    for line in lines:
        first, *others = line["strata"]
        assert first["is_reference"]
        assert first["name"] == line["reference"]
        assert not any(one["is_reference"] for one in others)
        for one in line["strata"]:
            (row,) = (
                row
                for row in outcomes
                if row["dimension"].replace("_", " ") == line["dimension"]
                and row["stratum"] == one["name"]
            )
            assert one["people"] == f"{row['n_members']:,}"
            assert one["cells"][0]["rate"] == f"{row['rate_standardised']:,.0f}"
            if not one["is_reference"] and not row["flag"].startswith("no_"):
                assert one["cells"][0]["ratio"] == f"{row['ratio']:.2f}"


def test_the_whole_page_has_both_sections_and_names_are_text(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    for declared in (OUTCOMES, OUTCOME_CHANGES):
        path = copy / f"{declared.name}.parquet"
        table = pq.read_table(path)
        at = table.column_names.index("stratum")
        texts = pc.replace_substring(table.column("stratum"), "white", "<b>white</b>")
        pq.write_table(table.set_column(at, declared.arrow.field("stratum"), texts), path)
    page = render(copy)
    assert 'id="changes"' in page
    assert 'id="equity"' in page
    assert "<b>white</b>" not in page
    assert "&lt;b&gt;white&lt;/b&gt;" in page


def test_what_is_hidden_is_said_to_be(run_dir: Path) -> None:
    """Rows of an open form, whose values are null."""

    class Hidden(RowsOf):
        def where(self, name: str, **among: Any) -> list[dict[str, Any]]:
            keys = {"outcomes": OUTCOMES, "outcome_changes": OUTCOME_CHANGES}[name].keys
            rows = super().where(name, **among)
            return [
                row
                if row["scope_id"] == "IHP-01" or row["stratum"] not in ("black", "all")
                else {key: value if key in keys else None for key, value in row.items()}
                for row in rows
            ]

    section = outcomes_section(Hidden(run_dir), read_manifest(run_dir))
    shown = {row["name"]: row["cells"] for row in section["changes"]["table"]}
    assert shown["The state"][0]["change"] == "held back"
    assert shown["IHP-01"][0]["change"] != "held back"
    (race,) = (line for line in section["strata"]["table"] if line["dimension"] == "race")
    (black,) = (one for one in race["strata"] if one["name"] == "black")
    assert black["people"] == black["cells"][0]["rate"] == "held back"


def test_a_run_without_outcomes_has_neither_section(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    section = _section(run_dir)
    assert section["changes"] is None
    assert section["strata"] is None
    assert section["arms"] == []
    page = render(run_dir)
    assert 'id="changes"' not in page
    assert 'id="equity"' not in page


def test_arms_of_an_intervention_are_shown_against_their_comparison(
    run_dir: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    rows = _rows(copy, "outcome_changes")
    (own,) = (
        row
        for row in rows
        if (row["scope"], row["dimension"], row["basis"], row["measure"])
        == ("state", "all", "standardised", "stays")
    )
    arm = own | {"dimension": "intervention", "stratum": "treated", "comparator": "arm:comparison",
                 "relative_change": -0.125, "low": -0.2, "high": -0.05, "usd_cents": 1_234_500_00,
                 "flag": ""}  # fmt: skip
    control = arm | {"stratum": "comparison", "comparator": "", "flag": "no_comparator"}
    table = pa.Table.from_pylist([*rows, arm, control], schema=OUTCOME_CHANGES.arrow)
    pq.write_table(table, copy / "outcome_changes.parquet")
    (shown,) = _section(copy)["arms"]
    assert shown["name"] == "treated"
    assert shown["cells"][1]["change"] == "\N{MINUS SIGN}12.5 %"
    assert "Arms of the intervention" in render(copy)


def test_a_ratio_chart_marks_what_differs_and_ends_off_the_scale_in_arrows() -> None:
    found: list[Multiple | None] = [
        Multiple(0.5, 0.4, 0.6, wished=-1), Multiple(1.2, 0.9, 1.6, wished=-1),
        Multiple(0.9, 0.0, 40.0, wished=-1), None,
    ]  # fmt: skip
    chart = multiples(
        ["a", "b", "c", "d"], [("Stays", found)], title="Ratios", description="Four of them."
    )
    markup = chart.__html__()
    assert len(re.findall("<circle", markup)) == 3
    assert len(re.findall('class="solid gain"', markup)) == 1
    assert len(re.findall('class="hollow none"', markup)) == 2
    assert len(re.findall('class="arrow', markup)) == 2
