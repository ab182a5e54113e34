"""The member-years of a block of people, and claims as they are drawn for them.

Every claim begins and ends in one enrolled calendar month; a day is given as its place among the
days of the year's months that count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.synth.changes import Changes
from ihp_compute.synth.codes import CONDITIONS
from ihp_compute.synth.columns import Array, Ints
from ihp_compute.synth.lognormal import Floats
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import MONTHS_BEFORE, People, clinic_of

DISPOSITIONS: Final = ("01", "02", "03", "06", "07", "20", "30")
"""Where a patient went: home, another acute hospital, a nursing facility, home with nursing, left
against advice, died, still a patient."""
HOME, TRANSFERRED, DIED = (DISPOSITIONS.index(code) for code in ("01", "02", "20"))
NOT_STATED: Final = -1


@dataclass
class MemberYears:
    """Member-years of a block: row 2 * member + year."""

    people: People
    member: Ints  # global index
    year: Ints
    mix: Array
    days: NDArray[np.int32]  # [n, 12] enrolled days of each month that counts
    skip: NDArray[np.int32]  # [n, 12] days of the month before the first enrolled one
    total_days: Ints

    @cached_property
    def need_usd(self) -> Floats:
        """What each needs, in dollars of the base year."""
        return self.people.need_cents[self.member, self.year] / 100

    @cached_property
    def changes(self) -> Changes:
        """By how much each has more of some care, or dearer care."""
        return Changes.of(self.people, self.member, self.year)

    @classmethod
    def of(cls, people: People, first: int, stop: int) -> MemberYears:
        """Both years of members `first` to `stop`."""
        member = np.repeat(np.arange(first, stop), 2)
        year = np.tile(np.array([0, 1]), stop - first)
        calendar = people.calendar
        lengths, starts = calendar.lengths, calendar.first_days[:-1]
        columns = (MONTHS_BEFORE + 12 * year)[:, None] + np.arange(12)
        rows = member[:, None]
        enrolled = people.countable[rows, columns]
        begin = starts[columns]
        birth, death = people.birth_day[member][:, None], people.death_day[member][:, None]
        skip = np.clip(birth - begin, 0, lengths[columns] - 1) * enrolled
        end = lengths[columns]
        dies = death > birth
        end = np.where(dies, np.clip(death - begin + 1, 1, end), end)
        days = np.maximum(end - skip, 1) * enrolled
        aid = people.aid[member, MONTHS_BEFORE + 12 * year + 6]
        mix = np.array([0, 1, 1, 2, 0, 1])[aid]
        return cls(
            people, member, year, mix, days.astype(np.int32), skip.astype(np.int32),
            days.sum(1, dtype=np.int64),
        )  # fmt: skip

    def place(self, row: Ints, day_index: Ints) -> tuple[Ints, Ints, Ints]:
        """Window column, day of the month (from 0) and days left in it, of an enrolled day."""
        left = day_index.copy()
        month = np.zeros(len(row), np.int64)
        open_ = np.ones(len(row), bool)
        for k in range(11):
            days = self.days[row, k]
            open_ &= left >= days
            left -= np.where(open_, days, 0)
            month += open_
        column = MONTHS_BEFORE + 12 * self.year[row] + month
        return column, self.skip[row, month] + left, self.days[row, month] - 1 - left

    def find(self, row: Ints, day: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Window column and day of the month of days, and whether each counts in its year."""
        calendar = self.people.calendar
        column = np.searchsorted(calendar.first_days, day, side="right") - 1
        month = column - (MONTHS_BEFORE + 12 * self.year[row])
        counts = (month >= 0) & (month < 12)
        month = np.where(counts, month, 0)
        place = day - calendar.first_days[column]
        begin = self.skip[row, month]
        counts &= (place >= begin) & (place < begin + self.days[row, month])
        return column, place, counts


@dataclass
class Claims:
    """Claims as parallel arrays."""

    row: Ints  # member-year
    template: Ints
    column: Ints  # window month
    day: Ints  # of the month, from 0
    length: Ints  # days after the first
    rendering: Ints  # position in Network.npis, or -1
    billing: Ints
    disposition: Ints  # of a stay, place in DISPOSITIONS, or NOT_STATED

    @classmethod
    def of_a_day(
        cls, row: Ints, template: Ints, column: Ints, day: Ints, rendering: Ints, billing: Ints
    ) -> Claims:
        """Claims of one day that are no stay."""
        none = np.full(len(row), NOT_STATED, np.int64)
        return cls(row, template, column, day, row * 0, rendering, billing, none)

    def __len__(self) -> int:
        """Claims."""
        return len(self.row)

    @classmethod
    def join(cls, parts: list[Claims]) -> Claims:
        """All claims of the parts."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )

    def sorted(self) -> Claims:
        """By member-year and day."""
        day = (self.row * 64 + self.column) * 32 + self.day
        return self.take(np.argsort(day, kind="stable"))

    def take(self, order: Array) -> Claims:
        """The claims at these positions."""
        return Claims(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


def conditions_of(years: MemberYears) -> NDArray[np.bool_]:
    """Conditions of each member-year: bool[n, len(CONDITIONS)]."""
    bits = years.people.conditions[years.member, years.year]
    places = np.arange(len(CONDITIONS), dtype=np.uint64)
    return ((bits[:, None] >> places) & np.uint64(1)).astype(bool)


def clinician(rng: np.random.Generator, net: Network, group: Ints, kind: int | Ints) -> Ints:
    """Clinicians of a kind, one for each group given: positions in `Network.npis`."""
    return net.first[group, kind] + (rng.random(len(group)) * net.count[group, kind]).astype(
        np.int64
    )


def distinct_days(rng: np.random.Generator, n: Ints, days: Ints) -> tuple[Ints, Ints]:
    """Days of events, one in each of as many equal parts of the days: no two on one.

    Parameters
    ----------
    rng : numpy.random.Generator
    n : int64[k]
        Events of each of k, at most `days`.
    days : int64[k]
        Days of each.

    Returns
    -------
    which, day : int64[n.sum()]
        Whose event it is, and its place among the days.
    """
    which = np.repeat(np.arange(len(n)), n)
    part = np.arange(len(which)) - np.repeat(np.cumsum(n) - n, n)
    low = part * days[which] // n[which]
    high = (part + 1) * days[which] // n[which]
    return which, low + (rng.random(len(which)) * (high - low)).astype(np.int64)


def own_clinician(years: MemberYears, net: Network, rows: Ints) -> Ints:
    """The clinician whom the members of these member-years see for a year."""
    group, kind, place = clinic_of(years.people, years.member[rows], years.year[rows])
    return net.first[group, kind] + place
