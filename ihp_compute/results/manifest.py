"""The manifest of a run: what it rests on, what was counted, and how it is read back."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import ihp_compute
from ihp_compute import folders
from ihp_compute.contracts import NONE
from ihp_compute.data_quality import accepted_lines, noticed_lines
from ihp_compute.measure import ClaimsToCome, Plan, RunRequest, interim_line, payer_names
from ihp_compute.results.assemble import FINAL, INTERIM, Results
from ihp_compute.results.netting import Netted
from ihp_compute.results.read import RUN
from ihp_compute.units import date_of, dollars, six_places

GONE_ON_WITH: Final = replace(
    RUN,
    entries=(*RUN.entries, "method_version", "table_digests"),
    method_version=ihp_compute.METHOD_VERSION,
    other_method=(
        "{folder}: made by method version {found}, this program has {expected}: its results can be "
        "read, but not checked or gone on with; run it again"
    ),
)
"""A run whose numbers are made again: by other rules they would be others."""
ENTRIES: Final = {
    "contracts": "contract_arguments", "device": "device_requested",
    "programme": "programme_requested",
}  # fmt: skip
"""Options of a request that a manifest holds under another name."""


def read_manifest(run_dir: Path, *, go_on: bool = False) -> dict[str, Any]:
    """The manifest of a finished run.

    Parameters
    ----------
    run_dir : Path
    go_on : bool
        Whether its numbers shall be made again or settled by other terms, not only read.

    Raises
    ------
    RunError
        If the folder is not a finished run; to go on, if another method version made it.
    """
    return folders.read_manifest(run_dir, GONE_ON_WITH if go_on else RUN)


def digest_terms(plan: Plan, nets: Sequence[Netted]) -> dict[str, Any]:
    """What the digest rests on beside the tables; `nets` are the settlements that it nets."""
    return {
        "method_version": ihp_compute.METHOD_VERSION,
        "base_year": plan.base_year,
        "performance_year": plan.performance_year,
        "paid_through": str(plan.paid_through),
        "seed": plan.seed,
        "replicates": plan.replicates,
        "contracts": plan.contracts.hashes(),
        "risk_model": plan.scores.model_sha256,
        "programme": None if plan.programme is None else plan.programme.sha256,
        "nets": [one.digest for one in nets],
    }


def manifest_of(
    results: Results,
    plan: Plan,
    terms: dict[str, Any],
    *,
    nets: Sequence[Netted],
    digest: str,
    parts: Mapping[str, str],
    runner_name: str,
    started: float,
) -> dict[str, Any]:
    """Everything that the manifest of a run says; `parts` are digests of its tables and totals."""
    asked = plan.decided().document()

    def entries(*options: str) -> dict[str, Any]:
        return {ENTRIES.get(name, name): asked.pop(name) for name in options}

    return {
        "kind": "run",
        "digest": digest,
        "terms": terms,
        "table_digests": dict(sorted(parts.items())),
        "method_version": ihp_compute.METHOD_VERSION,
        "engine_version": ihp_compute.__version__,
        **entries("base_year", "performance_year", "paid_through", "replicates", "seed"),
        "completion": completion_of(plan),
        "clinic_years": [clinics.document() for clinics in results.clinics],
        "paid_ahead": list(results.paid_ahead),
        "earlier_settlements": [one.document() for one in nets],
        "device": plan.device,
        **entries("device"),
        "runner": runner_name,
        "population": {"path": asked.pop("population"), "digest": plan.origin.digest},
        "inputs": plan.origin.inputs,
        "contracts": [
            {"name": name, "sha256": sha} for name, sha in sorted(plan.contracts.hashes().items())
        ],
        **entries("contracts"),
        "risk_model": {
            "name": plan.scores.name,
            "sha256": plan.scores.model_sha256,
            **plan.scores.about(plan.years),
        },
        "programme": None
        if plan.programme is None
        else {"name": plan.programme.name, "sha256": plan.programme.sha256},
        **entries("programme"),
        "draft_terms": plan.contracts.draft_terms(plan.performance_year),
        **entries("accept"),
        "groups": list(plan.roster.groups),
        "roster": plan.roster.words,
        "practitioners": plan.roster.n_practitioners,
        "provider_locations": plan.roster.n_locations,
        "entries_without_location": plan.roster.n_unplaced,
        "notes": list(plan.notes),
        "counts": results.counts,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "timings": {"seconds": round(time.perf_counter() - started, 3)},
        "python": sys.version.split()[0],
        "libraries": folders.library_versions(),
        **entries(*asked),  # options that came later
    }


def completion_of(plan: Plan) -> dict[str, Any]:
    """What the manifest says of claims still to come, ratios as text."""
    year = plan.to_come[0].year
    interim = sorted(p for one in plan.to_come for p in one.interim)
    return {
        "lines": list(interim_lines(plan)),
        "status": INTERIM if interim else FINAL,
        "run_out_months": year.run_out_months,
        "ratio": None if year.ratio is None else str(six_places(year.ratio)),
        "by_month": [None if f is None else str(six_places(f)) for f in year.factors],
        "undated_cents": year.undated_cents,
        "interim": interim,
        "measurements": [_measurement(plan, one) for one in plan.to_come],
    }


def _measurement(plan: Plan, one: ClaimsToCome) -> dict[str, Any]:
    """One way to measure: whose, by which method, what was left out and what completed.

    A part's rule set is that of the measurement, whose first stands in `member_years` as
    `first_rule_set`.
    """
    names = payer_names(list(plan.plans))
    before = plan.to_come[: plan.to_come.index(one)]
    return {
        "partnerships": list(one.methods),
        "methods": sorted({method or NONE for method in one.methods.values()}),
        "base_paid_through": str(date_of(one.base_cutoff_day)),
        "base_lines_cut": one.cut_lines,
        "first_rule_set": sum(
            len(plan.contracts.only(other.methods).rule_sets(plan.performance_year))
            for other in before
        ),
        "parts": [
            {"rule_set": r, "year": plan.years[p], "payer": names[k], "completion": str(ratio)}
            for (r, p, k), ratio in sorted(one.parts.items())
        ],
    }


def interim_lines(plan: Plan) -> tuple[str, ...]:
    """What is said first of a settlement that is not final; nothing of one that is."""
    line = interim_line(plan.to_come, plan.paid_through)
    return (line,) if line else ()


def request_of(manifest: dict[str, Any]) -> RunRequest:
    """The request that makes a run again, as its manifest holds it: nothing is left to a default.

    Raises
    ------
    RunError
        If the manifest was cut or edited.
    """
    names = {name: ENTRIES.get(name, name) for name in RunRequest.options()}
    held = {name: manifest[entry] for name, entry in names.items() if entry in manifest}
    return RunRequest.of({**held, "population": manifest["population"]["path"]})


def netting_lines(nets: Sequence[Netted], results: Results) -> tuple[str, ...]:
    """What a settlement nets, and what is left to move; nothing where it nets none."""
    if not nets:
        return ()
    named = ", ".join(
        f"{one.run} ({one.status}, paid through {one.paid_through}, digest {one.digest[:16]})"
        for one in nets
    )
    paid = sum(nets[-1].payment_cents.values())
    now = sum(one.payment_cents for one in results.settled)
    left = dollars(now - paid, plus="+")
    return (f"nets {named}: {dollars(paid)} paid so far, {dollars(now)} now, {left} left to move",)


def headlines_of(
    plan: Plan, noticed: Sequence[Mapping[str, Any]], netting: Sequence[str] = ()
) -> tuple[str, ...]:
    """What a reader must know first: draft terms, years, cutoff, device, gates, what is missing.

    `noticed` are rows of `DATA_QUALITY` of the run itself, `netting` lines of what it nets.
    """
    return (
        *plan.contracts.draft_lines(plan.performance_year),
        *interim_lines(plan),
        *netting,
        (
            f"performance year {plan.performance_year} against base year {plan.base_year}, "
            f"claims paid through {plan.paid_through}, {plan.replicates} replicates, "
            f"seed {plan.seed}, on the {plan.device.upper()}"
        ),
        *plan.notes,
        *accepted_lines([*plan.origin.noticed.to_pylist(), *noticed]),
        *noticed_lines(noticed),
    )
