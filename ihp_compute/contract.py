"""Contracts as data: read, check, date, override, identify.

    file (+ the contract it extends) -> terms, each with unit, dates, source, basis
                                     -> overrides by path -> the agreement of one year

A file is TOML. A value stands with its unit, the date from which it holds, its source (document and
place) and its basis; a term whose value changes lists `values`, by date, by contract year or by
rate cell. `extends` takes every term that the file does not give from another contract: a family
of tracks is one full file and short ones that say how they differ. Nothing has a default in code.

A contract set says which partnership of a state has which contract, with its own values by path.

Not here: which terms there are (`terms`), what they do (`target`, `settlement`).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ihp_compute import terms as vocabulary
from ihp_compute.attribution import AttributionTerms
from ihp_compute.cost import CostTerms
from ihp_compute.errors import ContractError
from ihp_compute.terms import (
    DRAFT_BASES,
    KINDS,
    NONE,
    Band,
    Kind,
    TermError,
    kind_of,
    parse,
    text_of,
)
from ihp_compute.units import cents_of, micro_of

FOLDER: Final = Path(__file__).resolve().parent / "contracts"
UNBOUND: Final = "unbound"
"""The file that shipped contracts extend in the end: each term at the value that does nothing."""
SUPPLIED: Final = "supplied"
"""Source document of a value given by a user beside the contract."""
MODIFIERS: Final = {
    "settlement.withhold.applies_to": "settlement.withhold.rate",
    "settlement.gain.counting": "settlement.gate.gain_rate",
    "settlement.loss.counting": "settlement.gate.loss_rate",
}
"""Terms that say something only where another binds."""

Basis = Literal["statute", "contract", "published", "recalled", "assumed"]


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


class _FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Any
    from_: date = msgspec.field(name="from")
    until: date | None = None
    contract_year: int | None = None
    cells: list[str] | None = None
    basis: Basis | None = None
    source: Source | None = None
    note: str = ""


class _FileTerm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit: str
    value: Any = msgspec.UNSET
    values: list[_FileEntry] | None = None
    from_: date | None = msgspec.field(name="from", default=None)
    until: date | None = None
    basis: Basis | None = None
    source: Source | None = None
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

    def covers(self, year: int) -> bool:
        """Whether the value holds in a performance year."""
        return (self.first is None or self.first.year <= year) and (
            self.last is None or year <= self.last.year
        )


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
        return f"{self.source.doc}: {self.source.at}"


@dataclass(frozen=True)
class RiskTerms:
    """How sickness enters the target."""

    model: str
    normalise: str | None
    missing: str


@dataclass(frozen=True)
class Contract:
    """A contract over all its years.

    Attributes
    ----------
    name, title, programme : str
    file : str
        The file's name, for messages; no folder.
    documents : mapping of key to Document
    terms : mapping of path to Term
        Every path of `terms.KINDS`, and the policy adjustments that the contract names.
    overrides : mapping of path to text
        Values given beside the file.
    """

    name: str
    title: str
    programme: str
    file: str
    summary: str
    documents: Mapping[str, Document]
    terms: Mapping[str, Term]
    overrides: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Digest of every value with its dates, unit, source and basis; not of the file's bytes."""
        rows = [
            [
                path,
                term.kind.unit,
                [
                    [
                        text_of(e.value), str(e.first), str(e.last), str(e.contract_year),
                        list(e.cells), e.basis, e.source.doc, e.source.at,
                    ]
                    for e in term.entries
                ],
            ]
            for path, term in sorted(self.terms.items())
        ]  # fmt: skip
        text = json.dumps([self.name, rows], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def at(self, year: int | None) -> Agreement:
        """The agreement of a performance year; None takes the latest values.

        Raises
        ------
        ContractError
            If a term has no value for the year.
        """
        first = self._pick("agreement.first_performance_year", year, None).value
        return Agreement(self, year, {path: self._pick(path, year, first) for path in self.terms})

    def _pick(self, path: str, year: int | None, first_year: int | None, cell: str = "") -> Value:
        term = self.terms[path]
        fitting = [e for e in term.entries if not e.cells or not cell or cell in e.cells]
        if year is None:
            latest = max(e.first or date.min for e in fitting)
            fitting = [e for e in fitting if (e.first or date.min) == latest]
        else:
            fitting = [e for e in fitting if e.covers(year)]
        if first_year is not None and year is not None:
            so_far = year - first_year + 1
            fitting = [e for e in fitting if e.contract_year is None or e.contract_year <= so_far]
        if not fitting:
            spans = ", ".join(_span(e) for e in term.entries)
            raise ContractError(
                f"{self.file}: {path}: found no value for {year}, expected one; values hold {spans}"
            )
        entry = max(fitting, key=lambda e: (e.contract_year or 0, bool(cell and cell in e.cells)))
        return Value(
            path, entry.value, term.kind.unit, entry.basis, entry.source, entry.first, entry.last,
            entry.note,
        )  # fmt: skip

    def trend(self, year: int, cell: str) -> Value:
        """Trend of a calendar year for a rate cell.

        Raises
        ------
        ContractError
            If the contract has no trend for the year and cell.
        """
        return self._pick("target.trend", year, None, cell)

    def override(self, values: Mapping[str, Any], where: str = "override") -> Contract:
        """The contract with other values, whatever the year.

        Parameters
        ----------
        values : mapping of path to raw value
            Paths of `terms.KINDS`, of policy adjustments, or of a band's edge or share
            (`settlement.gain.bands.inner.below`). Moving an edge moves the neighbour's.
        where : str
            Where the values stand, for messages and as their source.

        Raises
        ------
        ContractError
            If a path does not exist in this contract or a value does not fit its term.
        """
        terms = dict(self.terms)
        told = dict(self.overrides)
        for path, raw in values.items():
            try:
                terms.update(self._overridden(terms, path, raw, where))
            except TermError as error:
                raise ContractError(f"{where}: {path}: {error}") from None
            told[path] = raw if isinstance(raw, str) else text_of(raw)
        return replace(self, terms=terms, overrides=told)

    def _overridden(
        self, terms: Mapping[str, Term], path: str, raw: Any, where: str
    ) -> dict[str, Term]:
        source = Source(SUPPLIED, where)
        band = split_band_path(path)
        if band is not None:
            holder, name, edge = band
            term = terms[holder]
            entries = tuple(
                replace(e, value=_moved(e.value, name, edge, raw), basis="contract", source=source)
                for e in term.entries
            )
            return {holder: replace(term, entries=entries)}
        if path not in terms:
            raise TermError(f"no such path in {self.name}; {_near(path, terms)}")
        term = terms[path]
        value = parse(term.kind, raw)
        entry = Entry(value, None, None, None, (), "contract", source)
        return {path: replace(term, entries=(entry,))}


@dataclass(frozen=True)
class Agreement:
    """A contract as it stands in one performance year: one value a term."""

    contract: Contract
    year: int | None
    values: Mapping[str, Value]

    def __getitem__(self, path: str) -> Any:
        """Value of a term; None stands for `none`."""
        return self.values[path].value

    def value(self, path: str) -> Value:
        """A term with its unit, source and basis."""
        return self.values[path]

    @property
    def name(self) -> str:
        """The contract's name."""
        return self.contract.name

    @property
    def policies(self) -> tuple[Value, ...]:
        """Policy adjustments of the target, in the order of the file."""
        prefix = vocabulary.POLICY_PREFIX
        return tuple(v for path, v in self.values.items() if path.startswith(prefix))

    @property
    def attribution(self) -> AttributionTerms:
        """Terms of attribution."""
        return AttributionTerms(
            min_months_continuous=int(self["attribution.min_months_continuous"]),
            min_months_any=int(self["attribution.min_months_any"]),
            exclude=self["attribution.exclude"],
            steps=self["attribution.steps"],
            keep_pre_visit=self["attribution.keep_pre_visit"],
            tie_break=self["attribution.tie_break"],
        )

    @property
    def cost(self) -> CostTerms:
        """Terms of what counts as cost."""
        cap = self["cost.claim_cap"]
        return CostTerms(
            amount=self["cost.amount"],
            incurred_by=self["cost.incurred_by"],
            zero_paid_encounter=self["cost.zero_paid_encounter"],
            floor_at_zero=self["cost.floor_at_zero"],
            claim_cap_cents=None if cap is None else cents_of(cap),
            keep_above_cap_micro=micro_of(self["cost.keep_above_cap"] or 0),
            prorate_cap=self["cost.prorate_cap"],
            services=frozenset(self["cost.services"]),
        )

    @property
    def risk(self) -> RiskTerms:
        """Terms of risk adjustment."""
        model = self["risk.model"] or NONE
        return RiskTerms(model, self["risk.normalise"], self["risk.missing"])

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps of the settlement in their order."""
        steps: tuple[str, ...] = self["settlement.steps"]
        return steps

    def terms(self, prefix: str = "") -> list[Value]:
        """Values of the terms under a prefix, in the order of `terms.KINDS`."""
        order = {path: i for i, path in enumerate(KINDS)}
        found = [v for path, v in self.values.items() if path.startswith(prefix)]
        return sorted(found, key=lambda v: (order.get(v.path, len(order)), v.path))

    def draft(self, prefixes: Sequence[str] = ("",)) -> tuple[int, list[str]]:
        """How many terms bind, and which of them are recalled or assumed.

        A term at `none` binds nothing and is not counted, nor is one that only modifies it.
        """
        binding = [
            v
            for v in self.terms()
            if v.value is not None
            and any(v.path.startswith(prefix) for prefix in prefixes)
            and (v.path not in MODIFIERS or self[MODIFIERS[v.path]] is not None)
        ]
        return len(binding), [v.path for v in binding if v.basis in DRAFT_BASES]

    def draft_line(
        self, prefixes: Sequence[str] = ("",), *, given: Iterable[str] = (), named: bool = False
    ) -> str:
        """The first line of a settlement while terms are recalled or assumed; else empty.

        Parameters
        ----------
        prefixes : sequence of str
            Which terms the settlement rests on, by the start of their path.
        given : iterable of str
            Paths that a table gives beside the contract.
        named : bool
            Whether to name the contract, where there are several.
        """
        supplied = set(given)
        n, weak = self.draft(prefixes)
        left = [path for path in weak if path not in supplied]
        if not left:
            return ""
        whose = f" in {self.name}" if named else ""
        return f"DRAFT TERMS: {len(left)} of {n} recalled or assumed{whose}: {', '.join(left)}"


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
    if name not in names or edge not in vocabulary.BAND_FIELDS:
        raise TermError(
            f"no such band or field; bands are {', '.join(names) or 'none'}, "
            f"fields {', '.join(vocabulary.BAND_FIELDS)}"
        )
    value = None if raw == vocabulary.NONE and edge == "below" else vocabulary.decimal_of(raw)
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
    return vocabulary.check_bands(moved)


def _near(path: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(path, list(known), n=2)
    return (
        f"did you mean {' or '.join(close)}?" if close else "`ihp contracts show` lists the paths"
    )


def _span(entry: Entry) -> str:
    first = "always" if entry.first is None else f"from {entry.first.year}"
    return first + ("" if entry.last is None else f" to {entry.last.year}")


# --- reading files --------------------------------------------------------------------------------

_HEAD: Final = ("name", "title", "programme", "summary", "extends", "abstract", "sources")


def names() -> list[str]:
    """Names of the contracts shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != UNBOUND)


