"""Sweeps in a browser: the axes of a form, and what a page makes of the rows."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api.pages.frame import Form
from api.pages.sweeps import axes_of, came_out, chart_tables, shown_of
from cluster.runs import Run

SHARE, GATE = "settlement.gain.share", "settlement.gate.gain_rate"


def test_a_row_of_the_form_is_a_list_or_a_range() -> None:
    sent = Form(
        [
            ("path.0", SHARE),
            ("values.0", "0.3; 0.5 1"),
            ("path.1", GATE),
            ("from.1", "0"),
            ("to.1", "0.03"),
            ("count.1", "4"),
            ("path.2", ""),
            ("values.2", "7"),
        ]
    )
    assert axes_of(sent) == {
        SHARE: [0.3, 0.5, 1],
        GATE: {"from": 0, "to": 0.03, "count": 4},
    }


def _rows() -> list[dict[str, Any]]:
    """The state pays 10 a tenth of the share less 1000 a point of the gate; the contract 30."""
    rows = []
    for n, (share, gate) in enumerate(product((0.3, 0.5), (0.0, 0.01)), start=1):
        cents = round(share * 100 - gate * 1000)
        rows.append(
            {"scenario_id": n, SHARE: share, GATE: gate, "scope": "state", "partnership_id": "",
             "payment_cents": cents, "difference_cents": cents - 30}
        )  # fmt: skip
        rows.append({**rows[-1], "scope": "partnership", "partnership_id": "IHP-01"})
    return rows


def test_bars_and_map_start_at_the_point_nearest_to_the_contract() -> None:
    found = came_out(_rows(), [SHARE, GATE])
    assert found["base"]["scenario_id"] == 1
    assert [row["scope"] for row in found["rows"]] == ["state"] * 4
    assert [row["partnership_id"] for row in found["partnerships"]] == ["IHP-01"]
    assert found["map"]["columns"] == [0.3, 0.5]
    assert found["map"]["lines"] == [(0.0, [(30, 3), (50, 8)]), (0.01, [(20, 0), (40, 5)])]
    drawn = found["bars"].__html__()
    assert drawn.index("gain.share") < drawn.index("gate.gain_rate")  # the longest first
    assert "style=" not in drawn


def test_what_rows_of_an_earlier_version_lack_is_named_and_empty(tmp_path: Path) -> None:
    rows = [{**row, "mean_cents": 7, "p05_cents": 1, "p95_cents": 9} for row in _rows()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    shown = shown_of(tmp_path / "rows.parquet", [SHARE, GATE])
    assert shown["lacking"] == ["n_paid", "n_owing", "false_payment_rate"]
    assert {(row["mean_cents"], row["n_paid"]) for row in shown["rows"]} == {(7, None)}


def test_the_charts_have_their_numbers_as_tables() -> None:
    found = chart_tables(_rows(), [SHARE, GATE])
    assert found["map"]["payment_cents"].to_pylist() == [30, 20, 50, 40]
    assert found["bars"].to_pylist() == [
        {"term": SHARE, "low_at": "0.3", "low_payment_cents": 30, "high_at": "0.5",
         "high_payment_cents": 50},
        {"term": GATE, "low_at": "0.01", "low_payment_cents": 20, "high_at": "0.0",
         "high_payment_cents": 30},
    ]  # fmt: skip
    assert chart_tables(_rows(), []) == {}


def test_a_sweep_whose_state_is_held_back_shows_no_chart() -> None:
    rows = [{**row, "payment_cents": None, "difference_cents": None} for row in _rows()]
    found = came_out(rows, [SHARE, GATE])
    assert "bars" not in found
    assert len(found["rows"]) == 4


def test_terms_are_refused_before_anything_is_queued(client: TestClient, finished: Run) -> None:
    form = client.get(f"/sweeps/new?run={finished.id}")
    assert form.status_code == 200
    assert f'<option value="{SHARE}">' in form.text
    sent = {"run": finished.id, "path.0": "cost.keep_above_cap", "values.0": "1", "do": "count"}
    refused = client.post("/sweeps/new", data=sent)
    assert refused.status_code == 422
    assert "cost.keep_above_cap" in refused.text
    assert client.post("/sweeps/new", data={"run": finished.id}).status_code == 422


@pytest.mark.parametrize("path", ["/sweeps/new?run=unknown", "/sweeps/unknown"])
def test_what_is_not_there_is_said(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
