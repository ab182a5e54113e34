"""Reading a contract file: TOML, checked term by term, completed by the contract it extends.

    file -> [extends ...] -> documents and terms -> every path there? -> Contract

Whatever is wrong is refused at once: with file, path, what was found and what was expected. A name
of a contract shipped stands for what is shipped: no other content is read under it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import kinds as written
from ihp_compute.contracts.contract import Contract
from ihp_compute.contracts.kinds import Basis, Kind
from ihp_compute.contracts.terms import Document, Entry, Source, Term, given_by, near
from ihp_compute.contracts.values import TermError, parse
from ihp_compute.contracts.vocabulary import BY_CELL, FIRST_PATHS, KINDS, NAMED, TREND, kind_of
from ihp_compute.errors import ContractError

FOLDER: Final = Path(__file__).resolve().parent / "shipped"
UNBOUND: Final = "unbound"
"""The file that shipped contracts extend in the end: each term at the value that does nothing."""
NAME_LENGTH: Final = 100
"""Most characters of a contract's name."""


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


_HEAD: Final = ("name", "title", "programme", "summary", "extends", "sources")


def names() -> list[str]:
    """Names of the contracts shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != UNBOUND)


def load(name_or_path: str | Path) -> Contract:
    """A contract shipped with the engine, by name, or a user's own, by file.

    Raises
    ------
    ContractError
        If there is no such contract, the file is wrong, or it has the name of a contract shipped
        and other content: with file, path, what was found and what was expected.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        return _shipped(str(path))
    found = _load(path, ())
    named = shipped_name(found.name)
    if named == UNBOUND:
        raise ContractError(
            f"{found.file}: name: found {found.name}, the file that contracts extend; expected a "
            "name of its own"
        )
    if named and not same_content(found, _shipped(named)):
        raise ContractError(
            f"{found.file}: name: found {found.name}, a contract shipped, with other content; "
            f"expected a name of its own: `ihp contracts new {named} --as NAME` makes a copy to "
            "change"
        )
    return found


@lru_cache(maxsize=1)
def unbound() -> Contract:
    """The terms of no agreement, for what counts cost without settling it.

    Terms that every agreement must give itself (gates, shares) are none: nothing settles by it.
    """
    found = _load(Path(UNBOUND), (), extended=True)
    entry = Entry(None, None, None, None, (), "assumed", Source("practice", "No such rule"))
    left = {path: Term(path, kind, (entry,)) for path, kind in KINDS.items()}
    return replace(found, terms=left | dict(found.terms))


def name_of(path: Path) -> str:
    """The name that a file would be known by.

    That of the contract shipped whose name it takes, else its own; the file's if it has none.
    """
    try:
        tree = read_toml(path)
    except (ContractError, OSError):
        return path.stem
    head = tree.get("set", tree)
    name = str(head.get("name") or path.stem) if isinstance(head, dict) else path.stem
    return shipped_name(name) or name


def shipped_name(name: str) -> str:
    """The contract shipped that a name is read as; empty if it is none.

    >>> shipped_name("MN-IHP-1.0"), shipped_name("north-2025")
    ('mn-ihp-1.0', '')
    """
    read = _plain(name)
    return read if (FOLDER / f"{read}.toml").is_file() else ""


def same_content(one: Contract, other: Contract) -> bool:
    """Whether two contracts differ in nothing but their files."""
    return one == replace(other, file=one.file)


