"""Which partnership of a state has which contract, with its own base and values by path.

Generations and tracks stand side by side in one set. One roster attributes the state and one model
scores it, so those terms must agree; costs may differ, each distinct rule being one rule set.

Not here: what a set's file holds (`set_files`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from ihp_compute.contracts.alliances import BY_QUALITY, BY_RESULTS, Alliance, check_roster
from ihp_compute.contracts.contract import Agreement, Contract
from ihp_compute.contracts.draft import Draft
from ihp_compute.contracts.files import load, read_toml, same_content
from ihp_compute.contracts.kinds import CARRIED, SUPPLIED
from ihp_compute.contracts.quality_scores import Own, listed
from ihp_compute.contracts.rules import AttributionTerms, CostTerms, RiskTerms, incurred_by
from ihp_compute.contracts.set_files import Member, SetFile, contract_of, read_set, with_values
from ihp_compute.errors import ContractError


@dataclass(frozen=True)
class ContractSet:
    """Which partnership has which contract.

    Attributes
    ----------
    name : str
    contracts : mapping of partnership id to Contract
        In the order of the ids; overrides applied. An alliance stands in place of its members.
    performance_year, base_year : int or None
    paid_through : date or None
        Defaults of a run under this set.
    alliances : mapping of alliance id to Alliance
    """

    name: str
    contracts: Mapping[str, Contract]
    performance_year: int | None = None
    base_year: int | None = None
    paid_through: date | None = None
    alliances: Mapping[str, Alliance] = field(default_factory=dict)
    _agreed: dict[int | None, dict[str, Agreement]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def at(self, year: int | None) -> dict[str, Agreement]:
        """Each partnership's agreement of a performance year; None takes the latest values."""
        if year not in self._agreed:
            made: dict[int, Agreement] = {}
            for contract in self.contracts.values():
                if id(contract) not in made:
                    made[id(contract)] = contract.at(year)
            self._agreed[year] = {p: made[id(c)] for p, c in self.contracts.items()}
        return self._agreed[year]

    @cached_property
    def alliance_of(self) -> dict[str, str]:
        """The alliance of each of its members."""
        return {
            member: name for name, alliance in self.alliances.items() for member in alliance.members
        }

    def graded(self, year: int | None) -> dict[str, Agreement]:
        """Agreements by which quality is scored: of who settles, and of members of alliances.

        A member's is its alliance's.
        """
        agreements = self.at(year)
        return agreements | {m: agreements[name] for m, name in self.alliance_of.items()}

    def settles(self, group: str) -> str:
        """The id under which a group of the roster settles: its alliance's, else its own."""
        return self.alliance_of.get(group, group)

    def rule_sets(self, year: int | None) -> tuple[CostTerms, ...]:
        """The distinct cost terms of the set, in the order in which partnerships meet them.

        Raises
        ------
        ContractError
            If they put lines into years by different days: a line has one year.
        """
        found = tuple(dict.fromkeys(agreement.cost for agreement in self.at(year).values()))
        if found:
            incurred_by(found)
        return found

    def rate_cells(self, year: int | None) -> tuple[tuple[str, ...], ...]:
        """The distinct lists of rate cells of the set, in the order in which they are met."""
        return tuple(dict.fromkeys(a["target.rate_cells"] for a in self.at(year).values()))

    def rule_set_of(self, partnership: str, year: int) -> int:
        """Index into `rule_sets` of the cost terms of who settles."""
        return self.rule_sets(year).index(self.at(year)[partnership].cost)

    def attribution(self, year: int | None) -> AttributionTerms:
        """The attribution terms that all contracts of the set share.

        Raises
        ------
        ContractError
            If they differ: one roster attributes the state once.
        """
        return self._shared("attribution", {p: a.attribution for p, a in self.at(year).items()})

    def risk(self, year: int | None) -> RiskTerms:
        """The risk model and the policy for the unscored that all contracts of the set share.

        Normalisation is each contract's own: the terms are those of the first partnership.

        Raises
        ------
        ContractError
            If models, policies or what they may fill differ.
        """
        agreements = self.at(year)
        self._shared("risk", {p: replace(a.risk, normalise=None) for p, a in agreements.items()})
        return next(iter(agreements.values())).risk

    def only(self, partnerships: Container[str]) -> ContractSet:
        """The set of some of its partnerships."""
        chosen = {p: contract for p, contract in self.contracts.items() if p in partnerships}
        alliances = {name: one for name, one in self.alliances.items() if name in chosen}
        return replace(self, contracts=chosen, alliances=alliances)

    def check_trends(self, base_year: int, performance_year: int) -> None:
        """Refuse contracts that leave a year's trend open between base and performance year.

        Raises
        ------
        ContractError
        """
        for agreement in {id(a): a for a in self.at(performance_year).values()}.values():
            for cell in agreement["target.rate_cells"]:
                for year in range(base_year + 1, performance_year + 1):
                    agreement.contract.trend(year, cell)

    def check_payments(self, years: Sequence[int | None]) -> None:
        """Refuse contracts that use a population-based payment which they do not have.

        Parameters
        ----------
        years : sequence of int or None
            Base year, performance year; those that are known.

        Raises
        ------
        ContractError
        """
        for partnership, agreement in self.at(years[-1]).items():
            if agreement["pbp.counts_as_cost"]:
                path, found, asked = "pbp.counts_as_cost", "true", years
            elif agreement["pbp.quality"]:
                path, found, asked = "pbp.quality", agreement["pbp.quality"], years[-1:]
            else:
                continue
            for year in asked:
                if self.at(year)[partnership].population_based.rate_usd is None:
                    when = "" if year is None else f" of {year}"
                    raise ContractError(
                        f"{self.name}: {path}: found {found} for {partnership} "
                        f"({agreement.name}), and pbp.rate{when} is none; expected US dollars per "
                        "member per month in every year whose payment is asked for: give the rate"
                    )

    def check_splits(self, quality: Mapping[str, Own], *, compared: bool) -> None:
        """Refuse an alliance that splits by what there is not.

        Parameters
        ----------
        quality : mapping of partnership id to Decimal, str or None
        compared : bool
            Whether the run has a programme, by whose terms trends are compared.

        Raises
        ------
        ContractError
        """
        for name, alliance in self.alliances.items():
            if alliance.split == BY_RESULTS and not compared:
                raise ContractError(
                    f"{self.name}: alliances.{name}.split: found own_results, and no programme by "
                    "whose terms results are compared; expected a programme that is not none, or "
                    "another split"
                )
            without = [m for m in alliance.members if not isinstance(quality.get(m), Decimal)]
            if alliance.split == BY_QUALITY and without:
                raise ContractError(
                    f"{self.name}: alliances.{name}.split: found quality, and no quality score of "
                    f"{listed(without)}; expected one of each member: supply it, or split by "
                    "something else"
                )

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

    def newer_lines(self) -> list[str]:
        """What is said of terms that a contract's file does not know, once a contract."""
        lines = dict.fromkeys(contract.newer_line for contract in self.contracts.values())
        return [line for line in lines if line]

    @property
    def sha256(self) -> str:
        """Digest over partnerships and their contracts' digests, and over alliances."""
        rows = [[p, c.sha256] for p, c in self.contracts.items()]
        rows += [[p, alliance.sha256] for p, alliance in self.alliances.items()]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the contracts' givers should know, each once."""
        found = (note for contract in self.contracts.values() for note in contract.notes)
        return tuple(dict.fromkeys(found))

    def hashes(self) -> dict[str, str]:
        """Digest of each contract; one with its own values carries its partnership in the name.

        Of each alliance that of its members, split and weights.
        """
        return {
            f"{contract.name} ({partnership})" if contract.overrides else contract.name: (
                contract.sha256
            )
            for partnership, contract in self.contracts.items()
        } | {f"alliance {name}": alliance.sha256 for name, alliance in self.alliances.items()}

    def drafts(
        self, year: int | None = None, supplied: Mapping[str, Any] | None = None
    ) -> dict[str, Draft]:
        """Binding terms of each contract by name, with whatever values stand beside it.

        Parameters
        ----------
        year : int, optional
            Performance year; None takes that of the set, else the latest values.
        supplied : mapping of path to value, optional
            Further values, of all contracts.
        """
        when = self.performance_year if year is None else year
        found: dict[str, Draft] = {}
        for contract in {c.sha256: c for c in self.contracts.values()}.values():
            own = contract.override(supplied) if supplied else contract
            draft = own.at(when).draft()
            known = found.get(contract.name)
            found[contract.name] = draft if known is None else known.joined(draft)
        return found

    def draft_terms(self, year: int | None = None) -> dict[str, Any]:
        """Binding terms of the set's contracts, and of which nobody has shown the document.

        Returns
        -------
        dict
            recalled_or_assumed, total: counts, of terms carried or supplied too; names: paths,
            with the contract's name before them when there are several; supplied, carried: those
            of them.
        """
        drafts = self.drafts(year)
        weak = {
            f"{name}: {path}" if len(drafts) > 1 else path: basis
            for name, draft in drafts.items()
            for path, basis in draft.weak.items()
        }
        return {
            "recalled_or_assumed": len(weak),
            "total": sum(draft.total for draft in drafts.values()),
            "names": list(weak),
            **{
                basis: [name for name, found in weak.items() if found == basis]
                for basis in (SUPPLIED, CARRIED)
            },
        }

    def draft_lines(
        self, year: int | None = None, supplied: Mapping[str, Any] | None = None
    ) -> list[str]:
        """The draft line of each contract that has one; parameters as `drafts`."""
        drafts = self.drafts(year, supplied)
        lines = [draft.line(name if len(drafts) > 1 else "") for name, draft in drafts.items()]
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
    path = Path(the_one(contracts))
    tree = read_toml(path) if path.suffix == ".toml" and path.is_file() else {}
    made = (
        _set_of(read_set(path, tree), partnerships)
        if is_set(path, tree)
        else _same_for_all(load(contracts[0]), partnerships)
    )
    if year is not None:
        made.at(year)
    return made