def load(name_or_path: str | Path) -> Contract:
    """A contract shipped with the engine, by name, or a user's own, by file.

    Raises
    ------
    ContractError
        If there is no such contract, or the file is wrong: with file, path, what was found and
        what was expected.
    """
    path = Path(name_or_path)
    return _load(path, ()) if path.suffix == ".toml" else _shipped(str(path))


@lru_cache(maxsize=256)
def _shipped(name: str) -> Contract:
    return _load(Path(name), ())


def _load(
    name: Path, seen: tuple[str, ...], folder: Path | None = None, *, extended: bool = False
) -> Contract:
    """Read one file; `extended` tells that another file completes it."""
    path = _locate(name, folder)
    if str(path) in seen:
        raise ContractError(f"{path.name}: extends: found a circle, expected another contract")
    tree = _read(path)
    documents: dict[str, Document] = {}
    terms: dict[str, Term] = {}
    if "extends" in tree:
        named = Path(str(tree["extends"]))
        base = _load(named, (*seen, str(path)), path.parent, extended=True)
        documents, terms = dict(base.documents), dict(base.terms)
    own = {key: _document(path.name, key, raw) for key, raw in _table(path, tree).items()}
    twice = [key for key in own if key in documents and documents[key] != own[key]]
    if twice:
        raise ContractError(
            f"{path.name}: sources.{twice[0]}: found another document under a key of the contract "
            "it extends, expected a new key"
        )
    documents.update(own)
    terms.update(_terms(path.name, tree, documents))
    missing = [p for p in KINDS if p not in terms]
    if missing and not extended:
        raise ContractError(
            f"{path.name}: {missing[0]}: found nothing, expected the term; every path stands in "
            'every contract: give it, with value = "none" if the agreement has no such rule, or '
            f'extends = "{UNBOUND}"'
        )
    for key in ("name", "title", "programme"):
        if not isinstance(tree.get(key), str):
            raise ContractError(f"{path.name}: {key}: found {tree.get(key)}, expected text")
    contract = Contract(
        name=tree["name"],
        title=tree["title"],
        programme=tree["programme"],
        file=path.name,
        summary=str(tree.get("summary", "")),
        documents=documents,
        terms=terms,
    )
    if not extended:
        _check_together(contract)
    return contract


