"""Points of quality measures: attainment, improvement, weights, and how sure a score is.

    rates of all partnerships -> floor, ceiling -> attainment | improvement -> points x weight

Floor and ceiling are ranks of all partnerships' rates, the worst first: the k-th of n, k =
max(1, ceil(p n)); a contract may give either. Attainment rises from 0 at the floor to 1 at the
ceiling; improvement is the part of the way from last year's rate to the ceiling that was gone; a
measure earns the larger. A domain's weight is divided among the measures that count in it, and the
weights of domains without any fall to the others. Everything is exact but the error: cases meet a
measure as often as its rate says; floor, ceiling and last year's rate are held, measures are
independent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import QualityTerms
from ihp_compute.errors import ContractError
from ihp_compute.measure.quality_tables import Measure

SMALL: Final = "small_denominator"
NO_SHARE: Final = "not_a_share"
NO_PRIOR: Final = "no_prior"
FLAGS: Final[Mapping[str, str]] = {
    SMALL: "fewer cases than the contract's least: it does not count",
    NO_SHARE: "more events than cases, as claims may have them: it does not count",
    NO_PRIOR: "no rate of the year before with cases enough: points are those of attainment",
}
"""Words that stand beside a measure, and what each says."""
_Z_OF_TAIL: Final = 40
"""Standard deviations beyond which a binomial has no weight in a float64."""


@dataclass(frozen=True)
class Curve:
    """How points of a measure rise with its rate.

    Attributes
    ----------
    floor, ceiling : Fraction
        Rates at which points begin and are all earned, in the measure's own direction.
    prior : Fraction or None
        Last year's rate, where it may be improved on.
    higher_is_better : bool
    edge : Fraction
        Where floor and ceiling leave nothing between them: all points at this rate or a better one.
    """

    floor: Fraction
    ceiling: Fraction
    prior: Fraction | None
    higher_is_better: bool
    edge: Fraction

    def attainment(self, rate: Fraction) -> Fraction:
        """Part of the way from floor to ceiling, from 0 to 1."""
        if not self._rises(self.floor):
            return Fraction(self._goodness(rate) >= self._goodness(self.edge))
        return _within((rate - self.floor) / (self.ceiling - self.floor))

    def improvement(self, rate: Fraction) -> Fraction:
        """Part of the way from last year's rate to the ceiling; 0 where there is no way left."""
        if self.prior is None or not self._rises(self.prior):
            return Fraction(0)
        return _within((rate - self.prior) / (self.ceiling - self.prior))

    def points(self, rate: Fraction) -> Fraction:
        """The larger of both."""
        return max(self.attainment(rate), self.improvement(rate))

    def variance(self, numerator: int, denominator: int) -> float:
        """Variance of the points of a binomial count of this rate and these cases.

        The sum over all counts that have any weight in a float64; 0 at a rate of 0 or 1.
        """
        if numerator in (0, denominator):
            return 0.0
        counts, weights = _binomial(numerator, denominator)
        points = self._points_of(counts, denominator)
        mean = float(weights @ points)
        return float(weights @ (points - mean) ** 2)

    def _points_of(self, counts: NDArray[np.int64], cases: int) -> NDArray[np.float64]:
        """Points at counts of these cases: float64[n]."""
        rates = counts / cases
        if self._rises(self.floor):
            found = _line(rates, self.floor, self.ceiling)
        elif self.higher_is_better:
            found = np.asarray(counts >= math.ceil(self.edge * cases), np.float64)
        else:
            found = np.asarray(counts <= math.floor(self.edge * cases), np.float64)
        if self.prior is not None and self._rises(self.prior):
            found = np.maximum(found, _line(rates, self.prior, self.ceiling))
        return found

    def _goodness(self, rate: Fraction) -> Fraction:
        return rate if self.higher_is_better else -rate

    def _rises(self, start: Fraction) -> bool:
        """Whether the ceiling is better than a rate."""
        return self._goodness(start) < self._goodness(self.ceiling)


