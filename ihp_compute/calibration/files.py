"""A calibration from a population folder to a model file and its report beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ihp_compute.calibration.fit import calibrate
from ihp_compute.calibration.sums import CalibrationTerms
from ihp_compute.errors import RiskModelError
from ihp_compute.population import Population, open_population
from ihp_compute.risk import ModelScores, ScoreTerms, model_provider
from ihp_compute.risk.models import compile_model, encode
from ihp_compute.risk.models import store as model_store
from ihp_compute.runner import Runner
from ihp_compute.units import month_of


@dataclass(frozen=True)
class CalibrationRequest:
    """What was asked for; see `CalibrationTerms`. year None: the last full one."""

    year: int | None = None
    timing: str = "concurrent"
    annual_cap_cents: int = 25_000_000
    min_months: int = 1
    full_months: int = 3_600
    folds: int = 5
    replicates: int = 100
    seed: int = 1


def calibrate_population(
    population_path: Path,
    model: str,
    out: Path,
    request: CalibrationRequest,
    runner: Runner,
    *,
    store: Path | None = None,
) -> dict[str, Any]:
    """Calibrate, write OUT (the model, JSON) and OUT's report (`.report.json`); return the report.

    Raises
    ------
    RiskModelError
        If there is no such model, or it is none that can be calibrated.
    """
    population = open_population(population_path)
    year = request.year or last_full_year(population)
    terms = ScoreTerms(timing=request.timing)
    scores = model_provider(model, population, store=store, terms=terms)
    if not isinstance(scores, ModelScores):
        raise RiskModelError(f"{model!r} gives weights to cells; there is nothing to calibrate")
    full = model_store.load(model, store=store, payment_year=scores.diagnosis_year(year) + 1)
    found = calibrate(
        scores,
        full,
        population,
        CalibrationTerms(
            year=year,
            annual_cap_cents=request.annual_cap_cents,
            min_months=request.min_months,
            full_months=request.full_months,
            folds=request.folds,
            replicates=request.replicates,
            seed=request.seed,
        ),
        name=out.stem,
        runner=runner,
    )
    compile_model(found.model)  # the audit: nothing is written that would not load
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(encode(found.model))
    report = out.with_name(f"{out.stem}.report.json")
    report.write_bytes(msgspec.json.format(msgspec.json.encode(found.report), indent=1))
    return found.report


def last_full_year(population: Population) -> int:
    """The last year in whose December somebody was enrolled, and which has a whole January on."""
    first, last = (int(year) for year in population.manifest["service_years"])
    for year in range(last, first - 1, -1):
        enrolled = {0: 0, 11: 0}
        for shard in population.shards:
            start = shard.column("spans", "first_month")
            end = start + shard.column("spans", "n_months")
            for month in enrolled:
                at = month_of(year, month + 1)
                enrolled[month] += int(((start <= at) & (at < end)).sum())
        if all(enrolled.values()):
            return year
    return last
