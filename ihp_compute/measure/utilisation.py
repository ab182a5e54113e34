"""Use of care of a member-year: events of each measure, and what they are counted over.

    hospital stays (`stays`) · emergency visits (`emergency`) · visits -> countable months -> counts

An event counts in a countable month of the member (`attribution`) alone: a stay in that of its last
discharge, an emergency visit in that of its day. Months, not events, are what stays and emergency
visits are counted over.

An **index stay** is a stay that may be one (`stays`), discharged from 1 January to 1 December, the
months from that of the discharge through that of the thirtieth day after it countable each.
Readmissions and follow-up are counted over index stays. **Follow-up** is a visit of the contract's
(`visits`), at whatever provider, on days 1 to 14 after the discharge.

**Well-child**: a member of 3 to 21 years on 31 December with 11 or more countable months, and
whether a preventive visit was made in one of them. Ages, months, days and codes are terms of the
programme; without one neither follow-up nor well-child is measured.

Claims paid after the cutoff do not count. Groups are not asked: the caller sums over the members it
wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import VISIT_ED, VISIT_INPATIENT, VISIT_PAYMENT
from ihp_compute.contracts import CLAIMS_MEASURES, Programme
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.measure.emergency import avoidable_shares, emergency_visits
from ihp_compute.measure.stays import READMISSION_DAYS, Chains, chains
from ihp_compute.measure.visits import VisitRule, among, is_visit
from ihp_compute.population import Population, ShardColumns
from ihp_compute.units import months_of_days, sums_by, year_bounds

USE_MEASURES: Final = (
    "stays", "ed_visits", "ed_avoidable", "readmissions", "follow_up", "well_child",
)  # fmt: skip
"""Measures of use of care, in the order of `UseOfCare`; of `ed_avoidable` the numerator is the
avoidable share of visits in millionths of a visit."""


@dataclass(frozen=True)
class UseOfCare:
    """One year of one shard, arrays over its members.

    Attributes
    ----------
    numerator : int64[n_measures, n]
        Events by measure (`USE_MEASURES`): stays, visits, readmitted and followed index stays,
        members with a preventive visit; of `ed_avoidable` in millionths of a visit.
    denominator : int64[n_measures, n]
        Countable months; of readmissions and follow-up index stays, of well-child 1 for a member
        of the age and months, else 0. A measure that is not measured has 0 everywhere.
    """

    numerator: NDArray[np.int64]
    denominator: NDArray[np.int64]

    def of(self, measure: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numerator and denominator of one measure: int64[n] each."""
        place = USE_MEASURES.index(measure)
        return self.numerator[place], self.denominator[place]


@dataclass(frozen=True)
class ChildRule:
    """Who is due a preventive visit in a year, and what is one.

    Attributes
    ----------
    from_age, to_age : int
        Years on 31 December, both included.
    least_months : int
        Countable months of the year.
    preventive : bool[n_procedures]
        Codes of the population's table "hcpcs" that are a preventive visit.
    """

    from_age: int
    to_age: int
    least_months: int
    preventive: NDArray[np.bool_]


@dataclass(frozen=True)
class UseRule:
    """What a run measures of use of care, in a population's codes.

    Attributes
    ----------
    visits : VisitRule
        The contract's visits.
    maternal : bool[n_dx]
        Diagnoses of pregnancy, childbirth and the perinatal period (ICD-10-CM O and P).
    avoidable_micro : int32[n_dx] or None
        Share of an emergency visit that could have been avoided, by principal diagnosis; None: the
        population has no classifier.
    follow_up_days : int or None
        Last day after a discharge that is follow-up; None: not measured.
    child : ChildRule or None
        None: not measured.
    """

    visits: VisitRule
    maternal: NDArray[np.bool_]
    avoidable_micro: NDArray[np.int32] | None = None
    follow_up_days: int | None = None
    child: ChildRule | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """The measures that are measured, in the order of `USE_MEASURES`."""
        missing = {
            "ed_avoidable": self.avoidable_micro is None,
            "follow_up": self.follow_up_days is None,
            "well_child": self.child is None,
        }
        return tuple(name for name in USE_MEASURES if not missing.get(name, False))