@dataclass(frozen=True)
class MeasurePoints:
    """What a measure earned.

    Attributes
    ----------
    measure : Measure
    flag : str
        One of `FLAGS`, or empty.
    curve : Curve or None
        None where the measure does not count; nothing is earned then.
    weight : Fraction
        Its part of the score; 0 where it does not count.
    """

    measure: Measure
    flag: str = ""
    curve: Curve | None = None
    weight: Fraction = Fraction(0)

    @property
    def counted(self) -> bool:
        """Whether it counts."""
        return self.curve is not None

    @property
    def attainment(self) -> Fraction:
        """Points for its rate among the partnerships'."""
        return self.curve.attainment(self.measure.rate) if self.curve else Fraction(0)

    @property
    def improvement(self) -> Fraction:
        """Points for its rate against last year's."""
        return self.curve.improvement(self.measure.rate) if self.curve else Fraction(0)

    @property
    def points(self) -> Fraction:
        """The larger of both."""
        return max(self.attainment, self.improvement)

    @property
    def variance(self) -> float:
        """Variance of its points."""
        if self.curve is None:
            return 0.0
        return self.curve.variance(self.measure.numerator, self.measure.denominator)


def points_of(
    measures: Sequence[Measure],
    before: Sequence[Measure],
    terms: QualityTerms,
    partnerships: Mapping[str, str],
) -> dict[str, tuple[MeasurePoints, ...]]:
    """Points of every measure of some partnerships, weighed.

    Parameters
    ----------
    measures, before : sequence of Measure
        Of all partnerships, of the year and of the year before.
    terms : QualityTerms
    partnerships : mapping of partnership id to contract name
        Those who have these terms; the name is for messages.

    Returns
    -------
    dict
        By partnership id, for whom there are measures; measures in the order given.

    Raises
    ------
    ContractError
        If a floor is better than its ceiling, or only some of the domains, or of the measures of a
        domain, have a weight.
    """
    least = terms.least_cases
    rates: dict[str, list[Fraction]] = defaultdict(list)
    for measure in measures:
        if not _why_not(measure, least):
            rates[measure.measure].append(measure.rate)
    rising = {name: sorted(found) for name, found in rates.items()}
    prior = {
        (m.partnership_id, m.measure): m.rate
        for m in before
        if terms.improvement and not _why_not(m, terms.prior_least_cases)
    }
    found: dict[str, list[MeasurePoints]] = defaultdict(list)
    for measure in measures:
        whose = measure.partnership_id
        if whose not in partnerships:
            continue
        flag = _why_not(measure, least)
        if flag:
            found[whose].append(MeasurePoints(measure, flag))
            continue
        then = prior.get((whose, measure.measure))
        curve = _curve(measure, rising[measure.measure], then, terms, partnerships[whose])
        missed = NO_PRIOR if terms.improvement and then is None else ""
        found[whose].append(MeasurePoints(measure, missed, curve))
    alike: dict[tuple[tuple[str, str, bool], ...], dict[str, Fraction]] = {}
    weighed = {}
    for whose, points in found.items():
        key = tuple((p.measure.domain, p.measure.measure, p.counted) for p in points)
        if key not in alike:
            alike[key] = _weights(points, terms, partnerships[whose])
        weighed[whose] = tuple(
            replace(one, weight=alike[key][one.measure.measure]) if one.counted else one
            for one in points
        )
    return weighed


def _why_not(measure: Measure, least_cases: int) -> str:
    """Why a measure does not count; empty if it does."""
    if measure.denominator < least_cases:
        return SMALL
    return NO_SHARE if measure.numerator > measure.denominator else ""


