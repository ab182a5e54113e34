"""Whole years' population-based payments, where a run counts them as cost or grades them.

    contracts of a run -> years that are asked for -> people and cents of a month -> sums, drawn

A year is its four quarters and its true-up: each month that counts, at the rate less fees, to its
own payer and in its own rate cell. People are drawn by the weights of the run, so that what is paid
for somebody moves with what the rest of their care costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure import PaidYear, Plan, payer_names, plan_prospective
from ihp_compute.payments.months import Months
from ihp_compute.payments.people import People
from ihp_compute.payments.priced import (
    counts_of,
    people_paid,
    rates_of,
    refuse_part_of_a_year,
    terms_of,
    unscored,
)
from ihp_compute.population import open_population
from ihp_compute.runner import Runner
from ihp_compute.uncertainty import drawn_sums
from ihp_compute.units import sums_by


def paid_years(plan: Plan, runner: Runner) -> tuple[PaidYear, ...]:
    """The payments of a run's years; none where no contract counts or grades them.

    Raises
    ------
    IhpError
        As `pay`, of a true-up of each year; a filled score is judged with the run's own.
    """
    return tuple(_paid(plan, year, runner) for year in _years(plan))


def _years(plan: Plan) -> tuple[int, ...]:
    agreements = plan.contracts.at(plan.performance_year).values()
    if any(agreement["pbp.counts_as_cost"] for agreement in agreements):
        return plan.years
    graded = any(agreement.population_based.at_stake for agreement in agreements)
    return (plan.performance_year,) if graded else ()


def _paid(plan: Plan, year: int, runner: Runner) -> PaidYear:
    population = open_population(plan.origin.path)
    ahead = plan_prospective(
        population, plan.request.contracts, year=year, paid_through=plan.paid_through,
        accept=plan.request.accept, every_gate_trips=False,
    )  # fmt: skip
    refuse_part_of_a_year(population, year)
    terms = terms_of(ahead)
    people = people_paid(population, ahead, terms, runner, with_fees=True)
    months = Months.of_year(people.payer, rates_of(people, terms), people.fees_cents)
    return PaidYear(
        year=year,
        drawn_cents=_drawn(plan, ahead.roster.groups, people, months),
        rows=tuple(_rows(year, ahead.roster.groups, payer_names(ahead.plans), people, months)),
        counts=counts_of(people, months, terms),
        noticed=tuple(unscored(ahead, people, terms, f", population-based payment of {year}")),
    )


def _rows(
    year: int, groups: tuple[str, ...], payers: list[str], people: People, months: Months
) -> list[dict[str, Any]]:
    """By partnership, rate cell and payer, in the order of partnerships and rate cells."""
    n_strata = len(RATE_CELLS)
    place = people.group[:, None] * n_strata + people.month_cell
    sums = months.by(place, len(groups) * n_strata, len(payers))
    return [
        {
            "partnership_id": groups[at // n_strata],
            "year": year,
            "rate_cell": RATE_CELLS[at % n_strata],
            "payer": payers[p],
            "n_members": int(sums.n_members[at, p]),
            "member_months": int(sums.member_months[at, p]),
            "payment_cents": int(sums.payment_cents[at, p]),
            "offset_cents": int(sums.offset_cents[at, p]),
        }
        for at, p in zip(*(found.tolist() for found in np.nonzero(sums.n_members)), strict=True)
    ]


def _drawn(plan: Plan, groups: tuple[str, ...], people: People, months: Months) -> Any:
    """Cents by group of the run's roster and rate cell under the weights of every replicate."""
    n, n_strata = len(people.group), len(RATE_CELLS)
    counts = months.payer >= 0
    person = np.repeat(np.arange(n, dtype=np.int64), counts.sum(axis=1))
    stood = person * n_strata + people.month_cell[counts]
    by_cell = sums_by(stood, months.payment_cents[counts], n * n_strata)
    at = np.flatnonzero(by_cell)
    to_run = np.array([plan.roster.groups.index(group) for group in groups], np.int32)
    cell = to_run[people.group[at // n_strata]] * np.int32(n_strata) + (at % n_strata)
    sums = drawn_sums(
        by_cell[at][None, :], cell.astype(np.int32), people.member_key[at // n_strata],
        n_groups=len(plan.roster.groups) * n_strata, replicates=plan.replicates, seed=plan.seed,
        device=plan.device,
    )  # fmt: skip
    return sums[:, :, 0].reshape(len(plan.roster.groups), n_strata, -1)
