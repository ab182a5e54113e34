"""Reading a contract-set file: its head, its entries, and what stands beside their contracts.

    [set]           name, performance_year, base_year, paid_through
    [default]       contract = "..."
    [partnerships.NAME]            contract, base_pmpm_usd
    [partnerships.NAME.overrides]  "settlement.gain.share" = 0.4
                                   "target.trend" = { value = 0.03, source = "amendment 2, p. 1" }
    [alliances.NAME]               contract, base_pmpm_usd, members, split, weights
    [alliances.NAME.overrides]

An entry without a contract is the default with its own values. A value that stands here rests on
what the set's author says: its basis is `supplied`. Every message names the entry.

Not here: what a set means for a run (`sets`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ihp_compute.contracts.alliances import Alliance, alliance_of, check_apart
from ihp_compute.contracts.contract import Contract
from ihp_compute.contracts.files import beside, check_name, load, shipped_name, words_of
from ihp_compute.errors import ContractError

_T = TypeVar("_T")


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a set says of itself and of a run under it."""

    name: str
    performance_year: int | None = None
    base_year: int | None = None
    paid_through: date | None = None


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A partnership's entry, or the default."""

    contract: str | None = None
    base_pmpm_usd: Any = None
    overrides: dict[str, Any] = {}

    def values(self) -> dict[str, Any]:
        """What stands beside the contract, by path."""
        agreed = {} if self.base_pmpm_usd is None else {_AGREED_BASE: self.base_pmpm_usd}
        return {**self.overrides, **agreed}


class AllianceEntry(Member, frozen=True, forbid_unknown_fields=True):
    """An alliance's entry."""

    members: list[str] = []
    split: str = ""
    weights: dict[str, Any] = {}


_AGREED_BASE: Final = "target.base_pmpm_fixed"


class _Sourced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value with where it is written."""

    value: Any
    source: str


class _Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    set: Head
    default: Any = None
    partnerships: dict[str, Any] = {}
    alliances: dict[str, Any] = {}


@dataclass(frozen=True)
class SetFile:
    """A set's file, read: its head, its entries with what they take from the default.

    `terms` has the contract and values of each alliance.
    """

    file: Path
    head: Head
    default: Member | None
    partnerships: Mapping[str, Member]
    alliances: Mapping[str, Alliance]
    terms: Mapping[str, Member]


def read_set(path: Path, tree: Mapping[str, Any]) -> SetFile:
    """The entries of a set's file.

    Raises
    ------
    ContractError
        If a key is unknown, a value of another type, an entry without a contract, or an alliance
        wrong.
    """
    given = _as(_Tree, tree, path.name)
    check_name(path.name, "set.name", given.set.name)
    if shipped_name(given.set.name):
        raise ContractError(
            f"{path.name}: set.name: found {given.set.name}, a contract shipped; expected a name "
            "of its own"
        )
    default = None
    if given.default is not None:
        default = _as(Member, given.default, f"{path.name}: default")
        if default.contract is None:
            raise ContractError(f"{path.name}: default: found no contract, expected one")
    entries = {
        name: _as(AllianceEntry, raw, f"{path.name}: alliances.{name}")
        for name, raw in given.alliances.items()
    }
    alliances = {
        name: alliance_of(
            f"{path.name}: alliances.{name}", name, entry.members, entry.split, entry.weights
        )
        for name, entry in entries.items()
    }
    check_apart(path.name, alliances, given.partnerships)
    return SetFile(
        path,
        given.set,
        default,
        {
            name: _completed(_as(Member, raw, where), default, where)
            for name, raw in given.partnerships.items()
            for where in [f"{path.name}: partnerships.{name}"]
        },
        alliances,
        {
            name: _completed(entry, default, f"{path.name}: alliances.{name}")
            for name, entry in entries.items()
        },
    )


def _as(kind: type[_T], raw: Any, where: str) -> _T:
    try:
        return msgspec.convert(raw, kind, builtin_types=(date, Decimal))
    except msgspec.ValidationError as error:
        raise ContractError(f"{where}: {words_of(error)}") from None


def _completed(member: Member, default: Member | None, where: str) -> Member:
    """An entry with the default's contract and values where it names no contract of its own."""
    if member.contract is not None:
        return member
    if default is None:
        raise ContractError(
            f"{where}: found no contract, expected one beside its overrides, or a [default]"
        )
    values = {**default.values(), **member.values()}
    return Member(default.contract, None, values)


def contract_of(path: Path, member: Member) -> Contract:
    """The contract that an entry names; a file's path is relative to the set's."""
    named = beside(Path(str(member.contract)))
    if named.suffix == ".toml" and not named.is_absolute():
        named = path.parent / named
    return load(str(named))


def with_values(contract: Contract, member: Member, where: str) -> Contract:
    """A contract with what stands beside it in an entry.

    Raises
    ------
    ContractError
        If a value does not fit its term, or not with the others.
    """
    values, sources = {}, {}
    for path, raw in member.values().items():
        values[path] = raw
        if isinstance(raw, dict) and "source" in raw:
            sourced = _as(_Sourced, raw, f"{where}: {path}")
            values[path], sources[path] = sourced.value, sourced.source
    if not values:
        return contract
    own = contract.override(values, where, sources)
    try:
        own.check_years()
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from None
    return own