def _curve(
    measure: Measure,
    rising: Sequence[Fraction],
    prior: Fraction | None,
    terms: QualityTerms,
    contract: str,
) -> Curve:
    """How a measure's points rise: its ends by rank, unless the contract gives them.

    `rising` has everybody's rates of the measure, the lowest first.
    """
    name, higher = measure.measure, measure.higher_is_better
    ordered = rising if higher else rising[::-1]
    given = [dict(ends).get(name) for ends in (terms.floors, terms.ceilings)]
    ranks = terms.floor_percentile, terms.ceiling_percentile
    floor, ceiling = (
        _at_rank(ordered, Fraction(rank)) if end is None else Fraction(end)
        for end, rank in zip(given, ranks, strict=True)
    )
    if None not in given and (floor > ceiling if higher else floor < ceiling):
        which = "at most" if higher else "at least"
        raise ContractError(
            f"{contract}: quality.floor.{name}: found {given[0]} beside quality.ceiling.{name} "
            f"{given[1]}, expected {which} it: a {'higher' if higher else 'lower'} rate of the "
            "measure is better"
        )
    edge = floor if given[0] is not None and given[1] is None else ceiling
    return Curve(floor, ceiling, prior, higher, edge)


def _at_rank(ordered: Sequence[Fraction], rank: Fraction) -> Fraction:
    return ordered[max(1, math.ceil(rank * len(ordered))) - 1]


def _weights(
    points: Sequence[MeasurePoints], terms: QualityTerms, contract: str
) -> dict[str, Fraction]:
    """Each counted measure's part of the score; together 1, or 0 where nothing weighs."""
    by_domain: dict[str, dict[str, Fraction]] = defaultdict(dict)
    for one in points:
        if one.counted:
            by_domain[one.measure.domain][one.measure.measure] = Fraction(0)
    domains = _parts(by_domain, dict(terms.domain_weights), f"{contract}: quality.domain_weight")
    weights: dict[str, Fraction] = {}
    for domain, own in by_domain.items():
        parts = _parts(own, dict(terms.measure_weights), f"{contract}: quality.measure_weight")
        weights |= {name: domains[domain] * part for name, part in parts.items()}
    whole = sum(weights.values(), Fraction(0)) or Fraction(1)  # a domain may weigh nothing inside
    return {name: weight / whole for name, weight in weights.items()}


def _parts(
    names: Mapping[str, object], given: Mapping[str, object], where: str
) -> dict[str, Fraction]:
    """Each name's part of 1: alike, or as weights are given; all 0 where none weighs."""
    own = {name: given[name] for name in names if name in given}
    missing = [name for name in names if name not in given]
    if own and missing:
        raise ContractError(
            f"{where}.{missing[0]}: found nothing, expected its weight: {', '.join(own)} "
            f"{'have one' if len(own) > 1 else 'has one'}, and what counts beside it needs one too"
        )
    weights = {name: Fraction(str(own.get(name, 1))) for name in names}
    whole = sum(weights.values(), Fraction(0)) or Fraction(1)
    return {name: weight / whole for name, weight in weights.items()}


def _within(part: Fraction) -> Fraction:
    return min(Fraction(1), max(Fraction(0), part))


def _line(rates: NDArray[np.float64], start: Fraction, end: Fraction) -> NDArray[np.float64]:
    """Part of the way from one rate to another, from 0 to 1: float64[n]."""
    return np.clip((rates - float(start)) / float(end - start), 0.0, 1.0)


def _binomial(numerator: int, cases: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts of cases drawn at the rate numerator / cases, and the chance of each.

    Chances come from those of neighbours, (n - k) p / (k + 1) / (1 - p), and add up to 1.
    """
    rate = numerator / cases
    reach = math.ceil(_Z_OF_TAIL * math.sqrt(cases * rate * (1 - rate))) + _Z_OF_TAIL
    counts = np.arange(max(0, numerator - reach), min(cases, numerator + reach) + 1, dtype=np.int64)
    odds = numerator / (cases - numerator)
    steps = np.log((cases - counts[:-1]) / (counts[:-1] + 1) * odds)
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    weights = np.exp(logs - logs.max())
    return counts, weights / weights.sum()
