"""Which clean claims meet which history, and the rows that come of it with their known fates.

    lines -> a kind for some claims, lines and members -> rows, clean and planted -> answers

A planted row is the place of the clean line behind it and the marks that tell it apart. What the
kinds are is declared in `histories`; which columns the rows become, in `raw_claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ledger import IngestFate
from ihp_compute.synth.answers import Answers
from ihp_compute.synth.codes import ASSESSMENT, DENIED_VISIT, VOIDED_VISIT
from ihp_compute.synth.columns import Array, Ints, keeps_amount
from ihp_compute.synth.histories import (
    FILLERS,
    FREQUENCIES,
    LEAST_CENTS,
    LETTERS,
    MARKS,
    PLACE,
    PLANTED,
    Version,
)
from ihp_compute.synth.lines import Lines
from ihp_compute.synth.shapes import SHAPES

Small = NDArray[np.int8]
Flags = NDArray[np.bool_]

NONE: Final = -1
LINE_HEADER: Final = -2
"""Of a row's line: 0 or none."""
DATES: Final = ("", "start", "end")
_DAYS_OF_A_FILE: Final = 28
"""A file holds what was paid in so many days; the next may repeat a row."""
_BY_CLAIM: Final = ("any", "paid", "several", "institutional", "apart", "no stay", "stay")
_DRAWN: Final = {"visit_voided": VOIDED_VISIT, "visit_denied": DENIED_VISIT}
"""Kinds of claims that are drawn for them, with the role of those."""
_SHARED_NUMBERS: Final = (PLACE["number_of_two_years"], PLACE["number_of_two_years_replaced"])


@dataclass(frozen=True)
class Marks:
    """What the rows of one version have alike; int8 arrays of one length.

    fate : `IngestFate` that a row must meet
    bears, names : place in `LETTERS` of its number's letter and of the number named, or `NONE`
    spelling, mark, frequency, dates : places in `SPELLINGS`, `MARKS` (or `NONE`), `FREQUENCIES` and
        `DATES`
    """

    fate: Small
    bears: Small
    names: Small
    spelling: Small
    mark: Small
    frequency: Small
    dates: Small


@dataclass(frozen=True)
class Rows:
    """Rows of claims, each a clean line and what tells it apart; arrays of one length.

    pick : place of the clean line
    kind : place in `PLANTED` of the history that it belongs to, or `NONE`
    number : digits of its number
    line : from 0, or `LINE_HEADER`
    filler : place in `FILLERS`, or `NONE`
    shift : days of service, after those of the clean line
    """

    pick: Ints
    kind: Small
    number: Ints
    line: Small
    filler: Small
    is_blank: Flags
    shift: NDArray[np.int32]
    paid_day: NDArray[np.int32]
    file_day: NDArray[np.int32]
    paid_cents: Ints
    allowed_cents: Ints
    other_plan: Flags
    is_denied: Flags
    is_stranger: Flags
    marks: Marks

    def __len__(self) -> int:
        """Rows."""
        return len(self.pick)

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        """All rows of the parts."""
        return _by_column(np.concatenate, parts)

    def take(self, order: Array) -> Rows:
        """The rows at these places, or where these flags are set."""
        return _by_column(lambda columns: columns[0][order], [self])


def _by_column(make: Callable[[list[Array]], Array], parts: list[Rows]) -> Rows:
    """Rows of which each column is made of those of the parts."""
    marks = [part.marks for part in parts]
    columns = {
        field.name: make([getattr(part, field.name) for part in parts])
        for field in fields(Rows)
        if field.name != "marks"
    }
    of_marks = [make([getattr(part, field.name) for part in marks]) for field in fields(Marks)]
    return Rows(**columns, marks=Marks(*of_marks))


@dataclass(frozen=True)
class Planted:
    """Rows of a block, those that can be read and those that cannot, and their answers."""

    rows: Rows
    unreadable: Rows
    answers: Answers


