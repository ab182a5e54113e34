"""A contract in memory: its terms over all years, with other values by path, and in one year.

    Contract (every dated value) -> override by path -> at(year) -> Agreement (one value a term)

A value that has ended holds on, marked as carried, where no later one begins. The digest is over
values, dates, units and sources, not over a file's bytes or name; a risk model that is named by its
file has no name in it, its content is the run's to identify.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any, Final

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import values, vocabulary
from ihp_compute.contracts.draft import Draft
from ihp_compute.contracts.kinds import CARRIED, NONE, SUPPLIED
from ihp_compute.contracts.population_based import PopulationBasedTerms
from ihp_compute.contracts.quality_measures import QualityTerms
from ihp_compute.contracts.rules import MODELS, AttributionTerms, CostTerms, RiskTerms, names_a_file
from ihp_compute.contracts.terms import (
    Document,
    Entry,
    Source,
    Term,
    Value,
    digest_of,
    given_by,
    overridden,
)
from ihp_compute.contracts.together import TOGETHER, fault_together
from ihp_compute.contracts.values import TermError, text_of
from ihp_compute.contracts.vocabulary import BY_CELL, FEDERAL_SHARE, IDLE_BESIDE, KINDS, TREND
from ihp_compute.errors import ContractError
from ihp_compute.units import cents_of, micro_of

MODEL_FILE: Final = "a model's file"
TABLE_FILE: Final = "a table's file"
"""Stands in a contract's digest for the path of a risk model; no model has this name."""


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
        Every path of `vocabulary.KINDS`, and the policy adjustments that the contract names.
    overrides : mapping of path to text
        Values given beside the file.
    newer : tuple of str
        Paths that the file does not know, at the values of `unbound`.
    written : frozenset of str
        Paths that its files give, without what the unbound contract says.
    """

    name: str
    title: str
    programme: str
    file: str
    summary: str
    documents: Mapping[str, Document]
    terms: Mapping[str, Term]
    overrides: Mapping[str, str] = field(default_factory=dict)
    newer: tuple[str, ...] = ()
    written: frozenset[str] = field(default=frozenset(), compare=False)
    _of_cells: dict[tuple[str, int, str], Value] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def newer_line(self) -> str:
        """What is said of terms that the file does not know; empty if it gives every term."""
        if not self.newer:
            return ""
        n = len(self.newer)
        terms, stand = ("terms", "they stand") if n > 1 else ("term", "it stands")
        return (
            f"NEWER TERMS: {self.name} does not give {n} {terms} that came later than its file; "
            f"{stand} as in unbound: {', '.join(self.newer)}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Values that somebody gave and that say nothing beside others, in words."""
        return tuple(
            f"{self.file}: {path} has no effect beside {owner} = "
            f"{text_of(self.terms[owner].entries[0].value)}"
            for path, owner in IDLE_BESIDE.items()
            if path in self.written.union(self.overrides)
            and any(entry.value is not None for entry in self.terms[path].entries)
            and all(entry.value is not None for entry in self.terms[owner].entries)
        )

    @cached_property
    def sha256(self) -> str:
        """Digest of every value with its dates, unit, source and basis; not of the file's bytes."""
        return digest_of(self.name, self.terms, _identity)

    def at(self, year: int | None, like: Agreement | None = None) -> Agreement:
        """The agreement of a performance year; None takes the latest values.

        Without a year a value whose source speaks of years up to one is carried: the year that is
        meant may lie behind it.

        Parameters
        ----------
        year : int or None
        like : Agreement, optional
            Of the same year, from which this contract differs in some terms: the others' values
            are taken over.

        Raises
        ------
        ContractError
            If a term has no value for the year, values go by contract year and nothing says which
            is the first, a gate by size has no table, terms of the target count a change of mix
            or temper a small partnership twice, or a factor of completion stands beside a method
            that takes none.
        """
        first = self._pick("agreement.first_performance_year", year, None).value
        self._check_counted(year, first)
        if like is not None and first == like["agreement.first_performance_year"]:
            known, terms = like.values, like.contract.terms
            values = {
                path: known[path] if terms.get(path) is term else self._pick(path, year, first)
                for path, term in self.terms.items()
            }
        else:
            values = {path: self._pick(path, year, first) for path in self.terms}
        self._refuse_together({path: values[path].value for path in TOGETHER})
        return Agreement(self, year, values)

    def check_years(self) -> None:
        """Refuse what no single term can say, in every year in which its terms may hold.

        Raises
        ------
        ContractError
            If a gate by size has no table, terms of the target count a change of mix or temper a
            small partnership twice, or rate cells of different trends or federal shares are merged.
        """
        for year in self._turns():
            first = self._fitting("agreement.first_performance_year", year, None)
            if first is None:
                continue  # no run can be of this year
            self._check_counted(year, first.value)
            found = {path: self._fitting(path, year, first.value) for path in TOGETHER}
            held = {path: entry.value for path, entry in found.items() if entry is not None}
            self._refuse_together(held)
            for cell in held.get("target.rate_cells", ()):
                parts = cell.split("+")
                for path, counted in ((TREND, None), (FEDERAL_SHARE, first.value)):
                    if all(self._fitting(path, year, counted, part) for part in parts):
                        self._of_cell(path, year, counted, cell)

    def _turns(self) -> list[int]:
        """Years from which on a value of a term that is checked with others may be another."""
        paths = (*TOGETHER, *BY_CELL, "agreement.first_performance_year")
        entries = [e for path in paths for e in self.terms[path].entries]
        starts = [e.value for e in self.terms["agreement.first_performance_year"].entries]
        years = {e.first.year for e in entries if e.first is not None}
        years |= {e.last.year + 1 for e in entries if e.last is not None}
        years |= {
            start + e.contract_year - 1
            for start in starts
            if start is not None
            for e in entries
            if e.contract_year is not None
        }
        return sorted(years) or [date.max.year]

    def _check_counted(self, year: int | None, first_year: int | None) -> None:
        """Refuse values by contract year where no year is the first."""
        if year is None or first_year is not None:
            return
        for path, term in self.terms.items():
            if any(e.contract_year is not None and e.begun(year) for e in term.entries):
                raise ContractError(
                    f"{self.file}: agreement.first_performance_year: found none beside values of "
                    f"{path} by contract year, expected the year from which they count"
                )

    def _refuse_together(self, held: Mapping[str, Any]) -> None:
        """Refuse what no single term can say."""
        fault = fault_together(held)
        if fault:
            raise ContractError(f"{self.file}: {fault}")

    def _pick(self, path: str, year: int | None, first_year: int | None, cell: str = "") -> Value:
        entry = self._fitting(path, year, first_year, cell)
        term = self.terms[path]
        if entry is None:
            spans = ", ".join(_span(e) for e in term.entries)
            raise ContractError(
                f"{self.file}: {path}: found no value for {year}, expected one; values hold {spans}"
            )
        ended = entry.last is not None if year is None else not entry.covers(year)
        past = ended and entry.basis != SUPPLIED
        return Value(
            path, entry.value, term.kind.unit, CARRIED if past else entry.basis, entry.source,
            entry.first, entry.last, entry.note,
        )  # fmt: skip

    def _fitting(
        self, path: str, year: int | None, first_year: int | None, cell: str = ""
    ) -> Entry | None:
        term = self.terms[path]
        fitting = [e for e in term.entries if not e.cells or not cell or cell in e.cells]
        if year is None:
            latest = max(e.first or date.min for e in fitting)
            fitting = [e for e in fitting if (e.first or date.min) == latest]
        else:
            fitting = [e for e in fitting if e.begun(year)]
        if first_year is not None and year is not None:
            so_far = year - first_year + 1
            fitting = [e for e in fitting if e.contract_year is None or e.contract_year <= so_far]
        if year is not None and fitting:
            held = [e for e in fitting if e.covers(year)]
            ends = [e.last for e in fitting if e.last is not None]
            fitting = held or [e for e in fitting if e.last == max(ends)]
        return max(
            fitting,
            key=lambda e: (e.contract_year or 0, bool(cell and cell in e.cells)),
            default=None,
        )

    def trend(self, year: int, cell: str) -> Value:
        """Trend of a calendar year for a rate cell, or for cells merged by +.

        Raises
        ------
        ContractError
            If the contract has no trend for the year and cell, or merged cells differ.
        """
        known = self._of_cells
        if (TREND, year, cell) not in known:
            known[TREND, year, cell] = self._of_cell(TREND, year, None, cell)
        return known[TREND, year, cell]

    def federal_share(self, year: int, cell: str) -> Value:
        """Part of a payment of a performance year that the federal government bears.

        Of a rate cell, or of cells merged by +.

        Raises
        ------
        ContractError
            As `trend`.
        """
        known = self._of_cells
        if (FEDERAL_SHARE, year, cell) not in known:
            first = self._pick("agreement.first_performance_year", year, None).value
            known[FEDERAL_SHARE, year, cell] = self._of_cell(FEDERAL_SHARE, year, first, cell)
        return known[FEDERAL_SHARE, year, cell]

    def _of_cell(self, path: str, year: int | None, first_year: int | None, cell: str) -> Value:
        found = {part: self._pick(path, year, first_year, part) for part in cell.split("+")}
        (first, one), *others = found.items()
        for part, value in others:
            if value.value != one.value:
                raise ContractError(
                    f"{self.file}: {path}: found {text_of(one.value)} for {first} and "
                    f"{text_of(value.value)} for {part} in {year}, expected one "
                    f"{path.rpartition('.')[2].replace('_', ' ')} for {cell}, which "
                    "target.rate_cells merges"
                )
        return one

    def override(
        self,
        values: Mapping[str, Any],
        where: str = "override",
        sources: Mapping[str, str] | None = None,
    ) -> Contract:
        """The contract with other values, whatever the year.

        Parameters
        ----------
        values : mapping of path to raw value
            Paths of `vocabulary.KINDS`, of policy adjustments, or of a band's edge or share
            (`settlement.gain.bands.inner.below`). Moving an edge moves the neighbour's.
        where : str
            Where the values stand, for messages.
        sources : mapping of path to str, optional
            Where a value is written, as whoever supplies it says.

        Raises
        ------
        ContractError
            If a path does not exist in this contract or a value does not fit its term.
        """
        terms = dict(self.terms)
        told = dict(self.overrides)
        for path, raw in values.items():
            source = Source(SUPPLIED, (sources or {}).get(path, ""))
            try:
                terms.update(overridden(terms, path, raw, source, self.name))
            except TermError as error:
                raise ContractError(f"{where}: {path}: {error}") from None
            told[path] = raw if isinstance(raw, str) else text_of(raw)
        given = given_by({path: terms[path] for path in values if path in terms})
        if given is not None:
            terms[given.path] = given
        return replace(self, terms=terms, overrides=told)


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

    @cached_property
    def attribution(self) -> AttributionTerms:
        """Terms of attribution."""
        return AttributionTerms(
            # whole by its kind: nothing is cut
            min_months_continuous=int(self["attribution.min_months_continuous"]),
            min_months_any=int(self["attribution.min_months_any"]),
            **{
                name: self[f"attribution.{name}"]
                for name in AttributionTerms.names()
                if name not in ("min_months_continuous", "min_months_any")
            },
        )

    @cached_property
    def cost(self) -> CostTerms:
        """Terms of what counts as cost."""
        cap = self["cost.claim_cap"]
        listed = "+".join(self["target.rate_cells"]).split("+")
        return CostTerms(
            amount=self["cost.amount"],
            incurred_by=self["cost.incurred_by"],
            zero_paid_encounter=self["cost.zero_paid_encounter"],
            floor_at_zero=self["cost.floor_at_zero"],
            # whole cents and millionths by their kinds: nothing is rounded
            claim_cap_cents=None if cap is None else cents_of(cap),
            keep_above_cap_micro=micro_of(self["cost.keep_above_cap"] or 0),
            prorate_cap=self["cost.prorate_cap"],
            services=frozenset(self["cost.services"]),
            cell_order=(*listed, *(cell for cell in RATE_CELLS if cell not in listed)),
            counts_payments=self["pbp.counts_as_cost"],
        )

    @cached_property
    def risk(self) -> RiskTerms:
        """Terms of risk adjustment."""
        given = {name: self[f"risk.{name}"] for name in RiskTerms.names()}
        whole = {name: given[name] for name in ("minimum_months", "runout_months")}
        return RiskTerms(
            **given
            | {
                "model": given["model"] or NONE,
                **{n: None if v is None else int(v) for n, v in whole.items()},  # whole by kind
            }
        )

    @cached_property
    def population_based(self) -> PopulationBasedTerms:
        """Terms of the population-based payment."""
        return PopulationBasedTerms.of(
            {path: value.value for path, value in self.values.items() if path.startswith("pbp.")}
        )

    @cached_property
    def quality(self) -> QualityTerms:
        """Terms by which measures make a quality score."""
        return QualityTerms.of(
            {p: value.value for p, value in self.values.items() if p.startswith("quality.")}
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps of the settlement in their order."""
        steps: tuple[str, ...] = self["settlement.steps"]
        return steps

    def terms(self, prefix: str = "") -> list[Value]:
        """Values of the terms under a prefix, in the order of `vocabulary.KINDS`."""
        order = {path: i for i, path in enumerate(KINDS)}
        found = [v for path, v in self.values.items() if path.startswith(prefix)]
        return sorted(found, key=lambda v: (order.get(v.path, len(order)), v.path))

    def draft(self, prefixes: Sequence[str] = ("",), supplied: Iterable[str] = ()) -> Draft:
        """Terms that bind, each with its basis; parameters as `Draft.of`."""
        return Draft.of({v.path: v for v in self.terms()}, prefixes, supplied)

    @cached_property
    def binding(self) -> Mapping[str, str]:
        """Terms that the whole settlement rests on, by path, each with its basis."""
        return self.draft().binding

    def draft_line(self) -> str:
        """The first line of a settlement while a term lacks its document; else empty."""
        return self.draft().line()


def _identity(path: str, value: Any) -> str:
    """A value as the digest has it: one file is told from another by its content."""
    if path in MODELS and value is not None and names_a_file(value):
        return MODEL_FILE
    if path == "risk.diagnoses_from" and values.names_a_table(value):
        return TABLE_FILE
    return text_of(value)


def _span(entry: Entry) -> str:
    first = "always" if entry.first is None else f"from {entry.first.year}"
    return first + ("" if entry.last is None else f" to {entry.last.year}")
