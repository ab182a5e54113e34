"""What a request comes to before anything is measured: population, contracts, years, cutoff.

    request + manifest + roster + contracts -> years -> cutoff -> what the results will follow from

All of it is known within milliseconds, so a front refuses here what a run would refuse, and knows
whether the same was run before. `plan` goes on from it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from ihp_compute import METHOD_VERSION
from ihp_compute.codes import COMPARISON
from ihp_compute.contracts import INCURRED_BY, ContractSet, incurred_by, load_programme, load_set
from ihp_compute.errors import OptionError, RunError
from ihp_compute.measure.completion import PaymentDays
from ihp_compute.measure.request import RunRequest
from ihp_compute.population import INCURRED_DAYS, Population, open_population
from ihp_compute.units import NO_DAY, date_of, day_of


@dataclass(frozen=True)
class Foreseen:
    """A request with its defaults decided, before a claim is read."""

    request: RunRequest
    population: Population
    roster: pa.Table
    contracts: ContractSet
    base_year: int
    performance_year: int
    cutoff_day: int

    @property
    def inputs_sha256(self) -> str:
        """SHA-256 of all that results follow from but the gates accepted and runs that are netted.

        Whoever asks again by other names of the same content, or leaves to a default what was
        given before, comes to the same.
        """
        programme = load_programme(self.request.programme, self.performance_year)
        said = {
            "population": self.population.digest,
            "contracts": self.contracts.sha256,
            "hashes": self.contracts.hashes(),
            "programme": None if programme is None else programme.sha256,
            "base_year": self.base_year,
            "performance_year": self.performance_year,
            "paid_through": str(date_of(self.cutoff_day)),
            "replicates": self.request.replicates,
            "seed": self.request.seed,
            "method_version": METHOD_VERSION,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def foresee(request: RunRequest, contracts: ContractSet | None = None) -> Foreseen:
    """Decide what a request and the manifest of its population already say.

    Parameters
    ----------
    request : RunRequest
    contracts : ContractSet, optional
        Instead of those that the request names.

    Raises
    ------
    PopulationError
        If the folder is no population that this program reads.
    ContractError
        If a contract is wrong or has no values for the years.
    OptionError
        If years, cutoff, seed or replicates are none that this population or a run can have.
    RunError
        If the population has no roster.
    """
    for name in ("seed", "replicates"):  # years are held against those of the data, below
        request.check(name)
    population = open_population(request.population)
    for name in ("performance_year", "base_year"):
        _check_year(request, population, name, getattr(request, name))
    roster = population.reference("provider_roster")
    if roster is None:
        raise RunError(
            f"{request.population}: has no provider_roster, so nobody can be attributed; "
            "add the table to the raw folder and ingest again"
        )
    names = {name for name in roster.column("partnership_id").to_pylist() if name != COMPARISON}
    contracts = contracts or load_set(request.contracts, sorted(names))
    base_year, performance_year = _years(request, contracts, population)
    contracts.rule_sets(performance_year)
    contracts.check_trends(base_year, performance_year)
    contracts.check_payments((base_year, performance_year))
    cutoff_day = cutoff_of(population, contracts, request.paid_through, year=performance_year)
    load_programme(request.programme, performance_year)
    return Foreseen(request, population, roster, contracts, base_year, performance_year, cutoff_day)


def _check_year(request: RunRequest, population: Population, name: str, year: int | None) -> None:
    first, last = population.manifest["full_years"]
    if year is not None and not first <= year <= last:
        raise OptionError(
            f"{request.population}: {name.replace('_', ' ')} {year} is not a full calendar "
            f"year of the data, which hold {first} to {last}; choose one of these or ingest more",
            name,
        )


def _years(request: RunRequest, contracts: ContractSet, population: Population) -> tuple[int, int]:
    first, last = population.manifest["full_years"]
    performance = request.performance_year or contracts.performance_year or last
    base = request.base_year or contracts.base_year or first
    for name, year in (("performance_year", performance), ("base_year", base)):
        _check_year(request, population, name, year)
    if base >= performance:
        raise OptionError(
            f"base year {base} is not before performance year {performance}; choose an earlier "
            "base year or a later performance year",
            "performance_year" if request.base_year is None else "base_year",
        )
    return base, performance


def cutoff_of(
    population: Population, contracts: ContractSet, chosen: date | None, *, year: int
) -> int:
    """The day through which claims are seen: the one chosen, else the set's, else the last paid.

    Parameters
    ----------
    population : Population
    contracts : ContractSet
    chosen : date or None
    year : int
        The latest year that is measured.

    Returns
    -------
    int
        Day number.

    Raises
    ------
    OptionError
        If no line of the year was paid by then, so that nothing would be measured; or the day is
        past the month of the last payment, so that run-out would be counted which nobody saw; or
        nothing is chosen and no line states a paid date.
    """
    through = chosen or contracts.paid_through
    if through is None:
        return last_paid_day(population)
    cutoff_day, last = day_of(through), int(population.manifest["last_paid_day"])
    rule_sets = contracts.rule_sets(year)
    day = INCURRED_BY[incurred_by(rule_sets)] if rule_sets else INCURRED_DAYS[0]
    paid = PaymentDays.of(population.payment_days(), day)
    dated = paid.paid_day[(paid.month // 12 == year) & (paid.paid_day != NO_DAY)]
    if len(dated) and cutoff_day < dated.min():
        raise OptionError(
            f"{population.path}: no claim of {year} was paid by {through}; the first was on "
            f"{date_of(int(dated.min()))}: choose a later day through which claims are paid",
            "paid_through",
        )
    if last != NO_DAY and cutoff_day > _month_end(last):
        raise OptionError(
            f"{population.path}: claims are paid through {date_of(last)}, and {through} is past "
            "that month: run-out would be counted that these data do not hold; choose an earlier "
            "day, or ingest later payments",
            "paid_through",
        )
    return cutoff_day


def _month_end(day: int) -> int:
    month = date_of(day)
    return day_of(date(month.year + month.month // 12, month.month % 12 + 1, 1)) - 1


def last_paid_day(population: Population) -> int:
    """The last day on which a claim line of a population was paid, as a day number.

    Raises
    ------
    OptionError
        If no line states one.
    """
    last = int(population.manifest["last_paid_day"])
    if last == NO_DAY:
        raise OptionError(
            f"{population.path}: no claim line states a paid date, so nothing says through "
            "which day claims were paid; say it, as paid_through",
            "paid_through",
        )
    return last
