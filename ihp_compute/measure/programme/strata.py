"""In which strata people are: by what `member_factors` says on a day, and the arm of a programme.

    rows of a person and days -> those in force on the day -> one text a column, blank: unknown
    intervention: person, arm, start -> arm of who began between the years that are compared

Of several rows in force that say something, that which began last speaks, then the later one of
the table; of a flag yes stands before no before blank, whichever row says it. Texts are taken as
they stand, but for spaces at their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.input_columns import YES
from ihp_compute.measure.programme.outcome_measures import (
    DIMENSIONS,
    INTERVENTION,
    UNKNOWN,
)
from ihp_compute.population import ShardColumns, member_keys
from ihp_compute.units import day_of, year_bounds

_FAR_DAY: Final = 2**31 - 1
_ANSWERS: Final = ("", "no", "yes")
"""What a flag says, the stronger the later."""


@dataclass(frozen=True)
class PersonRows:
    """Rows of people by key, with days between which they hold; small, picklable.

    Attributes
    ----------
    key : uint64[n]
        Ascending; of one person by first day, then as the table has them.
    first_day, last_day : int32[n]
        Both included.
    code : int32[n_columns, n]
        Place of what each row says in `names` of its column.
    names : tuple of tuples of str
        By column; the first is "", not said.
    """

    key: NDArray[np.uint64]
    first_day: NDArray[np.int32]
    last_day: NDArray[np.int32]
    code: NDArray[np.int32]
    names: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls, table: pa.Table, columns: Sequence[str], *, flags: Sequence[str] = ()
    ) -> PersonRows:
        """Rows of a reference table with `person_id` or `member_id`, `start_date` and `end_date`.

        Parameters
        ----------
        table : pa.Table
            Of text.
        columns : sequence of str
            What is said of a person; those that the table lacks are said by no row.
        flags : sequence of str
            Those of them that say yes or no.
        """
        key = member_keys(_person(table))
        first, last = (
            _days(table, "start_date", -_FAR_DAY), _days(table, "end_date", _FAR_DAY)
        )  # fmt: skip
        order = np.lexsort((np.arange(key.size), first, key))
        codes, names = [], []
        for name in columns:
            code, own = _flag(table, name) if name in flags else _text(table, name)
            codes.append(code[order])
            names.append(own)
        return cls(
            key[order],
            first[order],
            last[order],
            np.stack(codes) if codes else np.zeros((0, key.size), np.int32),
            tuple(names),
        )

    def on(self, member_key: NDArray[np.uint64], days: Sequence[int]) -> NDArray[np.int32]:
        """What is said of people on days: int32[n_days, n_columns, n_members], 0 where nothing is.

        Parameters
        ----------
        member_key : uint64[n_members]
        days : sequence of int
        """
        rows, member = self.rows_of(member_key)
        out = np.zeros((len(days), self.code.shape[0], member_key.size), np.int32)
        for day, told in zip(days, out, strict=True):
            holds = (self.first_day[rows] <= day) & (day <= self.last_day[rows])
            held, whose = rows[holds], member[holds]
            once = bool(np.all(np.diff(whose) > 0))
            for code, said, names in zip(self.code, told, self.names, strict=True):
                own = code[held]
                if once:
                    said[whose] = own
                elif names == _ANSWERS:
                    np.maximum.at(said, whose, own)
                else:
                    is_told = own > 0
                    said[whose[is_told]] = own[is_told]  # the last row of a member stands
        return out

    def rows_of(
        self, member_key: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of each member, in their order, and whose each is."""
        first = np.searchsorted(self.key, member_key)
        n = np.searchsorted(self.key, member_key, side="right") - first
        member = np.repeat(np.arange(member_key.size), n)
        ahead = np.cumsum(n) - n
        return np.arange(member.size) + np.repeat(first - ahead, n), member


def _person(table: pa.Table) -> pa.Array:
    """The id of each row: the person's, else the member's."""
    ids = [
        pc.fill_null(table.column(name), "")
        for name in ("person_id", "member_id")
        if name in table.column_names
    ]
    if len(ids) == 1:
        return ids[0].combine_chunks()
    return pc.if_else(pc.equal(ids[0], ""), ids[1], ids[0]).combine_chunks()


def _encoded(table: pa.Table, name: str) -> tuple[NDArray[np.int32], list[str]]:
    """Place of each row's text among the distinct ones."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.int32), [""]
    column = pc.fill_null(table.column(name), "").combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.indices.to_numpy(zero_copy_only=False).astype(np.int32), [
        text or "" for text in column.dictionary.to_pylist()
    ]


def _text(table: pa.Table, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    code, texts = _encoded(table, name)
    own = ["" if text.strip() == UNKNOWN else text.strip() for text in texts]
    names = ("", *sorted(set(own) - {""}))
    place = {text: i for i, text in enumerate(names)}
    return np.array([place[text] for text in own] or [0], np.int32)[code], names


def _flag(table: pa.Table, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    code, texts = _encoded(table, name)

    def said(text: str) -> int:
        text = text.strip().lower().removesuffix(".0")
        return 0 if not text else 2 if text in YES else 1

    return np.array([said(text) for text in texts] or [0], np.int32)[code], _ANSWERS


def _days(table: pa.Table, name: str, blank: int) -> NDArray[np.int32]:
    code, texts = _encoded(table, name)
    days = [day_of(date.fromisoformat(text)) if text else blank for text in texts]
    return np.array(days or [0], np.int32)[code]


@dataclass(frozen=True)
class Strata:
    """The strata of a run, by dimension.

    Attributes
    ----------
    factors : PersonRows or None
        `DIMENSIONS` by column; None: the population has no `member_factors`.
    intervention : PersonRows or None
        Arms; None: there is no such table.
    region_counties : frozenset of str or None
        Counties of the region that others are compared with; None: no region is.
    """

    factors: PersonRows | None
    intervention: PersonRows | None
    region_counties: frozenset[str] | None = None

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Strata by dimension, in the order of `of`; `unknown` is the first of factors."""
        found: dict[str, tuple[str, ...]] = {}
        if self.factors is not None:
            for name, names in zip(DIMENSIONS, self.factors.names, strict=True):
                found[name] = (UNKNOWN, *names[1:])
        if self.intervention is not None:
            found[INTERVENTION] = self.intervention.names[0][1:]
        return found

    def of(self, shard: ShardColumns, years: Sequence[int]) -> NDArray[np.int16]:
        """Stratum of each member: int16[n_years, n_dimensions, n_members]; -1: of no arm."""
        key = shard.column("members", "member_key")
        out = np.zeros((len(years), len(self.names), key.size), np.int16)
        if self.factors is not None:
            last_days = [year_bounds(year)[1] - 1 for year in years]
            out[:, : len(DIMENSIONS)] = self.factors.on(key, last_days)
        if self.intervention is not None:
            out[:, -1] = _arms(self.intervention, key, years)
        return out


def starts_between(days: NDArray[np.int32], years: Sequence[int]) -> NDArray[np.bool_]:
    """Whether a day lies after the first year and no later than the end of the last."""
    return (days >= year_bounds(years[0])[1]) & (days < year_bounds(years[-1])[1])


def _arms(
    told: PersonRows, member_key: NDArray[np.uint64], years: Sequence[int]
) -> NDArray[np.int16]:
    """Arm of who began after the first year and no later than the last; else -1."""
    rows, member = told.rows_of(member_key)
    between = starts_between(told.first_day[rows], years)
    out = np.full(member_key.size, -1, np.int16)
    out[member[between]] = told.code[0, rows[between]] - 1
    return out
