"""A state's own weights for a model's indicators: `ihp calibrate`.

    indicators (terms left by the program) x capped cost of the year, by member, weighted by months
    -> exact sums over shards -> constrained least squares per segment -> credibility -> Model

The cost of a member is what a run under the same contract counts in the year (`measure`), brought
to twelve months: 12 x cost ÷ countable months. Coefficients of the model's terms are not negative,
and a category never weighs less than one that it clears. The new model has weights in units of the
state's mean annual cost, one column, no normalisation, one map of codes and its own digest; it says
what it was calibrated on.

Fit is judged out of sample: members fall into folds by their key, and each fold is predicted from
the others. All of it is floating point and stands outside the digest of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ihp_compute.calibration.accuracy import Judged, accuracy, described, judged, ratios
from ihp_compute.calibration.blend import Blend, blend, level_of, published
from ihp_compute.calibration.predictors import (
    AID_GROUP,
    predictors_of,
    with_bits,
    with_predictors,
)
from ihp_compute.calibration.sums import (
    CalibrationTerms,
    Design,
    Sums,
    design_of,
    rows_of,
    sums_of,
)
from ihp_compute.codes import MEMBER_FACTORS
from ihp_compute.contracts import UNBOUND
from ihp_compute.data_quality import accepted_lines
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.measure import YearPlan
from ihp_compute.population import Population
from ihp_compute.risk import MemberFactors, ModelScores
from ihp_compute.risk.models import Calibration, Coefficient, Model, digest
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.units import MICRO

UNWEIGHTED: Final = "its published weight is 0"
"""Why a term is no regressor."""


@dataclass(frozen=True)
class Calibrated:
    """The new model, its report as plain numbers, and the blend of each segment."""

    model: Model
    report: dict[str, Any]
    blends: dict[str, Blend]


def calibrate(
    scores: ModelScores,
    full: Model,
    population: Population,
    plan: YearPlan,
    terms: CalibrationTerms,
    *,
    name: str,
    runner: Runner | None = None,
    predict: Sequence[str] = (),
    accepted: Sequence[Mapping[str, Any]] = (),
) -> Calibrated:
    """Estimate a state's weights on a model's indicators.

    Parameters
    ----------
    scores : ModelScores
        The model over the population; its timing makes the weights concurrent or prospective.
    full : Model
        The model of `scores` with all its tables.
    population : Population
    plan : YearPlan
        How the year is measured.
    terms : CalibrationTerms
    name : str
        Name of the new model.
    predict : sequence of str
        Facts about members that are regressors beside the model's terms, of `PREDICTORS`.
    accepted : sequence of rows of `DATA_QUALITY`
        What tripped a gate and was accepted.

    Raises
    ------
    DataError
        If nobody has months and cost in the year.
    RiskModelError
        If there are fewer than two folds.
    """
    if terms.folds < 2:
        raise RiskModelError(f"calibration needs at least 2 folds, got {terms.folds}")
    runner = runner or LocalRunner()
    task = partial(
        rows_of, scores=scores, plan=plan, folds=terms.folds,
        factors=MemberFactors.of(population) if set(predict) & set(MEMBER_FACTORS) else None,
    )  # fmt: skip
    parts = sorted(runner.map(partial(_numbered, task), population.shards), key=lambda one: one[0])
    rows = [one for _, one in parts]
    compiled = scores.compiled(plan.year)
    predictors = predictors_of(predict, full, rows)
    base, full = full, with_predictors(full, predictors)
    rows = [with_bits(one, predictors) for one in rows]
    bits = {term: 64 * compiled.n_words + k for k, term in enumerate(predictors.terms)}
    design = design_of(compiled.bit | bits, full, predictors.signed)
    counts = _added([one.counts for one in rows])
    months = sum(int(one.months.sum()) for one in rows)
    if months == 0 or counts.capped_cents <= 0:
        raise DataError(f"nobody has months and cost in {plan.year}; calibrate on another year")
    total = _added(list(runner.map(partial(sums_of, design=design, folds=terms.folds), rows)))
    own = {segment: published(segment, design, full) for segment in design.features}
    folds = np.arange(terms.folds)
    blends = _blends(design, own, total, terms, folds)
    folded = [
        {s: one.weight for s, one in _blends(design, own, total, terms, folds != fold).items()}
        for fold in folds
    ]
    found = Judged.together([judged(one, design, blends, folded) for one in rows])
    mean_cents = 12 * counts.capped_cents / months
    told = {s: described(design.features[s], blends[s], found.meat[s], found.alone[s]) for s in own}
    report = {
        "name": name,
        "base_model": full.name,
        "base_model_sha256": digest(base),
        "population_digest": str(population.manifest.get("population_digest", "")),
        **_terms(plan, scores, terms),
        "predictors": {AID_GROUP: predictors.reference} if predictors.reference else {},
        "factors": list(predictors.factors),
        "members_without_factors": counts.unstated,
        "members": len(found.months),
        "members_skipped": counts.skipped,
        "members_at_cap": counts.at_cap,
        "members_without_full_code_year": counts.thin,
        "member_months": months,
        "cost_cents": counts.capped_cents,
        "mean_annual_cost_usd": round(mean_cents / 100, 2),
        "cost": [
            {"fate": fate, "lines": lines, "paid_cents": cents}
            for fate, lines, cents in counts.cost_rows()
        ],
        "in_sample": accuracy(found, found.inside),
        "out_of_sample": accuracy(found, found.outside),
        "predictive_ratios": ratios(found, found.outside, plan.roster.groups),
        "features": {s: rows for s, (rows, _) in told.items()},
        "covariance_usd2": {s: squares for s, (_, squares) in told.items()},
        "dropped": _dropped(design, blends),
    }
    before = full.calibration
    report["prior_saw_population"] = (
        before is not None and report["population_digest"] in before.seen
    )
    report["accepted"] = {row["gate"]: row["accepted"] for row in accepted}
    report["notes"] = [*_notes(plan, full, report), *accepted_lines(accepted)]
    model = _model(full, design, blends, mean_cents, plan, scores, report)
    report["sha256"] = digest(model)
    return Calibrated(model, report, blends)


def _numbered(task: Any, shard: Any) -> tuple[int, Any]:
    """A shard's result under its number: predictions keep the order of the shards."""
    return shard.index, task(shard)


