"""What a run must ask before a model scores: is it the model's timing, are its codes whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ihp_compute.data_quality import Noticed
from ihp_compute.population import Population
from ihp_compute.risk import Scoring


def noticed_of_scoring(
    scoring: Scoring | None, population: Population, years: Sequence[int]
) -> Iterator[Noticed]:
    """Another timing than the model's; years of codes that are no full years of the data.

    Parameters
    ----------
    scoring : Scoring or None
        None: no model scores from codes.
    population : Population
    years : sequence of int
        Years that are scored.
    """
    if scoring is None:
        return
    if scoring.differs:
        yield Noticed(
            "other_timing",
            subject=f"{scoring.model} is {scoring.stated}, risk.timing is {scoring.asked}",
            share=1.0,
            size=1,
        )
    held, full = (population.manifest[of] for of in ("service_years", "full_years"))
    for year in years:
        codes_of = scoring.terms.code_year(year)
        within, whole = (first <= codes_of <= last for first, last in (held, full))
        if within and not whole:
            yield Noticed(
                "codes_not_whole",
                subject=f"codes of {codes_of}, by which {scoring.model} scores {year}",
                detail=f"full years are {full[0]} to {full[1]}",
                share=1.0,
                size=1,
            )
