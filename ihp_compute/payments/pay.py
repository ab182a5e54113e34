"""A quarter's payment or a year's true-up over a whole state, from population and contracts.

    contracts -> people of 1 January -> the state's mean score -> rates -> months -> one table

Not here: the rate of a person (`rates`), which months are paid (`months`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute import METHOD_VERSION
from ihp_compute.contracts import PopulationBasedTerms
from ihp_compute.data_quality import Noticed, Stage, accepted_lines
from ihp_compute.errors import ContractError, DataError, RunError
from ihp_compute.folders import check_file_place, whole
from ihp_compute.measure import ProspectivePlan, payer_names, plan_prospective
from ihp_compute.payments.months import Months
from ihp_compute.payments.people import People, people_of
from ihp_compute.payments.periods import Period
from ihp_compute.payments.rates import rates_cents
from ihp_compute.population import Population, Shard, open_population
from ihp_compute.risk import MemberFactors
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
        _refuse_part_of_a_year(population, period.year)
    terms = _terms(plan)
    people = _people(population, plan, terms, period, runner, progress)
    if period.quarter is not None and not people.spanned_months[period.first]:
        raise RunError(
            f"{population.path}: nobody is enrolled in {period.year}-{period.first + 1:02}, the "
            f"first month of {period}; ingest enrolment of it, or choose another quarter"
        )
    rate_cents = _rates(people, terms)
    months = Months.of(period, people.payer, rate_cents, people.fees_cents)
    accepted = _refuse_unscored(plan, people, terms)
    counts = _counts(people, months, terms)
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


def _refuse_part_of_a_year(population: Population, year: int) -> None:
    first, last = population.manifest["full_years"]
    if not first <= year <= last:
        raise RunError(
            f"{population.path}: {year} is not a full calendar year of the data, which hold "
            f"{first} to {last}: true up a year that is over, or ingest more"
        )


def _terms(plan: ProspectivePlan) -> list[PopulationBasedTerms | None]:
    """Terms of each partnership in the order of the roster's groups; None: it is not paid."""
    agreements = plan.contracts.at(plan.year)
    names = plan.roster.groups[: plan.roster.n_partnerships]
    found = [agreements[plan.contracts.settles(name)].population_based for name in names]
    if all(one.rate_usd is None for one in found):
        raise ContractError(
            f"{plan.contracts.name}: pbp.rate: found none in {plan.year} for every partnership, "
            "expected US dollars per member per month for one of them at least; no amount is "
            "public, so give that of the agreement in a contract or a contract set"
        )
    return [one if one.rate_usd is not None else None for one in found]


def _people(
    population: Population,
    plan: ProspectivePlan,
    terms: Sequence[PopulationBasedTerms | None],
    period: Period,
    runner: Runner,
    progress: Callable[[int, int], None] | None,
) -> People:
    """The people of all shards, in the order of the shards."""
    known = population.reference("member_factors") is not None
    asked = any(one.social for one in terms if one is not None)
    task = partial(
        _numbered,
        plan=plan,
        terms=terms,
        factors=MemberFactors.of(population) if asked and known else None,
        with_fees=period.quarter is None,
    )
    parts: dict[int, People] = {}
    for index, part in runner.map(task, population.shards):
        parts[index] = part
        if progress is not None:
            progress(len(parts), len(population.shards))
    return People.together([parts[index] for index in sorted(parts)])


def _numbered(shard: Shard, **more: Any) -> tuple[int, People]:
    return shard.index, people_of(shard, **more)


def _rates(people: People, terms: Sequence[PopulationBasedTerms | None]) -> NDArray[np.int64]:
    """Cents for a month of each person."""
    rate_cents = np.zeros(len(people.group), np.int64)
    for own in dict.fromkeys(one for one in terms if one is not None):
        if own.medical_weight and people.mean_micro is None:
            raise DataError(
                "found no score above 0 among everybody eligible in the state, by whose mean "
                "pbp.medical_weight weighs; supply scores, or give no weight"
            )
        whose = _whose(people, [one == own for one in terms])
        rate_cents[whose] = rates_cents(
            own, people.score_micro[whose], people.factors[whose],
            mean_micro=people.mean_micro or Fraction(1),
        )  # fmt: skip
    return rate_cents


def _whose(people: People, partnerships: Sequence[bool]) -> NDArray[np.int64]:
    """Rows of the people of some partnerships."""
    return np.flatnonzero(np.array(partnerships, np.bool_)[people.group])


def _refuse_unscored(
    plan: ProspectivePlan, people: People, terms: Sequence[PopulationBasedTerms | None]
) -> list[Mapping[str, Any]]:
    """What a run would say of filled scores; refused beyond the contract's term."""
    n = len(terms)
    every = np.bincount(people.group, weights=people.score_months, minlength=n).astype(np.int64)
    filled = np.bincount(
        people.group, weights=people.score_months * people.score_missing, minlength=n
    ).astype(np.int64)
    noticed = plan.gates.judge(
        Noticed(
            "unscored_months",
            subject=f"{plan.roster.groups[g]}, {plan.year - 1}",
            lines=int(filled[g]),
            share=int(filled[g]) / int(every[g]),
            size=int(every[g]),
        )
        for g, own in enumerate(terms)
        if own is not None and own.medical_weight and filled[g]
    )
    plan.gates.refuse(noticed, {}, Stage.SETTLED)
    return [*plan.noticed, *noticed]


def _counts(
    people: People, months: Months, terms: Sequence[PopulationBasedTerms | None]
) -> dict[str, dict[str, int]]:
    """What was missing and counts all the same, of people with a month; refused where it must be.

    Raises
    ------
    DataError
        If a contract refuses people of whom no factors are stated.
    """
    there = (months.payer >= 0).any(axis=1)
    social = np.array([one is not None and one.social for one in terms], np.bool_)[people.group]
    medical = np.array(
        [one is not None and bool(one.medical_weight) for one in terms], np.bool_
    )[people.group]  # fmt: skip
    unstated = there & social & ~people.stated
    strict = [one is not None and one.missing_factors == "error" for one in terms]
    refused = int((unstated & np.array(strict, np.bool_)[people.group]).sum())
    if refused:
        raise DataError(
            f"{refused} people have a month and no row of member_factors in force on 1 January, "
            "by whose factors their contract pays; give the rows, or let pbp.missing_factors be "
            "no_factor"
        )
    below = (people.payer >= 0) & (people.fees_cents < 0)
    return {
        "members": {"members": int(there.sum())},
        "without_factors": _sums(months, unstated),
        "without_score": _sums(months, there & medical & people.score_missing),
        "fees_below_zero": {
            "member_months": int(below.sum()),
            "fees_cents": int(people.fees_cents[below].sum()),
        },
    }


def _sums(months: Months, rows: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "members": int(rows.sum()),
        "member_months": int(months.months[rows].sum()),
        "payment_cents": int(months.payment_cents[rows].sum()),
    }


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
    sums = months.by(people.group, plan.roster.n_partnerships, len(names))
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
