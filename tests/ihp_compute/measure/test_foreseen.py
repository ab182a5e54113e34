"""What a request comes to before a claim is read: years, cutoff, and whether it is the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.errors import OptionError
from ihp_compute.measure import foresee
from ihp_compute.pipeline import RunRequest
from ihp_compute.units import date_of

CONTRACT = "mn-ihp-2.0-track-2"


@pytest.fixture
def request_of(small_population: Path) -> RunRequest:
    return RunRequest(small_population, (CONTRACT,))


@pytest.mark.parametrize(
    ("changes", "option", "words"),
    [
        ({"performance_year": 1990}, "performance_year", "not a full calendar year"),
        ({"base_year": 2024, "performance_year": 2024}, "base_year", "not before performance"),
        ({"paid_through": date(1, 1, 1)}, "paid_through", "no claim of 2024 was paid by"),
        ({"paid_through": date(2023, 12, 31)}, "paid_through", "no claim of 2024 was paid by"),
        ({"paid_through": date(9999, 12, 31)}, "paid_through", "is past that month"),
    ],
)
def test_an_option_that_the_data_do_not_allow_is_refused_by_name(
    request_of: RunRequest, changes: dict[str, Any], option: str, words: str
) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        foresee(replace(request_of, **changes))
    assert refused.value.option == option


def test_the_month_of_the_last_payment_can_be_named_to_its_end_and_not_beyond(
    request_of: RunRequest,
) -> None:
    last = date_of(foresee(request_of).cutoff_day)
    following = (last.replace(day=1) + timedelta(days=32)).replace(day=1)
    end = following - timedelta(days=1)
    assert date_of(foresee(replace(request_of, paid_through=end)).cutoff_day) == end
    with pytest.raises(OptionError, match="run-out would be counted"):
        foresee(replace(request_of, paid_through=following))


def test_what_was_left_to_a_default_is_the_same_as_what_it_comes_to(
    request_of: RunRequest,
) -> None:
    short = foresee(request_of)
    said = replace(
        request_of,
        performance_year=short.performance_year,
        base_year=short.base_year,
        paid_through=date_of(short.cutoff_day),
        statement={"purpose": "settlement"},
        device="cpu",
    )
    assert foresee(said).inputs_sha256 == short.inputs_sha256
    for other in (
        {"seed": 2},
        {"replicates": 7},
        {"programme": "none"},
        {"contracts": ("mn-ihp-2.0-track-1",)},
        {"paid_through": date_of(short.cutoff_day - 1)},
    ):
        changed: dict[str, Any] = other
        assert foresee(replace(request_of, **changed)).inputs_sha256 != short.inputs_sha256
