"""Dates, dollars, texts and flags are read exactly or not at all."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.ingest.door.texts import read_text
from ihp_compute.ingest.door.values import BAD_DAY, flag_of_text, read_cents, read_days
from ihp_compute.units import NO_DAY, cents_of, day_of

money = st.decimals(
    min_value=-(10**9), max_value=10**9, places=6, allow_nan=False, allow_infinity=False
)


@given(st.lists(money, min_size=1, max_size=30))
def test_decimals_become_cents_exactly_from_text_and_from_parquet(amounts: Any) -> None:
    expected = [cents_of(amount) for amount in amounts]
    fraction = [amount * 100 != int(amount * 100) for amount in amounts]
    for array in (
        pa.array([str(amount) for amount in amounts]),
        pa.array([format(amount, "f") for amount in amounts], pa.large_string()),
        pa.array(amounts, pa.decimal128(20, 6)),
        pa.array(amounts, pa.decimal128(38, 12)),
    ):
        read = read_cents(array)
        assert read.cents.tolist() == expected
        assert read.sub_cent.tolist() == fraction
        assert not read.bad.any()
        assert not read.blank.any()


@given(st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=30))
def test_a_parquet_float_means_the_decimal_that_prints_it(cents: Any) -> None:
    dollars = np.array(cents) / 100
    assert read_cents(pa.array(dollars)).cents.tolist() == cents
    assert read_cents(pa.array([str(x) for x in dollars])).cents.tolist() == cents


def test_a_float_with_a_fraction_of_a_cent_rounds_as_its_decimal() -> None:
    """1.005 is below the half as a binary number; as the decimal it prints, half goes to even."""
    read = read_cents(pa.array([1.005, 1.015, 0.1 + 0.2, float("nan"), 1e300]))
    assert read.cents.tolist() == [100, 102, 30, 0, 0]
    assert read.sub_cent.tolist() == [True, True, True, False, False]
    assert read.blank.tolist() == [False, False, False, True, False]
    assert read.bad.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("12", 1_200), ("12.", 1_200), (".5", 50), ("-0.01", -1), ("+3.10", 310), ("1e3", 100_000),
        ("$1,234.50", 123_450), ("(12.00)", -1_200), ("0.005", 0), ("0.015", 2), ("-0.025", -2),
        (" 7.00 ", 700),
    ],
)  # fmt: skip
def test_an_amount_is_read_in_every_usual_spelling(text: Any, cents: Any) -> None:
    read = read_cents(pa.array([text]))
    assert (read.cents[0], bool(read.bad[0])) == (cents, False)


@pytest.mark.parametrize("text", ["abc", "1.2.3", "12 USD", "inf", "1e30", "--1"])
def test_an_amount_that_is_none_is_marked_and_never_guessed(text: Any) -> None:
    read = read_cents(pa.array(["1.00", text]))
    assert read.bad.tolist() == [False, True]
    assert read.cents.tolist() == [100, 0]


@pytest.mark.parametrize("text", ["", " ", "NULL", "nan", "None", None])
def test_a_blank_amount_is_zero_and_counted(text: Any) -> None:
    read = read_cents(pa.array([text, "1"]))
    assert read.blank.tolist() == [True, False]
    assert read.cents.tolist() == [0, 100]


def test_whole_numbers_and_narrow_decimals_are_dollars() -> None:
    assert read_cents(pa.array([3, None, -2])).cents.tolist() == [300, 0, -200]
    narrow = pa.array([Decimal("1.25"), None], pa.decimal128(7, 2))
    assert read_cents(narrow).cents.tolist() == [125, 0]
    assert read_cents(pa.array([Decimal(4)], pa.decimal128(5, 0))).cents.tolist() == [400]
    assert read_cents(pa.array([1.1], pa.float32())).cents.tolist() == [110]


@given(st.dates(date(1850, 1, 1), date(2099, 12, 31)))
def test_a_date_is_read_in_every_usual_form(day: Any) -> None:
    forms = [
        pa.array([f"{day:%Y-%m-%d}"]) if day.year > 999 else pa.array([day.isoformat()]),
        pa.array([day.isoformat().replace("-", "")]),
        pa.array([f"{day.isoformat()} 00:00:00"]),
        pa.array([f"{day.isoformat()}T23:59:59.999Z"]),
        pa.array([int(day.isoformat().replace("-", ""))]),
        pa.array([float(day.isoformat().replace("-", ""))]),
        pa.array([day]),
        pa.array([day], pa.date64()),
        pa.array([datetime(day.year, day.month, day.day, 23, 59)], pa.timestamp("us")),  # noqa: DTZ001
        pa.array([day.isoformat()]).dictionary_encode(),
    ]
    for form in forms:
        assert read_days(form).tolist() == [day_of(day)]


@pytest.mark.parametrize("text", ["2023-02-29", "03/01/2023", "2023", "20231301", "tomorrow"])
def test_a_date_that_is_none_is_marked(text: Any) -> None:
    assert read_days(pa.array([text, ""])).tolist() == [BAD_DAY, NO_DAY]


def test_leading_zeros_live_and_blanks_are_one_thing() -> None:
    text = read_text(pa.array(["0012", " 0012 ", None, "", "NULL", "x"]))
    assert [text.values[k] for k in text.index] == ["0012", "0012", "", "", "", "x"]
    assert read_text(pa.array([7, None])).take(np.array([1, 0])).tolist() == [1, 0]


@given(st.lists(st.text(max_size=12), max_size=20))
def test_text_is_distinct_values_and_an_index(texts: Any) -> None:
    text = read_text(pa.array(texts, pa.string()))
    assert text.values[-1] == ""
    assert len(set(text.values)) == len(text.values)
    assert len(text.index) == len(texts)


def test_flags_have_many_spellings_and_no_guess() -> None:
    assert [flag_of_text(text) for text in ("1", "TRUE", "y", "0", "No", "f", "", "maybe")] == [
        1, 1, 1, 0, 0, 0, 255, 255,
    ]  # fmt: skip


@pytest.mark.parametrize("other", ["A 1", " A2", "A3"])
def test_texts_of_which_some_are_nothing_keep_their_order(other: str) -> None:
    texts = [f"A{k}" for k in range(100, 140)] + ["NULL", other, ""]
    places = np.array([42, 0, 40, 41, 7, 0], np.int32)
    read = read_text(pa.DictionaryArray.from_arrays(places, pa.array(texts)))
    assert read.values == [*texts[:40], other.strip(), ""]
    assert [read.values[k] for k in read.index] == ["", "A100", "", other.strip(), "A107", "A100"]