def is_set(file: Path, tree: Mapping[str, Any]) -> bool:
    """Whether a file of terms is a contract set.

    Raises
    ------
    ContractError
        If it gives contracts to partnerships and has no table that makes it a set.
    """
    given = next((name for name in ("default", "partnerships", "alliances") if name in tree), "")
    if given and "set" not in tree:
        raise ContractError(
            f"{file.name}: set: no such table beside [{given}], expected [set] with a name: a "
            "contract set gives partnerships their contracts, a contract gives terms"
        )
    return "set" in tree


def the_one(contracts: Sequence[str | Path]) -> str | Path:
    """The only contract of a run.

    Raises
    ------
    ContractError
        If there is none or more than one.
    """
    if len(contracts) != 1:
        raise ContractError(
            f"found {len(contracts)} contracts, expected one contract for all partnerships, or one "
            "contract-set file that says in tables [set], [default] and [partnerships.ID] which "
            "partnership has which"
        )
    return contracts[0]


def _same_for_all(contract: Contract, partnerships: Sequence[str]) -> ContractSet:
    return ContractSet(contract.name, dict.fromkeys(sorted(partnerships), contract))


def _set_of(given: SetFile, partnerships: Sequence[str]) -> ContractSet:
    path = given.file
    strangers = sorted(set(given.partnerships) - set(partnerships))
    if strangers:
        raise ContractError(
            f"{path.name}: partnerships.{strangers[0]}: not on the roster, which has "
            f"{', '.join(sorted(partnerships)[:5])}…"
        )
    check_roster(path.name, given.alliances, partnerships)
    found = {}
    named: dict[str, tuple[str, Contract]] = {}
    for who, where, member in _entries(given, partnerships):
        if member is None:
            raise ContractError(f"{where}: found nothing, expected its contract (or a [default])")
        contract = contract_of(path, member)
        first, known = named.setdefault(contract.name, (who, contract))
        if not same_content(contract, known):
            raise ContractError(
                f"{where}: found {contract.file}, another contract under the name {contract.name} "
                f"of {first}'s, expected names of their own"
            )
        kind = "alliance" if who in given.alliances else "partnership"
        found[who] = with_values(contract, member, f"{path.name}, {kind} {who}")
    head = given.head
    return ContractSet(
        head.name, found, head.performance_year, head.base_year, head.paid_through,
        given.alliances,
    )  # fmt: skip


