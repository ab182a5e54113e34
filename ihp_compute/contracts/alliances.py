"""An alliance: partnerships that one contract settles together, and how they split what it pays.

    [alliances.ID]          contract, base_pmpm_usd, members, split, weights
    [alliances.ID.overrides]

It stands in its members' place: their sums settle, each person stays the member's. What is paid is
split by `weights` (given, adding up to 1), by `member_months`, by `quality` (months times the
member's quality score) or by `own_results` (what a member kept below the market's trend; of a loss,
what it lay above it).

Not here: reading a set's file (`set_files`), the split to the cent (`settlement.pool`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.errors import ContractError

WEIGHTS, BY_MONTHS, BY_QUALITY, BY_RESULTS = "weights", "member_months", "quality", "own_results"
SPLITS: Final = (WEIGHTS, BY_MONTHS, BY_QUALITY, BY_RESULTS)
"""By what the payment of an alliance is split."""


@dataclass(frozen=True)
class Alliance:
    """Who is of an alliance, and how they split its payment.

    Attributes
    ----------
    alliance_id : str
    members : tuple of str
        Partnership ids in the order given, in which cents are rounded.
    split : str
        One of `SPLITS`.
    weights : tuple of Decimal
        One a member where the split is by weights; else empty.
    """

    alliance_id: str
    members: tuple[str, ...]
    split: str
    weights: tuple[Decimal, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of members, split and weights."""
        said = [self.alliance_id, self.members, self.split, [str(w) for w in self.weights]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def alliance_of(
    where: str, alliance_id: str, members: list[str], split: str, weights: Mapping[str, Any]
) -> Alliance:
    """An alliance of an entry.

    Parameters
    ----------
    where : str
        File and path of the entry, for messages.
    alliance_id : str
    members : list of str
    split : str
    weights : mapping of member to Decimal or int

    Raises
    ------
    ContractError
        If nobody is a member, one stands twice, the split is unknown, or weights do not fit it.
    """
    if alliance_id in (COMPARISON, UNATTRIBUTED):
        raise ContractError(
            f"{where}: found {alliance_id}, a reserved name; expected another for the alliance"
        )
    if not members:
        raise ContractError(f"{where}.members: found none, expected partnership ids of the roster")
    twice = [name for name in dict.fromkeys(members) if members.count(name) > 1]
    if twice:
        raise ContractError(f"{where}.members: found {twice[0]} twice, expected each member once")
    if split not in SPLITS:
        raise ContractError(
            f"{where}.split: found {split!r}, expected {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
        )
    numbers = {name: _number(f"{where}.weights.{name}", raw) for name, raw in weights.items()}
    _check_weights(where, members, split, numbers)
    given = tuple(numbers[name] for name in members) if split == WEIGHTS else ()
    return Alliance(alliance_id, tuple(members), split, given)


def _number(where: str, raw: Any) -> Decimal:
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal) or not 0 <= raw <= 1:
        raise ContractError(f"{where}: found {raw}, expected a number from 0 to 1")
    return Decimal(raw).normalize()


def _check_weights(
    where: str, members: list[str], split: str, weights: Mapping[str, Decimal]
) -> None:
    at = f"{where}.weights"
    if split != WEIGHTS:
        if weights:
            raise ContractError(
                f"{at}: found weights beside a split by {split}, expected split = "
                f'"{WEIGHTS}", or no weights'
            )
        return
    missing = [name for name in members if name not in weights]
    if missing:
        raise ContractError(f"{at}.{missing[0]}: found nothing, expected the weight of each member")
    strangers = [name for name in weights if name not in members]
    if strangers:
        raise ContractError(
            f"{at}.{strangers[0]}: found a weight of who is no member, expected members alone"
        )
    total = sum(weights.values(), Decimal(0))
    if total != 1:
        raise ContractError(f"{at}: found weights that add up to {total}, expected 1")


def check_apart(
    file: str, alliances: Mapping[str, Alliance], partnerships: Collection[str]
) -> None:
    """Refuse alliances that share a member, or a member that has a contract of its own.

    Parameters
    ----------
    file : str
        For messages.
    alliances : mapping of id to Alliance
    partnerships : collection of str
        Ids with an entry of their own.

    Raises
    ------
    ContractError
    """
    of: dict[str, str] = {}
    for name, member in _members(alliances):
        where = f"{file}: alliances.{name}.members"
        if member in of:
            raise ContractError(
                f"{where}: found {member}, a member of alliance {of[member]} too; expected each "
                "partnership in one alliance"
            )
        if member in partnerships:
            raise ContractError(
                f"{where}: found {member}, which has an entry partnerships.{member}; expected no "
                "contract of its own: the alliance settles in its place"
            )
        of[member] = name
    for name in alliances:
        if name in partnerships:
            raise ContractError(
                f"{file}: alliances.{name}: found an entry partnerships.{name} too, expected "
                "another name for the alliance"
            )


def check_roster(file: str, alliances: Mapping[str, Alliance], roster: Collection[str]) -> None:
    """Refuse a member that the roster lacks, and an alliance named as a partnership of it.

    Raises
    ------
    ContractError
    """
    for name, member in _members(alliances):
        if member not in roster:
            raise ContractError(
                f"{file}: alliances.{name}.members: found {member}, not on the roster, which has "
                f"{', '.join(sorted(roster)[:5])}…"
            )
    for name in alliances:
        if name in roster:
            raise ContractError(
                f"{file}: alliances.{name}: found the id of a partnership of the roster, expected "
                "another name for the alliance"
            )


def _members(alliances: Mapping[str, Alliance]) -> Iterator[tuple[str, str]]:
    """Alliance and member, in their order."""
    for name, alliance in alliances.items():
        for member in alliance.members:
            yield name, member
