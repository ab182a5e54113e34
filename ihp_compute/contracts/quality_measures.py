"""How measures become a quality score, as terms: which count, how points rise, what each weighs.

Weights, floors and ceilings are named after domains and measures, `quality.floor.asthma`; a name
without one weighs as much as its neighbours, and has its ends from the partnerships' own rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ihp_compute.contracts.kinds import Kind, ratio

CLAIMS_MEASURES: Final = ("ed_visits", "readmissions", "follow_up", "well_child")
"""Measures that a run can take from claims."""
PERCENTILES: Final = ("quality.floor_percentile", "quality.ceiling_percentile")
"""The terms between which points rise, the lower one first."""


def _cases(meaning: str) -> Kind:
    return Kind(meaning, "cases", low=Decimal(1), high=Decimal(1_000_000), places=0)


def _percentile(meaning: str) -> Kind:
    return Kind(meaning, "ratio of partnerships", low=Decimal(0), high=Decimal(1))


KINDS: Final[Mapping[str, Kind]] = {
    "quality.least_cases": _cases(
        "a measure of a smaller denominator does not count, and the others carry its weight"
    ),
    PERCENTILES[0]: _percentile(
        "rank among the partnerships' rates, the worst first, at which points begin"
    ),
    PERCENTILES[1]: _percentile(
        "rank among the partnerships' rates, the worst first, from which all points are earned"
    ),
    "quality.improvement": Kind(
        "whether a measure earns the points of its improvement where they are more", "flag", "flag"
    ),
    "quality.prior_least_cases": _cases(
        "a rate of the year before of a smaller denominator is none to improve on"
    ),
    "quality.claims_measures": Kind(
        "measures taken from claims beside those supplied, not certified; none: no such",
        "names",
        "names",
        choices=CLAIMS_MEASURES,
        least=1,
        optional=True,
    ),
    "quality.claims_domain": Kind("domain of the measures from claims", "name", "text"),
}
"""What each term may be."""


def _weight(meaning: str) -> Kind:
    return Kind(meaning, "ratio", low=Decimal(0), high=Decimal(1_000_000))


NAMED: Final[Mapping[str, Kind]] = {
    "quality.domain_weight.": _weight("weight of a domain among those of which a measure counts"),
    "quality.measure_weight.": _weight("weight of a measure among those that count in its domain"),
    "quality.floor.": ratio("rate of a measure at which its points begin; none: by rank"),
    "quality.ceiling.": ratio("rate of a measure that earns all points; none: by rank"),
}
"""Terms named after a domain or a measure, by what stands before its name."""


@dataclass(frozen=True)
class QualityTerms:
    """How a contract makes a score of measures; equal terms make equal scores.

    Attributes
    ----------
    least_cases, prior_least_cases : int
    floor_percentile, ceiling_percentile : Decimal
    improvement : bool
    claims_measures : tuple of str
        Of `CLAIMS_MEASURES`.
    claims_domain : str
    domain_weights, measure_weights, floors, ceilings : tuple of (name, Decimal)
        As the contract names them; a floor or ceiling of `none` is not among them.
    """

    least_cases: int
    prior_least_cases: int
    floor_percentile: Decimal
    ceiling_percentile: Decimal
    improvement: bool
    claims_measures: tuple[str, ...]
    claims_domain: str
    domain_weights: tuple[tuple[str, Decimal], ...] = ()
    measure_weights: tuple[tuple[str, Decimal], ...] = ()
    floors: tuple[tuple[str, Decimal], ...] = ()
    ceilings: tuple[tuple[str, Decimal], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> QualityTerms:
        """The terms, from values by path; None stands for `none`."""
        weights, measures, floors, ceilings = (
            tuple(
                (path.removeprefix(prefix), value)
                for path, value in sorted(values.items())
                if path.startswith(prefix) and value is not None
            )
            for prefix in NAMED
        )
        return cls(
            # whole by their kinds: nothing is cut
            least_cases=int(values["quality.least_cases"]),
            prior_least_cases=int(values["quality.prior_least_cases"]),
            floor_percentile=values[PERCENTILES[0]],
            ceiling_percentile=values[PERCENTILES[1]],
            improvement=values["quality.improvement"],
            claims_measures=values["quality.claims_measures"] or (),
            claims_domain=values["quality.claims_domain"],
            domain_weights=weights,
            measure_weights=measures,
            floors=floors,
            ceilings=ceilings,
        )


def fault_of(held: Mapping[str, Any]) -> str:
    """What is wrong with two percentiles; empty where points can rise between them.

    Parameters
    ----------
    held : mapping of path to value
        Of `PERCENTILES`.

    >>> fault_of({"quality.floor_percentile": 0.9, "quality.ceiling_percentile": 0.3})
    'quality.floor_percentile: found 0.9 above quality.ceiling_percentile 0.3, expected at most it'
    """
    low, high = (held.get(path) for path in PERCENTILES)
    if low is None or high is None or low <= high:
        return ""
    floor, ceiling = PERCENTILES
    return f"{floor}: found {low} above {ceiling} {high}, expected at most it"
