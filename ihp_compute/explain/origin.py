"""What a run was made from, if it is still the same: its population, and its plan with it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ihp_compute.errors import RunError
from ihp_compute.folders import kind_of
from ihp_compute.measure import Plan, make_plan, measurements, payer_names
from ihp_compute.population import POPULATION, Population, open_population
from ihp_compute.results import read_manifest, request_of


def check_run(folder: Path, option: str) -> None:
    """Refuse a population, which has settled nothing, with the way from it to what was asked.

    Raises
    ------
    RunError
    """
    if kind_of(folder) == POPULATION.name:
        raise RunError(
            f"{folder}: is a population, and {option} explains what a run made of one: make one "
            f"with ihp run, then ihp explain RUN {option}. Of a population, --claim shows the rows "
            "of a claim and their fates"
        )


def population_of(run_dir: Path, manifest: dict[str, Any]) -> Population:
    """The population that a run was made from, if it is still the same."""
    path = Path(manifest["population"]["path"])
    population = open_population(path)
    if population.digest != manifest["population"]["digest"]:
        raise RunError(
            f"{path}: is no longer the population that {run_dir} was made from; run again"
        )
    return population


def plans_of(run_dir: Path) -> list[Plan]:
    """The plans by which a run measured, if population, contracts and risk model are the same."""
    manifest = read_manifest(run_dir, go_on=True)
    population_of(run_dir, manifest)
    request = replace(request_of(manifest), replicates=0, device="cpu")
    plan = make_plan(request)
    if plan.contracts.hashes() != {c["name"]: c["sha256"] for c in manifest["contracts"]}:
        raise RunError(f"{run_dir}: the contract has changed since this run; run again")
    if plan.scores.model_sha256 != manifest["risk_model"]["sha256"]:
        raise RunError(f"{run_dir}: the risk model has changed since this run; run again")
    names, years = payer_names(list(plan.plans)), list(plan.years)
    return [
        way.completed_by(
            {
                (part["rule_set"], years.index(part["year"]), names.index(part["payer"])): Fraction(
                    part["completion"]
                )
                for part in held["parts"]
            }
        )
        for way, held in zip(
            measurements(plan), manifest["completion"]["measurements"], strict=True
        )
    ]
