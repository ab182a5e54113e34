"""Quality scores: supplied, or made from measures.

    measures -> small denominators dropped -> attainment -> mean by domain -> mean of domains

A supplied score (`quality_score`) stands as it is; one left empty is none. Else each measure earns
points by where its rate lies between a low and a high rank of all partnerships' rates: nothing at
or below the low one, all at or above the high one, linear between. Measures weigh alike in their
domain and domains alike in the score; a measure with a small denominator is dropped and the rest
carry its weight.

Not here: what a score does to a payment (`steps`), which is a term.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa

from ihp_compute.contracts import (
    FILLED,
    INTERIM_QUALITY_TERM,
    Agreement,
    Own,
    listed,
    rests_on_quality,
)
from ihp_compute.errors import DataError
from ihp_compute.population import Population
from ihp_compute.units import six_places

TABLES: Final = ("quality_score", "quality_measure")


@dataclass(frozen=True)
class QualityRule:
    """How measures become points.

    Attributes
    ----------
    minimum_denominator : int
        A measure with fewer cases is dropped.
    floor, ceiling : Fraction
        Ranks among all partnerships' rates between which points rise from 0 to 1.
    """

    minimum_denominator: int
    floor: Fraction
    ceiling: Fraction


WORKING_RULE: Final = QualityRule(30, Fraction(30, 100), Fraction(90, 100))
"""Common practice of state programmes, no document of this one read: denominators under 30 dropped,
points from the 30th to the 90th percentile of statewide results."""


@dataclass(frozen=True)
class Measure:
    """One measure of one partnership; a higher rate is better."""

    partnership_id: str
    measure: str
    domain: str
    numerator: int
    denominator: int


@dataclass(frozen=True)
class MeasurePoints:
    """What a measure earned; `points` None where its denominator was too small."""

    measure: Measure
    points: Fraction | None


def quality_scores(population: Population, performance_year: int) -> dict[str, Decimal | None]:
    """Score of each partnership for a performance year, from 0 to 1.

    Returns
    -------
    dict
        Supplied scores, None where the score is left empty; else scores from measures, None for a
        partnership whose measures were all too small. Empty when the population has neither table.

    Raises
    ------
    DataError
        If a score or measure is not a number or out of range, or stands twice.
    """
    supplied = population.reference("quality_score")
    measures = population.reference("quality_measure")
    found: dict[str, Decimal | None] = {}
    if measures is not None:
        found = score(attainment(_measures(measures, performance_year), WORKING_RULE))
    if supplied is not None:
        for name, value in _supplied(supplied, performance_year).items():
            found[name] = found.get(name) if value is None else value
    return found


def interim_scores(
    population: Population,
    performance_year: int,
    agreements: Mapping[str, Agreement],
    own: Mapping[str, Decimal | None],
) -> tuple[dict[str, Own], list[str]]:
    """Scores with what stands in for those that there are not yet, and what to tell of it.

    Parameters
    ----------
    population : Population
    performance_year : int
    agreements : mapping of partnership id to Agreement
        Of partnerships that are settled for the interim.
    own : mapping of partnership id to Decimal or None
        Scores of the performance year.
    """
    found: dict[str, Own] = dict(own)
    told: dict[str, list[str]] = {}
    for partnership, agreement in agreements.items():
        policy = agreement[INTERIM_QUALITY_TERM]
        if own.get(partnership) is not None or not rests_on_quality(agreement):
            continue
        if policy in FILLED:
            found[partnership] = policy
            told.setdefault(f"as {policy}", []).append(partnership)
        elif policy == "prior":
            for year in _years_before(population, performance_year):
                score_then = quality_scores(population, year).get(partnership)
                if score_then is not None:
                    found[partnership] = score_then
                    told.setdefault(f"by the score of {year}", []).append(partnership)
                    break
    return found, [
        f"quality: {listed(names)} settled {how} until there is a score of {performance_year} "
        f"({INTERIM_QUALITY_TERM})"
        for how, names in told.items()
    ]


def _years_before(population: Population, year: int) -> list[int]:
    """Earlier years of which some partnership has a score or a measure, the latest first."""
    tables = (population.reference(name) for name in ("quality_score", "quality_measure"))
    stated = {
        str(text).strip()
        for table in tables
        if table is not None
        for text in table.column("performance_year").to_pylist()
    }
    return sorted(
        (int(text) for text in stated if text.isdigit() and int(text) < year), reverse=True
    )


def given_instead(population: Population, performance_year: int, strangers: Sequence[str]) -> str:
    """What a population has where scores of a year are missing, for a message.

    Parameters
    ----------
    population : Population
    performance_year : int
    strangers : sequence of str
        Ids that have a score or measures of the year and match no partnership.
    """
    words = []
    for name in TABLES:
        table = population.reference(name)
        if table is None:
            continue
        years = {str(year).strip() for year in table.column("performance_year").to_pylist()}
        if str(performance_year) not in years:
            of = ", ".join(sorted(year or "none stated" for year in years)) or "no year"
            words.append(f"{name} has rows of {of}, and none of {performance_year}")
        else:
            words.append(f"{name} has rows of {performance_year}, and none that gives it")
    if strangers:
        words.append(f"found there, and matching no partnership of the roster: {listed(strangers)}")
    return "; ".join(words) or f"the population has no {' and no '.join(TABLES)}"


def _rows(table: pa.Table, year: int) -> list[Mapping[str, Any]]:
    return [row for row in table.to_pylist() if str(row["performance_year"]).strip() == str(year)]


def _supplied(table: pa.Table, year: int) -> dict[str, Decimal | None]:
    found: dict[str, Decimal | None] = {}
    for row in _rows(table, year):
        name = row["partnership_id"]
        if name in found:
            raise DataError(f"quality_score: {name} stands twice for {year}, expected once")
        if not str(row["score"]).strip():
            found[name] = None
            continue
        try:
            value = Decimal(str(row["score"]))
        except InvalidOperation:
            raise DataError(f"quality_score: {name}: score is not a number") from None
        if not value.is_finite() or not 0 <= value <= 1:
            raise DataError(f"quality_score: {name}: found {value}, expected 0 to 1")
        found[name] = value
    return found


def _measures(table: pa.Table, year: int) -> list[Measure]:
    found = []
    seen = set()
    for row in _rows(table, year):
        where = f"quality_measure: {row['partnership_id']}, {row['measure']}"
        try:
            numerator, denominator = int(row["numerator"]), int(row["denominator"])
        except (TypeError, ValueError):
            raise DataError(f"{where}: numerator or denominator is not a whole number") from None
        if not 0 <= numerator <= denominator:
            raise DataError(
                f"{where}: found {numerator} of {denominator}, expected 0 to the denominator"
            )
        key = row["partnership_id"], row["measure"]
        if key in seen:
            raise DataError(f"{where}: stands twice for {year}, expected once")
        seen.add(key)
        found.append(Measure(*key, row.get("domain") or "", numerator, denominator))
    return found


def attainment(measures: Sequence[Measure], rule: QualityRule) -> list[MeasurePoints]:
    """Points of every measure of every partnership, in the order given.

    >>> found = attainment([Measure(p, "m", "", n, 100) for p, n in (("A", 20), ("B", 60))],
    ...                    QualityRule(30, Fraction(1, 2), Fraction(1)))
    >>> [str(points.points) for points in found]
    ['0', '1']
    """
    rates: dict[str, list[Fraction]] = defaultdict(list)
    for m in measures:
        if m.denominator >= max(1, rule.minimum_denominator):
            rates[m.measure].append(Fraction(m.numerator, m.denominator))
    ends = {
        name: tuple(_at_rank(sorted(values), rank) for rank in (rule.floor, rule.ceiling))
        for name, values in rates.items()
    }
    return [MeasurePoints(m, _points(m, ends.get(m.measure), rule)) for m in measures]


def _at_rank(ordered: Sequence[Fraction], rank: Fraction) -> Fraction:
    return ordered[max(1, math.ceil(rank * len(ordered))) - 1]


def _points(
    measure: Measure, ends: tuple[Fraction, ...] | None, rule: QualityRule
) -> Fraction | None:
    if ends is None or measure.denominator < max(1, rule.minimum_denominator):
        return None
    low, high = ends
    rate = Fraction(measure.numerator, measure.denominator)
    if low == high:
        return Fraction(1) if rate >= high else Fraction(0)
    return min(Fraction(1), max(Fraction(0), (rate - low) / (high - low)))


def score(points: Sequence[MeasurePoints]) -> dict[str, Decimal | None]:
    """Score of each partnership: the mean over domains of the mean points in a domain."""
    domains: dict[str, dict[str, list[Fraction]]] = defaultdict(lambda: defaultdict(list))
    for p in points:
        by_domain = domains[p.measure.partnership_id]
        if p.points is not None:
            by_domain[p.measure.domain].append(p.points)
    found: dict[str, Decimal | None] = {}
    for name, by_domain in sorted(domains.items()):
        means = [sum(earned, Fraction(0)) / len(earned) for earned in by_domain.values()]
        if not means:
            found[name] = None
            continue
        exact = sum(means, Fraction(0)) / len(means)
        found[name] = six_places(exact)
    return found