def _plain(name: str) -> str:
    """A name as a reader takes it: width, case and blanks around it make no other name."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


@lru_cache(maxsize=256)
def _shipped(name: str) -> Contract:
    return _load(Path(name), ())


def _load(
    name: Path, seen: tuple[str, ...], folder: Path | None = None, *, extended: bool = False
) -> Contract:
    """Read one file; `extended` tells that another file completes it."""
    path = locate(name, folder)
    if str(path) in seen:
        raise ContractError(f"{path.name}: extends: found a circle, expected another contract")
    tree = read_toml(path)
    documents: dict[str, Document] = {}
    terms: dict[str, Term] = {}
    written: frozenset[str] = frozenset()
    if "extends" in tree:
        named = Path(str(tree["extends"]))
        base = _load(named, (*seen, str(path)), path.parent, extended=True)
        documents, terms, written = dict(base.documents), dict(base.terms), base.written
    own = documents_in(path.name, tree)
    twice = [key for key in own if key in documents and documents[key] != own[key]]
    if twice:
        raise ContractError(
            f"{path.name}: sources.{twice[0]}: found another document under a key of the contract "
            "it extends, expected a new key"
        )
    documents.update(own)
    given = terms_in(path.name, tree, documents)
    terms.update(given)
    method = given_by(given)
    if method is not None:
        terms[method.path] = method
    if path != FOLDER / f"{UNBOUND}.toml":
        written |= given.keys()
    newer = () if extended else _complete(path.name, terms, documents)
    for key in ("name", "title", "programme"):
        if not isinstance(tree.get(key), str):
            raise ContractError(f"{path.name}: {key}: found {tree.get(key)}, expected text")
    check_name(path.name, "name", tree["name"])
    contract = Contract(
        name=tree["name"],
        title=tree["title"],
        programme=tree["programme"],
        file=path.name,
        summary=str(tree.get("summary", "")),
        documents=documents,
        terms=terms,
        newer=newer,
        written=written,
    )
    if not extended:
        contract.check_years()
    return contract


def _complete(file: str, terms: dict[str, Term], documents: dict[str, Document]) -> tuple[str, ...]:
    """Give a file that extends nothing the terms that came after method version 1.

    They stand at the values of `unbound`, with its documents. Returns their paths.
    """
    missing = [path for path in KINDS if path not in terms]
    if not missing:
        return ()
    unbound = _load(Path(UNBOUND), (), extended=True)
    owed = [path for path in missing if path in FIRST_PATHS or path not in unbound.terms]
    if owed:
        raise ContractError(
            f"{file}: {owed[0]}: found nothing, expected the term; every path stands in every "
            'contract: give it, with value = "none" if the agreement has no such rule, or '
            f'extends = "{UNBOUND}"'
        )
    for path in missing:
        entries = []
        for entry in unbound.terms[path].entries:
            key = f"{UNBOUND}.{entry.source.doc}"
            documents[key] = unbound.documents[entry.source.doc]
            entries.append(replace(entry, source=Source(key, entry.source.at, entry.source.quote)))
        terms[path] = replace(unbound.terms[path], entries=tuple(entries))
    return tuple(missing)


def locate(name: Path, folder: Path | None = None) -> Path:
    """The file of a contract: shipped under this name, or a user's own.

    Raises
    ------
    ContractError
        If there is none.
    """
    name = beside(name)
    if name.suffix != ".toml":
        shipped = FOLDER / f"{name}.toml"
        if len(name.parts) != 1 or not shipped.is_file():
            raise ContractError(f"no contract {name}; {_near_name(str(name))}")
        return shipped
    path = name if folder is None or name.is_absolute() else folder / name
    if not path.is_file():
        raise ContractError(f"{path.name}: no such file, expected a contract (.toml)")
    return path


def beside(name: Path) -> Path:
    """A kept version, NAME@n, as the file NAME@n.toml beside whoever names it; else the name.

    >>> [str(beside(Path(name))) for name in ("own-2.0@3", "mn-ihp-1.0", "own.toml")]
    ['own-2.0@3.toml', 'mn-ihp-1.0', 'own.toml']
    """
    if "@" in name.name and name.suffix != ".toml":
        return name.with_name(f"{name.name}.toml")
    return name


def _near_name(name: str) -> str:
    close = difflib.get_close_matches(name, names(), n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "`ihp contracts list` names them; a file ends in .toml"


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as it stands, numbers as Decimal.

    Raises
    ------
    ContractError
        If it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except RecursionError:
        raise ContractError(
            f"{path.name}: not TOML: nested too deeply; expected a contract"
        ) from None
    except (ValueError, ArithmeticError) as error:  # also numbers that no number type holds
        raise ContractError(f"{path.name}: not TOML: {error}; expected a contract") from None


def check_name(file: str, path: str, name: str) -> None:
    """Refuse a name that cannot be told from another, or from nothing, where it is printed.

    Raises
    ------
    ContractError
    """
    plain = name == name.strip() and name.isprintable() and not set(name) & {"/", "\\"}
    if not plain or not 0 < len(name) <= NAME_LENGTH:
        raise ContractError(
            f"{file}: {path}: found {name[:NAME_LENGTH]!r}, expected 1 to {NAME_LENGTH} characters "
            "without slashes, and no blanks around them"
        )


def documents_in(file: str, tree: Mapping[str, Any]) -> dict[str, Document]:
    """The documents that a file names, by key.

    Raises
    ------
    ContractError
        If one is not as a document is written.
    """
    sources = tree.get("sources", {})
    if not isinstance(sources, dict):
        raise ContractError(f"{file}: sources: found {sources!r}, expected a table")
    return {key: _document(file, key, raw) for key, raw in sources.items()}


def _document(file: str, key: str, raw: Any) -> Document:
    try:
        return msgspec.convert(raw, Document, builtin_types=(date, Decimal))
    except msgspec.ValidationError as error:
        raise ContractError(f"{file}: sources.{key}: {words_of(error)}") from None


def words_of(error: msgspec.ValidationError) -> str:
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
        what = f"found {choice[1]}, expected {' or '.join(written.WRITTEN_BASES)}"
    where = where.lstrip(".")
    return f"{where}: {what}" if where else what


def terms_in(
    file: str,
    tree: Mapping[str, Any],
    documents: Mapping[str, Document],
    kinds: Mapping[str, Kind] = KINDS,
    kind_of: Callable[[str], Kind | None] = kind_of,
) -> dict[str, Term]:
    """The terms that a file gives, by path.

    Parameters
    ----------
    file : str
        Its name, for messages.
    tree : mapping
        Its content.
    documents : mapping
        What its terms may cite.
    kinds : mapping
        The vocabulary, by path.
    kind_of : callable
        Kind of a path; None if the file cannot have it.

    Raises
    ------
    ContractError
        At the first term that is wrong.
    """
    found: dict[str, Term] = {}
    branches = {path[: path.rfind(".")] for path in kinds} | {prefix[:-1] for prefix in NAMED}
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
                raise ContractError(f"{file}: {path}: unknown key; {near(path, kinds)}")

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
        raise ContractError(f"{file}: {path}: {words_of(error)}") from None
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
        expected = " or ".join(written.WRITTEN_BASES)
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
    if row.contract_year is not None and path.partition(".values[")[0] == TREND:
        raise ContractError(
            f"{file}: {path}.contract_year: found {row.contract_year}, expected values by date: "
            "trend is of calendar years"
        )
    if row.contract_year is not None and row.contract_year < 1:
        raise ContractError(
            f"{file}: {path}.contract_year: found {row.contract_year}, expected at least 1"
        )
    _check_cells(file, path, row.cells)
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
            if later.first is None or earlier.first is None:
                continue
            if apart:
                _check_cells_apart(file, path, earlier, later)
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


def _check_cells(file: str, path: str, cells: list[str] | None) -> None:
    if cells is None:
        return
    if path.partition(".values[")[0] not in BY_CELL:
        raise ContractError(
            f"{file}: {path}.cells: found {', '.join(cells)}, expected none: only "
            f"{' and '.join(BY_CELL)} differ between rate cells"
        )
    if not cells or set(cells) - set(RATE_CELLS) or len(set(cells)) < len(cells):
        raise ContractError(
            f"{file}: {path}.cells: found {', '.join(cells) or 'nothing'}, expected rate cells, "
            "each once"
        )


def _check_cells_apart(file: str, path: str, earlier: Entry, later: Entry) -> None:
    """Of two lists of rate cells that hold in one year, none may name the other's cell."""
    shared = [cell for cell in later.cells if cell in earlier.cells]
    if not shared or later.contract_year != earlier.contract_year:
        return
    starts = [e.first.year for e in (earlier, later) if e.first is not None]
    if all(entry.covers(max(starts)) for entry in (earlier, later)):
        raise ContractError(
            f"{file}: {path}: found two values for {shared[0]} in {max(starts)}, expected one"
        )