def compile_use(visits: VisitRule, population: Population, programme: Programme | None) -> UseRule:
    """What a run measures of use of care, in a population's codes.

    Parameters
    ----------
    visits : VisitRule
        From `compile_visits`, over the same population.
    population : Population
    programme : Programme or None
    """
    diagnoses = population.codes("dx")
    maternal = np.zeros(len(diagnoses), np.bool_)
    for chapter in _MATERNAL:
        maternal |= pc.starts_with(diagnoses, chapter).to_numpy(zero_copy_only=False)
    if programme is None:
        return UseRule(visits, maternal)
    classifier = population.reference("ed_classifier")
    return UseRule(
        visits,
        maternal,
        avoidable_micro=None
        if classifier is None
        else avoidable_shares(classifier, diagnoses.to_pylist()),
        follow_up_days=int(programme["utilisation.follow_up_days"]),
        child=ChildRule(
            from_age=int(programme["utilisation.child_from_age"]),
            to_age=int(programme["utilisation.child_to_age"]),
            least_months=int(programme["utilisation.child_least_months"]),
            preventive=among(
                population.codes("hcpcs").to_pylist(), programme["utilisation.preventive_codes"]
            ),
        ),
    )


_MATERNAL: Final = ("O", "P")
"""Chapters of ICD-10-CM: pregnancy, childbirth and the puerperium; the perinatal period."""


def utilise_years(
    shard: ShardColumns,
    attributions: Sequence[Attribution],
    rule: UseRule,
    *,
    cutoff_day: int,
) -> list[UseOfCare]:
    """Use of care of every member, in one pass for several years.

    Parameters
    ----------
    shard : Shard
    attributions : sequence of Attribution
        Of the years wanted: their countable months.
    rule : UseRule
    cutoff_day : int
        Claims paid after this day do not count; a claim without a paid day does.

    Returns
    -------
    list of UseOfCare
        One a year, in their order.
    """
    hospital = chains(shard, rule.maternal, cutoff_day=cutoff_day)
    emergency = emergency_visits(shard, hospital, rule.avoidable_micro, cutoff_day=cutoff_day)
    preventive = None if rule.child is None else _preventive(shard, rule.child, cutoff_day)
    n = shard.n_members
    found = []
    for attribution in attributions:
        year = _Year(attribution)
        numerator = np.zeros((len(USE_MEASURES), n), np.int64)
        denominator = np.zeros_like(numerator)
        rows = dict(zip(USE_MEASURES, range(len(USE_MEASURES)), strict=True))
        stayed = hospital.is_stay & year.has(hospital.member, hospital.discharge)
        visited = year.has(emergency.member, emergency.day)
        index = _index_stays(hospital, stayed, year)
        again = index[hospital.readmitted[index]]
        numerator[rows["stays"]] = _count(hospital.member[stayed], n)
        numerator[rows["ed_visits"]] = _count(emergency.member[visited], n)
        numerator[rows["readmissions"]] = _count(hospital.member[again], n)
        denominator[rows["stays"]] = denominator[rows["ed_visits"]] = year.months
        denominator[rows["readmissions"]] = _count(hospital.member[index], n)
        if rule.avoidable_micro is not None:
            numerator[rows["ed_avoidable"]] = sums_by(
                emergency.member[visited], emergency.avoidable_micro[visited], n
            )
            denominator[rows["ed_avoidable"]] = year.months
        if rule.follow_up_days is not None:
            seen = _followed_up(shard, hospital, index, rule, cutoff_day)
            numerator[rows["follow_up"]] = _count(hospital.member[seen], n)
            denominator[rows["follow_up"]] = denominator[rows["readmissions"]]
        if rule.child is not None and preventive is not None:
            due, made = _well_child(shard, year, rule.child, *preventive)
            numerator[rows["well_child"]] = made
            denominator[rows["well_child"]] = due
        found.append(UseOfCare(numerator, denominator))
    return found


def summed_use(attribution: Attribution, use: UseOfCare, n_groups: int) -> NDArray[np.int64]:
    """Members, numerators and denominators of each group: int64[n_groups, 1 + 2 * n_measures].

    Numerators come first, each in the order of `USE_MEASURES`; ineligible members are in no group.
    """
    here = np.flatnonzero(attribution.group >= 0)
    group = attribution.group[here]
    columns = (np.ones(attribution.group.size, np.int64), *use.numerator, *use.denominator)
    return np.stack([sums_by(group, values[here], n_groups) for values in columns], axis=1)


def claims_measures(
    rule: UseRule, use_by_group: NDArray[np.int64], groups: Sequence[str]
) -> dict[str, dict[str, tuple[int, int]]]:
    """Numerator and denominator of the measures that claims can give, by group and measure.

    By open rules, certified by nobody. A measure that the run does not measure is not there.

    Parameters
    ----------
    rule : UseRule
        Of the run.
    use_by_group : int64[n_groups, 1 + 2 * n_measures]
        Of one year (`Measured.use_by_group`).
    groups : sequence of str
        Their ids (`Roster.groups`).
    """
    names = [name for name in CLAIMS_MEASURES if name in rule.measured]
    return {
        group: {name: measures_of(sums)[name] for name in names}
        for group, sums in zip(groups, use_by_group, strict=True)
    }