def _entries(
    given: SetFile, partnerships: Sequence[str]
) -> Iterator[tuple[str, str, Member | None]]:
    """Who settles, by id: where its entry stands, and the entry or the default."""
    apart = {member for alliance in given.alliances.values() for member in alliance.members}
    for who in sorted({*partnerships, *given.alliances} - apart):
        if who in given.alliances:
            yield who, f"{given.file.name}: alliances.{who}", given.terms[who]
        else:
            entry = given.partnerships.get(who, given.default)
            yield who, f"{given.file.name}: partnerships.{who}", entry


def check(file: Path, year: int | None = None, base_year: int | None = None) -> dict[str, Any]:
    """Read a contract or a contract set, and refuse what a run of a year would refuse of it.

    Parameters
    ----------
    file : Path
    year : int, optional
        Performance year; None takes that of the set, else the latest values.
    base_year : int, optional
        None takes that of the set, if it has one.

    Returns
    -------
    dict
        kind (contract or set), name, sha256, terms; draft_terms, newer_terms and notes, lines.

    Raises
    ------
    ContractError
        At the first thing wrong: with file, path, what was found and what was expected.
    """
    if file.suffix != ".toml" or not file.is_file():
        raise ContractError(f"{file.name}: no such file, expected a contract (.toml)")
    tree = read_toml(file)
    if is_set(file, tree):
        given = read_set(file, tree)
        apart = [member for one in given.alliances.values() for member in one.members]
        made = _set_of(given, [*given.partnerships, *apart])
        when = made.performance_year if year is None else year
        base = made.base_year if base_year is None else base_year
        if when is not None and base is not None and base >= when:
            raise ContractError(
                f"{file.name}: set.base_year: found {base}, expected a year before {when}, the "
                "performance year"
            )
        agreements = made.at(when)
        everybody = dict(made.contracts)
        if given.default is not None:
            everybody["default"] = with_values(
                contract_of(file, given.default), given.default, f"{file.name}, default"
            )
        together = replace(made, contracts=everybody)
        _check_run(together, when, base)
        return {
            "kind": "set",
            "name": made.name,
            "sha256": made.sha256,
            "terms": sum(len(a.values) for a in agreements.values()),
            "draft_terms": together.draft_lines(year),
            "newer_terms": together.newer_lines(),
            "notes": list(together.notes),
        }
    found = load(file)
    agreement = found.at(year)
    _check_run(_same_for_all(found, [found.name]), year, base_year)
    line = agreement.draft_line()
    return {
        "kind": "contract",
        "name": found.name,
        "sha256": found.sha256,
        "terms": len(agreement.values),
        "draft_terms": [line] if line else [],
        "newer_terms": [found.newer_line] if found.newer else [],
        "notes": list(found.notes),
    }


def _check_run(contracts: ContractSet, year: int | None, base_year: int | None) -> None:
    """Refuse what a run under these contracts refuses before it reads a claim."""
    if not contracts.contracts:
        return
    contracts.attribution(year)
    contracts.rule_sets(year)
    contracts.risk(year)
    contracts.check_payments([year] if base_year is None else [base_year, year])
    if year is not None and base_year is not None:
        contracts.check_trends(base_year, year)
