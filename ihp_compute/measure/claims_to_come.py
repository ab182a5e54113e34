"""What a run does about claims still to come, decided before any claim is read.

    days of payment + terms -> how complete the year is -> INTERIM, the base year's cutoff, a gate

The state's year is developed from all its lines that can be cost, by the day that incurs a line
under the contracts. A contract whose `completion.final_ratio` lies above its completion is settled
for the interim. Each contract has its own method; those that see other claims are measured apart.
Not here: what completes costs (`completed`), how a year is developed
(`completion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction

from ihp_compute.contracts import INCURRED_BY, Agreement, ContractSet, incurred_by
from ihp_compute.data_quality import Noticed
from ihp_compute.measure.completion import (
    PaymentDays,
    YearCompletion,
    year_completion,
    years_earlier,
)
from ihp_compute.population import INCURRED_DAYS, Population


@dataclass(frozen=True)
class ClaimsToCome:
    """One way to measure with claims still to come, and how complete the performance year is.

    Attributes
    ----------
    methods : mapping of partnership id to str or None
        `completion.method` of those who are measured so.
    year : YearCompletion
        Of the performance year.
    base_cutoff_day : int
        Claims of the base year paid after it are left out.
    cut_lines : int
        Lines of the base year that this leaves out and the run's own cutoff does not.
    completes : bool
        Whether cost must be developed before it is measured: not where it is known complete.
    interim : tuple of str
        Partnerships by whose contract the year is not complete enough to be final.
    parts : mapping
        (rule set, year, payer's place) to completion, where costs are completed; a part that is
        not here is complete.
    """

    methods: Mapping[str, str | None]
    year: YearCompletion
    base_cutoff_day: int
    cut_lines: int
    completes: bool
    interim: tuple[str, ...]
    parts: Mapping[tuple[int, int, int], Fraction] = field(default_factory=dict)


def interim_line(found: Sequence[ClaimsToCome], paid_through: date) -> str:
    """What is said first of settlements that are not final; empty where all are."""
    interim = sum(len(one.interim) for one in found)
    if not interim:
        return ""
    of, year = sum(len(one.methods) for one in found), found[0].year
    whose = "" if interim == of else f" for {interim} of {of} partnerships"
    complete = "is not known to be complete"
    if year.ratio is not None:
        complete = f"is complete to {100 * float(year.ratio):.2f} %"
    unpaid = f", {year.unpaid}" if year.unpaid else ""
    return (
        f"INTERIM{whose}: {year.year} {complete}{unpaid}, claims paid through {paid_through}, "
        f"{year.run_out}; a later run trues it up"
    )


def immature(found: Sequence[ClaimsToCome], contracts: ContractSet) -> Iterator[Noticed]:
    """Partnerships whose interim cost would settle as if it were final."""
    year = found[0].year
    agreements = contracts.at(year.year)
    n = sum(
        (one.methods[p] == "computed" and year.unpaid_months > 0)
        or (one.methods[p] in (None, "given") and agreements[p]["observed.completion"] is None)
        for one in found
        for p in one.interim
    )
    if n:
        unpaid = f", {year.unpaid}" if year.unpaid else ""
        partnerships = f"{n} partnership{'s' if n > 1 else ''}"
        yield Noticed(
            "immature_year",
            subject=(
                f"{year.year}: completion {year.shown}{unpaid}, {year.run_out}; {partnerships}"
            ),
            share=1.0,
            size=n,
        )


def claims_to_come(
    population: Population,
    contracts: ContractSet,
    *,
    years: tuple[int, int],
    cutoff_day: int,
) -> tuple[ClaimsToCome, ...]:
    """What a run of a base and a performance year does about claims still to come.

    Returns
    -------
    tuple of ClaimsToCome
        One for each way in which contracts have the claims measured, in the order in which
        partnerships meet them: with the base year cut or whole, with cost completed or as paid.
        Contracts whose methods come to the same are measured together.
    """
    base_year, performance_year = years
    rule_sets = contracts.rule_sets(performance_year)
    day = INCURRED_BY[incurred_by(rule_sets)] if rule_sets else INCURRED_DAYS[0]
    paid = PaymentDays.of(population.payment_days(), day)
    year = year_completion(
        paid,
        year=performance_year,
        first_year=min(base_year, population.manifest["full_years"][0]),
        cutoff_day=cutoff_day,
    )
    earlier = years_earlier(cutoff_day, performance_year - base_year)
    cut_lines = paid.paid_between(base_year, earlier, cutoff_day)
    ways: dict[tuple[bool, bool], dict[str, Agreement]] = {}
    for partnership, agreement in contracts.at(performance_year).items():
        method = agreement["completion.method"]
        way = (method == "equal_runout", method == "computed" and not year.is_developed)
        ways.setdefault(way, {})[partnership] = agreement
    return tuple(
        ClaimsToCome(
            methods={p: agreement["completion.method"] for p, agreement in agreements.items()},
            year=year,
            base_cutoff_day=earlier if is_cut else cutoff_day,
            cut_lines=cut_lines if is_cut else 0,
            completes=completes,
            interim=tuple(
                p
                for p, agreement in agreements.items()
                if is_interim(
                    None if year.unpaid_months else year.ratio,
                    agreement["completion.final_ratio"],
                    agreement["observed.completion"],
                )
            ),
        )
        for (is_cut, completes), agreements in (ways or {(False, False): {}}).items()
    )


def is_interim(ratio: Fraction | None, final: Decimal | None, stated: Decimal | None) -> bool:
    """Whether a year is not complete enough to be final.

    Parameters
    ----------
    ratio : Fraction or None
        Its completion as found; None where nothing says.
    final : Decimal or None
        From which completion it is final; None: always.
    stated : Decimal or None
        What the contract itself says that the year is complete to.
    """
    if final is None:
        return False
    return ratio is None or ratio < final or (stated is not None and stated < final)
