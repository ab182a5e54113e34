"""What a section of the report can ask for: rows of the tables that are declared, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from ihp_compute.errors import RunError
from ihp_compute.report.rows import RowsOf
from ihp_compute.results import TABLES


def test_a_template_names_a_table_and_has_its_rows(make_run: Callable[..., Path]) -> None:
    template = jinja2.Template(
        "{% for row in rows.settlement %}{{ row.partnership_id }} {% endfor %}"
    )
    rows = RowsOf(make_run())
    names = [row["partnership_id"] for row in rows["settlement"]]
    assert template.render(rows=rows).split() == names
    assert len(names) > 1


@pytest.mark.parametrize(
    "name", ["nothing", *(name for name, table in TABLES.items() if table.restricted)]
)
def test_no_section_has_rows_of_members_or_of_what_is_not_declared(
    make_run: Callable[..., Path], name: str
) -> None:
    with pytest.raises(KeyError, match=name):
        RowsOf(make_run())[name]


def test_a_table_that_is_missing_is_an_error(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    (run_dir / "payments.parquet").unlink()
    with pytest.raises(RunError, match=r"payments\.parquet: missing"):
        RowsOf(run_dir)["payments"]
