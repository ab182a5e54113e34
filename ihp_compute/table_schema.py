"""A table declared once: columns with type, unit and meaning, keys, and who may read it.

The Arrow schema follows, with `unit` and `meaning` in the metadata of each field. Tables are
compared by names, types and values: metadata says what a column is and is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self

import pyarrow as pa

UNITS: Final[Mapping[str, str]] = {
    "cents": "US cents",
    "USD per member month": "US dollars for each member month",
    "ratio": "a part or a multiple: 1 is the whole",
    "micro": "millionths of a score",
    "score": "a risk score",
    "of the measure": "the unit of the measure that the row names: ratio or cents",
    "of the split": "the unit of what the split weighs by: a part, member months or cents",
    "members": "people",
    "partnerships": "groups that a contract settles",
    "clinics": "providers by whom members were attributed",
    "member months": "months in which a member counts",
    "lines": "claim lines, or rows of another input table",
    "visits": "encounters",
    "services": "things done: claim lines above zero, a stay's claim as one",
    "cases": "people or events of which a measure counts those that meet it",
    "stays": "stays in an acute hospital",
    "per 1,000 member years": "events for every 12,000 member months",
    "year": "a calendar year",
    "position": "a place in an order, from 0",
    "identifier": "a number that names and does not count",
}
"""Units of numbers, and what each says; text and truth values have none."""


@dataclass(frozen=True)
class Column:
    """A column of a table, which holds no nulls.

    Attributes
    ----------
    name : str
    type : pa.DataType
    meaning : str
        In a line.
    unit : str
        One of `UNITS` for a number, else empty.
    each : str
        What the column stands once for, where a table has one a rule set, say; else empty.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    each: str = ""

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with unit and meaning as metadata."""
        about = {"unit": self.unit} if self.unit else {}
        return pa.field(
            self.name, self.type, nullable=False, metadata={**about, "meaning": self.meaning}
        )


@dataclass(frozen=True)
class Counted:
    """A count of a row that tells of people, and what of the row tells it.

    What names a thing is a column, or after "=" the thing itself.

    Attributes
    ----------
    column : str
        People, or people behind an event; else the events themselves.
    measure : str
        What is counted, "=stays" say; empty: people.
    also : str
        Column of a second count that must not be small either, as index stays.
    also_of : tuple of str
        Measures that have the second count; all if empty.
    falls : tuple of str
        Columns that are hidden with it; all but keys if empty.
    of_people : bool
        Whether those counted and the rest of the people are the people of the row's scope.
    """

    column: str
    measure: str = ""
    also: str = ""
    also_of: tuple[str, ...] = ()
    falls: tuple[str, ...] = ()
    of_people: bool = False


@dataclass(frozen=True)
class Against:
    """Columns of a row that tell of another scope, stratum or group, and fall with it too.

    Attributes
    ----------
    column : str
        What names the other.
    names : str
        What is named: "stratum", or "group" (comparison, others, state, COMPARISON, region:NAME,
        arm:STRATUM), first in the text if it goes on.
    falls : tuple of str
        All but keys if empty.
    """

    column: str
    names: str
    falls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Behind:
    """Who stands behind a row of a table: cells of counts, which equations bind to one another.

    Strata add up to their scope, partnerships to what they are of, groups to the state; which
    equations there are follows from scope, dimension and stratum alone.

    Attributes
    ----------
    scope, scope_id : str
        A column, or after "=" the thing itself.
    years : tuple of str
        Columns, or "=base", "=performance".
    dimension, stratum : str
    counts : tuple of Counted
    rests_on : tuple of str
        Measures, or columns that name one, on whose cells the row rests without counting them.
    against : tuple of Against
    only : (str, tuple of str), optional
        A column and its values in rows of this kind; the first kind that fits a row is its own.
    renamed : mapping of str to str
        Scopes that stand for another, and that.
    adds_up : bool
        Whether nobody stands in two strata.
    after : mapping of str to tuple of str
        Measures of events that are parts of others' events, and those: hidden where one of them is.
    within : mapping of str to str
        Measures of strata alone, whose sums other tables show, and with which measure of its scope
        all strata fall.
    of_measures : tuple of str
        Measures whose strata are measures themselves: hidden where that measure of the scope is.
    with_people : tuple of str
        Measures that are told together with people, in the same equations.
    """

    scope: str
    scope_id: str
    years: tuple[str, ...]
    dimension: str = "=all"
    stratum: str = "=all"
    counts: tuple[Counted, ...] = ()
    rests_on: tuple[str, ...] = ()
    against: tuple[Against, ...] = ()
    only: tuple[str, tuple[str, ...]] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    adds_up: bool = True
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    within: Mapping[str, str] = field(default_factory=dict)
    of_measures: tuple[str, ...] = ()
    with_people: tuple[str, ...] = ()

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Columns that say which cells of people a row stands on."""
        named = (self.scope, self.scope_id, self.dimension, self.stratum, *self.years)
        return tuple(name for name in named if not name.startswith("="))

    @property
    def columns(self) -> frozenset[str]:
        """Columns that say what a row counts."""
        counts = (name for one in self.counts for name in (one.column, one.also, one.measure))
        only = () if self.only is None else (self.only[0],)
        return frozenset(
            name for name in (*self.places, *only, *counts) if name and not name.startswith("=")
        )


@dataclass(frozen=True)
class TableSchema:
    """What a table is.

    Attributes
    ----------
    name : str
        Stem of its file, and its name over HTTP.
    meaning : str
        In a line.
    columns : tuple of Column
    keys : tuple of str
        Columns that tell its rows apart and, in this order, order them.
    in_digest : bool
        Whether the digest of a run covers it.
    restricted : bool
        Whether it has rows of members, or of so few that they show; who reads it needs leave.
    behind : tuple of Behind
        Who stands behind its rows, by kind of row; without it there is no open form of the table.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    in_digest: bool = True
    restricted: bool = False
    behind: tuple[Behind, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema([column.field for column in self.columns])

    def with_each(self, each: str, columns: Iterable[Column]) -> Self:
        """The table with these in place of the columns that stand once for `each`."""
        at = [i for i, column in enumerate(self.columns) if column.each == each]
        before, after = self.columns[: at[0]], self.columns[at[-1] + 1 :]
        return replace(self, columns=(*before, *columns, *after))
