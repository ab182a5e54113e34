"""What the report says of total cost, resource use and price."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.report.cost_index import cost_index_section
from ihp_compute.report.page import write_report
from ihp_compute.report.rows import RowsOf
from ihp_compute.results.programme_tables import COST_DRIVERS, COST_INDEX

Row = dict[str, Any]


def index(scope_id: str, n: int, **change: Any) -> Row:
    scope = "attributed" if scope_id == "attributed" else "partnership"
    return {
        "scope": scope, "scope_id": scope_id, "year": 2023, "peer": "state", "n_members": n,
        "member_months": 12 * n, "n_truncated": 4, "unpriced_lines": 0, "cost_cents": 600_000 * n,
        "resource_cents": 500_000 * n, "risk_mean": 1.02, "tci": 1.21, "rui": 1.1,
        "price_index": 1.1, "flag": "", **change,
    }  # fmt: skip


def driver(scope_id: str, item: str, mix: float, use: float, price: float, **change: Any) -> Row:
    scope = "attributed" if scope_id == "attributed" else "partnership"
    return {
        "scope": scope, "scope_id": scope_id, "year": 2023, "dimension": "service_category",
        "item": item, "services": 900, "cost_cents": 1, "resource_cents": 1, "mix_usd": mix,
        "use_usd": use, "price_usd": price, "difference_usd": mix + use + price, **change,
    }  # fmt: skip


@pytest.fixture
def with_index(make_run: Callable[..., Path]) -> Path:
    """A run with indices of a large, a flagged and a small group, and of all."""
    run_dir = make_run()
    rows = [
        index("attributed", 5_000), index("IHP01", 4_000, tci=0.95, rui=0.98),
        index("IHP02", 300, flag="below_minimum"), index("IHP03", 7, flag="below_minimum"),
        index("IHP04", 0, flag="no_denominator", member_months=0, tci=0.0),
        index("COMPARISON", 2_000),
        index("IHP01", 3_900, year=2021, tci=7.77),
    ]  # fmt: skip
    drivers = [
        driver("IHP01", "inpatient", 1.0, -9.5, 2.25), driver("IHP01", "pharmacy", 0, 3.0, 0.5),
        driver("attributed", "inpatient", 0.1, 0.2, 0.3),
        driver("attributed", "hospice", 5.0, 5.0, 5.0, services=9),
        driver("attributed", "asthma", 0.0, -0.4, 0.1, dimension="condition_group"),
    ]  # fmt: skip
    for table, of in ((COST_INDEX, rows), (COST_DRIVERS, drivers)):
        pq.write_table(
            pa.Table.from_pylist(of, schema=table.arrow), run_dir / f"{table.name}.parquet"
        )
    return run_dir


class Hidden(RowsOf):
    """Rows as others may see them: two groups and an item without a value."""

    def __getitem__(self, name: str) -> list[Row]:
        hidden = {"IHP02", "IHP03", "hospice"}
        keys = {*COST_INDEX.keys, *COST_DRIVERS.keys, "peer"}
        return [
            {column: value if column in keys else None for column, value in row.items()}
            if hidden & {row.get("scope_id"), row.get("item")}
            else row
            for row in super().__getitem__(name)
        ]


def test_groups_stand_with_their_indices_and_what_makes_the_difference(with_index: Path) -> None:
    found = cost_index_section(RowsOf(with_index), 2023)
    assert found is not None
    names = [row["name"] for row in found["table"]]
    assert names == ["All partnerships", "IHP01", "IHP02", "IHP03", "Comparison"]
    own = found["table"][1]
    assert own["indices"] == ["0.950", "0.980", "1.100"]
    assert own["pmpm"] == "$500.00"
    assert own["difference"] == "\N{MINUS SIGN}$2.75"
    assert own["parts"] == ["+$1.00", "\N{MINUS SIGN}$6.50", "+$2.75"]
    assert own["largest"][:2] == ["inpatient \N{MINUS SIGN}$6.25", "pharmacy +$3.50"]
    assert own["n_truncated"] == "4"


def test_what_is_hidden_is_counted_or_said(with_index: Path) -> None:
    found = cost_index_section(Hidden(with_index), 2023)
    assert found is not None
    assert [row["name"] for row in found["table"]] == ["All partnerships", "IHP01", "Comparison"]
    assert found["n_held_back"] == 2
    assert found["table"][0]["difference"] == "held back"  # a sum with a hidden part would tell it
    assert found["table"][1]["difference"] == "\N{MINUS SIGN}$2.75"
    (_, categories), (_, conditions) = found["dimensions"]
    assert [item["item"] for item in categories] == ["inpatient", "hospice"]
    assert categories[1]["services"] == "held back"
    assert set(categories[1]["values"]) == {"held back"}
    assert conditions[0]["values"] == [
        "\N{MINUS SIGN}$0.30", "$0.00", "\N{MINUS SIGN}$0.40", "+$0.10",
    ]  # fmt: skip


def test_the_page_shows_the_section_of_the_performance_year(with_index: Path) -> None:
    page = write_report(with_index).read_text("utf-8")
    section = page[page.index('id="cost-index"') : page.index('id="excluded"')]
    assert "0.950" in section
    assert "7.77" not in section
    assert "held back" not in section
    assert len(re.findall("<svg", section)) == 1


def test_without_a_programme_there_is_no_section(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    assert cost_index_section(RowsOf(run_dir), 2023) is None
    assert "cost-index" not in write_report(run_dir).read_text("utf-8")
