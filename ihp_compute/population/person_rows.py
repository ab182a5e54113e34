"""What tables say of people between days: `member_factors`, the arms of an intervention.

    rows of a person and days -> those in force on a day -> one text a column; blank: not said

Of several rows in force that say something, that which began last speaks, then the later one of
the table; of a flag yes stands before no before blank, whichever row says it. Texts are taken as
they stand, but for spaces at their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import MEMBER_FACTORS
from ihp_compute.input_columns import YES
from ihp_compute.population.keys import member_keys
from ihp_compute.population.shards import Population, ShardColumns, kept
from ihp_compute.units import day_of

COUNTY: Final = "county_fips"
FACTOR_TEXTS: Final = ("race", "ethnicity", "language", COUNTY)
"""Columns of `member_factors` that say a text; `MEMBER_FACTORS` are flags."""
UNKNOWN: Final = "unknown"
"""As good as nothing said."""
SAID_YES: Final = 2
_FAR_DAY: Final = 2**31 - 1
_ANSWERS: Final = ("", "no", "yes")
"""What a flag says, the stronger the later."""


def member_factors(population: Population) -> PersonRows | None:
    """The table `member_factors`, read once in a process: `FACTOR_TEXTS`, then `MEMBER_FACTORS`."""
    table = population.reference("member_factors")
    if table is None:
        return None
    columns = (*FACTOR_TEXTS, *MEMBER_FACTORS)
    return population.remember(
        "member_factors", lambda: PersonRows.of(table, columns, flags=MEMBER_FACTORS)
    )


def intervention_arms(population: Population) -> PersonRows | None:
    """The table `intervention`, read once in a process: the arm."""
    table = population.reference("intervention")
    if table is None:
        return None
    return population.remember("intervention_arms", lambda: PersonRows.of(table, ("arm",)))


def factors_on(
    factors: PersonRows, shard: ShardColumns, days: Sequence[int]
) -> list[NDArray[np.integer[Any]]]:
    """What `member_factors` says of a shard's members on each day: integers[n_columns, n_members].

    Made once in a process for each day, since it rests on the population alone.

    Parameters
    ----------
    factors : PersonRows
        From `member_factors`, of the shard's population.
    shard : Shard
    days : sequence of int
    """

    def said(day: int) -> NDArray[np.integer[Any]]:
        (found,) = factors.on(shard.column("members", "member_key"), [day])
        return found.astype(factors.code.dtype)

    return [kept(shard, ("member_factors", day), partial(said, day)) for day in days]


@dataclass(frozen=True)
class PersonRows:
    """Rows of people by key, with days between which they hold; small, picklable.

    Attributes
    ----------
    key : uint64[n]
        Ascending; of one person by first day, then as the table has them.
    first_day, last_day : int32[n]
        Both included.
    code : integers[n_columns, n]
        Place of what each row says in `names` of its column.
    columns : tuple of str
    names : tuple of tuples of str
        By column; the first is "", not said.
    """

    key: NDArray[np.uint64]
    first_day: NDArray[np.int32]
    last_day: NDArray[np.int32]
    code: NDArray[np.integer[Any]]
    columns: tuple[str, ...]
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
        order = np.argsort(key)
        if np.any(np.diff(key[order]) == 0):
            order = np.lexsort((first, key))  # rows of a person by day, alike ones as they stand
        codes, names = [], []
        for name in columns:
            code, own = _flag(table, name) if name in flags else _text(table, name)
            codes.append(code[order])
            names.append(own)
        return cls(
            key[order],
            first[order],
            last[order],
            np.stack(codes).astype(np.min_scalar_type(max(map(len, names)))),
            tuple(columns),
            tuple(names),
        )

    def only(self, columns: Sequence[str]) -> PersonRows:
        """The same rows, of some columns."""
        places = [self.columns.index(name) for name in columns]
        return replace(
            self,
            code=self.code[places],
            columns=tuple(columns),
            names=tuple(self.names[place] for place in places),
        )

    def in_force(self, member_key: NDArray[np.uint64], day: int) -> NDArray[np.bool_]:
        """Whether a row of each person holds on a day: bool[n_members]."""
        rows, member = self.rows_of(member_key)
        found = np.zeros(member_key.size, np.bool_)
        found[member[(self.first_day[rows] <= day) & (day <= self.last_day[rows])]] = True
        return found

    def on(self, member_key: NDArray[np.uint64], days: Sequence[int]) -> NDArray[np.int32]:
        """What is said of people on days: int32[n_days, n_columns, n_members], 0 where nothing is.

        Parameters
        ----------
        member_key : uint64[n_members]
        days : sequence of int
        """
        rows, member = self.rows_of(member_key)
        out = np.zeros((len(days), self.code.shape[0], member_key.size), np.int32)
        first, last, codes = self.first_day[rows], self.last_day[rows], self.code[:, rows]
        for day, told in zip(days, out, strict=True):
            holds = (first <= day) & (day <= last)
            whose, said_then = member[holds], codes[:, holds]
            if np.all(np.diff(whose) > 0):
                told[:, whose] = said_then
                continue
            for own, said, names in zip(said_then, told, self.names, strict=True):
                if names == _ANSWERS:
                    np.maximum.at(said, whose, own)
                else:
                    is_told = own > 0
                    said[whose[is_told]] = own[is_told]  # the last row of a member stands
        return out

    @cached_property
    def _is_once(self) -> bool:
        """Whether nobody has two rows."""
        return bool(np.all(self.key[1:] != self.key[:-1]))

    def rows_of(
        self, member_key: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of each member, in their order, and whose each is."""
        first = np.searchsorted(self.key, member_key)
        if self.key.size and self._is_once:
            n = (self.key.take(first, mode="clip") == member_key).astype(np.int64)
        else:
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
