"""In which strata people are: rows in force on a day, and arms of an intervention."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.codes import MEMBER_FACTORS
from ihp_compute.measure.programme.outcome_measures import DIMENSIONS, INTERVENTION
from ihp_compute.measure.programme.strata import Strata
from ihp_compute.population import PersonRows, member_keys

PEOPLE = ("ann", "bo", "cy", "di")


def _table(rows: list[dict[str, str]]) -> pa.Table:
    names = ("person_id", "member_id", "start_date", "end_date", *DIMENSIONS)
    return pa.table({name: [row.get(name, "") for row in rows] for name in names})


def _shard() -> Any:
    key = np.sort(member_keys(PEOPLE))
    return SimpleNamespace(n_members=len(PEOPLE), column=lambda *_: key)


def _said(table: pa.Table, year: int, dimension: str) -> dict[str, str]:
    """Stratum of each person in a year."""
    strata = Strata(PersonRows.of(table, DIMENSIONS, flags=MEMBER_FACTORS), None)
    place = strata.of(_shard(), [year])[0, list(strata.names).index(dimension)]
    order = np.argsort(member_keys(PEOPLE))
    names = [PEOPLE[i] for i in order]
    return {
        name: strata.names[dimension][code]
        for name, code in zip(names, place.tolist(), strict=True)
    }


def test_a_row_speaks_on_the_last_day_of_the_year_while_it_is_in_force() -> None:
    table = _table(
        [
            {"person_id": "ann", "race": "white", "end_date": "2024-12-31"},
            {"person_id": "bo", "race": "black", "end_date": "2024-12-30"},
            {"member_id": "cy", "race": " asian ", "start_date": "2024-12-31"},
        ]
    )
    assert _said(table, 2024, "race") == {
        "ann": "white", "bo": "unknown", "cy": "asian", "di": "unknown",
    }  # fmt: skip
    assert _said(table, 2023, "race") == {
        "ann": "white", "bo": "black", "cy": "unknown", "di": "unknown",
    }  # fmt: skip


def test_of_several_rows_that_which_began_last_speaks_and_a_blank_says_nothing() -> None:
    table = _table(
        [
            {"person_id": "ann", "language": "somali", "start_date": "2024-06-01"},
            {"person_id": "ann", "language": "english", "start_date": "2020-01-01"},
            {"person_id": "bo", "language": "hmong"},
            {"person_id": "bo", "language": "", "start_date": "2024-01-01"},
            {"person_id": "cy", "language": "spanish", "start_date": "2024-01-01"},
            {"person_id": "cy", "language": "english", "start_date": "2024-01-01"},
            {"person_id": "di", "language": "unknown"},
        ]
    )
    said = _said(table, 2024, "language")
    assert said == {"ann": "somali", "bo": "hmong", "cy": "english", "di": "unknown"}


def test_a_yes_stands_whichever_row_says_it_and_no_is_not_unknown() -> None:
    table = _table(
        [
            {"person_id": "ann", "homelessness": "yes", "start_date": "2020-01-01"},
            {"person_id": "ann", "homelessness": "no", "start_date": "2024-01-01"},
            {"person_id": "bo", "homelessness": "0"},
            {"person_id": "bo", "homelessness": ""},
            {"person_id": "cy", "homelessness": "1.0"},
        ]
    )
    said = _said(table, 2024, "homelessness")
    assert said == {"ann": "yes", "bo": "no", "cy": "yes", "di": "unknown"}


def test_unknown_stands_once_whether_written_or_blank() -> None:
    table = _table([{"person_id": "ann", "race": "unknown"}, {"person_id": "bo", "race": "x"}])
    strata = Strata(PersonRows.of(table, DIMENSIONS, flags=MEMBER_FACTORS), None)
    assert strata.names["race"] == ("unknown", "x")


@pytest.mark.parametrize(
    ("start", "is_in"),
    [("2023-12-31", False), ("2024-01-01", True), ("2024-12-31", True), ("2025-01-01", False)],
)
def test_an_arm_is_of_who_began_after_the_base_year_and_in_time(start: str, is_in: bool) -> None:
    arms = pa.table({"person_id": ["bo"], "arm": ["treated"], "start_date": [start]})
    strata = Strata(None, PersonRows.of(arms, ("arm",)))
    assert strata.names == {INTERVENTION: ("treated",)}
    place = strata.of(_shard(), [2023, 2024])[:, 0]
    at = np.argsort(member_keys(PEOPLE)).tolist().index(PEOPLE.index("bo"))
    expected = np.full((2, len(PEOPLE)), -1)
    expected[:, at] = 0 if is_in else -1
    assert np.array_equal(place, expected)
