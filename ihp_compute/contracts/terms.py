"""A term with its dated values, each with basis and source; and what another value by path makes.

A value given from outside holds whatever the year, on a basis of its own: supplied, with the source
that was given, if one was.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import msgspec

from ihp_compute.contracts import completion, kinds, values
from ihp_compute.contracts.kinds import CARRIED, SUPPLIED, Kind
from ihp_compute.contracts.values import Band, TermError, parse, text_of
from ihp_compute.contracts.vocabulary import KINDS, POLICY_PREFIX, kind_of, prefix_of


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value stands: a key of the file's [sources], and the place in that document."""

    doc: str
    at: str
    quote: str = ""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source document."""

    title: str
    url: str = ""
    dated: date | None = None
    retrieved: date | None = None
    sha256: str = ""
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """One dated value of a term.

    `first` None holds always; `contract_year` n holds from the n-th performance year of the
    agreement; `cells` names the rate cells, all when empty.
    """

    value: Any
    first: date | None
    last: date | None
    contract_year: int | None
    cells: tuple[str, ...]
    basis: str
    source: Source
    note: str = ""

    def begun(self, year: int) -> bool:
        """Whether the value holds from a performance year or an earlier one."""
        return self.first is None or self.first.year <= year

    def covers(self, year: int) -> bool:
        """Whether the value's source speaks of a performance year."""
        return self.begun(year) and (self.last is None or year <= self.last.year)


@dataclass(frozen=True)
class Term:
    """A term of a contract: its path, kind and dated values in order."""

    path: str
    kind: Kind
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Value:
    """A term as it stands in one year."""

    path: str
    value: Any
    unit: str
    basis: str
    source: Source
    first: date | None
    last: date | None
    note: str = ""

    @property
    def citation(self) -> str:
        """Document and place, as results print it."""
        if self.basis == SUPPLIED and not self.source.at:
            return "supplied beside the contract"
        ended = f" (until {self.last})" if self.basis == CARRIED else ""
        return f"{self.source.doc}: {self.source.at}{ended}"


def digest_of(
    name: str, terms: Mapping[str, Term], identity: Callable[[str, Any], str] | None = None
) -> str:
    """SHA-256 of every value with its dates, unit, source and basis; not of a file's bytes.

    Parameters
    ----------
    name : str
        Of the file.
    terms : mapping of path to Term
    identity : callable, optional
        A value as the digest has it, by path; as it is written unless given.
    """
    rows = [
        [
            path,
            term.kind.unit,
            [
                [
                    identity(path, e.value) if identity else text_of(e.value),
                    str(e.first), str(e.last), str(e.contract_year),
                    list(e.cells), e.basis, e.source.doc, e.source.at,
                ]
                for e in term.entries
            ],
        ]
        for path, term in sorted(terms.items())
    ]  # fmt: skip
    text = json.dumps([name, rows], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def overridden(
    terms: Mapping[str, Term], path: str, raw: Any, source: Source, contract: str
) -> dict[str, Term]:
    """The terms that another value by path changes; moving a band's edge moves its neighbour's.

    A weight or an end of a quality measure is there once it is given; a policy adjustment is not,
    as its place among the others decides what it does.

    Raises
    ------
    TermError
        If the contract has no such path, or the value does not fit its term.
    """
    band = split_band_path(path)
    if band is not None:
        holder, name, edge = band
        term = terms[holder]
        entries = tuple(
            replace(e, value=_moved(e.value, name, edge, raw), basis=SUPPLIED, source=source)
            for e in term.entries
        )
        return {holder: replace(term, entries=entries)}
    named = prefix_of(path)
    kind = kind_of(path) if named and named != POLICY_PREFIX else None
    if path in terms:
        kind = terms[path].kind
    if kind is None:
        raise TermError(f"no such path in {contract}; {near(path, terms)}")
    entry = Entry(parse(kind, raw), None, None, None, (), SUPPLIED, source)
    return {path: Term(path, kind, (entry,))}


def split_band_path(path: str) -> tuple[str, str, str] | None:
    """(path of the bands, band, field) of a path to a band's edge or share, else None.

    >>> split_band_path("settlement.gain.bands.inner.below")
    ('settlement.gain.bands', 'inner', 'below')
    """
    parts = path.rsplit(".", 2)
    if len(parts) == 3 and parts[0] in KINDS and KINDS[parts[0]].form == "bands":
        return parts[0], parts[1], parts[2]
    return None


def _moved(bands: tuple[Band, ...] | None, name: str, edge: str, raw: Any) -> tuple[Band, ...]:
    """The bands with one edge or share replaced; a neighbour's edge moves along."""
    names = [band.name for band in bands or ()]
    if name not in names or edge not in values.BAND_FIELDS:
        raise TermError(
            f"no such band or field; bands are {', '.join(names) or 'none'}, "
            f"fields {', '.join(values.BAND_FIELDS)}"
        )
    value = None if raw == kinds.NONE and edge == "below" else values.bounded(raw)
    moved = list(bands or ())
    i = names.index(name)
    fields: dict[str, Any] = {edge: value}
    moved[i] = replace(moved[i], **fields)
    if edge == "below" and i + 1 < len(moved):
        if value is None:
            raise TermError(f"found none, expected a number: band {names[i + 1]} lies beyond")
        moved[i + 1] = replace(moved[i + 1], above=value)
    if edge == "above" and i > 0:
        moved[i - 1] = replace(moved[i - 1], below=value)
    return values.check_bands(moved)


def near(path: str, known: Iterable[str]) -> str:
    """What a user may have meant by a path that does not exist."""
    close = difflib.get_close_matches(path, list(known), n=2)
    return (
        f"did you mean {' or '.join(close)}?" if close else "`ihp contracts show` lists the paths"
    )


def given_by(own: Mapping[str, Term]) -> Term | None:
    """The method of completion of terms that state a factor and no method: `given`.

    It holds when the factor does, by the same source.
    """
    if completion.METHOD in own:
        return None
    for path in completion.FACTORS:
        stated = own.get(path)
        if stated is not None and any(entry.value is not None for entry in stated.entries):
            entries = tuple(replace(entry, value=completion.GIVEN) for entry in stated.entries)
            return Term(completion.METHOD, KINDS[completion.METHOD], entries)
    return None