def measures_of(sums: NDArray[np.int64]) -> dict[str, tuple[int, int]]:
    """Numerator and denominator by measure, from one group's row of `summed_use`."""
    counts = [int(value) for value in sums[1:]]
    pairs = zip(counts[: len(USE_MEASURES)], counts[len(USE_MEASURES) :], strict=True)
    return dict(zip(USE_MEASURES, pairs, strict=True))


class _Year:
    """The countable months of every member in a year."""

    def __init__(self, attribution: Attribution) -> None:
        self.year = attribution.year
        self.first_day, self.end_day = year_bounds(attribution.year)
        self.countable = attribution.month_cell != NOT_COUNTABLE
        self._before = np.zeros((len(self.countable), 13), np.int8)
        np.cumsum(self.countable, axis=1, dtype=np.int8, out=self._before[:, 1:])
        self.months = self._before[:, 12].astype(np.int64)
        days = np.arange(self.first_day, self.end_day, dtype=np.int32)
        self._month_of = months_of_days(days) - np.int32(12 * self.year)

    def month(self, day: NDArray[np.int64]) -> NDArray[np.int32]:
        """Place of days of the year among its months."""
        months: NDArray[np.int32] = self._month_of[day - self.first_day]
        return months

    def has(self, member: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each day lies in a countable month of its member: bool, of any years' days."""
        found = np.zeros(day.size, np.bool_)
        here = np.flatnonzero((day >= self.first_day) & (day < self.end_day))
        found[here] = self.countable[member[here], self.month(day[here])]
        return found

    def through(
        self, member: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether every month from that of one day to that of another is countable."""
        start, end = self.month(first), self.month(last) + 1
        return self._before[member, end] - self._before[member, start] == end - start


def _index_stays(hospital: Chains, stayed: NDArray[np.bool_], year: _Year) -> NDArray[np.intp]:
    """Rows of the index stays of a year, from its stays."""
    known = hospital.discharge + READMISSION_DAYS < year.end_day
    index = np.flatnonzero(stayed & hospital.may_be_index & known)
    discharge = hospital.discharge[index]
    whole = year.through(hospital.member[index], discharge, discharge + READMISSION_DAYS)
    return index[whole]


def _followed_up(
    shard: ShardColumns,
    hospital: Chains,
    index: NDArray[np.intp],
    rule: UseRule,
    cutoff_day: int,
) -> NDArray[np.intp]:
    """The index stays with a visit on one of the days after them."""
    member, discharge = hospital.member[index], hospital.discharge[index]
    offsets = shard.offsets("visits")
    starts, ends = offsets[member], offsets[member + 1]
    rows = np.repeat(starts - np.append(0, np.cumsum(ends - starts)[:-1]), ends - starts)
    rows += np.arange(rows.size)  # every visit of a member, once for each of the member's stays
    stay = np.repeat(np.arange(index.size), ends - starts)
    after = shard.column("visits", "day")[rows].astype(np.int64) - discharge[stay]
    soon = (after >= 1) & (after <= int(rule.follow_up_days or 0))
    rows, stay = rows[soon], stay[soon]
    counts = shard.column("visits", "paid_day")[rows] <= cutoff_day
    counts &= is_visit(shard, rule.visits, rows)
    return index[np.unique(stay[counts])]


def _preventive(
    shard: ShardColumns, rule: ChildRule, cutoff_day: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Member and day of every preventive visit."""
    rows = np.flatnonzero(np.take(rule.preventive, shard.column("visits", "hcpcs")))
    counts = (shard.column("visits", "marks")[rows] & _NO_PREVENTIVE_VISIT) == 0
    counts &= shard.column("visits", "paid_day")[rows] <= cutoff_day
    rows = rows[counts]
    member = np.repeat(
        np.arange(shard.n_members), np.diff(np.searchsorted(rows, shard.offsets("visits")))
    )
    return member, shard.column("visits", "day")[rows].astype(np.int64)


def _well_child(
    shard: ShardColumns,
    year: _Year,
    rule: ChildRule,
    member: NDArray[np.int64],
    day: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who is due a preventive visit, and who had one of those given: bool[n] each."""
    birth = shard.column("members", "birth_day")  # NO_DAY lies before every year
    due = birth >= year_bounds(year.year - rule.to_age)[0]
    due &= birth < year_bounds(year.year - rule.from_age)[1]
    due &= year.months >= rule.least_months
    made = np.zeros(shard.n_members, np.bool_)
    made[member[year.has(member, day)]] = True
    return due, made & due


_NO_PREVENTIVE_VISIT: Final = VISIT_PAYMENT | VISIT_INPATIENT | VISIT_ED


def _count(member: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.bincount(member, minlength=n).astype(np.int64)