def _added(parts: list[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _blends(
    design: Design,
    own: dict[str, NDArray[np.float64]],
    total: Sums,
    terms: CalibrationTerms,
    kept: NDArray[Any],
) -> dict[str, Blend]:
    """The blend of each segment, from some folds."""
    sums = {
        s: (own[s], total.gram[s][kept].sum(axis=0), total.moment[s][kept].sum(axis=0)) for s in own
    }
    level = level_of(list(sums.values()))
    return {
        s: blend(s, design, *of, full_months=terms.full_months, level=level)
        for s, of in sums.items()
    }


def _terms(plan: YearPlan, scores: ModelScores, terms: CalibrationTerms) -> dict[str, Any]:
    """What was decided, in JSON's own values."""
    cost = plan.cost
    return {
        "contract": {"name": plan.contracts.name, "sha256": plan.contracts.hashes()},
        "year": plan.year,
        "timing": scores.terms.timing,
        "codes_of": scores.diagnosis_year(plan.year),
        "diagnoses_from": scores.claims.rule,
        "list_sha256": scores.claims.list_sha256,
        "paid_through": plan.paid_through.isoformat(),
        "terms": {**asdict(terms), "min_months": scores.terms.min_months, "year": plan.year},
        "cost_terms": {
            one.name: (sorted(value) if isinstance(value, frozenset) else value)
            for one in fields(cost)
            for value in (getattr(cost, one.name),)
        },
    }


def _dropped(design: Design, blends: dict[str, Blend]) -> list[dict[str, str]]:
    """Terms without an estimate of their own, and why."""
    found = []
    for segment, features in design.features.items():
        found += [(segment, term, UNWEIGHTED) for term in design.unweighted[segment]]
        found += [
            (
                segment,
                features[i],
                "cannot be told apart from " + ", ".join(features[k] for k in others),
            )
            for i, others in blends[segment].made_of.items()
        ]
    return [{"segment": segment, "term": term, "reason": reason} for segment, term, reason in found]


def _notes(plan: YearPlan, full: Model, report: dict[str, Any]) -> list[str]:
    """What a reader must know before the figures."""
    found = []
    if plan.contracts.name == UNBOUND:
        found.append(f"no contract was named: cost is counted by the terms of {UNBOUND}")
    risk = plan.contracts.risk(plan.year)
    if risk.second_model is not None:
        found.append(
            f"risk.second_model ({risk.second_model}) is not weighed: members of "
            f"{', '.join(risk.second_model_for)} are in this calibration like all others, and a "
            "run scores them by the second model"
        )
    if full.calibration is not None and report["prior_saw_population"]:
        found.append(
            f"out-of-sample figures are not out of sample: the prior {full.name} was calibrated on "
            f"this population too (cost of {full.calibration.year})"
        )
    return found


def _model(
    full: Model,
    design: Design,
    blends: dict[str, Blend],
    mean_cents: float,
    plan: YearPlan,
    scores: ModelScores,
    report: dict[str, Any],
) -> Model:
    coefficients = tuple(
        Coefficient(
            segment, "", term, str(Decimal(round(float(weight) / mean_cents * MICRO)) / MICRO)
        )
        for segment, features in design.features.items()
        for term, weight in (
            *zip(features, blends[segment].weight, strict=True),
            *((term, 0.0) for term in design.unweighted[segment]),
        )
    )
    fit = {name: "not defined" if v is None else v for name, v in report["out_of_sample"].items()}
    basis = (
        f"Calibrated on {full.name} (sha256 {report['base_model_sha256']}), {report['timing']}, "
        f"cost of {plan.year} by {plan.contracts.name}, {report['member_months']} member months; "
        f"1.000 is ${report['mean_annual_cost_usd']:.2f} a year; out of sample R squared "
        f"{fit['r_squared']}, MAPE {fit['mape']}"
    )
    seen = () if full.calibration is None else full.calibration.seen
    population = report["population_digest"]
    return msgspec.structs.replace(
        full,
        name=report["name"],
        version=f"weights of {plan.year} on {full.version}; population {population[:16]}",
        columns=("",),
        default_column="",
        coefficients=coefficients,
        csr={},
        post_steps=(),
        timing=scores.terms.timing,
        minimum_months=scores.terms.min_months,
        newborn=scores.terms.newborn,
        diagnoses_from=scores.claims.stated,
        warn_under_age=0,
        calibration=Calibration(
            population_digest=population,
            year=plan.year,
            code_year=report["codes_of"],
            contract=plan.contracts.name,
            contract_sha256=plan.contracts.sha256,
            base_model_sha256=report["base_model_sha256"],
            accepted=report["accepted"],
            seen=tuple(dict.fromkeys((*seen, population))),
        ),
        notes=(basis, *report["notes"], *full.notes),
    )
