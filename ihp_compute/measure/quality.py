"""Quality scores: supplied, or made from measures by each partnership's contract.

    supplied score | measures, supplied and from claims -> points (`quality_points`) -> score

A supplied score (`quality_score`) stands as it is; one left empty is none. Else the score is the
sum of points times weights of the measures that count, to six places, half to even. Measures that a
contract takes from claims are known once claims are measured; until then a partnership under such a
contract waits for its score, unless one is supplied.

Not here: what a score does to a payment (`settlement.steps`), which is a term.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ihp_compute.contracts import (
    CLAIMS_MEASURES,
    FILLED,
    INTERIM_QUALITY_TERM,
    MISSING_QUALITY_TERM,
    Agreement,
    Own,
    QualityTerms,
    listed,
    rests_on_quality,
)
from ihp_compute.errors import ContractError, DataError
from ihp_compute.measure.quality_points import MeasurePoints, points_of
from ihp_compute.measure.quality_tables import (
    TABLES,
    Measure,
    given_of,
    supplied_measures,
    supplied_scores,
    years_before,
)
from ihp_compute.population import Population
from ihp_compute.units import Z, six_places


@dataclass(frozen=True)
class MeasuredScore:
    """A score made from measures.

    Attributes
    ----------
    score : Decimal or None
        From 0 to 1, to six places; None where no measure counts, or none weighs.
    points : tuple of MeasurePoints
        Of every measure, those that do not count too.
    """

    score: Decimal | None
    points: tuple[MeasurePoints, ...]

    @classmethod
    def of(cls, points: Sequence[MeasurePoints]) -> MeasuredScore:
        """The score that weighed points add up to."""
        if not any(one.weight for one in points):
            return cls(None, tuple(points))
        exact = sum((one.weight * one.points for one in points), Fraction(0))
        return cls(six_places(exact), tuple(points))

    @property
    def std_error(self) -> float:
        """Standard error: measures are independent, benchmarks and last year's rates are fixed."""
        return math.sqrt(math.fsum(float(one.weight) ** 2 * one.variance for one in self.points))

    @property
    def interval(self) -> tuple[float, float]:
        """The score `Z` standard errors down and up, within 0 and 1; as it is without a score."""
        score, error = float(self.score or 0), self.std_error
        return max(0.0, score - Z * error), min(1.0, score + Z * error)


@dataclass(frozen=True)
class QualityOfYear:
    """What is known of quality in a year.

    Attributes
    ----------
    scores : mapping of partnership id to Decimal or None
        Of whoever has a row of the year, None where it gives no score; of partnerships that no
        contract settles too, as far as one is supplied.
    measured : mapping of partnership id to MeasuredScore
        Of partnerships with measures.
    supplied : collection of str
        Partnerships whose score was given.
    notes : tuple of str
        Terms that are named after nothing there is.
    waiting : tuple of str
        Partnerships whose score rests on measures from claims that are not measured.
    """

    scores: Mapping[str, Decimal | None]
    measured: Mapping[str, MeasuredScore]
    supplied: Collection[str]
    notes: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    def judged(self, agreements: Mapping[str, Agreement]) -> dict[str, Agreement]:
        """Agreements whose scores are there or missing by now: all but those that wait.

        A mean of the contract's scores may rest on one that waits, and is judged with it.
        """
        waiting = frozenset(self.waiting)
        return {
            name: agreement
            for name, agreement in agreements.items()
            if name not in waiting
            and not (waiting and agreement[MISSING_QUALITY_TERM] == "average")
        }


def quality_of(
    population: Population,
    year: int,
    agreements: Mapping[str, Agreement],
    from_claims: Sequence[Measure] | None = None,
) -> QualityOfYear:
    """Scores of a year, from 0 to 1.

    Parameters
    ----------
    population : Population
    year : int
        Of the tables; the year before is that of the rates to improve on.
    agreements : mapping of partnership id to Agreement
    from_claims : sequence of Measure, optional
        Of everybody; a contract takes those that it names, into its own domain. None: claims of
        the year are not measured.

    Raises
    ------
    DataError
        If a score or measure is not a number or out of range, stands twice, or is supplied under
        the name of one that a contract takes from claims.
    ContractError
        As `points_of`.
    """
    measured: dict[str, MeasuredScore] = {}
    notes: list[str] = []
    waiting: list[str] = []
    supplied = supplied_measures(population, year)
    scores: dict[str, Decimal | None] = dict.fromkeys(m.partnership_id for m in supplied)
    given = supplied_scores(population, year)
    before = supplied_measures(population, year - 1) if supplied or from_claims else []
    for terms, whose in _by_terms(agreements).items():
        if terms.claims_measures and from_claims is None:
            waiting += [name for name in whose if given.get(name) is None]
            continue
        measures = [*supplied, *_taken(from_claims or (), terms, supplied)]
        found = points_of(measures, before, terms, whose)
        measured |= {name: MeasuredScore.of(points) for name, points in found.items()}
        if measures:
            notes += _named_after_nothing(terms, measures, next(iter(whose.values())))
    scores |= {name: one.score for name, one in measured.items()}
    for name, value in given.items():
        scores[name] = scores.get(name) if value is None else value
    return QualityOfYear(
        scores,
        measured,
        frozenset(name for name, value in given.items() if value is not None),
        tuple(dict.fromkeys(notes)),
        tuple(sorted(waiting)),
    )


