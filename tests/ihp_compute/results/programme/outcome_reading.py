"""The same outcomes by the slow way: exact fractions, member by member, in plain loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

ZERO = Fraction(0)


class Person(NamedTuple):
    """One member, one measure, by year: base, performance."""

    group: tuple[int, int]
    stratum: tuple[int, int]
    n: tuple[int, int]
    d: tuple[int, int]
    e: tuple[Fraction, Fraction]


def over(a: Fraction | int, b: Fraction | int) -> Fraction:
    """A quotient, 0 by nothing."""
    return Fraction(a) / b if b else ZERO


class Slot(NamedTuple):
    """People of some groups in a stratum and year, and what they are counted over."""

    groups: frozenset[int]
    stratum: int
    year: int
    basis: str

    def has(self, person: Person) -> bool:
        """Whether a person is one of them."""
        year = self.year
        return person.group[year] in self.groups and person.stratum[year] == self.stratum

    def over(self, person: Person) -> Fraction:
        """Denominator, or what is expected."""
        return Fraction(person.d[self.year]) if self.basis == "crude" else person.e[self.year]

    def sums(self, people: Iterable[Person]) -> tuple[Fraction, Fraction]:
        """Numerator, and what it is over."""
        inside = [person for person in people if self.has(person)]
        return (
            Fraction(sum(person.n[self.year] for person in inside)),
            sum((self.over(person) for person in inside), ZERO),
        )

    def rate(self, people: Sequence[Person]) -> Fraction:
        """One over the other."""
        return over(*self.sums(people))

    def error_squared(self, people: Sequence[Person]) -> Fraction:
        """Σ (n - rate b)² over B²."""
        rate, (_, whole) = self.rate(people), self.sums(people)
        return sum(
            (over(p.n[self.year] - rate * self.over(p), whole) ** 2 for p in people if self.has(p)),
            ZERO,
        )

    def moves(self, people: Sequence[Person]) -> Callable[[Person], Fraction]:
        """What each person moves the logarithm of the rate by: n / N - b / B."""
        events, whole = self.sums(people)

        def of(person: Person) -> Fraction:
            if not self.has(person):
                return ZERO
            return over(person.n[self.year], events) - over(self.over(person), whole)

        return of


class Change(NamedTuple):
    """A change against a comparator."""

    own: Fraction
    other: Fraction
    square: Fraction
    events: Fraction


def change(
    people: Sequence[Person],
    groups: frozenset[int],
    others: frozenset[int],
    stratum: int,
    basis: str,
    other_stratum: int | None = None,
) -> Change:
    """By the four rates, and the square of what each member moves of all of them together."""
    theirs = stratum if other_stratum is None else other_stratum
    own = [Slot(groups, stratum, year, basis) for year in (0, 1)]
    other = [Slot(others, theirs, year, basis) for year in (0, 1)]
    signs = [(own[1], 1), (own[0], -1), (other[1], -1), (other[0], 1)]
    moves = [(slot.moves(people), sign) for slot, sign in signs]
    square = sum((sum((sign * move(p) for move, sign in moves), ZERO) ** 2 for p in people), ZERO)
    own_change = over(own[1].rate(people), own[0].rate(people)) - 1
    other_change = over(other[1].rate(people), other[0].rate(people)) - 1
    n, whole = own[1].sums(people)
    events = n - own[0].rate(people) * (1 + other_change) * whole
    return Change(own_change, other_change, square, events)
