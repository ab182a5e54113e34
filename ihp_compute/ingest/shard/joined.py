"""Earlier tables of a shard and those of a delivery as one: rows are put in where they belong.

    earlier rows of people who are not decided anew      stand in their order, codes renumbered
    rows of the delivery, and all of those who are       stand in theirs (`build`)

Both are in the order of their tables, so that only where a row goes is looked for, and each column
is moved once. A diagnosis or a drug of a day that both have stands once, with its earliest
payment. Not here: whose rows are decided anew (`ingest.reached`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import NO_STAY
from ihp_compute.ingest.shard.build import Claims
from ihp_compute.ingest.spill_layout import Scratch
from ihp_compute.input_columns import CODED
from ihp_compute.population import GONE, Shard, tables
from ihp_compute.population import digest as population_digest
from kernels import key_place, row_pick

_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "stays": (),
    "lines": ("service_day", "hash"),
    "diagnoses": ("dx", "day", "source"),
    "visits": tuple(tables.VISITS.names),
    "emergency": ("day", "principal_dx"),
    "drugs": ("system", "code", "day"),
}
"""By what a member's rows stand in order; a member has stays of one kind alone."""
_ONCE: Final = ("diagnoses", "drugs")
"""Tables in which a row stands once, with the earliest `paid_day`. So does an emergency diagnosis
of a day, but nobody has earlier ones and added ones of a day."""

FinalCodes = Mapping[str, NDArray[np.int32]]


@dataclass
class Joined:
    """The tables of claims, and what became of rows.

    counts : int64[n_members] by table
    dropped : uint64[len(HASHED_TABLES), 3], `digest.table_sums` of rows that another stands for
    earlier_line : int32, place of each earlier line, or `GONE`
    line : int32, place of each line of the delivery
    """

    tables: dict[str, pa.RecordBatch]
    counts: dict[str, NDArray[np.int64]]
    dropped: NDArray[np.uint64]
    earlier_line: NDArray[np.int32]
    line: NDArray[np.int32]


@dataclass(frozen=True)
class _People:
    """Members of now and of before.

    first : int64[n], place among those of before, or where it would be
    stays : bool[n], earlier rows stand
    earlier_stays : bool[n_before]
    place : int32[n_before], place now, or -1
    """

    key: NDArray[np.uint64]
    first: NDArray[np.int64]
    stays: NDArray[np.bool_]
    earlier_stays: NDArray[np.bool_]
    place: NDArray[np.int32]

    @classmethod
    def of(
        cls, before: NDArray[np.uint64], now: NDArray[np.uint64], anew: NDArray[np.uint64]
    ) -> _People:
        place = key_place(before, now)
        earlier_stays = (place >= 0) & (key_place(before, anew) < 0)
        stays = np.zeros(len(now), np.bool_)
        stays[place[earlier_stays]] = True
        return cls(now, np.searchsorted(before, now), stays, earlier_stays, place)


def join(
    shard: Shard,
    added: Claims,
    key: NDArray[np.uint64],
    anew: NDArray[np.uint64],
    line_hash: NDArray[np.uint64],
    final: FinalCodes,
    code_words: population_digest.CodeWords,
    scratch: Scratch,
) -> Joined:
    """Join the claims of a shard's earlier population with those of a delivery.

    Parameters
    ----------
    shard : Shard
        Of the earlier population.
    added : Claims
        Rows of the delivery, and earlier rows of those who are decided anew.
    key : uint64[n_members]
        Members of now, ascending.
    anew : uint64
        Who is decided anew, ascending; no earlier line of theirs stands.
    line_hash : uint64
        Hash that tells each earlier line apart.
    final : mapping
        Number now of each earlier number of a code, by system.
    code_words : mapping
        Words of codes by their number now.
    scratch : Scratch
        Holds the tables until the next shard is joined.
    """
    people = _People.of(shard.column("members", "member_key"), key, anew)
    made = Joined({}, {}, np.zeros((len(population_digest.HASHED_TABLES), 3), np.uint64),
                  np.empty(0, np.int32), np.empty(0, np.int32))  # fmt: skip
    names = [names[0] for names in population_digest.HASHED_TABLES]
    settled: dict[str, _Table] = {}
    for name in _BY:
        table = settled[name] = _Table(name, shard, added, people, final, scratch)
        if name == "lines":
            table.extra["hash"] = line_hash, added.lines.column("hash_1")
        table.find()
        if name in _ONCE:
            table.drop()
            made.dropped[names.index(name)] = table.dropped_sums(code_words)
        table.settle()
        made.counts[name] = table.counts()
        made.tables[name] = table.batch(name)
    lines = settled["lines"]
    lines.extra["stay"] = settled["stays"].moved(
        shard.column("line_detail", "stay"), added.tables["line_detail"].column("stay").to_numpy()
    )
    made.tables["line_detail"] = lines.batch("line_detail")
    made.earlier_line, made.line = lines.earlier_place, lines.place
    return made


