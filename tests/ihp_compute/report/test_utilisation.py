"""Rates of use stand with their intervals where a run has outcomes."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from ihp_compute.report.utilisation import utilisation_section

YEARS = {"base_year": 2022, "performance_year": 2024}


def use(group: str, year: int, stays: float | None) -> dict[str, Any]:
    """A row of `utilisation`."""
    return {
        "group_id": group, "year": year, "n_members": 900, "stays_per_1000": stays,
        "ed_visits_per_1000": 400.0, "readmission_rate": 0.1,
    }  # fmt: skip


def rate(group: str, year: int, low: float | None, high: float | None) -> dict[str, Any]:
    """A row of `outcomes`."""
    return {
        "scope_id": group, "year": year, "measure": "stays",
        "denominator": 9_000, "low": low, "high": high,
    }  # fmt: skip


def elements(section: dict[str, Any], name: str) -> Iterator[ET.Element]:
    """The chart's elements of a kind."""
    return ET.fromstring(section["chart"].markup).iter(name)  # noqa: S314 - our own text


def lines(section: dict[str, Any]) -> list[tuple[float, float, float]]:
    """Intervals of a chart: left, right, height."""
    return [
        (float(one.get("x1", 0)), float(one.get("x2", 0)), float(one.get("y1", 0)))
        for one in elements(section, "line")
        if one.get("class") == "outer none"
    ]


def test_each_rate_that_has_an_interval_shows_it_and_a_hidden_one_does_not() -> None:
    rows = [use("north", 2022, 80.0), use("north", 2024, 90.0), use("south", 2024, None)]
    told = [
        rate("north", 2022, 78.0, 82.0), rate("north", 2024, 84.0, 96.0),
        rate("south", 2024, None, None),
    ]  # fmt: skip
    section = utilisation_section(rows, told, YEARS)
    base, performance = lines(section)
    assert section["with_intervals"]
    assert base[1] - base[0] < performance[1] - performance[0]
    assert base[1] < performance[0]
    assert base[2] < performance[2], "the base year's stands above the points"
    assert "95 %" in section["chart"].description


def test_an_interval_that_dwarfs_all_points_is_cut_off_at_the_scale() -> None:
    rows = [use("north", 2022, 80.0), use("north", 2024, 90.0), use("few", 2024, 85.0)]
    section = utilisation_section(rows, [rate("few", 2024, -900.0, 1_100.0)], YEARS)
    ((left, right, _),) = lines(section)
    dots = [
        float(one.get("cx", 0))
        for one in elements(section, "circle")
        if float(one.get("cy", 0)) > 56 and float(one.get("cx", 0)) < right + 1
    ]
    assert left < min(dots)
    assert max(dots) - min(dots) > (right - left) / 4


def test_without_outcomes_the_chart_has_points_alone() -> None:
    section = utilisation_section([use("north", 2022, 80.0), use("north", 2024, 90.0)], [], YEARS)
    assert not section["with_intervals"]
    assert lines(section) == []
