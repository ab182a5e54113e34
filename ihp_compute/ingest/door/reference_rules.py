"""What a row of some reference tables must say, and what rows must not say twice.

    region            a county is of one region
    intervention      a person is in one arm, from one day
    condition_group   a prefix is of one group, and a rank of one group
    ed_classifier     a prefix has one share, from 0 to 1

A table that says otherwise stops the ingest, by file, row and column and without what stands there
of a person: which of two rows is right is for nobody here to guess. Rows that say the same are one.
Not here: how a value is spelled (`input_columns`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ihp_compute.errors import DataError


@dataclass(frozen=True)
class _Form:
    """What a value of a column looks like, and how that is said."""

    pattern: re.Pattern[str]
    words: str


@dataclass(frozen=True)
class _Once:
    """Columns of which a value of another may say one thing only, and what is to be done."""

    key: str
    says: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class _Rules:
    once: tuple[_Once, ...]
    forms: Mapping[str, _Form] = field(default_factory=dict)


_PREFIX: Final = _Form(
    re.compile(r"[0-9A-Z]{1,8}"), "the beginning of a diagnosis code, letters and digits"
)
_RULES: Final[Mapping[str, _Rules]] = {
    "region": _Rules(
        once=(_Once("county_fips", ("region",), "a county is of one region"),),
    ),
    "intervention": _Rules(
        once=(
            _Once("person_id", ("arm",), "a person is in one arm"),
            _Once("person_id", ("start_date",), "a person's arm begins on one day"),
        ),
    ),
    "condition_group": _Rules(
        once=(
            _Once("dx_prefix", ("condition_group", "rank"), "a prefix is of one group and rank"),
            _Once("rank", ("condition_group",), "groups of one rank have no order"),
        ),
        forms={
            "dx_prefix": _PREFIX,
            "rank": _Form(re.compile(r"[0-9]{1,6}"), "a whole number from 0 to 999,999"),
        },
    ),
    "ed_classifier": _Rules(
        once=(_Once("dx_prefix", ("avoidable_share",), "a prefix has one share"),),
        forms={
            "dx_prefix": _PREFIX,
            "avoidable_share": _Form(
                re.compile(r"0(\.[0-9]{1,6})?|1"), "a decimal from 0 to 1 of at most six places"
            ),
        },
    ),
}


def distinct_rows(name: str, rows: pa.Table, place: Callable[[int], str]) -> pa.Table:
    """A reference table's rows, those that repeat another left out where none may be repeated.

    Parameters
    ----------
    name : str
    rows : pa.Table
        Text columns, as they are kept.
    place : callable
        File and data row of a row, for messages.

    Raises
    ------
    DataError
        If a row leaves a column blank, holds what cannot be read, or says of a county, person,
        prefix or rank another thing than a row before.
    """
    rules = _RULES.get(name)
    if rules is None:
        return rows
    values: dict[str, list[str]] = {
        column: rows[column].to_pylist() for column in rows.schema.names
    }
    for column, of in values.items():
        form = rules.forms.get(column)
        for row, text in enumerate(of):
            if not text:
                raise DataError(f"{place(row)}: {column} is blank; state it, or take the row out.")
            if form is not None and not form.pattern.fullmatch(text):
                raise DataError(f"{place(row)}: {column} is not {form.words}; correct it.")
    for once in rules.once:
        first: dict[str, int] = {}
        for row, key in enumerate(values[once.key]):
            before = first.setdefault(key, row)
            other = [name for name in once.says if values[name][row] != values[name][before]]
            if other:
                raise DataError(
                    f"{place(row)}: {once.key} stands in {place(before)} too, with another "
                    f"{' and '.join(other)}; {once.words}: correct one of them."
                )
    kept = list(dict.fromkeys(zip(*values.values(), strict=True)))
    if len(kept) == rows.num_rows:
        return rows
    return pa.table(
        [pa.array(column, pa.string()) for column in zip(*kept, strict=True)], schema=rows.schema
    )
