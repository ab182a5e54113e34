"""A quarter's payment or a year's true-up over a whole state, from population and contracts.

    contracts -> people of 1 January -> the state's mean score -> rates -> months -> one table

Not here: the people and what their month is worth (`priced`, `rates`), which months are paid
(`months`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ihp_compute import METHOD_VERSION
from ihp_compute.contracts import PopulationBasedTerms
from ihp_compute.data_quality import Stage, accepted_lines
from ihp_compute.errors import DataError, RunError
from ihp_compute.folders import check_file_place
from ihp_compute.measure import ProspectivePlan, payer_names, plan_prospective
from ihp_compute.payments.months import Months
from ihp_compute.payments.people import People
from ihp_compute.payments.periods import Period
from ihp_compute.payments.priced import (
    counts_of,
    people_paid,
    rates_of,
    refuse_part_of_a_year,
    terms_of,
    unscored,
)
from ihp_compute.population import Population, open_population
from ihp_compute.publishing import whole
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.table_files import write_table
from ihp_compute.table_schema import Column, TableSchema

SUFFIXES: Final = (".csv", ".parquet", ".arrow")
METADATA: Final = b"ihp_pbp"
"""Key of the file's metadata under which a table says what it is of."""

PBP: Final = TableSchema(
    "pbp",
    "the population-based payment of a period, by partnership and payer",
    (
        Column("partnership_id", pa.string(), "the partnership"),
        Column("payer", pa.string(), "ffs, and each plan"),
        Column("n_members", pa.int64(), "people with a month that counts or was paid", "members"),
        Column(
            "member_months",
            pa.int64(),
            "months paid; in a true-up those that count less those paid",
            "member months",
        ),
        Column("payment_cents", pa.int64(), "what is paid; negative: taken back", "cents"),
        Column("offset_cents", pa.int64(), "fees taken off", "cents"),
    ),
    keys=("partnership_id", "payer"),
)


@dataclass(frozen=True)
class Paid:
    """The table of a period, and what must be known of it.

    Attributes
    ----------
    table : pa.Table
        Columns of `PBP`.
    about : mapping
        What it is of: period, population, contracts.
    counts : mapping
        What was missing: people, their months and cents.
    notes, drafts : tuple of str
        What a reader must know, and the terms of which nobody has shown the document.
    """

    table: pa.Table
    about: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    drafts: tuple[str, ...]

    def totals(self) -> dict[str, int]:
        """Months and cents of the whole state."""
        return {
            name: sum(self.table.column(name).to_pylist())
            for name in ("member_months", "payment_cents", "offset_cents")
        }

    def document(self) -> dict[str, Any]:
        """Everything but the rows, in JSON's own values."""
        return {
            **self.about,
            **self.totals(),
            "rows": self.table.num_rows,
            **self.counts,
            "notes": list(self.notes),
            "draft_terms": list(self.drafts),
        }


def pay(
    population_path: Path,
    contracts: Sequence[str],
    period: Period,
    runner: Runner | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    paid_through: date | None = None,
    accept: Mapping[str, str] | None = None,
) -> Paid:
    """What is paid for a period to every partnership whose contract has a rate.

    Parameters
    ----------
    population_path : Path
    contracts : sequence of str
        One contract, or one contract set.
    period : Period
    runner : Runner, optional
        `LocalRunner` unless given.
    progress : callable, optional
        Called with (shards done, shards in all).
    paid_through : date, optional
        Visits and diagnoses paid later are not known; fees count whenever they were paid.
    accept : mapping of gate to reason, optional

    Raises
    ------
    ContractError
        If no contract has a rate, or a contract is wrong.
    RunError
        If the data do not hold the year before, or the months that are paid.
    DataError
        If a contract refuses people whose score or factors are missing, or the state's mean score
        is 0 and medical risk is weighed.
    GateError, AcceptanceError
        If more scores are filled than a contract allows, and nobody accepts it; or as in
        `plan_prospective`.
    """
    runner = runner or LocalRunner()
    population = open_population(population_path)
    plan = plan_prospective(
        population, contracts, year=period.year, paid_through=paid_through, accept=accept
    )
    if period.quarter is None:
        refuse_part_of_a_year(population, period.year)
    terms = terms_of(plan)
    people = people_paid(
        population, plan, terms, runner, progress, with_fees=period.quarter is None
    )
    if period.quarter is not None and not people.spanned_months[period.first]:
        raise RunError(
            f"{population.path}: nobody is enrolled in {period.year}-{period.first + 1:02}, the "
            f"first month of {period}; ingest enrolment of it, or choose another quarter"
        )
    rate_cents = rates_of(people, terms)
    months = Months.of(period, people.payer, rate_cents, people.fees_cents)
    accepted = _refuse_unscored(plan, people, terms)
    counts = counts_of(people, months, terms)
    return Paid(
        _table(plan, people, months),
        {
            "period": str(period),
            "population": population.digest,
            "contracts": plan.contracts.hashes(),
            "method_version": METHOD_VERSION,
            "paid_through": plan.paid_through.isoformat(),
            "roster_date": date(period.year, 1, 1).isoformat(),
            "score_year": period.year - 1,
            "risk_model": plan.scores.name,
            "mean_score_micro": None if people.mean_micro is None else round(people.mean_micro),
        },
        counts,
        (*_notes(population, plan, terms), *accepted_lines(accepted)),
        tuple(dict.fromkeys(_drafts(plan, terms))),
    )


