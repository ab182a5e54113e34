"""Raw rows of one batch as typed columns, with what cannot be read marked.

    raw columns -> ids, codes, days, cents -> row hash

A column is read as it is declared (`input_columns`); what needs a rule of its own is asked for by
the reader of its table, and `carried` reads the rest of what is spilled. A date that is none, or
none that can be, is blank and told (`Findings`); whether a row can do without is for its reader to
say. Every row keeps its file
and row number, and two 64-bit hashes of all columns that are content: equal rows have equal hashes
whatever file they stand in. Codes are numbered as they are met; `CodeBook` sorts them once all
files are read. Nothing here needs another row; what does is in `ingest.shard`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.columns import Coded, Column, Following, Stated
from ihp_compute.ingest.door.texts import Text, Words, as_text, is_rounded, read_text
from ihp_compute.ingest.door.values import (
    BAD_DAY,
    NO_FLAG,
    VALUE_CLASSES,
    Cents,
    DateOrder,
    flag_of_text,
    is_ordered,
    no_amounts,
    order_note,
    read_cents,
    read_days,
    value_class,
)
from ihp_compute.ingest.final_action import OPEN
from ihp_compute.ingest.findings import UNREADABLE_REASON, Doubt, Tally
from ihp_compute.input_columns import (
    CODE_SYSTEMS,
    FIRST_DATE,
    INPUT_TABLES,
    NO_DATES,
    OPEN_END,
    SPILL_COLUMNS,
    InputColumn,
    Kind,
    SpillColumn,
    as_number,
)
from ihp_compute.ledger import IngestFate
from ihp_compute.population import RowHash, text_hashes
from ihp_compute.units import NO_DAY, day_of

UNREADABLE: Final = int(IngestFate.UNREADABLE)
OPEN_END_DAY: Final = day_of(OPEN_END)
FIRST_DAY: Final = day_of(FIRST_DATE)
_NOT_A_DATE: Final = "not_a_date"
_UNSETTLED: Final = "day_or_month_first"
_OUT_OF_RANGE: Final = "date_out_of_range"
_QUANTITY_PLACES: Final = 3
_DOUBTS: Final = {
    _NOT_A_DATE: "{} is not a date",
    _UNSETTLED: "{}: day or month first? write YYYY-MM-DD",
    _OUT_OF_RANGE: "{} before 1850 or after 2099",
}
"""What can be wrong with a date, and the reason of a row that cannot do without it."""


def _unsettled() -> DateOrder:
    return ""


class Rows:
    """One batch on its way in: hands out typed columns, hashes each, remembers what was bad."""

    def __init__(
        self,
        table: str,
        columns: Mapping[str, pa.Array],
        first_row: int,
        known: dict[str, Words] | None = None,
        file: str = "",
        date_order: Callable[[], DateOrder] = _unsettled,
    ) -> None:
        self.table = INPUT_TABLES[table]
        self.columns = columns
        self.n = len(next(iter(columns.values())))
        self.first_row = first_row
        self.hash = RowHash(self.n)
        self.tally = Tally(rows=self.n)
        self._known = {} if known is None else known
        self._left = dict.fromkeys(name for name in self.table.content if name in columns)
        self._asked: set[str] = set()
        self.file = file
        self._date_order = date_order
        self._bad: dict[int, str] = {}
        self._doubts: dict[str, list[tuple[str, NDArray[np.intp]]]] = {}
        self._seen: list[tuple[Doubt, NDArray[np.intp]]] = []
        self._texts: dict[str, Text] = {}

    def text(self, name: str) -> Text:
        """A code or name, trimmed, as distinct values."""
        self._asked.add(name)
        text = self._texts.get(name)
        if text is None:
            if name not in self.columns:
                text = Text.blank(self.n)
            else:
                self._left.pop(name, None)
                column = self.table.by_name[name]
                text = read_text(self.columns[name], self._known.get(name), whole=column.is_whole)
                spelling = column.spelling
                if not text.is_blank:
                    if column.kind is Kind.ID:
                        self._check_words(name, text.words)
                    self._known[name] = text.words
                    if spelling:
                        text = Text(text.words.spelled(spelling), text.index)
                    self.hash.add_coded(name, text.index, text.words.hashes)
            self._texts[name] = text
        return text

    def strings(self, name: str) -> Text | Following:
        """A column of mostly distinct texts."""
        if name not in self.columns or pa.types.is_dictionary(self.columns[name].type):
            return self.text(name)
        self._asked.add(name)
        self._left.pop(name, None)
        column = self.table.by_name[name]
        if column.kind is Kind.ID:
            self._check_ids(name, self.columns[name])
        array = as_text(self.columns[name], whole=column.is_whole)
        if pa.types.is_large_string(array.type):
            array = array.cast(pa.string())
        words = text_hashes(array)
        self.hash.add(name, words)
        return Following(array, words)

    def _check_words(self, name: str, words: Words) -> None:
        def check() -> NDArray[np.bool_]:
            self._check_ids(name, words.texts if words.source is None else words.source)
            return np.ones(1, bool)

        words.made("exact", check)

    def _check_ids(self, name: str, array: pa.Array) -> None:
        if is_rounded(array):
            raise DataError(
                f"{self.file}: {name} looks like a number rounded by a spreadsheet, so that several"
                " ids become one: export it as text"
            )

    def days(self, name: str) -> NDArray[np.int32]:
        """A date column; what is not a date, or one that nothing can have, is told and blank."""
        self._asked.add(name)
        if name not in self.columns:
            return np.full(self.n, NO_DAY, np.int32)
        self._left.pop(name, None)
        days = self._settled_days(name)
        if days.max() >= OPEN_END_DAY or days.min() < _LAST_NONE:
            odd = ((days < _LAST_NONE) & (days != NO_DAY)) | (days >= OPEN_END_DAY)
            days = self._without_odd(self.table.by_name[name], days, np.flatnonzero(odd))
        if not self.table.by_name[name].is_content:
            return days
        # words from 1, blank as 0
        self.hash.add(name, days.view(np.uint32) - np.array(NO_DAY, np.int32).view(np.uint32))
        return days

    def _settled_days(self, name: str) -> NDArray[np.int32]:
        """Days as written, in the order of day and month that the file settles."""
        array = self.columns[name]
        days = read_days(array)
        if pa.types.is_date32(array.type):
            return days
        bad = np.flatnonzero(days == BAD_DAY)
        if not len(bad):
            return days
        texts = as_text(array.take(pa.array(bad))).dictionary_encode()
        ordered = np.array([is_ordered(text) for text in texts.dictionary.to_pylist()], bool)
        ordered = ordered.take(texts.indices.to_numpy(zero_copy_only=False))
        if not ordered.any():
            return days
        if order := self._date_order():
            days = read_days(array, order)
            self.tally.notes[order_note(self.file, order)] += int(np.count_nonzero(ordered))
        else:
            self._doubt(name, _UNSETTLED, bad[ordered])
        return days

    def _without_odd(
        self, column: InputColumn, days: NDArray[np.int32], odd: NDArray[np.intp]
    ) -> NDArray[np.int32]:
        """Days without those that state that there is none; of the others the column is told."""
        if not len(odd):
            return days
        of = days[odd]
        bad = of == BAD_DAY
        unsettled = [rows for doubt, rows in self._doubts.get(column.name, ()) if doubt]
        told = np.isin(odd, np.concatenate(unsettled)) if unsettled else np.zeros(len(bad), bool)
        self._doubt(column.name, _NOT_A_DATE, odd[bad & ~told])
        none = np.isin(of, [day_of(day) for day in column.no_dates])
        if column.may_be_open:
            none |= of >= OPEN_END_DAY
        outside = ((of < FIRST_DAY) | (of >= OPEN_END_DAY)) & ~bad & ~none
        self._doubt(column.name, _OUT_OF_RANGE, odd[outside])
        blank = odd[bad | none | outside]
        if not len(blank):
            return days
        days = days.copy()
        days[blank] = NO_DAY
        return days

    def _doubt(self, name: str, doubt: str, rows: NDArray[np.intp]) -> None:
        if len(rows):
            self._doubts.setdefault(name, []).append((doubt, rows))
            self.see(name, doubt, rows)

    def see(self, column: str, finding: str, rows: NDArray[np.intp], subject: str = "") -> None:
        """Tell rows of a finding, by the cents that `finish` is given."""
        if len(rows):
            self._seen.append((Doubt(column, finding, subject), rows))

    def understood(self, name: str, is_known: Callable[[str], bool]) -> None:
        """Tell rows whose code is stated and not one of those known, by the kind of its value."""
        text = self.text(name)
        if text.is_blank:
            return
        classes = text.words.made(
            "not understood",
            lambda: np.array(
                [
                    1 + VALUE_CLASSES.index(value_class(v)) if v and not is_known(v) else 0
                    for v in text.values
                ]
            ),
        )
        if classes.any():
            of_row = text.take(classes)
            for k, label in enumerate(VALUE_CLASSES, 1):
                self.see(name, "not_understood", np.flatnonzero(of_row == k), label)

    def cents(self, name: str) -> Cents:
        """A dollar column; what is not an amount is marked and becomes zero."""
        self._asked.add(name)
        if name not in self.columns:
            return no_amounts(self.n)
        self._left.pop(name, None)
        read = read_cents(self.columns[name])
        bad = np.flatnonzero(read.bad)
        self.mark(bad, f"{name} is not an amount", name)
        self.see(name, "not_an_amount", bad)
        self.tally.sub_cents += int(np.count_nonzero(read.sub_cent))
        self._hash_cents(name, read)
        return read

    def scaled(self, name: str) -> Cents:
        """A number as an integer of the places that are kept of it; what is bad is not marked."""
        self._asked.add(name)
        if name not in self.columns:
            return no_amounts(self.n)
        return read_cents(self.columns[name], self.table.by_name[name].places)

    def thousandths(self, name: str) -> Coded:
        """A quantity as int64 thousandths, half to even; 0 where none is stated or above 0.

        Rows of what is no number, or one too large to hold, are told; theirs is none.
        """
        text = self.text(name)
        if text.is_blank:
            return Coded(np.zeros(1, np.int64), text.index)
        words = text.words
        milli = words.made("thousandths", lambda: _thousandths(words.texts))
        unread = milli < 0
        if unread.any():
            self.see(name, "not_a_number", np.flatnonzero(text.take(unread)))
            milli = np.maximum(milli, 0)
        return Coded(milli, text.index)

    def read(self, name: str, what: str, of: Callable[[str], int], kind: type) -> Coded:
        """What a function says of each text; `what` names it among those asked of the column."""
        text = self.text(name)
        values = text.words.made(what, lambda: np.array([of(v) for v in text.values], kind))
        return Coded(values, text.index)

    def codes(self, name: str, book: CodeBook) -> Coded:
        """Provisional numbers of a code column, each code spelled as its system has it."""
        text, system = self.text(name), self.table.by_name[name].code_system
        spelling = CODE_SYSTEMS[system].spelling

        def numbers() -> NDArray[np.int32]:
            codes = text.values
            return book.numbers(system, list(map(spelling, codes)) if spelling else codes)

        return Coded(text.words.made(system, numbers), text.index)

    def lookup(self, name: str, what: str, of: Mapping[str, int], default: int) -> Coded:
        """A small code through a table; upper case, numbers as numbers, others give `default`.

        Rows of codes that are not in the table are told.
        """

        def code(text: str) -> int | None:
            return of.get(text.upper(), of.get(as_number(text)))

        self.understood(name, lambda text: code(text) is not None)

        def found(text: str) -> int:
            known = code(text)
            return default if known is None else known

        return self.read(name, what, found, np.uint8)

    def flag(self, name: str) -> NDArray[np.bool_]:
        """A yes-no column; blank and unknown are no, unknown ones are told."""
        self.understood(name, lambda text: flag_of_text(text) != NO_FLAG)
        return self.read(name, "flag", lambda text: flag_of_text(text) == 1, np.bool_).rows()

    def member_ids(self) -> Text:
        """`person_id`, else `member_id`, row by row. Both are content and are hashed."""
        person, member = self.text("person_id"), self.text("member_id")
        if person.is_blank or member.is_blank:
            return member if person.is_blank else person
        stated = person.stated()
        if stated.all():
            return person
        place = {value: k for k, value in enumerate(person.values[:-1])}
        remap = [place.setdefault(value, len(place)) for value in member.values[:-1]]
        remap.append(len(place))
        index = np.where(stated, person.index, np.array(remap, np.int32).take(member.index))
        return Text(Words(pa.array([*place, ""], pa.string())), index)

    def member_keys(self, book: MemberBook) -> tuple[Text, Coded]:
        """The member id of each row and its key, 0 where there is none."""
        ids = self.member_ids()
        return ids, Coded(ids.words.made("key", lambda: book.keys(ids.words.texts)), ids.index)

    def carried(self, book: CodeBook, kind: Kind | None = None) -> dict[str, Column]:
        """Spilled columns of what nobody has asked for yet, each read as it is declared.

        Given a kind, those of that kind. Else all that are left, and the blank of each spilled
        column that no column of this table fills. Of two faults in a row the first one read stands.
        """
        found: dict[str, Column] = {}
        for column in self.table.columns:
            if column.spill and column.name not in self._asked and kind in (None, column.kind):
                spilled = column.spill[0]
                if pa.types.is_list(spilled.type):
                    codes = found.setdefault(spilled.name, [])
                    if isinstance(codes, list) and not self.text(column.name).is_blank:
                        codes.append(self.codes(column.name, book))
                else:
                    found[spilled.name] = self._as_declared(column, book)
        if kind is None:
            filled = {spilled.name for column in self.table.columns for spilled in column.spill}
            for spilled in SPILL_COLUMNS[self.table.name]:
                if spilled not in self.table.own and spilled.name not in filled:
                    found[spilled.name] = self._nothing(spilled)
        return found

    def _as_declared(self, column: InputColumn, book: CodeBook) -> Column:
        if column.kind is Kind.AMOUNT:
            return self.cents(column.name).cents
        if column.kind is Kind.DATE:
            return self.days(column.name)
        if column.code_system:
            return self.codes(column.name, book)
        if pa.types.is_string(column.spill[0].type):
            text = self.text(column.name)
            return Stated(text) if column.spill[0].blank is None else text
        raise TypeError(f"{self.table.name}.{column.name} is spilled by a rule that nobody applied")

    def _nothing(self, spilled: SpillColumn) -> Column:
        if pa.types.is_list(spilled.type):
            return []
        return Text.blank(self.n) if isinstance(spilled.blank, str) else spilled.blank

    def mark(self, rows: NDArray[np.intp], reason: str, column: str = "") -> None:
        """Set rows aside as unreadable; the first reason stands, with the value as written."""
        fresh = [row for row in rows.tolist() if row not in self._bad]
        if not fresh:
            return
        self.see(column, UNREADABLE_REASON, np.array(fresh, np.intp), reason)
        raw = self.columns.get(column) if column else None
        if raw is None:
            self._bad.update(dict.fromkeys(fresh, reason))
            return
        values = as_text(raw.take(pa.array(fresh))).to_pylist()
        for row, value in zip(fresh, values, strict=True):
            self._bad[row] = f"{reason}: {value!r}"

    def mark_doubtful(self, name: str, among: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
        """Set aside rows, or those among some, whose date in a column is stated and is none."""
        marked = [np.empty(0, np.intp)]
        for doubt, rows in self._doubts.get(name, ()):
            marked.append(rows if among is None else rows[among[rows]])
            self.mark(marked[-1], _DOUBTS[doubt].format(name), name)
        return np.concatenate(marked)

    def finish(
        self, cents: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint8], Stated | None]:
        """Hash the content that nobody asked for; hashes, fates and reasons.

        What was told of rows is counted by their paid `cents`.
        """
        paid = np.zeros(self.n, np.int64) if cents is None else cents
        for doubt, rows_ in self._seen:
            self.tally.findings.see_rows(doubt, paid[rows_])
        for name in list(self._left):
            if self.table.by_name[name].kind is Kind.AMOUNT:
                self._hash_amount(name)
            else:
                self.text(name)
        fate = np.full(self.n, OPEN, np.uint8)
        rows = sorted(self._bad)
        fate[rows] = UNREADABLE
        if not rows:
            return self.hash.finish(), fate, None
        reasons: list[str | None] = [None] * self.n
        for row, text in self._bad.items():
            reasons[row] = text
        return self.hash.finish(), fate, Stated(read_text(pa.array(reasons, pa.string())))

    def _hash_amount(self, name: str) -> None:
        """An amount that the population does not keep: only its value counts, readable or not."""
        read = read_cents(self.columns[name])
        if read.bad.any():
            self.text(name)
        else:
            self._hash_cents(name, read)

    def _hash_cents(self, name: str, read: Cents) -> None:
        """Twice the cents and one, blank as 0."""
        words = read.cents * 2
        words += 1
        if read.blank.any():
            words[read.blank] = 0
        self.hash.add(name, words)


_LAST_NONE: Final = day_of(max(day for day in NO_DATES if day < OPEN_END)) + 1


def coalesce(*columns: Coded) -> Coded | NDArray[np.int32]:
    """The first number above 0 of each row."""
    said = [column for column in columns if column.values.any()] or [columns[0]]
    if len(said) == 1:
        return said[0]
    found = said[0].rows()
    for other in said[1:]:
        found = np.where(found > 0, found, other.rows())
    return found


def _thousandths(texts: pa.Array) -> NDArray[np.int64]:
    """Thousandths of written quantities; 0 where none is above 0, -1 where none can be read."""
    read = read_cents(texts, _QUANTITY_PLACES)
    found = np.maximum(read.cents, 0)
    found[read.bad] = -1
    return found


def small(text: str) -> int:
    """A code from 0 to 254; 255 where it is none."""
    return int(text) if text.isdecimal() and int(text) < 255 else 255