def _locate(name: Path, folder: Path | None) -> Path:
    if name.suffix != ".toml":
        shipped = FOLDER / f"{name}.toml"
        if not shipped.is_file():
            raise ContractError(f"no contract {name}; {_near_name(str(name))}")
        return shipped
    path = name if folder is None or name.is_absolute() else folder / name
    if not path.is_file():
        raise ContractError(f"{path.name}: no such file, expected a contract (.toml)")
    return path


def _near_name(name: str) -> str:
    close = difflib.get_close_matches(name, names(), n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "`ihp contracts list` names them; a file ends in .toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"{path.name}: not TOML: {error}; expected a contract") from None


def _table(path: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    sources = tree.get("sources", {})
    if not isinstance(sources, dict):
        raise ContractError(f"{path.name}: sources: found {sources!r}, expected a table")
    return sources


def _document(file: str, key: str, raw: Any) -> Document:
    try:
        return msgspec.convert(raw, Document, builtin_types=(date, Decimal))
    except msgspec.ValidationError as error:
        raise ContractError(f"{file}: sources.{key}: {_words(error)}") from None


def _words(error: msgspec.ValidationError) -> str:
    """A validation error in the words of the other messages."""
    what, _, where = str(error).replace("`", "").partition(" - at $")
    missing = re.fullmatch(r"Object missing required field (\S+)", what)
    unknown = re.fullmatch(r"Object contains unknown field (\S+)", what)
    kind = re.fullmatch(r"Expected (.+), got (.+)", what)
    choice = re.fullmatch(r"Invalid enum value '(.*)'", what)
    if missing:
        what = f"found no {missing[1]}"
    elif unknown:
        what = f"found unknown key {unknown[1]}"
    elif kind:
        what = f"found {kind[2]}, expected {kind[1]}"
    elif choice:
        what = f"found {choice[1]}, expected {' or '.join(vocabulary.BASES)}"
    where = where.lstrip(".")
    return f"{where}: {what}" if where else what


def _terms(
    file: str, tree: Mapping[str, Any], documents: Mapping[str, Document]
) -> dict[str, Term]:
    found: dict[str, Term] = {}
    branches = {p[: p.rfind(".")] for p in KINDS} | {"target.policy"}
    branches |= {b.split(".")[0] for b in branches}

    def walk(prefix: str, table: Mapping[str, Any]) -> None:
        for key, raw in table.items():
            path = f"{prefix}.{key}" if prefix else key
            if not prefix and key in _HEAD:
                continue
            kind = kind_of(path)
            if kind is not None:
                found[path] = _term(file, path, kind, raw, documents)
            elif path in branches and isinstance(raw, dict):
                walk(path, raw)
            else:
                raise ContractError(f"{file}: {path}: unknown key; {_near(path, KINDS)}")

    walk("", tree)
    return found


def _term(file: str, path: str, kind: Kind, raw: Any, documents: Mapping[str, Document]) -> Term:
    if not isinstance(raw, dict):
        raise ContractError(
            f"{file}: {path}: found {raw}, expected a table with value, unit, from, basis, source"
        )
    try:
        given = msgspec.convert(raw, _FileTerm, builtin_types=(date, Decimal))
    except msgspec.ValidationError as error:
        raise ContractError(f"{file}: {path}: {_words(error)}") from None
    if given.unit != kind.unit:
        raise ContractError(f"{file}: {path}.unit: found {given.unit}, expected {kind.unit}")
    if (given.value is msgspec.UNSET) == (given.values is None):
        raise ContractError(f"{file}: {path}: expected either value or values")
    rows = given.values
    if rows is None:
        if given.from_ is None:
            raise ContractError(f"{file}: {path}: found no from, expected the date it holds from")
        rows = [_FileEntry(given.value, given.from_, given.until, note=given.note)]
    entries = tuple(
        _entry(file, f"{path}.values[{i}]" if given.values else path, kind, given, row, documents)
        for i, row in enumerate(rows)
    )
    if not entries:
        raise ContractError(f"{file}: {path}.values: found an empty list, expected values")
    _check_dates(file, path, entries)
    return Term(path, kind, entries)


def _entry(
    file: str,
    path: str,
    kind: Kind,
    term: _FileTerm,
    row: _FileEntry,
    documents: Mapping[str, Document],
) -> Entry:
    source, basis = row.source or term.source, row.basis or term.basis
    if source is None:
        raise ContractError(f"{file}: {path}: found no source, expected source = {{ doc, at }}")
    if basis is None:
        expected = " or ".join(vocabulary.BASES)
        raise ContractError(f"{file}: {path}: found no basis, expected {expected}")
    if source.doc not in documents:
        raise ContractError(
            f"{file}: {path}.source.doc: found {source.doc}, expected a key of [sources]: "
            f"{', '.join(documents) or 'it is empty'}"
        )
    if not source.at:
        raise ContractError(f"{file}: {path}.source.at: found nothing, expected the place")
    if row.until is not None and row.until < row.from_:
        raise ContractError(
            f"{file}: {path}: found dates out of order, from {row.from_} until {row.until}"
        )
    if row.contract_year is not None and row.contract_year < 1:
        raise ContractError(
            f"{file}: {path}.contract_year: found {row.contract_year}, expected at least 1"
        )
    try:
        value = parse(kind, row.value)
    except TermError as error:
        raise ContractError(f"{file}: {path}.value: {error}") from None
    return Entry(
        value, row.from_, row.until, row.contract_year, tuple(row.cells or ()), basis, source,
        row.note,
    )  # fmt: skip


def _check_dates(file: str, path: str, entries: tuple[Entry, ...]) -> None:
    """Entries that can hold together (same cells, same contract year) are in order and apart."""
    for i, later in enumerate(entries):
        for earlier in entries[:i]:
            apart = later.contract_year != earlier.contract_year or later.cells != earlier.cells
            if apart or later.first is None or earlier.first is None:
                continue
            if later.first <= earlier.first:
                raise ContractError(
                    f"{file}: {path}: found dates out of order, {later.first} after "
                    f"{earlier.first}; expected values by date"
                )
            if earlier.last is None or later.first.year <= earlier.last.year:
                raise ContractError(
                    f"{file}: {path}: found two values for {later.first.year}, expected the "
                    f"earlier one to end (until) before {later.first}"
                )


def _check_together(contract: Contract) -> None:
    """What no single term can say: a gate by size needs its table."""
    table = contract.terms["settlement.gate.size_table"]
    for side in vocabulary.SIDES:
        term = contract.terms[f"settlement.gate.{side}_rate"]
        if any(e.value == vocabulary.SIZE_TABLE for e in term.entries) and all(
            e.value is None for e in table.entries
        ):
            raise ContractError(
                f"{contract.file}: {term.path}: found size_table, expected rows in "
                "settlement.gate.size_table"
            )


# --- contract sets --------------------------------------------------------------------------------


class _SetHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    performance_year: int | None = None
    base_year: int | None = None
    paid_through: date | None = None


class _SetMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    contract: str
    base_pmpm_usd: Decimal | int | None = None
    overrides: dict[str, Any] = {}


class _SetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    set: _SetHead
    default: _SetMember | None = None
    partnerships: dict[str, _SetMember] = {}


@dataclass(frozen=True)
class ContractSet:
    """Which partnership has which contract.

    Attributes
    ----------
    name : str
    contracts : mapping of partnership id to Contract
        In the order of the ids; overrides applied.
    performance_year, base_year : int or None
    paid_through : date or None
        Defaults of a run under this set.
    """

    name: str
    contracts: Mapping[str, Contract]
    performance_year: int | None = None
    base_year: int | None = None
    paid_through: date | None = None

    def at(self, year: int | None) -> dict[str, Agreement]:
        """Each partnership's agreement of a performance year; None takes the latest values."""
        made: dict[str, Agreement] = {}
        cache: dict[int, Agreement] = {}
        for partnership, contract in self.contracts.items():
            if id(contract) not in cache:
                cache[id(contract)] = contract.at(year)
            made[partnership] = cache[id(contract)]
        return made

    def rule_sets(self, year: int) -> tuple[CostTerms, ...]:
        """The distinct cost terms of the set, in the order in which partnerships meet them."""
        return tuple(dict.fromkeys(agreement.cost for agreement in self.at(year).values()))

    def rule_set_of(self, partnership: str, year: int) -> int:
        """Index into `rule_sets` of a partnership's cost terms."""
        return self.rule_sets(year).index(self.at(year)[partnership].cost)

    def attribution(self, year: int) -> AttributionTerms:
        """The attribution terms that all contracts of the set share.

        Raises
        ------
        ContractError
            If they differ: one roster attributes the state once.
        """
        return self._shared("attribution", {p: a.attribution for p, a in self.at(year).items()})

    def risk(self, year: int) -> RiskTerms:
        """The risk terms that all contracts of the set share.

        Raises
        ------
        ContractError
            If they differ.
        """
        return self._shared("risk", {p: a.risk for p, a in self.at(year).items()})

    def _shared(self, what: str, found: Mapping[str, Any]) -> Any:
        distinct = dict.fromkeys(found.values())
        if len(distinct) > 1:
            first, second = list(distinct)[:2]
            one, other = (next(p for p, t in found.items() if t == k) for k in (first, second))
            raise ContractError(
                f"{self.name}: {what}: found different terms for {one} "
                f"({self.contracts[one].name}) and {other} ({self.contracts[other].name}), "
                "expected the same in one run"
            )
        return next(iter(distinct), None)

    @property
    def sha256(self) -> str:
        """Digest over partnerships and their contracts' digests."""
        rows = [[p, c.sha256] for p, c in self.contracts.items()]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def hashes(self) -> dict[str, str]:
        """Digest of each contract; one with its own values carries its partnership in the name."""
        return {
            f"{contract.name} ({partnership})" if contract.overrides else contract.name: (
                contract.sha256
            )
            for partnership, contract in self.contracts.items()
        }

    def _agreements(self, year: int | None) -> dict[str, Agreement]:
        """One agreement for each contract name, in the order of the partnerships."""
        when = self.performance_year if year is None else year
        found: dict[str, Agreement] = {}
        for contract in self.contracts.values():
            if contract.name not in found:
                found[contract.name] = contract.at(when)
        return found

    def draft_terms(self, year: int | None = None) -> dict[str, Any]:
        """Binding terms of the set's contracts and which rest on memory or assumption.

        Returns
        -------
        dict
            recalled_or_assumed, total: counts; names: paths, with the contract's name before them
            when there are several.
        """
        agreements = self._agreements(year)
        total, names_found = 0, []
        for name, agreement in agreements.items():
            n, paths = agreement.draft()
            total += n
            names_found += [f"{name}: {p}" if len(agreements) > 1 else p for p in paths]
        return {"recalled_or_assumed": len(names_found), "total": total, "names": names_found}

    def draft_lines(self, year: int | None = None) -> list[str]:
        """The draft line of each contract of the set that has one."""
        agreements = self._agreements(year)
        lines = [a.draft_line(named=len(agreements) > 1) for a in agreements.values()]
        return [line for line in lines if line]


def load_set(
    contracts: Sequence[str | Path], partnerships: Sequence[str], year: int | None = None
) -> ContractSet:
    """The contracts of a run's partnerships.

    Parameters
    ----------
    contracts : sequence
        One contract for everybody (a name or a file), or one contract-set file.
    partnerships : sequence of str
        Ids on the roster.
    year : int, optional
        Performance year; given, every contract must have values for it.

    Raises
    ------
    ContractError
        If there is none or more than one, a partnership has no contract, a set names a
        partnership that the roster lacks, or a contract is wrong.
    """
    if len(contracts) != 1:
        raise ContractError(
            f"found {len(contracts)} contracts, expected one contract for all partnerships, or one "
            "contract-set file that says which partnership has which"
        )
    path = Path(contracts[0])
    tree = _read(path) if path.suffix == ".toml" and path.is_file() else {}
    made = (
        _set_of(path, tree, partnerships)
        if "set" in tree
        else _same_for_all(load(contracts[0]), partnerships)
    )
    if year is not None:
        made.at(year)
    return made


def _same_for_all(contract: Contract, partnerships: Sequence[str]) -> ContractSet:
    return ContractSet(contract.name, dict.fromkeys(sorted(partnerships), contract))


def _set_of(path: Path, tree: Mapping[str, Any], partnerships: Sequence[str]) -> ContractSet:
    try:
        given = msgspec.convert(tree, _SetFile, builtin_types=(date, Decimal))
    except msgspec.ValidationError as error:
        raise ContractError(f"{path.name}: {_words(error)}") from None
    strangers = sorted(set(given.partnerships) - set(partnerships))
    if strangers:
        raise ContractError(
            f"{path.name}: partnerships.{strangers[0]}: not on the roster, which has "
            f"{', '.join(sorted(partnerships)[:5])}…"
        )
    found = {}
    for partnership in sorted(partnerships):
        member = given.partnerships.get(partnership, given.default)
        if member is None:
            raise ContractError(
                f"{path.name}: partnerships.{partnership}: found nothing, expected its contract "
                "(or a [default])"
            )
        found[partnership] = _member_contract(path, partnership, member)
    head = given.set
    return ContractSet(head.name, found, head.performance_year, head.base_year, head.paid_through)


def _member_contract(path: Path, partnership: str, member: _SetMember) -> Contract:
    named = Path(member.contract)
    beside = path.parent / named if named.suffix == ".toml" and not named.is_absolute() else named
    contract = load(str(beside))
    overrides = dict(member.overrides)
    if member.base_pmpm_usd is not None:
        overrides["target.base_pmpm_fixed"] = member.base_pmpm_usd
    if not overrides:
        return contract
    return contract.override(overrides, where=f"{path.name}, partnership {partnership}")


def check(file: Path, year: int | None = None) -> dict[str, Any]:
    """Read a contract or a contract set and resolve it for a year.

    Returns
    -------
    dict
        kind (contract or set), name, sha256, terms, draft_terms.

    Raises
    ------
    ContractError
        At the first thing wrong: with file, path, what was found and what was expected.
    """
    if file.suffix != ".toml" or not file.is_file():
        raise ContractError(f"{file.name}: no such file, expected a contract (.toml)")
    tree = _read(file)
    if "set" in tree:
        partnerships = tree.get("partnerships", {})
        ids = list(partnerships) if isinstance(partnerships, dict) else []
        made = _set_of(file, tree, ids)
        agreements = made.at(made.performance_year if year is None else year)
        return {
            "kind": "set",
            "name": made.name,
            "sha256": made.sha256,
            "terms": sum(len(a.values) for a in agreements.values()),
            "draft_terms": made.draft_lines(year),
        }
    found = load(file)
    agreement = found.at(year)
    line = agreement.draft_line()
    return {
        "kind": "contract",
        "name": found.name,
        "sha256": found.sha256,
        "terms": len(agreement.values),
        "draft_terms": [line] if line else [],
    }
