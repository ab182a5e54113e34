"""What `ihp score` reads: tables of members and of coded rows, with the columns of its help page.

Ids and codes are text, so leading zeros live. A value that cannot be read stops the job with the
number of such values; a date in the future stops it with its row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS, MEMBER_FACTORS, PAYER_KINDS, RATE_CELLS
from ihp_compute.errors import DataError
from ihp_compute.risk.models import (
    NOT_STATED,
    Compiled,
    Members,
    Model,
    asks,
    csr_factors,
    tests_of,
)
from ihp_compute.risk.scores import ages_in_payment_year, ages_on
from ihp_compute.table_files import read_table, with_plain_names
from ihp_compute.units import NO_DAY, day_of, year_bounds

SEXES: Final = {"f": 1, "female": 1, "2": 1, "m": 2, "male": 2, "1": 2}
FACTS: Final = dict.fromkeys(("1", "y", "yes", "true", "t"), 1) | dict.fromkeys(
    ("", "0", "n", "no", "false", "f"), 0
)
WHOLE: Final = re.compile("[+-]?[0-9]+")
PLAIN_DATE: Final = re.compile("[0-9]{8}")
NO_CSR: Final = frozenset({"", "0"})
FULL_YEAR: Final = 12


def table_of(path: Path) -> pa.Table:
    """A table with its column names in lower case."""
    return with_plain_names(read_table(path), path.name)


def text_of(table: pa.Table, column: str, name: str) -> pa.ChunkedArray:
    """A column as text, nothing as ""."""
    if column not in table.column_names:
        raise DataError(f"{name}: no column {column!r}; it has {', '.join(table.column_names)}")
    found = table[column]
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if pa.types.is_floating(found.type):
        raise DataError(f"{name}: column {column!r} holds decimals; write it as text")
    if pa.types.is_nested(found.type):
        raise DataError(f"{name}: column {column!r} must be text")
    return pc.utf8_trim_whitespace(pc.fill_null(found.cast(pa.string()), ""))


def code_text(table: pa.Table, column: str, name: str) -> pa.ChunkedArray:
    """A column of codes as text; numbers are refused."""
    if column in table.column_names:
        kind = table[column].type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            raise DataError(
                f"{name}: column {column!r} holds numbers, so leading zeros are lost; write text"
            )
    return text_of(table, column, name)


def numbered(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts of a column, and which of them each row has."""
    coded = column.dictionary_encode().combine_chunks()
    if isinstance(coded, pa.ChunkedArray):  # no rows, no chunk
        return [], np.zeros(0, np.int32)
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _by_text(
    column: pa.ChunkedArray, value: Callable[[str], int | None]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The value of each text, 0 where it is None, and where it is None; each text is read once."""
    texts, number = numbered(column)
    values = [value(text) for text in texts]
    unknown = np.array([one is None for one in values], np.bool_)
    known = np.array([one or 0 for one in values], np.int64)
    return known[number], unknown[number]


def days_of(table: pa.Table, column: str, name: str) -> NDArray[np.int32]:
    """Days since 1970-01-01, `NO_DAY` where blank or no such column."""
    if column not in table.column_names:
        return np.full(table.num_rows, NO_DAY, np.int32)
    kind = table[column].type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        days = pc.cast(table[column], pa.date32(), safe=False).cast(pa.int32())
        return pc.fill_null(days, NO_DAY).to_numpy()
    found, bad = _by_text(text_of(table, column, name), _day)
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not dates; expected "
            "YYYY-MM-DD or YYYYMMDD"
        )
    return found.astype(np.int32)


def _day(text: str) -> int | None:
    if text == "":
        return NO_DAY
    plain = text.replace("-", "")[:8]
    if not PLAIN_DATE.fullmatch(plain):
        return None
    try:
        return day_of(date(int(plain[:4]), int(plain[4:6]), int(plain[6:])))
    except ValueError:
        return None


def _numbers(
    table: pa.Table, column: str, name: str, *, low: int, high: int, blank: int
) -> NDArray[np.int64]:
    if column not in table.column_names:
        return np.full(table.num_rows, blank, np.int64)

    def number(text: str) -> int | None:
        if text == "":
            return blank
        return int(text) if WHOLE.fullmatch(text) and low <= int(text) <= high else None

    found, bad = _by_text(text_of(table, column, name), number)
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not whole numbers "
            f"from {low} to {high}"
        )
    return found


def _facts(table: pa.Table, column: str, name: str) -> NDArray[np.bool_]:
    if column not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    found, bad = _by_text(text_of(table, column, name), lambda text: FACTS.get(text.lower()))
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not 1 or 0"
        )
    return found == 1


def _choices(
    table: pa.Table, column: str, name: str, *, numbers: dict[str, int], blank: int
) -> NDArray[np.int64]:
    """Number of each value, by lower-case name; blank and absent take `blank`."""
    if column not in table.column_names:
        return np.full(table.num_rows, blank, np.int64)
    known = {**numbers, "": blank}
    found, bad = _by_text(text_of(table, column, name), lambda text: known.get(text.lower()))
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that the model "
            f"does not know; expected {', '.join(sorted(numbers))}"
        )
    return found


def read_members(people: pa.Table, compiled: Compiled, name: str) -> Members:
    """Facts about members from a table with the columns of `ihp score`.

    Raises
    ------
    DataError
        If a needed column is missing or a value cannot be read.
    """
    model = compiled.model
    birth_day = days_of(people, "birth_date", name)
    if not {"age", "birth_date"} & set(people.column_names):
        raise DataError(f"{name}: expected a column birth_date or age")
    given = _numbers(people, "age", name, low=0, high=127, blank=-1)
    age = given
    if (given < 0).any():
        age = np.where(given >= 0, given, _ages(birth_day, model))
    sex_column = "sex" if "sex" in people.column_names else "gender"
    if sex_column not in people.column_names:
        raise DataError(f"{name}: expected a column sex or gender")
    csr_codes, _ = csr_factors(compiled)
    csr = {text: i for i, code in enumerate(csr_codes) for text in (code, code.zfill(2))}
    csr |= {text: -1 for code in NO_CSR - {""} for text in (code, code.zfill(2))}
    segments = {s.name.lower(): i for i, s in enumerate(model.segments)}
    columns = {c.lower(): i for i, c in enumerate(model.columns)}
    default = model.columns.index(model.default_column)
    dual = _numbers(people, "dual_status_code", name, low=0, high=99, blank=NOT_STATED)
    medicaid = _facts(people, "medicaid_indicator", name)
    on_medicaid = np.isin(dual, [*range(1, 7), 8])
    return Members(
        age=age.astype(np.int16),
        sex=_choices(people, sex_column, name, numbers=SEXES, blank=0).astype(np.uint8),
        birth_day=birth_day,
        months=_numbers(
            people, "enrollment_duration_months", name, low=0, high=FULL_YEAR, blank=FULL_YEAR
        ).astype(np.uint8),
        original_reason=_numbers(
            people, "original_reason_entitlement_code", name, low=0, high=3, blank=NOT_STATED
        ).astype(np.uint8),
        dual_status=dual.astype(np.uint8),
        medicaid=medicaid | on_medicaid,
        institutional=_facts(people, "long_term_institutional_flag", name),
        new_enrollee=_facts(people, "new_enrollee", name),
        special_needs=_facts(people, "special_needs_plan", name),
        column=(
            _choices(people, "metal_level", name, numbers=columns, blank=default)
            if model.columns != ("",)
            else np.zeros(people.num_rows, np.int64)
        ).astype(np.int16),
        csr=(
            _choices(people, "csr_indicator", name, numbers=csr, blank=-1)
            if model.csr
            else np.full(people.num_rows, -1, np.int64)
        ).astype(np.int16),
        segment=_choices(people, "segment", name, numbers=segments, blank=-1).astype(np.int16),
        **_groups(people, model, name),
    )


def _groups(people: pa.Table, model: Model, name: str) -> dict[str, NDArray[np.uint8]]:
    """Aid group, rate cell and factors where the model asks for them.

    A rate cell names its aid group; each factor has a column of its own name.
    """
    asked = asks(model)
    if not asked:
        return {}
    factors = np.zeros(people.num_rows, np.uint8)
    if "factors" in asked:
        lacking = [column for column in MEMBER_FACTORS if column not in people.column_names]
        wanted = {f for test in tests_of(model) for f in test.factors or ()}
        if wanted & set(lacking):
            raise DataError(
                f"{name}: {model.name} asks for {', '.join(sorted(wanted & set(lacking)))}; "
                "expected a column of that name, true or false"
            )
        for bit, column in enumerate(MEMBER_FACTORS):
            if column in wanted:
                factors |= _facts(people, column, name).astype(np.uint8) << np.uint8(bit)
        asked = tuple(column for column in asked if column != "factors")
    have = set(people.column_names)
    if "rate_cell" in have:
        have.add("aid_group")
    missing = [column for column in asked if column not in have]
    if missing and "segment" not in have:
        raise DataError(
            f"{name}: segments of {model.name} are told apart by {' and '.join(missing)}; expected "
            f"a column {', '.join(missing)}, or a column segment that assigns them"
        )
    cells = {cell: i for i, cell in enumerate(RATE_CELLS)}
    aids = {aid: i for i, aid in enumerate(AID_GROUPS)}
    cell = _choices(people, "rate_cell", name, numbers=cells, blank=NOT_STATED)
    aid = _choices(people, "aid_group", name, numbers=aids, blank=NOT_STATED)
    of_cell = np.where(cell == NOT_STATED, NOT_STATED, cell // len(PAYER_KINDS))
    aid = np.where(aid == NOT_STATED, of_cell, aid)
    return {
        "aid_group": aid.astype(np.uint8), "rate_cell": cell.astype(np.uint8), "factors": factors,
    }  # fmt: skip


def _ages(birth_day: NDArray[np.int32], model: Model) -> NDArray[np.int16]:
    """Age on the day that the model counts it, where only the birth date is given."""
    if model.family == "CMS-HCC":
        return ages_in_payment_year(birth_day, model.year)
    return ages_on(birth_day, year_bounds(model.year)[1] - 1)


def refuse_future(day: NDArray[np.int32], column: str, name: str) -> None:
    """Refuse dates after today.

    Raises
    ------
    DataError
        With the number of such rows and the first of them.
    """
    today = day_of(datetime.now(UTC).date())
    late = day > today + 1  # a day ahead, for who is east of Greenwich
    if late.any():
        raise DataError(
            f"{name}: {int(late.sum())} rows have a {column} in the future, the first in row "
            f"{int(late.argmax()) + 1}; correct the date or leave the row out"
        )
