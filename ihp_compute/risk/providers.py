"""Which provider scores a run: supplied scores, a model, or weights by cell."""

from __future__ import annotations

from pathlib import Path

from ihp_compute.contracts import MISSING_SCORE, NONE
from ihp_compute.errors import RiskModelError
from ihp_compute.population import Population
from ihp_compute.risk.blended_scores import blended_provider
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.population_scores import model_provider
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.risk.scores import Everyone, MonthsThatCount, ScoreProvider, enrolled
from ihp_compute.risk.second_model import OneModel, with_second
from ihp_compute.risk.supplied import supplied


def provider(
    name: str,
    population: Population,
    *,
    missing: str = "error",
    counting: MonthsThatCount | None = None,
    store: Path | None = None,
    terms: ScoreTerms | None = None,
    second: tuple[str, tuple[str, ...]] | None = None,
) -> ScoreProvider:
    """The score provider of that name for a population.

    Parameters
    ----------
    name : str
        "supplied" or "supplied:MODEL" (scores that came with the population), "cms-hcc-v24",
        "cms-hcc-v28", "cms-hcc-blend", a name imported into the model store, or "none".
    population : Population
    missing : str
        One of `MISSING_SCORE`: what to do with a member who has months and no score.
    counting : MonthsThatCount, optional
        Months that weigh in the means; by default all enrolled ones of full years.
    store : Path, optional
        Model store; None takes the default (`risk.models.store`).
    terms : ScoreTerms, optional
        How a model scores a population; by default as it states.
    second : tuple, optional
        Name of a second model, and the aid groups whose members it scores.

    Raises
    ------
    RiskModelError
        If the name or the policy is unknown, or the model does not fit the population.
    """
    if missing not in MISSING_SCORE:
        raise RiskModelError(
            f"missing-member policy {missing!r} is unknown; use one of {', '.join(MISSING_SCORE)}"
        )
    if name == NONE:
        return Everyone()
    if second is not None:
        one, other = (
            _one(each, population, missing="error", counting=counting, store=store, terms=terms)
            for each in (name, second[0])
        )
        return with_second(
            one, other, second[1], population,
            missing=missing, counting=counting or enrolled(population),
        )  # fmt: skip
    return _one(name, population, missing=missing, counting=counting, store=store, terms=terms)


def _one(
    name: str,
    population: Population,
    *,
    missing: str,
    counting: MonthsThatCount | None,
    store: Path | None,
    terms: ScoreTerms | None,
) -> OneModel:
    """The provider of one name that is not none."""
    if name == "supplied" or name.startswith("supplied:"):
        return supplied(
            name, population, missing=missing, counting=counting or enrolled(population)
        )
    if model_store.is_blend(name):
        return blended_provider(name, population, missing=missing, counting=counting, terms=terms)
    return model_provider(
        name, population, missing=missing, counting=counting, store=store, terms=terms
    )
