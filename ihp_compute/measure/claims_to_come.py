"""What a run does about claims still to come, decided before any claim is read.

    days of payment + terms -> how complete the year is -> INTERIM, the base year's cutoff, a gate

The state's year is developed from all its lines that can be cost, by the day that incurs a line
under the contracts. A contract whose `completion.final_ratio` lies above its completion is settled
for the interim. Not here: what completes costs (`completed`), how a year is developed
(`completion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction

from ihp_compute.contracts import INCURRED_BY, ContractSet, incurred_by
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
    """What a run does about claims still to come, and how complete its performance year is.

    Attributes
    ----------
    method : str or None
        `completion.method`.
    year : YearCompletion
        Of the performance year.
    base_cutoff_day : int
        Claims of the base year paid after it are left out.
    cut_lines : int
        Lines of the base year that this leaves out and the run's own cutoff does not.
    interim : tuple of str
        Partnerships by whose contract the year is not complete enough to be final.
    parts : mapping
        (rule set, year, payer's place) to completion, where costs are completed; a part that is
        not here is complete.
    """

    method: str | None
    year: YearCompletion
    base_cutoff_day: int
    cut_lines: int
    interim: tuple[str, ...]
    parts: Mapping[tuple[int, int, int], Fraction] = field(default_factory=dict)

    def line(self, paid_through: date) -> str:
        """What is said first of a settlement that is not final; empty of one that is."""
        if not self.interim:
            return ""
        complete = (
            "is not known to be complete"
            if self.year.ratio is None
            else f"is complete to {self.year.shown}"
        )
        unpaid = f", {self.year.unpaid}" if self.year.unpaid else ""
        return (
            f"INTERIM: {self.year.year} {complete}{unpaid}, claims paid through {paid_through}, "
            f"{self.year.run_out}; a later run trues it up"
        )

    def noticed(self, contracts: ContractSet) -> Iterator[Noticed]:
        """Partnerships whose interim cost would settle as if it were final."""
        agreements = contracts.at(self.year.year)
        beyond_factors = self.method == "computed" and self.year.unpaid_months > 0
        n = sum(
            beyond_factors
            or (self.method in (None, "given") and agreements[p]["observed.completion"] is None)
            for p in self.interim
        )
        if n:
            unpaid = f", {self.year.unpaid}" if self.year.unpaid else ""
            partnerships = f"{n} partnership{'s' if n > 1 else ''}"
            yield Noticed(
                "immature_year",
                subject=(
                    f"{self.year.year}: completion {self.year.shown}{unpaid}, {self.year.run_out}; "
                    f"{partnerships}"
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
) -> ClaimsToCome:
    """What a run of a base and a performance year does about claims still to come.

    Raises
    ------
    ContractError
        If the contracts do not share one method.
    """
    base_year, performance_year = years
    method = contracts.completion(performance_year)
    rule_sets = contracts.rule_sets(performance_year)
    day = INCURRED_BY[incurred_by(rule_sets)] if rule_sets else INCURRED_DAYS[0]
    paid = PaymentDays.of(population.payment_days(), day)
    year = year_completion(
        paid,
        year=performance_year,
        first_year=min(base_year, population.manifest["full_years"][0]),
        cutoff_day=cutoff_day,
    )
    base_cutoff_day = cutoff_day
    if method == "equal_runout":
        base_cutoff_day = years_earlier(cutoff_day, performance_year - base_year)
    return ClaimsToCome(
        method=method,
        year=year,
        base_cutoff_day=base_cutoff_day,
        cut_lines=paid.paid_between(base_year, base_cutoff_day, cutoff_day),
        interim=tuple(
            partnership
            for partnership, agreement in contracts.at(performance_year).items()
            if is_interim(
                None if year.unpaid_months else year.ratio,
                agreement["completion.final_ratio"],
                agreement["observed.completion"],
            )
        ),
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