@dataclass
class _Table:
    """Rows of a table on their way.

    extra : columns that neither has, or has otherwise: of earlier rows, and of added ones
    """

    name: str
    shard: Shard
    added: Claims
    people: _People
    final: FinalCodes
    scratch: Scratch
    extra: dict[str, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        people = self.people
        self._starts = self.shard.offsets(self.name)
        member = np.repeat(np.arange(len(people.key)), self.added.counts[self.name])
        self._key = people.key[member]
        first = people.first[member]
        self._at = self._starts[first]
        self._stop = self._starts[first + people.stays[member]]
        self._stands = np.repeat(people.earlier_stays, np.diff(self._starts))
        self._kept = np.ones(len(member), np.bool_)

    def find(self) -> None:
        """Look for the first earlier row of its member that each added row is not behind."""
        columns = [self._pair(name) for name in _BY[self.name]]
        at, stop = self._at.copy(), self._stop.copy()
        rows = np.flatnonzero(at < stop)
        while len(rows):
            middle = (at[rows] + stop[rows]) >> 1
            before = _before(columns, middle, rows)
            at[rows[before]] = middle[before] + 1
            stop[rows[~before]] = middle[~before]
            rows = rows[at[rows] < stop[rows]]
        self._at = at

    def drop(self) -> None:
        """Of a row that both have, let the one that was paid first stand."""
        rows = np.flatnonzero(self._at < self._stop)
        at = self._at[rows]
        alike = np.ones(len(rows), np.bool_)
        for name in _BY[self.name]:
            earlier, added = self._pair(name)
            alike &= earlier(at) == added[rows]
        rows, at = rows[alike], at[alike]
        earlier, added = self._pair("paid_day")
        is_first = earlier(at) <= added[rows]
        self._kept[rows[is_first]] = False
        self._stands[at[~is_first]] = False
        self._dropped = at[~is_first], rows[is_first]

    def dropped_sums(self, code_words: population_digest.CodeWords) -> NDArray[np.uint64]:
        """`digest.table_sums` of the rows that were dropped."""
        at, rows = self._dropped
        whose = np.searchsorted(self._starts, at, side="right") - 1
        key = np.concatenate([self.shard.column("members", "member_key")[whose], self._key[rows]])

        def column(_: str, name: str) -> NDArray[Any]:
            earlier, added = self._pair(name)
            return np.concatenate([earlier(at), added[rows]])

        return population_digest.table_sums((self.name,), key, column, _no_texts, code_words)

    def settle(self) -> None:
        """Give every row its place."""
        self._before = np.concatenate([[0], np.cumsum(self._stands)])
        self._rows = np.flatnonzero(self._kept)
        self.place = (self._before[self._at[self._rows]] + np.arange(len(self._rows))).astype(
            np.int32
        )
        n = int(self._before[-1]) + len(self._rows)
        is_earlier = np.ones(n, np.bool_)
        is_earlier[self.place] = False
        places = np.flatnonzero(is_earlier).astype(np.int32)
        earlier = np.flatnonzero(self._stands).astype(np.int32)
        self._source = np.zeros(n, np.int32)
        self._source[places] = earlier
        self.earlier_place = np.full(len(self._stands), GONE, np.int32)
        self.earlier_place[earlier] = places

    def counts(self) -> NDArray[np.int64]:
        """int64[n_members]: how many rows each member has."""
        whose = np.searchsorted(self.people.key, self._key[self._rows])
        found = np.bincount(whose, minlength=len(self.people.key)).astype(np.int64)
        standing = np.diff(self._before[self._starts])
        at = np.flatnonzero(self.people.earlier_stays)
        found[self.people.place[at]] += standing[at]
        return found

    def moved(
        self, earlier: NDArray[np.int32], added: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows of this table, which is of stays, that lines name, by where they are now."""
        found = []
        for named, place in ((earlier, self.earlier_place), (added, self.place)):
            at = np.flatnonzero(named != NO_STAY)
            now = np.full(len(named), NO_STAY, np.int32)
            now[at] = place[named[at]]
            found.append(now)
        return found[0], found[1]

    def batch(self, name: str) -> pa.RecordBatch:
        """The table, or another one of the same rows."""
        return pa.RecordBatch.from_arrays(
            [
                self._texts(name, of.name)
                if pa.types.is_string(of.type)
                else pa.array(self._numbers(name, of.name), of.type)
                for of in tables.SHARD_TABLES[name]
            ],
            schema=tables.SHARD_TABLES[name],
        )

    def _numbers(self, table: str, name: str) -> NDArray[Any]:
        if name in self.extra:
            earlier, added = self.extra[name]
            number = None
        else:
            earlier = self.shard.column(table, name)
            added = self.added.tables[table].column(name).to_numpy()
            number = self._number(name)
        kind = earlier.dtype if number is None else number.dtype
        out: NDArray[Any] = self.scratch.array(f"joined {table}.{name}", len(self._source), kind)
        if len(earlier):
            if number is None:
                row_pick(earlier, None, self._source, out)
            else:
                row_pick(number, earlier, self._source, out)
        if (table, name) == ("drugs", "code") and len(earlier):
            system = self.shard.column("drugs", "system")
            out[:] = self._drugs(earlier, system)[self._source]
        out[self.place] = added[self._rows]
        return out

    def _number(self, name: str) -> NDArray[np.int32] | None:
        return self.final[CODED[name]] if name in CODED else None

    def _drugs(self, code: NDArray[np.int32], system: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Codes of drugs by their numbers now; the system says which they are of."""
        of = [self.final[name] for name in ("ndc", "hcpcs")]
        found: NDArray[np.int32] = np.append(of[0], of[1])[
            code + np.where(system == 1, len(of[0]), 0)
        ]
        return found

    def _texts(self, table: str, name: str) -> pa.Array:
        earlier, added = self.shard.strings(table, name), self.added.tables[table].column(name)
        source = self._source.copy()
        source[self.place] = self._rows + len(earlier)
        return pa.concat_arrays([earlier, added]).take(pa.array(source))

    def _pair(self, name: str) -> tuple[Callable[[NDArray[Any]], NDArray[Any]], NDArray[Any]]:
        """A column: of earlier rows asked for, and of all added ones."""
        if name in self.extra:
            earlier, added = self.extra[name]
            return lambda at: earlier[at], added
        values = self.shard.column(self.name, name)
        added = self.added.tables[self.name].column(name).to_numpy()
        number = self._number(name)
        if (self.name, name) == ("drugs", "code"):
            system = self.shard.column("drugs", "system")
            return lambda at: self._drugs(values[at], system[at]), added
        if number is None:
            return lambda at: values[at], added
        return lambda at: number[values[at]], added


def _before(
    columns: list[tuple[Callable[[NDArray[Any]], NDArray[Any]], NDArray[Any]]],
    at: NDArray[np.int64],
    rows: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Whether each earlier row stands before its added one, column by column."""
    found = np.zeros(len(rows), np.bool_)
    alike = np.ones(len(rows), np.bool_)
    for earlier, added in columns:
        one, other = earlier(at), added[rows]
        found |= alike & (one < other)
        alike &= one == other
    return found


def _no_texts(table: str, name: str) -> NDArray[np.uint64]:
    raise KeyError(f"{table}.{name} is no column of texts")