def check_measured(agreements: Mapping[str, Agreement], measured: Collection[str]) -> None:
    """Refuse a contract that takes from claims what a run does not measure.

    Parameters
    ----------
    agreements : mapping of partnership id to Agreement
    measured : collection of str
        Measures of use of care of the run.

    Raises
    ------
    ContractError
    """
    for agreement in agreements.values():
        lacking = [name for name in agreement.quality.claims_measures if name not in measured]
        if lacking:
            raise ContractError(
                f"{agreement.name}: quality.claims_measures: found {lacking[0]}, which the "
                "programme of this run does not measure, expected among "
                f"{', '.join(name for name in CLAIMS_MEASURES if name in measured)}, or a "
                "programme that measures it (--programme)"
            )


def settled_by(
    population: Population,
    year: int,
    agreements: Mapping[str, Agreement],
    interim: Collection[str],
    from_claims: Sequence[Measure] | None = None,
) -> tuple[QualityOfYear, dict[str, Own], list[str]]:
    """What is known of a year, the scores by which it settles, and what to tell of them.

    Parameters
    ----------
    population, year, agreements, from_claims
        As `quality_of`.
    interim : collection of str
        Partnerships that are settled for the interim.

    Raises
    ------
    DataError, ContractError
        As `quality_of`.
    """

    def find() -> QualityOfYear:
        return quality_of(population, year, agreements, from_claims)

    # what was supplied is scored once for all runs of a process over the same terms of quality
    terms = tuple((name, one.name, one.quality) for name, one in agreements.items())
    is_supplied = from_claims is None
    found = population.remember(("quality", year, terms), find) if is_supplied else find()
    waiting = frozenset(found.waiting)
    used, told = interim_scores(
        population,
        year,
        {name: agreements[name] for name in interim if name not in waiting},
        found.scores,
    )
    return found, used, [*found.notes, *told]


def _by_terms(agreements: Mapping[str, Agreement]) -> dict[QualityTerms, dict[str, str]]:
    """Partnerships, with their contracts' names, by the terms that make their scores."""
    found: dict[QualityTerms, dict[str, str]] = {}
    for name, agreement in agreements.items():
        found.setdefault(agreement.quality, {})[name] = agreement.name
    return found


def _taken(
    from_claims: Sequence[Measure], terms: QualityTerms, supplied: Sequence[Measure]
) -> list[Measure]:
    """Measures from claims that a contract names, in its domain."""
    wanted = set(terms.claims_measures)
    twice = sorted(wanted & {measure.measure for measure in supplied})
    if twice:
        raise DataError(
            f"quality_measure: found {twice[0]}, which quality.claims_measures takes from claims, "
            "expected another name, or the contract without it"
        )
    return [
        Measure(
            m.partnership_id, m.measure, terms.claims_domain, m.numerator, m.denominator,
            m.higher_is_better, m.source,
        )
        for m in from_claims
        if m.measure in wanted
    ]  # fmt: skip


def _named_after_nothing(
    terms: QualityTerms, measures: Sequence[Measure], contract: str
) -> list[str]:
    """Terms named after a measure or domain that nobody has."""
    names = {measure.measure for measure in measures}
    domains = {measure.domain for measure in measures}
    given = (
        ("domain_weight", terms.domain_weights, domains),
        ("measure_weight", terms.measure_weights, names),
        ("floor", terms.floors, names),
        ("ceiling", terms.ceilings, names),
    )
    return [
        f"{contract}: quality.{what}.{name} is named after nothing that a partnership has"
        for what, terms_of, known in given
        for name, _ in terms_of
        if name not in known
    ]


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
        Of partnerships that are settled for the interim. An earlier score is made by the same
        terms; under a contract that takes measures from claims it is one that was supplied.
    own : mapping of partnership id to Decimal or None
        Scores of the performance year.
    """
    found: dict[str, Own] = dict(own)
    told: dict[str, list[str]] = {}
    earlier: dict[int, Mapping[str, Decimal | None]] = {}
    for partnership, agreement in agreements.items():
        policy = agreement[INTERIM_QUALITY_TERM]
        if own.get(partnership) is not None or not rests_on_quality(agreement):
            continue
        if policy in FILLED:
            found[partnership] = policy
            told.setdefault(f"as {policy}", []).append(partnership)
        elif policy == "prior":
            for year in years_before(population, performance_year):
                if year not in earlier:
                    earlier[year] = quality_of(population, year, agreements).scores
                score_then = earlier[year].get(partnership)
                if score_then is not None:
                    found[partnership] = score_then
                    told.setdefault(f"by the score of {year}", []).append(partnership)
                    break
    return found, [
        f"quality: {listed(names)} settled {how} until there is a score of {performance_year} "
        f"({INTERIM_QUALITY_TERM})"
        for how, names in told.items()
    ]


def given_instead(population: Population, performance_year: int, strangers: Sequence[str]) -> str:
    """What a population has where scores of a year are missing, for a message.

    Parameters
    ----------
    population : Population
    performance_year : int
    strangers : sequence of str
        Ids that have a score or measures of the year and match no partnership.
    """
    words = given_of(population, performance_year)
    if strangers:
        words.append(f"found there, and matching no partnership of the roster: {listed(strangers)}")
    return "; ".join(words) or f"the population has no {' and no '.join(TABLES)}"
