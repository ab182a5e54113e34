"""What people of a year are worth a month, whether it is paid, trued up or counted as cost.

terms of the year -> people of 1 January, with months, payers, fees -> cents of a month
                  -> what was missing and counts all the same
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import PopulationBasedTerms
from ihp_compute.data_quality import Noticed
from ihp_compute.errors import ContractError, DataError, RunError
from ihp_compute.measure import ProspectivePlan
from ihp_compute.payments.months import Months
from ihp_compute.payments.people import People, people_of
from ihp_compute.payments.rates import rates_cents
from ihp_compute.population import Population, Shard
from ihp_compute.risk import MemberFactors
from ihp_compute.runner import Runner


def refuse_part_of_a_year(population: Population, year: int) -> None:
    """Refuse a year that the data do not hold whole.

    Raises
    ------
    RunError
    """
    first, last = population.manifest["full_years"]
    if not first <= year <= last:
        raise RunError(
            f"{population.path}: {year} is not a full calendar year of the data, which hold "
            f"{first} to {last}: true up a year that is over, or ingest more"
        )


def terms_of(plan: ProspectivePlan) -> list[PopulationBasedTerms | None]:
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


def people_paid(
    population: Population,
    plan: ProspectivePlan,
    terms: Sequence[PopulationBasedTerms | None],
    runner: Runner,
    progress: Callable[[int, int], None] | None = None,
    *,
    with_fees: bool,
) -> People:
    """The people of all shards, in the order of the shards."""
    known = population.reference("member_factors") is not None
    asked = any(one.social for one in terms if one is not None)
    task = partial(
        _numbered,
        plan=plan,
        terms=terms,
        factors=MemberFactors.of(population) if asked and known else None,
        with_fees=with_fees,
    )
    parts: dict[int, People] = {}
    for index, part in runner.map(task, population.shards):
        parts[index] = part
        if progress is not None:
            progress(len(parts), len(population.shards))
    return People.together([parts[index] for index in sorted(parts)])


def _numbered(shard: Shard, **more: Any) -> tuple[int, People]:
    return shard.index, people_of(shard, **more)


def rates_of(people: People, terms: Sequence[PopulationBasedTerms | None]) -> NDArray[np.int64]:
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


def unscored(
    plan: ProspectivePlan,
    people: People,
    terms: Sequence[PopulationBasedTerms | None],
    of: str = "",
) -> list[Noticed]:
    """Months whose score was filled where medical risk is weighed; `of` ends each subject."""
    n = len(terms)
    every = np.bincount(people.group, weights=people.score_months, minlength=n).astype(np.int64)
    filled = np.bincount(
        people.group, weights=people.score_months * people.score_missing, minlength=n
    ).astype(np.int64)
    return [
        Noticed(
            "unscored_months",
            subject=f"{plan.roster.groups[g]}, {plan.year - 1}{of}",
            lines=int(filled[g]),
            share=int(filled[g]) / int(every[g]),
            size=int(every[g]),
        )
        for g, own in enumerate(terms)
        if own is not None and own.medical_weight and filled[g]
    ]


def counts_of(
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