def check_output(out: Path, *, replace: bool = False) -> None:
    """Refuse a place where a payment does not belong, before anything is computed.

    Raises
    ------
    DataError
        If the extension says no form, or something is there that `replace` does not say to replace.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise DataError(f"{out.name}: expected a name ending in {', '.join(SUFFIXES)}")
    check_file_place(out, replace=replace)


def write(paid: Paid, out: Path, *, replace: bool = False) -> None:
    """Write the table by its file's extension; Arrow and Parquet say of what it is.

    Raises
    ------
    DataError
        As `check_output`.
    """
    check_output(out, replace=replace)
    with whole(out) as draft:
        write_table(paid.table.replace_schema_metadata({METADATA: json.dumps(paid.about)}), draft)


def _refuse_unscored(
    plan: ProspectivePlan, people: People, terms: Sequence[PopulationBasedTerms | None]
) -> list[Mapping[str, Any]]:
    """What a run would say of filled scores; refused beyond the contract's term."""
    noticed = plan.gates.judge(unscored(plan, people, terms))
    plan.gates.refuse(noticed, {}, Stage.SETTLED)
    return [*plan.noticed, *noticed]


def _notes(
    population: Population,
    plan: ProspectivePlan,
    terms: Sequence[PopulationBasedTerms | None],
) -> list[str]:
    """What a reader must know, in words."""
    found = [*plan.contracts.newer_lines(), *plan.contracts.notes]
    unpaid = [
        name
        for name, own in zip(plan.roster.groups[: len(terms)], terms, strict=True)
        if own is None
    ]
    if unpaid:
        some = ", ".join(unpaid[:5]) + (", …" if len(unpaid) > 5 else "")
        found.append(f"not paid, for pbp.rate is none: {some}")
    if any(own.social for own in terms if own is not None) and (
        population.reference("member_factors") is None
    ):
        found.append("the population has no member_factors: no social factor holds for anybody")
    return found


def _drafts(plan: ProspectivePlan, terms: Sequence[PopulationBasedTerms | None]) -> list[str]:
    """The draft line of each contract that pays."""
    agreements = plan.contracts.at(plan.year)
    found = []
    for name, own in zip(plan.roster.groups[: len(terms)], terms, strict=True):
        if own is not None:
            agreement = agreements[plan.contracts.settles(name)]
            draft = agreement.draft(("attribution.", "risk.", "pbp."))
            found.append(draft.line(agreement.name))
    return [line for line in found if line]


def _table(plan: ProspectivePlan, people: People, months: Months) -> pa.Table:
    """Rows of partnerships and payers with somebody, by their names."""
    names = payer_names(plan.plans)
    sums = months.by(people.group[:, None], plan.roster.n_partnerships, len(names))
    groups, payers = np.nonzero(sums.n_members)
    rows = sorted(
        (plan.roster.groups[g], names[p], g, p)
        for g, p in zip(groups.tolist(), payers.tolist(), strict=True)
    )
    values = [
        {
            "partnership_id": partnership,
            "payer": payer,
            **{name: int(getattr(sums, name)[g, p]) for name in PBP.names[2:]},
        }
        for partnership, payer, g, p in rows
    ]
    return pa.Table.from_pylist(values, schema=PBP.arrow)
