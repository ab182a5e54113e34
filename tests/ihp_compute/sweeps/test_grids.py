"""Grids: what a user writes as axes becomes values, or is refused before anything is settled."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.errors import GridError
from ihp_compute.sweeps.grid import grid_of, read_grid


def test_a_range_has_decimal_points_of_nine_places() -> None:
    (axis,) = grid_of(
        {"settlement.gain.share": {"from": Decimal("0.3"), "to": Decimal("0.7"), "count": 10}}
    ).axes
    assert axis.values[0] == Decimal("0.3")
    assert axis.values[1] == Decimal("0.344444444")
    assert axis.values[-1] == Decimal("0.7")
    assert len(axis.values) == 10


def test_a_grid_file_may_quote_paths_or_nest_them(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        '[axes]\n"settlement.gain.share" = { from = 0.3, to = 0.7, count = 3 }\n'
        "settlement.loss.share = [0.4, 0.5]\n"
        '[axes.settlement.gate]\ngain_rate = ["none", 0.02]\n'
    )
    grid = read_grid(file)
    assert [axis.path for axis in grid.axes] == [
        "settlement.gain.share", "settlement.loss.share", "settlement.gate.gain_rate",
    ]  # fmt: skip
    assert grid.axes[2].values == ("none", Decimal("0.02"))
    assert grid.n_scenarios == 12


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "found no axis"),
        ({"settlement.gain.share": []}, "expected a list of values"),
        ({"settlement.gain.share": 0.5}, "expected a list of values"),
        ({"settlement.gain.share": [0.5, Decimal("0.50")]}, "found a value twice"),
        ({"settlement.gain.share": {"from": 0, "to": 1}}, "expected from, to and count"),
        ({"settlement.gain.share": {"from": 0, "to": 1, "count": 0}}, "whole number from 1"),
        ({"settlement.gain.share": {"from": 0, "to": 1, "count": True}}, "whole number from 1"),
        ({"settlement.gain.share": {"from": 1, "to": 0, "count": 3}}, "rising range"),
        ({"settlement.gain.share": {"from": 0, "to": 1, "count": 1}}, "one point"),
        ({"settlement.gain.share": {"from": 0, "to": "x", "count": 2}}, "expected a number"),
        ({"settlement.gain.share": {"from": 0, "to": 1, "count": 10**9}}, "at most 100,000"),
        ({"settlement.gain.share": [None]}, "expected a number"),
        ({"settlement.gain.share": [float("nan")]}, "finite"),
        ({"cost.keep_above_cap": [0.2]}, "make a new run"),
        ({"quality.least_cases": [20, 30]}, "make a new run"),
        ({"attribution.min_months_any": [6]}, "make a new run"),
        ({"risk.model": ["none"]}, "make a new run"),
        ({"payers.split": ["cost"]}, "moves no payment"),
    ],
)
def test_a_grid_that_cannot_be_swept_is_refused(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(GridError, match=message):
        grid_of(axes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[axes", "not TOML"),
        ("axes = 3", r"no table \[axes\]"),
        ("[other]\na = 1\n[axes]\n", "other: unknown key"),
        ('[axes]\n"settlement.gain.share" = [0.4]\nsettlement.gain.share = [0.5]', "found twice"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(text)
    with pytest.raises(GridError, match=message):
        read_grid(file)
    with pytest.raises(GridError, match="no such file"):
        read_grid(tmp_path / "absent.toml")
