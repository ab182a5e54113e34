"""A calibration from a population folder to a model file and its report beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.calibration.fit import calibrate
from ihp_compute.calibration.sums import CalibrationTerms
from ihp_compute.contracts import NONE, Contract, unbound
from ihp_compute.data_quality import RUN, GateTerms, Stage
from ihp_compute.errors import AcceptanceError, RiskModelError
from ihp_compute.measure import YearPlan, noticed_of_scoring, plan_year
from ihp_compute.population import open_population
from ihp_compute.publishing import whole
from ihp_compute.risk import ModelScores, ScoreTerms, Scoring, model_provider
from ihp_compute.risk.models import compile_model, encode
from ihp_compute.risk.models import store as model_store
from ihp_compute.runner import Runner
from ihp_compute.units import usd_of

GATES_HERE: Final = ("codes",)
"""Gates of a run that judge a calibration too."""
CONCURRENT: Final = "concurrent"


@dataclass(frozen=True)
class CalibrationRequest:
    """What was asked for.

    Attributes
    ----------
    contract : str or None
        Whose terms say what a member cost: a name, or a file. None: those of `unbound`, and then
        the three below may say what a contract would.
    model : str or None
        Whose indicators are weighed; None: the contract's.
    timing : str or None
        Codes of the same year, or of the year before.
    cap_cents : int or None
        Of a member's cost in the year.
    min_months : int or None
        Members with fewer countable months do not enter.
    year : int or None
        Of the cost; None: the last full one.
    paid_through : date or None
        Claims paid later do not count; None: the contract's, else the population's last.
    full_months, folds : int
        See `CalibrationTerms`.
    predictors : tuple of str
        Of `PREDICTORS`: regressors beside the model's terms.
    accept : mapping of gate to reason
        Of `GATES_HERE`.
    """

    contract: str | None = None
    model: str | None = None
    timing: str | None = None
    cap_cents: int | None = None
    min_months: int | None = None
    year: int | None = None
    paid_through: date | None = None
    full_months: int = CalibrationTerms.full_months
    folds: int = CalibrationTerms.folds
    predictors: tuple[str, ...] = ()
    accept: Mapping[str, str] = field(default_factory=dict)


def calibrate_population(
    population_path: Path,
    out: Path,
    request: CalibrationRequest,
    runner: Runner,
    *,
    store: Path | None = None,
) -> dict[str, Any]:
    """Calibrate, write OUT (the model, JSON) and OUT's report (`.report.json`); return the report.

    Raises
    ------
    ContractError, RunError, DataError
        If the contract or the year cannot be used.
    RiskModelError
        If there is no such model, it is none that can be calibrated, or none is named.
    GateError
        If the year of the codes is not whole and nobody accepts it.
    AcceptanceError
        If a gate was accepted that is none of a calibration's, or did not trip.
    """
    gates = GateTerms(accept=request.accept, work=RUN)
    strangers = sorted(set(request.accept) - set(GATES_HERE))
    if strangers:
        raise AcceptanceError(
            f"gate {strangers[0]!r} judges no calibration; its gates are {', '.join(GATES_HERE)}"
        )
    population = open_population(population_path)
    plan = plan_year(
        population, request.contract or _unbound(request),
        year=request.year, paid_through=request.paid_through,
    )  # fmt: skip
    model = request.model or _model_of(plan)
    scores = model_provider(model, population, store=store, terms=_score_terms(request, plan))
    if not isinstance(scores, ModelScores):
        raise RiskModelError(
            f"{model!r} has no indicators of its own to weigh: it gives weights to cells, or "
            "blends models"
        )
    asked = Scoring(model, "", None, scores.terms)  # the weights will state the timing
    noticed = gates.judge(noticed_of_scoring(asked, population, (plan.year,)))
    gates.refuse(noticed, {}, Stage.PLAN)
    full = model_store.load(
        model,
        store=store,
        payment_year=scores.terms.payment_year or scores.diagnosis_year(plan.year) + 1,
    )
    found = calibrate(
        scores, full, population, plan, CalibrationTerms(request.full_months, request.folds),
        name=out.stem, runner=runner, predict=request.predictors,
        accepted=noticed,
    )  # fmt: skip
    compile_model(found.model)  # the audit: nothing is written that would not load
    with whole(out.with_name(f"{out.stem}.report.json")) as report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(found.report), indent=1))
    with whole(out) as draft:
        draft.write_bytes(encode(found.model))
    return found.report


def _unbound(request: CalibrationRequest) -> Contract:
    """The terms of no contract, with the cap that was asked for."""
    contract = unbound()
    if request.cap_cents is None:
        return contract
    return contract.override({"cost.claim_cap": str(usd_of(request.cap_cents))}, "--cap")


def _score_terms(request: CalibrationRequest, plan: YearPlan) -> ScoreTerms:
    """How the model scores: as the contract says, or as was asked for without one."""
    if request.contract is not None:
        return ScoreTerms.of(plan.contracts.risk(plan.year))
    return ScoreTerms(timing=request.timing or CONCURRENT, min_months=request.min_months)


def _model_of(plan: YearPlan) -> str:
    """The risk model of the contract."""
    model = plan.contracts.risk(plan.year).model
    if model == NONE or model.partition(":")[0] == "supplied":
        raise RiskModelError(
            f"{plan.contracts.name}: risk.model is {model}, which has no indicators to weigh; name "
            "a model with --model"
        )
    return model