def plant(rng: np.random.Generator, lines: Lines, through_day: int) -> Planted:
    """Clean rows and planted ones, of those paid through a day."""
    draw = _Draw(rng, lines, through_day)
    planted = (
        draw.rows(place, version) for place, kind in enumerate(PLANTED) for version in kind.planted
    )
    rows = Rows.join([draw.clean_rows(), *planted])
    rows = rows.take(rows.paid_day <= through_day)
    wrong = rows.marks.fate == IngestFate.UNREADABLE
    readable, unreadable = rows.take(~wrong), rows.take(wrong)
    return Planted(readable, unreadable, draw.answers(readable, unreadable))


class _Draw:
    """A kind for some claims, lines and members of a block, and their rows."""

    def __init__(self, rng: np.random.Generator, lines: Lines, through_day: int) -> None:
        self.lines, self.through_day = lines, through_day
        claims = lines.claims
        self.first = np.searchsorted(lines.claim, np.arange(len(claims) + 1))
        self.number = lines.number.copy()
        self.scopes = self._scopes()
        self.kind = self._kinds(rng)
        self.away, self.shift = self._away(rng)
        self._number_anew()
        doubled = rng.random(len(lines.claim)) < _share("duplicate")
        is_free = (self.kind == NONE) & (self.partner_kind == NONE)
        self.doubled = np.flatnonzero(doubled & is_free[lines.claim])
        self.filler = np.where(is_free, self._fillers(rng), NONE).astype(np.int8)

    # -- which

    def _kinds(self, rng: np.random.Generator) -> Small:
        """Kind of each claim, of those that befall claims by themselves."""
        places = [place for place, kind in enumerate(PLANTED) if kind.scope in _BY_CLAIM]
        edges = np.cumsum([PLANTED[place].share for place in places])
        draw = np.searchsorted(edges, rng.random(len(self.lines.claims)), side="right")
        kind = np.append(places, NONE)[draw].astype(np.int8)
        for place in places:
            kind[(kind == place) & ~self.scopes[PLANTED[place].scope]] = NONE
        for name, role in _DRAWN.items():
            kind[(SHAPES.role == role)[self.lines.claims.template]] = PLACE[name]
        return kind

    def _scopes(self) -> Mapping[str, Flags]:
        lines, claims = self.lines, self.lines.claims
        template = claims.template
        least = np.where(lines.third_party_cents > 0, 0, lines.paid_cents)
        paid = np.minimum.reduceat(least, self.first[:-1]) >= LEAST_CENTS
        institution = SHAPES.form == SHAPES.forms.index("institutional")
        clinic = SHAPES.place == SHAPES.places.index("53")
        apart = np.isin(SHAPES.role, ["other", "extra", "drug"]) & ~institution & ~clinic
        stay = SHAPES.is_stay[template]
        spared = (SHAPES.role == ASSESSMENT)[template]
        paid &= ~spared
        return {
            "any": ~spared,
            "paid": paid,
            "several": paid & (np.diff(self.first) > 1),
            "institutional": paid & institution[template],
            "apart": paid & apart[template],
            "no stay": paid & ~stay,
            "stay": stay,
        }

    def _away(self, rng: np.random.Generator) -> tuple[Ints, NDArray[np.int32]]:
        """Claims that stand once more in a month without enrolment, and how many days away."""
        lines = self.lines
        enrolled = lines.people.enrolled[lines.member]
        draw = rng.random(len(lines.claims))
        away = ~enrolled.all(1)
        share = _share("outside_eligibility") / max(float(away.mean()), 1e-9)
        chosen = np.flatnonzero(away & (draw < min(share, 0.5)))
        u = rng.random((len(chosen), enrolled.shape[1]))
        column = np.where(enrolled[chosen], -1.0, u).argmax(1)
        shift = np.zeros(len(lines.claims), np.int32)
        shift[chosen] = lines.people.calendar.first_days[column] + 9 - lines.start_day[chosen]
        return chosen, shift

    def _number_anew(self) -> None:
        """Claims of the second year take the number of one of their member's first year."""
        lines, claims, kind = self.lines, self.lines.claims, self.kind
        chosen = np.flatnonzero(np.isin(kind, _SHARED_NUMBERS))
        is_drug = SHAPES.is_drug[claims.template]
        key = claims.row * 2 + is_drug
        free = np.flatnonzero((kind == NONE) & (claims.row % 2 == 0) & self.scopes["paid"])
        known, at = np.unique(key[free], return_index=True)
        wanted = key[chosen] - 2  # of the year before
        place = np.searchsorted(known, wanted)
        met = (claims.row[chosen] % 2 == 1) & (np.append(known, -9)[place] == wanted)
        kind[chosen[~met]] = NONE
        chosen, partner = chosen[met], free[at[place[met]]]
        same_plan = lines.plan[chosen] == lines.plan[partner]
        first = np.zeros(len(chosen), bool)
        first[np.unique(partner, return_index=True)[1]] = True
        kept = same_plan & first
        kind[chosen[~kept]] = NONE
        chosen, partner = chosen[kept], partner[kept]
        self.number[chosen] = lines.number[partner]
        self.partner_kind = np.full(len(claims), NONE, np.int8)
        self.partner_kind[partner] = kind[chosen]

    def _fillers(self, rng: np.random.Generator) -> Small:
        """Filler of each claim, of some members."""
        lines = self.lines
        n = int(lines.years.member[-1]) + 1 - int(lines.years.member[0])
        drawn = rng.integers(0, len(FILLERS), n)
        of_member = np.where(rng.random(n) < _share("fillers"), drawn, NONE).astype(np.int8)
        return of_member[lines.member - lines.years.member[0]]

    # -- rows

    def clean_rows(self) -> Rows:
        """Every clean line, with the marks of the history in which it stands."""
        lines = self.lines
        n = len(lines.claim)
        no = np.zeros(n, bool)
        is_denied = np.zeros(len(lines.claims), bool)
        by_claim = [
            np.full(len(lines.claims), value, np.int8)
            for value in _marks_of(Version(IngestFate.RETAINED))
        ]
        part = np.where(self.filler >= 0, PLACE["fillers"], NONE).astype(np.int8)
        part = np.where(self.partner_kind >= 0, self.partner_kind, part)
        paid = lines.paid_cents.copy()
        for place, kind in enumerate(PLANTED):
            if kind.clean is None:
                continue
            chosen = np.flatnonzero(self.kind == place)
            part[chosen] = place
            for values, value in zip(by_claim, _marks_of(kind.clean), strict=True):
                values[chosen] = value
            is_denied[chosen] = kind.clean.is_denied
            by_claim[0][chosen] = self._fate(kind.clean, chosen)
            at = self._lines_of(chosen)
            paid[at] = kind.clean.amount(paid[at])
            paid[self.first[chosen]] += kind.clean.first_cents
        of_line = part[lines.claim]
        of_line[self.doubled] = PLACE["duplicate"]
        paid_day = lines.paid_day[lines.claim]
        return Rows(
            pick=np.arange(n),
            kind=of_line,
            number=self.number[lines.claim],
            line=lines.line.astype(np.int8),
            filler=self.filler[lines.claim],
            is_blank=lines.blank,
            shift=np.zeros(n, np.int32),
            paid_day=paid_day,
            file_day=_file_day(paid_day),
            paid_cents=paid,
            allowed_cents=lines.allowed_cents,
            other_plan=no,
            is_denied=is_denied[lines.claim],
            is_stranger=no,
            marks=Marks(*(values[lines.claim] for values in by_claim)),
        )

    def rows(self, place: int, version: Version) -> Rows:
        """Rows of one version of a kind, of all claims that it befell."""
        lines, first = self.lines, self.first
        if PLANTED[place].scope == "line":
            chosen, pick = lines.claim[self.doubled], self.doubled
        else:
            is_away = PLANTED[place].scope == "away"
            chosen = self.away if is_away else np.flatnonzero(self.kind == place)
            pick = self._lines_of(chosen)
        cents = version.amount(lines.paid_cents[pick])
        allowed = lines.allowed_cents[pick]
        if version.what == "header":
            starts = np.searchsorted(pick, first[chosen])
            cents, allowed = (np.add.reduceat(v, starts) if len(v) else v for v in (cents, allowed))
            pick = first[chosen]
        elif version.what != "lines":
            at = {
                "first": lines.line[pick] == 0,
                "rest": lines.line[pick] > 0,
                "next": pick + 1 == first[lines.claim[pick] + 1],
            }[version.what]
            pick, cents, allowed = pick[at], cents[at], allowed[at]
        claim = lines.claim[pick]
        line = lines.line[pick]
        n_lines = first[claim + 1] - first[claim]
        if version.what == "header":
            line = line * 0 + LINE_HEADER
        elif version.what == "next":
            line = n_lines
        elif version.is_renumbered:
            line = line + n_lines
        n = len(pick)
        shift = self.shift[claim] * (PLANTED[place].scope == "away")
        paid_day = lines.paid_day[claim] + version.days + shift
        _, *others = _marks_of(version)
        marks = [self._fate(version, claim), *(np.full(n, value, np.int8) for value in others)]
        clean_number = version.bears == "C"
        return Rows(
            pick=pick,
            kind=np.full(n, place, np.int8),
            number=(self.number if clean_number else lines.number)[claim],
            line=line.astype(np.int8),
            filler=self.filler[claim] if clean_number else np.full(n, NONE, np.int8),
            is_blank=lines.blank[pick] & (cents == 0),
            shift=shift,
            paid_day=paid_day,
            file_day=_file_day(paid_day) + version.later_file * _DAYS_OF_A_FILE,
            paid_cents=cents,
            allowed_cents=np.where(cents < 0, -allowed, allowed),
            other_plan=np.full(n, version.other_plan),
            is_denied=np.full(n, version.is_denied),
            is_stranger=np.full(n, version.is_stranger),
            marks=Marks(*marks),
        )

    def _fate(self, version: Version, claim: Array) -> Small:
        """What becomes of a version's rows, of these claims, through the day of the state."""
        fate = np.full(len(claim), version.fate, np.int8)
        for before, days in reversed(version.until):
            fate[self.lines.paid_day[claim] + days > self.through_day] = before
        return fate

    def _befallen(self, *parts: Rows) -> Ints:
        """Claims that met each kind, of those with rows that are paid."""
        claim = self.lines.claim
        is_here = np.zeros(len(self.lines.claims), bool)
        is_away = is_here.copy()
        for rows in parts:
            of = claim[rows.pick]
            away = rows.kind == PLACE["outside_eligibility"]
            is_here[of[~away]] = True
            is_away[of[away]] = True
        kind = self.kind[is_here]
        found = np.bincount(kind[kind >= 0], minlength=len(PLANTED))
        found[PLACE["duplicate"]] = is_here[np.unique(claim[self.doubled])].sum()
        found[PLACE["outside_eligibility"]] = is_away.sum()
        found[PLACE["fillers"]] = (is_here & (self.filler >= 0)).sum()
        return found

    def _lines_of(self, chosen: Array) -> Ints:
        """Lines of claims, in the claims' order."""
        counts = self.first[chosen + 1] - self.first[chosen]
        begin = np.repeat(self.first[chosen], counts)
        return begin + np.arange(len(begin)) - np.repeat(np.cumsum(counts) - counts, counts)

    def answers(self, readable: Rows, unreadable: Rows) -> Answers:
        """What must come out of these rows."""
        is_drug = SHAPES.is_drug[self.lines.claims.template][self.lines.claim]
        cents = unreadable.paid_cents.copy()
        for pharmacy in (False, True):  # each table by itself
            at = np.flatnonzero(is_drug[unreadable.pick] == pharmacy)
            cents[at[~keeps_amount(len(at))]] = 0
        return Answers.of(
            self._befallen(readable, unreadable),
            *(
                (is_drug[rows.pick], rows.marks.fate, rows.kind, paid)
                for rows, paid in ((readable, readable.paid_cents), (unreadable, cents))
            ),
        )


def _share(name: str) -> float:
    return PLANTED[PLACE[name]].share


def _file_day(paid_day: NDArray[np.int32]) -> NDArray[np.int32]:
    return (paid_day // _DAYS_OF_A_FILE + 1) * np.int32(_DAYS_OF_A_FILE)


def _marks_of(version: Version) -> tuple[int, ...]:
    """What every row of a version has alike, in the order of `Marks`."""
    names = version.names or (version.bears if version.is_adjustment else "")
    return (
        version.fate,
        LETTERS.index(version.bears),
        LETTERS.index(names) if names else NONE,
        version.spelling,
        MARKS.index(version.mark) if version.mark else NONE,
        FREQUENCIES.index(version.frequency),
        DATES.index(version.dates),
    )
