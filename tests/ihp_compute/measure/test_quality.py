from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.errors import DataError
from ihp_compute.measure.quality import (
    WORKING_RULE,
    Measure,
    QualityRule,
    attainment,
    quality_scores,
    score,
)
from ihp_compute.population import Population


class _Reference(Population):
    """A population of reference tables alone."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        self.tables = {name: pa.Table.from_pylist(rows) for name, rows in tables.items()}

    def reference(self, name: str) -> pa.Table | None:
        return self.tables.get(name)


def row(partnership: str, value: str, year: str = "2023") -> dict[str, Any]:
    return {"partnership_id": partnership, "performance_year": year, "score": value}


def measures(**rates: int) -> list[Measure]:
    """One measure of 100 cases a partnership."""
    return [Measure(name, "asthma", "clinical", n, 100) for name, n in rates.items()]


def test_supplied_scores_stand_as_they_are() -> None:
    found = quality_scores(
        _Reference(quality_score=[row("A", "0.82"), row("B", "1"), row("A", "0.1", "2022")]), 2023
    )
    assert found == {"A": Decimal("0.82"), "B": Decimal(1)}


def test_without_tables_nobody_has_a_score() -> None:
    assert quality_scores(_Reference(), 2023) == {}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("A", "1.2")], "A: found 1.2, expected 0 to 1"),
        ([row("A", "good")], "A: score is not a number"),
        ([row("A", "0.5"), row("A", "0.6")], "A stands twice for 2023"),
    ],
)
def test_an_impossible_score_is_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        quality_scores(_Reference(quality_score=rows), 2023)


def test_points_rise_from_a_low_to_a_high_rank_of_the_state() -> None:
    rule = QualityRule(30, Fraction(30, 100), Fraction(90, 100))
    rates = {f"P{i}": 10 * i for i in range(1, 11)}
    found = {p.measure.partnership_id: p.points for p in attainment(measures(**rates), rule)}
    assert found["P3"] == 0
    assert found["P6"] == Fraction(1, 2)
    assert found["P9"] == found["P10"] == 1


def test_a_small_denominator_is_dropped_and_the_rest_carry_its_weight() -> None:
    given_measures = [
        *measures(A=90, B=10),
        Measure("A", "diabetes", "clinical", 0, 29),
        Measure("B", "diabetes", "clinical", 30, 30),
    ]
    found = score(attainment(given_measures, WORKING_RULE))
    assert found == {"A": Decimal(1), "B": Decimal("0.5")}


def test_domains_weigh_alike_whatever_their_number_of_measures() -> None:
    rows = [
        Measure(name, measure, domain, n, 100)
        for measure, domain in (("a", "clinical"), ("b", "clinical"), ("c", "experience"))
        for name, n in (("low", 10), ("high", 90))
    ]
    rows.append(Measure("mixed", "a", "clinical", 90, 100))
    rows.append(Measure("mixed", "b", "clinical", 90, 100))
    rows.append(Measure("mixed", "c", "experience", 10, 100))
    found = score(attainment(rows, WORKING_RULE))
    assert found["mixed"] == Decimal("0.5")


def test_a_partnership_of_small_numbers_only_has_no_score() -> None:
    found = score(attainment([Measure("A", "m", "", 5, 10)], WORKING_RULE))
    assert found == {"A": None}


def test_measures_of_the_year_are_read_and_checked() -> None:
    def measure(name: str, numerator: str, year: str = "2023") -> dict[str, Any]:
        return {
            "partnership_id": name, "performance_year": year, "measure": "asthma",
            "domain": None, "numerator": numerator, "denominator": "40",
        }  # fmt: skip

    rows = [measure("A", "40"), measure("B", "0"), measure("A", "0", "2022")]
    assert quality_scores(_Reference(quality_measure=rows), 2023) == {
        "A": Decimal(1),
        "B": Decimal(0),
    }
    for bad, message in (
        (measure("A", "41"), "found 41 of 40"),
        (measure("A", "many"), "not a whole number"),
    ):
        with pytest.raises(DataError, match=message):
            quality_scores(_Reference(quality_measure=[bad]), 2023)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12))
def test_a_better_rate_never_scores_less(rates: list[int]) -> None:
    given_measures = measures(**{f"P{i:02}": n for i, n in enumerate(rates)})
    found = score(attainment(given_measures, WORKING_RULE))
    ordered = [found[f"P{i:02}"] for _, i in sorted((n, i) for i, n in enumerate(rates))]
    scored = [value for value in ordered if value is not None]
    assert len(scored) == len(rates)
    assert scored == sorted(scored)
    assert all(0 <= value <= 1 for value in scored)
